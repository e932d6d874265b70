"""A product's rows as its draft, or as what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from core.catalog.imports import cells, variants
from core.catalog.imports.cells import Decimals, Fault, words
from core.catalog.imports.drafts import ABSENT, Absent, ImageDraft, Metafield, ProductDraft, Status
from core.catalog.imports.plans import Plan
from core.catalog.imports.problems import FileRow, Outcome, Problem
from core.catalog.imports.spool import Kept, Spool
from core.tables.values import Oddity

_VALUE_MAX = 60
_TEXTS = ("title", "vendor", "product_type", "url", "seo_title", "seo_description")
_STATUSES: dict[str, Status] = {
    **dict.fromkeys(("active", "published", "publish", "live", "unlisted"), "active"),
    **dict.fromkeys(("draft", "proposed", "rejected", "inactive", "private", "pending"), "draft"),
    **dict.fromkeys(("archived", "deleted", "discontinued"), "archived"),
}
_WOO_TYPES = ("simple", "variable", "variation")
_ESCAPED_COMMA = re.compile(r"(?<!\\),")


class Case:
    """The rows of one product while they are judged: cells by field, and what is wrong with them."""

    def __init__(self, plan: Plan, rows: Sequence[Kept]) -> None:
        self.plan = plan
        self.rows = rows
        self.problems: list[Problem] = []

    def text(self, row: Kept, place: int) -> str:
        """A cell without the space around it; what is no plain text is a problem, and nothing."""
        if row.odd:
            oddity = row.odd.get(place)
            if oddity and oddity is not Oddity.BOOLEAN:
                sentence, _, fix = oddity.partition(": ")
                self.fault(row, place, Fault(sentence, fix))
                return ""
        return row.cells[place].strip()

    def of(self, row: Kept, name: str) -> str:
        """A field's cell; nothing where the file has no such column."""
        place = self.plan.columns.get(name)
        return "" if place is None else self.text(row, place)

    def first(self, rows: Sequence[Kept], place: int) -> str:
        """The first of the cells of a column that is not blank."""
        for row in rows:
            if row.cells[place] and (text := self.text(row, place)):
                return text
        return ""

    def fault(self, row: Kept, place: int | None, fault: Fault) -> None:
        """Something wrong with a cell, or (`place` None) with the row."""
        value = "" if place is None else row.cells[place].strip()
        shown = value if len(value) <= _VALUE_MAX else value[: _VALUE_MAX - 1] + "…"
        sentence = f"“{shown}” {fault.sentence}" if shown else fault.sentence
        head = "" if place is None else self.plan.heads[place].strip()
        self.problems.append(Problem(row.number, head, shown, sentence, fault.fix, fault.severity))

    @property
    def is_refused(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)


class Builder:
    """Makes drafts by one plan. The readers of cells remember what they read: a file says the same again and again."""

    def __init__(self, plan: Plan, currency: str, spool: Spool, decimals: Decimals, *, make_codes: bool) -> None:
        self.plan = plan
        self._width = len(plan.heads)
        self._spool = spool
        self.variants = variants.VariantBuilder(plan, currency, spool, decimals, make_codes=make_codes)
        self._truth: Callable[[str], Any] = lru_cache(256)(cells.truth)

    def outcome(self, rows: Sequence[Kept]) -> Outcome:
        """What comes of the rows of one product."""
        case = Case(self.plan, rows)
        for row in rows:
            self._check_whole(case, row)
        draft = None
        if not case.is_refused:
            draft = self._draft(case)
        return Outcome(
            None if case.is_refused else draft,
            tuple(case.problems),
            tuple([FileRow(row.number, tuple(row.cells)) for row in rows]),
        )

    def _check_whole(self, case: Case, row: Kept) -> None:
        width = self._width
        if row.broken:
            case.fault(row, None, Fault(row.broken, "correct the row in a text editor, or export the file again"))
        elif len(row.cells) > width:
            if any(cell.strip() for cell in row.cells[width:]):
                case.fault(
                    row,
                    None,
                    Fault(
                        f"has {len(row.cells)} cells, and the file has {width} columns",
                        "is a separator inside a text or a price? Put the text in quotation marks",
                    ),
                )
        elif len(row.cells) < width and isinstance(row.cells, list):
            row.cells.extend([""] * (width - len(row.cells)))
        if row.key.startswith("\0") and not row.broken and self.plan.form != "mapped":
            case.fault(row, self.plan.columns.get("handle"), _without_handle(self.plan))

    def _draft(self, case: Case) -> ProductDraft | None:
        products, sold = self._roles(case)
        if case.is_refused:
            return None
        first = case.rows[0]
        handle, made_from = self._handle(case, products[0])
        options, made = self.variants.variants(case, handle, sold)
        facts = self._facts(case, products, {row.number for row in sold}, options)
        texts = {name: self._told(case, products, name) for name in _TEXTS if name in self.plan.columns}
        title = self.plan.columns.get("title")
        if title is not None and not any(row.cells[title].strip() for row in products):
            case.fault(products[0], title, Fault("the product has no title", "fill it in"))
        if self.plan.makes_handles and handle and not case.is_refused:
            self._claim(case, products[0], handle, made_from)
        return ProductDraft(
            row=first.number,
            handle=handle,
            variants=tuple(made),
            description=self._description(case, products),
            status=self._status(case, products),
            tags=self._tags(case, products),
            options=options,
            categories=self._categories(case, products),
            images=self._images(case, products),
            metafields=facts,
            handle_from=self._head_of(made_from),
            **texts,
        )

    # --- which rows tell what ------------------------------------------------------------------------------------

    def _roles(self, case: Case) -> tuple[list[Kept], list[Kept]]:
        """The rows that tell of the product, and those of things that are sold."""
        rows = list(case.rows)
        if self.plan.form == "woocommerce":
            return self._woocommerce_roles(case)
        if self.plan.form == "medusa" or len(rows) == 1:
            return rows, rows
        marks = self.variants.marks
        sold = [row for row in rows if any(row.cells[place].strip() for place in marks)]
        if self.plan.form == "spree" and not any(rows[0].cells[o.value_in].strip() for o in self.plan.options):
            # The first row tells of the product alone, and repeats numbers that count for none of its variants.
            sold = rows[1:]
        if not sold:
            case.fault(rows[0], None, Fault("no row of the product has a price or a SKU", "fill them in"))
        return rows, sold

    def _woocommerce_roles(self, case: Case) -> tuple[list[Kept], list[Kept]]:
        products, sold = [], []
        for row in case.rows:
            kinds = [word.strip() for word in case.of(row, "type").casefold().split(",")]
            kind = next((word for word in _WOO_TYPES if word in kinds), "")
            if "grouped" in kinds:
                fix = "leave the row out: the products of the group are imported by their own rows"
                case.fault(row, None, Fault("a group of products is not sold itself", fix))
            elif "external" in kinds:
                fix = "leave the row out, or make its Type “simple” if you sell it too"
                case.fault(row, None, Fault(f"the product is sold elsewhere ({case.of(row, 'external_url')})", fix))
            elif not kind:
                fix = "write simple, variable or variation"
                case.fault(row, self.plan.columns.get("type"), Fault("is no type of product that is known", fix))
            if kind in ("simple", "variable"):
                products.append(row)
            if kind in ("simple", "variation"):
                sold.append(row)
        if not case.is_refused and not products:
            parent = case.of(case.rows[0], "parent")
            fix = "add the row of the variable product, or correct the Parent"
            what = f"belongs to “{parent}”, which is not in the file" if parent else "names no Parent"
            case.fault(case.rows[0], None, Fault(f"the variation {what}", fix))
        elif not case.is_refused and not sold:
            fix = "add the rows of its variations, or make its Type “simple”"
            case.fault(products[0], None, Fault("the variable product has no variation in the file", fix))
        elif len(products) > 1:
            numbers = f"rows {products[0].number} and {products[1].number}"
            case.fault(products[1], None, Fault(f"{numbers} have the same ID or SKU", "give each its own"))
        return products, sold

    def _handle(self, case: Case, row: Kept) -> tuple[str, str | None]:
        """The handle, and the field that it was made from; None where it is told."""
        told = cells.seen(case.of(row, "handle"))
        if told:
            return told, None
        names = ("code", "barcode", "title") if self.plan.form == "mapped" else ("code", "product_id", "title")
        return next(
            ((word, name) for name in names if (word := cells.slug(cells.plain(case.of(row, name))))), ("", None)
        )

    def _claim(self, case: Case, row: Kept, handle: str, made_from: str | None) -> None:
        """Take the handle for this product; that another product of the file has it is a problem."""
        taken = self._spool.claim_handle(handle, case.rows[0].number)
        if not taken:
            return
        if "handle" in self.plan.columns:
            fix = "write a handle of its own for each of the two"
        elif self.plan.form == "mapped":
            fix = "add a column of handles, with another one for each of the two, and choose it as Product"
        else:
            fix = "give one of the two another SKU"
        place = self.plan.columns.get(made_from or "handle")
        case.fault(row, place, Fault(f"makes the handle {handle}, which is that of row {taken} already", fix))

    def _head_of(self, made_from: str | None) -> str:
        is_alone = self.plan.form == "mapped" and "handle" not in self.plan.columns
        return self.plan.heads[self.plan.columns[made_from]].strip() if made_from and is_alone else ""

    # --- what they tell ------------------------------------------------------------------------------------------

    def _told(self, case: Case, rows: Sequence[Kept], name: str) -> str:
        """A text of the product: the first that is there. Rows that contradict it are named."""
        place = self.plan.columns[name]
        told, by = "", rows[0]
        for row in rows:
            if not row.cells[place]:
                continue
            text = case.text(row, place)
            # In an address, &copy= is no ©.
            text = text.replace("&amp;", "&") if name == "url" else words(text)
            if text and not told:
                told, by = text, row
            elif text and text != told:
                case.fault(row, place, _contradiction(name, self.plan.heads[place].strip(), by.number, told))
        return told

    def _description(self, case: Case, rows: Sequence[Kept]) -> str | Absent:
        place = self.plan.columns.get("description")
        if place is None:
            return ABSENT
        told = case.first(rows, place)
        if self.plan.form == "woocommerce":
            # Its exports write the end of a line as two characters.
            return (told or case.of(rows[0], "short_description")).replace("\\n", "\n")
        return told

    def _status(self, case: Case, rows: Sequence[Kept]) -> Status | Absent:
        place = self.plan.columns.get("status")
        word = self._told(case, rows, "status").casefold() if place is not None else ""
        if place is not None and word:
            if word not in _STATUSES:
                case.fault(rows[0], place, Fault("is no status", "write active, draft or archived"))
            return _STATUSES.get(word, ABSENT)
        published = self.plan.columns.get("published")
        if published is None:
            return ABSENT
        row = next((row for row in rows if row.cells[published].strip()), rows[0])
        text = case.text(row, published)
        is_published, fault = self._truth("0" if text == "-1" else text)
        if fault:
            case.fault(row, published, fault)
        return ABSENT if is_published is ABSENT else "active" if is_published else "draft"

    def _tags(self, case: Case, rows: Sequence[Kept]) -> tuple[str, ...] | Absent:
        place = self.plan.columns.get("tags")
        if place is not None:
            told = case.first(rows, place)
            return tuple(dict.fromkeys(words(tag) for tag in self._parted(told)))
        if not self.plan.tags:
            return ABSENT
        return tuple(dict.fromkeys(words(tag) for at in self.plan.tags if (tag := case.text(rows[0], at))))

    def _parted(self, text: str) -> list[str]:
        """The parts of a list in one cell, without the empty ones."""
        if self.plan.form in ("woocommerce", "shopify"):
            parts = [part.replace("\\,", ",") for part in _ESCAPED_COMMA.split(text)]
        else:
            parts = text.split(self.plan.list_separator)
        return [part.strip() for part in parts if part.strip()]

    def _categories(self, case: Case, rows: Sequence[Kept]) -> tuple[tuple[str, ...], ...] | Absent:
        place = self.plan.columns.get("categories")
        if place is None and not self.plan.categories:
            return ABSENT
        paths: list[str] = []
        if place is not None:
            told = case.first(rows, place)
            if self.plan.form == "woocommerce":
                paths += self._parted(told)
            else:
                paths += re.split("[|;\n]", told) if self.plan.form == "mapped" else [told]
        for at in self.plan.categories:
            text = case.text(rows[0], at)
            if text.startswith("pcat_"):
                fix = "give the products their categories here, or put the names into the column"
                case.fault(rows[0], at, Fault("is the other system's own id of a category", fix, "warning"))
            elif text:
                paths.append(text)
        split = (tuple(words(name) for name in path.split(self.plan.path_separator) if name.strip()) for path in paths)
        return tuple(dict.fromkeys(path for path in split if path))

    def _images(self, case: Case, rows: Sequence[Kept]) -> tuple[ImageDraft, ...] | Absent:
        columns = self.plan.columns
        lists, single = columns.get("images"), columns.get("image")
        if lists is None and single is None and not self.plan.images:
            return ABSENT
        found: list[tuple[float, str, str | Absent]] = []
        seen: set[tuple[str, str | Absent]] = set()
        for row in rows:
            for at, written in self._addresses(case, row, lists, single):
                url = cells.address(written)
                is_single = at == single
                alt = words(case.of(row, "image_alt")) if is_single and "image_alt" in columns else ABSENT
                if (url, alt) in seen or (not alt and any(url == known for known, _ in seen)):
                    continue
                seen.add((url, alt))
                if url.lower().startswith(("http://", "https://")):
                    found.append((self._position(case, row) if is_single else float("inf"), url, alt))
                else:
                    fix = "write the whole address, with https:// in front; the picture is left out"
                    case.fault(row, at, Fault("is no address of the web", fix, "warning"))
        found.sort(key=lambda image: image[0])
        return tuple([ImageDraft(url, alt, place) for place, (_, url, alt) in enumerate(found, start=1)])

    def _addresses(self, case: Case, row: Kept, lists: int | None, single: int | None) -> Iterator[tuple[int, str]]:
        """The addresses of pictures in a row, each with the place of its cell."""
        if lists is not None:
            for url in self._parted(case.text(row, lists)):
                yield lists, url
        for at in (*((single,) if single is not None else ()), *self.plan.images):
            if row.cells[at] and (url := case.text(row, at)):
                yield at, url

    def _position(self, case: Case, row: Kept) -> float:
        text = case.of(row, "image_position")
        if not text:
            return float("inf")
        if text.isascii() and text.isdigit() and len(text) < 10:
            return int(text)
        fix = "write 1 for the first picture; it comes last as it is"
        case.fault(row, self.plan.columns["image_position"], Fault("is no position", fix, "warning"))
        return float("inf")

    def _facts(
        self, case: Case, rows: Sequence[Kept], sold: set[int], options: tuple[str, ...] | Absent
    ) -> dict[str, Metafield]:
        """The product's metafields; those of rows that are sold themselves go to the variant where a row is both."""
        facts: dict[str, Metafield] = {}
        for column in self.plan.metafields:
            if not column.is_of_variant:
                facts[column.key] = Metafield(column.type, case.first(rows, column.place))
        if "metafield_key" in self.plan.columns:
            for row in rows:
                if row.number not in sold and (named := variants.named_metafield(case, row)):
                    facts[named[0]] = named[1]
        if self.plan.form == "woocommerce":
            of_variants = {name.casefold() for name in (() if options is ABSENT else options)}
            for value_in, named_in, _ in self.plan.options:
                name = case.text(rows[0], named_in) if named_in is not None else ""
                value = words(case.text(rows[0], value_in))
                if name and value and name.casefold() not in of_variants:
                    facts[f"attributes.{cells.slug(name)}"] = Metafield("", value)
        return facts


def _contradiction(name: str, head: str, row: int, told: str) -> Fault:
    if name == "title":
        fix = "give them different handles if they are two products, else the same title"
        return Fault(f"is another title than that of row {row}, “{told[:_VALUE_MAX]}”, of the same product", fix)
    return Fault(
        f"contradicts row {row} of the same product, which has “{told[:_VALUE_MAX]}”",
        f"write the same {head} in all rows of the product; that of row {row} is taken",
        "warning",
    )


def _without_handle(plan: Plan) -> Fault:
    if plan.form == "woocommerce":
        return Fault("the row has neither ID nor SKU", "fill in the SKU")
    return Fault(
        "the row has no handle, so that nothing tells which product it is of",
        "fill in the same handle in all rows of a product",
    )
