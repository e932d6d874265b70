"""Reads of what waits for a person at channels that keep products: how a connection stands, by cause, and one product.

What waits is counted over an index of what waits, how a connection stands over one of states and without its rows;
everything else is a page or a handful of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import streamlit as st

from dashboard.queries import one, rows

Row = Mapping[str, Any]

VENDOR = "shopify"
PAGE = 25
BADGE_MAX = 99
OTHER = "other"
"""What is called so waits for none of the causes that have a name."""

Place = tuple[datetime, int]
"""What a page begins after: since when a product waits, and its link."""


class Page(NamedTuple):
    """Some products, those that wait longest first, and what the next page begins after."""

    rows: Sequence[Row]
    next: Place | None


def forget() -> None:
    """Read everything afresh."""
    cached: tuple[Any, ...] = (connections, causes, waiting, of_product, number_waiting)
    for each in cached:
        each.clear()


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def connections(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """A shop's connections whose products are kept in step, with how they stand and what holds writes."""
    return rows(
        """
        select s.connection_id, s.connection as name, s.state, s.may_write, s.is_stopped, s.write_mode,
            r.whole_read_at, r.writes_held_since, r.writes_held_why, n.in_step, n.differs, n.waiting, now() as as_of
        from product_readings r
        join connection_switches s on s.shop_id = r.shop_id and s.connection_id = r.connection_id
        cross join lateral (
            select count(*) filter (where l.state = 'in_step') as in_step,
                count(*) filter (where l.state = 'differs') as differs,
                count(*) filter (where l.state in ('asks', 'gone')) as waiting
            from product_links l where l.shop_id = r.shop_id and l.connection_id = r.connection_id
        ) n
        where r.shop_id = %(shop)s and s.vendor = %(vendor)s order by s.connection, s.connection_id
        """,
        shop=shop_id,
        vendor=VENDOR,
    )


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def causes(shop_id: int, scope: str, connection_id: int) -> list[dict[str, Any]]:
    """For what products wait at a connection, with how many, since when, and the one that waits longest."""
    return rows(
        """
        select c.cause, c.products, c.since, l.id as link_id, l.problem, l.product_id, l.channel_ref,
            coalesce(p.title, l.seen ->> 'title') as title
        from (
            select coalesce(cause, 'other') as cause, count(*) as products, min(waits_since) as since,
                (array_agg(id order by waits_since, id))[1] as first_id
            from product_links where shop_id = %(shop)s and connection_id = %(connection)s
                and state in ('asks', 'gone')
            group by 1
        ) c
        join product_links l on l.shop_id = %(shop)s and l.id = c.first_id
        left join products p on p.shop_id = l.shop_id and p.id = l.product_id
        order by c.products desc, c.cause
        """,
        shop=shop_id,
        connection=connection_id,
    )


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def waiting(shop_id: int, scope: str, connection_id: int, cause: str, after: Place | None) -> Page:
    """The products that wait for one cause, a page at a time."""
    found = rows(
        """
        select l.id as link_id, l.product_id, l.channel_ref, l.state, l.problem, l.waits_since, l.seen_at,
            coalesce(p.title, l.seen ->> 'title') as title, now() as as_of
        from product_links l left join products p on p.shop_id = l.shop_id and p.id = l.product_id
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.state in ('asks', 'gone')
            and coalesce(l.cause, 'other') = %(cause)s
            and (%(since)s::timestamptz is null or (l.waits_since, l.id) > (%(since)s, %(id)s))
        order by l.waits_since, l.id limit %(limit)s
        """,
        shop=shop_id,
        connection=connection_id,
        cause=cause,
        since=None if after is None else after[0],
        id=0 if after is None else after[1],
        limit=PAGE + 1,
    )
    shown = found[:PAGE]
    return Page(shown, (shown[-1]["waits_since"], shown[-1]["link_id"]) if len(found) > PAGE else None)


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def of_product(shop_id: int, scope: str, product_id: int) -> list[dict[str, Any]]:
    """How one product of ours stands at each connection that keeps products, with its last write there."""
    return rows(
        """
        select l.id as link_id, l.product_id, l.channel_ref, l.state, l.problem, coalesce(l.cause, 'other') as cause,
            l.waits_since, l.seen_at, l.next_at, s.connection_id, s.connection as name, s.may_write,
            r.writes_held_since, r.writes_held_why, w.outcome, w.sent_at, w.outcome_at, now() as as_of
        from product_links l
        join connection_switches s on s.shop_id = l.shop_id and s.connection_id = l.connection_id
        join product_readings r on r.shop_id = l.shop_id and r.connection_id = l.connection_id
        left join lateral (
            select outcome, sent_at, outcome_at from product_pushes
            where shop_id = l.shop_id and link_id = l.id order by id desc limit 1
        ) w on true
        where l.shop_id = %(shop)s and l.product_id = %(product)s order by s.connection, s.connection_id
        """,
        shop=shop_id,
        product=product_id,
    )


@st.cache_data(ttl=5, max_entries=100, show_spinner=False)
def number_waiting(shop_id: int, scope: str) -> int:
    """How many products wait at any connection, counted up to BADGE_MAX and one."""
    found = one(
        """
        select count(*) as waiting from (
            select from product_links l
            join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
            where l.shop_id = %(shop)s and l.state in ('asks', 'gone') and c.vendor = %(vendor)s limit %(limit)s
        ) w
        """,
        shop=shop_id,
        vendor=VENDOR,
        limit=BADGE_MAX + 1,
    )
    return 0 if found is None else int(found["waiting"])
