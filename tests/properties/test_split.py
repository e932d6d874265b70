"""Any order, whatever became of it: every share is summed, no unit unexplained, and each fact is booked once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.commissions.facts import Booked, Bucket, Chargeback, Known, Line, Refund, Sale, Step, steps
from core.commissions.rules import Amount, Base, Rule, Shares, Terms, shares
from tests.factories import NOW

amounts = st.integers(0, 50_000)
rates = st.integers(0, 400_000)


@st.composite
def rules(draw: st.DrawFn, kind: Any, number: int) -> Rule | None:
    form = draw(st.sampled_from(["none", "percentage", "percentage", "fixed", "tiered"]))
    if form == "none":
        return None
    thresholds = sorted(draw(st.sets(st.integers(1, 100_000), max_size=3)))
    return Rule(
        number,
        kind,
        "item",
        form,
        rate_ppm=draw(rates),
        fixed_minor=draw(st.integers(0, 300)),
        currency="GBP",
        tiers=tuple((begins, draw(rates)) for begins in (0, *thresholds)),
        borne_by="seller" if kind == "platform_fee" else draw(st.sampled_from(["seller", "platform"])),
        on_refund=draw(st.sampled_from(["returned", "kept"])),
        tax_basis=draw(st.sampled_from(["net", "gross"])),
    )


@st.composite
def all_terms(draw: st.DrawFn) -> Terms:
    kinds = ("platform_fee", "creator_commission", "referrer_fee", "channel_fee")
    found = [draw(rules(kind, number)) for number, kind in enumerate(kinds, start=1)]
    has_seller = draw(st.booleans())
    return Terms(
        has_seller, found[0] if has_seller else None, *found[1:], draw(st.sampled_from(["authority", "seller"]))
    )


@st.composite
def sold_amounts(draw: st.DrawFn) -> Amount:
    net, tax = draw(amounts), draw(st.integers(0, 5_000))
    return Amount(net, tax, draw(st.integers(0, net)), draw(st.integers(0, tax)), draw(st.integers(1, 9)))


volumes = st.tuples(amounts, amounts, amounts, amounts)


@given(all_terms(), sold_amounts(), volumes)
@settings(max_examples=200)
def test_shares_sum_to_the_amount_to_the_unit(terms: Terms, amount: Amount, before: Any) -> None:
    found = shares(terms, amount, before)
    assert sum(found) == amount.net + amount.tax
    assert found.unassigned == 0
    # The opposite of an amount comes to the opposite of each share.
    opposite = Amount(-amount.sold_net, -amount.sold_tax, -amount.net, -amount.tax, amount.units)
    if amount.sold_net:
        assert shares(terms, opposite, before) == tuple(-part for part in found)


@given(all_terms(), sold_amounts(), volumes)
@settings(max_examples=200)
def test_no_share_is_a_whole_unit_from_what_it_is_exactly(terms: Terms, amount: Amount, before: Any) -> None:
    found = shares(terms, amount, before)
    exact = exact_fees(terms, amount, before)
    for share, fee in zip((found.creator, found.referrer, found.channel), exact[1:], strict=True):
        assert abs(share - fee) < 1


def exact_fees(terms: Terms, amount: Amount, before: Any) -> list[Fraction]:
    """As a person would work them out on paper."""
    found = []
    for rule, volume in zip(terms.rules, before, strict=True):
        if rule is None:
            found.append(Fraction(0))
            continue
        is_gross = rule.tax_basis == "gross"
        sold = amount.sold_net + (amount.sold_tax if is_gross else 0)
        left = amount.net + (amount.tax if is_gross else 0)
        if rule.form == "fixed":
            fee = Fraction(rule.fixed_minor * amount.units)
        elif rule.form == "percentage":
            fee = Fraction(sold * rule.rate_ppm, 1_000_000)
        else:
            fee = Fraction(0)
            for unit_begins, (begins, ppm) in zip(
                [end for end, _ in rule.tiers[1:]] + [10**12], rule.tiers, strict=True
            ):
                top, bottom = min(volume + sold, unit_begins), max(volume, begins)
                fee += Fraction(max(0, top - bottom) * ppm, 1_000_000)
        if rule.on_refund == "returned" and sold:
            fee = fee * left / sold
        found.append(fee)
    return found


@given(all_terms(), amounts, st.lists(st.integers(0, 20_000), max_size=4))
@settings(max_examples=200)
def test_refunds_give_back_in_parts_what_they_would_at_once(terms: Terms, net: int, parts: list[int]) -> None:
    left = max(0, net - sum(parts))
    assert shares(terms, Amount(net, 0, left, 0)) == shares(terms, Amount(net, 0, net - min(net, sum(parts)), 0))
    if left == 0 and all(rule is None or rule.on_refund == "returned" for rule in terms.rules) and net:
        assert shares(terms, Amount(net, 0, 0, 0)) == Shares()


# --- histories of an order --------------------------------------------------------------------------------------------

LINES = (1, 2, 3)


@st.composite
def sales(draw: st.DrawFn) -> Sale:
    lines = tuple(
        Line(number, draw(amounts), draw(st.integers(0, 5)), draw(st.none() | st.integers(0, 900)))
        for number in LINES[: draw(st.integers(1, 3))]
    )
    return Sale(
        id=1,
        currency="GBP",
        total_minor=sum(line.total_minor for line in lines) + draw(st.integers(-200, 2_000)),
        placed_at=NOW,
        version_at=NOW,
        lines=lines,
        tax_minor=draw(st.integers(0, 3_000)),
        shipping_minor=draw(st.sampled_from([0, 0, 395, 1_299])),
        taxes_included=draw(st.none() | st.booleans()),
    )


@st.composite
def changes(draw: st.DrawFn, sale: Sale, number: int) -> Sale:
    """The same order after something happened to it."""
    at = NOW + timedelta(hours=number)
    what = draw(st.sampled_from(["refund", "refund", "edit", "chargeback", "decide", "void", "void", "unvoid"]))
    if what == "refund":
        named = tuple(
            (line.id, draw(st.integers(0, line.total_minor + 100)), draw(st.none() | st.integers(0, 200)))
            for line in sale.lines
            if draw(st.booleans())
        )
        currency = draw(st.sampled_from(["GBP"] * 9 + ["EUR"]))
        refund = Refund(number, draw(amounts), currency, at, named, draw(st.sampled_from([0, 0, 395])))
        return replace(sale, refunds=(*sale.refunds, refund))
    if what == "edit":
        lines = tuple(replace(line, total_minor=draw(amounts), units=draw(st.integers(0, 5))) for line in sale.lines)
        return replace(sale, lines=lines, version_at=at, is_edited=True)
    if what == "chargeback":
        back = Chargeback(number, draw(st.integers(1, 60_000)), at)
        return replace(sale, chargebacks=(*sale.chargebacks, back))
    if what == "decide" and sale.chargebacks and sale.chargebacks[0].decided_at is None:
        first = replace(sale.chargebacks[0], is_won=draw(st.booleans()), decided_at=at)
        return replace(sale, chargebacks=(first, *sale.chargebacks[1:]))
    if what == "void":
        return replace(sale, void_at=at)
    if what == "unvoid":
        # A payment that was voided may be made after all.
        return replace(sale, void_at=None)
    return sale


def after(known: Known, found: list[Step]) -> Known:
    """What is booked once steps are, as the database sums it."""
    booked = dict(known.booked)
    sets: dict[str, set[int]] = {
        "refund": set(known.refund_ids),
        "chargeback": set(known.chargeback_ids),
        "chargeback_won": set(known.won_ids),
    }
    other, is_void = known.other_minor, known.is_void
    for step in found:
        for part in step.parts:
            old = booked.get(part.bucket, Booked())
            assert part.ordinal == old.facts + 1
            new = Shares(*(a + b for a, b in zip(old.shares, part.shares, strict=True)))
            booked[part.bucket] = Booked(old.net + part.net, old.tax + part.tax, new, old.facts + 1)
            if part.bucket == Bucket(0, "other", "GBP") and step.cause != "cancellation":
                other = part.sold
        if step.cause in sets:
            sets[step.cause].add(step.refund_id or step.chargeback_id or 0)
        is_void = is_void or step.cause == "cancellation"
    return Known(
        booked,
        frozenset(sets["refund"]),
        frozenset(sets["chargeback"]),
        frozenset(sets["chargeback_won"]),
        is_void,
        other,
    )


@given(st.data())
@settings(max_examples=150)
def test_any_history_keeps_every_step_balanced_and_every_unit_explained(data: st.DataObject) -> None:
    sale = data.draw(sales())
    of_lines: dict[int, dict[Base, Terms]] = {}
    for line in sale.lines:
        if data.draw(st.booleans(), label="mapped"):
            of_lines[line.id] = {"item": data.draw(all_terms()), "shipping": data.draw(all_terms())}
    known = Known()
    for number in range(1, data.draw(st.integers(1, 6)) + 1):
        found = steps(sale, known, of_lines, {}, NOW)
        for step in found:
            assert step.parts
            for part in step.parts:
                assert part.net + part.tax == sum(part.shares)
        known = after(known, found)
        assert steps(sale, known, of_lines, {}, NOW) == []
        assert_explained(sale, known)
        sale = data.draw(changes(sale, number))
        unmapped = [line.id for line in sale.lines if line.id not in of_lines]
        if unmapped and data.draw(st.booleans(), label="map a line"):
            of_lines[unmapped[0]] = {"item": data.draw(all_terms()), "shipping": data.draw(all_terms())}


def assert_explained(sale: Sale, known: Known) -> None:
    """What is left is what was sold less what was given back; of an order that is void nothing is."""
    left: defaultdict[str, int] = defaultdict(int)
    for bucket, one in known.booked.items():
        left[bucket.currency] += one.net + one.tax
        assert one.net + one.tax == sum(one.shares)
    if sale.void_at is not None:
        assert not any(one.net or one.tax or any(one.shares) for one in known.booked.values())
        return
    sold = known.other_minor + sum(line.total_minor for line in sale.lines) + sale.shipping_minor
    told = [line.tax_minor for line in sale.lines if line.tax_minor is not None]
    tax = sale.tax_minor or sum(told)
    given = sum(refund.amount_minor for refund in sale.refunds if refund.currency == "GBP")
    given += sum(back.amount_minor for back in sale.chargebacks if not back.is_won)
    # Whether taxes lie in the prices is told, or judged by the total: one of both explains every unit. Taxes that
    # nothing could bear are of the order as a whole already.
    can_bear = sale.shipping_minor or any(line.total_minor for line in sale.lines if line.tax_minor is None)
    unborne = 0 if can_bear else tax - sum(told)
    assert left["GBP"] + given in {sold, sold + tax - unborne}
    assert left["EUR"] == -sum(refund.amount_minor for refund in sale.refunds if refund.currency == "EUR")


@given(st.data())
@settings(max_examples=100)
def test_told_at_once_or_one_by_one_it_comes_to_the_same(data: st.DataObject) -> None:
    sale = replace(data.draw(sales()), taxes_included=data.draw(st.booleans()))
    of_lines: dict[int, dict[Base, Terms]] = {
        line.id: {"item": data.draw(all_terms()), "shipping": data.draw(all_terms())} for line in sale.lines
    }
    known = after(Known(), steps(sale, Known(), of_lines, {}, NOW))
    final = sale
    for number in range(1, 5):
        final = data.draw(changes(final, number).filter(lambda one: not one.is_edited))
        known = after(known, steps(final, known, of_lines, {}, NOW))
    at_once = after(Known(), steps(final, Known(), of_lines, {}, NOW))
    assert money_of(known) == money_of(at_once)


def money_of(known: Known) -> dict[Bucket, tuple[int, int, Shares]]:
    return {
        bucket: (one.net, one.tax, one.shares)
        for bucket, one in known.booked.items()
        if one.net or one.tax or any(one.shares)
    }
