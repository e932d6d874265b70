"""Races between real processes: a file's roles, each in a process of its own, all let go at the same moment.

The file that races is also what its processes run: `python FILE ROLE URL SHOP CONNECTION`, by way of `play`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from core.connections.queries import connection as connection_row
from core.db import execute, make_engine, scalar, unit_of_work
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
            processes = [
                stack.enter_context(_process(file, role, url, str(world.shop_id), str(world.connection.id)))
                for role, world in runners
            ]
            for process in processes:
                # Its connection is open and it is about to wait.
                assert process.stdout is not None
                process.stdout.readline()
        answers = [process.communicate(timeout=120) for process in processes]
    for process, (_, errors) in zip(processes, answers, strict=True):
        assert process.returncode == 0, errors
    return [json.loads(out) for out, _ in answers]


@contextlib.contextmanager
def _gate(engine: Engine) -> Iterator[None]:
    with engine.connect() as conn, conn.begin():
        scalar(conn, "select pg_advisory_xact_lock(%(key)s)", key=START)
        yield


@contextlib.contextmanager
def _process(file: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, file, *words],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as runner:
        try:
            yield runner
        finally:
            runner.kill()
