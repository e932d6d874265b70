"""Fetching a file that a vendor points us to: large, elsewhere, and none of the business of whoever keeps it there.

The address comes out of an answer, so it is looked at before it is followed: https and no place of a private network,
or the very host that we speak to anyway. No credentials go along: the address carries its own.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from typing import IO
from urllib.parse import urlsplit

import httpx

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import ApiCall, Outcome, Refused, ServerFault, make_http

TRIES = 3
BYTES_MAX = 4 << 30
"""A catalogue of a million variants is a quarter of that."""
_LINE_BYTES_MAX = 16 << 20
_PAUSE_SECONDS = 2.0
_CHUNK_BYTES = 1 << 16


def fetch(config: ConnectionConfig, deps: Deps, operation: str, address: str, into: IO[bytes]) -> int:
    """Write the file at `address` into an open file, from its beginning; returns its bytes.

    A transfer that breaks off begins again, a few times. Raises Refused for an address that we do not follow, for one
    that is not (any longer) given, and for a file beyond all measure; ServerFault when it did not come whole.
    """
    check_address(config, operation, address)
    for attempt in range(1, TRIES + 1):
        into.seek(0)
        into.truncate()
        try:
            return _transfer(config, deps, operation, address, into, attempt)
        except ServerFault:
            if attempt == TRIES:
                raise
            deps.sleep(_PAUSE_SECONDS * attempt)
    raise AssertionError("the last try returns or raises")


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a fetched file, without their ends; blank ones are left out, and one without end comes in parts."""
    file.seek(0)
    while line := file.readline(_LINE_BYTES_MAX):
        if line.strip():
            yield line.rstrip(b"\r\n")


def check_address(config: ConnectionConfig, operation: str, address: str) -> None:
    """Raises Refused for an address that we do not follow; the address itself is not in its text."""
    try:
        parts, ours = urlsplit(address), urlsplit(config.base_url)
        httpx.URL(address)
    except (ValueError, httpx.InvalidURL):
        raise Refused(operation, 0, "ADDRESS", "a file is offered at what is no address") from None
    is_ours = (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc)
    if not parts.hostname or parts.username is not None or not (parts.scheme == "https" or is_ours):
        raise Refused(operation, 0, "ADDRESS", f"a file is offered at {parts.scheme}://{parts.hostname}, not at https")
    if parts.hostname != ours.hostname and _is_private(parts.hostname):
        raise Refused(operation, 0, "ADDRESS", f"a file is offered at {parts.hostname}, inside a private network")


def _is_private(host: str) -> bool:
    """Whether a host is this machine, or an address that the internet does not know; no name is looked up."""
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return True
    try:
        # All the ways to write a number that a connection would take, such as 0x7f000001.
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    address = ip_address(str(found[0][4][0]).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return not (mapped or address).is_global


def _transfer(config: ConnectionConfig, deps: Deps, operation: str, address: str, into: IO[bytes], attempt: int) -> int:
    began, called_at = time.monotonic(), deps.now()
    status, problem, size = None, None, 0
    http = make_http(deps.transport)
    try:
        with http.stream("GET", address) as response:
            status = response.status_code
            if status == 200:
                for chunk in response.iter_bytes(_CHUNK_BYTES):
                    size += into.write(chunk)
                    if size > BYTES_MAX:
                        break
    except httpx.RequestError as error:
        problem = type(error).__name__
    finally:
        # A transport that was lent is somebody else's to close.
        if deps.transport is None:
            http.close()
    deps.record(
        ApiCall(
            shop_id=config.shop_id,
            connection_id=config.connection_id,
            operation=operation,
            method="GET",
            status=status,
            outcome="refused" if size > BYTES_MAX else _outcome(status, problem),
            elapsed_ms=round((time.monotonic() - began) * 1000),
            attempt=attempt,
            quota_left=None,
            api_version=None,
            deprecation=None,
            error=problem or (None if status == 200 else f"status {status}"),
            called_at=called_at,
        )
    )
    if size > BYTES_MAX:
        raise Refused(operation, 200, "TOO_LARGE", f"the file has more than {BYTES_MAX:,} bytes")
    if problem is None and status is not None and 300 <= status < 500:
        raise Refused(operation, status, f"HTTP_{status}", "the file is not given (any longer)")
    if problem is not None or status != 200:
        raise ServerFault(operation, problem or f"status {status}")
    return size


def _outcome(status: int | None, problem: str | None) -> Outcome:
    if problem is None and status == 200:
        return "ok"
    return "refused" if problem is None and status is not None and 300 <= status < 500 else "error"
