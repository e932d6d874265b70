"""Shops with imports at every step: real files in a real store, read, applied and taken back by the domain itself."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from core.audit import Actor
from core.bootstrap import Application
from core.catalog.products import operations as products
from core.catalog.products import queries as catalogue
from core.clock import utc_now
from core.db import execute, fetch, read_only, unit_of_work
from core.files import operations as files
from core.importing import applying, holding, operations, queries, reading, undoing, uploads
from core.importing.queries import Run, Settings
from core.inventory.operations import open_location
from tests.factories import BASELINE, make_shop
from workers import importing

ADA = Actor("ada", "The supplier’s autumn list")
HEADS = "Handle,Title,Vendor,Type,Tags,Option1 Name,Option1 Value,Variant SKU,Variant Price,Variant Barcode,Status"
SHOPIFY = f"""{HEADS}
mug,Mug,Kiln,Kitchen,"blue, clay",Size,S,MUG-S,9.50,,active
mug,,,,,,L,MUG-L,11.00,4006381333931,
jug,Jug,Kiln,Kitchen,,Title,Default Title,JUG,20.00,,draft
"""
CHANGED = f"""{HEADS},Cost Center
mug,Mug of clay,Kiln,Kitchen,"blue, clay, new",Size,S,MUG-S,10.50,,active,
mug,,,,,,L,MUG-L,11.00,4006381333931,,
jug,Jug,Kiln,Kitchen,,Title,Default Title,JUG,20.00,,draft,
bowl,Bowl,Kiln,Kitchen,,Title,Default Title,BOWL,14.00,,active,
vase,Vase,Kiln,Kitchen,,Title,Default Title,VASE,twelve,,active,
lamp,Lamp,Kiln,Light,,Title,Default Title,LAMP,eleven,12345,active,
"""
OWN = """Article no;Name;Preis;Lager;Farbe;Lieferant;Season
A-1;Cup;9,50;12;red;Kiln;AW26
A-2;Plate;11,00;7;blue;Kiln;AW26
A-3;;8,00;3;green;Kiln;AW26
"""


@dataclass
class Imports:
    """One shop, and a hand that brings files into it."""

    app: Application
    shop_id: int
    folder: Path
    place: int

    def upload(self, text: str, name: str = "goods.csv") -> int:
        """A file that was uploaded; returns its document."""
        data = text.encode()
        with unit_of_work(self.app.engine) as conn:
            made = files.announce(
                *(conn, self.app.documents, self.shop_id, uploads.KIND, name, "text/csv", len(data), "ada", utc_now())
            )
        stat = self.app.documents.put(made.key, [data], len(data))
        with unit_of_work(self.app.engine) as conn:
            files.stored(conn, made.key, stat, utc_now())
        return made.document_id

    def begin(self, text: str, name: str = "goods.csv", **settings: Any) -> int:
        document_id = self.upload(text, name)
        with unit_of_work(self.app.engine) as conn:
            told = Settings(**{"currency": "GBP", **settings})
            return operations.begin(conn, self.shop_id, document_id, name, told, ADA, utc_now())

    def work(self, import_id: int) -> Run:
        return importing.carry_on(self.app, self.shop_id, import_id)

    def read(self, text: str, name: str = "goods.csv", **settings: Any) -> int:
        import_id = self.begin(text, name, **settings)
        self.work(import_id)
        return import_id

    def act(self, what: Any, import_id: int) -> None:
        with unit_of_work(self.app.engine) as conn:
            what(conn, self.shop_id, import_id, ADA, utc_now())

    def applied(self, text: str, name: str = "goods.csv", **settings: Any) -> int:
        import_id = self.read(text, name, **settings)
        self.act(operations.apply, import_id)
        self.work(import_id)
        return import_id

    def half_read(self, text: str, name: str = "goods.csv") -> int:
        """Being read, and its worker is gone."""
        import_id = self.begin(text, name)
        with unit_of_work(self.app.engine) as conn:
            run = holding.held(conn, self.shop_id, import_id, "reading")
            path = self.folder / name
            path.write_text(text, encoding="utf-8")
            file = uploads.opened(path, run)
            some = list(islice(file.outcomes(), 1))
            reading.take_in(conn, run, some, file.problems, file.form or "", file.progress.total, utc_now())
        return import_id

    def half_applied(self, text: str, name: str = "goods.csv") -> int:
        """Being applied, and its worker is gone."""
        import_id = self.read(text, name)
        self.act(operations.apply, import_id)
        with unit_of_work(self.app.engine) as conn:
            applying.apply_batch(conn, holding.held(conn, self.shop_id, import_id, "applying"), utc_now(), 1)
        return import_id

    def half_undone(self, import_id: int) -> int:
        """Being taken back, and its worker is gone."""
        self.act(operations.undo, import_id)
        with unit_of_work(self.app.engine) as conn:
            undoing.undo_batch(conn, holding.held(conn, self.shop_id, import_id, "undoing"), utc_now(), 1)
        return import_id

    def stopped(self, import_id: int) -> int:
        """What is at work is asked to stop, and does."""
        self.act(operations.stop, import_id)
        self.work(import_id)
        return import_id

    def undone(self, import_id: int) -> int:
        self.act(operations.undo, import_id)
        self.work(import_id)
        return import_id

    def discarded(self, import_id: int) -> int:
        self.act(operations.discard, import_id)
        return import_id

    def rename(self, handle: str, title: str) -> None:
        """Somebody changes a product by hand."""
        with unit_of_work(self.app.engine) as conn:
            product_id = catalogue.ids_by_handle(conn, self.shop_id, [handle])[handle]
            found = catalogue.stored(conn, self.shop_id, [product_id])[product_id]
            changed = type(found.document)(**{**_fields(found.document), "title": title})
            products.save_product(
                conn, self.shop_id, changed, ADA, utc_now(), product_id=product_id, base_version=found.version
            )

    def age(self, import_id: int, seconds: int) -> None:
        """Nobody has been at it for so long."""
        with unit_of_work(self.app.engine) as conn:
            execute(
                conn,
                "update import_runs set worked_at = now() - %(s)s * interval '1 second' where id = %(id)s",
                s=seconds,
                id=import_id,
            )

    def run(self, import_id: int) -> Run:
        with read_only(self.app.engine) as conn:
            return queries.run(conn, self.shop_id, import_id)

    def handles(self) -> set[str]:
        """Of the products that there are."""
        with read_only(self.app.engine) as conn:
            rows = fetch(conn, "select handle from products where shop_id = %(s)s", s=self.shop_id)
        return {row["handle"] for row in rows}


def _fields(document: Any) -> dict[str, Any]:
    return {name: getattr(document, name) for name in document.__dataclass_fields__}


def open_shop(app: Application, folder: Path) -> Imports:
    """A shop without products."""
    with unit_of_work(app.engine) as conn:
        shop_id = make_shop(conn, "Harbour Goods")
        place = open_location(conn, shop_id, "Main", BASELINE)
    return Imports(app, shop_id, folder, place)
