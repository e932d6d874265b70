"""The network of the adapter tests: real or canned below, with mishaps on demand in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

Mishap = Literal["refused_connection", "lost_reply", "fault_after_effect", "throttled", "unauthorised", "not_json"]


@dataclass
class Planned:
    """`times` mishaps for requests in whose body or address `match` occurs."""

    mishap: Mishap
    match: str
    times: int


@dataclass(eq=False)
class Bumpy(httpx.BaseTransport):
    """Passes requests on, except where a mishap is planned; `throttled` makes what the vendor answers then."""

    inner: httpx.BaseTransport
    throttled: Callable[[], httpx.Response]
    planned: list[Planned] = field(default_factory=list)
    seen: list[httpx.Request] = field(default_factory=list)

    def plan(self, mishap: Mishap, match: str, times: int = 1) -> None:
        self.planned.append(Planned(mishap, match, times))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.seen.append(request)
        found = self._next(request)
        if found is None:
            return self.inner.handle_request(request)
        if found == "refused_connection":
            raise httpx.ConnectError("nobody listens", request=request)
        if found == "throttled":
            return self.throttled()
        if found == "unauthorised":
            return httpx.Response(401, json={"errors": "who are you?"})
        if found == "not_json":
            return httpx.Response(200, text="<html>maintenance</html>")
        self.inner.handle_request(request).read()
        if found == "fault_after_effect":
            return httpx.Response(502, text="bad gateway")
        raise httpx.ReadTimeout("no answer", request=request)

    def bodies(self, match: str) -> list[Any]:
        """JSON bodies of the requests in which `match` occurs."""
        return [json.loads(request.content) for request in self.seen if match in text_of(request)]

    def _next(self, request: httpx.Request) -> Mishap | None:
        for planned in self.planned:
            if planned.times and planned.match in text_of(request):
                planned.times -= 1
                return planned.mishap
        return None


def text_of(request: httpx.Request) -> str:
    return f"{request.method} {request.url} {request.content.decode(errors='replace')}"
