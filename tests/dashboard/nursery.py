"""Dashboards that need not read their libraries first: a process that has read them forks one whenever it is asked.

`python -m streamlit run` takes two seconds of work before its first line of ours, and the tests start dozens. What is
read beforehand belongs to others or keeps no state; of `dashboard` nothing is: its caches want the running server.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.processes import process_started

ROOT = Path(__file__).resolve().parents[2]

READ = (
    "streamlit.web.cli",
    "streamlit.web.bootstrap",
    "streamlit.testing.v1",
    "uvicorn",
    "pandas",
    "plotly.graph_objects",
    "core.bootstrap",
)


@dataclass(frozen=True)
class Born:
    """A process that is no child of ours: it is the nursery that hears of its end."""

    pid: int
    started: str | None

    @property
    def is_alive(self) -> bool:
        return self.started is not None and process_started(self.pid) == self.started

    def kill(self) -> None:
        """At once, and gone when this returns."""
        while self.is_alive:
            os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)


def streamlit(words: Sequence[str], environment: Mapping[str, str], log: Path) -> Born:
    """`python -m streamlit` with these words, in this environment; what it says goes to `log`."""
    nursery = _nursery()
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    wanted = {"words": [*words], "environment": {**environment}, "log": str(log)}
    nursery.stdin.write(json.dumps(wanted) + "\n")
    nursery.stdin.flush()
    pid = int(nursery.stdout.readline())
    return Born(pid, process_started(pid))


@cache
def _nursery() -> subprocess.Popen[str]:
    """One for this process: it ends when nobody can ask it any more, however that came to be."""
    made = subprocess.Popen(
        [sys.executable, "-m", "tests.dashboard.nursery"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(made.kill)
    return made


def main() -> None:
    """Answers each line with the number of a process."""
    for name in READ:
        importlib.import_module(name)
    # Nobody here waits for those who end.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if pid := os.fork():
            print(pid, flush=True)
        else:
            _become(**json.loads(line))


def _become(words: list[str], environment: dict[str, str], log: str) -> None:
    """What the command would have been from its first line on."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    nothing, said = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(nothing, 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv[1:] = words
    try:
        runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
