"""Which is which: the link of each product of the channel's to ours, made where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core.catalog.products import queries as products
from core.connections.queries import ConnectionRow
from core.db import execute, fetch
from core.product_ports import ShownProduct
from core.publication import queries
from core.publication.queries import Link
from core.publication.rules import problem_of


def link_new(conn: Connection, row: ConnectionRow, product_ids: Iterable[int], now: datetime) -> int:
    """Links for products of ours that the channel is to have and that are not there yet; returns how many."""
    return execute(
        conn,
        """
        insert into product_links (shop_id, connection_id, product_id, state, next_at, created_at, updated_at)
        select %(shop)s, %(connection)s, id, 'differs', %(now)s, %(now)s, %(now)s
        from unnest(%(ids)b::int8[]) id order by id
        on conflict (shop_id, connection_id, product_id) do nothing
        """,
        shop=row.shop_id,
        connection=row.id,
        ids=sorted(product_ids),
        now=now,
    )


def linked(
    conn: Connection, row: ConnectionRow, shown: Sequence[ShownProduct], now: datetime
) -> list[tuple[Link, ShownProduct | None]]:
    """The link of each product that is not older than what was seen, made where there is none."""
    known = {link.channel_ref: link for link in queries.links_of(conn, row, [one.ref for one in shown])}
    fresh = [one for one in shown if known.get(one.ref) is None or known[one.ref].product_id is None]
    told = _told(conn, row, fresh)
    found: list[tuple[Link, ShownProduct | None]] = []
    for one in shown:
        link = known.get(one.ref)
        if link is not None and link.shown is not None and one.version_at < link.shown.version_at:
            continue
        if link is None or link.product_id is None:
            link = _link_to(conn, row, one, link, told.get(one.ref), now)
        found.append((link, one))
    return found


def _told(conn: Connection, row: ConnectionRow, fresh: Sequence[ShownProduct]) -> dict[str, int | str | None]:
    """By reference, whose the channel's products are by the codes of their variants: a product of ours, None for one
    that is new here, or a sentence that says why that cannot be told."""
    codes = {variant.code for one in fresh for variant in one.variants if variant.code}
    owners = products.products_of_codes(conn, row.shop_id, codes)
    # One that was deleted there may have been made there anew.
    links = {
        link.product_id: link
        for link in queries.links_of(conn, row, product_ids=[owner for owner in owners.values() if owner])
        if link.state != "gone"
    }
    found: dict[str, int | str | None] = {}
    taken_by: dict[int, str] = {}
    for one in fresh:
        problem = problem_of(one)
        if problem is not None:
            found[one.ref] = problem
            continue
        ours = {owners.get(str(v.code)) for v in one.variants} - {None}
        if len(ours) > 1:
            found[one.ref] = "its SKUs belong to several products here: bring them together here, or split it there"
            continue
        owner = next(iter(ours), None)
        other = None if owner is None else taken_by.get(owner) or (links[owner].channel_ref if owner in links else None)
        if other is not None and other != one.ref:
            found[one.ref] = f"its SKUs are those of a product here that is already product {other} of the channel"
            continue
        if owner is not None:
            taken_by[owner] = one.ref
        found[one.ref] = owner
    return found


def _link_to(
    conn: Connection,
    row: ConnectionRow,
    one: ShownProduct,
    link: Link | None,
    told: int | str | None,
    now: datetime,
) -> Link:
    """The link of a product of the channel's, to ours where that could be told."""
    product_id = told if isinstance(told, int) else None
    waiting = [] if product_id is None else queries.links_of(conn, row, product_ids=[product_id])
    if waiting:
        # It was to be made there, and is there: what is left of an earlier sight of it would stand in the way.
        if link is not None:
            execute(
                conn,
                "delete from product_links where shop_id = %(shop)s and id = %(id)s",
                shop=row.shop_id,
                id=link.id,
            )
        _set(conn, row, waiting[0].id, now, channel_ref=one.ref)
        return replace(waiting[0], channel_ref=one.ref)
    if link is None:
        made = fetch(
            conn,
            """
            insert into product_links (shop_id, connection_id, product_id, channel_ref, state, problem, next_at,
                created_at, updated_at)
            values (%(shop)s, %(connection)s, %(product)s, %(ref)s, 'asks', 'it is being read', %(now)s, %(now)s,
                %(now)s)
            returning id
            """,
            shop=row.shop_id,
            connection=row.id,
            product=product_id,
            ref=one.ref,
            now=now,
        )
        found = queries.link(conn, row, made[0]["id"])
        assert found is not None
        return replace(found, problem=told if isinstance(told, str) else None)
    if product_id is not None:
        _set(conn, row, link.id, now, product_id=product_id)
    return replace(link, product_id=product_id, problem=told if isinstance(told, str) else None)


def _set(conn: Connection, row: ConnectionRow, link_id: int, now: datetime, **fields: Any) -> None:
    """Names come from this module."""
    marks = ", ".join(f"{name} = %({name})s" for name in fields)
    execute(
        conn,
        f"update product_links set {marks}, updated_at = %(now)s where shop_id = %(shop)s and id = %(id)s",
        shop=row.shop_id,
        id=link_id,
        now=now,
        **fields,
    )
