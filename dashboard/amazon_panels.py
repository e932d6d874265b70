"""What a connection to Amazon has that no other has: feeds, its queue, a quota for each operation, stock it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import amazon_queries, amazon_words, call_words, components, formats, people

Row = Mapping[str, Any]

_SCREENS = Path(__file__).parent / "screens"


def draw(viewer: people.Viewer, row: Row) -> None:
    """Each part by itself: what cannot be read of one keeps no other from being shown."""
    number = row["connection_id"]
    with components.panel("connection-feeds"):
        draw_feeds(viewer, number)
    with components.panel("connection-queue"):
        draw_queue(viewer, number)
    with components.panel("connection-operations"):
        draw_operations(viewer, row)
    with components.panel("connection-orders"):
        draw_orders(viewer, number)
    with components.panel("connection-place"):
        draw_places(viewer, row)


# --- feeds and their reports ------------------------------------------------------------------------------------------


def draw_feeds(viewer: people.Viewer, number: int) -> None:
    """The newest feeds: where each stands, what its report said, and why that road was taken."""
    found = amazon_queries.feeds(viewer.shop.id, viewer.person.scope, number)
    st.subheader("Feeds, and what their reports said", anchor="feeds")
    state, said = amazon_words.feeds(found)
    st.markdown(f"{formats.badge(state)} {said}")
    if not found:
        return
    st.caption(
        "Few quantities go one by one, many in a feed; what goes down or to zero never waits behind one. What a report "
        "accepts counts only once the listing shows it."
    )
    body = [
        (
            f"<b>{escape(amazon_words.name(each))}</b>"
            f'<div class="sy-meta">{components.when(each["planned_at"], each["as_of"], viewer.shop.zone)}</div>',
            f'{components.pill(each["state"])}<div class="sy-meta">{escape(amazon_words.age(each))}</div>',
            components.number(each["messages"]),
            escape(amazon_words.report(each)),
            _shown(each),
            _because(each),
        )
        for each in found
    ]
    heads = [("Feed", False), ("State", False), ("Messages", True), ("Report", False), ("In force", False),
             ("Why this road, and what was wrong", False)]  # fmt: skip
    with st.container(key="connection-feeds"):
        components.table(heads, body, "The newest feeds", dense=True)
    if len(found) == amazon_queries.FEEDS_MAX:
        st.caption(f"The newest {amazon_queries.FEEDS_MAX}.")


def _shown(each: Row) -> str:
    text = escape(amazon_words.shown(each))
    return f'<span class="sy-warn">{text}</span>' if each["unshown_writes"] else text


def _because(each: Row) -> str:
    text = escape(f"{each['because'][:1].upper()}{each['because'][1:]}")
    return f"{text}<div><b>{escape(each['reason'])}</b></div>" if each["reason"] else text


# --- notifications ----------------------------------------------------------------------------------------------------


def draw_queue(viewer: people.Viewer, number: int) -> None:
    """The queue, when it was read, and what came through it."""
    shop, scope, zone = viewer.shop.id, viewer.person.scope, viewer.shop.zone
    found = amazon_queries.mailbox(shop, scope, number)
    topics = amazon_queries.notices(shop, scope, number) if found is not None else []
    st.subheader("Notifications, and the queue they come through", anchor="queue")
    state, said = amazon_words.mailbox(found, zone)
    st.markdown(f"{formats.badge(state, 'No queue' if found is None else None)} {said}")
    if found is None or not topics:
        return
    body = [
        (
            f"<b>{escape(each['topic'])}</b>",
            components.number(each["messages_day"]),
            escape(f"in the hour from {formats.moment(each['last_hour_at'], found['as_of'], zone)}"),
        )
        for each in topics
    ]
    components.table([("Type", False), ("Messages, 24 h", True), ("Last", False)], body, "Messages by type")


# --- quota ------------------------------------------------------------------------------------------------------------


def draw_operations(viewer: people.Viewer, row: Row) -> None:
    """A quota for each operation: how often it was asked for, what was said of it, whether it said to wait."""
    found = amazon_queries.operations(viewer.shop.id, viewer.person.scope, row["connection_id"])
    st.subheader("Quota by operation, over the last hour", anchor="operations")
    if not found:
        st.caption("Nothing was asked of it in the last hour.")
        return
    throttled = sum(each["throttled"] for each in found)
    asked = sum(each["calls"] for each in found)
    told = f"told to wait {formats.count(throttled)} times" if throttled != 1 else "told to wait once"
    state, word = ("throttled", None) if throttled else ("ok", "Never told to wait")
    st.markdown(
        f"{formats.badge(state, word)} {formats.plural(asked, 'call')} of {formats.plural(len(found), 'operation')}"
        f"{f', {told}' if throttled else ''}. Each operation has a quota of its own, and refills at its own pace."
    )
    body = [
        (
            f"<b>{escape(each['operation'])}</b>",
            components.number(each["calls"]),
            _warned(each["throttled"]),
            escape(call_words.quota(each["quota_left"])),
            components.when(each["last_at"], each["as_of"], viewer.shop.zone),
        )
        for each in found
    ]
    heads = [("Operation", False), ("Calls", True), ("Told to wait", True), ("Its pace", False), ("Last", False)]
    components.table(heads, body, "Operations by calls in the last hour", dense=True)


def _warned(number: int) -> str:
    return f'<span class="sy-warn">{formats.count(number)}</span>' if number else "0"


# --- orders -----------------------------------------------------------------------------------------------------------


def draw_orders(viewer: people.Viewer, number: int) -> None:
    """Up to when its orders are known, and how the asking goes."""
    found = amazon_queries.sweep(viewer.shop.id, viewer.person.scope, number)
    st.subheader("Orders known up to", anchor="orders")
    if found is not None:
        st.markdown(amazon_words.sweep(found, viewer.shop.zone))


# --- stock that it keeps ----------------------------------------------------------------------------------------------


def draw_places(viewer: people.Viewer, row: Row) -> None:
    """Stock in its own warehouses: read and shown, never ours to promise."""
    found = amazon_queries.places(viewer.shop.id, viewer.person.scope, row["connection_id"])
    st.subheader("Stock that it keeps itself", anchor="place")
    if not found:
        st.caption("It keeps none of your stock, or that is not read: “switchyard doctor” says which.")
        return
    st.caption("What lies in Amazon’s warehouses is read and shown; it is never pooled, promised or written by us.")
    body = [
        (
            f"<b>{escape(each['location'])}</b>",
            components.number(each["units"]),
            components.number(each["skus"]),
            components.number(each["listings"]),
            _unmapped(viewer, row, each),
            components.when(each["read_at"], each["as_of"], viewer.shop.zone),
        )
        for each in found
    ]
    heads = [("Place", False), ("Units", True), ("SKUs", True), ("Listings", True), ("Without a SKU", True),
             ("Read", False)]  # fmt: skip
    components.table(heads, body, "Stock at Amazon", dense=True)


def _unmapped(viewer: people.Viewer, row: Row, each: Row) -> str:
    if not each["unmapped"]:
        return "0"
    return components.link("mapping", formats.count(each["unmapped"]), viewer.where(connection=row["name"]))
