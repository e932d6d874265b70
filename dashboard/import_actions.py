"""What a person does about imports of files: one core operation each, the ring, and a sentence of what happened.

The rows are committed first. A ring that finds no Redis loses nothing: the sweep of imports rings again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, Engine

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.db import unit_of_work
from core.documents import ServedStore
from core.errors import Retryable
from core.files import operations as files
from core.importing import operations, uploads
from core.importing.operations import NotNow
from core.importing.queries import Settings
from core.ports import JobQueue

log = logging.getLogger(__name__)


class Application(Protocol):
    """What these acts need: rows, the bell that says so, and the store of files."""

    @property
    def engine(self) -> Engine: ...

    @property
    def queue(self) -> JobQueue: ...

    @property
    def documents(self) -> ServedStore: ...


class Begun(NamedTuple):
    """The import of a file, and what to say of it."""

    import_id: int
    said: str


class Download(NamedTuple):
    """A file that waits to be fetched: its link, until when that is good, and what the file is called."""

    url: str
    expires_at: datetime
    file_name: str


def application() -> Application:
    """The process's own application, put together once."""
    return bootstrap.application()


def begin(
    app: Application,
    shop_id: int,
    document_id: int,
    settings: Settings,
    heads: tuple[str, ...],
    actor: Actor,
    *,
    remember: bool,
) -> Begun:
    """Have an uploaded file read without effect, once. `remember`: read files of these heads like this from now on, by
    the form that they have where nothing is mapped.

    Raises core.documents.NoDocument, BadInput.
    """
    with unit_of_work(app.engine) as conn:
        now = utc_now()
        _remember(conn, shop_id, settings, heads, actor, remember=remember)
        import_id, is_new = operations.begin_once(conn, shop_id, document_id, settings, actor, now)
    if not is_new:
        return Begun(import_id, f"This file is imported already, as import {import_id}: here it is.")
    return Begun(import_id, _when("The dry run", ring(app, shop_id, import_id)))


def read_again(
    app: Application,
    shop_id: int,
    import_id: int,
    settings: Settings,
    heads: tuple[str, ...],
    actor: Actor,
    *,
    remember: bool,
) -> Begun:
    """Read the file anew, by other settings. Raises BadInput."""

    def act(conn: Connection) -> None:
        _remember(conn, shop_id, settings, heads, actor, remember=remember)
        operations.read_again(conn, shop_id, import_id, settings, actor, utc_now())

    return Begun(import_id, _do(app, shop_id, import_id, act, "The dry run", rings=True))


def _remember(
    conn: Connection, shop_id: int, settings: Settings, heads: tuple[str, ...], actor: Actor, *, remember: bool
) -> None:
    if settings.mapping is None:
        if remember:
            operations.forget_mapping(conn, shop_id, heads, actor, utc_now())
        return
    settings.mapping.check_heads(heads)
    if remember:
        operations.remember_mapping(conn, shop_id, heads, settings.mapping, actor, utc_now())


def apply(app: Application, shop_id: int, import_id: int, actor: Actor) -> str:
    """Have what was read applied, or go on with it."""

    def act(conn: Connection) -> None:
        operations.apply(conn, shop_id, import_id, actor, utc_now())

    return _do(app, shop_id, import_id, act, "Applying it", rings=True)


def undo(app: Application, shop_id: int, import_id: int, actor: Actor) -> str:
    """Have what was applied taken back."""

    def act(conn: Connection) -> None:
        operations.undo(conn, shop_id, import_id, actor, utc_now())

    return _do(app, shop_id, import_id, act, "Taking it back", rings=True)


def stop(app: Application, shop_id: int, import_id: int, actor: Actor) -> str:
    """Have it end at its next batch."""

    def act(conn: Connection) -> None:
        operations.stop(conn, shop_id, import_id, actor, utc_now())

    return _do(app, shop_id, import_id, act, "It stops at its next batch.")


def discard(app: Application, shop_id: int, import_id: int, actor: Actor) -> str:
    """Decide that nothing comes of it."""

    def act(conn: Connection) -> None:
        operations.discard(conn, shop_id, import_id, actor, utc_now())

    return _do(app, shop_id, import_id, act, "Discarded. Nothing was changed.")


def prepare_rejected(app: Application, shop_id: int, import_id: int, by: str) -> Download:
    """The rejected rows as a file that the browser fetches.

    Raises core.documents.NoDocument where the uploaded file is gone, BadInput, StoreFull, core.sealing.NoSecretKeys.
    """
    now = utc_now()
    document_id, name = uploads.store_rejected(app.engine, app.documents, shop_id, import_id, by, now)
    with unit_of_work(app.engine) as conn:
        link = files.download_link(conn, app.documents, shop_id, document_id, utc_now())
    return Download(link.url, link.expires_at, name)


def _do(
    app: Application, shop_id: int, import_id: int, act: Callable[[Connection], None], said: str, *, rings: bool = False
) -> str:
    """What was done; or, where somebody was faster, what the import is by now. `rings`: `said` is what begins now."""
    try:
        with unit_of_work(app.engine) as conn:
            act(conn)
    except NotNow as overtaken:
        return f"Nothing was done: {overtaken}."
    return _when(said, ring(app, shop_id, import_id)) if rings else said


def _when(what: str, is_rung: bool) -> str:
    return f"{what} begins within seconds." if is_rung else f"Redis does not answer: {what.lower()} begins later."


def ring(app: Application, shop_id: int, import_id: int) -> bool:
    """Tell a worker; says whether that was heard."""
    try:
        app.queue.enqueue("imports.work", shop_id=shop_id, import_id=import_id)
    except Retryable as error:
        log.warning("import %s is not rung for, the sweep will: %s", import_id, error)
        return False
    return True
