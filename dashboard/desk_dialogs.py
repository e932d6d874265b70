"""The preview of an act of the Desk, its reason, the act, and what it said; then the way to take it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.desk.booking import Outcome
from core.errors import Anticipated, SwitchyardError
from dashboard import components, desk_actions, desk_queries, desk_words, formats, people, queries

_DONE = "desk-done"


@dataclass(frozen=True, slots=True)
class Asked:
    """An act about to be confirmed: what it is called, why it might be done, and what follows when it is done."""

    title: str
    icon: str
    act: desk_actions.Act
    hint: str
    verb: str | None = None
    about: Sequence[str] = ()
    after: Callable[[Outcome], None] | None = None
    is_undoable: bool = True
    done: str | None = None
    """What it says when it is done, before its units and SKUs; by default what its document is."""


def ask(asked: Asked) -> None:
    """Show what an act would do, and do it when it is confirmed. A refusal is shown in place of the button."""
    app = desk_actions.application()
    shop = people.viewer().shop
    with components.panel("desk-preview"):
        places = desk_queries.locations(shop.id, people.viewer().person.scope)
        try:
            plan: Outcome | None = desk_actions.preview(app, asked.act)
            refusal = ""
        except Anticipated as refused:
            plan, refusal = None, str(refused)
        components.open_dialog(
            st.dialog(asked.title, width="medium", icon=asked.icon)(partial(_draw, asked, plan, refusal, places))
        )


def _draw(asked: Asked, plan: Outcome | None, refusal: str, places: Mapping[int, str]) -> None:
    if plan is None:
        st.error(formats.plain(refusal), icon=":material/error:")
        st.caption("Nothing was booked.")
        return
    components.figures(
        [
            (formats.count(plan.units), "unit" if plan.units == 1 else "units"),
            (formats.count(plan.skus), "SKU" if plan.skus == 1 else "SKUs"),
        ]
    )
    desk_words.draw_changes(plan.changes, places)
    notes = [*asked.about, *plan.notes]
    if not plan.is_new:
        notes.insert(0, f"Booked already, by {plan.by}: confirming changes nothing.")
    if notes:
        st.markdown("\n".join(f"- {formats.plain(note)}" for note in notes))
    with st.form("desk-act", border=False, enter_to_submit=True):
        reason = st.text_input("Reason", required=True, placeholder=asked.hint, key="desk-reason")
        with st.container(horizontal=True, horizontal_alignment="right"):
            go = st.form_submit_button(asked.verb or desk_words.verb(plan), type="primary")
    if go:
        _do(asked, reason or "")


def _do(asked: Asked, reason: str) -> None:
    viewer = people.viewer()
    try:
        actor = Actor(viewer.person.name, reason)
        done = desk_actions.do(desk_actions.application(), viewer.shop.id, asked.act, actor)
    except SwitchyardError as refused:
        st.error(formats.plain(str(refused)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "desk-act")
        return
    if asked.after is not None:
        asked.after(done)
    if asked.is_undoable:
        remember(done, asked.done)
    look_again(desk_words.said(done, asked.done))


def undo(document_id: int, kind: str) -> None:
    """Ask whether a document is to be taken back."""
    shop = people.viewer().shop
    what = desk_words.name(kind, document_id).lower()
    ask(
        Asked(
            f"Undo {what}?",
            ":material/undo:",
            desk_actions.undoing(shop.id, document_id),
            "It was the wrong delivery",
            verb=f"Undo {what}",
            about=["A document with the opposite movements is booked; both stay in the journal."],
            after=lambda _done: forget_done(),
            is_undoable=False,
            done=f"{desk_words.name(kind, document_id)} is undone",
        )
    )


def simple(title: str, icon: str, hint: str, verb: str, text: str, act: Callable[[Actor], str]) -> None:
    """Ask for the reason of an act that moves no stock by itself."""

    def draw() -> None:
        st.markdown(text)
        with st.form("desk-simple", border=False, enter_to_submit=True):
            reason = st.text_input("Reason", required=True, placeholder=hint, key="desk-reason")
            with st.container(horizontal=True, horizontal_alignment="right"):
                go = st.form_submit_button(verb, type="primary")
        if not go:
            return
        try:
            said = act(Actor(people.viewer().person.name, reason or ""))
        except SwitchyardError as refused:
            st.error(formats.plain(str(refused)), icon=":material/error:")
            return
        except SQLAlchemyError as error:
            components.failed(error, "desk-simple")
            return
        look_again(said)

    components.open_dialog(st.dialog(title, width="medium", icon=icon)(draw))


def remember(done: Outcome, words: str | None = None) -> None:
    """Keep what was done last on top of the page, with the way to take it back."""
    if done.is_new:
        st.session_state[_DONE] = (done.document_id, done.kind, desk_words.said(done, words))


def forget_done() -> None:
    """Take the line away."""
    st.session_state.pop(_DONE, None)


def draw_done() -> None:
    """What was done last, for as long as the page is open."""
    if _DONE not in st.session_state:
        return
    document_id, kind, said = st.session_state[_DONE]
    with components.card("done", "desk-done"):
        st.markdown(f"{formats.badge('done')} {formats.plain(said)}", width="stretch")
        with st.container(horizontal=True, width="content"):
            if kind not in ("purchase_order", "count"):
                st.button(
                    "Undo…", key="desk-undo", icon=":material/undo:", on_click=_want_undo, args=(document_id, kind)
                )
            components.open_here("Open", "desk-open-done", document=str(document_id))
            st.button("Hide", key="desk-hide", type="tertiary", on_click=forget_done)
    if st.session_state.pop("desk-undo-wanted", None) == document_id:
        undo(document_id, kind)


def _want_undo(document_id: int, _kind: str) -> None:
    st.session_state["desk-undo-wanted"] = document_id


def look_again(said: str) -> None:
    """Say it, and draw the page afresh from what is there now."""
    components.say_later(said)
    desk_queries.forget()
    queries.forget()
    st.rerun()
