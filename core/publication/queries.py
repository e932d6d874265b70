"""Reads: masters, links with what they show, open pushes, and how the products of a connection stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.catalog.products import queries as products
from core.catalog.taxonomies import queries as taxonomies
from core.catalog.taxonomies.rules import Target
from core.connections.queries import ConnectionRow
from core.db import fetch, fetch_one
from core.errors import BadInput
from core.product_ports import ProductChange, ShownProduct
from core.publication import shown as forms
from core.publication.rules import FIELDS, Ground, Masters

PAGE = 50


class UnknownLink(BadInput):
    """A product that the connection knows nothing of."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not linked to a product of that connection: `switchyard products read` reads what it has"
        )


@dataclass(frozen=True, slots=True)
class Link:
    """One product at one connection, as it was last seen and judged."""

    id: int
    product_id: int | None
    channel_ref: str | None
    shown: ShownProduct | None
    names: Mapping[str, str]
    may_drop: frozenset[str]
    is_unreadable: bool
    judged_version: int | None
    desired_hash: str | None
    confirmed_hash: str | None
    refused_hash: str | None
    state: str
    problem: str | None
    cause: str | None
    correction_key: str | None
    corrections: int
    failures: int
    next_at: datetime


@dataclass(frozen=True, slots=True)
class Push:
    """A write to a channel's product that is open. `before` None: the product was not there."""

    id: int
    link_id: int
    product_id: int
    product_version: int
    before: ShownProduct | None
    wanted: ShownProduct
    sent_at: datetime
    answered_at: datetime | None


def masters(conn: Connection, row: ConnectionRow) -> Masters:
    """Who is master of each field: what was decided, else the channel that a shop's SKUs come from, else nobody."""
    rows = fetch(
        conn,
        """
        select field, master from product_field_masters where shop_id = %(shop)s and connection_id = %(connection)s
        """,
        shop=row.shop_id,
        connection=row.id,
    )
    default = "channel" if row.settings.get("is_sku_source") else "nobody"
    return Masters(default, {one["field"]: one["master"] for one in rows})  # type: ignore[arg-type]


def masters_said(conn: Connection, row: ConnectionRow) -> list[dict[str, Any]]:
    """Every field with its master, and who decided that; None: nobody has yet."""
    decided = {
        one["field"]: one
        for one in fetch(
            conn,
            """
            select field, decided_by, decided_at from product_field_masters
            where shop_id = %(shop)s and connection_id = %(connection)s order by field
            """,
            shop=row.shop_id,
            connection=row.id,
        )
    }
    found = masters(conn, row)
    names = [*FIELDS, *(name for name in decided if name not in FIELDS)]
    return [
        {
            "field": name,
            "master": found.of(name),
            "decided_by": decided[name]["decided_by"] if name in decided else None,
            "decided_at": decided[name]["decided_at"] if name in decided else None,
        }
        for name in names
    ]


def ground(conn: Connection, row: ConnectionRow) -> Ground:
    """What all products of a connection are judged by; names and drops are each link's own."""
    types = {key: one.type for key, one in products.definitions(conn, row.shop_id).items()}
    return Ground(masters(conn, row), types, categories=categories_judged_by(conn, row))


def categories_judged_by(conn: Connection, row: ConnectionRow) -> dict[int, str]:
    """The channel's categories by ours, as they were when `operations.take_over_categories` last looked."""
    found = fetch_one(
        conn,
        """
        select category_refs from product_readings where shop_id = %(shop)s and connection_id = %(connection)s
        """,
        shop=row.shop_id,
        connection=row.id,
    )
    return {} if found is None else {int(number): ref for number, ref in found["category_refs"].items()}


def categories_mapped(conn: Connection, row: ConnectionRow) -> dict[int, str]:
    """The channel's categories by ours, as they are mapped now; what is not mapped is left out."""
    if row.vendor != "shopify":
        return {}
    return taxonomies.entry_refs(conn, row.shop_id, Target("shopify"))


_LINK = """
    l.id, l.product_id, l.channel_ref, l.seen, l.version_at, l.names, l.may_drop, l.is_unreadable, l.judged_version,
    l.desired_hash, l.confirmed_hash, l.refused_hash, l.state, l.problem, l.cause, l.correction_key, l.corrections,
    l.failures, l.next_at
"""


def links_of(
    conn: Connection, row: ConnectionRow, refs: Iterable[str] = (), product_ids: Iterable[int] = ()
) -> list[Link]:
    """Links of these products of the channel's or of ours, locked in order of their ids."""
    rows = fetch(
        conn,
        f"""
        select {_LINK} from product_links l where l.shop_id = %(shop)s and l.connection_id = %(connection)s
            and (l.channel_ref = any(%(refs)b::text[]) or l.product_id = any(%(ids)b::int8[]))
        order by l.id for update
        """,
        shop=row.shop_id,
        connection=row.id,
        refs=sorted(set(refs)),
        ids=sorted(set(product_ids)),
    )
    return [_link(one) for one in rows]


def link(conn: Connection, row: ConnectionRow, link_id: int, *, locks: bool = False) -> Link | None:
    """One link; None where there is none."""
    found = fetch_one(
        conn,
        f"""
        select {_LINK} from product_links l where l.shop_id = %(shop)s and l.connection_id = %(connection)s
            and l.id = %(id)s{" for update" if locks else ""}
        """,
        shop=row.shop_id,
        connection=row.id,
        id=link_id,
    )
    return None if found is None else _link(found)


def names(conn: Connection, row: ConnectionRow, link_ids: Iterable[int]) -> dict[int, str]:
    """What the products of some links are called: the title here, else there, else the channel's number."""
    rows = fetch(
        conn,
        """
        select l.id, coalesce(p.title, l.seen ->> 'title', 'product ' || coalesce(l.channel_ref, '?')) as name
        from product_links l left join products p on p.shop_id = l.shop_id and p.id = l.product_id
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.id = any(%(ids)b::int8[])
        """,
        shop=row.shop_id,
        connection=row.id,
        ids=sorted(link_ids),
    )
    return {one["id"]: one["name"] for one in rows}


def link_of_product(conn: Connection, row: ConnectionRow, product_id: int) -> Link:
    """The link of one of our products. Raises UnknownLink."""
    found = links_of(conn, row, product_ids=[product_id])
    if not found:
        raise UnknownLink(f"product {product_id}")
    return found[0]


def _link(row: RowMapping) -> Link:
    found = {name: value for name, value in row.items() if name not in ("seen", "version_at")}
    found["may_drop"] = frozenset(row["may_drop"])
    shown = None if row["seen"] is None else forms.from_json(row["seen"], row["version_at"])
    return Link(**found, shown=shown)


def to_judge(conn: Connection, row: ConnectionRow, after: int, limit: int = PAGE) -> list[int]:
    """Links whose product has changed here since they were judged, or that are to be judged anew, by id.

    What cannot be read is judged once it can; what is to be made, and has something unreadable in its way, is then
    looked for again.
    """
    rows = fetch(
        conn,
        """
        select l.id from product_links l
        left join products p on p.shop_id = l.shop_id and p.id = l.product_id
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.id > %(after)s and l.state <> 'gone'
            and (not l.is_unreadable or l.channel_ref is null)
            and (l.judged_version is null or l.judged_version is distinct from coalesce(p.version, 0))
        order by l.id limit %(limit)s
        """,
        shop=row.shop_id,
        connection=row.id,
        after=after,
        limit=limit,
    )
    return [one["id"] for one in rows]


def unlinked_products(conn: Connection, row: ConnectionRow, after: int, limit: int) -> list[int]:
    """Products of ours that the connection has no link of, by id."""
    rows = fetch(
        conn,
        """
        select p.id from products p where p.shop_id = %(shop)s and p.id > %(after)s and not exists (
            select from product_links l where l.shop_id = p.shop_id and l.connection_id = %(connection)s
                and l.product_id = p.id)
        order by p.id limit %(limit)s
        """,
        shop=row.shop_id,
        connection=row.id,
        after=after,
        limit=limit,
    )
    return [one["id"] for one in rows]


def due(
    conn: Connection, row: ConnectionRow, now: datetime, turned: Iterable[int] = (), limit: int = PAGE
) -> list[int]:
    """Links to write but those that had their turns, the longest due first."""
    rows = fetch(
        conn,
        """
        select id from product_links where shop_id = %(shop)s and connection_id = %(connection)s
            and state = 'differs' and next_at <= %(now)s and id <> all(%(turned)b::int8[])
        order by next_at, id limit %(limit)s
        """,
        shop=row.shop_id,
        connection=row.id,
        now=now,
        turned=sorted(turned),
        limit=limit,
    )
    return [one["id"] for one in rows]


def has_to_write(conn: Connection, row: ConnectionRow) -> bool:
    """Whether anything is left to write there, now or later."""
    found = fetch_one(
        conn,
        """
        select exists (select from product_links where shop_id = %(shop)s and connection_id = %(connection)s
            and state = 'differs') as is_left
        """,
        shop=row.shop_id,
        connection=row.id,
    )
    return found is not None and bool(found["is_left"])


def open_pushes(conn: Connection, shop_id: int, link_ids: Sequence[int]) -> dict[int, Push]:
    """What is open, by link."""
    rows = fetch(
        conn,
        """
        select id, link_id, product_id, product_version, before, wanted, base_version_at, sent_at, answered_at
        from product_pushes where shop_id = %(shop)s and link_id = any(%(ids)b::int8[]) and outcome is null
        """,
        shop=shop_id,
        ids=sorted(link_ids),
    )
    return {row["link_id"]: push_of(row) for row in rows}


def push_of(row: RowMapping) -> Push:
    """A push of its row."""
    base = row["base_version_at"]
    return Push(
        row["id"],
        row["link_id"],
        row["product_id"],
        row["product_version"],
        None if row["before"] is None else forms.from_json(row["before"], base),
        forms.from_json(row["wanted"], base or row["sent_at"]),
        row["sent_at"],
        row["answered_at"],
    )


def refs_not_seen_since(conn: Connection, row: ConnectionRow, since: datetime, after: str, limit: int) -> list[str]:
    """Products of the channel that a whole reading which began then did not meet."""
    rows = fetch(
        conn,
        """
        select channel_ref from product_links where shop_id = %(shop)s and connection_id = %(connection)s
            and channel_ref > %(after)s and state <> 'gone' and seen_at < %(since)s
        order by channel_ref limit %(limit)s
        """,
        shop=row.shop_id,
        connection=row.id,
        after=after,
        since=since,
        limit=limit,
    )
    return [one["channel_ref"] for one in rows]


def refs_seen_since(
    conn: Connection, row: ConnectionRow, since: datetime, changes: Sequence[ProductChange]
) -> set[str]:
    """Of changed products of the channel, those that were seen since then as that change left them, or later."""
    rows = fetch(
        conn,
        """
        select l.channel_ref from product_links l
        join unnest(%(refs)b::text[], %(versions)b::timestamptz[]) c(ref, version_at) on c.ref = l.channel_ref
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.seen_at >= %(since)s
            and l.version_at >= c.version_at
        """,
        shop=row.shop_id,
        connection=row.id,
        since=since,
        refs=[change.ref for change in changes],
        versions=[change.version_at for change in changes],
    )
    return {one["channel_ref"] for one in rows}


@dataclass(frozen=True, slots=True)
class Reading:
    """How far the products of a connection are read."""

    read_to: datetime | None
    whole_read_at: datetime | None
    writes_held_since: datetime | None
    writes_held_why: str | None


def reading(conn: Connection, row: ConnectionRow) -> Reading | None:
    """None where nobody has asked for them yet."""
    found = fetch_one(
        conn,
        """
        select read_to, whole_read_at, writes_held_since, writes_held_why from product_readings
        where shop_id = %(shop)s and connection_id = %(connection)s
        """,
        shop=row.shop_id,
        connection=row.id,
    )
    return None if found is None else Reading(**found)


def called(conn: Connection, row: ConnectionRow, limit: int) -> dict[str, datetime]:
    """Products that the channel said have changed and that were not read since, with when it last said so."""
    rows = fetch(
        conn,
        """
        select channel_ref, told_at from product_calls
        where shop_id = %(shop)s and connection_id = %(connection)s order by told_at, channel_ref limit %(limit)s
        """,
        shop=row.shop_id,
        connection=row.id,
        limit=limit,
    )
    return {one["channel_ref"]: one["told_at"] for one in rows}


def connections_to_follow(conn: Connection) -> list[tuple[int, int]]:
    """(shop, connection) of every active connection whose products were asked for."""
    rows = fetch(
        conn,
        """
        select r.shop_id, r.connection_id from product_readings r
        join connections c on c.shop_id = r.shop_id and c.id = r.connection_id
        where c.state = 'active' order by 1, 2
        """,
    )
    return [(one["shop_id"], one["connection_id"]) for one in rows]


def standing(conn: Connection, row: ConnectionRow) -> dict[str, int]:
    """How many products of a connection are in each state, and how many writes are open."""
    found = fetch_one(
        conn,
        """
        select count(*) filter (where state = 'in_step') as in_step,
            count(*) filter (where state = 'differs') as differs, count(*) filter (where state = 'asks') as asks,
            count(*) filter (where state = 'gone') as gone,
            (select count(*) from product_pushes p where p.shop_id = %(shop)s and p.connection_id = %(connection)s
                and p.outcome is null) as open_pushes
        from product_links where shop_id = %(shop)s and connection_id = %(connection)s
        """,
        shop=row.shop_id,
        connection=row.id,
    )
    assert found is not None
    return dict(found)


def asking(conn: Connection, row: ConnectionRow, limit: int = PAGE) -> Sequence[RowMapping]:
    """Products that wait for a person, with why."""
    return fetch(
        conn,
        """
        select l.id, l.product_id, l.channel_ref, coalesce(p.title, l.seen ->> 'title') as title, l.state, l.problem
        from product_links l left join products p on p.shop_id = l.shop_id and p.id = l.product_id
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.state in ('asks', 'gone')
        order by l.id limit %(limit)s
        """,
        shop=row.shop_id,
        connection=row.id,
        limit=limit,
    )
