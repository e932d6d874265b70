"""Delivers webhooks: many at once, signed, retried over four hours, recorded in batches."""

import asyncio
import base64
import hmac
import logging
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp

from sandbox.clock import AnyClock
from sandbox.outbox import Outbox, unpacked
from sandbox.recording import asked_for, note_delivery
from sandbox.store import Row, Store, marks

log = logging.getLogger("sandbox.courier")

API_VERSION = "2026-10"
CONNECTIONS = 32
CONNECT_SECONDS, TOTAL_SECONDS = 1.0, 5.0
# Eight waits, each twice the one before, four hours together.
RETRY_WAITS = [4 * 3600 / 255 * 2**step for step in range(8)]
BATCH = 512
FLUSH_EVERY_SECONDS = 0.02


@dataclass(frozen=True)
class Parcel:
    """A delivery with everything that goes over the wire."""

    row: Row
    body: bytes
    headers: dict[str, str]


class Courier:
    """Takes what is due from the store and writes back what became of it.

    A delivery counts as made when its outcome is committed: killed in between, it is made again with
    the same webhook id, which is what the vendor's at-least-once promise means.
    """

    def __init__(self, store: Store, clock: AnyClock, outbox: Outbox) -> None:
        self._store = store
        self._clock = clock
        self._outbox = outbox
        self._recorder = asked_for()
        self._bell = asyncio.Event()
        self._parcels: asyncio.Queue[Parcel] = asyncio.Queue()
        self._taken: set[int] = set()
        self._runs = False
        self._outcomes: list[tuple[Row, bool, str]] = []
        self._outcome_bell = asyncio.Event()
        self.subscriptions_deleted = int(store.meta("subscriptions_deleted", "0"))
        outbox.ring = self._bell.set

    async def run(self) -> None:
        """Delivers until cancelled; whatever goes wrong inside, the round starts again from the store."""
        self._runs = True
        try:
            while True:
                try:
                    await self._round()
                except Exception:
                    log.exception("The courier stumbled and starts again.")
                self._taken.clear()
                self._parcels = asyncio.Queue()
                await asyncio.sleep(1)
        finally:
            self._runs = False

    async def _round(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS, connect=CONNECT_SECONDS)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=60)
        async with (
            aiohttp.ClientSession(
                timeout=timeout,
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept-Encoding",),
            ) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(CONNECTIONS):
                tasks.create_task(self._deliver_forever(session))
            tasks.create_task(self._record_forever())
            tasks.create_task(self._feed_forever())

    def next_due(self) -> float | None:
        """When the next delivery that is not on its way already falls due on the sandbox clock."""
        due = self._store.all(
            "select id, due_at from deliveries where state = 'queued' order by due_at, id limit ?",
            (1 + len(self._taken),),
        )
        return next((row["due_at"] for row in due if row["id"] not in self._taken), None)

    async def settle(self) -> None:
        """Waits until everything that is due was delivered or refused; at once where nobody delivers."""
        while self._runs:
            due = self.next_due()
            if not self._taken and (due is None or due > self._clock.now()):
                return
            self._bell.set()
            await asyncio.sleep(0.005)

    def hurry(self) -> None:
        """Looks for due deliveries at once; to be called when the clock changes its speed."""
        self._bell.set()

    def counts(self) -> dict[str, Any]:
        states: dict[str, int] = {}
        topics: dict[str, dict[str, int]] = {}
        # Kept by triggers: counting half a million rows would hold up everybody else.
        for topic, state, count in self._store.all("select * from delivery_counts where count > 0"):
            topics.setdefault(topic, {})[state] = count
            states[state] = states.get(state, 0) + count
        failed = self._store.value("select count(*) from deliveries where state = 'queued' and attempts > 0")
        return {
            "queued": states.get("queued", 0) - len(self._taken),
            "in_flight": len(self._taken),
            "delivered": states.get("delivered", 0),
            "failed": failed,
            "given_up": states.get("given_up", 0),
            "subscriptions_deleted": self.subscriptions_deleted,
            "by_topic": topics,
        }

    async def redeliver(self, shop_id: int | None, fresh_ids: bool) -> int:
        """Queues every delivery already made once more, with its original body."""
        # A redelivery of a redelivery would double the count with every call: each original goes out once.
        originals = self._store.all(
            "select min(id) as id from deliveries where state = 'delivered' and (? is null or shop_id = ?)"
            " group by subscription_id, body_id, event_id order by 1",
            (shop_id, shop_id),
        )
        ids = [row["id"] for row in originals]
        for start in range(0, len(ids), BATCH):
            self._queue_again(ids[start : start + BATCH], fresh_ids)
            await asyncio.sleep(0)
        self._bell.set()
        return len(ids)

    def _queue_again(self, ids: list[int], fresh_ids: bool) -> None:
        rows = self._store.all(f"select * from deliveries where id in ({marks(ids)}) order by id", ids)
        now = self._clock.now()
        with self._store.transaction():
            numbers = self._store.next_ids("delivery", len(rows))
            self._store.run_many(
                "insert into deliveries (id, shop_id, subscription_id, topic, uri, body_id, webhook_id, event_id,"
                " triggered_at, due_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        number,
                        *(row[name] for name in ("shop_id", "subscription_id", "topic", "uri", "body_id")),
                        str(uuid4()) if fresh_ids else row["webhook_id"],
                        row["event_id"],
                        row["triggered_at"],
                        now,
                    )
                    for number, row in zip(numbers, rows, strict=True)
                ],
            )

    async def _feed_forever(self) -> None:
        while True:
            self._bell.clear()
            more = self._parcels.qsize() < BATCH and self._feed()
            # With nothing due, look again often enough for retries whose time comes.
            await self._wait(self._bell, 0.01 if more or self._parcels.qsize() else 0.1)
            if more:
                await asyncio.sleep(0)

    @staticmethod
    async def _wait(bell: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await bell.wait()
        except TimeoutError:
            pass

    def _feed(self) -> bool:
        """Moves the next due deliveries into the queue of the workers; whether there were any."""
        due = [
            row["id"]
            for row in self._store.all(
                "select id from deliveries where state = 'queued' and due_at <= ? order by due_at, id limit ?",
                (self._clock.now(), BATCH + len(self._taken)),
            )
            if row["id"] not in self._taken
        ]
        if not due:
            return False
        rows = self._store.all(
            "select d.*, b.data, s.domain, n.name as subscription_name,"
            " case when s.old_secret_until > ? then s.old_secret else s.client_secret end as secret from deliveries d"
            " join bodies b on b.id = d.body_id join shops s on s.id = d.shop_id"
            " left join subscriptions n on n.id = d.subscription_id"
            f" where d.id in ({marks(due)}) order by d.due_at, d.id",
            (self._store.wall(), *due),
        )
        for row in rows:
            self._taken.add(row["id"])
            self._parcels.put_nowait(_parcel(row))
        return True

    async def _deliver_forever(self, session: aiohttp.ClientSession) -> None:
        while True:
            parcel = await self._parcels.get()
            row = parcel.row
            note_delivery(self._recorder, row["topic"], row["uri"], parcel.headers, parcel.body, row["secret"])
            ok, result = await _send(session, parcel)
            self._outcomes.append((parcel.row, ok, result))
            self._outcome_bell.set()

    async def _record_forever(self) -> None:
        while True:
            await self._outcome_bell.wait()
            await asyncio.sleep(FLUSH_EVERY_SECONDS)
            self._outcome_bell.clear()
            outcomes, self._outcomes = self._outcomes, []
            try:
                with self._store.transaction():
                    self._record(outcomes)
            except Exception:
                log.exception("Outcomes of %d deliveries were not recorded; they will be made again.", len(outcomes))
            self._taken.difference_update(row["id"] for row, _, _ in outcomes)
            if self._parcels.qsize() < BATCH:
                self._bell.set()

    def _record(self, outcomes: list[tuple[Row, bool, str]]) -> None:
        now = self._clock.now()
        self._store.run_many(
            "update deliveries set state = 'delivered', attempts = attempts + 1, last_result = ? where id = ?",
            [(result, row["id"]) for row, ok, result in outcomes if ok],
        )
        self._store.run_many(
            "update subscriptions set last_success_at = ? where id = ?",
            {(now, row["subscription_id"]) for row, ok, _ in outcomes if ok},
        )
        for row, ok, result in outcomes:
            if not ok:
                self._record_failure(row, result, now)

    def _record_failure(self, row: Row, result: str, now: float) -> None:
        first_failed_at = row["first_failed_at"] if row["first_failed_at"] is not None else now
        exhausted = row["attempts"] >= len(RETRY_WAITS)
        self._store.run(
            "update deliveries set state = ?, attempts = attempts + 1, due_at = ?, first_failed_at = ?, last_result = ?"
            " where id = ? and state = 'queued'",
            (
                "given_up" if exhausted else "queued",
                now if exhausted else now + RETRY_WAITS[row["attempts"]],
                first_failed_at,
                result,
                row["id"],
            ),
        )
        if exhausted:
            self._delete_if_dead(row["subscription_id"], first_failed_at)

    def _delete_if_dead(self, subscription_id: int, first_failed_at: float) -> None:
        """Eight failures in a row end a subscription made through the API: all retries of one delivery
        were used up and nothing else got through to the address since it first failed."""
        gone = self._store.run(
            "delete from subscriptions where id = ? and last_success_at < ?", (subscription_id, first_failed_at)
        )
        if not gone:
            return
        self._store.run(
            "update deliveries set state = 'given_up', last_result = 'subscription deleted'"
            " where subscription_id = ? and state = 'queued'",
            (subscription_id,),
        )
        self.subscriptions_deleted += 1
        self._store.set_meta("subscriptions_deleted", str(self.subscriptions_deleted))
        self._outbox.forget_subscriptions()


def _parcel(row: Row) -> Parcel:
    body = unpacked(row["data"])
    signature = base64.b64encode(hmac.digest(row["secret"].encode(), body, "sha256")).decode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Shopify-Captain-Hook",
        "X-Shopify-Topic": row["topic"],
        "X-Shopify-Hmac-Sha256": signature,
        "X-Shopify-Shop-Domain": row["domain"],
        "X-Shopify-API-Version": API_VERSION,
        "X-Shopify-Webhook-Id": row["webhook_id"],
        "X-Shopify-Event-Id": row["event_id"],
        "X-Shopify-Triggered-At": row["triggered_at"],
    }
    if row["subscription_name"]:
        headers["X-Shopify-Name"] = row["subscription_name"]
    return Parcel(row, body, headers)


async def _send(session: aiohttp.ClientSession, parcel: Parcel) -> tuple[bool, str]:
    """Only 2xx counts; a redirect is a failure."""
    try:
        async with session.post(
            parcel.row["uri"], data=parcel.body, headers=parcel.headers, allow_redirects=False
        ) as response:
            await response.read()
            return 200 <= response.status < 300, str(response.status)
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as problem:
        return False, type(problem).__name__
