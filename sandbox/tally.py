"""Counts the calls of the vendors' APIs, whatever became of them: what a caller costs, told by who is called."""

import re
from collections import Counter

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.mishaps import replay, whole_body

VENDORS = ("/shopify/", "/amazon/", "/klaviyo/")
PATH = "/_control/calls"
# Behind an escaped line break as often as not.
_OPERATION = re.compile(rb"(?:query|mutation)\s+(\w+)")


class Tally:
    """An ASGI layer; `GET /_control/calls` answers with a count by account, operation and status.

    The account is the shop's domain, "amazon" or "klaviyo"; a call that got no answer has the status "lost".
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._counts: Counter[tuple[str, str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            await Response(orjson.dumps(self._listed()), media_type="application/json")(scope, receive, send)
            return
        if scope["type"] != "http" or not scope["path"].startswith(VENDORS):
            await self._app(scope, receive, send)
            return
        body, heard = await whole_body(receive), _Heard(send)
        await self._app(scope, replay(body, receive), heard)
        _, vendor, account, *rest = scope["path"].split("/")
        name = account if vendor == "shopify" else vendor
        self._counts[name, _operation(vendor, scope["method"], rest, body), heard.status] += 1

    def _listed(self) -> dict[str, list[dict[str, object]]]:
        rows = sorted(self._counts.items())
        return {
            "calls": [
                {"account": account, "operation": operation, "status": status, "count": count}
                for (account, operation, status), count in rows
            ]
        }


def _operation(vendor: str, method: str, rest: list[str], body: bytes) -> str:
    """The name of a GraphQL operation; of anything else the method and the step of the path that says what it is."""
    if found := _OPERATION.search(body):
        return found.group(1).decode()
    words = [step for step in rest if re.sub("[_-]", "", step).isalpha()] or [""]
    return f"{method} {words[-1 if vendor == 'shopify' else 0]}"


class _Heard:
    """`send`, with an ear for the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        # A fault that hangs up looks for the server's connection behind `send`.
        self.__self__ = getattr(send, "__self__", None)
        self.status = "lost"

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = str(message["status"])
        await self._send(message)
