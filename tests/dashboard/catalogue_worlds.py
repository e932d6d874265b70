"""A shop with a catalogue that lived: products in many states, categories, metafields, versions and what has no
product."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sqlalchemy import Connection

from core.audit import Actor
from core.catalog.categories import operations as categories
from core.catalog.products import operations
from core.catalog.products.documents import Image, ProductDocument, VariantDocument
from core.catalog.products.fields import COLOUR_CODE, COST, SUPPLIER_ID, Definition
from core.db import scalar
from tests.dashboard import seed

ANN = Actor("ann", "The autumn range")
NOWHERE = "http://127.0.0.1:9"
_TONES = ("#C9B79C", "#1B4D3E", "#8E2A6B", "#1F3C8C", "#D07A1E", "#3B2A12")


@dataclass(frozen=True)
class Catalogue:
    """The shop, its products by handle and its categories by path."""

    shop: int
    products: dict[str, int]
    categories: dict[str, int]


def shirt(pictures: str = NOWHERE) -> ProductDocument:
    """Six variants, three pictures, metafields of both kinds."""
    variants = tuple(
        VariantDocument(
            f"SHIRT-{colour[:3].upper()}-{size}",
            "GBP",
            (colour, size),
            barcode=f"400638133{number:04d}",
            price_minor=4500 + 200 * (size == "L"),
            compare_at_minor=5200 if colour == "Sand" else None,
            weight_grams=210 + 20 * number,
            metafields={
                COLOUR_CODE: "#C9B79C" if colour == "Sand" else "#1B4D3E",
                COST: {"amount_minor": 1830, "currency": "GBP"},
            },
        )
        for number, (colour, size) in enumerate((c, s) for c in ("Sand", "Pine") for s in ("S", "M", "L"))
    )
    return ProductDocument(
        "linen-shirt",
        "Linen shirt, washed",
        variants,
        description="<p>Linen from the north, woven in one mill and washed four times before it is sewn.</p>"
        "<ul><li>Horn buttons</li><li>Wash at 40 °C</li></ul>",
        vendor="Åkesson",
        product_type="Shirts",
        tags=("linen", "summer", "made in Sweden"),
        options=("Colour", "Size"),
        images=tuple(Image(f"{pictures}/{number}.svg", f"The shirt, view {number}") for number in range(3)),
        metafields={SUPPLIER_ID: "AK-7710", "care.wash_at": 40},
        url="https://harbour.example/products/linen-shirt",
        seo_title="Linen shirt in sand and pine",
    )


def full(conn: Connection, pictures: str = NOWHERE) -> Catalogue:
    """Sixty products, of which one has a history; a tree of categories; two SKUs that are no product's."""
    shop = seed.shop(conn)
    now = seed.now() - timedelta(days=3)
    wash = Definition("product", "care.wash_at", "Wash at", "integer", "Degrees.")
    operations.define_metafield(conn, shop, wash, ANN, now)
    named = [
        ("Clothes", "Shirts"),
        ("Clothes", "Trousers"),
        ("Home", "Kitchen", "Cups"),
        ("Home", "Candles"),
        ("Sale",),
    ]
    paths = categories.ensure_paths(conn, shop, named, now)
    at = {" > ".join(path): number for path, number in paths.items()}
    at["Home"] = scalar(conn, "select id from categories where path = 'Home' and shop_id = %(s)s", s=shop)
    made = {
        "linen-shirt": _lived(conn, shop, replace(shirt(pictures), categories=(at["Clothes > Shirts"], at["Sale"])))
    }
    for number in range(59):
        name, where = (
            ("Cup", "Home > Kitchen > Cups"),
            ("Candle", "Home > Candles"),
            ("Trousers", "Clothes > Trousers"),
        )[number % 3]
        document = ProductDocument(
            f"{name.lower()}-{number}",
            f"{name} no. {number:02d}",
            (VariantDocument(f"{name.upper()}-{number:02d}", "GBP", price_minor=900 + 50 * number),),
            vendor="Harbour" if number % 2 else "Wool & Sons <Leeds>",
            product_type=name,
            status="draft" if number % 9 == 4 else "archived" if number % 20 == 7 else "active",
            categories=(at[where],) if number % 10 else (),
            images=(Image(f"{pictures}/{number}.svg"),) if number % 4 else (),
        )
        made[document.handle] = operations.save_product(conn, shop, document, ANN, now).product_id or 0
    place = seed.location(conn, shop)
    for code, units in (("SHIRT-SAN-S", 31), ("SHIRT-SAN-M", 3), ("SHIRT-PIN-M", -2), ("SHIRT-PIN-L", 12)):
        sku = scalar(conn, "select id from skus where shop_id = %(s)s and code = %(c)s", s=shop, c=code)
        seed.level(conn, shop, sku, place, on_hand=units)
    seed.sku(conn, shop, "GIFT-WRAP", "Gift wrapping", barcode="5000112546415")
    seed.sku(conn, shop, "POSTER-A2", "Poster of the harbour")
    return Catalogue(shop, made, at)


def _lived(conn: Connection, shop: int, last: ProductDocument) -> int:
    """A product that was made, edited twice, and of which one change was taken back."""
    now = seed.now() - timedelta(days=2)
    first = replace(last, title="Linen shirt", tags=("linen",), variants=last.variants[:5], images=last.images[:1])
    dear = replace(first, variants=tuple(replace(v, price_minor=9900) for v in first.variants))
    made = operations.save_product(conn, shop, first, ANN, now).product_id or 0
    ben = Actor("ben", "New price list <of the supplier>")
    operations.save_product(conn, shop, dear, ben, now + timedelta(hours=5), product_id=made, base_version=1)
    oops = Actor("ada", "The list was for another shop")
    operations.undo_version(conn, shop, made, 2, oops, now + timedelta(hours=30))
    operations.save_product(conn, shop, last, ANN, seed.now() - timedelta(minutes=20), product_id=made, base_version=3)
    return made


@contextmanager
def pictures() -> Iterator[str]:
    """A host of pictures, in a colour each; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = int("".join(char for char in self.path if char.isdigit()) or 0)
            tone = _TONES[number % len(_TONES)]
            body = (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><rect width="100" height="100"'
                f' fill="{tone}"/><circle cx="50" cy="54" r="{20 + number % 15}" fill="#FFFFFF" opacity=".55"/></svg>'
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "image/svg+xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads who looked at which picture."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
