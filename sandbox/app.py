"""Puts the fake vendors, the control API and the background work together behind one port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from sandbox.clock import AnyClock, Clock
from sandbox.control import Control, Parts
from sandbox.courier import Courier
from sandbox.duties import Duties
from sandbox.faults import Faults
from sandbox.hosts import ByHost
from sandbox.klaviyo_desk import KlaviyoDesk
from sandbox.mishaps import Mishaps
from sandbox.outbox import Outbox
from sandbox.recording import recorded
from sandbox.shoppers import Shoppers
from sandbox.store import Store
from sandbox.tally import Tally
from sandbox.vendors.amazon.documents import Documents
from sandbox.vendors.amazon.endpoint import Amazon
from sandbox.vendors.amazon.fba import Fba
from sandbox.vendors.amazon.fba_api import FbaApi
from sandbox.vendors.amazon.feeds import Feeds
from sandbox.vendors.amazon.feeds_api import FeedsApi
from sandbox.vendors.amazon.gate import Gate
from sandbox.vendors.amazon.listings import Listings
from sandbox.vendors.amazon.notices import Notices
from sandbox.vendors.amazon.notifications_api import NotificationsApi
from sandbox.vendors.amazon.orders import Orders
from sandbox.vendors.amazon.orders_api import OrdersApi
from sandbox.vendors.amazon.reports import Reports
from sandbox.vendors.amazon.reports_api import ReportsApi
from sandbox.vendors.amazon.sqs import Sqs
from sandbox.vendors.amazon.sqs_queues import Queues
from sandbox.vendors.amazon.static import StaticSandbox
from sandbox.vendors.klaviyo.endpoint import Klaviyo
from sandbox.vendors.shopify.deferred import handlers
from sandbox.vendors.shopify.endpoint import Shopify
from sandbox.world import DEMO_SELLER, DEMO_SHOP, found_world


def create_app(
    folder: Path,
    seed: int = 7,
    clock_factor: float | None = None,
    pace: float | None = None,
    clock: AnyClock | None = None,
    background: bool = True,
) -> ASGIApp:
    """The whole outside world over one folder; a folder with a world in it is taken up where it was left.

    `clock` takes the place of the world's own, which runs by itself: a VirtualClock of the program around it.
    Without `background` nothing happens by itself between two calls: no webhook leaves, no shopper comes.
    """
    store = Store(folder)
    if clock is None:
        clock = Clock(store, clock_factor)
    store.wall = clock.wall
    faults = Faults(store, seed)
    outbox = Outbox(store, clock, faults)
    queues = Queues(store, clock, seed)
    notices = Notices(store, clock, faults, queues, seed)
    listings = Listings(store, outbox, seed, notices.tell)
    documents = Documents(store)
    reports = Reports(store, outbox, listings, documents, seed, notices.tell)
    fba = Fba(store, listings, notices.tell)
    feeds = Feeds(store, outbox, listings, documents, seed, notices.tell)
    orders = Orders(store, outbox, listings, fba, seed, notices.tell)
    klaviyo = Klaviyo(store, outbox, faults, seed)
    shoppers = Shoppers(store, clock, outbox, orders, seed)
    found_world(store, listings, seed)
    queues.serve_sellers()
    if pace:
        shoppers.set(DEMO_SHOP, pace, True)
        shoppers.set_at_amazon(DEMO_SELLER, pace / 2, True)

    courier = Courier(store, clock, outbox)
    amazon_duties = listings.duties() | feeds.duties() | reports.duties() | orders.duties()
    duties = Duties(store, clock, outbox, handlers(store, outbox) | amazon_duties | klaviyo.duties())
    gate = Gate(store, clock, duties.settle)
    parts = Parts(store, clock, faults, outbox, courier, duties, listings, shoppers, queues, notices, orders, fba)
    control = Control(parts)

    workers: tuple[Courier | Duties | Shoppers, ...] = (courier, duties, shoppers) if background else ()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(part.run()) for part in workers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            store.close()

    amazon = (
        documents,
        FeedsApi(store, clock, gate, feeds, documents),
        Amazon(store, gate, listings),
        NotificationsApi(store, gate),
        ReportsApi(gate, reports, documents),
        FbaApi(store, gate, fba),
        OrdersApi(store, clock, gate, orders),
    )
    app = Starlette(
        routes=[
            Mount("/_control", routes=[*control.routes(), *KlaviyoDesk(store, klaviyo, duties).routes()]),
            Mount("/shopify", routes=Shopify(store, clock, outbox, duties.settle).routes()),
            Mount("/amazon", routes=[route for api in amazon for route in api.routes()]),
            Mount("/klaviyo", routes=klaviyo.routes(clock, duties.settle)),
            Mount("/amazon-static", routes=StaticSandbox.from_environment(store, clock).routes()),
            *Sqs(store, clock, faults, queues).routes(),
        ],
        lifespan=lifespan,
    )
    return ByHost(recorded(Tally(Mishaps(app, store, clock, faults))), store)
