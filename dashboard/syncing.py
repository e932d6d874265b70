"""Sync now: the preview that asks, the progress that survives a reload, the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import SwitchyardError
from dashboard import actions, components, connection_queries, connection_words, formats, people, queries

Row = Mapping[str, Any]

_RUN = "run"


def ask(connection: Row) -> None:
    """Open the dialog that asks: what will be read and what may be written, then the reason."""
    components.open_dialog(partial(_draw_ask, connection))


@st.dialog("Sync now?", width="medium", icon=":material/sync:")
def _draw_ask(connection: Row) -> None:
    viewer = people.viewer()
    name = str(connection["name"])
    st.markdown(
        f"**{formats.plain(name)}** · {formats.plain(connection['vendor'])} · class {connection['guarantee_class']}"
    )
    components.figures(
        [
            (formats.count(connection["listings"]), "listings to read"),
            (formats.count(connection["received"] + connection["waiting"]), "messages to handle"),
            (formats.count(connection["listings_to_push"]), "quantities to write"),
            (formats.count(connection["open_writes"]), "open writes"),
        ]
    )
    standing = connection_queries.switches(viewer.shop.id, viewer.person.scope)[connection["connection_id"]]
    writing = connection_words.writing(standing)
    st.markdown("\n".join(f"- {line}" for line in plan(connection, viewer.shop.zone, writing)))
    if connection["switch"] == "paused":
        st.warning(
            "This connection is paused: nothing is sent to it until it is switched on again.",
            icon=":material/pause_circle:",
        )
    elif connection["state"] == "unknown":
        st.warning(
            "It has not answered lately. The sync will wait for it and try again by itself.", icon=":material/help:"
        )
    with st.form("sync", border=False, enter_to_submit=True):
        reason = st.text_input("Reason", required=True, placeholder="Stock was counted this morning", key="sync-reason")
        with st.container(horizontal=True, horizontal_alignment="right"):
            go = st.form_submit_button(f"Sync {name}", type="primary")
    if go:
        _start(viewer, connection, reason or "")


_NO_WRITES = {
    "stopped": "Its writes are stopped: what differs afterwards is written when they are resumed.",
    "paused": "It is paused: what differs afterwards is written when it is resumed.",
    "shadow": "It is in shadow mode: what differs afterwards is only compared.",
}


def plan(connection: Row, zone: str, writing: str) -> Sequence[str]:
    """The sync in three sentences; `writing` as `connection_words.writing` has it."""
    since = connection["orders_polled_to"]
    orders = f"Orders changed since {formats.exact(since, zone)}" if since else "Orders that are not known yet"
    return (
        f"**Read**: all {formats.plural(connection['listings'], 'listing')} with their quantities. {orders}.",
        f"**Writes nothing**. {_NO_WRITES[writing]}"
        if writing in _NO_WRITES
        else f"**May write**: quantities that differ afterwards, now {formats.count(connection['listings_to_push'])}. "
        "Zeros and lowered ones go first.",
        "Nothing is booked twice, prices and texts are not touched, and no money moves.",
    )


def _start(viewer: people.Viewer, connection: Row, reason: str) -> None:
    try:
        actor = Actor(viewer.person.name, reason)
        run_id = actions.start_sync(actions.application(), viewer.shop.id, connection["connection_id"], actor)
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "sync")
        return
    st.query_params[_RUN] = str(run_id)
    components.say_later(f"Sync of {formats.plain(connection['name'])} asked for. It starts within seconds.")
    st.rerun()


def draw_runs(viewer: people.Viewer) -> None:
    """Runs that are open now, and the one that the address names: a reload shows the same."""
    wanted = st.query_params.get(_RUN, "")
    ids = {*queries.open_runs(viewer.shop.id), *([number] if (number := formats.number(wanted)) is not None else [])}
    # In one block, so that what is below keeps its place when a run appears or is closed.
    with st.container():
        for run_id in sorted(ids):
            _draw_run(viewer, run_id)


def _draw_run(viewer: people.Viewer, run_id: int) -> None:
    run = queries.sync_run(viewer.shop.id, run_id)
    if run is None:
        return
    is_named = str(run_id) == st.query_params.get(_RUN)
    components.places(
        partial(_watch, viewer.shop.id, run_id) if run["is_open"] else None,
        partial(draw_result, run, viewer.shop.zone) if is_named and not run["is_open"] else None,
    )


def _watch(shop_id: int, run_id: int) -> None:
    """Progress, looked at every second until the run ends; then the whole page is drawn once with its result."""

    @st.fragment(run_every="1s", key=f"run-{run_id}")
    def tick() -> None:
        with components.panel(f"run-{run_id}"):
            run = queries.sync_run(shop_id, run_id)
            if run is None or not run["is_open"]:
                queries.forget()
                st.query_params[_RUN] = str(run_id)
                st.rerun()
            else:
                draw_progress(run)

    tick()


def draw_progress(run: Row) -> None:
    """Step, done of total, and the time that is probably left."""
    with st.container(border=True, key=f"card-busy-run-{run['sync_run_id']}"):
        st.markdown(f"{formats.badge(run['state'])} **Sync of {formats.plain(run['connection'])}**")
        st.progress(_share(run), text=progress_text(run))
        st.caption(f"Asked for by {formats.plain(run['requested_by'])}: {formats.plain(run['reason'])}")
        components.html(f'<div class="sy-meta">{in_full(run)}</div>')
        if run["error"]:
            st.caption(
                f"Attempt {run['attempts']} ended: {formats.sentence(run['error'])} It is tried again by itself."
            )


def in_full(run: Row) -> str:
    """The way to all that is known of a run, as HTML: its jobs, its calls, and the button that stops it."""
    where = people.viewer().where(run=str(run["sync_run_id"]))
    return components.link("runs", f"Sync run {run['sync_run_id']} in full", where)


def _share(run: Row) -> float:
    total = run["total"] or 0
    return min(run["done"] / total, 1.0) if total > 0 else 0.0


def progress_text(run: Row) -> str:
    """Reading listings · 120 of 4,980 · ≈ 2 min left."""
    if run["state"] == "queued":
        return f"Waiting for a worker for {formats.duration(run['quiet_seconds'])}"
    step = formats.plain(run["step"][:1].upper() + run["step"][1:]) if run["step"] else "Starting"
    if not run["total"]:
        return step if not run["done"] else f"{step} · {formats.count(run['done'])}"
    text = f"{step} · {formats.count(run['done'])} of {formats.count(run['total'])}"
    left = run["seconds_left"]
    return text if left is None else f"{text} · {formats.estimate(left)} left"


def draw_result(run: Row, zone: str) -> None:
    """How it ended, and what it counted."""
    is_done = run["state"] == "done"
    with components.card("done" if is_done else "danger", f"run-{run['sync_run_id']}"):
        with st.container(width="stretch", gap="xxsmall"):
            name = formats.plain(run["connection"])
            st.markdown(f"{formats.badge(run['state'])} **Sync of {name} {'is done' if is_done else 'failed'}**")
            if is_done:
                counted = [
                    (formats.count(v), k.replace("_", " ")) for k, v in run["counts"].items() if isinstance(v, int)
                ]
                components.html(
                    '<div class="sy-row">'
                    + "".join(f"<span><b>{escape(v)}</b> {escape(k)}</span>" for v, k in counted)
                    + "</div>"
                ) if counted else st.markdown("Nothing differed.")
            else:
                st.markdown(
                    f"{formats.sentence(run['error'])} "
                    "Nothing is lost: what was read stays, the rest is read next time."
                )
            started = run["started_at"] or run["requested_at"]
            st.caption(
                f"{formats.moment(run['ended_at'], run['as_of'], zone)} · took "
                f"{formats.duration((run['ended_at'] - started).total_seconds())} · "
                f"{formats.plain(run['requested_by'])}: "
                f"{formats.plain(run['reason'])}"
            )
            components.html(f'<div class="sy-meta">{in_full(run)}</div>')
        st.button("Close", key=f"close-run-{run['sync_run_id']}", on_click=_forget_run)


def _forget_run() -> None:
    st.query_params.pop(_RUN, None)
