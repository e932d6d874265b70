"""What a SKU is made of, which bundles contain it, and the dialog that changes it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.db import unit_of_work
from core.errors import BadInput, SwitchyardError
from core.inventory import bundles
from dashboard import components, formats, people, queries
from dashboard.queries import rows

Row = Mapping[str, Any]

SHOWN_MAX = 50
_LINE = re.compile(r"^\s*(?:(\d+)\s*[x×]\s+)?(\S.*?)\s*$")


def components_of(shop_id: int, sku_id: int) -> list[dict[str, Any]]:
    """What it is made of, with what is there of each."""
    return rows(
        """
        select c.component_code as code, c.component_title as title, c.component_is_bundle as is_bundle, c.units,
               k.available
        from sku_components c join sku_stock k on k.shop_id = c.shop_id and k.sku_id = c.component_sku_id
        where c.shop_id = %(shop)s and c.bundle_sku_id = %(sku)s order by c.component_code
        """,
        shop=shop_id,
        sku=sku_id,
    )


def containers_of(shop_id: int, sku_id: int) -> list[dict[str, Any]]:
    """The first bundles that contain it, by code, one more than are shown."""
    return rows(
        f"""
        select c.bundle_code as code, c.bundle_title as title, c.units, k.available
        from sku_components c join sku_stock k on k.shop_id = c.shop_id and k.sku_id = c.bundle_sku_id
        where c.shop_id = %(shop)s and c.component_sku_id = %(sku)s order by c.bundle_code limit {SHOWN_MAX + 1}
        """,
        shop=shop_id,
        sku=sku_id,
    )


def draw(viewer: people.Viewer, sku: Row) -> None:
    """Both directions, and the button."""
    made_of = components_of(viewer.shop.id, sku["sku_id"])
    inside = containers_of(viewer.shop.id, sku["sku_id"])
    if made_of:
        _table(viewer, made_of, "It is made of", "In each", "Components of this bundle")
        st.caption("It has no stock of its own: as many are available at a place as its scarcest component allows.")
    if inside:
        _table(viewer, inside[:SHOWN_MAX], "Bundles that contain it", "Takes of it", "Bundles that contain this SKU")
        if len(inside) > SHOWN_MAX:
            st.caption(f"The first {SHOWN_MAX} by code.")
    if not made_of and not inside:
        components.empty("It is sold by itself", "No bundle contains it, and it is not made of others.")
    if sku["is_stocked"] and st.button("What it is made of…", key="components", icon=":material/deployed_code:"):
        _dialog(viewer, sku, made_of)


def _table(viewer: people.Viewer, found: Sequence[Row], head: str, units: str, label: str) -> None:
    body = [
        (
            f'<a href="{_address(viewer, row["code"])}" target="_self">{escape(row["code"])}</a>'
            f"<br><span class='sy-meta'>{escape(row['title'])}</span>",
            components.number(row["units"]),
            components.number(row["available"]),
        )
        for row in found
    ]
    components.table([(head, False), (units, True), ("Available", True)], body, label)


def _address(viewer: people.Viewer, code: str) -> str:
    return escape(f"skus?{urlencode(viewer.where(sku=code))}")


def parse(text: str) -> dict[str, int]:
    """Components as typed, one a line: `2 x CODE` or `CODE`. Raises BadInput naming the line."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.match(line)
        if not line.strip():
            continue
        if match is None:
            raise BadInput(f"line {number}, “{line.strip()}”: write one component a line, as 2 x CODE")
        units, code = int(match[1] or 1), match[2]
        if code in found:
            raise BadInput(f"line {number}: {code} is named twice; give its units once")
        found[code] = units
    return found


def _dialog(viewer: people.Viewer, sku: Row, made_of: Sequence[Row]) -> None:
    def body() -> None:
        st.markdown(
            "One component a line: `2 x CODE`. Components may be bundles themselves, once. "
            "What was sold already keeps what it was made of when it was sold."
        )
        with st.form("components", border=False):
            typed = st.text_area(
                "Components", value="\n".join(f"{row['units']} x {row['code']}" for row in made_of), key="typed"
            )
            reason = st.text_input("Reason", required=True, placeholder="The gift set for the season", key="why")
            go = st.form_submit_button(f"Save what {sku['code']} is made of", type="primary")
        if go:
            _save(viewer, sku["code"], typed, reason or "")

    st.dialog(f"What is {sku['code']} made of?", width="medium", icon=":material/deployed_code:")(body)()


def _save(viewer: people.Viewer, code: str, typed: str, reason: str) -> None:
    app = bootstrap.application()
    try:
        wanted = parse(typed)
        with unit_of_work(app.engine) as conn:
            bundles.set_components(conn, viewer.shop.id, code, wanted, Actor(viewer.person.name, reason), utc_now())
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "components")
        return
    made_of = f"is made of {formats.plural(len(wanted), 'component')} now" if wanted else "is no bundle any more"
    components.say_later(f"{code} {made_of}.")
    queries.forget()
    st.rerun()
