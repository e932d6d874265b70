from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dashboard import run_words

NOW = datetime(2026, 11, 27, 14, 32, 10, tzinfo=UTC)


def row(kind: str, quiet: timedelta = timedelta(), failed: int = 0) -> dict[str, object]:
    return {"kind": kind, "connection": "Amazon UK", "switch": "active", "failed_turns": failed, "as_of": NOW,
            "last_turn_at": NOW - quiet, "last_success_at": NOW - quiet}  # fmt: skip


def test_what_comes_with_each_ring_of_its_schedule_is_silent_when_rings_pass() -> None:
    assert run_words.state(row("poll_orders", timedelta(minutes=4)), run_words.Span()) == "well"
    assert run_words.state(row("poll_orders", timedelta(minutes=6)), run_words.Span()) == "silent"


def test_stock_is_compared_when_its_policy_says_so_not_with_each_look_at_policies() -> None:
    assert run_words.state(row("reconcile_stock", timedelta(hours=20)), run_words.Span()) == "well"


def test_a_single_failure_is_no_count_of_times() -> None:
    def said(failed: int) -> str:
        found = run_words.Health(row("poll_orders", failed=failed), run_words.Span(), run_words.Span(), (), "fails")
        return run_words.headline([found], 0)[0]

    assert said(1) == "Changed orders of Amazon UK failed the last time."
    assert said(7) == "Changed orders of Amazon UK failed the last 7 times."


def test_a_kind_whose_turns_were_all_put_off_is_not_said_to_succeed() -> None:
    never = {**row("push_stock"), "last_success_at": None}
    assert run_words.state(never, run_words.Span()) == "put_off"
    found = run_words.Health(never, run_words.Span(), run_words.Span(), (), "put_off")
    assert run_words.headline([found], 0)[0] == (
        "Quantities written of Amazon UK has not succeeded yet: each turn was put off."
    )
    assert run_words.state(row("push_stock"), run_words.Span()) == "well"
