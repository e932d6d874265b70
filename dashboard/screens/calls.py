"""Do the vendors answer us, and who says no? Every outgoing call, as pictures, per channel, and one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from html import escape
from typing import Any

import streamlit as st

from dashboard import call_charts, call_drawer, call_words, calls, charts, components, formats, people, theme

Row = Mapping[str, Any]

_EVERYBODY = "All channels"
_EVERYTHING = "All operations"
# What stands in the address is the word on the button, so the words are the options.
_SHOWS: Mapping[str, tuple[str, ...]] = {
    "All": calls.OUTCOMES,
    "Did not succeed": calls.FAILURES,
    **{formats.state(outcome).word: (outcome,) for outcome in calls.FAILURES},
}
_WINDOW = "1 h"
_FAILING_MAX = 3
_WARNING_IS_NEWS = timedelta(days=1)


def first_page() -> None:
    """A changed filter begins with the newest again."""
    st.query_params.pop("before", None)


def draw_window() -> str:
    """How far back the pictures look, in the address."""
    chosen = st.segmented_control(
        "How far back",
        list(calls.WINDOWS),
        key="window",
        default=_WINDOW,
        required=True,
        bind="query-params",
        label_visibility="collapsed",
    )
    return chosen or _WINDOW


def draw_channel(parties: Sequence[Row]) -> int | None:
    """The channel that pictures and list are about, in the address; None for all."""
    names = {party["name"]: party["connection_id"] for party in parties}
    chosen = st.selectbox(
        "Channel",
        [_EVERYBODY, *names],
        key="connection",
        bind="query-params",
        on_change=first_page,
        label_visibility="collapsed",
        width=220,
    )
    return names.get(chosen)


# --- who answers ----------------------------------------------------------------------------------------------------


@st.fragment(run_every="10s", key="calls-now")
def draw_now(window: str) -> None:
    """The answer and each channel, looked at again every ten seconds."""
    viewer = people.viewer()
    with components.panel("calls-now"):
        with st.skeleton(height=220):
            shop, scope = viewer.shop.id, viewer.person.scope
            parties = calls.parties(shop, scope)
            operations = calls.operations(shop, scope)
            counted = calls.volume(shop, scope, calls.WINDOWS[window], len(parties))
            taken = calls.latency(shop, scope, calls.WINDOWS[window])
        components.headline(
            call_words.answer(parties, operations, counted.begins),
            call_words.balance(counted, window, parties),
            counted.ends,
            viewer.shop.zone,
        )
        if not parties:
            components.empty(
                "No channel is connected",
                "Connect the sandbox’s demo shop with “switchyard seed”; its calls appear here at once.",
            )
            return
        _draw_parties(viewer, parties, operations, counted, taken)
        for party in parties:
            _draw_warning(party, viewer.shop.zone)


_HEADS = (
    ("Channel", False),
    ("State", False),
    ("Calls", True),
    ("Did not succeed", False),
    ("Median", True),
    ("95 % within", True),
    ("Quota left", False),
    ("Last that did not succeed", False),
)


def _draw_parties(
    viewer: people.Viewer,
    parties: Sequence[Row],
    operations: Sequence[Row],
    counted: calls.Volume,
    taken: calls.Latency,
) -> None:
    with st.container(key="calls-parties"):
        components.table(
            _HEADS,
            [_party_cells(party, operations, counted, taken, viewer.shop.zone) for party in parties],
            "Channels and how they answer",
        )


def _party_cells(
    party: Row, operations: Sequence[Row], counted: calls.Volume, taken: calls.Latency, zone: str
) -> tuple[str, ...]:
    number = party["connection_id"]
    mine = counted.only(number)
    counts = {outcome: mine.count(outcome) for outcome in calls.OUTCOMES}
    total, failed = sum(counts.values()), sum(counts[kind] for kind in calls.FAILURES)
    whole = taken.whole.get(number) or {}
    version = f"API {party['api_version']}" if party["api_version"] else party["vendor"]
    return (
        f"<b>{components.link('connections', party['name'], people.viewer().where(connection=str(number)))}</b>"
        f"{_under(escape(version))}",
        _state_cell(party, operations, counted),
        f"{'over ' if mine.reach else ''}{components.number(total)}",
        _failed_cell(failed, total, counts, bool(mine.reach)),
        escape(formats.milliseconds(whole.get("median_ms"))),
        escape(formats.milliseconds(whole.get("slow_ms"))),
        _quota_cell(party, zone),
        _error_cell(party, zone),
    )


def _error_cell(party: Row, zone: str) -> str:
    if party["last_bad_at"] is None:
        return formats.UNKNOWN
    at = components.when(party["last_bad_at"], party["as_of"], zone)
    return f"{escape(call_words.last_error(party))}{_under(at)}"


def _state_cell(party: Row, operations: Sequence[Row], counted: calls.Volume) -> str:
    state = components.pill(call_words.verdict(party, operations, counted.begins))
    found = call_words.failing(party, operations, counted.begins)
    return state + "".join(_under(escape(row["operation"])) for row in found[:_FAILING_MAX])


def _failed_cell(failed: int, total: int, counts: Mapping[str, int], is_cut: bool) -> str:
    if total == 0:
        return formats.UNKNOWN
    if failed == 0:
        return '<span class="sy-muted">none</span>'
    share = "" if is_cut else f"<b>{escape(formats.percent(failed, total))}</b>"
    kinds = escape(call_words.by_kind(counts))
    return f"{share}{_under(kinds)}" if share else kinds


def _quota_cell(party: Row, zone: str) -> str:
    said = escape(call_words.quota(party["quota_left"]))
    if party["quota_left"] is None:
        return said
    asked, at = escape(party["quota_operation"]), components.when(party["quota_at"], party["as_of"], zone)
    return f"{said}{_under(f'{asked}, {at}')}"


def _under(text: str) -> str:
    return f'<div class="sy-meta">{text}</div>'


def _draw_warning(party: Row, zone: str) -> None:
    """What a vendor says it will take away, while it says so."""
    at, now = party["deprecation_at"], party["as_of"]
    if at is None or now - at > _WARNING_IS_NEWS:
        return
    with (
        components.card("attention", f"deprecation-{party['connection_id']}"),
        st.container(width="stretch", gap="xxsmall"),
    ):
        st.markdown(
            f"{formats.badge('attention', 'Deprecated')} **{formats.plain(party['name'])} warns of what it will end**"
        )
        st.markdown(formats.sentence(party["deprecation"]))
        version = f" · API {formats.plain(party['api_version'])}" if party["api_version"] else ""
        st.caption(f"Last said {formats.ago(at, now, zone)}{version}")


# --- pictures -------------------------------------------------------------------------------------------------------


@st.fragment(run_every="30s", key="calls-pictures")
def draw_pictures(window: str, connection_id: int | None) -> None:
    """How many, what did not succeed, how long they took."""
    viewer = people.viewer()
    with components.panel("calls-pictures"):
        with st.skeleton(height=520):
            shop, scope = viewer.shop.id, viewer.person.scope
            parties = calls.parties(shop, scope)
            counted = calls.volume(shop, scope, calls.WINDOWS[window], len(parties)).only(connection_id)
            taken = calls.latency(shop, scope, calls.WINDOWS[window])
        if not counted.rows:
            components.empty(
                f"No call in {call_words.last_of(window)}", "Look further back, or wait: calls are listed as they end."
            )
            return
        # One above the other: the same moment stands at the same place in all three.
        _draw_volume(viewer, counted, window)
        _draw_failures(viewer, counted, window)
        _draw_latency(viewer, parties, counted, taken, window, connection_id)


def _draw_volume(viewer: people.Viewer, counted: calls.Volume, window: str) -> None:
    with st.container(border=True, key="calls-volume"):
        st.markdown("**Calls**, by what became of them")
        st.plotly_chart(
            call_charts.volume(counted, calls.WINDOWS[window], theme.tokens(), viewer.shop.zone),
            theme=None,
            key="volume",
            config=charts.CONFIG,
            alt=call_charts.describe_volume(counted),
        )
        if counted.reach:
            since = formats.exact(max(counted.reach.values()), viewer.shop.zone)
            st.caption(
                f"Counts the newest {formats.count(counted.depth)} of a channel and outcome: here back to {since}."
            )


def _draw_failures(viewer: people.Viewer, counted: calls.Volume, window: str) -> None:
    with st.container(border=True, key="calls-failures"):
        st.markdown("**What did not succeed**, on a scale of its own")
        if not counted.count(*calls.FAILURES):
            components.html(
                f'<div class="sy-empty"><b>Every call succeeded</b><span>in {call_words.last_of(window)}</span></div>'
            )
            return
        st.plotly_chart(
            call_charts.failures(counted, calls.WINDOWS[window], theme.tokens(), viewer.shop.zone),
            theme=None,
            key="failures",
            config=charts.CONFIG,
            alt=call_charts.describe_failures(counted),
        )


def _draw_latency(
    viewer: people.Viewer,
    parties: Sequence[Row],
    counted: calls.Volume,
    taken: calls.Latency,
    window: str,
    connection_id: int | None,
) -> None:
    colours = charts.channel_colours([party["connection_id"] for party in parties], theme.tokens())
    names = {p["connection_id"]: p["name"] for p in parties if connection_id in (None, p["connection_id"])}
    with st.container(border=True, key="calls-latency"):
        st.markdown("**How long they took**, of the calls that succeeded")
        shown = call_charts.drawn_channels(taken, names)
        if not shown:
            components.html(
                f'<div class="sy-empty"><b>No call succeeded</b><span>in {call_words.last_of(window)}</span></div>'
            )
            return
        st.plotly_chart(
            call_charts.latency(
                taken,
                names,
                colours,
                calls.WINDOWS[window],
                counted.begins,
                theme.tokens(),
                viewer.shop.zone,
            ),
            theme=None,
            key="latency",
            config=charts.CONFIG,
            alt=call_charts.describe_latency(taken, names),
        )
        st.caption(_latency_note(viewer, taken, window, len(names) - len(shown)))


def _latency_note(viewer: people.Viewer, taken: calls.Latency, window: str, left_out: int) -> str:
    step = formats.duration(calls.WINDOWS[window].slow_step)
    parts = [f"Steps of {step}; {formats.place(viewer.shop.zone)} time."]
    if call_charts.is_sampled(taken):
        parts.append(f"Busy steps are judged by their newest {calls.SAMPLE} calls of a channel.")
    if left_out > 0:
        parts.append(f"{formats.plural(left_out, 'quieter channel')} left out: choose one to see it.")
    return " ".join(parts)


# --- the list -------------------------------------------------------------------------------------------------------


def draw_list(viewer: people.Viewer, connection_id: int | None) -> None:
    """The calls themselves, newest first."""
    st.subheader("Every call", anchor="every-call")
    with components.panel("calls-list"):
        known = calls.operations(viewer.shop.id, viewer.person.scope)
        operations = sorted({row["operation"] for row in known})
        with st.container(horizontal=True, vertical_alignment="center", key="calls-filters"):
            show = st.segmented_control(
                "Show",
                list(_SHOWS),
                key="show",
                default="All",
                required=True,
                bind="query-params",
                on_change=first_page,
                label_visibility="collapsed",
            )
            operation = st.selectbox(
                "Operation",
                [_EVERYTHING, *operations],
                key="operation",
                bind="query-params",
                on_change=first_page,
                label_visibility="collapsed",
                width=220,
            )
        with st.skeleton(height=480):
            found = calls.page(
                viewer.shop.id,
                viewer.person.scope,
                connection_id,
                _SHOWS[show or "All"],
                operation if operation in operations else None,
                _before(viewer.shop.id),
            )
        if not found.rows:
            _draw_nothing(is_filtered=bool(connection_id or show != "All" or operation in operations))
            return
        _draw_table(viewer, found, f"{connection_id}-{show}-{operation}-{st.query_params.get('before', '')}")
        _draw_pager(viewer, found)


def _before(shop_id: int) -> tuple[Any, int] | None:
    """The call that this page begins after, from the address; one that is forgotten leads to the newest."""
    text = st.query_params.get("before", "")
    known = calls.call(shop_id, int(text)) if text.isdecimal() and len(text) < 19 else None
    return None if known is None else (known["called_at"], known["call_id"])


def _draw_table(viewer: people.Viewer, found: calls.CallPage, mark: str) -> None:
    ids = [row["call_id"] for row in found.rows]
    key = f"calls-{mark}-{st.session_state.get('calls-closed', 0)}"

    def pick() -> None:
        chosen = st.session_state[key].selection.rows
        if chosen:
            st.query_params["call"] = str(ids[chosen[0]])

    st.dataframe(
        as_table(found.rows, viewer.shop.zone),
        hide_index=True,
        key=key,
        column_config=table_config(found.rows),
        height="content",
        on_select=pick,
        selection_mode="single-row",
        placeholder=formats.UNKNOWN,
        alt=f"{len(ids)} calls, newest first; choose one to see all that is known of it",
    )


def as_table(rows: Sequence[Row], zone: str) -> dict[str, list[Any]]:
    """The page's rows as columns."""
    return {
        "When": [formats.moment_with_seconds(row["called_at"], row["as_of"], zone) for row in rows],
        "Channel": [row["connection"] for row in rows],
        "Operation": [row["operation"] for row in rows],
        "Outcome": [[formats.state(row["outcome"]).word] for row in rows],
        "Status": [None if row["status"] is None else str(row["status"]) for row in rows],
        "Took": [formats.milliseconds(row["elapsed_ms"]) for row in rows],
        "Try": [str(row["attempt"]) for row in rows],
        "Why": [None if row["outcome"] == "ok" else call_words.error(row["error"], row["status"]) for row in rows],
        "Quota left": [None if row["quota_left"] is None else call_words.quota(row["quota_left"]) for row in rows],
        "Method": [row["method"] for row in rows],
        "Sync run": [None if row["sync_run_id"] is None else str(row["sync_run_id"]) for row in rows],
    }


def table_config(rows: Sequence[Row]) -> dict[str, Any]:
    """How each column is drawn."""
    config = st.column_config
    states = sorted({formats.state(row["outcome"]) for row in rows})
    right = {
        name: config.TextColumn(width=width, alignment="right")
        for name, width in (("Status", 56), ("Took", 62), ("Try", 40), ("Sync run", 72))
    }
    return {
        "When": config.TextColumn(width=112),
        "Channel": config.TextColumn(width=96),
        "Operation": config.TextColumn(width=144),
        "Outcome": config.MultiselectColumn(
            options=[state.word for state in states], color=[state.colour for state in states], width=92
        ),
        **right,
        "Why": config.TextColumn(width=250),
        "Quota left": config.TextColumn(width=150),
        "Method": config.TextColumn(width=66),
    }


def _draw_pager(viewer: people.Viewer, found: calls.CallPage) -> None:
    def older() -> None:
        st.query_params["before"] = str(found.rows[-1]["call_id"])

    newest: Callable[[], None] | None = first_page if "before" in st.query_params else None
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        components.pager("calls", newest, older if found.more else None, ("Newest", "Older"))
        st.caption(
            f"{formats.plural(len(found.rows), 'call')} shown, {calls.PAGE} a page · choose a row to see all of it · "
            f"{formats.as_of(found.rows[0]['as_of'], viewer.shop.zone)}"
        )


def _draw_nothing(is_filtered: bool) -> None:
    if not is_filtered:
        components.empty("No call was made yet", "Each call to a channel is listed here once it has ended.")
        return
    components.empty("No call matches", "No call of this channel, outcome and operation is on record.")
    st.button("Show all", key="calls-show-all", on_click=_clear)


def _clear() -> None:
    first_page()
    st.session_state["show"], st.session_state["operation"] = "All", _EVERYTHING
    st.session_state["connection"] = _EVERYBODY


def draw(viewer: people.Viewer) -> None:
    """The page: the answer first, though what it is about is chosen below it."""
    head = st.container(key="calls-head")
    with components.panel("calls-filter"):
        parties = calls.parties(viewer.shop.id, viewer.person.scope)
        connection_id, window = None, _WINDOW
        if parties:
            with st.container(horizontal=True, vertical_alignment="center", key="calls-window"):
                window = draw_window()
                connection_id = draw_channel(parties)
        with head:
            draw_now(window)
        if parties:
            draw_pictures(window, connection_id)
            draw_list(viewer, connection_id)
    call_drawer.open_wanted(viewer)


draw(people.viewer())
