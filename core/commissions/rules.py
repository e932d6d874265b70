"""Pure rules: which parties and rules a line falls under, and what its money comes to.

The most specific wins. Of assignments: a code that the buyer came with, the buyer, the SKU, the category, the channel.
Of rules: the SKU, the creator or referrer, the category, the seller, the channel, the currency. Each counts more than
all that come after it together, so that two of different scope never tie; of the same scope the one that began to hold
last wins.

Amounts are integers in minor units. A fee is exact, as a fraction, until all shares of an amount are rounded together:
each is rounded down and the units that are missing go to the largest remainders, one each, ties to the earlier of
seller, platform, creator, referrer, channel. Shares therefore sum to the amount, whatever the rates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Literal, NamedTuple

Role = Literal["seller", "creator", "referrer"]
Kind = Literal["platform_fee", "creator_commission", "referrer_fee", "channel_fee"]
Base = Literal["item", "shipping"]
Form = Literal["percentage", "fixed", "tiered"]

ROLES: tuple[Role, ...] = ("seller", "creator", "referrer")
KINDS: tuple[Kind, ...] = ("platform_fee", "creator_commission", "referrer_fee", "channel_fee")
BASES: tuple[Base, ...] = ("item", "shipping")
SELLER_KINDS = ("brand_shop", "affiliate_retailer", "social_seller")
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which lines concern a party: every scope that is set must match. Times bound when the order was placed."""

    id: int
    role: Role
    party_id: int
    connection_id: int | None = None
    category: str | None = None
    sku_id: int | None = None
    customer_ref: str | None = None
    order_code: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    @property
    def breadth(self) -> int:
        """The higher, the more specific."""
        return (
            16 * (self.order_code is not None)
            + 8 * (self.customer_ref is not None)
            + 4 * (self.sku_id is not None)
            + 2 * (self.category is not None)
            + (self.connection_id is not None)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One version of a commission rule; see the table for what each column means. `tiers`: (from volume, rate)."""

    id: int
    kind: Kind
    base: Base
    form: Form
    seller_id: int | None = None
    payee_id: int | None = None
    connection_id: int | None = None
    category: str | None = None
    sku_id: int | None = None
    rate_ppm: int = 0
    fixed_minor: int = 0
    currency: str | None = None
    tiers: tuple[tuple[int, int], ...] = ()
    borne_by: Literal["seller", "platform"] = "seller"
    on_refund: Literal["returned", "kept"] = "returned"
    tax_basis: Literal["net", "gross"] = "net"
    tax_to: Literal["authority", "seller"] | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    @property
    def breadth(self) -> int:
        """The higher, the more specific."""
        return (
            32 * (self.sku_id is not None)
            + 16 * (self.payee_id is not None)
            + 8 * (self.category is not None)
            + 4 * (self.seller_id is not None)
            + 2 * (self.connection_id is not None)
            + (self.currency is not None)
        )

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def scope(self) -> tuple[object, ...]:
        """What it is for, validity aside: two living rules of one scope are versions of each other, or a conflict."""
        return (
            self.kind,
            self.base,
            self.seller_id,
            self.payee_id,
            self.connection_id,
            self.category,
            self.sku_id,
            self.currency,
        )


@dataclass(frozen=True, slots=True)
class Context:
    """What decides of a line whom it concerns, and by which rules. `codes` in capitals."""

    connection_id: int
    sku_id: int | None
    category: str | None
    customer_ref: str | None
    codes: frozenset[str]
    placed_at: datetime
    currency: str


@dataclass(frozen=True, slots=True)
class Parties:
    """Whom a line concerns; no seller: the platform sells it itself."""

    seller_id: int | None = None
    creator_id: int | None = None
    referrer_id: int | None = None


Four = tuple[int, int, int, int]
NO_RULES: Four = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class TermsKey:
    """What a line is booked by: parties, category, window, and the versions of rules (0: none), in order of KINDS."""

    parties: Parties
    category: str | None
    window_days: int
    item_rules: Four
    shipping_rules: Four


@dataclass(slots=True)
class RuleBook:
    """Living rules and assignments, ready to be asked. `windows`: of sellers that have a return window of their own."""

    rules: Sequence[Rule] = ()
    assignments: Sequence[Assignment] = ()
    window_days: int = 14
    windows: Mapping[int, int] = field(default_factory=dict)
    _by_role: dict[tuple[Role, str, object], list[Assignment]] = field(init=False)
    _by_kind: dict[tuple[Kind, Base], list[Rule]] = field(init=False)
    _known: dict[tuple[object, ...], TermsKey] = field(init=False, default_factory=dict)
    _edges: list[datetime] = field(init=False)
    _named: frozenset[str] = field(init=False)
    """Buyers and codes that an assignment names: all others make no difference."""

    def __post_init__(self) -> None:
        self._by_role = {}
        for one in self.assignments:
            self._by_role.setdefault((one.role, *_filed_under(one)), []).append(one)
        self._by_kind = {}
        for rule in sorted(self.rules, key=_rank, reverse=True):
            self._by_kind.setdefault((rule.kind, rule.base), []).append(rule)
        self._edges = _edges(self.rules, self.assignments)
        names = (name for one in self.assignments for name in (one.customer_ref, one.order_code) if name is not None)
        self._named = frozenset(names)

    def terms(self, context: Context) -> TermsKey:
        """What a line is booked by."""
        key = (
            context.connection_id,
            context.sku_id,
            context.category,
            context.customer_ref if context.customer_ref in self._named else None,
            context.codes & self._named,
            context.currency,
            sum(edge <= context.placed_at for edge in self._edges),
        )
        found = self._known.get(key)
        if found is None:
            parties = self.parties(context)
            days = self.windows.get(parties.seller_id or 0, self.window_days)
            found = self._known[key] = TermsKey(
                parties,
                context.category,
                days,
                self.rules_for("item", context, parties),
                self.rules_for("shipping", context, parties),
            )
        return found

    def parties(self, context: Context) -> Parties:
        """Whom a line concerns."""
        return Parties(*(self._party(role, context) for role in ROLES))

    def _party(self, role: Role, context: Context) -> int | None:
        places: list[tuple[str, object]] = [("any", None)]
        places += (("code", code) for code in context.codes)
        places += (("customer", context.customer_ref), ("sku", context.sku_id), ("category", context.category))
        best: Assignment | None = None
        for place in places:
            for one in self._by_role.get((role, *place), ()):
                if _concerns(one, context) and (best is None or _rank(one) > _rank(best)):
                    best = one
        return None if best is None else best.party_id

    def rules_for(self, base: Base, context: Context, parties: Parties) -> Four:
        """Which rule of each kind a line of these parties falls under, in order of KINDS; 0 where none is for it."""
        payees = (None, parties.creator_id, parties.referrer_id, None)
        found = []
        for kind, payee in zip(KINDS, payees, strict=True):
            is_due = {
                "platform_fee": parties.seller_id is not None,
                "creator_commission": parties.creator_id is not None,
                "referrer_fee": parties.referrer_id is not None,
                "channel_fee": True,
            }[kind]
            rules = self._by_kind.get((kind, base), ()) if is_due else ()
            found.append(next((rule.id for rule in rules if _applies(rule, context, parties, payee)), 0))
        return (found[0], found[1], found[2], found[3])


def _filed_under(one: Assignment) -> tuple[str, object]:
    """The narrowest scope by which it can be looked up."""
    if one.order_code is not None:
        return "code", one.order_code
    if one.customer_ref is not None:
        return "customer", one.customer_ref
    if one.sku_id is not None:
        return "sku", one.sku_id
    if one.category is not None:
        return "category", one.category
    return "any", None


def _rank(one: Rule | Assignment) -> tuple[int, float, int]:
    """The most specific first, then the one that began to hold last, then the newest."""
    return one.breadth, one.valid_from.timestamp() if one.valid_from else float("-inf"), one.id


def _edges(rules: Iterable[Rule], assignments: Iterable[Assignment]) -> list[datetime]:
    """Moments at which something begins or ends to hold: between two of them the answer is the same."""
    bounded: list[Rule | Assignment] = [*rules, *assignments]
    return sorted({at for one in bounded for at in (one.valid_from, one.valid_to) if at is not None})


def _holds(one: Rule | Assignment, at: datetime) -> bool:
    return (one.valid_from is None or one.valid_from <= at) and (one.valid_to is None or at < one.valid_to)


def _covers(one: Rule | Assignment, context: Context) -> bool:
    return (
        one.connection_id in (None, context.connection_id)
        and (one.category is None or one.category == context.category)
        and (one.sku_id is None or one.sku_id == context.sku_id)
        and _holds(one, context.placed_at)
    )


def _concerns(one: Assignment, context: Context) -> bool:
    return (
        _covers(one, context)
        and (one.customer_ref is None or one.customer_ref == context.customer_ref)
        and (one.order_code is None or one.order_code in context.codes)
    )


def _applies(rule: Rule, context: Context, parties: Parties, payee_id: int | None) -> bool:
    return (
        _covers(rule, context)
        and (rule.seller_id is None or rule.seller_id == parties.seller_id)
        and (rule.payee_id is None or rule.payee_id == payee_id)
        and (rule.currency is None or rule.currency == context.currency)
    )


# --- what an amount comes to ------------------------------------------------------------------------------------------


class Amount(NamedTuple):
    """What a line, or its share of carriage, comes to: as sold, and what is left after refunds; taxes apart."""

    sold_net: int
    sold_tax: int
    net: int
    tax: int
    units: int = 1


NOTHING = Amount(0, 0, 0, 0, 0)
"""Of what was not sold, or was cancelled."""


class Shares(NamedTuple):
    """Who has how much of an amount; they sum to its net and tax."""

    seller: int = 0
    platform: int = 0
    creator: int = 0
    referrer: int = 0
    channel: int = 0
    authority: int = 0
    unassigned: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """The rules of one base that a line is booked by, looked up; None where none is for it.

    Compared by identity: made once for all lines of a batch, it is looked up for each of them.
    """

    has_seller: bool
    platform: Rule | None = None
    creator: Rule | None = None
    referrer: Rule | None = None
    channel: Rule | None = None
    tax_to: Literal["authority", "seller"] = "authority"

    @property
    def rules(self) -> tuple[Rule | None, Rule | None, Rule | None, Rule | None]:
        """In the order of KINDS."""
        return self.platform, self.creator, self.referrer, self.channel

    @property
    def is_tiered(self) -> bool:
        """Whether the month's volume decides of a rate."""
        return any(rule is not None and rule.form == "tiered" for rule in self.rules)


def shares_unmapped(amount: Amount) -> Shares:
    """Of a line of which nobody knows yet whose it is."""
    return Shares(unassigned=amount.net, authority=amount.tax)


@lru_cache(maxsize=20_000)
def shares(terms: Terms, amount: Amount, volumes: Four = NO_RULES) -> Shares:
    """Who has how much of an amount.

    `volumes`: the month's volume before it, of each tiered rule. A refund gives back the same part of each fee as of
    the amount, but for fees that are kept. An amount below zero comes to the opposite of its opposite.
    """
    if amount.sold_net < 0 or (amount.sold_net == 0 and amount.net < 0):
        opposite = Amount(-amount.sold_net, -amount.sold_tax, -amount.net, -amount.tax, amount.units)
        return Shares(*(-part for part in shares(terms, opposite, volumes)))
    # What any of the fees is divided by: a rate by a million, what a refund left of it by what was sold.
    gross = amount.sold_net + amount.sold_tax
    scale = MILLION * (amount.sold_net or 1) * (gross if amount.sold_tax and gross > 0 else 1)
    fees = [
        _fee(rule, amount, volume, scale) if rule is not None else 0
        for rule, volume in zip(terms.rules, volumes, strict=True)
    ]
    borne_by_platform = sum(
        fee
        for rule, fee in zip(terms.rules[1:], fees[1:], strict=True)
        if rule is not None and (rule.borne_by == "platform" or not terms.has_seller)
    )
    whole = amount.net * scale
    if terms.has_seller:
        platform = fees[0] - borne_by_platform
        seller = whole - platform - sum(fees[1:])
    else:
        seller, platform = 0, whole - sum(fees[1:])
    rounded = _rounded((seller, platform, *fees[1:]), scale, amount.net)
    tax_to_seller = amount.tax if terms.has_seller and terms.tax_to == "seller" else 0
    return Shares(
        rounded[0] + tax_to_seller, rounded[1], rounded[2], rounded[3], rounded[4], amount.tax - tax_to_seller, 0
    )


def _fee(rule: Rule, amount: Amount, volume: int, scale: int) -> int:
    """The fee, exact, in parts of `scale` of a minor unit."""
    is_gross = rule.tax_basis == "gross"
    sold = amount.sold_net + (amount.sold_tax if is_gross else 0)
    left = amount.net + (amount.tax if is_gross else 0)
    if rule.form == "fixed":
        millionths = rule.fixed_minor * amount.units * MILLION
    elif rule.form == "tiered":
        millionths = _tiered(rule.tiers, volume, sold)
    else:
        millionths = sold * rule.rate_ppm
    fee = millionths * (scale // MILLION)
    # Kept, or nothing given back, or nothing to measure by what was given back.
    if rule.on_refund == "kept" or left == sold or sold == 0:
        return fee
    return fee * left // sold


def _tiered(tiers: Sequence[tuple[int, int]], volume: int, sold: int) -> int:
    """In millionths: what falls between two thresholds goes by the rate of the lower one."""
    fee = 0
    for position, (begins, ppm) in enumerate(tiers):
        ends = tiers[position + 1][0] if position + 1 < len(tiers) else volume + sold
        fee += max(0, min(volume + sold, ends) - max(volume, begins)) * ppm
    return fee


def _rounded(parts: Sequence[int], scale: int, whole: int) -> list[int]:
    """Whole units of parts in `scale`ths that sum to `whole`: the largest remainders get what is missing."""
    floors = [part // scale for part in parts]
    missing = whole - sum(floors)
    if missing:
        ranked = sorted(range(len(parts)), key=lambda at: (floors[at] * scale - parts[at], at))
        for at in ranked[:missing]:
            floors[at] += 1
    return floors
