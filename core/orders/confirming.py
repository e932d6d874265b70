"""Writes: what a channel is to be told of shipped packages, kept against what it confirmed until the two are one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.db import execute, fetch, fetch_one
from core.errors import BadInput
from core.orders.counts import COUNTED
from core.ports import PackageAnswer, PackageSent

TOLD_VENDORS = frozenset({"amazon"})
"""Whose orders are told of shipments from here."""

OTHER_CARRIER = "Other"
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=1)
CLOCKS_APART = timedelta(minutes=5)
"""By so much a person's clock and a channel's may differ before a moment of shipping is refused."""
TAKEN_FOR = timedelta(minutes=5)
"""Whoever took one to send it is thought dead after so long; sending it again changes nothing."""

_PACKAGE = re.compile(r"[1-9][0-9]{0,17}")
_CANCELLED = "its order was cancelled before the channel was told: if the package has left, call it back"
_WAITS_FOR_PAYMENT = ("PENDING", "PENDING_AVAILABILITY")


class CannotConfirm(BadInput):
    """A package that the channel cannot be told of as it is given."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package that left. `order` is the order's name or the channel's id; `units` by the channel's id of the line.

    `package_ref` None: the next number that the order has free. One that was told before is edited. Without `units` it
    is everything of the order that has not left yet.
    """

    order: str
    carrier_code: str
    tracking_number: str
    shipped_at: datetime
    units: Mapping[str, int]
    carrier_name: str | None = None
    ship_method: str | None = None
    package_ref: str | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """What is to be told now. `is_new` False: it had been asked for like this already, and nothing changed."""

    confirmation_id: int
    package_ref: str
    connection_id: int
    is_new: bool


def queue(conn: Connection, shop_id: int, package: Package, actor: Actor, now: datetime) -> Queued:
    """Have the order's channel told of a package, or of a package as it really was.

    Raises CannotConfirm: the order is not known, not of a channel that is told from here, shipped by the channel, not
    paid yet or cancelled; or more is in the package than has not left yet. The actor's reason goes on record.
    """
    order = _order(conn, shop_id, package.order)
    _check_words(package)
    _check_order(order, package.order)
    _check_moment(package.shipped_at, order, now)
    ref = package.package_ref or _next_ref(conn, shop_id, order["id"])
    still_open = _open_units(conn, shop_id, order["id"], ref)
    units = package.units or {row["channel_ref"]: row["units"] for row in still_open if row["units"] > 0}
    lines = _lines(units, still_open, package.order)
    row = fetch_one(
        conn,
        """
        insert into shipment_confirmations as s (shop_id, order_id, package_ref, carrier_code, carrier_name,
            ship_method, tracking_number, shipped_at, line_ids, line_units, next_try_at, requested_by, requested_at)
        values (%(shop)s, %(order)s, %(ref)s, %(code)s, %(name)s, %(method)s, %(tracking)s, %(shipped)s, %(lines)s,
            %(units)s, %(now)s, %(by)s, %(now)s)
        on conflict (shop_id, order_id, package_ref) do update set carrier_code = excluded.carrier_code,
            carrier_name = excluded.carrier_name, ship_method = excluded.ship_method,
            tracking_number = excluded.tracking_number, shipped_at = excluded.shipped_at,
            line_ids = excluded.line_ids, line_units = excluded.line_units, revision = s.revision + 1, attempts = 0,
            next_try_at = excluded.next_try_at, refused_at = null, last_code = null, last_detail = null,
            requested_by = excluded.requested_by, requested_at = excluded.requested_at
        where s.refused_at is not null or (s.carrier_code, s.carrier_name, s.ship_method, s.tracking_number,
                s.shipped_at, s.line_ids, s.line_units)
            is distinct from (excluded.carrier_code, excluded.carrier_name, excluded.ship_method,
                excluded.tracking_number, excluded.shipped_at, excluded.line_ids, excluded.line_units)
        returning id
        """,
        shop=shop_id,
        order=order["id"],
        ref=ref,
        code=package.carrier_code.strip(),
        name=package.carrier_name,
        method=package.ship_method,
        tracking=package.tracking_number.strip(),
        shipped=package.shipped_at,
        lines=[line_id for line_id, _ in lines],
        units=[count for _, count in lines],
        by=actor.name,
        now=now,
    )
    if row is None:
        known = fetch_one(
            conn,
            "select id from shipment_confirmations where shop_id = %(s)s and order_id = %(o)s and package_ref = %(r)s",
            s=shop_id,
            o=order["id"],
            r=ref,
        )
        assert known is not None
        return Queued(known["id"], ref, order["connection_id"], False)
    audit.record(
        conn,
        shop_id,
        actor,
        "confirm_shipment",
        f"order:{order['id']}",
        now,
        package=ref,
        carrier=package.carrier_name or package.carrier_code,
        units=sum(count for _, count in lines),
    )
    return Queued(row["id"], ref, order["connection_id"], True)


def _order(conn: Connection, shop_id: int, named: str) -> RowMapping:
    rows = fetch(
        conn,
        """
        select o.id, o.connection_id, o.placed_at, o.cancelled_at, o.channel_status, o.ships_from_channel, c.vendor,
            c.name
        from orders o join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
        where o.shop_id = %(shop)s and o.name = %(order)s order by o.id for update of o
        """,
        shop=shop_id,
        order=named.strip(),
    )
    if not rows:
        raise CannotConfirm(
            f"no order is called {named!r}: give it as the channel writes it, or wait for the next poll"
        )
    if len(rows) > 1:
        names = ", ".join(sorted({row["name"] for row in rows}))
        raise CannotConfirm(f"more than one order is called {named!r} ({names}): none of them was touched")
    return rows[0]


def _check_order(order: RowMapping, named: str) -> None:
    if order["vendor"] not in TOLD_VENDORS:
        raise CannotConfirm(f"{named} is an order of {order['name']}, which is not told of shipments from here")
    if order["ships_from_channel"]:
        raise CannotConfirm(f"{named} is shipped by {order['name']} itself: there is nothing to confirm")
    if order["channel_status"] in _WAITS_FOR_PAYMENT:
        raise CannotConfirm(f"{named} waits for its payment: it can be confirmed once {order['name']} says it is paid")
    if order["cancelled_at"] is not None:
        raise CannotConfirm(f"{named} is cancelled: what left of it has to be called back, not confirmed")


def _check_words(package: Package) -> None:
    if package.package_ref is not None and not _PACKAGE.fullmatch(package.package_ref):
        raise CannotConfirm(f"{package.package_ref!r} is no package reference: give a whole number above 0")
    if not package.carrier_code.strip():
        raise CannotConfirm("the carrier code is missing: give the channel's code, or Other with the carrier's name")
    if package.carrier_code.strip() == OTHER_CARRIER and not (package.carrier_name or "").strip():
        raise CannotConfirm("the carrier's name is missing: it is needed where the carrier code is Other")
    if not package.tracking_number.strip():
        raise CannotConfirm("the tracking number is missing")


def _check_moment(shipped_at: datetime, order: RowMapping, now: datetime) -> None:
    if shipped_at.tzinfo is None:
        raise CannotConfirm("the moment of shipping has no time zone: write it like 2026-11-26T09:30:00+00:00")
    if shipped_at > now + CLOCKS_APART:
        raise CannotConfirm("the moment of shipping lies in the future: confirm a package when it has left")
    if shipped_at < order["placed_at"] - CLOCKS_APART:
        raise CannotConfirm(
            f"the moment of shipping lies before the order, which was placed {order['placed_at']:%Y-%m-%d %H:%M} UTC:"
            " give the day and the time zone at which the package left"
        )


def _next_ref(conn: Connection, shop_id: int, order_id: int) -> str:
    """The number behind the highest that the order has, here or at the channel."""
    row = fetch_one(
        conn,
        """
        select coalesce(max(ref::int8), 0) + 1 as next from (
            select package_ref as ref from shipment_confirmations where shop_id = %(shop)s and order_id = %(order)s
            union all
            select channel_ref from fulfilments where shop_id = %(shop)s and order_id = %(order)s
                and channel_ref ~ '^[1-9][0-9]{0,16}$') known
        """,
        shop=shop_id,
        order=order_id,
    )
    assert row is not None
    return str(row["next"])


def _open_units(conn: Connection, shop_id: int, order_id: int, package_ref: str) -> Sequence[RowMapping]:
    """Lines of an order with the units that are in no other package, told to the channel or told by it."""
    return fetch(
        conn,
        """
        with packed as (
            select fl.order_line_id as line_id, fl.units, f.channel_ref as ref
            from fulfilments f join fulfilment_lines fl on fl.shop_id = f.shop_id and fl.fulfilment_id = f.id
            where f.shop_id = %(shop)s and f.order_id = %(order)s and f.is_shipped
                and not starts_with(f.channel_ref, %(counted)s)
            union all
            select e.line_id, e.units, s.package_ref
            from shipment_confirmations s
            cross join lateral unnest(s.line_ids, s.line_units) as e (line_id, units)
            where s.shop_id = %(shop)s and s.order_id = %(order)s and s.refused_at is null
                and not exists (select from fulfilments f where f.shop_id = s.shop_id and f.order_id = s.order_id
                    and f.channel_ref = s.package_ref and f.is_shipped)
        )
        select l.id, l.channel_ref, l.title, greatest(0, l.units - greatest(
            coalesce(sum(p.units) filter (where p.ref <> %(ref)s), 0),
            l.counted_units - coalesce(sum(p.units) filter (where p.ref = %(ref)s), 0)))::int8 as units
        from order_lines l left join packed p on p.line_id = l.id
        where l.shop_id = %(shop)s and l.order_id = %(order)s
        group by l.id, l.channel_ref, l.title, l.units, l.counted_units order by l.id
        """,
        shop=shop_id,
        order=order_id,
        ref=package_ref,
        counted=COUNTED,
    )


def _lines(units: Mapping[str, int], still_open: Sequence[RowMapping], named: str) -> list[tuple[int, int]]:
    known = {row["channel_ref"]: row for row in still_open}
    if not units:
        raise CannotConfirm(f"nothing of {named} is still to be shipped: to edit a package, give its reference")
    lines = []
    for ref, count in units.items():
        if ref not in known:
            raise CannotConfirm(f"{named} has no line {ref!r}: its lines are {', '.join(known) or 'not known'}")
        if count <= 0:
            raise CannotConfirm(f"line {ref}: {count} units are no shipment: give 1 or more")
        if count > known[ref]["units"]:
            left = known[ref]["units"]
            raise CannotConfirm(
                f"line {ref} ({known[ref]['title']}): {count} units where {left} are still to be shipped"
            )
        lines.append((known[ref]["id"], count))
    return sorted(lines)


@dataclass(frozen=True, slots=True)
class Due:
    """A package to be told now, with the revision that it then is."""

    confirmation_id: int
    revision: int
    package: PackageSent


def connections_due(conn: Connection, now: datetime) -> list[tuple[int, int]]:
    """(shop_id, connection_id) of every active connection that may be written to and has something to be told."""
    rows = fetch(
        conn,
        """
        select distinct c.shop_id, c.id from shipment_confirmations s
        join orders o on o.shop_id = s.shop_id and o.id = s.order_id
        join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
        where s.refused_at is null and s.revision is distinct from s.confirmed_revision and s.next_try_at <= %(now)s
            and o.cancelled_at is null and c.state = 'active' and may_write(c.shop_id, c.id)
        order by 1, 2
        """,
        now=now,
    )
    return [(row["shop_id"], row["id"]) for row in rows]


def refuse_cancelled(conn: Connection, now: datetime) -> int:
    """Refuse what was still to be told of orders that are cancelled since, on record for a person; returns how many."""
    rows = fetch(
        conn,
        """
        with due as (
            select s.shop_id, s.id, o.name from shipment_confirmations s
            join orders o on o.shop_id = s.shop_id and o.id = s.order_id and o.cancelled_at is not null
            where s.refused_at is null and s.revision is distinct from s.confirmed_revision
            order by s.shop_id, s.id for update of s skip locked
        )
        update shipment_confirmations s set refused_at = %(now)s, last_code = 'ORDER_CANCELLED', last_detail = %(why)s
        from due where s.shop_id = due.shop_id and s.id = due.id
        returning s.shop_id, s.order_id, s.package_ref, due.name
        """,
        now=now,
        why=_CANCELLED,
    )
    for row in rows:
        audit.record(
            conn,
            row["shop_id"],
            Actor("shipments", _CANCELLED),
            "refuse_shipment",
            f"order:{row['order_id']}",
            now,
            order=row["name"],
            package=row["package_ref"],
        )
    return len(rows)


def take(conn: Connection, shop_id: int, connection_id: int, limit: int, now: datetime) -> list[Due]:
    """Take what is due of a connection, the oldest first; nobody else takes it for TAKEN_FOR.

    To be committed before anything is sent. Two senders would do no harm: the same package again is an edit to what it
    says already.
    """
    rows = fetch(
        conn,
        """
        with due as (
            select s.id from shipment_confirmations s
            join orders o on o.shop_id = s.shop_id and o.id = s.order_id and o.connection_id = %(connection)s
            where s.shop_id = %(shop)s and s.refused_at is null and s.revision is distinct from s.confirmed_revision
                and o.cancelled_at is null and s.next_try_at <= %(now)s and may_write(s.shop_id, o.connection_id)
            order by s.requested_at, s.id limit %(limit)s for update of s skip locked
        ), taken as (
            update shipment_confirmations s set next_try_at = %(now)s + %(taken)s, attempts = s.attempts + 1
            from due where s.shop_id = %(shop)s and s.id = due.id
            returning s.*
        )
        select t.*, o.channel_ref as order_ref,
            array(select l.channel_ref from unnest(t.line_ids) with ordinality as e (id, n)
                join order_lines l on l.shop_id = t.shop_id and l.id = e.id order by e.n) as line_refs
        from taken t join orders o on o.shop_id = t.shop_id and o.id = t.order_id order by t.requested_at, t.id
        """,
        shop=shop_id,
        connection=connection_id,
        now=now,
        limit=limit,
        taken=TAKEN_FOR,
    )
    return [Due(row["id"], row["revision"], _sent(row)) for row in rows]


def _sent(row: RowMapping) -> PackageSent:
    return PackageSent(
        order_ref=row["order_ref"],
        package_ref=row["package_ref"],
        carrier_code=row["carrier_code"],
        carrier_name=row["carrier_name"],
        ship_method=row["ship_method"],
        tracking_number=row["tracking_number"],
        shipped_at=row["shipped_at"],
        items=tuple(zip(row["line_refs"], row["line_units"], strict=True)),
    )


def settle(conn: Connection, shop_id: int, due: Due, answer: PackageAnswer, now: datetime) -> None:
    """Record what became of a package that was told; one that was changed meanwhile stays to be told again."""
    execute(
        conn,
        """
        update shipment_confirmations s set
            confirmed_revision = case when %(outcome)s = 'confirmed' then %(revision)s else s.confirmed_revision end,
            confirmed_at = case when %(outcome)s = 'confirmed' then %(now)s else s.confirmed_at end,
            refused_at = case when %(outcome)s = 'refused' and s.revision = %(revision)s then %(now)s::timestamptz end,
            last_code = %(code)s, last_detail = %(detail)s,
            next_try_at = case when s.revision <> %(revision)s then %(now)s
                else %(now)s + least(%(longest)s, %(first)s * power(2, least(s.attempts - 1, 20))) end
        where s.shop_id = %(shop)s and s.id = %(id)s
            and coalesce(s.confirmed_revision, 0) < %(revision)s
        """,
        shop=shop_id,
        id=due.confirmation_id,
        revision=due.revision,
        outcome=answer.outcome,
        code=None if answer.outcome == "confirmed" else answer.code,
        detail=None if answer.outcome == "confirmed" else answer.detail,
        first=FIRST_WAIT,
        longest=LONGEST_WAIT,
        now=now,
    )
