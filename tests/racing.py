"""Races between real processes: a file's roles, each in a process of its own, all let go at the same moment.

The file that races is also what its processes run: `python FILE ROLE URL SHOP CONNECTION`, by way of `play`. They are
copies of one that has loaded what they need (`tests.copies`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from sqlalchemy import Engine

from core.connections.queries import connection as connection_row
from core.db import execute, make_engine, scalar, unit_of_work
from tests import copies
from tests.conftest import ROOT
from tests.factories import World, world_of

START = 77
"""Key of the lock that a race waits for."""

Role = Callable[[Engine, World], Any]


def play(roles: Mapping[str, Role]) -> None:
    """Be one of a race's processes: open the connection, wait for the start, do, and print what it came to."""
    role, url, shop_id, connection_id = sys.argv[1:]
    engine = make_engine(url, name=f"race-{role}")
    with unit_of_work(engine) as conn:
        world = world_of(conn, connection_row(conn, int(shop_id), int(connection_id)))
    with unit_of_work(engine) as conn:
        execute(conn, "set local lock_timeout = '60s'")
        print("ready", flush=True)
        scalar(conn, "select pg_advisory_xact_lock_shared(%(key)s)", key=START)
    print(json.dumps(roles[role](engine, world)))


def race(engine: Engine, file: str, runners: Sequence[tuple[str, World]]) -> list[Any]:
    """Run roles of a file at once, each in a world; returns what each came to, in turn. None may fail."""
    url = engine.url.render_as_string(hide_password=False)
    with contextlib.ExitStack() as stack:
        with _gate(engine):
            racers = [
                stack.enter_context(racer(file, role, url, str(world.shop_id), str(world.connection.id)))
                for role, world in runners
            ]
            for said, _ in racers:
                # Its connection is open and it is about to wait.
                said.readline()
        return [answer(said, errors) for said, errors in racers]


def answer(said: IO[str], errors: IO[str]) -> Any:
    """The last that a process said before it ended. Raises AssertionError with its words if it failed."""
    answer = said.readline()
    errors.seek(0)
    assert answer, errors.read()
    return json.loads(answer)


@contextlib.contextmanager
def _gate(engine: Engine) -> Iterator[None]:
    with engine.connect() as conn, conn.begin():
        scalar(conn, "select pg_advisory_xact_lock(%(key)s)", key=START)
        yield


@contextlib.contextmanager
def racer(file: str, *words: str) -> Iterator[tuple[IO[str], IO[str]]]:
    """A process at the start; what it says, and its errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    reading, writing = os.pipe()
    with open(reading) as said, tempfile.TemporaryFile("w+") as errors:
        pid = copies.start([file, *words], environment, writing, errors.fileno())
        os.close(writing)
        try:
            yield said, errors
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
