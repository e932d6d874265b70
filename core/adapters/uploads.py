"""Putting a file where a vendor points us to: an address that came out of an answer, and that dies soon.

The vendor has signed the request beforehand: what we send must be what it signed, so not one header goes along that is
not asked for. No credentials either: the address carries its own, and never reaches a log.
"""

from __future__ import annotations

import time

import httpx

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.downloads import check_address
from core.adapters.http import ApiCall, Refused, ServerFault, make_http

TRIES = 3
_PAUSE_SECONDS = 2.0


def put(config: ConnectionConfig, deps: Deps, operation: str, address: str, content_type: str, body: bytes) -> None:
    """Put `body` at the address; what is there already is replaced, so a broken transfer is simply repeated.

    Raises Refused for an address that we do not follow or that does not take it (any longer), ServerFault when nobody
    said that it arrived.
    """
    check_address(config, operation, address)
    for attempt in range(1, TRIES + 1):
        try:
            return _transfer(
                config, deps, operation, httpx.Request("PUT", address, content=body), content_type, attempt
            )
        except ServerFault:
            if attempt == TRIES:
                raise
            deps.sleep(_PAUSE_SECONDS * attempt)
    raise AssertionError("the last try returns or raises")


def _transfer(
    config: ConnectionConfig, deps: Deps, operation: str, request: httpx.Request, content_type: str, attempt: int
) -> None:
    # The request is made by hand: a client would add headers of its own.
    request.headers["Content-Type"] = content_type
    began, called_at = time.monotonic(), deps.now()
    status, problem = None, None
    http = make_http(deps.transport)
    try:
        response = http.send(request)
        status = response.status_code
    except httpx.RequestError as error:
        problem = type(error).__name__
    finally:
        # A transport that was lent is somebody else's to close.
        if deps.transport is None:
            http.close()
    is_refused = status is not None and 300 <= status < 500
    is_ok = status is not None and 200 <= status < 300
    deps.record(
        ApiCall(
            shop_id=config.shop_id,
            connection_id=config.connection_id,
            operation=operation,
            method="PUT",
            status=status,
            outcome="ok" if is_ok else "refused" if is_refused else "error",
            elapsed_ms=round((time.monotonic() - began) * 1000),
            attempt=attempt,
            quota_left=None,
            api_version=None,
            deprecation=None,
            error=problem or (None if is_ok else f"status {status}"),
            called_at=called_at,
        )
    )
    if status is not None and is_refused:
        raise Refused(operation, status, f"HTTP_{status}", "the file is not taken (any longer)")
    if not is_ok:
        raise ServerFault(operation, problem or f"status {status}")
