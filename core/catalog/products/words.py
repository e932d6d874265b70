"""What search goes by: words without case and accents, of both what is stored and what is typed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from core.catalog.products.documents import ProductDocument

_WORD_MAX = 60
_WORDS_MAX = 2000
"""Of one product: what is beyond is not found, instead of a row that the index refuses."""
_TYPED_MAX = 10
_WORD = re.compile(r"[^\W_]+")


def words_of_text(text: str) -> list[str]:
    """The words of a text as they are compared: "Crème-brûlée X_9" is creme, brulee, x and 9."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(char for char in decomposed if not unicodedata.combining(char))
    return [word[:_WORD_MAX] for word in _WORD.findall(text.casefold())]


def words_of(document: ProductDocument) -> list[str]:
    """All that a product is found by: names, tags, texts among its metafields; codes and barcodes also as one word."""
    found: set[str] = set()
    for text in _texts(document):
        found.update(words_of_text(text))
    for variant in document.variants:
        for name in (variant.code, variant.barcode or ""):
            found.update(parts := words_of_text(name))
            if len(parts) > 1:
                found.add("".join(parts)[:_WORD_MAX])
        for text in (*variant.option_values, *_plain(variant.metafields.values())):
            found.update(words_of_text(text))
    return sorted(found)[:_WORDS_MAX]


def _texts(document: ProductDocument) -> Iterable[str]:
    yield from (document.title, document.handle, document.vendor or "", document.product_type or "")
    yield from document.tags
    yield from _plain(document.metafields.values())


def _plain(values: Iterable[object]) -> Iterable[str]:
    return (value for value in values if isinstance(value, str) and len(value) <= 200)


def tsquery_of(typed: str) -> str | None:
    """What somebody typed, as a tsquery: every word must begin one of the product's. None where there is no word.

    Of a code such as SKU-0771-M all parts but the last must be whole: parts that all codes have cost little then.
    """
    found: dict[str, None] = {}
    for chunk in typed.split():
        parts = words_of_text(chunk)
        found.update(dict.fromkeys(f"'{part}'" for part in parts[:-1]))
        found.update(dict.fromkeys(f"'{part}':*" for part in parts[-1:]))
    return " & ".join(list(found)[:_TYPED_MAX]) or None
