"""Writes of daily reports: a day is built once and kept; what changes later is a numbered correction beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.clock import business_day
from core.db import execute, scalar
from core.errors import Anticipated, BadInput
from core.reports import queries, rules, watching
from core.reports.queries import ReportRow, ShopRow
from core.reports.rules import Content, Policy

CLOCK = Actor("schedule", "the day has closed")
LOOK = Actor("schedule", "the nightly look at what came late")


CATCHES_UP_DAYS = 14
"""So far back a day that has none is reported, though corrections are looked for in fewer."""


class DayNotClosed(BadInput):
    """A report of a day that is not over yet, in the shop's zone."""

    def __init__(self, day: date, ends_at: datetime, time_zone: str) -> None:
        super().__init__(f"{day} is not over in {time_zone}: its report can be built from {ends_at:%Y-%m-%d %H:%M} UTC")


class AlreadyBuilt(Anticipated):
    """A day whose report stands: what changed since is a correction, never the report again."""

    def __init__(self, day: date) -> None:
        super().__init__(
            f"the report of {day} is built already and stays as it is: `switchyard report build {day} --correct` looks"
            " for what came since"
        )


@dataclass(frozen=True, slots=True)
class Built:
    """What a builder made. `is_new` False: somebody else had built it before."""

    report: ReportRow
    is_new: bool


# --- build -----------------------------------------------------------------------------------------------------------


def build(conn: Connection, shop_id: int, day: date, actor: Actor, now: datetime) -> Built:
    """Build the report of a closed day in the caller's unit of work, once: whoever comes second finds it built.

    Raises DayNotClosed.
    """
    shop = queries.shop(conn, shop_id)
    _lock(conn, shop_id)
    begins, ends = _closed(conn, shop, day, now)
    standing = queries.find(conn, shop_id, day)
    if standing is not None:
        return Built(standing, is_new=False)
    content = {
        **_business(conn, shop, day, begins, ends),
        **watching.day(conn, shop_id, begins, ends, now),
    }
    before = queries.same_weekdays_before(conn, shop_id, day)
    content["by_hour"] = rules.with_usual(content["by_hour"], before)
    return Built(_keep(conn, shop, day, 1, content, [], [], True, actor, now), is_new=True)


def build_by_hand(conn: Connection, shop_id: int, day: date, actor: Actor, now: datetime) -> ReportRow:
    """What a person asks for: as `build`, on record. Raises AlreadyBuilt, DayNotClosed."""
    built = build(conn, shop_id, day, actor, now)
    if not built.is_new:
        raise AlreadyBuilt(day)
    audit.record(conn, shop_id, actor, "build_report", f"report:{day}", now, report_id=built.report.id)
    return built.report


def due(conn: Connection, shop_id: int, now: datetime) -> list[date]:
    """Closed days without a report, oldest first: since the shop was opened, and no further back than the policy looks
    or `CATCHES_UP_DAYS`, whichever is more.

    Nights that were missed are caught up by the next.
    """
    shop = queries.shop(conn, shop_id)
    today = business_day(now, shop.time_zone)
    first = max(
        business_day(shop.opened_at, shop.time_zone),
        today - timedelta(days=max(queries.policy(conn, shop_id).look_back_days, CATCHES_UP_DAYS)),
    )
    last = today - timedelta(days=1)
    if first > last:
        return []
    done = queries.reported_days(conn, shop_id, first, last)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [day for day in days if day not in done]


def _closed(conn: Connection, shop: ShopRow, day: date, now: datetime) -> tuple[datetime, datetime]:
    begins, ends = rules.bounds(day, shop.time_zone)
    if ends > now:
        raise DayNotClosed(day, ends, shop.time_zone)
    return rules.joined((begins, ends), *queries.reported_until(conn, shop.shop_id, day))


def _lock(conn: Connection, shop_id: int) -> None:
    """One builder of a shop at a time; what is locked after it is only what is added here."""
    execute(conn, "select pg_advisory_xact_lock(hashtextextended('reports:' || %(shop)s, 0))", shop=shop_id)


def _business(conn: Connection, shop: ShopRow, day: date, begins: datetime, ends: datetime) -> Content:
    row = queries.business(conn, shop.shop_id, begins, ends)
    sold = {hour["index"]: hour for hour in row["hours"]}
    nothing = {"orders": 0, "units": 0, "revenue": {}}
    return {
        "day": day.isoformat(),
        "zone": shop.time_zone,
        "begins_at": begins.isoformat(),
        "ends_at": ends.isoformat(),
        "hours": (ends - begins).total_seconds() / 3600,
        "markets": row["markets"],
        "by_hour": [
            {**nothing, **sold.get(hour["index"], {}), **hour}
            for hour in rules.clock_hours(begins, ends, shop.time_zone)
        ],
        "skus": row["skus"],
        "skus_sold": row["skus_sold"],
        "seen": row["seen"],
    }


def _keep(
    conn: Connection,
    shop: ShopRow,
    day: date,
    edition: int,
    content: Content,
    changes: list[dict[str, Any]],
    causes: list[dict[str, Any]],
    is_material: bool,
    actor: Actor,
    now: datetime,
) -> ReportRow:
    report_id = scalar(
        conn,
        """
        insert into daily_reports (shop_id, day, edition, time_zone, begins_at, ends_at, content, content_hash, changes,
            causes, is_material, built_at, built_by, reason)
        values (%(shop)s, %(day)s, %(edition)s, %(zone)s, %(begins)s, %(ends)s, %(content)s, %(hash)s, %(changes)s,
            %(causes)s, %(material)s, %(now)s, %(by)s, %(reason)s)
        returning id
        """,
        shop=shop.shop_id,
        day=day,
        edition=edition,
        zone=content["zone"],
        begins=content["begins_at"],
        ends=content["ends_at"],
        content=Jsonb(content),
        hash=rules.content_hash(content),
        changes=Jsonb(changes),
        causes=Jsonb(causes),
        material=is_material,
        now=now,
        by=actor.name,
        reason=actor.reason,
    )
    names = ", ".join(rules.MEASURES)
    typed = ", ".join(f"{name} int8" for name in rules.MEASURES)
    execute(
        conn,
        f"""
        insert into daily_report_markets (shop_id, report_id, ordinal, connection_id, country_code, currency, {names})
        select %(shop)s, %(report)s, m.ordinal, r.connection_id, r.country, r.currency,
            {", ".join(f"r.{name}" for name in rules.MEASURES)}
        from jsonb_array_elements(%(markets)s) with ordinality as m (row, ordinal)
        cross join jsonb_to_record(m.row) as r (connection_id int8, country text, currency text, {typed})
        """,
        shop=shop.shop_id,
        report=report_id,
        markets=Jsonb(content["markets"]),
    )
    return queries.report(conn, shop.shop_id, day, edition)


# --- correct ---------------------------------------------------------------------------------------------------------


def correct(conn: Connection, shop_id: int, day: date, actor: Actor, now: datetime) -> ReportRow | None:
    """Look whether a reported day is known differently by now: the next edition with what changed, or None.

    It covers the same hours as the editions before, whatever became of the shop's zone. Raises NoSuchReport.
    """
    shop = queries.shop(conn, shop_id)
    _lock(conn, shop_id)
    standing = queries.report(conn, shop_id, day)
    shop = ShopRow(shop.shop_id, shop.name, standing.time_zone, shop.currency, shop.opened_at)
    found = _business(conn, shop, day, standing.begins_at, standing.ends_at)
    content = rules.corrected(standing.content, found)
    changes = rules.changes(standing.content, content)
    if not changes:
        return None
    causes = queries.causes(conn, standing)
    share = queries.policy(conn, shop_id).material_share
    matters = rules.is_material(standing.content, content, share)
    return _keep(conn, shop, day, standing.edition + 1, content, changes, causes, matters, actor, now)


def correct_by_hand(conn: Connection, shop_id: int, day: date, actor: Actor, now: datetime) -> ReportRow | None:
    """What a person asks for: as `correct`, on record. Raises NoSuchReport."""
    made = correct(conn, shop_id, day, actor, now)
    edition = made.edition if made else None
    audit.record(conn, shop_id, actor, "correct_report", f"report:{day}", now, edition=edition)
    return made


def to_look_at(conn: Connection, shop_id: int, now: datetime) -> list[date]:
    """Reported days that the nightly look goes back to, oldest first."""
    shop = queries.shop(conn, shop_id)
    today = business_day(now, shop.time_zone)
    first = today - timedelta(days=queries.policy(conn, shop_id).look_back_days)
    return sorted(queries.reported_days(conn, shop_id, first, today - timedelta(days=1)))


# --- policy ----------------------------------------------------------------------------------------------------------


def set_policy(conn: Connection, shop_id: int, wanted: Policy, actor: Actor, now: datetime) -> Policy:
    """Change how corrections are looked for and told; returns what it was. Raises BadInput for what makes no sense."""
    if not 1 <= wanted.look_back_days <= 90:
        raise BadInput(f"the nightly look goes 1 to 90 days back, not {wanted.look_back_days}")
    if not Decimal(0) <= wanted.material_share <= 1:
        raise BadInput(f"a correction matters from 0 to 100 percent on, not {wanted.material_share:%}")
    before = queries.policy(conn, shop_id)
    values: Mapping[str, Any] = {
        "shop": shop_id,
        "days": wanted.look_back_days,
        "share": wanted.material_share,
        "by": actor.name,
        "reason": actor.reason,
        "now": now,
    }
    execute(
        conn,
        """
        insert into daily_report_policies (shop_id, look_back_days, material_share, set_by, reason, set_at)
        values (%(shop)s, %(days)s, %(share)s, %(by)s, %(reason)s, %(now)s)
        on conflict (shop_id) do update set look_back_days = excluded.look_back_days,
            material_share = excluded.material_share, set_by = excluded.set_by, reason = excluded.reason,
            set_at = excluded.set_at
        """,
        **values,
    )
    audit.record(
        conn,
        shop_id,
        actor,
        "set_report_policy",
        f"shop:{shop_id}",
        now,
        look_back_days=wanted.look_back_days,
        material_share=str(wanted.material_share),
    )
    return before
