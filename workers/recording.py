"""Keeps the history of job runs in Postgres, where it survives Redis and killed processes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from traceback import format_tb

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core.adapters.rq import UNREADABLE, SwJob
from core.clock import utc_now
from core.db import engine_of_jobs, execute, unit_of_work
from core.logs import mask
from core.runs import kinds, operations, turns

log = logging.getLogger(__name__)

# What differs between two failures of one cause: ids, amounts, addresses, quoted values. As `error_pattern` in SQL.
_VOLATILE = (
    (re.compile(r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)+"), "<mail>"),
    (re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"), "<uuid>"),
    (re.compile(r"0x[0-9a-fA-F]+|\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{12,}\b"), "<hex>"),
    # The field or attribute that code looked for in vain is the cause itself.
    (re.compile(r"(^\w+: |\battribute )'([a-z_][a-zA-Z_]*)'$"), r"\1\2"),
    (re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\""), "<text>"),
    (re.compile(r"\b(?=[A-Z0-9]*\d)(?=[A-Z0-9]*[A-Z])[A-Z0-9]{6,}\b"), "<id>"),
    # And so is a status of HTTP.
    (re.compile(r"(?<!\d)(?<!refused with )(?<!answered )(?<!status )(?<!HTTP )\d+(?:\.\d+)?"), "<n>"),
)


ARGUMENT_CHARACTERS_MAX = 4000


def describe(error: BaseException) -> str:
    """The error in a sentence, without the statement and the row that a database error carries along."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, DBAPIError) or isinstance(original, psycopg.Error):
        lines = str(original).splitlines()
        kept = [line for line in lines if not line.startswith(("DETAIL:", "CONTEXT:", "LINE "))]
        return f"{type(original).__name__}: {' '.join(kept[:3])}"
    return f"{type(error).__name__}: {error}"


def trace(error: BaseException) -> str:
    """Where it broke, cause before consequence: files, lines and source, with each error as `describe` says it.

    Python's own format would print an error's text as it is, and a database error's text holds the row.
    """
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = _before(step)
    parts = ["".join(format_tb(step.__traceback__)) + describe(step) for step in reversed(chain)]
    return "\n\nwhich led to:\n\n".join(parts)


def _before(error: BaseException) -> BaseException | None:
    """What led to `error`; behind a database error stands only the driver's own, which says the same."""
    if isinstance(error, DBAPIError):
        return None
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def fingerprint(function: str, error: BaseException) -> str:
    """The same for every failure of one cause: function, kind of error, first line without ids and numbers."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    message = (describe(error).splitlines() or [""])[0]
    for pattern, word in _VOLATILE:
        message = pattern.sub(word, message)
    text = f"{function}|{type(cause).__name__}|{message}"
    return sha256(text.encode(errors="replace")).hexdigest()[:16]


def never_began(function: str) -> str:
    """The fingerprint of jobs that were taken and not begun."""
    return sha256(f"{function}|never began".encode(errors="replace")).hexdigest()[:16]


class PostgresRunRecorder:
    """core.adapters.rq.RunRecorder in units of work of its own, apart from those it watches.

    Opens nothing before the first run, and nothing that a forked process would inherit.
    """

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def opened(self, job: SwJob) -> int:
        """A run begins."""
        name, arguments, now = mask(job.func_name), _arguments(job), utc_now()
        kind, shop_id = kinds.BY_JOB.get(name), arguments.get("shop_id")
        with self._unit_of_work() as conn:
            if kind is not None and isinstance(shop_id, int):
                wanted = arguments.get("sync_run_id")
                job.sync_run_id = turns.begin(conn, kind, shop_id, wanted if isinstance(wanted, int) else None, now)
            return operations.open_job_run(
                conn,
                job_ref=job.id,
                function=name[:200],
                arguments=arguments,
                queue=job.origin,
                worker=job.worker_name,
                attempt=job.attempt,
                now=now,
                sync_run_id=job.sync_run_id,
            )

    def closed(self, run_id: int, job: SwJob, result: object, error: BaseException | None) -> None:
        """A run ended. What cannot be written is left to the sweep of abandoned runs."""
        try:
            with self._unit_of_work() as conn:
                operations.close_job_run(
                    conn,
                    run_id,
                    "finished" if error is None else "failed",
                    utc_now(),
                    result=_outcome(result),
                    error=None if error is None else describe(error),
                    fingerprint=None if error is None else fingerprint(job.func_name, error),
                    traceback=None if error is None else trace(error),
                    business=kinds.business(job.func_name, result) if error is None else None,
                )
        except (SQLAlchemyError, TypeError, ValueError) as problem:
            log.error("run %s of %s not closed: %s", run_id, job.func_name, describe(problem))
            return
        self._count([run_id])

    def _count(self, run_ids: Iterable[int]) -> None:
        """Count turns of syncs, apart from closing their runs: who waits for a row that all count on loses no run."""
        try:
            for run_id in run_ids:
                with self._unit_of_work() as conn:
                    turns.end(conn, run_id)
        except SQLAlchemyError as problem:
            log.error("a turn is not counted: %s", describe(problem))

    def killed(self, job: SwJob, worker: str, how: str) -> None:
        """The process that ran the job died under it; called in its parent, which keeps no connection."""
        error = RuntimeError(f"the process running it was killed: {how}")
        name = job.func_name
        try:
            with self._unit_of_work() as conn:
                closed = operations.close_killed_runs(
                    conn, job.id, worker, str(error), fingerprint(name, error), utc_now()
                )
            self._count(closed)
        except SQLAlchemyError as problem:
            log.error("killed run of %s not closed: %s", name, describe(problem))
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back to the system."""
        engine_of_jobs(self._url).dispose()

    @contextmanager
    def _unit_of_work(self) -> Iterator[Connection]:
        """Short, whatever the job may take: its end must not wait long for being written down."""
        with unit_of_work(engine_of_jobs(self._url)) as conn:
            execute(conn, "set local statement_timeout = '10s'")
            yield conn


def _arguments(job: SwJob) -> dict[str, object]:
    if job.func_name == UNREADABLE or not isinstance(job.kwargs, dict):
        return {}
    return {str(key): _argument(value) if isinstance(value, str) else value for key, value in job.kwargs.items()}


def _argument(text: str) -> str:
    """An argument in full, since the job may be done again by what stands here; one that is cut says so as one that is
    covered does, and nobody can."""
    shown = mask(text)
    return shown if len(shown) <= ARGUMENT_CHARACTERS_MAX else f"{shown[:ARGUMENT_CHARACTERS_MAX]}***"


def _outcome(result: object) -> object:
    if result is None or isinstance(result, dict):
        return result
    return {"value": str(result)[:1000]}
