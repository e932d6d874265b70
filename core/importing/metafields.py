"""Metafields that a file tells: of which type each is, and what is said where types do not agree. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from core.catalog.imports.drafts import Metafield
from core.catalog.imports.problems import Problem, Severity
from core.catalog.products.fields import KEY, TYPES, BadField, Definition, Owner, check, parsed
from core.errors import Anticipated

_SHOWN_MAX = 60
_FIX = "correct the cell, or clear it"

Key = tuple[str, str]
"""Owner and key."""

WORDS: Mapping[str, str] = {
    "text": "text",
    "multiline": "text of several lines",
    "integer": "whole numbers",
    "decimal": "numbers",
    "boolean": "yes and no",
    "date": "dates",
    "money": "amounts of money",
    "url": "addresses",
    "colour": "colours",
    "list": "lists",
    "json": "JSON",
}
"""What a metafield of each type is of."""

_THEIRS = {
    "single_line_text_field": "text",
    "multi_line_text_field": "multiline",
    "number_integer": "integer",
    "number_decimal": "decimal",
    "color": "colour",
    "list.single_line_text_field": "list",
    "string": "text",
    "json_string": "json",
}
"""Shopify's names of types (shopify.dev, metafields/list-of-data-types), those of before 2022 too."""


class OtherType(Anticipated):
    """A metafield was defined after the file was read, as one that its value does not fit."""

    def __init__(self, key: str, type_: str) -> None:
        super().__init__(f"{key} is a metafield of {WORDS[type_]} by now: it was defined after the file was read")


class Waiting(NamedTuple):
    """What another import, which is not applied yet, would make a metafield."""

    import_id: int
    file_name: str
    type: str


@dataclass(slots=True)
class Fields:
    """Metafields that there are (`known`) and those of them that the file itself brings (`brought`), by owner and key;
    `waiting`: what other imports would define."""

    known: Mapping[Key, Definition]
    brought: Container[Key] = ()
    waiting: Mapping[Key, Waiting] = field(default_factory=lambda: MappingProxyType({}))


def type_of(told: str) -> str | None:
    """Our type that a file means by a name; None where it names none that we have."""
    word = told.strip().casefold()
    return word if word in TYPES else _THEIRS.get(word)


def read(
    owner: Owner,
    row: int,
    told: Mapping[str, Metafield],
    before: Mapping[str, Any],
    fields: Fields,
    currency: str,
    defined: dict[Key, Definition],
    problems: list[Problem],
) -> dict[str, Any]:
    """The values of a product or variant with what the file tells; adds to `defined` and `problems`."""
    values = dict(before)
    for key, (type_, text) in told.items():
        definition = fields.known.get((owner, key)) or defined.get((owner, key))
        if definition is None:
            if not text.strip():
                continue
            if not KEY.fullmatch(key):
                # Another system's own: the product is right without it.
                fix = "name it namespace.key, in small letters, if it is needed"
                problems.append(_problem(row, key, text, "is no key of a metafield and is left out", fix, "warning"))
                continue
            plain = "multiline" if "\n" in text.strip() else "text"
            definition = Definition(owner, key, _name_of(key), type_of(type_) or plain)
            defined[owner, key] = definition
        problems += _disagreements(row, type_, text, definition, fields)
        try:
            value = parsed(definition.type, text, currency)
        except BadField as error:
            problems.append(_problem(row, key, text, str(error), _FIX))
            continue
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
    return values


def _disagreements(row: int, told: str, text: str, definition: Definition, fields: Fields) -> list[Problem]:
    """That the file, what is known and another import do not say the same of a metafield's type."""
    owner, key = definition.owner, definition.key
    if not text.strip():
        return []
    found = []
    named = type_of(told)
    if named is not None and not _fits(named, definition.type):
        is_ours = (owner, key) in fields.known and (owner, key) not in fields.brought
        where = "here" if is_ours else "in an earlier row"
        sentence = f"the file calls {key} {WORDS[named]}, and {where} it is a metafield of {WORDS[definition.type]}"
        fix = (
            "it is read as what it is here; rename the column if it is another fact"
            if is_ours
            else "give it the same type in all rows"
        )
        found.append(_problem(row, key, text, sentence, fix, "warning"))
    other = fields.waiting.get((owner, key))
    is_new = (owner, key) not in fields.known or (owner, key) in fields.brought
    if other is not None and is_new and not _fits(definition.type, other.type):
        sentence = (
            f"import {other.import_id} ({other.file_name}), which is not applied yet, makes {key} a metafield of"
            f" {WORDS[other.type]}, and this file one of {WORDS[definition.type]}"
        )
        fix = f"apply or discard import {other.import_id} and read this file again, or give both the same type"
        found.append(_problem(row, key, text, sentence, fix, "warning"))
    return found


def _fits(told: str, kept: str) -> bool:
    return told == kept or (told, kept) == ("text", "multiline")


def check_types(owner: Owner, values: Mapping[str, Any], now: Mapping[Key, Definition], currency: str) -> None:
    """Raises OtherType where a value is not what its metafield has become; `now` are those that became another."""
    for key, value in values.items():
        definition = now.get((owner, key))
        if definition is None:
            continue
        try:
            check(definition.type, value, currency)
        except BadField:
            raise OtherType(key, definition.type) from None


def _name_of(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ").replace("-", " ").capitalize()


def _problem(row: int, key: str, text: str, sentence: str, fix: str, severity: Severity = "error") -> Problem:
    return Problem(row, key, text[:_SHOWN_MAX], sentence, fix, severity)
