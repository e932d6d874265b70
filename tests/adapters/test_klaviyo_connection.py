"""What is wrong with the connection, and not with what is told, loses nothing: settings, address, revision, answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from core.adapters.klaviyo.client import MEDIA_TYPE
from core.connections import switches
from core.db import unit_of_work
from core.targets import checking, sending, settling
from core.targets.operations import NothingToRequeue, requeue
from core.targets.settling import OpenJob
from tests.factories import ACTOR
from tests.sandbox.outside import Inside
from tests.targeting import TargetWorld, add_target, make_product
from workers.targets import Seat


@pytest.fixture
def world(module_engine: Engine, outside: Inside) -> TargetWorld:
    return add_target(module_engine, outside)


def handed_in(world: TargetWorld, kind: Any = "item", verb: Any = "create") -> Seat:
    """A seat whose next job of that kind is under way."""
    seat = world.seat()
    seat.plan()
    seat.api.ready_in(kind, verb)
    world.pass_time(2)
    assert seat.send()
    return seat


# --- settings --------------------------------------------------------------------------------------------------------


def without(world: TargetWorld, name: str) -> None:
    world.row = replace(world.row, settings={key: value for key, value in world.row.settings.items() if key != name})


def test_a_connection_that_lost_the_shops_address_deletes_nothing(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.work()
    before, row = world.held(), world.row
    without(world, "storefront_url")
    world.work()
    assert world.held() == before
    told = world.rows("select kind, state, problem_code from target_entries where shop_id = %(shop)s order by id")
    assert [(one["kind"], one["state"], one["problem_code"]) for one in told] == [
        ("item", "problem", "no_url"), ("variant", "problem", "no_url"), ("variant", "problem", "no_url"),
    ]  # fmt: skip
    # Nor does it when the product is changed meanwhile; what is new waits.
    world.change(product, title="Beaker")
    world.save(make_product("bowl", "BOWL-1"))
    world.work()
    assert world.held() == before
    # What is taken out here goes there all the same.
    world.change(product, variants=make_product("mug", "MUG-1").variants)
    world.work()
    assert list(world.held()["variants"]) == [world.sku_name("MUG-1")]
    world.row = row
    world.work()
    assert world.shown() == world.wanted()


def test_a_connection_that_lost_its_currency_deletes_nothing(module_engine: Engine, outside: Inside) -> None:
    world = add_target(module_engine, outside, {"currency": "USD"})
    document = make_product("mug", "MUG-1")
    dollars = tuple(replace(one, currency="USD") for one in document.variants)
    product = world.save(replace(document, variants=dollars))
    world.work()
    before = world.held()["variants"]
    assert list(before) == [world.sku_name("MUG-1")]
    row = world.row
    without(world, "currency")
    world.work()
    assert world.held()["variants"] == before
    assert "or give the connection its setting currency" in world.entry("variant", world.sku_id("MUG-1"))["problem"]
    # Where the connection says what it takes, a price in another currency is the product's own affair.
    world.row = row
    world.work()
    pounds = tuple(replace(one, currency="GBP") for one in document.variants)
    world.change(product, variants=pounds)
    world.work()
    assert world.held()["variants"] == {}


# --- what goes -------------------------------------------------------------------------------------------------------


def test_an_item_goes_though_a_variant_of_it_waits_for_a_person(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.work()
    world.side.world.faults(kind="catalog_entry_failed", match=f"delete variant {world.sku_name('MUG-1')}", count=3)
    world.remove(product)
    for _ in range(4):
        world.work()
        world.pass_time(3600)
    assert world.held() == {"categories": {}, "items": {}, "variants": {}}
    gone = world.rows("select state, failures, problem from target_entries where shop_id = %(shop)s")
    assert gone == [{"state": "gone", "failures": 0, "problem": None}] * 3


def test_a_variant_whose_move_waits_for_a_person_goes_with_the_item_it_left(world: TargetWorld) -> None:
    first = world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.work()
    world.side.world.faults(kind="catalog_entry_failed", match=f"delete variant {world.sku_name('MUG-2')}", count=3)
    world.change(first, variants=make_product("mug", "MUG-1").variants)
    world.save(make_product("beaker", "MUG-2"))
    for _ in range(4):
        world.work()
        world.pass_time(3600)
    assert world.entry("variant", world.sku_id("MUG-2"))["state"] == "held"
    world.remove(first)
    world.work()
    assert world.shown() == world.wanted()


@pytest.mark.parametrize(("kind", "verb"), [("item", "create"), ("variant", "create")])
def test_a_product_that_is_removed_while_it_is_being_made_is_removed(world: TargetWorld, kind: str, verb: str) -> None:
    product = world.save(make_product("mug", "MUG-1", "MUG-2"))
    seat = handed_in(world)
    if kind == "variant":
        world.pass_time(20)
        while seat.look():
            pass
        seat.api.ready_in("variant", "create")
        world.pass_time(2)
        assert seat.send()
    assert (world.jobs()[-1]["kind"], world.jobs()[-1]["verb"], world.jobs()[-1]["state"]) == (kind, verb, "queued")
    world.remove(product)
    world.work(seat)
    assert world.held() == {"categories": {}, "items": {}, "variants": {}}
    assert {row["state"] for row in world.rows("select state from target_entries where shop_id = %(shop)s")} == {"gone"}


# --- answers ---------------------------------------------------------------------------------------------------------


def klaviyos(status: int, code: str) -> httpx.Response:
    said = {"id": "1", "status": status, "code": code, "title": "No.", "detail": "Not like that.", "source": {}}
    return httpx.Response(status, json={"errors": [said]}, headers={"content-type": MEDIA_TYPE})


@pytest.mark.parametrize(
    "answer",
    [
        klaviyos(410, "retired_revision"), klaviyos(415, "unsupported_media_type"), klaviyos(404, "not_found"),
        klaviyos(405, "method_not_allowed"), klaviyos(400, "invalid_revision"),
        httpx.Response(404, text="<h1>Not here</h1>"), httpx.Response(301, headers={"location": "https://x.test"}),
    ],
    ids=lambda answer: str(answer.status_code),
)  # fmt: skip
def test_an_answer_about_the_connection_holds_the_lane_and_refuses_nothing(
    world: TargetWorld, answer: httpx.Response
) -> None:
    world.save(make_product("mug", "MUG-1"))
    world.between = lambda request: answer
    for _ in range(4):
        seat = world.seat()
        world.turn(seat)
        world.pass_time(90)
        world.turn(seat)
        assert seat.problem is not None
        assert str(answer.status_code) in seat.problem
        assert seat.goes_on() == (False, None)
        world.pass_time(3600)
    entries = world.rows("select failures, is_held, problem from target_entries where shop_id = %(shop)s")
    assert entries == [{"failures": 0, "is_held": False, "problem": None}] * 2
    assert {(job["state"], job["failed"]) for job in world.jobs()} == {("cancelled", None)}
    world.between = lambda request: None
    world.work()
    assert world.shown() == world.wanted()


def test_a_job_under_way_outlives_an_address_that_is_wrong_for_a_while(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1"))
    seat = handed_in(world)
    world.between = lambda request: httpx.Response(404, text="<h1>Not here</h1>")
    for _ in range(3):
        world.pass_time(60)
        assert not seat.look()
    assert seat.problem is not None
    world.between = lambda request: None
    world.pass_time(60)
    world.work()
    assert (world.jobs()[0]["state"], world.jobs()[0]["succeeded"]) == ("complete", 1)
    assert world.shown() == world.wanted()


def cut(request: httpx.Request, response: httpx.Response) -> None:
    """Half of an answer, as where the connection dies in the middle of it."""
    response._content = response.content[:40]
    response.headers["content-length"] = "40"


def broken(request: httpx.Request, response: httpx.Response) -> None:
    raise httpx.RemoteProtocolError("peer closed connection", request=request)


@pytest.mark.parametrize("harm", [cut, broken])
def test_a_job_whose_answer_is_cut_is_found_and_not_sent_again(world: TargetWorld, harm: Any) -> None:
    world.save(make_product("mug", "MUG-1"))
    harmed: list[httpx.Request] = []

    def once(request: httpx.Request, response: httpx.Response) -> None:
        if request.method == "POST" and not harmed:
            harmed.append(request)
            harm(request, response)

    world.after = once
    seat = world.work()
    assert (seat.counts["jobs_unknown"], seat.counts["found_again"]) == (1, 1)
    assert [(job["kind"], job["verb"]) for job in world.jobs()] == [("item", "create"), ("variant", "create")]
    assert world.shown() == world.wanted()


# --- twice, late, and two at once ------------------------------------------------------------------------------------


def test_what_is_told_of_a_job_twice_counts_once(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    world.side.world.faults(kind="catalog_entry_failed", match=f"create item {world.name('item', product)}", count=1)
    seat = handed_in(world)
    world.pass_time(30)
    (row,) = world.jobs()
    job = OpenJob(row["id"], "item", "create", "queued", 1, row["ref"], row["sent_at"])
    told = seat.api.job("item", "create", row["ref"])
    assert told is not None
    said = []
    for _ in range(2):
        with unit_of_work(world.engine) as conn:
            said.append(settling.settle(conn, seat.target, job, told, world.now()))
    assert said == [{"ok": 0, "failed": 1, "unknown": 0}, {}]
    assert world.entry("item", product)["failures"] == 1


def test_a_reading_that_comes_late_does_not_undo_what_was_confirmed_since(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    world.work()
    names = [world.name("item", product)]
    asked_at = world.now()
    old = world.api().records("item", names)
    world.change(product, title="Beaker")
    world.work()
    for records in (old, []):
        with unit_of_work(world.engine) as conn:
            checking.note_read(conn, world.seat().target, "item", names, records, asked_at, world.now())
    entry = world.entry("item", product)
    assert (entry["is_known"], entry["state"]) == (True, "in_step")


def test_a_second_worker_of_a_lane_that_takes_the_first_for_dead_sends_nothing_twice(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1"))
    first, second = world.seat(), world.seat()
    posts: list[str] = []

    def meanwhile(request: httpx.Request) -> None:
        if request.method == "POST" and not posts:
            posts.append(request.url.path)
            # The first one's request is on its way; the second takes its job for left behind.
            world.recover(second)
            second.plan()
            assert not second.send()

    world.between = meanwhile
    first.plan()
    first.api.ready_in("item", "create")
    world.pass_time(2)
    assert first.send()
    assert [job["state"] for job in world.jobs()] == ["queued"]
    world.work(second)
    assert [(job["kind"], job["verb"]) for job in world.jobs()] == [("item", "create"), ("variant", "create")]
    assert world.shown() == world.wanted()


def test_two_workers_of_a_lane_by_turns_keep_each_id_in_one_job(world: TargetWorld) -> None:
    for n in range(5):
        world.save(make_product(f"p{n}", f"P{n}"))
    seats = [world.seat(), world.seat()]
    for turn in range(40):
        world.turn(seats[turn % 2])
        world.pass_time(1.0)
    world.work()
    assert world.shown() == world.wanted()


# --- what people do --------------------------------------------------------------------------------------------------


def test_what_waits_for_its_turn_already_is_not_requeued_again(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    world.side.world.faults(kind="catalog_entry_failed", match=f"create item {world.name('item', product)}", count=3)
    for _ in range(4):
        world.work()
        world.pass_time(3600)
    with unit_of_work(world.engine) as conn:
        assert requeue(conn, world.shop_id, world.row.id, ACTOR, world.now()) == 1
    assert world.entry("item", product)["problem_kind"] == "refused"
    with unit_of_work(world.engine) as conn, pytest.raises(NothingToRequeue):
        requeue(conn, world.shop_id, world.row.id, ACTOR, world.now())
    world.work()
    assert world.shown() == world.wanted()


def test_a_target_that_is_paused_in_the_middle_goes_on_where_it_was(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1"))
    seat = handed_in(world)
    with unit_of_work(world.engine) as conn:
        switches.pause(conn, world.shop_id, world.row.id, ACTOR, world.now())
    world.save(make_product("bowl", "BOWL-1"))
    for _ in range(20):
        world.turn(seat)
        world.pass_time(2)
    assert [(job["kind"], job["verb"], job["state"]) for job in world.jobs()] == [("item", "create", "complete")]
    with unit_of_work(world.engine) as conn:
        switches.resume(conn, world.shop_id, world.row.id, ACTOR, world.now())
    world.work()
    assert world.shown() == world.wanted()


def test_a_job_that_is_put_together_by_two_at_once_is_marked_by_one(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1"))
    seat = world.seat()
    seat.plan()
    seat.api.ready_in("item", "create")
    world.pass_time(2)
    planned = seat._planned("item", "create")
    marked = []
    for _ in range(2):
        with unit_of_work(world.engine) as conn:
            marked.append(sending.mark_sent(conn, seat.target, planned.job_id, world.now()))
    assert marked == [True, False]
