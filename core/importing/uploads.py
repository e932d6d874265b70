"""Files of imports where they lie: what one is, by its first rows; and its rejected rows as a file of the same form."""

from __future__ import annotations

import gzip
import heapq
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from sqlalchemy import Connection, Engine

from core.catalog.imports.mapping import Mapping as ColumnMapping
from core.catalog.imports.plans import Form
from core.catalog.imports.problems import Outcome, Problem
from core.catalog.imports.reading import ProductFile, open_products
from core.catalog.imports.rejected import RejectedRows, suffix
from core.db import read_only, unit_of_work
from core.documents import DocumentStore, NoDocument
from core.errors import BadInput
from core.files import operations as files
from core.files.queries import Document
from core.importing import queries, scratch
from core.importing.queries import Run
from core.spreadsheets import unguarded

KIND = "catalogue_import"
"""The documents that are uploaded to be imported."""
ENDINGS = (".csv", ".tsv", ".txt", ".xlsx", ".gz", ".json")
BYTES_MAX = 500_000_000
"""Of an uploaded file."""
REJECTED_KIND = "catalogue_rejected"
REJECTED_KEEP_DAYS = 2
"""It is made again whenever somebody asks."""

_TYPES = {".csv": "text/csv", ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
_BEGINNING = 4_000_000
"""Bytes of a text by which its columns are known; a workbook and JSON are needed whole."""
_SAMPLED_ROWS = 60
_SAMPLES = 3
_SAMPLE_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """What a file is, by its first rows. `form` None: its columns are to be mapped, and `suggested` is a beginning.

    `samples` are the first different values of each column, by its head.
    """

    file_name: str
    heads: tuple[str, ...]
    form: Form | None
    suggested: ColumnMapping
    samples: Mapping[str, Sequence[str]]
    has_reasons: bool


@contextmanager
def local_file(store: DocumentStore, key: str, file_name: str, *, whole: bool = True) -> Iterator[Path]:
    """A stored document on this machine's disk, for the time. Not `whole`: a text has its first rows only.

    Raises core.documents.NoDocument.
    """
    with scratch.folder("import") as folder:
        path = folder / f"file{Path(file_name).suffix[:10]}"
        with store.open(key) as source, path.open("wb") as target:
            beginning = None if whole else _beginning(source)
            if beginning is None:
                source.seek(0)
                shutil.copyfileobj(source, target, 1 << 20)
            else:
                target.write(beginning)
        yield path


def _beginning(source: BinaryIO) -> bytes | None:
    """The first rows of a text, unpacked; None for what is needed whole: it is short, or no text of rows."""
    start = source.read(2)
    source.seek(0)
    try:
        text = cast(BinaryIO, gzip.GzipFile(fileobj=source)) if start == b"\x1f\x8b" else source
        some = text.read(_BEGINNING)
    except (EOFError, OSError, zlib.error):
        # Whoever opens it says what is wrong.
        return None
    is_json = some.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{")
    is_wide = b"\0" in some[:200] or start in (b"\xff\xfe", b"\xfe\xff")
    if len(some) < _BEGINNING or start == b"PK" or is_json or is_wide or b"\n" not in some:
        return None
    # In the middle of a row, or of a character, it would not be what it is.
    return some[: some.rfind(b"\n") + 1]


def opened(path: Path, run: Run) -> ProductFile:
    """The file of an import, by its settings. Raises as open_products does."""
    told = run.settings
    return open_products(path, run.file_name, told.currency, told.mapping, make_codes=told.make_codes)


def uploaded(conn: Connection, shop_id: int, document_id: int, now: datetime) -> Document:
    """A file that was uploaded to be imported. Raises core.documents.NoDocument."""
    found = files.readable(conn, shop_id, document_id, now)
    if found.kind != KIND:
        raise NoDocument
    return found


def look(conn: Connection, store: DocumentStore, shop_id: int, document_id: int, currency: str, now: datetime) -> Seen:
    """What an uploaded file is. Raises UnreadableFile, NotProducts, core.documents.NoDocument."""
    document = uploaded(conn, shop_id, document_id, now)
    with local_file(store, document.key, document.file_name, whole=False) as path:
        file = open_products(path, document.file_name, currency)
        return Seen(file.name, file.heads, file.form, file.suggested, _samples(file), file.has_reasons)


def _samples(file: ProductFile) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {head: [] for head in file.heads if head.strip()}
    for row in islice((row for row in file.table.rows() if row.number > file.heads_row), _SAMPLED_ROWS):
        for head, cell in zip(file.heads, row.cells, strict=False):
            text = " ".join(unguarded(cell).split())[:_SAMPLE_CHARACTERS]
            values = found.get(head)
            if values is not None and text and text not in values and len(values) < _SAMPLES:
                values.append(text)
    return found


@contextmanager
def local_run_file(
    engine: Engine, store: DocumentStore, run: Run, now: datetime, *, whole: bool = True
) -> Iterator[Path]:
    """The uploaded file of an import, as `local_file`. Raises core.documents.NoDocument."""
    with read_only(engine) as conn:
        document = files.readable(conn, run.shop_id, run.document_id, now)
    with local_file(store, document.key, run.file_name, whole=whole) as path:
        yield path


_REFUSALS: Mapping[str, tuple[str, str]] = {
    "stale": (
        "was not applied: somebody changed the product after the file was read",
        "import this row again: it is then compared with the product as it is now",
    ),
    "handle_taken": (
        "was not applied: its handle is another product's by now",
        "import this row again, or write another handle",
    ),
    "code_taken": (
        "was not applied: a SKU of it is a variant of another product by now",
        "import this row again, or write another SKU",
    ),
    "failed": ("was not applied", "import this row again once that is put right"),
}
"""By fate, what is said of rows that were read and not applied, and what to do."""


def write_rejected(engine: Engine, store: DocumentStore, run: Run, folder: Path, now: datetime) -> tuple[Path, int]:
    """The rows of an import that were rejected, and those that were read and then not applied, as a file of the same
    form with a reason column; (where, how many rows).

    Raises core.documents.NoDocument where the uploaded file is gone, BadInput where nothing was rejected.
    """
    with read_only(engine) as conn:
        refused = queries.refused(conn, run.shop_id, run.id)
    if not run.counts["rejected"] and not refused:
        raise BadInput(f"import {run.id} rejected no row")
    # Cells of what was read well are in the file alone.
    with local_run_file(engine, store, run, now, whole=bool(refused)) as path:
        file = opened(path, run)
        target = folder / f"{Path(run.file_name).stem[:80]}-rejected{suffix(file)}"
        parts = (_rejected(engine, run), _refused(file, refused))
        with RejectedRows(file, target) as out:
            for outcome in heapq.merge(*parts, key=lambda one: one.rows[0].number):
                out.add(outcome)
            return target, out.rows


def _rejected(engine: Engine, run: Run) -> Iterator[Outcome]:
    """What was rejected when it was read, in the file's order."""
    after: int | None = -1
    while after is not None:
        with read_only(engine) as conn:
            some = queries.rejected(conn, run.shop_id, run.id, after)
        for _, outcome in some:
            yield outcome
        after = some[-1][0] if some else None


def _refused(file: ProductFile, refused: Mapping[int, tuple[str, str]]) -> Iterator[Outcome]:
    """What was read and then not applied, by its first row, read once more; in the file's order."""
    left = dict(refused)
    if not left:
        return
    for outcome in file.outcomes(min(left) - 1):
        told = left.pop(outcome.rows[0].number, None)
        if told is not None:
            yield Outcome(None, tuple(_refusal(row.number, *told) for row in outcome.rows), outcome.rows)
        if not left:
            return


def _refusal(row: int, fate: str, detail: str) -> Problem:
    sentence, fix = _REFUSALS[fate]
    return Problem(row, "", "", f"{sentence}: {detail}" if detail else sentence, fix)


def store_rejected(
    engine: Engine, store: DocumentStore, shop_id: int, import_id: int, by: str, now: datetime
) -> tuple[int, str]:
    """The file of `write_rejected` as a document that a browser may fetch for some days; its id, and what it is called.

    Raises as `write_rejected`, StoreFull.
    """
    with read_only(engine) as conn:
        run = queries.run(conn, shop_id, import_id)
    with scratch.folder("rejected") as folder:
        path, _ = write_rejected(engine, store, run, folder, now)
        size = path.stat().st_size
        type_ = _TYPES[path.suffix]
        with unit_of_work(engine) as conn:
            made = files.announce(
                *(conn, store, shop_id, REJECTED_KIND, path.name, type_, size, by, now), keep_days=REJECTED_KEEP_DAYS
            )
        with path.open("rb") as source:
            stat = store.put(made.key, iter(lambda: source.read(1 << 20), b""), size)
    with unit_of_work(engine) as conn:
        files.stored(conn, made.key, stat, now)
    return made.document_id, path.name
