"""Who is told, and what was said to whom: the shop's channels with their trials, and the log of notices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import SwitchyardError
from dashboard import (
    alert_actions,
    alert_cards,
    alert_words,
    components,
    formats,
    notice_dialogs,
    notice_queries,
    notice_words,
    people,
)

Row = Mapping[str, Any]

REASON = "tried on the Alerts page"
_TRIAL = "trial"
_SHOWN = {"All": "all", "Still to come": "to come", "Not heard": "not heard"}
_EVERYBODY = "Everybody"


# --- who is told ------------------------------------------------------------------------------------------------------


def draw_channels(viewer: people.Viewer) -> None:
    """Add one, and each with what it wants, how it is, and what a person can do with it."""
    with components.panel("channels"):
        found = notice_queries.channels(viewer.shop.id, viewer.person.scope)
        has_default = alert_actions.application().settings.notice_url is not None
        with st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="stack-channels"
        ):
            st.markdown(notice_words.headline(found, has_default))
            with st.container(width="content", horizontal=True):
                if st.button("Add Slack…", key="add-slack", icon=":material/forum:"):
                    notice_dialogs.add_slack(viewer)
                if st.button("Add mail…", key="add-mail", icon=":material/mail:"):
                    notice_dialogs.add_mail(viewer)
        if not found:
            components.empty("No channel of this shop's own", notice_words.about_default(has_default))
        for row in found:
            _channel(viewer, row)


def _channel(viewer: people.Viewer, row: Row) -> None:
    number, zone = row["channel_id"], viewer.shop.zone
    with components.card(row["state"], f"channel-{number}"):
        with st.container(width="stretch", gap="xxsmall"):
            medium, icon = notice_words.MEDIA[row["medium"]]
            st.markdown(
                f"{formats.badge(row['state'])} {icon} **{formats.plain(row['name'])}** · {medium} · "
                f"{formats.plain(row['shown'])}"
            )
            st.markdown(f"{formats.plain(notice_words.wants(row))}, {formats.plain(notice_words.rhythm(row, zone))}")
            if row["last_error"]:
                st.markdown(
                    f"{formats.ago(row['last_error_at'], row['as_of'], zone)}: {formats.sentence(row['last_error'])}"
                )
            parts = [notice_words.last(row, zone), notice_words.waits(row, zone)]
            if row["dead"]:
                parts.append(f"{formats.plural(row['dead'], 'notice')} not delivered")
            st.caption(" · ".join(formats.plain(part) for part in parts if part))
        with st.container(width="content", horizontal=True, vertical_alignment="center", key=f"acts-channel-{number}"):
            _acts(viewer, row)


def _acts(viewer: people.Viewer, row: Row) -> None:
    number = row["channel_id"]
    if st.button("Test", key=f"test-channel-{number}", icon=":material/send:"):
        start_trial(viewer, row)
    with st.popover("More", key=f"more-channel-{number}"):
        if st.button("Edit…", key=f"edit-channel-{number}", icon=":material/edit:", width="stretch"):
            notice_dialogs.edit(viewer, row)
        word, icon = ("Resume…", "play_arrow") if row["is_quiet"] else ("Pause…", "pause_circle")
        if st.button(word, key=f"quiet-channel-{number}", icon=f":material/{icon}:", width="stretch"):
            notice_dialogs.set_quiet(viewer, row)
        if st.button("Remove…", key=f"remove-channel-{number}", icon=":material/delete:", width="stretch"):
            notice_dialogs.remove(viewer, row)


def start_trial(viewer: people.Viewer, row: Row) -> None:
    """Have a message sent now; what the other side answers shows within seconds."""
    try:
        actor = Actor(viewer.person.name, REASON)
        message = alert_actions.test(alert_actions.application(), viewer.shop.id, row["channel_id"], actor)
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "trial")
        return
    # In the address, so that a reload or a colleague sees the same answer.
    st.query_params[_TRIAL] = str(message)
    st.rerun()


def draw_trial(viewer: people.Viewer) -> None:
    """The trial that the address names; looked at every second while it waits for its answer."""
    number = formats.number(st.query_params.get(_TRIAL, ""))
    row = None if number is None else notice_queries.trial(viewer.shop.id, number)
    if row is None:
        return
    if row["state"] == "sending":
        _watch(viewer, row["message_id"])
    else:
        _draw_trial(row, viewer.shop.zone)


def _watch(viewer: people.Viewer, number: int) -> None:
    @st.fragment(run_every="1s", key=f"trial-{number}")
    def tick() -> None:
        with components.panel("trial"):
            row = notice_queries.trial(viewer.shop.id, number)
            if row is None or row["state"] != "sending":
                notice_queries.forget()
                st.rerun()
            else:
                _draw_trial(row, viewer.shop.zone)

    tick()


def _draw_trial(row: Row, zone: str) -> None:
    state, said = notice_words.trial(row)
    with components.card(state, "trial"), st.container(width="stretch", gap="xxsmall"):
        st.markdown(f"{formats.badge('running' if state == 'busy' else state, 'Test')} {said}")
        at = row["settled_at"] or row["created_at"]
        st.caption(f"Asked for by {formats.plain(row['asked_by'])}, {formats.ago(at, row['as_of'], zone)}")


# --- what was said ----------------------------------------------------------------------------------------------------


def draw_log(viewer: people.Viewer) -> None:
    """What was said to whom, what is still to come, and what nobody heard; newest first."""
    shop, scope = viewer.shop.id, viewer.person.scope
    with components.panel("said"):
        channels = notice_queries.channels(shop, scope)
        names = {str(row["name"]): int(row["channel_id"]) for row in channels}
        with st.container(horizontal=True, key="said-filters"):
            state = st.segmented_control(
                "Show", list(_SHOWN), key="heard", default="All", required=True, bind="query-params",
                on_change=_first_page, label_visibility="collapsed",
            )  # fmt: skip
            whom = st.selectbox(
                "Told to", [_EVERYBODY, *names], key="whom", bind="query-params", on_change=_first_page,
                label_visibility="collapsed", width=220,
            )  # fmt: skip
        _draw_pending(viewer, channels)
        before = formats.number(st.query_params.get("older", ""))
        page = notice_queries.said(shop, scope, _SHOWN[state or "All"], names.get(whom or ""), before)
        if not page.rows:
            _draw_nothing(state or "All")
        else:
            _draw_rows(viewer, page.rows)
        last = str(page.rows[-1]["message_id"]) if page.more else None
        alert_cards.pager("said", "older", last, ("Newest", "Older"))


def _first_page() -> None:
    st.query_params.pop("older", None)


def _draw_pending(viewer: people.Viewer, channels: Sequence[Row]) -> None:
    """What is gathered or kept for whom, in a line each."""
    for row in channels:
        if waits := notice_words.waits(row, viewer.shop.zone):
            badge = formats.badge("muted" if row["is_quiet"] else "digest", formats.plain(row["name"]))
            st.markdown(f"{badge} {formats.plain(waits)}")


def _draw_nothing(state: str) -> None:
    head, text = {
        "All": ("Nothing has been said yet", "What opens, gets much worse or is over is said to whom it concerns."),
        "Still to come": ("Nothing is still to be said", "Digests are gathered here until they are due."),
        "Not heard": ("Everything that was said was heard", "What a channel did not take would stand here, with why."),
    }[state]
    components.empty(head, text)


def _draw_rows(viewer: people.Viewer, found: Sequence[Row]) -> None:
    zone = viewer.shop.zone
    body = [
        (
            components.when(row["created_at"], row["as_of"], zone),
            components.pill(row["severity"] or "info"),
            f"<b>{_subject(viewer, row)}</b><br>"
            f'<span class="sy-meta">{escape(alert_words.kind(row["kind"] or "notice"))}{_files(row)}</span>',
            escape(row["channel"] or "the installation's address"),
            components.pill(row["state"]),
            escape(_outcome(row, zone)),
        )
        for row in found
    ]
    heads = [("Said", False), ("Severity", False), ("What", False), ("To", False), ("State", False),
             ("What came of it", False)]  # fmt: skip
    components.table(heads, body, "What was said, and to whom")


def _subject(viewer: people.Viewer, row: Row) -> str:
    words = row["subject"] or (row["text"] or "")[:120]
    if row["alert_id"] is None:
        return escape(words)
    return components.link("alerts", words, viewer.where(alert=str(row["alert_id"])))


def _files(row: Row) -> str:
    return f" · {formats.plural(row['attachments'], 'file')}" if row["attachments"] else ""


def _outcome(row: Row, zone: str) -> str:
    if row["state"] in ("dead", "unheard", "discarded"):
        return row["last_error"] or formats.UNKNOWN
    if row["state"] in ("digest", "crowded"):
        return f"due {formats.moment(row['next_attempt_at'], row['as_of'], zone)}"
    if row["state"] == "sending":
        return f"{row['attempts']} attempts: {row['last_error']}" if row["last_error"] else "within seconds"
    if row["state"] == "muted":
        return "kept until the channel is resumed"
    parts = (row["last_error"] or row["answer"] or "", "in one with others" if row["gathered_in"] else "")
    return " · ".join(part for part in parts if part) or formats.UNKNOWN
