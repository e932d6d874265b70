"""When an alert opens, is told again and closes, and what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.alerts import rules
from core.alerts.rules import Episode, Finding, Risk, Unknown, next_step
from core.alerts.stock import at_risk
from core.alerts.terms import HOLD_CAP, KINDS, policy

NOW = datetime(2024, 3, 4, 12, tzinfo=UTC)
RULE = policy("exposure", True, {"hold_minutes": 3}, 3)
SEEN = Finding("exposure", "attention", "Trouble", "Because.", "Do this.", "oversell", 10)
EPISODE = Episode(1, "exposure", "exposure", "attention", "Trouble", 10, 0, None, None, True)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("episode", "seen", "step"),
    [
        (None, None, "nothing"),
        (None, SEEN, "open"),
        (None, Unknown("exposure", "no"), "nothing"),
        (EPISODE, SEEN, "keep"),
        (EPISODE, replace(SEEN, size=19), "keep"),
        (EPISODE, replace(SEEN, size=20), "worse"),
        (EPISODE, replace(SEEN, severity="danger"), "worse"),
        (replace(EPISODE, severity="danger"), SEEN, "keep"),
        (EPISODE, Unknown("exposure", "no"), "unknown"),
        (replace(EPISODE, clear_since=ago(60)), Unknown("exposure", "no"), "unknown"),
        (EPISODE, None, "clear"),
        (replace(EPISODE, clear_since=ago(2.9)), None, "clear"),
        (replace(EPISODE, clear_since=ago(3)), None, "close"),
        (replace(EPISODE, clear_since=ago(3)), SEEN, "keep"),
        (replace(EPISODE, clear_since=ago(3), relapses=2), None, "clear"),
        (replace(EPISODE, clear_since=ago(6), relapses=2), None, "close"),
    ],
)
def test_what_becomes_of_it(episode: Episode | None, seen: Finding | Unknown | None, step: str) -> None:
    assert next_step(episode, seen, RULE, NOW) == step


def test_what_is_switched_off_closes_whatever_is_seen() -> None:
    off = policy("exposure", False)
    for seen in (SEEN, None, Unknown("exposure", "no")):
        assert next_step(EPISODE, seen, off, NOW) == "close"
        assert next_step(None, seen, off, NOW) == "nothing"


def test_it_is_held_longer_each_time_it_came_back_and_never_longer_than_an_hour() -> None:
    held = [policy("audit").hold(number).total_seconds() / 60 for number in range(9)]
    assert held == [0, 2, 4, 8, 16, 32, 60, 60, 60]
    assert policy("audit", True, {"hold_minutes": 60}).hold(5) == HOLD_CAP


def test_every_number_of_every_rule_has_a_default_that_it_may_have() -> None:
    for kind in KINDS.values():
        names = [term.name for term in kind.all_terms]
        assert len(names) == len(set(names))
        for term in kind.all_terms:
            assert term.least <= term.default <= term.most, (kind.name, term.name)


def test_exposure_is_off_until_somebody_sets_a_limit_and_everything_else_is_on() -> None:
    assert {kind for kind in KINDS if not policy(kind).is_on} == {"exposure"}


def test_a_notice_says_how_much_over_what_what_to_do_and_where_to_look() -> None:
    seen = at_risk(20, Risk(29, 5, [("22423", 11), ("85123A", 8)]))
    said = rules.opening(
        "Harbour Goods", seen, rules.link("http://127.0.0.1:8500", 3, seen.page, seen.address), again=True
    )
    assert said == (
        "Harbour Goods: Again: Up to 29 units could be oversold, over 5 SKUs. The limit is 20."
        " Worst: 22423 (11), 85123A (8). Switch the worst to escrow, or look which channel does not follow."
        " http://127.0.0.1:8500/oversell?shop=3&show=At+risk"
    )


@pytest.mark.parametrize(("on", "off", "most"), [(1, 1, 2), (1, 7, 4), (3, 40, 7), (10, 61, 61), (60, 180, 18)])
def test_what_flaps_for_days_floods_nobody_and_is_never_hidden(on: int, off: int, most: int) -> None:
    """Looked at by the minute for three days: what stays away for less than an hour is told of a few times in all."""
    rule, episode, before, opened, closed_at = policy("audit"), None, -1, 0, NOW
    for minute in range(3 * 1440):
        now, is_there = NOW + timedelta(minutes=minute), minute % (on + off) < on
        step = next_step(episode, SEEN if is_there else None, rule, now)
        if step == "open":
            before = before + 1 if opened == 0 or now - closed_at < rule.minutes("again_minutes") else 0
            episode, opened = replace(EPISODE, relapses=before), opened + 1
        elif episode is not None and step in ("keep", "clear"):
            episode = replace(episode, clear_since=None if step == "keep" else episode.clear_since or now)
        elif step == "close":
            episode, closed_at = None, now
        assert episode is not None or not is_there, "while it is there an episode is open"
    assert opened <= most
