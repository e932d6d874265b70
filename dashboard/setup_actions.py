"""What a person sets up: the shop, its locations, and which of them serves which place of a channel."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import Engine

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.connections import operations as connections
from core.db import read_only, unit_of_work
from core.inventory import places
from core.inventory.places import Served
from core.messaging.doorbell import Doorbell, Lane
from dashboard import formats


class Application(Protocol):
    """What these acts need: rows, and the bell that tells the pushes."""

    @property
    def engine(self) -> Engine: ...

    @property
    def doorbell(self) -> Doorbell: ...


def application() -> Application:
    """The process's own application, put together once."""
    return bootstrap.application()


def set_up_shop(app: Application, shop_id: int, name: str, zone: str, currency: str, actor: Actor) -> str:
    """Change what the shop is called, where its days begin, and what it counts in. Raises BadShop."""
    with unit_of_work(app.engine) as conn:
        connections.set_up_shop(conn, shop_id, name, zone, currency, actor, utc_now())
    return "The shop is set up as you said."


def add_location(app: Application, shop_id: int, name: str, actor: Actor) -> str:
    """Add a location of ours. Raises BadInput."""
    with unit_of_work(app.engine) as conn:
        places.add_location(conn, shop_id, name, actor, utc_now())
    return f"{' '.join(name.split())} is a location now."


def rename_location(app: Application, shop_id: int, location_id: int, name: str, actor: Actor) -> str:
    """Call a location something else. Raises BadInput."""
    with unit_of_work(app.engine) as conn:
        places.rename_location(conn, shop_id, location_id, name, actor, utc_now())
    return f"It is called {' '.join(name.split())} now."


def preview_serving(app: Application, shop_id: int, connection_id: int, place: str, location_id: int) -> Served:
    """What serving a place from another location would do. Raises NotServable, BadInput."""
    with read_only(app.engine) as conn:
        return places.preview_serving(conn, shop_id, connection_id, place, location_id)


def serve(app: Application, shop_id: int, connection_id: int, place: str, location_id: int, actor: Actor) -> str:
    """Serve a place from another location from now on, and have the channel told. Raises NotServable, BadInput."""
    with unit_of_work(app.engine) as conn:
        served = places.serve(conn, shop_id, connection_id, place, location_id, actor, utc_now())
    app.doorbell.ring(Lane("stock", shop_id, connection_id))
    return f"{formats.plural(served.listings, 'listing')} served from there: {served.up} up, {served.down} down."
