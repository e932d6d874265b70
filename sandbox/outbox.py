"""Webhooks on their way out: written in the transaction of the act that causes them, sent later by the courier."""

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from sandbox.clock import AnyClock, utc_now_fine
from sandbox.faults import Faults
from sandbox.store import Row, Store
from sandbox.webhook_filter import matches

# Below this a body is kept as it is; JSON starts with a brace and zlib with an x, so the two cannot be mixed up.
COMPRESS_ABOVE = 512
# What tells one resource of a topic from another.
RESOURCE_NAMES = ("id", "inventory_item_id", "location_id", "admin_graphql_api_id")


@dataclass(frozen=True)
class Act:
    """One thing that happened in a shop; every delivery it causes carries the same event id and instant."""

    event_id: str
    triggered_at: str


class Outbox:
    def __init__(self, store: Store, clock: AnyClock, faults: Faults) -> None:
        self._store = store
        self._clock = clock
        self.faults = faults
        self._subscriptions: dict[tuple[int, str], list[Row]] | None = None
        # The courier hangs its bell here, and whoever does the duties hangs his.
        self.ring: Callable[[], None] = lambda: None
        self.ring_duty: Callable[[], None] = lambda: None
        # The hour of the duty that is being done, which may be over for long: what it owes counts from there.
        self.hour: float | None = None

    def act(self) -> Act:
        return Act(str(uuid4()), utc_now_fine(self._store))

    def now(self) -> float:
        """The hour of what is being done, on the sandbox clock."""
        return self._clock.now() if self.hour is None else self.hour

    def date(self) -> float:
        """The date of what is being done, in seconds since 1970."""
        late = self._clock.now() - self.now()
        return self._store.wall() - (late if self._clock.is_virtual else late / self._clock.factor)

    def owe(self, kind: str, subject: int, seconds: float = 0.0) -> None:
        """Something the vendor does by himself some seconds of the sandbox clock later."""
        due_at = self.now() + seconds
        self._store.insert("duties", id=self._store.next_id("duty"), kind=kind, subject=subject, due_at=due_at)
        self.ring_duty()

    def forget_subscriptions(self) -> None:
        """To be called whenever a subscription was added, changed or removed."""
        self._subscriptions = None

    def is_wanted(self, shop: Row, topic: str) -> bool:
        return bool(self._subscribers(shop["id"], topic))

    def tell(self, shop: Row, act: Act, topic: str, body: Callable[[], dict[str, Any]]) -> None:
        """Queues one delivery per subscription of the topic; the body is only built when somebody listens."""
        subscribers = self._subscribers(shop["id"], topic)
        if not subscribers:
            return
        whole = body()
        kept: dict[bytes, int] = {}
        for subscription in subscribers:
            if not matches(subscription["filter"], whole):
                continue
            data = orjson.dumps(_trimmed(whole, orjson.loads(subscription["include_fields"])))
            if subscription["include_fields"] != "[]" and self._was_told(subscription, whole, data):
                continue
            if data not in kept:
                kept[data] = self._keep(data)
            self._queue(subscription, act, topic, kept[data])
        self.ring()

    def _was_told(self, subscription: Row, whole: dict[str, Any], data: bytes) -> bool:
        """Fields that were picked so that nothing in them changed make a delivery that looks like the one before,
        and the vendor drops it as a duplicate."""
        resource = "/".join(str(whole[name]) for name in RESOURCE_NAMES if name in whole)
        digest, key = hashlib.sha256(data).digest(), (subscription["id"], resource)
        found = self._store.value("select digest from last_bodies where subscription_id = ? and resource = ?", key)
        self._store.run("insert or replace into last_bodies values (?, ?, ?)", (*key, digest))
        return bool(found == digest)

    def _keep(self, data: bytes) -> int:
        body_id = self._store.next_id("body")
        self._store.run("insert into bodies values (?, ?)", (body_id, packed(data)))
        return body_id

    def _queue(self, subscription: Row, act: Act, topic: str, body_id: int) -> None:
        webhook_id = str(uuid4())
        for due_at in self._due_times(topic):
            self._store.run(
                "insert into deliveries (id, shop_id, subscription_id, topic, uri, body_id, webhook_id, event_id,"
                " triggered_at, due_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self._store.next_id("delivery"),
                    subscription["shop_id"],
                    subscription["id"],
                    topic,
                    subscription["uri"],
                    body_id,
                    webhook_id,
                    act.event_id,
                    act.triggered_at,
                    due_at,
                ),
            )

    def _due_times(self, topic: str) -> list[float]:
        """When to deliver: once and now, unless a fault says twice, late or out of order."""
        due = self._clock.now()
        if late := self.faults.strike("delayed_delivery", topic):
            due += late.seconds
        if shuffled := self.faults.strike("reordered_delivery", topic):
            due += self.faults.spread(shuffled.seconds)
        return [due, due] if self.faults.strike("duplicate_delivery", topic) else [due]

    def _subscribers(self, shop_id: int, topic: str) -> list[Row]:
        if self._subscriptions is None:
            self._subscriptions = {}
            for row in self._store.all("select * from subscriptions order by id"):
                self._subscriptions.setdefault((row["shop_id"], row["topic"]), []).append(row)
        return self._subscriptions.get((shop_id, topic), [])


def packed(data: bytes) -> bytes:
    return zlib.compress(data, 1) if len(data) > COMPRESS_ABOVE else data


def unpacked(data: bytes) -> bytes:
    return data if data[:1] == b"{" else zlib.decompress(data)


def _trimmed(body: dict[str, Any], include_fields: list[str]) -> dict[str, Any]:
    """Only the named fields (dots reach into objects); all of them when none is named."""
    if not include_fields:
        return body
    paths = [name.split(".") for name in include_fields]
    return {key: value for key, value in ((key, _pick(body, key, paths)) for key in body) if value is not ...}


def _pick(body: dict[str, Any], key: str, paths: list[list[str]]) -> Any:
    mine = [path[1:] for path in paths if path[0] == key]
    if not mine:
        return ...
    if [] in mine:
        return body[key]
    return _deep(body[key], mine)


def _deep(value: Any, paths: list[list[str]]) -> Any:
    if isinstance(value, list):
        return [_deep(entry, paths) for entry in value]
    if isinstance(value, dict):
        return {key: kept for key in value if (kept := _pick(value, key, paths)) is not ...}
    return value
