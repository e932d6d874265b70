"""Acts of a person and of the clock: ask for a comparison, correct, accept, reclassify, say what corrects itself.

What touches many is looked at first: `preview` gives a token, and only exactly what was looked at is acted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.connections import queries as connections
from core.db import execute, fetch, fetch_one, scalar
from core.errors import Anticipated, BadInput
from core.reconciliation import deciding
from core.reconciliation import runs as reconciliation_runs
from core.reconciliation.deciding import Decided
from core.reconciliation.queries import UnknownSku, policy
from core.reconciliation.rules import CAUSES, CORRECTABLE, AskedBecause, Cause, Changed, NotCorrectable, Policy
from core.runs import operations as runs

What = Literal["stock", "orders"]
SYNC_KINDS: dict[What, str] = {"stock": "reconcile_stock", "orders": "reconcile_orders"}
"""By what is compared: the kind of sync run that people see."""


class UnderWay(Anticipated):
    """A comparison of the connection is under way already."""

    def __init__(self, connection: str) -> None:
        super().__init__(f"{connection} is being compared already: wait for that to end, it reads this as well")


@dataclass(frozen=True, slots=True)
class Requested:
    """A run that was asked for, or the one that was open: ring `reconcile.stock` or `reconcile.orders` for it."""

    run_id: int
    sync_run_id: int
    is_new: bool


def request(
    conn: Connection,
    shop_id: int,
    connection_id: int,
    what: What,
    actor: Actor,
    now: datetime,
    sku: str | None = None,
    trigger: Literal["schedule", "click", "event"] = "click",
) -> Requested:
    """Ask for a comparison of a connection, or of one SKU (its code) there.

    A second one of all of it is the first; raises UnderWay where one of something else is open, UnknownSku,
    UnknownConnection.
    """
    deciding.lock(conn, shop_id, connection_id)
    row = connections.connection(conn, shop_id, connection_id)
    # One whose run was stopped a moment ago is not gone on with by anybody.
    reconciliation_runs.close_orphans(conn, now)
    sku_id = None if sku is None else _listed_sku(conn, row.shop_id, connection_id, sku, row.name)
    open_run = fetch_one(
        conn,
        """
        select id, sync_run_id, sku_id from reconciliation_runs
        where shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s and ended_at is null
        """,
        shop=shop_id,
        connection=connection_id,
        kind=what,
    )
    if open_run is not None:
        if open_run["sku_id"] != sku_id:
            raise UnderWay(row.name)
        return Requested(open_run["id"], open_run["sync_run_id"], is_new=False)
    sync_run_id = runs.request_sync(conn, shop_id, connection_id, SYNC_KINDS[what], trigger, actor, now)
    run_id = scalar(
        conn,
        """
        insert into reconciliation_runs (shop_id, connection_id, kind, sku_id, sync_run_id, requested_by, reason,
            requested_at)
        values (%(shop)s, %(connection)s, %(kind)s, %(sku)s, %(run)s, %(by)s, %(reason)s, %(now)s)
        on conflict (shop_id, sync_run_id) do nothing returning id
        """,
        shop=shop_id,
        connection=connection_id,
        kind=what,
        sku=sku_id,
        run=sync_run_id,
        by=actor.name,
        reason=actor.reason,
        now=now,
    )
    if run_id is None:
        # Its comparison has ended, and the run that people see is about to.
        raise UnderWay(row.name)
    if trigger == "click":
        audit.record(conn, shop_id, actor, "reconcile", f"connection:{connection_id}", now, what=what, sku=sku)
    return Requested(run_id, sync_run_id, is_new=True)


def _listed_sku(conn: Connection, shop_id: int, connection_id: int, code: str, connection: str) -> int:
    found = scalar(
        conn,
        """
        select s.id from skus s where s.shop_id = %(shop)s and s.code = %(code)s and exists (
            select from listings l where l.shop_id = s.shop_id and l.sku_id = s.id and l.connection_id = %(connection)s)
        """,
        shop=shop_id,
        code=code,
        connection=connection_id,
    )
    if found is None:
        raise UnknownSku(code, connection)
    return int(found)


# --- what a person decides on -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chosen:
    """Open or accepted discrepancies of a connection: one, or all of a cause, or all asked about for one reason."""

    connection_id: int
    discrepancy_id: int | None = None
    cause: str | None = None
    asked_because: AskedBecause | None = None

    def __post_init__(self) -> None:
        if self.discrepancy_id is None and self.cause is None and self.asked_because is None:
            raise BadInput("discrepancies are chosen by one id, by their cause, or by why a person is asked")

    @property
    def subject(self) -> str:
        """How the audit log names them."""
        if self.discrepancy_id is not None:
            return f"discrepancy:{self.discrepancy_id}"
        return f"connection:{self.connection_id}"


@dataclass(frozen=True, slots=True)
class Preview:
    """What is meant now; hand `token` back to act on exactly this.

    Of what can be corrected by writing what we want: how many listings would be raised, lowered, and taken to 0 from
    more, and by how many units in all. `by_hand`: how many cannot be corrected so.
    """

    discrepancies: int
    raised: int
    lowered: int
    zeroed: int
    units: int
    by_hand: int
    token: str

    def sentence(self) -> str:
        """What correcting would do, as one says it before one does it."""
        parts = [f"{self.zeroed:,} live listings go to 0"] if self.zeroed else []
        parts += [f"{self.lowered:,} are lowered"] if self.lowered else []
        parts += [f"{self.raised:,} are raised"] if self.raised else []
        done = ", ".join(parts) or "no number changes"
        rest = f"; {self.by_hand:,} only a person can put right" if self.by_hand else ""
        return f"{self.discrepancies:,} discrepancies: {done} ({self.units:,} units in all){rest}."


_MEANT = """
    d.shop_id = %(shop)s and d.connection_id = %(connection)s and d.state <> 'resolved'
    and (%(id)s::int8 is null or d.id = %(id)s) and (%(cause)s::text is null or d.cause = %(cause)s)
    and (%(because)s::text is null or d.asked_because = %(because)s)
"""
_TOKEN = """
    count(*) || '-' || coalesce(left(md5(string_agg(d.id || ':' || coalesce(d.ours::text, '') || ':'
        || coalesce(d.theirs::text, '') || ':' || d.cause || ':' || d.action || ':' || coalesce(d.aim::text, ''), ','
        order by d.id)), 16), '')
"""
# `aim`: what the listing would be written to show.
_WITH_AIMS = f"""
    select d.*, l.published_units, greatest(0, l.desired_units - l.short_units) as aim,
        d.kind = 'stock' and d.cause in ({", ".join(f"'{cause}'" for cause in CORRECTABLE)})
            and d.asked_because is distinct from 'by_hand' as is_correctable
    from discrepancies d left join listings l on l.shop_id = d.shop_id and l.id = d.listing_id where {_MEANT}
"""


def preview(conn: Connection, shop_id: int, chosen: Chosen) -> Preview:
    """Count what an act on the chosen ones would touch; changes nothing."""
    row = fetch_one(
        conn,
        f"""
        select count(*) as discrepancies,
            count(*) filter (where d.is_correctable and d.aim > d.published_units) as raised,
            count(*) filter (where d.is_correctable and d.aim < d.published_units and d.aim > 0) as lowered,
            count(*) filter (where d.is_correctable and d.published_units > 0 and d.aim = 0) as zeroed,
            coalesce(sum(abs(d.aim - greatest(0, d.published_units))) filter (where d.is_correctable), 0)::int8
                as units,
            count(*) filter (where not d.is_correctable) as by_hand, {_TOKEN} as token
        from ({_WITH_AIMS}) d
        """,
        **_values(shop_id, chosen),
    )
    assert row is not None
    return Preview(**row)


def correct(conn: Connection, shop_id: int, chosen: Chosen, token: str, actor: Actor, now: datetime) -> int:
    """Have what we want written where the chosen ones are, by the planner and its rules; returns how many.

    A person's word goes before the policy, the loop breaker and the brake: the preview said what it comes to. Ring the
    stock lane after the commit. Raises Changed when they are not those of the preview, NotCorrectable when none of them
    can be corrected by writing.
    """
    rows = _locked(conn, shop_id, chosen, token)
    ids = [row["id"] for row in rows if row["is_correctable"]]
    if not ids:
        raise NotCorrectable(
            "None of these can be put right by writing a number: map the listing, or settle its write."
        )
    what = "released" if chosen.asked_because == "brake" else "corrected"
    deciding.heal(conn, shop_id, ids, actor.name, actor.reason, now, what)
    deciding.end_hold(conn, shop_id, chosen.connection_id)
    audit.record(conn, shop_id, actor, "correct_discrepancies", chosen.subject, now, discrepancies=len(ids),
                 cause=chosen.cause, asked_because=chosen.asked_because)  # fmt: skip
    return len(ids)


def accept(conn: Connection, shop_id: int, chosen: Chosen, token: str, actor: Actor, now: datetime) -> int:
    """Leave the chosen ones as they are, for the actor's reason, until they change; returns how many.

    Raises Changed when they are not those of the preview.
    """
    ids = [row["id"] for row in _locked(conn, shop_id, chosen, token)]
    execute(
        conn,
        """
        update discrepancies set state = 'accepted', action = 'ignored', asked_because = null, reason = %(reason)s
        where shop_id = %(shop)s and id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        ids=ids,
        reason=actor.reason,
    )
    deciding.note(conn, shop_id, ids, "accepted", actor.name, actor.reason, now)
    deciding.end_hold(conn, shop_id, chosen.connection_id)
    audit.record(conn, shop_id, actor, "accept_discrepancies", chosen.subject, now, discrepancies=len(ids),
                 cause=chosen.cause, asked_because=chosen.asked_because)  # fmt: skip
    return len(ids)


def reclassify(
    conn: Connection, shop_id: int, discrepancy_id: int, cause: Cause, actor: Actor, now: datetime
) -> Decided:
    """Say what really caused an open discrepancy of stock; the policy then decides anew.

    Raises BadInput for an unknown cause, Changed when it is not open any more.
    """
    if cause not in CAUSES:
        raise BadInput(f"there is no cause {cause!r}: there are {', '.join(CAUSES)}")
    connection_id = scalar(
        conn,
        "select connection_id from discrepancies where shop_id = %(shop)s and id = %(id)s and kind = 'stock'",
        shop=shop_id,
        id=discrepancy_id,
    )
    if connection_id is None:
        raise Changed
    deciding.lock(conn, shop_id, connection_id)
    asked = "by_hand" if cause == "mapping" else None if cause not in CORRECTABLE else "flagged"
    touched = execute(
        conn,
        """
        update discrepancies set cause = %(cause)s, action = case when %(asked)s::text is null then 'waits' else 'asked'
            end, asked_because = %(asked)s, state = 'open', reason = %(reason)s
        where shop_id = %(shop)s and id = %(id)s and state <> 'resolved'
        """,
        shop=shop_id,
        id=discrepancy_id,
        cause=cause,
        asked=asked,
        reason=actor.reason,
    )
    if not touched:
        raise Changed
    deciding.note(conn, shop_id, [discrepancy_id], "reclassified", actor.name, actor.reason, now)
    audit.record(conn, shop_id, actor, "reclassify_discrepancy", f"discrepancy:{discrepancy_id}", now, cause=cause)
    return deciding.decide_open(conn, shop_id, connection_id, now)


def set_policy(
    conn: Connection, shop_id: int, connection_id: int, new: Policy, actor: Actor, now: datetime
) -> tuple[Policy, Decided]:
    """Say what is corrected by itself at a connection, and where a person is asked; returns what was said before.

    It is for what is open too: what was only flagged is corrected now, unless a brake holds it. Raises
    UnknownConnection.
    """
    deciding.lock(conn, shop_id, connection_id)
    connections.connection(conn, shop_id, connection_id)
    before = policy(conn, shop_id, connection_id)
    execute(
        conn,
        """
        insert into reconciliation_policies (shop_id, connection_id, corrects, corrections_max, zeroed_max,
            zeroed_percent, every_hours, set_by, reason, set_at)
        values (%(shop)s, %(id)s, %(corrects)s, %(corrections)s, %(zeroed)s, %(percent)s, %(every)s, %(by)s, %(reason)s,
            %(now)s)
        on conflict (shop_id, connection_id) do update set corrects = excluded.corrects,
            corrections_max = excluded.corrections_max, zeroed_max = excluded.zeroed_max,
            zeroed_percent = excluded.zeroed_percent, every_hours = excluded.every_hours, set_by = excluded.set_by,
            reason = excluded.reason, set_at = excluded.set_at
        """,
        shop=shop_id,
        id=connection_id,
        corrects=sorted(new.corrects),
        corrections=new.corrections_max,
        zeroed=new.zeroed_max,
        percent=new.zeroed_percent,
        every=new.every_hours,
        by=actor.name,
        reason=actor.reason,
        now=now,
    )
    audit.record(conn, shop_id, actor, "set_reconciliation_policy", f"connection:{connection_id}", now,
                 corrects=sorted(new.corrects), corrections_max=new.corrections_max, zeroed_max=new.zeroed_max,
                 zeroed_percent=new.zeroed_percent, every_hours=new.every_hours)  # fmt: skip
    return before, deciding.decide_open(conn, shop_id, connection_id, now)


def _locked(conn: Connection, shop_id: int, chosen: Chosen, token: str) -> Sequence[RowMapping]:
    """The chosen ones, locked in order of id, where they are those of the token. Raises Changed."""
    deciding.lock(conn, shop_id, chosen.connection_id)
    rows = fetch(conn, f"{_WITH_AIMS} order by d.id for update of d", **_values(shop_id, chosen))
    if not rows or preview(conn, shop_id, chosen).token != token:
        raise Changed
    return rows


def _values(shop_id: int, chosen: Chosen) -> dict[str, object]:
    return {
        "shop": shop_id,
        "connection": chosen.connection_id,
        "id": chosen.discrepancy_id,
        "cause": chosen.cause,
        "because": chosen.asked_because,
    }
