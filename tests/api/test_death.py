"""Whatever was acknowledged is there, however the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import socket

import httpx
import pytest

from tests.api.conftest import Served, Shop, signed_headers

BODY = b'{"id": 1, "note": "' + b"x" * 700 + b'"}'
SENDERS = 24
ENOUGH = 300


async def flood(served: Served, shop: Shop, number: signal.Signals) -> tuple[set[str], int]:
    """Send until the process is gone; signal it once enough was acknowledged. Returns what was acknowledged."""
    acknowledged: set[str] = set()
    ids = itertools.count()
    refused = 0
    is_signalled = False

    async def send(client: httpx.AsyncClient) -> None:
        nonlocal is_signalled, refused
        while True:
            delivery_id = f"d-{next(ids)}"
            try:
                answer = await client.post(shop.path, content=BODY, headers=signed_headers(BODY, delivery_id))
            except httpx.HTTPError:
                return
            if answer.status_code == 200:
                acknowledged.add(delivery_id)
            else:
                refused += 1
                assert answer.status_code == 503
            if len(acknowledged) >= ENOUGH and not is_signalled:
                is_signalled = True
                served.process.send_signal(number)

    async with httpx.AsyncClient(base_url=served.url, timeout=30) as client:
        await asyncio.gather(*(send(client) for _ in range(SENDERS)))
    return acknowledged, refused


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_acknowledged_under_load_is_in_the_inbox(served: Served, shop: Shop, number: signal.Signals) -> None:
    acknowledged, _ = asyncio.run(flood(served, shop, number))
    code = served.process.wait(timeout=60)
    assert len(acknowledged) >= ENOUGH
    recorded = {str(row["delivery_id"]) for row in shop.rows()}
    assert acknowledged <= recorded
    if number is signal.SIGTERM:
        # The server shuts down cleanly, then ends by the signal that asked for it.
        assert code == -signal.SIGTERM
        assert recorded == acknowledged, "a clean end answers everybody whose row it wrote"


GARBAGE = (
    b"X-Shopify-Webhook-Id: a\x00b",
    b"X-Shopify-Topic: \x00",
    b"X-Shopify-Triggered-At: \xff\xfe\x01",
    b"X-Shopify-Hmac-Sha256: \xe9\xe9",
    b"Content-Length: 99999999999999999999999",
    b"Content-Length: -1",
    b"Transfer-Encoding: nonsense",
    b"X-Long: " + b"x" * 200_000,
    b"no colon at all",
)


def say(served: Served, shop: Shop, line: bytes) -> bytes:
    """Send a genuine delivery with one more header line, as bytes; returns the answer."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in signed_headers(BODY).items())
    head = f"POST {shop.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}".encode()
    length = b"" if line.startswith((b"Content-Length", b"Transfer")) else f"Content-Length: {len(BODY)}\r\n".encode()
    answer = b""
    address = ("127.0.0.1", int(served.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=30) as wire, contextlib.suppress(ConnectionError):
        wire.sendall(head + length + line + b"\r\n\r\n" + BODY)
        while chunk := wire.recv(65536):
            answer += chunk
    return answer


def test_garbage_on_the_wire_is_never_our_failure(served: Served, shop: Shop) -> None:
    for line in GARBAGE:
        answer = say(served, shop, line)
        assert answer == b"" or answer.split(b" ", 2)[1][:1] in b"24", (line[:40], answer[:200])
    assert say(served, shop, b"X-Fine: yes").startswith(b"HTTP/1.1 200")
