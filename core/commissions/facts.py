"""Pure rules: what the facts of an order come to, step by step, and what of that is not booked yet.

What each line should have come to is a function of all facts known of its order: what was sold, as edits left it, each
refund, chargebacks, a cancellation. The difference to what is booked is booked, each cause by itself: one path for
every event, whatever their number and order. Nothing booked is ever changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from core.commissions.rules import NO_RULES, NOTHING, Amount, Base, Four, Shares, Terms, shares, shares_unmapped
from core.money import split

Cause = Literal["sale", "edit", "refund", "cancellation", "chargeback", "chargeback_won", "mapping", "return"]


class Bucket(NamedTuple):
    """What is accounted for by itself: a line's items, its share of carriage, or what is of the order as a whole."""

    line_id: int
    """0: of the order as a whole."""
    base: Literal["item", "shipping", "other"]
    currency: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line as edits left it. `tax_minor` None: not told."""

    id: int
    total_minor: int
    units: int
    tax_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """`lines`: (line, worth, its taxes where they are told). Carriage with its taxes."""

    id: int
    amount_minor: int
    currency: str
    at: datetime
    lines: tuple[tuple[int, int, int | None], ...] = ()
    shipping_minor: int = 0


@dataclass(frozen=True, slots=True)
class Chargeback:
    """Money that a bank took back for the buyer; one that was won came back."""

    id: int
    amount_minor: int
    at: datetime
    is_won: bool = False
    decided_at: datetime | None = None


class Booked(NamedTuple):
    """What is booked of a bucket: net and tax, shares, and how many facts that were."""

    net: int = 0
    tax: int = 0
    shares: Shares = Shares()
    facts: int = 0


@dataclass(frozen=True, slots=True)
class Sale:
    """All facts of an order that its money comes of. `taxes_included` None: by the total, see `is_tax_included`."""

    id: int
    currency: str
    total_minor: int
    placed_at: datetime
    version_at: datetime
    lines: tuple[Line, ...]
    is_edited: bool = False
    """Whether lines were changed after it was placed: then the total tells nothing beyond them."""
    tax_minor: int = 0
    shipping_minor: int = 0
    taxes_included: bool | None = None
    void_at: datetime | None = None
    """When it was cancelled, or its payment voided: then nothing of it was sold."""
    refunds: tuple[Refund, ...] = ()
    chargebacks: tuple[Chargeback, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What is booked of an order so far."""

    booked: Mapping[Bucket, Booked] = field(default_factory=dict)
    refund_ids: frozenset[int] = frozenset()
    chargeback_ids: frozenset[int] = frozenset()
    won_ids: frozenset[int] = frozenset()
    is_void: bool = False
    other_minor: int = 0
    """Of the order as a whole, as it was sold, its taxes included."""

    @property
    def is_new(self) -> bool:
        """Whether nothing is booked yet."""
        return not self.booked

    @property
    def has_money(self) -> bool:
        """Whether anything booked came to more than nothing: an order may wait for its payment to tell its prices."""
        return any(one.net or one.tax or any(one.shares) for one in self.booked.values())


class Part(NamedTuple):
    """What one bucket changed by, in one step."""

    bucket: Bucket
    net: int
    tax: int
    shares: Shares
    ordinal: int
    sold: int
    """What it was sold for, taxes included, before anything was given back."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one cause changed: it is posted as one transaction."""

    cause: Cause
    at: datetime
    parts: tuple[Part, ...]
    refund_id: int | None = None
    chargeback_id: int | None = None


TermsOf = Mapping[int, Mapping[Base, Terms]]
"""Line -> what its items and its carriage are booked by; lines that are not mapped are not in it."""
VolumesOf = Mapping[tuple[int, str], Four]
"""(line, base) -> the month's volumes before it."""


def is_tax_included(sale: Sale) -> bool:
    """Whether prices contain the taxes: as it is told, else whichever comes nearer to the total."""
    if sale.taxes_included is not None:
        return sale.taxes_included
    plain = sum(line.total_minor for line in sale.lines) + sale.shipping_minor
    return abs(sale.total_minor - plain) < abs(sale.total_minor - plain - _tax_of(sale))


def _tax_of(sale: Sale) -> int:
    told = [line.tax_minor for line in sale.lines if line.tax_minor is not None]
    return sale.tax_minor or sum(told)


def steps(sale: Sale, known: Known, terms: TermsOf, volumes: VolumesOf, now: datetime) -> list[Step]:
    """What is to be booked, in order; empty where everything is."""
    book = _Book(dict(known.booked), terms, volumes)
    sold = sold_amounts(sale, None if known.has_money or known.is_void else sale.total_minor, known.other_minor)
    if known.is_void and sale.void_at is not None:
        return _told([book.step("edit", sale.version_at, _void(sold))])
    refunds = [one for one in sale.refunds if one.id in known.refund_ids]
    backs = [one for one in sale.chargebacks if one.id in known.chargeback_ids - known.won_ids]
    cause = _opening(known, terms)
    at = sale.placed_at if cause == "sale" else now if cause == "mapping" else sale.version_at
    found = [book.step(cause, at, left_after(sold, sale, refunds, backs))]
    for back in [one for one in backs if one.is_won]:
        backs.remove(back)
        at = back.decided_at or now
        found.append(book.step("chargeback_won", at, left_after(sold, sale, refunds, backs), chargeback_id=back.id))
    for refund in sale.refunds:
        if refund.id not in known.refund_ids:
            refunds.append(refund)
            found.append(book.step("refund", refund.at, left_after(sold, sale, refunds, backs), refund_id=refund.id))
    for back in sale.chargebacks:
        if back.id not in known.chargeback_ids and not back.is_won:
            backs.append(back)
            found.append(
                book.step("chargeback", back.at, left_after(sold, sale, refunds, backs), chargeback_id=back.id)
            )
    if sale.void_at is not None:
        found.append(book.step("cancellation", sale.void_at, _void(sold)))
    return _told(found)


def _told(found: Iterable[Step]) -> list[Step]:
    return [one for one in found if one.parts]


def _void(sold: Mapping[Bucket, Amount]) -> dict[Bucket, Amount]:
    return dict.fromkeys(sold, NOTHING)


def _opening(known: Known, terms: TermsOf) -> Cause:
    """Why what was sold is not what is booked."""
    if known.is_new:
        return "sale"
    is_mapped = any(one.shares.unassigned and bucket.line_id in terms for bucket, one in known.booked.items())
    return "mapping" if is_mapped else "edit"


# --- what was sold ----------------------------------------------------------------------------------------------------


def sold_amounts(sale: Sale, total_minor: int | None, other_minor: int = 0) -> dict[Bucket, Amount]:
    """What each line, and the order as a whole, was sold for, before anything was given back.

    `total_minor` is what the buyer paid, of an order that is booked first: what no line explains is of the order as a
    whole. None: that is known already, as `other_minor`.
    """
    is_included = is_tax_included(sale)
    taxes, shipping_tax, other_tax = _taxes(sale)
    weights = [max(0, line.total_minor) for line in sale.lines]
    if not any(weights):
        weights = [1] * len(sale.lines)
    found: dict[Bucket, Amount] = {}
    for line, tax in zip(sale.lines, taxes, strict=True):
        net = line.total_minor - (tax if is_included else 0)
        found[Bucket(line.id, "item", sale.currency)] = Amount(net, tax, net, tax, line.units)
    carriage = sale.shipping_minor - (shipping_tax if is_included else 0)
    if sale.lines and (carriage or shipping_tax):
        nets, shipping_taxes = split(carriage, weights), split(shipping_tax, weights)
        for line, net, tax in zip(sale.lines, nets, shipping_taxes, strict=True):
            if net or tax:
                found[Bucket(line.id, "shipping", sale.currency)] = Amount(net, tax, net, tax)
    if total_minor is not None and not sale.is_edited:
        explained = sum(line.total_minor for line in sale.lines) + (sale.shipping_minor if sale.lines else 0)
        other_minor = total_minor - explained - (0 if is_included else _tax_of(sale) - other_tax)
    # Taxes that no line and no carriage can bear stay taxes.
    other_net = other_minor - other_tax
    found[Bucket(0, "other", sale.currency)] = Amount(other_net, other_tax, other_net, other_tax)
    return found


def _taxes(sale: Sale) -> tuple[list[int], int, int]:
    """(of each line, of carriage, of neither). What is not told of lines is shared out by what they come to."""
    told = [line.tax_minor for line in sale.lines]
    rest = _tax_of(sale) - sum(tax for tax in told if tax is not None)
    weights = [max(0, line.total_minor) if line.tax_minor is None else 0 for line in sale.lines]
    shipping = max(0, sale.shipping_minor) if sale.lines else 0
    if not any(weights) and not shipping:
        return [tax or 0 for tax in told], 0, rest
    shared = split(rest, [*weights, shipping])
    return [share if tax is None else tax for tax, share in zip(told, shared, strict=False)], shared[-1], 0


# --- what is left of it -----------------------------------------------------------------------------------------------


def left_after(
    sold: Mapping[Bucket, Amount], sale: Sale, refunds: Sequence[Refund], chargebacks: Sequence[Chargeback]
) -> dict[Bucket, Amount]:
    """What is left of each bucket after some money was given back.

    A refund takes first of the lines and the carriage that it names, as much as the money that moved: less of each
    where less moved, and what moved beyond them of all that is left. What exceeds the whole order is of the order as a
    whole.
    """
    if not refunds and not chargebacks:
        return dict(sold)
    left = {bucket: [amount.net, amount.tax] for bucket, amount in sold.items()}
    is_included = is_tax_included(sale)
    for refund in refunds:
        _give_back(left, sale.currency, refund.currency, refund.amount_minor, _wanted(left, sale, refund, is_included))
    for back in chargebacks:
        _give_back(left, sale.currency, sale.currency, back.amount_minor, {})
    return {bucket: sold.get(bucket, NOTHING)._replace(net=net, tax=tax) for bucket, (net, tax) in left.items()}


_Left = dict[Bucket, list[int]]


def _wanted(left: _Left, sale: Sale, refund: Refund, is_included: bool) -> dict[Bucket, int]:
    """What a refund says that it gives back of each bucket, taxes included."""
    wanted: dict[Bucket, int] = {}
    for line_id, worth, tax in refund.lines:
        bucket = Bucket(line_id, "item", sale.currency)
        if bucket not in left:
            continue
        if not is_included:
            net, its_tax = left[bucket]
            worth += tax if tax is not None else (2 * worth * its_tax + net) // (2 * net) if net > 0 else 0
        wanted[bucket] = wanted.get(bucket, 0) + worth
    carriage = {bucket: sum(parts) for bucket, parts in left.items() if bucket.base == "shipping" and sum(parts) > 0}
    if refund.shipping_minor > 0 and carriage:
        shared = split(refund.shipping_minor, list(carriage.values()))
        wanted |= dict(zip(carriage, shared, strict=True))
    return wanted


def _give_back(left: _Left, currency: str, given_in: str, amount: int, wanted: dict[Bucket, int]) -> None:
    whole = Bucket(0, "other", given_in)
    if given_in != currency:
        left.setdefault(whole, [0, 0])[0] -= amount
        return
    named = sum(wanted.values())
    if named > amount:
        shared = split(max(0, amount), list(wanted.values()))
        wanted = dict(zip(wanted, shared, strict=True))
    for bucket, gross in wanted.items():
        amount -= _take(left[bucket], gross)
    for base in ("item", "shipping", "other"):
        rest = {bucket: sum(parts) for bucket, parts in left.items() if bucket.base == base and sum(parts) > 0}
        taken = min(amount, sum(rest.values()))
        if taken > 0:
            for bucket, gross in zip(rest, split(taken, list(rest.values())), strict=True):
                amount -= _take(left[bucket], gross)
    if amount > 0:
        left.setdefault(whole, [0, 0])[0] -= amount


def _take(parts: list[int], gross: int) -> int:
    """Take as much as there is, net and taxes alike; returns what was taken."""
    taken = max(0, min(gross, sum(parts)))
    if taken:
        net, tax = parts if min(parts) >= 0 else (1, 0)
        for at, share in enumerate(split(taken, [net, tax])):
            parts[at] -= share
    return taken


# --- what that changes ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Book:
    """What is booked, as steps go on."""

    booked: dict[Bucket, Booked]
    terms: TermsOf
    volumes: VolumesOf

    def step(
        self,
        cause: Cause,
        at: datetime,
        target: Mapping[Bucket, Amount],
        refund_id: int | None = None,
        chargeback_id: int | None = None,
    ) -> Step:
        """What brings what is booked to what it should come to."""
        parts = []
        for bucket in [*target, *(gone for gone in self.booked if gone not in target)]:
            part = self._part(bucket, target.get(bucket, NOTHING))
            if part is not None:
                parts.append(part)
        return Step(cause, at, tuple(parts), refund_id, chargeback_id)

    def _part(self, bucket: Bucket, amount: Amount) -> Part | None:
        before = self.booked.get(bucket)
        after = self._shares(bucket, amount)
        if before is None:
            # Every line is booked, be it for nothing: its terms are frozen with it.
            if bucket.base != "item" and not any((*after, amount.net, amount.tax)):
                return None
            before = Booked()
        elif (before.net, before.tax) == (amount.net, amount.tax) and before.shares == after:
            return None
        self.booked[bucket] = Booked(amount.net, amount.tax, after, before.facts + 1)
        changed = Shares(*(new - old for new, old in zip(after, before.shares, strict=True)))
        sold = amount.sold_net + amount.sold_tax
        return Part(bucket, amount.net - before.net, amount.tax - before.tax, changed, before.facts + 1, sold)

    def _shares(self, bucket: Bucket, amount: Amount) -> Shares:
        if bucket.base == "other":
            return Shares(platform=amount.net, authority=amount.tax)
        of_line = self.terms.get(bucket.line_id)
        if of_line is None:
            return shares_unmapped(amount)
        volumes = self.volumes.get((bucket.line_id, bucket.base), NO_RULES)
        return shares(of_line[bucket.base], amount, volumes)
