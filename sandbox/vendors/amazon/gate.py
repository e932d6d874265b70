"""What stands before every operation of the fake Selling Partner API: the token, the user agent and the quota.

An operation of the application's own (grantless) takes a token that was bought with its scope, and no seller's.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clock import AnyClock
from sandbox.store import Row, Store
from sandbox.vendors.amazon.auth import application_of, is_user_agent, seller_of
from sandbox.vendors.amazon.quota import Quota, limit_header

Handler = Callable[[Request, Row], Awaitable[Response]]
"""(request, the seller that the token speaks for) -> answer. Raises Denied."""


class Denied(Exception):
    """Turned into one of the vendor's error lists."""

    def __init__(self, status: int, code: str, message: str, details: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"errors": [{"code": code, "message": message, "details": details}]}


def bad(message: str) -> Denied:
    return Denied(400, "InvalidInput", message)


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON with a request id; no body at all for 204."""
    named = {"x-amzn-RequestId": str(uuid4()), **(headers or {})}
    if status == 204:
        return Response(None, status, named)
    return Response(orjson.dumps(body), status, named, "application/json")


class Gate:
    def __init__(self, store: Store, clock: AnyClock, settle: Callable[[], None] = lambda: None) -> None:
        """`settle` does what has fallen due, before anybody looks."""
        self._store = store
        self._quota = Quota(clock)
        self._settle = settle

    def route(self, operation: str, method: str, path: str, handler: Handler) -> Route:
        """A route that only those come to who may."""
        return Route(path, self._guarded(operation, handler, None), methods=[method])

    def own_route(self, operation: str, method: str, path: str, scope: str, handler: Handler) -> Route:
        """A route for the application itself: no seller's token opens it, only one that was bought with the scope."""
        return Route(path, self._guarded(operation, handler, scope), methods=[method])

    def _guarded(self, operation: str, handler: Handler, scope: str | None) -> Callable[[Request], Awaitable[Response]]:
        """Token, user agent and quota come before anything else."""

        async def guarded(request: Request) -> Response:
            headers: dict[str, str] = {}
            try:
                seller = self._admit(request, scope)
                if not self._quota.take(operation, seller["client_id"], seller["seller_id"]):
                    raise Denied(429, "QuotaExceeded", "You exceeded your quota for the requested resource.")
                headers = limit_header(operation)
                self._settle()
                response = await handler(request, seller)
            except Denied as denied:
                # The models promise the limit header with 400 and 404 only, but callers do see it with 429 too.
                if denied.status == 429:
                    headers = limit_header(operation)
                return answer(denied.body, denied.status, headers)
            response.headers.update(headers)
            return response

        return guarded

    def _admit(self, request: Request, scope: str | None) -> Row:
        token = request.headers.get("x-amz-access-token")
        seller = seller_of(self._store, token) if scope is None else application_of(self._store, token, scope)
        if seller is None:
            details = (
                "The access token you provided has expired."
                if token
                else "Access token is missing in the request header."
            )
            raise Denied(403, "Unauthorized", "Access to requested resource is denied.", details)
        if not is_user_agent(request.headers.get("user-agent")):
            raise bad("The User-Agent header must look like Name/Version (Language=...; Platform=...).")
        if request.path_params.get("seller_id", seller["seller_id"]) != seller["seller_id"]:
            raise Denied(
                403, "Unauthorized", "Access to requested resource is denied.", "The token is for another seller."
            )
        return seller


async def body_of(request: Request) -> Any:
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        raise bad("The request body is not valid JSON.") from None


def many(request: Request, name: str) -> list[str]:
    """A multi-valued parameter, written with commas or by repetition."""
    return [part for value in request.query_params.getlist(name) for part in value.split(",") if part]


def check_marketplaces(request: Request, seller: Row) -> None:
    wanted = many(request, "marketplaceIds")
    if not wanted:
        raise bad("'marketplaceIds' is required but was not provided.")
    if wrong := [value for value in wanted if value != seller["marketplace_id"]]:
        raise bad(f"Invalid 'marketplaceIds' provided: {wrong[0]}.")
