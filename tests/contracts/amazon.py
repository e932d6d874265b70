"""The judge of Amazon: the vendor's Swagger models, and NOTES.md for the login and the headers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator

from core.adapters.amazon.operations import OPERATIONS
from tests.contracts.exchange import Breach, Exchange

# An address that the vendor signs and gives away, for one file: it carries its own permission.
_PRESIGNED = "X-Amz-Signature="
_LOGIN = re.compile(r"/auth/o2/token$")
# A separator that is meant as it stands has a backslash before it; the vendor's own examples leave slashes in values.
_ESCAPED = r"\\[\\/(=);]"
_NAME = rf"(?:[^\\/(=);]|{_ESCAPED})+"
_SAID = rf"(?:[^\\();]|{_ESCAPED})+"
_AGENT = re.compile(rf"{_NAME}/{_NAME} \((?:{_SAID};\s*)*Language={_SAID}(?:;\s*{_SAID})*\)")
_GRANTS = {
    "refresh_token": {"refresh_token", "client_id", "client_secret"},
    "client_credentials": {"scope", "client_id", "client_secret"},
}
# Promised by the models with more answers than callers get it with (NOTES.md, "Throttling").
_WHEN_AVAILABLE = {"x-amzn-ratelimit-limit"}


@dataclass(frozen=True)
class Operation:
    """One operation of a model, with the definitions its schemas refer to."""

    id: str
    path: re.Pattern[str]
    method: str
    described: dict[str, Any]
    definitions: dict[str, Any]

    def problems(self, schema: dict[str, Any], value: Any) -> list[str]:
        validator = Draft4Validator({**schema, "definitions": self.definitions})
        return [f"{error.json_path}: {error.message[:160]}" for error in validator.iter_errors(value)]

    def parameters(self, place: str) -> dict[str, dict[str, Any]]:
        return {given["name"]: given for given in self.described.get("parameters", []) if given["in"] == place}


class AmazonJudge:
    """Requests and answers of the Selling Partner API and of Login with Amazon."""

    vendor = "amazon"
    operations = frozenset({"login", *OPERATIONS})

    def __init__(self, contracts: Path) -> None:
        self._contracts = contracts

    @cached_property
    def models(self) -> list[Operation]:
        """Every operation of every model of the vendor's."""
        found = []
        for path in sorted((self._contracts / "amazon/models").glob("*.json")):
            model = json.loads(path.read_text())
            base = model.get("basePath", "/").rstrip("/")
            for pattern, methods in model["paths"].items():
                compiled = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(base + pattern)))
                found += [
                    Operation(described["operationId"], compiled, method.upper(), described, model["definitions"])
                    for method, described in methods.items()
                    if isinstance(described, dict) and "operationId" in described
                ]
        return found

    def claims(self, exchange: Exchange) -> bool:
        if exchange.kind == "delivery":
            return False
        is_ours = exchange.path.startswith("/amazon/") or "x-amz-access-token" in exchange.headers
        is_ours = is_ours or _PRESIGNED in exchange.query
        return is_ours or _LOGIN.search(exchange.path) is not None or self._operation(exchange) is not None

    def judge(self, exchange: Exchange) -> Iterator[Breach]:
        if _LOGIN.search(exchange.path):
            yield from self._login(exchange)
            return
        if _PRESIGNED in exchange.query:
            yield from _file(exchange)
            return
        if not exchange.headers.get("x-amz-access-token", "").strip():
            yield Breach("token", "no x-amz-access-token")
        if not _AGENT.fullmatch(exchange.headers.get("user-agent", "")):
            yield Breach("user_agent", f"{exchange.headers.get('user-agent')!r} names no language")
        operation = self._operation(exchange)
        if operation is None:
            yield Breach("address", f"{exchange.method} {exchange.path} is no operation of any model")
            return
        yield from _parameters(operation, exchange)
        yield from _body(operation, exchange)
        yield from _answer(operation, exchange)

    def exercised(self, exchange: Exchange) -> Iterable[str]:
        if exchange.status is None or not 200 <= exchange.status < 300 or not exchange.is_sandbox:
            return []
        if _LOGIN.search(exchange.path):
            return ["login"]
        operation = self._operation(exchange)
        return [operation.id] if operation else []

    def _operation(self, exchange: Exchange) -> Operation | None:
        path = re.sub(r"^/amazon(-static)?(?=/)", "", exchange.path)
        for operation in self.models:
            if operation.method == exchange.method and operation.path.fullmatch(path):
                return operation
        return None

    def _login(self, exchange: Exchange) -> Iterator[Breach]:
        given = exchange.form()
        needed = _GRANTS.get(given.get("grant_type", ""))
        if exchange.method != "POST" or needed is None:
            yield Breach("grant", f"{exchange.method} with grant_type {given.get('grant_type')!r}")
        elif any(not given.get(name) for name in needed) or given.keys() - needed - {"grant_type"}:
            yield Breach("grant", f"{sorted(given)} where {sorted(needed)} are asked for")
        if not exchange.is_sandbox or exchange.status is None:
            return
        answer = _object(exchange.answer)
        wanted = ("access_token", "token_type", "expires_in") if exchange.status == 200 else ("error",)
        # Misfortune in front of the login answers as the rest of the vendor does.
        if any(name not in answer for name in wanted) and "errors" not in answer:
            yield Breach("answer.login", f"{exchange.status} with {sorted(answer)}")


def _file(exchange: Exchange) -> Iterator[Breach]:
    """What is put into, or fetched from, the store of files: it is not for our token, and takes no other content type
    than the one that was signed (NOTES.md, "JSON_LISTINGS_FEED")."""
    if {"x-amz-access-token", "authorization"} & exchange.headers.keys():
        yield Breach("credentials", "our token goes to whoever keeps the file")
    if exchange.method not in ("PUT", "GET"):
        yield Breach("address", f"{exchange.method} of a file")
    if exchange.method == "PUT" and "content-type" not in exchange.headers:
        yield Breach("content_type", "a file is put without its content type")
    if exchange.is_sandbox and exchange.status == 403 and b"<Code>" not in exchange.answer:
        yield Breach("answer.data", "403 without the XML that says why")


def _parameters(operation: Operation, exchange: Exchange) -> Iterator[Breach]:
    known, given = operation.parameters("query"), exchange.params()
    for name in sorted(given.keys() - known.keys()):
        yield Breach("parameters", f"{operation.id} knows no {name}")
    for name, parameter in known.items():
        if name in given:
            yield from (Breach("parameters", f"{name}: {why}") for why in _objections(parameter, given[name]))
        elif parameter.get("required"):
            yield Breach("parameters", f"{operation.id} needs {name}")


def _objections(parameter: dict[str, Any], text: str) -> Iterator[str]:
    values, rule = [text], parameter
    if parameter["type"] == "array":
        values, rule = (text.split(",") if text else []), parameter["items"]
        if not parameter.get("minItems", 0) <= len(values) <= parameter.get("maxItems", len(values)):
            yield f"{len(values)} values"
    for value in values:
        if value not in rule.get("enum", [value]):
            yield f"{value!r} is none of {rule['enum']}"
        if rule["type"] != "integer":
            continue
        if not re.fullmatch(r"-?\d+", value):
            yield f"{value!r} is no whole number"
        elif not rule.get("minimum", int(value)) <= int(value) <= rule.get("maximum", int(value)):
            yield f"{value} is out of bounds"


def _body(operation: Operation, exchange: Exchange) -> Iterator[Breach]:
    (parameter,) = operation.parameters("body").values() or (None,)
    if parameter is None:
        if exchange.body:
            yield Breach("body", f"{operation.id} takes no body")
        return
    try:
        value = exchange.json()
    except ValueError:
        yield Breach("body", "the body is no JSON")
        return
    yield from (Breach("body", problem) for problem in operation.problems(parameter["schema"], value))


def _answer(operation: Operation, exchange: Exchange) -> Iterator[Breach]:
    if not exchange.is_sandbox or exchange.status is None:
        return
    promised = operation.described["responses"].get(str(exchange.status))
    if promised is None:
        yield Breach("answer.status", f"{operation.id} never answers {exchange.status}")
        return
    for header in promised.get("headers", {}):
        if header.lower() not in exchange.answer_headers and header.lower() not in _WHEN_AVAILABLE:
            yield Breach("answer.headers", f"{exchange.status} without {header}")
    if exchange.status == 200 and "x-amzn-ratelimit-limit" not in exchange.answer_headers:
        yield Breach("answer.headers", "200 without x-amzn-RateLimit-Limit")
    if "schema" not in promised:
        return
    try:
        value = exchange.answer_json()
    except ValueError:
        yield Breach("answer.data", "the answer is no JSON")
        return
    yield from (Breach("answer.data", problem) for problem in operation.problems(promised["schema"], value))


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
