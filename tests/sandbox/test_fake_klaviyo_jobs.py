"""Bulk jobs of the fake Klaviyo: taken at once, done later, and told entry by entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox.klaviyo_side import (
    MEDIA_TYPE,
    REVISION,
    KlaviyoSide,
    change,
    compound,
    new_category,
    new_item,
    new_variant,
    ref,
)
from tests.sandbox.outside import Inside

DAY = 86_400


@pytest.fixture
def side(inside: Inside) -> KlaviyoSide:
    return KlaviyoSide(inside)


def test_a_job_is_queued_then_processed_then_complete(side: KlaviyoSide) -> None:
    side.control("pace", queued_seconds=1, processing_seconds=4, spread=0)
    made = side.start("item", "create", [new_item("a")])
    assert made.status_code == 202
    data = made.json()["data"]
    assert (data["attributes"]["status"], data["attributes"]["total_count"]) == ("queued", 1)
    side.clock.advance(1)
    assert side.job("item", "create", data["id"])["status"] == "processing"
    assert side.catalogue()["items"] == {}
    side.clock.advance(4)
    ended = side.job("item", "create", data["id"])
    assert (ended["status"], ended["completed_count"], ended["failed_count"]) == ("complete", 1, 0)
    assert ended["completed_at"] is not None
    assert list(side.catalogue()["items"]) == ["a"]


def test_a_create_is_no_upsert_and_each_entry_has_its_own_fate(side: KlaviyoSide) -> None:
    side.run("item", "create", new_item("b"))
    entries = [new_item(name) for name in ("a", "b", "c", "a")]
    assert side.failed("item", "create", *entries) == [
        ("1/attributes/external_id", "conflict"),
        ("3/attributes/external_id", "conflict"),
    ]
    assert list(side.catalogue()["items"]) == ["b", "a", "c"]


def test_an_update_of_what_is_not_there_fails_by_itself(side: KlaviyoSide) -> None:
    side.run("item", "create", new_item("a", price=1))
    changes = [change("item", "a", price=2.5), change("item", "x", price=3), change("item", "a", title="New")]
    assert side.failed("item", "update", *changes) == [("1/id", "not_found")]
    kept = side.catalogue()["items"]["a"]["attributes"]
    assert (kept["price"], kept["title"], kept["description"]) == (2.5, "New", "Good.")


def test_an_update_with_null_clears_and_without_a_field_leaves_it(side: KlaviyoSide) -> None:
    side.run("item", "create", new_item("a", price=1, image_full_url="https://a.test/i"))
    side.run("item", "update", change("item", "a", price=None))
    kept = side.catalogue()["items"]["a"]["attributes"]
    assert (kept["price"], kept["image_full_url"]) == (None, "https://a.test/i")


def test_a_variant_needs_its_item_and_goes_with_it(side: KlaviyoSide) -> None:
    assert side.failed("variant", "create", new_variant("v", "a")) == [("0/relationships/item/data/id", "not_found")]
    side.run("item", "create", new_item("a"), new_item("b"))
    variants = [new_variant("v", "a"), new_variant("w", "a"), new_variant("x", "b")]
    assert side.failed("variant", "create", *variants) == []
    assert side.failed("item", "delete", ref("item", "a"), ref("item", "z")) == [("1/id", "not_found")]
    assert {name: entry["item"] for name, entry in side.catalogue()["variants"].items()} == {"x": "b"}


def test_categories_are_linked_from_either_side_and_an_update_replaces_them(side: KlaviyoSide) -> None:
    side.run("category", "create", new_category("x"), new_category("y"), new_category("z"))
    missing = side.failed("item", "create", new_item("a", "x", "y"), new_item("b", "x", "nowhere"))
    assert missing == [("1/relationships/categories/data/1/id", "not_found")]
    update = change("item", "a") | {"relationships": {"categories": {"data": [ref("category", "z")]}}}
    assert side.failed("item", "update", update) == []
    assert side.catalogue()["items"]["a"]["categories"] == ["z"]
    update = change("category", "x") | {"relationships": {"items": {"data": [ref("item", "a")]}}}
    assert side.failed("category", "update", update) == []
    assert side.catalogue()["items"]["a"]["categories"] == ["x", "z"]
    side.run("category", "delete", ref("category", "x"))
    assert side.catalogue()["items"]["a"]["categories"] == ["z"]


@pytest.mark.breaks_contract("metadata")
def test_metadata_is_flat_and_small(side: KlaviyoSide) -> None:
    entries = [
        new_item("a", custom_metadata={"colour": "red", "weight": 3, "fits": None}),
        new_item("b", custom_metadata={"deep": {"er": 1}}),
        new_item("c", custom_metadata={"long": "x" * 100_001}),
    ]
    at = "attributes/custom_metadata"
    assert side.failed("item", "create", *entries) == [(f"1/{at}", "invalid"), (f"2/{at}", "invalid")]


@pytest.mark.breaks_contract("body")
def test_an_entry_of_another_form_refuses_the_whole_request(side: KlaviyoSide) -> None:
    wrong = [new_item(str(number)) for number in range(8)]
    del wrong[7]["attributes"]["url"]
    wrong[2]["attributes"]["titel"] = "x"
    wrong[3]["attributes"]["price"] = "4.50"
    answer = side.start("item", "create", wrong)
    assert answer.status_code == 400
    start = "/data/attributes/items/data"
    assert [error["source"]["pointer"] for error in answer.json()["errors"]] == [
        f"{start}/2/attributes/titel",
        f"{start}/3/attributes/price",
        f"{start}/7/attributes/url",
    ]
    side.clock.advance(10)
    assert side.catalogue()["items"] == {}


@pytest.mark.breaks_contract("entries")
def test_a_job_takes_a_hundred_entries(side: KlaviyoSide) -> None:
    assert side.start("item", "delete", [ref("item", str(number)) for number in range(101)]).status_code == 400
    assert side.start("item", "delete", []).status_code == 400
    assert side.start("item", "delete", [ref("item", str(number)) for number in range(100)]).status_code == 202


@pytest.mark.breaks_contract("size")
def test_a_request_has_five_megabytes_at_most(side: KlaviyoSide) -> None:
    entries = [new_item(str(number), description="x" * 60_000) for number in range(90)]
    assert side.start("item", "create", entries).status_code == 413


def test_only_so_many_jobs_are_in_progress_at_a_time(side: KlaviyoSide) -> None:
    side.control("pace", processing_seconds=600, spread=0)
    for number in range(500):
        while (answer := side.start("item", "create", [new_item(str(number))])).status_code == 429:
            side.clock.advance(int(answer.headers["retry-after"]))
        assert answer.status_code == 202
    refused = side.start("item", "delete", [ref("item", "1")])
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "job_limit_reached")
    side.clock.advance(610)
    assert side.start("item", "delete", [ref("item", "1")]).status_code == 202


def test_jobs_are_listed_by_status_a_hundred_a_page(side: KlaviyoSide) -> None:
    for number in range(105):
        while (answer := side.start("category", "create", [new_category(str(number))])).status_code == 429:
            side.clock.advance(int(answer.headers["retry-after"]))
    side.clock.advance(100)
    side.start("category", "create", [new_category("last")])
    path = "catalog-category-bulk-create-jobs"
    page = side.got(path, filter="equals(status,'complete')")
    assert len(page["data"]) == 100
    rest = side.call("GET", page["links"]["next"].partition("/klaviyo/api/")[2]).json()
    assert (len(rest["data"]), "next" in rest["links"]) == (5, False)
    assert [job["attributes"]["total_count"] for job in side.got(path, filter='equals(status,"queued")')["data"]] == [1]
    assert side.got("catalog-category-bulk-update-jobs")["data"] == []


def test_a_job_tells_what_it_is_about_to_who_asks(side: KlaviyoSide) -> None:
    side.run("item", "create", new_item("a"))
    started = side.start("item", "update", [change("item", "a", title="T"), change("item", "x", title="T")]).json()[
        "data"
    ]
    side.clock.advance(10)
    path = f"catalog-item-bulk-update-jobs/{started['id']}"
    shown = side.got(path, **{"include": "items", "fields[catalog-item]": "title"})
    named = [entry["id"] for entry in shown["data"]["relationships"]["items"]["data"]]
    assert named == [compound("a"), compound("x")]
    assert [(entry["id"], entry["attributes"]) for entry in shown["included"]] == [(compound("a"), {"title": "T"})]
    assert "data" not in side.got(path)["data"]["relationships"]["items"]


def test_a_job_that_is_over_for_long_can_no_longer_be_read(side: KlaviyoSide) -> None:
    started = side.start("item", "create", [new_item("a")]).json()["data"]
    side.clock.advance(10)
    path = f"catalog-item-bulk-create-jobs/{started['id']}"
    assert side.got(path)["data"]["attributes"]["expires_at"] is not None
    side.clock.advance(DAY)
    assert side.call("GET", path).status_code == 404
    assert side.got("catalog-item-bulk-create-jobs")["data"] == []
    assert list(side.catalogue()["items"]) == ["a"]


def test_another_account_sees_none_of_it(side: KlaviyoSide, inside: Inside) -> None:
    started = side.start("item", "create", [new_item("a")]).json()["data"]
    other = KlaviyoSide(inside)
    other.clock.advance(10)
    assert other.call("GET", f"catalog-item-bulk-create-jobs/{started['id']}").status_code == 404
    assert other.call("GET", other.at("item", "a")).status_code == 404


def test_faults_strike_jobs_and_entries(side: KlaviyoSide, inside: Inside) -> None:
    faults = [
        {"kind": "catalog_job_stuck", "match": "delete item", "count": 1, "seconds": 3600},
        {"kind": "catalog_job_cancelled", "match": "create item", "count": 1},
        {"kind": "catalog_entry_failed", "match": "create category bad", "count": 1},
    ]
    for fault in faults:
        inside.post("/faults", **fault)
    cancelled = side.run("item", "create", *[new_item(name) for name in "abcd"])
    assert (cancelled["status"], cancelled["completed_count"]) == ("cancelled", 2)
    assert list(side.catalogue()["items"]) == ["a", "b"]
    stuck = side.start("item", "delete", [ref("item", "a")]).json()["data"]
    side.clock.advance(3500)
    assert side.job("item", "delete", stuck["id"])["status"] == "processing"
    side.clock.advance(200)
    assert side.job("item", "delete", stuck["id"])["status"] == "complete"
    assert side.failed("category", "create", new_category("good"), new_category("bad")) == [("1", "invalid")]
    assert side.failed("category", "create", new_category("bad")) == []


def test_a_job_survives_a_restart(tmp_path: Path) -> None:
    world = Inside(tmp_path)
    side = KlaviyoSide(world, "Ours")
    started = side.start("item", "create", [new_item("a"), new_item("a")]).json()["data"]["id"]
    world.stop()
    world = Inside(tmp_path)
    again = KlaviyoSide(world, "Ours")
    assert again.public_key == side.public_key
    assert again.job("item", "create", started)["status"] == "queued"
    again.clock.advance(10)
    ended = again.job("item", "create", started)
    assert (ended["completed_count"], ended["failed_count"]) == (1, 1)
    world.stop()


def test_the_first_day_has_an_account_to_connect_to(inside: Inside) -> None:
    demo = inside.get("/world")["klaviyo"][0]
    assert demo["name"] == "Demo Goods"
    headers = {"Authorization": f"Klaviyo-API-Key {demo['private_key']}", "revision": REVISION, "Accept": MEDIA_TYPE}
    assert inside.http.get("/klaviyo/api/catalog-items", headers=headers).json()["data"] == []


def test_an_answer_that_is_lost_leaves_its_job_behind(side: KlaviyoSide, inside: Inside) -> None:
    inside.post("/faults", kind="lost_reply", match="bulk-create-jobs", count=1)
    with pytest.raises(Exception, match="disconnected"):
        side.start("item", "create", [new_item("a")])
    side.clock.advance(10)
    assert list(side.catalogue()["items"]) == ["a"]
    inside.post("/faults", kind="http_524", match="bulk-create-jobs", count=1)
    assert side.start("item", "create", [new_item("b")]).status_code == 524
    inside.post("/faults", kind="http_429", match="bulk-create-jobs", count=1)
    assert side.start("item", "create", [new_item("b")]).headers["retry-after"] == "2"
    side.clock.advance(10)
    assert list(side.catalogue()["items"]) == ["a"]
