"""Feeds and death: two senders at once, and one that is killed between its mark and its submission.

This file is also what its processes run (see tests.racing).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from core import invariants
from core.bulk import BulkSent
from core.clock import utc_now
from core.db import read_only
from core.inventory import feeds
from tests import racing
from tests.adapters.canned_feeds import CannedFeeds
from tests.adapters.feeding import SKUS, Seller, attach, open_seller, prefer_feeds
from tests.conftest import ROOT
from tests.factories import World

# --- what the processes do -------------------------------------------------------------------------------------------


def send(engine: Engine, world: World) -> Any:
    """Send a feed to an Amazon of its own; returns how many feeds that one got."""
    with pytest.MonkeyPatch.context() as patch:
        prefer_feeds(patch)
        seller = attach(engine, world.connection, CannedFeeds(units=dict.fromkeys(SKUS, 10)))
        done = seller.send()
        return [len(seller.canned.feeds), "submitted" in done]


def push(engine: Engine, world: World) -> Any:
    """Send by the other road meanwhile; returns which SKUs left."""
    with pytest.MonkeyPatch.context() as patch:
        prefer_feeds(patch)
        seller = attach(engine, world.connection, CannedFeeds(units=dict.fromkeys(SKUS, 10)))
        for _ in range(5):
            seller.push()
        return sorted(sku for sku, _ in seller.canned.submissions)


def hang(engine: Engine, world: World) -> Any:
    """Mark a feed, say so, and never submit it."""
    with pytest.MonkeyPatch.context() as patch:
        prefer_feeds(patch)
        seller = attach(engine, world.connection, CannedFeeds(units=dict.fromkeys(SKUS, 10)))

        def submit(_self: object, _document: str) -> BulkSent:
            print("marked", flush=True)
            time.sleep(600)
            raise AssertionError("nobody waits so long")

        patch.setattr(type(seller.channel.bulk), "submit", submit)
        return seller.send()


ROLES: dict[str, Callable[[Engine, World], Any]] = {role.__name__: role for role in (send, push, hang)}


# --- the races -------------------------------------------------------------------------------------------------------


@pytest.fixture
def seller(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Seller:
    prefer_feeds(monkeypatch)
    found = open_seller(engine)
    found.count({"SKU-0": -10, **dict.fromkeys(SKUS[1:], 5)})
    return found


def assert_audit_is_clean(seller: Seller) -> None:
    with read_only(seller.floor.engine) as conn:
        found = {
            item.name: item.rows for item in invariants.check(conn, utc_now(), shop_id=seller.shop_id) if item.rows
        }
    assert found == {}


def test_of_two_senders_one_sends_and_no_listing_is_on_both_roads(engine: Engine, seller: Seller) -> None:
    world = seller.world()
    first, second, pushed = racing.race(engine, __file__, [("send", world), ("send", world), ("push", world)])
    assert sum(count for count, _ in (first, second)) <= 1
    writes = seller.writes()
    in_feed = {write["sku"] for write in writes if write["road"] == "feed" and write["sent_at"] is not None}
    assert in_feed.isdisjoint(pushed)
    assert in_feed | set(pushed) == set(SKUS)
    assert "SKU-0" in pushed, "a zero never waits"
    assert len(writes) == len({write["sku"] for write in writes if write["outcome"] is None}) + sum(
        write["outcome"] is not None for write in writes
    )
    assert_audit_is_clean(seller)


def test_a_sender_killed_between_mark_and_submission_leaves_all_of_it_open_until_the_channel_has_spoken(
    engine: Engine, seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller.push()
    url = engine.url.render_as_string(hide_password=False)
    words = [sys.executable, __file__, "hang", url, str(seller.shop_id), str(seller.row.id)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        for line in sender.stdout:
            if line.strip() == "marked":
                break
        sender.send_signal(signal.SIGKILL)
    assert sender.returncode == -signal.SIGKILL
    assert (seller.feed()["state"], seller.feed()["open_writes"]) == ("submitted", len(SKUS) - 1)
    assert "submitted" not in seller.send(), "another one cannot begin while this one is in doubt"
    assert {seller.exposed()[sku] for sku in SKUS[1:]} == {25}
    seller.later(monkeypatch, feeds.UNSURE_FOR + feeds.UNSEEN_FOR + timedelta(minutes=1))
    assert seller.look() == 1
    assert {write["outcome_code"] for write in seller.writes() if write["road"] == "feed"} == {"FEED_LOST"}
    assert {seller.exposed()[sku] for sku in SKUS[1:]} == {10}
    assert not seller.canned.feeds
    assert_audit_is_clean(seller)


if __name__ == "__main__":
    racing.play(ROLES)
