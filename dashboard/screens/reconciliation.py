"""What differs between us and the channels, since when, and why?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from core.reconciliation.operations import Chosen
from dashboard import (
    components,
    formats,
    people,
    reconciliation_dialogs,
    reconciliation_panels,
    reconciliation_queries,
    reconciliation_words,
)
from dashboard.reconciliation_queries import Key

Row = Mapping[str, Any]

_HERE = Path(__file__).parent
FAILURES, ORDERS, SKUS, MAPPING = (_HERE / f"{name}.py" for name in ("failures", "orders", "skus", "mapping"))
# What stands in the address is the word on the button, so the words are the options.
_SHOWS = {
    "Open": "open",
    "Needs you": "asked",
    "Being corrected": "healing",
    "Waits": "waiting",
    "Accepted": "accepted",
    "Gone": "resolved",
}
_KINDS = {"Stock and orders": "all", "Stock": "stock", "Orders and refunds": "orders"}
_EVERYWHERE, _ANY = "Every connection", "Any cause"


def first_page() -> None:
    """What is shown changes: begin at its first page."""
    st.query_params.pop("after", None)


def clear() -> None:
    """Show everything that is open."""
    first_page()
    st.session_state.update(
        {"show": "Open", "kind": "Stock and orders", "connection": _EVERYWHERE, "cause": _ANY, "q": ""}
    )


def turn(row: Row | None) -> Callable[[], None]:
    """A callback that begins the list behind a row, or at its beginning again."""

    def go() -> None:
        first_page()
        if row is not None:
            st.query_params["after"] = f"{row['rank']}~{row['weight']}~{row['discrepancy_id']}"

    return go


def position() -> Key | None:
    """The row that this page begins behind, from the address: rank~weight~id."""
    parts = [formats.number(part) for part in st.query_params.get("after", "").split("~")]
    if len(parts) != 3 or None in parts:
        return None
    rank, weight, number = (part or 0 for part in parts)
    return rank, weight, number


# --- the top ----------------------------------------------------------------------------------------------------------


@st.fragment(run_every="10s", key="now")
def now() -> None:
    """The answer, the brake and the figures, looked at every ten seconds; the list is left as it is."""
    viewer = people.viewer()
    shop, scope = viewer.shop.id, viewer.person.scope
    with components.panel("reconciliation-now"):
        with st.skeleton(height=240):
            totals = reconciliation_queries.totals(shop, scope)
            compared = reconciliation_queries.connections(shop, scope)
            braked = reconciliation_queries.braked(shop, scope)
            points = reconciliation_queries.drift(shop, scope)
            gone = reconciliation_queries.healed_by_hour(shop, scope)
        answer, rest = reconciliation_words.headline(totals, compared, viewer.shop.zone)
        components.headline(answer, rest, totals["as_of"], viewer.shop.zone)
        reconciliation_panels.draw_brakes(viewer, braked)
        if compared:
            reconciliation_panels.draw_figures(totals, points, gone)


# --- the list ---------------------------------------------------------------------------------------------------------


def draw_filters(compared: Sequence[Row], causes: Sequence[Row]) -> dict[str, Any]:
    """What the list shows, each part in the address."""
    names = {row["connection"]: row["connection_id"] for row in compared}
    by_words = {reconciliation_words.cause(row["cause"]): row["cause"] for row in causes}
    # One that the address names stays, should nothing of it be open any more.
    wanted = st.query_params.get("cause", _ANY)
    known = {words: name for name, words in reconciliation_words.CAUSES.items()}
    if wanted in known:
        by_words.setdefault(wanted, known[wanted])
    with st.container(horizontal=True, vertical_alignment="center", key="filters"):
        show = st.segmented_control(
            "Show", list(_SHOWS), key="show", default="Open", required=True, bind="query-params", on_change=first_page,
            label_visibility="collapsed",
        )  # fmt: skip
        kind = st.selectbox(
            "Of what", list(_KINDS), key="kind", bind="query-params", on_change=first_page,
            label_visibility="collapsed", width=180,
        )  # fmt: skip
        connection = st.selectbox(
            "Connection", [_EVERYWHERE, *names], key="connection", bind="query-params", on_change=first_page,
            label_visibility="collapsed", width=180,
        )  # fmt: skip
        cause = st.selectbox(
            "Cause", [_ANY, *by_words], key="cause", bind="query-params", on_change=first_page,
            label_visibility="collapsed", width=180,
        )  # fmt: skip
        text = st.text_input(
            "SKU or order", type="search", key="q", bind="query-params", placeholder="SKU or order",
            icon=":material/search:", on_change=first_page, label_visibility="collapsed", width=190,
        )  # fmt: skip
    return {
        "show": _SHOWS[show or "Open"],
        "kind": _KINDS[kind or "Stock and orders"],
        "connection_id": names.get(connection or ""),
        "cause": by_words.get(cause or ""),
        "text": (text or "").strip(),
    }


def draw_list(viewer: people.Viewer, compared: Sequence[Row]) -> None:
    """A page of discrepancies, what needs a person most first, each with what may be done about it."""
    shop, scope = viewer.shop.id, viewer.person.scope
    causes = reconciliation_queries.causes(shop, scope)
    wanted = draw_filters(compared, causes)
    after = position()
    with st.skeleton(height=420):
        found = reconciliation_queries.page(shop, scope, **wanted, after=after)
    draw_group(viewer, wanted, found, after)
    if not found.rows:
        draw_nothing(wanted, compared, after, viewer)
        return
    # What the brake holds has its button above.
    is_braked = bool(reconciliation_queries.braked(shop, scope))
    for place, row in enumerate(found.rows):
        draw_one(viewer, row, is_first=place == 0 and after is None and not is_braked)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        if found.more or after is not None:
            components.pager(
                "discrepancies",
                turn(None) if after else None,
                turn(found.rows[-1]) if found.more else None,
                ("Worst", "More"),
            )
        st.caption(
            f"{formats.plural(len(found.rows), 'discrepancy', 'discrepancies')} shown, "
            f"{reconciliation_queries.PAGE} a page · {formats.as_of(found.rows[0]['as_of'], viewer.shop.zone)}"
        )


def draw_group(viewer: people.Viewer, wanted: Mapping[str, Any], found: Any, after: Key | None) -> None:
    """All of one cause at one connection may be done at once."""
    if wanted["connection_id"] is None or wanted["cause"] is None or after is not None or wanted["text"]:
        return
    if wanted["show"] not in ("open", "asked") or len(found.rows) < 2:
        return
    name = formats.plain(found.rows[0]["connection"])
    about = f"**{name}**: {reconciliation_words.cause(wanted['cause'])}"
    chosen = Chosen(wanted["connection_id"], cause=wanted["cause"])
    with st.container(horizontal=True, key="acts-all"):
        if wanted["cause"] in reconciliation_words.CORRECTABLE and st.button(
            "Correct all…", key="correct-all", icon=":material/edit:"
        ):
            reconciliation_dialogs.correct(viewer, chosen, about)
        if st.button("Accept all…", key="accept-all", icon=":material/pan_tool:"):
            reconciliation_dialogs.accept(viewer, chosen, about)


def draw_one(viewer: people.Viewer, row: Row, *, is_first: bool) -> None:
    """One discrepancy: what, where, both sides, why, since when, and what can be done."""
    number, as_of, zone = row["discrepancy_id"], row["as_of"], viewer.shop.zone
    with components.card(reconciliation_words.look(row), f"discrepancy-{number}"):
        with st.container(width="stretch", gap="xxsmall"):
            title = f" {formats.plain(row['title'])}" if row["title"] else ""
            st.markdown(
                f"{reconciliation_words.badge(row)} **{formats.plain(reconciliation_words.subject(row))}**{title} · "
                f"{reconciliation_words.cause(row['cause'])}"
            )
            components.html(reconciliation_words.sides(row))
            st.markdown(f"{reconciliation_words.why(row)} {reconciliation_words.next_step(row)}")
            seen = (
                f"seen {formats.count(row['times_seen'])} times, last {formats.ago(row['last_seen_at'], as_of, zone)}"
            )
            since = f"For {reconciliation_words.age(row['first_seen_at'], as_of)}"
            place = f" · {formats.plain(row['location'])}" if row["location"] else ""
            st.caption(f"{since} · {seen if row['times_seen'] > 1 else 'seen once'}{place}")
            with st.container(horizontal=True, gap="medium", vertical_alignment="center", key=f"more-{number}"):
                draw_ways(viewer, row)
        with st.container(width=180, gap="xsmall", key=f"acts-{number}"):
            draw_acts(viewer, row, is_first)


def draw_ways(viewer: people.Viewer, row: Row) -> None:
    """Where more of it is to be seen."""
    key = f"history-{row['discrepancy_id']}"
    if st.button("How it came about", key=key, type="tertiary", icon=":material/history:"):
        reconciliation_dialogs.history(viewer, row)
    if row["order_id"] is not None:
        _link(viewer, ORDERS, "Open the order", order=str(row["order_id"]))
    elif row["code"]:
        _link(viewer, SKUS, "Open the SKU", sku=row["code"])


def draw_acts(viewer: people.Viewer, row: Row, is_first: bool) -> None:
    """The buttons of one: the one next step first, and only the worst of the page has it filled."""
    number, is_order = row["discrepancy_id"], row["kind"] in reconciliation_words.ORDERS
    chosen, about = Chosen(row["connection_id"], discrepancy_id=number), reconciliation_words.about(row)
    is_asked = row["state"] == "open" and row["action"] == "asked"
    step: Literal["primary", "secondary"] = "primary" if is_first and is_asked else "secondary"
    corrects = is_asked and row["cause"] in reconciliation_words.CORRECTABLE
    if is_asked and row["cause"] == "parked":
        _link(viewer, FAILURES, "Open the message", connection=row["connection"], source="Messages")
    elif is_asked and row["cause"] == "mapping":
        _link(viewer, MAPPING, "Map it", connection=row["connection"])
    elif corrects and st.button(
        "Correct…", key=f"correct-{number}", type=step, width="stretch", icon=":material/edit:"
    ):
        reconciliation_dialogs.correct(viewer, chosen, about)
    if row["state"] != "resolved" and (is_order or row["code"]):
        way = step if is_order and row["cause"] not in ("parked", "missing_there") else "secondary"
        if st.button("Read again…", key=f"read-{number}", width="stretch", icon=":material/refresh:", type=way):
            reconciliation_dialogs.read_again(viewer, row)
    if is_asked and st.button("Accept…", key=f"accept-{number}", width="stretch"):
        reconciliation_dialogs.accept(viewer, chosen, about)


def _link(viewer: people.Viewer, page: Path, label: str, **where: str) -> None:
    st.page_link(
        page, label=label, icon=":material/arrow_forward:", icon_position="right", query_params=viewer.where(**where)
    )


def draw_nothing(wanted: Mapping[str, Any], compared: Sequence[Row], after: Key | None, viewer: people.Viewer) -> None:
    """Nothing to show: why, and what next."""
    is_filtered = after is not None or wanted != {
        "show": "open", "kind": "all", "connection_id": None, "cause": None, "text": "",
    }  # fmt: skip
    if is_filtered:
        components.empty("Nothing here", "No discrepancy matches what is chosen.")
        st.button("Show all that is open", key="show-all", on_click=clear)
    elif not any(row["last_whole_at"] for row in compared):
        components.empty(
            "Nothing has been compared yet",
            "Stock is compared every day and orders every night; or now, with the button above.",
        )
    else:
        components.empty("Nothing differs", "This page looks again every 10 seconds.")


# --- the page ---------------------------------------------------------------------------------------------------------


def draw(viewer: people.Viewer) -> None:
    """What runs, the answer, the pictures, the list, the comparisons."""
    shop, scope = viewer.shop.id, viewer.person.scope
    with components.panel("reconciliation-runs"):
        reconciliation_panels.draw_runs(viewer)
    now()
    with components.panel("reconciliation"):
        with st.skeleton(height=420):
            found = reconciliation_queries.connections(shop, scope)
            points = reconciliation_queries.drift(shop, scope)
            causes = reconciliation_queries.causes(shop, scope)
        compared = list({row["connection_id"]: row for row in found}.values())
        if not compared:
            components.empty("No channel is connected", "Connect the sandbox’s demo shop with “switchyard seed”.")
            return
        reconciliation_panels.draw_pictures(viewer, points, causes)
        with st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom", key="list-head"
        ):
            st.subheader("What differs", anchor="what-differs")
            if st.button("Reconcile now…", key="reconcile-now", icon=":material/balance:"):
                named = st.query_params.get("connection")
                number = next((row["connection_id"] for row in compared if row["connection"] == named), None)
                reconciliation_dialogs.compare_now(viewer, compared, number, st.query_params.get("q", ""))
        draw_list(viewer, compared)
        reconciliation_panels.draw_connections(viewer, found)


draw(people.viewer())
