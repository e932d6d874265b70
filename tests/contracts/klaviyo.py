"""The judge of Klaviyo: the vendor's OpenAPI document, and rules.json for what stands there only in prose."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from jsonschema import Draft202012Validator

from tests.contracts.exchange import Breach, Exchange
from tests.contracts.openapi30 import Schemas

MEDIA_TYPE = "application/vnd.api+json"
_PREFIX = re.compile(r"^/klaviyo(?=/)")
_KEY = re.compile(r"Klaviyo-API-Key \S+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(\.pre)?")
_CLAUSE = re.compile(r"([a-z-]+)\(\s*([A-Za-z_.$][\w.$-]*)\s*,")
_TEXTS = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_ALLOWED = re.compile(r"`([^`]+)`: ((?:`[a-z-]+`(?:, )?)+)")
_PHONE = re.compile(r"\+[1-9]\d{6,14}")
_LIMITS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
MEGABYTE, KILOBYTE = 1_000_000, 1_000


@dataclass(frozen=True)
class Operation:
    """One operation of the document, with the validators of its bodies."""

    id: str
    method: str
    path: str
    pattern: re.Pattern[str]
    described: dict[str, Any]
    body: Draft202012Validator | None
    answers: dict[str, Draft202012Validator | None]
    limits: dict[str, Any]

    def parameters(self) -> dict[str, dict[str, Any]]:
        return {given["name"]: given for given in self.described["parameters"] if given["in"] == "query"}


class KlaviyoJudge:
    vendor = "klaviyo"

    def __init__(self, contracts: Path) -> None:
        self._folder = contracts / "klaviyo"

    @cached_property
    def rules(self) -> dict[str, Any]:
        rules: dict[str, Any] = json.loads((self._folder / "rules.json").read_text())
        return rules

    @cached_property
    def _operations(self) -> list[Operation]:
        document = json.loads(next(self._folder.glob("openapi-*.json")).read_text())
        schemas = Schemas(document)
        return [
            _operation(schemas, self.rules, path, method.upper(), described)
            for path, methods in document["paths"].items()
            for method, described in methods.items()
            if isinstance(described, dict) and "operationId" in described
        ]

    @cached_property
    def operations(self) -> frozenset[str]:
        return frozenset(operation.id for operation in self._operations)

    def claims(self, exchange: Exchange) -> bool:
        if exchange.kind == "delivery":
            return False
        headers = exchange.headers
        is_ours = exchange.path.startswith("/klaviyo/") or headers.get("authorization", "").startswith(
            "Klaviyo-API-Key"
        )
        return is_ours or ("revision" in headers and self._operation(exchange) is not None)

    def judge(self, exchange: Exchange) -> Iterator[Breach]:
        yield from _headers(exchange)
        operation = self._operation(exchange)
        if operation is None:
            yield Breach("address", f"{exchange.method} {exchange.path} is no operation of the document")
            return
        yield from _ids(operation, exchange, self.rules)
        yield from _parameters(operation, exchange)
        yield from self._body(operation, exchange)
        yield from _answer(operation, exchange)

    def exercised(self, exchange: Exchange) -> Iterable[str]:
        if exchange.status is None or not 200 <= exchange.status < 300 or not exchange.is_sandbox:
            return []
        operation = self._operation(exchange)
        return [operation.id] if operation else []

    def _operation(self, exchange: Exchange) -> Operation | None:
        path = _PREFIX.sub("", exchange.path)
        for operation in self._operations:
            if operation.method == exchange.method and operation.pattern.fullmatch(path):
                return operation
        return None

    def _body(self, operation: Operation, exchange: Exchange) -> Iterator[Breach]:
        if operation.body is None:
            if exchange.body:
                yield Breach("body", f"{operation.id} takes no body")
            return
        if exchange.headers.get("content-type", "").partition(";")[0] != MEDIA_TYPE:
            yield Breach("content_type", f"{exchange.headers.get('content-type')!r} is not {MEDIA_TYPE}")
        if len(exchange.body) > self.rules["bulkCatalogJobs"]["maxPayloadMb"] * MEGABYTE:
            yield Breach("size", f"{len(exchange.body)} bytes")
            return
        try:
            value = exchange.json()
        except ValueError:
            yield Breach("body", "the body is no JSON")
            return
        problems = [Breach("body", problem) for problem in said(operation.body, value)]
        yield from problems
        if not problems:
            yield from self._prose(operation, exchange, value)

    def _prose(self, operation: Operation, exchange: Exchange, value: Any) -> Iterator[Breach]:
        """The limits that stand in no schema, of a body that is of the right form."""
        yield from _too_many(operation, self.rules, value)
        for entry in _dicts(value):
            yield from _entry(entry, self.rules)
        is_profile = operation.id in ("create_profile", "update_profile", "create_or_update_profile")
        if is_profile and len(exchange.body) > self.rules["profileImportJob"]["maxPerProfileKb"] * KILOBYTE:
            yield Breach("size", f"a profile of {len(exchange.body)} bytes")
        if operation.id == "bulk_create_events":
            events = [entry["attributes"] for entry in _dicts(value) if entry.get("type") == "event"]
            names = Counter(event["unique_id"] for event in events if event.get("unique_id"))
            if again := [name for name, count in names.items() if count > 1]:
                yield Breach("unique_id", f"{again[0]!r} stands there twice, so that nothing would be processed")


def _operation(schemas: Schemas, rules: dict[str, Any], path: str, method: str, described: dict[str, Any]) -> Operation:
    body = described.get("requestBody", {}).get("content", {}).get(MEDIA_TYPE)
    answers = {
        status: schemas.strict(answer["content"][MEDIA_TYPE]["schema"]) if answer.get("content") else None
        for status, answer in described["responses"].items()
        if "$ref" not in answer
    }
    return Operation(
        described["operationId"],
        method,
        path,
        re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) + "/?"),
        described,
        schemas.strict(body["schema"]) if body else None,
        answers,
        rules["operations"][described["operationId"]],
    )


def said(validator: Draft202012Validator, value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:160]}" for error in validator.iter_errors(value)]


def _headers(exchange: Exchange) -> Iterator[Breach]:
    if not _KEY.fullmatch(exchange.headers.get("authorization", "")):
        yield Breach("key", "the Authorization header is not 'Klaviyo-API-Key <private key>'")
    if not _DATE.fullmatch(exchange.headers.get("revision", "")):
        yield Breach("revision", f"the revision {exchange.headers.get('revision')!r} is no date")
    if exchange.headers.get("accept", "") != MEDIA_TYPE:
        yield Breach("accept", f"{exchange.headers.get('accept')!r} is not {MEDIA_TYPE}")


def _ids(operation: Operation, exchange: Exchange, rules: dict[str, Any]) -> Iterator[Breach]:
    """A compound id in a path has its escapes, and is one of the account's own catalogue."""
    found = re.fullmatch(r"/api/(?:catalog-(?:items|variants|categories))/([^/]+).*", _PREFIX.sub("", exchange.path))
    if found is None:
        return
    if {"$", ":"} & set(found.group(1)):
        yield Breach("escapes", f"{found.group(1)} has to be percent-encoded in a path")
    if not re.fullmatch(rules["compoundId"]["pattern"], unquote(found.group(1))):
        yield Breach("compound_id", f"{unquote(found.group(1))} is none")


def _parameters(operation: Operation, exchange: Exchange) -> Iterator[Breach]:
    known = operation.parameters()
    given = dict(parse_qsl(exchange.query, keep_blank_values=True))
    for name in given.keys() - known.keys():
        yield Breach("parameters", f"{operation.id} knows no {name}")
    for name in given.keys() & known.keys():
        yield from (Breach("parameters", f"{name}: {why}") for why in _objections(known[name], given[name]))
    if "filter" in given and "filter" in known:
        yield from (Breach("filter", why) for why in _filter(known["filter"]["description"], given["filter"]))


def _objections(parameter: dict[str, Any], text: str) -> Iterator[str]:
    schema = parameter["schema"]
    is_list = schema["type"] == "array"
    rule = schema["items"] if is_list else schema
    for value in text.split(",") if is_list else [text]:
        if value not in rule.get("enum", [value]):
            yield f"{value!r} is none of {rule['enum']}"
        if rule["type"] == "integer" and not value.isdigit():
            yield f"{value!r} is no whole number"
        elif rule["type"] == "integer" and not rule["minimum"] <= int(value) <= rule["maximum"]:
            yield f"{value} is out of bounds"


def _filter(description: str, text: str) -> Iterator[str]:
    allowed = {field: set(re.findall(r"[a-z-]+", operators)) for field, operators in _ALLOWED.findall(description)}
    clauses = _CLAUSE.findall(_TEXTS.sub("''", text))
    if not clauses:
        yield f"{text!r} is no filter"
    for operator, field in clauses:
        if operator not in allowed.get(field, ()):
            yield f"{operator}({field}) is none of {allowed}"


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dicts(inner)


def _too_many(operation: Operation, rules: dict[str, Any], value: Any) -> Iterator[Breach]:
    """Entries of one request: a job of the catalogue takes a hundred, and so does a change of relationships."""
    most, counted = rules["bulkCatalogJobs"]["maxItemsPerJob"], "data"
    if operation.id == "bulk_create_events":
        most, counted = rules["bulkEvents"]["maxEventsPerRequest"], "events"
    elif operation.id == "bulk_import_profiles":
        most, counted = rules["profileImportJob"]["maxProfiles"], "profiles"
    lists = [entry[counted] for entry in _dicts(value) if counted in entry]
    lists = [entry.get("data") if isinstance(entry, dict) and counted != "data" else entry for entry in lists]
    sizes = [len(entry) for entry in lists if isinstance(entry, list)]
    count = sum(sizes) if counted == "events" else max(sizes, default=0)
    if count > most:
        yield Breach("entries", f"{count} entries where {most} are the most")


def _entry(entry: dict[str, Any], rules: dict[str, Any]) -> Iterator[Breach]:
    metadata = entry.get("custom_metadata")
    if isinstance(metadata, dict):
        if any(isinstance(value, (dict, list)) for value in metadata.values()):
            yield Breach("metadata", "custom_metadata is not flat")
        if len(json.dumps(metadata).encode()) > rules["customMetadataKb"] * KILOBYTE:
            yield Breach("metadata", "custom_metadata is too large")
    phone = entry.get("phone_number")
    if isinstance(phone, str) and not _PHONE.fullmatch(phone):
        yield Breach("phone", f"{phone!r} is not in E.164")
    if entry.get("type") == "event" and isinstance(entry.get("attributes"), dict):
        yield from _event(entry["attributes"], rules["singleEvent"])


def _event(event: dict[str, Any], rules: dict[str, Any]) -> Iterator[Breach]:
    if len(event["properties"]) > rules["maxProperties"]:
        yield Breach("event", f"{len(event['properties'])} properties")
    texts = [value for value in event["properties"].values() if isinstance(value, str)]
    if any(len(value.encode()) > rules["maxStringKb"] * KILOBYTE for value in texts):
        yield Breach("event", "a string is too long")
    if (given := event.get("time")) is not None:
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            yield Breach("event", f"the time {given!r} is none")
            return
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if moment.year < int(rules["timeNotBefore"]) or moment > datetime.now(UTC) + timedelta(days=366):
            yield Breach("event", f"the time {given} is out of bounds")


def _answer(operation: Operation, exchange: Exchange) -> Iterator[Breach]:
    if not exchange.is_sandbox or exchange.status is None:
        return
    status, headers = exchange.status, exchange.answer_headers
    if status >= 400:
        yield from _refusal(exchange)
        return
    if str(status) not in operation.limits["success"]:
        yield Breach("answer.status", f"{operation.id} never answers {status}")
        return
    for name in _LIMITS:
        if not headers.get(name, "").isdigit():
            yield Breach("answer.headers", f"{status} without {name}")
    if headers.get("ratelimit-limit", "") not in ("", operation.limits["steady"].removesuffix("/m")):
        yield Breach("answer.headers", f"{headers['ratelimit-limit']} is not {operation.limits['steady']}")
    yield from _content(operation.answers[str(status)], exchange)


def _refusal(exchange: Exchange) -> Iterator[Breach]:
    headers = exchange.answer_headers
    if exchange.status == 429:
        if not headers.get("retry-after", "").isdigit():
            yield Breach("answer.headers", "429 without whole seconds in Retry-After")
        if any(name in headers for name in _LIMITS):
            yield Breach("answer.headers", "429 has no RateLimit headers")
    yield from _content(_ERRORS, exchange)


def _content(validator: Draft202012Validator | None, exchange: Exchange) -> Iterator[Breach]:
    if validator is None:
        if exchange.answer:
            yield Breach("answer.data", f"{exchange.status} has no body")
        return
    if exchange.answer_headers.get("content-type") != MEDIA_TYPE:
        yield Breach("answer.headers", f"{exchange.answer_headers.get('content-type')!r} is not {MEDIA_TYPE}")
    try:
        value = exchange.answer_json()
    except ValueError:
        yield Breach("answer.data", "the answer is no JSON")
        return
    yield from (Breach("answer.data", problem) for problem in said(validator, value))


def _texts(*names: str) -> dict[str, Any]:
    return {name: {"type": "string"} for name in names}


_ERROR = {
    "type": "object",
    "required": ["id", "code", "title", "detail"],
    "properties": {
        **_texts("id", "code", "title", "detail"),
        "status": {"type": "integer"},
        "source": {"type": "object", "properties": _texts("pointer", "parameter"), "additionalProperties": False},
        "meta": {"type": "object"},
    },
    "additionalProperties": False,
}
# The document's, and what is seen in practice beside it: status and meta.
_ERRORS = Draft202012Validator(
    {
        "type": "object",
        "required": ["errors"],
        "properties": {"errors": {"type": "array", "minItems": 1, "items": _ERROR}},
        "additionalProperties": False,
    }
)
