"""What stands before every operation of the fake Klaviyo: the key, the revision, the scopes, the quota and the body."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clock import AnyClock
from sandbox.store import Row, Store
from sandbox.vendors.klaviyo import revisions
from sandbox.vendors.klaviyo.accounts import account_of
from sandbox.vendors.klaviyo.problems import Denied, Problem, bad_parameter, invalid
from sandbox.vendors.klaviyo.quota import Plan, Quota

MEDIA_TYPE = "application/vnd.api+json"
BODY_MAX = 5_000_000
HOST = "a.klaviyo.com"
MOUNTED_AT = "/klaviyo"
_KEY = re.compile(r"Klaviyo-API-Key (\S+)")


@dataclass(frozen=True)
class Call:
    """One request that was let in. `id` is the one in the path, without its escapes; `base` is what addresses of this
    place begin with; `path` begins with /api."""

    account: Row
    id: str
    query: dict[str, str]
    body: bytes
    base: str
    path: str

    @property
    def account_id(self) -> int:
        return int(self.account["id"])

    def json(self) -> Any:
        """Raises Denied."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise Denied(400, invalid("The request body is not valid JSON.", "/data")) from None


@dataclass(frozen=True)
class Answer:
    """`body` None is an answer without one."""

    status: int
    body: dict[str, Any] | None = None


Handler = Callable[[Call], Answer]
"""Raises Denied."""


@dataclass(frozen=True)
class Operation:
    """One operation of the specification, by its name there. `path` has a star where an id stands."""

    name: str
    method: str
    path: str
    plan: Plan
    scopes: tuple[str, ...]
    handler: Handler
    parameters: frozenset[str] = frozenset()


class Gate:
    def __init__(self, store: Store, clock: AnyClock, settle: Callable[[], None]) -> None:
        """`settle` does what has fallen due, before anybody looks."""
        self._store = store
        self._settle = settle
        self._quota = Quota(clock)
        self._operations: dict[str, dict[str, Operation]] = {}

    def add(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            self._operations.setdefault(operation.path, {})[operation.method] = operation

    def routes(self) -> list[Route]:
        return [Route("/{path:path}", self._serve, methods=["GET", "POST", "PATCH", "DELETE", "PUT"])]

    async def _serve(self, request: Request) -> Response:
        body = await request.body()
        headers: dict[str, str] = {}
        try:
            operation, item_id, path = self._find(request)
            account = self._admit(request, operation)
            wait, headers = self._quota.take((account["id"], operation.name), operation.plan)
            if wait:
                detail = f"Request was throttled. Expected available in {wait} second{'s' if wait > 1 else ''}."
                raise Denied(429, Problem("throttled", "Request was throttled.", detail, "/data/"))
            _check_body(request, body)
            query = _query(request, operation)
            self._settle()
            answer = operation.handler(Call(account, item_id, query, body, _base(request), path))
        except Denied as denied:
            answer = Answer(denied.status, denied.as_json())
        content = None if answer.body is None else orjson.dumps(answer.body)
        return Response(content, answer.status, headers, None if content is None else MEDIA_TYPE)

    def _find(self, request: Request) -> tuple[Operation, str, str]:
        """The id is taken from the raw path: it may itself hold escaped slashes."""
        raw = request.scope.get("raw_path", b"").decode("latin-1").split("?")[0]
        path = raw[raw.find("/api") :].rstrip("/")
        parts = path.split("/")[2:]
        item_id = unquote(parts[1]) if len(parts) > 1 else ""
        found = self._operations.get("/".join([*parts[:1], *(["*"] if item_id else []), *parts[2:]]))
        if found is None:
            raise Denied(404, Problem("not_found", "Not found.", f"There is no {path}.", "/data/"))
        if request.method not in found:
            detail = f"Method {request.method!r} not allowed."
            raise Denied(405, Problem("method_not_allowed", "Method not allowed.", detail, "/data/"))
        return found[request.method], item_id, path

    def _admit(self, request: Request, operation: Operation) -> Row:
        given = request.headers.get("authorization")
        if given is None:
            detail = "Authentication credentials were not provided."
            raise Denied(
                401, Problem("not_authenticated", detail, "Missing or invalid authorization scheme.", "/data/")
            )
        key = _KEY.fullmatch(given)
        admitted = account_of(self._store, key.group(1)) if key else None
        if admitted is None:
            detail = "Missing or invalid private key."
            raise Denied(
                401, Problem("authentication_failed", "Incorrect authentication credentials.", detail, "/data/")
            )
        account, scopes = admitted
        headers = request.headers
        opted_out = headers.get("x-klaviyo-revision-fall-forward-opt-out")
        revisions.check(headers.get("revision"), opted_out, self._store.wall())
        if lacking := sorted(set(operation.scopes) - scopes):
            detail = f"The API key lacks the scopes {', '.join(lacking)}."
            raise Denied(
                403,
                Problem("permission_denied", "You do not have permission to perform this action.", detail, "/data/"),
            )
        return account


def _check_body(request: Request, body: bytes) -> None:
    if len(body) > BODY_MAX:
        detail = f"The payload has {len(body)} bytes; the most is {BODY_MAX}."
        raise Denied(413, Problem("payload_too_large", "Payload too large.", detail, "/data/"))
    if body and request.headers.get("content-type", "").partition(";")[0].strip() != MEDIA_TYPE:
        detail = f"Unsupported media type {request.headers.get('content-type', '')!r} in request: use {MEDIA_TYPE}."
        raise Denied(415, Problem("unsupported_media_type", "Unsupported media type.", detail, "/data/"))


def _query(request: Request, operation: Operation) -> dict[str, str]:
    query = dict(parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True))
    if unknown := query.keys() - operation.parameters:
        name = min(unknown)
        raise bad_parameter(f"'{name}' is not a valid parameter of {operation.name}.", name)
    return query


def _base(request: Request) -> str:
    """A caller who came by the vendor's own name finds everything at the root."""
    host = request.headers.get("host", "")
    is_own_name = host.rsplit(":", 1)[0].lower() == HOST
    return f"{request.url.scheme}://{host}" + ("" if is_own_name else MOUNTED_AT)
