"""Fixtures around the sandbox: one shared process with the real clock, one whose durations fly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.outside import Inside, Outside, Receiver, ShopSide


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    running = Outside(tmp_path_factory.mktemp("outside")).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """Four hours of retries pass in about a second."""
    running = Outside(tmp_path_factory.mktemp("hurried"), "--clock-factor", "20000").start()
    yield running
    running.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Outside]:
    """A process of the test's own, to kill or to upset."""
    running = Outside(tmp_path / "world").start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """A world of the module's own, in this process and on a clock that moves by hand."""
    running = Inside(tmp_path_factory.mktemp("inside"))
    yield running
    running.stop()


@pytest.fixture
def shop(outside: Outside) -> ShopSide:
    return outside.shop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    listening = Receiver().start()
    yield listening
    listening.stop()
