"""A shop in which much broke, and what hangs on it is known: orders with their money, SKUs, work done since."""

from __future__ import annotations

import json
from dataclasses import dataclass

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.db import execute, fetch, scalar
from core.recovery import operations, weighing
from core.recovery.choosing import Chosen
from core.recovery.preview import preview
from tests.adapters.bodies import ORDER
from tests.dashboard import job_worlds, seed, worlds

REFUSED = "Unauthorised: set quantities: not authorised: the refresh token does not hold (invalid_grant)"
MENDABLE = {**ORDER, "id": 5551, "name": "#5551", "total_price": "49.90", "created_at": "soon"}
"""An order of which a person can mend the day, and nothing of its money."""


@dataclass(frozen=True)
class Reach:
    """What was seeded, by id."""

    world: worlds.World
    order: int
    sku: str
    message: int


def reaching(conn: Connection) -> Reach:
    """The calm shop with six causes; weighed, so that what hangs on each is known."""
    world = worlds.calm(conn)
    _refused(conn, world)
    sku = _to_push(conn, world)
    order, message = _unreadable(conn, world)
    _superseded(conn, world)
    _silent(conn, world)
    _unsent(conn, world)
    weighing.read_messages(conn, bootstrap.mentions)
    weighing.read_jobs(conn)
    weighing.add_up(conn, utc_now())
    return Reach(world, order, sku, message)


def _refused(conn: Connection, world: worlds.World) -> None:
    """Pushes that fail ever more often, the last one just now."""
    for number in range(64):
        seed.job(
            conn,
            "stock.push",
            seed.ago(minutes=number * number / 6, seconds=20),
            error=REFUSED,
            fingerprint="refused",
            traceback=job_worlds.TRACEBACK,
            arguments={"shop_id": world.shop, "connection_id": world.amazon},
        )


def _to_push(conn: Connection, world: worlds.World) -> str:
    """SKUs whose quantity waits behind the pushes; returns the code of one."""
    rows = fetch(
        conn,
        """
        update listings l set desired_units = published_units + 1 from skus s
        where l.connection_id = %(c)s and s.id = l.sku_id and l.id in (
            select id from listings where connection_id = %(c)s and sku_id is not null order by id limit 5)
        returning s.code
        """,
        c=world.amazon,
    )
    return str(rows[0]["code"])


def _unreadable(conn: Connection, world: worlds.World) -> tuple[int, int]:
    """Orders told again in a form that cannot be read; returns the first order and its message."""
    order = seed.order(conn, world.shop, world.shopify, seed.ago(hours=3), "#5551")
    seed.set_state(conn, "orders", order, channel_ref="5551")
    messages = [
        seed.message(
            conn,
            world.shop,
            world.shopify,
            seed.ago(hours=1 + 2 * number),
            "parked",
            road="poll",
            topic="orders/updated" if number else "orders/create",
            cause="unreadable",
            detail="created_at: give a moment, such as 2026-03-01T09:00:00Z",
            attempts=1,
            body=json.dumps({**MENDABLE, "id": 5551 + number, "name": f"#{5551 + number}"}).encode(),
        )
        for number in range(7)
    ]
    return order, messages[0]


def _superseded(conn: Connection, world: worlds.World) -> None:
    """Polls that failed while the database was away, of which later ones did the work."""
    about = {"shop_id": world.shop, "connection_id": world.shopify}
    for minute in range(300, 240, -6):
        seed.job(conn, "connection.poll", seed.ago(minutes=minute), error="OperationalError: the connection is lost",
                 fingerprint="away", queue="polls", arguments=about)  # fmt: skip
    seed.job(conn, "connection.poll", seed.ago(minutes=250), "finished", queue="polls", arguments=about)


def _silent(conn: Connection, world: worlds.World) -> None:
    for hours in (2, 5):
        seed.job(
            conn,
            "stock.feed",
            seed.ago(hours=hours),
            error="OutcomeUnknown: submit feed: the outcome is unknown (no answer within 30 seconds)",
            fingerprint="silent",
            arguments={"shop_id": world.shop, "connection_id": world.amazon},
        )


def _unsent(conn: Connection, world: worlds.World) -> None:
    for number in range(2):
        seed.insert(
            conn,
            "outbox_messages",
            shop_id=world.shop,
            kind="notice",
            dedupe_key=f"n-{number}",
            payload=Jsonb({"text": "12 units could be oversold"}),
            state="dead",
            attempts=12,
            next_attempt_at=seed.ago(hours=8),
            created_at=seed.ago(hours=50),
            settled_at=seed.ago(hours=8),
            last_error="Refused: post: refused with 404 gone: no such address",
        )


def being_requeued(conn: Connection, reach: Reach) -> int:
    """Somebody has orders/updated done again, and some of it is done; returns the recovery."""
    shop, actor = reach.world.shop, Actor("ada", "The feed of the shop is repaired")
    key = scalar(conn, "select group_key from failure_groups where function = 'orders/updated'")
    plan = preview(conn, shop, Chosen(group_key=key), _may, utc_now())
    number = operations.requeue(
        conn, shop, Chosen(group_key=key), plan.token, actor, utc_now(), _may, name="After the repair", per_minute=6
    ).recovery_id
    assert number is not None
    execute(
        conn,
        """
        update recovery_works set state = 'done', released_at = now(), ended_at = now()
        where recovery_id = %(id)s and ordinal <= 3
        """,
        id=number,
    )
    return number


def _may(name: str, arguments: object) -> None:
    """Every job may be queued."""
