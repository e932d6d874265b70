"""A load of deliveries over kept-open connections, one process on a core of its own: `python -m bench.load`.

Raw HTTP/1.1 over asyncio: what a request costs here must be small beside what it costs the server, and every delivery
needs an id of its own. Prints one short JSON line: answers by status, seconds, and the latency that 99 of 100 stay
below, in milliseconds. Short, since a pipe that is written more at once than it holds has been seen to lose some.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: `seconds` of load after `warm_up` seconds that do not count."""

    host: str
    port: int
    path: str
    domain: str
    secret: str
    body_bytes: int
    connections: int
    seconds: float
    warm_up: float
    prefix: str


@dataclass(slots=True)
class Tally:
    """What came back within the time that counts."""

    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def told(self) -> dict[str, Any]:
        """What is printed. Raises ValueError where nothing was answered in the time that counts."""
        if not self.milliseconds:
            raise ValueError("nothing was answered in the time that counts")
        waits = sorted(self.milliseconds)
        return {
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "seconds": self.seconds,
            "p99_ms": waits[int(len(waits) * 0.99)],
        }


def body_of(size: int) -> bytes:
    """A body of exactly `size` bytes that compresses about as well as an order does."""
    words = []
    length = 2
    for number in range(size):
        word = f'"field_{number % 37}":"{hashlib.md5(str(number).encode()).hexdigest()[:12]}"'
        words.append(word)
        length += len(word) + 1
        if length >= size:
            break
    return ("{" + ",".join(words)).encode()[: size - 1] + b"}"


class Client(asyncio.Protocol):
    """One connection: a request, its answer, the next."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._load.note(int(head[9:12]), self._sent_at)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None
        if time.perf_counter() >= self._load.ends_at:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._load.next_request())


class Load:
    """All connections of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        body = body_of(plan.body_bytes)
        signature = base64.b64encode(hmac.new(plan.secret.encode(), body, hashlib.sha256).digest()).decode()
        self._head = (
            f"POST {plan.path} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\nContent-Type: application/json\r\n"
            f"X-Shopify-Topic: orders/create\r\nX-Shopify-Hmac-Sha256: {signature}\r\n"
            f"X-Shopify-Shop-Domain: {plan.domain}\r\nX-Shopify-Triggered-At: 2026-11-01T12:00:00.000000000Z\r\n"
            f"X-Shopify-API-Version: 2026-10\r\nX-Shopify-Event-Id: 7f3c1c1e-0000-4000-8000-000000000000\r\n"
            f"Content-Length: {len(body)}\r\nX-Shopify-Webhook-Id: {plan.prefix}-"
        ).encode()
        self._tail = b"\r\n\r\n" + body
        self._number = 0
        self.tally = Tally()
        self.counts_from = self.ends_at = 0.0

    def next_request(self) -> bytes:
        """The next delivery, with an id of its own."""
        self._number += 1
        return self._head + str(self._number).encode() + self._tail

    def note(self, status: int, sent_at: float) -> None:
        """Count an answer, if its request was sent in the time that counts."""
        now = time.perf_counter()
        if sent_at >= self.counts_from and now <= self.ends_at:
            self.tally.statuses[status] += 1
            self.tally.milliseconds.append((now - sent_at) * 1000)

    async def run(self) -> Tally:
        """Send until the time is over."""
        loop = asyncio.get_running_loop()
        self.counts_from = time.perf_counter() + self._plan.warm_up
        self.ends_at = self.counts_from + self._plan.seconds
        clients = [
            (await loop.create_connection(lambda: Client(self), self._plan.host, self._plan.port))[1]
            for _ in range(self._plan.connections)
        ]
        await asyncio.wait([client.done for client in clients], timeout=self._plan.warm_up + self._plan.seconds + 10)
        self.tally.seconds = self._plan.seconds
        return self.tally


def main() -> None:
    """Carry out the plan that standard input holds as JSON."""
    plan = Plan(**json.loads(sys.stdin.read()))
    tally = uvloop.run(Load(plan).run())
    print(json.dumps(tally.told()))


if __name__ == "__main__":
    main()
