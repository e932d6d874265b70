"""What was given up can be taken back and then done: who gave it up and why stays on record."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from core.db import execute, fetch, scalar
from core.errors import BadInput
from core.recovery import operations
from core.recovery.choosing import Chosen
from core.recovery.taking_back import NotDiscarded, take_back
from tests.factories import NOW, World, later
from tests.recovery.failing import (
    ADA,
    BOB,
    Broker,
    check,
    dead_notice,
    groups,
    items,
    look,
    order_body,
    park,
    requeue,
    run_job,
)


def discard(conn: Connection, world: World, chosen: Chosen | None = None) -> None:
    chosen = chosen or Chosen()
    token = look(conn, world.shop_id, chosen).token
    operations.discard(conn, world.shop_id, chosen, token, BOB, later(1))


def test_each_kind_is_open_again_and_done(conn: Connection, world: World) -> None:
    push = {"shop_id": world.shop_id, "connection_id": world.connection.id}
    run = run_job(conn, "stock.push", push, "failed", NOW)
    (message,) = park(conn, world, order_body(1))
    notice = dead_notice(conn, world.shop_id)
    keys = {row["group_key"] for row in groups(conn, world.shop_id)}
    discard(conn, world)
    for source, item in (("job", run), ("message", message), ("outbox", notice)):
        assert take_back(conn, world.shop_id, Chosen(source=source, item_id=item), ADA, later(2)) == 1
        with pytest.raises(NotDiscarded):
            take_back(conn, world.shop_id, Chosen(source=source, item_id=item), ADA, later(3))
    assert {row["group_key"] for row in groups(conn, world.shop_id)} == keys
    found = fetch(conn, "select discarded_by, discarded_reason, taken_back_by, taken_back_reason"
                        " from failure_discard_list order by source")  # fmt: skip
    assert [tuple(row.values()) for row in found] == [("Bob", "me too", "Ada", "the token is renewed")] * 3
    assert scalar(conn, "select count(*) from audit_entries where act = 'take_back_failures'") == 3
    broker = Broker(conn, world.shop_id)
    recovery = requeue(conn, world.shop_id, now=later(3))
    broker.turn(recovery, later(4))
    broker.work(later(5))
    assert broker.settle(recovery, later(6)) == {"done": 3, "failed": 0, "left": 0}
    assert scalar(conn, "select state from inbox_messages where id = %(id)s", id=message) == "handled"


def test_a_whole_cause_is_taken_back_and_no_other(conn: Connection, world: World) -> None:
    park(conn, world, order_body(1), order_body(2))
    park(conn, world, order_body(3), cause="unexpected")
    (key,) = (row["group_key"] for row in groups(conn, world.shop_id) if row["error_class"] == "unreadable")
    discard(conn, world)
    assert take_back(conn, world.shop_id, Chosen(group_key=key), ADA, later(2)) == 2
    assert sorted(row["state"] for row in items(conn, world.shop_id)) == ["discarded", "open", "open"]
    with pytest.raises(BadInput, match="one by one"):
        take_back(conn, world.shop_id, Chosen(), ADA, later(2))


def test_what_a_mended_copy_replaced_stays_where_it_is(conn: Connection, world: World) -> None:
    first, copy = park(conn, world, order_body(1), order_body(2))
    discard(conn, world, Chosen(source="message", item_id=first))
    execute(conn, "update inbox_messages set replaced_by = %(copy)s where id = %(id)s", copy=copy, id=first)
    with pytest.raises(NotDiscarded, match="mended copy"):
        take_back(conn, world.shop_id, Chosen(source="message", item_id=first), ADA, later(2))


def test_a_job_that_was_done_since_is_seen_to_be_moot(conn: Connection, world: World) -> None:
    push = {"shop_id": world.shop_id, "connection_id": world.connection.id}
    run = run_job(conn, "stock.push", push, "failed", NOW)
    discard(conn, world)
    run_job(conn, "stock.push", push, "finished", later(1))
    take_back(conn, world.shop_id, Chosen(source="job", item_id=run), ADA, later(2))
    seen = look(conn, world.shop_id, now=later(3))
    assert (seen.to_close, seen.works) == (1, 0)
    assert operations.requeue(conn, world.shop_id, Chosen(), seen.token, ADA, later(3), check).closed == 1
