from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard import listing_words, problems

NOW = datetime(2026, 11, 27, 14, 32, tzinfo=UTC)
ZONE = "Europe/London"


def connection(**more: Any) -> dict[str, Any]:
    return {
        "connection_id": 1,
        "name": "Amazon_UK",
        "vendor": "amazon",
        "state": "in_step",
        "switch": "active",
        "last_error": None,
        "last_error_at": None,
        "last_heard_at": NOW,
        "received": 0,
        "listings_to_push": 0,
        "open_writes": 0,
        "lag_seconds": 0.0,
        "behind_since": None,
        "silence_allowed_seconds": 1800.0,
        **more,
    }


def parked(**more: Any) -> dict[str, Any]:
    return {
        "connection_id": 1,
        "connection": "Shopify",
        "cause": "unreadable",
        "messages": 3,
        "since": NOW,
        "detail": "no *id*",
        "topic": "orders/create",
        **more,
    }


def job(**more: Any) -> dict[str, Any]:
    return {
        "fingerprint": "f",
        "function": "stock.push",
        "connection": "Amazon_UK",
        "runs": 1,
        "since": NOW,
        "last_at": NOW,
        "error": "a\nb",
        **more,
    }


def collect(*connections: dict[str, Any], **found: list[dict[str, Any]]) -> list[problems.Problem]:
    return problems.collect(connections, found, NOW, ZONE)


def untold(**more: Any) -> dict[str, Any]:
    return {
        "connection_id": 1,
        "connection": "Shopify",
        "missing": 2,
        "refused": 1,
        "since": NOW - timedelta(hours=3),
        "checked_at": NOW - timedelta(minutes=42),
        "example": "orders/create",
        "problem": None,
        **more,
    }


def test_a_channel_that_does_not_call_us_or_speaks_another_version_needs_somebody() -> None:
    forward = {
        "connection_id": 2,
        "connection": "Shopify",
        "asked_version": "2025-07",
        "answered_version": "2026-01",
        "answered_at": NOW,
    }
    newer, deaf = collect(connection(), untold=[untold()], forward=[forward])
    assert newer.headline == "Shopify answers with another version than we speak"
    assert "2025-07 is not supported any more" in newer.sentence
    assert deaf.headline == "Shopify does not call us for 3 topics"
    assert (deaf.since, deaf.step.kind, deaf.step.where) == (
        NOW - timedelta(hours=3),
        "connections",
        {"connection": "1"},
    )
    (refused,) = collect(connection(), untold=[untold(missing=0, problem="no *right*")])
    assert refused.headline == "Shopify refuses to call us for 1 topic"
    assert r"No \*right\*." in refused.sentence


def test_the_worst_comes_first_and_among_equals_the_oldest() -> None:
    behind = connection(state="behind", lag_seconds=1140.0, behind_since=NOW - timedelta(minutes=19), received=41)
    later = parked(cause="later", since=NOW)
    earlier = parked(cause="earlier", since=NOW - timedelta(hours=1))
    found = collect(behind, parked=[later, earlier], job=[job()])
    assert [p.rank for p in found] == sorted(p.rank for p in found)
    assert found[0].headline == r"Amazon\_UK is 19 min behind"
    assert found[0].sentence == "Waiting: 41 messages to handle."
    assert [p.row["cause"] for p in found if p.id.startswith("parked")] == ["earlier", "later"]


def test_a_write_without_an_answer_is_one_doubt_and_no_refusal() -> None:
    silent = {
        "connection_id": 1, "connection": "Amazon_UK", "problem": "NO_ANSWER: status 503", "listings": 3, "since": NOW,
        "next_push_at": None, "example_code": "MUG",
    }  # fmt: skip
    doubt = {
        "connection_id": 1, "connection": "Amazon_UK", "doubt": "status 503", "writes": 3, "since": NOW,
        "next_check_at": None, "example_code": "MUG",
    }  # fmt: skip
    (only,) = collect(refused=[silent], doubtful=[doubt])
    assert only.headline == r"Nobody knows whether 3 writes to Amazon\_UK arrived"
    (alone,) = collect(refused=[silent], doubtful=[{**doubt, "connection_id": 2}])[1:]
    assert alone.headline == r"Amazon\_UK gave no answer to 3 quantities"
    said_no = {**silent, "problem": "INVALID: no such listing"}
    assert r"Amazon\_UK refuses 3 quantities" in [p.headline for p in collect(refused=[said_no], doubtful=[doubt])]


def test_an_alert_on_exposure_says_how_much_over_what_and_leads_to_its_screen() -> None:
    alert = {
        "alert_id": 7,
        "limit_units": 20,
        "units": 29,
        "skus": 5,
        "worst_skus": [{"code": "A_1", "units": 11}, {"code": "B", "units": 8}],
        "opened_at": NOW,
    }
    (found,) = collect(exposure=[alert])
    assert found.headline == "Up to 29 units could be oversold, over 5 SKUs"
    assert found.sentence.startswith(r"More than the limit of 20. Worst: A\_1 (11), B (8).")
    assert (found.step.kind, found.step.where, found.state) == ("oversell", {"show": "At risk"}, "danger")


@pytest.mark.parametrize(
    ("zeros", "state", "says"),
    [
        (0, "attention", "Nothing in it has to show nothing yet."),
        (1, "danger", "1 listing in it should show nothing by now and cannot be told: orders for it may"),
        (3, "danger", "3 listings in it should show nothing by now and cannot be told: orders for them may"),
    ],
)
def test_a_feed_that_does_not_end_is_worse_when_zeros_wait_in_it(zeros: int, state: str, says: str) -> None:
    feed = {
        "connection_id": 1,
        "connection": "Amazon_UK",
        "feed_id": 9,
        "feed_ref": "50001",
        "state": "in_progress",
        "since": NOW - timedelta(minutes=40),
        "listings": 1200,
        "zeros": zeros,
    }
    (found,) = collect(slowfeed=[feed])
    assert (found.id, found.state, found.meta) == ("slowfeed-9", state, ("feed 50001",))
    assert found.headline == r"Amazon\_UK has not ended a feed of 1,200 listings for 40 min"
    assert found.sentence.startswith(says)
    assert "cancelled" not in found.sentence, "it has begun"
    (waits,) = collect(slowfeed=[feed | {"state": "submitted"}])
    assert "is cancelled where something in it must show nothing" in waits.sentence
    (lost,) = collect(slowfeed=[feed | {"state": "submitted", "feed_ref": None}])
    assert ("cancelled" in lost.sentence, lost.meta) == (False, ("no reply to it came",))
    assert (found.step.kind, found.step.where) == ("connections", {"connection": "1"})


def test_what_a_feed_does_not_show_comes_with_the_command_that_ends_it() -> None:
    feed = {
        "connection_id": 1,
        "connection": "Amazon_UK",
        "feed_id": 9,
        "state": "done",
        "since": NOW,
        "writes": 2,
        "example_code": "A_1",
    }
    (found,) = collect(unshown=[feed])
    assert found.headline == r"Amazon\_UK accepted 2 numbers in a feed and does not show them"
    assert "`switchyard settle --feed 9 --reason TEXT`" in found.sentence
    assert (found.state, found.meta, found.step.kind) == ("attention", (r"Such as A\_1",), "connections")
    (fatal,) = collect(unshown=[feed | {"state": "fatal", "writes": 1}])
    assert fatal.headline == r"Amazon\_UK does not show 1 number of a feed that ended"


def test_a_secret_that_ends_says_when_and_how_to_enter_the_next_one() -> None:
    why = "the application's client secret ends on 2027-01-08 at 00:00 UTC"
    ends = {"connection_id": 1, "connection": "Amazon_UK", "vendor": "amazon", "why": why, "since": NOW}
    (found,) = collect(credential=[ends])
    assert (
        found.headline
        == r"Amazon\_UK will be shut out: the application's client secret ends on 2027-01-08 at 00\:00 UTC"
    )
    assert "`switchyard connect amazon`" in found.sentence
    assert (found.state, found.since, found.step.kind, found.step.where) == (
        "attention",
        NOW,
        "connections",
        {"connection": "1"},
    )


@pytest.mark.parametrize("state", ["refused", "recall", "held", "late"])
def test_a_package_that_is_not_confirmed_says_which_and_leads_to_it(state: str) -> None:
    row = {
        "connection_id": 1,
        "connection": "Amazon_UK",
        "state": state,
        "packages": 1,
        "orders": 1,
        "since": NOW,
        "example_order_id": 7,
        "example_order": "203-1",
        "example_package": "2",
        "code": "InvalidInput",
        "detail": "the carrier is not known",
    }
    (one,) = collect(unconfirmed=[row])
    assert (one.state, one.since, one.meta) == ("danger", NOW, ("Package 2 of 203-1",))
    assert (one.step.kind, one.step.where) == ("orders", {"order": "7"})
    assert ("The carrier is not known." in one.sentence) is (state != "recall")
    (some,) = collect(unconfirmed=[{**row, "packages": 3}])
    assert "3 packages" in some.headline
    assert some.step.kind == "details"


def test_nothing_wrong_says_nothing() -> None:
    assert collect(connection(), connection(state="paused", switch="paused", last_error="old", last_error_at=NOW)) == []


@pytest.mark.parametrize(
    ("states", "rest"),
    [
        ([], "No channel is connected yet."),
        (["in_step"], "The channel is in step."),
        (["in_step", "in_step"], "Both channels are in step."),
        (["behind", "paused"], "Neither channel is in step."),
        (["in_step", "behind", "behind"], "One of three channels is in step."),
        (["in_step"] * 4, "All four channels are in step."),
        (["behind"] * 3, "None of three channels is in step."),
    ],
)
def test_the_headline_counts_the_channels(states: list[str], rest: str) -> None:
    assert problems.headline([], [connection(state=s) for s in states]) == ("Nothing needs you.", rest)


def test_the_headline_counts_what_needs_somebody() -> None:
    one = collect(parked=[parked()])
    assert problems.headline(one, [])[0] == "One thing needs you."
    assert problems.headline(one * 3, [])[0] == "Three things need you."


def test_an_error_is_news_only_while_nothing_succeeded_since() -> None:
    old = connection(last_error="refused", last_error_at=NOW - timedelta(hours=1))
    new = connection(last_error="refused", last_error_at=NOW + timedelta(seconds=1), state="attention")
    assert collect(old) == []
    assert [p.headline for p in collect(new)] == [r"Amazon\_UK answers with an error"]


def test_silence_and_never_heard_are_unknown_not_fine() -> None:
    silent = connection(state="unknown", last_heard_at=NOW - timedelta(minutes=47))
    never = connection(state="unknown", last_heard_at=None)
    assert [(p.state, p.headline) for p in collect(silent)] == [("unknown", r"Amazon\_UK has been silent for 47 min")]
    assert [(p.state, p.step.kind) for p in collect(never)] == [("unknown", "sync")]


def test_foreign_words_are_escaped_and_stay_out_of_names() -> None:
    (found,) = collect(parked=[parked(connection="[x](http://a)", cause="strange *cause*")])
    assert r"\[x\]\(http\://a\)" in found.headline
    assert "*" not in found.id
    assert " " not in found.id
    assert r"no \*id\*" in found.sentence.lower()


def test_a_problem_keeps_its_name_while_its_numbers_change() -> None:
    assert collect(parked=[parked(messages=3)])[0].id == collect(parked=[parked(messages=4)])[0].id


def listing(**more: Any) -> dict[str, Any]:
    return {
        "state": "in_step",
        "publishing": "on",
        "published_units": 9,
        "desired_units": 9,
        "published_at": NOW - timedelta(minutes=4),
        "as_of": NOW,
        "push_problem": None,
        "push_failures": 0,
        "next_push_at": None,
        "publishing_reason": "no SKU has this code",
        "write_to": None,
        "write_from": None,
        "write_doubt": None,
        "write_sent_at": None,
        "write_accepted_at": None,
        "write_planned_at": None,
        "write_next_check_at": None,
        **more,
    }


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (listing(), "Seen 4 min ago."),
        (listing(published_units=-2), "It shows −2; to a shopper that is none. Seen 4 min ago."),
        (listing(state="off"), "We do not write it: no SKU has this code. Seen 4 min ago."),
        (listing(state="to_push"), "Waits for the next push. Seen 4 min ago."),
        (
            listing(
                state="refused", push_problem="not <stocked>", push_failures=4, next_push_at=NOW + timedelta(minutes=9)
            ),
            "Not &lt;stocked&gt;. Refused 4 times. Tried again at 14:41.",
        ),
        (
            listing(state="writing", write_to=3, write_planned_at=NOW - timedelta(seconds=6), write_sent_at=NOW),
            "Write to 3 planned 6 s ago, sent, its answer is awaited.",
        ),
        (
            listing(state="doubtful", write_to=3, write_doubt="no answer"),
            "The write to 3 has no known outcome: no answer.",
        ),
    ],
)
def test_each_listing_says_why_in_words(row: dict[str, Any], why: str) -> None:
    assert listing_words.explain(row, ZONE) == why


def test_doubt_is_explained_with_what_happens_next() -> None:
    row = listing(
        write_from=9,
        write_to=4,
        write_doubt="No answer came",
        write_sent_at=NOW,
        write_next_check_at=NOW + timedelta(minutes=8),
    )
    said = listing_words.explain_write(row, ZONE)
    assert said.startswith("We sent 9 → 4 at 14:32, and no sure answer came: no answer came.")
    assert said.endswith("It is looked at again at 14:40.")


def test_the_channels_in_one_sentence() -> None:
    on, off, bad = listing(), listing(publishing="off", state="off"), listing(state="refused")
    assert listing_words.summary([]) == "No channel lists it."
    assert listing_words.summary([off]) == "No channel is written to."
    assert listing_words.summary([on, on, off]) == "Both channels show it."
    assert listing_words.summary([on, bad]) == "One of two channels is in step."
    assert listing_words.summary([bad, bad]) == "Neither channel is in step."
