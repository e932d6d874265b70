"""Fields of the product form: what is wrong below each, metafields by their types, tables of rows, a new metafield."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.catalog.products.fields import OWNERS, TYPES, Definition
from core.catalog.products.rules import Flaw
from core.errors import SwitchyardError
from dashboard import catalogue_actions, catalogue_queries, catalogue_words, components, formats, people, product_form
from dashboard.actions import application

_HINTS = {
    "integer": "12",
    "decimal": "12.5",
    "money": "12.50 GBP",
    "url": "https://…",
    "colour": "#1B4D3E",
    "list": "one | two",
}
_YES_NO = {"": "Not said", "true": "Yes", "false": "No"}
_WIDTHS = {product_form.CODE: 150, product_form.BARCODE: 140, product_form.PICTURE: 200, product_form.CURRENCY: 80}


def width_of(column: str) -> int:
    """Pixels of a column of the variants."""
    return _WIDTHS.get(column, 100)


def flaw_says(flaw: Flaw, definitions: Mapping[tuple[str, str], Definition]) -> str:
    """SHIRT-M, price: “12,50” is no price…"""
    label = catalogue_words.label_of(flaw.code, flaw.field, definitions)
    return f"{flaw.code}, {label.lower()}: {flaw.sentence}" if flaw.code else f"{label}: {flaw.sentence}"


def draw_flaws(flaws: Sequence[Flaw], code: str, field: str) -> None:
    """What is wrong with one field, below it."""
    for flaw in flaws:
        if (flaw.code, flaw.field) == (code, field):
            st.markdown(f":red[:material/error: {formats.plain(flaw.sentence)}]")


def choose_or_write(label: str, known: Sequence[str], now: str, key: str) -> str:
    """One of the names that there are, or a new one."""
    options = list(known) if not now or now in known else [now, *known]
    found = st.selectbox(
        label, options, options.index(now) if now else None, key=key, accept_new_options=True,
        placeholder="Choose or type one",
    )  # fmt: skip
    return found or ""


def write(definition: Definition, now: str, key: str) -> str:
    """A metafield as it is typed, by its type."""
    label, hint = definition.name, f"{definition.description} {definition.key}, {definition.type}".strip()
    if definition.type == "boolean":
        options = list(_YES_NO)
        place = options.index(now) if now in options else 0
        return st.selectbox(label, options, place, key=key, format_func=_YES_NO.__getitem__, help=hint) or ""
    if definition.type == "date":
        chosen = st.date_input(label, _day(now), key=key, help=hint, format="YYYY-MM-DD", min_value=date(1900, 1, 1))
        return chosen.isoformat() if isinstance(chosen, date) else ""
    if definition.type in ("multiline", "json"):
        return st.text_area(label, now, key=key, help=hint) or ""
    return st.text_input(label, now, key=key, help=hint, placeholder=_HINTS.get(definition.type)) or ""


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def grid(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], key: str, order: Sequence[str], config: Mapping[str, Any]
) -> tuple[dict[str, Any], ...]:
    """Rows to type in, as they are by now; rows can be added and taken out."""
    # An empty table would not know that its columns are texts; an empty row is none once it is read.
    data = {column: [row.get(column, "") for row in rows or ({},)] for column in columns}
    edited: Mapping[str, Sequence[Any]] = st.data_editor(
        data, key=key, num_rows="dynamic", column_order=list(order), column_config=dict(config), hide_index=True,
        width="stretch",
    )  # fmt: skip
    return tuple(
        dict(zip(columns, cells, strict=True)) for cells in zip(*(edited[column] for column in columns), strict=True)
    )


# --- A new metafield --------------------------------------------------------------------------------------------------


def open_new(viewer: people.Viewer) -> None:
    """Ask for a metafield that products or variants may have from now on."""

    def body() -> None:
        st.markdown("Every product, or every variant, may have it from now on. Its key and type stay as they are.")
        with st.form("metafield", border=False):
            owner = st.segmented_control(
                "Of", OWNERS, default="product", required=True, format_func=str.capitalize, key="field-owner"
            )
            name = st.text_input("Name", key="field-name", placeholder="Wash at")
            key = st.text_input("Key", key="field-key", placeholder="details.wash_at")
            type_ = st.selectbox("Type", TYPES, key="field-type", format_func=str.capitalize)
            description = st.text_input("Description", key="field-description")
            reason = st.text_input("Reason", required=True, key="field-reason", placeholder="Buyers ask for it")
            go = st.form_submit_button("Add the metafield", type="primary")
        if go:
            new = Definition(owner or "product", key.strip(), name.strip(), type_ or "text", description.strip())
            _define(viewer, new, reason or "")

    components.open_dialog(st.dialog("New metafield", icon=":material/add:")(body))


def _define(viewer: people.Viewer, new: Definition, reason: str) -> None:
    try:
        catalogue_actions.define(application(), viewer.shop.id, new, Actor(viewer.person.name, reason))
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "metafield")
        return
    catalogue_queries.forget()
    components.say_later(f"{new.name} can be given from now on.")
    st.rerun()
