"""Whose SKU is it? What nobody knows with its best guess, what is answered, what was set aside, files of answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from core.identity.queries import QueueKey, State
from dashboard import (
    components,
    formats,
    mapping_dialogs,
    mapping_files,
    mapping_page,
    mapping_queries,
    mapping_words,
    people,
    queries,
)

Row = Mapping[str, Any]

_TO_ANSWER, _MAPPED, _ASIDE, _FILES = _PARTS = ("To answer", "Mapped", "Set aside", "Files")
_STATES: Mapping[str, State | None] = {"All": None, "Unmapped": "unmapped", "Ambiguous": "ambiguous"}
_EVERYWHERE = "Every connection"
_BACKLOG_MAX = 20


def first_page() -> None:
    """What is shown changes: begin at its first page."""
    st.query_params.pop("after", None)


def turn(after: str | None) -> Callable[[], None]:
    """A callback that begins the list after a row, or at its beginning again."""

    def go() -> None:
        first_page()
        if after is not None:
            st.query_params["after"] = after

    return go


def clear() -> None:
    """Show everything of this part."""
    first_page()
    st.session_state.update({"state": "All", "connection": _EVERYWHERE, "q": ""})


# --- the top ----------------------------------------------------------------------------------------------------------


def draw_backlog(viewer: people.Viewer, backlog: Sequence[Row]) -> None:
    """How much waits and how much is answered, connection by connection, those that most waits for first."""
    ordered = sorted(backlog, key=lambda row: (-row["parked_units"], -row["unmapped"] - row["ambiguous"]))
    body = [
        (
            components.link("connections", row["connection"], viewer.where(connection=str(row["connection_id"]))),
            components.number(row["unmapped"]),
            components.number(row["ambiguous"]),
            components.number(row["parked_units"]),
            components.number(row["parked_orders"]),
            components.when(row["parked_since"], row["as_of"], viewer.shop.zone),
            components.number(row["mapped"]),
            components.number(row["set_aside"]),
        )
        for row in ordered[:_BACKLOG_MAX]
    ]
    heads = [("Connection", False), ("Nobody’s", True), ("Ambiguous", True), ("Units wait", True), ("Orders", True),
             ("Since", False), ("Mapped", True), ("Set aside", True)]  # fmt: skip
    components.table(heads, body, "Identifiers by connection", dense=True)
    if len(ordered) > _BACKLOG_MAX:
        st.caption(f"The {_BACKLOG_MAX} with most waiting of {formats.count(len(ordered))}.")


def draw_filters(backlog: Sequence[Row]) -> tuple[str, tuple[int, str] | None]:
    """The part, and the connection that it is about; both in the address."""
    names = {row["connection"]: row["connection_id"] for row in backlog}
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        part = st.segmented_control(
            "Show", _PARTS, key="show", default=_TO_ANSWER, required=True, bind="query-params", on_change=first_page,
            label_visibility="collapsed",
        )  # fmt: skip
        chosen = st.selectbox(
            "Connection", [_EVERYWHERE, *names], key="connection", bind="query-params", on_change=first_page,
            label_visibility="collapsed", width=220,
        )  # fmt: skip
    return part or _TO_ANSWER, (names[chosen], chosen) if chosen in names else None


# --- what nobody knows ------------------------------------------------------------------------------------------------


def position() -> QueueKey | None:
    """The row that this page of the queue begins after, from the address: units~connection~kind~value."""
    units, _, rest = st.query_params.get("after", "").partition("~")
    connection, _, rest = rest.partition("~")
    kind, _, value = rest.partition("~")
    first, second = formats.number(units), formats.number(connection)
    return (first, second, kind, value) if first is not None and second is not None and kind and value else None


def draw_queue(viewer: people.Viewer, backlog: Sequence[Row], connection: tuple[int, str] | None) -> None:
    """A page of the queue: each with what hangs on it, its best guess, and what can be done."""
    shop, scope = viewer.shop.id, viewer.person.scope
    word = st.segmented_control(
        "State", list(_STATES), key="state", default="All", required=True, bind="query-params", on_change=first_page,
        label_visibility="collapsed",
    )  # fmt: skip
    with components.panel("mapping-queue"):
        after = position()
        with st.skeleton(height=420):
            page = mapping_queries.queue(
                shop, scope, connection[0] if connection else None, _STATES[word or "All"], after
            )
            guesses = [mapping_queries.suggestions(shop, scope, mapping_words.of_row(row)) for row in page.rows]
        if not page.rows:
            _draw_nothing_waits(backlog, is_filtered=connection is not None or word != "All" or after is not None)
            return
        vendors = {row["connection_id"]: row["vendor"] for row in backlog}
        as_of = backlog[0]["as_of"]
        for place, (row, guess) in enumerate(zip(page.rows, guesses, strict=True)):
            draw_waiting(viewer, row, guess[0] if guess else None, vendors, as_of, place == 0 and after is None)
        if page.more or after is not None:
            last = page.rows[-1]
            key = "~".join(str(last[name]) for name in ("parked_units", "connection_id", "kind", "value"))
            components.pager(
                "queue", turn(None) if after else None, turn(key) if page.more else None, ("Most urgent", "More")
            )


def draw_waiting(
    viewer: people.Viewer,
    row: Row,
    guess: Any,
    vendors: Mapping[int, str],
    as_of: Any,
    is_first: bool,
) -> None:
    """One identifier that nobody knows."""
    one = mapping_words.of_row(row)
    key = formats.key(one.connection_id, one.kind, one.value)
    vendor = vendors.get(one.connection_id, "")
    word = mapping_words.kind(one.kind, vendor)
    value = mapping_words.shown_value(one.kind, one.value)
    about = f"**{formats.plain(value)}**, {word} on {formats.plain(row['connection'])}: {formats.plain(row['title'])}"
    look = "attention" if row["parked_units"] or row["state"] == "ambiguous" else "unknown"
    with components.card(look, f"waiting-{key}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"{formats.badge(row['state'])} **{formats.plain(row['title'] or value)}**")
            components.html(_what(row, word, value, vendor))
            st.caption(formats.plain(mapping_words.hangs(row, viewer.shop.zone, as_of)))
            if row["state"] == "ambiguous":
                st.markdown(formats.sentence(mapping_words.reason(row)))
            if guess is not None:
                st.markdown(f"Most likely **{formats.plain(guess.code)}** {formats.plain(guess.title)}")
                components.html(mapping_words.reasons(guess))
            else:
                st.markdown("No SKU of ours is like it.")
        with st.container(width=190, gap="xsmall", key=f"acts-{key}"):
            if guess is not None and st.button(
                f"Map to {formats.plain(guess.code)}…", key=f"map-{key}", width="stretch",
                type="primary" if is_first else "secondary",
            ):  # fmt: skip
                mapping_dialogs.map_to(viewer, one, about, guess.code)
            if st.button("Choose another…" if guess else "Choose…", key=f"choose-{key}", width="stretch"):
                st.query_params.from_dict(viewer.where(**mapping_words.address(one)))
                st.rerun()
            if st.button("Not ours…", key=f"aside-{key}", type="tertiary", width="stretch"):
                mapping_dialogs.set_aside(viewer, one, about)


def _what(row: Row, word: str, value: str, vendor: str) -> str:
    """What it is in one line: its value, where, and what else names it."""
    facts = mapping_words.facts(row, vendor)
    chips = "".join(f"<span>{escape(name)} {escape(fact)}</span>" for name, fact in facts)
    return (
        f'<div><span class="sy-code">{escape(value)}</span> <span class="sy-muted">{escape(word)} on '
        f"{escape(row['connection'])}</span></div>" + (f'<div class="sy-chips">{chips}</div>' if chips else "")
    )


def _draw_nothing_waits(backlog: Sequence[Row], is_filtered: bool) -> None:
    found = mapping_words.totals(backlog)
    if is_filtered and found.waiting:
        elsewhere = formats.plural(found.waiting, "identifier waits", "identifiers wait")
        components.empty("Nothing waits here", f"{elsewhere} elsewhere.")
        st.button("Show all", key="queue-all", on_click=clear)
        return
    if not found.mapped:
        components.empty(
            "No identifier has been told yet", "They come with a connection’s first sync, and with orders."
        )
        return
    components.empty("Every identifier is known", "What is matched by code or barcode never comes here.")


# --- what is answered -------------------------------------------------------------------------------------------------


def draw_search(placeholder: str) -> str:
    """What is looked for in the table, in the address."""
    text = st.text_input(
        placeholder, type="search", key="q", bind="query-params", placeholder=placeholder, on_change=first_page,
        icon=":material/search:", label_visibility="collapsed", width=380,
    )  # fmt: skip
    return (text or "").strip()


def draw_table(viewer: people.Viewer, backlog: Sequence[Row], connection: tuple[int, str] | None) -> None:
    """What is mapped, the newest first; choosing a row opens it, where it can be mapped to another SKU."""
    text = draw_search("Identifier or SKU, or how it begins")
    with components.panel("mapping-table"):
        after = formats.number(st.query_params.get("after", ""))
        with st.skeleton(height=420):
            page = mapping_queries.table(
                viewer.shop.id, viewer.person.scope, connection[0] if connection else None, text, True, after
            )
        if not page.rows:
            _draw_no_answers(text, connection is not None or after is not None, "Nothing is mapped yet")
            return
        st.caption("The newest first. Choose a row to map it to another SKU, and for its history.")
        _draw_rows(viewer, page.rows, backlog, f"{text}-{connection}-{after}")
        _draw_pager(page, after)


def _draw_rows(viewer: people.Viewer, rows: Sequence[Row], backlog: Sequence[Row], mark: str) -> None:
    as_of, vendors = backlog[0]["as_of"], {row["connection_id"]: row["vendor"] for row in backlog}
    key = f"mapped-{formats.key(mark)}"

    def pick() -> None:
        chosen = st.session_state[key].selection.rows
        if chosen:
            st.query_params.from_dict(viewer.where(**mapping_words.address(mapping_words.of_row(rows[chosen[0]]))))

    config = st.column_config
    st.dataframe(
        {
            "Identifier": [mapping_words.shown_value(row["kind"], row["value"]) for row in rows],
            "SKU": [row["code"] for row in rows],
            "What": [mapping_words.kind(row["kind"], vendors.get(row["connection_id"], "")) for row in rows],
            "Connection": [row["connection"] for row in rows],
            "Said by": [f"{mapping_words.source(row['source'])}: {row['mapped_by']}" for row in rows],
            "Why": [row["reason"] for row in rows],
            "Since": [formats.moment(row["mapped_at"], as_of, viewer.shop.zone) for row in rows],
        },
        hide_index=True, key=key, height="content", on_select=pick, selection_mode="single-row",
        placeholder=formats.UNKNOWN, alt=f"{len(rows)} identifiers with the SKU that each is, the newest first",
        column_config={
            "Identifier": config.TextColumn(pinned=True, width=150),
            "SKU": config.TextColumn(width=110),
            "What": config.TextColumn(width=90),
            "Connection": config.TextColumn(width=110),
            "Said by": config.TextColumn(width=170),
            "Why": config.TextColumn(width=170),
            "Since": config.TextColumn(width=105),
        },
    )  # fmt: skip


def draw_aside(viewer: people.Viewer, backlog: Sequence[Row], connection: tuple[int, str] | None) -> None:
    """What somebody said is not ours, each with the way back."""
    text = draw_search("Identifier, or how it begins")
    with components.panel("mapping-aside"):
        after = formats.number(st.query_params.get("after", ""))
        with st.skeleton(height=240):
            page = mapping_queries.table(
                viewer.shop.id, viewer.person.scope, connection[0] if connection else None, text, False, after
            )
        if not page.rows:
            _draw_no_answers(text, connection is not None or after is not None, "Nothing was set aside")
            return
        for row in page.rows:
            _draw_set_aside(viewer, row, backlog[0]["as_of"])
        _draw_pager(page, after)


def _draw_set_aside(viewer: people.Viewer, row: Row, as_of: Any) -> None:
    one, word = mapping_words.of_row(row), mapping_words.kind(row["kind"])
    value = mapping_words.shown_value(one.kind, one.value)
    with components.card("paused", f"aside-{row['identifier_id']}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"{formats.badge('paused', 'Not ours')} **{formats.plain(value)}** "
                        f"{word} on {formats.plain(row['connection'])}")  # fmt: skip
            components.html(
                f'<div class="sy-meta">{components.when(row["mapped_at"], as_of, viewer.shop.zone)} · '
                f"{escape(row['mapped_by'])}: {escape(row['reason'])}</div>"
            )
        with st.container(width="content", horizontal=True):
            if st.button("Take back…", key=f"back-{row['identifier_id']}", icon=":material/undo:"):
                about = f"**{formats.plain(value)}**, {word} on {formats.plain(row['connection'])}"
                mapping_dialogs.take_back(viewer, one, about)


def _draw_no_answers(text: str, is_filtered: bool, head: str) -> None:
    if not text and not is_filtered:
        components.empty(head, "Every answer is kept with who gave it, when and why.")
        return
    components.empty("No identifier matches", "Upper and lower case count; the beginning is enough.")
    st.button("Show all", key="table-all", on_click=clear)


def _draw_pager(page: mapping_queries.Page, after: int | None) -> None:
    if page.more or after is not None:
        last = str(page.rows[-1]["identifier_id"])
        components.pager(
            "mapped", turn(None) if after is not None else None, turn(last) if page.more else None, ("Newest", "Older")
        )


# --- the page ---------------------------------------------------------------------------------------------------------


def draw_list(viewer: people.Viewer) -> None:
    """The answer, how much waits on each connection, then the part that is asked for."""
    with components.panel("mapping"):
        with st.skeleton(height=200):
            backlog = mapping_queries.backlog(viewer.shop.id, viewer.person.scope)
            as_of = backlog[0]["as_of"] if backlog else queries.database_time()
        answer, rest = mapping_words.headline(mapping_words.totals(backlog))
        components.headline(answer, rest, as_of, viewer.shop.zone)
        if not backlog:
            components.empty("No channel is connected yet", "Identifiers come with the first: “switchyard connect”.")
            return
        draw_backlog(viewer, backlog)
        mapping_dialogs.draw_last()
        part, connection = draw_filters(backlog)
        components.one_of(
            {
                _TO_ANSWER: partial(draw_queue, viewer, backlog, connection),
                _MAPPED: partial(draw_table, viewer, backlog, connection),
                _ASIDE: partial(draw_aside, viewer, backlog, connection),
                _FILES: partial(mapping_files.draw, viewer, connection),
            },
            part,
        )


def draw() -> None:
    """One identifier, where the address names it; else all of them."""
    viewer, one = people.viewer(), mapping_page.asked()
    components.places(
        partial(draw_list, viewer) if one is None else None,
        None if one is None else partial(mapping_page.draw, viewer, one),
    )


draw()
