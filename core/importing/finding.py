"""Which products and SKUs of ours the products of a file are: by SKU, by barcode where there is none, by handle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.catalog.barcodes import gtin_of
from core.catalog.imports.drafts import ProductDraft, VariantDraft
from core.catalog.imports.problems import Problem
from core.catalog.products import queries as catalogue
from core.db import execute, fetch
from core.importing.queries import Run
from core.importing.rules import KnownSku, owner_of

_SHOWN = 3
_SHOWN_MAX = 60


@dataclass(slots=True)
class Found:
    """A product of a file with what it is of ours: `product_id` None for a new one, or where a problem says why not.

    `draft` names its SKUs, those that were found by their barcodes too: `by_barcode` are the rows of these.
    """

    draft: ProductDraft
    product_id: int | None = None
    problems: list[Problem] = field(default_factory=list)
    by_barcode: set[int] = field(default_factory=set)


def find(conn: Connection, run: Run, drafts: Sequence[ProductDraft]) -> list[Found]:
    """What products of a file are of ours, in their order; none is of one that an earlier row was of, nor has a SKU
    that another row tells of."""
    found = _with_codes(conn, run.shop_id, [Found(draft) for draft in drafts])
    _refuse_twice(conn, run, found)
    whole = [one for one in found if not one.problems]
    by_handle = catalogue.ids_by_handle(conn, run.shop_id, [one.draft.handle for one in whole])
    codes = [variant.code for one in whole for variant in one.draft.variants if variant.code is not None]
    by_code = catalogue.products_of_codes(conn, run.shop_id, codes)
    ours = _codes_of(conn, run.shop_id, by_handle.values())
    for one in whole:
        one.product_id, problem = owner_of(one.draft, by_handle, by_code, ours)
        one.problems += [problem] if problem else []
    taken = _taken_before(conn, run, [one.product_id for one in whole if one.product_id is not None])
    for one in whole:
        if one.product_id is None:
            continue
        if one.product_id in taken:
            one.problems.append(_again(one.draft, taken[one.product_id]))
        taken.setdefault(one.product_id, one.draft.row)
    return found


def skus_of_nobody(conn: Connection, shop_id: int, drafts: Iterable[ProductDraft]) -> dict[str, KnownSku]:
    """What is known of SKUs that the file names and no product has."""
    rows = fetch(
        conn,
        """
        select s.code, s.barcode, s.is_stocked from skus s
        where s.shop_id = %(shop)s and s.code = any(%(codes)b::text[])
            and not exists (select from variants v where v.shop_id = s.shop_id and v.sku_id = s.id)
        """,
        shop=shop_id,
        codes=sorted({variant.code for draft in drafts for variant in draft.variants if variant.code is not None}),
    )
    return {row["code"]: KnownSku(row["barcode"], row["is_stocked"]) for row in rows}


# --- by barcode ------------------------------------------------------------------------------------------------------


def _with_codes(conn: Connection, shop_id: int, found: list[Found]) -> list[Found]:
    """Variants without a SKU of their own get that of the only one of ours that has their barcode, or a problem."""
    words = {word for one in found for variant in one.draft.variants if (word := _word(variant))}
    if not words and all(variant.code is not None for one in found for variant in one.draft.variants):
        return found
    owners = _codes_by_barcode(conn, shop_id, words)
    for one in found:
        variants = [_named(one, variant, owners) for variant in one.draft.variants]
        one.draft = replace(one.draft, variants=tuple(variants))
    return found


def _word(variant: VariantDraft) -> str | None:
    """The barcode by which a variant is looked for; None where its SKU is told, or the file has the barcode twice."""
    is_named = variant.code is not None and not variant.is_code_made
    return variant.barcode if not is_named and variant.barcode_from and isinstance(variant.barcode, str) else None


def _codes_by_barcode(conn: Connection, shop_id: int, words: Iterable[str]) -> dict[str, list[str]]:
    """By barcode as `_compared`, the SKUs that have it."""
    compared = {_compared(word) for word in words}
    rows: Sequence[RowMapping] = fetch(
        conn,
        """
        select coalesce(s.gtin, '?' || s.barcode) as barcode, array_agg(s.code order by s.code) as codes from skus s
        where s.shop_id = %(shop)s and (s.gtin = any(%(gtins)b::text[])
            or (s.barcode = any(%(words)b::text[]) and s.gtin is null))
        group by 1
        """,
        shop=shop_id,
        gtins=sorted(word for word in compared if not word.startswith("?")),
        words=sorted(word[1:] for word in compared if word.startswith("?")),
    )
    return {row["barcode"]: row["codes"] for row in rows}


def _compared(word: str) -> str:
    return gtin_of(word) or f"?{word}"


def _named(one: Found, variant: VariantDraft, owners: Mapping[str, Sequence[str]]) -> VariantDraft:
    word = _word(variant)
    if word is None:
        return variant
    codes = owners.get(_compared(word), ())
    if len(codes) == 1:
        one.by_barcode.add(variant.row)
        return replace(variant, code=codes[0], is_code_made=False)
    told: dict[str, Any] = {"row": variant.row, "column": variant.barcode_from, "value": word[:_SHOWN_MAX]}
    if codes:
        named = ", ".join(codes[:_SHOWN]) + (f" and {len(codes) - _SHOWN:,} more" if len(codes) > _SHOWN else "")
        sentence = f"{word} is the barcode of several SKUs of ours: {named}"
        one.problems.append(Problem(**told, sentence=sentence, fix="write in a column of SKUs which of them it is"))
    elif variant.code is None:
        fix = "fill in the SKU in a column of its own, or let codes be made"
        one.problems.append(Problem(**told, sentence=f"no SKU of ours has the barcode {word}", fix=fix))
    return variant


# --- told of twice ---------------------------------------------------------------------------------------------------


def note_codes(conn: Connection, run: Run, rows: Mapping[str, int]) -> None:
    """Keep which rows tell of SKUs that no product has, by code: no row further down may tell of one again."""
    execute(
        conn,
        """
        insert into import_codes (shop_id, import_id, code, row)
        select %(shop)s, %(import)s, n.code, n.row from unnest(%(codes)b::text[], %(rows)b::int8[]) n (code, row)
        """,
        shop=run.shop_id,
        codes=list(rows),
        rows=list(rows.values()),
        **{"import": run.id},
    )


def _refuse_twice(conn: Connection, run: Run, found: Sequence[Found]) -> None:
    """A SKU in two rows is wrong in the one that was found by its barcode, or else in the later: the file itself was
    looked through for SKUs that it names twice, and does not know whose its barcodes are."""
    told = [(one, variant) for one in found for variant in one.draft.variants if variant.code is not None]
    before = _rows_before(conn, run, [str(variant.code) for _, variant in told])
    here: dict[str | None, tuple[Found, VariantDraft]] = {}
    for one, variant in told:
        if (row := before.get(str(variant.code))) is not None:
            one.problems.append(_twice(one, variant, row))
            continue
        first, earlier = here.setdefault(variant.code, (one, variant))
        if earlier is variant:
            continue
        if variant.row in one.by_barcode:
            one.problems.append(_twice(one, variant, earlier.row))
        else:
            first.problems.append(_twice(first, earlier, variant.row))
            here[variant.code] = (one, variant)


def _twice(one: Found, variant: VariantDraft, row: int) -> Problem:
    fix = "delete one of the rows, or correct the barcode"
    if variant.row in one.by_barcode:
        word = str(variant.barcode)[:_SHOWN_MAX]
        sentence = f"{word} is the barcode of {variant.code}, which row {row} tells of too"
        return Problem(variant.row, variant.barcode_from, word, sentence, fix)
    sentence = f"{variant.code} has the barcode by which row {row} tells of it too"
    return Problem(variant.row, "", str(variant.code)[:_SHOWN_MAX], sentence, fix)


def _rows_before(conn: Connection, run: Run, codes: Sequence[str]) -> dict[str, int]:
    """By code, the row that told of it in an earlier batch."""
    rows = fetch(
        conn,
        """
        select code, row from import_codes
        where shop_id = %(shop)s and import_id = %(import)s and code = any(%(codes)b::text[])
        """,
        shop=run.shop_id,
        codes=sorted(set(codes)),
        **{"import": run.id},
    )
    return {row["code"]: row["row"] for row in rows}


# --- by handle -------------------------------------------------------------------------------------------------------


def _codes_of(conn: Connection, shop_id: int, product_ids: Iterable[int]) -> dict[int, list[str]]:
    """By product, its first SKUs."""
    rows = fetch(
        conn,
        """
        select v.product_id, (array_agg(s.code order by v.position))[1:3] as codes
        from variants v join skus s on s.shop_id = v.shop_id and s.id = v.sku_id
        where v.shop_id = %(shop)s and v.product_id = any(%(ids)b::int8[]) group by 1
        """,
        shop=shop_id,
        ids=sorted(set(product_ids)),
    )
    return {row["product_id"]: row["codes"] for row in rows}


def _taken_before(conn: Connection, run: Run, product_ids: Sequence[int]) -> dict[int, int]:
    """By product, the row at which the file told of it before."""
    rows = fetch(
        conn,
        """
        select product_id, min(first_row) as first_row from import_items
        where shop_id = %(shop)s and import_id = %(import)s and product_id = any(%(ids)b::int8[]) group by 1
        """,
        shop=run.shop_id,
        ids=sorted(set(product_ids)),
        **{"import": run.id},
    )
    return {row["product_id"]: row["first_row"] for row in rows}


def _again(draft: ProductDraft, row: int) -> Problem:
    return Problem(
        draft.row,
        "",
        draft.handle[:_SHOWN_MAX],
        f"its SKUs are of the same product of ours as those at row {row}",
        "give all rows of one product the same handle",
    )
