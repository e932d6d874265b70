"""Telling a target of the catalogue: several hands at once plan, send, ask what became of it, and read back.

A seat is one of a connection's lanes; whoever holds it works for it with all its hands, and others may hold other
seats: what one hand takes no other does. Quota is what binds: no hand waits for it while there is something else to do.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from core.catalogue_target import (
    OVER,
    CatalogueTarget,
    CategoryContent,
    Kind,
    TargetFault,
    TargetRecord,
    TargetSent,
    Verb,
)
from core.clock import utc_now
from core.connections import switches
from core.db import count_grown_tables, read_only, unit_of_work
from core.errors import Permanent, Retryable
from core.targets import checking, planning, queries, seeking, sending, settling
from core.targets.answers import note_account
from core.targets.contents import Target
from core.targets.sending import Limits, Planned
from core.targets.settling import OpenJob

log = logging.getLogger(__name__)

ORDER: tuple[tuple[Kind, Verb], ...] = (
    ("category", "create"), ("category", "update"), ("item", "create"), ("item", "update"),
    ("variant", "create"), ("variant", "update"), ("variant", "delete"), ("item", "delete"), ("category", "delete"),
)  # fmt: skip
"""Categories, items, variants; what goes, goes the other way round. What each hangs on is asked entry by entry."""

SENDERS = 6
LOOKERS = 6
LIST_FROM = 3
"""From so many due jobs of a kind on, one list of what is unfinished costs less than asking for each."""

# Seconds of the target's time.
EMPTY_FOR = 1.0
"""A kind of which nothing was ready is not asked for again sooner."""
IDLE = 0.25
PLANS_EVERY = 5.0
GIVES_UP_AFTER = 6.0
"""A drain that has only waited for so long ends: it is rung when the next job is due to be looked at."""

LEAST_IDLE = 2.0
"""Of our time: however much a target hurries, our own machine takes its time."""

NO_QUOTA_FOR = timedelta(seconds=2)
REFUSED_FOR = timedelta(seconds=30)
"""How long entries rest that could not be handed in: for want of quota, or because too many jobs are in progress."""


def in_threads(work: Sequence[Callable[[], None]]) -> None:
    """Do all of it at once, each in a thread of its own, until all is done. Raises what one of it raises."""
    with ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(one) for one in work]:
            done.result()


@dataclass
class Seat:
    """One of a target's lanes, with what working for it takes. `clock` is in seconds, which `sleep` passes."""

    engine: Engine
    target: Target
    api: CatalogueTarget
    number: int = 1
    now: Callable[[], datetime] = utc_now
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    together: Callable[[Sequence[Callable[[], None]]], None] = in_threads
    counts: Counter[str] = field(default_factory=Counter)
    problem: str | None = None
    _ends_at: float = 0.0
    _worked_at: float = 0.0
    _is_done: bool = False
    _plans_at: float = 0.0
    _rests: dict[tuple[Kind, Verb], float] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        api = self.api
        return Limits(api.entries_max, api.bytes_max, api.jobs_max, api.size_of)

    def seconds(self, of_target: float) -> float:
        """Seconds of the target's time as our own."""
        return of_target / self.target.factor

    # --- the hands -----------------------------------------------------------------------------------------------

    def drain(self, seconds: float) -> Counter[str]:
        """Work until nothing is left that can be done now, or the time is up; returns what was done, counted."""
        self._ends_at, self._is_done = self.clock() + seconds, False
        self._worked_at = self.clock()
        with unit_of_work(self.engine) as conn:
            self.counts.update(sending.recover(conn, self.target, self.number, self.now()))
        if not self._is_anything_due():
            # As on most days: nothing has changed, and nobody is asked anything.
            return +self.counts
        hands: list[Callable[[], int]] = [self.plan_again, *[self.send] * SENDERS, *[self.look] * LOOKERS]
        self.together([lambda hand=hand: self._use(hand) for hand in hands])  # type: ignore[misc]
        return +self.counts

    def goes_on(self) -> tuple[bool, datetime | None]:
        """After a drain: whether another is to follow at once, and else when one is, (False, None) for when it is rung.

        One that did nothing leaves what it could not do (what waits for others to go first) to the next ring; one that
        met what holds for every job leaves everything to it.
        """
        if self.problem is not None:
            return False, None
        with read_only(self.engine) as conn:
            target = self.target
            is_live = switches.may_write(conn, target.shop_id, target.connection_id)
            if +self.counts and queries.ready(conn, target, self.now(), may_write=is_live):
                return True, None
            return False, queries.next_poll_at(conn, target)

    def _is_anything_due(self) -> bool:
        return bool(self.plan()) or self._due() > 0

    def _due(self) -> int:
        with read_only(self.engine) as conn:
            target, now = self.target, self.now()
            is_live = switches.may_write(conn, target.shop_id, target.connection_id)
            return queries.due(conn, target, now, may_write=is_live)

    def _use(self, hand: Callable[[], int]) -> None:
        while not self._is_done and self.clock() < self._ends_at:
            if hand():
                self._worked_at = self.clock()
                continue
            self._look_whether_done()
            self.sleep(self.seconds(IDLE))

    def _look_whether_done(self) -> None:
        """Nothing more to do for this hand now: for all of them, where nothing is in flight, or it takes its time."""
        idle = self.clock() - self._worked_at
        is_over = self.problem is not None or idle > max(self.seconds(GIVES_UP_AFTER), LEAST_IDLE)
        self._is_done = self._is_done or is_over or (idle > self.seconds(IDLE) and self._due() == 0)

    # --- planning ------------------------------------------------------------------------------------------------

    def plan(self) -> int:
        """Plan some of what differs; returns how much that was."""
        with unit_of_work(self.engine) as conn:
            planned = planning.plan(conn, self.target, self.now())
        self.counts["planned"] += planned
        if planned >= planning.PLANNED_AT_ONCE:
            # Else the next of them would be sought as if there were none yet.
            count_grown_tables(self.engine)
        return planned

    def plan_again(self) -> int:
        """The same, and not again at once where nothing differed: every level of the shop is looked at for it."""
        if self.clock() < self._plans_at:
            return 0
        planned = self.plan()
        if not planned:
            self._plans_at = self.clock() + self.seconds(PLANS_EVERY)
        return planned

    # --- sending -------------------------------------------------------------------------------------------------

    def send(self) -> int:
        """Hand in one job of the first kind that may be; returns 1 when one was."""
        for kind, verb in ORDER:
            if self.problem is not None or self.clock() < self._rests.get((kind, verb), 0.0):
                continue
            planned = self._planned(kind, verb)
            if planned is None:
                self._rests[kind, verb] = self.clock() + self.seconds(EMPTY_FOR)
                continue
            if planned == "no quota":
                continue
            self._hand_in(planned)
            return 1
        return 0

    def _planned(self, kind: Kind, verb: Verb) -> Any:
        """A job, or None where nothing is ready, or that there is no quota for it at once."""
        target = self.target
        with read_only(self.engine) as conn:
            if not switches.may_write(conn, target.shop_id, target.connection_id):
                return None
            if not sending.is_any_due(conn, target, kind, verb, self.now()):
                return None
        if self.api.ready_in(kind, verb) > 0:
            return "no quota"
        with unit_of_work(self.engine) as conn:
            return sending.plan_job(conn, target, kind, verb, self.limits, self.number, self.now())

    def _hand_in(self, planned: Planned) -> None:
        """Mark it, hand it in, and note what is known of it: each in a commit of its own."""
        target = self.target
        with unit_of_work(self.engine) as conn:
            if not sending.mark_sent(conn, target, planned.job_id, self.now()):
                sending.withdraw(conn, target, planned.job_id, "nothing may be written now", self.now())
                return
        sent = self.api.submit(planned.kind, planned.verb, planned.entries)
        self.counts[f"jobs_{sent.outcome}"] += 1
        with unit_of_work(self.engine) as conn:
            now = self.now()
            if sent.outcome == "submitted" and sent.ref is not None:
                look_at = sending.first_look_at(target, planned.kind, now)
                if not sending.note_ref(conn, target, planned.job_id, sent.ref, look_at):
                    sending.note_lost(conn, target, planned.job_id, "the id it got is another job's", now)
            elif sent.outcome == "unknown":
                sending.note_lost(conn, target, planned.job_id, sent.detail or "no answer came", now)
            elif sent.outcome == "refused" and not _is_for_later(sent):
                fault = sent.fault or TargetFault(None, "", sent.code or "", sent.detail or "")
                settling.refuse(conn, target, _job_of(planned, now), fault, now)
            else:
                self._put_back(conn, planned, sent, now)

    def _put_back(self, conn: Any, planned: Planned, sent: TargetSent, now: datetime) -> None:
        """It surely never left. What holds for every job is said of the connection, and the drain ends."""
        rest = REFUSED_FOR if sent.outcome == "refused" else NO_QUOTA_FOR
        wait = rest / self.target.factor
        if sent.again_in is not None:
            wait = timedelta(seconds=sent.again_in)
        elif sent.code != "WRITES_STOPPED" and sent.outcome == "unsent":
            self.problem = sent.detail or sent.code
        sending.withdraw(conn, self.target, planned.job_id, sent.detail or "it was not taken", now, now + wait)
        self._rests[planned.kind, planned.verb] = self.clock() + wait.total_seconds()

    # --- asking what became of it ----------------------------------------------------------------------------------

    def look(self) -> int:
        """Look at jobs that are due, or read back ids in doubt; returns 1 when there was something."""
        try:
            return int(self._look_at_list() or self._look_at_one() or self._read_back())
        except Retryable as error:
            log.warning("the target could not be asked now: %s", error)
            return 0
        except Permanent as error:
            self.problem = str(error)
            return 0

    def _look_at_list(self) -> bool:
        with unit_of_work(self.engine) as conn:
            listed = settling.take_listed(conn, self.target, LIST_FROM, self.now())
        if listed is None:
            return False
        asked_at = self.now()
        try:
            unfinished = dict(self.api.unfinished(*listed))
        except (Retryable, Permanent):
            with unit_of_work(self.engine) as conn:
                settling.note_unlisted(conn, self.target, *listed, self.now())
            raise
        with unit_of_work(self.engine) as conn:
            settling.note_listed(conn, self.target, *listed, unfinished, asked_at, self.now())
        return True

    def _look_at_one(self) -> bool:
        with unit_of_work(self.engine) as conn:
            job = settling.take_due(conn, self.target, LIST_FROM, self.now())
        if job is None:
            return False
        try:
            self._seek(job) if job.ref is None else self._ask(job, job.ref)
        except (Retryable, Permanent):
            with unit_of_work(self.engine) as conn:
                settling.note_look(conn, self.target, job, None, self.now())
            raise
        return True

    def _ask(self, job: OpenJob, ref: str) -> None:
        told = self.api.job(job.kind, job.verb, ref)
        with unit_of_work(self.engine) as conn:
            if told is None:
                self._count(settling.give_up(conn, self.target, job, settling.GONE, self.now()))
            elif told.state in OVER:
                self._count(settling.settle(conn, self.target, job, told, self.now()))
            else:
                settling.note_look(conn, self.target, job, told, self.now())
        if told is None or told.state in OVER:
            # What hangs on it may be ready now.
            self._rests.clear()

    def _seek(self, job: OpenJob) -> None:
        """A job whose reply got lost: found among those of the target, put off, or given up."""
        target = self.target
        told = self.api.jobs_since(job.kind, job.verb, job.sent_at - seeking.CLOCKS)
        with read_only(self.engine) as conn:
            nobodys = seeking.unknown_refs(conn, target, [one.ref for one in told])
            names = frozenset(row["external_id"] for row in sending.entries_of(conn, target.shop_id, job.id))
        found = seeking.search(
            job,
            names,
            [one for one in told if one.ref in nobodys],
            lambda ref: self.api.job_names(job.kind, job.verb, ref),
            self.now(),
            target.factor,
        )
        with unit_of_work(self.engine) as conn:
            if found.ref is not None and sending.note_ref(conn, target, job.id, found.ref, self.now()):
                self.counts["found_again"] += 1
            elif found.verdict == "never":
                why = "no reply came, and the target has no such job"
                self._count(settling.give_up(conn, target, job, why, self.now()))
            else:
                settling.note_look(conn, target, job, None, self.now())

    def _read_back(self) -> bool:
        with unit_of_work(self.engine) as conn:
            taken = checking.take_to_check(conn, self.target, self.api.entries_max, self.now())
        if taken is None:
            return False
        kind, ids = taken
        asked_at = self.now()
        records = self.api.records(kind, ids)
        if kind == "variant":
            records = self._with_items(records)
        with unit_of_work(self.engine) as conn:
            told = checking.note_read(conn, self.target, kind, ids, records, asked_at, self.now())
        self.counts.update({f"read_{verdict}": count for verdict, count in told.items()})
        self._rests.clear()
        return True

    def _with_items(self, records: Sequence[TargetRecord]) -> Sequence[TargetRecord]:
        """Whose each variant is that we did not know to be there, asked for where the answer did not say so."""
        with read_only(self.engine) as conn:
            possible = checking.possible_items(conn, self.target, records)
        items = sorted({item for names in possible.values() for item in names})
        found = {name: item for item in items for name in self.api.variants_of(item)}
        return [replace(one, item=found.get(one.external_id)) if one.external_id in possible else one
                for one in records]  # fmt: skip

    def _count(self, told: dict[str, int]) -> None:
        self.counts.update(told)


def _is_for_later(sent: TargetSent) -> bool:
    """Whether a refusal is of how much is going on, and says nothing of the job."""
    said = f"{sent.code} {sent.detail}".lower()
    return sent.fault is None and "in progress" in said


def _job_of(planned: Planned, now: datetime) -> OpenJob:
    return OpenJob(planned.job_id, planned.kind, planned.verb, "sent", len(planned.entries), None, now)


def read_everything(
    seat: Seat, tell: Callable[[str, int, int | None], None], expected: Sequence[tuple[Kind, int]]
) -> Counter[str]:
    """Read all that a target holds, page by page, and compare it; what is missing is read back id by id.

    `tell` hears of each page (step, done, total); `expected` is how much of each kind we think is there. Returns
    verdicts counted. Raises what the target raises, and what `tell` does.
    """
    counts: Counter[str] = Counter()
    total = sum(number for _, number in expected)
    done = 0
    for kind, _ in expected:
        began_at = seat.now()
        after: str | None = None
        theirs: list[TargetRecord] = []
        while True:
            asked_at = seat.now()
            page = seat.api.page(kind, after)
            with unit_of_work(seat.engine) as conn:
                counts.update(checking.note_page(conn, seat.target, kind, page.records, asked_at, seat.now()))
                if kind == "category":
                    theirs += checking.foreign(conn, seat.target, kind, page.records)
            done += len(page.records)
            tell(f"reading {kind} records", done, max(total, done))
            after = page.next
            if after is None:
                break
        with unit_of_work(seat.engine) as conn:
            counts["missing"] += checking.doubt_unread(conn, seat.target, kind, began_at, seat.now())
            if kind == "category":
                named = [
                    (one.external_id, one.content.name) for one in theirs if isinstance(one.content, CategoryContent)
                ]
                note_account(conn, seat.target.shop_id, seat.target.connection_id, named, seat.now())
    counts["read"] = done
    return +counts
