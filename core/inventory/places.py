"""Writes: our locations, and which of them serves which place of a channel.

A location is one pool of stock. Channels that refuse at zero share it; a till that sells without asking, and stock that
is not ours, have locations of their own: the database refuses to mix them (`pools_are_apart`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.catalog.operations import lock_listings, lock_places
from core.db import execute, fetch, fetch_one, scalar
from core.errors import BadInput
from core.inventory.operations import hold_compositions, open_location, refresh_desired

NAME_MAX = 80
KIND_OF_CLASS = {"A": "own", "B": "own", "C": "till", "D": "external"}
"""Which kind of location a channel of each guarantee class sells from."""


def add_location(conn: Connection, shop_id: int, name: str, actor: Actor, now: datetime) -> int:
    """A new location of ours; returns its id. Raises BadInput for a blank or a taken name."""
    cleaned = _name(conn, shop_id, name)
    location_id = open_location(conn, shop_id, cleaned, now)
    audit.record(conn, shop_id, actor, "add_location", f"location:{location_id}", now, name=cleaned)
    return location_id


def rename_location(conn: Connection, shop_id: int, location_id: int, name: str, actor: Actor, now: datetime) -> None:
    """Call a location something else; nothing but its name changes. Raises BadInput."""
    before = scalar(
        conn,
        "select name from locations where shop_id = %(shop)s and id = %(id)s for no key update",
        shop=shop_id,
        id=location_id,
    )
    if before is None:
        raise BadInput(f"there is no location {location_id} in this shop")
    if before == name.strip():
        return
    cleaned = _name(conn, shop_id, name)
    execute(
        conn,
        "update locations set name = %(name)s where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=location_id,
        name=cleaned,
    )
    audit.record(conn, shop_id, actor, "rename_location", f"location:{location_id}", now, name=cleaned, before=before)


def _name(conn: Connection, shop_id: int, name: str) -> str:
    cleaned = " ".join(name.split())
    if not cleaned:
        raise BadInput("a location needs a name: type what people call it, such as Leeds warehouse")
    if len(cleaned) > NAME_MAX:
        raise BadInput(f"a location's name has at most {NAME_MAX} characters; this one has {len(cleaned)}")
    taken = scalar(
        conn,
        "select name from locations where shop_id = %(shop)s and lower(name) = lower(%(name)s)",
        shop=shop_id,
        name=cleaned,
    )
    if taken is not None:
        raise BadInput(f"there is a location {taken} already: give this one another name")
    return cleaned


def kind_for(guarantee_class: str, *, is_external: bool = False) -> str:
    """Which kind of location a place of a channel needs; `is_external`: the channel keeps the stock there itself."""
    return "external" if is_external else KIND_OF_CLASS[guarantee_class]


def location_for(conn: Connection, shop_id: int, connection_id: int, kind: str, name: str, now: datetime) -> int:
    """The location that a channel's place of that name is served from, when nobody has said otherwise; made if need be.

    One that is not our own is the channel's alone, whatever other location has that name.
    """
    if kind == "own":
        return open_location(conn, shop_id, name, now)
    execute(
        conn,
        """
        insert into locations (shop_id, name, created_at, kind, connection_id)
        values (%(shop)s, %(name)s, %(now)s, %(kind)s, %(connection)s) on conflict (shop_id, name) do nothing
        """,
        shop=shop_id,
        name=name,
        now=now,
        kind=kind,
        connection=connection_id,
    )
    found = scalar(
        conn,
        """
        select id from locations where shop_id = %(shop)s and name = %(name)s and connection_id = %(connection)s
            and kind = %(kind)s
        """,
        kind=kind,
        shop=shop_id,
        name=name,
        connection=connection_id,
    )
    if found is None:
        return location_for(conn, shop_id, connection_id, kind, f"{name} (channel {connection_id})", now)
    return int(found)


class NotServable(BadInput):
    """That location may not serve that channel."""


@dataclass(frozen=True, slots=True)
class Served:
    """What serving a place from another location would do: listings by whether they would show more, less or none."""

    listings: int
    up: int
    down: int
    to_zero: int


def preview_serving(conn: Connection, shop_id: int, connection_id: int, place_ref: str, location_id: int) -> Served:
    """Compare what a place's listings should show now with what they should show from `location_id`; writes nothing.

    Raises NotServable, BadInput.
    """
    _check(conn, shop_id, connection_id, place_ref, location_id)
    row = fetch_one(
        conn,
        """
        with served as (
            select l.desired_units as now, offer(coalesce(b.available, k.available, 0), l.safety_stock_units,
                l.share_percent, l.buffer_units, l.floor_units, l.cap_units, l.is_offered) as units
            from listings l
            left join stock_levels k on k.shop_id = l.shop_id and k.sku_id = l.sku_id and k.location_id = %(location)s
            left join bundle_levels b on b.shop_id = l.shop_id and b.sku_id = l.sku_id
                and b.location_id = %(location)s
            where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.channel_location_ref = %(place)s
                and l.publishing = 'on'
        )
        select count(*) as listings, count(*) filter (where units > now) as up,
            count(*) filter (where units < now) as down, count(*) filter (where units = 0 and now > 0) as to_zero
        from served
        """,
        shop=shop_id,
        connection=connection_id,
        place=place_ref,
        location=location_id,
    )
    assert row is not None
    return Served(**row)


def serve(
    conn: Connection, shop_id: int, connection_id: int, place_ref: str, location_id: int, actor: Actor, now: datetime
) -> Served:
    """Serve a channel's place from one of our locations from now on; returns what that changed.

    What was sold before stays promised where it was; what is sold from now on is taken from there. Raises NotServable,
    BadInput.
    """
    lock_places(conn, shop_id, connection_id)
    # Before any listing, as whoever books an order of it does; weakly, since orders only need it to stay.
    places = _places(conn, shop_id, connection_id)
    # Before a bundle's listing is looked at: what it is made of stays as it is, or is committed.
    hold_compositions(conn, shop_id)
    served = preview_serving(conn, shop_id, connection_id, place_ref, location_id)
    rows = fetch(
        conn,
        """
        select distinct sku_id from listings where shop_id = %(shop)s and connection_id = %(connection)s
            and channel_location_ref = %(place)s and sku_id is not null and location_id is distinct from %(location)s
        """,
        shop=shop_id,
        connection=connection_id,
        place=place_ref,
        location=location_id,
    )
    skus = [row["sku_id"] for row in rows]
    lock_listings(conn, shop_id, sku_ids=skus)
    execute(
        conn,
        "update connections set settings = settings || %(settings)s where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=connection_id,
        settings=Jsonb({"locations": {**places, place_ref: location_id}}),
    )
    execute(
        conn,
        """
        update listings set location_id = %(location)s where shop_id = %(shop)s and connection_id = %(connection)s
            and channel_location_ref = %(place)s and location_id is distinct from %(location)s
        """,
        shop=shop_id,
        connection=connection_id,
        place=place_ref,
        location=location_id,
    )
    refresh_desired(conn, shop_id, skus)
    audit.record(
        conn,
        shop_id,
        actor,
        "serve_place",
        f"connection:{connection_id}",
        now,
        place=place_ref,
        location_id=location_id,
        listings=served.listings,
    )
    return served


def _places(conn: Connection, shop_id: int, connection_id: int) -> dict[str, int]:
    found = scalar(
        conn,
        "select settings -> 'locations' from connections where shop_id = %(shop)s and id = %(id)s for no key update",
        shop=shop_id,
        id=connection_id,
    )
    return dict(found or {})


def _check(conn: Connection, shop_id: int, connection_id: int, place_ref: str, location_id: int) -> None:
    row = fetch_one(
        conn,
        """
        select c.name, c.guarantee_class, c.settings -> 'locations' as places, p.name as location, p.kind,
            p.connection_id, coalesce(c.settings -> 'external_places', '[]') ? %(place)s as is_external
        from connections c left join locations p on p.shop_id = c.shop_id and p.id = %(location)s
        where c.shop_id = %(shop)s and c.id = %(connection)s
        """,
        shop=shop_id,
        connection=connection_id,
        location=location_id,
        place=place_ref,
    )
    if row is None or row["location"] is None:
        raise BadInput("the channel or the location is not one of this shop: choose from the lists")
    if place_ref not in (row["places"] or {}):
        raise BadInput(f"{row['name']} has no such place: sync it first, so that its places are known")
    if row["is_external"]:
        raise NotServable(f"{row['name']} keeps the stock there itself, in its own warehouses: it is only read")
    if row["kind"] != KIND_OF_CLASS[row["guarantee_class"]]:
        raise NotServable(
            f"{row['name']} sells without asking, so it has a location to itself: {row['location']} is shared"
            if row["kind"] == "own"
            else f"{row['location']} is not a shared pool: {row['name']} is served from one of our own locations"
        )
    if row["connection_id"] not in (None, connection_id):
        raise NotServable(f"{row['location']} belongs to another channel alone")
