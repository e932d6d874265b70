"""The measurements measure something: each runs small, says what it counted, and fails where nothing was done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import apply, backlog, hot_sku, ingest, ledger, load, plan, propagate, stream
from bench.report import Report
from bench.servers import Servers
from core import embedded
from core.connections.operations import new_key

# Small, but on a machine that does other things too.
pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).resolve().parents[2]


Measure = Callable[..., Report]


@pytest.fixture
def bench_servers(servers: Any, template_database: embedded.Database) -> Servers:
    """The session's servers: what a measurement on servers of its own says is held by those that print."""
    return Servers(servers.home, servers.redis_url, new_key(), template_database.name)


def printed(*words: str) -> dict[str, Any]:
    """What the command prints, on servers that it starts itself."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words, "--rounds", "1", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (report,) = json.loads(done.stdout)
    return checked(report)


def measured(run: Measure, servers: Servers, size: float) -> dict[str, Any]:
    return checked(run(servers, 1, size=size).as_json())


def checked(report: dict[str, Any]) -> dict[str, Any]:
    assert all(figure["value"] > 0 for figure in report["figures"])
    assert report["machine"]["cores"] > 0
    return report


def test_booking_is_held_against_a_job_an_order_and_a_bare_copy(
    bench_servers: Servers,
) -> None:
    report = measured(apply.run, bench_servers, 0.01)
    names = [figure["name"] for figure in report["figures"]]
    for word in ("ours: orders", "ours: lines", "baseline", "forked", "in-process", "floor"):
        assert any(word in name for name in names), word
    assert [ratio["aim"] for ratio in report["ratios"]] == [None, None, None, 20, None]


def test_the_door_is_held_against_a_bare_route_with_and_without_redis(bench_servers: Servers) -> None:
    report = measured(ingest.run, bench_servers, 0.05)
    assert [ratio["aim"] for ratio in report["ratios"]] == [0.8, 0.95]
    assert sum("p99" in figure["name"] for figure in report["figures"]) == 3


def test_a_rule_change_is_held_against_a_bare_update_and_listing_by_listing_while_somebody_books(
    bench_servers: Servers,
) -> None:
    report = measured(plan.run, bench_servers, 0.01)
    names = [figure["name"] for figure in report["figures"]]
    for word in ("ours: listings", "floor", "baseline", "bookings alone", "bookings while", "the longest"):
        assert any(word in name for name in names), word
    assert [ratio["aim"] for ratio in report["ratios"]] == [10, None, 0.5]


def test_a_comparison_is_held_against_the_bare_join_and_listing_by_listing_with_its_memory() -> None:
    report = printed("reconcile", "--size", "0.002")
    names = [figure["name"] for figure in report["figures"]]
    for word in ("ours: compared", "floor", "baseline", "staged", "believed", "what listings stand for"):
        assert any(word in name for name in names), word
    assert sum("memory" in name for name in names) == 2
    assert [ratio["aim"] for ratio in report["ratios"]] == [1 / 3, None]


def test_posting_is_held_against_a_bare_insert_of_the_same_rows(bench_servers: Servers) -> None:
    report = measured(ledger.run, bench_servers, 0.01)
    names = [figure["name"] for figure in report["figures"]]
    for word in ("ours: transactions", "ours: entries", "floor", "sealing", "verifying"):
        assert any(word in name for name in names), word
    assert [ratio["aim"] for ratio in report["ratios"]] == [0.6]


@pytest.mark.parametrize("size", [100, 700, 8_900])
def test_a_body_has_the_size_that_is_said(size: int) -> None:
    assert len(load.body_of(size)) == size


def test_without_the_shared_file_orders_are_invented_and_said_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHARED_DIR", str(tmp_path))
    world = stream.make_world(5)
    assert world.origin == "invented orders"
    assert (len(world.deliveries), world.orders) == (5, 5)
    assert world.lines == stream.make_world(5).lines


def test_the_median_counts_and_an_aim_is_met_or_missed() -> None:
    report = Report("x", "nothing")
    ours, floor = report.add("ours", "a second", [30, 10, 20]), report.add("floor", "a second", [10, 10, 40])
    report.compare("share", ours, floor, aim=3)
    report.compare("again", ours, floor, aim=2)
    assert [(ratio.value, ratio.is_met) for ratio in report.ratios] == [(2.0, False), (2.0, True)]


@pytest.mark.long
def test_buyers_of_one_sku_are_held_against_a_lock_an_order_and_against_buyers_of_many(
    bench_servers: Servers,
) -> None:
    report = measured(hot_sku.run, bench_servers, 0.01)
    assert [ratio["aim"] for ratio in report["ratios"]] == [10, 10, 10, 10]
    waiting = [figure["value"] for figure in report["figures"] if "waiting" in figure["name"]]
    assert len(waiting) == 4
    names = [figure["name"] for figure in report["figures"]]
    for word in ("through the intake", "promises, a thousand", "baseline", "one connection", "commits 10 ms longer"):
        assert any(word in name for name in names), word


@pytest.mark.long
def test_a_sale_is_followed_to_the_other_channels_beside_who_hears_and_who_asks(
    bench_servers: Servers,
) -> None:
    report = measured(propagate.run, bench_servers, 0.025)
    names = [figure["name"] for figure in report["figures"]]
    for word in ("ours", "floor", "baseline", "sale to webhook", "received to booked", "sent to confirmed"):
        assert sum(word in name for name in names) >= 2, word
    assert [ratio["aim"] for ratio in report["ratios"]] == [1, None, None] * 4
    lags = {figure["name"]: figure["value"] for figure in report["figures"]}
    # The channels' own delays are in all of them.
    assert all(lags[f"{who} to the other shop: p50"] > 1.25 for who in ("ours", "floor", "baseline"))


@pytest.mark.long
def test_what_is_told_of_a_backlog_is_held_against_the_truth_and_screens_against_a_shop_without(
    bench_servers: Servers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHARED_DIR", str(tmp_path))
    report = measured(backlog.run, bench_servers, 0.005)
    figures = {figure["name"]: figure for figure in report["figures"]}
    for state in ("a full inbox", "a fresh burst", "parked and failed", "without a backlog"):
        for screen in ("overview", "jobs", "failures"):
            assert f"{state}: {screen}" in figures
    for who in ("Jobs screen", "alert"):
        # A drain of seconds has hardly any: how they are judged has a test of its own.
        assert f"{who}: readings judged" in figures
    assert "496 invented orders" in report["measured_with"], "62 orders, eight times"
    assert "500 parked messages, 500 failed jobs" in report["measured_with"]


def test_what_was_told_is_judged_by_what_came() -> None:
    report = Report("backlog", "nothing")
    drain = backlog.Drain(began=100, ended=300, batches=100)
    for at, waiting, said in ((110, 190, 5.0), (200, 100, 100.0), (210, 90, 81.0), (220, 80, 120.0), (230, 70, None)):
        drain.screen.append(backlog.Said(at, waiting, said, said and waiting / said * 60))
    backlog.judge(report, drain, 1000, settling=50)
    figures = {figure.name: figure for figure in report.figures}
    assert figures["messages handled a second by one worker"].value == 5
    judged = figures["Jobs screen: readings judged"]
    assert (judged.value, judged.note) == (4, "1 unknown")
    # 100 for 100, 81 for 90, 120 for 80, and one of which nothing was said.
    assert figures["Jobs screen: time left within 20 %"].value == 50
    assert figures["Jobs screen: time left, worst"].value == pytest.approx(50)
    assert figures["Jobs screen: rate, worst"].value == pytest.approx(100 / 3)
