"""What a person does at the Desk: one core operation each, its preview, the ring, and what was done.

A preview is the act itself, taken back, so it cannot say anything else than what will happen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from sqlalchemy import Connection, Engine

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.db import fetch, unit_of_work
from core.desk import booking, counting, drafts, files, undo
from core.desk.booking import Outcome
from core.desk.files import DryRun
from core.desk.rows import Wanted
from core.messaging.doorbell import Doorbell, Lane
from dashboard import desk_words, formats

log = logging.getLogger(__name__)

Act = Callable[[Connection, Actor], Outcome]
"""One core operation, with everything but its unit of work and its actor."""

LOOKING = Actor("preview", "looking at what would happen")


class Application(Protocol):
    """What these acts need: rows, and the bell that says that listings differ now."""

    @property
    def engine(self) -> Engine: ...

    @property
    def doorbell(self) -> Doorbell: ...


def application() -> Application:
    """The process's own application, put together once."""
    return bootstrap.application()


def preview(app: Application, act: Act) -> Outcome:
    """What an act would come to now. Raises what the act raises."""
    return booking.rehearse(app.engine, lambda conn: act(conn, LOOKING))


def do(app: Application, shop_id: int, act: Act, actor: Actor) -> Outcome:
    """Do an act, whole or not at all, and ring for the listings that differ now. Raises what the act raises."""
    with unit_of_work(app.engine) as conn:
        done = act(conn, actor)
    ring(app, shop_id)
    return done


def ring(app: Application, shop_id: int) -> None:
    """Ring the stock lanes of a shop. A ring that finds no Redis loses nothing: the sweep rings too."""
    with app.engine.connect() as conn:
        found = fetch(conn, "select id from connections where shop_id = %(shop)s and state = 'active'", shop=shop_id)
    for row in found:
        app.doorbell.ring(Lane("stock", shop_id, row["id"]))


def undoing(shop_id: int, document_id: int) -> Act:
    """The act that takes a document back."""
    return lambda conn, actor: undo.undo(conn, shop_id, document_id, actor, utc_now())


def enter_counts(
    app: Application, shop_id: int, document_id: int, counted: dict[str, int], key: str, actor: Actor
) -> str:
    """Enter counts on a sheet; says how many lines were entered."""
    with unit_of_work(app.engine) as conn:
        entered = counting.enter_counts(conn, shop_id, document_id, counted, key, actor, utc_now())
    if not entered:
        return "These counts were entered before; nothing was changed."
    return f"{formats.plural(entered, 'count')} entered on sheet {document_id}."


def refuse_counts(app: Application, shop_id: int, document_id: int, seen: Sequence[counting.Seen], actor: Actor) -> str:
    """Send counted lines back to be counted again."""
    with unit_of_work(app.engine) as conn:
        refused = counting.refuse(conn, shop_id, document_id, seen, actor, utc_now())
    return f"{formats.plural(refused, 'line is', 'lines are')} to be counted again."


def finish_count(app: Application, shop_id: int, document_id: int, actor: Actor) -> str:
    """End a count; what was never counted stays as it is."""
    with unit_of_work(app.engine) as conn:
        left = counting.finish(conn, shop_id, document_id, actor, utc_now())
    return f"Count {document_id} is finished; {formats.plural(left, 'line')} left as they were."


def dry_run(app: Application, shop_id: int, wanted: Wanted, name: str, data: bytes) -> DryRun:
    """What a file would do, and everything that is wrong with it."""
    return files.dry_run(app.engine, shop_id, wanted, name, data, LOOKING, utc_now())


def load(
    app: Application, shop_id: int, wanted: Wanted, name: str, data: bytes, actor: Actor
) -> tuple[str, list[Outcome]]:
    """Book a file, all of it or nothing; says what it came to. Raises BadFile, AlreadyLoaded, and what acts raise."""
    with unit_of_work(app.engine) as conn:
        done = files.apply(conn, shop_id, wanted, name, data, actor, utc_now())
    ring(app, shop_id)
    return " ".join(desk_words.said(outcome) for outcome in done), done


def keep_draft(app: Application, shop_id: int, person: str, act: str, key: str, lines: drafts.Lines) -> None:
    """Keep what somebody is scanning, so that a page that is loaded again goes on with it."""
    with unit_of_work(app.engine) as conn:
        if lines:
            drafts.keep(conn, shop_id, person, act, key, lines, utc_now())
        else:
            drafts.drop(conn, shop_id, person, act, key)


def kept_draft(app: Application, shop_id: int, person: str, act: str) -> tuple[str, drafts.Lines] | None:
    """What somebody was scanning when the page was closed."""
    with app.engine.connect() as conn:
        return drafts.kept(conn, shop_id, person, act)
