"""Telling a catalogue on virtual time, small: all of it is there, and nobody is told off."""

from __future__ import annotations

from typing import Any

import pytest

from bench import catalogue
from bench.servers import Servers
from core import embedded
from core.connections.operations import new_key

pytestmark = pytest.mark.timeout(300)


def test_a_catalogue_is_told_and_the_quota_is_never_overdrawn(
    servers: Any, template_database: embedded.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "WORKERS", (2,))
    held = Servers(servers.home, servers.redis_url, new_key(), template_database.name)
    report = catalogue.run(held, 1, size=0.003)
    assert report.failures() == []
    figures = {figure.name: figure.value for figure in report.figures}
    assert figures["floor of it, 2 workers"] < figures["ours, 2 workers: time"]
    assert figures["ours, 2 workers: time"] < figures["baseline, 2 workers: time"]
    # Three jobs of items and nine of variants, each read once or twice.
    assert figures["ours, 2 workers: calls"] >= 24


def test_what_is_missing_and_what_was_throttled_fails() -> None:
    report = catalogue.CatalogueReport("catalogue", "nothing", throttled=2, missing=3)
    ours, floor = report.add("time", "s", [100]), report.add("floor", "s", [90])
    report.compare("share", floor, ours, aim=catalogue.AIM)
    assert report.failures() == ["we were throttled 2 times", "3 entries are not there", "share: 0.900"]
