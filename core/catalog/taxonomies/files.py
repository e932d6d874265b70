"""Taxonomies as their publishers write them: plain text, an entry a line, packed with gzip or not.

Google: a first line `# Google_Product_Taxonomy_Version: 2021-09-21`, then `1604 - Apparel & Accessories > Clothing`
(google.com/basepages/producttype/taxonomy-with-ids.en-US.txt). Shopify: `# Shopify Product Taxonomy - Categories:
2024-07`, then `gid://shopify/TaxonomyCategory/aa-1 : Apparel & Accessories > Clothing` (its public product taxonomy).
Read a line at a time; a file that says something else is refused with the line and the repair.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import IO, Literal

from core.catalog.taxonomies.rules import SEPARATOR, Entry
from core.errors import BadInput

BYTES_MAX = 20_000_000
"""Of a file's text, unpacked: ten times what the largest has."""
ENTRIES_MAX = 50_000
LINE_MAX = 2_000

FileKind = Literal["google", "shopify"]


class BadTaxonomy(BadInput):
    """The file is no taxonomy of that kind, or not a whole one."""


@dataclass(frozen=True, slots=True)
class TaxonomyText:
    """A taxonomy as a file has it; entries are in the order of the file."""

    version: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class _Form:
    publisher: str
    head: re.Pattern[str]
    line: re.Pattern[str]
    example: str


_FORMS: dict[FileKind, _Form] = {
    "google": _Form(
        "Google",
        re.compile(r"# Google_Product_Taxonomy_Version: (\d{4}-\d{2}-\d{2})"),
        re.compile(r"(?P<ref>[0-9]{1,12}) - (?P<path>\S.*)"),
        "1604 - Apparel & Accessories > Clothing",
    ),
    "shopify": _Form(
        "Shopify",
        re.compile(r"# Shopify Product Taxonomy - Categories: ([0-9][0-9A-Za-z.-]{0,30})"),
        re.compile(r"(?P<ref>gid://shopify/TaxonomyCategory/[a-z0-9-]{1,60})\s+:\s+(?P<path>\S.*)"),
        "gid://shopify/TaxonomyCategory/aa-1 : Apparel & Accessories > Clothing",
    ),
}


def read_taxonomy(kind: FileKind, name: str, data: IO[bytes]) -> TaxonomyText:
    """The taxonomy in a file, packed or not. Raises BadTaxonomy."""
    form = _FORMS[kind]
    lines = _lines(name, data)
    head = next(lines, (1, ""))[1]
    found = form.head.fullmatch(head.rstrip())
    if found is None:
        raise BadTaxonomy(_not_a_taxonomy(kind, name, head))
    refs: set[str] = set()
    paths: dict[str, int] = {}
    entries: list[Entry] = []
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        entry = _entry(form, name, number, line)
        if entry.ref in refs or entry.path in paths:
            raise BadTaxonomy(
                f"{name}, line {number}: {entry.ref} or its path is there twice. Load the file as published"
            )
        refs.add(entry.ref)
        paths[entry.path] = number
        entries.append(entry)
        if len(entries) > ENTRIES_MAX:
            raise BadTaxonomy(
                f"{name} has more than {ENTRIES_MAX:,} entries: that is no taxonomy of {form.publisher}’s"
            )
    if not entries:
        raise BadTaxonomy(f"{name} has its first line and no entries: load the whole file")
    for path, number in paths.items():
        above = path.rpartition(SEPARATOR)[0]
        if above and above not in paths:
            raise BadTaxonomy(
                f"{name}, line {number}: “{above}”, which is above it, is not in the file. Load all of it"
            )
    return TaxonomyText(found[1], tuple(entries))


def _entry(form: _Form, name: str, number: int, line: str) -> Entry:
    found = form.line.fullmatch(line.rstrip())
    names = [] if found is None else [part.strip() for part in found["path"].split(">")]
    if found is None or not all(names) or not "".join(names).isprintable():
        raise BadTaxonomy(f"{name}, line {number}: “{line.strip()[:80]}” is no entry: “{form.example}” is one")
    return Entry(found["ref"], SEPARATOR.join(names))


def _not_a_taxonomy(kind: FileKind, name: str, head: str) -> str:
    for other, form in _FORMS.items():
        if other != kind and form.head.fullmatch(head.rstrip()):
            return f"{name} is {form.publisher}’s taxonomy: load it as that, or choose {_FORMS[kind].publisher}’s file"
    found = f"begins with “{head.strip()[:60]}”" if head.strip() else "is empty"
    wanted = _FORMS[kind].head.pattern.partition("(")[0].strip()
    return f"{name} {found}: {_FORMS[kind].publisher}’s file with ids begins with “{wanted} …”"


def _lines(name: str, data: IO[bytes]) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; never more of them at once than one. Raises BadTaxonomy."""
    is_packed = data.read(2) == b"\x1f\x8b"
    data.seek(0)
    try:
        with gzip.GzipFile(fileobj=data) if is_packed else data as raw:
            text = TextIOWrapper(raw, encoding="utf-8-sig")
            size, number = 0, 0
            while line := text.readline(LINE_MAX + 1):
                number += 1
                size += len(line)
                if len(line) > LINE_MAX:
                    raise BadTaxonomy(
                        f"{name}, line {number} is longer than {LINE_MAX:,} characters: that is no taxonomy"
                    )
                if size > BYTES_MAX:
                    raise BadTaxonomy(f"{name} has more than {BYTES_MAX // 1_000_000} MB of text: that is no taxonomy")
                yield number, line
    except UnicodeDecodeError:
        raise BadTaxonomy(f"{name} is no text in UTF-8: load the file as it was published, .txt or .txt.gz") from None
    except (EOFError, OSError, zlib.error):
        raise BadTaxonomy(f"{name} ends in the middle, or is damaged: fetch it again") from None
