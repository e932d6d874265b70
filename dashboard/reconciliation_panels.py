"""Panels of the Reconciliation screen: what runs, what the brake holds, figures, pictures, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from core.reconciliation.operations import Chosen
from dashboard import (
    charts,
    components,
    formats,
    people,
    queries,
    reconciliation_charts,
    reconciliation_dialogs,
    reconciliation_queries,
    reconciliation_words,
    syncing,
    theme,
)

Row = Mapping[str, Any]

RUNS_MAX = 6
CONNECTIONS_MAX = 20

# --- what runs now ----------------------------------------------------------------------------------------------------


def draw_runs(viewer: people.Viewer) -> None:
    """Comparisons that wait or run, and the one that the address names: a reload shows the same."""
    named = formats.number(st.query_params.get(reconciliation_dialogs.RUN, ""))
    ids = [row["sync_run_id"] for row in reconciliation_queries.open_runs(viewer.shop.id)]
    run = queries.sync_run(viewer.shop.id, named) if named is not None and named not in ids else None
    components.places(
        partial(_draw_open, viewer, ids) if ids else None,
        partial(_draw_result, viewer, run) if run is not None and not run["is_open"] else None,
    )


def _draw_open(viewer: people.Viewer, ids: Sequence[int]) -> None:
    for run_id in ids[:RUNS_MAX]:
        _watch(viewer, run_id)
    if len(ids) > RUNS_MAX:
        st.caption(f"{formats.count(len(ids) - RUNS_MAX)} more run or wait.")


def _watch(viewer: people.Viewer, run_id: int) -> None:
    """Progress, looked at every two seconds until the run ends; then the whole page is drawn once with its result."""

    @st.fragment(run_every="2s", key=f"compare-{run_id}")
    def tick() -> None:
        with components.panel(f"compare-{run_id}"):
            run = queries.sync_run(viewer.shop.id, run_id)
            if run is None or not run["is_open"]:
                reconciliation_queries.forget()
                st.query_params[reconciliation_dialogs.RUN] = str(run_id)
                st.rerun()
            else:
                _draw_progress(viewer, run)

    tick()


def _what(run: Row) -> str:
    return "Orders and refunds" if run["kind"] == "reconcile_orders" else "Stock"


def _draw_progress(viewer: people.Viewer, run: Row) -> None:
    with components.card("busy", f"compare-{run['sync_run_id']}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"{formats.badge(run['state'])} **{_what(run)} of {formats.plain(run['connection'])}**")
            total = run["total"] or 0
            share = min(run["done"] / total, 1.0) if total else 0.0
            st.progress(share, text=syncing.progress_text(run))
            waits = f" · {formats.sentence(run['error'])}" if run["error"] and run["state"] == "queued" else ""
            by = f"Asked for by {formats.plain(run['requested_by'])}: {formats.plain(run['reason'])}"
            st.caption(f"{by}{waits}")
        with st.container(width="content"):
            if st.button("Cancel…", key=f"cancel-{run['sync_run_id']}", icon=":material/cancel:"):
                reconciliation_dialogs.cancel(viewer, run)


def _draw_result(viewer: people.Viewer, run: Row) -> None:
    is_done = run["state"] == "done"
    look = "ok" if is_done else "unknown" if run["state"] == "cancelled" else "danger"
    with components.card(look, f"compared-{run['sync_run_id']}"):
        with st.container(width="stretch", gap="xxsmall"):
            ended = formats.moment(run["ended_at"], run["as_of"], viewer.shop.zone)
            st.markdown(
                f"{formats.badge(run['state'])} **{_what(run)} of {formats.plain(run['connection'])} "
                f"{'compared' if is_done else 'not compared'} at {ended}**"
            )
            counted = [(formats.count(v), k.replace("_", " ")) for k, v in run["counts"].items() if isinstance(v, int)]
            if is_done and counted:
                components.html(
                    '<div class="sy-row">'
                    + "".join(f"<span><b>{escape(v)}</b> {escape(k)}</span>" for v, k in counted)
                    + "</div>"
                )
            elif run["state"] == "cancelled":
                said = f"Stopped by {formats.plain(run['cancel_asked_by'])}: {formats.sentence(run['cancel_reason'])}"
                st.markdown(f"{said} What it found stays.")
            elif not is_done:
                st.markdown(f"{formats.sentence(run['error'])} What it found stays.")
            components.html(f'<div class="sy-meta">{syncing.in_full(run)}</div>')
        with st.container(width="content"):
            st.button("Close", key=f"close-{run['sync_run_id']}", on_click=_forget_run)


def _forget_run() -> None:
    st.query_params.pop(reconciliation_dialogs.RUN, None)


# --- the brake --------------------------------------------------------------------------------------------------------


def draw_brakes(viewer: people.Viewer, braked: Sequence[Row]) -> None:
    """Corrections that would take many listings to 0, held until a person says yes."""
    for row in braked:
        chosen = Chosen(row["connection_id"], asked_because="brake")
        name = formats.plain(row["connection"])
        with components.card("danger", f"brake-{row['connection_id']}"):
            with st.container(width="stretch", gap="xxsmall"):
                many = formats.plural(row["zeroed"], "listing")
                st.markdown(f"{formats.badge('danger', 'Held')} **{many} of {name} would go to 0**")
                st.markdown(
                    f"Its policy corrects this by itself, and not so many at once. "
                    f"{formats.plural(row['discrepancies'], 'correction waits', 'corrections wait')}; nothing is "
                    "written until somebody says yes."
                )
                st.caption(f"Since {formats.moment(row['since'], row['as_of'], viewer.shop.zone)}")
            with st.container(width=230, gap="xsmall", key=f"acts-brake-{row['connection_id']}"):
                if st.button(
                    f"Yes, zero these {formats.count(row['zeroed'])}…" if row["zeroed"] else "Correct them…",
                    key=f"brake-yes-{row['connection_id']}", type="primary", width="stretch",
                ):  # fmt: skip
                    reconciliation_dialogs.correct(viewer, chosen, f"**{name}**", is_braked=True)
                if st.button("Leave them…", key=f"brake-no-{row['connection_id']}", width="stretch"):
                    reconciliation_dialogs.accept(viewer, chosen, f"**{name}**")


# --- figures ----------------------------------------------------------------------------------------------------------


def draw_figures(totals: Row, points: Sequence[Row], gone: Sequence[int]) -> None:
    """Four figures, each with its past."""
    with st.grid(4, min_column_width=160):
        _figure("open", "Open discrepancies", formats.count(totals["open"]),
                _summed(points, "discrepancies"), "Open discrepancies over seven days",
                f"{formats.count(totals['asked'])} need you" if totals["asked"] else "none needs you",
                "attention" if totals["asked"] else "", "Neither explained nor accepted yet")  # fmt: skip
        _figure("units", "Units of drift", formats.count(totals["units"]), _summed(points, "units"),
                "Units that differ over seven days", f"{formats.plural(totals['skus'], 'SKU')}, "
                f"{formats.plural(totals['orders'], 'order')}", "",
                "What channels and we say differently, added up; of orders only where units differ")  # fmt: skip
        oldest = reconciliation_words.age(totals["oldest_at"], totals["as_of"])
        note = "since it was first seen" if totals["oldest_at"] else "nothing is open"
        _figure("oldest", "Oldest", oldest, [], "", note, "", "What has been different for longest")  # fmt: skip
        _figure("healed", "Healed in 24 h", formats.count(totals["healed"]), list(gone),
                "What was gone again by the hour over a day",
                f"{formats.count(totals['explained'])} more explained themselves", "",
                "Corrected by itself or by a person, and seen to be equal since")  # fmt: skip


def _summed(points: Sequence[Row], field: str) -> list[float]:
    """All connections together, in steps of six hours."""
    steps: dict[Any, int] = {}
    for point in points:
        steps[point["at"]] = steps.get(point["at"], 0) + point[field]
    return [float(value) for _, value in sorted(steps.items())][::2]


def _figure(
    key: str, label: str, value: str, past: Sequence[float | None], says: str, note: str, look: str, about: str
) -> None:
    with st.container(border=True, key=f"metric-{key}", height="stretch"):
        st.metric(label, value, help=about)
        line = components.bars(past, says, look) if past else ""
        components.html(f'{line}<div class="sy-note">{escape(note)}</div>')


def draw_pictures(viewer: people.Viewer, points: Sequence[Row], found: Sequence[Row]) -> None:
    """Drift over time by connection, and what is open by cause; side by side where there is room."""
    tokens = theme.tokens()
    compared = reconciliation_queries.connections(viewer.shop.id, viewer.person.scope)
    colours = charts.channel_colours([*{row["connection_id"] for row in compared}], tokens)
    if not points and not found:
        return
    with st.grid(2, min_column_width=330):
        with st.container(gap="xxsmall", key="drift-picture"):
            st.markdown("**Drift over seven days**, units by connection")
            if points:
                st.plotly_chart(
                    reconciliation_charts.drift(points, colours, tokens, viewer.shop.zone),
                    theme=None, key="drift", config=charts.CONFIG, alt=reconciliation_charts.drift_says(points),
                )  # fmt: skip
            else:
                st.caption("Nothing has differed.")
        with st.container(gap="xxsmall", key="causes-picture"):
            st.markdown("**Open by cause**")
            if found:
                st.plotly_chart(
                    reconciliation_charts.causes(found, tokens),
                    theme=None, key="causes", config=charts.CONFIG, alt=reconciliation_charts.causes_say(found),
                )  # fmt: skip
            else:
                st.caption("Nothing is open.")


# --- connections ------------------------------------------------------------------------------------------------------


def draw_connections(viewer: people.Viewer, found: Sequence[Row]) -> None:
    """When each connection was compared last, what is open, and what corrects itself."""
    st.subheader("Comparisons", anchor="comparisons")
    by_id: dict[int, dict[str, Row]] = {}
    for row in found:
        by_id.setdefault(row["connection_id"], {})[row["kind"]] = row
    for number, kinds in list(by_id.items())[:CONNECTIONS_MAX]:
        stock = kinds["stock"]
        with components.card(_look(kinds), f"comparison-{number}"):
            with st.container(width="stretch", gap="xxsmall"):
                st.markdown(
                    f"**{formats.plain(stock['connection'])}** · {formats.plain(reconciliation_words.policy(stock))}"
                )
                components.html(
                    '<div class="sy-row">'
                    + "".join(f"<span>{_last(kinds[kind], kind, viewer)}</span>" for kind in ("stock", "orders"))
                    + "</div>"
                )
            with st.container(width="content", horizontal=True):
                if st.button("Policy…", key=f"policy-{number}", icon=":material/policy:"):
                    reconciliation_dialogs.edit_policy(viewer, stock)
                if st.button("Reconcile now…", key=f"compare-{number}-now", icon=":material/balance:"):
                    reconciliation_dialogs.compare_now(viewer, _each(found), number)
    if len(by_id) > CONNECTIONS_MAX:
        st.caption(f"The first {CONNECTIONS_MAX} of {formats.count(len(by_id))}, by name.")


def _each(found: Sequence[Row]) -> list[Row]:
    return list({row["connection_id"]: row for row in found}.values())


def _look(kinds: Mapping[str, Row]) -> str:
    if any(row["state"] == "failed" for row in kinds.values()):
        return "attention"
    return "ok" if any(row["last_whole_at"] for row in kinds.values()) else "unknown"


def _last(row: Row, kind: str, viewer: people.Viewer) -> str:
    """The last comparison of a kind, as HTML: when, how much was compared, what was found; or why there is none."""
    name = "Stock" if kind == "stock" else "Orders"
    if row["state"] in ("queued", "reading", "comparing"):
        return f"<b>{name}</b> under way"
    if row["state"] is None:
        return f"<b>{name}</b> never compared"
    when = components.when(row["ended_at"], row["as_of"], viewer.shop.zone)
    if row["state"] == "failed":
        return f"<b>{name}</b> failed {when}: {escape(formats.shortened(row['error'] or '', 140))}"
    noun = "listing" if kind == "stock" else "order"
    return (
        f"<b>{name}</b> {when}, {escape(formats.plural(row['compared'], noun))}, "
        f"{escape(formats.count(row['found']))} differed, {escape(formats.count(row['open']))} open"
    )
