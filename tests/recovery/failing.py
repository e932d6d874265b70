"""A shop in which things fail, and a stand-in of the broker that runs what it is told to, for tests of recovery."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from core.adapters.registry import mentions
from core.audit import Actor
from core.db import execute, fetch, scalar
from core.errors import BadInput
from core.recovery import operations, releasing, weighing
from core.recovery.choosing import Chosen
from core.recovery.preview import Preview, preview
from core.runs import operations as runs
from tests.factories import NOW, World, unique

ADA, BOB = Actor("Ada", "the token is renewed"), Actor("Bob", "me too")
RETRIES: Mapping[str, int] = {"flaky.job": 3}
KNOWN = (
    "stock.push",
    "connection.poll",
    "connection.sync",
    "orders.read",
    "flaky.job",
    "audit.nightly",
    "shipments.confirm",
    "poll.orders",
)


def check(function: str, arguments: Mapping[str, object]) -> None:
    """What a queue says to a job that it does not know."""
    if function not in KNOWN:
        raise BadInput(f"no job is named {function!r}")


def run_job(
    conn: Connection,
    function: str,
    arguments: Mapping[str, object],
    outcome: str,
    at: datetime,
    *,
    ref: str | None = None,
    error: str = "Refused: the token of order 17 was refused",
    attempt: int = 1,
    business: str | None = None,
) -> int:
    """A run of a job from its beginning to its end, as the worker records it."""
    run = runs.open_job_run(
        conn, job_ref=ref or unique("job").replace(" ", "-"), function=function, arguments=arguments, queue="stock",
        worker="w", attempt=attempt, now=at,
    )  # fmt: skip
    runs.close_job_run(conn, run, outcome, at + timedelta(seconds=1), error=error if outcome == "failed" else None,
                       fingerprint="f" if outcome == "failed" else None, traceback="in push_stock",
                       business=business)  # fmt: skip
    return run


def order_body(ref: int, total: str = "19.90", sku: str = "MUG", version: datetime = NOW) -> bytes:
    """An order of Shopify's that cannot be read, since its lines have no quantity."""
    order = {
        "id": ref,
        "name": f"#{ref}",
        "updated_at": version.isoformat(),
        "created_at": version.isoformat(),
        "currency": "GBP",
        "total_price": total,
        "email": "jo@example.com",
        "note": "ring at Smith's",
        "customer": {"id": 7, "first_name": "Jo", "last_name": "Smith", "phone": "020 7946 0958"},
        "shipping_address": {"address1": "1 High Street", "zip": "N1 9GU", "country_code": "GB", "latitude": 51.5},
        "line_items": [{"id": 1, "variant_id": None, "sku": sku, "name": "The mug", "price": total}],
    }
    return json.dumps(order).encode()


def park(
    conn: Connection,
    world: World,
    *bodies: bytes,
    topic: str = "orders/create",
    cause: str = "unreadable",
    detail: str = "orders/create: cannot read line_items[0].quantity (missing)",
    at: datetime = NOW,
    road: str = "webhook",
) -> list[int]:
    """Messages that were parked."""
    rows = fetch(
        conn,
        """
        insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, triggered_at, received_at,
            state, cause, detail, attempts, settled_at)
        select %(shop)s, %(connection)s, gen_random_uuid()::text, %(topic)s, %(road)s, b, %(at)s, %(at)s, 'parked',
            %(cause)s, %(detail)s, 1, %(at)s
        from unnest(%(bodies)b::bytea[]) with ordinality as m (b, place) order by place returning id
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        topic=topic,
        road=road,
        at=at,
        cause=cause,
        detail=detail,
        bodies=list(bodies),
    )
    return [row["id"] for row in rows]


def dead_notice(conn: Connection, shop_id: int, text: str = "the audit found 3 rows", at: datetime = NOW) -> int:
    """A notice that nobody took."""
    return scalar(
        conn,
        """
        insert into outbox_messages (shop_id, kind, dedupe_key, payload, state, attempts, next_attempt_at, created_at,
            settled_at, last_error)
        values (%(shop)s, 'notice', gen_random_uuid()::text, %(payload)s::jsonb, 'dead', 12, %(at)s, %(at)s, %(at)s,
            'the address answers 503') returning id
        """,
        shop=shop_id,
        payload=json.dumps({"text": text}),
        at=at,
    )


def weigh(conn: Connection, now: datetime = NOW) -> None:
    """What the job `failures.weigh` does, to its end."""
    while weighing.read_messages(conn, mentions) + weighing.read_jobs(conn):
        pass
    weighing.mark_moot(conn)
    weighing.add_up(conn, now)


def groups(conn: Connection, shop_id: int) -> list[dict[str, Any]]:
    rows = fetch(conn, "select * from failure_groups where shop_id = %(s)s order by source, function, error_class,"
                       " group_key", s=shop_id)  # fmt: skip
    return [dict(row) for row in rows]


def items(conn: Connection, shop_id: int) -> list[dict[str, Any]]:
    rows = fetch(conn, "select * from failure_items where shop_id = %(s)s order by source, item_id", s=shop_id)
    return [dict(row) for row in rows]


def look(conn: Connection, shop_id: int, chosen: Chosen | None = None, now: datetime = NOW) -> Preview:
    return preview(conn, shop_id, chosen or Chosen(), check, now)


def requeue(
    conn: Connection,
    shop_id: int,
    chosen: Chosen | None = None,
    *,
    actor: Actor = ADA,
    now: datetime = NOW,
    per_minute: float | None = 600,
) -> int:
    """Look, and have it done."""
    chosen = chosen or Chosen()
    token = look(conn, shop_id, chosen, now).token
    done = operations.requeue(conn, shop_id, chosen, token, actor, now, check, per_minute=per_minute)
    assert done.recovery_id is not None
    return done.recovery_id


@dataclass
class Broker:
    """A queue of jobs and a lane of messages, which may be lost at any moment, as Redis may."""

    conn: Connection
    shop_id: int
    is_broken: bool = False
    jobs: dict[str, Any] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def turn(self, recovery: int, now: datetime) -> releasing.Begun:
        """What the job `runs.recover` does for one recovery, before it settles."""
        begun = releasing.release(self.conn, self.shop_id, recovery, now)
        for work in begun.jobs:
            assert work.ref not in self.jobs, "queued twice"
            self.jobs[work.ref] = work
        return begun

    def settle(self, recovery: int, now: datetime) -> dict[str, int]:
        return releasing.settle(self.conn, self.shop_id, recovery, now, RETRIES)

    def work(self, now: datetime) -> None:
        """Run what is queued, handle what waits in the inbox, say what is due."""
        for ref, work in list(self.jobs.items()):
            del self.jobs[ref]
            outcome = "failed" if self.is_broken else "finished"
            run_job(self.conn, work.function, work.arguments, outcome, now, ref=ref)
            self.done.append(ref)
        state, cause = ("parked", "unreadable") if self.is_broken else ("handled", None)
        execute(
            self.conn,
            """
            update inbox_messages set state = %(state)s, cause = %(cause)s, attempts = attempts + 1,
                settled_at = %(now)s, detail = case when %(cause)s::text is null then null else 'still so' end
            where shop_id = %(shop)s and state = 'received'
            """,
            shop=self.shop_id,
            state=state,
            cause=cause,
            now=now,
        )
        execute(
            self.conn,
            "update outbox_messages set state = %(state)s, settled_at = %(now)s, attempts = attempts + 1"
            " where shop_id = %(shop)s and state = 'waiting'",
            shop=self.shop_id,
            state="dead" if self.is_broken else "sent",
            now=now,
        )
