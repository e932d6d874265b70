"""Which column of a file is which of our fields: a choice for each field with what the column holds beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Literal

import streamlit as st

from core.catalog.imports.cells import slug
from core.catalog.imports.mapping import Mapping, WeightUnit
from core.importing.uploads import Seen
from core.tables.values import normalized
from dashboard import components, formats, import_words

NONE = ""
_DECIMALS: dict[Literal["", ".", ","], str] = {
    "": "As each number tells",
    ".": "1,234.50",
    ",": "1.234,50",
}
_UNITS: tuple[WeightUnit, ...] = ("g", "kg", "lb", "oz")
_SEPARATORS = {",": "comma ,", ";": "semicolon ;", "|": "bar |", "/": "slash /"}
_OPTIONS_MAX = 3


def draw(seen: Seen, start: Mapping, key: str) -> Mapping:
    """Ask for the mapping, beginning with `start`; what is chosen now. `key` keeps the choices of one file together."""
    heads = list(seen.samples)
    by_word = {normalized(head): head for head in reversed(heads)}

    def column(head: str | None) -> str:
        return by_word.get(normalized(head), NONE) if head else NONE

    columns: dict[str, str] = {}
    for place, (group, fields) in enumerate(import_words.GROUPS.items()):
        first = {name: column(start.columns.get(name)) for name in fields}
        found = sum(1 for name, head in first.items() if st.session_state.get(f"{key}-field-{name}", head))
        beside = f" · {found} of {len(fields)} chosen" if found else " · nothing chosen"
        with st.expander(f"{group}{beside}", expanded=place < 2 or any(first.values()), key=f"{key}-group-{place}"):
            for name in fields:
                chosen = _draw_field(seen, heads, name, first[name], key)
                if chosen:
                    columns[name] = chosen
    options = _draw_options(heads, [column(head) for head in start.options], "handle" in columns, key)
    taken = {*columns.values(), *options}
    metafields = _draw_metafields(seen, heads, {k: column(v) for k, v in start.metafields.items()}, taken, key)
    unit, decimals, separator = _draw_reading(start, "weight" in columns, key)
    left = [head for head in heads if head not in taken and head not in metafields.values()]
    if left:
        st.caption(f"Not read: {formats.plain(', '.join(left[:30]))}{'…' if len(left) > 30 else ''}.")
    return Mapping(columns, tuple(options), metafields, unit, decimals, separator)


def samples(seen: Seen, head: str) -> str:
    """The first values of a column, as HTML."""
    values = seen.samples.get(head, ())
    if not values:
        return '<span class="sy-meta">empty in the first rows</span>'
    return '<span class="sy-chips">' + "".join(f"<span>{escape(value)}</span>" for value in values) + "</span>"


def _draw_field(seen: Seen, heads: Sequence[str], name: str, first: str, key: str) -> str:
    label, about = import_words.FIELDS[name]
    options = [NONE, *heads]
    with st.container(horizontal=True, vertical_alignment="center", key=f"stack-{key}-{name}"):
        with st.container(width=230, gap=None):
            components.html(f'<b class="sy-field">{escape(label)}</b><div class="sy-meta">{escape(about)}</div>')
        chosen: str = st.selectbox(
            f"Column for {label}",
            options,
            index=options.index(first),
            format_func=lambda head: head.strip() or "No column",
            key=f"{key}-field-{name}",
            label_visibility="collapsed",
            width=260,
        )
        with st.container(width="stretch"):
            components.html(samples(seen, chosen) if chosen else '<span class="sy-meta">stays as it is</span>')
    return chosen


def _draw_options(heads: Sequence[str], first: Sequence[str], is_grouped: bool, key: str) -> list[str]:
    st.subheader("Options and facts of your own", anchor=False)
    chosen = st.multiselect(
        "Columns that tell the variants of a product apart, such as size and colour",
        heads,
        default=[head for head in first if head],
        max_selections=_OPTIONS_MAX,
        key=f"{key}-options",
        placeholder="No options",
    )
    if chosen and not is_grouped:
        st.warning(
            "Options need a column for **Product**: without one each row is a product of its own.",
            icon=":material/warning:",
        )
    return chosen


def _draw_metafields(
    seen: Seen, heads: Sequence[str], first: dict[str, str], taken: set[str], key: str
) -> dict[str, str]:
    known = {head: name for name, head in first.items() if head}
    free = [head for head in heads if head not in taken]
    chosen = st.multiselect(
        "Columns to keep as metafields: facts under a name of your own, such as a supplier’s id",
        free,
        default=[head for head in known if head in free],
        key=f"{key}-metafields",
        placeholder="No metafields",
    )
    found: dict[str, str] = {}
    for head in chosen:
        with st.container(horizontal=True, vertical_alignment="center", key=f"stack-{key}-meta-{formats.key(head)}"):
            name = st.text_input(
                f"Name of {head.strip()}",
                known.get(head, f"custom.{slug(head).replace('-', '_') or 'fact'}"),
                key=f"{key}-name-{formats.key(head)}",
                width=320,
                help="Letters, digits and _ on both sides of the dot.",
            )
            components.html(samples(seen, head))
        if name and name.strip():
            found[name.strip()] = head
    return found


def _draw_reading(start: Mapping, has_weight: bool, key: str) -> tuple[WeightUnit, Literal[".", ","] | None, str]:
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"stack-{key}-reading"):
        decimals = st.selectbox(
            "How numbers are written",
            list(_DECIMALS),
            index=list(_DECIMALS).index(start.decimals or ""),
            format_func=_DECIMALS.__getitem__,
            key=f"{key}-decimals",
            width=220,
            help="Only where a number could be read in two ways, such as 1,234.",
        )
        unit = st.selectbox(
            "Unit of weights without one",
            _UNITS,
            index=_UNITS.index(start.weight_unit),
            key=f"{key}-unit",
            width=220,
            disabled=not has_weight,
        )
        separators = {**_SEPARATORS, start.list_separator: _SEPARATORS.get(start.list_separator, start.list_separator)}
        separator = st.selectbox(
            "Lists in a cell are parted by",
            list(separators),
            index=list(separators).index(start.list_separator),
            format_func=separators.__getitem__,
            key=f"{key}-separator",
            width=220,
            help="Tags and pictures, such as blue, clay.",
        )
    return unit, decimals or None, separator
