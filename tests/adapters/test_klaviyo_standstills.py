"""The catalogue at a fake Klaviyo when things go wrong there: nothing is told, and nothing is left, for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from core.catalogue_target import TargetEntry, TargetJob
from core.targets import seeking
from core.targets.settling import OpenJob
from tests.sandbox.outside import Inside
from tests.targeting import TargetWorld, add_target, make_product


@pytest.fixture
def world(module_engine: Engine, outside: Inside) -> TargetWorld:
    return add_target(module_engine, outside)


# --- lost deletes ----------------------------------------------------------------------------------------------------


def test_a_lost_delete_takes_no_job_for_its_own_by_size(world: TargetWorld) -> None:
    sent_at = world.now()
    lost = OpenJob(1, "variant", "delete", "lost", 2, None, sent_at)

    def found(*states: str, seconds: float, created: float = 0.0) -> str:
        jobs = [
            TargetJob(f"r{n}", state, 2, 0, 0, sent_at + timedelta(seconds=created), None)  # type: ignore[arg-type]
            for n, state in enumerate(states)
        ]
        now = sent_at + timedelta(seconds=seconds)
        return seeking.search(lost, frozenset({"1", "2"}), jobs, lambda ref: frozenset(), now).verdict

    assert found("complete", seconds=1) == "wait"
    assert found("complete", seconds=60) == "never"
    assert found("complete", "processing", seconds=60) == "wait"
    # One that was made when it could no longer have arrived is not it.
    assert found("complete", "processing", seconds=600, created=300) == "never"


def test_a_lost_delete_beside_somebody_elses_of_its_size_is_in_one_job_at_a_time(world: TargetWorld) -> None:
    ids = [world.save(make_product(f"p{n}", f"P{n}")) for n in range(2)]
    world.work()
    world.side.control("pace", processing_seconds=20)
    theirs = world.side.world
    world.remove(ids[0])
    theirs.faults(kind="lost_reply", match="variant-bulk-delete-jobs", count=1)
    seat = world.seat()
    for _ in range(4):
        world.turn(seat)
        world.pass_time(1)
    assert world.jobs()[-1]["state"] == "lost"
    somebody = world.api()
    somebody.ready_in("variant", "delete")
    world.pass_time(2)
    assert somebody.submit("variant", "delete", [TargetEntry(world.sku_name("P1"))]).outcome == "submitted"
    world.work(seat)
    world.side.control("pace", processing_seconds=3)
    assert seat.counts["found_again"] == 0
    assert list(world.held()["items"]) == [world.name("item", ids[1])]


def test_an_id_that_is_another_jobs_leaves_the_job_lost(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1"))
    world.work()
    taken = world.jobs()[0]["ref"]
    world.save(make_product("bowl", "BOWL-1"))
    answered: list[Any] = []

    def mistake(request: httpx.Request, response: httpx.Response) -> None:
        if request.method == "POST" and not answered:
            answered.append(response.json()["data"]["id"])
            response._content = response.content.replace(answered[0].encode(), taken.encode())
            response.headers["content-length"] = str(len(response.content))

    world.after = mistake
    seat = world.work()
    assert (len(answered), seat.counts["found_again"]) == (1, 1)
    assert world.shown() == world.wanted()


# --- what can no longer be told --------------------------------------------------------------------------------------


def test_a_variant_that_lost_its_price_is_deleted_and_comes_back_with_one(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.stock("MUG-2", 5)
    world.work()
    world.price(product, "MUG-2", None)
    world.work()
    assert list(world.held()["variants"]) == [world.sku_name("MUG-1")]
    gone = world.entry("variant", world.sku_id("MUG-2"))
    assert (gone["state"], gone["problem_code"], gone["work"]) == ("problem", "no_price", None)
    assert gone["absent_at"] is not None
    world.stock("MUG-2", -2)
    sent = len(world.jobs())
    world.work()
    assert len(world.jobs()) == sent
    world.price(product, "MUG-2", 300)
    world.work()
    assert world.shown() == world.wanted()


def test_nothing_of_an_archived_product_stays_published(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.work()
    world.price(product, "MUG-2", None)
    world.change(product, status="archived")
    world.work()
    held = world.held()
    assert [one["attributes"]["published"] for one in held["items"].values()] == [False]
    assert {id_: one["attributes"]["published"] for id_, one in held["variants"].items()} == {
        world.sku_name("MUG-1"): False
    }


def test_a_variants_delete_that_is_held_is_tried_again_by_a_person(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.work()
    world.side.world.faults(kind="catalog_entry_failed", match=f"delete variant {world.sku_name('MUG-2')}", count=3)
    world.price(product, "MUG-2", None)
    for _ in range(4):
        world.work()
        world.pass_time(3600)
    assert world.entry("variant", world.sku_id("MUG-2"))["state"] == "held"
    world.try_again()
    world.work()
    assert world.shown() == world.wanted()


def test_a_variant_that_moves_and_cannot_be_told_is_not_left_where_it_was(world: TargetWorld) -> None:
    first = world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.work()
    world.change(first, variants=make_product("mug", "MUG-1").variants)
    beaker = make_product("beaker", "MUG-2")
    unpriced = tuple(replace(one, price_minor=None) for one in beaker.variants)
    second = world.save(replace(beaker, variants=unpriced))
    world.work()
    assert list(world.held()["variants"]) == [world.sku_name("MUG-1")]
    assert world.entry("variant", world.sku_id("MUG-2"))["state"] == "problem"
    world.price(second, "MUG-2", 300)
    world.work()
    assert world.shown() == world.wanted()


# --- what others hang on ---------------------------------------------------------------------------------------------


def test_a_category_that_is_refused_keeps_no_product_out_and_is_linked_once_it_is_taken(world: TargetWorld) -> None:
    mugs, bowls = world.category("Mugs"), world.category("Bowls")
    product = world.save(make_product("mug", "MUG-1", categories=(mugs, bowls)))
    world.side.world.faults(
        kind="catalog_entry_failed", match=f"create category {world.name('category', mugs)}", count=3
    )
    for _ in range(4):
        world.work()
        world.pass_time(3600)
    assert world.entry("category", mugs)["state"] == "held"
    assert world.held()["items"][world.name("item", product)]["categories"] == [world.name("category", bowls)]
    assert list(world.held()["variants"]) == [world.sku_name("MUG-1")]
    assert world.entry("item", product)["failures"] == 0
    sent = len(world.jobs())
    world.work()
    assert len(world.jobs()) == sent
    world.try_again()
    world.work()
    assert world.shown() == world.wanted()


def test_an_item_that_is_held_keeps_no_category_that_is_to_go(world: TargetWorld) -> None:
    mugs = world.category("Mugs")
    product = world.save(make_product("mug", "MUG-1", categories=(mugs,)))
    world.work()
    world.side.world.faults(kind="catalog_entry_failed", match=f"update item {world.name('item', product)}", count=3)
    world.change(product, categories=())
    for _ in range(4):
        world.work()
        world.pass_time(3600)
    assert world.entry("item", product)["state"] == "held"
    assert world.held()["categories"] == {}
    # It is to be as it was told last, and its link went with the category.
    world.change(product, categories=(mugs,))
    world.work()
    assert world.held()["items"][world.name("item", product)]["categories"] == [world.name("category", mugs)]
    assert world.shown() == world.wanted()


# --- drains, and faults that name nobody ------------------------------------------------------------------------------


def one_after_another(hands: Sequence[Callable[[], None]]) -> None:
    for hand in hands:
        hand()


def test_a_drain_that_could_do_nothing_does_not_ask_for_another(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    world.work()
    world.side.world.faults(kind="catalog_entry_failed", match=f"delete variant {world.sku_name('MUG-1')}", count=1)
    world.remove(product)
    world.work()
    # The item's delete is due, and cannot go while its variant rests.
    assert (world.entry("item", product)["work"], world.entry("item", product)["is_known"]) == ("delete", True)
    seat = world.seat()
    seat.together = one_after_another
    assert seat.drain(20) == {}
    assert seat.goes_on() == (False, None)
    world.save(make_product("bowl", "BOWL-1"))
    assert seat.plan()
    assert seat.goes_on() == (True, None)


def test_a_drain_that_met_a_wrong_key_is_not_rung_for_its_open_jobs(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1"))
    seat = world.seat()
    seat.plan()
    seat.api.ready_in("item", "create")
    world.pass_time(2)
    assert seat.send()
    assert seat.goes_on()[1] is not None
    seat.problem = "the private key opens nothing"
    assert seat.goes_on() == (False, None)


def without_places(request: httpx.Request, response: httpx.Response) -> None:
    """The target's faults as if they named nobody."""
    if b"catalog-item-bulk" in response.content and b'"pointer"' in response.content:
        response._content = response.content.replace(b"/data/attributes/items/data/", b"/data/attributes/items/")
        response.headers["content-length"] = str(len(response.content))


@pytest.mark.parametrize("verb", ["create", "update"])
def test_faults_that_name_nobody_wait_for_a_person_as_well(world: TargetWorld, verb: str) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    if verb == "update":
        world.work()
        world.change(product, title="Beaker")
    world.after = without_places
    world.side.world.faults(kind="catalog_entry_failed", match=f"{verb} item {world.name('item', product)}", count=4)

    def sent() -> int:
        return sum((job["kind"], job["verb"]) == ("item", verb) for job in world.jobs())

    before = sent()
    world.work()
    # Once again when it was read, and then not before it has rested.
    assert sent() == before + 2
    for _ in range(4):
        world.work()
        world.pass_time(3600)
    entry = world.entry("item", product)
    assert (entry["failures"], entry["state"]) == (3, "held")
    assert (entry["problem_kind"], entry["problem"]) == ("refused", "The entry could not be processed.")
    assert sent() == before + 3
    world.try_again()
    world.work()
    world.try_again()
    world.work()
    assert world.shown() == world.wanted()
