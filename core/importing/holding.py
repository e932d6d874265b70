"""What all long parts of an import share. A batch is a unit of work that holds the import's row and begins where the
last one ended, whoever did that: so it may be killed at any moment and gone on with by another, and asked to stop
between two batches."""

from __future__ import annotations

import csv
import sqlite3
import zipfile
import zlib
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from core.audit import Actor
from core.db import execute, is_data_error
from core.errors import Anticipated
from core.importing import queries
from core.importing.queries import Run
from core.tables import values

BATCH = 200
"""Products in one unit of work: seconds, for which an edit of the catalogue may have to wait."""


class AtAnotherStep(Anticipated):
    """The import was stopped, or somebody else has gone on with it."""


def held(
    conn: Connection,
    shop_id: int,
    import_id: int,
    state: str,
    items: int | None = None,
    generation: int | None = None,
) -> Run:
    """The import, to work on a batch of it. Raises AtAnotherStep, also where others than `items` are read of it.

    `generation`: the reading that the batch is of; raises where the file is read anew since.
    """
    run = queries.run(conn, shop_id, import_id, for_update=True)
    is_of_another = generation is not None and run.generation != generation
    if run.state != state or is_of_another or (items is not None and run.counts["items"] != items):
        raise AtAnotherStep(f"import {import_id} is {run.state}")
    return run


def granted_stop(conn: Connection, run: Run, now: datetime) -> bool:
    """Whether somebody asked it to stop; it then has."""
    if run.stop_asked_by is None:
        return False
    finish(conn, run, "discarded" if run.state == "reading" else "stopped", now)
    return True


def finish(conn: Connection, run: Run, state: str, now: datetime, stamp: str | None = None) -> None:
    stamped = f", {stamp} = %(now)s" if stamp else ""
    execute(
        conn,
        f"""
        update import_runs set state = %(state)s, worked_at = %(now)s, stop_asked_by = null{stamped}
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=run.shop_id,
        id=run.id,
        state=state,
        now=now,
    )
    if state in ("read", "stopped"):
        _note_effect(conn, run.shop_id, run.id)


def _note_effect(conn: Connection, shop_id: int, import_id: int) -> None:
    """Keep what applying the rest would do: who decides looks at it again and again."""
    execute(
        conn,
        "update import_runs set effect = %(effect)s::jsonb where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=import_id,
        effect=storable(asdict(queries.effect(conn, shop_id, import_id))),
    )


def fail(conn: Connection, shop_id: int, import_id: int, why: str, now: datetime) -> None:
    """Give up an import that cannot be read; what was read of it is shown, and nothing was applied."""
    execute(
        conn,
        """
        update import_runs set state = case when state = 'reading' then 'failed' else 'stopped' end, problem = %(why)s,
            worked_at = %(now)s, stop_asked_by = null
        where shop_id = %(shop)s and id = %(id)s and state in ('reading', 'applying', 'undoing')
        """,
        shop=shop_id,
        id=import_id,
        why=why,
        now=now,
    )
    if queries.run(conn, shop_id, import_id).state == "stopped":
        _note_effect(conn, shop_id, import_id)


_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    NameError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    csv.Error,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    zipfile.BadZipFile,
    zlib.error,
)


def is_broken(error: BaseException) -> bool:
    """Whether our program, or the database, cannot do with the data itself, so that trying again cannot help.

    A lost connection, a deadlock, a full disk or a job that ran out of its time say nothing of the data.
    """
    return is_data_error(error) or isinstance(error, _BROKEN)


def why(error: BaseException) -> str:
    """What went wrong, without a value of the data: a refusal in its own words, else the kind of error."""
    if isinstance(error, Anticipated):
        return str(error)
    kind = type(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error).__name__
    return f"our program failed at it ({kind}), which is no fault of the file's: tell whoever looks after Switchyard"


def actor_of(run: Run, who: str) -> Actor:
    """In whose name it is done: the run's `applied_by` or `undone_by`."""
    return Actor(getattr(run, who) or run.created_by, run.reason)


def storable(value: Any) -> str:
    """JSON as PostgreSQL takes it: a text there has no zero bytes and no half letters."""
    try:
        written = orjson.dumps(value)
    except TypeError:
        # Half a letter; what is no JSON at all is refused again.
        return orjson.dumps(_cleaned(value)).decode()
    # Found in a text that tells of it, too, which is cleaned for nothing.
    return (orjson.dumps(_cleaned(value)) if b"\\u0000" in written else written).decode()


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return values.storable(value)
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(part) for key, part in value.items()}
    return [_cleaned(part) for part in value] if isinstance(value, list | tuple) else value
