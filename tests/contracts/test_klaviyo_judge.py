"""The judge of Klaviyo finds each breach, and lets a good exchange pass."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.exchange import Exchange
from tests.contracts.klaviyo import MEDIA_TYPE, KlaviyoJudge
from tests.sandbox.klaviyo_side import change, new_item, ref

HEADERS = {"authorization": "Klaviyo-API-Key pk_1", "revision": "2026-07-15", "accept": MEDIA_TYPE}
READ = Exchange("GET", "/klaviyo/api/catalog-items", "page%5Bsize%5D=100&filter=equals(published,true)", HEADERS)
ONE = replace(READ, path="/api/catalog-items/%24custom%3A%3A%3A%24default%3A%3A%3A42", query="")
LIMITS = {"content-type": MEDIA_TYPE, "ratelimit-limit": "3500", "ratelimit-remaining": "3499", "ratelimit-reset": "60"}


def sent(path: str, body: Any, method: str = "POST") -> Exchange:
    headers = HEADERS | {"content-type": MEDIA_TYPE}
    return Exchange(method, f"/klaviyo/api/{path}", headers=headers, body=json.dumps(body).encode())


def job(verb: str, *entries: Any) -> Exchange:
    name = f"catalog-item-bulk-{verb}-job"
    return sent(f"{name}s", {"data": {"type": name, "attributes": {"items": {"data": list(entries)}}}})


def event(**more: Any) -> dict[str, Any]:
    metric = {"data": {"type": "metric", "attributes": {"name": "Shipped"}}}
    return {"type": "event", "attributes": {"properties": {"a": 1}, "metric": metric, "unique_id": "u"} | more}


def single(**more: Any) -> Exchange:
    profile = {"data": {"type": "profile", "attributes": {"email": "a@b.test"}}}
    return sent("events", {"data": event(**{"profile": profile} | more)})


def many(*events: Any) -> Exchange:
    profile = {"data": {"type": "profile", "attributes": {"email": "a@b.test"}}}
    entry = {"type": "event-bulk-create", "attributes": {"profile": profile, "events": {"data": list(events)}}}
    attributes = {"events-bulk-create": {"data": [entry]}}
    return sent("event-bulk-create-jobs", {"data": {"type": "event-bulk-create-job", "attributes": attributes}})


def answered(exchange: Exchange, answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> Exchange:
    raw = b"" if answer is None else json.dumps(answer).encode()
    named = LIMITS if headers is None else headers
    return replace(exchange, status=status, answer=raw, answer_headers=named, is_sandbox=True)


FOUND = {"data": [], "links": {"self": "https://a.klaviyo.com/api/catalog-items"}}
ERROR = {"id": "1", "status": 429, "code": "throttled", "title": "t", "detail": "d", "source": {"pointer": "/data/"}}
ERRORS = {"errors": [ERROR]}
REFUSED = {"content-type": MEDIA_TYPE, "retry-after": "3"}
CREATE = job("create", new_item("a", price=None))
RELATE = "catalog-items/%24custom%3A%3A%3A%24default%3A%3A%3A42/relationships/categories"


@pytest.fixture(scope="module")
def judge(shared_dir: Path) -> KlaviyoJudge:
    return KlaviyoJudge(shared_dir / "contracts")


@pytest.mark.parametrize(
    "exchange",
    [
        answered(READ, FOUND),
        answered(READ, ERRORS, 429, REFUSED),
        answered(READ, ERRORS, 503, {"content-type": MEDIA_TYPE}),
        ONE,
        replace(READ, path="/api/catalog-items"),
        CREATE,
        job("update", *[change("item", str(number), title="T") for number in range(100)]),
        job("delete", ref("item", "a")),
        single(time="2026-11-01T10:00:00Z", backfill=True, value=2.5),
        answered(single(), None, 202),
        many(*[event(unique_id=str(number)) for number in range(1000)]),
        sent(RELATE, {"data": [ref("category", "x")]}, "PATCH"),
    ],
)
def test_what_keeps_every_rule_passes(judge: KlaviyoJudge, exchange: Exchange) -> None:
    assert judge.claims(exchange)
    assert list(judge.judge(exchange)) == []


@pytest.mark.parametrize(
    ("rule", "exchange"),
    [
        ("address", replace(READ, path="/klaviyo/api/catalog-things", query="")),
        ("address", replace(READ, method="PUT")),
        ("key", replace(READ, headers=HEADERS | {"authorization": "Bearer x"})),
        ("revision", replace(READ, headers={name: HEADERS[name] for name in ("authorization", "accept")})),
        ("revision", replace(READ, headers=HEADERS | {"revision": "latest"})),
        ("accept", replace(READ, headers=HEADERS | {"accept": "*/*"})),
        ("escapes", replace(ONE, path="/api/catalog-items/$custom:::$default:::42")),
        ("compound_id", replace(ONE, path="/api/catalog-items/42")),
        ("compound_id", replace(ONE, path="/api/catalog-items/%24shopify%3A%3A%3A%24default%3A%3A%3A42")),
        ("parameters", replace(READ, query="colour=red")),
        ("parameters", replace(READ, query="page%5Bsize%5D=101")),
        ("parameters", replace(READ, query="page%5Bsize%5D=many")),
        ("parameters", replace(READ, query="sort=title")),
        ("parameters", replace(READ, query="fields%5Bcatalog-item%5D=title,colour")),
        ("filter", replace(READ, query="filter=equals(title,%22a%22)")),
        ("filter", replace(READ, query="filter=nonsense")),
        ("body", replace(READ, body=b"{}")),
        ("body", replace(CREATE, body=b"{")),
        ("body", job("create", new_item("a", titel="T"))),
        ("body", job("create", new_item("a", price="4.50"))),
        ("body", job("create", new_item("a", title=None))),
        ("body", job("create", change("item", "a", title="T"))),
        ("content_type", replace(CREATE, headers=CREATE.headers | {"content-type": "application/json"})),
        ("size", job("create", new_item("a", description="x" * 5_000_001))),
        ("entries", job("delete", *[ref("item", str(number)) for number in range(101)])),
        ("entries", sent(RELATE, {"data": [ref("category", str(number)) for number in range(101)]})),
        ("entries", many(*[event(unique_id=str(number)) for number in range(1001)])),
        ("unique_id", many(event(), event())),
        ("metadata", job("create", new_item("a", custom_metadata={"deep": {"er": 1}}))),
        ("metadata", job("create", new_item("a", custom_metadata={"long": "x" * 100_000}))),
        ("event", single(properties={str(number): 1 for number in range(401)})),
        ("event", single(properties={"long": "x" * 100_001})),
        ("event", single(time="1989-01-01T00:00:00Z")),
        ("event", single(time="2199-01-01T00:00:00Z")),
        ("phone", single(profile={"data": {"type": "profile", "attributes": {"phone_number": "0171 234"}}})),
        ("answer.status", answered(READ, FOUND, 201)),
        ("answer.headers", answered(READ, FOUND, headers={"content-type": MEDIA_TYPE})),
        ("answer.headers", answered(READ, FOUND, headers=LIMITS | {"ratelimit-limit": "750"})),
        ("answer.headers", answered(READ, ERRORS, 429, {"content-type": MEDIA_TYPE})),
        ("answer.headers", answered(READ, ERRORS, 429, REFUSED | {"retry-after": "2.5"})),
        ("answer.headers", answered(READ, ERRORS, 429, REFUSED | LIMITS)),
        ("answer.data", answered(READ, FOUND | {"more": 1})),
        ("answer.data", answered(READ, {"links": FOUND["links"]})),
        ("answer.data", answered(READ, {"error": "no"}, 400)),
        ("answer.data", answered(READ, {"errors": [{"id": "1"}]}, 404)),
        ("answer.data", answered(single(), {"data": {}}, 202)),
    ],
)
def test_what_breaks_a_rule_breaks_that_one(judge: KlaviyoJudge, rule: str, exchange: Exchange) -> None:
    assert judge.claims(exchange)
    assert {breach.rule for breach in judge.judge(exchange)} == {rule}


def test_what_is_said_to_others_is_not_claimed(judge: KlaviyoJudge) -> None:
    assert not judge.claims(Exchange("GET", "/api/events"))
    assert not judge.claims(replace(READ, kind="delivery"))


def test_only_good_answers_of_the_sandbox_count_as_exercise(judge: KlaviyoJudge) -> None:
    assert list(judge.exercised(answered(READ, FOUND))) == ["get_catalog_items"]
    assert list(judge.exercised(answered(READ, ERRORS, 429, REFUSED))) == []
    assert list(judge.exercised(replace(answered(READ, FOUND), is_sandbox=False))) == []
