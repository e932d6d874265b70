"""Bulk jobs: taken at once, done some seconds later, in no order among each other."""

import random
from collections.abc import Callable
from typing import Any

import orjson

from sandbox.faults import Faults
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.klaviyo.catalogue import Catalogue
from sandbox.vendors.klaviyo.names import external, ulid
from sandbox.vendors.klaviyo.problems import Denied, Problem, invalid
from sandbox.vendors.klaviyo.shapes import KINDS, Kind

IN_PROGRESS_MAX = 500
STATUSES = ("queued", "processing", "complete", "cancelled")
START, END = "klaviyo_job_start", "klaviyo_job_end"


class Jobs:
    def __init__(self, store: Store, outbox: Outbox, faults: Faults, catalogue: Catalogue, seed: int) -> None:
        self._store = store
        self._outbox = outbox
        self._faults = faults
        self._catalogue = catalogue
        self._random = random.Random(f"klaviyo-jobs-{seed}")

    def duties(self) -> dict[str, Callable[[int], None]]:
        return {START: self._start, END: self._end}

    def create(self, account: Row, kind: Kind, verb: str, entries: list[dict[str, Any]]) -> Row:
        """The entries have the right form. Raises Denied when too many jobs are in progress."""
        running = self._store.value(
            "select count(*) from klaviyo_jobs where account_id = ? and status in ('queued', 'processing')",
            (account["id"],),
        )
        if running >= IN_PROGRESS_MAX:
            detail = f"{running} jobs are in progress, and no more than {IN_PROGRESS_MAX} may be at one time."
            raise Denied(400, Problem("job_limit_reached", "Too many jobs in progress.", detail, "/data"))
        said = f"{verb} {kind.name} {account['public_key']}"
        stuck = self._faults.strike("catalog_job_stuck", said)
        with self._store.transaction():
            date, number = self._outbox.date(), self._store.next_id("klaviyo_job")
            self._store.run("delete from klaviyo_jobs where expires_at <= ?", (date,))
            self._store.insert(
                "klaviyo_jobs",
                id=number,
                ref=ulid(date, "job", number),
                account_id=account["id"],
                kind=kind.name,
                verb=verb,
                status="queued",
                is_cancelled=self._faults.strike("catalog_job_cancelled", said) is not None,
                stuck_seconds=stuck.seconds if stuck else 0.0,
                entries=orjson.dumps(entries),
                names=orjson.dumps([_name(verb, entry) for entry in entries]).decode(),
                total=len(entries),
                created_at=date,
            )
            self._outbox.owe(START, number, account["queued_seconds"] * self._random.random())
        return self.row(number)

    def row(self, number: int) -> Row:
        row = self._store.one("select * from klaviyo_jobs where id = ?", (number,))
        assert row is not None
        return row

    def find(self, account_id: int, kind: Kind, verb: str, ref: str) -> Row | None:
        """None for one that never was and for one that has expired."""
        return self._store.one(
            "select * from klaviyo_jobs where ref = ? and account_id = ? and kind = ? and verb = ?"
            " and (expires_at is null or expires_at > ?)",
            (ref, account_id, kind.name, verb, self._store.wall()),
        )

    def _start(self, number: int) -> None:
        job = self.row(number)
        account = self._store.one("select * from klaviyo_accounts where id = ?", (job["account_id"],))
        assert account is not None
        self._store.run("update klaviyo_jobs set status = 'processing' where id = ?", (number,))
        spread = self._random.uniform(-account["spread"], account["spread"])
        self._outbox.owe(END, number, job["stuck_seconds"] + account["processing_seconds"] * (1 + spread))

    def _end(self, number: int) -> None:
        """All entries in their order; a job that is cancelled breaks off half-way, and what it did stays done."""
        job = self.row(number)
        kind, verb = KINDS[job["kind"]], job["verb"]
        entries = orjson.loads(job["entries"])
        status = "complete"
        if job["is_cancelled"]:
            status, entries = "cancelled", entries[: len(entries) // 2]
        outcomes = self._catalogue.apply(
            job["account_id"], kind, verb, entries, lambda name: self._refusal(f"{verb} {kind.name} {name}")
        )
        errors = [
            _placed(problem, f"/data/attributes/{kind.plural}/data/{place}").as_json()
            for place, problem in enumerate(outcomes)
            if problem is not None
        ]
        date = self._outbox.date()
        kept = self._store.value("select kept_seconds from klaviyo_accounts where id = ?", (job["account_id"],))
        self._store.run(
            "update klaviyo_jobs set status = ?, entries = null, completed = ?, failed = ?, errors = ?,"
            " completed_at = ?, expires_at = ? where id = ?",
            (
                status,
                len(outcomes) - len(errors),
                len(errors),
                orjson.dumps(errors).decode(),
                date,
                date + kept,
                number,
            ),
        )

    def _refusal(self, said: str) -> Problem | None:
        if self._faults.strike("catalog_entry_failed", said):
            return invalid("The entry could not be processed.", "")
        return None


def _name(verb: str, entry: dict[str, Any]) -> str:
    return str(entry["attributes"]["external_id"]) if verb == "create" else external(entry["id"]) or ""


def _placed(problem: Problem, at: str) -> Problem:
    return Problem(problem.code, problem.title, problem.detail, at + (problem.pointer or ""))
