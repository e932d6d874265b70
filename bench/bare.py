"""The floor of `ingest`: a route on the same server that only checks the HMAC and group-commits the raw insert.

No lookup of the connection, no limits, no check of headers, no doorbell: what is left when everything that makes a
webhook door safe is taken away, and the group commit, which makes it fast, stays. `python -m bench.bare`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SECRET = os.environ["BENCH_SECRET"].encode()
SHOP, CONNECTION = int(os.environ["BENCH_SHOP"]), int(os.environ["BENCH_CONNECTION"])
URL = os.environ["DATABASE_URL"].replace("+psycopg", "", 1)
BATCH = 256

INSERT = """
    insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, received_at)
    select %(shop)s, %(connection)s, d, t, 'webhook', b, %(now)s
    from unnest(%(ids)b::text[], %(topics)b::text[], %(bodies)b::bytea[]) as m (d, t, b)
    on conflict (shop_id, connection_id, delivery_id) do nothing
"""
Waiting = tuple[str, str, bytes, "asyncio.Future[None]"]
queue: asyncio.Queue[Waiting] = asyncio.Queue()


async def receive(request: Request) -> Response:
    """Check, hand over, answer after the commit."""
    body = await request.body()
    signature = base64.b64encode(hmac.new(SECRET, body, hashlib.sha256).digest()).decode()
    if not hmac.compare_digest(signature, request.headers.get("x-shopify-hmac-sha256", "")):
        return Response(status_code=401)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    queue.put_nowait((request.headers["x-shopify-webhook-id"], request.headers["x-shopify-topic"], body, done))
    await done
    return Response(status_code=200)


async def write() -> None:
    """Take all that waits, insert it with one commit, tell everybody."""
    connection = await psycopg.AsyncConnection.connect(URL, autocommit=True)
    while True:
        batch = [await queue.get()]
        while len(batch) < BATCH and not queue.empty():
            batch.append(queue.get_nowait())
        batch.sort(key=lambda waiting: waiting[0])
        await connection.execute(
            INSERT,
            {
                "shop": SHOP,
                "connection": CONNECTION,
                "now": datetime.now(UTC),
                "ids": [waiting[0] for waiting in batch],
                "topics": [waiting[1] for waiting in batch],
                "bodies": [waiting[2] for waiting in batch],
            },
        )
        for waiting in batch:
            if not waiting[3].done():
                waiting[3].set_result(None)


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """One writer for the life of the server."""
    task = asyncio.create_task(write())
    # A floor that lost its writer would be no floor: end with its error.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.result() or os._exit(1))
    yield
    task.cancel()


if __name__ == "__main__":
    app = Starlette(routes=[Route("/webhooks/shopify/{connection}", receive, methods=["POST"])], lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), log_config=None, access_log=False)
