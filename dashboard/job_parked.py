"""Parked messages: a card for each cause, the messages of one cause, and those that were discarded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import streamlit as st

from core.messaging.parked import Chosen
from dashboard import components, formats, job_dialogs, job_words, jobs_queries, people
from dashboard.job_words import Row


def draw_causes(viewer: people.Viewer, rows: Sequence[Row], is_worst: bool) -> None:
    """A card for each connection and cause; `is_worst`: the first one's button is the page's primary one."""
    for place, row in enumerate(rows):
        _cause_card(viewer, row, is_worst and place == 0)


def _key(row: Row) -> str:
    return formats.key(row["connection_id"], row["cause"])


def _cause_card(viewer: people.Viewer, row: Row, is_worst: bool) -> None:
    with components.card("parked", f"parked-{_key(row)}"):
        with st.container(width="stretch", gap="xxsmall"):
            _cause_text(viewer, row)
        with st.container(width="content", horizontal=True, vertical_alignment="center"):
            where = {"parked": row["cause"], "connection": str(row["connection_id"])}
            components.open_here("See messages", f"see-{_key(row)}", **where)
            _buttons(Chosen(row["connection_id"], cause=row["cause"]), _about(row), f"cause-{_key(row)}", is_worst)


def _about(row: Row) -> str:
    words = job_words.parked_words(row["cause"], row["messages"])
    return f"**{formats.plural(row['messages'], 'message')} {words}** · {formats.plain(row['connection'])}"


def _cause_text(viewer: people.Viewer, row: Row) -> None:
    zone = viewer.shop.zone
    st.markdown(f"{formats.badge('parked')} {_about(row)}")
    if row["detail"]:
        st.markdown(formats.sentence(row["detail"]))
    st.caption(
        f"{formats.plain(row['topic'])} · received first {formats.ago(row['since'], row['as_of'], zone)}, "
        f"last {formats.ago(row['last_at'], row['as_of'], zone)}"
    )
    st.markdown(f"→ {job_words.parked_next(row['cause'])}")


def _buttons(chosen: Chosen, about: str, key: str, is_worst: bool, is_discarded: bool = False) -> None:
    if not is_discarded and st.button("Discard…", key=f"discard-message-{key}"):
        job_dialogs.discard_messages(chosen, about)
    if st.button(
        "Requeue…",
        key=f"requeue-message-{key}",
        type="primary" if is_worst else "secondary",
        icon=":material/replay:",
    ):
        job_dialogs.requeue_messages(chosen, about)


def draw_cause(viewer: people.Viewer, connection_id: int, name: str, turn: Callable[[str, int | None], Any]) -> None:
    """The messages of one connection that are parked for one cause."""
    rows = jobs_queries.parked_causes(viewer.shop.id, viewer.person.scope)
    row = next((r for r in rows if (r["connection_id"], r["cause"]) == (connection_id, name)), None)
    if row is None:
        components.title("Parked messages", job_words.cause_words(name))
        components.empty("Nothing is parked for this cause", "The messages had another turn, or were discarded.")
        return
    components.title("Parked messages", row["connection"], formats.as_of(row["as_of"], viewer.shop.zone))
    with components.card("parked", "parked"):
        with st.container(width="stretch", gap="xxsmall"):
            _cause_text(viewer, row)
        with st.container(width="content", horizontal=True):
            _buttons(Chosen(connection_id, cause=name), _about(row), "all", is_worst=True)
    text = st.query_params.get("before", "")
    before = formats.number(text)
    page = jobs_queries.parked(viewer.shop.id, connection_id, name, before)
    for message in page.rows:
        _draw_message(viewer, connection_id, message)
    if page.more or before is not None:
        components.pager(
            "messages",
            turn("before", None) if before is not None else None,
            turn("before", page.rows[-1]["message_id"]) if page.more else None,
            ("Newest", "Older"),
        )


def _draw_message(viewer: people.Viewer, connection_id: int, row: Row) -> None:
    zone, number = viewer.shop.zone, row["message_id"]
    with _message_box(f"message-{number}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"**{formats.plain(row['topic'])}** · message {number}")
            st.markdown(formats.sentence(row["detail"]))
            st.caption(
                f"received {formats.moment(row['received_at'], row['as_of'], zone)}, "
                f"{formats.ago(row['received_at'], row['as_of'], zone)} · by {formats.plain(row['road'])} · "
                f"{formats.plural(row['attempts'], 'turn')} · delivery {formats.plain(row['delivery_id'])}"
            )
        with st.container(width="content", horizontal=True):
            about = f"**{formats.plain(row['topic'])}** · message {number} · {formats.sentence(row['detail'])}"
            _buttons(Chosen(connection_id, message_id=number), about, str(number), is_worst=False)


def _message_box(key: str) -> Any:
    return st.container(
        border=True, key=f"item-{key}", horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    )


def draw_discarded(viewer: people.Viewer, before: int | None, turn: Callable[[str, int | None], Any]) -> None:
    """Messages that were given up, newest first, each with who and why, and a way back."""
    page = jobs_queries.discarded(viewer.shop.id, before)
    if not page.rows:
        components.empty("No message has been discarded", "What somebody gives up is listed here, with who and why.")
        return
    zone = viewer.shop.zone
    for row in page.rows:
        number = row["message_id"]
        with _message_box(f"discarded-{number}"):
            with st.container(width="stretch", gap="xxsmall"):
                components.html(
                    f"<div>{components.pill('discarded')} <b>{escape(row['topic'])}</b> · message {number} · "
                    f"{escape(row['connection'])}</div>"
                )
                st.markdown(formats.sentence(row["detail"]) or job_words.cause_words(row["cause"]))
                st.caption(
                    f"discarded {formats.ago(row['settled_at'], row['as_of'], zone)} by "
                    f"{formats.plain(row['discarded_by'])}: {formats.plain(row['discarded_reason'])}"
                )
            with st.container(width="content", horizontal=True):
                about = f"**{formats.plain(row['topic'])}** · message {number} · discarded"
                _buttons(Chosen(row["connection_id"], message_id=number), about, f"back-{number}", False, True)
    if page.more or before is not None:
        components.pager(
            "discarded",
            turn("message", None) if before is not None else None,
            turn("message", page.rows[-1]["message_id"]) if page.more else None,
            ("Newest", "Older"),
        )
