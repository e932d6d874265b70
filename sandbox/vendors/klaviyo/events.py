"""Events: taken at once, processed a moment later, each unique_id of a profile and a metric once."""

from collections.abc import Callable
from typing import Any

import orjson

from sandbox.faults import Faults
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.klaviyo.names import short_id, ulid
from sandbox.vendors.klaviyo.problems import Denied
from sandbox.vendors.klaviyo.profile_shapes import IDENTIFIERS, instant
from sandbox.vendors.klaviyo.profiles import Profiles

PROCESS, TELL = "klaviyo_event", "klaviyo_restock"
SECONDS = 1.0
BACK_IN_STOCK_SECONDS = 60.0
API_SERVICE = "api"


class Events:
    def __init__(self, store: Store, outbox: Outbox, faults: Faults, profiles: Profiles) -> None:
        self._store = store
        self._outbox = outbox
        self._faults = faults
        self._profiles = profiles

    def duties(self) -> dict[str, Callable[[int], None]]:
        return {PROCESS: self._process, TELL: self._tell}

    def take(self, account_id: int, events: list[dict[str, Any]]) -> None:
        """Attributes of events as the vendor's single endpoint has them, of the right form."""
        with self._store.transaction():
            for event in events:
                said = f"{event['metric']['data']['attributes']['name']} {event.get('unique_id') or ''}"
                if self._faults.strike("lost_event", said):
                    continue
                number = self._store.next_id("klaviyo_received")
                # A time that is not said is the time at which it came.
                text = orjson.dumps({"time": None, **event, "came_at": self._store.wall()}).decode()
                self._store.insert("klaviyo_received", id=number, account_id=account_id, event=text)
                self._outbox.owe(PROCESS, number, SECONDS)

    def restock(self, account_id: int, variants: list[str]) -> None:
        """Those who wait for one of these variants will be told, some time later."""
        waiting = self._store.value(
            "select count(*) from klaviyo_waiting where account_id = ? and told_at is null", (account_id,)
        )
        if waiting:
            text = orjson.dumps(variants).decode()
            number = self._store.next_id("klaviyo_received")
            self._store.insert("klaviyo_received", id=number, account_id=account_id, event=text)
            self._outbox.owe(TELL, number, BACK_IN_STOCK_SECONDS)

    def wait_for(self, account_id: int, variant: str, profile_id: str, channels: list[str]) -> None:
        with self._store.transaction():
            self._store.run(
                "insert or replace into klaviyo_waiting values (?, ?, ?, ?, ?, null)",
                (account_id, variant, profile_id, orjson.dumps(channels).decode(), self._store.wall()),
            )

    def metric(self, account_id: int, name: str, service: str) -> Row:
        """The account's metric of that name, made when it is first spoken of."""
        key = (account_id, name, service)
        sql = "select * from klaviyo_metrics where account_id = ? and name = ? and service = ?"
        row = self._store.one(sql, key)
        if row is None:
            number, date = self._store.next_id("klaviyo_metric"), self._outbox.date()
            self._store.insert(
                "klaviyo_metrics",
                id=short_id("metric", number),
                account_id=account_id,
                number=number,
                name=name,
                service=service,
                created_at=date,
                updated_at=date,
            )
            row = self._store.one(sql, key)
            assert row is not None
        return row

    def _received(self, number: int) -> Row:
        row = self._store.one("select * from klaviyo_received where id = ?", (number,))
        assert row is not None
        self._store.run("delete from klaviyo_received where id = ?", (number,))
        return row

    def _process(self, number: int) -> None:
        """The profile and the metric are made where there are none; of one unique_id only the first counts."""
        received = self._received(number)
        account_id, event = received["account_id"], orjson.loads(received["event"])
        profile = self._person(account_id, event["profile"]["data"])
        if profile is None:
            return
        described = event["metric"]["data"]["attributes"]
        metric = self.metric(account_id, described["name"], described.get("service") or API_SERVICE)
        happened_at = int(event["came_at"] if event["time"] is None else instant(event["time"]).timestamp())
        self._keep(account_id, metric["id"], profile["id"], happened_at, event)

    def _person(self, account_id: int, person: dict[str, Any]) -> Row | None:
        """Whose event it is; nobody's when an id is all that is said and it does not exist."""
        attributes, profile_id = person["attributes"], person.get("id")
        known = self._profiles.find(account_id, profile_id) if profile_id else None
        if profile_id and known is None and not any(attributes.get(name) for name in IDENTIFIERS):
            return None
        orders = attributes.get("meta") or person.get("meta")
        try:
            return self._profiles.upsert(account_id, known["id"] if known else None, attributes, orders)[0]
        except Denied:
            # An identifier is somebody else's: it stays with him, and the event is whose id it says.
            return known

    def _keep(self, account_id: int, metric_id: str, profile_id: str, happened_at: int, event: dict[str, Any]) -> None:
        number = self._store.next_id("klaviyo_event")
        self._store.run(
            "insert or ignore into klaviyo_events values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                ulid(happened_at, "event", number),
                account_id,
                metric_id,
                profile_id,
                event.get("unique_id") or str(happened_at),
                happened_at,
                orjson.dumps(event["properties"]).decode(),
                None if event.get("value") is None else float(event["value"]),
                event.get("value_currency"),
                not event.get("backfill"),
            ),
        )
        self._store.run(
            "update klaviyo_profiles set last_event_at = max(coalesce(last_event_at, 0), ?) where id = ?",
            (happened_at, profile_id),
        )

    def _tell(self, number: int) -> None:
        """Whoever waits for one of the variants is told once."""
        received = self._received(number)
        account_id, date = received["account_id"], self._outbox.date()
        metric = self.metric(account_id, "Back in Stock", "klaviyo")
        for variant in orjson.loads(received["event"]):
            for row in self._store.all(
                "select * from klaviyo_waiting where account_id = ? and variant = ? and told_at is null",
                (account_id, variant),
            ):
                event = {"properties": {"VariantId": variant}, "unique_id": f"{variant} {row['created_at']}"}
                self._keep(account_id, metric["id"], row["profile_id"], int(date), event)
                self._store.run(
                    "update klaviyo_waiting set told_at = ? where account_id = ? and variant = ? and profile_id = ?",
                    (date, account_id, variant, row["profile_id"]),
                )
