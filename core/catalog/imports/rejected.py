"""Rows that were refused, as a file of the same form with the reason beside them: to be corrected and read again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from core.catalog.imports.problems import Outcome, Problem
from core.catalog.imports.reading import REASON, ProductFile
from core.spreadsheets import guarded
from core.tables import delimited, workbooks
from core.tables.delimited import Dress

_REASON_MAX = 2_000


class RejectedRows:
    """Writes the rows of products that were refused, each with all of its rows, so that it is whole when it comes back.

        with RejectedRows(file, path) as rejected:
            for outcome in file.outcomes():
                rejected.add(outcome)

    The cells are those of the file, in its form (XLSX, or CSV with its separator and encoding). What a spreadsheet
    would run as a formula is guarded by an apostrophe, which reading takes off again.
    """

    def __init__(self, file: ProductFile, path: Path) -> None:
        self.rows = 0
        self._width = len(file.heads)
        self._out = path.open("wb")
        dress = file.table.dress or Dress("utf-8", ",", names_separator=False, is_gzip=False)
        self._writer = (
            workbooks.Writer(self._out, path.parent) if is_workbook(file) else delimited.Writer(self._out, dress)
        )
        self._write(file.heads, REASON)

    def __enter__(self) -> RejectedRows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self.close()
        finally:
            self._writer.drop()
            self._out.close()

    def add(self, outcome: Outcome) -> None:
        """Writes the rows of an outcome without a draft; the others are passed by."""
        if outcome.draft:
            return
        errors = [problem for problem in outcome.problems if problem.severity == "error"]
        for row in outcome.rows:
            own = [problem for problem in errors if problem.row == row.number]
            self._write(row.cells, _reason(own) if own else _reason_of_others(errors))
            self.rows += 1

    def close(self) -> None:
        self._writer.close()
        self._out.close()

    def _write(self, cells: Sequence[str], reason: str) -> None:
        padded = (*cells[: self._width], *("",) * (self._width - len(cells)))
        # Cells beyond the columns are what is wrong with such a row: they stay to be seen.
        self._writer.add([guarded(cell) for cell in (*padded, reason, *cells[self._width :])])


def suffix(file: ProductFile) -> str:
    """How the name of the file of refused rows ends."""
    return ".xlsx" if is_workbook(file) else ".csv"


def is_workbook(file: ProductFile) -> bool:
    return file.table.kind == "xlsx"


def _reason(problems: Sequence[Problem]) -> str:
    told = (f"{p.column}: {p.sentence}: {p.fix}" if p.column else f"{p.sentence}: {p.fix}" for p in problems)
    return "; ".join(dict.fromkeys(told))[:_REASON_MAX]


def _reason_of_others(problems: Sequence[Problem]) -> str:
    numbers = ", ".join(dict.fromkeys(str(problem.row) for problem in problems[:20]))
    return f"nothing is wrong with this row itself; its product is refused for row {numbers} of the file"
