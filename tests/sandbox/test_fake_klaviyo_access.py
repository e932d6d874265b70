"""Who gets in at the fake Klaviyo: keys, scopes, revisions, quotas, and what else comes before an operation."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest

from tests.sandbox.klaviyo_side import MEDIA_TYPE, KlaviyoSide, new_item
from tests.sandbox.outside import Inside

YEAR = 366 * 86_400


@pytest.fixture
def side(inside: Inside) -> KlaviyoSide:
    return KlaviyoSide(inside)


def code(answer: httpx.Response) -> tuple[int, str]:
    (error,) = answer.json()["errors"]
    assert error["status"] == answer.status_code
    assert answer.headers["content-type"] == MEDIA_TYPE
    return answer.status_code, error["code"]


@pytest.mark.breaks_contract("key")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "not_authenticated"),
        ("Bearer pk_1", "authentication_failed"),
        ("Klaviyo-API-Key", "authentication_failed"),
    ],
)
def test_without_a_key_nobody_gets_in(side: KlaviyoSide, given: str | None, expected: str) -> None:
    headers = {name: value for name, value in side.headers.items() if name != "Authorization"}
    headers |= {} if given is None else {"Authorization": given}
    assert code(side.call("GET", "catalog-items", headers=headers)) == (401, expected)


def test_a_key_that_is_unknown_or_revoked_opens_nothing(side: KlaviyoSide) -> None:
    unknown = side.headers_for("pk_nobody")
    assert code(side.call("GET", "catalog-items", headers=unknown)) == (401, "authentication_failed")
    key = side.control("keys", name="second")["key"]
    assert side.call("GET", "catalog-items", headers=side.headers_for(key)).status_code == 200
    side.control("keys/revocation", key=key)
    assert side.call("GET", "catalog-items", headers=side.headers_for(key)).status_code == 401


def test_a_key_may_only_what_its_scopes_say(side: KlaviyoSide) -> None:
    key = side.control("keys", name="reader", scopes=["catalogs:read"])["key"]
    headers = side.headers_for(key)
    assert side.call("GET", "catalog-items", headers=headers).status_code == 200
    refused = side.call("POST", "catalog-items", {"data": new_item("a")}, headers)
    assert code(refused) == (403, "permission_denied")
    assert "catalogs:write" in refused.json()["errors"][0]["detail"]


@pytest.mark.breaks_contract("revision")
@pytest.mark.parametrize("given", [None, "today"])
def test_a_revision_is_required(side: KlaviyoSide, given: str | None) -> None:
    headers = {name: value for name, value in side.headers.items() if name != "revision"}
    headers |= {} if given is None else {"revision": given}
    assert code(side.call("GET", "catalog-items", headers=headers))[0] == 400


def test_a_retired_revision_falls_forward_unless_the_caller_opts_out(side: KlaviyoSide) -> None:
    def asked(revision: str, **more: str) -> int:
        return side.call("GET", "catalog-items", headers={**side.headers, "revision": revision, **more}).status_code

    opt_out = {"X-Klaviyo-Revision-Fall-Forward-Opt-Out": "1"}
    assert asked("2023-02-22") == 200
    assert asked("2026-07-16") == 200
    assert asked("2023-02-22", **opt_out) == 410
    assert asked("2026-07-16", **opt_out) == 400
    assert asked("2026-07-15", **opt_out) == 200
    side.clock.advance(2 * YEAR)
    assert asked("2026-07-15", **opt_out) == 410
    assert asked("2026-07-15") == 200


def test_a_second_has_room_for_a_burst_and_a_minute_for_so_many(side: KlaviyoSide) -> None:
    side.clock.advance(60 - side.clock.now() % 60)
    for second in range(2):
        for left in range(75):
            answer = side.start("item", "create", [new_item("a")])
            assert answer.status_code == 202
            assert answer.headers["ratelimit-limit"] == "750"
            assert answer.headers["ratelimit-remaining"] == str(749 - 75 * second - left)
            assert answer.headers["ratelimit-reset"] == str(60 - second)
        refused = side.start("item", "create", [new_item("a")])
        assert code(refused) == (429, "throttled")
        assert refused.headers["retry-after"] == "1"
        assert not [name for name in refused.headers if name.startswith("ratelimit")]
        side.clock.advance(1)


def test_the_minute_runs_out_before_the_second_does(side: KlaviyoSide, inside: Inside) -> None:
    side.clock.advance(60 - side.clock.now() % 60)
    for _ in range(15):
        assert side.call("GET", "accounts").status_code == 200
        side.clock.advance(1)
    refused = side.call("GET", "accounts")
    assert refused.headers["retry-after"] == str(math.ceil(60 - side.clock.now() % 60))
    # Another operation and another account have their own; another key of the same account has not.
    assert side.call("GET", "catalog-items").status_code == 200
    assert KlaviyoSide(inside).call("GET", "accounts").status_code == 200
    second = side.headers_for(side.control("keys", name="second")["key"])
    assert side.call("GET", "accounts", headers=second).status_code == 429
    side.clock.advance(60)
    assert side.call("GET", "accounts").status_code == 200


def test_an_account_tells_who_it_is(side: KlaviyoSide) -> None:
    (account,) = side.got("accounts")["data"]
    assert account["id"] == account["attributes"]["public_api_key"] == side.public_key
    assert account["attributes"]["preferred_currency"] == "GBP"


def test_the_vendors_own_name_leads_here(side: KlaviyoSide, inside: Inside) -> None:
    side.run("item", "create", new_item("a"), new_item("b"))
    with inside.client() as client:
        url = "https://a.klaviyo.com/api/catalog-items"
        page = client.get(url, params={"page[size]": "1"}, headers=side.headers).json()
        assert page["links"]["next"].startswith(url)
        rest = client.get(page["links"]["next"], headers=side.headers).json()
    assert [entry["attributes"]["external_id"] for entry in page["data"] + rest["data"]] == ["a", "b"]


@pytest.mark.breaks_contract("address")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "catalog-things", 404), ("DELETE", "catalog-items", 405), ("GET", "catalog-items/a/b/c/d", 404)],
)
def test_what_is_no_operation_is_refused(side: KlaviyoSide, method: str, path: str, status: int) -> None:
    assert code(side.call(method, path))[0] == status


@pytest.mark.breaks_contract("content_type")
def test_another_content_type_is_refused(side: KlaviyoSide) -> None:
    answer = side.http.post("catalog-items", json={"data": new_item("a")}, headers=side.headers)
    assert code(answer) == (415, "unsupported_media_type")


@pytest.mark.breaks_contract("body")
@pytest.mark.parametrize("body", [b"{", b"[]", b'{"data": 1}', b'{"data": {}, "more": 1}'])
def test_a_body_that_is_none_is_refused(side: KlaviyoSide, body: bytes) -> None:
    headers = side.headers | {"Content-Type": MEDIA_TYPE}
    assert side.http.post("catalog-items", content=body, headers=headers).status_code == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("keys", {"name": "k", "scopes": ["everything"]}),
        ("keys/revocation", {"key": "pk_nobody"}),
        ("pace", {"haste": 1}),
        ("pace", {"spread": 2}),
        ("edits", {"edits": [{"kind": "thing", "verb": "create", "id": "a"}]}),
        ("edits", {"edits": [{"kind": "item", "verb": "sell", "id": "a"}]}),
    ],
)
def test_the_desk_refuses_what_makes_no_sense(side: KlaviyoSide, inside: Inside, path: str, body: Any) -> None:
    answer = inside.http.post(f"/_control/klaviyo/{side.public_key}/{path}", json=body)
    assert answer.status_code in (404, 422)
    assert answer.json()["message"]
