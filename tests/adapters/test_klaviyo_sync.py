"""The catalogue at a fake Klaviyo: what is told, in which order, and what is told again."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from core.catalog.taxonomies import operations as answering
from core.catalog.taxonomies import queries as taxonomies
from core.catalog.taxonomies.loading import load_file
from core.catalog.taxonomies.rules import Target as Taxonomy
from core.catalogue_target import TargetFault, TargetSent
from core.connections import switches
from core.db import scalar, unit_of_work
from core.targets import sending, settling
from core.targets.operations import NothingToRequeue, requeue
from core.targets.sending import Planned
from core.targets.settling import OpenJob
from tests.factories import ACTOR, BASELINE
from tests.sandbox.outside import Inside
from tests.targeting import STORE, TargetWorld, add_target, make_product
from workers.targets import Seat, read_everything


@pytest.fixture
def world(module_engine: Engine, outside: Inside) -> TargetWorld:
    return add_target(module_engine, outside)


def put_together(world: TargetWorld, seat: Seat) -> Planned:
    """A job of the items that wait, as far as it comes before it is marked."""
    seat.plan()
    seat.api.ready_in("item", "create")
    world.pass_time(2)
    planned = seat._planned("item", "create")
    assert isinstance(planned, Planned)
    return planned


def test_a_whole_catalogue_is_told_and_then_nothing_more(world: TargetWorld) -> None:
    mugs, bowls = world.category("Home", "Mugs"), world.category("Home", "Bowls")
    world.save(make_product("mug", "MUG-1", "MUG-2", categories=(mugs,)))
    world.save(make_product("bowl", "BOWL-1", categories=(bowls, mugs), status="draft"))
    world.stock("MUG-2", 7)
    world.work()
    assert world.shown() == world.wanted()
    item = world.held()["items"]
    told = next(one["attributes"] for one in item.values() if one["attributes"]["title"] == "Mug")
    assert told["description"] == "Holds tea & coffee"
    assert told["url"] == f"{STORE}/products/mug"
    assert told["custom_metadata"] == {"vendor": "Potters", "tags": "blue, new", "switchyard": world.row.mark}
    sent = len(world.calls)
    world.work()
    assert len(world.calls) == sent


def test_a_dearer_variants_price_is_one_entry_of_one_job(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.work()
    before = len(world.jobs())
    world.price(product, "MUG-2", 650)
    world.work()
    (made,) = world.jobs()[before:]
    assert (made["kind"], made["verb"], made["entries"], made["state"]) == ("variant", "update", 1, "complete")
    assert world.shown() == world.wanted()


def test_the_lowest_price_is_the_items_too(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.work()
    before = len(world.jobs())
    world.price(product, "MUG-1", 350)
    world.work()
    assert {(job["kind"], job["entries"]) for job in world.jobs()[before:]} == {("item", 1), ("variant", 1)}
    assert world.held()["items"][world.name("item", product)]["attributes"]["price"] == 3.5


def test_sold_units_are_told_without_the_item(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.stock("MUG-1", 5)
    world.work()
    before = len(world.jobs())
    world.stock("MUG-1", -2)
    world.work()
    assert [(job["kind"], job["verb"], job["entries"]) for job in world.jobs()[before:]] == [("variant", "update", 1)]
    assert world.held()["variants"][world.sku_name("MUG-1")]["attributes"]["inventory_quantity"] == 3


def test_variants_go_on_when_their_own_item_is_there_though_others_are_not(world: TargetWorld) -> None:
    first = world.save(make_product("mug", "MUG-1"))
    second = world.save(make_product("bowl", "BOWL-1"))
    world.side.world.faults(kind="catalog_entry_failed", match=f"create item {world.name('item', second)}", count=1)
    seat = world.seat()
    for _ in range(30):
        world.turn(seat)
        world.pass_time(0.5)
    assert list(world.held()["variants"]) == [world.sku_name("MUG-1")]
    assert world.entry("variant", world.sku_id("BOWL-1"))["waits"]
    assert world.entry("item", first)["is_known"]
    world.pass_time(400)
    world.work()
    assert world.shown() == world.wanted()


def test_what_is_removed_goes_the_other_way_round_and_its_absence_is_read(world: TargetWorld) -> None:
    mugs = world.category("Mugs")
    product = world.save(make_product("mug", "MUG-1", "MUG-2", categories=(mugs,)))
    world.work()
    before = len(world.jobs())
    world.remove(product)
    world.work()
    assert [(job["kind"], job["verb"]) for job in world.jobs()[before:]] == [
        ("variant", "delete"), ("item", "delete"), ("category", "delete"),
    ]  # fmt: skip
    assert world.held() == {"categories": {}, "items": {}, "variants": {}}
    gone = world.entry("item", product)
    assert (gone["is_known"], gone["to_check"], gone["work"]) == (False, False, None)
    assert gone["absent_at"] is not None


def test_a_delete_that_is_not_done_is_tried_again(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    world.work()
    sku = world.sku_name("MUG-1")
    world.side.world.faults(kind="catalog_entry_failed", match=f"delete variant {sku}", count=1)
    world.remove(product)
    world.work()
    assert sku in world.held()["variants"]
    world.pass_time(120)
    world.work()
    assert world.held()["variants"] == {}


def test_a_create_of_what_is_ours_and_there_already_becomes_an_update(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    content = {"title": "Old", "description": "Old", "url": "https://old.test", "custom_metadata": world.marked()}
    world.side.control(
        "edits", edits=[{"kind": "item", "verb": "create", "id": world.name("item", product), "attributes": content}]
    )
    world.work()
    assert [(job["kind"], job["verb"], job["failed"]) for job in world.jobs()[:2]] == [
        ("item", "create", 1), ("item", "update", 0),
    ]  # fmt: skip
    assert world.shown() == world.wanted()
    assert world.entry("item", product)["problem"] is None


def test_an_update_of_what_somebody_deleted_becomes_a_create(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    world.work()
    world.side.control("edits", edits=[{"kind": "item", "verb": "delete", "id": world.name("item", product)}])
    world.change(product, title="Beaker")
    world.price(product, "MUG-1", 700)
    world.work()
    # Its variant went with it; that it is told of only by being told itself.
    assert world.shown() == world.wanted()


def test_three_failures_wait_for_a_person_or_for_other_content(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    world.side.world.faults(kind="catalog_entry_failed", match=f"create item {world.name('item', product)}", count=3)
    for _ in range(6):
        world.work()
        world.pass_time(3600)
    entry = world.entry("item", product)
    assert (entry["failures"], entry["is_held"], entry["problem_code"]) == (3, True, "invalid")
    assert entry["problem"] == "The entry could not be processed."
    assert world.rows("select * from target_failures where shop_id = %(shop)s")[0]["named"] == "mug"
    jobs = len(world.jobs())
    world.work()
    assert len(world.jobs()) == jobs
    world.change(product, title="Beaker")
    world.work()
    assert world.shown() == world.wanted()


def test_a_failed_entry_is_mapped_by_its_place_and_the_others_go_through(world: TargetWorld) -> None:
    ids = [world.save(make_product(f"p{n}", f"P{n}")) for n in range(5)]
    world.side.world.faults(kind="catalog_entry_failed", match=f"create item {world.name('item', ids[3])}", count=1)
    world.work()
    told = world.rows("select position, outcome, code, field from target_job_entries where shop_id = %(shop)s"
                      " and job_id = (select min(job_id) from target_job_entries where shop_id = %(shop)s)"
                      " order by 1")  # fmt: skip
    assert [row["outcome"] for row in told] == ["ok", "ok", "ok", "failed", "ok"]
    assert told[3]["code"] == "invalid"
    assert sorted(world.held()["items"]) == sorted(world.name("item", one) for one in ids if one != ids[3])


def test_a_cancelled_job_is_read_back_entry_by_entry(world: TargetWorld) -> None:
    for n in range(6):
        world.save(make_product(f"p{n}", f"P{n}"))
    world.side.world.faults(kind="catalog_job_cancelled", match="create item", count=1)
    world.work()
    assert world.jobs()[0]["state"] == "cancelled"
    assert world.jobs()[0]["unknown"] == 6
    assert world.shown() == world.wanted()


def test_results_that_expired_unread_are_read_back(world: TargetWorld) -> None:
    world.side.control("pace", kept_seconds=5)
    world.save(make_product("mug", "MUG-1"))
    seat = world.seat()
    seat.plan()
    seat.api.ready_in("item", "create")
    world.pass_time(2)
    assert seat.send()
    world.pass_time(100)
    world.work(seat)
    assert (world.jobs()[0]["state"], world.jobs()[0]["unknown"]) == ("lost", 1)
    world.side.control("pace", kept_seconds=86_400)
    assert world.shown() == world.wanted()


def test_a_lost_reply_is_found_again_by_the_ids_in_the_job(world: TargetWorld) -> None:
    for n in range(3):
        world.save(make_product(f"p{n}", f"P{n}"))
    world.side.world.faults(kind="lost_reply", match="catalog-item-bulk-create-jobs", count=1)
    seat = world.work()
    assert seat.counts["jobs_unknown"] == 1
    assert seat.counts["found_again"] == 1
    assert [job["verb"] for job in world.jobs() if job["kind"] == "item"] == ["create"]
    assert world.shown() == world.wanted()


def test_a_job_that_never_arrived_is_given_up_and_told_again(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1"))
    lost: list[Any] = []

    def lose(request: httpx.Request) -> None:
        if request.method == "POST" and not lost:
            lost.append(request)
            raise httpx.ReadTimeout("gone", request=request)

    world.between = lose
    world.work()
    assert world.jobs()[0]["state"] == "lost"
    assert world.shown() == world.wanted()


def test_a_lost_delete_is_proven_by_reading(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    world.work()
    world.remove(product)
    world.side.world.faults(kind="lost_reply", match="bulk-delete-jobs", count=2)
    world.work()
    assert world.held() == {"categories": {}, "items": {}, "variants": {}}


def test_no_more_than_a_hundred_entries_go_in_a_job(world: TargetWorld) -> None:
    long = "x" * 19_000
    for n in range(130):
        world.save(make_product(f"p{n}", f"P{n}", description=long))
    world.work(rounds=2_000)
    assert [job["entries"] for job in world.jobs() if job["kind"] == "item"] == [100, 30]
    assert world.shown() == world.wanted()


def test_a_variant_that_moves_is_deleted_and_made_again(world: TargetWorld) -> None:
    first = world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.work()
    moved = replace(make_product("beaker", "MUG-2"), title="Beaker")
    world.change(first, variants=make_product("mug", "MUG-1").variants)
    second = world.save(moved)
    world.work()
    assert world.held()["variants"][world.sku_name("MUG-2")]["item"] == world.name("item", second)
    assert world.shown() == world.wanted()


def test_what_cannot_be_told_says_why_and_keeps_nobody(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1", "MUG-2"))
    world.price(product, "MUG-1", None)
    other = make_product("bowl", "BOWL-1")
    dollars = tuple(replace(one, currency="USD") for one in other.variants)
    world.save(replace(other, variants=dollars))
    world.work()
    assert world.shown() == world.wanted()
    told = {row["named"]: row["problem_code"] for row in
            world.rows("select named, problem_code from target_failures where shop_id = %(shop)s")}  # fmt: skip
    assert told == {"MUG-1": "no_price", "BOWL-1": "other_currency"}


def test_nothing_is_sent_while_writes_are_stopped_or_in_shadow_mode(world: TargetWorld) -> None:
    with unit_of_work(world.engine) as conn:
        switches.to_shadow(conn, world.shop_id, world.row.id, ACTOR, BASELINE)
    world.save(make_product("mug", "MUG-1"))
    seat = world.seat()
    for _ in range(5):
        world.turn(seat)
        world.pass_time(1)
    assert (world.calls, world.jobs()) == ([], [])
    assert world.entry("variant", world.sku_id("MUG-1"))["waits"]
    with unit_of_work(world.engine) as conn:
        switches.to_live(conn, world.shop_id, world.row.id, ACTOR, BASELINE)
        switches.stop_writes(conn, world.shop_id, None, ACTOR, BASELINE)
    world.turn(seat)
    assert world.calls == []
    with unit_of_work(world.engine) as conn:
        switches.resume_writes(conn, world.shop_id, None, ACTOR, BASELINE)
    world.work()
    assert world.shown() == world.wanted()


def test_a_sender_that_died_before_it_left_or_after_is_made_good(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1"))
    seat = world.seat()
    planned = put_together(world, seat)
    # Died with the job put together.
    world.work()
    assert (world.jobs()[0]["state"], world.jobs()[0]["sent_at"]) == ("cancelled", None)
    with unit_of_work(world.engine) as conn:
        assert not sending.mark_sent(conn, seat.target, planned.job_id, world.now())
    assert world.shown() == world.wanted()

    world.save(make_product("bowl", "BOWL-1"))
    planned = put_together(world, seat)
    with unit_of_work(world.engine) as conn:
        assert sending.mark_sent(conn, seat.target, planned.job_id, world.now())
    # Died with the request on its way, which arrives.
    world.api().submit(planned.kind, planned.verb, planned.entries)
    seat = world.work()
    assert seat.counts["found_again"] == 1
    assert world.shown() == world.wanted()


def test_a_comparison_finds_what_others_did_and_leaves_alone_what_is_theirs(world: TargetWorld) -> None:
    mug = world.save(make_product("mug", "MUG-1"))
    bowl = world.save(make_product("bowl", "BOWL-1"))
    world.work()
    theirs = {"title": "Theirs", "description": "x", "url": "https://x.test"}
    world.side.control("edits", edits=[
        {"kind": "item", "verb": "update", "id": world.name("item", mug), "attributes": {"price": 1.0}},
        {"kind": "variant", "verb": "delete", "id": world.sku_name("BOWL-1")},
        {"kind": "item", "verb": "create", "id": "theirs-1", "attributes": theirs},
    ])  # fmt: skip
    seat = world.seat()
    heard: list[int] = []
    counts = read_everything(
        seat, lambda step, done, total: heard.append(done), [("category", 0), ("item", 2), ("variant", 2)]
    )
    assert (counts["differs"], counts["missing"], counts["foreign"]) == (1, 1, 1)
    assert heard[-1] == 4
    world.work(seat)
    assert world.shown() == world.wanted()
    assert world.held()["items"]["theirs-1"]["attributes"]["title"] == "Theirs"
    assert world.name("item", bowl) in world.held()["items"]


def test_a_comparison_deletes_what_came_back_and_should_not_be_there(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    world.work()
    world.remove(product)
    world.work()
    back = {"title": "Mug", "description": "x", "url": "https://x.test", "custom_metadata": world.marked()}
    world.side.control(
        "edits", edits=[{"kind": "item", "verb": "create", "id": world.name("item", product), "attributes": back}]
    )
    seat = world.seat()
    counts = read_everything(seat, lambda *_: None, [("item", 0)])
    assert counts["stale"] == 1
    world.work(seat)
    assert world.held()["items"] == {}


def test_other_settings_tell_everything_again(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1"))
    world.work()
    world.row = replace(world.row, settings={**world.row.settings, "storefront_url": "https://new.test/"})
    world.work()
    (item,) = world.held()["items"].values()
    assert item["attributes"]["url"] == "https://new.test/products/mug"


def test_failed_entries_are_tried_again_by_a_person(world: TargetWorld) -> None:
    product = world.save(make_product("mug", "MUG-1"))
    world.side.world.faults(kind="catalog_entry_failed", match=f"create item {world.name('item', product)}", count=3)
    for _ in range(4):
        world.work()
        world.pass_time(3600)
    with unit_of_work(world.engine) as conn:
        assert requeue(conn, world.shop_id, world.row.id, ACTOR, world.now(), code="invalid") == 1
    world.work()
    assert world.shown() == world.wanted()
    with unit_of_work(world.engine) as conn, pytest.raises(NothingToRequeue):
        requeue(conn, world.shop_id, world.row.id, ACTOR, world.now())


def test_a_wrong_key_is_said_of_the_connection_and_nothing_is_lost(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1"))
    world.side.entry["private_key"], right = "pk_wrong", world.side.entry["private_key"]
    seat = world.seat()
    for _ in range(3):
        world.turn(seat)
        world.pass_time(2)
    assert seat.problem is not None
    assert "private key" in seat.problem
    world.side.entry["private_key"] = right
    world.pass_time(5)
    world.work()
    assert world.shown() == world.wanted()


def test_too_many_jobs_in_progress_are_no_failure_of_the_entries(world: TargetWorld) -> None:
    world.save(make_product("mug", "MUG-1"))
    seat = world.seat()
    sent = TargetSent("refused", code="job_limit_reached", detail="500 jobs are in progress, and no more may be")
    planned = put_together(world, seat)
    with unit_of_work(world.engine) as conn:
        sending.mark_sent(conn, seat.target, planned.job_id, world.now())
        seat._put_back(conn, planned, sent, world.now())
    (entry,) = world.rows("select * from target_entries where shop_id = %(shop)s and kind = 'item'")
    assert (entry["failures"], entry["open_job_id"], entry["problem"]) == (0, None, None)
    world.pass_time(40)
    world.work()
    assert world.shown() == world.wanted()


def test_a_job_refused_for_one_entry_fails_that_one_alone(world: TargetWorld) -> None:
    ids = [world.save(make_product(f"p{n}", f"P{n}")) for n in range(3)]
    seat = world.seat()
    planned = put_together(world, seat)
    fault = TargetFault(1, "/attributes/title", "invalid", "not like that")
    with unit_of_work(world.engine) as conn:
        sending.mark_sent(conn, seat.target, planned.job_id, world.now())
        job = OpenJob(planned.job_id, "item", "create", "sent", 3, None, world.now())
        settling.refuse(conn, seat.target, job, fault, world.now())
    assert [world.entry("item", one)["failures"] for one in ids] == [0, 1, 0]
    world.pass_time(100)
    world.work()
    assert world.shown() == world.wanted()


# --- what people decided of categories -------------------------------------------------------------------------------


def compared(world: TargetWorld) -> None:
    """Everything read once, the account's own categories among it."""
    read_everything(world.seat(), lambda *_: None, [("category", 0), ("item", 0), ("variant", 0)])


def linked(world: TargetWorld, product_id: int) -> list[str]:
    return sorted(world.held()["items"][world.name("item", product_id)]["categories"])


def test_a_category_of_ours_may_be_one_that_the_account_has_already(world: TargetWorld) -> None:
    mugs, bowls = world.category("Home", "Mugs"), world.category("Home", "Bowls")
    product = world.save(make_product("mug", "MUG-1", categories=(mugs, bowls)))
    theirs = [{"kind": "category", "verb": "create", "id": "winter", "attributes": {"name": "Winter table"}}]
    world.side.control("edits", edits=theirs)
    world.work()
    assert linked(world, product) == sorted([world.name("category", mugs), world.name("category", bowls)])
    compared(world)
    target = Taxonomy("klaviyo", world.row.id)
    with unit_of_work(world.engine) as conn:
        assert [entry.ref for entry in taxonomies.entries(conn, world.shop_id, target)] == ["winter"]
        answering.map_category(conn, world.shop_id, target, bowls, "winter", ACTOR, BASELINE)
    world.work()
    assert linked(world, product) == sorted([world.name("category", mugs), "winter"])
    assert world.name("category", bowls) not in world.held()["categories"]
    sent = len(world.calls)
    world.work()
    assert len(world.calls) == sent
    compared(world)
    world.work()
    assert linked(world, product) == sorted([world.name("category", mugs), "winter"])


def another_of_the_accounts(world: TargetWorld, category_id: int, ref: str) -> None:
    with unit_of_work(world.engine) as conn:
        answering.map_category(
            conn, world.shop_id, Taxonomy("klaviyo", world.row.id), category_id, ref, ACTOR, BASELINE
        )


def with_accounts_own(world: TargetWorld, *names: str) -> None:
    edits = [{"kind": "category", "verb": "create", "id": one, "attributes": {"name": one.title()}} for one in names]
    world.side.control("edits", edits=edits)
    compared(world)


def test_a_comparison_does_not_take_another_mapping_for_told(world: TargetWorld) -> None:
    mugs = world.category("Mugs")
    product = world.save(make_product("mug", "MUG-1", categories=(mugs,)))
    world.work()
    with_accounts_own(world, "summer", "winter")
    another_of_the_accounts(world, mugs, "summer")
    world.work()
    assert linked(world, product) == ["summer"]
    another_of_the_accounts(world, mugs, "winter")
    assert world.seat().plan()
    compared(world)
    world.work()
    assert linked(world, product) == ["winter"]


def test_a_mapping_that_is_taken_back_after_a_lost_update_is_told_again(world: TargetWorld) -> None:
    mugs = world.category("Mugs")
    product = world.save(make_product("mug", "MUG-1", categories=(mugs,)))
    world.work()
    with_accounts_own(world, "summer", "winter")
    another_of_the_accounts(world, mugs, "summer")
    world.work()
    another_of_the_accounts(world, mugs, "winter")
    world.side.control("pace", kept_seconds=5)
    seat = world.seat()
    seat.plan()
    seat.api.ready_in("item", "update")
    world.pass_time(2)
    assert seat.send()
    world.pass_time(100)
    assert linked(world, product) == ["winter"]
    another_of_the_accounts(world, mugs, "summer")
    world.work(seat)
    world.side.control("pace", kept_seconds=86_400)
    assert "lost" in [job["state"] for job in world.jobs()]
    assert linked(world, product) == ["summer"]


def test_a_category_that_is_left_out_is_not_there_and_comes_back_when_it_is_not(world: TargetWorld) -> None:
    mugs = world.category("Home", "Mugs")
    product = world.save(make_product("mug", "MUG-1", categories=(mugs,)))
    world.work()
    target = Taxonomy("klaviyo", world.row.id)
    with unit_of_work(world.engine) as conn:
        home = scalar(conn, "select parent_id from categories where id = %(id)s", id=mugs)
        answering.leave_out(conn, world.shop_id, target, home, ACTOR, BASELINE)
    world.work()
    assert (linked(world, product), world.held()["categories"]) == ([], {})
    with unit_of_work(world.engine) as conn:
        answering.keep_own(conn, world.shop_id, target, mugs, ACTOR, BASELINE)
    world.work()
    assert (linked(world, product), list(world.held()["categories"])) == (
        [world.name("category", mugs)],
        [world.name("category", mugs)],
    )


def test_what_google_calls_a_category_goes_with_its_products(world: TargetWorld) -> None:
    mugs = world.category("Home", "Mugs")
    product = world.save(make_product("mug", "MUG-1", categories=(mugs,)))
    world.work()
    text = "# Google_Product_Taxonomy_Version: 2021-09-21\n1 - Home\n2 - Home > Drinkware\n"
    target = Taxonomy("google")
    with unit_of_work(world.engine) as conn:
        load_file(conn, world.shop_id, "google", "taxonomy.txt", BytesIO(text.encode()), ACTOR, BASELINE)
        answering.map_category(conn, world.shop_id, target, mugs, "2", ACTOR, BASELINE)
    world.work()
    told = world.held()["items"][world.name("item", product)]["attributes"]["custom_metadata"]
    assert told["google_product_category"] == "Home > Drinkware"
