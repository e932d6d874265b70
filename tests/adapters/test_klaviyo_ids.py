"""Ids at a fake Klaviyo account that others write to as well: ours are told from theirs, and theirs are left alone."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from core.db import execute, unit_of_work
from core.targets import rules
from tests.sandbox.klaviyo_side import new_item, new_variant
from tests.sandbox.outside import Inside
from tests.targeting import TargetWorld, add_target, make_product
from workers.targets import read_everything

EVERYTHING: list[Any] = [("category", 0), ("item", 0), ("variant", 0)]


@pytest.fixture
def world(module_engine: Engine, outside: Inside) -> TargetWorld:
    return add_target(module_engine, outside)


def theirs(world: TargetWorld, kind: str, entry: dict[str, Any]) -> None:
    assert world.side.create(kind, entry).status_code == 201


def failures(world: TargetWorld) -> list[tuple[str, str, str]]:
    rows = world.rows(
        """
        select named, problem_code, problem from target_failures where shop_id = %(shop)s and is_held order by entry_id
        """
    )
    return [(row["named"], row["problem_code"], row["problem"]) for row in rows]


def test_what_another_integration_numbers_like_us_is_left_alone(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1", categories=(world.category("Mugs"),)))
    theirs(world, "item", new_item(str(product), title="Somebody's"))
    theirs(world, "variant", new_variant(str(world.sku_id("MUG-1")), str(product), price=99.0))
    before = world.held()
    world.work()
    assert world.shown() == world.wanted()
    world.remove(product)
    world.work()
    assert world.held() == before


def test_two_shops_that_tell_one_account_keep_out_of_each_others_way(world: TargetWorld, outside: Inside) -> None:
    other = add_target(world.engine, outside, side=world.side)
    for one in (world, other):
        one.save(make_product("mug", "MUG-1", categories=(one.category("Mugs"),)))
        one.work()
    assert world.row.mark != other.row.mark
    assert [one.shown() == one.wanted() for one in (world, other)] == [True, True]
    counts = read_everything(other.seat(), lambda *_: None, EVERYTHING)
    assert (counts["in_step"], counts["foreign"]) == (3, 3)
    assert world.shown() == world.wanted()


def test_an_id_of_ours_that_somebody_else_has_is_not_taken_over(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    name = world.name("item", product)
    theirs(world, "item", new_item(name, title="Somebody's"))
    world.work()
    for _ in range(3):
        world.pass_time(3600)
        world.work()
    assert world.held()["items"][name]["attributes"]["title"] == "Somebody's"
    assert failures(world) == [("mug", rules.TAKEN, rules.taken(name))]
    assert [(job["verb"], job["failed"]) for job in world.jobs()] == [("create", 1)]
    # A person who has it tried again while it stands there learns the same.
    world.try_again()
    world.work()
    assert failures(world) == [("mug", rules.TAKEN, rules.taken(name))]
    world.side.control("edits", edits=[{"kind": "item", "verb": "delete", "id": name}])
    world.try_again()
    world.work()
    assert world.shown() == world.wanted()


def test_an_id_that_is_free_again_is_found_by_the_next_comparison(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    name = world.name("item", product)
    theirs(world, "item", new_item(name))
    world.work()
    counts = read_everything(world.seat(), lambda *_: None, EVERYTHING)
    assert (counts["taken"], counts["missing"]) == (1, 0)
    world.work()
    assert len(failures(world)) == 1
    world.side.control("edits", edits=[{"kind": "item", "verb": "delete", "id": name}])
    read_everything(world.seat(), lambda *_: None, EVERYTHING)
    world.work()
    assert failures(world) == []
    assert world.shown() == world.wanted()


def without_items(request: httpx.Request, response: httpx.Response) -> None:
    """Answers that do not say whose a variant is, as the vendor's document allows."""
    if request.method != "GET" or "/api/catalog-variants" not in str(request.url):
        return
    said = json.loads(response.content)
    for one in said["data"]:
        del one["relationships"]
    response._content = json.dumps(said).encode()
    response.headers["content-length"] = str(len(response.content))


@pytest.mark.parametrize("is_said", [True, False])
def test_a_variant_of_somebody_elses_item_is_noticed(world: TargetWorld, is_said: bool) -> None:
    world.save(make_product("mug", "MUG-1", "MUG-2"))
    astray, own = world.sku_name("MUG-1"), world.sku_name("MUG-2")
    theirs(world, "item", new_item("theirs"))
    theirs(world, "variant", new_variant(astray, "theirs", custom_metadata=world.marked()))
    if not is_said:
        world.after = without_items
    world.work()
    held = world.held()["variants"]
    assert (held[astray]["item"], held[astray]["attributes"]["price"]) == ("theirs", 4.5)
    assert own in held
    assert failures(world) == [("MUG-1", rules.TAKEN, rules.taken(astray, "theirs" if is_said else "another item"))]
    read_everything(world.seat(), lambda *_: None, EVERYTHING)
    world.work()
    assert world.held()["variants"][astray]["item"] == "theirs"
    world.side.control("edits", edits=[{"kind": "variant", "verb": "delete", "id": astray}])
    world.try_again()
    world.work()
    assert world.shown() == world.wanted()


@pytest.mark.parametrize("is_said", [True, False])
def test_what_we_told_and_forgot_is_known_again(world: TargetWorld, is_said: bool) -> None:
    """As after a database was brought back from a copy."""
    world.save(make_product("mug", "MUG-1", "MUG-2", categories=(world.category("Mugs"),)))
    world.work()
    forget = (
        "update target_entries set is_known = false, confirmed_hash = null, linked_ids = '{}' where shop_id = %(s)s"
    )
    with unit_of_work(world.engine) as conn:
        execute(conn, forget, s=world.shop_id)
    if not is_said:
        world.after = without_items
    before = len(world.jobs())
    read_everything(world.seat(), lambda *_: None, EVERYTHING)
    world.work()
    assert {job["verb"] for job in world.jobs()[before:]} == {"update"}
    assert failures(world) == []
    assert world.shown() == world.wanted()


def test_a_variant_of_ours_that_is_another_items_of_ours_is_made_again(world: TargetWorld) -> None:
    first = world.save(make_product("mug", "MUG-1"))
    second = world.save(make_product("bowl", "BOWL-1"))
    world.work()
    name = world.sku_name("BOWL-1")
    world.side.control("edits", edits=[{"kind": "variant", "verb": "delete", "id": name}])
    moved = new_variant(name, world.name("item", first), custom_metadata=world.marked())
    theirs(world, "variant", moved)
    read_everything(world.seat(), lambda *_: None, EVERYTHING)
    world.work()
    assert world.held()["variants"][name]["item"] == world.name("item", second)
    assert world.shown() == world.wanted()


def test_what_somebody_made_under_an_id_that_we_gave_up_is_theirs(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    world.work()
    world.remove(product)
    world.work()
    name = world.name("item", product)
    theirs(world, "item", new_item(name, title="Somebody's"))
    counts = read_everything(world.seat(), lambda *_: None, EVERYTHING)
    assert counts["stale"] == 0
    world.work()
    assert list(world.held()["items"]) == [name]
    assert failures(world) == []
