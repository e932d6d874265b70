"""What an order's money consists of, as it is booked: taxes, carriage, codes; the newest that tells them counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection

from core import invariants
from core.db import fetch
from core.ports import ChannelOrder
from tests.factories import (
    NOW,
    World,
    apply,
    book,
    later,
    make_facts,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
)

CODES = ("MAYA10", "für Elif, mit Gruß", "x")


@pytest.fixture
def world(conn: Connection) -> World:
    return make_world(conn, {"MUG": 10, "CUP": 10})


def taxed(**changes: Any) -> ChannelOrder:
    lines = [make_line("1", "MUG", 2, tax_minor=83), make_line("2", "CUP", 1, tax_minor=0)]
    told = {"taxes_included": True, "codes": CODES, "tax_minor": 149, "shipping_minor": 395}
    return make_order("1001", lines, **{**told, **changes})


def order_of(conn: Connection, world: World, ref: str = "1001") -> Any:
    rows = fetch(
        conn,
        "select taxes_included, codes, tax_minor, shipping_minor from orders"
        " where shop_id = %(shop)s and channel_ref = %(ref)s",
        shop=world.shop_id,
        ref=ref,
    )
    return tuple(rows[0].values())


def taxes_of(conn: Connection, world: World, ref: str = "1001") -> dict[str, int | None]:
    rows = fetch(
        conn,
        """
        select l.channel_ref, l.tax_minor
        from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        where l.shop_id = %(shop)s and o.channel_ref = %(ref)s order by 1
        """,
        shop=world.shop_id,
        ref=ref,
    )
    return {row["channel_ref"]: row["tax_minor"] for row in rows}


def refunds_of(conn: Connection, world: World) -> list[tuple[Any, ...]]:
    rows = fetch(
        conn,
        """
        select r.channel_ref, r.shipping_minor, r.shipping_tax_minor, array_agg(n.tax_minor order by n.ordinal)
        from refunds r left join refund_lines n on n.shop_id = r.shop_id and n.refund_id = r.id
        where r.shop_id = %(shop)s group by r.shop_id, r.id order by 1
        """,
        shop=world.shop_id,
    )
    return [tuple(row.values()) for row in rows]


def test_it_is_booked_as_it_is_told(conn: Connection, world: World) -> None:
    apply(conn, world, make_facts(taxed()), make_facts(make_order("plain")))
    assert order_of(conn, world) == (True, list(CODES), 149, 395)
    assert taxes_of(conn, world) == {"1": 83, "2": 0}
    assert order_of(conn, world, "plain") == (None, [], None, None)
    assert taxes_of(conn, world, "plain") == {"1": None}


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
def test_the_newest_that_tells_counts(conn: Connection, world: World, together: bool) -> None:
    silent = make_order("1001", [make_line("1", "MUG", 2), make_line("2", "CUP", 1)], version_at=later(9))
    seen = [taxed(), silent]
    if together:
        apply(conn, world, *(make_facts(each) for each in seen))
    else:
        for each in seen:
            book(conn, world, each)
    assert order_of(conn, world) == (True, list(CODES), 149, 395)
    assert taxes_of(conn, world) == {"1": 83, "2": 0}
    book(conn, world, replace(taxed(), version_at=later(12), taxes_included=False, codes=("ELIF15",), tax_minor=0))
    assert order_of(conn, world) == (False, ["ELIF15"], 0, 395)
    # What is older says nothing new.
    book(conn, world, replace(taxed(), version_at=later(11)))
    assert order_of(conn, world) == (False, ["ELIF15"], 0, 395)


def test_what_was_not_told_at_first_is_filled_in(conn: Connection, world: World) -> None:
    lines = [make_line("1", "MUG", 2), make_line("2", "CUP", 1)]
    book(conn, world, make_order("1001", lines))
    assert taxes_of(conn, world) == {"1": None, "2": None}
    book(conn, world, taxed(version_at=later(4)))
    assert order_of(conn, world) == (True, list(CODES), 149, 395)
    assert taxes_of(conn, world) == {"1": 83, "2": 0}


def test_an_edit_changes_the_taxes_of_its_lines(conn: Connection, world: World) -> None:
    book(conn, world, taxed())
    lines = [make_line("1", "MUG", 1, tax_minor=42), make_line("2", "CUP", 1, tax_minor=5), make_line("3", tax_minor=9)]
    book(conn, world, make_order("1001", lines, version_at=later(4), is_edited=True))
    assert taxes_of(conn, world) == {"1": 42, "2": 5, "3": 9}
    # Nothing but its taxes need have changed; an older version changes none.
    lines = [replace(line, tax_minor=1) for line in lines]
    book(conn, world, make_order("1001", lines, version_at=later(3)))
    assert taxes_of(conn, world) == {"1": 42, "2": 5, "3": 9}
    book(conn, world, make_order("1001", lines, version_at=later(5)))
    assert taxes_of(conn, world) == {"1": 1, "2": 1, "3": 1}
    assert [item.name for item in invariants.check(conn, NOW, shop_id=world.shop_id) if item.rows] == []


def test_refunds_say_what_of_them_was_carriage_and_taxes(conn: Connection, world: World) -> None:
    lines = [make_refund_line("1", 1, tax_minor=42), make_refund_line("2", 1)]
    whole = make_refund(lines=lines, ref="r1", shipping_minor=395, shipping_tax_minor=66)
    carriage = make_refund(lines=[], ref="r2", shipping_minor=100, amount_minor=100)
    book(conn, world, taxed(), whole, carriage, make_refund(lines=[make_refund_line("1", 1)], ref="r3"))
    assert refunds_of(conn, world) == [
        ("r1", 395, 66, [42, None]), ("r2", 100, None, [None]), ("r3", None, None, [None])
    ]  # fmt: skip
