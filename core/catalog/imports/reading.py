"""Opening a product file: which form it is, and its products one after the other.

    for outcome in open_products(path, name, "EUR").outcomes():
        ...

The file is read once and put aside (spool.py), then each product is built from all of its rows. Memory does not grow
with the file; what is on disk for the time is about as large as the file unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from core.catalog.imports import cells, plans
from core.catalog.imports.building import Builder
from core.catalog.imports.mapping import FIELDS, Mapping, suggested
from core.catalog.imports.plans import Form, Plan
from core.catalog.imports.problems import Outcome, Problem
from core.catalog.imports.separators import Separators
from core.catalog.imports.spool import Kept, Spool, compared
from core.errors import BadInput
from core.money import CURRENCIES
from core.spreadsheets import unguarded
from core.tables.reading import BEGINNING, HEADS_SURE, TableFile, heads_in, open_table
from core.tables.values import Limits, Row, UnreadableFile

ROWS_MAX = 500_000
PRODUCT_ROWS_MAX = 5_000
"""Of one product: shops have at most 2,048 variants, and rows for pictures besides."""
REASON = "reason"
"""The last column of a file of refused rows; read past when such a file comes back."""

_UNKNOWN_TOLD = 20
"""Columns that are not read and are named one by one."""
_KNOWN_HEADS = plans.KNOWN_HEADS | {alias for aliases in FIELDS.values() for alias in aliases}


class NeedsMapping(BadInput):
    """A file of a form that is not known: a person says which column is what. `mapping` is one to begin with."""

    def __init__(self, name: str, heads: Sequence[str], mapping: Mapping) -> None:
        listed = ", ".join(f"“{head.strip()}”" for head in heads[:8] if head.strip())
        is_likely = {"code", "barcode", "price"} & set(mapping.columns)
        what = "choose which column is the SKU, the title and the price"
        if not is_likely:
            what = f"nothing in it looks like a SKU, a barcode or a price. If it is a file of products, {what}"
        super().__init__(
            f"{name} has a form of its own; its columns are {listed}{'…' if len(heads) > 8 else ''}: {what}"
        )
        self.mapping = mapping


@dataclass(slots=True)
class ReadingProgress:
    """How far the reading is. First bytes are read, then rows are checked; `total` is 0 while it is not known."""

    stage: Literal["reading", "checking"] = "reading"
    done: int = 0
    total: int = 0


@dataclass(slots=True)
class ProductFile:
    """A file that was opened. `form` is None where it is not known and no mapping was given.

    `problems` are those of the file as a whole: a guessed encoding, columns that are not read. `suggested` is a mapping
    to begin with. `has_reasons`: it is a file of refused rows that came back; its column of reasons is none of `heads`.
    """

    table: TableFile
    name: str
    currency: str
    heads: tuple[str, ...]
    heads_row: int
    form: Form | None
    suggested: Mapping
    make_codes: bool
    rows_max: int
    plan: Plan | None
    has_reasons: bool
    problems: tuple[Problem, ...] = ()
    progress: ReadingProgress = field(default_factory=ReadingProgress)

    def outcomes(self, after_row: int = 0) -> Iterator[Outcome]:
        """Each product once, in the file's order of its first row; only those whose first row is after `after_row`.

        Raises NeedsMapping where the form is not known, UnreadableFile where the file ends in the middle.
        """
        if not self.plan:
            raise NeedsMapping(self.name, self.heads, self.suggested)
        self.progress.stage, self.progress.done, self.progress.total = "reading", 0, 0
        separators = Separators()
        with Spool() as spool:
            spool.add(self._kept(self.plan, spool, separators))
            spool.arrange()
            self._check_sizes(spool)
            self.progress.stage, self.progress.done, self.progress.total = "checking", 0, spool.rows
            decimals = self.plan.decimals or separators.decimals(has_points=self.plan.has_points)
            builder = Builder(self.plan, self.currency, spool, decimals, make_codes=self.make_codes)
            # Codes and handles that were made for products before that row are taken: they are made again.
            is_made = self.make_codes or self.plan.makes_handles
            for rows in spool.products(0 if is_made else after_row):
                outcome = builder.outcome(rows)
                self.progress.done += len(rows)
                if rows[0].number > after_row:
                    yield outcome

    def _check_sizes(self, spool: Spool) -> None:
        key, rows = spool.largest()
        if not rows:
            raise UnreadableFile(f"{self.name} names its columns and has no row below them")
        if rows > PRODUCT_ROWS_MAX:
            raise UnreadableFile(
                f"{self.name} has {rows:,} rows of one product, “{key}”; at most {PRODUCT_ROWS_MAX:,} are read: "
                "is the column that tells products apart the right one?"
            )

    def _kept(self, plan: Plan, spool: Spool, separators: Separators) -> Iterator[Kept]:
        """The rows below the heads with what they are grouped by; blank ones are left out."""
        code_at, barcode_at = plan.columns.get("code"), _barcode_columns(plan)
        numbers = plan.numbers()
        kept = 0
        for row in self.table.rows():
            if row.number <= self.heads_row:
                continue
            if row.broken:
                yield Kept(row.number, f"\0{row.number}", None, None, row.cells, {}, row.broken)
            else:
                written = _unguarded(row.cells)
                if self.has_reasons:
                    del written[len(self.heads) : len(self.heads) + 1]
                if not any(map(str.strip, written)) and not row.odd:
                    continue
                width = len(written)
                _look(row, written, numbers, separators)
                code = cells.plain(written[code_at]) if code_at is not None and code_at < width else ""
                found = next((written[at] for at in barcode_at if at < width and written[at].strip()), "")
                key = _key(plan, spool, row, written, code)
                barcode = cells.plain(found)
                yield Kept(row.number, key, code or None, compared(barcode), written, dict(row.odd), "")
            kept += 1
            if kept > self.rows_max:
                raise UnreadableFile(f"{self.name} has more than {self.rows_max:,} rows: split it")
            if not kept % 256:
                self.progress.done, self.progress.total = self.table.progress.done, self.table.progress.total


def open_products(
    path: Path,
    name: str,
    currency: str,
    mapping: Mapping | None = None,
    *,
    make_codes: bool = False,
    limits: Limits | None = None,
    rows_max: int = ROWS_MAX,
) -> ProductFile:
    """Opens a product file and tells its form by its heads; with a mapping it is read by that alone.

    `currency` is that of the prices. `make_codes`: a variant without a SKU gets one of its handle and option values.
    Raises UnreadableFile, NotProducts, BadMapping.
    """
    if currency not in CURRENCIES:
        raise BadInput(f"{currency} is no currency: use a code such as EUR")
    table = open_table(name, path, _KNOWN_HEADS, limits)
    heads_row, heads, above = _heads(table)
    has_reasons = len(heads) > 1 and heads[-1].strip() == REASON
    if has_reasons:
        heads = heads[:-1]
    form = None if mapping else plans.recognised(name, heads)
    plan = plans.planned(form, heads) if form else None
    if mapping:
        plan = plans.planned_by(mapping, heads, is_text=table.kind == "csv")
    return ProductFile(
        table=table,
        name=name,
        currency=currency,
        heads=heads,
        heads_row=heads_row,
        form=plan.form if plan else None,
        suggested=suggested(heads),
        make_codes=make_codes,
        rows_max=rows_max,
        plan=plan,
        has_reasons=has_reasons,
        problems=(
            *_of_encoding(table, heads_row),
            *_of_place(table, heads_row, above),
            *(_of_columns(plan, heads_row, currency) if plan else ()),
        ),
    )


def _heads(table: TableFile) -> tuple[int, tuple[str, ...], int]:
    """The row that names the columns, and how many rows with something in them stand above it.

    That is the first that is not blank; where it names no column that is known, the first below it that names some: a
    price list has its title on top. Raises UnreadableFile where there is none.
    """
    filled: list[Row] = []
    for row in islice(table.rows(), BEGINNING):
        if row.broken and not filled:
            raise UnreadableFile(f"{table.name}, row {row.number}: {row.broken}")
        if not row.broken and any(cell.strip() for cell in row.cells):
            filled.append(row)
            known = heads_in(_unguarded(row.cells), _KNOWN_HEADS)
            if known >= HEADS_SURE or (len(filled) == 1 and (known or table.kind == "json")):
                return row.number, _named(table, row), len(filled) - 1
    if not filled:
        filled = list(islice((row for row in table.rows() if any(cell.strip() for cell in row.cells)), 1))
    if not filled:
        raise UnreadableFile(f"{table.name} has no table: the first row names the columns, such as SKU and price")
    return filled[0].number, _named(table, filled[0]), 0


def _named(table: TableFile, row: Row) -> tuple[str, ...]:
    heads = _unguarded(row.cells)
    while not heads[-1].strip():
        heads.pop()
    if len(heads) > table.limits.columns_max:
        raise UnreadableFile(f"{table.name} has {len(heads):,} columns; at most {table.limits.columns_max:,} are read")
    return tuple(heads)


def _of_place(table: TableFile, heads_row: int, above: int) -> Iterator[Problem]:
    """What of the file is not read because the table stands elsewhere in it."""
    if above:
        sentence = f"the columns are named in row {heads_row}: what stands above is not read"
        yield Problem(heads_row, "", "", sentence, "nothing needs to be done if that is a title", severity="warning")
    others = [sheet for at, sheet in enumerate(table.sheets) if at != table.sheet]
    if others:
        named = ", ".join(f"“{sheet}”" for sheet in others[:3]) + (f" and {len(others) - 3}" if len(others) > 3 else "")
        sentence = f"only the sheet “{table.sheets[table.sheet]}” is read, and not {named}"
        fix = "save a sheet as a file of its own if there are products on it, too"
        yield Problem(heads_row, "", "", sentence, fix, severity="warning")


def _of_encoding(table: TableFile, heads_row: int) -> Iterator[Problem]:
    if table.dress and table.dress.encoding == "cp1252":
        sentence = "the file is no UTF-8 and was read as Windows text (Western European)"
        fix = "look at letters such as é and ü; if they came out wrong, save the file as “CSV UTF-8” and upload that"
        yield Problem(heads_row, "", "", sentence, fix, severity="warning")


def _of_columns(plan: Plan, heads_row: int, currency: str) -> Iterator[Problem]:
    """What is not read, once for each column."""
    for place in plan.unknown[:_UNKNOWN_TOLD]:
        head = plan.heads[place].strip()
        yield Problem(
            heads_row, head, head, f"the column “{head}” is not read", _fix_of_unknown(plan), severity="warning"
        )
    if (more := len(plan.unknown) - _UNKNOWN_TOLD) > 0:
        sentence = f"{more:,} more columns are not read"
        yield Problem(heads_row, "", "", sentence, _fix_of_unknown(plan), severity="warning")
    for place in plan.repeated:
        head = plan.heads[place].strip()
        sentence = f"the column “{head}” means the same as one before it and is not read"
        yield Problem(heads_row, head, head, sentence, "delete one of the two columns", severity="warning")
    if plan.currencies and currency not in plan.currencies:
        there = ", ".join(sorted(plan.currencies))
        yield Problem(
            heads_row,
            "",
            "",
            f"the file has prices in {there} and none in {currency}: no prices are read",
            f"import it with one of its currencies, or add a column of prices in {currency}",
            severity="warning",
        )


def _fix_of_unknown(plan: Plan) -> str:
    if plan.form == "mapped":
        return "map it to a field or to a metafield if it is needed"
    return "correct its name if it is misspelt; else nothing needs to be done"


def _look(row: Row, written: list[str], numbers: Sequence[int], separators: Separators) -> None:
    """Take the numbers of a row into account; one whose point is known to stand before decimals says so from now on."""
    for place in numbers:
        if place >= len(written) or place in row.odd:
            continue
        if place in row.pointed:
            # 1.125 can be 1125, and 1.1250 cannot.
            written[place] += "0"
        separators.look(written[place])


def _barcode_columns(plan: Plan) -> list[int]:
    return [plan.columns[name] for name in ("barcode", "ean", "upc") if name in plan.columns]


def _key(plan: Plan, spool: Spool, row: Row, written: Sequence[str], code: str) -> str:
    """What the rows of one product have in common; of its own where a row is one."""
    if plan.form == "woocommerce":
        ref, parent, kind = (_cell(plan, written, name) for name in ("product_id", "parent", "type"))
        return _woocommerce_key(spool, row, ref, code, parent, kind.casefold())
    word = cells.seen(_cell(plan, written, "handle"))
    if not word and plan.form == "medusa":
        word = _cell(plan, written, "product_id")
    return word.casefold() or f"\0{row.number}"


def _cell(plan: Plan, written: Sequence[str], name: str) -> str:
    place = plan.columns.get(name)
    return written[place].strip() if place is not None and place < len(written) else ""


def _woocommerce_key(spool: Spool, row: Row, ref: str, code: str, parent: str, kind: str) -> str:
    """A variation goes with its parent, which it names by `id:741` or by SKU; the parent has both."""
    if "variation" in kind:
        return parent.replace(" ", "") if parent.startswith("id:") else parent or f"\1{row.number}"
    key = f"id:{ref}" if ref else code
    if ref and code:
        spool.alias(code, key)
    return key or f"\0{row.number}"


def _unguarded(written: Sequence[str]) -> list[str]:
    """Cells without the apostrophe by which a formula was kept from running."""
    if "'" not in "".join(written):
        return list(written)
    return [unguarded(cell) if cell[:1] == "'" else cell for cell in written]
