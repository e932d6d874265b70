"""One identifier: what it is, whose it may be and why, what hangs on it, and everything that was ever answered."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import BadInput
from core.identity.queries import Suggestion
from core.identity.rules import Identifier, identifier
from dashboard import (
    components,
    formats,
    mapping_dialogs,
    mapping_queries,
    mapping_words,
    people,
)

Row = dict[str, Any]

_SCREENS = Path(__file__).parent / "screens"
LIST = _SCREENS / "mapping.py"
LISTINGS_MAX = 20


def asked() -> Identifier | None:
    """The identifier that the address names; None where it names none, or what is none."""
    number = formats.number(st.query_params.get("of", ""))
    if number is None or "value" not in st.query_params:
        return None
    try:
        return identifier(number, st.query_params.get("kind", ""), st.query_params["value"])
    except BadInput:
        return None


def draw(viewer: people.Viewer, one: Identifier) -> None:
    """The page of one identifier."""
    st.page_link(LIST, label="All identifiers", icon=":material/arrow_back:", query_params=viewer.where())
    with components.panel("identifier"):
        with st.skeleton(height=360):
            found = mapping_queries.backlog(viewer.shop.id, viewer.person.scope)
            connection = next((row for row in found if row["connection_id"] == one.connection_id), None)
            story = mapping_queries.story(viewer.shop.id, one) if connection is not None else None
            suggestions = (
                mapping_queries.suggestions(viewer.shop.id, viewer.person.scope, one) if story is not None else []
            )
        if connection is None or story is None:
            components.empty("There is no such connection", "Choose one of those on the list of identifiers.")
            return
        about = _draw_head(viewer, one, connection, story)
        _draw_whose(viewer, one, about, story, suggestions)
        _draw_search(viewer, one, about, story)
        _draw_hangs(viewer, story, connection["as_of"])
        _draw_history(viewer, story, connection["as_of"])


# --- what it is -------------------------------------------------------------------------------------------------------


def _draw_head(viewer: people.Viewer, one: Identifier, connection: Row, story: mapping_queries.Story) -> str:
    """What it is and how it stands; returns it in one line, for dialogs."""
    word = mapping_words.kind(one.kind, connection["vendor"])
    value = mapping_words.shown_value(one.kind, one.value)
    zone, as_of = viewer.shop.zone, connection["as_of"]
    components.title(value, f"{word} on {connection['connection']}", formats.as_of(as_of, zone))
    living, waits = story.living, story.waits
    title = (waits or {}).get("title") or ""
    if living is not None and living["is_ours"]:
        st.markdown(
            f"{formats.badge('in_step', 'Mapped')} It is **{formats.plain(living['code'])}**, "
            f"{formats.plain(living['title'])}."
        )
    elif living is not None:
        st.markdown(f"{formats.badge('paused', 'Set aside')} It is not ours: its orders take no stock.")
    elif waits is not None:
        st.markdown(f"{formats.badge(waits['state'])} {formats.sentence(mapping_words.reason(waits))}")
        st.caption(formats.plain(mapping_words.hangs(waits, zone, as_of)))
    else:
        st.markdown(f"{formats.badge('unknown', 'Not told')} No listing and no order names it so far.")
    facts = mapping_words.facts(waits, connection["vendor"]) if waits is not None else []
    if facts:
        components.figures([(escape(fact), name) for name, fact in facts])
    about = f"**{formats.plain(value)}**, {word} on {formats.plain(connection['connection'])}"
    return f"{about}: {formats.plain(title)}" if title else about


# --- whose it is ------------------------------------------------------------------------------------------------------


def _draw_whose(
    viewer: people.Viewer,
    one: Identifier,
    about: str,
    story: mapping_queries.Story,
    suggestions: Sequence[Suggestion],
) -> None:
    """Every suggestion with its reasons, and its button."""
    living = story.living
    if living is not None and not living["is_ours"]:
        if st.button("Take back…", key="take-back", type="primary", icon=":material/undo:"):
            mapping_dialogs.take_back(viewer, one, about)
        return
    now = living["code"] if living is not None else None
    back = _before(story)
    if now is not None and back is not None:
        with components.card("unknown", "undo-remap"):
            with st.container(width="stretch"):
                st.markdown(f"It was **{formats.plain(back)}** until it was mapped to {formats.plain(now)}.")
            with st.container(width="content"):
                if st.button(f"Map back to {formats.plain(back)}…", key="map-back", icon=":material/undo:"):
                    mapping_dialogs.remap_to(viewer, one, about, back)
    others = [each for each in suggestions if each.code not in (now, back)]
    st.subheader("Whose it may be" if now is None else "Whose else it may be", anchor="whose")
    if not others:
        st.caption("No SKU is like it by code, barcode, label, product page or title: look for it below.")
    for place, each in enumerate(others):
        with st.container(
            border=True, key=f"item-suggestion-{place}", horizontal=True, horizontal_alignment="distribute",
            vertical_alignment="center",
        ):  # fmt: skip
            with st.container(width="stretch", gap="xxsmall"):
                st.markdown(f"**{formats.plain(each.code)}** {formats.plain(each.title)}")
                components.html(mapping_words.reasons(each))
            with st.container(width="content"):
                _map_button(viewer, one, about, each.code, now, f"whose-{place}", place == 0 and now is None)
    if now is None:
        with st.container(horizontal=True, key="identifier-acts"):
            if st.button("Not ours…", key="not-ours", icon=":material/block:"):
                mapping_dialogs.set_aside(viewer, one, about)


def _before(story: mapping_queries.Story) -> str | None:
    """The SKU that it was last, where somebody mapped it to another one."""
    living = story.living
    past = [row["code"] for row in story.answers if not row["is_living"] and row["is_ours"]]
    return past[0] if past and living is not None and past[0] != living["code"] else None


def _map_button(
    viewer: people.Viewer, one: Identifier, about: str, code: str, now: str | None, key: str, is_first: bool
) -> None:
    if st.button(f"Map to {formats.plain(code)}…", key=f"map-{key}", type="primary" if is_first else "secondary"):
        if now is None:
            mapping_dialogs.map_to(viewer, one, about, code)
        else:
            mapping_dialogs.remap_to(viewer, one, about, code)


def _draw_search(viewer: people.Viewer, one: Identifier, about: str, story: mapping_queries.Story) -> None:
    """Any other SKU, by code, barcode or a part of its title."""
    living = story.living
    if living is not None and not living["is_ours"]:
        return
    now = living["code"] if living is not None else None
    st.subheader("Map to another SKU" if now else "Choose another SKU", anchor="choose")
    text = st.text_input(
        "Find a SKU by code, barcode or title",
        type="search",
        key="sku",
        bind="query-params",
        placeholder="Code, barcode or a part of the title",
        icon=":material/search:",
        label_visibility="collapsed",
        width=380,
    )
    wanted = (text or "").strip()
    if not wanted:
        return
    found = [row for row in mapping_queries.find_skus(viewer.shop.id, wanted) if row["code"] != now]
    if not found:
        st.caption(f"No SKU has “{formats.plain(wanted)}” in its title, and none has a code that begins with it.")
    for row in found:
        key = formats.key(row["code"])
        with st.container(
            border=True, key=f"item-found-{key}", horizontal=True, horizontal_alignment="distribute",
            vertical_alignment="center",
        ):  # fmt: skip
            with st.container(width="stretch", gap="xxsmall"):
                st.markdown(f"**{formats.plain(row['code'])}** {formats.plain(row['title'])}")
                barcode = f" · barcode {row['barcode']}" if row["barcode"] else ""
                components.html(
                    f'<div class="sy-meta">{escape(formats.count(row["available"]))} available{escape(barcode)}</div>'
                )
            with st.container(width="content"):
                _map_button(viewer, one, about, row["code"], now, f"found-{key}", False)


# --- what hangs on it -------------------------------------------------------------------------------------------------


def _draw_hangs(viewer: people.Viewer, story: mapping_queries.Story, as_of: Any) -> None:
    """Its listings, and the order lines that wait for it."""
    st.subheader("What hangs on it", anchor="hangs")
    if not story.listings and not story.parked:
        st.caption("No listing there has it, and no order waits for it.")
    if story.listings:
        body = [
            (
                f'<span class="sy-code">{escape(row["channel_ref"])}</span>',
                escape(row["channel_code"] or formats.UNKNOWN),
                escape(row["location"] or formats.UNKNOWN),
                _sku_link(viewer, row["code"]),
                components.number(row["published_units"]),
                escape("yes" if row["publishing"] == "on" else "no"),
            )
            for row in story.listings[:LISTINGS_MAX]
        ]
        heads = [("Listing", False), ("Code there", False), ("Place", False), ("SKU", False), ("Shows", True),
                 ("Written", False)]  # fmt: skip
        components.table(heads, body, "Listings that have this identifier", dense=True)
        if len(story.listings) > LISTINGS_MAX:
            st.caption(f"The first {LISTINGS_MAX} of {formats.count(len(story.listings))}.")
    if story.parked:
        rows = [
            (
                components.link("orders", row["order_name"], viewer.where(order=str(row["order_id"]))),
                escape(row["title"]),
                components.number(row["units"]),
                components.when(row["placed_at"], as_of, viewer.shop.zone),
                escape(row["mapping_reason"] + ("; cancelled since" if row["cancelled_at"] else "")),
            )
            for row in story.parked
        ]
        heads = [("Order", False), ("Title", False), ("Units", True), ("Placed", False), ("Why it waits", False)]
        components.table(heads, rows, "Order lines that wait for this identifier")
        total = story.waits["parked_lines"] if story.waits else len(story.parked)
        if total > len(story.parked):
            st.caption(f"The oldest {formats.count(len(story.parked))} of {formats.count(total)}.")


def _sku_link(viewer: people.Viewer, code: str | None) -> str:
    if code is None:
        return f'<span class="sy-muted">{formats.UNKNOWN}</span>'
    return components.link("skus", code, viewer.where(sku=code))


# --- history ----------------------------------------------------------------------------------------------------------


def _draw_history(viewer: people.Viewer, story: mapping_queries.Story, as_of: Any) -> None:
    """Who said what when, and why; the newest first."""
    st.subheader("History", anchor="history")
    if not story.answers:
        st.caption("Nobody has answered yet. Every answer is kept here, with who, when and why.")
        return
    items = "".join(_item(row, viewer.shop.zone, as_of) for row in story.answers)
    components.html(f'<ol class="sy-timeline">{items}</ol>')


def _item(row: Row, zone: str, as_of: Any) -> str:
    what = f"Is {row['code']}" if row["is_ours"] else "Not ours"
    look = "ok" if row["is_living"] else "quiet-past"
    ended = (
        f'<div class="sy-meta">ended {escape(formats.moment(row["ended_at"], as_of, zone))} by '
        f"{escape(row['ended_by'])}: {escape(row['end_reason'])}</div>"
        if row["ended_at"]
        else ""
    )
    return (
        f'<li class="sy-is-{look}">{components.when(row["mapped_at"], as_of, zone)}'
        f"<b>{escape(what)}</b><span>{escape(mapping_words.source(row['source']))} · {escape(row['mapped_by'])}: "
        f"{escape(row['reason'])}{ended}</span></li>"
    )
