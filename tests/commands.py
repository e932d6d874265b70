"""`switchyard COMMAND` in this process: the same entry point, without a second of imports for each."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from workers.cli import main


@dataclass(frozen=True)
class Done:
    """What a command came to: its exit status and what it wrote."""

    status: int
    out: str
    err: str


def run_here(*words: str, environment: Mapping[str, str]) -> Done:
    """Run a command line with some settings put over this process's environment."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setitem(os.environ, name, value)
        patched.setattr(sys, "argv", ["switchyard", *words])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Done(status, out.getvalue(), err.getvalue())
