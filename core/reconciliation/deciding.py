"""What becomes of discrepancies between runs: explained, reclassified, corrected, held by a brake, resolved.

Nothing here asks a channel or sends it anything. To correct means no more than not to hold what is unexplained any
longer: the planner then takes it for an edit, as ever, and what differs is pushed by its rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch, fetch_one
from core.inventory.lane_work import UNSEEN_FOR
from core.messaging import notices
from core.messaging.notices import Notice
from core.reconciliation.queries import FACTS, cause_of, policy
from core.reconciliation.rules import Policy, decide, is_mass

BY = "follow-up"

EQUAL_WITHIN = timedelta(days=30)
"""For so long a correction counts towards the loop breaker."""


def lock(conn: Connection, shop_id: int, connection_id: int) -> None:
    """Be the only one who decides on discrepancies of a connection; before any row of them."""
    fetch(
        conn,
        "select pg_advisory_xact_lock(hashtextextended('reconciliation:' || %(shop)s || ':' || %(connection)s, 0))",
        shop=shop_id,
        connection=connection_id,
    )


def settle(conn: Connection, shop_id: int, connection_id: int, now: datetime) -> int:
    """Look again at every living discrepancy of stock, by what is known by now; returns how many were resolved.

    Orders read since may account for it, and so may a write that has landed; what neither does, once every order up to
    the reading is known, is reclassified. What was to be corrected is resolved when the channel shows what it should.
    """
    lock(conn, shop_id, connection_id)
    row = fetch_one(
        conn,
        f"{_LOOK} {_SETTLE}",
        shop=shop_id,
        connection=connection_id,
        now=now,
        by=BY,
        unseen_for=UNSEEN_FOR,
    )
    end_hold(conn, shop_id, connection_id)
    return 0 if row is None else int(row["resolved"])


def end_hold(conn: Connection, shop_id: int, connection_id: int) -> None:
    """Say of no comparison any more that a brake holds it, once nothing is held."""
    execute(
        conn,
        """
        update reconciliation_runs r set is_held = false
        where r.shop_id = %(shop)s and r.connection_id = %(connection)s and r.is_held and not exists (
            select from discrepancies d where d.shop_id = r.shop_id and d.connection_id = r.connection_id
                and d.state <> 'resolved' and d.asked_because = 'brake')
        """,
        shop=shop_id,
        connection=connection_id,
    )


# As in a run, but for what was believed since: what nothing explains of what is shown stands for what was read. Orders
# are known where the watermark has passed the reading; where it stands still, where two minutes and a complete poll
# explained nothing, as the planner itself judges (core.inventory.lane_work).
_LOOK = f"""
with c as materialized (
    select id, shop_id, reads_orders, watermark_at, clock_margin, orders_polled_at,
        coalesce((settings ->> 'clock_factor')::float8, 1) as factor,
        exists (select from inbox_messages m where m.shop_id = connections.shop_id
            and m.connection_id = connections.id and m.state = 'received') as has_unread
    from connections where shop_id = %(shop)s and id = %(connection)s
), living as materialized (
    select d.* from discrepancies d
    where d.shop_id = %(shop)s and d.connection_id = %(connection)s and d.kind = 'stock' and d.state <> 'resolved'
        and d.listing_id is not null
    order by d.id for update
), sight as (
    select d.id, d.cause as was_cause, d.action, d.ours, d.theirs, d.state, d.wanted as was_wanted,
        l.publishing, l.unseen_units, l.published_units, l.desired_units - l.short_units as wanted,
        w.id is not null as has_open,
        listing_differs(l.desired_units - l.short_units + l.unseen_units, l.published_units) as differs,
        d.cause <> 'mapping' as is_found, l.published_units as shown_units,
        l.published_units - l.unseen_units as accounted_units, false as is_older, false as points_elsewhere,
        w.id is not null as is_open, w.from_units as open_from, w.to_units as open_to,
        w.doubt is not null as is_doubted,
        late.units as landing_max, last.from_units as last_from, last.to_units as last_to,
        coalesce(back.units, 0) as restocked_units,
        not c.reads_orders or coalesce(c.watermark_at >= l.published_at + c.clock_margin, false)
            or (l.unseen_units <> 0 and c.orders_polled_at > l.unseen_since and not c.has_unread
                and l.unseen_since < %(now)s - %(unseen_for)s::interval / c.factor) as is_passed
    from living d join listings l on l.shop_id = d.shop_id and l.id = d.listing_id cross join c
    {FACTS}
), looked as materialized (
    select sight.*, {cause_of("sight")} as cause from sight
), ending as (
    select *, case
        when publishing = 'off' then 'its quantity is not written any more'
        when cause is not null then null
        when action = 'healed' then case when not differs and not has_open then 'corrected' end
        when action = 'waits' then case when was_cause = 'in_flight' then 'the write has landed' else
            'orders account for it' end
        when wanted is distinct from was_wanted then 'what it should show changed, and was written'
        else 'what it shows is accounted for' end as because
    from looked
)
"""

# Only what waited is classified anew: what a person is asked about was judged by the facts of its time, and writes and
# bookings since would make another cause of it. A correction goes on: the planner has taken it over.
_SETTLE = """
, closed as (
    update discrepancies d set state = 'resolved', resolved_at = %(now)s, resolved_by = %(by)s,
        resolved_because = e.because, asked_because = null,
        action = case d.action when 'asked' then 'waits' else d.action end
    from ending e where d.shop_id = %(shop)s and d.id = e.id and e.because is not null
    returning d.id, d.cause, d.ours, d.theirs, d.resolved_because
), moved as (
    update discrepancies d set ours = e.accounted_units, theirs = e.shown_units, cause = e.new_cause,
        last_seen_at = greatest(d.last_seen_at, %(now)s), state = 'open', reason = null,
        wanted = case when e.has_moved then e.wanted else d.wanted end,
        action = case when e.new_cause in ('in_flight', 'sale_unseen') then 'waits' else 'asked' end,
        asked_because = case when e.new_cause in ('in_flight', 'sale_unseen') then null
            when e.new_cause = 'lost_write' and e.is_doubted then 'by_hand'
            when e.has_moved or e.action = 'waits' then 'flagged' else d.asked_because end
    from (
        select n.*, n.unseen_units is distinct from n.theirs - n.ours as has_moved,
            case when n.action = 'waits' then n.cause else n.was_cause end as new_cause
        from ending n where n.because is null and n.cause is not null and n.cause <> 'mapping'
    ) e
    where d.shop_id = %(shop)s and d.id = e.id and d.action <> 'healed' and (e.new_cause <> d.cause or e.has_moved)
    returning d.id, d.cause, d.ours, d.theirs
), noted as (
    insert into discrepancy_events (shop_id, discrepancy_id, at, what, cause, ours, theirs, who, words)
    select %(shop)s, id, %(now)s, what, cause, ours, theirs, %(by)s, words from (
        select id, 'resolved' as what, cause, ours, theirs, resolved_because as words from closed
        union all
        select m.id, case when m.cause <> e.was_cause then 'reclassified' else 'changed' end, m.cause, m.ours, m.theirs,
            null from moved m join ending e on e.id = m.id
    ) said order by id
)
select count(*) as resolved from closed
"""


@dataclass(frozen=True, slots=True)
class Decided:
    """How many are being corrected from now on, how many a loop breaker or a brake keeps for a person."""

    healed: int = 0
    looped: int = 0
    held: int = 0


def decide_open(conn: Connection, shop_id: int, connection_id: int, now: datetime) -> Decided:
    """Correct what the connection's policy says of what was only flagged so far; stop at the breaker and the brake.

    A brake holds every correction of the connection that is not written yet, and asks a person, once.
    """
    lock(conn, shop_id, connection_id)
    rules = policy(conn, shop_id, connection_id)
    rows = _candidates(conn, shop_id, connection_id, now)
    verdicts = [(row, *decide(row["cause"], row["equal"], rules)) for row in rows]
    looped = [row for row, _, because in verdicts if because == "loop"]
    healed = [row for row, action, _ in verdicts if action == "healed"]
    _ask(conn, shop_id, looped, "loop", "corrected so often, and it came back", now)
    if not healed:
        return Decided(looped=len(looped))
    if _is_too_much(conn, shop_id, connection_id, rules, healed):
        held = _hold(conn, shop_id, connection_id, healed, now)
        return Decided(looped=len(looped), held=held)
    heal(conn, shop_id, [row["id"] for row in healed], BY, None, now)
    return Decided(healed=len(healed), looped=len(looped))


# How often the same was corrected before: the same number shown, or the same difference. Not the same cause: what
# somebody types over our number again and again looks, the second time, as if our write had been lost.
_EQUAL = """
    left join lateral (
        select p.corrections from discrepancies p
        where p.shop_id = d.shop_id and p.kind = d.kind and p.connection_id = d.connection_id
            and p.subject_key = d.subject_key and p.state = 'resolved' and p.resolved_because = 'corrected'
            and p.resolved_at > %(now)s - %(within)s::interval
            and (p.theirs = d.theirs or p.theirs - p.ours = d.theirs - d.ours)
        order by p.resolved_at desc, p.id desc limit 1
    ) before on true
"""


def _candidates(conn: Connection, shop_id: int, connection_id: int, now: datetime) -> Sequence[RowMapping]:
    return fetch(
        conn,
        f"""
        select d.id, d.cause, d.ours, d.theirs, greatest(d.corrections, coalesce(before.corrections, 0)) as equal,
            l.published_units > 0 and l.desired_units - l.short_units <= 0 as is_zeroed
        from discrepancies d join listings l on l.shop_id = d.shop_id and l.id = d.listing_id {_EQUAL}
        where d.shop_id = %(shop)s and d.connection_id = %(connection)s and d.kind = 'stock' and d.state = 'open'
            and d.action = 'asked' and d.asked_because = 'flagged'
        order by d.id for update of d
        """,
        shop=shop_id,
        connection=connection_id,
        now=now,
        within=EQUAL_WITHIN,
    )


def _is_too_much(
    conn: Connection, shop_id: int, connection_id: int, rules: Policy, healed: Sequence[RowMapping]
) -> bool:
    """Whether these corrections, with those under way or of the last day, take too many live listings to 0."""
    zeroed = sum(bool(row["is_zeroed"]) for row in healed)
    if not zeroed:
        return False
    row = fetch_one(
        conn,
        """
        select (
            select count(*) from discrepancies d where d.shop_id = %(shop)s and d.connection_id = %(connection)s
                and d.kind = 'stock' and d.action = 'healed' and d.theirs > 0 and d.wanted <= 0
                and (d.state = 'open' or d.resolved_at > now() - interval '1 day')
                -- What a person said yes to is no mistake.
                and not exists (select from discrepancy_events e where e.shop_id = d.shop_id
                    and e.discrepancy_id = d.id and e.what in ('released', 'corrected') and e.who <> %(by)s)
        ) as before, (
            select count(*) from listings l where l.shop_id = %(shop)s and l.connection_id = %(connection)s
                and l.publishing = 'on' and l.published_units > 0
        ) as live
        """,
        shop=shop_id,
        connection=connection_id,
        by=BY,
    )
    assert row is not None
    return is_mass(zeroed + row["before"], row["live"], rules)


def _hold(conn: Connection, shop_id: int, connection_id: int, healed: Sequence[RowMapping], now: datetime) -> int:
    under_way = fetch(
        conn,
        """
        select id, cause, ours, theirs from discrepancies
        where shop_id = %(shop)s and connection_id = %(connection)s and kind = 'stock' and state = 'open'
            and action = 'healed' order by id for update
        """,
        shop=shop_id,
        connection=connection_id,
    )
    rows = sorted([*healed, *under_way], key=lambda row: row["id"])
    _ask(conn, shop_id, rows, "brake", "too many live listings would be taken to 0", now, what="held")
    zeroed = sum(bool(row["is_zeroed"]) for row in healed)
    run = fetch_one(
        conn,
        """
        update reconciliation_runs r set is_held = true
        where r.shop_id = %(shop)s and r.id = (select max(id) from reconciliation_runs
            where shop_id = %(shop)s and connection_id = %(connection)s and kind = 'stock')
        returning r.id, (select name from connections where shop_id = %(shop)s and id = %(connection)s) as connection
        """,
        shop=shop_id,
        connection=connection_id,
    )
    if run is not None:
        text = (
            f"{run['connection']}: corrections would take {zeroed:,} live listings to 0, which is more than its policy "
            f"allows. Nothing of it is corrected until somebody says so: `switchyard reconcile correct --held`"
        )
        subject = f"{run['connection']}: {len(rows):,} corrections are held"
        notice = Notice(f"reconciliation:{run['id']}:held", "reconciliation_held", "danger", subject, text)
        notices.say(conn, shop_id, notice, now)
    return len(rows)


def _ask(
    conn: Connection,
    shop_id: int,
    rows: Sequence[RowMapping],
    because: str,
    words: str,
    now: datetime,
    what: str = "asked",
) -> None:
    if not rows:
        return
    ids = [row["id"] for row in rows]
    execute(
        conn,
        """
        update discrepancies set action = 'asked', asked_because = %(because)s
        where shop_id = %(shop)s and id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        ids=ids,
        because=because,
    )
    note(conn, shop_id, ids, what, BY, words, now)


def heal(
    conn: Connection,
    shop_id: int,
    ids: Sequence[int],
    who: str,
    reason: str | None,
    now: datetime,
    what: str = "corrected",
) -> None:
    """Let some (locked) discrepancies be corrected: nothing holds any longer what nothing explains."""
    execute(
        conn,
        f"""
        update discrepancies u set action = 'healed', asked_because = null, state = 'open',
            reason = coalesce(%(reason)s, u.reason), corrections = n.equal + 1, wanted = n.wanted
        from (
            select d.id, greatest(d.corrections, coalesce(before.corrections, 0)) as equal,
                l.desired_units - l.short_units as wanted
            from discrepancies d join listings l on l.shop_id = d.shop_id and l.id = d.listing_id {_EQUAL}
            where d.shop_id = %(shop)s and d.id = any(%(ids)b::int8[])
        ) n
        where u.shop_id = %(shop)s and u.id = n.id
        """,
        shop=shop_id,
        ids=list(ids),
        reason=reason,
        now=now,
        within=EQUAL_WITHIN,
    )
    note(conn, shop_id, ids, what, who, reason, now)


def note(
    conn: Connection, shop_id: int, ids: Sequence[int], what: str, who: str, words: str | None, now: datetime
) -> None:
    """Add what became of some discrepancies to their history, as they are now."""
    execute(
        conn,
        """
        insert into discrepancy_events (shop_id, discrepancy_id, at, what, cause, ours, theirs, who, words)
        select shop_id, id, %(now)s, %(what)s, cause, ours, theirs, %(who)s, %(words)s from discrepancies
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) order by id
        """,
        shop=shop_id,
        ids=sorted(ids),
        what=what,
        who=who,
        words=words,
        now=now,
    )
