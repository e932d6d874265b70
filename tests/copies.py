"""Starts Python programs as copies of one process, which has loaded what they all need.

A dashboard takes seconds of CPU to load Streamlit, Plotly and our core, and so does each side of a race; the tests
start more than a hundred of them. So each test process has one of these (`python -m tests.copies`), as `make up` has a
keeper of its workers. From there on a copy is the program as if Python had been started with it. All end with it, and
it ends with its test process.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from core.processes import ends_with_parent

ROOT = Path(__file__).resolve().parents[1]
LOADED = (
    "streamlit.web.cli",
    "streamlit.web.bootstrap",
    "plotly.graph_objects",
    "pandas",
    "hypothesis",
    "core.bootstrap",
    "tests.racing",
)
"""Nothing of the dashboard itself: its caches want the running server."""

ASKED_MAX = 1 << 20


def start(words: Sequence[str], environment: Mapping[str, str], out: int, errors: int) -> int:
    """Run a file (`x.py`) or a module with these words and two open files; returns the number of its process.

    It is no child of ours: that it ended, and not how, is seen by its files.
    """
    keeper = _keeper()
    asked = json.dumps({"words": [*words], "environment": {**environment}}).encode()
    socket.send_fds(keeper, [asked], [out, errors])
    return int(keeper.recv(ASKED_MAX))


@cache
def _keeper() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", "tests.copies", str(theirs.fileno())],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    return ours


def main() -> None:
    """Until who asks is gone."""
    asking = socket.socket(fileno=int(sys.argv[1]))
    for name in LOADED:
        importlib.import_module(name)
    # Nobody asks how they ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    ends = ends_with_parent(signal.SIGKILL)
    while True:
        asked, files, _, _ = socket.recv_fds(asking, ASKED_MAX, 2)
        if not asked:
            return
        pid = os.fork()
        if not pid:
            ends()
            asking.close()
            _become(files, **json.loads(asked))
            return
        for file in files:
            os.close(file)
        asking.send(str(pid).encode())


def _become(files: Sequence[int], words: Sequence[str], environment: Mapping[str, str]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    for ours, theirs in zip(files, (1, 2), strict=True):
        os.dup2(ours, theirs)
        os.close(ours)
    sys.argv = [*words]
    if words[0].endswith(".py"):
        runpy.run_path(words[0], run_name="__main__")
    else:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
