"""Add, edit, pause, resume and remove a notice channel: what a person types, what it would do, why, and the act."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import SwitchyardError
from core.letters import Address
from core.messaging import notice_addresses
from core.messaging.notice_channels import AN_HOUR_MAX, Wishes
from dashboard import (
    alert_actions,
    alert_queries,
    alert_words,
    components,
    formats,
    notice_queries,
    notice_words,
    people,
    previews,
)

Row = Mapping[str, Any]
Typed = dict[str, Any]

_NEW: Row = {
    "name": "", "kinds": None, "least_severity": "attention", "rhythm": "at_once", "daily_hour": 8, "most_an_hour": 20,
}  # fmt: skip


def add_slack(viewer: people.Viewer) -> None:
    """Ask for a webhook and what its channel is to hear."""

    def body() -> None:
        with st.form("channel", border=False):
            name = _name("Ops channel")
            url = st.text_input(
                "Webhook address", key="channel-url", type="password", placeholder="https://hooks.slack.com/services/…",
                help="Slack: your app's page, Incoming Webhooks, Add New Webhook. It is sealed, and never shown again.",
            )  # fmt: skip
            wished = _wishes(viewer, _NEW)
            reason = _reason("The night shift reads it")
            go = st.form_submit_button("Add the channel", type="primary")
        if go:
            _do(reason, lambda actor: _add(viewer, {**wished, "name": name}, notice_addresses.slack(url or ""), actor))

    _open("Tell a Slack channel?", ":material/forum:", body)


def add_mail(viewer: people.Viewer) -> None:
    """Ask for a mail server, whom to write to, and what they are to hear."""

    def body() -> None:
        with st.form("channel", border=False):
            name = _name("Operations by mail")
            typed = _mail_fields(is_new=True)
            wished = _wishes(viewer, _NEW)
            reason = _reason("They want the daily digest")
            go = st.form_submit_button("Add the channel", type="primary")
        if go:
            _do(reason, lambda actor: _add(viewer, {**wished, "name": name}, _mail(typed), actor))

    _open("Tell people by mail?", ":material/mail:", body)


def _open(title: str, icon: str, body: Callable[[], None]) -> None:
    components.open_dialog(st.dialog(title, width="medium", icon=icon)(body))


def _mail(typed: Typed) -> Address:
    port = typed["port"] or notice_addresses.PORTS[typed["security"]]
    return notice_addresses.mail(
        typed["host"], port, typed["security"], typed["sender"], typed["recipients"], typed["user"], typed["password"]
    )


def _add(viewer: people.Viewer, wished: Typed, address: Address, actor: Actor) -> str:
    return alert_actions.add(alert_actions.application(), viewer.shop.id, Wishes(**wished), address, actor)


def edit(viewer: people.Viewer, row: Row) -> None:
    """Ask what is to be another; the address only where it is to change, since it is not shown."""

    def body() -> None:
        st.caption(f"Now {formats.plain(row['shown'])}. What is left empty of the address stays as it is.")
        with st.form("channel", border=False):
            name = _name("", row["name"])
            if row["medium"] == "slack":
                url = st.text_input("New webhook address", key="channel-url", type="password", placeholder="unchanged")
                typed: Typed = {"url": (url or "").strip()}
            else:
                typed = _mail_fields(is_new=False)
            wished = _wishes(viewer, row)
            reason = _reason("Too much of it at night")
            go = st.form_submit_button(f"Save {formats.plain(row['name'])}", type="primary")
        if go:
            _do(reason, partial(_edit, viewer, row, {**wished, "name": name}, typed))

    _open(f"Edit {formats.plain(row['name'])}?", ":material/edit:", body)


def _edit(viewer: people.Viewer, row: Row, wished: Typed, typed: Typed, actor: Actor) -> str:
    app, shop, number = alert_actions.application(), viewer.shop.id, row["channel_id"]
    if row["medium"] == "slack":
        address: Address | None = notice_addresses.slack(typed["url"]) if typed["url"] else None
    else:
        address = alert_actions.changed_mail(app, shop, number, typed)
    return alert_actions.edit(app, shop, number, Wishes(**wished), address, actor)


def _name(hint: str, value: str = "") -> str:
    return st.text_input("Name", value=value, key="channel-name", max_chars=60, placeholder=hint) or ""


def _reason(hint: str) -> str:
    return st.text_input("Reason", key="channel-reason", required=True, placeholder=hint) or ""


def _mail_fields(*, is_new: bool) -> Typed:
    """Where the mail goes and by whom; nothing of it is filled in, since addresses and passwords are not shown."""
    hint = (lambda words: words) if is_new else (lambda _: "unchanged")
    with st.container(horizontal=True, key="stack-mail-server"):
        host = st.text_input("Mail server", key="mail-host", placeholder=hint("smtp.example.com"))
        port = st.number_input(
            "Port", key="mail-port", value=None, min_value=1, max_value=65535, step=1,
            placeholder=hint("the usual one"), width=130,
        )  # fmt: skip
        ways = list(notice_addresses.SECURITIES)
        security = st.selectbox(
            "Secured by", ways, index=0 if is_new else None, key="mail-security", placeholder="unchanged",
            format_func=lambda way: {"starttls": "STARTTLS", "tls": "TLS", "none": "Nothing"}[way],
            help="; ".join(f"{way}: {words}" for way, words in notice_addresses.SECURITIES.items()),
        )  # fmt: skip
    sender = st.text_input("From", key="mail-from", placeholder=hint("switchyard@example.com"))
    to = st.text_area(
        "To", key="mail-to", height=68, placeholder=hint("ops@example.com, night@example.com"),
        help=f"Up to {notice_addresses.RECIPIENTS_MAX} addresses. They are sealed, and shown masked.",
    )  # fmt: skip
    with st.container(horizontal=True, key="stack-mail-user"):
        user = st.text_input("User", key="mail-user", placeholder=hint("where the server asks for one"))
        password = st.text_input("Password", key="mail-password", type="password", placeholder=hint(""))
    return {
        "host": (host or "").strip(),
        "port": None if port is None else int(port),
        "security": security or "",
        "sender": (sender or "").strip(),
        "recipients": tuple(notice_addresses.split_recipients(to or "")),
        "user": (user or "").strip(),
        "password": password or "",
    }


def _wishes(viewer: people.Viewer, row: Row) -> Typed:
    """What it is told, and how often."""
    known = alert_queries.kinds(viewer.shop.id, viewer.person.scope)
    with st.container(horizontal=True, key="stack-wishes"):
        least = st.selectbox(
            "What it is told", list(notice_words.LEAST), format_func=notice_words.LEAST.__getitem__,
            index=list(notice_words.LEAST).index(row["least_severity"]), key="channel-least",
        )  # fmt: skip
        rhythm = st.selectbox(
            "When", list(notice_words.RHYTHMS), format_func=notice_words.RHYTHMS.__getitem__,
            index=list(notice_words.RHYTHMS).index(row["rhythm"]), key="channel-rhythm",
        )  # fmt: skip
    kinds = st.multiselect(
        "Only of these kinds", alert_words.all_kinds([*known, *(row["kinds"] or ())]), default=row["kinds"] or [],
        format_func=alert_words.kind, key="channel-kinds", placeholder="Every kind",
    )  # fmt: skip
    with st.container(horizontal=True, key="stack-limits"):
        hour = st.number_input(
            "Hour of a daily digest", key="channel-hour", min_value=0, max_value=23, step=1,
            value=8 if row["daily_hour"] is None else row["daily_hour"],
            help=f"Of the shop's day, {formats.place(viewer.shop.zone)}.",
        )  # fmt: skip
        most = st.number_input(
            "Most messages an hour", key="channel-most", min_value=1, max_value=AN_HOUR_MAX, step=1,
            value=row["most_an_hour"], help="What is beyond that is gathered into one message. Nothing is lost.",
        )  # fmt: skip
    return {
        "kinds": tuple(kinds) or None,
        "least_severity": least,
        "rhythm": rhythm,
        "daily_hour": int(hour) if rhythm == "daily" else None,
        "most_an_hour": int(most),
    }


def _do(reason: str, act: Callable[[Actor], str]) -> None:
    """Do it and draw the page again; what was refused is said where it was typed."""
    try:
        said = act(Actor(people.viewer().person.name, reason))
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "channel")
        return
    components.say_later(said)
    notice_queries.forget()
    st.rerun()


def set_quiet(viewer: people.Viewer, row: Row) -> None:
    """Ask whether a channel is to be told nothing for a while, or again."""
    name = formats.plain(row["name"])
    held = formats.plural(row["held"], "notice")
    if row["is_quiet"]:
        title, icon, verb, hint = f"Resume {name}?", ":material/play_arrow:", f"Resume {name}", "The move is done"
        lines = [
            f"**{held} of meanwhile** follow in one message." if row["held"] else "Nothing has come meanwhile.",
            "From then on it is told as before.",
        ]
    else:
        title, icon, verb, hint = f"Pause {name}?", ":material/pause_circle:", f"Pause {name}", "We move tonight"
        lines = [
            "**It is told nothing** until somebody resumes it; alerts stand on this page all the same.",
            "What it would be told is kept, and follows in one message then. Nothing is lost.",
            "Other channels are told as before.",
        ]
    _ask(title, icon, row, lines, verb, hint, partial(_set_quiet, viewer, row))


def _set_quiet(viewer: people.Viewer, row: Row, actor: Actor) -> str:
    app = alert_actions.application()
    return alert_actions.set_quiet(app, viewer.shop.id, row["channel_id"], row["name"], not row["is_quiet"], actor)


def remove(viewer: people.Viewer, row: Row) -> None:
    """Ask whether a channel is to be told nothing ever again."""
    name, held = formats.plain(row["name"]), row["held"] + row["waiting"]
    lines = [
        "**It is told nothing any more**, and its address is forgotten. What it was told stays on record.",
        f"**{formats.plural(held, 'notice')}** still to be told to it will not be." if held else "",
    ]
    only = len(notice_queries.channels(viewer.shop.id, viewer.person.scope)) == 1
    warning = "It is the shop's only channel: nobody is told by one of its own then." if only else None
    _ask(f"Remove {name}?", ":material/delete:", row, lines, f"Remove {name}", "It moved to the new workspace",
         partial(_remove, viewer, row), warning)  # fmt: skip


def _remove(viewer: people.Viewer, row: Row, actor: Actor) -> str:
    return alert_actions.remove(alert_actions.application(), viewer.shop.id, row["channel_id"], row["name"], actor)


def _ask(
    title: str,
    icon: str,
    row: Row,
    lines: list[str],
    verb: str,
    hint: str,
    do: Callable[[Actor], str],
    warning: str | None = None,
) -> None:
    def act(actor: Actor) -> str:
        said = do(actor)
        notice_queries.forget()
        return said

    about = f"**{formats.plain(row['name'])}** · {formats.plain(row['shown'])}"
    figures = [(formats.count(row["held"] + row["waiting"]), "still to be told")]
    previews.ask(previews.Preview(title, icon, about, figures, [x for x in lines if x], warning, verb, hint, act))
