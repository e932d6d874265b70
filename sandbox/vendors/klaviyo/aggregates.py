"""Counting events of a metric by intervals of time."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from sandbox.store import Store
from sandbox.vendors.klaviyo.documents import filter_clauses
from sandbox.vendors.klaviyo.problems import Denied, Problem, invalid
from sandbox.vendors.klaviyo.profile_shapes import instant, resource_problems
from sandbox.vendors.klaviyo.shapes import is_text, is_texts

MEASUREMENTS = ("count", "sum_value", "unique")
INTERVALS = ("day", "hour", "month", "week")
_NAMES = {
    "metric_id", "page_cursor", "measurements", "interval", "page_size", "by", "return_fields", "filter", "timezone",
    "sort",
}  # fmt: skip
_AT = "/data/attributes"
_BOUND = re.compile(r"(greater-or-equal|less-than)\(datetime,([^)]+)\)")
_YEARS_MAX = 1


def query_problems(data: Any) -> Iterator[Problem]:
    if found := list(resource_problems("metric-aggregate", {"type", "attributes"}, data, "/data")):
        yield from found
        return
    given = data.get("attributes")
    if not isinstance(given, dict) or given.keys() - _NAMES or not isinstance(given.get("metric_id"), str):
        yield invalid(f"The attributes are 'metric_id' and some of {', '.join(sorted(_NAMES))}.", _AT)
        return
    measurements = given.get("measurements")
    if not isinstance(measurements, list) or not measurements or any(name not in MEASUREMENTS for name in measurements):
        yield invalid(f"The measurements are some of {', '.join(MEASUREMENTS)}.", f"{_AT}/measurements")
    if given.get("interval", "day") not in INTERVALS:
        yield invalid(f"The interval is one of {', '.join(INTERVALS)}.", f"{_AT}/interval")
    if not is_text(zone := given.get("timezone", "UTC")) or zone not in available_timezones():
        yield invalid("There is no such timezone.", f"{_AT}/timezone")
    if given.get("by"):
        yield invalid("Events here have no such dimension to group by.", f"{_AT}/by")
    if not is_texts(given.get("filter")):
        yield invalid("The filter is a list of texts.", f"{_AT}/filter")
    elif len(_BOUND.findall(",".join(given["filter"]))) != 2:
        said = "The filter needs greater-or-equal(datetime,...) and less-than(datetime,...)."
        yield invalid(said, f"{_AT}/filter")


def aggregate(store: Store, account_id: int, given: dict[str, Any]) -> dict[str, Any]:
    """Dates and one row of measurements, as many of each. Raises Denied for a window that makes no sense."""
    start, end = _window(given["filter"])
    zone, interval = ZoneInfo(given.get("timezone") or "UTC"), given.get("interval") or "day"
    rows = store.all(
        "select happened_at, value, profile_id from klaviyo_events"
        " where account_id = ? and metric_id = ? and happened_at >= ? and happened_at < ?",
        (account_id, given["metric_id"], start.timestamp(), end.timestamp()),
    )
    dates = list(_dates(start.astimezone(zone), end.astimezone(zone), interval))
    kept: list[list[Any]] = [[] for _ in dates]
    for row in rows:
        moment = datetime.fromtimestamp(row["happened_at"], zone)
        kept[sum(1 for date in dates if date <= moment) - 1].append(row)
    measured = {
        "count": [float(len(found)) for found in kept],
        "sum_value": [float(sum(row["value"] or 0 for row in found)) for found in kept],
        "unique": [float(len({row["profile_id"] for row in found})) for found in kept],
    }
    data = {"dimensions": [], "measurements": {name: measured[name] for name in given["measurements"]}}
    return {"dates": [date.isoformat() for date in dates], "data": [data]}


def _window(filters: list[str]) -> tuple[datetime, datetime]:
    bounds: dict[str, datetime] = {}
    for clause in filter_clauses(",".join(filters)):
        try:
            bounds[clause.operator] = instant(str(clause.value))
        except ValueError:
            raise Denied(400, invalid(f"'{clause.value}' is not an ISO 8601 instant.", f"{_AT}/filter")) from None
    start, end = bounds.get("greater-or-equal"), bounds.get("less-than")
    if start is None or end is None or not start < end <= start + timedelta(days=366 * _YEARS_MAX):
        raise Denied(400, invalid("The window begins before it ends, and is a year at most.", f"{_AT}/filter"))
    return start, end


def _dates(start: datetime, end: datetime, interval: str) -> Iterator[datetime]:
    """The beginnings of the intervals, the first of which holds the start."""
    date = start.replace(minute=0, second=0, microsecond=0)
    if interval != "hour":
        date = date.replace(hour=0)
    if interval == "week":
        date -= timedelta(days=date.weekday())
    if interval == "month":
        date = date.replace(day=1)
    while date < end:
        yield date
        if interval == "month":
            date = (date + timedelta(days=32)).replace(day=1)
        elif interval == "hour":
            date = (date.astimezone(UTC) + timedelta(hours=1)).astimezone(date.tzinfo)
        else:
            date += timedelta(days=7 if interval == "week" else 1)
