"""Identifiers of a channel, and how alike two names are; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, get_args

from core.catalog import barcodes
from core.errors import BadInput

Kind = Literal["variant", "seller_sku", "fnsku", "barcode", "asin"]
"""variant: the channel's own id of a listing. seller_sku: its code there. fnsku: its label. asin: its product."""
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The narrowest first: that is the order in which they count for a listing that has several."""
VALUE_MAX = 200


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """One identifier of one connection: that is of one marketplace of one account. Made by `identifier`."""

    connection_id: int
    kind: Kind
    value: str


def identifier(connection_id: int, kind: str, value: str) -> Identifier:
    """An identifier as it is kept. Raises BadInput, BadBarcode where the kind or the value is none.

    Upper and lower case and inner spaces count, as they do at the channels; blanks around it do not. A barcode is kept
    as its 14 digits.
    """
    if kind not in KINDS:
        raise BadInput(f"“{kind}” is no kind of identifier: there is {', '.join(KINDS)}")
    cleaned = value.strip()
    if not cleaned:
        raise BadInput(f"the {kind} is empty: give it as the channel spells it")
    if len(cleaned) > VALUE_MAX:
        raise BadInput(f"the {kind} has {len(cleaned):,} characters; at most {VALUE_MAX} are kept")
    if kind == "barcode":
        barcodes.read(cleaned)
        cleaned = barcodes.key_of(cleaned)
    return Identifier(connection_id, kind, cleaned)


def words_of(title: str) -> list[str]:
    """The words by which a title is looked for: each once, in lower case, of two letters or more."""
    return list(dict.fromkeys(word for word in re.findall(r"\w+", title.casefold()) if len(word) > 1))


def likeness(one: str, other: str) -> int:
    """How alike two titles are, in percent, whatever the case and the order of their words."""

    def flat(title: str) -> str:
        return " ".join(sorted(re.findall(r"\w+", title.casefold())))

    if not flat(one) or not flat(other):
        return 0
    return round(100 * SequenceMatcher(None, flat(one), flat(other), autojunk=False).ratio())
