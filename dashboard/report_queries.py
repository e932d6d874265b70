"""Reads of the Reports screen: days, one day's editions, what it is compared with, and weeks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.clock import business_day
from core.db import read_only
from core.reports import operations as reports
from core.reports import queries as core_queries
from core.reports.queries import ReportRow
from core.reports.rules import sums
from dashboard import queries
from dashboard.queries import Unreadable, rows

PAGE = 30

_SUMMED = ("orders", "units", "refunds", "refunded_units", "cancellations")


class Page(NamedTuple):
    """Days, newest first; `more` says whether older ones follow."""

    rows: list[dict[str, Any]]
    more: bool


class Beside(NamedTuple):
    """What a day is compared with: the day before, and the same weekday a week before; None where unreported."""

    day_before: ReportRow | None
    week_before: ReportRow | None


def forget() -> None:
    """Read afresh after a report was built."""
    for cached in (days, missing, report, editions, beside, week):
        cached.clear()


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def days(shop_id: int, scope: str, before: date | None) -> Page:
    """The newest edition of each day before `before`."""
    found = rows(
        f"""
        select day, edition, orders, units, refunds, refunded_units, cancellations, money, hours, built_at, is_material,
            now() as as_of
        from daily_report_list
        where shop_id = %(shop)s and is_latest and (%(before)s::date is null or day < %(before)s)
        order by day desc limit {PAGE + 1}
        """,
        shop=shop_id,
        before=before,
    )
    return Page(found[:PAGE], len(found) > PAGE)


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def missing(shop_id: int, scope: str) -> list[date]:
    """Days that have closed and are not reported yet, oldest first. Raises Unreadable."""
    try:
        with read_only(queries.engine()) as conn:
            return reports.due(conn, shop_id, queries.database_time())
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def report(shop_id: int, scope: str, day: date, edition: int | None) -> ReportRow | None:
    """One edition of a day, the newest where none is named. Raises Unreadable."""
    try:
        with read_only(queries.engine()) as conn:
            return core_queries.find(conn, shop_id, day, edition)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def editions(shop_id: int, scope: str, day: date) -> list[dict[str, Any]]:
    """The editions of a day, the first first."""
    return rows(
        """
        select edition, built_at, built_by, changes, is_latest from daily_report_list
        where shop_id = %(shop)s and day = %(day)s order by edition
        """,
        shop=shop_id,
        day=day,
    )


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def beside(shop_id: int, scope: str, day: date) -> Beside:
    """The reports that a day is compared with. Raises Unreadable."""
    try:
        with read_only(queries.engine()) as conn:
            found = (core_queries.find(conn, shop_id, day - timedelta(days=back)) for back in (1, 7))
            return Beside(*found)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def week(shop_id: int, scope: str, monday: date) -> list[dict[str, Any] | None]:
    """Fourteen days from the Monday before `monday` on: the newest edition of each, None where there is none."""
    found = rows(
        f"""
        select day, edition, {", ".join(_SUMMED)}, money, hours from daily_report_list
        where shop_id = %(shop)s and is_latest and day >= %(begins)s and day < %(ends)s
        """,
        shop=shop_id,
        begins=monday - timedelta(days=7),
        ends=monday + timedelta(days=7),
    )
    by_day = {row["day"]: row for row in found}
    return [by_day.get(monday + timedelta(days=number - 7)) for number in range(14)]


def week_sums(found: Iterable[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Sums of some days: counts, and by currency `revenue_minor` and `refunded_minor`."""
    known = [row for row in found if row is not None]
    money: dict[str, dict[str, int]] = {}
    for row in known:
        for each in row["money"]:
            mine = money.setdefault(each["currency"], {"revenue_minor": 0, "refunded_minor": 0, "orders": 0})
            for name in mine:
                mine[name] += each[name]
    return {"days": len(known), "money": money, **{name: sum(row[name] for row in known) for name in _SUMMED}}


def main_currency(found: ReportRow, usual: str) -> str:
    """The currency of the most orders; the shop's on a day without any."""
    return next(iter(sums(found.content["markets"])), usual)


def now() -> datetime:
    """The database's clock. Raises Unreadable."""
    return queries.database_time()


def yesterday(now: datetime, zone: str) -> date:
    """The last day that has closed."""
    return business_day(now, zone) - timedelta(days=1)
