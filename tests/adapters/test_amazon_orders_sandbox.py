"""The adapter's orders against the sandbox's Amazon, in this process and on a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.registry import make_channel
from core.ports import ChannelOrder, Found, PackageSent, SalesChannel
from tests.sandbox.amazon_orders import OrderSide
from tests.sandbox.outside import Inside


class Selling:
    """A seller of the sandbox's, seen by the adapter."""

    def __init__(self, folder: Path) -> None:
        self.world = Inside(folder)
        seller = self.world.seller({"sku": "A", "quantity": 10}, {"sku": "B", "quantity": 5})
        self.side = OrderSide(self.world, seller)
        settings = {"marketplace_id": seller.marketplace, "lwa_url": f"{self.world.url}/amazon/auth/o2/token"}
        secrets = {name: seller.entry[name] for name in ("client_id", "client_secret", "refresh_token")}
        config = ConnectionConfig(1, 1, "amazon", f"{self.world.url}/amazon", seller.id, "GBP", settings, secrets)
        clock = self.world.clock
        deps = Deps(lambda call: None, None, self.world.world, self.now, clock.advance, clock=clock.now)
        self.channel: SalesChannel = make_channel(config, deps)
        self.began_at = self.now()
        # Limiters begin empty.
        clock.advance(3600)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.world.clock.wall(), UTC)

    def read(self, found: Found) -> ChannelOrder:
        facts = self.channel.parse("poll/orders", found[2], None)
        assert facts is not None
        (order,) = facts.orders
        assert (order.ref, order.version_at) == found[:2]
        return order

    def one(self, ref: str) -> ChannelOrder:
        (page,) = self.channel.orders([ref, "123-1234567-1234567"])
        return self.read(page[0])


@pytest.fixture(scope="module")
def selling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Selling]:
    made = Selling(tmp_path_factory.mktemp("selling"))
    yield made
    made.world.stop()


def test_every_order_is_told_once_the_bounds_have_passed_it(selling: Selling) -> None:
    placed: dict[str, datetime] = {}
    told: datetime | None = None
    resume: str | None = None
    known: set[str] = set()
    for turn in range(12):
        if turn < 8:
            placed[selling.side.place(("A", 1))["id"]] = selling.now()
        for page in selling.channel.orders_since(selling.began_at, resume):
            known |= {selling.read(found).ref for found in page.orders}
            resume, told = page.resume, page.told_until
        assert told is not None
        assert told <= selling.now() - timedelta(minutes=2)
        assert {ref for ref, at in placed.items() if at <= told} <= known
        selling.world.clock.advance(180)
    assert set(placed) <= known


def test_an_order_from_pending_to_shipped(selling: Selling) -> None:
    order = selling.side.place(("B", 2), hold=True)
    seen = selling.one(order["id"])
    assert (seen.channel_status, seen.total_minor, [line.units for line in seen.lines]) == ("PENDING", 0, [2])
    assert order["id"] in {ref for page in _open_after_a_while(selling) for ref, _, _ in page}
    selling.side.control("payments", order_id=order["id"])
    seen = selling.one(order["id"])
    assert (seen.channel_status, seen.total_minor, seen.lines[0].total_minor) == ("UNSHIPPED", 500, 500)
    package = PackageSent(order["id"], "1", "Royal Mail", None, None, "RM1", selling.now(), ((seen.lines[0].ref, 2),))
    assert selling.channel.confirm_shipment(package).outcome == "confirmed"
    seen = selling.one(order["id"])
    assert (seen.channel_status, seen.lines[0].counted_units) == ("SHIPPED", 2)
    (parcel,) = seen.fulfilments
    assert (parcel.is_shipped, parcel.lines, parcel.tracking_numbers) == (True, ((seen.lines[0].ref, 2),), ("RM1",))
    too_many = PackageSent(order["id"], "2", "Royal Mail", None, None, "RM2", selling.now(), ((seen.lines[0].ref, 1),))
    assert selling.channel.confirm_shipment(too_many).outcome == "refused"


def _open_after_a_while(selling: Selling) -> list[list[Found]]:
    selling.world.clock.advance(600)
    return [list(page.orders) for page in selling.channel.open_orders()]


@pytest.mark.parametrize(("reason", "is_put_back"), [("buyer", True), ("no_inventory", False)])
def test_what_amazon_says_it_puts_back_is_what_it_puts_back(selling: Selling, reason: str, is_put_back: bool) -> None:
    before = selling.side.levels()["B"]["DEFAULT"]
    order = selling.side.paid(("B", 1))
    selling.side.act("cancellations", order, reason=reason)
    seen = selling.one(order["id"])
    assert (seen.cancelled_at is not None, seen.lines[0].puts_back) == (True, is_put_back)
    assert selling.side.levels()["B"]["DEFAULT"] == before - (0 if is_put_back else 1)


def test_up_to_when_amazon_looks(selling: Selling) -> None:
    selling.world.clock.advance(600)
    at = selling.channel.newest_order_change_at()
    assert at is not None
    assert selling.now() - timedelta(minutes=4) < at <= selling.now() - timedelta(minutes=2)
