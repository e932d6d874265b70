"""The vendor's static sandbox: each published pair of an operation that we use is answered as published, and read.

The sandbox reads the pairs out of the vendor's models; what it must answer is held against the extracts beside them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from core.adapters.amazon.client import SellingPartner
from core.adapters.amazon.operations import OPERATIONS
from core.adapters.base import ConnectionConfig, Deps
from tests.sandbox.outside import AGENT, Inside

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = (ROOT / os.environ.get("SHARED_DIR", "../shared")).resolve() / "contracts" / "amazon"
pytestmark = pytest.mark.skipif(
    not CONTRACTS.is_dir(), reason=f"the vendor's models are not at {CONTRACTS}: set SHARED_DIR to hold ours to them"
)
# What a call needs although the pair, which any value of it selects, does not list it.
QUERY = {"marketplaceIds": "ATVPDKIKX0DER"}
PLACE = "anything"
BODIES: dict[str, Any] = {
    "patchListingsItem": {
        "productType": "PRODUCT",
        "patches": [{"op": "merge", "path": "/attributes/brand", "value": [{"value": "Ours"}]}],
    },
    "createSubscription": {"payloadVersion": "1.0", "destinationId": "destination"},
    "createDestination": {"name": "ours", "resourceSpecification": {"sqs": {"arn": "arn:aws:sqs:us-east-2:1:queue"}}},
}
# Only in the dynamic sandbox.
WITHOUT_PAIRS = {"getInventorySummaries"}


@dataclass(frozen=True)
class Published:
    """One pair: what selects it and what is answered, as the vendor has it."""

    operation: str
    method: str
    path: str
    status: int
    parameters: dict[str, Any]
    response: Any

    def url(self) -> str:
        """The path, filled in with what the pair lists and with anything else."""
        return re.sub(r"\{(\w+)\}", lambda name: quote(str(self.parameters.get(name[1], PLACE)), safe=""), self.path)

    def query(self, required: set[str]) -> dict[str, str]:
        listed = {
            name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
            for name, value in self.parameters.items()
            if name != "body" and f"{{{name}}}" not in self.path
        }
        return {name: QUERY[name] for name in required - listed.keys()} | listed

    def body(self) -> Any:
        return self.parameters.get("body", BODIES.get(self.operation)) if self.method in ("POST", "PATCH") else None


def published() -> list[Published]:
    """Every pair of an operation that we use."""
    ours = {(operation.method, bare(operation.path)): name for name, operation in OPERATIONS.items()}
    found = []
    for path in sorted((CONTRACTS / "samples/sandbox").glob("*.json")):
        for entry in json.loads(path.read_text())["extracted"]:
            name = ours.get((entry["method"], bare(entry["path"])))
            for pair in entry["pairs"].get("static", []) if name else []:
                named = pair.get("request", {}).get("parameters", {})
                listed = {key: given["value"] for key, given in named.items() if "value" in given}
                status = int(entry["status"])
                found.append(
                    Published(name or "", entry["method"], entry["path"], status, listed, pair.get("response"))
                )
    return found


def bare(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def required(pair: Published) -> set[str]:
    """The query parameters that its model asks for."""
    for path in (CONTRACTS / "models").glob("*.json"):
        described = json.loads(path.read_text())["paths"].get(pair.path, {}).get(pair.method.lower())
        if described:
            return {given["name"] for given in described["parameters"] if given["in"] == "query" and given["required"]}
    raise AssertionError(f"no model has {pair.path}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SANDBOX_AMAZON_PAIRS", str(CONTRACTS / "models"))
        running = Inside(tmp_path_factory.mktemp("static"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(world: Inside) -> httpx.Client:
    token = world.seller().http.headers["x-amz-access-token"]
    # By the vendor's own name for it.
    return world.client("/amazon-static", headers={"user-agent": AGENT, "x-amz-access-token": token})


def asked(client: httpx.Client, pair: Published) -> httpx.Response:
    query, body = pair.query(required(pair)), pair.body()
    return client.request(pair.method, pair.url(), params=query, **({} if body is None else {"json": body}))


# Pairs that end in 400 break the models on purpose.
@pytest.mark.breaks_contract("parameters", "body")
def test_every_pair_of_ours_is_answered_as_published(world: Inside, client: httpx.Client) -> None:
    pairs = published()
    assert {pair.operation for pair in pairs} == OPERATIONS.keys() - WITHOUT_PAIRS
    for pair in pairs:
        answer = asked(client, pair)
        assert answer.status_code == pair.status, (pair, answer.text)
        # 204 is without a body, although the vendor's pair has an empty object.
        told = answer.json() if answer.content else {}
        assert told == (pair.response or {}), pair
        assert answer.headers["x-amzn-RateLimit-Limit"] == "5.0"
        world.clock.advance(1)


@pytest.mark.breaks_contract("parameters")
def test_a_pair_is_found_by_what_it_lists_and_everything_required_must_be_there(
    world: Inside, client: httpx.Client
) -> None:
    world.clock.advance(60)
    item = "/listings/2021-08-01/items/SELLER/SKU"
    assert client.get(item, params=QUERY).json()["sku"] == "GM-ZDPI-9B4E"
    assert client.get(item).json()["errors"][0]["message"] == "'marketplaceIds' is required but was not provided."
    lost = client.get("/orders/2026-01-01/orders/114-0000000-0000000")
    assert (lost.status_code, lost.json()["errors"][0]["message"]) == (400, "Could not match input arguments")


def test_our_own_client_asks_the_static_sandbox(world: Inside) -> None:
    world.clock.advance(60)
    entry = world.seller().entry
    secrets = {name: entry[name] for name in ("client_id", "client_secret", "refresh_token")}
    settings = {"lwa_url": f"{world.url}/amazon/auth/o2/token", "clock_factor": 10_000}
    config = ConnectionConfig(
        1, 1, "amazon", f"{world.url}/amazon-static", entry["seller_id"], "GBP", settings, secrets
    )
    partner = SellingPartner(
        config, Deps(lambda call: None, None, world.world, lambda: datetime.now(UTC), lambda seconds: None)
    )
    (place,) = partner.run("getMarketplaceParticipations")["payload"]
    assert place["storeName"] == "BestSellerStore"
    asked = {"includedData": "RECIPIENT,PROCEEDS,FULFILLMENT"}
    order = partner.run("getOrder", {"order": "114-9876543-1234567"}, asked)["order"]
    assert order["orderId"] == "114-9876543-1234567"


def test_every_operation_allows_five_calls_a_second_and_fifteen_at_once(world: Inside, client: httpx.Client) -> None:
    world.clock.advance(60)
    path = "/sellers/v1/marketplaceParticipations"
    assert [client.get(path).status_code for _ in range(16)] == [200] * 15 + [429]
    world.clock.advance(0.2)
    assert [client.get(path).status_code for _ in range(2)] == [200, 429]


@pytest.mark.breaks_contract("token")
def test_the_static_sandbox_is_at_the_vendors_name_for_it_and_wants_a_token(
    world: Inside, client: httpx.Client
) -> None:
    world.clock.advance(60)
    url = "https://sandbox.sellingpartnerapi-eu.amazon.com/sellers/v1/marketplaceParticipations"
    assert client.get(url).json()["payload"][0]["storeName"] == "BestSellerStore"
    assert client.get(url, headers={"x-amz-access-token": ""}).status_code == 403


@pytest.mark.breaks_contract("token", "user_agent")
def test_without_the_setting_there_is_none(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("SANDBOX_AMAZON_PAIRS", raising=False)
        plain = Inside(tmp_path)
    assert plain.http.get("/amazon-static/sellers/v1/marketplaceParticipations").status_code == 404
    plain.stop()
