"""Puts the armed faults between a caller and the vendors; the control API stays untouched."""

import asyncio
from typing import Any
from uuid import uuid4

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.clock import AnyClock
from sandbox.faults import STATUS_KINDS, STATUSES, Faults
from sandbox.store import Store

SHOPIFY, AMAZON, KLAVIYO = "/shopify/", "/amazon/", "/klaviyo/"
AMAZON_WORDS = {
    429: ("QuotaExceeded", "You exceeded your quota for the requested resource."),
    500: ("InternalFailure", "We encountered an internal error. Please try again."),
}


class Mishaps:
    """An ASGI layer. A fault matches when its text occurs in the method, the path or the body of the call,
    so the name of a GraphQL mutation is as good a match as a piece of a path."""

    def __init__(self, app: ASGIApp, store: Store, clock: AnyClock, faults: Faults) -> None:
        self._app = app
        self._store = store
        self._clock = clock
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        vendor = scope["type"] == "http" and scope["path"].startswith((SHOPIFY, AMAZON, KLAVIYO))
        if not vendor or not self._faults.any_for_answers():
            await self._app(scope, receive, send)
            return
        body = await whole_body(receive)
        text = f"{scope['method']} {scope['path']}\n{body.decode(errors='replace')}"
        if slow := self._faults.strike("latency", text):
            await self._clock.wait(slow.seconds)
        if self._faults.strike("expired_token", text):
            self._expire_token(scope)
        if failure := self._failure(scope["path"], text):
            await failure(scope, receive, send)
        elif self._faults.strike("lost_reply", text):
            await self._app(scope, replay(body, receive), _swallow)
            await _hang_up(send)
        else:
            await self._app(scope, replay(body, receive), send)

    def _failure(self, path: str, text: str) -> Response | None:
        """An answer that stands in for the vendor's: nothing has happened behind it."""
        for kind, status in STATUS_KINDS.items():
            if self._faults.strike(kind, text):
                return _error(path, status)
        return None

    def _expire_token(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        token = headers.get(b"x-shopify-access-token") or headers.get(b"x-amz-access-token") or b""
        with self._store.transaction():
            self._store.run("update tokens set expires_at = 0 where token = ?", (token.decode(),))


def _error(path: str, status: int) -> Response:
    plain = STATUSES[status]
    body: dict[str, Any] = {"errors": plain}
    headers = {"X-Request-Id": str(uuid4())}
    if path.startswith(AMAZON):
        code, message = AMAZON_WORDS.get(status, (plain.replace(" ", ""), plain))
        body = {"errors": [{"code": code, "message": message, "details": ""}]}
        headers = {"x-amzn-RequestId": str(uuid4())}
    elif path.startswith(KLAVIYO):
        code = "throttled" if status == 429 else plain.lower().replace(" ", "_")
        error = {"id": str(uuid4()), "status": status, "code": code, "title": plain, "detail": plain, "source": {}}
        body, headers = {"errors": [error]}, {"Retry-After": "2"} if status == 429 else {}
        return Response(orjson.dumps(body), status, headers, "application/vnd.api+json")
    elif status == 429:
        # Whoever is told to slow down is told for how long.
        headers["Retry-After"] = "2.0"
    return Response(orjson.dumps(body), status, headers, "application/json")


async def whole_body(receive: Receive) -> bytes:
    """Everything the caller sends."""
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def replay(body: bytes, receive: Receive) -> Receive:
    """The body again, once, and then whatever the connection says."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _swallow(message: Message) -> None:
    """The answer nobody gets."""


async def _hang_up(send: Send) -> None:
    """Closes the connection without a byte of an answer; the server's own `send` is what knows the connection."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("A reply can only be lost under uvicorn or in process.")
    transport.abort()
    # The server learns of the closed connection on a later turn of the loop; answering before would be an error.
    await asyncio.sleep(0.05)
