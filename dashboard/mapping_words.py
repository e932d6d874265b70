"""The Mapping screen's facts in words; pure: no database, no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, NamedTuple

from core.identity.outcomes import Outcome, PoolSeen
from core.identity.queries import Suggestion
from core.identity.rules import Identifier, Kind
from dashboard import formats

Row = Mapping[str, Any]

_KINDS: dict[str, str] = {
    "variant": "listing id",
    "seller_sku": "code there",
    "fnsku": "FNSKU",
    "barcode": "barcode",
    "asin": "ASIN",
}
_VENDORS_OWN: dict[tuple[str, str], str] = {
    ("amazon", "variant"): "seller SKU",
    ("amazon", "seller_sku"): "seller SKU",
    ("shopify", "variant"): "variant",
    ("shopify", "seller_sku"): "SKU there",
}
_SOURCES = {"automatic": "Found by itself", "person": "A person", "file": "A file"}

_FACTS = ("code", "barcode", "product_ref", "label_ref")


class Totals(NamedTuple):
    """What waits for an answer on all connections, and what is answered."""

    unmapped: int
    ambiguous: int
    units: int
    orders: int
    mapped: int
    set_aside: int

    @property
    def waiting(self) -> int:
        """All that nobody has answered."""
        return self.unmapped + self.ambiguous


def totals(backlog: Sequence[Row]) -> Totals:
    """The sums over connections; an order belongs to one of them only."""
    names = ("unmapped", "ambiguous", "parked_units", "parked_orders", "mapped", "set_aside")
    return Totals(*(sum(row[name] for row in backlog) for name in names))


def headline(found: Totals) -> tuple[str, str]:
    """The answer: how many are nobody's, and what waits for them."""
    if not found.waiting:
        known = f"{formats.plural(found.mapped, 'is', 'are')} mapped" if found.mapped else "none has been told yet"
        return "Every identifier is known.", f"{known[:1].upper()}{known[1:]}."
    is_one = found.waiting == 1
    answer = f"{formats.in_words(found.waiting)} {'identifier is' if is_one else 'identifiers are'} nobody’s yet;"
    return answer, _waits(found.units, found.orders, is_one)


def _waits(units: int, orders: int, is_one: bool) -> str:
    what = "it" if is_one else "them"
    if not units:
        return f"no order waits for {what}."
    verb = "waits" if units == 1 else "wait"
    return f"{formats.plural(units, 'unit')} of {formats.plural(orders, 'order')} {verb} for {what}."


def kind(one: str, vendor: str = "") -> str:
    """What an identifier is, as its channel calls it."""
    return _VENDORS_OWN.get((vendor, one), _KINDS.get(one, one))


def facts(row: Row, vendor: str) -> list[tuple[str, str]]:
    """What else is known of an identifier that nobody knows: (name, value)."""
    product = "ASIN" if vendor == "amazon" else "product page"
    names = (kind("seller_sku", vendor), "barcode", product, "FNSKU")
    return [
        (name, str(row[column]))
        for name, column in zip(names, _FACTS, strict=True)
        if row[column] and row[column] != row["value"]
    ]


def reason(row: Row) -> str:
    """Why nobody knows it, without the word for its state, which stands before it."""
    return str(row["reason"] or "").removeprefix("ambiguous: ")


def source(name: str) -> str:
    """Who says so."""
    return _SOURCES.get(name, name)


def shown_value(kind: str, value: str) -> str:
    """An identifier as people read it: a barcode without the zeros that fill it up to 14 digits."""
    return (value.lstrip("0") or value) if kind == "barcode" else value


def hangs(row: Row, zone: str, as_of: datetime) -> str:
    """What hangs on an identifier that nobody knows: listings, lines and units, since when."""
    parts = []
    if row["listings"]:
        parts.append(formats.plural(row["listings"], "listing"))
    if row["parked_lines"]:
        waits = "waits" if row["parked_units"] == 1 else "wait"
        since = f" since {formats.moment(row['parked_since'], as_of, zone)}" if row["parked_since"] else ""
        parts.append(
            f"{formats.plural(row['parked_units'], 'unit')} in "
            f"{formats.plural(row['parked_lines'], 'line')} of {formats.plural(row['parked_orders'], 'order')} "
            f"{waits}{since}"
        )
    else:
        parts.append("no order waits for it")
    return " · ".join(parts)


def reasons(found: Suggestion) -> str:
    """How likely a suggestion is, and every reason, as HTML."""
    why = "; ".join(found.reasons)
    return (
        f'<div class="sy-meta"><span class="sy-meter sy-plain" aria-hidden="true"><i style="width:{found.percent}%">'
        f"</i></span><b>{found.percent} %</b> · {escape(why)}</div>"
    )


# --- before an act ----------------------------------------------------------------------------------------------------


def mapped_lines(seen: Outcome) -> list[str]:
    """What giving it a SKU would do: lines that are booked, messages that are let go, whether it is written to."""
    parked = (
        f"**{formats.plural(seen.lines_booked, 'parked order line is', 'parked order lines are')} booked**: the units "
        "come off this SKU’s stock, and the other channels follow."
        if seen.lines_booked
        else "No order line waits for it, so nothing is booked."
    )
    lines = [parked]
    if seen.lines_set_aside:
        no_stock = formats.plural(seen.lines_set_aside, "order line takes", "order lines take")
        lines.append(f"{no_stock} no stock: its SKU has none.")
    if seen.released_messages:
        again = formats.plural(
            seen.released_messages, "message that waited for it has", "messages that waited for it have"
        )
        lines.append(f"{again} another turn.")
    return [*lines, writing(seen)]


def writing(seen: Outcome) -> str:
    """Whether anything is written to its listings from then on."""
    if not [each for each in seen.listings if each.to_code is not None]:
        return "No listing there has it: nothing is written."
    if seen.awaits_sync:
        return "What its listing shows has not been read: **sync the connection** afterwards; writing begins with that."
    begun = sum(each.publishing_after and not each.publishing_before for each in seen.listings)
    if begun:
        return f"**Writing begins**: {formats.plural(begun, 'listing')} from then on {_shows(begun)} what is available."
    if any(each.publishing_after for each in seen.listings):
        return "Its listings go on being written."
    return "Its listings are not written to: the SKU has no number of ours there."


def _shows(number: int) -> str:
    return "shows" if number == 1 else "show"


def pools(seen: Outcome) -> list[str]:
    """What it does to stock, pool by pool, where it changes."""
    return [
        f"**{formats.plain(pool.code)}** at {formats.plain(pool.location)}: "
        f"{formats.count(pool.available_before)} available, {formats.count(pool.available_after)} afterwards."
        for pool in seen.pools
        if pool.available_before != pool.available_after
    ]


def worst(seen: Outcome) -> str:
    """The most that could be sold and not be there, until the channels have been told; empty where it is nothing."""
    worse = [pool for pool in seen.pools if pool.worst_after > pool.worst_before]
    if not worse:
        return ""
    most = max(worse, key=lambda pool: pool.worst_after)
    rest = f" (and {formats.plural(len(worse) - 1, 'more pool')})" if len(worse) > 1 else ""
    return (
        f"Until the channels have been told, up to {formats.plural(most.worst_after, 'unit')} of "
        f"{formats.plain(most.code)} at {formats.plain(most.location)} could be sold that "
        f"{'is' if most.worst_after == 1 else 'are'} not there{rest}: they show "
        f"{formats.count(most.exposed_after)}, and {formats.count(max(most.available_after, 0))} "
        f"{'is' if most.available_after == 1 else 'are'} available."
    )


def oversell(pool: PoolSeen) -> str:
    """A pool's worst case before and after."""
    return arrow(pool.worst_before, pool.worst_after)


def arrow(before: int | None, after: int | None) -> str:
    """11 → 9; one number where nothing changes."""
    if before == after:
        return formats.count(before)
    return f"{formats.count(before)} → {formats.count(after)}"


# --- after an act -----------------------------------------------------------------------------------------------------


def mapped(value: str, code: str, done: Outcome) -> str:
    """What giving it a SKU did."""
    if not done.answered:
        return f"{formats.plain(value)} was {formats.plain(code)}’s already: nothing was changed."
    said = [f"{formats.plain(value)} is {formats.plain(code)} now."]
    if done.lines_booked:
        said.append(f"{formats.plural(done.lines_booked, 'order line is', 'order lines are')} booked.")
    if done.awaits_sync:
        said.append("Sync the connection: that reads what it shows, and writing begins.")
    return " ".join(said)


def remapped(value: str, code: str, done: Outcome) -> str:
    """What another SKU did."""
    moved, stayed = len(done.moving), len(done.staying)
    return (
        f"{formats.plain(value)} is {formats.plain(code)} now: "
        f"{formats.plural(len(done.moved_listings), 'listing')} and {formats.plural(moved, 'order line')} moved, "
        f"{formats.plural(stayed, 'stays', 'stay')}."
    )


def set_aside(value: str, done: Outcome) -> str:
    """What setting aside did."""
    if not done.answered:
        return f"{formats.plain(value)} was set aside already."
    lines = formats.plural(done.lines_set_aside, "order line waits", "order lines wait")
    return f"{formats.plain(value)} is set aside: {lines} no more. Take it back under “Set aside”."


def taken_back(value: str, lines: int, matched: int) -> str:
    """What taking back did."""
    again = f"{formats.plural(lines, 'order line waits', 'order lines wait')} with it" if lines else "no order waits"
    if matched:
        return f"{formats.plain(value)} is taken up again, and was matched by itself."
    return f"{formats.plain(value)} is in the queue again; {again}."


def loaded(name: str, rows: int, done: Outcome) -> str:
    """What a file did."""
    booked = (
        f" {formats.plural(done.lines_booked, 'order line is', 'order lines are')} booked." if done.lines_booked else ""
    )
    return f"{formats.plural(rows, 'row')} of {formats.plain(name)} loaded.{booked}"


def address(one: Identifier) -> dict[str, str]:
    """The query parameters of an identifier's page."""
    return {"of": str(one.connection_id), "kind": one.kind, "value": one.value}


def of_row(row: Row) -> Identifier:
    """The identifier of a row that names one."""
    kind: Kind = row["kind"]
    return Identifier(row["connection_id"], kind, row["value"])
