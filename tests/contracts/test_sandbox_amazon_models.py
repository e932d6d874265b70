"""Answers of the fake Amazon held against the vendor's own Swagger models."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft4Validator

from sandbox.app import create_app
from sandbox.vendors.amazon.quota import PLANS
from sandbox.world import DEMO_SELLER

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = (ROOT / os.environ.get("SHARED_DIR", "../shared")).resolve() / "contracts" / "amazon"
pytestmark = pytest.mark.skipif(
    not CONTRACTS.is_dir(),
    reason=f"the vendor's models are not at {CONTRACTS}: set SHARED_DIR to hold ours against them",
)
EVERYTHING = "summaries,attributes,issues,offers,fulfillmentAvailability,procurement,relationships,productTypes"
ITEMS = "/listings/2021-08-01/items/{sellerId}"
ITEM = ITEMS + "/{sku}"


def check(model: str, path: str, method: str, response: httpx.Response) -> None:
    """The body against the schema of that operation and status, and the headers it promises."""
    document = json.loads((CONTRACTS / "models" / f"{model}.json").read_text())
    promised = document["paths"][path][method]["responses"][str(response.status_code)]
    Draft4Validator({**promised["schema"], "definitions": document["definitions"]}).validate(response.json())
    for header in promised.get("headers", {}):
        assert header in response.headers


class Caller:
    """The demo seller's client, inside the process."""

    def __init__(self, folder: Path) -> None:
        transport = httpx.ASGITransport(create_app(folder))  # type: ignore[arg-type]
        agent = "Switchyard/0.1 (Language=Python/3.11; Platform=Linux)"
        self.http = httpx.AsyncClient(transport=transport, base_url="http://sandbox", headers={"user-agent": agent})
        self.marketplace = ""

    async def sign_in(self) -> None:
        seller = (await self.http.get("/_control/world")).json()["sellers"][0]
        names = ("client_id", "client_secret", "refresh_token")
        fields = {name: seller[name] for name in names} | {"grant_type": "refresh_token"}
        answer = await self.http.post("/amazon/auth/o2/token", data=fields)
        self.http.headers["x-amz-access-token"] = answer.json()["access_token"]
        self.marketplace = seller["marketplace_ids"][0]

    def url(self, path: str, **names: str) -> str:
        return "/amazon" + path.format(sellerId=DEMO_SELLER, **names)

    async def get(self, path: str, params: dict[str, Any] | None = None, **names: str) -> httpx.Response:
        chosen = {"marketplaceIds": self.marketplace} | (params or {})
        return await self.http.get(self.url(path, **names), params=chosen)

    async def patch(self, sku: str, params: dict[str, Any], *value: dict[str, Any]) -> httpx.Response:
        patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": list(value)}
        chosen = {"marketplaceIds": self.marketplace} | params
        body = {"productType": "PRODUCT", "patches": [patch]}
        return await self.http.patch(self.url(ITEM, sku=sku), params=chosen, json=body)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


@pytest.mark.breaks_contract("parameters")
def test_listings_are_in_the_vendors_form(tmp_path: Path) -> None:
    async def story() -> None:
        caller = Caller(tmp_path)
        await caller.sign_in()
        page = await caller.get(ITEMS, {"includedData": EVERYTHING, "pageSize": 20})
        assert len(page.json()["items"]) == 20
        check("listingsItems_2021-08-01", ITEMS, "get", page)
        check("listingsItems_2021-08-01", ITEMS, "get", await caller.get(ITEMS, {"pageSize": 99}))
        sku = page.json()["items"][0]["sku"]
        found = await caller.get(ITEM, {"includedData": EVERYTHING}, sku=sku)
        assert found.status_code == 200
        check("listingsItems_2021-08-01", ITEM, "get", found)
        lost = await caller.get(ITEM, sku="NOPE")
        assert lost.status_code == 404
        check("listingsItems_2021-08-01", ITEM, "get", lost)

    run(story())


@pytest.mark.breaks_contract("parameters")
def test_patch_answers_are_in_the_vendors_form(tmp_path: Path) -> None:
    async def story() -> None:
        caller = Caller(tmp_path)
        await caller.sign_in()
        sku = (await caller.get(ITEMS)).json()["items"][0]["sku"]
        good = {"fulfillment_channel_code": "DEFAULT", "quantity": 3}
        everything = {"includedData": "issues,identifiers"}
        preview = everything | {"mode": "VALIDATION_PREVIEW"}
        answers = [
            await caller.patch(sku, {}, good),
            await caller.patch(sku, everything, {"quantity": 3}),
            await caller.patch(sku, preview, good),
            await caller.patch(sku, {"mode": "WRONG"}, good),
        ]
        assert [answer.json().get("status") for answer in answers] == ["ACCEPTED", "INVALID", "VALID", None]
        # The fifth call of the burst passes, the rest meet the quota.
        answers += [await caller.patch(sku, {}, good) for _ in range(3)]
        assert answers[-1].status_code == 429
        for answer in answers:
            check("listingsItems_2021-08-01", ITEM, "patch", answer)

    run(story())


@pytest.mark.breaks_contract("token", "parameters")
def test_refusals_and_participations_are_in_the_vendors_form(tmp_path: Path) -> None:
    async def story() -> None:
        caller = Caller(tmp_path)
        refused = await caller.get(ITEMS, {"marketplaceIds": "x"})
        assert refused.status_code == 403
        check("listingsItems_2021-08-01", ITEMS, "get", refused)
        await caller.sign_in()
        path = "/sellers/v1/marketplaceParticipations"
        check("sellers", path, "get", await caller.get(path))

    run(story())


def test_the_usage_plans_are_the_vendors() -> None:
    documented = json.loads((CONTRACTS / "usage_plans.json").read_text())
    entries = (
        documented if isinstance(documented, list) else next(v for v in documented.values() if isinstance(v, list))
    )
    plans = {(entry["operationId"], entry["rate"], entry["burst"]) for entry in entries}
    assert {(name, rate, burst) for name, (rate, burst) in PLANS.items()} <= plans
