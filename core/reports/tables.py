"""A report as tables: what every file, and the command line, is made of. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from core.money import to_major
from core.reports.queries import ReportRow
from core.reports.rules import MEASURES, counted, sums
from core.reports.words import LABELS, MEANINGS, NO_ORDER, NOT_TOLD, cause

Kind = Literal["text", "count", "money", "mean", "minutes", "milliseconds", "moment"]
Cell = str | int | float | Decimal | datetime | None
"""Money is a decimal in major units; a moment has no zone: it is the shop's clock."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Text columns say what a row is about, the others are its figures."""

    name: str
    label: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report. `currency`: the column, if any, that says what money is in."""

    key: str
    title: str
    meaning: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def _text(name: str, label: str) -> Column:
    return Column(name, label, "text")


def _measure(name: str) -> Column:
    return Column(name, LABELS[name], "money" if name.endswith("_minor") else "count")


def sections(report: ReportRow) -> list[Section]:
    """All of a report, in the order in which it is read; one that was not measured has no rows and says so."""
    found = [
        _summary(report),
        _markets(report),
        _hours(report),
        _skus(report),
        _stock_outs(report),
        _oversells(report),
        _sync(report),
        _discrepancies(report),
        _alerts(report),
    ]
    return [*found, _changes(report), _causes(report)] if report.edition > 1 else found


def flat(section: Section) -> Iterator[tuple[str, str, str, str, Cell]]:
    """Each figure of a section by itself: (subject, country, currency, figure, value)."""
    own = ("country", "currency", "meaning")
    for row in section.rows:
        cells = dict(zip((column.name for column in section.columns), row, strict=True))
        about = [
            str(cells[c.name]) for c in section.columns if c.kind == "text" and c.name not in own and cells[c.name]
        ]
        country, currency = str(cells.get("country") or ""), str(cells.get("currency") or "")
        for column in section.columns:
            if "figure" in cells and column.kind != "text":
                # A row that names its only figure.
                yield "", country, currency, str(cells["figure"]), cells[column.name]
            elif column.kind != "text":
                yield " · ".join(about), country, currency, column.label, cells[column.name]


def _summary(report: ReportRow) -> Section:
    content = report.content
    totals, of = counted(content["markets"]), sums(content["markets"])
    rows: list[tuple[Cell, ...]] = [
        (LABELS[name], "", Decimal(totals[name]), MEANINGS[name])
        for name in ("orders", "units", "other_units", "refunds", "refunded_units", "cancellations", "cancelled_units")
    ]
    money = (
        *("gross_minor", "discount_minor", "revenue_minor", "average_minor"),
        *("tax_minor", "shipping_minor", "refunded_minor", "cancelled_minor"),
    )
    for currency, mine in of.items():
        rows += [(LABELS[name], currency, _major(mine[name], currency), MEANINGS[name]) for name in money]
    rows += [
        ("SKUs sold out", "", Decimal(content["stock_outs"]["skus"]), MEANINGS["stock_outs"]),
        (LABELS["oversells"], "", Decimal(content["oversells"]["count"]), MEANINGS["oversells"]),
        ("Alerts opened", "", Decimal(content["alerts"]["opened"]), MEANINGS["alerts"]),
        ("Hours of the day", "", Decimal(str(content["hours"])), "24, but where the clocks change."),
    ]
    columns = (
        _text("figure", "Figure"),
        _text("currency", "Currency"),
        Column("value", "Value", "mean"),
        _text("meaning", "Meaning"),
    )
    return Section("summary", "Summary", "The day as a whole.", columns, tuple(rows))


def _markets(report: ReportRow) -> Section:
    columns = (
        _text("connection", "Channel"),
        _text("country", "Country"),
        _text("currency", "Currency"),
        *(_measure(name) for name in MEASURES),
        _measure("average_minor"),
    )
    rows = []
    for row in report.content["markets"]:
        average = sums([row])[row["currency"]]["average_minor"]
        figures = (_figure(name, row[name], row["currency"]) for name in MEASURES)
        rows.append(
            (
                row["connection"] or NO_ORDER,
                row["country"] or NOT_TOLD,
                row["currency"],
                *figures,
                _major(average, row["currency"]),
            )
        )
    return Section("markets", "By marketplace", MEANINGS["revenue_minor"], columns, tuple(rows))


def _hours(report: ReportRow) -> Section:
    hours = report.content["by_hour"]
    currencies = list(sums(report.content["markets"]))
    columns = (
        _text("hour", "Hour"),
        Column("orders", "Orders", "count"),
        Column("usual_orders", "Usual orders", "mean"),
        Column("units", "Units", "count"),
        *(Column(f"revenue_{name}", f"Revenue {name}", "money") for name in currencies),
        *(Column(f"usual_{name}", f"Usual revenue {name}", "money") for name in currencies),
    )
    rows = [
        (
            row["label"],
            row["orders"],
            row["usual_orders"],
            row["units"],
            *(_major(row["revenue"].get(name, 0), name) for name in currencies),
            *(
                _major(None if row["usual_revenue"] is None else row["usual_revenue"].get(name, 0), name)
                for name in currencies
            ),
        )
        for row in hours
    ]
    return Section("hours", "By hour", f"By the shop's clock. Usual: {MEANINGS['usual']}", columns, tuple(rows))


def _skus(report: ReportRow) -> Section:
    columns = (
        _text("code", "SKU"),
        _text("title", "Title"),
        _text("currency", "Currency"),
        Column("orders", "Orders", "count"),
        Column("units", "Units", "count"),
        _measure("revenue_minor"),
    )
    rows = [
        (
            row["code"],
            row["title"],
            row["currency"],
            row["orders"],
            row["units"],
            _major(row["revenue_minor"], row["currency"]),
        )
        for row in report.content["skus"]
    ]
    meaning = f"The best by revenue of {report.content['skus_sold']:,} that sold."
    return Section("skus", "Top SKUs", meaning, columns, tuple(rows))


def _stock_outs(report: ReportRow) -> Section:
    columns = (
        _text("code", "SKU"),
        _text("title", "Title"),
        Column("reached_at", "Reached zero at", "moment"),
        Column("minutes", "Minutes out", "minutes"),
        _text("still", "At the day's end"),
    )
    rows = [
        (
            row["code"],
            row["title"],
            _moment(row["reached_at"], report.time_zone),
            row["minutes"],
            "still out" if row["is_still"] else "available again",
        )
        for row in report.content["stock_outs"]["rows"]
    ]
    return Section("stock_outs", "Stock-outs", MEANINGS["stock_outs"], columns, tuple(rows))


def _oversells(report: ReportRow) -> Section:
    columns = (
        _text("code", "SKU"),
        _text("title", "Title"),
        Column("began_at", "Since", "moment"),
        Column("ended_at", "Until", "moment"),
        Column("units", "Units too many", "count"),
    )
    rows = [
        (
            row["code"],
            row["title"],
            _moment(row["began_at"], report.time_zone),
            _moment(row["ended_at"], report.time_zone),
            row["units"],
        )
        for row in report.content["oversells"]["rows"]
    ]
    return Section("oversells", "Oversells", MEANINGS["oversells"], columns, tuple(rows))


def _sync(report: ReportRow) -> Section:
    names: Mapping[str, tuple[str, Kind]] = {
        "runs_done": ("Syncs and polls done", "count"),
        "runs_failed": ("Failed", "count"),
        "runs_refused": ("Said no", "count"),
        "writes_confirmed": ("Quantities confirmed", "count"),
        "writes_refused": ("Refused", "count"),
        "writes_p50_ms": ("To confirm, half within, ms", "milliseconds"),
        "writes_p95_ms": ("To confirm, 95 % within, ms", "milliseconds"),
        "orders_booked": ("Orders booked", "count"),
        "orders_p50_ms": ("To book, half within, ms", "milliseconds"),
        "orders_p95_ms": ("To book, 95 % within, ms", "milliseconds"),
        "calls": ("Calls", "count"),
        "calls_failed": ("Calls failed", "count"),
    }
    columns = (_text("connection", "Channel"), *(Column(name, *shown) for name, shown in names.items()))
    rows = tuple((row["connection"], *(row.get(name) for name in names)) for row in report.content["sync"])
    return Section("sync", "Sync", MEANINGS["sync"], columns, rows)


def _discrepancies(report: ReportRow) -> Section:
    columns = (
        _text("connection", "Channel"),
        _text("kind", "Of"),
        _text("cause", "Cause"),
        Column("found", "Found", "count"),
        Column("healed", "Healed", "count"),
        Column("resolved", "Gone", "count"),
        Column("still_open", "Open at the day's end", "count"),
    )
    found = report.content["discrepancies"]
    rows = tuple(
        (
            row["connection"],
            row["kind"],
            row["cause"].replace("_", " "),
            row["found"],
            row["healed"],
            row["resolved"],
            row["still_open"],
        )
        for row in (found or {}).get("rows", ())
    )
    meaning = (
        MEANINGS["discrepancies"] if found else "Not measured: nothing was compared with the channels on this day."
    )
    return Section("discrepancies", "Discrepancies", meaning, columns, rows)


def _alerts(report: ReportRow) -> Section:
    columns = (
        _text("kind", "Kind"),
        _text("headline", "Alert"),
        Column("opened_at", "Opened", "moment"),
        Column("closed_at", "Closed", "moment"),
        Column("minutes", "Minutes open on this day", "minutes"),
    )
    rows = tuple(
        (
            row["kind"].replace("_", " "),
            row["headline"],
            _moment(row["opened_at"], report.time_zone),
            _moment(row["closed_at"], report.time_zone),
            row["minutes"],
        )
        for row in report.content["alerts"]["rows"]
    )
    return Section("alerts", "Alerts", MEANINGS["alerts"], columns, rows)


def _changes(report: ReportRow) -> Section:
    columns = (
        _text("subject", "Of"),
        _text("measure", "Figure"),
        _text("currency", "Currency"),
        Column("from", "Was", "mean"),
        Column("to", "Is", "mean"),
    )
    rows = tuple(
        (
            row["subject"],
            LABELS.get(row["measure"], row["measure"]),
            row["currency"] or "",
            _figure(row["measure"], row["from"], row["currency"]),
            _figure(row["measure"], row["to"], row["currency"]),
        )
        for row in report.changes
    )
    return Section("changes", "Changes", f"Against edition {report.edition - 1}.", columns, rows)


def _causes(report: ReportRow) -> Section:
    rows = tuple((cause(row), row["count"]) for row in report.causes)
    columns = (_text("cause", "Why"), Column("count", "How many", "count"))
    return Section("causes", "Why it changed", "What came, or changed, after that edition was built.", columns, rows)


def _major(minor: int | None, currency: str) -> Decimal | None:
    return None if minor is None else to_major(minor, currency)


def _figure(name: str, value: int | None, currency: str | None) -> Cell:
    return _major(value, currency or "") if name.endswith("_minor") else value


def _moment(text: str | None, zone: str) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def find(found: Sequence[Section], key: str) -> Section:
    """The section of that key."""
    return next(section for section in found if section.key == key)
