"""The quota on virtual time, small: used and never overdrawn, beside a client that knows nothing of it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import httpx
import pytest

from bench import quota
from bench.servers import Servers
from bench.virtual import Distance, SharedTime
from core.inventory import roads
from sandbox.clock import VirtualClock


def test_the_quota_is_used_and_never_overdrawn(redis_url: str, tmp_path: Path) -> None:
    report = quota.run(Servers(tmp_path, redis_url, ""), 1, size=0.2, vendors=("shopify",))
    assert report.failures() == []
    figures = {figure.name: figure.value for figure in report.figures}
    for workers in ("one worker", "4 workers"):
        assert figures[f"ours, {workers}: throttled"] == 0
        assert figures[f"baseline, {workers}: throttled"] > 0
        # 2,000 SKUs: 8 calls of 10 points, and every level is read back.
        assert figures[f"floor of it: points / rate, {workers}"] > 70
        assert figures[f"floor of it: points / rate, {workers}"] < figures[f"ours, {workers}: time"]
    assert figures["ours: a zero waits for quota, p99"] < 100
    assert figures["baseline: the same as an ordinary call, p99"] > 1000


def test_on_amazon_the_better_road_is_taken_and_nobody_is_told_off(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few enough that the suite has time for it; a feed is thought to be as quick as it is."""
    monkeypatch.setattr(roads, "GUESS_SECONDS", 40.0)
    report = quota.run(Servers(tmp_path, redis_url, ""), 1, size=0.04, vendors=("amazon",))
    figures = {figure.name: figure for figure in report.figures}
    assert report.throttled == 0
    assert "in a feed" in figures["Amazon, ours: SKUs"].note
    assert figures["Amazon, baseline: throttled"].value > 0
    ours, by_patch = figures["Amazon, ours: time until all is shown"], figures["Amazon, by patch: time"]
    assert ours.value < by_patch.value
    assert figures["Amazon, floor of it: Amazon's own time"].value <= ours.value
    assert figures["Amazon, floor of it: patches / rate"].value <= by_patch.value


def test_a_throttle_or_a_share_below_the_aim_fails() -> None:
    report = quota.QuotaReport("quota", "nothing", throttled=2)
    ours, time = report.add("points", "s", [90]), report.add("time", "s", [100])
    report.compare("share", ours, time, aim=quota.AIM)
    assert report.failures() == ["we were throttled 2 times", "share: 0.900"]


def test_time_passes_only_while_everybody_waits() -> None:
    time, seen = SharedTime(VirtualClock()), []

    def sleeper(name: str, *pauses: float) -> None:
        for pause in pauses:
            time.sleep(pause)
            seen.append((time.now(), name))

    time.run([lambda: sleeper("a", 3, 3), lambda: sleeper("b", 1, 4), lambda: sleeper("c")])
    assert seen[0] == (1, "b")
    assert seen[1] == (3, "a")
    assert sorted(seen[2:]) == [(5, "b"), (6, "a")]


def test_what_goes_wrong_at_work_is_raised_and_holds_up_nobody() -> None:
    time = SharedTime(VirtualClock())

    def broken() -> None:
        time.sleep(1)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        time.run([broken, lambda: time.sleep(5)])
    assert time.now() == 5


def test_the_road_takes_time_there_and_back() -> None:
    time = SharedTime(VirtualClock())
    road = Distance(httpx.MockTransport(lambda _: httpx.Response(200)), time, Random(7))
    time.run([lambda: road.handle_request(httpx.Request("GET", "https://vendor.test"))])
    assert 0.05 <= time.now() <= 1
