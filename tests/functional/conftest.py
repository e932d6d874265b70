"""Fixtures for whole systems."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.functional.systems import System


@pytest.fixture
def make_system() -> Iterator[Callable[[], System]]:
    """Homes of the test's own; whatever runs on them is stopped and removed afterwards."""
    made: list[System] = []

    def make() -> System:
        made.append(System())
        return made[-1]

    yield make
    for system in made:
        system.erase()
