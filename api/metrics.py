"""/metrics on a listener of its own: the public port has no such path, whatever stands in front of it.

Addresses and forwarding headers decide nothing. It listens on loopback; anywhere else it asks for a token, and without
one it does not start.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
import threading

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from core.errors import BadInput

log = logging.getLogger(__name__)


class OpenToAnyone(BadInput):
    """Metrics would be readable from the network without a secret."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"metrics would be open to anyone who reaches {host}: set SWITCHYARD_METRICS_TOKEN to a long random word"
            " that the scraper sends as its bearer token, or listen on 127.0.0.1"
        )


def create_metrics_app(registry: CollectorRegistry, token: str | None) -> Starlette:
    """GET /metrics in the form the scraper asks for; with `token`, only for who bears it."""

    # Not a coroutine: collecting waits for servers, so each scrape has a thread of the pool.
    def metrics(request: Request) -> Response:
        if token is not None and not _bears(request, token):
            return PlainTextResponse("a bearer token is needed\n", 401, {"WWW-Authenticate": "Bearer"})
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return Starlette(routes=[Route("/metrics", metrics, methods=["GET"])])


def _bears(request: Request, token: str) -> bool:
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    return kind.lower() == "bearer" and secrets.compare_digest(given.encode(), token.encode())


def serve_metrics(app: Starlette, host: str, port: int, token: str | None) -> None:
    """Serve in a daemon thread with a loop of its own, so that a scrape holds up no delivery.

    Raises OpenToAnyone for an address beyond loopback without a token.
    """
    if token is None and not _is_loopback(host):
        raise OpenToAnyone(host)
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, access_log=False, server_header=False, proxy_headers=False
    )
    threading.Thread(target=_serve, args=(uvicorn.Server(config),), name="metrics", daemon=True).start()


def _serve(server: uvicorn.Server) -> None:
    try:
        server.run()
    except SystemExit:
        # uvicorn has said why, such as a port that is taken; deliveries matter more than their counts.
        log.error("metrics are not served")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
