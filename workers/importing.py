"""The steps of an import, one after the other: what the job and the command line share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

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

    One at a time: where another process is at it, nothing is done. What cannot be read is given up, with the reason.
    """
    # An import is a lane of its own.
    with lane_lock(app.engine, Lane("imports", shop_id, import_id), LOCK_SECONDS) as is_ours:
        if is_ours:
            _carry_on(app, shop_id, import_id, tell)
    with read_only(app.engine) as conn:
        return queries.run(conn, shop_id, import_id)


def _carry_on(app: Application, shop_id: int, import_id: int, tell: Tell) -> None:
    with read_only(app.engine) as conn:
        run = queries.run(conn, shop_id, import_id)
    step = {"reading": _read, "applying": _apply, "undoing": _undo}.get(run.state)
    if step is None:
        return
    try:
        step(app, run, tell)
    except AtAnotherStep:
        return
    except (Anticipated, Permanent) as error:
        with unit_of_work(app.engine) as conn:
            holding.fail(conn, shop_id, import_id, str(error), utc_now())


def _read(app: Application, run: Run, tell: Tell) -> None:
    with uploads.local_run_file(app.engine, app.documents, run, utc_now()) as path:
        file = uploads.opened(path, run)
        if file.plan is None:
            raise NeedsMapping(file.name, file.heads, file.suggested)
        with read_only(app.engine) as conn:
            outcomes = file.outcomes(reading.last_row(conn, run))
        items, is_over = run.counts["items"], False
        while not is_over:
            some = list(islice(outcomes, BATCH))
            with unit_of_work(app.engine) as conn:
                held = holding.held(conn, run.shop_id, run.id, "reading", items)
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
    """The rejected rows of an import as a file of the same form with a reason column; (where, how many rows).

    Raises core.documents.NoDocument where the uploaded file is gone, BadInput where nothing was rejected.
    """
    with read_only(app.engine) as conn:
        run = queries.run(conn, shop_id, import_id)
    return uploads.write_rejected(app.engine, app.documents, run, folder, utc_now())
