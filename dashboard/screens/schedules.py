"""What runs when, did it, and what is next?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

import streamlit as st

from core.errors import Retryable
from core.ports import BrokerReading
from core.runs.schedules import SCHEDULES
from dashboard import (
    components,
    formats,
    jobs_queries,
    people,
    schedule_dialogs,
    schedule_queries,
    schedule_words,
)
from dashboard.schedule_words import Cell, View

_LOOKS = {
    "ok": "ok", "failed": "danger", "skipped": "attention", "gap": "gap", "none": "none", "before": "before",
    "paused": "paused",
}  # fmt: skip
_HEADS = ("Schedule", "State", "Last turn", "Next turn")


def _go(**where: str | None) -> Callable[[], None]:
    def go() -> None:
        for name, value in where.items():
            st.query_params.pop(name, None)
            if value is not None:
                st.query_params[name] = value

    return go


def read_broker(viewer: people.Viewer) -> BrokerReading | None:
    """What only the broker knows; None while it does not answer, which is shown as such."""
    try:
        return jobs_queries.broker_reading(viewer.person.scope)
    except Retryable:
        return None


def read(viewer: people.Viewer) -> tuple[list[View], dict[str, list[Cell]], bool]:
    """Every schedule as it stands, its day, and whether Redis answers; read before anything is drawn."""
    shop, scope, zone = viewer.shop.id, viewer.person.scope, viewer.shop.zone
    rows = {row["name"]: row for row in schedule_queries.standing(shop, scope)}
    since, found = schedule_queries.day(shop, scope)
    broker = read_broker(viewer)
    steps: dict[str, dict[int, Mapping[str, Any]]] = {}
    for step in found:
        steps.setdefault(step["name"], {})[step["ago"]] = step
    rings = broker.next_rings if broker is not None else None
    views = [schedule_words.look(schedule, rows[schedule.name], zone, rings) for schedule in SCHEDULES]
    pictures = {
        view.schedule.name: schedule_words.cells(
            view.schedule, steps.get(view.schedule.name, {}), view.row, since, zone, schedule_queries.STEP_SECONDS,
            schedule_queries.STEPS,
        )
        for view in views
    }  # fmt: skip
    return views, pictures, broker is not None


@st.fragment(run_every="10s", key="schedules-now")
def now() -> None:
    """Everything, looked at every ten seconds; dialogs are left alone."""
    viewer = people.viewer()
    with components.panel("schedules"):
        with st.skeleton(height=480):
            views, pictures, is_redis_known = read(viewer)
        as_of, zone = views[0].row["as_of"], viewer.shop.zone
        gaps = sum("gap" in cells for cells in pictures.values())
        components.headline(*schedule_words.headline(views, is_redis_known, gaps), as_of, zone)
        draw_legend(as_of, zone)
        with st.container(border=True, key="schedules-table", gap=None):
            _head()
            for view in views:
                _draw_row(viewer, view, pictures[view.schedule.name])
        st.caption(
            f"Times are {formats.place(zone)}’s. A turn that was missed is caught up once; one that would join the "
            "former, still at work, is skipped. The next turn is what the schedule says, whatever Redis remembers."
        )


def draw_legend(as_of: datetime, zone: str) -> None:
    """What the pictures' cells are."""
    words = (("ok", "as it should be"), ("danger", "failed"), ("attention", "skipped"), ("gap", "a turn is missing"),
             ("paused", "paused"), ("none", "nothing was due"))  # fmt: skip
    shown = "".join(f'<span><i class="sy-cell sy-cell-{look}"></i>{escape(word)}</span>' for look, word in words)
    began = as_of.timestamp() - schedule_queries.STEPS * schedule_queries.STEP_SECONDS
    since = formats.moment(datetime.fromtimestamp(began, as_of.tzinfo), as_of, zone)
    components.html(f'<div class="sy-legend sy-strip-legend"><b>Since {escape(since)}</b>{shown}</div>')


def _head() -> None:
    cells = "".join(f"<div>{escape(head)}</div>" for head in _HEADS)
    with st.container(horizontal=True, wrap=False, key="schedule-head", vertical_alignment="center"):
        components.html(f'<div class="sy-cells sy-schedules" aria-hidden="true">{cells}</div>')
        st.html('<div class="sy-go-two"></div>', width="content")


def _draw_row(viewer: people.Viewer, view: View, day: Sequence[Cell]) -> None:
    name = view.schedule.name
    where = viewer.where(schedule=name)
    cells = (
        f"<b>{components.link('schedules', name, where)}</b><div class='sy-meta'>"
        f"{escape(view.schedule.description)}; "
        f'<span class="sy-nowrap">{escape(schedule_words.rhythm(view.schedule, viewer.shop.zone))}</span></div>',
        components.pill(view.state),
        _last(view, viewer.shop.zone),
        _next(view, viewer.shop.zone),
    )
    shown = "".join(
        f'<div class="{"sy-wide" if place == 0 else ""}">'
        f'<span class="{"sy-hidden" if place < 2 else "sy-label"}">{head}</span>{cell}</div>'
        for place, (head, cell) in enumerate(zip(_HEADS, cells, strict=True))
    )
    with st.container(horizontal=True, wrap=False, key=f"schedule-row-{_key(name)}", vertical_alignment="center"):
        components.html(f'<div class="sy-cells sy-schedules">{shown}</div>{_strip(name, day)}')
        with st.container(width="content", horizontal=True, gap="xxsmall", key=f"schedule-acts-{_key(name)}"):
            _acts(view)


def _key(name: str) -> str:
    return name.replace(".", "-")


def _acts(view: View, is_full: bool = False) -> None:
    name, key = view.schedule.name, _key(view.schedule.name)
    is_paused = view.row["is_paused"]
    if st.button(
        "Run now…", key=f"run-{key}", help=f"Run {name} once, beside the clock’s turns",
        type="primary" if is_full and view.state in ("late", "failed") else "secondary",
    ):  # fmt: skip
        schedule_dialogs.run_now(view)
    if st.button("Resume…" if is_paused else "Pause…", key=f"pause-{key}", help=f"Pause or resume {name}"):
        (schedule_dialogs.resume if is_paused else schedule_dialogs.pause)(view)


def _last(view: View, zone: str) -> str:
    row = view.row
    if row["started_at"] is None:
        return f"<span class='sy-muted'>{formats.UNKNOWN}</span>"
    took = f" in {formats.milliseconds(round(row['seconds'] * 1000))}" if row["seconds"] is not None else ""
    outcome = formats.state(schedule_words.outcome(row)).word
    asked = " by a click" if row["trigger"] == "click" else ""
    when = components.when(row["started_at"], row["as_of"], zone)
    return f"{when}{escape(asked)}<div class='sy-meta'>{escape(outcome)}{escape(took)}</div>"


def _next(view: View, zone: str) -> str:
    row = view.row
    if row["is_paused"]:
        return f"{escape(schedule_words.next_word(view))}<div class='sy-meta'>{escape(row['changed_by'] or '')}</div>"
    said = [escape(schedule_words.next_word(view))]
    if view.schedule.daily_after is not None and view.next_at is not None and not view.is_due:
        said.append(f"<div class='sy-meta'>{escape(formats.moment(view.next_at, row['as_of'], zone))}</div>")
    if row["wished_by"]:
        said.append(f"<div class='sy-meta'>{escape(row['wished_by'])} asked for one</div>")
    return "".join(said)


def _strip(name: str, day: Sequence[Cell]) -> str:
    cells = "".join(f'<i class="sy-cell sy-cell-{_LOOKS[cell]}"></i>' for cell in day)
    label = escape(schedule_words.day_words(name, day))
    return f'<div class="sy-strip" role="img" aria-label="{label}" title="{label}">{cells}</div>'


# --- one schedule -----------------------------------------------------------------------------------------------------


def _position() -> tuple[datetime, str] | None:
    at, mark, period = st.query_params.get("before", "").partition("~")
    try:
        return (datetime.fromisoformat(at), period) if mark else None
    except ValueError:
        return None


def draw_one(viewer: people.Viewer, name: str) -> None:
    """One schedule with its day, its acts, and what it did, turn by turn."""
    views, pictures, _ = read(viewer)
    view = next((view for view in views if view.schedule.name == name), None)
    if view is None:
        components.empty(f"No schedule is named {name}", "All of them are in the list.")
        return
    zone = viewer.shop.zone
    components.title(name, schedule_words.rhythm(view.schedule, zone), formats.as_of(view.row["as_of"], zone))
    with components.card(view.state, f"schedule-{_key(name)}"):
        with st.container(width="stretch", gap="xxsmall"):
            description = view.schedule.description
            st.markdown(f"{formats.badge(view.state)} **{formats.sentence(description)}**")
            components.html(
                f'<div class="sy-row"><span><b>{escape(schedule_words.next_word(view))}</b> next turn</span>'
                f"<span><b>{escape(formats.ago(view.row['succeeded_at'], view.row['as_of'], zone))}</b> "
                f"last succeeded</span></div>{_strip(name, pictures[name])}"
            )
            if view.row["is_paused"]:
                st.caption(f"Paused by {formats.plain(view.row['changed_by'])}")
        with st.container(width="content", horizontal=True):
            _acts(view, is_full=True)
    draw_history(viewer, name)


def draw_history(viewer: people.Viewer, name: str) -> None:
    """Turns, newest first, by page."""
    st.subheader("Turns", anchor="turns")
    before = _position()
    page = schedule_queries.history(viewer.shop.id, name, before)
    if not page.rows:
        components.empty("No turn is on record", "The first one shows here within seconds of its end.")
    else:
        heads = [("Began", False), ("Outcome", False), ("Took", True), ("Was due", False), ("Counted", False),
                 ("Why", False)]  # fmt: skip
        body = [_turn_cells(row, viewer.shop.zone) for row in page.rows]
        components.table(heads, body, f"Turns of {name}", dense=True)
    if before is not None or page.more:
        last = page.rows[-1] if page.rows else None
        onward = f"{last['started_at'].isoformat()}~{last['period']}" if last else None
        components.pager(
            "turns",
            _go(before=None) if before is not None else None,
            _go(before=onward) if page.more else None,
            ("Newest", "Older"),
        )


def _turn_cells(row: Mapping[str, Any], zone: str) -> tuple[str, ...]:
    seconds = None if row["seconds"] is None or row["outcome"] == "skipped" else round(row["seconds"] * 1000)
    return (
        components.when(row["started_at"], row["as_of"], zone),
        components.pill(schedule_words.outcome(row)),
        escape(formats.milliseconds(seconds)),
        components.when(row["due_at"], row["as_of"], zone) if row["trigger"] == "schedule" else "on click",
        escape(schedule_words.result_words(row) or formats.UNKNOWN),
        f"<span class='sy-meta'>{escape(schedule_words.why(row) or 'by the clock')}</span>",
    )


def draw(viewer: people.Viewer) -> None:
    """One schedule, where the address names it; else all."""
    name = st.query_params.get("schedule")
    if not name:
        now()
        return
    st.button(
        "All schedules", key="all-schedules", type="tertiary", icon=":material/arrow_back:",
        on_click=_go(schedule=None, before=None),
    )  # fmt: skip
    with components.panel("schedule"):
        draw_one(viewer, name)


draw(people.viewer())
