"""Imports of the tests: texts and files on their way into one shop's catalogue, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection

from core.catalog.imports.reading import open_products
from core.catalog.products import queries as products
from core.catalog.products.documents import ProductDocument
from core.db import fetch
from core.importing import applying, holding, operations, queries, reading, undoing
from core.importing.queries import Run, Settings
from tests.catalog.conftest import ANNA, Catalogue


@dataclass
class Importer:
    """Imports texts as files into one shop's catalogue."""

    catalogue: Catalogue
    folder: Path

    @property
    def conn(self) -> Connection:
        return self.catalogue.conn

    def begin(self, text: str, name: str = "goods.csv", **settings: object) -> int:
        (self.folder / name).write_text(text, encoding="utf-8")
        return self.begin_with(name, **settings)

    def begin_with(self, name: str, **settings: object) -> int:
        """Of a file in the folder."""
        told = Settings(**{"currency": "GBP", **settings})  # type: ignore[arg-type]
        return operations.begin(self.conn, self.catalogue.shop_id, 1, name, told, ANNA, self.catalogue.now)

    def run(self, import_id: int) -> Run:
        return queries.run(self.conn, self.catalogue.shop_id, import_id)

    def read(self, import_id: int, batch: int = 2, batches: int | None = None) -> Run:
        """Go on with the reading; `batches` at most, as if it were killed then."""
        run = self.run(import_id)
        told = run.settings
        file = open_products(
            self.folder / run.file_name, run.file_name, told.currency, told.mapping, make_codes=told.make_codes
        )
        outcomes = file.outcomes(reading.last_row(self.conn, run))
        done = 0
        while batches is None or done < batches:
            held = holding.held(self.conn, self.catalogue.shop_id, import_id, "reading")
            some = list(islice(outcomes, batch))
            if not some:
                reading.finish_reading(self.conn, held, self.catalogue.now)
                break
            reading.take_in(self.conn, held, some, file.problems, file.form or "", 0, self.catalogue.now)
            done += 1
        return self.run(import_id)

    def apply(self, import_id: int, batches: int = 1_000, limit: int = 2) -> Run:
        if self.run(import_id).state != "applying":
            operations.apply(self.conn, self.catalogue.shop_id, import_id, ANNA, self.catalogue.now)
        for _ in range(batches):
            held = holding.held(self.conn, self.catalogue.shop_id, import_id, "applying")
            if not applying.apply_batch(self.conn, held, self.catalogue.now, limit):
                break
        return self.run(import_id)

    def undo(self, import_id: int, limit: int = 2) -> Run:
        operations.undo(self.conn, self.catalogue.shop_id, import_id, ANNA, self.catalogue.now)
        while undoing.undo_batch(
            self.conn,
            holding.held(self.conn, self.catalogue.shop_id, import_id, "undoing"),
            self.catalogue.now,
            limit,
        ):
            pass
        return self.run(import_id)

    def whole(self, text: str, **settings: object) -> Run:
        """Read and applied at once."""
        import_id = self.begin(text, **settings)
        self.read(import_id)
        return self.apply(import_id)

    def documents(self) -> dict[str, ProductDocument]:
        ids = fetch(self.conn, "select id from products where shop_id = %(s)s", s=self.catalogue.shop_id)
        found = products.stored(self.conn, self.catalogue.shop_id, [row["id"] for row in ids])
        return {one.document.handle: one.document for one in found.values()}

    def problems(self, import_id: int) -> Sequence[str]:
        found = queries.items(self.conn, self.catalogue.shop_id, import_id)
        return [problem["sentence"] for item in found for problem in item.problems]
