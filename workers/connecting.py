"""What connecting any channel takes: ask, look at the real answer, store; one that is new begins in shadow mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote

import click

from core.audit import Actor
from core.bootstrap import Application, bad_queue
from core.clock import utc_now
from core.connections import checkup, markets, queries, switches
from core.connections import operations as connections
from core.connections.checkup import Finding, Probe
from core.connections.operations import NewConnection, open_secrets
from core.connections.queries import ConnectionRow
from core.db import fetch_one, read_only, unit_of_work
from core.errors import BadInput, Permanent, Retryable
from core.inventory.planner import Mode
from core.logs import mask
from core.policies import operations as policies
from core.runs import operations as runs
from workers.jobs.subscriptions import check_subscriptions

MODES: dict[str, Mode] = {"pooled": "pooled", "adaptive": "adaptive", "escrow": "escrow"}


class NotRight(Permanent):
    """What was given does not work; nothing is stored."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not connected and nothing is stored: mend what is said above, and try again")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person said about an account. The secrets never show in a representation.

    `begins_with` are settings of a connection that is new. The steps are what to do where nobody answers, and where
    the answer is no.
    """

    vendor: str
    account_ref: str
    base_url: str
    name: str
    guarantee_class: str
    secrets: Mapping[str, str] = field(repr=False)
    settings: Mapping[str, object]
    step_unanswered: str
    step_refused: str
    begins_with: Mapping[str, object] = field(default_factory=dict)

    @property
    def market(self) -> str | None:
        """The marketplace, where the account is one in each."""
        found = self.settings.get("marketplace_id")
        return None if found is None else str(found)

    def is_of(self, row: ConnectionRow) -> bool:
        """Whether a connection stands for this very account."""
        mine = (self.vendor, self.account_ref, self.market)
        return mine == (row.vendor, row.account_ref, row.settings.get("marketplace_id"))


@dataclass(frozen=True, slots=True)
class Choice:
    """How a person wants it to be connected."""

    shop: str | None
    mode: Mode
    reason: str
    person: str
    store_anyway: bool

    @property
    def actor(self) -> Actor:
        return Actor(self.person, self.reason)


def connect_now(app: Application, asked: Asked, choice: Choice, more: Sequence[Finding] = ()) -> ConnectionRow:
    """Look at the real answer, say what was found, store it, and have it read. Raises NotRight, BadInput.

    `more` is what was found out besides.
    """
    probe = _look(app, asked, _known(app, asked, choice.shop), store_anyway=choice.store_anyway)
    currency = _currency(app, choice.shop, probe)
    now = utc_now()
    findings = [] if probe is None else checkup.of_probe(probe, asked.account_ref, currency or "", now)
    findings += more
    say(findings)
    if any(finding.state == "problem" for finding in findings) and not choice.store_anyway:
        raise NotRight(asked.account_ref)
    row = _store(app, asked, choice, probe)
    with read_only(app.engine) as conn:
        stands = switches.standing(conn, row.shop_id, row.id)
    click.echo(
        f"{row.name} is connected as number {row.id}: {stands.held() or 'it is live, and what differs is written'}."
    )
    return row


def look_at_queue(app: Application, asked: Asked, choice: Choice, aws_region: str | None) -> list[Finding]:
    """What is to be said of the queue that was given, or was known before, after it was asked itself."""
    known = _known(app, asked, choice.shop)
    settings, secrets = dict(asked.settings), dict(asked.secrets)
    if known is not None:
        settings = {**known.settings, **settings}
        with read_only(app.engine) as conn:
            secrets = {**open_secrets(conn, app.settings.secret_keys, known.shop_id, known.id), **secrets}
    found = checkup.of_queue(settings, secrets, bad_queue(asked.vendor, settings), aws_region)
    if found.state != "ok":
        return [found]
    return [found, *ask_queue(app, asked.vendor, settings, secrets, known)]


def ask_queue(
    app: Application,
    vendor: str,
    settings: Mapping[str, object],
    secrets: Mapping[str, str],
    connection: ConnectionRow | None,
) -> list[Finding]:
    """What a queue answers itself: whether it is there, knows the key, and lets the channel in."""
    try:
        why = app.queue_problem(vendor, settings, secrets, connection)
    except Retryable as error:
        return [checkup.problem("queue", mask(str(error)), "look whether this machine reaches AWS, and try again")]
    except Permanent as error:
        return [checkup.problem("queue", mask(str(error)), "mend that at AWS, or give another queue (docs/amazon.md)")]
    if why is not None:
        return [checkup.problem("queue", why, "change its policy at AWS (docs/amazon.md)")]
    return [checkup.ok("queue", "it is there, knows the key, and lets the channel in")]


def read_soon(app: Application, row: ConnectionRow, actor: Actor) -> None:
    """Queue the first sync, and say what comes next."""
    with unit_of_work(app.engine) as conn:
        run_id = runs.request_sync(conn, row.shop_id, row.id, "sync_connection", "click", actor, utc_now())
    app.queue.enqueue("connection.sync", shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_id)
    click.echo("A sync is queued: it reads the catalogue, the levels and the open orders.")
    with read_only(app.engine) as conn:
        stands = switches.standing(conn, row.shop_id, row.id)
        shops = {each["shop_id"]: each["name"] for each in queries.shops(conn)}
    if not stands.is_live:
        named = quote(row.name) + (f" --shop {quote(shops[row.shop_id])}" if len(shops) > 1 else "")
        click.echo(
            f"Next: `switchyard status` until it is read, `switchyard compare {named}`, and when that is right"
            f" `switchyard go-live {named} --reason ...`."
        )


def subscribe(app: Application, row: ConnectionRow, called: str) -> None:
    """Have the channel tell us of what happens; where it cannot, polls bring its orders. `called`: by which way."""
    try:
        with app.channel(row) as channel:
            found = check_subscriptions(app, row, channel)
    except (Permanent, Retryable) as error:
        say(
            [
                checkup.warning(
                    "subscriptions", str(error), "they are tried again hourly; polls bring its orders meanwhile"
                )
            ]
        )
        return
    if found["refused"] or found["missing"]:
        says = f"{found['standing']} topics call us, {found['refused'] + found['missing']} do not"
        say([checkup.warning("subscriptions", says, "`switchyard doctor` says which, and why")])
        return
    click.echo(f"It calls {called} when something happens ({found['standing']} topics).")
    if found["advised"]:
        says = f"{found['advised']} more would need a scope that is advised"
        say([checkup.warning("subscriptions", says, "`switchyard doctor` says which; it works without")])


def held_subscriptions(app: Application, row: ConnectionRow) -> str | None:
    """Why the channel may not be asked to call us now, said; None where it may."""
    with read_only(app.engine) as conn:
        why = switches.standing(conn, row.shop_id, row.id).held("subscription")
    if why is not None:
        click.echo(f"It is not asked to call us: {why}.")
    return why


def say(findings: Sequence[Finding]) -> None:
    """Findings as lines: what was looked at, how it is, what to do."""
    for finding in findings:
        mark = {"ok": "  ok    ", "warning": "  note  ", "problem": "  WRONG "}[finding.state]
        click.echo(f"{mark}{finding.about}: {finding.says}")
        if finding.next_step:
            click.echo(f"          {finding.next_step}")


def said(option: str, name: str) -> str:
    """A name as it is stored: without what cannot be seen around it. Raises BadInput for one of nothing."""
    cleaned = " ".join(name.split())
    if not cleaned:
        raise BadInput(f"{option} is empty: give a name, or leave it out")
    return cleaned


def _known(app: Application, asked: Asked, shop: str | None) -> ConnectionRow | None:
    """The connection whose credentials are entered again."""
    with read_only(app.engine) as conn:
        rows = [
            row
            for each in queries.shops(conn)
            if shop is None or each["name"] == shop
            for row in queries.connections_of(conn, each["shop_id"])
            if row.name == asked.name and asked.is_of(row)
        ]
    return rows[0] if len(rows) == 1 else None


def _look(app: Application, asked: Asked, known: ConnectionRow | None, *, store_anyway: bool) -> Probe | None:
    """The account's real answer; None where there is none and it shall be stored anyway."""
    try:
        settings = asked.settings if known is None else {**known.settings, **asked.settings}
        return app.probe(asked.vendor, asked.base_url, asked.account_ref, "", settings, asked.secrets, known)
    except (Permanent, Retryable) as error:
        step = asked.step_unanswered if isinstance(error, Retryable) else asked.step_refused
        say([checkup.problem("answer", _without(asked, str(error)), step)])
        if store_anyway:
            return None
        raise NotRight(asked.account_ref) from None


def _without(asked: Asked, text: str) -> str:
    """An error's words, should a vendor ever repeat what it was given."""
    for secret in asked.secrets.values():
        text = text.replace(secret, "***") if secret else text
    return text


def _currency(app: Application, shop: str | None, probe: Probe | None) -> str | None:
    """The currency of the shop here, or, where it is new, what the channel says."""
    with read_only(app.engine) as conn:
        known = fetch_one(conn, "select currency from shops where name = %(name)s", name=_shop_name(shop, probe))
    if known is not None:
        return str(known["currency"])
    return None if probe is None else probe.account.currency


def _shop_name(shop: str | None, probe: Probe | None) -> str:
    name = shop or (probe.account.name if probe is not None else None)
    if name is None:
        raise BadInput("the shop did not answer, so it has to be named: give --shop")
    return name


def _store(app: Application, asked: Asked, choice: Choice, probe: Probe | None) -> ConnectionRow:
    now = utc_now()
    name = _shop_name(choice.shop, probe)
    zone = (probe.account.time_zone if probe is not None else None) or "UTC"
    currency = _currency(app, choice.shop, probe) or "USD"
    with unit_of_work(app.engine) as conn:
        shop_id = connections.open_shop(conn, name, zone, currency, choice.actor, now)
        policies.begin_with(conn, shop_id, choice.mode, choice.actor, now)
        there = queries.connections_of(conn, shop_id)
        _refuse_another_account(asked, there)
        new = NewConnection(
            vendor=asked.vendor,
            name=asked.name,
            base_url=asked.base_url,
            account_ref=asked.account_ref,
            guarantee_class=asked.guarantee_class,
            settings=asked.settings if _is_known(asked, there) else {**_begins_with(asked, there), **asked.settings},
            secrets=asked.secrets,
            write_mode="shadow",
        )
        connection_id = connections.connect(conn, shop_id, new, app.settings.secret_keys, choice.actor, now)
        row = queries.connection(conn, shop_id, connection_id)
        if probe is not None and asked.market is not None:
            row = markets.note(conn, row, probe.account.sells_in, now)
        return row


def _is_known(asked: Asked, there: Sequence[ConnectionRow]) -> bool:
    return any(row.name == asked.name for row in there)


def _begins_with(asked: Asked, there: Sequence[ConnectionRow]) -> Mapping[str, object]:
    """What a connection that is new begins with: where a shop has no source of SKUs yet, this one may be it."""
    found = dict(asked.begins_with)
    if found.pop("is_sku_source_if_alone", False):
        found["is_sku_source"] = not any(row.settings.get("is_sku_source") for row in there)
    return found


def _refuse_another_account(asked: Asked, there: Sequence[ConnectionRow]) -> None:
    """A name stands for one account: its numbers and orders would be taken for the other's."""
    for row in there:
        if row.name == asked.name and not asked.is_of(row):
            where = f" in {row.settings['marketplace_id']}" if row.settings.get("marketplace_id") else ""
            raise BadInput(
                f"{asked.name} is connected to {row.account_ref}{where} already: call this one otherwise with --name"
            )
