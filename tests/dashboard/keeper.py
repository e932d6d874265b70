"""Starts dashboards for browsers to look at: copies of one process, which has loaded what they all need.

A dashboard takes seconds of CPU to load Streamlit, Plotly and our core, and the tests start some thirty of them. So
each test process has one of these (`python -m tests.dashboard.keeper`), as `make up` has a keeper of its workers: it
reads from standard input what to start, a line of JSON each, and says the number of the process. From there on it is
`streamlit run` as for people. All end with it, and it ends with its input.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from core.processes import ends_with_parent

ROOT = Path(__file__).resolve().parents[2]
LOADED = ("streamlit.web.cli", "streamlit.web.bootstrap", "plotly.graph_objects", "pandas", "core.bootstrap")
"""Nothing of the dashboard itself: its caches want the running server."""


def start(words: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
    """Have `streamlit` run with these words; returns the number of its process, which is no child of ours."""
    keeper = _keeper()
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    asked = {"words": [*words], "environment": {**environment}, "log": str(log)}
    keeper.stdin.write(json.dumps(asked) + "\n")
    keeper.stdin.flush()
    return int(keeper.stdout.readline())


@cache
def _keeper() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.dashboard.keeper"]
    keeper = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(keeper.communicate)
    return keeper


def main() -> None:
    """Until the input ends."""
    for name in LOADED:
        importlib.import_module(name)
    # Nobody asks how they ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    ends = ends_with_parent(signal.SIGKILL)
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if not pid:
            ends()
            _become(**json.loads(line))
        print(pid, flush=True)


def _become(words: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(ours, theirs)
    sys.argv = ["streamlit", *words]
    # Here: a test that only asks for a dashboard needs none of it.
    from streamlit.web import cli

    try:
        cli.main(prog_name="streamlit")
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
