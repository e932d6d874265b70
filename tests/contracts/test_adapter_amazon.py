"""Our requests to Amazon held against the vendor's model of the Listings Items API."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from core.adapters.amazon.client import user_agent
from core.adapters.amazon.operations import OPERATIONS
from core.ports import QuantityWrite
from tests.adapters.accounts import Account, amazon_account
from tests.adapters.canned_amazon import CannedSeller

MODEL = "contracts/amazon/models/listingsItems_2021-08-01.json"
LISTINGS = {name for name, operation in OPERATIONS.items() if operation.path.startswith("/listings/")}


@pytest.fixture(scope="module")
def model(shared_dir: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((shared_dir / MODEL).read_text())
    return loaded


@pytest.fixture(scope="module")
def account() -> Account:
    """An account whose channel has made every kind of call."""
    account = amazon_account(CannedSeller())
    channel = account.channel()
    list(channel.listings())
    channel.listing_count()
    channel.levels(["SKU 1/%", "SKU 2/%", "RED, LARGE"])
    channel.set_quantities([QuantityWrite(1, "SKU 1/%", None, "", None, 3, "k")])
    return account


@pytest.fixture(scope="module")
def requests(account: Account) -> list[httpx.Request]:
    return [request for request in account.network.seen if "/listings/" in request.url.path]


def test_every_request_is_an_operation_of_the_model(model: dict[str, Any], requests: list[httpx.Request]) -> None:
    assert {_operation(model, request)["operationId"] for request in requests} == LISTINGS


def test_parameters_are_complete_known_and_within_bounds(model: dict[str, Any], requests: list[httpx.Request]) -> None:
    for request in requests:
        known = {p["name"]: p for p in _operation(model, request)["parameters"] if p["in"] == "query"}
        given = dict(request.url.params)
        assert given.keys() <= known.keys()
        assert {name for name, parameter in known.items() if parameter.get("required")} <= given.keys()
        for name, text in given.items():
            _check(known[name], text)


def test_bodies_are_what_the_model_asks_for(model: dict[str, Any], requests: list[httpx.Request]) -> None:
    schema = {"$ref": "#/definitions/ListingsItemPatchRequest", "definitions": model["definitions"]}
    bodies = [json.loads(request.content) for request in requests if request.content]
    assert len(bodies) == 1
    for body in bodies:
        jsonschema.Draft4Validator(schema).validate(body)


def test_canned_answers_are_what_the_model_promises(model: dict[str, Any], requests: list[httpx.Request]) -> None:
    canned = CannedSeller()
    for request in requests:
        schema = dict(_operation(model, request)["responses"]["200"]["schema"])
        validator = jsonschema.Draft4Validator({**schema, "definitions": model["definitions"]})
        validator.validate(canned(request).json())


def test_paces_are_the_vendors_usage_plans(shared_dir: Path) -> None:
    plans = json.loads((shared_dir / "contracts/amazon/usage_plans.json").read_text())["plans"]
    named = {(plan["method"], _blank(plan["path"])): (plan["rate"], plan["burst"]) for plan in plans}
    ours = {(each.method, _blank(each.path)): (each.rate, each.burst) for each in OPERATIONS.values()}
    assert ours == {where: named[where] for where in ours}


def test_the_login_is_the_documented_form(shared_dir: Path, account: Account) -> None:
    sample = json.loads((shared_dir / "contracts/amazon/samples/lwa_token.sample.json").read_text())["request"]
    (login,) = [request for request in account.network.seen if "/auth/o2/token" in request.url.path]
    assert (login.method, str(login.url)) == (sample["method"], sample["url"])
    form = dict(pair.split("=", 1) for pair in login.content.decode().split("&"))
    assert form.keys() == sample["form_refresh"].keys()
    assert form["grant_type"] == sample["form_refresh"]["grant_type"]


def test_the_user_agent_has_the_mandatory_form() -> None:
    assert re.fullmatch(r"[\w ]+/[\w.]+ \(Language=[^;()=]+; Platform=[^;()=]+\)", user_agent())


def _blank(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def _operation(model: dict[str, Any], request: httpx.Request) -> dict[str, Any]:
    path = request.url.raw_path.decode().partition("?")[0]
    for pattern, methods in model["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            operation: dict[str, Any] = methods[request.method.lower()]
            return operation
    raise AssertionError(f"no operation for {path}")


def _check(parameter: dict[str, Any], text: str) -> None:
    if parameter["type"] == "array":
        assert parameter["collectionFormat"] == "csv"
        values = text.split(",")
        assert len(values) <= parameter.get("maxItems", 100)
        allowed = parameter["items"].get("enum")
    else:
        values, allowed = [text], parameter.get("enum")
        assert parameter["type"] != "integer" or int(text) <= parameter.get("maximum", 10**9)
    assert allowed is None or set(values) <= set(allowed)
