"""Which alerts have a card on the Overview, and what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core.alerts.terms import KINDS
from dashboard import alert_problems, problem_cards
from dashboard.problems import Problem, Step

NOW = datetime(2026, 11, 27, 14, 32, tzinfo=UTC)
ZONE = "Europe/London"


def alert(kind: str = "backlog", **more: Any) -> dict[str, Any]:
    return {
        "alert_id": 7,
        "kind": kind,
        "fingerprint": f"{kind}:1",
        "severity": "danger",
        "headline": "It *is* so",
        "sentence": "Because.",
        "next_step": "Do this.",
        "page": "runs",
        "address": {"run": "3"},
        "worst_skus": [],
        "connection_id": 1,
        "skus": 2,
        "orders": 1,
        "opened_at": NOW,
        "regressed_from": None,
        "unknown_since": None,
        "unknown_because": None,
        "acknowledged_by": None,
        "acknowledged_at": None,
        **more,
    }


def card(name: str, rank: int, **row: Any) -> Problem:
    return Problem(name, "attention", rank, f"{name} is so", "y", (), NOW, Step("skus", "z"), row)


def ids(cards: list[Problem]) -> list[str]:
    return [each.id for each in cards]


def test_a_card_says_what_is_wrong_what_to_do_whom_it_concerns_and_where_to_look() -> None:
    (found,) = alert_problems.join([], [alert(regressed_from=3)], NOW, ZONE)
    assert (found.id, found.state, found.headline) == ("alert-7", "danger", r"It \*is\* so")
    assert found.sentence == "Because. Do this."
    assert found.meta == ("came back", "2 SKUs", "1 order")
    assert (found.step.kind, found.step.label, found.step.where) == ("runs", "Open runs", {"run": "3"})


def test_what_somebody_has_is_quiet_and_comes_last() -> None:
    taken = alert(
        alert_id=8, acknowledged_by="Grace", acknowledged_at=NOW, unknown_since=NOW, unknown_because="no view"
    )
    cards = alert_problems.join([card("job-1", 12), card("off-1", 30)], [taken, alert()], NOW, ZONE)
    assert ids(cards) == ["alert-7", "job-1", "off-1", "alert-8"]
    assert cards[-1].state == "unknown"
    assert cards[-1].meta[0].startswith("Grace has it since")
    assert cards[-1].meta[1].endswith("no view")


@pytest.mark.parametrize(
    ("row", "others", "is_shown"),
    [
        (alert("exposure"), [], False),
        (alert("audit"), [], False),
        (alert("repeated_failure", fingerprint="repeated_failure:job:1"), [], False),
        (alert("repeated_failure", fingerprint="repeated_failure:outbox:1"), [], True),
        (alert("deprecation", fingerprint="deprecation:1:forward"), [], False),
        (alert("deprecation", fingerprint="deprecation:1:version"), [], True),
        (alert("silence"), [card("silent-1", 10)], False),
        (alert("silence"), [card("error-1", 15)], True),
    ],
)
def test_what_has_a_card_of_its_own_has_no_second_one(
    row: dict[str, Any], others: list[Problem], is_shown: bool
) -> None:
    assert ("alert-7" in ids(alert_problems.join(others, [row], NOW, ZONE))) == is_shown


def test_one_outage_is_one_card_that_names_what_is_part_of_it() -> None:
    about = {"cause": "boom", "function": "orders.read"}
    outage = alert("connection_failing", page="calls", worst_skus=[{"headline": "x", "address": about}, {"more": 2}])
    others = [
        card("error-1", 15, connection_id=1),
        card("doubtful-a", 14, connection_id=1),
        card("refused-a", 16, connection_id=1, problem="NO_ANSWER: no answer within 10 s"),
        card("job-a", 12, fingerprint="boom", function="orders.read"),
        card("error-2", 15, connection_id=2),
        card("refused-b", 16, connection_id=1, problem="the price is wrong"),
        card("job-b", 12, fingerprint="a defect", function="orders.read"),
        card("parked-a", 20, connection_id=1),
    ]
    cards = alert_problems.join(others, [outage], NOW, ZONE)
    assert ids(cards) == ["alert-7", "job-b", "error-2", "refused-b", "parked-a"]
    assert cards[0].sentence.endswith("**Part of it:** error-1 is so; doubtful-a is so; refused-a is so; job-a is so.")
    assert (cards[0].step.label, cards[0].step.where) == ("Open alert", {"alert": "7"})
    assert cards[0].is_about_calls


def test_every_kind_that_has_a_card_of_its_own_is_one_and_every_page_has_a_way_to_it() -> None:
    assert KINDS.keys() >= alert_problems.OWN_CARDS
    assert alert_problems._STEPS.keys() <= problem_cards._PAGES.keys()
