"""The things that are sold: their codes, prices and options from the rows that tell of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from core.catalog.imports import cells
from core.catalog.imports.cells import Decimals, Fault, words
from core.catalog.imports.drafts import ABSENT, Absent, Metafield, VariantDraft
from core.catalog.imports.plans import Plan
from core.catalog.imports.separators import without_thousands
from core.catalog.imports.spool import Kept, Spool
from core.money import CURRENCIES

if TYPE_CHECKING:
    from core.catalog.imports.building import Case

Reader = Callable[..., tuple[Any, Fault | None]]

_REMEMBERED = 8_192
_AMOUNTS = frozenset(("price_minor", "compare_at_minor", "cost_minor"))


class VariantBuilder:
    """Makes variants by one plan. `marks` are the places of cells that a row has only if something is sold by it."""

    def __init__(self, plan: Plan, currency: str, spool: Spool, decimals: Decimals, *, make_codes: bool) -> None:
        self.plan = plan
        self._currency = currency
        self._spool = spool
        self._make_codes = make_codes
        columns = plan.columns
        # A program writes no commas between thousands: one may be a person's before decimals.
        is_guessed = decimals == "." and plan.decimals is None and plan.has_points
        telling = _telling if is_guessed else _choosing if plan.form == "mapped" else _as_it_is
        amount = _remembering(telling(partial(cells.amount, currency=currency, decimals=decimals)))
        truth = _remembering(cells.truth)
        units = _remembering(telling(partial(cells.units, decimals=decimals)))
        self._amount = amount
        self._weight = lru_cache(_REMEMBERED)(telling(partial(cells.weight, decimals=decimals)))
        self._barcode = _remembering(cells.barcode)
        price = plan.currencies.get(currency, columns.get("price"))
        readers: list[tuple[str, int | None, Reader]] = [
            ("price_minor", price, amount),
            ("compare_at_minor", columns.get("compare_at"), amount),
            ("cost_minor", columns.get("cost"), amount),
            ("units", columns.get("units"), units),
            ("is_tracked", columns.get("is_tracked"), truth),
            ("is_tracked", columns.get("tracker"), _is_told),
            ("requires_shipping", columns.get("requires_shipping"), truth),
            ("requires_shipping", columns.get("digital"), _remembering(_is_shipped)),
            ("taxable", columns.get("taxable"), truth),
            ("taxable", columns.get("tax_status"), _remembering(_is_taxed)),
            ("image_url", columns.get("image_url"), lambda text: (cells.address(text), None)),
        ]
        self._money = lru_cache(16)(
            lambda named: _remembering(telling(partial(cells.amount, currency=named, decimals=decimals)))
        )
        self._has_currencies = plan.form == "shopify" and "currency" in columns
        self._readers = [(name, place, read) for name, place, read in readers if place is not None]
        self._price_place = price
        self._barcodes = [columns[name] for name in ("barcode", "ean", "upc") if name in columns]
        self._facts = [column for column in plan.metafields if column.is_of_variant]
        names = ("code", "barcode", "units", "grams", "weight", "compare_at", "cost")
        marks = {columns[name] for name in names if name in columns} | {option.value_in for option in plan.options}
        self.marks = sorted(marks if price is None else marks | {price})

    def variants(
        self, case: Case, handle: str, rows: Sequence[Kept]
    ) -> tuple[tuple[str, ...] | Absent, list[VariantDraft]]:
        """The names of the options, and the variants in the order of the file."""
        names, values = self._options(case, rows)
        return names, [self._variant(case, handle, row, told) for row, told in zip(rows, values, strict=True)]

    def _variant(self, case: Case, handle: str, row: Kept, values: tuple[str, ...]) -> VariantDraft:
        told: dict[str, Any] = {}
        odd = row.odd
        currency = self._currency_of(case, row)
        for name, place, read in self._readers:
            text = row.cells[place]
            if odd and place in odd:
                text = case.text(row, place)
            if name in _AMOUNTS and currency != self._currency:
                read = self._money(currency)
            value, fault = read(text)
            if fault:
                case.fault(row, place, fault)
            told[name] = value
        if self.plan.form == "woocommerce":
            self._woocommerce(case, row, told)
        self._check_prices(case, row, told)
        code, is_made = self._code(case, handle, row, values)
        barcode, barcode_from = self._barcode_of(case, row, has_code=code is not None)
        return VariantDraft(
            row=row.number,
            code=code,
            currency=currency,
            option_values=values,
            is_code_made=is_made,
            barcode=barcode,
            barcode_from=barcode_from,
            weight_grams=self._weight_of(case, row),
            metafields=self._metafields(case, row),
            **told,
        )

    def _currency_of(self, case: Case, row: Kept) -> str:
        """The currency of the row's prices: our own export names it in each row."""
        named = case.of(row, "currency").upper() if self._has_currencies else ""
        return named if named in CURRENCIES else self._currency

    # --- options -------------------------------------------------------------------------------------------------

    def _options(self, case: Case, rows: Sequence[Kept]) -> tuple[tuple[str, ...] | Absent, list[tuple[str, ...]]]:
        if not self.plan.options or (self.plan.form == "woocommerce" and rows[0] is case.rows[0] and len(rows) == 1):
            # A simple product of WooCommerce has attributes, which are facts about it and no options.
            self._check_alone(case, rows)
            return (() if self.plan.options else ABSENT), [()] * len(rows)
        names: dict[str, str] = {}
        """By the name without regard to case, as it is first spelt."""
        tables: list[dict[str, str]] = []
        slots = self._slot_names(case)
        for row in rows:
            table: dict[str, str] = {}
            for place, named_in, fixed in self.plan.options:
                value = words(case.text(row, place)) if row.cells[place] else ""
                name = fixed
                if named_in is not None:
                    name = (row.cells[named_in] and case.text(row, named_in)) or slots[place]
                if value and not name:
                    fault = Fault(
                        "is the value of an option without a name", "name the option in the product's first row"
                    )
                    case.fault(row, place, fault)
                elif name:
                    names.setdefault(name.casefold(), words(name))
                    table[name.casefold()] = value
            tables.append(table)
        return self._told_apart(case, rows, names, tables)

    def _slot_names(self, case: Case) -> dict[int, str]:
        """By the place of an option's value, the first name that any row of the product gives it."""
        found: dict[int, str] = {}
        for place, named_in, _ in self.plan.options:
            if named_in is not None:
                found[place] = next((name for row in case.rows if (name := row.cells[named_in].strip())), "")
        return found

    def _told_apart(
        self, case: Case, rows: Sequence[Kept], names: dict[str, str], tables: list[dict[str, str]]
    ) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        used = [key for key in names if any(table.get(key) for table in tables)]
        if len(used) == 1 and used[0] == "title" and all(t.get("title") == "Default Title" for t in tables):
            used = []
        elif missing := [key for key in names if key not in used]:
            what = ", ".join(f"“{names[key]}”" for key in missing)
            fix = "fill in the values if variants differ by it"
            case.fault(rows[0], None, Fault(f"no variant has a value for {what}, which is left out", fix, "warning"))
        for row, table in zip(rows, tables, strict=True):
            for key in used:
                if not table.get(key):
                    fault = Fault(
                        f"the variant has no value for “{names[key]}”", "fill it in, as in the product's other rows"
                    )
                    case.fault(row, None, fault)
        values = [tuple([table.get(key, "") for key in used]) for table in tables]
        if used:
            self._check_unlike(case, rows, values)
        else:
            self._check_alone(case, rows)
        return tuple([names[key] for key in used]), values

    def _check_alone(self, case: Case, rows: Sequence[Kept]) -> None:
        if len(rows) > 1:
            numbers = ", ".join(str(row.number) for row in rows[:5])
            fix = "give them an option, such as Size, with a value each; or different handles if they are products each"
            case.fault(rows[1], None, Fault(f"nothing tells the variants of rows {numbers} apart", fix))

    def _check_unlike(self, case: Case, rows: Sequence[Kept], values: Sequence[tuple[str, ...]]) -> None:
        seen: dict[tuple[str, ...], int] = {}
        for row, told in zip(rows, values, strict=True):
            first = seen.setdefault(told, row.number)
            if first != row.number:
                what = " / ".join(told)
                fix = "delete one of the rows, or correct its option values"
                case.fault(row, None, Fault(f"rows {first} and {row.number} are the same variant ({what})", fix))

    # --- codes and barcodes --------------------------------------------------------------------------------------

    def _code(self, case: Case, handle: str, row: Kept, values: Sequence[str]) -> tuple[str | None, bool]:
        place = self.plan.columns.get("code")
        if place is not None:
            code, fault = cells.code(case.text(row, place))
            if fault:
                case.fault(row, place, fault)
                return None, False
            if code:
                self._has_twin(case, row, place, "code", code)
                return code, False
        if not self._make_codes:
            if any(row.cells[at].strip() for at in self._barcodes):
                # Which SKU has it is looked for among ours.
                return None, False
            if self._barcodes and place is None:
                fix = "fill in one of the two, or let codes be made from handle and options"
                case.fault(row, place, Fault("the variant has neither SKU nor barcode", fix))
                return None, False
            fix = "fill in the SKU, or let codes be made from handle and options"
            case.fault(row, place, Fault("the variant has no SKU", fix))
            return None, False
        return self._made(case, handle, row, values), True

    def _made(self, case: Case, handle: str, row: Kept, values: Sequence[str]) -> str | None:
        made = "-".join(filter(None, (cells.slug(word) for word in (handle, *values)))).upper()
        if not made:
            fault = Fault("there is nothing to make a SKU from", "fill in the SKU, or a handle")
            case.fault(row, self.plan.columns.get("code"), fault)
            return None
        if taken := self._spool.claim(made, row.number):
            fault = Fault(f"the SKU made for the variant, {made}, is that of row {taken} already", "fill in the SKU")
            case.fault(row, self.plan.columns.get("code"), fault)
        return made

    def _barcode_of(self, case: Case, row: Kept, *, has_code: bool) -> tuple[str | Absent | None, str]:
        """The barcode, and the head of its column; "" in place of that where another row has it, too."""
        if not self._barcodes:
            return ABSENT, ""
        for place in self._barcodes:
            text = case.text(row, place)
            if text:
                # That of most rows was read already, when it was compared.
                is_read = text.zfill(14) == row.barcode
                value, fault = (text, None) if is_read else self._barcode(text)
                if fault:
                    case.fault(row, place, fault)
                is_alone = not (value and row.barcode) or not self._has_twin(
                    case, row, place, "barcode", row.barcode, is_named_by_it=not has_code
                )
                return value, case.plan.heads[place].strip() if is_alone else ""
        return None, ""

    def _has_twin(
        self, case: Case, row: Kept, place: int, kind: str, word: str, *, is_named_by_it: bool = False
    ) -> bool:
        """Whether another row has the same code or barcode, which is told."""
        if not self._spool.has_twins:
            return False
        twin = self._spool.twin(kind, word, row.number)
        if twin:
            more = f" ({twin.rows} rows in all)" if twin.rows > 2 else ""
            if kind == "code":
                fix = "a SKU is one variant: delete one of the rows, or give it a SKU of its own"
                case.fault(row, place, Fault(f"is the SKU of row {twin.row} too{more}", fix))
            elif is_named_by_it:
                fix = "fill in the SKU of each, or delete one of the rows"
                case.fault(row, place, Fault(f"is the barcode of row {twin.row} too{more}", fix))
            else:
                fix = "scan both again if they are different goods"
                case.fault(row, place, Fault(f"is the barcode of row {twin.row} too{more}", fix, "warning"))
        return twin is not None

    # --- prices, weights, metafields -----------------------------------------------------------------------------

    def _check_prices(self, case: Case, row: Kept, told: dict[str, Any]) -> None:
        price, compare_at = told.get("price_minor", ABSENT), told.get("compare_at_minor", ABSENT)
        if compare_at == 0:
            told["compare_at_minor"] = compare_at = None
        if price is None and not any(problem.row == row.number for problem in case.problems):
            fix = "fill it in, or set it here before it is sold"
            case.fault(row, self._price_place, Fault("the variant has no price", fix, "warning"))
        if isinstance(price, int) and isinstance(compare_at, int) and compare_at < price:
            fix = "leave it empty, or write the price before the reduction"
            place = self.plan.columns.get("compare_at")
            case.fault(row, place, Fault("is a price to compare with that is below the price", fix, "warning"))
        named = case.of(row, "currency").upper()
        if price and named and named not in (self._currency, self._currency_of(case, row)):
            fix = f"convert the prices to {self._currency}, or import this file with {named}"
            place = self.plan.columns["currency"]
            case.fault(
                row, place, Fault(f"is the row's currency; the prices of this import are in {self._currency}", fix)
            )

    def _weight_of(self, case: Case, row: Kept) -> int | Absent | None:
        columns = self.plan.columns
        for name in ("grams", "weight"):
            place = columns.get(name)
            if place is None:
                continue
            unit = "g" if name == "grams" else case.of(row, "weight_unit") or self.plan.weight_unit
            value, fault = self._weight(case.text(row, place), unit)
            if fault:
                case.fault(row, place, fault)
            if value is not None or fault or "weight" not in columns or name == "weight":
                return value
        return ABSENT

    def _metafields(self, case: Case, row: Kept) -> dict[str, Metafield]:
        found = {column.key: Metafield(column.type, case.text(row, column.place)) for column in self._facts}
        if "metafield_key" in self.plan.columns and (named := named_metafield(case, row)):
            found[named[0]] = named[1]
        return found

    def _woocommerce(self, case: Case, row: Kept, told: dict[str, Any]) -> None:
        """Its two prices as price and price to compare with; what else it says by other columns."""
        columns = self.plan.columns
        prices: list[int | None] = []
        for name in ("regular_price", "sale_price"):
            value, fault = self._amount(case.of(row, name))
            if fault:
                case.fault(row, columns[name], fault)
            prices.append(value)
        regular, sale = prices
        if sale is not None and (case.of(row, "sale_starts") or case.of(row, "sale_ends")):
            fix = "set the reduced price here for as long as it holds"
            fault = Fault("is a price for a time, which is not taken", fix, "warning")
            case.fault(row, columns["sale_price"], fault)
            sale = None
        if "regular_price" in columns:
            told["price_minor"] = regular if sale is None else sale
            told["compare_at_minor"] = None if sale is None else regular
        if "units" in told and told["units"] is None:
            told["is_tracked"] = False
        elif "units" in told:
            told["is_tracked"] = True
        kinds = case.of(row, "type").casefold()
        told["requires_shipping"] = "virtual" not in kinds
        if "variation" in kinds and "images" in columns:
            told["image_url"] = case.of(row, "images").partition(",")[0].strip()


def named_metafield(case: Case, row: Kept) -> tuple[str, Metafield] | None:
    """The metafield that a row of Shopify's wide template tells in columns of namespace, key, value and type."""
    key = case.of(row, "metafield_key")
    if not key:
        return None
    namespace = case.of(row, "metafield_namespace") or "global"
    return f"{namespace}.{key}", Metafield(case.of(row, "metafield_type"), case.of(row, "metafield_value"))


def _remembering(read: Reader) -> Reader:
    return lru_cache(_REMEMBERED)(read)


def _as_it_is(read: Reader) -> Reader:
    return read


def _choosing(read: Reader) -> Reader:
    """The reader, saying that a mapping may name the separator."""

    def told(text: str, *more: str) -> tuple[Any, Fault | None]:
        value, fault = read(text, *more)
        if fault and fault.sentence == cells.TWOFOLD:
            fault = fault._replace(fix=f"{fault.fix}, or choose the decimal separator of the file")
        return value, fault

    return told


def _telling(read: Reader) -> Reader:
    """The reader, saying of a number such as 1,234 how it was read."""

    def told(text: str, *more: str) -> tuple[Any, Fault | None]:
        value, fault = read(text, *more)
        if value is None or fault or "," not in text or not (digits := without_thousands(text)):
            return value, fault
        fix = f"write {digits}; if the comma stands before decimals, write {digits[:-3]}.{digits[-3:]}"
        return value, Fault(f"is taken as {digits}: the file has points before decimals", fix, "warning")

    return told


def _is_told(text: str) -> tuple[bool, Fault | None]:
    return bool(text.strip()), None


def _is_shipped(text: str) -> tuple[Any, Fault | None]:
    is_digital, fault = cells.truth(text)
    return (ABSENT if is_digital is ABSENT else not is_digital), fault


def _is_taxed(text: str) -> tuple[Any, Fault | None]:
    word = text.strip().casefold()
    if word in ("taxable", "none", "shipping"):
        return word == "taxable", None
    return ABSENT, Fault("is no tax status", "write taxable, shipping or none") if word else None
