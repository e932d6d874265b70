"""What a check-up makes of what was found: each case has words, and a next step where it is not well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.connections import checkup
from core.connections.checkup import Finding, Probe
from core.connections.switches import Standing
from core.orders.packages import SAYS
from core.ports import ChannelAccount

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ACCOUNT = ChannelAccount(
    ref="mugs.myshopify.com",
    name="Mugs",
    currency="GBP",
    time_zone="Europe/London",
    plan="Basic",
    granted=frozenset({"read_orders"}),
    missing={},
    advised={},
    api_version="2026-10",
    supported_until=NOW + timedelta(days=300),
)
PROBE = Probe(ACCOUNT, "2026-10", timedelta(seconds=1), timedelta(hours=24))


def judged(probe: Probe = PROBE, ref: str = "mugs.myshopify.com", currency: str = "GBP") -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in checkup.of_probe(probe, ref, currency, NOW):
        found.setdefault(finding.about, []).append(finding)
    return found


def only_bad(found: dict[str, list[Finding]]) -> list[tuple[str, str]]:
    return [(item.about, item.state) for items in found.values() for item in items if item.state != "ok"]


def test_an_answer_that_is_right_is_said_to_be() -> None:
    found = judged()
    assert only_bad(found) == []
    assert found["account"][0].says == "Mugs answers (GBP, Europe/London, Basic)"
    assert "it lives 24 h" in found["token"][0].says


@pytest.mark.parametrize(
    ("changes", "about", "state", "words"),
    [
        ({"ref": "pens.myshopify.com"}, "account", "problem", "open pens.myshopify.com, not mugs.myshopify.com"),
        ({"currency": "EUR"}, "currency", "problem", "sells in EUR, and the shop here thinks in GBP"),
        ({"missing": {"write_inventory": "to set it"}}, "scopes", "problem", "write_inventory is not granted"),
        ({"advised": {"read_all_orders": "to see old ones"}}, "scopes", "warning", "read_all_orders is not granted"),
        ({"supported_until": NOW + timedelta(days=30)}, "API version", "warning", "until 2026-12-26"),
        ({"supported_until": NOW - timedelta(days=1)}, "API version", "problem", "not supported since 2026-11-25"),
    ],
)
def test_what_is_not_right_of_an_account_is_said_with_what_to_do(
    changes: dict[str, object], about: str, state: str, words: str
) -> None:
    found = judged(replace(PROBE, account=replace(ACCOUNT, **changes)))
    assert only_bad(found) == [(about, state)]
    (finding,) = [item for item in found[about] if item.state != "ok"]
    assert words in finding.says
    assert finding.next_step


def test_a_version_that_fell_forward_and_a_clock_that_is_off_are_problems() -> None:
    assert only_bad(judged(replace(PROBE, answered_version="2027-01"))) == [("API version", "problem")]
    behind = judged(replace(PROBE, clock_ahead=timedelta(seconds=-9)))
    assert only_bad(behind) == [("clock", "problem")]
    assert behind["clock"][0].says == "the vendor's clock is 9.0 s behind ours"


def test_what_the_channel_does_not_tell_is_no_problem() -> None:
    silent = replace(PROBE, account=replace(ACCOUNT, granted=None, currency=None, supported_until=None))
    assert only_bad(judged(replace(silent, answered_version=None, clock_ahead=None, token_lives=None))) == []


def test_each_switch_has_its_words_and_its_way_back() -> None:
    def found(**facts: object) -> Finding:
        return checkup.of_standing(Standing(**{"is_active": True, "is_live": True, "is_stopped": False, **facts}))  # type: ignore[arg-type]

    assert found().state == "ok"
    assert "go-live" in str(found(is_live=False).next_step)
    assert "resume" in str(found(is_active=False).next_step)
    stopped = found(is_stopped=True, stop_scope="connection", stopped_by="Ada", stop_reason="a flood")
    assert "Ada stopped the writes of this connection: a flood" in stopped.says
    assert "--connection" in str(stopped.next_step)


FACTS = {
    "catalogue_read_at": NOW - timedelta(hours=3),
    "reads_orders": True,
    "watermark_at": NOW - timedelta(minutes=2),
    "last_error": None,
    "state": "active",
}


@pytest.mark.parametrize(
    ("changes", "bad"),
    [
        ({}, []),
        ({"catalogue_read_at": None}, [("catalogue", "problem")]),
        ({"reads_orders": False}, [("orders", "warning")]),
        ({"watermark_at": None}, [("orders", "warning")]),
        ({"watermark_at": NOW - timedelta(hours=2)}, [("orders", "problem")]),
        ({"watermark_at": NOW - timedelta(hours=2), "state": "paused"}, []),
        ({"last_error": "no answer"}, [("last error", "warning")]),
    ],
)
def test_how_far_a_connection_is_read(changes: dict[str, object], bad: list[tuple[str, str]]) -> None:
    found = checkup.of_reading({**FACTS, **changes}, NOW)
    assert [(item.about, item.state) for item in found if item.state != "ok"] == bad


def test_addresses_queues_schedules_and_subscriptions() -> None:
    assert checkup.of_public_address("http://127.0.0.1:8501").state == "warning"
    assert checkup.of_public_address("http://shop.example").state == "problem"
    assert checkup.of_public_address("https://shop.example").state == "ok"
    assert [item.state for item in checkup.of_queues({"events": 1, "stock": 0})] == ["problem"]
    assert checkup.of_schedules(["poll.orders"], 12).state == "problem"
    assert [item.state for item in checkup.of_subscriptions([], True)] == ["warning"]
    dropped = {"topic": "orders/create", "state": "missing", "problem": None, "is_advised": False}
    assert [item.state for item in checkup.of_subscriptions([dropped], True)] == ["problem"]
    assert [item.state for item in checkup.of_subscriptions([{**dropped, "is_advised": True}], True)] == ["warning"]
    assert list(checkup.of_subscriptions([], False)) == []


READ: dict[str, Any] = {"read_at": NOW, "problem": None, "problem_at": None, "told_at": NOW, "untold_orders": 0}


@pytest.mark.parametrize(
    ("facts", "states", "words"),
    [
        ({}, ["ok"], "read 0 s ago"),
        ({"read_at": None, "told_at": None}, ["problem"], "it was never read"),
        ({"read_at": NOW - timedelta(hours=2)}, ["problem"], "last read 2 h ago"),
        (
            {"problem": "no key", "problem_at": NOW - timedelta(hours=3)},
            ["problem"],
            "cannot be read since 3 h: no key",
        ),
        ({"untold_orders": 3, "told_at": NOW - timedelta(days=3)}, ["ok", "warning"], "3 orders came by polls alone"),
    ],
)
def test_a_queue_that_is_dead_is_not_well(facts: dict[str, Any], states: list[str], words: str) -> None:
    found = list(checkup.of_mailbox({**READ, **facts}, NOW))
    assert [item.state for item in found] == states
    assert words in found[-1].says


def test_packages_that_are_not_confirmed_are_a_problem() -> None:
    assert [item.state for item in checkup.of_packages({}, {})] == ["ok"]
    late, refused = checkup.of_packages({"refused": 2, "late": 1}, SAYS)
    assert (late.state, refused.state) == ("problem", "problem")
    assert refused.says == "2 packages are not confirmed: the channel refuses to know of it"


def test_nothing_that_is_not_well_is_left_without_a_next_step() -> None:
    with pytest.raises(ValueError, match="needs a next step"):
        Finding("clock", "problem", "off")
