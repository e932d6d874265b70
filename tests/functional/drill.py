"""A channel that breaks, and the person on call who sees it, understands it and heals it, through the pages alone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect

from core.bootstrap import make_application
from core.config import Settings
from core.db import fetch, fetch_one, read_only
from tests.functional.systems import System, wait_until

SELLER = "A2DEMO7GOODS1"
BREAKS = {"kind": "http_503", "match": "/amazon/", "probability": 1}
READS = "orders.read"


@dataclass
class Person:
    """Somebody with a page and a mouse."""

    page: Page
    clicks: int = 0

    def click(self, what: Locator) -> None:
        self.clicks += 1
        what.click(delay=80)

    def sees(self, words: str | re.Pattern[str]) -> None:
        expect(self.page.get_by_text(words).first).to_be_visible(timeout=30_000)


class Drill:
    """The demo's Amazon, broken and mended; what schedules would ring for within a minute is rung for at once."""

    def __init__(self, system: System) -> None:
        self.system = system
        settings = Settings.from_environment({**os.environ, **system.state().environment()})
        self.app = make_application(settings, name="tests")

    def close(self) -> None:
        self.app.engine.dispose()
        self.app.queue.close()

    @contextmanager
    def broken(self) -> Iterator[None]:
        self.system.control("/faults", BREAKS)
        try:
            yield
        finally:
            httpx.delete(f"{self.system.sandbox_url}/_control/faults", timeout=20).raise_for_status()

    def sell(self, number: int) -> set[str]:
        """Orders of one unit each on Amazon; returns the ids that it gave them."""
        levels = self.system.control(f"/amazon/{SELLER}/levels")["levels"]
        plenty = sorted(levels, key=lambda row: -row["in_force"].get("DEFAULT", 0))[:number]
        sales = [{"sku": row["sku"], "quantity": 1} for row in plenty]
        return {self.system.control(f"/amazon/{SELLER}/sales", sale)["order_id"] for sale in sales}

    def ring(self, job: str) -> None:
        self.app.queue.enqueue(job)

    def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        with read_only(self.app.engine) as conn:
            return [dict(row) for row in fetch(conn, sql, **values)]

    def known(self, orders: set[str]) -> int:
        """How many of them are booked."""
        sql = "select count(distinct channel_ref) as orders from orders where channel_ref = any(%(refs)s)"
        return int(self.rows(sql, refs=sorted(orders))[0]["orders"])

    def group(self) -> dict[str, Any] | None:
        """What failed of reading single orders, as the page of failures reads it."""
        with read_only(self.app.engine) as conn:
            row = fetch_one(conn, "select * from failure_groups where function = %(name)s", name=READS)
        return dict(row) if row else None

    def alert(self) -> dict[str, Any] | None:
        """The latest alert about it."""
        sql = "select * from alerts where address ->> 'function' = %(name)s order by id desc limit 1"
        return next(iter(self.rows(sql, name=READS)), None)

    def wait_ringing(self, job: str, condition: Callable[[], Any], what: str) -> Any:
        """Wait as a person does whose schedules are in a hurry."""
        self.ring(job)
        asked = 0

        def is_so() -> Any:
            nonlocal asked
            asked += 1
            if asked % 30 == 0:
                self.ring(job)
            return condition()

        return wait_until(is_so, what)
