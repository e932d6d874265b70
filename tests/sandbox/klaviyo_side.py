"""One account at the fake Klaviyo, seen through the vendor's API and through the control API."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import httpx

from tests.sandbox.outside import Inside

REVISION = "2026-07-15"
MEDIA_TYPE = "application/vnd.api+json"
PLURALS = {"item": "items", "variant": "variants", "category": "categories"}
_numbers = itertools.count(1)
Entry = dict[str, Any]


def compound(name: str) -> str:
    return f"$custom:::$default:::{name}"


def new_item(name: str, *categories: str, **changed: Any) -> Entry:
    attributes = {"external_id": name, "title": f"Item {name}", "description": "Good.", "url": "https://a.test/x"}
    entry = {"type": "catalog-item", "attributes": attributes | changed}
    if categories:
        entry["relationships"] = {"categories": {"data": [ref("category", other) for other in categories]}}
    return entry


def new_variant(name: str, item: str, **changed: Any) -> Entry:
    attributes = new_item(name)["attributes"] | {"sku": name.upper(), "inventory_quantity": 3, "price": 4.5}
    related = {"item": {"data": ref("item", item)}}
    return {"type": "catalog-variant", "attributes": attributes | changed, "relationships": related}


def new_category(name: str, *items: str) -> Entry:
    entry: Entry = {"type": "catalog-category", "attributes": {"external_id": name, "name": f"Category {name}"}}
    if items:
        entry["relationships"] = {"items": {"data": [ref("item", other) for other in items]}}
    return entry


def ref(kind: str, name: str) -> Entry:
    return {"type": f"catalog-{kind}", "id": compound(name)}


def change(kind: str, external_id: str, **attributes: Any) -> Entry:
    return ref(kind, external_id) | {"attributes": attributes}


class KlaviyoSide:
    def __init__(self, world: Inside, name: str | None = None) -> None:
        self.world = world
        self.clock = world.clock
        self.entry = world.post("/klaviyo", name=name or f"Account {next(_numbers)}")
        self.public_key = self.entry["public_key"]
        self.http = world.client("/klaviyo/api")
        self.headers = self.headers_for(self.entry["private_key"])

    def headers_for(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Klaviyo-API-Key {key}", "revision": REVISION, "Accept": MEDIA_TYPE}

    def call(self, method: str, path: str, body: Any = None, headers: Any = None, **params: Any) -> httpx.Response:
        """Ids in the path are the caller's to escape."""
        headers = dict(self.headers if headers is None else headers)
        content = None if body is None else json.dumps(body)
        if body is not None:
            headers["Content-Type"] = MEDIA_TYPE
        return self.http.request(method, path, content=content, headers=headers, params=params or None)

    def got(self, path: str, **params: Any) -> Any:
        answer = self.call("GET", path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def control(self, path: str, **body: Any) -> Any:
        return self.world.post(f"/klaviyo/{self.public_key}/{path}", **body)

    def catalogue(self) -> dict[str, dict[str, Entry]]:
        """What there is, by kind and external id."""
        found = self.world.get(f"/klaviyo/{self.public_key}/catalogue")
        return {kind: {entry["id"]: entry for entry in entries} for kind, entries in found.items()}

    def at(self, kind: str, name: str, *further: str) -> str:
        return "/".join((f"catalog-{PLURALS[kind]}", quote(compound(name), safe=""), *further))

    def create(self, kind: str, entry: Entry) -> httpx.Response:
        return self.call("POST", f"catalog-{PLURALS[kind]}", {"data": entry})

    def start(self, kind: str, verb: str, entries: Iterable[Entry], **params: Any) -> httpx.Response:
        job = f"catalog-{kind}-bulk-{verb}-job"
        attributes = {PLURALS[kind]: {"data": list(entries)}}
        return self.call("POST", f"{job}s", {"data": {"type": job, "attributes": attributes}}, **params)

    def job(self, kind: str, verb: str, ref: str, **params: Any) -> Any:
        return self.got(f"catalog-{kind}-bulk-{verb}-jobs/{ref}", **params)["data"]["attributes"]

    def run(self, kind: str, verb: str, *entries: Entry) -> Any:
        """A job from its start to its end."""
        answer = self.start(kind, verb, entries)
        assert answer.status_code == 202, answer.text
        self.clock.advance(10)
        return self.job(kind, verb, answer.json()["data"]["id"])

    def failed(self, kind: str, verb: str, *entries: Entry) -> list[tuple[str, str]]:
        """Pointers below the list of entries, and codes, of what a job could not do."""
        ended = self.run(kind, verb, *entries)
        assert (ended["status"], ended["failed_count"]) == ("complete", len(ended["errors"]))
        start = f"/data/attributes/{PLURALS[kind]}/data/"
        return [(error["source"]["pointer"].removeprefix(start), error["code"]) for error in ended["errors"]]
