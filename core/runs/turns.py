"""Turns of syncs: each run of a job for one connection is counted, and kept as a sync run where it is worth a look.

A poll that finds nothing runs thousands of times a day. It adds to two rows (`sync_health`, `sync_tallies`) and leaves
none in `sync_runs`; one that found something, failed or was refused is kept there. The number of the run is drawn
before it begins, so that its job, its calls and its log lines carry it whatever comes of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch_one, scalar
from core.runs import kinds, operations
from core.runs.kinds import Business, Kind


def begin(conn: Connection, kind: Kind, shop_id: int, run_id: int | None, now: datetime) -> int:
    """The number of the sync run that a job is about to do: the one it was queued for, else a new one.

    A run that was asked for is begun here, unless its job does so itself to tell of progress.
    """
    if run_id is not None and (kind.tells_itself or operations.start_sync(conn, shop_id, run_id, now)):
        return run_id
    return int(scalar(conn, "select nextval(pg_get_serial_sequence('sync_runs', 'id'))"))


def end(conn: Connection, job_run_id: int) -> None:
    """Count the turn of a job run that has just been closed, and keep it as a sync run where it is worth that."""
    run = _ended(conn, job_run_id)
    if run is None or run["kind"] is None:
        return
    kind, verdict = kinds.BY_NAME[run["kind"]], run["verdict"]
    if not kind.tells_itself:
        if run["is_asked_for"]:
            _close_asked_for(conn, run)
        elif verdict in ("failed", "refused") or (verdict == "worked" and kind.has_rows):
            _keep(conn, kind, run)
    _count(conn, kind, run)


def _ended(conn: Connection, job_run_id: int) -> dict[str, Any] | None:
    row = fetch_one(
        conn,
        """
        select r.function, r.sync_run_id, r.attempt, r.started_at, r.ended_at, r.outcome, r.result, r.error,
            c.shop_id, c.id as connection_id,
            case when r.outcome = 'finished' then coalesce(r.business, 'nothing') else 'failed' end as verdict,
            extract(epoch from r.ended_at - r.started_at)::float8 as seconds,
            exists (
                select from sync_runs s
                where s.shop_id = c.shop_id and s.id = r.sync_run_id and s.state = 'running'
            ) as is_asked_for
        from job_runs r
        join connections c
            on c.shop_id::text = r.arguments ->> 'shop_id' and c.id::text = r.arguments ->> 'connection_id'
        where r.id = %(id)s and r.sync_run_id is not null and r.ended_at is not null
        """,
        id=job_run_id,
    )
    if row is None:
        return None
    kind = kinds.BY_JOB.get(row["function"])
    return {**row, "kind": kind and kind.name, "said": _said(row)}


def _said(row: RowMapping) -> str | None:
    """What stands with a run that did not go well: the error, or the other side's words."""
    if row["error"] is not None:
        return str(row["error"])
    result = row["result"] if isinstance(row["result"], dict) else {}
    words = result.get("failed") or result.get("given_up")
    if isinstance(words, str):
        return words
    return "the other side refused some of it" if row["verdict"] == "refused" else None


def _counts(run: dict[str, Any]) -> dict[str, object]:
    result = run["result"] if isinstance(run["result"], dict) else {}
    return {name: value for name, value in result.items() if isinstance(value, int) and not isinstance(value, bool)}


def _close_asked_for(conn: Connection, run: dict[str, Any]) -> None:
    execute(
        conn,
        """
        update sync_runs set state = %(state)s, ended_at = %(ended)s, heartbeat_at = %(ended)s, step = null,
            counts = %(counts)s, error = %(error)s
        where shop_id = %(shop)s and id = %(id)s and state = 'running'
        """,
        shop=run["shop_id"],
        id=run["sync_run_id"],
        state=_state(run["verdict"]),
        ended=run["ended_at"],
        counts=operations.as_json(_counts(run)),
        error=run["said"],
    )


def _state(verdict: Business | str) -> str:
    return "failed" if verdict in ("failed", "refused") else "done"


def _keep(conn: Connection, kind: Kind, run: dict[str, Any]) -> None:
    execute(
        conn,
        """
        insert into sync_runs (shop_id, id, connection_id, kind, trigger, requested_by, reason, state, counts, attempts,
            requested_at, started_at, heartbeat_at, ended_at, error)
        overriding system value
        values (%(shop)s, %(id)s, %(connection)s, %(kind)s, %(trigger)s, 'switchyard', %(reason)s, %(state)s,
            %(counts)s, %(attempts)s, %(started)s, %(started)s, %(ended)s, %(ended)s, %(error)s)
        on conflict (shop_id, id) do nothing
        """,
        shop=run["shop_id"],
        id=run["sync_run_id"],
        connection=run["connection_id"],
        kind=kind.name,
        trigger=kind.trigger,
        reason=f"the schedule {kind.schedule}" if kind.schedule else "something was to be done",
        state=_state(run["verdict"]),
        counts=operations.as_json(_counts(run)),
        attempts=run["attempt"],
        started=run["started_at"],
        ended=run["ended_at"],
        error=run["said"],
    )


def _count(conn: Connection, kind: Kind, run: dict[str, Any]) -> None:
    execute(
        conn,
        """
        with tallied as (
            insert into sync_tallies as t (shop_id, connection_id, kind, hour_at, outcome, slot, turns, seconds)
            values (%(shop)s, %(connection)s, %(kind)s, date_trunc('hour', %(ended)s::timestamptz, 'UTC'), %(verdict)s,
                %(slot)s, 1, %(seconds)s)
            on conflict (shop_id, connection_id, kind, hour_at, outcome, slot) do update
                set turns = t.turns + 1, seconds = t.seconds + excluded.seconds
        )
        insert into sync_health as h (shop_id, connection_id, kind, last_turn_at, last_success_at, last_work_at,
            last_failure_at, last_failure, last_run_id, last_seconds, empty_turns, failed_turns)
        select %(shop)s, %(connection)s, %(kind)s, %(ended)s,
            case when not v.is_bad and v.is_heard then %(ended)s::timestamptz end,
            case when %(verdict)s = 'worked' then %(ended)s::timestamptz end,
            case when v.is_bad then %(ended)s::timestamptz end, case when v.is_bad then %(said)s end,
            (select id from sync_runs where shop_id = %(shop)s and id = %(run)s), %(seconds)s,
            (%(verdict)s = 'nothing')::int, v.is_bad::int
        from (select %(verdict)s in ('failed', 'refused') as is_bad, %(verdict)s in ('worked', 'nothing') as is_heard) v
        on conflict (shop_id, connection_id, kind) do update set
            last_turn_at = greatest(h.last_turn_at, excluded.last_turn_at),
            last_success_at = coalesce(excluded.last_success_at, h.last_success_at),
            last_work_at = coalesce(excluded.last_work_at, h.last_work_at),
            last_failure_at = coalesce(excluded.last_failure_at, h.last_failure_at),
            last_failure = coalesce(excluded.last_failure, h.last_failure),
            last_run_id = coalesce(excluded.last_run_id, h.last_run_id),
            last_seconds = excluded.last_seconds,
            empty_turns = case
                when excluded.empty_turns > 0 then h.empty_turns + 1
                when excluded.last_work_at is not null then 0 else h.empty_turns end,
            failed_turns = case
                when excluded.failed_turns > 0 then h.failed_turns + 1
                when excluded.last_success_at is not null then 0 else h.failed_turns end
        """,
        shop=run["shop_id"],
        connection=run["connection_id"],
        kind=kind.name,
        verdict=run["verdict"],
        ended=run["ended_at"],
        seconds=run["seconds"],
        slot=kinds.slot(run["seconds"]),
        said=run["said"],
        run=run["sync_run_id"],
    )
