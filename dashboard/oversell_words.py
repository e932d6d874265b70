"""How oversell risk reads: the answer, each pool, what is not known. Pure; what it returns as HTML is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from core.inventory import modes
from core.inventory.shortages import Fact
from dashboard import formats

Row = Mapping[str, Any]

STATES = ("oversold", "at_risk", "close", "unwatched", "safe")
GAP_SECONDS = 3600
COVER_DAYS_MAX = 90
"""A rate of sales says nothing of what is further off."""


def headline(totals: Row, watermarks: Sequence[Row]) -> tuple[str, str]:
    """The answer and what goes with it: how many units could be oversold right now, over how many SKUs."""
    unknown = _unknown(watermarks)
    if not totals["pools"]:
        return "No channel can sell anything yet.", "Pools appear when a channel’s listings are mapped to SKUs."
    if totals["risk_units"]:
        most = "At least" if unknown else "Up to"
        known = (
            f"{most} {formats.plural(totals['risk_units'], 'unit')} could be oversold right now, "
            f"over {formats.plural(totals['risk_skus'], 'SKU')}."
        )
        parts = [_already(totals["short_units"]), unknown]
        if not totals["short_units"]:
            parts.insert(0, f"Worst: {totals['worst_code']}, {formats.count(totals['worst_units'])} over.")
        return known, " ".join(part for part in parts if part)
    if unknown:
        return "Nothing that is known of can be oversold.", unknown
    return (
        "Nothing can be oversold right now.",
        f"Channels could sell {formats.plural(totals['exposed_units'], 'unit')} before we know, "
        f"of {formats.count(totals['available'])} available.",
    )


def _already(short: int) -> str:
    if not short:
        return ""
    return f"{formats.in_words(short)} of them {'is' if short == 1 else 'are'} oversold already."


def _unknown(watermarks: Sequence[Row]) -> str:
    names = [row["name"] for row in watermarks if is_unwatched(row) and row["is_exposed"]]
    if not names:
        return ""
    shown = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{shown} may have sold more than is known."


def is_unwatched(row: Row) -> bool:
    """Whether what this connection sells is not known."""
    return not row["reads_orders"] or row["watermark_at"] is None


def over(row: Row) -> str:
    """What could be oversold of a pool: 8; at least 8, or a dash, where a channel's sales are not known."""
    if row["unwatched_listings"]:
        return f"≥ {formats.count(row['risk_units'])}" if row["risk_units"] else formats.UNKNOWN
    return formats.count(row["risk_units"])


def cover(minutes: float | None) -> str:
    """How long what is available lasts at the current rate."""
    if minutes is None:
        return formats.UNKNOWN
    if minutes > COVER_DAYS_MAX * 1_440:
        return f"> {COVER_DAYS_MAX} d"
    return formats.estimate(minutes * 60) if minutes else "none left"


def levels(exposed: int, changes: Sequence[Row], steps: int) -> list[int | None]:
    """What was exposed at the end of each step, oldest first, counted back from now; None beyond what is known."""
    by_step = {row["step"]: row["delta_units"] for row in changes}
    known = min((row["known_steps"] for row in changes), default=steps)
    found: list[int | None] = []
    level = exposed
    for step in range(1, steps + 1):
        found.append(level if step <= known else None)
        level -= by_step.get(step, 0)
    return found[::-1]


def change_in_an_hour(changes: Sequence[Row], steps: int) -> str:
    """+9; a dash when the ledger does not reach so far back."""
    if any(row["known_steps"] < steps for row in changes):
        return formats.UNKNOWN
    return formats.signed(sum(row["delta_units"] for row in changes))


def sentence(row: Row) -> str:
    """What a pool's risk comes to, for Markdown."""
    risk, short = row["risk_units"], row["short_units"]
    if short and risk == short:
        return f"**{formats.plural(short, 'unit')}** more {'is' if short == 1 else 'are'} sold than there are."
    if short:
        return (
            f"**{formats.plural(short, 'unit')}** more {'is' if short == 1 else 'are'} sold than there are, and "
            f"{formats.count(risk - short)} more could be."
        )
    if risk:
        most = "At least" if row["unwatched_listings"] else "Up to"
        return f"{most} **{formats.plural(risk, 'unit')}** could be sold that are not there."
    if row["unwatched_listings"]:
        return "Whether it can be oversold is not known: a channel’s sales are not."
    return "Nothing of it can be oversold."


def mode(row: Row, zone: str) -> str:
    """How the pool is shared and why, in one sentence."""
    now = row["as_of"]
    return modes.explain_mode(
        modes.pool_of(row, row["unwatched"] or ()), lambda instant: formats.moment(instant, now, zone)
    )


def lasting(row: Row) -> str:
    """How long it lasts, as a sentence."""
    if row["minutes_of_cover"] is None:
        return "How long it lasts is not known: its rate of sales is not."
    if row["available"] <= 0:
        return ""
    lasts = cover(row["minutes_of_cover"])
    return f"At this rate it lasts {lasts.replace('>', 'more than')}."


def known_up_to(row: Row, zone: str) -> str:
    """Up to when a channel's orders are known, as HTML."""
    if not row["reads_orders"]:
        return '<span class="sy-muted">– orders are not read</span>'
    if row["watermark_at"] is None:
        return '<span class="sy-muted">– not read through yet</span>'
    exact = escape(formats.exact(row["watermark_at"], zone))
    age = escape(formats.ago(row["watermark_at"], row["as_of"], zone))
    return f'<time datetime="{row["watermark_at"].isoformat()}" title="{exact}">{age}</time>'


def write(row: Row, zone: str) -> str:
    """The listing's open write, or its last one, as HTML."""
    now = row["as_of"]
    if row["write_id"] is not None:
        start = formats.UNKNOWN if row["write_from"] is None else formats.count(row["write_from"])
        doubt = f", {row['write_doubt']}" if row["write_doubt"] else ""
        return escape(
            f"open {formats.ago(row['write_planned_at'], now, zone).removesuffix(' ago')}: "
            f"{start} → {formats.count(row['write_to'])}{doubt}"
        )
    if row["last_outcome"] is None:
        return f'<span class="sy-muted">{formats.UNKNOWN}</span>'
    word = formats.state(row["last_outcome"]).word.lower()
    return escape(f"{word} {formats.ago(row['last_outcome_at'], now, zone)}")


HELD = {
    "parked": "A message that cannot be handled",
    "unmapped": "An order line without a SKU, of which nobody can say through which listing it was sold,",
}
LATE_SECONDS = 600
"""A watermark follows every complete poll, once a minute; one so old does not move."""


def held_up_by(row: Row) -> str | None:
    """What keeps a connection's watermark from moving: one of HELD, None while nothing does."""
    if is_unwatched(row):
        return None
    if row["parked_at"] is not None and row["watermark_at"] <= row["parked_at"]:
        return "parked"
    is_late = (row["as_of"] - row["watermark_at"]).total_seconds() > LATE_SECONDS
    return "unmapped" if row["has_unmapped_line"] and is_late else None


def merged(available: Sequence[Row], exposed: Sequence[Row]) -> list[dict[str, Any]]:
    """Two step lines on one clock: at each moment of either, the latest of both; only where both are known."""
    marks = sorted([(row["at"], "available", row["available"]) for row in available]
                   + [(row["at"], "exposed", row["exposed"]) for row in exposed])  # fmt: skip
    now: dict[str, Any] = {}
    found: list[dict[str, Any]] = []
    for at, name, value in marks:
        now[name] = value
        if len(now) == 2:
            point = {"at": at, **now}
            if found and found[-1]["at"] == at:
                found[-1] = point
            elif not found or any(found[-1][key] != value for key, value in now.items()) or at == marks[-1][0]:
                found.append(point)
    return found


_ICONS = {
    "short": ("error", "danger"), "ended": ("check_circle", "ok"), "order": ("shopping_cart", ""),
    "movement": ("inventory_2", ""), "write": ("upload", ""), "confirmed": ("check_circle", "ok"),
    "refused": ("block", "attention"), "stale": ("history", ""), "withdrawn": ("undo", ""),
    "doubt": ("help", "attention"), "edit": ("edit", "attention"), "call": ("swap_horiz", ""),
}  # fmt: skip


def timeline(facts: Sequence[Fact], now: datetime, zone: str) -> str:
    """An ordered list, newest first, as HTML; gaps over an hour are shown as gaps."""
    items = []
    before: datetime | None = None
    for fact in facts:
        if before is not None and (before - fact.at).total_seconds() > GAP_SECONDS:
            quiet = escape(formats.duration((before - fact.at).total_seconds()))
            items.append(f'<li class="sy-quiet">{quiet} in which nothing is on record</li>')
        before = fact.at
        _, look = _ICONS.get(fact.kind, ("", ""))
        exact = escape(formats.exact(fact.at, zone))
        shown = escape(formats.moment_with_seconds(fact.at, now, zone))
        number = f' <span class="sy-meta">write {fact.write_id}</span>' if fact.write_id else ""
        what = fact.what[:1].upper() + fact.what[1:]
        items.append(
            f'<li class="{f"sy-is-{look}" if look else ""}">'
            f'<time datetime="{fact.at.isoformat()}" title="{exact}">{shown}'
            f"</time><b>{escape(_who(fact.who))}</b><span>{escape(what)}{number}</span></li>"
        )
    return f'<ol class="sy-timeline">{"".join(items)}</ol>'


def _who(name: str) -> str:
    return "Switchyard" if name == "us" else name


def shortage(row: Row, zone: str) -> str:
    """One shortage in a line, for Markdown."""
    now = row["as_of"]
    who = (
        f"order {formats.plain(row['order_name'])} of {formats.plain(row['connection'])}"
        if row["order_name"]
        else f"a {row['movement_reason'].replace('_', ' ')}"
        if row["movement_reason"]
        else "not on record"
    )
    lasted = (
        f"lasted {formats.duration((row['ended_at'] - row['began_at']).total_seconds())}"
        if row["ended_at"]
        else "still short"
    )
    return (
        f"{formats.moment(row['booked_at'] or row['began_at'], now, zone)} · {formats.count(row['before_units'])} → "
        f"{formats.count(row['worst_units'])} · {who} · {lasted}"
    )


def alert_limit(found: Row) -> str:
    """Who is told when."""
    if found["limit_units"] is None:
        return "Nobody is told: no limit is set."
    return f"A notice goes out when more than {formats.plural(found['limit_units'], 'unit')} are at risk."
