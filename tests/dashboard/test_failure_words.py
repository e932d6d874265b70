from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.adapters.rq import JOB_QUEUES
from dashboard import failure_words, formats

NOW = datetime(2026, 11, 27, 14, 32, tzinfo=UTC)


def group(**more: Any) -> dict[str, Any]:
    return {
        "group_key": "g",
        "source": "job",
        "function": "stock.push",
        "error_class": "Unauthorised",
        "message": "set quantities: not authorised: the refresh token does not hold (invalid_grant)",
        "connection_id": 2,
        "connection": "Amazon UK",
        "items": 214,
        "works": 188,
        "still_needed": 171,
        "superseded": 43,
        "skus": 188,
        "orders": 0,
        "money": {},
        "first_at": NOW - timedelta(minutes=19),
        "last_at": NOW - timedelta(seconds=20),
        "hours": [0] * 23 + [214],
        "next_step": "",
        "traceback_run_id": 7,
        "as_of": NOW,
        **more,
    }


def totals(**more: int) -> dict[str, int]:
    return {"groups": 0, "job": 0, "message": 0, "outbox": 0, "still_needed": 0, **more}


@pytest.mark.parametrize(
    ("found", "first", "rest"),
    [
        (totals(), "Nothing is broken.", "Every job, message and notice did its work, or was dealt with."),
        (
            totals(groups=3, job=214, still_needed=171),
            "Three causes stand behind 214 failed jobs.",
            "171 of them are still needed.",
        ),
        (
            totals(groups=1, message=1, still_needed=1),
            "One cause stands behind 1 parked message.",
            "It is still needed.",
        ),
        (
            totals(groups=12, job=1, message=2, outbox=1),
            "12 causes stand behind 1 failed job, 2 parked messages and 1 unsent notice.",
            "None of it is needed any more: later runs did the work.",
        ),
    ],
)
def test_the_answer_says_how_many_causes_and_what_is_needed(found: dict[str, int], first: str, rest: str) -> None:
    assert failure_words.answer(found) == (first, rest)


@pytest.mark.parametrize(
    ("error_class", "message", "headline", "next_step"),
    [
        ("Unauthorised", "x", "Amazon UK refused our credentials", "Renew the credentials of Amazon UK, then requeue."),
        ("core.adapters.http.Unauthorised", "x", "Amazon UK refused our credentials", "Renew the credentials"),
        ("OutcomeUnknown", "x", "Amazon UK gave no answer in time", "Requeue: what was sent is looked up"),
        ("Unreachable", "x", "Amazon UK could not be reached", "Wait until it answers again"),
        ("ServerFault", "x", "Amazon UK failed inside", "Wait until it answers again"),
        ("OperationalError", "x", "Our database did not answer", "See that the database is up"),
        ("ValueError", "not enough values to unpack", "Our own code stumbled", "Have the defect mended"),
        ("", "its worker is gone", "The worker ended in the middle of it", "Requeue"),
        ("ReadTimeout", "no answer within <n> seconds", "Amazon UK gave no answer in time", "Requeue"),
        ("NewError", "the moon is full", "The moon is full", "Repair what it names, then requeue."),
        ("NewError", "", "It left no error", "Repair what it names, then requeue."),
    ],
)
def test_what_happened_needs_no_code(error_class: str, message: str, headline: str, next_step: str) -> None:
    row = group(error_class=error_class, message=message)
    assert failure_words.headline(row) == headline
    assert failure_words.next_step(row).startswith(next_step)


def test_without_a_connection_nobody_is_named() -> None:
    row = group(connection=None, connection_id=None)
    assert failure_words.headline(row) == "The other side refused our credentials"
    assert "None" not in failure_words.happened(row) + failure_words.next_step(row)


def test_messages_say_their_cause_and_notices_that_they_did_not_leave() -> None:
    row = group(source="message", function="orders/create", error_class="unreadable", items=1)
    assert failure_words.headline(row) == "1 message could not be read"
    assert "word for word" in failure_words.happened(row)
    assert failure_words.about(row) == "Amazon UK · orders/create"
    dead = group(source="outbox", function="notice", error_class="Refused", connection=None, items=3)
    assert failure_words.headline(dead) == "3 notices could not be delivered"


def test_foreign_words_are_never_markup() -> None:
    row = group(error_class="NewError", message="[click](http://x) *now*", connection="A*B")
    assert "](" not in failure_words.headline(row).replace("\\]\\(", "")
    assert failure_words.about(row).startswith("A\\*B")


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, "danger"),
        ({"still_needed": 4}, "attention"),
        ({"source": "message", "error_class": "unreadable"}, "attention"),
        ({"error_class": "OutcomeUnknown"}, "unknown"),
        ({"still_needed": 0}, "unneeded"),
    ],
)
def test_how_bad_it_is(more: dict[str, Any], state: str) -> None:
    assert failure_words.state(group(**more)) == state
    assert formats.state(state).word


def test_the_blast_radius_names_only_what_there_is() -> None:
    assert failure_words.figures(group(money={"EUR": 100, "GBP": 84310}, orders=17)) == [
        ("214", "jobs"),
        ("188", "SKUs"),
        ("17", "orders"),
        ("£843.10", "touched"),
        ("€1.00", "touched"),
        ("171", "still needed"),
        ("43", "superseded"),
    ]
    alone = group(source="message", items=1, skus=0, orders=1, still_needed=1, superseded=0, money=None)
    assert failure_words.figures(alone) == [("1", "message"), ("1", "order"), ("1", "still needed")]


def test_every_job_is_said_in_words() -> None:
    assert [name for name in JOB_QUEUES if failure_words.function(name) == formats.plain(name)] == []
    assert failure_words.function("new.job") == formats.plain("new.job")


def test_what_is_new_is_counted_by_group_whatever_was_dealt_with_meanwhile() -> None:
    assert failure_words.arrived({"a": 4, "b": 2}, {"a": 4, "b": 2}) == 0
    assert failure_words.arrived({"a": 4, "b": 2}, {"a": 6, "c": 1}) == 3
    assert failure_words.arrived({"a": 4}, {}) == 0


def test_totals_are_sums_of_the_groups() -> None:
    groups = [group(), group(source="message", items=5, still_needed=5)]
    found = failure_words.totals(groups)
    assert found == {"groups": 2, "items": 219, "still_needed": 176, "job": 214, "message": 5, "outbox": 0}


@pytest.mark.parametrize(
    ("name", "number", "words"),
    [
        ("unreadable", 3, "could not be read"),
        ("unreadable", 1, "could not be read"),
        ("unknown_order", 1, "names an order that never came"),
        ("unknown_order", 2, "name an order that never came"),
        ("odd_*cause*", 2, r"are parked: odd \*cause\*"),
        ("odd", 1, "is parked: odd"),
    ],
)
def test_what_is_wrong_with_messages(name: str, number: int, words: str) -> None:
    assert failure_words.parked_words(name, number) == words
    assert failure_words.parked_next(name)
