"""What is wrong with a row, said so that a person can put it right, and what came of a product's rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from core.catalog.imports.drafts import ProductDraft

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in one cell, row (`column` is "") or column (`row` is that of the heads).

    `value` is the cell as the file has it, shortened; `sentence` says what is wrong, `fix` what to do. An error keeps
    the whole product out; a warning does not.
    """

    row: int
    column: str
    value: str
    sentence: str
    fix: str
    severity: Severity = "error"


class FileRow(NamedTuple):
    """A row by its number in the file (the heads are 1, mostly), with its cells as written."""

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All rows of one product: its draft, or None where a problem is an error. `rows` are in the file's order.

    Rows that belong to no product (broken ones, ones without a handle) come each as an outcome of their own.
    """

    draft: ProductDraft | None
    problems: tuple[Problem, ...]
    rows: tuple[FileRow, ...]
