"""What people do at their desks during a run: set up who is told, let things fail, ask, repair, give up."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from core.adapters.rq import JOB_QUEUES
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.db import fetch, make_engine, read_only, unit_of_work
from core.errors import Retryable
from core.letters import MailAddress
from core.messaging import inbox, notice_channels
from core.messaging.doorbell import Lane
from core.messaging.inbox import Incoming
from core.messaging.notice_addresses import mail, slack
from core.messaging.notice_channels import Wishes
from core.messaging.notices import Notice, say
from core.reconciliation import operations as reconciliation
from core.reconciliation.operations import Chosen as Differing
from core.reconciliation.rules import Changed, NotCorrectable
from core.reconciliation.rules import Policy as Healing
from core.recovery import operations as recovery
from core.recovery.choosing import Chosen, FactsChanged
from core.recovery.operations import NothingToDo
from core.recovery.preview import preview
from core.reports import operations as reports
from core.reports import rules as report_rules
from core.runs import control
from tests.chaos.listener import Listener
from workers.world import Pair

ACTOR = Actor("the person on call", "something was struck")
POISON = "chaos-poison"
PER_MINUTE = 1200.0
LOOK_BACK_DAYS = 90
HEALS = frozenset({"channel_edit", "lost_write", "real_loss"})


@dataclass(slots=True)
class Desk:
    """A shop's desk, and what is remembered of it until the end."""

    app: Application
    pair: Pair
    listener: Listener
    said: int = 0
    poisoned: int = 0
    hashes: dict[tuple[date, int], str] = field(default_factory=dict)
    """Of each edition of a report, as it was when it was first seen."""
    old_rows: int = 0
    young_rows: int = 0

    @property
    def shop_id(self) -> int:
        return self.pair.shop_id

    @property
    def post(self) -> MailAddress:
        """Where mail goes."""
        return mail("127.0.0.1", self.listener.mail_port, "none", "switchyard@example.com", ["oncall@example.com"])

    def set_up(self) -> None:
        """A chat and a mailbox that are told everything; comparisons correct what they can; reports reach far back."""
        keys, now = self.app.settings.secret_keys, utc_now()
        chat = slack(self.listener.slack_url)
        with unit_of_work(self.app.engine) as conn:
            for name, address in (("chat", chat), ("post", self.post)):
                wishes = Wishes(name, least_severity="info", most_an_hour=notice_channels.AN_HOUR_MAX)
                notice_channels.add(conn, self.shop_id, wishes, address, keys, ACTOR, now)
            for row in (self.pair.shopify, self.pair.amazon):
                healing = Healing(HEALS, corrections_max=100, zeroed_max=1000, zeroed_percent=100, every_hours=None)
                reconciliation.set_policy(conn, self.shop_id, row.id, healing, ACTOR, now)
            wanted = report_rules.Policy(LOOK_BACK_DAYS)
            reports.set_policy(conn, self.shop_id, wanted, ACTOR, now)

    def ring(self, job: str, **arguments: object) -> None:
        """Queue a job as a click does; without Redis it is left to the clock."""
        try:
            self.app.queue.enqueue(job, **arguments)
        except Retryable:
            return

    def nudge(self, client: Any, job: str) -> bool:
        """Ring for a job unless it waits already, so that nothing piles up behind it; whether it was rung for."""
        refs = client.lrange(f"rq:queue:{JOB_QUEUES[job]}", 0, -1)
        if any(client.hget(f"rq:job:{ref.decode()}", "description") == job.encode() for ref in refs):
            return False
        self.ring(job)
        return True

    def say(self, about: str) -> str:
        """Queue a notice for everybody who is told; returns the mark in its words."""
        self.said += 1
        mark = f"chaos notice {self.said} ({about})"
        notice = Notice(f"chaos:{self.said}", "chaos", "attention", mark, f"Said to see whether {mark} arrives once.")
        with unit_of_work(self.app.engine) as conn:
            assert say(conn, self.shop_id, notice, utc_now())
        return mark

    def poison(self, count: int = 3) -> None:
        """Messages that nobody can read come in, all of one cause."""
        now = utc_now()
        messages = []
        for _ in range(count):
            self.poisoned += 1
            # An order without quantities, of a number that no order of the sandbox's has.
            ref = 990_000_000_000 + self.poisoned
            order = {
                "id": ref,
                "name": f"#poison-{self.poisoned}",
                "updated_at": now.isoformat(),
                "created_at": now.isoformat(),
                "currency": "GBP",
                "total_price": "1.00",
                "line_items": [{"id": 1, "variant_id": None, "sku": "POISON", "name": "Poison", "price": "1.00"}],
            }
            body = json.dumps(order).encode()
            messages.append(Incoming(f"{POISON}-{self.poisoned}", "orders/updated", body, None))
        with unit_of_work(self.app.engine) as conn:
            inbox.record(conn, self.shop_id, self.pair.shopify.id, messages, "webhook", now)
        self.app.doorbell.ring(Lane("events", self.shop_id, self.pair.shopify.id))

    def requeue(self, chosen: Chosen | None = None) -> int | None:
        """Have failures done again, all of the shop or those chosen; the recovery's id, None where nothing is to do."""
        meant = chosen or Chosen()
        for _ in range(10):
            try:
                with unit_of_work(self.app.engine) as conn:
                    seen = preview(conn, self.shop_id, meant, self.app.queue.check, utc_now())
                    if not seen.is_possible:
                        return None
                    done = recovery.requeue(
                        conn, self.shop_id, meant, seen.token, ACTOR, utc_now(), self.app.queue.check,
                        per_minute=PER_MINUTE,
                    )  # fmt: skip
                self.app.broker.take_back(done.job_refs)
                return done.recovery_id
            except FactsChanged:
                continue
            except NothingToDo:
                return None
        return None

    def discard(self, chosen: Chosen) -> None:
        """Give failures up, with a reason."""
        for _ in range(10):
            try:
                with unit_of_work(self.app.engine) as conn:
                    seen = preview(conn, self.shop_id, chosen, self.app.queue.check, utc_now())
                    if not seen.items:
                        return
                    done = recovery.discard(conn, self.shop_id, chosen, seen.token, ACTOR, utc_now())
                self.app.broker.take_back(done.job_refs)
                return
            except FactsChanged:
                continue

    def compare(self, channel: str) -> Mapping[str, Any]:
        """Ask for a comparison of a channel's stock: its run's number, and what its job is called with."""
        row = getattr(self.pair, channel)
        with unit_of_work(self.app.engine) as conn:
            asked = reconciliation.request(conn, self.shop_id, row.id, "stock", ACTOR, utc_now())
        return {"shop_id": self.shop_id, "connection_id": row.id, "sync_run_id": asked.sync_run_id}

    def decide(self, connection_id: int, discrepancy_id: int) -> None:
        """Have what a person is asked about corrected; what no number corrects is left as it is."""
        chosen = Differing(connection_id, discrepancy_id)
        for act in (reconciliation.correct, reconciliation.accept):
            try:
                with unit_of_work(self.app.engine) as conn:
                    token = reconciliation.preview(conn, self.shop_id, chosen).token
                    act(conn, self.shop_id, chosen, token, ACTOR, utc_now())
                return
            except NotCorrectable:
                continue
            except Changed:
                return

    def stop(self, sync_run_id: int) -> None:
        """Stop a run among the runs."""
        with unit_of_work(self.app.engine) as conn:
            control.cancel(conn, self.shop_id, sync_run_id, ACTOR, utc_now())

    def write_report(self, day: date, *, corrects: bool) -> int:
        """A person's own process builds the report of a day, or looks at it again; returns its number."""
        pid = os.fork()
        if pid:
            return pid
        try:
            engine = make_engine(self.app.settings.database_url, name="person", pool_size=1)
            with unit_of_work(engine) as conn:
                write = reports.correct_by_hand if corrects else reports.build_by_hand
                write(conn, self.shop_id, day, ACTOR, utc_now())
        finally:
            os._exit(0)

    def note_reports(self) -> list[str]:
        """Remember editions that are new, and say which of those known before are not what they were."""
        changed = []
        for (day, edition), content_hash in self.editions().items():
            before = self.hashes.setdefault((day, edition), content_hash)
            if before != content_hash:
                changed.append(f"edition {edition} of {day} is not what it was")
        return changed

    def editions(self) -> dict[tuple[date, int], str]:
        """Every edition with the hash of its content, computed afresh."""
        with read_only(self.app.engine) as conn:
            rows = fetch(
                conn,
                "select day, edition, content, content_hash from daily_reports where shop_id = %(shop)s order by 1, 2",
                shop=self.shop_id,
            )
        found = {}
        for row in rows:
            is_whole = report_rules.content_hash(row["content"]) == row["content_hash"]
            found[(row["day"], row["edition"])] = row["content_hash"] if is_whole else "its hash is not its content's"
        return found
