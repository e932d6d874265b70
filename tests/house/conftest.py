"""Fixtures for tests that start and kill servers and processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import embedded
from core.processes import process_started


def _make_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="switchyard-tests-"))
    home.chmod(0o711)
    (home / "runner.json").write_text(json.dumps([os.getpid(), process_started(os.getpid())]))
    return home


def _remove(home: Path) -> None:
    embedded.erase(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty home; whatever runs on it is stopped and removed afterwards."""
    made = _make_home()
    yield made
    _remove(made)


@pytest.fixture
def second_home() -> Iterator[Path]:
    made = _make_home()
    yield made
    _remove(made)


@pytest.fixture
def base() -> int:
    """First of a block of ports that is free now."""
    from core.processes import free_port

    return free_port(31000 + os.getpid() % 90 * 10)
