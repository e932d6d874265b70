"""The vendor's static sandbox: the answers that stand in his own models, each for the parameters that select it.

Nothing of the vendor's is kept here: the models (github.com/amzn/selling-partner-api-models, `x-amzn-api-sandbox`) are
read at start from the folder that SANDBOX_AMAZON_PAIRS names. Without it there is no static sandbox.
Source: developer-docs.amazon.com/sp-api/docs/sp-api-sandbox.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.buckets import Bucket
from sandbox.clock import AnyClock
from sandbox.store import Store
from sandbox.vendors.amazon.auth import is_user_agent
from sandbox.vendors.amazon.gate import Denied, answer, bad, body_of, many

FOLDER_VARIABLE = "SANDBOX_AMAZON_PAIRS"
# Of every operation alike.
RATE, BURST = 5.0, 15
METHODS = ("get", "post", "put", "patch", "delete")
LIMIT = {"x-amzn-RateLimit-Limit": str(RATE)}
_BODY = "body"


@dataclass(frozen=True)
class Pair:
    """`wanted` are the parameters that select it; `body` is what is answered, None where the model has none."""

    status: int
    wanted: Mapping[str, Any]
    body: Any

    def fits(self, given: Mapping[str, Any]) -> bool:
        return all(name in given and _is_same(value, given[name]) for name, value in self.wanted.items())


@dataclass(frozen=True)
class Operation:
    """One operation of a model, with its pairs: those that ask for more before those that ask for less."""

    id: str
    method: str
    path: re.Pattern[str]
    required: frozenset[str]
    bodies: tuple[str, ...]
    pairs: list[Pair] = field(default_factory=list)


def operations(folder: Path) -> list[Operation]:
    """Every operation with static pairs of every model in the folder. Raises ValueError for a file that is none."""
    found = []
    for path in sorted(folder.glob("*.json")):
        model = orjson.loads(path.read_bytes())
        if not isinstance(model, dict) or "paths" not in model:
            raise ValueError(f"{path.name} in {FOLDER_VARIABLE} is no model: it has no paths.")
        base = model.get("basePath", "/").rstrip("/")
        for pattern, methods in model["paths"].items():
            shared = methods.get("parameters", [])
            found += [
                _operation(base + pattern, method, methods[method], shared) for method in METHODS if method in methods
            ]
    return [operation for operation in found if operation.pairs]


def _operation(path: str, method: str, described: dict[str, Any], shared: list[dict[str, Any]]) -> Operation:
    parameters = [entry for entry in [*shared, *described.get("parameters", [])] if "in" in entry]
    pairs = [
        _pair(int(status), given)
        for status, response in described.get("responses", {}).items()
        for given in response.get("x-amzn-api-sandbox", {}).get("static", [])
    ]
    steps = re.split(r"\{(\w+)\}", path)
    # Names stand between the texts.
    pattern = "".join(f"(?P<{step}>[^/]+)" if place % 2 else re.escape(step) for place, step in enumerate(steps))
    return Operation(
        described.get("operationId", ""),
        method.upper(),
        re.compile(pattern),
        frozenset(entry["name"] for entry in parameters if entry["in"] == "query" and entry.get("required")),
        tuple(entry["name"] for entry in parameters if entry["in"] == "body"),
        sorted(pairs, key=lambda pair: -len(pair.wanted)),
    )


def _pair(status: int, given: dict[str, Any]) -> Pair:
    named = given.get("request", {}).get("parameters", {})
    # A parameter without a value says that it may be anything.
    wanted = {name: entry["value"] for name, entry in named.items() if "value" in entry}
    return Pair(status, wanted, given.get("response"))


def _is_same(wanted: Any, given: Any) -> bool:
    """Values of a list in any order; in a query everything is text."""
    if isinstance(wanted, dict):
        return bool(wanted == given)
    if isinstance(wanted, list):
        return isinstance(given, list) and sorted(map(_text, wanted)) == sorted(given)
    return _text(wanted) == (",".join(given) if isinstance(given, list) else given)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


class StaticSandbox:
    """`folder` is where the models are; None for no static sandbox."""

    def __init__(self, store: Store, clock: AnyClock, folder: Path | None) -> None:
        self._store = store
        self._clock = clock
        self._operations = operations(folder) if folder else []
        self._buckets: dict[tuple[str, str], Bucket] = {}

    @classmethod
    def from_environment(cls, store: Store, clock: AnyClock) -> "StaticSandbox":
        """Raises ValueError when the setting names no folder."""
        named = os.environ.get(FOLDER_VARIABLE)
        if named and not Path(named).is_dir():
            raise ValueError(f"{FOLDER_VARIABLE} names {named!r}, which is no folder.")
        return cls(store, clock, Path(named) if named else None)

    def routes(self) -> list[Route]:
        if not self._operations:
            return []
        return [Route("/{path:path}", self.handle, methods=[method.upper() for method in METHODS])]

    async def handle(self, request: Request) -> Response:
        try:
            owner = self._admit(request)
            operation, places = self._found(request)
            now = self._clock.now()
            bucket = self._buckets.setdefault((operation.id, owner), Bucket.full(BURST, RATE, now))
            if not bucket.take(1, now):
                raise Denied(429, "QuotaExceeded", "You exceeded your quota for the requested resource.")
            pair = await self._answered(request, operation, places)
        except Denied as denied:
            return answer(denied.body, denied.status, LIMIT if denied.status in (400, 429) else {})
        if pair.body is None:
            return Response(None, pair.status, {"x-amzn-RequestId": str(uuid4()), **LIMIT})
        return answer(pair.body, pair.status, LIMIT)

    def _admit(self, request: Request) -> str:
        """Whose token it is. Any token that Login with Amazon gave does, of a seller or of an application's own."""
        found = self._store.one(
            "select owner from tokens where token = ? and kind like 'amazon%' and expires_at > ?",
            (request.headers.get("x-amz-access-token"), self._store.wall()),
        )
        if found is None:
            raise Denied(403, "Unauthorized", "Access to requested resource is denied.")
        if not is_user_agent(request.headers.get("user-agent")):
            raise bad("The User-Agent header must look like Name/Version (Language=...; Platform=...).")
        return str(found["owner"])

    def _found(self, request: Request) -> tuple[Operation, dict[str, str]]:
        path = request.scope["raw_path"].decode("ascii").split("?")[0].removeprefix(request.scope["root_path"])
        for operation in self._operations:
            if operation.method == request.method and (places := operation.path.fullmatch(path)):
                return operation, {name: unquote(value) for name, value in places.groupdict().items()}
        raise Denied(404, "NotFound", "The requested resource was not found.")

    async def _answered(self, request: Request, operation: Operation, places: dict[str, str]) -> Pair:
        query = request.query_params
        for name in sorted(operation.required):
            if name not in query:
                raise bad(f"'{name}' is required but was not provided.")
        given: dict[str, Any] = {name: many(request, name) for name in query} | places
        if operation.bodies:
            # Pairs call it that, whatever the operation does.
            given |= dict.fromkeys((_BODY, *operation.bodies), await body_of(request))
        pair = next((pair for pair in operation.pairs if pair.fits(given)), None)
        if pair is None:
            raise bad("Could not match input arguments")
        return pair
