"""A whole system for a measurement: `switchyard up` in a home and on ports of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from bench.servers import ROOT
from core import embedded
from core.db import make_engine
from core.processes import port_is_free
from workers.up import read_state

PORT = 28_000
"""Where the search for a free block of ports begins, unless SWITCHYARD_PORT_BASE says otherwise."""


@contextmanager
def running_system() -> Iterator[Path]:
    """`switchyard up` in a home of its own, stopped and removed afterwards."""
    home = Path(tempfile.mkdtemp(prefix="switchyard-bench-"))
    home.chmod(0o711)
    first = int(os.environ.get("SWITCHYARD_PORT_BASE", PORT))
    base = next(base for base in range(first, first + 3000, 20) if all(port_is_free(base + step) for step in range(10)))
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")},
        "SWITCHYARD_HOME": str(home),
        "SWITCHYARD_PORT_BASE": str(base),
        "PYTHONPATH": str(ROOT),
    }
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.cli", "up"], env=environment, cwd=ROOT, stdout=output, stderr=output
        )
    try:
        _wait_until_up(home, process)
        yield home
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(90)
        embedded.erase(home)
        subprocess.run(["rm", "-rf", str(home)], check=False)


def _wait_until_up(home: Path, process: subprocess.Popen[bytes]) -> None:
    while "Switchyard is up." not in (home / "output").read_text(errors="replace"):
        if process.poll() is not None:
            raise AssertionError((home / "output").read_text(errors="replace")[-3000:])
        time.sleep(0.2)


def environment_of(home: Path) -> dict[str, str]:
    """With what another process of ours works on the system of a home."""
    state = read_state(home)
    assert state is not None
    return {**os.environ, **state.environment(), "PYTHONPATH": str(ROOT), "SWITCHYARD_OPERATOR": "bench"}


def engine_of(home: Path) -> Engine:
    """The database of the system of a home."""
    state = read_state(home)
    assert state is not None
    return make_engine(state.database_url, name="bench")
