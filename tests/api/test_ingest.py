"""The group-commit writer: one commit for many, and nobody is told before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import psycopg
import pytest

from api.ingest import BATCH_ROWS, ComeBackLater, Delivery, Refused, Writer
from core import embedded
from tests.api.conftest import NOW, Shop


def delivery(shop: Shop, number: int, body: bytes = b"{}") -> Delivery:
    return Delivery(shop.shop_id, shop.connection_id, f"d-{number:05}", "orders/create", None, body, None, NOW)


Batches = list[Sequence[Delivery]]


def with_writer(
    shop: Shop, act: Callable[[Writer, Batches], Coroutine[Any, Any, None]], waiting_max: int = 2048, start: bool = True
) -> None:
    async def run() -> None:
        batches: Batches = []
        writer = Writer(shop.settings.database_url, lambda batch, _: batches.append(batch), waiting_max=waiting_max)
        if start:
            writer.start()
        await act(writer, batches)
        if not start:
            writer.start()
        await writer.stop()

    asyncio.run(run())


async def record_all(writer: Writer, deliveries: Sequence[Delivery]) -> list[BaseException | None]:
    return await asyncio.gather(*(writer.record(one) for one in deliveries), return_exceptions=True)


def test_what_waits_together_is_committed_together(shop: Shop) -> None:
    async def act(writer: Writer, batches: Batches) -> None:
        assert set(await record_all(writer, [delivery(shop, n) for n in range(600)])) == {None}
        assert sum(len(batch) for batch in batches) == 600
        assert len(batches) == 3
        assert max(len(batch) for batch in batches) == BATCH_ROWS

    with_writer(shop, act)
    assert len(shop.rows()) == 600


def test_duplicates_within_and_across_batches_are_one_row(shop: Shop) -> None:
    async def act(writer: Writer, _: Batches) -> None:
        many = [delivery(shop, n % 10) for n in range(700)]
        assert set(await record_all(writer, many)) == {None}

    with_writer(shop, act)
    assert len(shop.rows()) == 10


def test_a_bad_row_fails_alone(shop: Shop) -> None:
    bad = delivery(shop, 5)._replace(topic="with\0nul")
    foreign = delivery(shop, 6)._replace(connection_id=999_999)

    async def act(writer: Writer, _: Batches) -> None:
        outcomes = await record_all(writer, [delivery(shop, 1), bad, delivery(shop, 2), foreign, delivery(shop, 3)])
        assert [type(outcome) for outcome in outcomes] == [type(None), Refused, type(None), Refused, type(None)]
        await writer.record(delivery(shop, 4))

    with_writer(shop, act)
    assert len(shop.rows()) == 4


def test_a_full_queue_sends_away(shop: Shop) -> None:
    async def act(writer: Writer, _: Batches) -> None:
        waiting = [asyncio.create_task(writer.record(delivery(shop, n))) for n in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(ComeBackLater, match="too many"):
            await writer.record(delivery(shop, 99))
        writer.start()
        await asyncio.gather(*waiting)

    async def run() -> None:
        writer = Writer(shop.settings.database_url, lambda *_: None, waiting_max=5)
        await act(writer, [])
        await writer.stop()

    asyncio.run(run())
    assert len(shop.rows()) == 5


def test_a_client_that_has_gone_takes_nobody_along(shop: Shop) -> None:
    async def act(writer: Writer, _: Batches) -> None:
        waiting = [asyncio.create_task(writer.record(delivery(shop, n))) for n in range(5)]
        await asyncio.sleep(0)
        waiting[2].cancel()
        writer.start()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert [task.cancelled() for task in waiting] == [False, False, True, False, False]

    async def run() -> None:
        writer = Writer(shop.settings.database_url, lambda *_: None)
        await act(writer, [])
        await writer.stop()

    asyncio.run(run())
    assert len(shop.rows()) == 5


def test_what_waits_at_the_end_is_written_and_nothing_is_taken_after(shop: Shop) -> None:
    async def run() -> None:
        writer = Writer(shop.settings.database_url, lambda *_: None)
        waiting = [asyncio.create_task(writer.record(delivery(shop, n))) for n in range(300)]
        await asyncio.sleep(0)
        writer.start()
        await writer.stop()
        assert set(await asyncio.gather(*waiting)) == {None}
        with pytest.raises(ComeBackLater):
            await writer.record(delivery(shop, 301))

    asyncio.run(run())
    assert len(shop.rows()) == 300


def test_a_cut_connection_is_replaced_and_nobody_notices(shop: Shop, database: embedded.Database) -> None:
    async def act(writer: Writer, _: Batches) -> None:
        await writer.record(delivery(shop, 1))
        with psycopg.connect(_plain(database.superuser_url)) as conn:
            conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name like '%ingest'")
        await writer.record(delivery(shop, 2))

    with_writer(shop, act)
    assert len(shop.rows()) == 2


def test_a_database_that_comes_back_is_found_again(shop: Shop) -> None:
    async def run() -> None:
        writer = Writer("postgresql+psycopg://nobody:x@127.0.0.1:1/nothing", lambda *_: None)
        writer.start()
        with pytest.raises(ComeBackLater, match="database"):
            await writer.record(delivery(shop, 1))
        writer._url = _plain(shop.settings.database_url)
        await writer.record(delivery(shop, 1))
        await writer.stop()

    asyncio.run(run())
    assert len(shop.rows()) == 1


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
