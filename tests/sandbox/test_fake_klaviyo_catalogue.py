"""The catalogue of the fake Klaviyo one by one: written, read, filtered, paged and related."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.klaviyo_side import KlaviyoSide, change, compound, new_category, new_item, new_variant, ref
from tests.sandbox.outside import Inside


@pytest.fixture
def side(inside: Inside) -> KlaviyoSide:
    return KlaviyoSide(inside)


def names(page: Any) -> list[str]:
    return [entry["attributes"]["external_id"] for entry in page["data"]]


def test_an_item_lives(side: KlaviyoSide) -> None:
    made = side.create("item", new_item("a", price=4.5, custom_metadata={"colour": "red"}))
    assert made.status_code == 201
    assert made.json()["data"]["id"] == compound("a")
    side.clock.advance(5)
    changed = side.call("PATCH", side.at("item", "a"), {"data": change("item", "a", title="New", price=None)})
    assert changed.status_code == 200
    shown = side.got(side.at("item", "a"))["data"]["attributes"]
    assert (shown["title"], shown["price"], shown["custom_metadata"]) == ("New", None, {"colour": "red"})
    assert shown["created"] < shown["updated"]
    assert side.call("DELETE", side.at("item", "a")).status_code == 204
    assert side.call("GET", side.at("item", "a")).status_code == 404
    assert side.call("DELETE", side.at("item", "a")).status_code == 404
    missing = side.call("PATCH", side.at("item", "a"), {"data": change("item", "a", title="New")})
    assert (missing.status_code, missing.json()["errors"][0]["code"]) == (404, "not_found")


def test_what_exists_is_not_created_again(side: KlaviyoSide) -> None:
    for kind, entry in (("item", new_item("a")), ("variant", new_variant("a", "a")), ("category", new_category("a"))):
        assert side.create(kind, entry).status_code == 201
        again = side.create(kind, entry)
        error = again.json()["errors"][0]
        assert (again.status_code, error["code"]) == (409, "conflict")
        assert error["source"]["pointer"] == "/data/attributes/external_id"


@pytest.mark.parametrize("name", ["a/b", "a b", "ä:$%", "x?y#z", "'\"\\"])
def test_ids_are_whatever_the_account_likes(side: KlaviyoSide, name: str) -> None:
    side.create("item", new_item(name))
    assert side.got(side.at("item", name))["data"]["attributes"]["external_id"] == name
    quoted = compound(name).replace("\\", "\\\\").replace('"', '\\"')
    assert names(side.got("catalog-items", filter=f'any(ids,["{quoted}"])')) == [name]
    assert side.call("DELETE", side.at("item", name)).status_code == 204


@pytest.mark.breaks_contract("compound_id")
def test_an_id_that_is_not_compound_is_not_found(side: KlaviyoSide) -> None:
    side.create("item", new_item("a"))
    assert side.call("GET", "catalog-items/a").status_code == 404


@pytest.mark.breaks_contract("body")
def test_a_variant_stays_with_its_item(side: KlaviyoSide) -> None:
    side.create("item", new_item("a"))
    side.create("item", new_item("b"))
    side.create("variant", new_variant("v", "a"))
    moved = change("variant", "v", price=5) | {"relationships": {"item": {"data": ref("item", "b")}}}
    assert side.call("PATCH", side.at("variant", "v"), {"data": moved}).status_code == 400
    assert side.catalogue()["variants"]["v"]["item"] == "a"


@pytest.mark.parametrize(
    ("kind", "asked", "found"),
    [
        ("item", 'equals(published,true)', ["a", "c"]),
        ("item", 'contains(title,"tem B")', ["b"]),
        ("item", f'equals(category.id,"{compound("x")}")', ["a", "b"]),
        ("item", f"and(equals(published,true),equals(category.id,'{compound('x')}'))", ["a"]),
        ("item", f'any(ids,["{compound("a")}","{compound("zz")}"])', ["a"]),
        ("variant", f'equals(item.id,"{compound("b")}")', ["w"]),
        ("variant", 'equals(sku,"V")', ["v"]),
        ("category", f'equals(item.id,"{compound("a")}")', ["x", "y"]),
        ("category", 'contains(name,"y x")', ["x"]),
    ],
)  # fmt: skip
def test_filters_find(side: KlaviyoSide, kind: str, asked: str, found: list[str]) -> None:
    side.run("category", "create", new_category("x"), new_category("y"))
    side.run("item", "create", new_item("a", "x", "y"), new_item("b", "x", published=False), new_item("c"))
    side.run("variant", "create", new_variant("v", "a"), new_variant("w", "b"))
    plural = {"item": "items", "variant": "variants", "category": "categories"}[kind]
    assert names(side.got(f"catalog-{plural}", filter=asked)) == found


@pytest.mark.breaks_contract("filter", "parameters")
@pytest.mark.parametrize(
    "params",
    [
        {"filter": "equals(title,'a')"},
        {"filter": "equals(published,true"},
        {"filter": "nonsense"},
        {"filter": "any(ids,'a')"},
        {"sort": "title"},
        {"page[size]": "101"},
        {"page[size]": "0"},
        {"fields[catalog-item]": "colour"},
        {"include": "categories"},
        {"colour": "red"},
        {"page[cursor]": "x"},
    ],
)
def test_parameters_that_make_no_sense_are_refused(side: KlaviyoSide, params: dict[str, str]) -> None:
    side.call("GET", "catalog-items", filter="equals(colour,'red')", shade="red")
    answer = side.call("GET", "catalog-items", **params)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["source"]["parameter"] == next(iter(params))


@pytest.mark.parametrize("sort", ["created", "-created"])
def test_pages_lead_on_and_back(side: KlaviyoSide, sort: str) -> None:
    side.run("item", "create", *[new_item(f"i{number}") for number in range(5)])
    order = [f"i{number}" for number in range(5)]
    order = order if sort == "created" else order[::-1]
    first = side.got("catalog-items", **{"page[size]": "2", "sort": sort})
    pages, page = [names(first)], first
    while "next" in page["links"]:
        page = side.call("GET", page["links"]["next"].partition("/klaviyo/api/")[2]).json()
        pages.append(names(page))
    assert pages == [order[:2], order[2:4], order[4:]]
    back = side.call("GET", page["links"]["prev"].partition("/klaviyo/api/")[2]).json()
    assert names(back) == order[2:4]
    back = side.call("GET", back["links"]["prev"].partition("/klaviyo/api/")[2]).json()
    assert (names(back), "prev" in back["links"]) == (order[:2], False)


def test_what_is_not_asked_for_is_not_shown(side: KlaviyoSide) -> None:
    side.run("item", "create", new_item("a"), new_item("b"))
    side.run("variant", "create", new_variant("v", "a"), new_variant("w", "a"))
    params = {"fields[catalog-item]": "title", "fields[catalog-variant]": "sku,price", "include": "variants"}
    page = side.got("catalog-items", **params)
    assert [entry["attributes"] for entry in page["data"]] == [{"title": "Item a"}, {"title": "Item b"}]
    assert [entry["attributes"] for entry in page["included"]] == [
        {"price": 4.5, "sku": "V"},
        {"price": 4.5, "sku": "W"},
    ]
    named = [[one["id"] for one in entry["relationships"]["variants"]["data"]] for entry in page["data"]]
    assert named == [[compound("v"), compound("w")], []]


def test_relationships_are_added_replaced_and_removed(side: KlaviyoSide) -> None:
    side.run("item", "create", new_item("a"), new_item("b"))
    side.run("category", "create", *[new_category(name) for name in "xyz"])

    def related(method: str, *names: str) -> tuple[int, list[str]]:
        path = side.at("item", "a", "relationships", "categories")
        answer = side.call(method, path, {"data": [ref("category", name) for name in names]})
        found = [entry["id"].rpartition(":")[2] for entry in side.got(path)["data"]]
        assert [
            entry["attributes"]["external_id"] for entry in side.got(side.at("item", "a", "categories"))["data"]
        ] == found
        return answer.status_code, found

    assert related("POST", "x", "y") == (204, ["x", "y"])
    assert related("POST", "y") == (204, ["x", "y"])
    assert related("POST", "nowhere") == (404, ["x", "y"])
    assert related("PATCH", "z") == (204, ["z"])
    assert related("DELETE", "x", "z") == (204, [])
    path = side.at("category", "x", "relationships", "items")
    assert side.call("PATCH", path, {"data": [ref("item", "b"), ref("item", "a")]}).status_code == 204
    assert related("POST", "y") == (204, ["x", "y"])
    assert names(side.got(side.at("category", "x", "items"))) == ["a", "b"]
    assert side.call("DELETE", path, {"data": [ref("item", "a")]}).status_code == 204
    assert [entry["id"] for entry in side.got(path)["data"]] == [compound("b")]


def test_others_work_in_the_account_too(side: KlaviyoSide) -> None:
    edits = [
        {"kind": "category", "verb": "create", "id": "x", "attributes": {"name": "X"}},
        {"kind": "item", "verb": "create", "id": "a", "attributes": new_item("a")["attributes"], "categories": ["x"]},
        {
            "kind": "variant",
            "verb": "create",
            "id": "v",
            "attributes": new_variant("v", "a")["attributes"],
            "item": "a",
        },
        {"kind": "item", "verb": "update", "id": "a", "attributes": {"price": 9}},
        {"kind": "item", "verb": "delete", "id": "z"},
        {"kind": "item", "verb": "create", "id": "b", "attributes": {"colour": "red"}},
    ]
    answers = side.control("edits", edits=edits)["edits"]
    assert [answer.get("error") for answer in answers] == [None, None, None, None, "not_found", "invalid"]
    found = side.catalogue()
    assert found["items"]["a"]["attributes"]["price"] == 9
    assert (found["items"]["a"]["categories"], found["variants"]["v"]["item"]) == (["x"], "a")
