"""The mapping table as a file: out as it comes back in, with every error by row, all or nothing, and once."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from core.db import scalar
from core.identity import assigning, files, queries
from core.identity.assigning import NotToBeSetAside
from core.identity.files import AlreadyLoaded, BadFile, DryRun
from core.identity.operations import MappingChanged
from core.spreadsheets import guarded, unguarded
from tests.factories import ACTOR, NOW, World, book, level_of, make_channel_listing, make_line, make_order, make_world
from tests.integration.test_identity import EAN, amazon, one, parked
from tests.stock_desk import broken

HEADS = "connection,kind,identifier,sku,ours,reason\n"


@pytest.fixture
def pair(conn: Connection) -> World:
    return make_world(conn, {"MUG": 10, "CUP": 20})


def rehearsed(conn: Connection, world: World, text: str) -> DryRun:
    """The dry run within the unit of work of the test."""
    nested = conn.begin_nested()
    found = files._rehearse(conn, world.shop_id, "map.csv", text.encode(), ACTOR, NOW)
    nested.rollback()
    return found


def load(conn: Connection, world: World, text: str, token: str | None = None) -> DryRun:
    return files.load(conn, world.shop_id, "map.csv", text.encode(), ACTOR, NOW, token=token)


def test_the_dry_run_names_every_error_by_row_and_keeps_nothing(conn: Connection, pair: World) -> None:
    there = amazon(conn, pair, make_channel_listing("A", 1, product_ref="B01"))
    name = there.connection.name
    found = rehearsed(
        conn,
        pair,
        HEADS
        + f"{name},variant,variant:A,MUG,,first\n"
        + "Nowhere,variant,x,MUG,,\n"
        + f"{name},sku,x,MUG,,\n"
        + f"{name},barcode,5012345678901,MUG,,\n"
        + f"{name},variant,y,mug,,\n"
        + f"{name},variant,variant:A,CUP,,\n"
        + f"{name},variant,z,,,\n"
        + f"{name},variant,w,MUG,no,\n",
    )
    said = {problem.row: str(problem) for problem in found.problems}
    assert "there is no connection “Nowhere”" in said[3]
    assert "“sku” is no kind" in said[4]
    assert "would have to be 0" in said[5]
    assert "Did you mean MUG?" in said[6]
    assert "is in row 2 already" in said[7]
    assert "names no SKU" in said[8]
    assert "keep one of the two" in said[9]
    assert [row["code"] for row in queries.mapped(conn, pair.shop_id, connection_id=there.connection.id)] == []


def test_two_rows_of_one_listing_that_name_different_skus_are_ambiguous(conn: Connection, pair: World) -> None:
    there = amazon(conn, pair, make_channel_listing("A", 1, product_ref="B01"))
    name = there.connection.name
    found = rehearsed(conn, pair, HEADS + f"{name},variant,variant:A,MUG,,\n{name},asin,B01,CUP,,\n")
    (problem,) = found.problems
    assert (problem.row, problem.text.startswith("ambiguous: row 2 is of the same listing variant:A")) == (3, True)


def test_the_dry_run_shows_every_effect_and_the_load_does_it(conn: Connection, pair: World) -> None:
    there = amazon(conn, pair, make_channel_listing("A", 1), make_channel_listing("GIFT", 1))
    book(conn, there, make_order("1", [make_line("1", "A", 2), make_line("2", "GIFT", 1)]))
    book(conn, pair, make_order("2", [make_line(units=3)]))
    text = (
        HEADS
        + f"{there.connection.name},variant,variant:A,CUP,,by hand\n"
        + f"{there.connection.name},variant,variant:GIFT,,no,\n"
        + f"{pair.connection.name},variant,variant:MUG,CUP,yes,\n"
        + f"{pair.connection.name},variant,variant:CUP,CUP,,\n"
    )
    found = rehearsed(conn, pair, text)
    assert found.problems == []
    assert [change.change for change in found.changes] == ["new", "sets_aside", "remaps", "confirms"]
    assert [(line.units, line.to_code) for line in found.outcome.moving] == [(3, "CUP")]
    assert (parked(conn, pair), level_of(conn, pair, "CUP").reserved) == (2, 0)
    done = load(conn, pair, text, found.outcome.token())
    assert (done.outcome.lines_booked, done.outcome.lines_set_aside) == (1, 1)
    assert (parked(conn, pair), level_of(conn, pair, "CUP").reserved, level_of(conn, pair, "MUG").reserved) == (0, 5, 0)
    (row,) = queries.history(conn, pair.shop_id, one(there, "variant", "variant:A"))
    assert (row["source"], row["reason"]) == ("file", "by hand")
    assert broken(conn, pair) == {}


def test_a_file_is_loaded_once(conn: Connection, pair: World) -> None:
    text = HEADS + f"{pair.connection.name},seller_sku,X,MUG,,\n"
    load(conn, pair, text)
    with pytest.raises(AlreadyLoaded, match="was loaded by Ada"):
        load(conn, pair, text)
    assert "was loaded by Ada" in str(rehearsed(conn, pair, text).problems[0])
    again = rehearsed(conn, pair, text + "\n")
    assert [change.change for change in again.changes] == ["unchanged"]


def test_one_wrong_row_keeps_the_whole_file_out(conn: Connection, pair: World) -> None:
    name = pair.connection.name
    with pytest.raises(BadFile):
        load(conn, pair, HEADS + f"{name},seller_sku,X,MUG,,\n{name},seller_sku,Y,NONE,,\n")
    assert scalar(conn, "select count(*) from sku_identifiers where value = 'X'") == 0


def test_a_file_that_would_set_aside_what_sells_our_stock_is_refused(conn: Connection, pair: World) -> None:
    text = HEADS + f"{pair.connection.name},variant,variant:MUG,,no,\n"
    assert "variant:MUG" in str(rehearsed(conn, pair, text).problems[0])
    with pytest.raises(NotToBeSetAside):
        load(conn, pair, text)


def test_it_is_refused_when_the_facts_have_changed_since_the_dry_run(conn: Connection, pair: World) -> None:
    text = HEADS + f"{pair.connection.name},variant,variant:MUG,CUP,,\n"
    token = rehearsed(conn, pair, text).outcome.token()
    book(conn, pair, make_order("1"))
    with pytest.raises(MappingChanged):
        load(conn, pair, text, token)


def test_what_goes_out_comes_back_in_unchanged(conn: Connection, pair: World) -> None:
    there = amazon(conn, pair, make_channel_listing("A", 1, ref="=cmd|'/c calc'!A1", barcode=EAN))
    answers = [
        assigning.Answer(one(there, "variant", "=cmd|'/c calc'!A1"), pair.skus["MUG"]),
        assigning.Answer(one(there, "seller_sku", '-5, "quoted"'), pair.skus["CUP"], "@home"),
        assigning.Answer(one(there, "fnsku", "X0001"), None),
        assigning.Answer(one(there, "barcode", EAN), pair.skus["MUG"]),
    ]
    assigning.assign(conn, pair.shop_id, answers, "person", ACTOR, NOW, may_move=False)
    out = io.StringIO()
    assert files.export(conn, pair.shop_id, there.connection.id, out) == 4
    assert "\n=" not in out.getvalue()
    assert ",=" not in out.getvalue()
    found = rehearsed(conn, pair, out.getvalue())
    assert found.problems == []
    assert {change.change for change in found.changes} == {"unchanged"}


def test_an_export_that_comes_back_makes_nothing_somebodys_word(conn: Connection, pair: World) -> None:
    there = amazon(conn, pair, make_channel_listing("MUG", 1), make_channel_listing("CUP", 1))
    assert {row["source"] for row in queries.mapped(conn, pair.shop_id, connection_id=there.connection.id)} == {
        "automatic"
    }
    out = io.StringIO()
    written = files.export(conn, pair.shop_id, there.connection.id, out)
    found = rehearsed(conn, pair, out.getvalue())
    assert (found.problems, found.count("repeats"), found.count("confirms")) == ([], written, 0)
    assert f"{written} rows repeat what was found by itself, and leave it so" in found.notes[0]
    done = load(conn, pair, out.getvalue(), found.outcome.token())
    assert done.outcome.answered == []
    rows = queries.mapped(conn, pair.shop_id, connection_id=there.connection.id)
    assert {row["source"] for row in rows} == {"automatic"}

    lines = out.getvalue().splitlines()
    said = "\n".join([lines[0], lines[1].replace(",automatic,", ",,")])
    assert [change.change for change in rehearsed(conn, pair, said).changes] == ["confirms"]
    code = lines[1].split(",")[3]
    other = "\n".join([lines[0], lines[1].replace(f",{code},", ",CUP," if code == "MUG" else ",MUG,")])
    assert [change.change for change in rehearsed(conn, pair, other).changes] == ["remaps"]


def test_a_row_with_a_stray_quotation_mark_does_not_hide_the_others(conn: Connection, pair: World) -> None:
    name = pair.connection.name
    text = (
        HEADS
        + f"{name},seller_sku,A,NONE,,\n"
        + f'{name},seller_sku,"B"c,MUG,,\n'
        + f'{name},seller_sku,"C,MUG,,\n{name},seller_sku,D",MUG,"x"y,\n'
        + f"{name},seller_sku,E,GONE,,\n"
        + f'{name},seller_sku,"F,MUG,,\n'
    )
    said = {problem.row: str(problem) for problem in rehearsed(conn, pair, text).problems}
    assert list(said) == [2, 3, 4, 6, 7]
    assert "NONE" in said[2]
    assert "in the middle of a cell" in said[3]
    assert "in the middle of a cell" in said[4]
    assert "GONE" in said[6]
    assert "nothing below can be read" in said[7]
    with pytest.raises(BadFile):
        load(conn, pair, text)


@given(st.text(max_size=12))
def test_a_guarded_cell_is_no_formula_and_comes_back_as_it_was(text: str) -> None:
    assert guarded(text)[:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert unguarded(guarded(text)) == text


def test_a_thousand_rows_are_loaded_at_once(conn: Connection, pair: World) -> None:
    there = amazon(conn, pair, *(make_channel_listing(f"A{number}", 1) for number in range(1000)))
    text = HEADS + "".join(f"{there.connection.name},variant,variant:A{number},MUG,,\n" for number in range(1000))
    assert len(load(conn, pair, text).outcome.listings) == 1000
    assert queries.unmapped(conn, pair.shop_id) == []
