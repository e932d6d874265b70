"""Product files for tests: written from lines, read into outcomes."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.catalog.imports.drafts import ProductDraft
from core.catalog.imports.mapping import Mapping
from core.catalog.imports.problems import Outcome
from core.catalog.imports.reading import ProductFile, open_products

_FOLDER = tempfile.TemporaryDirectory()
"""Gone when the tests are through."""
_NUMBERS = itertools.count()


def opened(
    *lines: str | Sequence[str], currency: str = "EUR", mapping: Mapping | None = None, **more: Any
) -> ProductFile:
    """A CSV of lines: a string is one as it is, a list its cells, none of which needs quotation marks."""
    text = "\n".join(line if isinstance(line, str) else ",".join(line) for line in lines)
    path = Path(_FOLDER.name) / f"{next(_NUMBERS)}.csv"
    path.write_text(text, "utf-8", newline="")
    return open_products(path, "file.csv", currency, mapping, **more)


def outcomes(*lines: str | Sequence[str], **more: Any) -> list[Outcome]:
    return list(opened(*lines, **more).outcomes())


def drafts(found: Sequence[Outcome]) -> list[ProductDraft]:
    """The drafts, of which none may be missing."""
    made = [outcome.draft for outcome in found if outcome.draft]
    assert len(made) == len(found), [problem for outcome in found for problem in outcome.problems]
    return made


def said(found: Sequence[Outcome]) -> list[str]:
    """What is wrong, as `severity row column: sentence`."""
    return [f"{p.severity} {p.row} {p.column}: {p.sentence}" for outcome in found for p in outcome.problems]
