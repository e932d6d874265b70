"""Every operation of the vendor's document is asked of the sandbox once, and answers well; the recorder holds each
request and each answer against the document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contracts.exchange import Exchange
from tests.contracts.klaviyo import KlaviyoJudge
from tests.sandbox.klaviyo_side import PLURALS, KlaviyoSide, change, new_category, new_item, new_variant, ref
from tests.sandbox.outside import Inside
from tests.sandbox.test_fake_klaviyo_people import bulk, event, profile

NEW = {"item": new_item, "variant": lambda name: new_variant(name, "kept"), "category": new_category}
WINDOW = ["greater-or-equal(datetime,2026-11-01T00:00:00Z)", "less-than(datetime,2026-11-04T00:00:00Z)"]


@pytest.fixture
def side(tmp_path: Path) -> Iterator[KlaviyoSide]:
    world = Inside(tmp_path)
    yield KlaviyoSide(world)
    world.stop()


def test_every_operation_answers(side: KlaviyoSide, shared_dir: Path) -> None:
    judge, asked = KlaviyoJudge(shared_dir / "contracts"), set()

    def heard(response: httpx.Response) -> None:
        path = response.request.url.raw_path.decode().partition("?")[0]
        exchange = Exchange(response.request.method, path, status=response.status_code, is_sandbox=True)
        asked.update(judge.exercised(exchange))

    side.http.event_hooks["response"] = [heard]
    side.create("item", new_item("kept"))
    for kind in ("item", "category", "variant"):
        _single(side, kind)
        _in_bulk(side, kind)
    _related(side)
    _events(side)
    _people(side)
    assert asked == judge.operations


def _single(side: KlaviyoSide, kind: str) -> None:
    label = "name" if kind == "category" else "title"
    side.create(kind, NEW[kind]("a"))
    side.call("PATCH", side.at(kind, "a"), {"data": change(kind, "a", **{label: "B"})})
    side.got(side.at(kind, "a"), **{f"fields[catalog-{kind}]": label})
    side.got(f"catalog-{PLURALS[kind]}", filter=f"contains({label},'B')", sort="-created")
    side.call("DELETE", side.at(kind, "a"))


def _in_bulk(side: KlaviyoSide, kind: str) -> None:
    label = "name" if kind == "category" else "title"
    entries = {"create": NEW[kind]("b"), "update": change(kind, "b", **{label: "C"}), "delete": ref(kind, "b")}
    for verb, entry in entries.items():
        assert side.failed(kind, verb, entry) == []
        side.got(f"catalog-{kind}-bulk-{verb}-jobs", filter="equals(status,'complete')")


def _related(side: KlaviyoSide) -> None:
    side.create("category", new_category("x"))
    for owner, kind, name in (("item", "category", "x"), ("category", "item", "kept")):
        whose = "kept" if owner == "item" else "x"
        path = side.at(owner, whose, "relationships", PLURALS[kind])
        for method in ("POST", "PATCH", "DELETE"):
            side.call(method, path, {"data": [ref(kind, name)]})
        side.got(path)
        side.got(side.at(owner, whose, PLURALS[kind]))
    side.create("variant", new_variant("v", "kept"))
    side.got(side.at("item", "kept", "variants"))
    side.got(side.at("item", "kept", "relationships", "variants"))
    side.got(side.at("item", "kept"), include="variants")


def _events(side: KlaviyoSide) -> None:
    side.call("POST", "events", {"data": event(unique_id="1")})
    side.call("POST", "event-bulk-create-jobs", bulk((profile(email="c@d.test"), [event(unique_id="2")])))
    side.clock.advance(2)
    found = side.got("events", include="metric,profile")["data"][0]
    for path in ("", "/metric", "/profile", "/relationships/metric", "/relationships/profile"):
        side.got(f"events/{found['id']}{path}")
    (metric,) = side.got("metrics", filter="equals(integration.name,'api')")["data"]
    side.got(f"metrics/{metric['id']}")
    attributes = {"metric_id": metric["id"], "measurements": ["count"], "filter": WINDOW}
    side.call("POST", "metric-aggregates", {"data": {"type": "metric-aggregate", "attributes": attributes}})


def _people(side: KlaviyoSide) -> None:
    side.got("accounts")
    made = [side.call("POST", "profiles", {"data": profile(email=f"{name}@e.test")}).json()["data"] for name in "ab"]
    first, second = (entry["id"] for entry in made)
    side.call("PATCH", f"profiles/{first}", {"data": profile(first_name="Ann") | {"id": first}})
    side.call("POST", "profile-import", {"data": profile(email="a@e.test", last_name="Lee")})
    side.got(f"profiles/{first}", **{"additional-fields[profile]": "subscriptions,predictive_analytics"})
    related: Any = {"profiles": {"data": [{"type": "profile", "id": second}]}}
    side.call("POST", "profile-merge", {"data": {"type": "profile-merge", "id": first, "relationships": related}})
    side.got("profiles", filter="any(email,['a@e.test'])", include="push-tokens")
    jobs = "profile-bulk-import-jobs"
    attributes = {"profiles": {"data": [profile(email="z@e.test") | {"id": "nobody"}]}}
    body = {"data": {"type": "profile-bulk-import-job", "attributes": attributes}}
    started = side.call("POST", jobs, body).json()["data"]["id"]
    side.clock.advance(10)
    side.got(jobs)
    side.got(f"{jobs}/{started}", include="lists")
    side.got(f"{jobs}/{started}/import-errors")
    person = {"data": {"type": "profile", "attributes": {"email": "a@e.test"}}}
    wish = {"channels": ["EMAIL", "SMS"], "profile": person}
    relationships = {"variant": {"data": ref("variant", "v")}}
    data = {"type": "back-in-stock-subscription", "attributes": wish, "relationships": relationships}
    side.call("POST", "back-in-stock-subscriptions", {"data": data})
