"""The tables of what a vendor's errors mean: nothing that we can meet is missing, and the judging goes by them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.adapters.amazon.errors import ERRORS as AMAZON
from core.adapters.base import Deps
from core.adapters.http import ApiCall, Refused, ServerFault, Throttled, Unauthorised
from core.adapters.meanings import ACTS, Act, ErrorTable, Meaning, as_markdown
from core.adapters.registry import make_channel
from core.adapters.shopify.errors import ERRORS as SHOPIFY
from core.errors import SwitchyardError
from core.ports import QuantityWrite, SalesChannel
from tests.adapters.accounts import shopify_account
from tests.adapters.canned_shopify import LOCATION, CannedShop

ROOT = Path(__file__).resolve().parents[2]
# The mutations we send, by the list of codes their objections have.
OURS = ("InventorySetQuantitiesUserErrorCode", "BulkOperationUserErrorCode")


def test_every_objection_that_shopify_may_raise_to_us_is_in_the_table_and_no_other(shared_dir: Path) -> None:
    rules: dict[str, Any] = json.loads((shared_dir / "contracts/shopify/rules.json").read_text())
    known = {code for name in OURS for code in rules["userErrorCodes"][name]}
    assert set(SHOPIFY.objections) == known


def test_every_code_and_status_that_shopify_documents_is_in_the_table(shared_dir: Path) -> None:
    notes = (shared_dir / "contracts/shopify/NOTES.md").read_text()
    line = next(line for line in notes.splitlines() if line.startswith("1. Transport/auth"))
    statuses = {int(word) for word in line.split("HTTP ")[1].split(",")[0].split("/") if word.isdigit()}
    codes = line.split("codes ")[1].split(". 3.")[0].split(", ")
    assert {401, 403, 404, 423, 430} <= statuses
    assert statuses | {402, 429} <= set(SHOPIFY.statuses)
    assert {"THROTTLED", "MAX_COST_EXCEEDED"} <= set(codes) <= set(SHOPIFY.codes)


def test_every_status_that_amazon_documents_is_in_the_table(shared_dir: Path) -> None:
    model = json.loads((shared_dir / "contracts/amazon/models/listingsItems_2021-08-01.json").read_text())
    documented = {
        int(status)
        for path in model["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict)
        for status in operation.get("responses", {})
    }
    assert documented - {200} <= set(AMAZON.statuses)


@pytest.mark.parametrize(("vendor", "errors"), [("Shopify", SHOPIFY), ("Amazon", AMAZON)])
def test_the_page_for_people_says_what_the_table_says(vendor: str, errors: ErrorTable) -> None:
    page = (ROOT / "docs/errors.md").read_text()
    (section,) = (part for part in page.split("\n## ") if part.startswith(vendor))
    assert as_markdown(errors) in section, (
        f"docs/errors.md: replace the table of {vendor} by this\n{as_markdown(errors)}"
    )


def test_what_we_do_is_said_in_words_for_every_act() -> None:
    used = {meaning.act for errors in (SHOPIFY, AMAZON) for part in _parts(errors) for meaning in part}
    assert used <= set(ACTS)


def _parts(errors: ErrorTable) -> list[list[Meaning]]:
    return [list(part.values()) for part in (errors.statuses, errors.codes, errors.objections)]


# What a read ends as, by what the table says of the answer.
ENDS: dict[Act, type[SwitchyardError]] = {
    "wait": Throttled,
    "renew": Unauthorised,
    "grant": Unauthorised,
    "ask": Refused,
    "repeat": ServerFault,
    "refuse": Refused,
}


class Time:
    """Seconds that only sleeping passes."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Shop:
    """A shop that answers everything but the fetching of a token with `answer`, on a time of its own."""

    answer: httpx.Response
    log: list[ApiCall] = field(default_factory=list)

    def channel(self) -> SalesChannel:
        canned, time = CannedShop(), Time()

        def reply(request: httpx.Request) -> httpx.Response:
            return canned(request) if "access_token" in str(request.url) else self.answer

        deps = Deps(
            self.log.append,
            None,
            httpx.MockTransport(reply),
            lambda: datetime(2026, 11, 1, tzinfo=UTC),
            time.sleep,
            clock=time,
        )
        return make_channel(shopify_account(canned).config, deps)


def status_answer(status: int) -> httpx.Response:
    return httpx.Response(status, json={"errors": "as Shopify puts it"})


def code_answer(code: str) -> httpx.Response:
    return httpx.Response(200, json={"errors": [{"message": "as Shopify puts it", "extensions": {"code": code}}]})


@pytest.mark.parametrize("status", SHOPIFY.statuses)
def test_a_status_ends_as_the_table_says(status: int) -> None:
    account = Shop(status_answer(status))
    meaning = SHOPIFY.statuses[status]
    with pytest.raises(ENDS[meaning.act]):
        account.channel().locations()
    assert meaning.words in (account.log[-1].error or "")


@pytest.mark.parametrize("code", SHOPIFY.codes)
def test_a_code_ends_as_the_table_says(code: str) -> None:
    account = Shop(code_answer(code))
    meaning = SHOPIFY.codes[code]
    with pytest.raises(ENDS[meaning.act]):
        account.channel().locations()
    assert meaning.words in (account.log[-1].error or "")


WRITES = {"wait": "unsent", "repeat": "unknown", "renew": "refused", "grant": "refused", "ask": "refused"}


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [(status_answer(status), meaning) for status, meaning in SHOPIFY.statuses.items()]
    + [(code_answer(code), meaning) for code, meaning in SHOPIFY.codes.items()],
    ids=[*map(str, SHOPIFY.statuses), *SHOPIFY.codes],
)
def test_a_write_is_in_doubt_exactly_where_the_table_does_not_say_that_it_was_surely_not_carried_out(
    answer: httpx.Response, meaning: Meaning
) -> None:
    (result,) = Shop(answer).channel().set_quantities([QuantityWrite(1, "x", "5000", LOCATION, 10, 1, "k")])
    assert result.outcome == WRITES.get(meaning.act, "refused")
    assert (result.outcome == "unknown") == (not meaning.is_surely_undone)


OBJECTIONS = {"replan": "stale", "same_key": "unknown"}


@pytest.mark.parametrize("code", [code for code in SHOPIFY.objections if not code.startswith(("INVALID", "LIMIT"))])
def test_an_objection_ends_as_the_table_says(code: str) -> None:
    error = {"code": code, "field": ["input", "quantities", "0", "quantity"], "message": "as Shopify puts it"}
    payload = {"inventoryAdjustmentGroup": None, "userErrors": [error]}
    account = Shop(httpx.Response(200, json={"data": {"inventorySetQuantities": payload}}))
    (result,) = account.channel().set_quantities([QuantityWrite(1, "x", "5000", LOCATION, 10, 1, "k")])
    meaning = SHOPIFY.objections[code]
    assert result.outcome == OBJECTIONS.get(meaning.act, "refused")
    if meaning.act not in ("same_key", "wait"):
        assert meaning.words in (result.detail or "")
