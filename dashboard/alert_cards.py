"""Alerts as cards and rows: what is wrong, how wide, since when, who has it, where to look; and taking one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from core.audit import Actor
from dashboard import alert_actions, alert_queries, alert_words, components, formats, people, previews

Row = Mapping[str, Any]

SCREENS = Path(__file__).parent / "screens"


def draw_open(viewer: people.Viewer, found: Sequence[Row]) -> None:
    """A card for each; the first that nobody has carries the page's primary button."""
    first = next((row["alert_id"] for row in found if row["state"] == "open"), None)
    for row in found:
        card(viewer, row, is_worst=row["alert_id"] == first)


def card(viewer: people.Viewer, row: Row, *, is_worst: bool, is_alone: bool = False) -> None:
    """One alert; `is_alone`: on its own page, where nothing leads to it."""
    with components.card(alert_words.look(row), f"alert-{row['alert_id']}"):
        with st.container(width="stretch", gap="xxsmall"):
            _text(viewer, row)
        with st.container(width="content", horizontal=True, vertical_alignment="center", key=f"acts-{row['alert_id']}"):
            if not is_alone:
                components.open_here("History", f"history-{row['alert_id']}", alert=str(row["alert_id"]))
            if row["state"] == "open" and st.button(
                "Acknowledge…",
                key=f"take-{row['alert_id']}",
                type="primary" if is_worst else "secondary",
                icon=":material/front_hand:",
            ):
                ask_to_take(viewer, row)


def _text(viewer: people.Viewer, row: Row) -> None:
    zone = viewer.shop.zone
    st.markdown(f"{alert_words.badges(row)} **{formats.plain(row['headline'])}**")
    st.markdown(formats.sentence(row["sentence"]))
    if figures := alert_words.width(row):
        shown = "".join(f"<span><b>{escape(number)}</b> {escape(name)}</span>" for number, name in figures)
        components.html(f'<div class="sy-row">{shown}</div>')
    for said in (alert_words.holder(row, zone), alert_words.unknown(row, zone), alert_words.clearing(row, zone)):
        if said:
            st.markdown(said)
    st.caption(alert_words.meta(row, zone))
    if row["closed_at"] is None:
        _next_step(viewer, row)
        _draw_parts(viewer, alert_words.parts(row))


def _draw_parts(viewer: people.Viewer, found: Sequence[Row]) -> None:
    """What follows from it, each with the page where it is dealt with."""
    if not found:
        return
    items = "".join(f"<li>{_part(viewer, each)}</li>" for each in found)
    components.html(
        '<div class="sy-meta">Part of it, and not told of by itself. What still holds when the channel has answered'
        f' for a while is told then.</div><ul class="sy-parts">{items}</ul>'
    )


def _part(viewer: people.Viewer, part: Row) -> str:
    if "more" in part:
        return escape(f"and {formats.count(part['more'])} more")
    where = viewer.where(**{name: str(value) for name, value in part["address"].items()})
    figures = alert_words.part_figures(part)
    link = components.link(part["page"], part["headline"], where)
    return link + (f' <span class="sy-meta">{escape(figures)}</span>' if figures else "")


def _next_step(viewer: people.Viewer, row: Row) -> None:
    """What to do, and the page where it is done, where there is one."""
    where = viewer.where(**{name: str(value) for name, value in row["address"].items()})
    is_page = row["page"].isidentifier() and (SCREENS / f"{row['page']}.py").is_file()
    step = components.link(row["page"], row["next_step"], where) if is_page else escape(row["next_step"])
    # Not a page link: that cuts a sentence off at the edge of a phone.
    components.html(f'<div class="sy-next">→ {step}</div>')


def ask_to_take(viewer: people.Viewer, row: Row) -> None:
    """Ask who takes it and why: what that changes, and what it does not."""
    about = f"{alert_words.badges(row)} **{formats.plain(row['headline'])}**"
    held = formats.duration((row["as_of"] - row["opened_at"]).total_seconds())
    figures = [(escape(number), name) for number, name in alert_words.width(row)]
    previews.ask(
        previews.Preview(
            "Acknowledge this alert?",
            ":material/front_hand:",
            about,
            [(held, "open"), *figures],
            [
                f"**{formats.plain(viewer.person.name)} has it** from now on, for everybody to see.",
                "It is not told again unless it gets much worse.",
                "It stays open until what is wrong is over: then it closes by itself. Acknowledging repairs nothing.",
            ],
            None,
            "Acknowledge",
            "I am on it: the token is being renewed",
            partial(_take, viewer.shop.id, row["alert_id"]),
        )
    )


def _take(shop_id: int, alert_id: int, actor: Actor) -> str:
    said = alert_actions.acknowledge(alert_actions.application(), shop_id, alert_id, actor)
    alert_queries.forget()
    return said


def draw_over(viewer: people.Viewer, found: Sequence[Row]) -> None:
    """Alerts that are over, as a table; each headline leads to its history."""
    zone = viewer.shop.zone
    body = [
        (
            components.when(row["closed_at"], row["as_of"], zone),
            f"<b>{components.link('alerts', row['headline'], viewer.where(alert=str(row['alert_id'])))}</b><br>"
            f'<span class="sy-meta">{escape(alert_words.kind(row["kind"]))} · '
            f"{escape(row['connection'] or 'the whole shop')}</span>",
            escape(formats.duration((row["closed_at"] - row["opened_at"]).total_seconds())),
            escape(alert_words.over(row)),
            escape(row["acknowledged_by"] or formats.UNKNOWN),
            components.number(row["times"]),
        )
        for row in found
    ]
    heads = [("Over", False), ("What was wrong", False), ("Lasted", False), ("Because", False), ("Who had it", False),
             ("In 30 days", True)]  # fmt: skip
    components.table(heads, body, "Alerts that are over")


def pager(key: str, name: str, value: str | None, words: tuple[str, str]) -> None:
    """Buttons through a keyset whose position stands in the address under `name`; `value` leads on, where more is."""

    def back() -> None:
        st.query_params.pop(name, None)

    def on() -> None:
        if value is not None:
            st.query_params[name] = value

    there: Callable[[], None] | None = back if name in st.query_params else None
    if there is not None or value is not None:
        components.pager(key, there, on if value is not None else None, words)
