"""The HTTP side of the fake Shopify: tokens and the GraphQL endpoint with its quota and error shapes."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from uuid import uuid4

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    ListValueNode,
    NoDeprecatedCustomRule,
    OperationDefinitionNode,
    OperationType,
    Visitor,
    execute_sync,
    get_operation_ast,
    parse,
    validate,
    visit,
)
from graphql.execution.values import get_variable_values
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from sandbox.buckets import Bucket
from sandbox.clock import AnyClock
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import bulk
from sandbox.vendors.shopify.auth import TokenRefused, grant_token, token_is_good
from sandbox.vendors.shopify.cost import MAX_QUERY_COST, Meter
from sandbox.vendors.shopify.mutations import KEYED
from sandbox.vendors.shopify.resolvers import VERSIONS, Root
from sandbox.vendors.shopify.scopes import listed
from sandbox.vendors.shopify.sdl import schema
from sandbox.vendors.shopify.shops import PLANS

VERSION = re.compile(r"\d{4}-(01|04|07|10)|unstable")
DEPRECATED = re.compile(r"The (?:field|argument|enum value) \W?([\w.]+)")
INPUT_ARRAY_MAX = 250
# These stop a request before any of it has run, so the answer has no data at all.
STOPPING_CODES = ("BAD_REQUEST", "INVALID_FIELD_ARGUMENTS")


def answered_version(asked: str) -> str:
    """A dead version falls forward to the oldest living one, a coming one back to the newest."""
    if asked in VERSIONS:
        return asked
    return VERSIONS[-1] if asked > VERSIONS[-1] else VERSIONS[0]


class _LongLists(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.longest = 0

    def enter_list_value(self, node: ListValueNode, *_: Any) -> None:
        self.longest = max(self.longest, len(node.values))


class _Keys(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.fields: list[FieldNode] = []

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        if any(directive.name.value == "idempotent" for directive in node.directives):
            self.fields.append(node)


@lru_cache(maxsize=512)
def deprecated_in(text: str) -> str:
    """The deprecated fields that a valid document touches, as the vendor's header lists them."""
    problems = validate(schema(), parse(text), [NoDeprecatedCustomRule])
    found = (DEPRECATED.match(problem.message) for problem in problems)
    return ", ".join(sorted({match[1] for match in found if match}))


@lru_cache(maxsize=512)
def misplaced_key(text: str) -> str | None:
    """The first field of a valid document that carries @idempotent and may not, which validation lets pass."""
    document = parse(text)
    at_home: set[int] = set()
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode) and definition.operation == OperationType.MUTATION:
            fields = (node for node in definition.selection_set.selections if isinstance(node, FieldNode))
            at_home.update(id(node) for node in fields if node.name.value in KEYED)
    keys = _Keys()
    visit(document, keys)
    return next((node.name.value for node in keys.fields if id(node) not in at_home), None)


@lru_cache(maxsize=512)
def read_document(text: str) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    """Parses and validates once per text."""
    try:
        document = parse(text)
    except GraphQLError as problem:
        return None, (problem,)
    return document, tuple(validate(schema(), document))


def longest_list(value: Any) -> int:
    if isinstance(value, list):
        return max([len(value), *map(longest_list, value)])
    return max(map(longest_list, value.values()), default=0) if isinstance(value, dict) else 0


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    base = {"X-Request-Id": str(uuid4())}
    return Response(orjson.dumps(body), status, {**base, **(headers or {})}, "application/json; charset=utf-8")


class Shopify:
    """Every fake shop; the shop's domain stands in the path."""

    def __init__(self, store: Store, clock: AnyClock, outbox: Outbox, settle: Callable[[], None]) -> None:
        """`settle` does whatever the vendor should have done by now."""
        self._store = store
        self._clock = clock
        self._outbox = outbox
        self._settle = settle
        self._buckets: dict[int, Bucket] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/{domain}/admin/oauth/access_token", self.access_token, methods=["POST"]),
            Route("/{domain}/admin/oauth/access_scopes.json", self.access_scopes, methods=["GET"]),
            Route("/{domain}/admin/api/{version}/graphql.json", self.graphql, methods=["POST"]),
            Route("/{domain}/bulk/{number:int}.jsonl", self.bulk_result, methods=["GET"]),
        ]

    def _shop(self, request: Request) -> Row | None:
        return self._store.one("select * from shops where domain = ?", (request.path_params["domain"],))

    async def access_token(self, request: Request) -> Response:
        shop = self._shop(request)
        if shop is None:
            return _json({"errors": "Not Found"}, 404)
        try:
            return _json(grant_token(self._store, shop, await _fields(request)))
        except TokenRefused as refusal:
            return _json(refusal.body, refusal.status)

    async def access_scopes(self, request: Request) -> Response:
        """The REST way to ask what the app may do."""
        shop = self._shop(request)
        if shop is None:
            return _json({"errors": "Not Found"}, 404)
        if not self._is_known(shop, request):
            return _unauthorised({})
        return _json({"access_scopes": [{"handle": scope} for scope in listed(shop)]})

    async def bulk_result(self, request: Request) -> Response:
        """Where the link of a bulk operation leads. It carries its own permission and dies after a week."""
        shop = self._shop(request)
        number, signature = request.path_params["number"], request.query_params.get("signature", "")
        path = None if shop is None else bulk.fetch(self._store, shop, number, signature)
        if path is None:
            body = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code></Error>"
            return Response(body, 403, media_type="application/xml")
        return FileResponse(path, media_type="application/jsonl")

    def _is_known(self, shop: Row, request: Request) -> bool:
        return token_is_good(self._store, shop, request.headers.get("x-shopify-access-token"))

    async def graphql(self, request: Request) -> Response:
        shop, version = self._shop(request), request.path_params["version"]
        if shop is None or not VERSION.fullmatch(version):
            return _json({"errors": "Not Found"}, 404)
        headers = {"X-Shopify-API-Version": answered_version(version)}
        if not self._is_known(shop, request):
            return _unauthorised(headers)
        try:
            asked = orjson.loads(await request.body())
        except orjson.JSONDecodeError:
            asked = None
        if not isinstance(asked, dict) or not isinstance(asked.get("query"), str):
            return _json({"errors": {"query": "Required parameter missing or invalid"}}, 400, headers)
        self._settle()
        base = f"{request.url.scheme}://{request.url.netloc}"
        answer = self._answer(shop, asked, base, request.headers.get("shopify-graphql-cost-debug") == "1")
        if "data" in answer and (reason := deprecated_in(asked["query"])):
            headers["X-Shopify-API-Deprecated-Reason"] = reason
        return _json(answer, 200, headers)

    def _answer(self, shop: Row, asked: dict[str, Any], base: str, is_debugged: bool) -> dict[str, Any]:
        document, problems = read_document(asked["query"])
        if document is None or problems:
            return {"errors": [_plain(problem) for problem in problems]}
        variables = asked.get("variables") or {}
        operation = get_operation_ast(document, asked.get("operationName"))
        if operation is None:
            return {"errors": [{"message": "No operation named " + repr(asked.get("operationName"))}]}
        if name := misplaced_key(asked["query"]):
            message = f"The @idempotent directive is not supported on {name}."
            return {"errors": [{"message": message, "extensions": {"code": "BAD_REQUEST"}}]}
        if too_long := _too_long(document, variables):
            return {"errors": [too_long]}
        fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        coerced = get_variable_values(schema(), operation.variable_definitions or (), variables)
        if isinstance(coerced, list):
            return {"errors": [_plain(problem) for problem in coerced]}
        meter = Meter(schema(), fragments, coerced)
        answer = self._metered(
            shop, document, operation, variables, meter, asked["query"], Root(self._store, self._outbox, shop, base)
        )
        if is_debugged and "extensions" in answer:
            answer["extensions"]["cost"]["fields"] = meter.breakdown(operation)
        return answer

    def _metered(
        self,
        shop: Row,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: dict[str, Any],
        meter: Meter,
        text: str,
        root: Root,
    ) -> dict[str, Any]:
        requested = meter.requested(operation)
        if requested > MAX_QUERY_COST:
            return {"errors": [_over_max(requested)]}
        bucket, now = self._bucket(shop), self._clock.now()
        if self._outbox.faults.strike("throttled", f"{shop['domain']}\n{text}"):
            # Somebody else of the same app was faster.
            bucket.take(bucket.available(now), now)
        if not bucket.take(requested, now):
            return {"errors": [_throttled()], "extensions": _cost(bucket, requested, None, now)}
        result = execute_sync(
            schema(),
            document,
            root,
            variable_values=variables,
            operation_name=operation.name.value if operation.name else None,
        )
        actual = min(requested, meter.actual(operation, result.data))
        bucket.give_back(requested - actual, now)
        return {**_body(result), "extensions": _cost(bucket, requested, actual, now)}

    def _bucket(self, shop: Row) -> Bucket:
        rate, capacity = PLANS[shop["plan"]]
        bucket = self._buckets.get(shop["id"])
        if bucket is None or bucket.rate != rate:
            bucket = self._buckets[shop["id"]] = Bucket.full(capacity, rate, self._clock.now())
        return bucket


def _unauthorised(headers: dict[str, str]) -> Response:
    message = "[API] Invalid API key or access token (unrecognized login or wrong password)"
    return _json({"errors": message}, 401, headers)


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a form or of a JSON object."""
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            given = orjson.loads(await request.body())
        except orjson.JSONDecodeError:
            return {}
        return {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


def _too_long(document: DocumentNode, variables: Any) -> dict[str, Any] | None:
    lists = _LongLists()
    visit(document, lists)
    longest = max(lists.longest, longest_list(variables))
    if longest <= INPUT_ARRAY_MAX:
        return None
    message = f"The input array size of {longest} is greater than the maximum allowed of {INPUT_ARRAY_MAX}."
    return {"message": message, "extensions": {"code": "MAX_INPUT_SIZE_EXCEEDED"}}


def _plain(problem: GraphQLError) -> dict[str, Any]:
    return dict(problem.formatted)


def _body(result: ExecutionResult) -> dict[str, Any]:
    errors = [_described(problem) for problem in result.errors or ()]
    if any(error.get("extensions", {}).get("code") in STOPPING_CODES for error in errors) and not _any_data(result):
        return {"errors": errors}
    return {"data": result.data, **({"errors": errors} if errors else {})}


def _any_data(result: ExecutionResult) -> bool:
    return any(value is not None for value in (result.data or {}).values())


def _described(problem: GraphQLError) -> dict[str, Any]:
    """An error of ours keeps its code; anything unforeseen is the server's fault and says so."""
    formatted: dict[str, Any] = dict(problem.formatted)
    if "code" not in formatted.get("extensions", {}) and problem.original_error is not None:
        formatted["extensions"] = {"code": "INTERNAL_SERVER_ERROR"}
    return formatted


def _over_max(requested: int) -> dict[str, Any]:
    message = f"Query cost is {requested}, which exceeds the single query max cost limit ({MAX_QUERY_COST})."
    return {
        "message": message,
        "extensions": {"code": "MAX_COST_EXCEEDED", "cost": requested, "maxCost": MAX_QUERY_COST},
    }


def _throttled() -> dict[str, Any]:
    documentation = "https://shopify.dev/api/usage/rate-limits"
    return {"message": "Throttled", "extensions": {"code": "THROTTLED", "documentation": documentation}}


def _cost(bucket: Bucket, requested: int, actual: int | None, now: float) -> dict[str, Any]:
    status = {
        "maximumAvailable": float(bucket.capacity),
        "currentlyAvailable": int(bucket.available(now)),
        "restoreRate": float(bucket.rate),
    }
    return {"cost": {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": status}}
