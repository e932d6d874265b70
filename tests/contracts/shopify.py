"""The judge of Shopify: contracts/shopify/NOTES.md, rules.json and the Admin schema."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from core.adapters.shopify import documents
from tests.contracts.exchange import Breach, Exchange
from tests.contracts.samples import missing
from tests.contracts.shopify_data import differences
from tests.contracts.shopify_requests import Asked, bulk_bounds, rules_broken, vendor_schema

_GRAPHQL = re.compile(r"/admin/api/([^/]+)/graphql\.json$")
_TOKEN = re.compile(r"/admin/oauth/access_token$")
_SCOPES = re.compile(r"/admin/oauth/access_scopes\.json$")
_OURS = re.compile(r"^/shopify/[^/]+/|/admin/(api|oauth)/")
_SIGNED = (
    "x-shopify-topic",
    "x-shopify-hmac-sha256",
    "x-shopify-shop-domain",
    "x-shopify-api-version",
    "x-shopify-webhook-id",
    "x-shopify-event-id",
    "x-shopify-triggered-at",
)
# NOTES.md, "Error shapes" and "Inventory writes".
_CODES = {
    "THROTTLED",
    "ACCESS_DENIED",
    "MAX_COST_EXCEEDED",
    "BAD_REQUEST",
    "INTERNAL_SERVER_ERROR",
    "INVALID_FIELD_ARGUMENTS",
    "MAX_INPUT_SIZE_EXCEEDED",
}
# A vendor that carries these out is more lenient than the real one.
_REFUSED = {"document", "variables", "idempotent", "comparison", "array", "page", "cost"}


class ShopifyJudge:
    """Requests, answers and deliveries of one vendor; the schema is built when the first document comes."""

    vendor = "shopify"
    operations = frozenset({"access_token", *documents.ALL})

    def __init__(self, contracts: Path) -> None:
        self._contracts = contracts
        self._names = {text: name for name, text in documents.ALL.items()}

    @cached_property
    def rules(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self._contracts / "shopify/rules.json").read_text())
        return loaded

    def claims(self, exchange: Exchange) -> bool:
        if exchange.kind == "delivery":
            return "x-shopify-topic" in exchange.headers or "x-shopify-hmac-sha256" in exchange.headers
        is_result = exchange.method == "GET" and exchange.path.endswith(".jsonl")
        return is_result or _OURS.search(exchange.path) is not None

    def judge(self, exchange: Exchange) -> Iterator[Breach]:
        if exchange.kind == "delivery":
            yield from self._delivery(exchange)
        elif _GRAPHQL.search(exchange.path):
            yield from self._graphql(exchange)
        elif _TOKEN.search(exchange.path):
            yield from self._token(exchange)
        elif _SCOPES.search(exchange.path) and exchange.method == "GET":
            yield from self._scopes(exchange)
        elif exchange.method == "GET" and exchange.path.endswith(".jsonl"):
            yield from _result(exchange)
        else:
            yield Breach("address", f"{exchange.method} {exchange.path} is no address of the vendor's")
            yield from self._plain_error(exchange)

    def exercised(self, exchange: Exchange) -> Iterable[str]:
        if exchange.status != 200 or not exchange.is_sandbox or exchange.kind == "delivery":
            return []
        if _TOKEN.search(exchange.path):
            return ["access_token"]
        answer = _object(_loaded(exchange.answer))
        if not isinstance(answer.get("data"), dict) or answer.get("errors"):
            return []
        asked = _object(_loaded(exchange.body))
        texts = [asked.get("query"), *_object(asked.get("variables")).values()]
        return [self._names[text] for text in texts if isinstance(text, str) and text in self._names]

    # Calls ----------------------------------------------------------------------------------------------------------

    def _graphql(self, exchange: Exchange) -> Iterator[Breach]:
        yield from self._envelope(exchange)
        body = _loaded(exchange.body)
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            yield Breach("body", "the body is no JSON object with a query")
            yield from self._plain_error(exchange)
            return
        schema = vendor_schema(self._contracts)
        asked = Asked(schema, body["query"], body.get("variables") or {}, body.get("operationName")).read()
        if asked.is_readable:
            asked.breaches += rules_broken(asked, self.rules)
            asked.breaches += self._bulk(asked)
        yield from asked.breaches
        yield from self._answer(exchange, asked)

    def _envelope(self, exchange: Exchange) -> Iterator[Breach]:
        found = _GRAPHQL.search(exchange.path)
        assert found is not None
        if exchange.method != "POST":
            yield Breach("address", f"{exchange.method} where only POST is answered")
        if found.group(1) not in self.rules["apiVersions"].values():
            yield Breach("version", f"{found.group(1)} is no living version")
        if not exchange.headers.get("x-shopify-access-token", "").strip():
            yield Breach("token", "no X-Shopify-Access-Token")

    def _bulk(self, asked: Asked) -> Iterator[Breach]:
        """A document within: it must be valid by itself, and within the bounds of bulk queries."""
        if "bulkOperationRunQuery" not in asked.text:
            return
        for text in asked.variables.values():
            if not isinstance(text, str) or "{" not in text:
                continue
            inner = Asked(asked.schema, text, {}).read()
            yield from (Breach("bulk", breach.why) for breach in inner.breaches)
            if inner.is_readable:
                yield from bulk_bounds(inner, self.rules["limits"])

    def _token(self, exchange: Exchange) -> Iterator[Breach]:
        given = exchange.form()
        if "json" in exchange.headers.get("content-type", ""):
            given = _object(_loaded(exchange.body))
        if exchange.method != "POST" or given.get("grant_type") != "client_credentials":
            yield Breach("grant", "only the client-credentials grant, by POST")
        if not given.get("client_id") or not given.get("client_secret"):
            yield Breach("grant", "client_id and client_secret are both needed")
        if not exchange.is_sandbox or exchange.status is None:
            return
        answer = _object(_loaded(exchange.answer))
        if exchange.status != 200:
            if not (answer.get("error") or answer.get("errors")):
                yield Breach("answer.error", f"{exchange.status} without an error")
            return
        if not (isinstance(answer.get("access_token"), str) and isinstance(answer.get("scope"), str)):
            yield Breach("answer.token", "no access_token and scope")
        if not 0 < _number(answer.get("expires_in")) <= 86_400:
            yield Breach("answer.token", f"expires_in {answer.get('expires_in')!r}: a token lives 24 hours")

    def _scopes(self, exchange: Exchange) -> Iterator[Breach]:
        if not exchange.headers.get("x-shopify-access-token", "").strip():
            yield Breach("token", "no X-Shopify-Access-Token")
        if not exchange.is_sandbox or exchange.status is None:
            return
        if exchange.status != 200:
            yield from self._plain_error(exchange)
            return
        granted = _object(_loaded(exchange.answer)).get("access_scopes")
        if not isinstance(granted, list) or not all(isinstance(_object(one).get("handle"), str) for one in granted):
            yield Breach("answer.form", "access_scopes is no list of handles")

    # Answers --------------------------------------------------------------------------------------------------------

    def _answer(self, exchange: Exchange, asked: Asked) -> Iterator[Breach]:
        if not exchange.is_sandbox or exchange.status is None:
            return
        if exchange.status != 200:
            yield from self._plain_error(exchange)
            return
        answer = _loaded(exchange.answer)
        if not isinstance(answer, dict) or not answer.keys() & {"data", "errors"}:
            yield Breach("answer.form", "neither data nor errors")
            return
        if answer.keys() - {"data", "errors", "extensions"}:
            yield Breach("answer.form", f"unknown parts {sorted(answer.keys() - {'data', 'errors', 'extensions'})}")
        if exchange.answer_headers.get("x-shopify-api-version") not in self.rules["apiVersions"].values():
            yield Breach("answer.version", "no X-Shopify-API-Version of a living version")
        yield from self._errors(answer, asked)
        yield from _cost_reported(answer)
        yield from _lenience(answer, asked)
        if isinstance(answer.get("data"), dict) and asked.document is not None and asked.operation is not None:
            for place in differences(asked.schema, asked.document, asked.operation, answer["data"]):
                yield Breach("answer.data", place)

    def _errors(self, answer: dict[str, Any], asked: Asked) -> Iterator[Breach]:
        errors = answer.get("errors", [])
        if not isinstance(errors, list) or ("errors" in answer and not errors):
            yield Breach("answer.error", "errors of a 200 are a list that is not empty")
            return
        # The schema's own objections carry codes that the vendor does not list.
        is_invalid = any(breach.rule in ("document", "variables") for breach in asked.breaches)
        for error in errors:
            if not isinstance(error, dict) or not isinstance(error.get("message"), str):
                yield Breach("answer.error", f"{error!r:.80} has no message")
                continue
            code = _object(error.get("extensions")).get("code")
            if code not in _CODES and not is_invalid:
                yield Breach("answer.error", f"code {code!r} is none of the vendor's: {error['message'][:80]}")

    def _plain_error(self, exchange: Exchange) -> Iterator[Breach]:
        """Other than 200: JSON with a text, and for a malformed request one text for each part."""
        if not exchange.is_sandbox or exchange.status is None:
            return
        errors = _object(_loaded(exchange.answer)).get("errors")
        if not isinstance(errors, str) and not (exchange.status == 400 and isinstance(errors, dict)):
            yield Breach("answer.error", f'{exchange.status} must come with {{"errors": "text"}}')

    # Deliveries -----------------------------------------------------------------------------------------------------

    def _delivery(self, exchange: Exchange) -> Iterator[Breach]:
        headers = exchange.headers
        for name in _SIGNED:
            if not headers.get(name, "").strip():
                yield Breach("delivery.headers", f"no {name}")
        expected = base64.b64encode(hmac.digest(exchange.secret.encode(), exchange.body, "sha256")).decode()
        if headers.get("x-shopify-hmac-sha256") != expected:
            yield Breach("delivery.signature", "not base64(HMAC-SHA256(client secret, raw body))")
        if headers.get("x-shopify-api-version") not in self.rules["apiVersions"].values():
            yield Breach("delivery.headers", f"version {headers.get('x-shopify-api-version')!r}")
        if _instant(headers.get("x-shopify-triggered-at", "")) is None:
            yield Breach("delivery.headers", f"triggered at {headers.get('x-shopify-triggered-at')!r}")
        topic = headers.get("x-shopify-topic", "")
        code = topic.upper().replace("/", "_")
        if code not in vendor_schema(self._contracts).get_type("WebhookSubscriptionTopic").values:  # type: ignore[union-attr]
            yield Breach("delivery.topic", f"{topic!r} is no topic of the vendor's")
        yield from self._delivered_body(exchange, topic)

    def _delivered_body(self, exchange: Exchange, topic: str) -> Iterator[Breach]:
        body = _loaded(exchange.body)
        if not isinstance(body, dict):
            yield Breach("delivery.body", "the body is no JSON object")
            return
        sample = self._contracts / "shopify/samples" / f"{topic.replace('/', '_')}.json"
        # A subscription may ask for some fields only.
        if sample.is_file() and len(body) > 5:
            captured = json.loads(sample.read_text())["body"]
            yield from (Breach("delivery.body", place) for place in missing(captured, body))


def _result(exchange: Exchange) -> Iterator[Breach]:
    """What a bulk operation found: it lies elsewhere, at an address that the vendor signs and gives away."""
    if "x-shopify-access-token" in exchange.headers:
        yield Breach("credentials", "our token goes to whoever keeps the file")
    if not exchange.is_sandbox or exchange.status != 200:
        return
    for number, line in enumerate(exchange.answer.splitlines(), start=1):
        found = _object(_loaded(line))
        if not (found.get("id") or found.get("__parentId")):
            yield Breach("answer.data", f"line {number} is no object with an id or a parent")
            return


def _cost_reported(answer: dict[str, Any]) -> Iterator[Breach]:
    """With every answer that was let through to the bucket, and with the refusal for want of points."""
    codes = {_object(_object(error).get("extensions")).get("code") for error in answer.get("errors", [])}
    if answer.get("data") is None and "THROTTLED" not in codes:
        return
    told = _object(_object(answer.get("extensions")).get("cost"))
    status = _object(told.get("throttleStatus"))
    numbers = [told.get("requestedQueryCost"), *map(status.get, ("maximumAvailable", "currentlyAvailable"))]
    if not all(isinstance(number, (int, float)) for number in (*numbers, status.get("restoreRate"))):
        yield Breach("answer.cost", "extensions.cost is not whole")
    if answer.get("data") is not None and not isinstance(told.get("actualQueryCost"), int):
        yield Breach("answer.cost", "no actualQueryCost beside data")


def _lenience(answer: dict[str, Any], asked: Asked) -> Iterator[Breach]:
    broken = sorted({breach.rule for breach in asked.breaches} & _REFUSED)
    if broken and answer.get("data") is not None and not answer.get("errors"):
        yield Breach("answer.lenient", f"carried out although the request breaks {', '.join(broken)}")


def _loaded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) else 0


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
