"""What a connection does, in full: its quota and by whom, what it calls us for, its versions, errors, and what it
guarantees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import (
    amazon_panels,
    calls,
    charts,
    components,
    connection_charts,
    connection_queries,
    connection_words,
    formats,
    people,
    queries,
    theme,
)
from dashboard.connection_queries import WINDOWS

Row = Mapping[str, Any]

_SCREENS = Path(__file__).parent / "screens"
_WINDOW = "6 h"


@st.fragment(run_every="30s", key="connection-panels")
def draw(number: int) -> None:
    """Looked at again every thirty seconds."""
    viewer = people.viewer()
    found = queries.connections(viewer.shop.id, viewer.person.scope)
    row = next((each for each in found if each["connection_id"] == number), None)
    if row is None:
        return
    with components.panel("connection-quota"):
        draw_quota(viewer, row)
    with components.panel("connection-subscriptions"):
        draw_subscriptions(viewer, number)
    if row["vendor"] == "amazon":
        amazon_panels.draw(viewer, row)
    with components.panel("connection-versions"):
        draw_versions(viewer, row)
    with components.panel("connection-errors"):
        draw_errors(viewer, row)
    with components.panel("connection-promise"):
        draw_promise(viewer, row)


# --- quota ------------------------------------------------------------------------------------------------------------


def draw_quota(viewer: people.Viewer, row: Row) -> None:
    """What was used of the quota over the last hours, and by whom."""
    st.subheader("Quota, and who used it", anchor="quota")
    chosen = st.segmented_control(
        "How far back", list(WINDOWS), key="window", default=_WINDOW, required=True, bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    window = chosen or _WINDOW
    with st.skeleton(height=connection_charts.HEIGHT):
        used = connection_queries.quota(viewer.shop.id, viewer.person.scope, row["connection_id"], WINDOWS[window])
    by_purpose = used.by_purpose()
    if not by_purpose:
        components.empty(connection_words.used([], window), "Look further back, or test it: a test is a call.")
        return
    with st.container(border=True, key="connection-quota"):
        st.markdown(formats.plain(connection_words.used(by_purpose, window)))
        st.plotly_chart(
            connection_charts.quota(used, WINDOWS[window], theme.tokens(), viewer.shop.zone),
            theme=None, key="quota", config=charts.CONFIG, alt=connection_charts.quota_says(used),
        )  # fmt: skip
        _draw_purposes(by_purpose)


def _draw_purposes(rows: Sequence[Row]) -> None:
    unit = str(rows[0]["unit"])
    meters = connection_charts.shares(rows)
    body = [
        (
            f"<b>{escape(connection_words.purpose(row['purpose']))}</b>",
            f'<span class="sy-meter sy-plain" aria-hidden="true"><i style="width:{meter}%"></i></span>'
            f'<span class="sy-digits">{components.number(round(row["points"]))}</span>',
            components.number(row["calls"]),
            components.number(row["throttled"]),
            f'<span class="sy-meta">{escape(row["purpose"])}</span>',
        )
        for row, meter in zip(rows, meters, strict=True)
    ]
    heads = [("Used for", False), (unit.capitalize(), True), ("Calls", True), ("Told to wait", True), ("Job", False)]
    components.table(heads, body, "What the quota was used for, dearest first", dense=True)


# --- what it calls us for ---------------------------------------------------------------------------------------------


def draw_subscriptions(viewer: people.Viewer, number: int) -> None:
    """Each topic: whether it stands, when that was looked at, when something last came, what was repaired."""
    rows = connection_queries.subscriptions(viewer.shop.id, viewer.person.scope, number)
    st.subheader("What it calls us for", anchor="subscriptions")
    if not rows:
        st.caption(connection_words.subscriptions(rows))
        return
    st.caption(
        f"{connection_words.subscriptions(rows)} Looked at every {connection_words.checked_every()}; one that is gone "
        "is made again. Whatever it does not tell is found by asking."
    )
    zone = viewer.shop.zone
    body = [
        (
            f"<b>{escape(row['topic'])}</b>",
            components.pill(row["state"]),
            components.when(row["last_came_at"], row["as_of"], zone),
            components.when(row["checked_at"], row["as_of"], zone),
            escape(connection_words.repairs(row, zone)),
        )
        for row in rows
    ]
    heads = [
        ("Topic", False),
        ("State", False),
        ("Last came", False),
        ("Looked at", False),
        ("Gone and repaired", False),
    ]
    components.table(heads, body, "Topics that it calls us for", dense=True)


# --- versions ---------------------------------------------------------------------------------------------------------


def draw_versions(viewer: people.Viewer, row: Row) -> None:
    """Which version of its API answers and how long yet, and what it warns of."""
    number, zone = row["connection_id"], viewer.shop.zone
    known = connection_queries.versions(viewer.shop.id, viewer.person.scope).get(number)
    warned = connection_queries.deprecations(viewer.shop.id, viewer.person.scope, number)
    state, said = connection_words.version(known, row["vendor"], row["as_of"], zone)
    st.subheader("API version, and what it will end", anchor="versions")
    word = {"ok": "Supported", "attention": "Ends"}.get(state, "Unknown")
    if known and known["fell_forward"]:
        word = "Fell forward"
    st.markdown(f"{formats.badge(state, word)} {formats.plain(said)}")
    if not warned:
        st.caption("It has warned of nothing that it will take away.")
        return
    body = [
        (
            escape(each["deprecation"]),
            escape(", ".join(each["operations"])),
            components.number(each["calls"]),
            components.when(each["last_at"], each["as_of"], zone),
        )
        for each in warned
    ]
    heads = [("It will end", False), ("We asked for it in", False), ("Times", True), ("Last", False)]
    components.table(heads, body, "What it warns that it will take away")


# --- errors -----------------------------------------------------------------------------------------------------------


def draw_errors(viewer: people.Viewer, row: Row) -> None:
    """What did not succeed of late, in words, each with what to do."""
    number, zone = row["connection_id"], viewer.shop.zone
    found = connection_queries.errors(viewer.shop.id, viewer.person.scope, number)
    operations = calls.operations(viewer.shop.id, viewer.person.scope)
    st.subheader("What went wrong last", anchor="errors")
    if not found:
        st.caption("Every call that is on record succeeded; calls are kept for ninety days.")
        return
    body = []
    for each in found:
        is_over = connection_queries.is_over(each, operations, number)
        status = f"status {each['status']}" if each["status"] is not None else "no answer"
        opened = components.link("calls", each["operation"], viewer.where(call=str(each["last_id"])))
        times = "once" if each["calls"] == 1 else f"{formats.count(each['calls'])} times"
        body.append(
            (
                f'{components.when(each["last_at"], each["as_of"], zone)}<div class="sy-meta">{escape(times)}</div>',
                f'{opened}<div class="sy-meta">{escape(status)}</div>',
                components.pill("ended" if is_over else each["outcome"]),
                escape(connection_words.came_back(each)),
                escape(connection_words.next_step(each, is_over)),
            )
        )
    heads = [
        ("Last", False),
        ("Asked for", False),
        ("Outcome", False),
        ("What came back", False),
        ("What to do", False),
    ]
    with st.container(key="connection-errors"):
        components.table(heads, body, "What did not succeed last, and what to do about it")
    st.page_link(
        _SCREENS / "calls.py", label="Every call that did not succeed", icon=":material/swap_horiz:",
        query_params=viewer.where(connection=str(row["name"]), show="Did not succeed"),
    )  # fmt: skip


# --- what it guarantees, and what happens past us ---------------------------------------------------------------------


def draw_promise(viewer: people.Viewer, row: Row) -> None:
    """The guarantee class in words, and what people did there that may break it."""
    shop, scope, number = viewer.shop.id, viewer.person.scope, row["connection_id"]
    able, promise = connection_words.PROMISES[row["guarantee_class"]]
    acts = {act["kind"]: act for act in connection_queries.acts(shop, scope, number)}
    edits = connection_queries.unexplained(shop, scope, number)
    st.subheader("What it guarantees, and what happens past us", anchor="guarantee")
    with st.container(border=True, key="connection-guarantee"):
        st.markdown(f"{formats.badge('ok', 'Class ' + row['guarantee_class'])} **{able}** {promise}")
        components.figures(
            [
                (components.number(row["listings"]), "listings"),
                (components.number(row["listings_in_step"]), "in step"),
                (components.number(row["listings_refused"]), "refused"),
                (components.number(row["listings_off"]), "not written by us"),
            ]
        )
        st.caption(
            "It holds while nobody else writes quantities by a program. What people do there is no fault, but may "
            f"break it, so it is counted. Over the last {connection_queries.ACTS_DAYS} days:"
        )
        body = [
            (
                f"<b>{escape(name)}</b>",
                components.number(acts[kind]["acts"] if kind in acts else 0),
                escape(connection_words.last_day(acts.get(kind), row["as_of"], viewer.shop.zone)),
                escape(connection_words.act(kind, acts.get(kind), edits)),
            )
            for kind, name in connection_words.ACTS.items()
        ]
        heads = [("Done there by people", False), ("Times", True), ("Last", False), ("What that means here", False)]
        components.table(heads, body, "What people did at the channel besides us")
