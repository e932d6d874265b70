"""What holds of the pure rules for all numbers, and that their SQL twins say the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, astuple, replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from core.db import execute, fetch_one, scalar
from core.inventory import operations as inventory
from core.inventory import rules
from core.inventory.rules import (
    LineFacts,
    LineStock,
    ListingRule,
    ListingState,
    bundle_available,
    differs,
    line_stock,
    offer,
    offer_terms,
    plan_write,
)
from core.money import line_total_minor
from core.orders.rules import Shown, follow
from core.ports import Restock
from tests.factories import NOW, listing_of, make_sku, make_world, world_of
from tests.goods import Back, Goods

UNITS = st.integers(0, 6)


@st.composite
def line_facts(draw: st.DrawFn) -> LineFacts:
    facts = LineFacts(
        ordered=draw(UNITS),
        shipped=draw(UNITS),
        refunded_cancel=draw(UNITS),
        refunded_return=draw(UNITS),
        refunded_legacy=draw(UNITS),
        refunded_no_restock=draw(UNITS),
        is_cancelled=draw(st.booleans()),
        is_before_baseline=draw(st.booleans()),
    )
    return replace(facts, restocked_before_baseline=draw(st.integers(0, restocked(facts))))


@st.composite
def desk_facts(draw: st.DrawFn) -> LineFacts:
    """The same, of a line some of which came back over the desk."""
    units = draw(UNITS)
    kept = draw(st.integers(0, units))
    return replace(
        draw(line_facts()),
        desk_units=units,
        desk_quarantined=draw(st.integers(0, kept)),
        desk_written_off=units - kept,
        desk_recalled=draw(st.integers(0, units)),
    )


def told_of(facts: LineFacts) -> int:
    """Restocked, if everything the channel says were true."""
    return facts.refunded_cancel + facts.refunded_return + facts.refunded_legacy


def restocked(facts: LineFacts) -> int:
    """No more is restocked of a line than it had."""
    return min(told_of(facts), max(facts.ordered, facts.shipped))


@given(desk_facts())
def test_nothing_a_line_did_is_ever_negative_and_no_more_is_held_than_was_ordered(facts: LineFacts) -> None:
    stock = line_stock(facts)
    assert min(astuple(stock)) >= 0
    assert stock.held + stock.written_off <= facts.ordered + facts.desk_written_off
    assert stock.consumed == facts.shipped
    assert stock.returned <= max(facts.ordered, facts.shipped)
    assert stock.quarantined == facts.desk_quarantined


@given(desk_facts())
def test_what_came_back_over_the_desk_is_not_restocked_again_by_a_refund_of_it(facts: LineFacts) -> None:
    """A refund that restocks units which the desk took back, and decided on, changes nothing any more."""
    facts = replace(facts, shipped=facts.ordered, is_cancelled=False, refunded_cancel=0, refunded_legacy=0)
    assume(facts.desk_units <= facts.shipped)
    facts = replace(facts, desk_recalled=0, refunded_return=0)
    for refunded in range(facts.desk_units + 1):
        assert line_stock(replace(facts, refunded_return=refunded)) == line_stock(facts)


@given(desk_facts())
def test_one_more_unit_that_the_desk_writes_off_never_leaves_more(facts: LineFacts) -> None:
    more = replace(facts, desk_units=facts.desk_units + 1, desk_written_off=facts.desk_written_off + 1)
    assert line_stock(more).available_effect <= line_stock(facts).available_effect


@given(line_facts())
def test_a_line_takes_what_left_or_is_promised_and_gives_what_was_restocked(facts: LineFacts) -> None:
    """Conservation: every ordered or shipped unit is gone once, every restocked one is back once."""
    stock = line_stock(facts)
    opening = max(0, facts.ordered - facts.restocked_before_baseline) if facts.is_before_baseline else 0
    expected = opening + restocked(facts) - max(facts.ordered, facts.shipped)
    if facts.is_cancelled:
        expected += line_stock(replace(facts, is_cancelled=False)).held
    assert stock.available_effect == expected


@given(line_facts(), st.sampled_from(["refunded_cancel", "refunded_return", "refunded_legacy"]))
def test_one_more_unit_restocked_never_leaves_less(facts: LineFacts, kind: str) -> None:
    facts = replace(facts, is_cancelled=False)
    more = replace(facts, **{kind: getattr(facts, kind) + 1})
    gained = line_stock(more).available_effect - line_stock(facts).available_effect
    assert gained == restocked(more) - restocked(facts)
    assert gained == (1 if told_of(facts) < max(facts.ordered, facts.shipped) else 0)


@given(line_facts())
def test_one_more_unit_ordered_or_shipped_never_leaves_more(facts: LineFacts) -> None:
    facts = replace(facts, is_before_baseline=False)
    # A refund of more than the line had is believed as far as the line goes, so a longer line makes more of it true.
    assume(told_of(facts) <= max(facts.ordered, facts.shipped))
    before = line_stock(facts).available_effect
    assert line_stock(replace(facts, ordered=facts.ordered + 1)).available_effect <= before
    assert line_stock(replace(facts, shipped=facts.shipped + 1)).available_effect <= before


@given(line_facts())
def test_shipping_what_was_held_changes_nothing_available(facts: LineFacts) -> None:
    facts = replace(facts, is_cancelled=False, shipped=min(facts.shipped, facts.ordered))
    all_shipped = replace(facts, shipped=facts.ordered)
    assert line_stock(all_shipped).available_effect == line_stock(facts).available_effect


@given(line_facts())
def test_a_cancellation_never_leaves_less(facts: LineFacts) -> None:
    kept, cancelled = (line_stock(replace(facts, is_cancelled=is_so)) for is_so in (False, True))
    assert cancelled.available_effect == kept.available_effect + kept.held


@given(line_facts())
def test_a_refund_without_restock_brings_nothing_back(facts: LineFacts) -> None:
    more = replace(facts, refunded_no_restock=facts.refunded_no_restock + 1)
    assert line_stock(more).available_effect <= line_stock(facts).available_effect


@given(line_facts())
def test_what_happened_wholly_before_the_baseline_changes_nothing(facts: LineFacts) -> None:
    """Sold, shipped and restocked before: it is all in the number that was taken over."""
    ordered = max(facts.ordered, facts.shipped, restocked(facts))
    facts = replace(
        facts,
        ordered=ordered,
        is_before_baseline=True,
        is_cancelled=False,
        restocked_before_baseline=restocked(facts),
    )
    assert line_stock(facts).available_effect == 0


# A line's history: (what, units, which of those before it, what becomes of it).
STEPS = st.tuples(
    st.sampled_from(["order", "send", "recall", "send_after_all", "take_back", "undo", "refund", "refund", "cancel"]),
    st.integers(1, 2),
    st.integers(0, 5),
    st.sampled_from(["restock", "quarantine", "write_off"]),
    st.sampled_from(["cancel", "return", "legacy_restock", "no_restock"]),
)


def recalled(goods: Goods) -> int:
    """How many at the desk are of no parcel that counts as left: for each, what left by then can account for it."""
    excess = [
        number - sum(parcel.units for parcel in back.parcels if parcel.is_shipped)
        for number, back in enumerate(goods.backs, start=1)
    ]
    return max([0, *excess])


def facts_of(goods: Goods) -> LineFacts:
    """What is known of a line, summed."""
    refunded = Counter(goods.claims)
    dispositions = Counter(back.disposition for back in goods.backs)
    return LineFacts(
        goods.ordered,
        goods.shipped,
        refunded["cancel"],
        refunded["return"],
        refunded["legacy_restock"],
        refunded["no_restock"],
        goods.is_cancelled,
        desk_units=len(goods.backs),
        desk_quarantined=dispositions["quarantine"],
        desk_written_off=dispositions["write_off"],
        desk_recalled=recalled(goods),
    )


@settings(max_examples=1500)
@given(st.integers(1, 3), st.lists(STEPS, max_size=14))
def test_what_is_on_hand_is_what_is_there_unit_by_unit(
    ordered: int, steps: list[tuple[str, int, int, str, Restock]]
) -> None:
    """Sent, taken back at the desk, taken back by the channel, sent again: no unit is there twice or nowhere."""
    goods, taken = Goods(ordered), list[list[Back]]()
    for what, count, which, disposition, restock in steps:
        if what == "order":
            goods.ordered += count
        elif what == "send":
            goods.send(count)
        elif what in ("recall", "send_after_all") and goods.parcels:
            goods.parcels[which % len(goods.parcels)].is_shipped = what == "send_after_all"
        elif what == "take_back" and goods.returnable:
            taken.append(goods.take_back(min(count, goods.returnable), disposition))
        elif what == "undo" and taken:
            goods.undo(taken.pop(which % len(taken)))
        elif what == "refund":
            goods.claims += [restock] * count
        elif what == "cancel":
            goods.is_cancelled = True
        stock, standing = line_stock(facts_of(goods)), goods.standing()
        assert stock.returned - stock.consumed - stock.written_off == standing.on_hand
        assert (stock.quarantined, stock.held) == (standing.apart, standing.held)
        assert stock.available_effect == standing.available
        assert 0 <= stock.returned <= max(goods.ordered, stock.consumed)
        assert 0 <= len(goods.backs) - recalled(goods) <= stock.consumed
        assert goods.returnable == stock.consumed - len(goods.backs) + recalled(goods)


LISTING_RULES = st.builds(
    ListingRule,
    safety_stock_units=st.integers(0, 50),
    share_percent=st.decimals(0, 100, places=2),
    buffer_units=st.integers(0, 20),
    floor_units=st.integers(0, 20),
    cap_units=st.none() | st.integers(20, 100),
    is_offered=st.booleans(),
)


@given(st.integers(-30, 300), LISTING_RULES)
def test_what_is_offered_is_never_negative_nor_more_than_the_pool_nor_above_the_cap(
    available: int, rule: ListingRule
) -> None:
    shown = offer(available, rule)
    assert 0 <= shown <= max(0, available - rule.safety_stock_units)
    assert rule.cap_units is None or shown <= rule.cap_units
    assert offer(available) == max(0, available)


@given(st.integers(-30, 300), LISTING_RULES)
def test_one_more_in_the_pool_never_offers_less(available: int, rule: ListingRule) -> None:
    assert 0 <= offer(available + 1, rule) - offer(available, rule) <= 1


@given(st.integers(-30, 300), LISTING_RULES)
def test_the_terms_of_an_offer_add_up_to_it(available: int, rule: ListingRule) -> None:
    terms = offer_terms(available, rule)
    assert available + sum(change for _, change in terms) == offer(available, rule)
    assert all(change for _, change in terms)
    assert all(change < 0 for name, change in terms if name not in ("none_left", "floor"))


PARTS = st.lists(st.tuples(st.integers(-20, 50), st.integers(1, 5)), min_size=1, max_size=4)


@given(PARTS)
def test_a_bundle_never_shows_more_than_its_scarcest_part_allows(parts: list[tuple[int, int]]) -> None:
    bundles = bundle_available(parts)
    assert all(bundles * units <= available for available, units in parts)
    assert any((bundles + 1) * units > available for available, units in parts)


NUMBERS = st.integers(-5, 5)


@given(NUMBERS, NUMBERS | st.none(), NUMBERS, st.sampled_from(["A", "B"]))
def test_a_write_brings_a_listing_to_its_target_and_then_there_is_none_left(
    available: int, published: int | None, unseen: int, guarantee_class: str
) -> None:
    state = ListingState(1, guarantee_class, offer(available), published, unseen, rules.short(available))
    write = plan_write(state)
    if write is None:
        is_blind = guarantee_class == "A" and published is None
        assert is_blind or not differs(state.target, published)
        return
    assert (write.to_units, write.to_units >= 0) == (state.target_units, True)
    assert write.from_units == (published if guarantee_class == "A" else None)
    assert plan_write(replace(state, published_units=write.to_units)) is None


@given(st.integers(0, 9), st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=6))
def test_sales_told_before_or_after_they_were_seen_end_with_nothing_unexplained(
    start: int, sales: list[tuple[int, bool]]
) -> None:
    """Sales seen in the level are explained by their orders; the others are followed. Either way nothing is left."""
    seen = [units for units, is_seen in sales if is_seen]
    level_at = NOW + timedelta(minutes=10)
    shown = Shown(start - sum(seen), level_at, -sum(seen))
    for minute, (units, is_seen) in enumerate(sales):
        at = NOW + timedelta(minutes=minute if is_seen else 20 + minute)
        shown = follow(shown, -units, at)
    assert shown == Shown(start - sum(units for units, _ in sales), level_at, 0)


@given(st.lists(st.tuples(st.integers(0, 10**4), st.decimals(0, 999, places=3)), max_size=12))
def test_rounding_each_line_once_misses_the_exact_sum_by_at_most_half_a_penny_a_line(
    lines: list[tuple[int, Decimal]],
) -> None:
    rounded = sum(line_total_minor(units, price, "GBP") for units, price in lines)
    exact = sum((price * units * 100 for units, price in lines), Decimal(0))
    assert abs(rounded - exact) <= Decimal("0.5") * len(lines)


@given(st.integers(-(10**4), 10**4), st.decimals(-999, 999, places=4), st.sampled_from(["GBP", "JPY", "KWD"]))
def test_giving_a_whole_line_back_is_exactly_its_negative(units: int, price: Decimal, currency: str) -> None:
    assert line_total_minor(-units, price, currency) == -line_total_minor(units, price, currency)


# --- the same in SQL ---------------------------------------------------------------------------------------------

LEVELS = st.tuples(st.integers(-9, 9), st.integers(0, 9), st.integers(0, 9))


@settings(max_examples=60)
@given(levels=st.lists(LEVELS | st.none(), min_size=1, max_size=5))
def test_listings_want_what_the_rule_says_for_any_level(
    module_engine: Engine, levels: list[tuple[int, int, int] | None]
) -> None:
    """`None`: a SKU without a level at its listing's location."""
    codes = [f"C{number}" for number in range(len(levels))]
    with module_engine.connect() as conn, conn.begin() as transaction:
        world = make_world(conn, dict.fromkeys([*codes, "OTHER"], 0))
        for code, level in zip(codes, levels, strict=True):
            at = "where shop_id = %(shop)s and sku_id = %(sku)s"
            if level is None:
                execute(conn, f"delete from stock_levels {at}", shop=world.shop_id, sku=world.skus[code])
            else:
                names = ("on_hand", "reserved", "unavailable")
                changes = ", ".join(f"{name} = %({name})s" for name in names)
                values = dict(zip(names, level, strict=True))
                execute(
                    conn, f"update stock_levels set {changes} {at}", shop=world.shop_id, sku=world.skus[code], **values
                )
        inventory.refresh_desired(conn, world.shop_id, [world.skus[code] for code in codes])
        for code, level in zip(codes, levels, strict=True):
            available = 0 if level is None else level[0] - level[1] - level[2]
            listing = listing_of(conn, world, code)
            assert listing["desired_units"] == offer(available)
            assert listing["short_units"] == rules.short(available)
        transaction.rollback()


@settings(max_examples=400)
@given(facts=desk_facts(), is_cancelled_before=st.booleans(), ordered_before=st.none() | UNITS)
def test_the_sql_that_settles_a_line_is_the_rule(
    module_engine: Engine, facts: LineFacts, is_cancelled_before: bool, ordered_before: int | None
) -> None:
    facts = replace(facts, is_cancelled_before_baseline=is_cancelled_before, ordered_before_baseline=ordered_before)
    with module_engine.connect() as conn:
        row = fetch_one(
            conn,
            """
            select * from line_stock(%(ordered)s, %(shipped)s, %(refunded_cancel)s, %(refunded_return)s,
                %(refunded_legacy)s, %(refunded_no_restock)s, %(is_cancelled)s, %(is_before_baseline)s,
                %(is_cancelled_before_baseline)s, %(restocked_before_baseline)s, %(desk_units)s,
                %(desk_quarantined)s, %(desk_written_off)s, %(desk_recalled)s,
                coalesce(%(ordered_before_baseline)s::int8, %(ordered)s))
            """,
            **asdict(facts),
        )
    assert row is not None
    assert LineStock(**row) == line_stock(facts)


@settings(max_examples=400)
@given(available=st.integers(-30, 300), rule=LISTING_RULES)
def test_the_sql_that_offers_a_share_is_the_rule(module_engine: Engine, available: int, rule: ListingRule) -> None:
    with module_engine.connect() as conn:
        shown = scalar(
            conn,
            """
            select offer(%(available)s, %(safety_stock_units)s, %(share_percent)s, %(buffer_units)s, %(floor_units)s,
                %(cap_units)s, %(is_offered)s)
            """,
            available=available,
            **asdict(rule),
        )
    assert shown == offer(available, rule)


@settings(max_examples=200)
@given(target=NUMBERS, published=NUMBERS | st.none())
def test_the_sql_that_finds_what_differs_is_the_rule(module_engine: Engine, target: int, published: int | None) -> None:
    with module_engine.connect() as conn:
        found = scalar(
            conn,
            "select listing_differs(%(target)s::int4, %(published)s::int4)",
            target=target,
            published=published,
        )
    assert found is differs(target, published)


def test_a_sku_without_listing_is_no_trouble_to_refresh(module_engine: Engine) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        world = make_world(conn)
        make_sku(conn, world.shop_id, "LOOSE")
        inventory.refresh_desired(conn, world.shop_id, world_of(conn, world.connection).skus.values())
        inventory.refresh_desired(conn, world.shop_id, [])
        assert listing_of(conn, world)["desired_units"] == 10
        transaction.rollback()
