"""What a person does on the Mapping screen: one core operation each, its preview, the rings, and what was done.

A preview is the act itself, taken back; where it would come to something else by the time of the act, nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sqlalchemy import Connection, Engine

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.connections.queries import connection as connection_row
from core.db import fetch, read_only, unit_of_work
from core.identity import files, operations
from core.identity.files import DryRun
from core.identity.operations import MappingChanged
from core.identity.outcomes import Outcome
from core.identity.rules import Identifier
from core.messaging.doorbell import Doorbell, Lane
from core.orders import intake
from dashboard import mapping_words

LOOKING = Actor("preview", "looking at what would happen")

Act = Callable[[Connection, Actor], Outcome]
"""One core operation, with everything but its unit of work and its actor."""


class Application(Protocol):
    """What these acts need: rows, and the bell that says that listings differ now."""

    @property
    def engine(self) -> Engine: ...

    @property
    def doorbell(self) -> Doorbell: ...


def application() -> Application:
    """The process's own application, put together once."""
    return bootstrap.application()


def mapping(shop_id: int, one: Identifier, code: str) -> Act:
    """The act that gives a SKU to an identifier that has none."""
    return lambda conn, actor: operations.map_identifier(conn, shop_id, one, code, actor, utc_now())


def setting_aside(shop_id: int, one: Identifier) -> Act:
    """The act that says that an identifier is not ours."""
    return lambda conn, actor: operations.ignore_identifier(conn, shop_id, one, actor, utc_now())


def preview(app: Application, act: Act) -> Outcome:
    """What an act would come to now. Raises what the act raises."""
    with app.engine.connect() as conn, conn.begin() as transaction:
        try:
            return act(conn, LOOKING)
        finally:
            transaction.rollback()


def do(app: Application, shop_id: int, act: Act, token: str, actor: Actor) -> Outcome:
    """Do an act as it was previewed, whole or not at all, and ring. Raises MappingChanged, what the act raises."""
    with unit_of_work(app.engine) as conn:
        done = act(conn, actor)
        if done.token() != token:
            raise MappingChanged
    ring(app, shop_id, done.connection_ids)
    return done


def preview_remap(app: Application, shop_id: int, one: Identifier, code: str) -> Outcome:
    """What another SKU would come to. Raises NothingToRemap, WriteStillOpen, BadInput."""
    return operations.preview_remap(app.engine, shop_id, one, code, LOOKING, utc_now())


def remap(app: Application, shop_id: int, one: Identifier, code: str, token: str, actor: Actor) -> Outcome:
    """Make an identifier another SKU's, as it was previewed, and ring. Raises MappingChanged, WriteStillOpen."""
    with unit_of_work(app.engine) as conn:
        done = operations.remap_identifier(conn, shop_id, one, code, token, actor, utc_now())
    ring(app, shop_id, done.connection_ids)
    return done


def take_back(app: Application, shop_id: int, one: Identifier, actor: Actor) -> str:
    """Take up again what was set aside: it is looked for anew, or waits for an answer. Raises NotSetAside."""
    with unit_of_work(app.engine) as conn:
        lines = operations.reopen_identifier(conn, shop_id, one, actor, utc_now())
    # Each in a unit of work of its own: orders are locked before listings.
    with unit_of_work(app.engine) as conn:
        matched = operations.rematch(conn, shop_id, one.connection_id, utc_now())
    with unit_of_work(app.engine) as conn:
        row = connection_row(conn, shop_id, one.connection_id)
        intake.book_lines_mapped_late(conn, intake.channel_of(conn, row, utc_now()), utc_now())
    ring(app, shop_id, {one.connection_id})
    return mapping_words.taken_back(one.value, lines, matched)


def dry_run(app: Application, shop_id: int, name: str, data: bytes) -> DryRun:
    """What a file would do, and everything that is wrong with it."""
    return files.dry_run(app.engine, shop_id, name, data, LOOKING, utc_now())


def load(app: Application, shop_id: int, name: str, data: bytes, token: str, actor: Actor) -> DryRun:
    """Load a file as it was rehearsed, all of it or nothing, and ring.

    Raises BadFile, AlreadyLoaded, MappingChanged, WriteStillOpen.
    """
    with unit_of_work(app.engine) as conn:
        done = files.load(conn, shop_id, name, data, actor, utc_now(), token=token)
    ring(app, shop_id, done.outcome.connection_ids)
    return done


def ring(app: Application, shop_id: int, connection_ids: set[int]) -> None:
    """Pushes may differ on every channel, and what waited in the inbox has another turn.

    A ring that finds no Redis loses nothing: the sweep rings too.
    """
    with read_only(app.engine) as conn:
        everybody = fetch(conn, "select id from connections where shop_id = %(shop)s order by id", shop=shop_id)
    for row in everybody:
        app.doorbell.ring(Lane("stock", shop_id, row["id"]))
    for connection_id in sorted(connection_ids):
        app.doorbell.ring(Lane("events", shop_id, connection_id))
