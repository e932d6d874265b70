"""Writes: open shops, connect channels, seal their credentials."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal
from zoneinfo import available_timezones

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.connections import markets
from core.connections.queries import ConnectionRow
from core.db import execute, fetch, fetch_one, scalar
from core.errors import BadInput, Permanent
from core.money import CURRENCIES
from core.sealing import fernets


class UnreadableSecret(Permanent):
    """A stored credential cannot be opened with the keys of this process."""

    def __init__(self, connection_id: int, name: str) -> None:
        super().__init__(
            f"credential {name!r} of connection {connection_id} cannot be opened: "
            "SWITCHYARD_SECRET_KEYS lacks the key it was sealed with"
        )


@dataclass(frozen=True, slots=True)
class NewConnection:
    """What is needed to connect a channel. `secrets` are sealed before they are stored."""

    vendor: str
    name: str
    base_url: str
    account_ref: str
    guarantee_class: str
    settings: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)
    write_mode: Literal["live", "shadow"] = "live"
    """How it begins; where there is a connection of that name already, its own stays."""


def new_key() -> str:
    """A fresh key for SWITCHYARD_SECRET_KEYS."""
    return Fernet.generate_key().decode()


def open_shop(conn: Connection, name: str, time_zone: str, currency: str, actor: Actor, now: datetime) -> int:
    """The shop of that name, made when it is not there yet; returns its id."""
    shop_id = scalar(
        conn,
        """
        insert into shops (name, time_zone, currency, created_at)
        values (%(name)s, %(zone)s, %(currency)s, %(now)s) on conflict (name) do nothing returning shop_id
        """,
        name=name,
        zone=time_zone,
        currency=currency,
        now=now,
    )
    if shop_id is None:
        return scalar(conn, "select shop_id from shops where name = %(name)s", name=name)
    audit.record(conn, shop_id, actor, "open_shop", f"shop:{shop_id}", now, name=name)
    return shop_id


class BadShop(BadInput):
    """What was typed about a shop cannot be."""


def set_up_shop(
    conn: Connection, shop_id: int, name: str, time_zone: str, currency: str, actor: Actor, now: datetime
) -> None:
    """Say what a shop is called, in which zone its business days are counted, and in which currency it thinks.

    The currency is fixed once there are orders: sums of what was sold would change their meaning. Raises BadShop.
    """
    cleaned = " ".join(name.split())
    if not cleaned:
        raise BadShop("a shop needs a name")
    if time_zone not in available_timezones():
        raise BadShop(f"there is no time zone {time_zone}: give an IANA name, such as Europe/London")
    if currency not in CURRENCIES:
        raise BadShop(f"{currency or 'nothing'} is no currency: give its three letters (ISO 4217), such as GBP")
    before = fetch_one(
        conn, "select name, time_zone, currency from shops where shop_id = %(shop)s for update", shop=shop_id
    )
    if before is None:
        raise BadShop(f"there is no shop {shop_id}")
    if scalar(
        conn,
        "select true from shops where name = %(name)s and shop_id <> %(shop)s",
        name=cleaned,
        shop=shop_id,
    ):
        raise BadShop(f"there is a shop {cleaned} already")
    if currency != before["currency"] and scalar(
        conn, "select true from orders where shop_id = %(shop)s limit 1", shop=shop_id
    ):
        raise BadShop(f"the shop has orders in {before['currency']}: its currency cannot change any more")
    wanted = {"name": cleaned, "time_zone": time_zone, "currency": currency}
    if wanted == dict(before):
        return
    execute(
        conn,
        """
        update shops set name = %(name)s, time_zone = %(time_zone)s, currency = %(currency)s
        where shop_id = %(shop)s
        """,
        shop=shop_id,
        **wanted,
    )
    audit.record(conn, shop_id, actor, "set_up_shop", f"shop:{shop_id}", now, before=dict(before), **wanted)


def connect(
    conn: Connection, shop_id: int, new: NewConnection, keys: Sequence[str], actor: Actor, now: datetime
) -> int:
    """Connect a channel, or bring the connection of that name up to date; returns its id.

    Raises AccountTaken where another connection of the shop stands for that account.
    """
    _refuse_twice(conn, shop_id, new)
    row = conn.exec_driver_sql(
        """
        insert into connections (shop_id, vendor, name, base_url, account_ref, guarantee_class, settings, write_mode,
            reads_orders, created_at)
        values (%(shop)s, %(vendor)s, %(name)s, %(base_url)s, %(account)s, %(class)s, %(settings)s, %(mode)s,
            -- What only is told the catalogue has no orders that could be read.
            %(class)s <> 'T', %(now)s)
        on conflict (shop_id, name) do update set base_url = excluded.base_url, account_ref = excluded.account_ref,
            settings = connections.settings || excluded.settings
        returning id, (xmax = 0) as is_new
        """,
        {
            "shop": shop_id,
            "vendor": new.vendor,
            "name": new.name,
            "base_url": new.base_url,
            "account": new.account_ref,
            "class": new.guarantee_class,
            "settings": Jsonb(dict(new.settings)),
            "mode": new.write_mode,
            "now": now,
        },
    ).one()
    markets.part(conn, shop_id, row.id)
    seal_secrets(conn, keys, shop_id, row.id, new.secrets, now)
    act = "connect" if row.is_new else "update_connection"
    audit.record(conn, shop_id, actor, act, f"connection:{row.id}", now, vendor=new.vendor, name=new.name)
    return row.id


class AccountTaken(BadInput):
    """The account is connected already, under another name."""


class StockShared(BadInput):
    """Another connection of the same seller sets the same quantities."""


def _refuse_twice(conn: Connection, shop_id: int, new: NewConnection) -> None:
    """An account connected twice would have its stock and its orders counted twice, and each write undone by the other.

    One at Amazon stands for as many accounts as it sells in marketplaces. The shop is locked: two may connect at once.
    """
    execute(conn, "select 1 from shops where shop_id = %(shop)s for no key update", shop=shop_id)
    taken = scalar(
        conn,
        """
        select name from connections
        where shop_id = %(shop)s and vendor = %(vendor)s and lower(account_ref) = lower(%(account)s)
            and coalesce(settings ->> 'marketplace_id', '') = %(marketplace)s and name <> %(name)s
        order by id limit 1
        """,
        shop=shop_id,
        vendor=new.vendor,
        account=new.account_ref,
        marketplace=str(new.settings.get("marketplace_id") or ""),
        name=new.name,
    )
    if taken is not None:
        raise AccountTaken(
            f"{new.account_ref} is connected already, as {taken}: to bring that connection up to date, give its name"
        )
    _refuse_shared_stock(conn, shop_id, new)


def _refuse_shared_stock(conn: Connection, shop_id: int, new: NewConnection) -> None:
    """A seller's quantity belongs to the SKU, whichever marketplace of a region it is set in.

    Two connections of one seller there would write the same number over each other, and each take it for its own.
    Setting `own_skus`: what is listed here is listed under SKUs that no other marketplace of the seller's has.
    """
    if not new.settings.get("marketplace_id") or new.settings.get("own_skus"):
        return
    region = new.settings.get("region")
    sharing = scalar(
        conn,
        """
        select name from connections
        where shop_id = %(shop)s and vendor = %(vendor)s and lower(account_ref) = lower(%(account)s)
            and case when settings ? 'region' and %(region)s::text is not null then settings ->> 'region' = %(region)s
                -- A region is spoken to at one address.
                else base_url = %(address)s end
            and not coalesce((settings ->> 'own_skus')::boolean, false) and name <> %(name)s
        order by id limit 1
        """,
        shop=shop_id,
        vendor=new.vendor,
        account=new.account_ref,
        region=None if region is None else str(region),
        address=new.base_url,
        name=new.name,
    )
    if sharing is not None:
        raise StockShared(
            f"{new.account_ref} is connected in the same region already, as {sharing}: there a SKU has one quantity in"
            " all marketplaces, so two connections would write it over each other. What is sold elsewhere in the region"
            " follows what is written by that one. Where this marketplace has SKUs that no other has, say --own-skus"
        )


def seal_secrets(
    conn: Connection,
    keys: Sequence[str],
    shop_id: int,
    connection_id: int,
    secrets: Mapping[str, str],
    now: datetime,
) -> None:
    """Store credentials encrypted under the newest key, replacing those of the same names.

    A client secret that is replaced by another one stays as `client_secret_previous`: the channel goes on signing with
    it for a while.
    """
    box = MultiFernet(fernets(keys))
    before = _client_secret(conn, box, shop_id, connection_id) if "client_secret" in secrets else None
    if before is not None and before != secrets["client_secret"]:
        secrets = {"client_secret_previous": before, **secrets}
    for name, value in sorted(secrets.items()):
        execute(
            conn,
            """
            insert into connection_secrets (shop_id, connection_id, name, sealed, updated_at)
            values (%(shop)s, %(connection)s, %(name)s, %(sealed)s, %(now)s)
            on conflict (shop_id, connection_id, name) do update
                set sealed = excluded.sealed, updated_at = excluded.updated_at
            """,
            shop=shop_id,
            connection=connection_id,
            name=name,
            sealed=box.encrypt(value.encode()),
            now=now,
        )


def _client_secret(conn: Connection, box: MultiFernet, shop_id: int, connection_id: int) -> str | None:
    """The one that is stored; None where there is none, or none that a key of this process opens."""
    sealed = scalar(
        conn,
        """
        select sealed from connection_secrets
        where shop_id = %(shop)s and connection_id = %(connection)s and name = 'client_secret' for update
        """,
        shop=shop_id,
        connection=connection_id,
    )
    try:
        return None if sealed is None else box.decrypt(bytes(sealed)).decode()
    except InvalidToken:
        return None


def open_secrets(conn: Connection, keys: Sequence[str], shop_id: int, connection_id: int) -> dict[str, str]:
    """The connection's credentials in clear. Raises UnreadableSecret when a key is missing."""
    box = MultiFernet(fernets(keys))
    found = {}
    for row in fetch(
        conn,
        "select name, sealed from connection_secrets where shop_id = %(shop)s and connection_id = %(connection)s",
        shop=shop_id,
        connection=connection_id,
    ):
        try:
            found[row["name"]] = box.decrypt(bytes(row["sealed"])).decode()
        except InvalidToken as error:
            raise UnreadableSecret(connection_id, row["name"]) from error
    return found


def note_problem(conn: Connection, shop_id: int, connection_id: int, problem: str | None, now: datetime) -> None:
    """Remember what the connection last failed with, or that it works again."""
    execute(
        conn,
        """
        update connections set last_error = %(problem)s, last_error_at = case when %(problem)s::text is null then null
            else %(now)s end
        where shop_id = %(shop)s and id = %(connection)s and last_error is distinct from %(problem)s
        """,
        shop=shop_id,
        connection=connection_id,
        problem=problem,
        now=now,
    )


def set_locations(
    conn: Connection,
    row: ConnectionRow,
    locations: Mapping[str, int],
    actor: Actor,
    now: datetime,
    external: Collection[str] = (),
) -> ConnectionRow:
    """Remember our location for each of the channel's places that has none yet; returns the connection as it is now.

    What somebody said meanwhile of a place stays. `external` are the places where the channel keeps stock itself, in
    warehouses of its own; once told, a place stays one.
    """
    found = scalar(
        conn,
        "select settings from connections where shop_id = %(shop)s and id = %(id)s for no key update",
        shop=row.shop_id,
        id=row.id,
    )
    locations = {**locations, **(found.get("locations") or {})}
    said: dict[str, Any] = {"locations": locations}
    if external or found.get("external_places"):
        said["external_places"] = sorted({*external, *(found.get("external_places") or ())})
    settings = {**found, **said}
    if settings != found:
        execute(
            conn,
            "update connections set settings = settings || %(settings)s where shop_id = %(shop)s and id = %(id)s",
            shop=row.shop_id,
            id=row.id,
            settings=Jsonb(said),
        )
        audit.record(conn, row.shop_id, actor, "map_locations", f"connection:{row.id}", now, **said)
    return replace(row, settings=settings)


def note_catalogue_read(conn: Connection, shop_id: int, connection_id: int, now: datetime) -> None:
    """Remember when the whole catalogue was last read."""
    execute(
        conn,
        "update connections set catalogue_read_at = %(now)s where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=connection_id,
        now=now,
    )


def note_open_orders(conn: Connection, shop_id: int, connection_id: int, resume: str | None) -> None:
    """Remember where the reading of open orders goes on: in the unit of work that records the page before it."""
    execute(
        conn,
        "update connections set open_orders_resume = %(resume)s where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=connection_id,
        resume=resume,
    )


def note_open_orders_read(
    conn: Connection, shop_id: int, connection_id: int, now: datetime, shown_from: datetime | None
) -> None:
    """Remember that all orders that were open at the connection are recorded; older than `shown_from` it hid them."""
    execute(
        conn,
        """
        update connections set open_orders_read_at = %(now)s, open_orders_from = %(shown_from)s,
            open_orders_resume = null
        where shop_id = %(shop)s and id = %(id)s
        """,
        shown_from=shown_from,
        shop=shop_id,
        id=connection_id,
        now=now,
    )


def orders_begin_at(row: ConnectionRow) -> datetime:
    """From when on its orders are read: setting `orders_from` where it was connected before they could be."""
    begun = row.settings.get("orders_from")
    return row.created_at if begun is None else datetime.fromisoformat(begun)


def note_polled(conn: Connection, shop_id: int, connection_id: int, version_at: datetime) -> None:
    """Let the next poll read from here: everything before is recorded. A poll that is cut off goes on from here."""
    execute(
        conn,
        "update connections set orders_polled_to = %(at)s where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=connection_id,
        at=version_at,
    )


def note_asked(conn: Connection, shop_id: int, connection_id: int, asked_at: datetime, resume: str | None) -> None:
    """Remember that a channel which may be asked only so often has answered, and where it goes on.

    In the unit of work that records what it told: what is not recorded is told again.
    """
    execute(
        conn,
        """
        update connections set orders_asked_at = %(at)s, orders_resume = %(resume)s
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=connection_id,
        at=asked_at,
        resume=resume,
    )


def note_poll_complete(
    conn: Connection, shop_id: int, connection_id: int, polled_at: datetime, known_until: datetime | None = None
) -> None:
    """Remember that a poll has read everything that had changed by `polled_at`.

    `known_until`: up to when every order is among what was read; None where its orders are not read at all. The
    watermark can go there once every message recorded by now is handled (`advance_watermark`). One that is on its way
    is not overtaken: in a busy shop something newer is always waiting.
    """
    execute(
        conn,
        """
        update connections c set orders_polled_at = greatest(c.orders_polled_at, %(at)s)
        where c.shop_id = %(shop)s and c.id = %(id)s
        """,
        shop=shop_id,
        id=connection_id,
        at=polled_at,
    )
    if known_until is None:
        return
    execute(
        conn,
        """
        update connections c set watermark_next_at = %(until)s, watermark_next_inbox_id = (
            select coalesce(max(m.id), 0) from inbox_messages m where m.shop_id = c.shop_id)
        where c.shop_id = %(shop)s and c.id = %(id)s and c.watermark_next_at is null
        """,
        shop=shop_id,
        id=connection_id,
        until=known_until,
    )
    advance_watermark(conn, shop_id, connection_id)


def advance_watermark(conn: Connection, shop_id: int, connection_id: int) -> bool:
    """Move a connection's watermark to where a complete poll has read to, if all it recorded is handled.

    Stops at what waits, at what is parked, and at a line that nobody can say which listing it was sold through: that
    may be any of them, unless the channel ships it, from no pool of ours. A level of an item that we do not list is no
    order. What arrived after the poll is of no account: an order of before was among what the poll read.
    """
    return (
        execute(
            conn,
            """
            update connections c set watermark_at = greatest(c.watermark_at, c.watermark_next_at),
                watermark_next_at = null, watermark_next_inbox_id = null
            where c.shop_id = %(shop)s and c.id = %(id)s and c.watermark_next_at is not null
                -- Each by the index of its state: the rest of the inbox is history.
                and not exists (select from inbox_messages m where m.shop_id = c.shop_id and m.connection_id = c.id
                    and m.state = 'received' and m.id <= c.watermark_next_inbox_id)
                and not exists (select from inbox_messages m where m.shop_id = c.shop_id and m.connection_id = c.id
                    and m.state = 'waiting' and m.id <= c.watermark_next_inbox_id and m.waiting_for not like 'item:%%')
                and not exists (select from inbox_messages m where m.shop_id = c.shop_id and m.connection_id = c.id
                    and m.state = 'parked' and m.id <= c.watermark_next_inbox_id and m.cause <> 'unknown_item')
                and not exists (select from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
                    where l.shop_id = c.shop_id and l.mapping = 'unmapped' and l.listing_id is null
                        and l.variant_ref is null and o.connection_id = c.id and o.cancelled_at is null
                        and not o.ships_from_channel)
            """,
            shop=shop_id,
            id=connection_id,
        )
        > 0
    )


def note_reads_orders(conn: Connection, shop_id: int, connection_id: int, reads_orders: bool) -> None:
    """Say whether a connection's orders are read at all."""
    execute(
        conn,
        """
        update connections set reads_orders = %(reads)s
        where shop_id = %(shop)s and id = %(id)s and reads_orders <> %(reads)s
        """,
        shop=shop_id,
        id=connection_id,
        reads=reads_orders,
    )
