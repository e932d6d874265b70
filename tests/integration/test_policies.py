"""Channel rules against the database: saved in versions, previewed, undone, brought to the listings they are for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from core import invariants
from core.audit import Actor
from core.connections.queries import ConnectionRow
from core.db import execute, fetch, fetch_one, scalar
from core.errors import BadInput
from core.inventory import bundles
from core.orders import intake
from core.policies import categories, queries
from core.policies import operations as policies
from core.policies.queries import Change
from core.policies.rules import BadRule, Scope, Terms, read_typed
from tests.factories import (
    ACTOR,
    NOW,
    World,
    adjust_stock,
    book,
    count,
    later,
    listing_of,
    make_channel_listing,
    make_connection,
    make_line,
    make_order,
    make_sku,
    make_world,
    set_row,
    take_in,
    world_of,
)

ALL = Scope()


@pytest.fixture
def world(conn: Connection) -> World:
    """Two mugs and a pen of 10 each on one channel; the mugs are of one category."""
    made = make_world(conn, {"MUG": 10, "CUP": 10, "PEN": 10})
    for code, category in (("MUG", "Mugs"), ("CUP", "Mugs"), ("PEN", "Pens")):
        set_row(conn, "skus", made.skus[code], category=category)
    return made


def save(conn: Connection, world: World, scope: Scope, **terms: Any) -> int:
    """Save one rule without a preview."""
    return policies.save(conn, world.shop_id, [Change(scope, Terms(**terms))], ACTOR, NOW)


def replan(conn: Connection, world: World, chunk: int = 1000) -> int:
    """What the job does, in one unit of work; returns how many listings changed."""
    changed = 0
    while (version := policies.unfinished(conn, world.shop_id)) is not None:
        ids = queries.listings_of_version(conn, world.shop_id, version.version_id, version.after_id)
        policies.begin_replan(conn, world.shop_id, version.version_id, len(ids), NOW)
        for start in range(0, len(ids), chunk):
            part = ids[start : start + chunk]
            is_last = start + len(part) >= len(ids)
            changed += policies.replan(conn, world.shop_id, version.version_id, part, is_last, NOW)
    return changed


def desired(conn: Connection, world: World) -> dict[str, int]:
    return {code: listing_of(conn, world, code)["desired_units"] for code in sorted(world.listings)}


def assert_clean(conn: Connection, world: World) -> None:
    found = invariants.check(conn, later(60), shop_id=world.shop_id)
    names = {"listing_rule_is_resolved"}
    assert {item.name: item.rows for item in found if item.rows and item.name in names} == {}


# --- saving ----------------------------------------------------------------------------------------------------------


def test_a_saved_rule_reaches_its_listings_by_the_replan_and_is_on_record(conn: Connection, world: World) -> None:
    version_id = save(conn, world, Scope(world.connection.id, "Mugs"), share_percent=Decimal(20), buffer_units=1)
    assert desired(conn, world) == {"CUP": 10, "MUG": 10, "PEN": 10}
    assert replan(conn, world) == 2
    assert desired(conn, world) == {"CUP": 1, "MUG": 1, "PEN": 10}
    version = fetch_one(conn, "select * from policy_version_list where version_id = %(v)s", v=version_id)
    assert version is not None
    assert (version["listings_total"], version["listings_done"], version["listings_changed"]) == (2, 2, 2)
    assert (version["finished_at"], version["saved_by"], version["can_undo"]) == (NOW, ACTOR.name, True)
    entry = fetch_one(conn, "select * from audit_entries where act = 'save_rules'")
    assert entry is not None
    assert entry["subject"] == f"policy_version:{version_id}"
    assert entry["details"]["rules"] == [
        {
            "for": f"{world.connection.name} · category Mugs",
            "says": "at most 20 % of the pool, buffer 1",
            "before": "no rule",
        }
    ]
    assert_clean(conn, world)


def test_a_sale_afterwards_follows_the_rule_without_reading_it(conn: Connection, world: World) -> None:
    save(conn, world, ALL, safety_stock_units=3, share_percent=Decimal(50))
    replan(conn, world)
    book(conn, world, make_order(lines=[make_line(units=3)]))
    assert desired(conn, world) == {"CUP": 3, "MUG": 2, "PEN": 3}


def test_a_change_of_the_same_scope_ends_the_rule_before_it_and_only_one_lives(conn: Connection, world: World) -> None:
    first = save(conn, world, ALL, buffer_units=1)
    second = save(conn, world, ALL, buffer_units=2)
    rows = fetch(conn, "select buffer_units, begun_id, ended_id from channel_policies order by id")
    assert [tuple(row.values()) for row in rows] == [(1, first, second), (2, second, None)]
    save(conn, world, ALL)
    assert queries.living(conn, world.shop_id) == []
    replan(conn, world)
    assert desired(conn, world) == {"CUP": 10, "MUG": 10, "PEN": 10}


def test_saving_what_the_rules_say_already_is_refused(conn: Connection, world: World) -> None:
    save(conn, world, ALL, share_percent=Decimal("20.00"))
    with pytest.raises(policies.NothingToChange):
        save(conn, world, ALL, share_percent=Decimal(20))
    with pytest.raises(policies.NothingToChange):
        save(conn, world, Scope(category="Mugs"))


def test_a_preview_that_others_overtook_cannot_be_saved(conn: Connection, world: World) -> None:
    changes = [Change(ALL, Terms(buffer_units=1))]
    token = queries.preview(conn, world.shop_id, changes).token
    save(conn, world, Scope(category="Pens"), buffer_units=5)
    with pytest.raises(policies.RulesChanged):
        policies.save(conn, world.shop_id, changes, ACTOR, NOW, token=token)
    token = queries.preview(conn, world.shop_id, changes).token
    other = [Change(ALL, Terms(buffer_units=2))]
    with pytest.raises(policies.RulesChanged):
        policies.save(conn, world.shop_id, other, ACTOR, NOW, token=token)
    assert policies.save(conn, world.shop_id, changes, ACTOR, NOW, token=token)


def test_rules_and_versions_are_facts(conn: Connection, world: World) -> None:
    save(conn, world, ALL, buffer_units=1)
    for statement in (
        "update channel_policies set buffer_units = 2",
        "delete from channel_policies",
        "update policy_versions set saved_by = 'somebody else'",
        "delete from policy_versions",
    ):
        with pytest.raises(DBAPIError, match=r"is a fact|are facts|permission denied"), conn.begin_nested():
            execute(conn, statement)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"connection": "Amazn"}, "connection: there is no connection “Amazn” (leave it empty for every channel)"),
        ({"category": "Muggs"}, "category: there is no category “Muggs” (the catalogue's own word, compared exactly)."),
        ({"sku": "mug"}, "SKU: there is no SKU “mug” (codes are compared exactly, upper and lower case differ). "
                         "Did you mean MUG?"),
    ],
)  # fmt: skip
def test_names_that_are_not_there_are_refused_with_what_may_be_meant(
    conn: Connection, world: World, typed: dict[str, str], said: str
) -> None:
    with pytest.raises(BadRule) as refused:
        policies.change_of(conn, world.shop_id, read_typed({**typed, "buffer_units": "1"}), "line 2")
    assert str(refused.value).startswith(f"line 2: {said}")


def test_a_connection_of_another_shop_is_not_found(conn: Connection, world: World) -> None:
    typed = read_typed({"connection": make_world(conn).connection.name, "buffer_units": "1"})
    with pytest.raises(BadRule, match="there is no connection"):
        policies.change_of(conn, world.shop_id, typed)


def test_a_floor_above_a_cap_that_is_inherited_is_refused_with_the_listing(conn: Connection, world: World) -> None:
    save(conn, world, Scope(category="Mugs"), cap_units=4)
    with pytest.raises(BadRule) as refused:
        save(conn, world, Scope(world.connection.id), floor_units=5)
    said = str(refused.value)
    assert "would have a floor of 5 above its cap of 4" in said
    assert "1 more listings" in said
    assert "lower the floor, raise the cap, or set both in the same rule" in said
    # Where no listing has both, it is no contradiction.
    assert save(conn, world, Scope(category="Pens"), floor_units=5)


def test_a_floor_and_a_cap_that_meet_later_do_no_harm_the_cap_wins(conn: Connection, world: World) -> None:
    save(conn, world, Scope(category="Mugs"), cap_units=4)
    save(conn, world, Scope(sku_id=world.skus["PEN"]), floor_units=9)
    replan(conn, world)
    categories.set_category(conn, world.shop_id, "PEN", "Mugs", ACTOR, NOW)
    row = listing_of(conn, world, "PEN")
    assert (row["floor_units"], row["cap_units"], row["desired_units"]) == (4, 4, 4)
    assert_clean(conn, world)


def test_the_same_scope_twice_none_and_too_many_are_refused(conn: Connection, world: World) -> None:
    change = Change(ALL, Terms(buffer_units=1))
    with pytest.raises(BadRule, match="Every channel · everything comes twice"):
        policies.save(conn, world.shop_id, [change, replace(change)], ACTOR, NOW)
    with pytest.raises(BadRule, match="there is no rule in it"):
        policies.save(conn, world.shop_id, [], ACTOR, NOW)
    many = [Change(Scope(category=f"C{number}"), Terms(buffer_units=1)) for number in range(1001)]
    with pytest.raises(BadRule, match="1,001 rules at once"):
        policies.save(conn, world.shop_id, many, ACTOR, NOW)


# --- preview ---------------------------------------------------------------------------------------------------------


def test_the_preview_counts_by_channel_what_goes_up_down_and_to_zero(conn: Connection, world: World) -> None:
    other = make_connection(conn, world.shop_id, is_sku_source=False, name="Second")
    take_in(conn, other, [make_channel_listing(code, 10) for code in ("MUG", "PEN")])
    save(conn, world, Scope(sku_id=world.skus["PEN"]), cap_units=2)
    replan(conn, world)
    changes = [
        Change(Scope(category="Mugs"), Terms(share_percent=Decimal(20))),
        Change(Scope(sku_id=world.skus["CUP"]), Terms(is_offered=False)),
        Change(Scope(sku_id=world.skus["PEN"]), Terms()),
    ]
    found = queries.preview(conn, world.shop_id, changes)
    first = next(item for item in found.channels if item.connection_id == world.connection.id)
    assert (first.listings, first.published, first.up, first.down, first.to_zero, first.same) == (3, 3, 1, 2, 1, 0)
    assert (first.desired_units, first.would_units) == (22, 12)
    second = next(item for item in found.channels if item.connection == "Second")
    assert (second.listings, second.published, second.up, second.down) == (2, 0, 0, 0)
    # Nothing was written by looking.
    assert count(conn, "policy_versions", world.shop_id) == 1
    rows = queries.preview_rows(conn, world.shop_id, changes)
    assert {(row.code, row.published_units, row.desired_units, row.would_units) for row in rows} == {
        ("MUG", 10, 10, 2),
        ("CUP", 10, 10, 0),
        ("PEN", 10, 2, 10),
    }


def test_preview_rows_come_page_by_page(conn: Connection, world: World) -> None:
    changes = [Change(ALL, Terms(buffer_units=1))]
    first = queries.preview_rows(conn, world.shop_id, changes, limit=2)
    rest = queries.preview_rows(conn, world.shop_id, changes, limit=2, after_id=first[-1].listing_id)
    assert [len(first), len(rest)] == [2, 1]
    assert sorted(row.code for row in [*first, *rest]) == ["CUP", "MUG", "PEN"]
    nothing = [Change(Scope(category="Pens"), Terms(cap_units=500))]
    assert queries.preview_rows(conn, world.shop_id, nothing) == []
    assert len(queries.preview_rows(conn, world.shop_id, nothing, only_changed=False)) == 1


def test_what_was_previewed_is_what_the_listings_show_after_the_replan(conn: Connection, world: World) -> None:
    make_sku(conn, world.shop_id, "SET")
    take_in(conn, world.connection, [make_channel_listing("SET", 0)])
    bundles.set_components(conn, world.shop_id, "SET", {"MUG": 2, "PEN": 3}, ACTOR, NOW)
    world = world_of(conn, world.connection)
    set_row(conn, "listings", world.listings["SET"], publishing="on")
    changes = [Change(ALL, Terms(safety_stock_units=1, share_percent=Decimal("66.66"), floor_units=2))]
    seen = {row.code: row.would_units for row in queries.preview_rows(conn, world.shop_id, changes, only_changed=False)}
    policies.save(conn, world.shop_id, changes, ACTOR, NOW)
    replan(conn, world)
    assert desired(conn, world) == seen == {"CUP": 5, "MUG": 5, "PEN": 5, "SET": 2}


# --- undo ------------------------------------------------------------------------------------------------------------


def test_undo_restores_what_was_ended_and_ends_what_was_begun_as_a_version_of_its_own(
    conn: Connection, world: World
) -> None:
    save(conn, world, ALL, cap_units=8)
    changes = [Change(ALL, Terms(cap_units=3)), Change(Scope(category="Pens"), Terms(is_offered=False))]
    version_id = policies.save(conn, world.shop_id, changes, ACTOR, NOW)
    replan(conn, world)
    assert desired(conn, world) == {"CUP": 3, "MUG": 3, "PEN": 0}
    undoing = policies.undo(conn, world.shop_id, version_id, Actor("Bea", "a mistake"), NOW)
    replan(conn, world)
    assert desired(conn, world) == {"CUP": 8, "MUG": 8, "PEN": 8}
    assert [item.terms for item in queries.living(conn, world.shop_id)] == [Terms(cap_units=8)]
    with pytest.raises(policies.CannotUndo, match=f"version {undoing} undid it already"):
        policies.undo(conn, world.shop_id, version_id, ACTOR, NOW)
    # What was undone can be brought back the same way.
    policies.undo(conn, world.shop_id, undoing, ACTOR, NOW)
    replan(conn, world)
    assert desired(conn, world) == {"CUP": 3, "MUG": 3, "PEN": 0}
    assert [row["reason"] for row in fetch(conn, "select reason from audit_entries where act = 'undo_rules'"
                                           " order by id")] == ["a mistake", ACTOR.reason]  # fmt: skip


def test_undo_is_refused_where_a_later_version_touched_the_same_rule(conn: Connection, world: World) -> None:
    scope = Scope(world.connection.id, "Mugs")
    first = save(conn, world, scope, cap_units=8)
    aside = save(conn, world, Scope(category="Pens"), cap_units=8)
    later_one = policies.save(conn, world.shop_id, [Change(scope, Terms(cap_units=7))], Actor("Bea", "less"), NOW)
    with pytest.raises(policies.CannotUndo) as refused:
        policies.undo(conn, world.shop_id, first, ACTOR, NOW)
    assert str(refused.value) == (
        f"version {first} cannot be undone: version {later_one} of Bea changed the rule for"
        f" “{world.connection.name} · category Mugs” since. Set that rule anew instead, or remove it"
    )
    can = {row["version_id"]: row["can_undo"] for row in fetch(conn, "select * from policy_version_list")}
    assert can == {first: False, aside: True, later_one: True}
    assert policies.undo(conn, world.shop_id, aside, ACTOR, NOW)
    with pytest.raises(BadInput, match="there is no version 999999"):
        policies.undo(conn, world.shop_id, 999999, ACTOR, NOW)


# --- whatever changes which rule is for a listing --------------------------------------------------------------------


def test_a_new_listing_has_its_rule_when_it_is_taken_in(conn: Connection, world: World) -> None:
    save(conn, world, ALL, cap_units=4)
    replan(conn, world)
    intake.take_in(conn, world.connection, [make_channel_listing("HAT", 9, category="Hats")], NOW)
    row = listing_of(conn, world_of(conn, world.connection), "HAT")
    assert row["cap_units"] == 4
    save(conn, world, Scope(category="Hats"), cap_units=2)
    other = make_connection(conn, world.shop_id, is_sku_source=False)
    intake.take_in(conn, other, [make_channel_listing("HAT", 9)], NOW)
    assert scalar(conn, "select cap_units from listings where connection_id = %(id)s", id=other.id) == 2
    replan(conn, world)
    assert_clean(conn, world)


def test_a_newly_mapped_listing_has_its_rule(conn: Connection, world: World) -> None:
    save(conn, world, ALL, cap_units=4)
    replan(conn, world)
    other = make_connection(conn, world.shop_id, is_sku_source=False)
    intake.take_in(conn, other, [make_channel_listing("HAT", 9)], NOW)
    unmapped = fetch_one(conn, "select sku_id, cap_units from listings where connection_id = %(id)s", id=other.id)
    assert unmapped is not None
    assert (unmapped["sku_id"], unmapped["cap_units"]) == (None, None)
    make_sku(conn, world.shop_id, "HAT")
    intake.take_in(conn, other, [make_channel_listing("HAT", 9, later(1))], NOW)
    assert scalar(conn, "select cap_units from listings where connection_id = %(id)s", id=other.id) == 4
    assert_clean(conn, world)


def test_a_sku_whose_category_changed_in_the_catalogue_has_the_rule_of_the_new_one_on_every_channel(
    conn: Connection, world: World
) -> None:
    other = make_connection(conn, world.shop_id, is_sku_source=False)
    take_in(conn, other, [make_channel_listing("PEN", 10)])
    set_row(conn, "skus", make_sku(conn, world.shop_id, "ROBE"), category="Gifts")
    save(conn, world, Scope(category="Gifts"), cap_units=1)
    replan(conn, world)
    intake.take_in(conn, world.connection, [make_channel_listing("PEN", None, later(1), category="Gifts")], NOW)
    caps = fetch(conn, "select cap_units from listings where sku_id = %(sku)s", sku=world.skus["PEN"])
    assert [row["cap_units"] for row in caps] == [1, 1]
    assert listing_of(conn, world, "PEN")["desired_units"] == 1
    assert_clean(conn, world)


# --- categories ------------------------------------------------------------------------------------------------------


def category(conn: Connection, world: World, code: str) -> str | None:
    return scalar(
        conn, "select category from skus where shop_id = %(shop)s and code = %(code)s", shop=world.shop_id, code=code
    )


def tell(conn: Connection, connection: ConnectionRow, code: str, said: str | None, minutes: float) -> None:
    intake.take_in(conn, connection, [make_channel_listing(code, None, later(minutes), category=said)], NOW)


def test_the_source_of_skus_says_the_category_and_an_older_word_or_none_changes_nothing(
    conn: Connection, world: World
) -> None:
    tell(conn, world.connection, "MUG", "Cups", 5)
    assert category(conn, world, "MUG") == "Cups"
    tell(conn, world.connection, "MUG", "Older", 4)
    tell(conn, world.connection, "MUG", None, 6)
    assert category(conn, world, "MUG") == "Cups"


def test_another_channel_only_fills_an_empty_category(conn: Connection, world: World) -> None:
    other = make_connection(conn, world.shop_id, is_sku_source=False)
    tell(conn, other, "MUG", "KITCHEN_DRINKWARE", 5)
    assert category(conn, world, "MUG") == "Mugs"
    set_row(conn, "skus", world.skus["MUG"], category=None)
    tell(conn, other, "MUG", "KITCHEN_DRINKWARE", 6)
    assert category(conn, world, "MUG") == "KITCHEN_DRINKWARE"


def test_what_a_person_chose_stays_until_it_is_left_to_the_catalogue_again(conn: Connection, world: World) -> None:
    save(conn, world, Scope(category="Pens"), cap_units=2)
    replan(conn, world)
    assert categories.set_category(conn, world.shop_id, "MUG", " Pens ", ACTOR, NOW) == 1
    assert listing_of(conn, world, "MUG")["desired_units"] == 2
    tell(conn, world.connection, "MUG", "Mugs", 5)
    assert category(conn, world, "MUG") == "Pens"
    categories.set_category(conn, world.shop_id, "MUG", "", ACTOR, NOW)
    tell(conn, world.connection, "MUG", "Mugs", 6)
    assert category(conn, world, "MUG") is None
    categories.set_category(conn, world.shop_id, "MUG", None, ACTOR, NOW)
    tell(conn, world.connection, "MUG", "Mugs", 7)
    assert category(conn, world, "MUG") == "Mugs"
    assert count(conn, "audit_entries", world.shop_id, "act = 'set_category'") == 3
    assert_clean(conn, world)


@pytest.mark.parametrize(("code", "chosen", "said"), [
    ("NONE", "Pens", "no SKU has the code NONE"),
    ("MUG", "x" * 201, "at most 200 printable characters"),
    ("MUG", "a\tb", "at most 200 printable characters"),
])  # fmt: skip
def test_a_category_that_cannot_be_is_refused(
    conn: Connection, world: World, code: str, chosen: str, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        categories.set_category(conn, world.shop_id, code, chosen, ACTOR, NOW)


# --- the re-plan -----------------------------------------------------------------------------------------------------


def test_a_replan_goes_on_at_its_mark_and_a_chunk_behind_it_changes_nothing(conn: Connection, world: World) -> None:
    version_id = save(conn, world, ALL, cap_units=1)
    ids = queries.listings_of_version(conn, world.shop_id, version_id, 0)
    policies.begin_replan(conn, world.shop_id, version_id, len(ids), NOW)
    assert policies.replan(conn, world.shop_id, version_id, ids[:1], False, NOW) == 1
    assert policies.replan(conn, world.shop_id, version_id, ids[:1], False, NOW) == 0
    left = policies.unfinished(conn, world.shop_id)
    assert left is not None
    assert queries.listings_of_version(conn, world.shop_id, version_id, left.after_id) == ids[1:]
    replan(conn, world, chunk=1)
    row = fetch_one(conn, "select * from policy_versions where id = %(id)s", id=version_id)
    assert row is not None
    assert (row["listings_done"], row["listings_changed"], row["after_listing_id"]) == (3, 3, ids[-1])
    assert policies.shops_to_replan(conn) == []


def test_a_rule_that_is_for_no_listing_is_finished_at_once(conn: Connection, world: World) -> None:
    sku_id = make_sku(conn, world.shop_id, "LOOSE")
    version_id = save(conn, world, Scope(sku_id=sku_id), cap_units=1)
    assert replan(conn, world) == 0
    row = fetch_one(conn, "select * from policy_versions where id = %(id)s", id=version_id)
    assert row is not None
    assert (row["listings_total"], row["finished_at"]) == (0, NOW)


def test_why_says_where_each_term_is_from(conn: Connection, world: World) -> None:
    save(conn, world, ALL, safety_stock_units=1)
    save(conn, world, Scope(category="Mugs"), share_percent=Decimal(40))
    found = queries.explain(conn, world.shop_id, world.listings["MUG"])
    assert found is not None
    sources = {name: item.scope.breadth for name, item in found.sources.items() if item is not None}
    assert sources == {"safety_stock_units": 0, "share_percent": 2}
    assert queries.explain(conn, world.shop_id, 999999) is None


def test_an_audit_waits_for_a_replan_under_way_but_not_for_ever(conn: Connection, world: World) -> None:
    save(conn, world, ALL, cap_units=1)

    def broken(minutes: float) -> int:
        found = invariants.check(conn, NOW + timedelta(minutes=minutes), shop_id=world.shop_id)
        return len(next(item.rows for item in found if item.name == "listing_rule_is_resolved"))

    assert (broken(1), broken(10)) == (0, 3)
    replan(conn, world)
    assert broken(10) == 0


def test_stock_that_changed_meanwhile_is_what_the_replan_counts_from(conn: Connection, world: World) -> None:
    save(conn, world, ALL, share_percent=Decimal(50))
    adjust_stock(conn, world, "MUG", -4)
    replan(conn, world)
    assert desired(conn, world) == {"CUP": 5, "MUG": 3, "PEN": 5}
