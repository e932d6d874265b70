"""Pure rules of orders: which line an identifier means, which observation is newer."""

from __future__ import annotations

from collections import abc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from core.catalog.queries import Identities, Target
from core.ports import ChannelFulfilment, ChannelLine, ChannelOrder, ChannelRefund

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class Mapping:
    """What an order line stands for. `reason` says why it is unmapped."""

    kind: str
    reason: str | None = None
    listing_id: int | None = None
    sku_id: int | None = None


def map_line(line: ChannelLine, known: Identities, *, ships_from_channel: bool = False) -> Mapping:
    """Find the SKU of an order line; nothing is guessed.

    What the channel ships from stock that is not in our pools is known by its SKU, and moves nothing of it.

    The channel's own id of the variant decides. A code decides where there is no such id, or we do not know it, and
    exactly one SKU answers to the code. A line with neither id nor code is something typed in by hand (a custom
    item, a tip): it has no stock by nature.
    """
    found = _find(line, known)
    return replace(found, kind="unstocked") if ships_from_channel and found.kind == "stocked" else found


def _find(line: ChannelLine, known: Identities) -> Mapping:
    if line.variant_ref is not None and line.variant_ref in known.by_ref:
        return _mapped(known.by_ref[line.variant_ref], "its listing is not mapped to a SKU")
    if line.code is not None:
        if line.code in known.ambiguous_codes:
            return Mapping("unmapped", "its code stands for more than one SKU on this channel")
        if line.code in known.by_code:
            return _mapped(known.by_code[line.code], "its code is not mapped to a SKU")
    if line.variant_ref is None and line.code is None:
        return Mapping("unstocked")
    return Mapping("unmapped", "no listing of this channel and no SKU of ours answers to it")


def _mapped(target: Target, otherwise: str) -> Mapping:
    if not target.is_ours:
        # Set aside by somebody: it takes nothing of ours.
        return Mapping("unstocked", listing_id=target.listing_id)
    if target.sku_id is None:
        return Mapping("unmapped", otherwise, listing_id=target.listing_id)
    kind = "stocked" if target.is_stocked else "unstocked"
    return Mapping(kind, listing_id=target.listing_id, sku_id=target.sku_id)


@dataclass(frozen=True, slots=True)
class LinesTold:
    """An order's lines, by ref, at one version of it; others were not there yet. `is_clear`: less what edits took."""

    version_at: datetime
    lines: dict[str, ChannelLine]
    is_clear: bool


def lines_told(observations: Iterable[ChannelOrder]) -> dict[str, list[LinesTold]]:
    """Per order what its versions told of its lines, oldest first.

    A cancelled order has nothing left, whatever edits took off before: it does not tell what they did.
    """
    told: dict[str, list[LinesTold]] = {}
    for seen in observations:
        is_clear = seen.tells_units and seen.cancelled_at is None
        lines = {line.ref: line for line in seen.lines}
        told.setdefault(seen.ref, []).append(LinesTold(seen.version_at, lines, is_clear))
    for versions in told.values():
        versions.sort(key=lambda each: each.version_at)
    return told


def newest_clear(told: abc.Mapping[str, Sequence[LinesTold]]) -> dict[str, LinesTold]:
    """Of each order the newest version, if any, that told what edits had left of its lines."""
    return {ref: each for ref, versions in told.items() for each in versions if each.is_clear}


def merge_observations(observations: Iterable[ChannelOrder]) -> dict[str, ChannelOrder]:
    """One order per ref: the newest facts, with every fulfilment and refund that any observation saw.

    Of its lines the newest counts that tells what edits left of them; of what need not be told, the newest that does.
    """
    observations = sorted(observations, key=lambda seen: seen.version_at)
    merged = _newest(observations)
    every = lines_told(observations)
    for ref, told in newest_clear(every).items():
        lines = {line.ref: line for line in merged[ref].lines} | told.lines
        merged[ref] = replace(merged[ref], lines=tuple(_taxed(line, every[ref]) for line in lines.values()))
    return merged


def _taxed(line: ChannelLine, told: Sequence[LinesTold]) -> ChannelLine:
    """A line with the taxes that the newest version tells of it, where its own does not."""
    if line.tax_minor is not None or len(told) == 1:
        return line
    seen = (each.lines[line.ref].tax_minor for each in reversed(told) if line.ref in each.lines)
    return replace(line, tax_minor=next((tax for tax in seen if tax is not None), None))


def _newest(observations: Iterable[ChannelOrder]) -> dict[str, ChannelOrder]:
    merged: dict[str, ChannelOrder] = {}
    for seen in observations:
        other = merged.get(seen.ref)
        if other is None:
            merged[seen.ref] = seen
            continue
        older, newer = (other, seen) if other.version_at <= seen.version_at else (seen, other)
        merged[seen.ref] = replace(
            newer,
            # A cancellation is never taken back.
            cancelled_at=_cancelled_at(older, newer),
            open_at=max((seen.open_at for seen in (older, newer) if seen.open_at is not None), default=None),
            cancel_reason=newer.cancel_reason or older.cancel_reason,
            tax_minor=_told(newer.tax_minor, older.tax_minor),
            shipping_minor=_told(newer.shipping_minor, older.shipping_minor),
            taxes_included=_told(newer.taxes_included, older.taxes_included),
            codes=newer.codes or older.codes,
            fulfilments=newest_fulfilments((*older.fulfilments, *newer.fulfilments)),
            refunds=distinct_refunds((*older.refunds, *newer.refunds)),
        )
    return merged


def _told(newer: Told | None, older: Told | None) -> Told | None:
    return older if newer is None else newer


def _cancelled_at(older: ChannelOrder, newer: ChannelOrder) -> datetime | None:
    """What the newer says; of channels that only tell by when it was cancelled, the earliest that any says."""
    told = [seen.cancelled_at for seen in (newer, older) if seen.cancelled_at is not None]
    if not told or newer.is_cancel_dated:
        return told[0] if told else None
    return min(told)


def newest_fulfilments(seen: Sequence[ChannelFulfilment]) -> tuple[ChannelFulfilment, ...]:
    """The newest observation of each fulfilment."""
    newest: dict[tuple[str, str], ChannelFulfilment] = {}
    for item in seen:
        key = (item.order_ref, item.ref)
        if key not in newest or newest[key].version_at <= item.version_at:
            newest[key] = item
    return tuple(newest[key] for key in sorted(newest))


def distinct_refunds(seen: Sequence[ChannelRefund]) -> tuple[ChannelRefund, ...]:
    """Each refund once; a refund does not change once made, but not every way to hear of it need tell its carriage."""
    distinct: dict[tuple[str, str], ChannelRefund] = {}
    for item in seen:
        key = (item.order_ref, item.ref)
        if key not in distinct or item.shipping_minor is not None or distinct[key].shipping_minor is None:
            distinct[key] = item
    return tuple(distinct[key] for key in sorted(distinct))


@dataclass(frozen=True, slots=True)
class Shown:
    """What we know a listing to show, since when, and what of it nothing booked explains yet (`unseen_units`)."""

    published_units: int
    published_at: datetime
    unseen_units: int


def follow(shown: Shown, delta: int, at: datetime) -> Shown:
    """What a listing shows after the channel itself sold (negative) or put back `delta` units at `at`.

    Vendors stamp whole seconds. What happened after the second of our knowledge changes what is shown; what happened
    before it is in there already, and explains its part of what we saw: never more than there is to explain, and in
    doubt rather too few units are thought to be for sale than too many. Within that very second the unexplained units
    decide: as much of the change as they allow was seen, the rest came later.
    """
    if at > shown.published_at:
        return replace(shown, published_units=shown.published_units + delta)
    if at + timedelta(seconds=1) <= shown.published_at:
        return replace(shown, unseen_units=_left_unseen(shown.unseen_units, delta))
    was_seen = _toward_zero(shown.unseen_units, delta)
    return replace(
        shown,
        published_units=shown.published_units + delta - was_seen,
        unseen_units=shown.unseen_units - was_seen,
    )


def _left_unseen(unseen: int, delta: int) -> int:
    """What stays unexplained after a change that was in what we saw; a late refund shows that more was sold."""
    if unseen < 0:
        return min(0, unseen - delta)
    return min(unseen, max(0, unseen - delta))


def _toward_zero(unseen: int, delta: int) -> int:
    """How much of `delta` lies between `unseen` and zero."""
    if unseen < 0 and delta < 0:
        return max(unseen, delta)
    if unseen > 0 and delta > 0:
        return min(unseen, delta)
    return 0


def counted(
    counts: Sequence[tuple[datetime, int]], parcels: Sequence[tuple[datetime, int]]
) -> tuple[int, list[tuple[datetime, int]]]:
    """What a channel's own counts of gone units come to, and what of them no parcel tells of: (gone by then, units).

    `counts` by the version that told them, `parcels` (when they left, units); both in any order. Goods do not come back
    by being counted anew, so the highest counts; but where parcels explain all that the newest version counts, one of
    them was corrected, and that is all. A unit is as old as the first version that counted it, as far as parcels that
    had left by then do not explain it.
    """
    if not counts:
        return 0, []
    ordered = sorted(counts)
    in_parcels = sum(units for _, units in parcels)
    highest, newest = max(units for _, units in ordered), ordered[-1][1]
    total = newest if newest <= in_parcels else highest
    missing, found = max(0, total - in_parcels), []
    told = 0
    for at, units in ordered:
        left_by_then = sum(each for left_at, each in parcels if left_at <= at)
        gone = min(missing, units - left_by_then)
        if gone > told:
            found.append((at, gone - told))
            told = gone
    return total, found
