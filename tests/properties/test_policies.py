"""The statement that resolves rules for many listings says what the pure rule says of each, whatever the rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine

from core import embedded
from core.db import execute, fetch, fetch_one, unit_of_work
from core.inventory.publishing import Lane, plan
from core.inventory.rules import ListingRule, ListingState, offer, plan_write, urgency
from core.policies import operations as policies
from core.policies import queries
from core.policies.queries import LIVING, Change, resolved
from core.policies.rules import TERMS, Policy, Scope, Terms, crossing, resolve
from tests.conftest import TestServers
from tests.factories import ACTOR, NOW, World, make_channel_listing, make_connection, make_world, set_row, take_in

CODES = {"MUG": "Mugs", "CUP": "Mugs", "PEN": "Pens", "BAG": None}
UNITS = st.one_of(st.none(), st.integers(0, 8))


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    return Terms(
        safety_stock_units=draw(UNITS),
        share_percent=draw(st.one_of(st.none(), st.decimals(0, 100, places=2))),
        buffer_units=draw(UNITS),
        floor_units=draw(UNITS),
        cap_units=draw(UNITS),
        priority=draw(st.one_of(st.none(), st.integers(0, 100))),
        is_offered=draw(st.sampled_from([None, True, False])),
    )


# (which connection, which category or SKU), by number; the world knows the ids.
PLACES = st.tuples(st.sampled_from([None, 0, 1]), st.sampled_from([None, "Mugs", "Pens", "MUG", "CUP", "BAG"]))
RULES = st.dictionaries(PLACES, terms().filter(lambda item: item.said and not crossing(item)), max_size=14)


Channels = tuple[Engine, World, list[int]]


@pytest.fixture(scope="module")
def two_channels(servers: TestServers, template_database: embedded.Database) -> Iterator[Channels]:
    """A database of this file's own with one shop whose SKUs are listed twice; every example is rolled back."""
    found = embedded.create_database(servers.home, "policies_held", template=template_database.name)
    engine = create_engine(found.url)
    with unit_of_work(engine) as conn:
        world = make_world(conn, dict.fromkeys(CODES, 7))
        other = make_connection(conn, world.shop_id, is_sku_source=False)
        take_in(conn, other, [make_channel_listing(code, 7) for code in CODES])
        for code, category in CODES.items():
            set_row(conn, "skus", world.skus[code], category=category)
    yield engine, world, [world.connection.id, other.id]
    engine.dispose()
    embedded.drop_database(servers.home, found.name)


@contextmanager
def rolled_back(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as conn, conn.begin() as transaction:
        yield conn
        transaction.rollback()


def _scope(place: tuple[int | None, str | None], world: World, connections: list[int]) -> Scope:
    channel, what = place
    connection_id = None if channel is None else connections[channel]
    if what in CODES:
        return Scope(connection_id, sku_id=world.skus[str(what)])
    return Scope(connection_id, what)


@settings(max_examples=60)
@given(rules=RULES, available=st.integers(-3, 40))
def test_the_set_says_what_the_pure_rule_says(
    two_channels: Channels, rules: dict[tuple[int | None, str | None], Terms], available: int
) -> None:
    engine, world, connections = two_channels
    wanted = [Policy(_scope(place, world, connections), said) for place, said in rules.items()]
    with rolled_back(engine) as conn:
        _set_available(conn, world, available)
        expected = {}
        for row in _listings(conn, world):
            found = resolve(wanted, row["connection_id"], row["category"], row["sku_id"])
            expected[row["id"]] = (found.rule, offer(available, found.rule), found.is_clipped)
        clipped = any(is_clipped for _, _, is_clipped in expected.values())
        changes = [Change(item.scope, item.terms) for item in wanted]
        if changes:
            assert bool(queries.crossings(conn, world.shop_id, changes)) is clipped
            as_if = {item.listing_id: item.would_units for item in _all_rows(conn, world, changes)}
            assert as_if == {listing: units for listing, (_, units, _) in expected.items() if listing in as_if}
            # Past the check: what a floor and a cap of different rules come to has to agree as well.
            policies._write(conn, world.shop_id, changes, ACTOR, NOW, None)
        rows = fetch(conn, f"select * from ({resolved(LIVING, 'l.shop_id = %(shop)s')}) r", shop=world.shop_id)
        assert {row["listing_id"]: _rule(row) for row in rows} == {k: rule for k, (rule, _, _) in expected.items()}
        for listing in expected:
            explained = queries.explain(conn, world.shop_id, listing)
            assert explained is not None
            assert explained.rule == expected[listing][0]
        policies.apply_to_skus(conn, world.shop_id, world.skus.values())
        for row in _listings(conn, world):
            rule, units, _ = expected[row["id"]]
            assert _rule(row) == rule
            assert row["desired_units"] == (units if row["publishing"] == "on" else None)


def _all_rows(conn: Connection, world: World, changes: list[Change]) -> list[queries.PreviewRow]:
    return queries.preview_rows(conn, world.shop_id, changes, only_changed=False)


def _listings(conn: Connection, world: World) -> list:
    return list(
        fetch(
            conn,
            """
            select l.*, s.category from listings l join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
            where l.shop_id = %(shop)s order by l.id
            """,
            shop=world.shop_id,
        )
    )


def _rule(row: object) -> ListingRule:
    return ListingRule(**{name: row[name] for name in TERMS})  # type: ignore[index]


def _set_available(conn: Connection, world: World, available: int) -> None:
    execute(
        conn,
        "update stock_levels set on_hand = reserved + unavailable + %(units)s where shop_id = %(shop)s",
        shop=world.shop_id,
        units=available,
    )


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 4)), st.integers(-2, 2), st.integers(0, 2)),
        min_size=4,
        max_size=4,
    )
)
def test_the_planner_takes_listings_in_the_order_of_urgency(
    two_channels: Channels, states: list[tuple[int, int | None, int, int]]
) -> None:
    """Limited to one at a time, the statement has to choose the one that the pure rule would choose."""
    engine, world, connections = two_channels
    with rolled_back(engine) as conn:
        for listing_id, (desired, shown, unseen, priority) in zip(sorted(world.listings.values()), states, strict=True):
            execute(
                conn,
                """
                update listings set desired_units = %(desired)s, published_units = %(shown)s, unseen_units = %(unseen)s,
                    unseen_since = %(now)s, priority = %(priority)s, short_units = 0 where id = %(id)s
                """,
                id=listing_id,
                desired=desired,
                shown=shown,
                unseen=unseen,
                now=NOW,
                priority=priority,
            )
        known = [
            ListingState(listing_id, "B", desired, shown, unseen, 0, priority)
            for listing_id, (desired, shown, unseen, priority) in zip(
                sorted(world.listings.values()), states, strict=True
            )
        ]
        expected = [item.listing_id for item in sorted(known, key=urgency) if plan_write(item) is not None]
        taken = []
        while calls := plan(conn, Lane(world.shop_id, connections[0], "B", 1), 1, NOW):
            row = fetch_one(conn, "select listing_id from listing_writes where id = %(id)s", id=calls[0][0].write_id)
            assert row is not None
            taken.append(row["listing_id"])
        assert taken == expected
