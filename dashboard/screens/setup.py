"""Set-up: the shop, its locations, and which location serves which place of each channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import SwitchyardError
from dashboard import components, formats, people, queries, setup_actions
from dashboard.queries import rows

Row = Mapping[str, Any]

KINDS = {
    "own": "A pool that channels share",
    "till": "A till's own: it sells without asking",
    "external": "Not our stock: read, never written",
}
LOCATIONS_MAX = 200
PLACES_MAX = 200


def read_locations(shop_id: int) -> list[dict[str, Any]]:
    """Locations by name."""
    return rows(
        f"""
        select location_id, name, kind, only_channel, skus, on_hand, reserved, incoming, available, listings
        from location_list where shop_id = %(shop)s order by name limit {LOCATIONS_MAX}
        """,
        shop=shop_id,
    )


def read_places(shop_id: int) -> list[dict[str, Any]]:
    """Places of channels, with the location that serves each."""
    return rows(
        f"""
        select connection_id, connection, guarantee_class, place_ref, location_id, location, listings
        from channel_places where shop_id = %(shop)s order by connection, place_ref limit {PLACES_MAX}
        """,
        shop=shop_id,
    )


def act(do: Callable[[Actor], str], reason: str, key: str) -> None:
    """Do it, say what happened, and draw the page again; what was refused is said where it was typed."""
    try:
        said = do(Actor(people.viewer().person.name, reason))
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, key)
        return
    components.say_later(said)
    queries.forget()
    st.rerun()


def reason_field(key: str, hint: str) -> str:
    """Why it is done; kept on record."""
    return st.text_input("Reason", key=f"{key}-reason", required=True, placeholder=hint) or ""


def draw_shop(shop: people.Shop) -> None:
    """What the shop is called, where its days begin, what it counts in."""
    zones = sorted(available_timezones())
    with st.form("shop", border=True):
        with st.container(horizontal=True, key="shop-fields"):
            name = st.text_input("Name", value=shop.name, key="shop-name", max_chars=80)
            zone = st.selectbox(
                "Time zone",
                zones,
                index=zones.index(shop.zone) if shop.zone in zones else None,
                key="shop-zone",
                help="Business days are counted in it, and times are shown in it.",
            )
            currency = st.text_input(
                "Currency",
                value=shop.currency,
                key="shop-currency",
                max_chars=3,
                help="Three letters (ISO 4217). Fixed once there are orders.",
            )
        reason = reason_field("shop", "We moved")
        go = st.form_submit_button("Save the shop")
    if go:
        app = setup_actions.application()
        act(
            lambda actor: setup_actions.set_up_shop(
                app, shop.id, name or "", zone or "", (currency or "").strip().upper(), actor
            ),
            reason,
            "shop",
        )


def draw_locations(shop: people.Shop, found: Sequence[Row]) -> None:
    """Each location with what lies there; a button to rename it, and one to add another."""
    if not found:
        components.empty("There is no location yet", "The first sync of a channel makes one; or add yours here.")
    else:
        body = [
            (
                f"<b>{escape(row['name'])}</b><br><span class='sy-meta'>{escape(_kind(row))}</span>",
                components.number(row["skus"]),
                components.number(row["on_hand"]),
                components.number(row["available"]),
                components.number(row["incoming"]),
                components.number(row["listings"]),
            )
            for row in found
        ]
        heads = [("Location", False), *((name, True) for name in _NUMBERS)]
        components.table(heads, body, "Locations", dense=True)
        if len(found) == LOCATIONS_MAX:
            st.caption(f"The first {LOCATIONS_MAX} by name.")
    with st.container(horizontal=True, key="location-buttons"):
        if st.button("Add a location…", key="add-location", icon=":material/add_location_alt:"):
            _add_dialog(shop)
        if found and st.button("Rename one…", key="rename-location", icon=":material/edit:"):
            _rename_dialog(shop, found)


_NUMBERS = ("SKUs", "On hand", "Available", "Incoming", "Listings served")


def _kind(row: Row) -> str:
    return f"{KINDS[row['kind']]} · {row['only_channel']}" if row["only_channel"] else KINDS[row["kind"]]


def _add_dialog(shop: people.Shop) -> None:
    def body() -> None:
        with st.form("name", border=False):
            typed = st.text_input("Name", key="location-name", max_chars=80)
            reason = reason_field("location", "We rented another hall")
            go = st.form_submit_button("Add the location", type="primary")
        if go:
            app = setup_actions.application()
            act(lambda actor: setup_actions.add_location(app, shop.id, typed or "", actor), reason, "location")

    st.dialog("Add a location?", icon=":material/add_location_alt:")(body)()


def _rename_dialog(shop: people.Shop, found: Sequence[Row]) -> None:
    names = {row["location_id"]: row["name"] for row in found}

    def body() -> None:
        chosen = st.selectbox("Location", list(names), format_func=names.__getitem__, key="rename-which")
        with st.form("rename", border=False):
            typed = st.text_input("New name", key="rename-name", max_chars=80)
            reason = reason_field("rename", "The hall has another name now")
            go = st.form_submit_button("Rename it", type="primary")
        if go:
            app = setup_actions.application()
            act(
                lambda actor: setup_actions.rename_location(app, shop.id, chosen, typed or "", actor),
                reason,
                "rename",
            )

    st.dialog("Rename a location?", icon=":material/edit:")(body)()


def draw_places(shop: people.Shop, found: Sequence[Row], locations: Sequence[Row]) -> None:
    """Which location serves which place of which channel."""
    if not found:
        components.empty("No channel has told its places yet", "They are known once a channel has been synced.")
        return
    body = [
        (
            f"<b>{escape(row['connection'])}</b>",
            escape(row["place_ref"] or "the channel has no places"),
            escape(row["location"] or formats.UNKNOWN),
            components.number(row["listings"]),
        )
        for row in found
    ]
    heads = [("Channel", False), ("Its place", False), ("Served from", False), ("Listings", True)]
    components.table(heads, body, "Places of channels and the locations that serve them")
    if st.button("Serve a place from elsewhere…", key="serve", icon=":material/swap_horiz:"):
        _serve_dialog(shop, found, locations)


def _serve_dialog(shop: people.Shop, found: Sequence[Row], locations: Sequence[Row]) -> None:
    places = {(row["connection_id"], row["place_ref"]): row for row in found}
    names = {row["location_id"]: row["name"] for row in locations}

    def words(key: tuple[int, str]) -> str:
        return f"{places[key]['connection']} · {key[1]}" if key[1] else places[key]["connection"]

    def body() -> None:
        place = st.selectbox("Place", list(places), format_func=words, key="serve-place")
        location = st.selectbox("Serve it from", list(names), format_func=names.__getitem__, key="serve-location")
        app = setup_actions.application()
        try:
            served = setup_actions.preview_serving(app, shop.id, *place, location)
        except SwitchyardError as error:
            st.error(formats.plain(str(error)), icon=":material/error:")
            return
        components.figures(
            [
                (formats.count(served.listings), "listings"),
                (formats.count(served.up), "would show more"),
                (formats.count(served.down), "would show less"),
                (formats.count(served.to_zero), "of them nothing"),
            ]
        )
        st.markdown("What was sold already stays promised where it was. Numbers that differ are written at once.")
        with st.form("serve-form", border=False):
            reason = reason_field("serve", "Leeds packs for this channel now")
            go = st.form_submit_button(f"Serve {formats.plural(served.listings, 'listing')} from there", type="primary")
        if go:
            act(lambda actor: setup_actions.serve(app, shop.id, *place, location, actor), reason, "serve")

    st.dialog("Serve a place from elsewhere?", width="medium", icon=":material/swap_horiz:")(body)()


def draw(viewer: people.Viewer) -> None:
    """The page: each part fails by itself."""
    components.title("Set-up", viewer.shop.name)
    st.subheader("Shop", anchor="shop")
    draw_shop(viewer.shop)
    st.page_link(
        str(Path(__file__).parent / "alerts.py"), label="Who is told when something is wrong",
        icon=":material/notifications:", query_params=viewer.where(part="Who is told"),
    )  # fmt: skip
    st.subheader("Locations", anchor="locations")
    locations: list[dict[str, Any]] = []
    with components.panel("locations"):
        locations = read_locations(viewer.shop.id)
        draw_locations(viewer.shop, locations)
    st.subheader("What serves what", anchor="places")
    with components.panel("places"):
        draw_places(viewer.shop, read_places(viewer.shop.id), locations)


draw(people.viewer())
