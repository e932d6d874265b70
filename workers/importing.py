"""The steps of an import, one after the other: what the job and the command line share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection

from core.audit import Actor
from core.bootstrap import Application
from core.catalog.imports.reading import NeedsMapping
from core.clock import utc_now
from core.db import count_catalogue, read_only, unit_of_work
from core.errors import Anticipated, BadInput, Permanent
from core.files import operations as files
from core.importing import applying, holding, operations, queries, reading, undoing, uploads
from core.importing.holding import BATCH, AtAnotherStep
from core.importing.queries import Run, Settings
from core.messaging.doorbell import Lane, lane_lock
from workers.jobs.inbox import ring_pushes

LOCK_SECONDS = 3_600
"""As long as the job: a file of half a million rows is put aside before the first of its products is known."""

Tell = Callable[[Run], None]
"""Shown how far it is, after each batch."""


def carry_on(app: Application, shop_id: int, import_id: int, tell: Tell = lambda _run: None) -> Run:
    """Do what the import's step asks for, to its end or until somebody stops it; returns it as it is then.

    One at a time: where another process is at it, nothing is done. What cannot be read is given up, with the reason;
    so is what our program fails at, and that error is raised all the same, once. What may succeed later (a lost
    connection, a deadlock) is raised and leaves the import as it is, to be gone on with.
    """
    # An import is a lane of its own.
    with lane_lock(app.engine, Lane("imports", shop_id, import_id), LOCK_SECONDS) as is_ours:
        if is_ours:
            _carry_on(app, shop_id, import_id, tell)
    with read_only(app.engine) as conn:
        return queries.run(conn, shop_id, import_id)


def _carry_on(app: Application, shop_id: int, import_id: int, tell: Tell) -> None:
    while True:
        with unit_of_work(app.engine) as conn:
            run = queries.run(conn, shop_id, import_id, for_update=True)
            # Before anything else: what follows may be what it is to be stopped for.
            is_over = run.state not in _STEPS or holding.granted_stop(conn, run, utc_now())
        if is_over or not _has_moved(app, run, tell):
            return


def _has_moved(app: Application, run: Run, tell: Tell) -> bool:
    """Do one step; True where the import was set to another, or its file to be read anew, under our hands."""
    try:
        _STEPS[run.state](app, run, tell)
    except AtAnotherStep:
        with read_only(app.engine) as conn:
            now = queries.run(conn, run.shop_id, run.id)
        return (now.state, now.generation) != (run.state, run.generation)
    except (Anticipated, Permanent) as error:
        with unit_of_work(app.engine) as conn:
            holding.fail(conn, run.shop_id, run.id, str(error), utc_now())
    except Exception as error:
        if holding.is_broken(error):
            with unit_of_work(app.engine) as conn:
                holding.fail(conn, run.shop_id, run.id, _broken_off(conn, run, error), utc_now())
        raise
    return False


def _broken_off(conn: Connection, run: Run, error: Exception) -> str:
    """Where an import came to when our program failed, and by what kind of error; nothing of what the rows say."""
    if run.state != "reading":
        return holding.why(error)
    row = reading.last_row(conn, run)
    if not row:
        return f"{run.file_name} was begun, and before its first {BATCH} products were noted {holding.why(error)}"
    return f"{run.file_name} was read up to row {row:,}; among the next {BATCH} products {holding.why(error)}"


def _read(app: Application, run: Run, tell: Tell) -> None:
    with uploads.local_run_file(app.engine, app.documents, run, utc_now()) as path:
        file = uploads.opened(path, run)
        if file.plan is None:
            raise NeedsMapping(file.name, file.heads, file.suggested)
        with read_only(app.engine) as conn:
            outcomes = file.outcomes(reading.last_row(conn, run))
        items, is_over = run.counts["items"], False
        while not is_over:
            with unit_of_work(app.engine) as conn:
                held = holding.held(conn, run.shop_id, run.id, "reading", items, run.generation)
                is_over = holding.granted_stop(conn, held, utc_now())
            if is_over:
                break
            some = list(islice(outcomes, BATCH))
            with unit_of_work(app.engine) as conn:
                held = holding.held(conn, run.shop_id, run.id, "reading", items, run.generation)
                is_over = holding.granted_stop(conn, held, utc_now())
                if not is_over and some:
                    total = file.progress.total
                    reading.take_in(conn, held, some, file.problems, file.form or "", total, utc_now())
                    items += len(some)
                elif not is_over:
                    reading.finish_reading(conn, held, utc_now())
                    is_over = True
            _tell(app, run, tell)


def _apply(app: Application, run: Run, tell: Tell) -> None:
    is_over = False
    while not is_over:
        with unit_of_work(app.engine) as conn:
            held = holding.held(conn, run.shop_id, run.id, "applying")
            is_over = holding.granted_stop(conn, held, utc_now())
            is_over = is_over or applying.apply_batch(conn, held, utc_now()) == 0
        _tell(app, run, tell)
    # Of a catalogue that was empty until now the planner believes that it still is.
    count_catalogue(app.engine)
    _ring(app, run)


def _undo(app: Application, run: Run, tell: Tell) -> None:
    is_over = False
    while not is_over:
        with unit_of_work(app.engine) as conn:
            held = holding.held(conn, run.shop_id, run.id, "undoing")
            is_over = holding.granted_stop(conn, held, utc_now())
            is_over = is_over or undoing.undo_batch(conn, held, utc_now()) == 0
        _tell(app, run, tell)
    _ring(app, run)


_STEPS: Mapping[str, Callable[[Application, Run, Tell], None]] = {
    "reading": _read,
    "applying": _apply,
    "undoing": _undo,
}


def _tell(app: Application, run: Run, tell: Tell) -> None:
    with read_only(app.engine) as conn:
        tell(queries.run(conn, run.shop_id, run.id))


def _ring(app: Application, run: Run) -> None:
    """Have channels told of what changed, at once; the sweeps come by later all the same."""
    if run.settings.location_id is not None:
        ring_pushes(app)


def begin_with(app: Application, shop_id: int, path: Path, name: str, settings: Settings, actor: Actor) -> int:
    """Store a file of this machine and begin an import of it; returns the import's id. Raises BadInput, StoreFull."""
    size = path.stat().st_size
    if size == 0:
        raise BadInput(f"{name} is empty: there is nothing to import")
    with unit_of_work(app.engine) as conn:
        announced = files.announce(
            conn, app.documents, shop_id, uploads.KIND, name, None, min(size, uploads.BYTES_MAX), actor.name, utc_now()
        )
    with path.open("rb") as source:
        stat = app.documents.put(announced.key, iter(lambda: source.read(1 << 20), b""), uploads.BYTES_MAX)
    with unit_of_work(app.engine) as conn:
        files.stored(conn, announced.key, stat, utc_now())
        return operations.begin(conn, shop_id, announced.document_id, name, settings, actor, utc_now())


def write_rejected(app: Application, shop_id: int, import_id: int, folder: Path) -> tuple[Path, int]:
    """The rows of an import that were rejected or not applied, as a file of the same form with a reason column; (where,
    how many rows).

    Raises core.documents.NoDocument where the uploaded file is gone, BadInput where nothing was rejected.
    """
    with read_only(app.engine) as conn:
        run = queries.run(conn, shop_id, import_id)
    return uploads.write_rejected(app.engine, app.documents, run, folder, utc_now())
