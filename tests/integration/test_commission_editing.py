"""Saving, undoing and racing versions; parties that end; settings; assignments from a file; what is checked."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine

from core.commissions import editing, importing, queries
from core.commissions.checking import check
from core.commissions.directory import directory
from core.commissions.drafts import Draft
from core.commissions.editing import CannotUndo, CodeTaken, PartyHasEnded, RulesChanged, UnknownParty
from core.commissions.importing import BadFile
from core.commissions.queries import Settings
from core.commissions.rules import Assignment, Rule
from core.commissions.standing import standing
from core.db import fetch, scalar, unit_of_work
from core.errors import BadInput
from tests.factories import (
    ACTOR,
    NOW,
    World,
    apply,
    later,
    make_facts,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
    set_row,
)
from tests.racing import play, race

FEE = Rule(0, "platform_fee", "item", "percentage", rate_ppm=120_000)


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        made = make_world(conn, {"MUG": 50, "CUP": 50, "PEN": 50})
        editing.add_party(conn, made.shop_id, "brand_shop", "OAK", "Oak & Ash", ACTOR, NOW)
        editing.add_party(conn, made.shop_id, "brand_shop", "SUN", "Sun", ACTOR, NOW)
        editing.add_party(conn, made.shop_id, "creator", "MAYA", "Maya", ACTOR, NOW)
        return made


def party(conn: Connection, world: World, code: str) -> int:
    return editing.party_of(conn, world.shop_id, code)


def acts(conn: Connection, world: World) -> list[str]:
    rows = fetch(conn, "select act from audit_entries where shop_id = %(s)s order by id desc limit 1", s=world.shop_id)
    return [row["act"] for row in rows]


def sellers_of(conn: Connection, world: World, name: str) -> list[int | None]:
    rows = fetch(
        conn,
        """
        select t.seller_id from commission_accruals a join orders o on o.shop_id = a.shop_id and o.id = a.order_id
        join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id
        where o.shop_id = %(shop)s and o.name = %(name)s
        """,
        shop=world.shop_id,
        name=name,
    )
    return [row["seller_id"] for row in rows]


def test_a_version_begins_ends_and_is_undone_to_the_same_rules(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        first = editing.save(conn, world.shop_id, ACTOR, NOW, rules=[FEE])
        draft = Draft(rules=(Rule(0, "platform_fee", "item", "percentage", rate_ppm=90_000),),
                      ended_rules=frozenset(first.rule_ids))  # fmt: skip
        second = editing.save_draft(conn, world.shop_id, draft, ACTOR, NOW, first.version_id)
        assert [rule.rate_ppm for rule in queries.living_rules(conn, world.shop_id)] == [90_000]
        with pytest.raises(CannotUndo, match="undo that one first"):
            editing.undo(conn, world.shop_id, first.version_id, ACTOR, NOW)
        editing.undo(conn, world.shop_id, second.version_id, ACTOR, NOW)
        assert [rule.rate_ppm for rule in queries.living_rules(conn, world.shop_id)] == [120_000]
        with pytest.raises(CannotUndo, match="undone already"):
            editing.undo(conn, world.shop_id, second.version_id, ACTOR, NOW)
        states = fetch(
            conn, "select version_id, can_undo, undone_by_id from commission_version_list order by version_id"
        )
    assert [tuple(row.values()) for row in states] == [(1, False, None), (2, False, 3), (3, True, None)]


def save_on_nothing(engine: Engine, world: World) -> str:
    """Save what was previewed while there was no version yet."""
    try:
        with unit_of_work(engine) as conn:
            editing.save_draft(conn, world.shop_id, Draft(rules=(FEE,)), ACTOR, NOW, 0)
    except RulesChanged:
        return "look again"
    return "saved"


def test_of_two_who_save_what_they_both_saw_one_is_told_to_look_again(engine: Engine, world: World) -> None:
    said = race(engine, __file__, [("save", world), ("save", world)])
    assert sorted(said) == ["look again", "saved"]
    with engine.connect() as conn:
        assert len(queries.living_rules(conn, world.shop_id)) == 1


def test_a_party_that_ended_takes_part_in_nothing_new_and_keeps_its_past(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        oak = party(conn, world, "OAK")
        editing.save(conn, world.shop_id, ACTOR, NOW, rules=[FEE], assignments=[Assignment(0, "seller", oak)])
        apply(conn, world, make_facts(make_order("1", placed_at=later(1))))
        editing.end_party(conn, world.shop_id, oak, ACTOR, later(10))
        assert acts(conn, world) == ["end_party"]
        apply(conn, world, make_facts(make_order("2", placed_at=later(11))))
        # One that was sold before it ended, and is told late, is its sale.
        apply(conn, world, make_facts(make_order("3", placed_at=later(9))))
        assert [sellers_of(conn, world, name) for name in ("#1", "#2", "#3")] == [[oak], [None], [oak]]
        with pytest.raises(PartyHasEnded, match="has ended already"):
            editing.end_party(conn, world.shop_id, oak, ACTOR, NOW)
        editing.resume_party(conn, world.shop_id, oak, ACTOR, later(12))
        apply(conn, world, make_facts(make_order("4", placed_at=later(13))))
        assert sellers_of(conn, world, "#4") == [oak]
        with pytest.raises(BadInput, match="has not ended"):
            editing.resume_party(conn, world.shop_id, oak, ACTOR, NOW)


def test_parties_are_edited_their_codes_stay_unique_and_the_platform_never_ends(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        oak = party(conn, world, "OAK")
        editing.edit_party(conn, world.shop_id, oak, " Oak & Ash Ltd ", 30, ACTOR, NOW)
        assert acts(conn, world) == ["edit_party"]
        assert queries.windows_of_sellers(conn, world.shop_id) == {oak: 30}
        assert directory(conn, world.shop_id).parties[oak].name == "Oak & Ash Ltd"
        with pytest.raises(CodeTaken, match="the code OAK is taken"):
            editing.add_party(conn, world.shop_id, "creator", "OAK", "Another", ACTOR, NOW)
        with pytest.raises(BadInput, match="366 days cannot be"):
            editing.edit_party(conn, world.shop_id, oak, "Oak", 366, ACTOR, NOW)
        with pytest.raises(UnknownParty):
            editing.edit_party(conn, world.shop_id, 999, "Nobody", None, ACTOR, NOW)
        platform = editing.add_party(conn, world.shop_id, "platform", "US", "Us", ACTOR, NOW)
        with pytest.raises(PartyHasEnded, match="the company itself"):
            editing.end_party(conn, world.shop_id, platform, ACTOR, NOW)


def test_settings_are_saved_with_what_they_were(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        for wanted in (Settings(30, "placed", 5_000), Settings(21, "shipped", 0)):
            editing.save_settings(conn, world.shop_id, wanted, ACTOR, NOW)
            assert queries.settings(conn, world.shop_id) == wanted
        details = scalar(conn, "select details from audit_entries order by id desc limit 1")
        assert (details["before"]["return_window_days"], details["after"]["return_window_days"]) == (30, 21)
        with pytest.raises(BadInput, match="write shipped or placed"):
            editing.save_settings(conn, world.shop_id, Settings(14, "whenever", 0), ACTOR, NOW)


def test_a_window_goes_on_counting_from_what_it_counted_from(engine: Engine, world: World) -> None:
    def windows(conn: Connection) -> dict[str, tuple[str, bool]]:
        rows = fetch(
            conn,
            """
            select o.name, w.window_from, w.starts_at = o.placed_at as is_placed from commission_windows w
            join orders o on o.shop_id = w.shop_id and o.id = w.order_id where w.shop_id = %(s)s
            """,
            s=world.shop_id,
        )
        return {row["name"]: (row["window_from"], bool(row["is_placed"])) for row in rows}

    with unit_of_work(engine) as conn:
        oak = party(conn, world, "OAK")
        editing.save(conn, world.shop_id, ACTOR, NOW, rules=[FEE], assignments=[Assignment(0, "seller", oak)])
        apply(conn, world, make_facts(make_order("1")))
        editing.save_settings(conn, world.shop_id, Settings(14, "placed", 0), ACTOR, NOW)
        apply(conn, world, make_facts(make_order("2")))
        assert windows(conn) == {"#1": ("shipped", False), "#2": ("placed", True)}
        # Whatever becomes of the first order later: it counts from when its goods leave.
        refund = make_refund("1", [make_refund_line(units=1)], "r1", later(20))
        apply(conn, world, make_facts(make_order("1", [make_line(units=2)], version_at=later(10)), refund))
        assert windows(conn)["#1"] == ("shipped", False)


def test_a_file_says_of_each_row_what_is_wrong_and_saves_nothing(engine: Engine, world: World) -> None:
    text = (
        "sku;role;party\nMUG;seller;OAK\nmug;seller;OAK\nCUP;vendor;OAK\nCUP;seller;MAYA\nMUG;seller;SUN\n;seller;OAK\n"
    )
    with unit_of_work(engine) as conn:
        planned = importing.plan(conn, world.shop_id, text)
        assert [(problem.line, problem.column) for problem in planned.problems] == [
            (3, "sku"),
            (4, "role"),
            (5, "party"),
            (6, "sku"),
            (7, "sku"),
        ]
        said = {problem.line: problem.what for problem in planned.problems}
        assert "Did you mean MUG?" in said[3]
        assert "write seller, creator or referrer" in said[4]
        assert "Maya is a creator" in said[5]
        assert said[6] == "line 2 says who is its seller already: delete one of the two"
        with pytest.raises(BadFile, match="nothing was saved: line 3, sku: there is no SKU “mug”"):
            importing.save(conn, world.shop_id, planned, ACTOR, NOW)


def test_a_file_replaces_ends_and_leaves_alone_and_is_saved_once(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        first = importing.plan(
            conn, world.shop_id, "sku,role,party\nMUG,seller,OAK\nCUP,seller,OAK\nPEN,creator,MAYA\n"
        )
        importing.save(conn, world.shop_id, first, ACTOR, NOW)
        text = "\ufeffparty,sku,role\nSUN,MUG,Seller\nOAK,CUP,seller\n,PEN,creator\n"
        planned = importing.plan(conn, world.shop_id, text)
        counts = (planned.rows, len(planned.draft.assignments), len(planned.draft.ended_assignments), planned.unchanged)
        assert (counts, planned.problems) == ((3, 1, 2, 1), ())
        importing.save(conn, world.shop_id, planned, ACTOR, NOW)
        living = {(one.role, one.sku_id): one.party_id for one in queries.living_assignments(conn, world.shop_id)}
        assert living == {
            ("seller", world.skus["MUG"]): party(conn, world, "SUN"),
            ("seller", world.skus["CUP"]): party(conn, world, "OAK"),
        }
        with pytest.raises(BadInput, match="say what is so already"):
            importing.save(conn, world.shop_id, importing.plan(conn, world.shop_id, text), ACTOR, NOW)
        with pytest.raises(RulesChanged):
            importing.save(conn, world.shop_id, planned, ACTOR, NOW)
        for wrong in ("sku,party\nMUG,OAK\n", "", "sku,role,party\n"):
            with pytest.raises(BadInput, match=r"columns sku, role, party|no row"):
                importing.plan(conn, world.shop_id, wrong)


def test_what_is_checked_reads_what_is_sold_and_the_few_assignments_that_tell(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        oak, sun = party(conn, world, "OAK"), party(conn, world, "SUN")
        one = Assignment(0, "seller", oak, sku_id=world.skus["MUG"])
        yen = Rule(0, "platform_fee", "item", "fixed", fixed_minor=30, currency="JPY", category="Toys")
        editing.save(conn, world.shop_id, ACTOR, NOW, rules=[FEE, yen], assignments=[one])
        set_row(conn, "skus", world.skus["CUP"], category="Cups")
        assert [finding.about for finding in check(standing(conn, world.shop_id, later(5)))] == [
            "No platform fee of carriage"
        ]
        apply(conn, world, make_facts(make_order("1", [make_line("1", "MUG"), make_line("2", "CUP")])))
        draft = Draft(assignments=(Assignment(0, "seller", sun, sku_id=world.skus["MUG"]),))
        found = check(standing(conn, world.shop_id, later(5), draft))
        assert [(finding.level, finding.about) for finding in found] == [
            ("conflict", "Two assignments of the same scope"),
            ("gap", "No platform fee of carriage"),
            ("gap", "Nothing is sold in JPY"),
            ("note", "Sold by the platform itself"),
        ]
        assert "1 SKU that was sold" in found[-1].what
        quiet = standing(conn, world.shop_id, NOW + timedelta(days=120))
        assert quiet.skus_without_seller == 0


if __name__ == "__main__":
    play({"save": save_on_nothing})
