"""A shop whose catalogue a fake Klaviyo is told: the real adapter over the sandbox, on a clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import ApiCall
from core.adapters.klaviyo import KlaviyoTarget
from core.catalog.categories import operations as categories
from core.catalog.products import operations as products
from core.catalog.products import queries as product_queries
from core.catalog.products.documents import Image, ProductDocument, VariantDocument
from core.catalogue_target import Kind
from core.connections.queries import ConnectionRow
from core.db import fetch, fetch_one, unit_of_work
from core.inventory import operations as inventory
from core.inventory.operations import Adjustment
from core.targets import queries, rules, sending
from core.targets.operations import NothingToRequeue, requeue
from tests.factories import ACTOR, BASELINE, make_connection, make_shop, unique
from tests.sandbox.klaviyo_side import KlaviyoSide
from tests.sandbox.outside import Inside
from workers.targets import Seat

STORE = "https://shop.test"


def make_product(handle: str = "mug", *codes: str, **changed: Any) -> ProductDocument:
    """A product with a variant for each code, priced from 4.00 up."""
    variants = tuple(
        VariantDocument(code, "GBP", (f"S{place}",), price_minor=400 + 100 * place)
        for place, code in enumerate(codes or (f"{handle.upper()}-1",))
    )
    values: dict[str, Any] = {
        "handle": handle,
        "title": handle.title(),
        "variants": variants,
        "options": ("Size",),
        "description": "<p>Holds <b>tea</b> &amp; coffee</p>",
        "vendor": "Potters",
        "tags": ("blue", "new"),
        "images": (Image(f"{STORE}/{handle}.jpg"),),
    }
    return ProductDocument(**{**values, **changed})


@dataclass
class TargetWorld:
    """A shop, its connection, and both sides of it. `lose` and the like stand between them."""

    engine: Engine
    side: KlaviyoSide
    row: ConnectionRow
    location_id: int
    calls: list[ApiCall] = field(default_factory=list)
    between: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
    """May answer in the target's stead."""
    after: Callable[[httpx.Request, httpx.Response], None] = lambda request, response: None

    @property
    def shop_id(self) -> int:
        return self.row.shop_id

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.side.clock.wall(), UTC)

    def pass_time(self, seconds: float) -> None:
        self.side.clock.advance(seconds)

    def deps(self) -> Deps:
        clock = self.side.clock
        transport = Between(self)
        return Deps(self.calls.append, None, transport, self.now, clock.advance, clock=clock.now)

    def api(self) -> KlaviyoTarget:
        config = ConnectionConfig(
            self.shop_id,
            self.row.id,
            "klaviyo",
            f"{self.side.world.url}/klaviyo",
            self.side.public_key,
            "GBP",
            {},
            {"private_key": self.side.entry["private_key"]},
        )
        return KlaviyoTarget(config, self.deps())

    def seat(self, number: int = 1) -> Seat:
        clock = self.side.clock
        target = queries.target_of(self.row)
        return Seat(self.engine, target, self.api(), number, self.now, clock.now, clock.advance)

    # --- our side ------------------------------------------------------------------------------------------------

    def save(self, document: ProductDocument, product_id: int | None = None) -> int:
        with unit_of_work(self.engine) as conn:
            base = None
            if product_id is not None:
                base = product_queries.stored(conn, self.shop_id, [product_id])[product_id].version
            made = products.save_product(
                conn, self.shop_id, document, ACTOR, BASELINE, product_id=product_id, base_version=base
            )
        assert made.product_id is not None
        return made.product_id

    def change(self, product_id: int, **changed: Any) -> None:
        with unit_of_work(self.engine) as conn:
            document = product_queries.stored(conn, self.shop_id, [product_id])[product_id].document
        self.save(replace(document, **changed), product_id)

    def price(self, product_id: int, code: str, minor: int | None) -> None:
        with unit_of_work(self.engine) as conn:
            document = product_queries.stored(conn, self.shop_id, [product_id])[product_id].document
        changed = tuple(replace(v, price_minor=minor) if v.code == code else v for v in document.variants)
        self.change(product_id, variants=changed)

    def remove(self, product_id: int) -> None:
        with unit_of_work(self.engine) as conn:
            version = product_queries.stored(conn, self.shop_id, [product_id])[product_id].version
            products.remove_product(conn, self.shop_id, product_id, version, ACTOR, BASELINE)

    def category(self, *path: str) -> int:
        with unit_of_work(self.engine) as conn:
            return categories.ensure_paths(conn, self.shop_id, [path], BASELINE)[path]

    def stock(self, code: str, delta: int) -> None:
        with unit_of_work(self.engine) as conn:
            item = Adjustment(unique("count"), code, delta, "adjustment", BASELINE)
            inventory.adjust(conn, self.shop_id, self.location_id, [item], ACTOR, BASELINE)

    def sku_id(self, code: str) -> int:
        row = self.one("select id from skus where shop_id = %(shop)s and code = %(code)s", code=code)
        assert row is not None
        return int(row["id"])

    def one(self, sql: str, **params: Any) -> Any:
        with unit_of_work(self.engine) as conn:
            return fetch_one(conn, sql, shop=self.shop_id, mark=self.row.mark, **params)

    def rows(self, sql: str, **params: Any) -> list[Any]:
        with unit_of_work(self.engine) as conn:
            return [dict(row) for row in fetch(conn, sql, shop=self.shop_id, mark=self.row.mark, **params)]

    def name(self, kind: Kind, entity_id: int) -> str:
        """The id that the target knows a thing of ours by."""
        return rules.external_id(self.row.mark, kind, entity_id)

    def marked(self) -> dict[str, str]:
        """The metadata by which something there is known to be ours."""
        return {rules.MARK_KEY: self.row.mark}

    def sku_name(self, code: str) -> str:
        return self.name("variant", self.sku_id(code))

    def entry(self, kind: str, entity_id: int) -> Any:
        return self.one(
            "select * from target_entries where shop_id = %(shop)s and kind = %(kind)s and entity_id = %(id)s",
            kind=kind,
            id=entity_id,
        )

    def jobs(self) -> list[Any]:
        return self.rows("select * from target_jobs where shop_id = %(shop)s order by id")

    def open_twice(self) -> list[Any]:
        """Ids in more than one job at the target that is not over: there must never be any."""
        jobs = self.side.world.get(f"/klaviyo/{self.side.public_key}/jobs")["jobs"]
        names = [(j["kind"], name) for j in jobs if j["status"] in ("queued", "processing") for name in j["names"]]
        return sorted({one for one in names if names.count(one) > 1})

    # --- working -------------------------------------------------------------------------------------------------

    def turn(self, seat: Seat) -> bool:
        """One round of every hand."""
        did = [seat.plan(), seat.send(), seat.look()]
        if did[1]:
            assert self.open_twice() == []
        return any(did)

    def work(self, seat: Seat | None = None, rounds: int = 400) -> Seat:
        """Until nothing is left to do but what waits for its time, or for a person."""
        seat = seat or self.seat()
        self.recover(seat)
        quiet = 0
        for _ in range(rounds):
            if self.turn(seat):
                quiet = 0
                continue
            if quiet > 2 and not self._is_open():
                return seat
            quiet += 1
            self.pass_time(1.0)
        raise AssertionError(f"it does not come to rest: {self.rows('select * from target_jobs_open')}")

    def recover(self, seat: Seat) -> None:
        """As whoever takes a seat begins."""
        with unit_of_work(self.engine) as conn:
            sending.recover(conn, seat.target, seat.number, self.now())

    def _is_open(self) -> bool:
        return bool(self.rows("select 1 from target_jobs where shop_id = %(shop)s and ended_at is null"))

    def try_again(self) -> None:
        """A person has tried again what failed too often."""
        with unit_of_work(self.engine) as conn, suppress(NothingToRequeue):
            requeue(conn, self.shop_id, self.row.id, ACTOR, self.now())

    # --- what should be there --------------------------------------------------------------------------------------

    def held(self) -> dict[str, dict[str, Any]]:
        """What the target holds, by kind and id."""
        return self.side.catalogue()

    def wanted(self) -> dict[str, dict[str, tuple[Any, ...]]]:
        """Worked out from the tables by itself: ids, titles, prices, units and what they hang on."""
        items = self.rows(
            """
            select 'sw-' || %(mark)s || '-i' || p.id as id, p.title, (select min(v.price_minor) / 100.0 from variants v
                    where v.shop_id = p.shop_id and v.product_id = p.id and v.currency = 'GBP')::float8 as price,
                p.status = 'active' as published, array(select 'sw-' || %(mark)s || '-c' || k.category_id
                    from product_categories k
                    where k.shop_id = p.shop_id and k.product_id = p.id order by 1) as categories
            from products p where p.shop_id = %(shop)s
            """
        )
        variants = self.rows(
            """
            select 'sw-' || %(mark)s || '-v' || v.sku_id as id, s.code, (v.price_minor / 100.0)::float8 as price,
                coalesce((select sum(greatest(l.available, 0)) from stock_levels l
                    where l.shop_id = v.shop_id and l.sku_id = v.sku_id), 0)::int as units,
                'sw-' || %(mark)s || '-i' || v.product_id as item
            from variants v join skus s on s.shop_id = v.shop_id and s.id = v.sku_id
            where v.shop_id = %(shop)s and v.price_minor is not null and v.currency = 'GBP'
            """
        )
        return {
            "categories": {
                row["id"]: (row["path"],)
                for row in self.rows(
                    """
                    select distinct 'sw-' || %(mark)s || '-c' || c.id as id, c.path from categories c
                    join product_categories k on k.shop_id = c.shop_id and k.category_id = c.id
                    where c.shop_id = %(shop)s
                    """
                )
            },
            "items": {r["id"]: (r["title"], r["price"], r["published"], r["categories"]) for r in items},
            "variants": {r["id"]: (r["code"], r["price"], r["units"], r["item"]) for r in variants},
        }

    def shown(self) -> dict[str, dict[str, tuple[Any, ...]]]:
        """The same of what the target holds, but for what others put there."""
        held, ours = self.held(), f"sw-{self.row.mark}-"
        return {
            "categories": {
                id_: (e["attributes"]["name"],) for id_, e in held["categories"].items() if id_.startswith(ours)
            },
            "items": {
                id_: (e["attributes"]["title"], e["attributes"]["price"], e["attributes"]["published"], e["categories"])
                for id_, e in held["items"].items()
                if id_.startswith(ours)
            },
            "variants": {
                id_: (
                    e["attributes"]["sku"],
                    e["attributes"]["price"],
                    e["attributes"]["inventory_quantity"],
                    e["item"],
                )
                for id_, e in held["variants"].items()
                if id_.startswith(ours)
            },
        }


@dataclass
class Between(httpx.BaseTransport):
    """The road to the sandbox, on which a test may lose something, or send back something else."""

    world: TargetWorld

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        instead = self.world.between(request)
        if instead is not None:
            return instead
        answer = self.world.side.world.world.handle_request(request)
        self.world.after(request, answer)
        return answer

    def close(self) -> None:
        """The world stays open for the others."""


@contextmanager
def target_world(engine: Engine, folder: Path, settings: Mapping[str, Any] | None = None) -> Iterator[TargetWorld]:
    """A world with an empty catalogue on both sides."""
    inside = Inside(folder)
    try:
        yield add_target(engine, inside, settings)
    finally:
        inside.stop()


def add_target(
    engine: Engine, inside: Inside, settings: Mapping[str, Any] | None = None, side: KlaviyoSide | None = None
) -> TargetWorld:
    """A shop of its own in that world, with an account of its own or with one that others have too."""
    side = side or KlaviyoSide(inside)
    with unit_of_work(engine) as conn:
        shop_id = make_shop(conn)
        location_id = inventory.open_location(conn, shop_id, "Main", BASELINE)
        row = make_connection(
            conn,
            shop_id,
            guarantee_class=queries.TARGET_CLASS,
            vendor="klaviyo",
            account_ref=side.public_key,
            locations={},
            is_sku_source=False,
            settings={"storefront_url": STORE, **(settings or {})},
        )
    return TargetWorld(engine, side, row, location_id)
