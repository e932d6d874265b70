"""Test: one call now that changes nothing, and what the channel answered; it stays here until the next test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import SwitchyardError
from dashboard import actions, components, connection_queries, connection_words, formats, people

Row = Mapping[str, Any]

REASON = "tested on the Connections page"


def start(viewer: people.Viewer, row: Row) -> None:
    """Ask for the call; its answer shows below within seconds."""
    try:
        actor = Actor(viewer.person.name, REASON)
        actions.start_test(actions.application(), viewer.shop.id, row["connection_id"], actor)
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "test")
        return
    components.say_later(f"{formats.plain(row['name'])} is asked; what it answers shows below.")
    st.rerun()


def draw(viewer: people.Viewer, number: int) -> None:
    """The newest test; looked at every second while it waits for its answer."""
    run = connection_queries.last_test(viewer.shop.id, number)
    if run is None:
        return
    if run["is_open"]:
        _watch(viewer, number)
    else:
        draw_answer(run, viewer.shop.zone)


def _watch(viewer: people.Viewer, number: int) -> None:
    @st.fragment(run_every="1s", key=f"test-{number}")
    def tick() -> None:
        with components.panel("test"):
            run = connection_queries.last_test(viewer.shop.id, number)
            if run is None or not run["is_open"]:
                connection_queries.forget()
                st.rerun()
            else:
                draw_waiting(run)

    tick()


def draw_waiting(run: Row) -> None:
    """It is asked, or waits for a worker."""
    with components.card("busy", "test"), st.container(width="stretch", gap="xxsmall"):
        word = "asked now" if run["state"] == "running" else "waiting for a worker"
        st.markdown(f"{formats.badge('running', 'Test')} **{formats.plain(run['connection'])}: {word}**")
        st.caption(f"For {formats.duration(run['quiet_seconds'])} · asked for by {formats.plain(run['requested_by'])}")


def draw_answer(run: Row, zone: str) -> None:
    """What it answered: whose account, which version, which rights, how fast; or what came instead."""
    by = f"Tested {formats.ago(run['ended_at'], run['as_of'], zone)} by {formats.plain(run['requested_by'])}"
    if run["state"] == "failed":
        with components.card("danger", "test"), st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"{formats.badge('danger', 'Test failed')} {formats.sentence(run['error'])}")
            st.caption(f"{by}. {connection_words.after_failed_test(run['error'])}")
        return
    answer = run["counts"]
    findings = answer.get("findings", [])
    state, word = connection_words.verdict(findings)
    with components.card(state, "test"), st.container(width="stretch", gap="xxsmall"):
        st.markdown(f"{formats.badge(state, word)} {formats.plain(connection_words.tested(answer))}")
        for found in findings:
            if found["state"] != "ok":
                _draw_finding(found)
        with st.expander(f"All {formats.count(len(findings))} things that were looked at", key="test-findings"):
            _draw_all(findings, answer.get("granted"))
        st.caption(f"{by}. It stays until the next test.")


def _draw_finding(found: Row) -> None:
    about, says = str(found["about"]), str(found["says"]).rstrip(".")
    badge = formats.badge(connection_words.FOUND[found["state"]], formats.plain(about[:1].upper() + about[1:]))
    step = f" **{formats.sentence(found['next_step'])}**" if found["next_step"] else ""
    # What is found may begin with a name, which is written as it is.
    st.markdown(f"{badge} {formats.plain(says)}.{step}")


def _draw_all(findings: Sequence[Row], granted: Sequence[str] | None) -> None:
    body = [
        (
            f"<b>{escape(found['about'])}</b>",
            components.pill(connection_words.FOUND[found["state"]]),
            escape(found["says"]),
        )
        for found in findings
    ]
    components.table([("Looked at", False), ("State", False), ("Found", False)], body, "What the test looked at")
    if granted:
        chips = "".join(f"<span>{escape(str(name))}</span>" for name in granted)
        components.html(f'<div class="sy-meta">Rights that were granted</div><div class="sy-chips">{chips}</div>')
