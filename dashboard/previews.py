"""What a person is asked before an act: the preview that counts, the reason, the act, what it said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import Anticipated, SwitchyardError
from dashboard import components, failure_queries, formats, jobs_queries, people, queries


@dataclass(frozen=True, slots=True)
class Preview:
    """What an act would do, as it was when the dialog opened; it is done to exactly this or to nothing."""

    title: str
    icon: str
    about: str
    figures: Sequence[tuple[str, str]]
    lines: Sequence[str]
    warning: str | None
    verb: str
    hint: str
    do: Callable[[Actor], str]
    evidence: Callable[[], None] | None = None
    """Draws what the figures are made of."""
    is_large: bool = False


def ask(preview: Preview) -> None:
    """Open the dialog of an act: what it would do, why, and the button that does it."""
    # The preview travels as an argument: the dialog's own reruns keep the plan that was seen, and its token.
    width: Literal["medium", "large"] = "large" if preview.is_large else "medium"
    components.open_dialog(st.dialog(preview.title, width=width, icon=preview.icon)(partial(_draw, preview)))


def _draw(preview: Preview) -> None:
    st.markdown(preview.about)
    if preview.figures:
        components.figures(preview.figures)
    st.markdown("\n".join(f"- {line}" for line in preview.lines))
    if preview.evidence is not None:
        preview.evidence()
    if preview.warning:
        st.warning(preview.warning, icon=":material/warning:")
    if not preview.verb:
        return
    with st.form("act", border=False, enter_to_submit=True):
        reason = st.text_input("Reason", required=True, placeholder=preview.hint, key="act-reason")
        with st.container(horizontal=True, horizontal_alignment="right"):
            go = st.form_submit_button(preview.verb, type="primary")
    if go:
        _do(preview, reason or "")


def _do(preview: Preview, reason: str) -> None:
    try:
        said = preview.do(Actor(people.viewer().person.name, reason))
    except Anticipated as refused:
        st.error(formats.plain(str(refused)), icon=":material/error:")
        if st.button("Look again", key="act-look-again"):
            look_again()
        return
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "act")
        return
    components.say_later(said)
    look_again()


def look_again() -> None:
    """Draw the page afresh from what is there now."""
    jobs_queries.forget()
    failure_queries.forget()
    queries.forget()
    st.rerun()
