"""Products by job and by command: asked for, read with progress, kept in step, decided, released."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from core import bootstrap
from core.clock import utc_now
from core.db import execute, unit_of_work
from core.errors import BadInput, Retryable
from core.messaging import inbox
from core.messaging.doorbell import Doorbell, lane_lock
from core.messaging.inbox import Incoming
from core.product_ports import ProductChange
from core.runs import control
from core.runs.kinds import business
from tests.adapters.floor import Bell
from tests.factories import ACTOR
from tests.sandbox.outside import Inside
from tests.shelves import Shelf
from workers import console, products
from workers.cli import cli
from workers.jobs import products as jobs
from workers.jobs.inbox import drain_lane
from workers.products import lane_of


class Desk(Shelf):
    """A shelf that stands for the application, and the commands of one who sits at it."""

    queue = Bell()

    @property
    def doorbell(self) -> Doorbell:
        return Doorbell(self.queue)  # type: ignore[arg-type]

    def run(self, *words: str) -> str:
        """What a command says. Raises what it raises."""
        result = CliRunner().invoke(cli, ["products", *words], catch_exceptions=False, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result.output

    def ask(self) -> dict[str, int]:
        """What the command rings with."""
        self.run("read", self.name, "--reason", "a test")
        return self.queue.rung("products.read")[-1]  # type: ignore[return-value]

    @property
    def name(self) -> str:
        return self.row.name

    def run_row(self, run_id: int) -> dict[str, Any]:
        (row,) = self.rows("select * from sync_runs where shop_id = %(shop)s and id = %(id)s", id=run_id)
        return row


@pytest.fixture
def desk(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    world = Inside(tmp_path)
    made = Desk(world, engine)
    made.queue = Bell()
    monkeypatch.setattr(bootstrap, "application", lambda: made)
    monkeypatch.setattr(console, "application", lambda: made)
    monkeypatch.setenv("SWITCHYARD_OPERATOR", "ada")
    yield made
    world.stop()


def test_products_are_read_by_a_run_that_tells_how_far_it_is(desk: Desk) -> None:
    desk.shop.stock(*(f"S{number}" for number in range(25)))
    with pytest.raises(BadInput, match="never read"):
        desk.run("push", desk.name)
    asked = desk.ask()
    counts = jobs.read_products(**asked)
    row = desk.run_row(asked["sync_run_id"])
    assert (row["state"], row["kind"], row["requested_by"]) == ("done", "read_products", "ada")
    assert (row["done"], row["counts"]["created"]) == (25, 25)
    assert business("products.read", counts) == "worked"
    assert jobs.read_products(**asked) == {"superseded": True}
    assert jobs.sweep_products() == {"connections": 1}
    assert desk.queue.rung("products.push") == [{"shop_id": desk.row.shop_id, "connection_id": desk.row.id}]
    assert "25 in step" in desk.run("status")
    assert jobs.push_products(**desk.queue.rung("products.push")[0])["in_step"] == 25  # type: ignore[arg-type]


def test_one_at_a_time_reads_or_writes_a_connections_products(desk: Desk) -> None:
    asked = desk.ask()
    names = {"shop_id": desk.row.shop_id, "connection_id": desk.row.id}
    with lane_lock(desk.engine, lane_of(**names)) as held:
        assert held
        assert jobs.push_products(**names) == {"busy": True}
        assert "waiting" in jobs.read_products(**asked)
    assert desk.run_row(asked["sync_run_id"])["state"] == "queued"
    assert jobs.read_products(**asked)["read"] == 0


def test_a_long_reading_goes_on_in_another_job_where_it_was(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.shop.stock(*(f"S{number}" for number in range(6)))
    desk.reached = Slow(desk)
    # One product at a time, and the time is up after each.
    monkeypatch.setattr(products, "READ_AT_ONCE", 1)
    monkeypatch.setattr(jobs, "READ_SECONDS", -1)
    asked = desk.ask()
    begins = []
    for done in range(1, 7):
        result = jobs.read_products(**asked)
        assert f"{done} products are read" in result["waiting"]
        assert business("products.read", result) == "waits"
        row = desk.run_row(asked["sync_run_id"])
        assert (row["state"], row["done"], row["attempts"]) == ("queued", done, 0)
        assert desk.queue.rung("products.read")[-1] == asked
        (reading,) = desk.rows("select * from product_readings where shop_id = %(shop)s")
        assert (reading["whole_read_at"], reading["whole_counts"]["created"]) == (None, done)
        begins.append(reading["whole_began_at"])
    monkeypatch.setattr(jobs, "READ_SECONDS", 600)
    counts = jobs.read_products(**asked)
    assert (counts["created"], desk.run_row(asked["sync_run_id"])["state"]) == (6, "done")
    (reading,) = desk.rows("select * from product_readings where shop_id = %(shop)s")
    assert (begins, reading["whole_began_at"]) == ([reading["whole_read_at"]] * 6, None)
    # Nothing was read twice, and nothing told from the beginning again.
    assert (counts["read"], desk.reached.since[0]) == (6, None)
    assert None not in desk.reached.since[1:]
    # The next one asks for all of them again.
    jobs.read_products(**desk.ask())
    assert desk.reached.since[-1] is None


def test_what_was_deleted_during_a_long_reading_is_found_out_at_its_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.shop.stock("MUG", "CUP")
    jobs.read_products(**desk.ask())
    asked = desk.ask()
    desk.shop.control("deletion", sku="MUG")
    desk.reached = Slow(desk)
    monkeypatch.setattr(products, "READ_AT_ONCE", 1)
    monkeypatch.setattr(jobs, "READ_SECONDS", -1)
    assert "waiting" in jobs.read_products(**asked)
    monkeypatch.setattr(jobs, "READ_SECONDS", 600)
    counts = jobs.read_products(**asked)
    assert counts["gone"] == 1
    states = [one["state"] for one in desk.rows("select state from product_links where shop_id = %(shop)s")]
    assert sorted(states) == ["gone", "in_step"]


def test_a_reading_that_was_left_long_ago_begins_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.shop.stock("MUG", "CUP")
    desk.reached = Slow(desk)
    monkeypatch.setattr(products, "READ_AT_ONCE", 1)
    monkeypatch.setattr(jobs, "READ_SECONDS", -1)
    asked = desk.ask()
    jobs.read_products(**asked)
    with unit_of_work(desk.engine) as conn:
        moved = (
            "update product_readings set whole_began_at = whole_began_at - interval '25 hours' where shop_id = %(s)s"
        )
        execute(conn, moved, s=desk.row.shop_id)
    monkeypatch.setattr(jobs, "READ_SECONDS", 600)
    assert jobs.read_products(**asked)["read"] == 2
    assert desk.reached.since == [None, None]


class Slow:
    """A channel that shows no two products changed in the same second, and remembers from where it was read."""

    def __init__(self, desk: Desk) -> None:
        self._inner = desk.channel.products
        self.since: list[datetime | None] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def product_changes(self, since: datetime | None) -> Iterator[list[ProductChange]]:
        self.since.append(since)
        found = sorted(change.ref for page in self._inner.product_changes(None) for change in page)
        first = datetime(2026, 1, 1, tzinfo=UTC)
        changes = [ProductChange(ref, first + timedelta(seconds=number)) for number, ref in enumerate(found)]
        yield [change for change in changes if since is None or change.version_at >= since]


def test_at_most_one_turn_waits_for_a_worker(desk: Desk) -> None:
    jobs.read_products(**desk.ask())
    for _ in range(3):
        assert jobs.sweep_products() == {"connections": 1}
    (asked,) = desk.queue.rung("products.push")
    # Also one that finds another at work makes room for the next.
    with lane_lock(desk.engine, lane_of(desk.row.shop_id, desk.row.id)):
        assert jobs.push_products(**asked) == {"busy": True}  # type: ignore[arg-type]
    for turn in (2, 3):
        jobs.sweep_products()
        jobs.sweep_products()
        assert len(desk.queue.rung("products.push")) == turn
        jobs.push_products(**asked)  # type: ignore[arg-type]


def told(desk: Desk, topic: str, product: str, key: str, **more: Any) -> None:
    """A webhook of Shopify's, recorded and drained; once more under the same key it is none."""
    ref = int(product.rpartition("/")[2])
    body = json.dumps({"id": ref, "updated_at": "2026-11-01T10:00:00Z", "variants": [], **more}).encode()
    with unit_of_work(desk.engine) as conn:
        inbox.record(conn, desk.row.shop_id, desk.row.id, [Incoming(key, topic, body, None)], "webhook", utc_now())
    drain_lane(desk.app, desk.row, 20)


def test_what_shopify_tells_of_a_product_rings_and_has_it_read_once(desk: Desk) -> None:
    desk.shop.stock("MUG", "CUP")
    first = desk.made()[0]
    # Nobody has asked for the connection's products: there is nothing to do.
    told(desk, "products/update", first, "a")
    assert desk.queue.rung("products.push") == []
    jobs.read_products(**desk.ask())
    desk.put(first, title="Linen mug")
    told(desk, "products/update", first, "b")
    told(desk, "products/update", first, "b")
    told(desk, "products/update", first, "c")
    # However often it is told, one turn waits for a worker.
    (asked,) = desk.queue.rung("products.push")
    assert [one["channel_ref"] for one in desk.rows("select channel_ref from product_calls where shop_id = %(shop)s")
            ] == [first.rpartition("/")[2]]  # fmt: skip
    assert jobs.push_products(**asked)["changed"] == 1  # type: ignore[arg-type]
    assert "Linen mug" in [one.document.title for one in desk.all_ours()]
    assert desk.rows("select * from product_calls where shop_id = %(shop)s") == []


def test_what_was_deleted_there_is_known_with_the_next_turn_in_whatever_order_it_is_told(desk: Desk) -> None:
    desk.shop.stock("MUG", "CUP")
    jobs.read_products(**desk.ask())
    (gone,) = [there for there in desk.made() if desk.there(there)["variants"]["nodes"][0]["sku"] == "MUG"]
    desk.shop.control("deletion", sku="MUG")
    # Its end comes first, then what was before it.
    for topic in ("products/delete", "products/update", "products/create"):
        told(desk, topic, gone, topic)
    (asked,) = desk.queue.rung("products.push")
    for _ in range(2):
        counts = jobs.push_products(**asked)  # type: ignore[arg-type]
        assert (counts["gone"], counts["in_step"]) == (1, 1)
    desk.shop.stock("JUG")
    made = next(there for there in desk.made() if desk.there(there)["variants"]["nodes"][0]["sku"] == "JUG")
    told(desk, "products/create", made, "new")
    assert jobs.push_products(**asked)["created"] == 1  # type: ignore[arg-type]


def test_what_is_told_while_all_of_them_are_read_does_not_wait_for_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.shop.stock("MUG", "CUP")
    jobs.read_products(**desk.ask())
    (gone,) = [there for there in desk.made() if desk.there(there)["variants"]["nodes"][0]["sku"] == "MUG"]
    asked = desk.ask()
    desk.shop.control("deletion", sku="MUG")
    told(desk, "products/delete", gone, "x")
    monkeypatch.setattr(products, "READ_AT_ONCE", 1)
    desk.reached = Slow(desk)
    assert jobs.read_products(**asked)["gone"] == 1
    assert desk.rows("select * from product_calls where shop_id = %(shop)s") == []
    assert [one["state"] for one in desk.rows("select state from product_links where shop_id = %(shop)s order by 1")
            ] == ["gone", "in_step"]  # fmt: skip


def test_a_reading_is_stopped_failed_and_done_again(desk: Desk) -> None:
    desk.shop.stock("MUG")
    asked = desk.ask()
    desk.world.faults(kind="http_503", match="ProductChanges")
    with pytest.raises(Retryable):
        jobs.read_products(**asked)
    assert desk.run_row(asked["sync_run_id"])["state"] == "failed"
    desk.world.http.delete("/_control/faults")
    again = desk.ask()
    # Asked for while it reads: it stops at the next step that it tells.
    desk.reached = Stopping(desk, again["sync_run_id"])
    assert jobs.read_products(**again) == {"cancelled": True}
    assert desk.run_row(again["sync_run_id"])["state"] == "cancelled"
    desk.reached = desk.channel.products
    assert jobs.read_products(**desk.ask())["in_step"] == 1


class Stopping:
    """A channel during whose reading somebody stops the run."""

    def __init__(self, desk: Desk, run_id: int) -> None:
        self._desk = desk
        self._run_id = run_id

    def __getattr__(self, name: str) -> Any:
        if name == "read_products":
            with unit_of_work(self._desk.engine) as conn:
                control.cancel(conn, self._desk.row.shop_id, self._run_id, ACTOR, utc_now())
        return getattr(self._desk.channel.products, name)


def test_masters_are_decided_and_products_released_by_command(desk: Desk) -> None:
    desk.shop.stock("MUG")
    jobs.read_products(**desk.ask())
    assert "title                channel" in desk.run("master", desk.name)
    with pytest.raises(BadInput, match="--reason"):
        desk.run("master", desk.name, "title", "ours")
    assert "title: ours" in desk.run("master", desk.name, "title", "ours", "--reason", "we write them")
    assert desk.run("master", desk.name, "title", "ours", "--reason", "again") == "That stands already.\n"
    said = json.loads(desk.run("master", desk.name, "--json"))
    assert {one["field"]: one["master"] for one in said}["title"] == "ours"
    (ours,) = desk.all_ours()
    desk.save(replace(ours.document, title="Cup"), ours.product_id)
    (there,) = desk.made()
    names = {"shop_id": desk.row.shop_id, "connection_id": desk.row.id}
    assert jobs.push_products(**names)["written"] == 1
    assert desk.there(there)["title"] == "Cup"
    assert "decided" in desk.run("master", desk.name, "--all", "ours", "--reason", "all of it").casefold()
    desk.put(there, productOptions=[{"name": "Size", "values": [{"name": "M"}, {"name": "L"}]}], variants=[
        {"id": desk.there(there)["variants"]["nodes"][0]["id"], "optionValues": [{"optionName": "Size", "name": "M"}]},
        {"sku": "MUG-L", "optionValues": [{"optionName": "Size", "name": "L"}]},
    ])  # fmt: skip
    jobs.push_products(**names)
    assert "MUG-L" in desk.run("status")
    (asking,) = json.loads(desk.run("status", "--json"))[0]["asking"]
    assert asking["state"] == "asks"
    assert "MUG-L" in desk.run("allow-drops", desk.name, str(ours.product_id), "--reason", "not sold any more")
    jobs.push_products(**names)
    assert [one["sku"] for one in desk.there(there)["variants"]["nodes"]] == ["MUG"]
    with pytest.raises(BadInput, match="not linked"):
        desk.run("release", desk.name, "999", "--reason", "x")
