"""What a daily report says: bounds of a day, its shape, what is a correction, and which one matters. Pure.

A report's content is JSON, so that it is kept, hashed and compared as it is:

- `day`, `zone`, `begins_at`, `ends_at`, `hours` (23, 24 or 25; in some zones a half more or less)
- `markets`: one row for each connection, country and currency, see `MEASURES`
- `by_hour`: one row for each hour since the day began: `index`, `hour` of the clock, `label`, `orders`, `units`,
  `revenue` (minor units by currency), `usual_orders`, `usual_revenue` (means of the same weekday before; null: unknown)
- `skus`: the best of each currency by revenue: `currency`, `code`, `title`, `orders`, `units`, `revenue_minor`
- `stock_outs`, `oversells`, `sync`, `discrepancies`, `alerts`: as known when the day was first reported
- `seen`: the newest order, refund and return that are in it, by id: what came later is newer

Money is in minor units and never summed over currencies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

Content = dict[str, Any]

MEASURES = (
    "orders",
    "units",
    "other_units",
    "gross_minor",
    "discount_minor",
    "revenue_minor",
    "tax_minor",
    "shipping_minor",
    "refunds",
    "refunded_units",
    "refunded_minor",
    "cancellations",
    "cancelled_units",
    "cancelled_minor",
)
"""What is counted of a marketplace. Taxes and shipping are null where no order of it told them."""

AS_FIRST_REPORTED = ("stock_outs", "oversells", "sync", "discrepancies", "alerts")
"""How the machinery did, as it was known when the day was closed: a correction is about orders and money."""

USUAL_WEEKS = 4
"""How many of the same weekday before are what is usual."""

CHANGES_MAX = 200


@dataclass(frozen=True, slots=True)
class Policy:
    """How corrections are looked for, and which of them people are told of."""

    look_back_days: int = 14
    material_share: Decimal = Decimal("0.01")


# --- the day ---------------------------------------------------------------------------------------------------------


def midnight(day: date, time_zone: str) -> datetime:
    """When a business day begins (UTC).

    Where the clock passes midnight twice it is the first time; where it skips midnight, the moment of the change.
    """
    return datetime.combine(day, time(), ZoneInfo(time_zone)).astimezone(UTC)


def bounds(day: date, time_zone: str) -> tuple[datetime, datetime]:
    """From when up to before when (UTC) a business day lasts: 23, 24 or 25 hours, and every instant is in one day."""
    return midnight(day, time_zone), midnight(day + timedelta(days=1), time_zone)


def clock_hours(begins: datetime, ends: datetime, time_zone: str) -> list[dict[str, Any]]:
    """The hours of a day as its clock showed them; an hour that comes twice is named with its zone's letters, or where
    those are the same, with its day of the month.
    """
    count = -(-int((ends - begins).total_seconds()) // 3600)
    shown = [(begins + timedelta(hours=index)).astimezone(ZoneInfo(time_zone)) for index in range(count)]
    twice = {each.hour for each in shown if sum(other.hour == each.hour for other in shown) > 1}
    return [
        {
            "index": index,
            "hour": each.hour,
            "label": _hour_said(each, shown) if each.hour in twice else f"{each:%H:%M}",
        }
        for index, each in enumerate(shown)
    ]


def _hour_said(hour: datetime, shown: Sequence[datetime]) -> str:
    is_plain = sum((each.hour, each.tzname()) == (hour.hour, hour.tzname()) for each in shown) == 1
    return f"{hour:%H:%M} {hour:%Z}" if is_plain else f"{hour:%H:%M} ({hour.day}.)"


def joined(
    span: tuple[datetime, datetime], reported_until: datetime | None, day_before_until: datetime | None
) -> tuple[datetime, datetime]:
    """A day's bounds as they are reported: from where the day before was reported to, and nothing that was.

    They differ from `bounds` only where the shop changed its zone in between. `reported_until`: the latest that any
    earlier day was reported to; `day_before_until`: that of the day right before. Every instant is in one day then.
    """
    begins, ends = span
    if day_before_until is not None:
        begins = day_before_until
    if reported_until is not None:
        begins = max(begins, reported_until)
    return min(begins, ends), ends


# --- figures ---------------------------------------------------------------------------------------------------------


def average_minor(revenue_minor: int, orders: int) -> int | None:
    """What an order came to on the mean, in minor units, half away from zero; None without orders."""
    if not orders:
        return None
    return int((Decimal(revenue_minor) / orders).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def sums(markets: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int | None]]:
    """Sums by currency of rows of marketplaces, with `average_minor`; the currency of the most orders first."""
    found: dict[str, dict[str, int | None]] = {}
    for row in markets:
        mine = found.setdefault(row["currency"], dict.fromkeys(MEASURES, None))
        for name in MEASURES:
            if row[name] is not None:
                mine[name] = (mine[name] or 0) + row[name]
    for mine in found.values():
        mine["average_minor"] = average_minor(mine["revenue_minor"] or 0, mine["orders"] or 0)
    return dict(sorted(found.items(), key=lambda item: (-(item[1]["orders"] or 0), item[0])))


def counted(markets: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """What may be summed over currencies: everything that is no money."""
    names = [name for name in MEASURES if not name.endswith("_minor")]
    totals = dict.fromkeys(names, 0)
    for row in markets:
        for name in names:
            totals[name] += row[name]
    return totals


def with_usual(hours: Sequence[Mapping[str, Any]], before: Sequence[Content]) -> list[dict[str, Any]]:
    """Hours with what is usual at that hour of the clock: the mean of that hour on the days before; null where none had
    it. One that came twice on a day counts twice, one that was left out not at all.
    """
    rows = []
    for hour in hours:
        seen = [row for content in before for row in content["by_hour"] if row["hour"] == hour["hour"]]
        currencies = {currency for row in seen for currency in row["revenue"]}
        revenue = {
            currency: round(sum(row["revenue"].get(currency, 0) for row in seen) / len(seen))
            for currency in sorted(currencies)
        }
        usual = round(sum(row["orders"] for row in seen) / len(seen), 2) if seen else None
        rows.append({**hour, "usual_orders": usual, "usual_revenue": revenue if seen else None})
    return rows


def content_hash(content: Content) -> str:
    """SHA-256 of the content in its canonical form (keys sorted, no blanks), in hexadecimal."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# --- corrections -----------------------------------------------------------------------------------------------------


def corrected(before: Content, now: Content) -> Content:
    """What the next edition says: the business as it is known now, the rest as it was first reported."""
    usual = {row["index"]: row for row in before["by_hour"]}
    hours = [
        {**row, **{name: usual[row["index"]][name] for name in ("usual_orders", "usual_revenue")}}
        for row in now["by_hour"]
    ]
    return {**now, "by_hour": hours, **{name: before[name] for name in AS_FIRST_REPORTED}}


def changes(before: Content, now: Content) -> list[dict[str, Any]]:
    """Every figure that differs, from what to what, marketplaces first; at most CHANGES_MAX of them.

    Names of connections and titles are no figures. A market that is only in one of them is nothing in the other.
    """
    found = [
        *_changed("market", before["markets"], now["markets"], ("connection_id", "country", "currency"), MEASURES),
        *_changed("hour", before["by_hour"], now["by_hour"], ("index",), ("orders", "units")),
        *_changed("sku", before["skus"], now["skus"], ("currency", "code"), ("orders", "units", "revenue_minor")),
    ]
    return found[:CHANGES_MAX]


def _changed(
    section: str,
    before: Sequence[Mapping[str, Any]],
    now: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
    measures: Sequence[str],
) -> list[dict[str, Any]]:
    was = {tuple(row[key] for key in keys): row for row in before}
    is_ = {tuple(row[key] for key in keys): row for row in now}
    found = []
    for key in [*is_, *(key for key in was if key not in is_)]:
        old, new = was.get(key), is_.get(key)
        said = new or old or {}
        # Of SKUs only the best are known: one that is not among them may have sold all the same.
        absent = None if section == "sku" else 0
        for name in measures:
            from_, to = old[name] if old else absent, new[name] if new else absent
            if (from_ or 0) != (to or 0):
                found.append(
                    {
                        "section": section,
                        "subject": _subject(section, said),
                        "currency": said.get("currency"),
                        "measure": name,
                        "from": from_,
                        "to": to,
                    }
                )
    return found


def _subject(section: str, row: Mapping[str, Any]) -> str:
    if section == "market":
        return " · ".join((row["connection"] or "No order", row["country"] or "country not told", row["currency"]))
    return str(row["label"] if section == "hour" else row["code"])


def is_material(before: Content, now: Content, share: Decimal) -> bool:
    """Whether orders, revenue or refunds of a currency, or cancellations, changed by at least `share` of before."""
    was, is_ = sums(before["markets"]), sums(now["markets"])
    for currency in was.keys() | is_.keys():
        for name in ("orders", "revenue_minor", "refunded_minor", "cancellations"):
            old = was.get(currency, {}).get(name) or 0
            new = is_.get(currency, {}).get(name) or 0
            if old != new and abs(new - old) >= share * abs(old):
                return True
    return False
