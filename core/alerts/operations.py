"""Writes: rules that a person changes, and alerts that a person takes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core import audit
from core.alerts.queries import exposure_limit, rule
from core.alerts.rules import LIMIT_MAX, BadLimit
from core.alerts.terms import EXPOSURE, Policy, checked
from core.audit import Actor
from core.db import execute, fetch_one
from core.errors import Anticipated, BadInput


class NoAlert(BadInput):
    """There is no such alert in the shop."""

    def __init__(self, alert_id: int) -> None:
        super().__init__(f"there is no alert {alert_id}: `switchyard alerts` lists them")


class AlertClosed(Anticipated):
    """It is over: there is nothing to take any more."""

    def __init__(self, alert_id: int, closed_at: datetime) -> None:
        super().__init__(
            f"alert {alert_id} closed at {closed_at:%Y-%m-%d %H:%M} UTC: there is nothing to take any more"
        )


class AlreadyTaken(Anticipated):
    """Somebody has it."""

    def __init__(self, alert_id: int, by: str, at: datetime) -> None:
        super().__init__(f"alert {alert_id} was taken by {by} at {at:%Y-%m-%d %H:%M} UTC")


class NeedsALimit(BadInput):
    """Exposure is told of above a limit: there is none without a number."""

    def __init__(self) -> None:
        super().__init__(
            "exposure is switched on by its limit: `switchyard alert-limit UNITS --reason TEXT`, and off by --off"
        )


def acknowledge(conn: Connection, shop_id: int, alert_id: int, actor: Actor, now: datetime) -> None:
    """Take an alert: it is quiet from then on unless it gets much worse.

    Raises NoAlert, AlertClosed or AlreadyTaken, and changes nothing then.
    """
    row = fetch_one(
        conn,
        """
        select fingerprint, closed_at, acknowledged_by, acknowledged_at from alerts
        where shop_id = %(shop)s and id = %(id)s for update
        """,
        shop=shop_id,
        id=alert_id,
    )
    if row is None:
        raise NoAlert(alert_id)
    if row["closed_at"] is not None:
        raise AlertClosed(alert_id, row["closed_at"])
    if row["acknowledged_at"] is not None:
        raise AlreadyTaken(alert_id, row["acknowledged_by"], row["acknowledged_at"])
    execute(
        conn,
        """
        update alerts set acknowledged_at = %(now)s, acknowledged_by = %(by)s, acknowledged_reason = %(reason)s
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=alert_id,
        now=now,
        by=actor.name,
        reason=actor.reason,
    )
    execute(
        conn,
        """
        insert into alert_events (shop_id, alert_id, at, what, who, words)
        values (%(shop)s, %(id)s, %(now)s, 'acknowledged', %(by)s, %(reason)s)
        """,
        shop=shop_id,
        id=alert_id,
        now=now,
        by=actor.name,
        reason=actor.reason,
    )
    audit.record(conn, shop_id, actor, "acknowledge_alert", f"alert:{alert_id}", now, fingerprint=row["fingerprint"])


def set_rule(
    conn: Connection,
    shop_id: int,
    kind: str,
    actor: Actor,
    now: datetime,
    *,
    numbers: Mapping[str, int] | None = None,
    is_on: bool | None = None,
) -> Policy:
    """Change numbers of a kind's rule, or switch it on or off; returns the rule of before.

    Numbers that are not named stay. What is switched off is closed by the next sweep. Raises UnknownKind, BadTerm,
    NeedsALimit, and BadInput when nothing is to be changed.
    """
    changes = checked(kind, numbers or {})
    before, row = rule(conn, shop_id, kind)
    if not changes and is_on is None:
        raise BadInput(f"say what to change of the rule for {kind}: a number, or whether it is on")
    if kind == EXPOSURE and is_on is True and before.limit_units is None:
        raise NeedsALimit
    on = before.is_on if is_on is None else is_on
    limit = before.limit_units if on else None
    terms = {**(row["terms"] if row else {}), **changes}
    _write(conn, shop_id, kind, on, limit, terms, actor, now)
    audit.record(
        conn,
        shop_id,
        actor,
        "set_alert_rule",
        f"alert_rule:{kind}",
        now,
        is_on=on,
        numbers=changes,
        before_is_on=before.is_on,
        before_numbers={name: before[name] for name in changes},
    )
    return before


def set_exposure_limit(conn: Connection, shop_id: int, limit: int | None, actor: Actor, now: datetime) -> int | None:
    """Tell somebody when more units than `limit` are at risk; None switches it off. Returns the limit of before.

    Raises BadLimit.
    """
    if limit is not None and not 0 <= limit <= LIMIT_MAX:
        raise BadLimit(limit)
    before = exposure_limit(conn, shop_id)
    _, row = rule(conn, shop_id, EXPOSURE)
    _write(conn, shop_id, EXPOSURE, limit is not None, limit, dict(row["terms"]) if row else {}, actor, now)
    audit.record(
        conn, shop_id, actor, "set_alert_limit", f"alert_rule:{EXPOSURE}", now, limit_units=limit, before_units=before
    )
    return before


def _write(
    conn: Connection,
    shop_id: int,
    kind: str,
    is_on: bool,
    limit: int | None,
    terms: Mapping[str, int],
    actor: Actor,
    now: datetime,
) -> None:
    execute(
        conn,
        """
        insert into alert_rules (shop_id, kind, is_on, limit_units, terms, set_by, reason, set_at)
        values (%(shop)s, %(kind)s, %(on)s, %(limit)s, %(terms)s, %(by)s, %(reason)s, %(now)s)
        on conflict (shop_id, kind) do update set is_on = excluded.is_on, limit_units = excluded.limit_units,
            terms = excluded.terms, set_by = excluded.set_by, reason = excluded.reason, set_at = excluded.set_at
        """,
        shop=shop_id,
        kind=kind,
        on=is_on,
        limit=limit,
        terms=Jsonb(dict(terms)),
        by=actor.name,
        reason=actor.reason,
        now=now,
    )
