"""Races at the desk between real processes: whoever wins, everything is booked once and nobody deadlocks.

This file is also what its processes run: `python test_desk_races.py ROLE ARGUMENTS`. All of a race's processes begin
together, when the lock they wait for is let go.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from core.connections.queries import connection as connection_row
from core.db import execute, fetch, make_engine, scalar, unit_of_work
from core.desk import files, operations, undo
from core.desk.booking import Item
from core.desk.rows import Act, Wanted
from core.errors import Anticipated, BadInput
from core.inventory import bundles
from core.inventory import operations as inventory
from core.inventory.operations import hold_compositions
from core.messaging import inbox
from core.messaging.inbox import Batch
from core.orders.intake import Intake
from tests.desks import CLERK, Desk, make_desk
from tests.factories import NOW, body_of, make_refund, make_refund_line, make_sku, parse, record_bodies, world_of
from tests.racing import answer, racer

START = 78
"""Key of the lock that a race waits for."""


# --- what the processes do ---------------------------------------------------------------------------------------


def tried(engine: Engine, act: Callable[[Any], Any]) -> list[Any]:
    """What an act came to: [whether it was new, its document], or the sentence it was refused with."""
    try:
        with unit_of_work(engine) as conn:
            done = act(conn)
    except Anticipated as refused:
        return [type(refused).__name__, 0]
    return [done.is_new, done.document_id]


def receive_same(engine: Engine, shop: int, place: int, order: int) -> Any:
    """The same form, sent by everybody."""
    items = [Item("MUG", 5), Item("CUP", 5)]
    return tried(
        engine, lambda conn: operations.receive(conn, shop, place, items, "form:1", CLERK, NOW, against_id=order)
    )


def receive_own(engine: Engine, shop: int, place: int, order: int) -> Any:
    """A form of one's own, of the same purchase order, its SKUs named in an order of one's own."""
    items = [Item("MUG", 1), Item("CUP", 1)][:: 1 if os.getpid() % 2 else -1]
    return [
        tried(
            engine,
            lambda conn, n=n: operations.receive(
                conn, shop, place, items, f"form:{os.getpid()}:{n}", CLERK, NOW, against_id=order
            ),
        )
        for n in range(5)
    ]


def undo_it(engine: Engine, shop: int, place: int, document: int) -> Any:
    return tried(engine, lambda conn: undo.undo(conn, shop, document, CLERK, NOW))


def take_back(engine: Engine, shop: int, place: int, line: int) -> Any:
    """The one unit that left, taken back by everybody."""
    items = [Item("MUG", 1, "restock", line)]
    return tried(engine, lambda conn: operations.take_back(conn, shop, place, items, f"form:{os.getpid()}", CLERK, NOW))


def refund(engine: Engine, shop: int, place: int, connection: int) -> Any:
    """The channel's refund of the same unit, drained."""
    with unit_of_work(engine) as conn:
        world = world_of(conn, connection_row(conn, shop, connection))
    return inbox.drain_batch(engine, shop, connection, 0, Batch(10), Intake(world.connection, parse), NOW)[0]


def load_files(engine: Engine, shop: int, main: int, yard: int) -> Any:
    """Files that bring goods to both locations and adjust them there, the rows in an order of one's own."""
    said = []
    for n in range(8):
        act: Act = "receive" if n % 2 else "adjust"
        rows = [f"{code},1,{place},{os.getpid()}/{n}" for place in ("Main", "Yard") for code in ("MUG", "CUP")]
        data = "\n".join(["sku,units,location,reason", *rows[:: 1 if n % 3 else -1]]).encode()
        with unit_of_work(engine) as conn:
            said += [done.units for done in files.apply(conn, shop, Wanted(act), "both.csv", data, CLERK, NOW)]
    return said


def load_orders_file(engine: Engine, shop: int, main: int, order: int) -> Any:
    """Files of goods that came of one purchase order."""
    said = []
    for n in range(5):
        data = f"sku,units,reason\nCUP,1,{os.getpid()}/{n}\nMUG,1,\n".encode()
        wanted = Wanted("receive", main, against_id=order)
        with unit_of_work(engine) as conn:
            said += [done.is_new for done in files.apply(conn, shop, wanted, "came.csv", data, CLERK, NOW)]
    return [[new, 0] for new in said]


def rehearse_files(engine: Engine, shop: int, main: int, yard: int) -> Any:
    """Dry runs of transfers both ways and of counts of both locations; nothing of them stays."""
    found = []
    for n in range(6):
        transfers = f"sku,units,location,to\nMUG,{n + 1},Yard,Main\nCUP,1,Main,Yard\nMUG,1,Main,Yard\n".encode()
        counts = f"sku,units,location\nMUG,{n},Yard\nCUP,{n},Main\nMUG,{n},Main\n".encode()
        for act, data in (("transfer", transfers), ("count", counts)):
            found.append(files.dry_run(engine, shop, Wanted(act), "both.csv", data, CLERK, NOW))  # type: ignore[arg-type]
    return [str(problem) for dry in found for problem in dry.problems]


def receive_single(engine: Engine, shop: int, main: int, place: int) -> Any:
    """One receipt after another at one of the two."""
    items = [Item("MUG", 1), Item("CUP", 1)]
    return [
        tried(
            engine,
            lambda conn, n=n: operations.receive(conn, shop, place, items, f"form:{os.getpid()}:{n}", CLERK, NOW),
        )
        for n in range(20)
    ]


ROLES: dict[str, Callable[[Engine, int, int, int], Any]] = {
    role.__name__: role
    for role in (
        receive_same,
        receive_own,
        undo_it,
        take_back,
        refund,
        load_files,
        load_orders_file,
        rehearse_files,
        receive_single,
    )
}


def main() -> None:
    role, url, *numbers = sys.argv[1:]
    engine = make_engine(url, name=f"race-{role}")
    with unit_of_work(engine) as conn:
        scalar(conn, "select 1")
    with unit_of_work(engine) as conn:
        execute(conn, "set local lock_timeout = '60s'")
        print("ready", flush=True)
        scalar(conn, "select pg_advisory_xact_lock_shared(%(key)s)", key=START)
    shop, place, subject = (int(number) for number in numbers)
    print(json.dumps(ROLES[role](engine, shop, place, subject)))


# --- the races ---------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(engine: Engine) -> Desk:
    """A desk whose rows are committed; `at` gives it a connection of the moment."""
    with unit_of_work(engine) as conn:
        return make_desk(conn)


def at(conn: Any, desk: Desk) -> Desk:
    return Desk(conn, desk.world, desk.yard_id)


def race(engine: Engine, url: str, desk: Desk, *runners: tuple[str, int]) -> list[Any]:
    """Run the roles at once, each on its subject; returns what each came to."""
    with contextlib.ExitStack() as stack:
        with engine.connect() as conn, conn.begin():
            scalar(conn, "select pg_advisory_xact_lock(%(key)s)", key=START)
            running = [
                stack.enter_context(racer(__file__, role, url, *map(str, (desk.shop_id, desk.main_id, subject))))
                for role, subject in runners
            ]
            for said, errors in running:
                if said.readline().strip() != "ready":
                    errors.seek(0)
                    raise AssertionError(errors.read())
        return [answer(said, errors) for said, errors in running]


def test_one_form_sent_by_many_is_booked_once(engine: Engine, database: Any, desk: Desk) -> None:
    with unit_of_work(engine) as conn:
        order = at(conn, desk).order_goods({"MUG": 5, "CUP": 5}).document_id
    said = race(engine, database.url, desk, *[("receive_same", order)] * 4)
    assert sorted(new for new, _ in said) == [False, False, False, True]
    assert len({document for _, document in said}) == 1
    with engine.connect() as conn:
        after = at(conn, desk)
        assert (after.level("MUG"), after.level("CUP")) == ((15, 0, 0, 15), (10, 0, 0, 10))
        assert (after.state(order), after.broken()) == ("done", [])


def test_receipts_of_one_purchase_order_add_up_and_close_it(engine: Engine, database: Any, desk: Desk) -> None:
    with unit_of_work(engine) as conn:
        order = at(conn, desk).order_goods({"MUG": 20, "CUP": 20}).document_id
    said = race(engine, database.url, desk, *[("receive_own", order)] * 4)
    assert [new for runner in said for new, _ in runner] == [True] * 20
    with engine.connect() as conn:
        after = at(conn, desk)
        assert (after.level("MUG"), after.level("CUP")) == ((30, 0, 0, 30), (25, 0, 0, 25))
        assert (after.state(order), after.broken()) == ("done", [])


def test_two_who_undo_undo_once(engine: Engine, database: Any, desk: Desk) -> None:
    with unit_of_work(engine) as conn:
        document = at(conn, desk).receive({"MUG": 5, "CUP": 1}).document_id
    said = race(engine, database.url, desk, *[("undo_it", document)] * 4)
    assert sorted(new for new, _ in said) == [False, False, False, True]
    with engine.connect() as conn:
        after = at(conn, desk)
        assert (after.level("MUG"), after.level("CUP")) == ((10, 0, 0, 10), (5, 0, 0, 5))
        assert after.broken() == []


def test_one_unit_that_desks_and_channel_take_back_is_restocked_once(engine: Engine, database: Any, desk: Desk) -> None:
    with unit_of_work(engine) as conn:
        line = at(conn, desk).sell("1", shipped=1)
    record_bodies(engine, desk.world, body_of(make_refund("1", lines=[make_refund_line()])))
    connection = desk.world.connection.id
    said = race(
        engine,
        database.url,
        desk,
        ("take_back", line),
        ("refund", connection),
        ("take_back", line),
        ("take_back", line),
    )
    assert said.pop(1) == 1
    assert sorted(str(new) for new, _ in said) == ["TooManyBack", "TooManyBack", "True"]
    with engine.connect() as conn:
        after = at(conn, desk)
        assert (after.level("MUG"), after.broken()) == ((10, 0, 0, 10), [])
        (row,) = fetch(conn, "select returned_units, taken_back_units from reservations where shop_id = %(s)s",
                       s=desk.shop_id)  # fmt: skip
        assert tuple(row.values()) == (1, 1)


def test_files_for_two_locations_deadlock_with_nobody(engine: Engine, database: Any, desk: Desk) -> None:
    with unit_of_work(engine) as conn:
        at(conn, desk).receive({"MUG": 50, "CUP": 50}, at=desk.yard_id)
    loaded, other, rehearsed, at_main, at_yard = race(
        engine,
        database.url,
        desk,
        ("load_files", desk.yard_id),
        ("load_files", desk.yard_id),
        ("rehearse_files", desk.yard_id),
        ("receive_single", desk.main_id),
        ("receive_single", desk.yard_id),
    )
    assert loaded == other == [2] * 16
    assert rehearsed == []
    assert [new for new, _ in at_main + at_yard] == [True] * 40
    with engine.connect() as conn:
        after = at(conn, desk)
        brought = 2 * 8 + 20
        assert (after.level("MUG")[0], after.level("CUP")[0]) == (10 + brought, 5 + brought)
        assert {after.level(code, desk.yard_id)[0] for code in ("MUG", "CUP")} == {50 + brought}
        assert after.broken() == []


def test_files_and_forms_of_one_purchase_order_deadlock_with_nobody(engine: Engine, database: Any, desk: Desk) -> None:
    with unit_of_work(engine) as conn:
        order = at(conn, desk).order_goods({"MUG": 25, "CUP": 25}).document_id
    said = race(
        engine,
        database.url,
        desk,
        *[("load_orders_file", order), ("receive_own", order)] * 2,
        ("receive_single", desk.main_id),
    )
    assert [new for runner in said for new, _ in runner] == [True] * 40
    with engine.connect() as conn:
        after = at(conn, desk)
        assert (after.level("MUG"), after.state(order), after.broken()) == ((50, 0, 5, 50), "open", [])


Acts = dict[str, Callable[[Desk], Any]]

ACTS: Acts = {
    "purchase_order": lambda desk: desk.order_goods({"KIT": 5}),
    "draft": lambda desk: desk.draft({"KIT": 5}),
    "receipt": lambda desk: desk.receive({"KIT": 5}),
    "return": lambda desk: desk.take_back({"KIT": 5}, "write_off"),
    "count": lambda desk: desk.count(desk.open_count(codes=["MUG"]), KIT=5),
}


@pytest.mark.parametrize("act", ACTS)
def test_nothing_is_booked_of_what_becomes_a_bundle_meanwhile(
    engine: Engine, desk: Desk, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody makes it a bundle after the act has read that it is none, and before the act holds compositions."""
    with unit_of_work(engine) as conn:
        make_sku(conn, desk.shop_id, "KIT")

    def hold_later(conn: Any, shop_id: int) -> None:
        if not become:
            become.append(True)
            with unit_of_work(engine) as other:
                bundles.set_components(other, shop_id, "KIT", {"MUG": 1}, CLERK, NOW)
        hold_compositions(conn, shop_id)

    become: list[bool] = []
    monkeypatch.setattr(inventory, "hold_compositions", hold_later)
    with pytest.raises(BadInput, match=r"KIT.* a bundle"), unit_of_work(engine) as conn:
        ACTS[act](at(conn, desk))
    assert become
    with engine.connect() as conn:
        after = at(conn, desk)
        assert after.broken() == []
        assert scalar(conn, "select count(*) from stock_document_lines where shop_id = %(s)s", s=desk.shop_id) == 0


if __name__ == "__main__":
    main()
