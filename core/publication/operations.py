"""Writes: decide masters, note how far is read, and let a product go on that waits for a person.

What a channel shows is taken in by `observing`, what it should show goes out by `pushing`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.catalog.products import queries as products
from core.connections.queries import ConnectionRow
from core.db import execute, fetch_one
from core.errors import Anticipated
from core.publication import queries
from core.publication.queries import Link, UnknownLink
from core.publication.rules import check_master

TAKEN_UP_WITHIN = timedelta(days=1)


class NothingToRelease(Anticipated):
    """The product waits for nobody."""

    def __init__(self, why: str) -> None:
        super().__init__(f"nothing was changed: {why}")
        self.why = why


def set_masters(
    conn: Connection, row: ConnectionRow, chosen: Mapping[str, str], actor: Actor, now: datetime
) -> dict[str, str]:
    """Decide who is master of some fields at a connection; what stands already is left out of what is returned.

    Every product of the connection is judged anew. Raises BadInput for a field or a master that there is not.
    """
    for field, master in chosen.items():
        check_master(field, master)
    before = queries.masters(conn, row)
    changed = {
        field: master
        for field, master in chosen.items()
        if field not in before.decided or before.decided[field] != master
    }
    for field, master in changed.items():
        execute(
            conn,
            """
            insert into product_field_masters (shop_id, connection_id, field, master, decided_by, decided_at)
            values (%(shop)s, %(connection)s, %(field)s, %(master)s, %(by)s, %(now)s)
            on conflict (shop_id, connection_id, field) do update
                set master = excluded.master, decided_by = excluded.decided_by, decided_at = excluded.decided_at
            """,
            shop=row.shop_id,
            connection=row.id,
            field=field,
            master=master,
            by=actor.name,
            now=now,
        )
    if changed:
        begin_reading(conn, row, now)
        execute(
            conn,
            """
            update product_links set judged_version = null, refused_hash = null, corrections = 0, correction_key = null
            where shop_id = %(shop)s and connection_id = %(connection)s
            """,
            shop=row.shop_id,
            connection=row.id,
        )
        said = {field: {"before": before.of(field), "after": master} for field, master in changed.items()}
        audit.record(conn, row.shop_id, actor, "set_product_masters", f"connection:{row.id}", now, fields=said)
    return changed


def begin_reading(conn: Connection, row: ConnectionRow, now: datetime) -> None:
    """Keep the connection's products in step from now on; safe to repeat."""
    execute(
        conn,
        """
        insert into product_readings (shop_id, connection_id, created_at) values (%(shop)s, %(connection)s, %(now)s)
        on conflict (shop_id, connection_id) do nothing
        """,
        shop=row.shop_id,
        connection=row.id,
        now=now,
    )


def note_read_to(conn: Connection, row: ConnectionRow, read_to: datetime) -> None:
    """Up to which change of the channel's its products are read; never back."""
    execute(
        conn,
        """
        update product_readings set read_to = greatest(read_to, %(to)s::timestamptz)
        where shop_id = %(shop)s and connection_id = %(connection)s
        """,
        shop=row.shop_id,
        connection=row.id,
        to=read_to,
    )


def note_calls(conn: Connection, row: ConnectionRow, refs: Collection[str], now: datetime) -> int:
    """A channel said that these products were made, changed or deleted: they are read soon, whatever they are then.

    Returns how many; nothing is noted where nobody has asked for the connection's products. Safe to repeat.
    """
    return execute(
        conn,
        """
        insert into product_calls (shop_id, connection_id, channel_ref, told_at)
        select r.shop_id, r.connection_id, ref, %(now)s
        from product_readings r, unnest(%(refs)b::text[]) ref
        where r.shop_id = %(shop)s and r.connection_id = %(connection)s
        order by ref
        on conflict (shop_id, connection_id, channel_ref) do update
            set told_at = greatest(product_calls.told_at, excluded.told_at)
        """,
        shop=row.shop_id,
        connection=row.id,
        refs=sorted(set(refs)),
        now=now,
    )


def forget_calls(conn: Connection, row: ConnectionRow, read: Mapping[str, datetime]) -> None:
    """These were read since they were told of; what was told of again meanwhile stays.

    So does what somebody is being told of at this moment: it is read once more, and nobody waits for another.
    """
    execute(
        conn,
        """
        with done as materialized (
            select found.row from (
                select * from unnest(%(refs)b::text[], %(told)b::timestamptz[]) t(ref, told_at) order by ref
            ) r
            cross join lateral (
                select c.ctid as row from product_calls c
                where c.shop_id = %(shop)s and c.connection_id = %(connection)s and c.channel_ref = r.ref
                    and c.told_at <= r.told_at
                for update skip locked
            ) found
        )
        delete from product_calls where shop_id = %(shop)s and ctid = any(array(select row from done))
        """,
        shop=row.shop_id,
        connection=row.id,
        refs=list(read),
        told=list(read.values()),
    )


def hold_writes(conn: Connection, row: ConnectionRow, why: str | None, now: datetime) -> None:
    """The channel lets us write no products, or (`why` None) lets us again; since when stays."""
    execute(
        conn,
        """
        update product_readings set writes_held_why = %(why)s,
            writes_held_since = case when %(why)s::text is not null then coalesce(writes_held_since, %(now)s) end
        where shop_id = %(shop)s and connection_id = %(connection)s and writes_held_why is distinct from %(why)s
        """,
        shop=row.shop_id,
        connection=row.id,
        why=why and why[:500],
        now=now,
    )


def take_over_categories(conn: Connection, row: ConnectionRow) -> int:
    """Judge by the channel's categories as ours are mapped to them now; returns how many products are judged anew.

    Level against level, as with everything else: whoever mapped, moved or loaded what, it is found out here.
    """
    before, now_is = queries.categories_judged_by(conn, row), queries.categories_mapped(conn, row)
    changed = [one for one in before.keys() | now_is.keys() if before.get(one) != now_is.get(one)]
    if not changed:
        return 0
    execute(
        conn,
        """
        update product_readings set category_refs = %(refs)s
        where shop_id = %(shop)s and connection_id = %(connection)s
        """,
        shop=row.shop_id,
        connection=row.id,
        refs=Jsonb({str(number): ref for number, ref in now_is.items()}),
    )
    return execute(
        conn,
        """
        update product_links l set judged_version = null
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and (%(is_ours)s or l.channel_ref is null)
            and exists (select from product_categories c where c.shop_id = l.shop_id and c.product_id = l.product_id
                and c.category_id = any(%(changed)b::int8[]))
        """,
        shop=row.shop_id,
        connection=row.id,
        is_ours=queries.masters(conn, row).of("category") == "ours",
        changed=sorted(changed),
    )


@dataclass(frozen=True, slots=True)
class WholeReading:
    """A reading of all products, begun or taken up: `read_to` is the channel's time of the last change it took in."""

    began_at: datetime
    read_to: datetime | None
    counts: Mapping[str, int]


def begin_whole(conn: Connection, row: ConnectionRow, now: datetime) -> WholeReading:
    """Begin to read all products, or take up the reading that did not come to its end; safe to repeat.

    One that began long ago is begun anew: what was deleted since it was met would not be found out.
    """
    begin_reading(conn, row, now)
    found = fetch_one(
        conn,
        """
        update product_readings r set whole_began_at = case when fresh then whole_began_at else %(now)s end,
            whole_to = case when fresh then whole_to end,
            whole_counts = case when fresh then whole_counts else '{}' end
        from (
            select coalesce(whole_began_at > %(since)s, false) as fresh from product_readings
            where shop_id = %(shop)s and connection_id = %(connection)s
        ) f
        where r.shop_id = %(shop)s and r.connection_id = %(connection)s
        returning r.whole_began_at, r.whole_to, r.whole_counts
        """,
        shop=row.shop_id,
        connection=row.id,
        now=now,
        since=now - TAKEN_UP_WITHIN,
    )
    assert found is not None
    return WholeReading(found["whole_began_at"], found["whole_to"], found["whole_counts"])


def note_whole(conn: Connection, row: ConnectionRow, to: datetime | None, counts: Mapping[str, int]) -> None:
    """How far the reading of all products is, and what it has counted; `to` None: its place stays."""
    execute(
        conn,
        """
        update product_readings set whole_to = greatest(whole_to, %(to)s::timestamptz), whole_counts = %(counts)s
        where shop_id = %(shop)s and connection_id = %(connection)s
        """,
        shop=row.shop_id,
        connection=row.id,
        to=to,
        counts=Jsonb(dict(counts)),
    )


def finish_whole(conn: Connection, row: ConnectionRow) -> None:
    """All products were read, as they were when that began or since."""
    execute(
        conn,
        """
        update product_readings set whole_read_at = whole_began_at, whole_began_at = null, whole_to = null,
            whole_counts = '{}'
        where shop_id = %(shop)s and connection_id = %(connection)s and whole_began_at is not null
        """,
        shop=row.shop_id,
        connection=row.id,
    )


def release(conn: Connection, row: ConnectionRow, product_id: int, actor: Actor, now: datetime) -> None:
    """Let a product of ours that waits for a person be tried again; one that was deleted there is made anew, where we
    are master of the variants. Raises UnknownLink, NothingToRelease."""
    _release(conn, row, queries.link_of_product(conn, row, product_id), actor, now)


def release_link(conn: Connection, row: ConnectionRow, link_id: int, actor: Actor, now: datetime) -> None:
    """The same by its link: also a product of the channel's that is none of ours. Raises UnknownLink,
    NothingToRelease."""
    link = queries.link(conn, row, link_id, locks=True)
    if link is None:
        raise UnknownLink("what was there")
    _release(conn, row, link, actor, now)


def _release(conn: Connection, row: ConnectionRow, link: Link, actor: Actor, now: datetime) -> None:
    if link.state not in ("asks", "gone"):
        raise NothingToRelease("the product waits for nobody")
    if link.state == "gone" and queries.masters(conn, row).of("variants") != "ours":
        raise NothingToRelease(
            "the product was deleted there, and the channel is master of which variants there are: decide that first"
        )
    gone = ", channel_ref = null, seen = null, seen_hash = null, version_at = null, names = '{}'"
    # What is none of ours, or cannot be made out, is read again and waits on until then.
    waits = link.channel_ref is not None and (link.product_id is None or link.is_unreadable)
    goes_on = (
        ""
        if waits
        else ", next_at = %(now)s, state = 'differs', problem = null, is_unreadable = false, blocked_by = null"
    )
    execute(
        conn,
        f"""
        update product_links set judged_version = null, refused_hash = null, corrections = 0, correction_key = null,
            failures = 0, updated_at = %(now)s{goes_on}{gone if link.state == "gone" else ""}
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=row.shop_id,
        id=link.id,
        now=now,
    )
    if link.channel_ref is not None and link.state != "gone":
        note_calls(conn, row, [link.channel_ref], now)
    subject = f"product:{link.product_id}" if link.product_id else f"product_link:{link.id}"
    audit.record(conn, row.shop_id, actor, "release_product", subject, now, connection=row.id, was=link.problem)


def allow_drops(conn: Connection, row: ConnectionRow, product_id: int, actor: Actor, now: datetime) -> list[str]:
    """Allow that the variants which the channel has now beside ours are deleted there; returns what they are called.

    Of those that come later nothing is said. Raises UnknownLink, NothingToRelease.
    """
    link = queries.link_of_product(conn, row, product_id)
    beside = _beside(conn, row, link, product_id)
    if not beside:
        raise NothingToRelease("the channel has no variants of it beside those that are here")
    execute(
        conn,
        """
        update product_links set may_drop = array(select distinct unnest(may_drop || %(refs)b::text[]) order by 1),
            judged_version = null, updated_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=row.shop_id,
        id=link.id,
        refs=sorted(beside),
        now=now,
    )
    said = sorted(beside.values())
    subject = f"product:{product_id}"
    audit.record(conn, row.shop_id, actor, "allow_variant_drops", subject, now, connection=row.id, variants=said)
    return said


def _beside(conn: Connection, row: ConnectionRow, link: Link, product_id: int) -> dict[str, str]:
    """By reference, what the channel's variants are called that are not ours."""
    ours = products.stored(conn, row.shop_id, [product_id]).get(product_id)
    if ours is None or link.shown is None:
        raise UnknownLink(f"product {product_id}")
    codes = {variant.code for variant in ours.document.variants}
    return {
        variant.ref: variant.code or " / ".join(variant.option_values)
        for variant in link.shown.variants
        if variant.code not in codes
    }
