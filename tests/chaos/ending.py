"""The end of what operations are about: people repair by their buttons what is open, then nothing may be left half."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.adapters.mail import message_id
from core.clock import utc_now
from core.db import unit_of_work
from core.letters import Letter, MailAddress
from core.recovery.choosing import Chosen
from core.reports import operations as reports
from core.runs import scheduling
from core.runs.schedules import SCHEDULES
from tests.chaos.aging import dead_workers, let_time_pass, started_without_worker
from tests.chaos.database import Database
from tests.chaos.desk import ACTOR, Desk
from tests.chaos.listener import Told
from tests.chaos.victims import Victims

STALLED_SECONDS = 180
ROUND_SECONDS = 1.5
SAY_SECONDS = 15
SWEEPS = ("runs.sweep", "poll.orders", "sweep.reconciliation", "runs.recover", "outbox.relay", "sweep.alerts")

# A channel that may be asked only so often is asked by sweeps and comparisons of orders in turns: on a clock that is
# not hurried, minutes apart.
_TAKES_TURNS = """(y.kind = 'reconcile_orders' and y.state = 'queued'
    and starts_with(coalesce(y.error, ''), 'the channel may be asked only so often')
    and exists (select from connections c where c.shop_id = y.shop_id and c.id = y.connection_id
        and coalesce((c.settings ->> 'clock_factor')::float8, 1) <= 1))"""

_LEFT = """
    select
        (select count(*) from recoveries where ended_at is null) as recoveries,
        (select count(*) from failures where state in ('open', 'requeued') and shop_id = %(shop)s
            and (state = 'open' or exists (select from recoveries v where v.id = recovery_id and v.ended_at is null)))
            as failures,
        (select count(*) from sync_runs y where state in ('queued', 'running')
            and requested_at < now() - interval '5 seconds' and not {takes_turns}) as sync_runs,
        (select count(*) from reconciliation_runs r where ended_at is null and not exists (
            select from sync_runs y where y.shop_id = r.shop_id and y.id = r.sync_run_id and {takes_turns}))
            as comparisons,
        (select count(*) from discrepancies where state = 'open') as discrepancies,
        (select count(*) from job_runs r where outcome is null and worker = any(%(dead)s)) as dead_job_runs,
        (select count(*) from job_requeues q where not exists (select from job_runs r where r.job_ref = q.job_ref))
            as unanswered_work,
        (select count(*) from schedule_requests where begun_at is null) as schedule_requests,
        (select count(*) from outbox_messages where state in ('held', 'waiting')) as untold_notices,
        (select count(*) from alerts where closed_at is null and kind <> all(%(standing)s)) as open_alerts,
        (select count(*) from schedule_runs where name = 'chaos.old') as rows_kept_too_long
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """What the last acts work with. `standing`: kinds of alerts that the quiet run's world has as well."""

    desk: Desk
    database: Database
    victims: Victims
    standing: frozenset[str]
    say: Callable[[str], None]

    def come_to_rest(self) -> dict[str, int]:
        """Let time pass, sweep, and use the buttons until nothing is open; returns what stays open nevertheless."""
        before: Mapping[str, int] = {}
        moved = said = time.monotonic()
        self.desk.ring("audit.nightly", shop_id=self.desk.shop_id)
        self.desk.ring("runs.prune")
        while any((left := self._left()).values()):
            if left != before:
                before, moved = left, time.monotonic()
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                self.say("coming to rest: " + ", ".join(f"{count} {name}" for name, count in left.items() if count))
                for alert in self._open_alerts():
                    self.say(f"    {alert}")
            if time.monotonic() - moved > STALLED_SECONDS:
                return {name: count for name, count in left.items() if count}
            self._repair(left)
            with self.victims.client() as client:
                for job in (*SWEEPS, *(["runs.prune"] if left["rows_kept_too_long"] else [])):
                    self.desk.nudge(client, job)
            time.sleep(ROUND_SECONDS)
        return {}

    def _open_alerts(self) -> list[str]:
        rows = self.database.rows(
            "select kind, headline, sentence from alerts"
            " where closed_at is null and kind <> all(%(standing)s) order by id",
            standing=sorted(self.standing),
        )
        return [f"{row['kind']}: {row['headline']}. {row['sentence']}" for row in rows]

    def _left(self) -> dict[str, int]:
        with self.victims.client() as client:
            let_time_pass(self.database, client)
            lost = started_without_worker(client)
        row = self.database.row(
            _LEFT.format(takes_turns=_TAKES_TURNS),
            shop=self.desk.shop_id,
            dead=dead_workers(self.database),
            standing=sorted(self.standing),
        )
        return {**row, "lost_jobs": lost, "dead_turns": len(self._dead_turns())}

    def _repair(self, left: Mapping[str, int]) -> None:
        """What the person on call does: give up what nobody can read, have all else done again, answer what is asked,
        run what died.
        """
        if left["failures"] and not left["recoveries"]:
            for row in self.database.rows(
                "select item_id from failures where shop_id = %(shop)s and source = 'message' and state = 'open'",
                shop=self.desk.shop_id,
            ):
                self.desk.discard(Chosen(source="message", item_id=row["item_id"]))
            self.desk.requeue()
        for row in self.database.rows(
            "select id, connection_id from discrepancies where state = 'open' and action = 'asked'"
        ):
            self.desk.decide(row["connection_id"], row["id"])
        for name in self._dead_turns():
            with unit_of_work(self.desk.app.engine) as conn:
                scheduling.request_run(conn, self.desk.shop_id, name, ACTOR, utc_now())
            self.desk.ring("schedules.ring")

    def _dead_turns(self) -> list[str]:
        """Schedules with a turn whose worker died, seen by that nobody holds its lock; their next ring settles them."""
        rows = self.database.rows(
            """
            select distinct r.name from schedule_runs r
            where r.outcome is null and r.started_at < now() - interval '5 seconds' and not exists (
                select from job_runs j where j.function = 'schedule.' || r.name and j.outcome is null)
            """
        )
        known = {schedule.name for schedule in SCHEDULES}
        return sorted({row["name"] for row in rows} & known)

    # Comparisons -----------------------------------------------------------------------------------------------------

    def comparisons(self) -> dict[str, list[str]]:
        """What differs from how it has to be, by what was looked at; run it when all has come to rest."""
        return {
            "each failure done again once": self._recoveries(),
            "everything told, and at most twice": self._tellings(),
            "each alert one episode, told as it opened and closed": self._alerts(),
            "each report built once, its corrections marked": self._reports(),
            "no two turns of a schedule at once": self._turns(),
            "what is kept too long gone, all else there": self._kept(),
        }

    def _recoveries(self) -> list[str]:
        """Work of a recovery that went well more than once, or that was counted done and never ran."""
        rows = self.database.rows(
            """
            select w.recovery_id, w.source, w.item_id, w.state,
                (select count(*) from job_runs r where r.job_ref = 'again-' || w.item_id and r.outcome = 'finished')
                    as finished
            from recovery_works w where w.source = 'job' and w.released_at is not null
            """
        )
        return [
            f"job {row['item_id']} of recovery {row['recovery_id']}: {row['state']}, went well {row['finished']} times"
            for row in rows
            if row["finished"] != (row["state"] == "done")
        ]

    def _tellings(self) -> list[str]:
        """Rows that were sent against what arrived: once, and once more where the answer was lost (decision 0030)."""
        sent = self.database.rows(
            """
            select m.dedupe_key, c.medium, s.name as shop, m.payload ->> 'subject' as subject,
                m.payload ->> 'text' as text, m.created_at
            from outbox_messages m join notice_channels c on c.shop_id = m.shop_id and c.id = m.channel_id
            join shops s on s.shop_id = m.shop_id where m.shop_id = %(shop)s and m.state = 'sent'
            """,
            shop=self.desk.shop_id,
        )
        said = Counter(_said(row, self.desk.post) for row in sent)
        told = Counter(_told(one) for one in self.desk.listener.told)
        wrong = [f"never heard: {words!r}" for words in said if not told[words]]
        wrong += [
            f"heard {count} times what was said {said[words]} times: {words!r}"
            for words, count in told.items()
            if not said[words] <= count <= 2 * said[words]
        ]
        return wrong if sent else ["nothing was told"]

    def _alerts(self) -> list[str]:
        rows = self.database.rows(
            """
            select a.id, a.kind, a.fingerprint, c.name as channel,
                exists (select from outbox_messages m where m.shop_id = a.shop_id
                    and m.dedupe_key = 'alert:' || a.id || '#' || c.id and m.state in ('sent', 'gathered')) as is_told,
                a.closed_at is null or exists (select from outbox_messages m where m.shop_id = a.shop_id
                    and m.dedupe_key = 'alert:' || a.id || ':over#' || c.id and m.state in ('sent', 'gathered'))
                    as is_told_over
            from alerts a join notice_channels c on c.shop_id = a.shop_id and c.created_at < a.opened_at
            where a.shop_id = %(shop)s and a.is_told
            """,
            shop=self.desk.shop_id,
        )
        wrong = [
            f"{row['channel']} was not told that alert {row['id']} ({row['kind']}) {what}"
            for row in rows
            for what, is_told in (("opened", row["is_told"]), ("closed", row["is_told_over"]))
            if not is_told
        ]
        overlapping = self.database.rows(
            """
            select a.fingerprint from alerts a join alerts b on b.shop_id = a.shop_id
                and b.fingerprint = a.fingerprint and b.id > a.id and b.opened_at < coalesce(a.closed_at, now())
            """
        )
        return wrong + [f"two episodes at once of {row['fingerprint']}" for row in overlapping]

    def _reports(self) -> list[str]:
        """Each day as it was first written; what came since is a numbered correction, after which nothing is new."""
        wrong = self.desk.note_reports()
        for day in sorted({day for day, _ in self.desk.editions()}):
            with unit_of_work(self.desk.app.engine) as conn:
                reports.correct_by_hand(conn, self.desk.shop_id, day, ACTOR, utc_now())
            with unit_of_work(self.desk.app.engine) as conn:
                if reports.correct(conn, self.desk.shop_id, day, ACTOR, utc_now()) is not None:
                    wrong.append(f"{day} is corrected again though nothing came")
        wrong += self.desk.note_reports()
        rows = self.database.rows(
            """
            select r.day, count(*) as editions, max(r.edition) as newest,
                (select coalesce(sum(m.orders), 0) from daily_report_markets m where m.report_id = max(r.id)) as says,
                (select count(*) from orders o join shops s on s.shop_id = o.shop_id
                    where o.shop_id = %(shop)s and (o.placed_at at time zone s.time_zone)::date = r.day
                        and not o.is_test) as sold
            from daily_reports r where r.shop_id = %(shop)s group by r.day order by r.day
            """,
            shop=self.desk.shop_id,
        )
        wrong += [f"{row['day']} lacks an edition" for row in rows if row["editions"] != row["newest"]]
        return wrong + [
            f"{row['day']} says {row['says']} orders, and there are {row['sold']}"
            for row in rows
            if row["says"] != row["sold"]
        ]

    def _turns(self) -> list[str]:
        rows = self.database.rows(
            """
            with turns as (
                select name, period, started_at, ended_at, lead(started_at) over one as next_at,
                    lead(period) over one as next_period
                from schedule_runs where outcome is distinct from 'skipped' and not starts_with(name, 'chaos.')
                window one as (partition by name, coalesce(substring(period from ':shop:[0-9]+$'), '')
                    order by started_at, ended_at)
            )
            select name, period, next_period from turns where ended_at > next_at order by 1, 2
            """
        )
        return [f"{row['name']}: {row['next_period']} began before {row['period']} had ended" for row in rows]

    def _kept(self) -> list[str]:
        rows = self.database.rows("select count(*) as n from schedule_runs where name = 'chaos.young'")
        found = rows[0]["n"]
        return [] if found == self.desk.young_rows else [f"{self.desk.young_rows - found} rows went too early"]


def _said(row: Mapping[str, Any], post: MailAddress) -> str:
    """By what a row's telling is known again: in a chat by its words, by mail by its id."""
    letter = Letter(row["dedupe_key"], row["shop"], "info", row["subject"], row["text"], "", row["created_at"])
    return message_id(letter, post) if row["medium"] == "mail" else f"{letter.subject}\n{letter.text}"


def _told(one: Told) -> str:
    if one.ref is not None:
        return one.ref
    # Behind the words stands where to look.
    words = one.words.rpartition("\n")[0]
    return words.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def open_alert_kinds(database: Database) -> frozenset[str]:
    """Kinds of alerts that are open."""
    return frozenset(row["kind"] for row in database.rows("select distinct kind from alerts where closed_at is null"))
