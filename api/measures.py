"""What this process counts of itself: requests, deliveries, commits. No label is anything that a sender chooses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.ingest import Delivery

# When a series began is not worth a second one for each.
disable_created_metrics()

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

WEBHOOKS = "/webhooks/shopify/{connection}"
DOCUMENTS = "/documents/{token}"
_ROUTES = {"/healthz": "/healthz", "/readyz": "/readyz"}

REASONS = {
    400: "malformed",
    401: "signature",
    403: "other_account",
    404: "unknown_connection",
    408: "slow_body",
    413: "too_large",
    422: "not_recordable",
    503: "unavailable",
}
"""Why a delivery was not taken, by the status it was answered with."""


class Measures:
    """The metrics of one API process, on a registry of their own."""

    def __init__(self, waiting: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "switchyard_http_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self._request_seconds = Histogram(
            "switchyard_http_request_seconds",
            "From a request's first byte to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._recorded = Counter(
            "switchyard_deliveries_recorded",
            "Deliveries committed to the inbox; one that comes again counts again.",
            ["connection"],
            registry=self.registry,
        )
        self._refused = Counter(
            "switchyard_deliveries_refused", "Deliveries not taken.", ["reason"], registry=self.registry
        )
        self._commit_seconds = Histogram(
            "switchyard_ingest_commit_seconds",
            "From the statement of a batch to its commit.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._batch_rows = Histogram(
            "switchyard_ingest_batch_deliveries", "Deliveries in one commit.", buckets=_ROWS, registry=self.registry
        )
        Gauge(
            "switchyard_ingest_waiting_deliveries", "Deliveries that wait to be written.", registry=self.registry
        ).set_function(waiting)
        for reason in (*REASONS.values(), "error"):
            self._refused.labels(reason)
        # Children are looked up once: this is done for every delivery.
        self._by_answer: dict[tuple[str, int], Counter] = {}
        self._by_route: dict[str, Histogram] = {}

    def committed(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        """A batch is in the inbox."""
        self._commit_seconds.observe(seconds)
        self._batch_rows.observe(len(deliveries))
        counts: dict[int, int] = {}
        for delivery in deliveries:
            counts[delivery.connection_id] = counts.get(delivery.connection_id, 0) + 1
        for connection_id, count in counts.items():
            self._recorded.labels(str(connection_id)).inc(count)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """A request was answered."""
        route = _route(path)
        counter = self._by_answer.get((route, status))
        if counter is None:
            counter = self._by_answer[route, status] = self._requests.labels(route, str(status))
            self._by_route.setdefault(route, self._request_seconds.labels(route))
        counter.inc()
        self._by_route[route].observe(seconds)
        if status >= 400 and route == WEBHOOKS:
            self._refused.labels(REASONS.get(status, "error")).inc()


def _route(path: str) -> str:
    """What a path counts as; the rest of it is chosen by who asks."""
    if path.startswith("/webhooks/shopify/"):
        return WEBHOOKS
    return DOCUMENTS if path.startswith("/documents/") else _ROUTES.get(path, "other")


class Measured:
    """An ASGI application whose answers are counted."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app = app
        self._measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and note the status and the time until the answer began."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        is_answered = False

        async def note(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                self._measures.answered(scope["path"], message["status"], time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception:
            # Answered further out.
            if not is_answered:
                self._measures.answered(scope["path"], 500, time.perf_counter() - began)
            raise
