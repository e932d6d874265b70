"""The Reports screen without a browser: nothing yet, days, one day and its editions, a missed day, weeks."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from core.audit import Actor
from core.db import scalar
from core.reports import queries as core_queries
from core.reports.words import long_day
from dashboard import formats, queries, report_actions, report_charts, report_queries
from dashboard.theme import LIGHT
from tests.dashboard import report_worlds, seed
from tests.dashboard.conftest import Open, text_of


def test_a_shop_without_reports_says_when_the_first_comes(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    page = opened("reports")
    assert not page.exception
    said = text_of(page)
    assert "No day is reported yet" in said
    # It was opened long ago: what the night has missed can be built.
    assert "closed days have no report yet" in said
    assert report_queries.days(shop, "all", None).rows == []


def test_days_weeks_one_day_and_its_correction(opened: Open, conn: Connection) -> None:
    world = report_worlds.reported(conn)
    page = opened("reports")
    assert not page.exception
    table = page.dataframe[0].value
    assert len(table) == 9
    day = world.day
    assert table["Day"][0] == f"{day:%a} {day.day} {day:%b %Y}"
    assert [list(marks) for marks in table["Edition"]].count(["Correction"]) == 1

    page = opened("reports", day=str(world.day))
    assert not page.exception
    said = text_of(page)
    assert long_day(world.day) in said
    assert "the day before" in said
    assert "2 SKUs sold out, 9 h 45 min together" in said
    assert "Discrepancies were not measured" in said
    labels = [button.label for button in page.button]
    assert {"All days", "Day before", "Day after", "Send…", "Look for changes…"} <= set(labels)
    metrics = {metric.label: metric for metric in page.metric}
    assert {"Orders", "Revenue", "Average order", "Units", "Refunds", "Cancellations"} <= metrics.keys()
    # What fell is shown as fallen: Streamlit knows less by its hyphen only.
    assert all("\N{MINUS SIGN}" not in metric.delta for metric in page.metric)

    page = opened("reports", day=str(world.corrected))
    said = text_of(page)
    assert "Edition 2 corrects what was reported" in said.replace("\\", "")
    assert "3 orders of Shopify UK came after the report was built" in said.replace("\\", "")
    page = opened("reports", day=str(world.corrected), edition="1")
    assert not page.exception
    assert "Edition 2 has replaced it." in text_of(page)
    assert "There is no such edition" in text_of(opened("reports", day=str(world.corrected), edition="7"))

    page = opened("reports", day=str(world.missed))
    assert "This day has no report" in text_of(page)
    assert "Build now…" in [button.label for button in page.button]
    assert "This day is not over" in text_of(opened("reports", day=str(world.missed + timedelta(days=1))))
    assert not opened("reports", day="not-a-day").exception

    page = opened("reports", view="Weeks")
    assert not page.exception
    assert "reported, week" in text_of(page)

    # The acts behind the dialogs, on the same shop.
    ada = Actor("ada", "the night was missed")
    engine = queries.engine()
    assert "is reported" in report_actions.build(engine, world.shop, world.missed, ada)
    assert "stands" in report_actions.correct(engine, world.shop, world.missed, ada)
    found = core_queries.report(conn, world.shop, world.missed)
    assert "is on its way" in report_actions.send(found, ada)
    assert scalar(conn, "select count(*) from audit_entries where actor = 'ada'") == 3


def test_a_change_is_against_what_there_was() -> None:
    assert formats.delta(3, 4) == "-25 %"
    assert formats.delta(5, 4) == "+25 %"
    assert formats.delta(5, 0) is None
    assert formats.delta(5, None) is None


def test_figures_have_a_bar_for_each_hour_and_say_themselves(conn: Connection, settings: None) -> None:
    world = report_worlds.reported(conn, days=4)
    found = core_queries.report(conn, world.shop, world.day)
    figure = report_charts.by_hour(found, None, LIGHT)
    assert len(figure.data[0].x) == len(found.content["by_hour"])
    orders = sum(row["orders"] for row in found.content["markets"])
    assert report_charts.says_by_hour(found, None).startswith(f"Orders by hour: {orders} in all, most at ")
    assert "in all" in report_charts.says_by_hour(found, "GBP")
    evil = report_charts.by_market(["<b>x</b>"], [100], "GBP", LIGHT)
    assert evil.layout.yaxis.ticktext == ("&lt;b&gt;x&lt;/b&gt;  ",)
