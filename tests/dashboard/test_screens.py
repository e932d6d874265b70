"""Every screen runs: no shop, an empty shop, a calm and a troubled one, and a database that is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from sqlalchemy import Connection

from core import embedded
from core.alerts import credentials
from core.alerts.credentials import Ending
from core.alerts.engine import Desk, follow
from core.alerts.operations import acknowledge
from core.alerts.rules import Finding, Found
from core.alerts.terms import policy
from core.audit import Actor
from core.clock import utc_now
from core.db import execute, fetch_one
from dashboard import problems, queries
from tests.dashboard import seed, worlds
from tests.dashboard.conftest import Open, assert_apart, forget_all, text_of


@pytest.mark.parametrize("screen", [None, "skus", "setup"])
def test_without_a_shop_every_screen_says_what_comes_first(opened: Open, screen: str | None) -> None:
    page = opened(screen)
    assert not page.exception
    assert "There is no shop yet" in text_of(page)


def test_a_shop_without_connections(opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    overview = opened()
    assert not overview.exception
    said = text_of(overview)
    assert "No channel is connected yet." in said
    assert "Nothing needs you" in said
    assert "There are no SKUs yet" in text_of(opened("skus"))


def test_a_shop_that_nothing_is_known_of_is_set_up(opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("setup")
    assert not page.exception
    said = text_of(page)
    assert "There is no location yet" in said
    assert "No channel has told its places yet" in said
    page.text_input(key="shop-currency").set_value("POU")
    page.text_input(key="shop-reason").set_value("We moved")
    next(button for button in page.button if button.label == "Save the shop").click().run()
    assert "give its three letters" in text_of(page)


def test_a_calm_day_says_so(opened: Open, conn: Connection) -> None:
    worlds.calm(conn)
    page = opened()
    assert not page.exception
    said = text_of(page)
    assert "Nothing needs you." in said
    assert "Both channels are in step." in said
    assert [m.label for m in page.metric] == [
        "Slowest connection",
        "Orders today",
        "Listings to push",
        "Parked or unmapped",
    ]
    assert [b.label for b in page.button if b.label == "Sync now…"] == ["Sync now…"] * 2


def test_a_bad_day_shows_each_problem_with_its_step_worst_first(opened: Open, conn: Connection) -> None:
    worlds.troubled(conn)
    page = opened()
    assert not page.exception
    said = text_of(page)
    for sentence in (
        "Nine things need you.",
        "Amazon UK is ",
        "The nightly audit found something wrong",
        "has been silent for 47 min",
        "Nobody knows whether 1 write to Shopify UK arrived",
        "Shopify UK refuses 1 quantity",
        "£77.70",
        "3 messages from Shopify UK could not be read",
        "4 live listings on Shopify UK are not kept in step",
        "Comparing stock with a channel failed 3 times",
    ):
        assert sentence in said, sentence
    cards = [m.value for m in page.markdown if "-badge[" in m.value]
    assert "Amazon UK" in cards[0]
    assert r"Gift wrap \[red\]" not in said


def test_a_secret_that_ends_has_its_card_until_it_is_replaced(opened: Open, conn: Connection) -> None:
    worlds.calm(conn)
    row = fetch_one(conn, "select shop_id, id, name from connections order by id limit 1")
    assert row is not None
    ending = Ending(row["name"], datetime(2099, 1, 8, tzinfo=UTC))
    assert credentials.tell_of_ending(Desk(conn, row["shop_id"], utc_now(), ""), row["id"], ending)
    page = opened()
    assert not page.exception
    said = text_of(page)
    assert "One thing needs you." in said
    assert f"{row['name']} will be shut out: the application's client secret ends on 2099-01-08" in said
    assert "switchyard connect" in said
    execute(conn, "update alerts set closed_at = now(), closed_because = 'replaced'")
    forget_all()
    assert "Nothing needs you." in text_of(opened())


def test_an_alert_has_a_card_and_is_quiet_once_somebody_has_it(opened: Open, conn: Connection) -> None:
    worlds.calm(conn)
    row = fetch_one(conn, "select shop_id, id, name from connections order by id limit 1")
    assert row is not None
    desk, kind = Desk(conn, row["shop_id"], utc_now(), ""), "backlog"
    seen = Finding(
        f"{kind}:{row['id']}:events", "danger", "9,000 *messages* wait; at this rate 10,000 wait at 14:32",
        "60 are handled a minute, 90 arrive.", "Start more workers.", "jobs", 9000, {}, row["id"], skus=3,
    )  # fmt: skip
    follow(desk, policy(kind), Found([seen]))
    said = text_of(opened())
    assert "One thing needs you." in said
    assert r"9,000 \*messages\* wait; at this rate 10,000 wait at 14" in said
    assert "60 are handled a minute, 90 arrive. Start more workers." in said
    assert "3 SKUs" in said
    alert_id = open_one_id(conn)
    acknowledge(conn, row["shop_id"], alert_id, Actor("Grace", "on it"), utc_now())
    forget_all()
    page = opened()
    assert not page.exception
    assert "Grace has it since" in text_of(page)
    (card,) = [m.value for m in page.markdown if "-badge[" in m.value]
    assert "Dangerous" not in card
    assert ":red-badge" not in card


def open_one_id(conn: Connection) -> int:
    row = fetch_one(conn, "select alert_id from open_alerts")
    assert row is not None
    return int(row["alert_id"])


def test_a_drawer_opens_on_each_kind_of_evidence(opened: Open, conn: Connection) -> None:
    worlds.troubled(conn)
    # What has neither a code nor a listing cannot be mapped: its lines are all there is to see.
    execute(conn, "update order_lines set code = null, variant_ref = null where mapping = 'unmapped'")
    inside = {"See lines…": "Gift wrap", "See listings…": "TEST-3"}
    for label in (*inside, "See result…"):
        page = opened()
        next(b for b in page.button if b.label == label).click().run()
        assert not page.exception, label
        said = text_of(page)
        assert inside.get(label, "") in said + "".join(code.value for code in page.code), label
        assert "Reference" not in said, label


def test_the_preview_counts_before_it_asks(opened: Open, conn: Connection) -> None:
    worlds.calm(conn)
    page = opened()
    next(b for b in page.button if b.label == "Sync now…").click().run()
    assert not page.exception
    said = text_of(page)
    assert "<b>20</b> listings to read" in said
    assert "May write" in said


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"state": "queued"}, "Waiting for a worker for 1 min"),
        (
            {
                "state": "running",
                "step": "Reading listings",
                "done": 120,
                "total": 480,
                "started_at": seed.ago(seconds=600),
            },
            "Reading listings · 120 of 480 · ≈ 3 min left",
        ),
    ],
)
def test_an_open_run_shows_its_progress_after_a_reload(
    opened: Open, conn: Connection, run: dict[str, object], said: str
) -> None:
    world = worlds.calm(conn)
    if "started_at" in run:
        # What it did in the last minute counts, not how long it has been at it.
        run |= {"heartbeat_at": seed.now(), "window_at": seed.ago(seconds=40), "window_done": 40}
    seed.run(conn, world.shop, world.shopify, **run)
    page = opened()
    assert not page.exception
    bars = page.get("progress")
    assert [bar.proto.text for bar in bars] == [said]


@pytest.mark.parametrize("state", ["done", "failed"])
def test_a_run_that_ended_shows_its_result_while_the_address_names_it(
    opened: Open, conn: Connection, state: str
) -> None:
    world = worlds.calm(conn)
    run = seed.run(
        conn,
        world.shop,
        world.shopify,
        state,
        started_at=seed.ago(seconds=60),
        ended_at=seed.now(),
        error=None if state == "done" else "the token was refused",
        counts={"listings_read": 480, "writes": 3},
    )
    said = text_of(opened(run=str(run)))
    assert ("480</b> listings read" in said) == (state == "done")
    assert ("The token was refused." in said) == (state == "failed")
    assert "Sync of Shopify UK" not in text_of(opened())


def test_the_result_of_a_run_never_stands_where_its_progress_stood(opened: Open, conn: Connection) -> None:
    world = worlds.calm(conn)
    run = seed.run(conn, world.shop, world.shopify, "running", started_at=seed.ago(seconds=60))
    running = opened()
    seed.set_state(conn, "sync_runs", run, state="done", ended_at=seed.now())
    queries.forget()
    assert_apart((running, "Sync of Shopify UK"), (opened(run=str(run)), "Close"))


@pytest.mark.parametrize("show", ["All", "Not in step", "Short", "Scarce"])
def test_skus_by_filter(opened: Open, conn: Connection, show: str) -> None:
    worlds.troubled(conn)
    page = opened("skus", show=show)
    assert not page.exception
    if show == "Scarce":
        return
    assert page.dataframe[0].value["SKU"].tolist()


def test_no_match_says_so_and_offers_all(opened: Open, conn: Connection) -> None:
    worlds.calm(conn)
    page = opened("skus")
    page.text_input(key="q").set_value("nothing like it").run()
    assert "No SKU matches" in text_of(page)
    page.button(key="show-all").click().run()
    assert len(page.dataframe[0].value) == len(worlds.GOODS)


def test_one_sku_explains_its_number(opened: Open, conn: Connection) -> None:
    worlds.troubled(conn)
    page = opened("skus", sku="22423")
    assert not page.exception
    said = text_of(page)
    assert "available**. Neither channel is in step." in said
    assert "Refused 4 times" in said
    doubtful = text_of(opened("skus", sku="85123A"))
    assert "Nobody knows whether Shopify UK took 4" in doubtful
    assert [len(page.dataframe), bool(page.get("plotly_chart"))] == [3, True]
    assert "There is no SKU nope" in text_of(opened("skus", sku="nope"))


def test_the_search_box_goes_straight_to_an_exact_code(opened: Open, conn: Connection) -> None:
    worlds.calm(conn)
    page = opened()
    page.text_input(key="find").set_value("22423").run()
    assert "Regency cakestand" in text_of(page)


def test_the_address_chooses_the_shop(opened: Open, conn: Connection) -> None:
    first, second = seed.shop(conn, "Alpha"), seed.shop(conn, "Beta", zone="America/New_York")
    seed.connection(conn, second, "Only of Beta")
    assert "No channel is connected yet." in text_of(opened())
    page = opened(shop=str(second))
    assert "Only of Beta" in text_of(page)
    assert "New York" in text_of(page)
    assert page.selectbox(key="shop-picker").value == second
    assert "No channel is connected yet." in text_of(opened(shop=f"{first}"))


def test_a_database_that_is_gone_leaves_a_reference_and_no_figure(
    opened: Open, conn: Connection, monkeypatch: pytest.MonkeyPatch, database: embedded.Database
) -> None:
    worlds.calm(conn)
    page = opened()
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    forget_all()
    page.run()
    assert not page.exception
    said = text_of(page)
    assert "The database did not answer within 5 s." in said
    assert "Reference e-" in said
    assert not page.metric
    assert not page.dataframe
    assert "Orders today" not in said
    monkeypatch.setenv("DATABASE_URL", database.url)
    forget_all()
    page.button(key="again-page").click().run()
    assert [m.label for m in page.metric][:1] == ["Slowest connection"]


def test_one_failing_panel_leaves_the_others_alone(
    opened: Open, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    worlds.calm(conn)

    def broken(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr("dashboard.history.writes", broken)
    page = opened("skus", sku="22423")
    said = text_of(page)
    assert "This part could not be shown." in said
    assert "Reference e-" in said
    assert len(page.dataframe) == 2
    assert page.get("plotly_chart")


def test_many_problems_are_cut_and_counted(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    c = seed.connection(conn, shop)
    seed.call(conn, shop, c, seed.now())
    for number in range(15):
        seed.message(conn, shop, c, seed.ago(minutes=number), "parked", cause=f"cause_{number}")
    said = text_of(opened())
    assert "15 things need you." in said
    assert "3 more like these, less urgent." in said


def test_problem_ages_do_not_depend_on_who_looks() -> None:
    at = seed.now()
    row = {
        "name": "nightly_audit",
        "period": "2026-11-26",
        "started_at": at - timedelta(hours=9),
        "ended_at": None,
        "result": {},
        "outcome": "failed",
        "violations": None,
    }
    (found,) = problems.collect([], {"schedule": [row]}, at, "UTC")
    assert found.since == at - timedelta(hours=9)


def test_the_next_step_of_a_card_lands_on_what_it_names(opened: Open, conn: Connection) -> None:
    worlds.troubled(conn)
    # One of each kind of address; not all of a kind.
    links = {
        (proto.page, *sorted(parse_qs(proto.query_string))): parse_qs(proto.query_string)
        for proto in (link.proto for link in opened().get("page_link"))
        if proto.query_string
    } | {("schedules", "schedule"): {"schedule": ["audit.nightly"]}}
    assert {name for name, *_ in links} == {"skus", "failures", "calls", "mapping", "schedules"}
    for (name, *_), query in links.items():
        where = {key: values[0] for key, values in query.items()}
        page = opened(name, **where)
        said = text_of(page)
        assert not page.exception, where
        assert "There is no" not in said, where
        assert "Reference" not in said, where
        if name in ("skus", "schedules") and "show" not in where:
            assert f'<h1 class="sy-title">{next(iter(where.values()))}' in said
        if name == "failures":
            assert page.query_params["group"], where
        elif "connection" in where:
            assert page.selectbox(key="connection").value == where["connection"]
