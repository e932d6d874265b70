"""`import`: rows a second of a product file into an empty catalogue, against a bare COPY of the same file.

- file: Shopify's product form, products of four variants in two options, with texts, tags, pictures, prices, barcodes.
- ours, read: put aside, made drafts, checked, held against the catalogue, noted with what each would change.
- ours, applied: products, SKUs, variants, categories, search words and a version each, 200 products in a unit of work.
- again: the same file once more, of which nothing changes.
- floor: COPY of the file into a table of text columns without an index, by the same server.
- memory: the most that a process of its own held while it read and applied, for a tenth of the file and for all of it.
"""

from __future__ import annotations

import csv
import multiprocessing
import resource
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Engine

from bench.report import Report
from bench.servers import Servers
from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.config import Settings as Environment
from core.connections.operations import open_shop
from core.db import make_engine, unit_of_work
from core.importing import operations
from core.importing.queries import Run, Settings
from workers import importing

ROWS = 200_000
VARIANTS = 4
ACTOR = Actor("bench", "measured")
FLAT = 0.8
"""Of the memory that all of the file takes, a tenth of it takes as much: no more than the rest grows with it."""

_HEADS = (
    "Handle", "Title", "Body (HTML)", "Vendor", "Product Category", "Type", "Tags", "Option1 Name", "Option1 Value",
    "Option2 Name", "Option2 Value", "Variant SKU", "Variant Grams", "Variant Inventory Tracker",
    "Variant Inventory Qty", "Variant Price", "Variant Compare At Price", "Variant Requires Shipping",
    "Variant Taxable", "Variant Barcode", "Image Src", "Image Alt Text", "Status",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trial:
    """Seconds of the steps, and the most memory in MB."""

    reading: float
    applying: float
    again: float
    peak_mb: float


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> Report:
    """Measure everything `rounds` times in turn; `size` scales the rows."""
    rows = max(400, round(ROWS * size / VARIANTS) * VARIANTS)
    report = Report("import", f"{rows:,} rows, {rows // VARIANTS:,} products of {VARIANTS} variants, in Shopify's form")
    trials: list[Trial] = []
    small: list[Trial] = []
    copies: list[float] = []
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-import-") as folder:
        whole, tenth = Path(folder) / "whole.csv", Path(folder) / "tenth.csv"
        write_file(whole, rows)
        write_file(tenth, rows // 10)
        for _ in range(rounds):
            trials.append(_ours(servers, whole))
            small.append(_ours(servers, tenth))
            copies.append(_copied(servers, whole))
    read = report.add("ours: rows read without effect", "rows/s", [rows / t.reading for t in trials])
    applied = report.add("ours: rows applied", "rows/s", [rows / t.applying for t in trials])
    both = report.add("ours: read and applied", "rows/s", [rows / (t.reading + t.applying) for t in trials])
    report.add("ours: the same file again", "rows/s", [rows / t.again for t in trials], "nothing changes")
    floor = report.add("floor: bare COPY of the file", "rows/s", [rows / seconds for seconds in copies])
    peak = report.add("memory, all of the file", "MB", [t.peak_mb for t in trials])
    less = report.add("memory, a tenth of it", "MB", [t.peak_mb for t in small])
    report.compare("read against COPY", read, floor)
    report.compare("applied against COPY", applied, floor)
    report.compare("read and applied against COPY", both, floor)
    report.compare("memory of a tenth against that of all", less, peak, aim=FLAT)
    return report


def write_file(path: Path, rows: int, seed: int = 7) -> None:
    """A file of so many rows; the same seed, the same file."""
    random = Random(seed)
    colours, sizes = ("Navy", "Sand", "Moss", "Rust"), ("S", "M", "L", "XL")
    words = ("linen", "cotton", "wool", "shirt", "jug", "bowl", "lamp", "chair", "throw", "tray", "vase", "rug")
    with path.open("w", encoding="utf-8", newline="") as target:
        out = csv.writer(target)
        out.writerow(_HEADS)
        for number in range(rows // VARIANTS):
            title = f"{random.choice(words)} {random.choice(words)} {number}".capitalize()
            text = f"<p>{' '.join(random.choices(words, k=40))}</p>"
            for place in range(VARIANTS):
                first = place == 0
                out.writerow(
                    [
                        f"product-{number}",
                        title if first else "",
                        text if first else "",
                        f"Maker {number % 97}" if first else "",
                        f"Home > {words[number % 12]} > Kind {number % 30}" if first else "",
                        words[number % 12] if first else "",
                        f"{words[number % 11]}, {words[number % 7]}" if first else "",
                        "Colour" if first else "",
                        colours[place % 2],
                        "Size" if first else "",
                        sizes[place // 2],
                        f"SKU-{number}-{place}",
                        random.randrange(50, 5000),
                        "shopify",
                        random.randrange(0, 200),
                        f"{random.randrange(500, 20000) / 100:.2f}",
                        "",
                        "true",
                        "true",
                        _gtin(number * VARIANTS + place),
                        f"https://images.example/{number}.jpg" if first else "",
                        title if first else "",
                        "active" if first else "",
                    ]
                )


def _gtin(number: int) -> str:
    """A barcode of 13 digits with its check digit, out of a range of its own."""
    digits = f"40{number:010d}"
    check = -sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10
    return f"{digits}{check}"


def _ours(servers: Servers, path: Path) -> Trial:
    """Read and apply in a process of its own, of which the memory is known."""
    with servers.database() as database, tempfile.TemporaryDirectory(prefix="switchyard-bench-store-") as store:
        environment = servers.environment(database) | {"SWITCHYARD_DOCUMENTS_DIR": store}
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(_measured, (environment, str(path)))


def _measured(environment: dict[str, str], path: str) -> Trial:
    app = bootstrap.make_application(Environment.from_environment(environment), name="bench")
    with unit_of_work(app.engine) as conn:
        shop_id = open_shop(conn, "Bench", "Europe/London", "GBP", ACTOR, utc_now())
    first, reading = _timed(partial(_read, app, shop_id, Path(path)))
    with unit_of_work(app.engine) as conn:
        operations.apply(conn, shop_id, first.id, ACTOR, utc_now())
    done, applying = _timed(partial(importing.carry_on, app, shop_id, first.id))
    assert done.state == "applied", done.problem
    assert done.counts["applied"] == first.counts["items"], "nothing was refused or rejected"
    again, seconds = _timed(partial(_read, app, shop_id, Path(path)))
    assert again.counts["unchanged"] == first.counts["items"], "the same file changes nothing"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Trial(reading, applying, seconds, peak)


def _read(app: bootstrap.Application, shop_id: int, path: Path) -> Run:
    import_id = importing.begin_with(app, shop_id, path, path.name, Settings("GBP"), ACTOR)
    run = importing.carry_on(app, shop_id, import_id)
    assert run.state == "read", run.problem
    return run


def _timed(act: partial[Run]) -> tuple[Run, float]:
    began = time.perf_counter()
    found = act()
    return found, time.perf_counter() - began


def _copied(servers: Servers, path: Path) -> float:
    with servers.database() as database:
        engine = make_engine(database.superuser_url)
        try:
            return _copy(engine, path)
        finally:
            engine.dispose()


def _copy(engine: Engine, path: Path) -> float:
    columns = ", ".join(f"c{number} text" for number in range(len(_HEADS)))
    with unit_of_work(engine) as conn:
        conn.exec_driver_sql(f"create table bare ({columns})")
    began = time.perf_counter()
    with unit_of_work(engine) as conn, path.open("rb") as source:
        cursor: Any = conn.connection.cursor()
        with cursor.copy("copy bare from stdin with (format csv, header true)") as copy:
            while piece := source.read(1 << 20):
                copy.write(piece)
    return time.perf_counter() - began
