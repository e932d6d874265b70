"""What a person does on the Alerts screen: one core operation each, the ring, and a sentence on what happened."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy import Engine

from core import bootstrap
from core.alerts import operations as alerts
from core.audit import Actor
from core.clock import utc_now
from core.config import Settings
from core.db import read_only, unit_of_work
from core.errors import Retryable
from core.letters import Address, MailAddress
from core.messaging import notice_addresses, notice_channels
from core.messaging.notice_channels import Wishes
from core.ports import JobQueue
from dashboard import formats

log = logging.getLogger(__name__)


class Application(Protocol):
    """What these acts need: rows, the keys that addresses are sealed with, and the bell."""

    @property
    def engine(self) -> Engine: ...

    @property
    def queue(self) -> JobQueue: ...

    @property
    def settings(self) -> Settings: ...


def application() -> Application:
    """The process's own application, put together once."""
    return bootstrap.application()


def acknowledge(app: Application, shop_id: int, alert_id: int, actor: Actor) -> str:
    """Take an alert. Raises NoAlert, AlertClosed, AlreadyTaken."""
    with unit_of_work(app.engine) as conn:
        alerts.acknowledge(conn, shop_id, alert_id, actor, utc_now())
    return "You have it. It is told again only if it gets much worse."


def add(app: Application, shop_id: int, wishes: Wishes, address: Address, actor: Actor) -> str:
    """Tell another channel. Raises BadChannel."""
    with unit_of_work(app.engine) as conn:
        notice_channels.add(conn, shop_id, wishes, address, app.settings.secret_keys, actor, utc_now())
    return f"{formats.plain(wishes.name)} is told from now on. Test it: a wrong address shows at once."


def edit(app: Application, shop_id: int, channel_id: int, wishes: Wishes, address: Address | None, actor: Actor) -> str:
    """Change what a channel wants, and where it is. Raises BadChannel, NoSuchChannel."""
    with unit_of_work(app.engine) as conn:
        notice_channels.edit(conn, shop_id, channel_id, wishes, address, app.settings.secret_keys, actor, utc_now())
    where = ", at another address" if address is not None else ""
    return f"{formats.plain(wishes.name)} is changed{where}. Who and why is on record."


def mail_address(app: Application, shop_id: int, channel_id: int) -> MailAddress:
    """Where a mail channel is now, for whoever changes a part of it. Raises NoSuchChannel, UnreadableAddress."""
    with read_only(app.engine) as conn:
        found = notice_channels.address_of(conn, shop_id, channel_id, app.settings.secret_keys)
    assert isinstance(found, MailAddress), "only of a mail channel"
    return found


def changed_mail(app: Application, shop_id: int, channel_id: int, typed: Mapping[str, Any]) -> Address | None:
    """The address with what was typed in place of what it was; None where nothing was. What is left empty stays.

    Raises BadAddress, NoSuchChannel, UnreadableAddress.
    """
    given = {name: value for name, value in typed.items() if value not in (None, "", ())}
    if not given:
        return None
    before = mail_address(app, shop_id, channel_id)
    host, user = given.get("host", before.host), given.get("user", before.user)
    if host != before.host and before.password is not None and "password" not in given:
        # Another server must not be handed the password of this one.
        raise notice_addresses.BadAddress("another mail server needs its own password: give user and password again")
    return notice_addresses.mail(
        host,
        int(given.get("port", before.port)),
        given.get("security", before.security),
        given.get("sender", before.sender),
        given.get("recipients", before.recipients),
        user,
        given.get("password", before.password),
    )


def set_quiet(app: Application, shop_id: int, channel_id: int, name: str, is_quiet: bool, actor: Actor) -> str:
    """Pause a channel, or resume it. Raises NoSuchChannel."""
    with unit_of_work(app.engine) as conn:
        held = notice_channels.set_quiet(conn, shop_id, channel_id, is_quiet, actor, utc_now())
    shown = formats.plain(name)
    if is_quiet:
        return f"{shown} is told nothing now. What comes is kept, and told in one message when it is resumed."
    _ring(app)
    return f"{shown} is told again." + (
        f" {formats.plural(held, 'notice')} of meanwhile follow in one." if held else ""
    )


def remove(app: Application, shop_id: int, channel_id: int, name: str, actor: Actor) -> str:
    """Tell a channel nothing ever again. Raises NoSuchChannel."""
    with unit_of_work(app.engine) as conn:
        notice_channels.remove(conn, shop_id, channel_id, actor, utc_now())
    return f"{formats.plain(name)} is told nothing any more, and its address is forgotten."


def test(app: Application, shop_id: int, channel_id: int, actor: Actor) -> int:
    """Have a message sent to a channel now; returns its id, by which its answer is found. Raises NoSuchChannel."""
    with unit_of_work(app.engine) as conn:
        message_id = notice_channels.test(conn, shop_id, channel_id, actor, utc_now())
    _ring(app)
    return message_id


def _ring(app: Application) -> None:
    """For haste only: the relay comes by within seconds anyway."""
    try:
        app.queue.enqueue("outbox.relay")
    except Retryable as error:
        log.warning("the relay is not rung, its schedule will come by: %s", error)
