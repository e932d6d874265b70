"""Fixtures for tests that start and kill servers and processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import embedded
from core.processes import process_started
from tests.ports import claim_block


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
    """First of a block of ports, all of them free now."""
    return claim_block()


@contextlib.contextmanager
def somebody_on(port: int) -> Iterator[None]:
    """A stranger who listens on a port and says nothing."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        yield
