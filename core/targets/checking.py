"""Reading back what a target holds: of ids in doubt, and of everything page by page.

What is read is believed only of entries that are in no job, and that were not confirmed since it was asked for. Of what
others wrote only what is ours is touched: it is told again. Ids that are none of ours are left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection

from core.catalogue_target import KINDS, Kind, TargetRecord
from core.db import execute, fetch
from core.targets import contents, rules
from core.targets.contents import Made, Target
from core.targets.settling import LEASE, let_wait

Verdict = Literal["in_step", "differs", "adopted", "stale", "gone", "there", "taken", "unproven"]
"""As it should be; otherwise than it should be; there though we did not know; there and should not be; not there;
there, and what it should show cannot be told now, or is about to be told; there under an id of ours, and not told by
us; there though we did not know, and whose variant it is was not said."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What an entry is from now on."""

    id: int
    verdict: Verdict
    is_known: bool
    confirmed_hash: str | None
    linked: tuple[int, ...]
    problem: str | None = None


def take_to_check(conn: Connection, target: Target, limit: int, now: datetime) -> tuple[Kind, list[str]] | None:
    """Some ids of one kind that are to be read back, taken from the others for a while: what hangs on others last."""
    for kind in KINDS:
        rows = fetch(
            conn,
            """
            with due as materialized (
                select id from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
                    and work = 'check' and kind = %(kind)s and next_at <= %(now)s
                order by next_at, id limit %(limit)s for no key update skip locked
            )
            update target_entries e set next_at = %(until)s from due
            where e.shop_id = %(shop)s and e.id = due.id returning e.external_id
            """,
            **_of(target),
            kind=kind,
            now=now,
            until=now + LEASE / target.factor,
            limit=limit,
        )
        if rows:
            return kind, sorted(row["external_id"] for row in rows)
    return None


def note_read(
    conn: Connection,
    target: Target,
    kind: Kind,
    asked: Sequence[str],
    records: Iterable[TargetRecord],
    asked_at: datetime,
    now: datetime,
) -> Counter[str]:
    """What was read of some ids, absence among it; returns verdicts counted."""
    return _note(conn, target, kind, asked, {one.external_id: one for one in records}, asked_at, now, is_whole=True)


def possible_items(conn: Connection, target: Target, records: Sequence[TargetRecord]) -> dict[str, list[str]]:
    """By variant that we did not know to be there, and of which an answer did not say whose it is: the external ids of
    the items that it might be of."""
    rows = fetch(
        conn,
        """
        select external_id, array[parent_id] || linked_ids as items from target_entries
        where shop_id = %(shop)s and connection_id = %(connection)s and kind = 'variant' and not is_known
            and external_id = any(%(ids)b::text[])
        """,
        **_of(target),
        ids=[one.external_id for one in records if one.item is None],
    )
    mark = target.settings.mark
    return {row["external_id"]: [rules.external_id(mark, "item", one) for one in row["items"]] for row in rows}


def note_page(
    conn: Connection,
    target: Target,
    kind: Kind,
    records: Sequence[TargetRecord],
    asked_at: datetime,
    now: datetime,
) -> Counter[str]:
    """What a page of everything shows; `foreign` counts what is none of ours."""
    held = {one.external_id: one for one in records}
    counts = _note(conn, target, kind, sorted(held), held, asked_at, now, is_whole=False)
    counts["foreign"] += len(foreign(conn, target, kind, records))
    return counts


def foreign(conn: Connection, target: Target, kind: Kind, records: Sequence[TargetRecord]) -> list[TargetRecord]:
    """Those that are none of ours, each once."""
    held = {one.external_id: one for one in records}
    rows = fetch(
        conn,
        """
        select external_id from target_entries
        where shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s
            and external_id = any(%(ids)b::text[])
        """,
        **_of(target),
        kind=kind,
        ids=sorted(held),
    )
    ours = {row["external_id"] for row in rows}
    return [one for name, one in held.items() if name not in ours]


def doubt_unread(conn: Connection, target: Target, kind: Kind, began_at: datetime, now: datetime) -> int:
    """What should be there and was on no page since then, and ids that others had: read back, since only that proves
    it. Returns how many."""
    return execute(
        conn,
        """
        with missing as materialized (
            select id from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
                and kind = %(kind)s and (is_known or problem_code = %(taken)s) and open_job_id is null and not to_check
                and coalesce(read_at, '-infinity') < %(began)s and coalesce(confirmed_at, '-infinity') < %(began)s
            order by id for no key update
        )
        update target_entries e set to_check = true, next_at = %(now)s from missing
        where e.shop_id = %(shop)s and e.id = missing.id
        """,
        **_of(target),
        kind=kind,
        taken=rules.TAKEN,
        began=began_at,
        now=now,
    )


def _note(
    conn: Connection,
    target: Target,
    kind: Kind,
    asked: Sequence[str],
    held: dict[str, TargetRecord],
    asked_at: datetime,
    now: datetime,
    *,
    is_whole: bool,
) -> Counter[str]:
    rows = fetch(
        conn,
        """
        select id, entity_id, external_id, parent_id, desired_hash, confirmed_hash, is_known, linked_ids, to_check,
            problem_kind
        from target_entries
        where shop_id = %(shop)s and connection_id = %(connection)s and kind = %(kind)s
            and external_id = any(%(ids)b::text[]) and open_job_id is null
            and coalesce(confirmed_at, '-infinity') < %(asked)s
        order by id for no key update
        """,
        **_of(target),
        kind=kind,
        ids=list(asked),
        asked=asked_at,
    )
    wanted = [row["entity_id"] for row in rows if row["desired_hash"] is not None and row["external_id"] in held]
    made = contents.of_entities(conn, target, kind, wanted)
    told = [
        _judged(row, held.get(row["external_id"]), made.get(row["entity_id"]), target.settings.mark, is_whole=is_whole)
        for row in rows
        if is_whole or row["external_id"] in held
    ]
    counts = Counter[str](one.verdict for one in told)
    if not is_whole:
        known = {row["id"] for row in rows if row["is_known"]}
        aside = [one for one in told if one.verdict == "unproven" or (one.verdict == "taken" and one.id not in known)]
        _put_aside(conn, target, aside, now)
        told = [one for one in told if one not in aside]
    _tell(conn, target, told, now)
    if kind == "category":
        _forget_links(conn, target, [row["entity_id"] for row in rows if row["id"] in _gone(told)], now)
    elif kind == "item":
        _tell_variants(conn, target, told, {row["id"]: row["entity_id"] for row in rows}, now)
    return counts


def _judged(row: Any, record: TargetRecord | None, made: Made | None, mark: str, *, is_whole: bool) -> _Told:
    if record is None:
        return _Told(row["id"], "gone", False, None, ())
    if record.item is None and row["parent_id"] is not None and not row["is_known"] and not is_whole:
        return _Told(row["id"], "unproven", False, None, ())
    problem = _not_ours(row, record, mark)
    if problem is not None:
        is_wanted = row["desired_hash"] is not None and row["problem_kind"] != "content"
        return _Told(row["id"], "taken", False, None, (), problem if is_wanted else None)
    item = None if record.item is None else rules.entity_of(mark, "item", record.item)
    linked = tuple(row["linked_ids"]) if item is None else (item,)
    if row["desired_hash"] is None:
        return _Told(row["id"], "stale", True, None, linked)
    if made is None or made.content is None:
        return _Told(row["id"], "there", True, row["confirmed_hash"], linked)
    shows = rules.shows(made.content, record.content)
    # An item's categories cannot be read: only having been told them proves them.
    if shows and (made.kind != "item" or row["confirmed_hash"] == made.hash):
        return _Told(row["id"], "in_step" if row["is_known"] else "adopted", True, made.hash, linked)
    if row["confirmed_hash"] not in (None, made.hash) and not row["to_check"]:
        # What it was told before may well be what it shows: it is about to be told the new content whole.
        return _Told(row["id"], "there", True, row["confirmed_hash"], linked)
    verdict: Verdict = "adopted" if not row["is_known"] else "there" if shows else "differs"
    return _Told(row["id"], verdict, True, None, linked)


def _not_ours(row: Any, record: TargetRecord, mark: str) -> str | None:
    """What is to be said where something is there under an id of ours that we did not tell; None where we did.

    What we know to be there is ours, whatever others made of its content; but a variant never moves to another item:
    one that is somebody else's item's was made by somebody else."""
    if record.item is not None and rules.entity_of(mark, "item", record.item) is None:
        return rules.taken(record.external_id, record.item)
    if row["is_known"]:
        return None
    if not rules.carries(mark, record.content):
        return rules.taken(record.external_id)
    # It was asked for among the variants of the item that it is to be of (`possible_items`), and is none of them.
    is_astray = row["parent_id"] is not None and record.item is None
    return rules.taken(record.external_id, "another item") if is_astray else None


def _put_aside(conn: Connection, target: Target, told: Sequence[_Told], now: datetime) -> None:
    """Of what we did not know to be there a page decides nothing: whose a variant is is read back; what somebody else
    has stays as it is until a create meets it."""
    execute(
        conn,
        """
        update target_entries e set read_at = %(now)s, to_check = e.to_check or n.is_doubted,
            next_at = case when n.is_doubted then %(now)s else e.next_at end
        from unnest(%(ids)b::int8[], %(doubted)b::bool[]) as n (id, is_doubted)
        where e.shop_id = %(shop)s and e.id = n.id
        """,
        shop=target.shop_id,
        ids=[one.id for one in told],
        doubted=[one.verdict == "unproven" for one in told],
        now=now,
    )


def _tell(conn: Connection, target: Target, told: Sequence[_Told], now: datetime) -> None:
    """What is as it should be has not failed, whatever was said of it; what is not, and failed before, rests."""
    execute(
        conn,
        """
        update target_entries e set is_known = n.known, confirmed_hash = n.hash, linked_ids = n.linked::int8[],
            to_check = false, read_at = %(now)s,
            absent_at = case when n.known or n.problem is not null then null else %(now)s end,
            next_at = case when not e.to_check then e.next_at
                when e.failures > 1 and not n.is_right
                    then %(now)s + (%(rests)b::interval[])[least(e.failures, cardinality(%(rests)b::interval[]))]
                else %(now)s end,
            failures = case when n.problem is not null then greatest(e.failures, 1) when n.is_right then 0
                else e.failures end,
            is_held = n.problem is not null or (e.is_held and not n.is_right),
            problem_kind = case when n.problem is not null then 'refused'
                when n.is_right then nullif(e.problem_kind, 'refused') else e.problem_kind end,
            problem_code = case when n.problem is not null then %(taken)s
                when n.is_right and e.problem_kind = 'refused' then null else e.problem_code end,
            problem = case when n.problem is not null then n.problem
                when n.is_right and e.problem_kind = 'refused' then null else e.problem end
        from (select t.*, t.problem is null and (
                (was.desired_hash is not distinct from t.hash and t.known = (was.desired_hash is not null)
                    and (was.kind <> 'variant' or not t.known or t.linked::int8[] = array[was.parent_id]))
                -- Nobody else has its id any more.
                or was.problem_code = %(taken)s
                -- What was to be deleted, to be made again or not, is gone.
                or (not t.known and was.is_known and was.kind = 'variant'
                    and (was.linked_ids <> array[was.parent_id]
                        or (was.problem_kind is not distinct from 'content' and not was.stays)))) as is_right
            from unnest(%(ids)b::int8[], %(known)b::bool[], %(hashes)b::text[], %(linked)b::text[],
                %(problems)b::text[]) as t (id, known, hash, linked, problem)
            join target_entries was on was.shop_id = %(shop)s and was.id = t.id) n
        where e.shop_id = %(shop)s and e.id = n.id
        """,
        shop=target.shop_id,
        ids=[one.id for one in told],
        known=[one.is_known for one in told],
        hashes=[one.confirmed_hash for one in told],
        linked=["{" + ",".join(map(str, one.linked)) + "}" for one in told],
        problems=[one.problem for one in told],
        taken=rules.TAKEN,
        rests=rules.rests(target.factor),
        now=now,
    )


def _gone(told: Sequence[_Told]) -> set[int]:
    return {one.id for one in told if not one.is_known}


def _forget_links(conn: Connection, target: Target, category_ids: Sequence[int], now: datetime) -> None:
    """With a category that is gone the links with it went as well: should it come back, its items are told again."""
    if not category_ids:
        return
    execute(
        conn,
        """
        with unlinked as materialized (
            select id from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
                and kind = 'item' and is_known and linked_ids && %(ids)b::int8[] and open_job_id is null
            order by id for no key update
        )
        update target_entries i set confirmed_hash = null, next_at = least(i.next_at, %(now)s),
            linked_ids = array(select one from unnest(i.linked_ids) with ordinality as n (one, place)
                where one <> all(%(ids)b::int8[]) order by place)
        from unlinked where i.shop_id = %(shop)s and i.id = unlinked.id
        """,
        **_of(target),
        ids=list(category_ids),
        now=now,
    )


def _tell_variants(
    conn: Connection, target: Target, told: Sequence[_Told], products: dict[int, int], now: datetime
) -> None:
    """Variants of items that are there may come; with an item that is gone its variants went as well, which is read."""
    gone = [products[one.id] for one in told if not one.is_known]
    let_wait(conn, target, [products[one.id] for one in told if one.is_known], now, waits=False)
    let_wait(conn, target, gone, now, waits=True)
    if not gone:
        return
    execute(
        conn,
        """
        with doubted as materialized (
            select id from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
                and kind = 'variant' and is_known and linked_ids[1] = any(%(ids)b::int8[]) and open_job_id is null
            order by id for no key update
        )
        update target_entries v set to_check = true, next_at = least(v.next_at, %(now)s) from doubted
        where v.shop_id = %(shop)s and v.id = doubted.id
        """,
        **_of(target),
        ids=gone,
        now=now,
    )


def _of(target: Target) -> dict[str, int]:
    return {"shop": target.shop_id, "connection": target.connection_id}
