"""The failure drill: Amazon does not answer for a while, and somebody new finds out, understands and repairs it.

Everything is done on the pages in a browser, and each click counts. What the pages say is held against the database and
against the calls that the sandbox counts. Run it at its full length by hand:

    python -m tests.functional.drill --minutes 10
"""

from __future__ import annotations

import argparse
import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect

from core.db import execute, fetch, read_only, unit_of_work
from tests.dashboard import browsing
from tests.functional.systems import System, wait_until
from tests.functional.trade import SELLER, Trade, count

A_WAVE = 4
"""Orders that are told of together, and are read by one job."""

WAVES = 3
DELIVERY = 1000
"""Of goods, by a number that nothing else of the trade is delivered under."""
SHOWN_MS = browsing.PATIENCE_MS
"""Pages look again every ten seconds, on a machine that does other things too."""

HELD_MINUTES = 3
"""So long an outage has to be over before its alert closes."""


_GROUP = "select * from failure_groups where shop_id = %(shop)s and function = 'orders.read'"


class Clock:
    """Time as it is: minutes are waited for, and everything happens by its own schedule."""

    def __init__(self, trade: Trade) -> None:
        self.trade = trade

    def pass_minutes(self, minutes: float) -> None:
        """So much time passes."""
        time.sleep(minutes * 60)

    def ring(self, *jobs: str) -> None:
        """What goes by the clock comes by itself."""


class Hurried(Clock):
    """Time as a test has it: what happened lies further back, and what goes by the clock is rung for at once."""

    def pass_minutes(self, minutes: float) -> None:
        with unit_of_work(self.trade.app.engine) as conn:
            for sql in (
                "update api_calls set called_at = called_at - %(span)s where shop_id = %(shop)s",
                "update alerts set clear_since = clear_since - %(span)s where shop_id = %(shop)s and closed_at is null",
            ):
                execute(
                    conn,
                    sql.replace("%(span)s", "make_interval(secs => %(seconds)s)"),
                    shop=self.trade.shop_id,
                    seconds=minutes * 60,
                )

    def ring(self, *jobs: str) -> None:
        for job in jobs:
            self.trade.app.queue.enqueue(job)


@dataclass
class Hand:
    """Somebody's hand at the pages: every click is counted, and each page that comes of one is kept as a picture."""

    page: Page
    pictures: Path
    clicks: int = 0
    steps: list[str] = field(default_factory=list)

    def click(self, wanted: Locator, step: str) -> None:
        """One click, and what it is for."""
        expect(wanted).to_be_visible(timeout=SHOWN_MS)
        self.clicks += 1
        self.steps.append(step)
        wanted.click(delay=80)

    def keep(self, name: str) -> None:
        """The page as it is now."""
        self.page.wait_for_timeout(800)
        self.page.screenshot(path=self.pictures / f"drill-{name}.png")

    def sees(self, words: str | re.Pattern[str]) -> Locator:
        """Words that are somewhere on the page, sooner or later."""
        found = self.page.get_by_text(words).first
        expect(found).to_be_visible(timeout=SHOWN_MS)
        return found


class Drill:
    """One outage of Amazon in a shop that trades, from the first failed call to a clean audit."""

    def __init__(self, trade: Trade, clock: Clock, name: str) -> None:
        self.trade, self.clock, self.name = trade, clock, name
        self.ordered: list[str] = []
        self.began = 0.0
        self.since: Any = None

    def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        with read_only(self.trade.app.engine) as conn:
            return [dict(row) for row in fetch(conn, sql, shop=self.trade.shop_id, **values)]

    def one(self, sql: str, **values: Any) -> dict[str, Any]:
        (row,) = self.rows(sql, **values)
        return row

    # What happens --------------------------------------------------------------------------------------------------

    def order(self, wave: str) -> list[str]:
        """Buyers on Amazon: orders of one unit each, which it tells of in its queue."""
        wanted = [
            {"key": f"{self.name}-{wave}-{n}", "lines": [{"sku": code, "quantity": 1, "price": "2.50"}]}
            for n, code in enumerate(self.trade.codes[:A_WAVE])
        ]
        placed = self.trade.control.post(f"/amazon/{SELLER}/orders", {"orders": wanted})["orders"]
        refs = [str(order["id"]) for order in placed]
        self.clock.ring("poll.notices")
        return refs

    def trade_quietly(self) -> None:
        """A few orders that are read as they always are: by them it is known what reading one takes."""
        refs = self.order("quiet")
        wait_until(lambda: self.known(refs) == len(refs), "orders of a quiet day are read", 180)
        self.trade.settle()

    def known(self, refs: list[str]) -> int:
        """How many of these orders are booked."""
        sql = "select count(*) as n from orders where shop_id = %(shop)s and channel_ref = any(%(refs)s::text[])"
        return int(self.one(sql, refs=refs)["n"])

    def failed(self, function: str) -> int:
        """How many failures of a job are open."""
        sql = """
            select count(*) as n from failures f join failure_kinds k on k.shop_id = f.shop_id and k.id = f.kind_id
            where f.shop_id = %(shop)s and f.state = 'open' and k.function = %(function)s
        """
        return int(self.one(sql, function=function)["n"])

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """Amazon answers nothing. Meanwhile it goes on selling, and goods come in that it should be told of."""
        with self.trade.misfortune(kind="http_503", match="/amazon/"):
            self.began = time.monotonic()
            for wave in range(WAVES):
                before = self.failed("orders.read")
                self.ordered += self.order(str(wave))
                wait_until(
                    lambda n=before: self.failed("orders.read") > n, "orders that it told of cannot be read", 180
                )
            self.trade.receive(DELIVERY, self.trade.codes[:10])
            self.clock.ring("poll.orders")
            # A write is not known to have failed: it is in doubt, and looking at it fails.
            wait_until(lambda: self.failed("stock.check"), "what it shows cannot be looked at", 180)
            wait_until(lambda: self.failed("connection.poll"), "its orders cannot be asked for", 180)
            yield

    def open_alerts(self) -> list[dict[str, Any]]:
        """What somebody has been told of and is not over."""
        sql = (
            "select * from alerts where shop_id = %(shop)s and closed_at is null and opened_at > %(since)s order by id"
        )
        return self.rows(sql, since=self.since)

    def told(self) -> list[str]:
        """Headlines of everything that was told of in this drill, in turn."""
        sql = "select headline from alerts where shop_id = %(shop)s and opened_at > %(since)s order by id"
        return [row["headline"] for row in self.rows(sql, since=self.since)]

    def asked(self) -> int:
        """How often Amazon was asked about orders and answered, by the sandbox: polls and single orders."""
        return count(self.trade.calls(), "amazon", answered=True, operation="GET orders")

    def read_singly(self) -> int:
        """How many orders were asked for one by one and came, as our own calls are on record."""
        sql = """
            select count(*) as n from api_calls
            where shop_id = %(shop)s and operation = 'getOrder' and outcome = 'ok'
        """
        return int(self.one(sql)["n"])

    # What somebody does about it -----------------------------------------------------------------------------------

    def run(self, browser: Browser, address: str, pictures: Path, minutes: float = 0) -> Hand:
        """The whole drill; returns the hand with its clicks. `minutes`: how long Amazon does not answer."""
        self.trade_quietly()
        self.since = self.one("select now() as at")["at"]
        with contextlib.ExitStack() as broken, contextlib.ExitStack() as open_pages:
            broken.enter_context(self.outage())
            self.clock.pass_minutes(2.1)
            self.clock.ring("sweep.alerts", "failures.weigh")
            wait_until(self.open_alerts, "somebody is told", 180)
            print(f"told after {time.monotonic() - self.began:.0f} s of outage: {self.told()}")
            self.wait_for_figures()
            seen = open_pages.enter_context(browsing.visit(browser, f"{address}/?shop={self.trade.shop_id}"))
            seen.page.set_default_timeout(SHOWN_MS)
            hand = Hand(seen.page, pictures)
            self.find_out(hand)
            self.clock.pass_minutes(max(0.0, minutes - (time.monotonic() - self.began) / 60))
            assert len(self.told()) == 1, self.told()
            print(f"Amazon answers again after {time.monotonic() - self.began:.0f} s; told meanwhile: {self.told()}")
            broken.close()
            self.wait_for_an_answer()
            self.repair(hand)
            self.see_it_over(hand)
            assert seen.complaints == []
        return hand

    def wait_for_figures(self) -> None:
        """Until both sides have counted all that failed: what hangs on failures, and the alert after that."""
        wait_until(lambda: self.rows(_GROUP) and self.group()["orders"] == len(self.ordered), "they are added up", 180)

        def is_counted() -> bool:
            self.clock.ring("sweep.alerts")
            time.sleep(1)
            (alert,) = self.open_alerts()
            return bool(alert["orders"] == len(self.ordered) and alert["worst_skus"])

        wait_until(is_counted, "the alert counts all of it", 180)

    def group(self) -> dict[str, Any]:
        """The cause that somebody has to deal with, as the database has it."""
        return self.one(_GROUP)

    def find_out(self, hand: Hand) -> None:
        """From the Overview to the cause: whose fault it is, since when, how wide, what it is about."""
        hand.sees("No call to Amazon succeeds")
        hand.keep("1-overview")
        hand.click(hand.page.get_by_role("button", name="Open alert"), "Overview: open the alert")
        hand.sees("What became of it")
        hand.sees("status 503")
        (alert,) = self.open_alerts()
        hand.sees("Part of it, and not told of by itself")
        shown = hand.page.locator(".sy-row").first
        assert f"{alert['orders']} orders" in shown.inner_text()
        part = hand.page.get_by_role("link", name=re.compile("Reading single orders failed"))
        expect(part.locator("xpath=..")).to_contain_text(f"{len(self.ordered)} orders")
        hand.keep("2-alert")
        hand.click(part, "Alert: to the cause")
        hand.sees("Amazon failed inside")
        group = self.group()
        assert (group["orders"], group["items"]) == (len(self.ordered), WAVES)
        figures = hand.page.locator(".sy-row").first.inner_text()
        for words in (f"{WAVES} jobs", f"{len(self.ordered)} orders", f"{WAVES} still needed"):
            assert words in figures.replace("\n", " "), (words, figures)
        hand.sees("nothing was changed there")
        hand.keep("3-group")

    def wait_for_an_answer(self) -> None:
        """Amazon is back: the next poll says so."""
        back_at = self.one("select now() as at")["at"]
        self.clock.ring("poll.orders")
        sql = """
            select count(*) as n from api_calls a
            join connections c on c.shop_id = a.shop_id and c.id = a.connection_id and c.vendor = 'amazon'
            where a.shop_id = %(shop)s and a.purpose = 'connection.poll' and a.outcome = 'ok'
                and a.called_at > %(since)s
        """
        wait_until(lambda: self.one(sql, since=back_at)["n"], "it is asked again, and answers", 240)

    def repair(self, hand: Hand) -> None:
        """The preview, and one click; then what came of it is held against what was said."""
        hand.click(hand.page.get_by_role("button", name="Requeue…").first, "Group: what would a requeue do?")
        dialog = hand.page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name=f"Requeue {WAVES} jobs?")).to_be_visible(timeout=SHOWN_MS)
        said = dialog.inner_text()
        print(said)
        hand.keep("4-preview")
        assert "No money is moved." in said
        quota = re.search(r"takes about ([\d,]+) requests of Amazon \(getOrder\), which allows ([\d,]+) a minute", said)
        assert quota is not None, said
        hand.click(dialog.get_by_label("Reason"), "Preview: into the field")
        hand.page.keyboard.type("Amazon answers again")
        before, asked_before, began = self.read_singly(), self.asked(), time.monotonic()
        hand.click(dialog.get_by_role("button", name=f"Requeue {WAVES}"), "Preview: do it")
        hand.sees(re.compile("failures are done again at"))
        hand.keep("5-begun")
        self.clock.ring("runs.recover")
        sql = "select * from recovery_list where shop_id = %(shop)s order by recovery_id desc limit 1"
        wait_until(lambda: self.ended(sql), "all of it is done again", 300)
        took = time.monotonic() - began
        done = self.one(sql)
        assert (done["done"], done["failed"]) == (WAVES, 0), done
        made = self.read_singly() - before
        print(f"said {quota[1]} calls, made {made}; took {took:.0f} s")
        assert made == int(quota[1]) == len(self.ordered), "the preview says what it takes"
        assert self.asked() - asked_before >= made
        hand.sees(f"{WAVES} of {WAVES} done")
        hand.sees("Nothing of this cause is open")
        hand.keep("6-healed")

    def end_doubts(self) -> None:
        """What somebody does who looks at Seller Central: says of each write that nobody knows of what is shown there.

        An absolute number that was answered with an error may land yet, and is never sent again on suspicion.
        """
        sql = """
            select w.id, k.code from listing_writes w
            join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
            join skus k on k.shop_id = l.shop_id and k.id = l.sku_id
            join connections c on c.shop_id = l.shop_id and c.id = l.connection_id and c.vendor = 'amazon'
            where w.shop_id = %(shop)s and w.outcome is null and w.doubt is not null
        """
        _, on_amazon, _ = self.trade.shown()
        for write in self.rows(sql):
            said = ("--shown", str(on_amazon[write["code"]]), "--reason", "Seller Central shows it")
            self.trade.system.cli("settle", str(write["id"]), *said, check=False)

    def ended(self, sql: str) -> bool:
        self.clock.ring("runs.recover")
        time.sleep(1)
        return self.one(sql)["ended_at"] is not None

    def see_it_over(self, hand: Hand) -> None:
        """The alert closes by itself, and nothing is left."""
        (alert,) = self.rows(
            "select * from alerts where shop_id = %(shop)s and opened_at > %(since)s", since=self.since
        )

        def is_closed() -> bool:
            self.clock.ring("sweep.alerts")
            time.sleep(1)
            return not self.open_alerts()

        self.clock.ring("sweep.alerts")
        sql = "select clear_since, closed_at from alerts where shop_id = %(shop)s and id = %(id)s"
        wait_until(lambda: any(self.one(sql, id=alert["id"]).values()), "it is seen to be over", 180)
        if self.open_alerts():
            self.clock.pass_minutes(HELD_MINUTES)
        wait_until(is_closed, "the alert closes by itself", 240)
        assert len(self.told()) == 1, self.told()
        hand.page.goto(re.sub(r"/[^/]*$", f"/alerts?shop={self.trade.shop_id}&alert={alert['id']}", hand.page.url))
        hand.sees("its condition is gone")
        hand.keep("7-over")
        self.end_doubts()
        self.trade.settle()
        assert self.known(self.ordered) == len(self.ordered)
        on_shopify, on_amazon, ours = self.trade.shown()
        assert on_shopify == on_amazon == ours
        wait_until(lambda: self.trade.broken() == {}, "every invariant holds", 180)


def main() -> None:
    """The drill at its full length, on a system of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long Amazon does not answer (10)")
    parser.add_argument("--pictures", type=Path, default=Path("pictures"), help="folder for the pages as pictures")
    parser.add_argument("--hurried", action="store_true", help="minutes that pass at once, as in the tests")
    options = parser.parse_args()
    options.pictures.mkdir(parents=True, exist_ok=True)
    system = System()
    try:
        system.start()
        for shoppers in system.control("/world")["shoppers"]:
            system.control("/shoppers", {**shoppers, "running": False})
        trade = Trade(system)
        trade.open()
        with browsing.chromium() as browser:
            clock = Hurried(trade) if options.hurried else Clock(trade)
            minutes = 0.0 if options.hurried else options.minutes
            address = system.state().addresses["dashboard"]
            hand = Drill(trade, clock, "drill").run(browser, address, options.pictures, minutes)
        print(f"{hand.clicks} clicks:", *hand.steps, sep="\n  ")
        print(system.cli("audit", "--settled").stdout[-500:])
        trade.close()
        system.stop()
    finally:
        system.erase()


if __name__ == "__main__":
    main()
