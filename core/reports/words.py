"""How a report is put: what each figure means, and days, money and times as people read them. For files and mail."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from core.money import MINUS, shown
from core.reports.queries import ReportRow
from core.reports.rules import USUAL_WEEKS, counted, sums

NOT_MEASURED = "not measured"
NO_ORDER = "Without an order"
NOT_TOLD = "not told"
UNKNOWN = "–"

LABELS: Mapping[str, str] = {
    "orders": "Orders",
    "units": "Units",
    "other_units": "Other units",
    "gross_minor": "Line prices",
    "discount_minor": "Discounts",
    "revenue_minor": "Revenue",
    "average_minor": "Average order",
    "tax_minor": "Taxes",
    "shipping_minor": "Shipping",
    "refunds": "Refunds",
    "refunded_units": "Units given back",
    "refunded_minor": "Given back",
    "cancellations": "Cancellations",
    "cancelled_units": "Units cancelled",
    "cancelled_minor": "Cancelled",
    "stock_outs": "Stock-outs",
    "oversells": "Oversells",
    "sync": "Sync",
    "country": "Country",
    "discrepancies": "Discrepancies",
    "alerts": "Alerts",
    "usual": "Usual",
}

MEANINGS: Mapping[str, str] = {
    "orders": "Orders that buyers placed on this day, in the shop's time zone, whatever became of them. No tests.",
    "units": "Units of the lines of these orders, after edits. What has no stock by nature is counted apart.",
    "other_units": "Units of what has no stock by nature: carriage, vouchers, fees.",
    "gross_minor": "Units times unit price of every line, rounded once per line.",
    "discount_minor": "What discounts took off these lines.",
    "revenue_minor": "Line prices less discounts. Refunds and cancellations are not taken off. Never summed over"
    " currencies. Prices are as the channel tells them: with taxes where it shows them so.",
    "average_minor": "Revenue divided by orders.",
    "tax_minor": "Taxes as channels tell them, included in prices or on top; of the orders whose channel tells.",
    "shipping_minor": "What buyers paid for carriage on top of the lines; of the orders whose channel tells.",
    "refunds": "Refunds made on this day, whenever the order was placed; returns without an order are one each.",
    "refunded_units": "Units that these refunds were for.",
    "refunded_minor": "Money given back on this day, as the channel says.",
    "cancellations": "Orders cancelled on this day, whenever they were placed. They stay among that day's orders.",
    "cancelled_units": "Units of the cancelled orders.",
    "cancelled_minor": "Revenue of the cancelled orders. Money that was taken comes back as a refund.",
    "stock_outs": "SKUs of which nothing was available any more in our own stock, and for how many minutes.",
    "oversells": "Times that more was sold of a SKU than there was, and how many units at worst.",
    "sync": "Share of syncs and polls that ended well, those that found nothing among them; how long from planning a"
    " quantity to its confirmation, and from an order at the channel to its booking here: half of them within, and 95"
    " of 100 within.",
    "country": "Where orders go to; of a channel that names that only among what names people (Amazon), the country of"
    " the marketplace in which they were placed.",
    "discrepancies": "Differences between a channel and us first seen on this day; healed: gone after a correction.",
    "alerts": "Alerts opened and closed on this day, and how many minutes of it they were open.",
    "usual": f"The mean of the same weekday in the {USUAL_WEEKS} weeks before, as reported.",
}

_CAUSES: Mapping[str, tuple[str, str]] = {
    "order_late": (
        "1 order of {where} came after the report was built",
        "{count} orders of {where} came after the report was built",
    ),
    "order_changed": ("1 order of {where} was changed since", "{count} orders of {where} were changed since"),
    "order_cancelled": ("1 order of {where} was cancelled", "{count} orders of {where} were cancelled"),
    "refund_late": (
        "1 refund of {where} came after the report was built",
        "{count} refunds of {where} came after the report was built",
    ),
    "return_late": ("1 return without an order was booked since", "{count} returns without an order were booked since"),
}


def money(minor: int | None, currency: str) -> str:
    """£843.10 from 84310 minor units; a dash where it is not told."""
    return UNKNOWN if minor is None else shown(minor, currency)


def count(number: float | None) -> str:
    """1,284, or 3.5 of a mean; a dash where it is not known."""
    if number is None:
        return UNKNOWN
    shown = f"{number:,.1f}".removesuffix(".0") if isinstance(number, float) else f"{number:,}"
    return shown.replace("-", MINUS)


def minutes(number: int | None) -> str:
    """45 min, 2 h 05 min."""
    if number is None:
        return UNKNOWN
    hours, rest = divmod(number, 60)
    return f"{hours:,} h {rest:02d} min" if hours else f"{rest} min"


def span(milliseconds: int | None) -> str:
    """140 ms, 1.2 s, 3 min, 2 h 05 min."""
    if milliseconds is None:
        return UNKNOWN
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    return minutes(round(milliseconds / 60_000))


def share(part: int, whole: int) -> str:
    """99.6 %; never 100 % of what did not all succeed."""
    if not whole:
        return NOT_MEASURED
    percent = Decimal(part) * 100 / whole
    if part < whole and percent > Decimal("99.9"):
        return "> 99.9 %"
    return f"{percent:.1f}".removesuffix(".0") + " %"


def ended_well(row: Mapping[str, Any]) -> str:
    """The share of a channel's turns of syncs and polls that ended well, of all that were heard out or failed."""
    # Of editions from before refusals were told apart, they are among what failed.
    bad = row["runs_failed"] + row.get("runs_refused", 0)
    return share(row["runs_done"], row["runs_done"] + bad)


def change(now: int | None, before: int | None) -> str | None:
    """+12 % of before; None where there is nothing to compare with."""
    if not before or now is None:
        return None
    percent = round((now - before) * 100 / abs(before))
    return f"{percent:+,} %".replace("-", MINUS)


def long_day(day: date) -> str:
    """Wednesday 25 November 2026."""
    return f"{day:%A} {day.day} {day:%B %Y}"


def clock(instant: str | datetime | None, zone: str) -> str:
    """14:32 in the shop's zone."""
    if instant is None:
        return UNKNOWN
    moment = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
    return f"{moment.astimezone(ZoneInfo(zone)):%H:%M}"


def stamp(instant: datetime, zone: str) -> str:
    """26 Nov 2026, 05:00."""
    there = instant.astimezone(ZoneInfo(zone))
    return f"{there.day} {there:%b %Y, %H:%M}"


def hours_said(report: ReportRow) -> str:
    """What is unusual about a day's length; empty for a day of 24 hours."""
    hours = report.content["hours"]
    if hours == 24:
        return ""
    return f"The clocks changed: this day had {hours:g} hours."


def edition_said(report: ReportRow) -> str:
    """Which edition this is, and whether there is a newer one; empty for the only one."""
    parts = []
    if report.edition > 1:
        parts.append(f"Edition {report.edition} corrects what was reported.")
    if report.edition < report.editions:
        parts.append(f"Edition {report.editions} has replaced it.")
    return " ".join(parts)


def cause(found: Mapping[str, Any]) -> str:
    """Why a figure is another one by now: "3 orders of Shopify came after the report was built (#1042, …)"."""
    one, many = _CAUSES.get(found["kind"], ("1 other change", "{count} other changes"))
    said = (one if found["count"] == 1 else many).format(count=count(found["count"]), where=found["connection"])
    names = ", ".join(found["names"] or ())
    more = ", …" if found["count"] > len(found["names"] or ()) else ""
    return f"{said} ({names}{more})." if names else f"{said}."


def changed(found: Mapping[str, Any]) -> str:
    """One figure of a correction: "Shopify · GB · GBP: Orders 41 → 42"."""
    name = LABELS.get(found["measure"], found["measure"])
    return f"{found['subject']}: {name} {_figure(found, 'from')} → {_figure(found, 'to')}"


def _figure(found: Mapping[str, Any], which: str) -> str:
    value = found[which]
    return money(value, found["currency"]) if found["measure"].endswith("_minor") else count(value)


def subject(report: ReportRow, shop: str) -> str:
    """The line over a mail."""
    what = "Daily report" if report.edition == 1 else f"Correction {report.edition - 1} of the daily report"
    return f"{shop}: {what}, {report.day:%a} {report.day.day} {report.day:%b %Y}"


def summary(report: ReportRow) -> str:
    """The day in two or three sentences, for a mail's plain text, a chat and a screen's headline."""
    content = report.content
    totals, of = counted(content["markets"]), sums(content["markets"])
    sold = " and ".join(money(mine["revenue_minor"], currency) for currency, mine in of.items() if mine["orders"])
    back = " and ".join(
        money(mine["refunded_minor"], currency) for currency, mine in of.items() if mine["refunded_minor"]
    )
    parts = [
        f"{_plural(totals['orders'], 'order')} with {_plural(totals['units'], 'unit')}"
        + (f" for {sold}." if sold else ".")
    ]
    if totals["refunds"]:
        parts.append(f"{_plural(totals['refunds'], 'refund')}{f' of {back}' if back else ''}.")
    if totals["cancellations"]:
        parts.append(f"{_plural(totals['cancellations'], 'cancellation')}.")
    if content["oversells"]["count"]:
        parts.append(f"{_plural(content['oversells']['count'], 'oversell')}.")
    if content["stock_outs"]["skus"]:
        parts.append(f"{_plural(content['stock_outs']['skus'], 'SKU')} sold out.")
    return " ".join(filter(None, (*parts, hours_said(report))))


def _plural(number: int, one: str) -> str:
    return f"{count(number)} {one}{'' if number == 1 else 's'}"


def ledger_head(number: int, head: bytes) -> str:
    """Where the ledger's chain stands."""
    return f"Ledger head: seal {number}, {head.hex()}"


def told(report: ReportRow, shop: str, address: str, ledger: str | None = None) -> str:
    """A mail's plain text, and what a chat shows. `ledger`: where its chain stands, in words."""
    lines = [f"{subject(report, shop)}.", summary(report)]
    if report.edition > 1:
        lines += [cause(each) for each in report.causes] or ["What changed is listed; no fact names the reason."]
        lines += [changed(each) for each in report.changes if each["section"] == "market"][:10]
    return "\n".join([*lines, *([ledger] if ledger else []), address])
