"""Do products at Shopify show what they should; which wait for a person, for what, since when, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import streamlit as st

from dashboard import components, formats, people, publication_panels, publication_queries, publication_words
from dashboard.publication_queries import Place
from dashboard.publication_words import Row


def go_on(to: str | None) -> Callable[[], None]:
    """A callback that begins the list after a product, or at its beginning again."""

    def go() -> None:
        st.query_params.pop("after", None)
        if to is not None:
            st.query_params["after"] = to

    return go


def position() -> Place | None:
    """The product that the list begins after, from the address: since~link."""
    since, _, number = st.query_params.get("after", "").partition("~")
    link_id = formats.number(number)
    try:
        return None if link_id is None else (datetime.fromisoformat(since), link_id)
    except ValueError:
        return None


def leave_cause() -> None:
    """Back to all causes."""
    for name in ("cause", "after"):
        st.query_params.pop(name, None)


def choose(found: Sequence[Row]) -> Row:
    """The connection that the address names, else the first; chosen by name where there are several."""
    named = formats.number(st.query_params.get("connection", ""))
    chosen = next((row for row in found if row["connection_id"] == named), found[0])
    if len(found) == 1:
        return chosen
    names = {row["connection_id"]: row["name"] for row in found}

    def go() -> None:
        leave_cause()
        st.query_params["connection"] = str(st.session_state["shopify-picker"])

    st.selectbox(
        "Connection", list(names), index=list(names).index(chosen["connection_id"]), format_func=names.__getitem__,
        key="shopify-picker", on_change=go, width=260,
    )  # fmt: skip
    return chosen


def draw_none() -> None:
    """No connection's products are kept in step: how that begins."""
    components.title("Products at Shopify")
    components.empty(
        "No products were read from Shopify yet",
        "Run “switchyard products read CONNECTION”. From then on they are kept in step, each field by its master, and"
        " what waits for a person is shown here.",
    )


def draw_all(viewer: people.Viewer, number: int) -> None:
    """The answer, what holds writes, and each cause: looked at every ten seconds."""

    @st.fragment(run_every="10s", key="now")
    def now() -> None:
        with components.panel("shopify-causes"):
            shop, scope = viewer.shop.id, viewer.person.scope
            found = publication_queries.connections(shop, scope)
            row = next((one for one in found if one["connection_id"] == number), None)
            if row is None:
                draw_none()
                return
            components.headline(*publication_words.answer(row), row["as_of"], viewer.shop.zone)
            publication_panels.draw_obstacle(viewer, row)
            publication_panels.draw_causes(viewer, row, publication_queries.causes(shop, scope, number))

    now()


def draw_cause(viewer: people.Viewer, row: Row, cause: str) -> None:
    """The products that wait for one cause."""
    st.button("All of Shopify", key="back", type="tertiary", icon=":material/arrow_back:", on_click=leave_cause)
    after = position()
    with components.panel("shopify-cause"):
        number = row["connection_id"]
        page = publication_queries.waiting(viewer.shop.id, viewer.person.scope, number, cause, after)
        publication_panels.draw_cause(viewer, row, cause, page, go_on, after is not None)


def draw() -> None:
    """One cause, where the address names it; else all of them."""
    viewer = people.viewer()
    with components.panel("shopify"):
        found = publication_queries.connections(viewer.shop.id, viewer.person.scope)
        if not found:
            draw_none()
            return
        row = choose(found)
        cause = st.query_params.get("cause")
        components.places(
            None if cause else partial(draw_all, viewer, row["connection_id"]),
            partial(draw_cause, viewer, row, cause) if cause else None,
        )


draw()
