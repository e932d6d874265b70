"""The screen of outgoing calls: empty, quiet, a day with failures, a database that is gone; its reads and its words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import streamlit as st
from sqlalchemy import Connection

from core import embedded
from core.db import execute
from dashboard import call_drawer, call_words, calls, formats, queries
from tests.dashboard import chatter, seed, worlds
from tests.dashboard.conftest import Open, forget_all, text_of

NOW = datetime(2026, 11, 27, 14, 32, 10, tzinfo=UTC)
HOUR = calls.WINDOWS["1 h"]


# --- the screen -----------------------------------------------------------------------------------------------------


def test_without_a_shop_it_says_what_comes_first(opened: Open) -> None:
    assert "There is no shop yet" in text_of(opened("calls"))


def test_without_a_channel_it_says_what_comes_first(opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("calls")
    assert not page.exception
    said = text_of(page)
    assert "No channel is connected yet." in said
    assert "its calls appear here at once" in said
    assert not page.dataframe
    assert not page.get("plotly_chart")


def test_a_channel_that_was_never_called_is_no_zero(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    seed.connection(conn, shop)
    page = opened("calls")
    assert not page.exception
    said = text_of(page)
    assert "No channel is called." in said
    assert "Not called" in said
    assert "No call in the last hour" in said
    assert "No call was made yet" in said
    assert not page.get("plotly_chart")


def test_a_day_with_failures_says_who_says_no(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    shopify = seed.connection(conn, shop)
    amazon = seed.connection(conn, shop, "Amazon UK", "amazon", "B")
    chatter.a_day(conn, shop, shopify, amazon)
    denied = "denied [*bold*] <b>no</b> ada@example.com"
    seed.call(conn, shop, amazon, seed.now(), "refused", status=403, operation="patchListingsItem", error=denied)
    page = opened("calls")
    assert not page.exception
    said = text_of(page)
    assert "Amazon UK refuses patchListingsItem." in said
    assert "calls in the last hour did not succeed." in said
    assert " of 2,000 points" in said
    assert "up to 5 calls a second" in said
    assert "API 2026-07" in said
    assert r"The field \`order.oldTotal\` is removed in 2027-01" in said
    assert "denied [*bold*] &lt;b&gt;no&lt;/b&gt; ***@***" in said
    assert "ada@example.com" not in said
    assert len(page.get("plotly_chart")) == 3
    assert all(chart.proto.alt for chart in page.get("plotly_chart"))
    table = page.dataframe[0].value
    assert len(table) == calls.PAGE
    assert table["Outcome"].tolist()[0] == ["Refused"]
    assert table["Why"].tolist()[0] == "denied [*bold*] <b>no</b> ***@***"


@pytest.mark.parametrize("window", list(calls.WINDOWS))
def test_every_window_draws_and_is_named(opened: Open, conn: Connection, window: str) -> None:
    shop = seed.shop(conn)
    shopify = seed.connection(conn, shop)
    chatter.a_day(conn, shop, shopify, seed.connection(conn, shop, "Amazon UK", "amazon", "B"))
    page = opened("calls", window=window)
    page.segmented_control(key="window").set_value(window).run()
    assert not page.exception
    assert f"in {call_words.last_of(window)}" in text_of(page)
    assert len(page.get("plotly_chart")) == 3


def test_the_list_is_filtered_and_paged(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    shopify = seed.connection(conn, shop)
    amazon = seed.connection(conn, shop, "Amazon UK", "amazon", "B")
    for number in range(calls.PAGE + 5):
        seed.call(conn, shop, shopify, seed.ago(minutes=90 - number), operation="Orders")
    seed.call(conn, shop, amazon, seed.ago(hours=40), "throttled", status=429, operation="getListingsItem")
    page = opened("calls")
    assert len(page.dataframe[0].value) == calls.PAGE
    page.button(key="calls-on").click().run()
    assert len(page.dataframe[0].value) == 6
    page.button(key="calls-back").click().run()
    page.segmented_control(key="show").set_value("Did not succeed").run()
    assert page.dataframe[0].value["Operation"].tolist() == ["getListingsItem"]
    page.selectbox(key="operation").set_value("Orders").run()
    assert "No call matches" in text_of(page)
    page.button(key="calls-show-all").click().run()
    page.selectbox(key="connection").set_value("Amazon UK").run()
    assert page.dataframe[0].value["Channel"].tolist() == ["Amazon UK"]
    assert "No call in the last hour" in text_of(page)


def test_the_address_opens_one_call_with_all_that_is_known(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    c = seed.connection(conn, shop)
    run = seed.run(conn, shop, c, "done", started_at=seed.now(), ended_at=seed.now())
    more = {"status": None, "error": "ReadTimeout", "attempt": 3, "sync_run_id": run, "operation": "Set[Quantities]"}
    number = seed.call(conn, shop, c, seed.ago(minutes=3), "unknown", **more)
    page = opened("calls", call=str(number))
    assert not page.exception
    said = text_of(page)
    for sentence in (
        r"Set\[Quantities\]",
        "it may have been carried out or not",
        "3rd try of the same call",
        "no answer came",
        "neither what we sent nor what came back",
    ):
        assert sentence in said, sentence
    assert "no answer came in time" in [block.value for block in page.get("code")]
    assert "There is no call 99" in text_of(opened("calls", call="99"))
    assert not opened("calls", call="1; drop").exception


def test_another_shops_calls_are_not_opened_nor_listed(opened: Open, conn: Connection) -> None:
    mine, other = seed.shop(conn, "Alpha"), seed.shop(conn, "Beta")
    c = seed.connection(conn, other, "Only of Beta")
    number = seed.call(conn, other, c, seed.now(), operation="Secret")
    said = text_of(opened("calls", shop=str(mine), call=str(number)))
    assert f"There is no call {number}" in said
    assert "Secret" not in said


def test_a_database_that_is_gone_leaves_a_reference_and_no_picture(
    opened: Open, conn: Connection, monkeypatch: pytest.MonkeyPatch, database: embedded.Database
) -> None:
    shop = seed.shop(conn)
    seed.call(conn, shop, seed.connection(conn, shop), seed.now())
    page = opened("calls")
    assert page.dataframe
    monkeypatch.setattr("dashboard.queries.forget", forget_all)

    def broken(*_: object) -> None:
        raise queries.Unreadable(OSError("gone"))

    with monkeypatch.context() as patch:
        patch.setattr("dashboard.calls.volume", broken)
        page.run()
        said = text_of(page)
        assert not page.exception
        assert "The database did not answer within 5 s." in said
        assert "Reference e-" in said
        assert not page.get("plotly_chart")
        # The list was read: it is shown.
        assert page.dataframe
    page.run()
    assert page.get("plotly_chart")


def test_the_overview_leads_from_a_failing_connection_to_its_calls(opened: Open, conn: Connection) -> None:
    worlds.troubled(conn)
    page = opened()
    links = [link.proto for link in page.get("page_link") if link.proto.label == "See calls"]
    # A card about parked messages or stock is none of theirs.
    assert [link.query_string for link in links] == [
        "connection=Amazon+UK&show=Did+not+succeed",
        "connection=Till+Covent+Gdn&show=Did+not+succeed",
    ]


# --- its reads ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("settings")
def test_calls_are_counted_by_step_and_outcome_within_the_window(conn: Connection) -> None:
    shop = seed.shop(conn)
    a, b = seed.connection(conn, shop), seed.connection(conn, shop, "Amazon UK", "amazon", "B")
    for minute in (1, 1, 2, 59, 61.5):
        seed.call(conn, shop, a, seed.ago(minutes=minute))
    seed.call(conn, shop, b, seed.ago(minutes=30), "unknown")
    counted = calls.volume(shop, "all", HOUR, 2)
    assert (counted.count("ok"), counted.count(*calls.FAILURES), counted.count()) == (4, 1, 5)
    assert counted.only(b).count() == 1
    assert counted.reach == {}
    assert all(counted.begins <= row["bucket_at"] < counted.ends for row in counted.rows)
    assert {row["bucket_at"].second for row in counted.rows} == {0}
    quiet = calls.volume(seed.shop(conn, "Other"), "all", HOUR, 0)
    assert (quiet.rows, quiet.reach, quiet.begins < quiet.ends) == ([], {}, True)


@pytest.mark.usefixtures("settings")
def test_what_a_depth_cuts_off_is_said(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "DEPTH", 30)
    monkeypatch.setattr(calls, "DEPTH_LEAST", 5)
    shop = seed.shop(conn)
    a = seed.connection(conn, shop)
    for minute in range(20):
        seed.call(conn, shop, a, seed.ago(minutes=minute))
    seed.call(conn, shop, a, seed.ago(minutes=50), "error")
    assert calls.volume(shop, "all", HOUR, 99).count("ok") == 5
    counted = calls.volume(shop, "all", HOUR, 3)
    assert (counted.count("ok"), counted.count("error"), counted.depth) == (10, 1, 10)
    assert list(counted.reach) == [(a, "ok")]
    assert counted.ends - counted.reach[a, "ok"] < timedelta(minutes=11)
    assert call_words.balance(counted, "1 h", calls.parties(shop, "all")) == "1 call in the last hour did not succeed."


@pytest.mark.usefixtures("settings")
def test_percentiles_are_of_what_succeeded(conn: Connection) -> None:
    shop = seed.shop(conn)
    a = seed.connection(conn, shop)
    for ms in range(1, 101):
        seed.call(conn, shop, a, seed.ago(minutes=5, seconds=ms / 10), elapsed_ms=ms)
    seed.call(conn, shop, a, seed.ago(minutes=5), "unknown", elapsed_ms=20_000)
    taken = calls.latency(shop, "all", HOUR)
    assert (taken.whole[a]["median_ms"], taken.whole[a]["slow_ms"], taken.whole[a]["calls"]) == (50, 95, 100)
    assert sum(row["calls"] for row in taken.steps) == 100
    assert {row["bucket_at"].minute % 2 for row in taken.steps} == {0}


@pytest.mark.usefixtures("settings")
def test_pages_of_one_moment_meet_without_gap_or_repeat(conn: Connection) -> None:
    shop = seed.shop(conn)
    channels = [seed.connection(conn, shop, name) for name in ("one", "two")]
    at = seed.ago(minutes=9)
    for number in range(calls.PAGE * 2 + 7):
        outcome = calls.OUTCOMES[number % 5]
        seed.call(conn, shop, channels[number % 2], at + timedelta(seconds=number // 9), outcome)
    seen: list[tuple[datetime, int]] = []
    before = None
    while True:
        page = calls.page(shop, "all", None, calls.OUTCOMES, None, before)
        seen += [(row["called_at"], row["call_id"]) for row in page.rows]
        before = seen[-1]
        if not page.more:
            break
    assert len(set(seen)) == len(seen) == calls.PAGE * 2 + 7
    assert seen == sorted(seen, reverse=True)
    only = calls.page(shop, "all", channels[1], ("throttled",), "levels", None)
    assert {(row["connection"], row["outcome"]) for row in only.rows} == {("two", "throttled")}
    assert calls.page(shop, "all", None, calls.OUTCOMES, "nothing like it", None).rows == []


@pytest.mark.usefixtures("settings")
def test_what_a_vendor_last_said_is_kept_apart_by_what_it_is_about(conn: Connection) -> None:
    shop = seed.shop(conn)
    a = seed.connection(conn, shop)
    seed.call(conn, shop, a, seed.ago(hours=3), deprecation="going", api_version="2026-01", quota_left="9 of 10")
    seed.call(conn, shop, a, seed.ago(minutes=9), quota_left="7 of 10", api_version="2026-07", operation="Orders")
    seed.call(conn, shop, a, seed.ago(minutes=5), "error", status=503, error="HTTP_503", operation="Items")
    seed.call(conn, shop, a, seed.ago(minutes=1))
    (party,) = calls.parties(shop, "all")
    assert (party["quota_left"], party["quota_operation"], party["api_version"]) == ("7 of 10", "Orders", "2026-07")
    assert (party["deprecation"], party["last_bad_operation"]) == ("going", "Items")
    assert call_words.last_error(party) == "Items, status 503: HTTP_503"
    known = calls.operations(shop, "all")
    assert [row["operation"] for row in known] == ["Items", "Orders", "levels"]
    assert [row["last_bad_outcome"] for row in known] == ["error", None, None]
    assert call_words.verdict(party, known, seed.ago(hours=1)) == "no_answer"
    assert call_words.verdict(party, known, seed.ago(minutes=4)) == "answers"
    seed.call(conn, shop, a, seed.ago(seconds=5), operation="Items")
    seed.call(conn, shop, a, seed.ago(seconds=4), "throttled", operation="Items")
    st.cache_data.clear()
    assert call_words.verdict(party, calls.operations(shop, "all"), seed.ago(hours=1)) == "answers"


# --- its words ------------------------------------------------------------------------------------------------------


HOUR_AGO = NOW - timedelta(hours=1)


def party(name: str, is_called: bool = True, switch: str = "on") -> dict[str, Any]:
    return {
        "connection_id": ord(name),
        "name": name,
        "switch": switch,
        "last_ok_at": NOW if is_called else None,
        "last_bad_at": None,
    }


def asked(name: str, operation: str, good: int | None, bad: int | None, outcome: str = "refused") -> dict[str, Any]:
    """An operation of a party with its last good and bad answer, so many minutes ago."""
    ats = [None if minutes is None else NOW - timedelta(minutes=minutes) for minutes in (good, bad)]
    return {
        "connection_id": ord(name),
        "operation": operation,
        "last_ok_at": ats[0],
        "last_bad_at": ats[1],
        "last_bad_outcome": outcome,
    }


@pytest.mark.parametrize(
    ("parties", "operations", "said"),
    [
        ([], [], "No channel is connected yet."),
        ([party("A", is_called=False)], [], "No channel is called."),
        ([party("A")], [], "The channel answers."),
        ([party("A"), party("B")], [asked("A", "Orders", 1, 2)], "Both channels answer."),
        ([party(n) for n in "ABC"], [], "All three channels answer."),
        ([party("A"), party("B", is_called=False)], [], "A answers."),
        ([party("A"), party("B"), party("C", switch="paused")], [], "A and B answer."),
        # Other operations succeed meanwhile, and what was long ago counts no more.
        (
            [party("A"), party("B")],
            [asked("A", "Orders", 5, 2), asked("A", "Items", 1, None), asked("B", "Items", None, 90)],
            "A refuses Orders.",
        ),
        (
            [party("A"), party("B")],
            [asked("A", "Orders", 5, 2), asked("A", "Items", None, 1), asked("B", "Items", None, 3, "unknown")],
            "A refuses 2 operations and B does not answer Items.",
        ),
        (
            [party(n) for n in "ABCD"],
            [asked(n, "Orders", None, 2) for n in "ABC"],
            "Three of four channels do not answer every call.",
        ),
    ],
)
def test_the_answer_names_who_says_no(
    parties: list[dict[str, Any]], operations: list[dict[str, Any]], said: str
) -> None:
    assert call_words.answer(parties, operations, HOUR_AGO) == said


def counted(**by_outcome: int) -> calls.Volume:
    found = [
        {"connection_id": 1, "outcome": outcome, "bucket_at": NOW, "calls": n} for outcome, n in by_outcome.items()
    ]
    return calls.Volume(NOW - timedelta(hours=1), NOW, found, {}, 25_000)


def test_the_balance_counts_exactly_or_says_that_it_does_not() -> None:
    assert call_words.balance(counted(), "1 h", [party("A")]) == "No call was made in the last hour."
    assert call_words.balance(counted(ok=1), "24 h", [party("A")]) == "The one call in the last day succeeded."
    assert call_words.balance(counted(ok=1200), "6 h", [party("A")]) == "All 1,200 calls in the last 6 hours succeeded."
    some = counted(ok=3469, throttled=9, error=3)
    assert call_words.balance(some, "1 h", [party("A")]) == "12 of 3,481 calls in the last hour did not succeed."
    cut = some._replace(reach={(1, "error"): NOW})
    assert call_words.balance(cut, "1 h", [party("A")]) == "At least 12 calls in the last hour did not succeed."
    assert call_words.by_kind({"ok": 3469, "throttled": 9, "error": 3}) == "9 throttled, 3 failed"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "–"),
        ("1990 of 2000", "1,990 of 2,000 points"),
        ("1989.5 of 2000", "1,989 of 2,000 points"),
        ("5/s", "up to 5 calls a second"),
        ("1/s", "up to 1 call a second"),
        ("2.5/s", "up to 2.5 calls a second"),
        ("0.0056/s", "up to one call in 2 min"),
        ("0/s", "up to 0 calls a second"),
        ("plenty", "plenty"),
    ],
)
def test_quota_is_said_as_the_vendor_counts_it(said: str | None, words: str) -> None:
    assert call_words.quota(said) == words


def test_errors_are_words_and_masked() -> None:
    assert call_words.error("ReadTimeout") == "no answer came in time"
    assert call_words.error("HTTP_400 password=hunter2", 400) == "HTTP_400 password=***"
    assert call_words.error(None) == "no answer came"
    assert call_words.error(None, 500) == "no reason was given"
    assert all(call_words.meaning(outcome) for outcome in calls.OUTCOMES)
    assert [call_words.attempt(n) for n in (1, 2, 3, 11)] == [
        "First try",
        "2nd try of the same call",
        "3rd try of the same call",
        "11th try of the same call",
    ]


def test_shares_and_milliseconds_are_never_nothing_when_there_is_something() -> None:
    shares = [formats.percent(n, 10_000) for n in (0, 1, 34, 1200, 10_000)]
    assert shares == ["0 %", "< 0.1 %", "0.3 %", "12 %", "100 %"]
    assert formats.percent(0, 0) == "–"
    assert [formats.milliseconds(n) for n in (None, 0, 999, 1240, 20_000)] == ["–", "0 ms", "999 ms", "1.2 s", "20 s"]


def test_facts_of_a_call_are_escaped() -> None:
    row = {
        "called_at": NOW,
        "connection": "<i>A</i>",
        "vendor": "shopify",
        "operation": "<b>x</b>",
        "method": "POST",
        "status": 200,
        "outcome": "ok",
        "elapsed_ms": 1240,
        "attempt": 1,
        "quota_left": None,
        "api_version": None,
        "deprecation": "<script>",
        "sync_run_id": None,
        "call_id": 7,
    }
    shown = dict(call_drawer.facts(row, "Europe/London"))
    assert shown["Called"] == "Fri 27 Nov 2026, 14:32:10 GMT"
    assert shown["Operation"] == "&lt;b&gt;x&lt;/b&gt;"
    assert "<" not in "".join(shown.values())


@pytest.mark.usefixtures("settings")
def test_forgetting_old_calls_leaves_the_page_whole(conn: Connection) -> None:
    shop = seed.shop(conn)
    seed.call(conn, shop, seed.connection(conn, shop), seed.ago(days=40))
    execute(conn, "delete from api_calls where called_at < now() - interval '30 days'")
    assert calls.page(shop, "all", None, calls.OUTCOMES, None, (seed.ago(days=40), 1)).rows == []
    assert calls.operations(shop, "all") == []
