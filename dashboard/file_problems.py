"""What is wrong with a file that was uploaded, row by row, as every screen that takes files shows it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from core.desk.rows import Problem
from dashboard import components, formats

_SHOWN = 50


def draw(problems: Sequence[Problem], name: str, undone: str) -> None:
    """The first of them; `undone`: what has not happened, "Nothing was loaded"."""
    count = formats.plural(len(problems), "thing is", "things are")
    st.error(f"{count} wrong with {name}. {undone}.", icon=":material/error:")
    body = [
        [
            formats.count(problem.row) if problem.row else formats.UNKNOWN,
            escape(problem.column or formats.UNKNOWN),
            escape(problem.text),
        ]
        for problem in problems[:_SHOWN]
    ]
    heads = [("Row", True), ("Column", False), ("What is wrong, and the repair", False)]
    components.table(heads, body, "Errors", dense=True)
    if len(problems) > _SHOWN:
        st.caption(f"and {formats.count(len(problems) - _SHOWN)} more")
