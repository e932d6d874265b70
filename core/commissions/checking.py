"""Pure: what is at odds among rules and assignments, and what they leave out.

Nothing here stops anybody: which rule wins is always decided. It is said because it may not be what was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar

from core.commissions.directory import Directory
from core.commissions.rules import (
    BASES,
    KINDS,
    MILLION,
    SELLER_KINDS,
    Assignment,
    Base,
    Context,
    Kind,
    Parties,
    Role,
    Rule,
    RuleBook,
)
from core.commissions.sentences import BASE_TYPED, KIND_TYPED, say_assignment, say_moment, say_percent, say_rule

Level = Literal["conflict", "gap", "note"]
One = TypeVar("One", Rule, Assignment)

OTHER = -1
"""Stands for any channel, SKU or party that no rule names."""
FOUND_MAX = 20
"""Of each kind of finding with one line a combination: more of them say the same."""
TRIED_MAX = 50_000
"""Combinations of rules that are tried for a kind of finding: fees that nearly sum to the whole are rare."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should look at. `step`: the one next thing to do.

    `typed`: the rule that is missing, as the editor would be opened with it; empty where none is.
    """

    level: Level
    about: str
    what: str
    step: str
    rules: tuple[int, ...] = ()
    assignments: tuple[int, ...] = ()
    parties: tuple[int, ...] = ()
    typed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """Rules and assignments that live (or would), with what they are to be held against.

    Of the last 90 days: `sold_in` the currencies, None where it is not known; `skus_without_seller` how many SKUs were
    sold that no seller is assigned to.
    """

    rules: Sequence[Rule]
    assignments: Sequence[Assignment]
    names: Directory
    now: datetime
    sold_in: frozenset[str] | None = None
    skus_without_seller: int = 0


def check(standing: Standing) -> list[Finding]:
    """All that is at odds or left out: conflicts first, then gaps, then what is only worth knowing."""
    one = _Checked(standing)
    found = [
        *one.same_scope_rules(),
        *one.same_scope_assignments(),
        *one.whole_given_away(),
        *one.platform_pays_more(),
        *one.sellers_without_fee(),
        *one.unpaid(),
        *one.unsold_currencies(),
        *one.of_ended_parties(),
        *one.own_sales(),
    ]
    order = {"conflict": 0, "gap": 1, "note": 2}
    return sorted(found, key=lambda finding: order[finding.level])


def made_by(before: Iterable[Finding], after: Iterable[Finding]) -> list[Finding]:
    """What a draft adds to what was there already."""
    known = {finding.what for finding in before}
    return [finding for finding in after if finding.what not in known]


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where some rules apply together; None: anywhere."""

    seller: int | None = None
    payees: tuple[int | None, int | None] = (None, None)
    """(creator, referrer)"""
    connection: int | None = None
    category: str | None = None
    sku: int | None = None
    currency: str | None = None
    begins: datetime | None = None
    ends: datetime | None = None


class _Checked:
    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self.names = standing.names
        self.now = standing.now
        self.rules = [rule for rule in standing.rules if _is_ahead(rule, self.now)]
        self.assignments = [one for one in standing.assignments if _is_ahead(one, self.now)]
        self.by_id = {rule.id: rule for rule in self.rules}
        self.book = RuleBook(self.rules)
        self.edges = sorted({at for rule in self.rules for at in (rule.valid_from, rule.valid_to) if at is not None})

    # --- conflicts ----------------------------------------------------------------------------------------------------

    def same_scope_rules(self) -> Iterator[Finding]:
        """Two rules for the same: the later to begin wins, of two that begin together the newer."""
        groups: dict[object, list[Rule]] = {}
        for rule in self.rules:
            # A rule for one currency is no more specific than one for all.
            groups.setdefault(rule.scope[:-1], []).append(rule)
        for rules in groups.values():
            for loser, winner in _overtaken(rules, lambda a, b: a.currency in (None, b.currency) or b.currency is None):
                yield self._overlap(
                    "rules",
                    say_rule(winner, self.names),
                    say_rule(loser, self.names),
                    winner,
                    loser,
                    rules=(winner.id, loser.id),
                )

    def same_scope_assignments(self) -> Iterator[Finding]:
        """Two parties for the same lines in the same role."""
        groups: dict[object, list[Assignment]] = {}
        for one in self.assignments:
            scope = (one.role, one.connection_id, one.category, one.sku_id, one.customer_ref, one.order_code)
            groups.setdefault(scope, []).append(one)
        for ones in groups.values():
            if len(ones) < 2:
                continue
            for loser, winner in _overtaken(ones, lambda a, b: a.party_id != b.party_id):
                yield self._overlap(
                    "assignments",
                    say_assignment(winner, self.names),
                    say_assignment(loser, self.names),
                    winner,
                    loser,
                    assignments=(winner.id, loser.id),
                )

    def _overlap(
        self,
        things: str,
        winner_says: str,
        loser_says: str,
        winner: Rule | Assignment,
        loser: Rule | Assignment,
        rules: tuple[int, ...] = (),
        assignments: tuple[int, ...] = (),
    ) -> Finding:
        if winner.valid_from == loser.valid_from:
            why = "they begin to hold together, and of such the newer wins"
            level: Level = "conflict"
            step = f"End the one that is not meant: “{loser_says}”"
        else:
            # As one changes a fee from a day on: nothing is wrong, and everybody should know from when.
            begins = say_moment(winner.valid_from, self.names.zone) if winner.valid_from else ""
            why = f"it begins to hold last, on {begins}; until then, and should it end, the other one applies"
            level = "note"
            step = "Nothing, if that is how it is meant"
        what = f"“{winner_says}” wins over “{loser_says}”: {why}."
        return Finding(level, f"Two {things} of the same scope", what, step, rules, assignments)

    def whole_given_away(self) -> Iterator[Finding]:
        """Fees that come to all of an amount or more: nothing is left for whoever sells."""
        for base in BASES:
            for has_seller in (True, False):
                seen: list[frozenset[int]] = []
                for rules, total in self._sums(base, has_seller):
                    ids = frozenset(rule.id for rule in rules)
                    if any(known <= ids for known in seen):
                        continue
                    seen.append(ids)
                    whose = "the seller" if has_seller else "the platform, which sells it itself,"
                    yield Finding(
                        "conflict",
                        "Fees of 100 % or more",
                        f"Together {say_percent(total)} of {BASE_TYPED[base]}, so that {whose} keeps nothing: "
                        + "; ".join(f"“{say_rule(rule, self.names)}”" for rule in rules)
                        + ".",
                        "Lower one of them",
                        rules=tuple(sorted(ids)),
                    )
                    if len(seen) >= FOUND_MAX:
                        break

    def _sums(self, base: Base, has_seller: bool) -> Iterator[tuple[list[Rule], int]]:
        """Combinations of rules that apply together and come to the whole, for one who bears them all."""
        kinds = [
            sorted(
                (
                    rule
                    for rule in self.rules
                    if (rule.kind, rule.base) == (kind, base)
                    and _rate(rule)
                    and (rule.borne_by == "seller" if has_seller else kind != "platform_fee" and not rule.seller_id)
                ),
                key=lambda rule: -_rate(rule),
            )
            for kind in KINDS
        ]
        tops = [max((_rate(rule) for rule in rules), default=0) for rules in kinds]
        tried = [0]

        def combine(at: int, chosen: list[Rule], scope: _Scope, total: int) -> Iterator[tuple[list[Rule], int]]:
            tried[0] += 1
            if total + sum(tops[at:]) < MILLION or tried[0] > TRIED_MAX:
                return
            if at == len(kinds):
                if self._apply_together(base, chosen, scope, has_seller):
                    yield chosen, total
                return
            for rule in kinds[at]:
                met = _meet(scope, rule, self.names)
                if met is not None:
                    yield from combine(at + 1, [*chosen, rule], met, total + _rate(rule))
            yield from combine(at + 1, chosen, scope, total)

        yield from combine(0, [], _Scope(), 0)

    def platform_pays_more(self) -> Iterator[Finding]:
        """What the platform pays out of its own fee is more than that fee."""
        for rule in self.rules:
            if rule.kind == "platform_fee" or rule.borne_by != "platform" or not _rate(rule):
                continue
            worst = min(
                (
                    fee
                    for fee in self.rules
                    if fee.kind == "platform_fee"
                    and fee.base == rule.base
                    and fee.form != "fixed"
                    and _rate(fee, least=True) < _rate(rule)
                    and (met := _meet(_meet(_Scope(), rule, self.names), fee, self.names)) is not None
                    and self._apply_together(rule.base, [rule, fee], met, has_seller=True)
                ),
                key=lambda fee: _rate(fee, least=True),
                default=None,
            )
            if worst is not None:
                yield Finding(
                    "conflict",
                    "The platform pays more than it earns",
                    f"“{say_rule(rule, self.names)}” is more than “{say_rule(worst, self.names)}” brings in.",
                    "Let the seller bear it, or lower it",
                    rules=(rule.id, worst.id),
                )

    def _apply_together(self, base: Base, rules: Sequence[Rule], scope: _Scope, has_seller: bool) -> bool:
        """Whether there are a line and a moment for which exactly these rules win, and no more specific one."""
        payees = [
            payee if payee is not None else OTHER if any(rule.kind == kind for rule in rules) else None
            for payee, kind in zip(scope.payees, ("creator_commission", "referrer_fee"), strict=True)
        ]
        seller = (scope.seller if scope.seller is not None else OTHER) if has_seller else None
        category = scope.category
        if scope.sku is not None and scope.sku in self.names.skus:
            category = self.names.skus[scope.sku][1]
        parties = Parties(seller, payees[0], payees[1])
        for at in self._moments(scope):
            context = Context(
                OTHER if scope.connection is None else scope.connection,
                OTHER if scope.sku is None else scope.sku,
                category,
                None,
                frozenset(),
                at,
                scope.currency or self.names.currency,
            )
            found = set(self.book.rules_for(base, context, parties))
            if all(rule.id in found for rule in rules):
                return True
        return False

    def _moments(self, scope: _Scope) -> Iterator[datetime]:
        begins = max(self.now, scope.begins) if scope.begins is not None else self.now
        yield begins
        for at in self.edges:
            if at > begins and (scope.ends is None or at < scope.ends):
                yield at

    # --- gaps ---------------------------------------------------------------------------------------------------------

    def sellers_without_fee(self) -> Iterator[Finding]:
        """Sellers whose lines, or some of them, bring the platform nothing."""
        sellers = sorted({one.party_id for one in self.assignments if one.role == "seller"})
        sellers = [number for number in sellers if self._is_living(number, SELLER_KINDS)]
        for base in BASES:
            fees = [rule for rule in self.rules if (rule.kind, rule.base) == ("platform_fee", base)]
            without = [number for number in sellers if not any(rule.seller_id in (None, number) for rule in fees)]
            partly = [
                number
                for number in sellers
                if number not in without
                and not any(rule.seller_id in (None, number) and _is_for_all(rule) for rule in fees)
            ]
            typed = {"kind": "platform fee", "base": BASE_TYPED[base]}
            for numbers, how in ((without, ""), (partly, " for some of what they sell")):
                if numbers:
                    one = len(numbers) == 1
                    yield Finding(
                        "gap",
                        f"No platform fee of {BASE_TYPED[base]}",
                        f"{self._some(numbers)} {'pays' if one else 'pay'} no fee of {BASE_TYPED[base]}{how}.",
                        "Set a platform fee, of 0 % if that is meant",
                        parties=tuple(numbers),
                        typed={**typed, **({"seller": self.names.parties[numbers[0]].code} if one else {})},
                    )

    def unpaid(self) -> Iterator[Finding]:
        """Creators and referrers who stand behind lines, and no rule pays them."""
        pays: Mapping[Role, Kind] = {"creator": "creator_commission", "referrer": "referrer_fee"}
        for role, kind in pays.items():
            assigned = sorted({one.party_id for one in self.assignments if one.role == role})
            rules = [rule for rule in self.rules if rule.kind == kind]
            numbers = [
                number
                for number in assigned
                if self._is_living(number) and not any(rule.payee_id in (None, number) for rule in rules)
            ]
            if numbers:
                typed = {"kind": KIND_TYPED[kind]}
                yield Finding(
                    "gap",
                    f"No rule pays {'it' if len(numbers) == 1 else 'them'}",
                    f"{self._some(numbers)} {'is' if len(numbers) == 1 else 'are'} assigned as {role}"
                    f"{'' if len(numbers) == 1 else 's'}, and no rule pays a {KIND_TYPED[kind]}.",
                    f"Set a {KIND_TYPED[kind]}",
                    parties=tuple(numbers),
                    typed={**typed, **({"payee": self.names.parties[numbers[0]].code} if len(numbers) == 1 else {})},
                )

    def unsold_currencies(self) -> Iterator[Finding]:
        """Rules of a currency in which nothing is sold: they never apply."""
        if self.standing.sold_in is None:
            return
        for rule in self.rules:
            if rule.currency is not None and rule.currency not in self.standing.sold_in:
                yield Finding(
                    "gap",
                    f"Nothing is sold in {rule.currency}",
                    f"“{say_rule(rule, self.names)}” never applied: nothing was sold in {rule.currency} in 90 days.",
                    "End it, or set it in another currency",
                    rules=(rule.id,),
                )

    def of_ended_parties(self) -> Iterator[Finding]:
        """Rules for parties that take part in nothing any more."""
        for rule in self.rules:
            for number in (rule.seller_id, rule.payee_id):
                if number is not None and not self._is_living(number):
                    yield Finding(
                        "note",
                        "A rule for somebody who has ended",
                        f"“{say_rule(rule, self.names)}” applies to no order placed since.",
                        "End it",
                        rules=(rule.id,),
                        parties=(number,),
                    )

    def own_sales(self) -> Iterator[Finding]:
        """SKUs without a seller: a count, since most companies sell some themselves."""
        if count := self.standing.skus_without_seller:
            many = "1 SKU that was" if count == 1 else f"{count:,} SKUs that were"
            yield Finding(
                "note",
                "Sold by the platform itself",
                f"{many} sold in the last 90 days {'has' if count == 1 else 'have'} no seller: "
                "the platform sells them itself, and pays no fee to itself.",
                "Assign a seller, if somebody else sells them",
            )

    def _is_living(self, number: int, kinds: Sequence[str] = ()) -> bool:
        party = self.names.parties.get(number)
        return party is not None and (party.ended_at is None or party.ended_at > self.now) and (
            not kinds or party.kind in kinds
        )  # fmt: skip

    def _some(self, numbers: Sequence[int]) -> str:
        """Oak & Ash, Lumen and 3 more."""
        said = [self.names.parties[number].name for number in numbers]
        if len(said) > 4:
            said = [*said[:3], f"{len(said) - 3} more"]
        return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def _is_ahead(one: Rule | Assignment, now: datetime) -> bool:
    """Whether it holds now or later: what is over is history."""
    return one.valid_to is None or one.valid_to > now


def _overlap(a: Rule | Assignment, b: Rule | Assignment) -> bool:
    return (a.valid_to is None or b.valid_from is None or b.valid_from < a.valid_to) and (
        b.valid_to is None or a.valid_from is None or a.valid_from < b.valid_to
    )


def _overtaken(ones: Sequence[One], is_one: Callable[[One, One], bool]) -> Iterator[tuple[One, One]]:
    """(loser, winner) of those that hold at the same time, each loser with the first that beats it."""
    ranked = sorted(
        ones,
        key=lambda one: (one.valid_from.timestamp() if one.valid_from else float("-inf"), one.id),
        reverse=True,
    )
    for at, loser in enumerate(ranked):
        winner = next((one for one in ranked[:at] if _overlap(one, loser) and is_one(one, loser)), None)
        if winner is not None:
            yield loser, winner


def _rate(rule: Rule, least: bool = False) -> int:
    """In millionths; of a tiered rule the highest there is, or the least. A fixed fee has none: prices vary."""
    if rule.form == "tiered":
        return (min if least else max)(ppm for _, ppm in rule.tiers)
    return rule.rate_ppm if rule.form == "percentage" else 0


def _is_for_all(rule: Rule) -> bool:
    """Whether it is for all that its seller sells, always."""
    return (rule.connection_id, rule.category, rule.sku_id, rule.currency, rule.valid_to) == (None,) * 5


def _meet(scope: _Scope | None, rule: Rule, names: Directory) -> _Scope | None:
    """Where a rule applies too; None where it never does."""
    if scope is None:
        return None
    creator, referrer = scope.payees
    if rule.kind == "creator_commission":
        creator = rule.payee_id
    elif rule.kind == "referrer_fee":
        referrer = rule.payee_id
    pairs = (
        (scope.seller, rule.seller_id),
        (scope.connection, rule.connection_id),
        (scope.category, rule.category),
        (scope.sku, rule.sku_id),
        (scope.currency, rule.currency),
    )
    if any(one is not None and other is not None and one != other for one, other in pairs):
        return None
    sku, category = scope.sku or rule.sku_id, scope.category or rule.category
    if sku is not None and category is not None and names.skus.get(sku, ("", None))[1] != category:
        return None
    begins = max((at for at in (scope.begins, rule.valid_from) if at is not None), default=None)
    ends = min((at for at in (scope.ends, rule.valid_to) if at is not None), default=None)
    if begins is not None and ends is not None and begins >= ends:
        return None
    return _Scope(
        scope.seller or rule.seller_id,
        (creator, referrer),
        scope.connection or rule.connection_id,
        category,
        sku,
        scope.currency or rule.currency,
        begins,
        ends,
    )
