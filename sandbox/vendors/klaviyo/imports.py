"""Bulk imports of profiles: up to ten thousand at once, each created or updated."""

from collections.abc import Callable
from typing import Any

import orjson

from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.klaviyo.names import ulid
from sandbox.vendors.klaviyo.problems import Denied, invalid
from sandbox.vendors.klaviyo.profile_shapes import PROFILE_MAX
from sandbox.vendors.klaviyo.profiles import Profiles

START, END = "klaviyo_import_start", "klaviyo_import_end"


class Imports:
    def __init__(self, store: Store, outbox: Outbox, profiles: Profiles) -> None:
        self._store = store
        self._outbox = outbox
        self._profiles = profiles

    def duties(self) -> dict[str, Callable[[int], None]]:
        return {START: self._start, END: self._end}

    def create(self, account: Row, entries: list[dict[str, Any]], lists: list[str]) -> Row:
        """The entries have the right form."""
        with self._store.transaction():
            date, number = self._outbox.date(), self._store.next_id("klaviyo_import")
            self._store.insert(
                "klaviyo_imports",
                id=number,
                ref=ulid(date, "import", number),
                account_id=account["id"],
                status="queued",
                entries=orjson.dumps(entries),
                profiles="[]",
                lists=orjson.dumps(lists).decode(),
                total=len(entries),
                created_at=date,
            )
            self._outbox.owe(START, number, account["queued_seconds"])
        return self._row(number)

    def find(self, account_id: int, ref: str) -> Row | None:
        return self._store.one(
            "select * from klaviyo_imports where account_id = ? and ref = ? and (expires_at is null or expires_at > ?)",
            (account_id, ref, self._store.wall()),
        )

    def _row(self, number: int) -> Row:
        row = self._store.one("select * from klaviyo_imports where id = ?", (number,))
        assert row is not None
        return row

    def _start(self, number: int) -> None:
        seconds = self._store.value(
            "select a.processing_seconds from klaviyo_accounts a, klaviyo_imports i"
            " where i.account_id = a.id and i.id = ?",
            (number,),
        )
        self._store.run(
            "update klaviyo_imports set status = 'processing', started_at = ? where id = ?",
            (self._outbox.date(), number),
        )
        self._outbox.owe(END, number, seconds)

    def _end(self, number: int) -> None:
        job = self._row(number)
        profiles: list[str] = []
        errors: list[dict[str, Any]] = []
        for place, entry in enumerate(orjson.loads(job["entries"])):
            try:
                profiles.append(self._one(job["account_id"], entry))
            except Denied as denied:
                problem = denied.problems[0]
                at = f"/data/attributes/profiles/data/{place}"
                said = {"code": problem.code, "title": problem.title, "detail": problem.detail}
                source = {"pointer": at + (problem.pointer or "").removeprefix("/data")}
                number_of_error = ulid(job["created_at"], f"import-error {number}", place)
                errors.append({"id": number_of_error, **said, "source": source, "original_payload": entry})
        date = self._outbox.date()
        kept = self._store.value("select kept_seconds from klaviyo_accounts where id = ?", (job["account_id"],))
        self._store.run(
            "update klaviyo_imports set status = 'complete', entries = null, profiles = ?, completed = ?, failed = ?,"
            " errors = ?, completed_at = ?, expires_at = ? where id = ?",
            (
                orjson.dumps(profiles).decode(),
                len(profiles),
                len(errors),
                orjson.dumps(errors).decode(),
                date,
                date + kept,
                number,
            ),
        )

    def _one(self, account_id: int, entry: dict[str, Any]) -> str:
        """Raises Denied."""
        if len(orjson.dumps(entry)) > PROFILE_MAX:
            raise Denied(400, invalid(f"The profile has more than {PROFILE_MAX} bytes.", ""))
        row, _ = self._profiles.upsert(account_id, entry.get("id"), entry["attributes"], entry.get("meta"))
        return str(row["id"])
