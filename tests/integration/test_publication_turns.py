"""One turn with a channel's products: how its time is shared, what holds writes, and what it comes back to."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Engine, create_engine

from core import embedded
from core.catalog.products.documents import VariantDocument
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.product_ports import ProductChannel
from core.publication import operations, queries
from tests.conftest import TestServers
from tests.sandbox.outside import Inside
from tests.shelves import Shelf, make_document
from workers import products


@pytest.fixture(scope="module")
def shelf_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    """One database for all tests of this file: each has a shop of its own."""
    database = embedded.create_database(servers.home, "shelves_turns", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()
    embedded.drop_database(servers.home, "shelves_turns")


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    world = Inside(tmp_path_factory.mktemp("world"))
    yield world
    world.stop()


@pytest.fixture
def shelf(outside: Inside, shelf_engine: Engine) -> Iterator[Shelf]:
    yield Shelf(outside, shelf_engine)
    outside.http.delete("/_control/faults")


class Between:
    """What stands between the jobs and the channel: all but what a test changes goes through."""

    def __init__(self, shelf: Shelf) -> None:
        self._real = shelf.reached
        shelf.reached = cast(ProductChannel, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


# --- How a turn shares its time ---------------------------------------------------------------------------------------


class Watch:
    """The time that a turn goes by: it passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(products, "time", SimpleNamespace(monotonic=lambda: self.now))


class Slow(Between):
    """Each reading of several products takes ten seconds."""

    def __init__(self, shelf: Shelf, watch: Watch) -> None:
        super().__init__(shelf)
        self._watch = watch

    def read_products(self, refs: Sequence[str], **named: Any) -> Any:
        self._watch.now += 10 if named.get("in_background") else 0
        return self._real.read_products(refs, **named)


def call(shelf: Shelf, *refs: str) -> None:
    with unit_of_work(shelf.engine) as conn:
        operations.note_calls(conn, shelf.row, refs, utc_now())


def calls_left(shelf: Shelf) -> int:
    return len(shelf.rows("select from product_calls where shop_id = %(shop)s"))


def test_what_the_channel_told_of_takes_half_of_a_turn_at_most(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.master(variants="ours", title="ours")
    shelf.read()
    shelf.save(make_document())
    # One batch is ten seconds: a thousand are told of, as after an edit of everything there.
    call(shelf, *(str(10**9 + number) for number in range(1000)))
    watch = Watch(monkeypatch)
    Slow(shelf, watch)
    counts = dict(products.keep_in_step(shelf.app, shelf.row, shelf.reached, 100))
    assert (counts["written"], watch.now, calls_left(shelf)) == (1, 50, 1000 - 5 * products.CALLS_AT_ONCE)
    # The next one goes on there.
    products.keep_in_step(shelf.app, shelf.row, shelf.reached, 100)
    assert calls_left(shelf) == 1000 - 10 * products.CALLS_AT_ONCE


def test_a_reading_of_everything_gives_half_to_what_is_told_meanwhile(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        shelf.shop.stock(f"MUG-{number}")
    monkeypatch.setattr(products, "READ_AT_ONCE", 1)
    with unit_of_work(shelf.engine) as conn:
        operations.begin_reading(conn, shelf.row, utc_now())
    call(shelf, *(str(10**9 + number) for number in range(1000)))
    watch = Watch(monkeypatch)
    Slow(shelf, watch)
    counts = dict(products.read_whole(shelf.app, shelf.row, shelf.reached, lambda _done: None, 100))
    assert (counts["created"], calls_left(shelf)) == (3, 1000 - 5 * products.CALLS_AT_ONCE)


def test_judging_and_linking_leave_time_to_write(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.master(variants="ours", title="ours")
    shelf.read()
    for number in range(6):
        shelf.save(
            make_document(handle=f"mug-{number}", options=(), variants=(VariantDocument(f"MUG-{number}", "GBP"),))
        )
    monkeypatch.setattr(products, "LINK_AT_ONCE", 1)
    watch = Watch(monkeypatch)
    real = products.observing.judge

    def judge(*given: Any) -> Any:
        watch.now += 40
        return real(*given)

    link_new = products.linking.link_new

    def link(*given: Any) -> Any:
        watch.now += 40
        return link_new(*given)

    monkeypatch.setattr(products.observing, "judge", judge)
    monkeypatch.setattr(products.linking, "link_new", link)
    products.keep_in_step(shelf.app, shelf.row, shelf.reached, 100)
    # Both are gone on with later, and each turn does some of either.
    assert len(shelf.rows("select from product_links where shop_id = %(shop)s")) == 2
    assert watch.now == 120


# --- Two who are told at once -----------------------------------------------------------------------------------------


def test_who_is_told_and_who_has_read_never_wait_for_each_other_in_a_circle(shelf: Shelf) -> None:
    shelf.read()
    refs = [str(1000 + number) for number in range(20)]

    def intake(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            with unit_of_work(shelf.engine) as conn:
                operations.note_calls(conn, shelf.row, chance.sample(refs, 8), utc_now())

    def lane() -> None:
        for _ in range(300):
            with read_only(shelf.engine) as conn:
                called = queries.called(conn, shelf.row, 20)
            with unit_of_work(shelf.engine) as conn:
                operations.forget_calls(conn, shelf.row, called)

    with ThreadPoolExecutor(3) as pool:
        acts: list[Callable[[], None]] = [lambda: intake(1), lambda: intake(2), lane]
        for each in [pool.submit(act) for act in acts]:
            each.result()
