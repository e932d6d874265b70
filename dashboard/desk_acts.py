"""The acts of the Desk that scan: receive, adjust, transfer, take back, expect. Scan, look, confirm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from html import escape
from typing import Any
from uuid import uuid4

import streamlit as st

from core.clock import utc_now
from core.desk import documents, operations
from core.desk.booking import Item, Outcome
from dashboard import components, desk_dialogs, desk_queries, desk_words, formats, people
from dashboard.desk_basket import Basket, Line, order_line, plain_line
from dashboard.desk_dialogs import Asked

NO_DOCUMENT = "Nothing in particular"


def places() -> Mapping[int, str]:
    """The shop's locations."""
    viewer = people.viewer()
    return desk_queries.locations(viewer.shop.id, viewer.person.scope)


def pick_place(label: str, key: str, found: Mapping[int, str], index: int = 0) -> int:
    """Choose a location, by name."""
    chosen = st.selectbox(label, list(found), index=index, format_func=found.__getitem__, key=key, width=240)
    return int(chosen)


def draw_no_place() -> None:
    """Nothing can lie anywhere yet."""
    components.empty("There is no location yet", "Connect a channel: its place becomes the first location.")


def _confirm(basket: Basket, label: str, asked: Callable[[list[Item]], Asked]) -> None:
    """The buttons under a basket."""
    is_empty = not basket.lines
    with st.container(horizontal=True, horizontal_alignment="left", key=f"confirm-{basket.act}"):
        go = st.button(label, type="primary", key=f"go-{basket.act}", disabled=is_empty)
        st.button("Clear", key=f"clear-{basket.act}", type="tertiary", disabled=is_empty, on_click=basket.clear)
    if go:
        desk_dialogs.ask(asked(basket.items))


def draw_receive(viewer: people.Viewer) -> None:
    """Goods that came, of a purchase order, a transfer or nothing in particular."""
    found = places()
    if not found:
        draw_no_place()
        return
    basket = Basket("receive")
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters-receive"):
        place = pick_place("Location", "receive-place", found)
        chosen = st.session_state.get("receive-of")
        sources = desk_queries.coming_to(viewer.shop.id, viewer.person.scope, place, chosen)
        words = {None: NO_DOCUMENT, **{row["document_id"]: source_word(row) for row in sources}}
        against = st.selectbox("Of", list(words), format_func=words.__getitem__, key="receive-of", width=300)
        reference = st.text_input("Delivery note", key="receive-ref", width=200, placeholder="optional")
    basket.draw_scan(plain_line(basket))
    if against is not None:
        _draw_outstanding(viewer, basket, int(against))
    basket.draw_lines()
    shop = viewer.shop.id
    key = basket.key

    def asked(items: list[Item]) -> Asked:
        return Asked(
            f"Receive at {found[place]}?",
            ":material/input:",
            lambda conn, actor: operations.receive(
                conn, shop, place, items, key, actor, utc_now(), against_id=against, reference=reference or None
            ),
            "The morning’s delivery",
            after=lambda _done: basket.clear(),
        )

    _confirm(basket, "Receive…", asked)


def source_word(row: Mapping[str, Any]) -> str:
    """What a purchase order or transfer is offered as."""
    said = f"{desk_words.name(row['kind'], row['document_id'])}, {row['outstanding_units']:,} to come"
    return f"{said}, {row['reference']}" if row["reference"] else said


def _draw_outstanding(viewer: people.Viewer, basket: Basket, document_id: int) -> None:
    def fill() -> None:
        for row in desk_queries.lines(viewer.shop.id, document_id, limit=100).rows:
            if row["outstanding_units"]:
                basket.add(Line(row["code"], row["title"], row["outstanding_units"]))

    st.button(
        "Fill in all that is still to come", key="receive-fill", icon=":material/playlist_add:", on_click=fill,
        disabled=bool(basket.lines),
    )  # fmt: skip


def draw_adjust(viewer: people.Viewer) -> None:
    """What is on hand, put right by a signed number, with a reason."""
    found = places()
    if not found:
        draw_no_place()
        return
    basket = Basket("adjust", lowest=-1_000_000)
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters-adjust"):
        place = pick_place("Location", "adjust-place", found)
        way = st.segmented_control(
            "Each scan", ["Takes one off", "Adds one"], default="Takes one off", required=True, key="adjust-way"
        )
    basket.draw_scan(plain_line(basket, units=-1 if way != "Adds one" else 1))
    basket.draw_lines()
    shop, key = viewer.shop.id, basket.key

    def asked(items: list[Item]) -> Asked:
        kept = [item for item in items if item.units]
        return Asked(
            f"Adjust stock at {found[place]}?",
            ":material/exposure:",
            lambda conn, actor: operations.adjust(conn, shop, place, kept, key, actor, utc_now()),
            "Broken on the shelf",
            after=lambda _done: basket.clear(),
        )

    _confirm(basket, "Adjust…", asked)


def draw_transfer(viewer: people.Viewer) -> None:
    """What is to go from one location to another; it is sent from its own page."""
    found = places()
    if len(found) < 2:
        components.empty("There is only one location", "A transfer needs a second one to go to.")
        return
    basket = Basket("transfer")
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters-transfer"):
        source = pick_place("From", "transfer-from", found)
        target = pick_place("To", "transfer-to", found, index=1)
    basket.draw_scan(plain_line(basket))
    basket.draw_lines()
    shop, key = viewer.shop.id, basket.key

    def after(done: Outcome) -> None:
        basket.clear()
        st.query_params["document"] = str(done.document_id)

    def asked(items: list[Item]) -> Asked:
        return Asked(
            f"Draft a transfer from {found[source]} to {found[target]}?",
            ":material/local_shipping:",
            lambda conn, actor: documents.draft_transfer(conn, shop, source, target, items, key, actor, utc_now()),
            "To fill up the shop",
            about=["Nothing moves until it is sent, on the transfer’s own page."],
            after=after,
            is_undoable=False,
        )

    _confirm(basket, "Draft…", asked)


def draw_order(viewer: people.Viewer) -> None:
    """What was ordered from a supplier and when it should come: incoming until it does."""
    found = places()
    if not found:
        draw_no_place()
        return
    basket = Basket("order")
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters-order"):
        place = pick_place("Location", "order-place", found)
        day: date | None = st.date_input("Expected on", value=None, key="order-day", width=160)
        reference = st.text_input("Order number or supplier", key="order-ref", width=220, placeholder="optional")
    basket.draw_scan(plain_line(basket))
    basket.draw_lines()
    shop, key = viewer.shop.id, basket.key

    def asked(items: list[Item]) -> Asked:
        return Asked(
            f"Expect this at {found[place]}?",
            ":material/event_upcoming:",
            lambda conn, actor: documents.order_goods(
                conn, shop, place, items, key, actor, utc_now(), expected_on=day, reference=reference or None
            ),
            "Ordered by phone",
            about=["It is incoming, and not for sale, until it is received."],
            after=lambda _done: basket.clear(),
        )

    _confirm(basket, "Expect…", asked)


def draw_return(viewer: people.Viewer) -> None:
    """Goods that customers sent back: of an order, so that no more comes back than left, or of none."""
    found = places()
    if not found:
        draw_no_place()
        return
    basket = Basket("return")
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters-return"):
        order = st.text_input(
            "Order", key="order", bind="query-params", placeholder="such as #1042, or none", width=200
        )
        place = pick_place("Location", "return-place", found)
        what = st.segmented_control(
            "What becomes of it", list(desk_words.DISPOSITIONS), default="Restock", required=True, key="return-what"
        )
    disposition = desk_words.DISPOSITIONS[what or "Restock"]
    sold = desk_queries.sold_lines(viewer.shop.id, order.strip()) if order and order.strip() else []
    if order and order.strip() and not sold:
        st.error(f"There is no order {formats.plain(order.strip())} with goods of ours.", icon=":material/error:")
    make = order_line(basket, sold, disposition) if sold else plain_line(basket, disposition)
    basket.draw_scan(make)
    if sold:
        _draw_sold(sold)
    basket.draw_lines()
    homes = {line.location_id for line in sold if line.location_id is not None}
    at = homes.pop() if len(homes) == 1 else place
    shop, key = viewer.shop.id, basket.key

    def asked(items: list[Item]) -> Asked:
        return Asked(
            f"Take back at {found.get(at, '')}?",
            ":material/assignment_return:",
            lambda conn, actor: operations.take_back(conn, shop, at, items, key, actor, utc_now()),
            "Did not fit",
            after=lambda _done: basket.clear(),
        )

    _confirm(basket, "Take back…", asked)


def _draw_sold(sold: Sequence[Any]) -> None:
    """The order's lines: what left, what came back, what can."""
    body = [
        [
            f"<b>{escape(line.code)}</b> {escape(line.title)}",
            components.number(line.shipped_units),
            components.number(line.taken_back_units),
            components.number(line.returnable_units),
        ]
        for line in sold[:50]
    ]
    first = sold[0]
    st.caption(
        f"Order {formats.plain(first.order_name)} of {formats.plain(first.connection)}; "
        f"it goes back to {formats.plain(first.location or '')}, where it left from."
    )
    heads = [("SKU", False), ("Left", True), ("Came back", True), ("Can come back", True)]
    components.table(heads, body, f"Lines of order {first.order_name}", dense=True)


def draw_quarantine(viewer: people.Viewer) -> None:
    """What is kept apart, and its way out: for sale again, or gone."""
    place, mark, code = st.query_params.get("after", "").partition("~")
    is_here = st.query_params.get("of") == "quarantine" and bool(mark) and place.isdecimal() and len(place) < 18
    page = desk_queries.quarantine(viewer.shop.id, viewer.person.scope, (code, int(place)) if is_here else None)
    if not page.rows:
        components.empty("Nothing is in quarantine", "Returns that somebody must look at first wait here.")
        return
    for row in page.rows:
        with components.card("attention", f"apart-{row['code']}-{row['location_id']}"):
            st.markdown(
                f"**{formats.plain(row['code'])}** {formats.plain(row['title'])}: "
                f"**{formats.plural(row['units'], 'unit')}** kept apart in {formats.plain(row['location'])}",
                width="stretch",
            )
            with st.container(horizontal=True, width="content"):
                name = f"{row['code']}-{row['location_id']}"
                units = st.number_input(
                    f"Units of {row['code']} in {row['location']}", min_value=1, max_value=row["units"],
                    value=row["units"], key=f"apart-units-{name}", label_visibility="collapsed", width=130,
                )  # fmt: skip
                for word, value in (("Restock…", "restock"), ("Write off…", "write_off")):
                    if st.button(word, key=f"{value}-{name}"):
                        _ask_release(viewer, row, int(units), value)
    if page.more:
        last = page.rows[-1]
        components.open_here("More", "quarantine-more", of="quarantine", after=f"{last['location_id']}~{last['code']}")


def _ask_release(viewer: people.Viewer, row: Mapping[str, Any], units: int, disposition: str) -> None:
    shop, place = viewer.shop.id, row["location_id"]
    items = [Item(row["code"], units, disposition)]
    key = st.session_state.setdefault(f"release-key-{row['code']}-{place}", f"form:{uuid4().hex}")

    def after(_done: Outcome) -> None:
        st.session_state.pop(f"release-key-{row['code']}-{place}", None)
        st.session_state.pop(f"apart-units-{row['code']}-{place}", None)

    word = "Restock" if disposition == "restock" else "Write off"
    desk_dialogs.ask(
        Asked(
            f"{word} {formats.plural(units, 'unit')} of {row['code']}?",
            ":material/healing:" if disposition == "restock" else ":material/delete:",
            lambda conn, actor: operations.release_quarantine(conn, shop, place, items, key, actor, utc_now()),
            "Looked at: as new" if disposition == "restock" else "Cannot be sold again",
            verb=f"{word} {formats.plural(units, 'unit')}",
            after=after,
        )
    )
