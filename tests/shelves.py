"""A shop on real Postgres whose products are at the fake Shopify in this process: what a worker's job sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Engine

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.shopify import ShopifyChannel
from core.audit import Actor
from core.bootstrap import Application
from core.catalog.products import queries as catalogue
from core.catalog.products.documents import ProductDocument, VariantDocument
from core.catalog.products.operations import save_product
from core.catalog.products.queries import Stored
from core.clock import utc_now
from core.connections import operations as connections
from core.connections.operations import NewConnection
from core.connections.queries import ConnectionRow
from core.connections.queries import connection as connection_row
from core.connections.switches import standing
from core.db import fetch, read_only, unit_of_work
from core.product_ports import ProductChannel, ShownProduct
from core.publication import operations
from tests.factories import ACTOR, make_shop, unique
from tests.sandbox.outside import Inside, ShopSide
from workers.products import keep_in_step, read_whole

PRODUCT = """query($id: ID!) { product(id: $id) { title handle descriptionHtml vendor productType status tags
  seo { title description } options(first: 3) { name values }
  media(first: 10) { nodes { id alt } } metafields(first: 20) { nodes { namespace key type value } }
  variants(first: 20) { nodes { id sku barcode price compareAtPrice taxable selectedOptions { value }
    metafields(first: 10) { nodes { namespace key value } } media(first: 1) { nodes { id } }
    inventoryItem { requiresShipping tracked unitCost { amount } measurement { weight { value unit } } } } } } }"""


def make_document(**changed: Any) -> ProductDocument:
    """A shirt in two sizes."""
    variants = tuple(
        VariantDocument(f"SHIRT-{size}", "GBP", (size,), price_minor=2500, weight_grams=200) for size in ("M", "L")
    )
    values = {"handle": "shirt", "title": "Shirt", "options": ("Size",), "variants": variants}
    return ProductDocument(**{**values, **changed})


class Garbling:
    """What answers of some products come with that nobody can read; the rest of an answer is as it came."""

    def __init__(self, graphql: Any) -> None:
        self._graphql = graphql
        self.refs: set[str] = set()

    def run(self, name: str, *rest: Any, **named: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._graphql.run(name, *rest, **named)
        for node in answer.get("nodes") or [] if name == "some_products" else []:
            if node and str(node["legacyResourceId"]) in self.refs:
                node["variants"]["nodes"][0]["price"] = "a lot"
        return answer


class Shelf:
    """One shop of ours and one there; `world` has no clock of its own to wait for."""

    def __init__(
        self, world: Inside, engine: Engine, *, is_sku_source: bool = True, clock_factor: float = 1000
    ) -> None:
        self.world = world
        self.engine = engine
        self.shop: ShopSide = world.shop()
        new = NewConnection(
            vendor="shopify",
            name=unique("Shopify"),
            base_url=f"{world.url}/shopify/{self.shop.domain}",
            account_ref=self.shop.domain,
            guarantee_class="A",
            settings={"clock_factor": clock_factor, "is_sku_source": is_sku_source},
            secrets={},
        )
        with unit_of_work(engine) as conn:
            shop_id = make_shop(conn)
            made = connections.connect(conn, shop_id, new, (connections.new_key(),), ACTOR, utc_now())
        with read_only(engine) as conn:
            self.row: ConnectionRow = connection_row(conn, shop_id, made)
        self.channel = ShopifyChannel(self._config(), self._deps())
        # What the jobs are given: a test may stand in between.
        self.reached: ProductChannel = self.channel.products

    def _config(self) -> ConnectionConfig:
        row, entry = self.row, self.shop.entry
        secrets = {name: entry[name] for name in ("client_id", "client_secret")}
        return ConnectionConfig(
            row.shop_id, row.id, "shopify", row.base_url, row.account_ref, "GBP", row.settings, secrets
        )

    def _deps(self) -> Deps:
        def held(effect: Any) -> str | None:
            with read_only(self.engine) as conn:
                return standing(conn, self.row.shop_id, self.row.id).held(effect)

        # Nobody waits: where the adapter would sleep, the vendor's clock moves instead.
        def sleep(seconds: float) -> None:
            self.world.clock.advance(seconds * 1000)

        return Deps(lambda call: None, None, self.world.world, lambda: datetime.now(UTC), sleep, held=held)

    @property
    def app(self) -> Application:
        return cast(Application, self)

    @contextmanager
    def products(self, _row: ConnectionRow) -> Iterator[ProductChannel]:
        yield self.reached

    # There ----------------------------------------------------------------------------------------------------------

    def put(self, product: str | None = None, *, handle: str | None = None, **input_: Any) -> str:
        """Staff type a product over, in the form of productSet; its id."""
        named = {"product": product} if product else {"handle": handle or "there"}
        made = self.shop.control("product", **named, input=input_)
        return str(made["product_id"])

    def put_variants(self, product: str, *variants: dict[str, Any]) -> None:
        self.shop.control("product", product=product, variants=list(variants))

    def there(self, product: str) -> dict[str, Any]:
        found: dict[str, Any] = self.shop.data(PRODUCT, id=product)["product"]
        return found

    def garble(self, *products: str) -> None:
        """From now on the answers of these, and of no others, cannot be read."""
        if not isinstance(self.channel.products._graphql, Garbling):
            self.channel.products._graphql = cast(Any, Garbling(self.channel.products._graphql))
        cast(Garbling, self.channel.products._graphql).refs = {one.rpartition("/")[2] for one in products}

    def shown(self, product: str) -> ShownProduct:
        (found,) = self.channel.products.read_products([product.rpartition("/")[2]])
        assert isinstance(found, ShownProduct)
        return found

    def made(self) -> list[str]:
        """The ids of all products there."""
        found = self.shop.data("{ products(first: 50) { nodes { id } } }")["products"]["nodes"]
        return [node["id"] for node in found]

    # Here -----------------------------------------------------------------------------------------------------------

    def save(self, document: ProductDocument, product_id: int | None = None) -> int:
        """Somebody saves a product here, whatever it was before; its id."""
        base = None if product_id is None else self.ours(product_id).version
        with unit_of_work(self.engine) as conn:
            made = save_product(
                conn, self.row.shop_id, document, ACTOR, utc_now(), product_id=product_id, base_version=base
            )
        assert made.product_id is not None
        return made.product_id

    def ours(self, product_id: int) -> Stored:
        with read_only(self.engine) as conn:
            return catalogue.stored(conn, self.row.shop_id, [product_id])[product_id]

    def all_ours(self) -> list[Stored]:
        ids = [row["id"] for row in self.rows("select id from products where shop_id = %(shop)s order by id")]
        return [self.ours(one) for one in ids]

    def master(self, **masters: str) -> None:
        """Decide masters; `metafields__details__x` stands for metafields.details.x."""
        chosen = {name.replace("__", "."): one for name, one in masters.items()}
        with unit_of_work(self.engine) as conn:
            operations.set_masters(conn, self.row, chosen, Actor("Ada", "a test"), utc_now())

    def read(self) -> dict[str, int]:
        return dict(read_whole(self.app, self.row, self.reached, lambda _done: None))

    def turn(self) -> dict[str, int]:
        return dict(keep_in_step(self.app, self.row, self.reached, 30))

    def rows(self, sql: str, **params: Any) -> list[dict[str, Any]]:
        with read_only(self.engine) as conn:
            return [dict(row) for row in fetch(conn, sql, shop=self.row.shop_id, connection=self.row.id, **params)]

    def link(self, product_id: int | None = None) -> dict[str, Any]:
        """The link of a product, or the only one."""
        (found,) = self.rows(
            """
            select * from product_links where shop_id = %(shop)s and connection_id = %(connection)s
                and (%(product)s::int8 is null or product_id = %(product)s)
            """,
            product=product_id,
        )
        return found

    def pushes(self) -> list[dict[str, Any]]:
        return self.rows(
            "select * from product_pushes where shop_id = %(shop)s and connection_id = %(connection)s order by id"
        )
