"""Pieces that screens are made of. What is foreign is escaped here, so that screens cannot forget it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from html import escape
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import formats, queries
from dashboard.queries import Unreadable

log = logging.getLogger(__name__)

_DIALOG = "dialog"


def html(text: str) -> None:
    """Our own markup; every foreign value in it must have passed `escape`."""
    st.html(text)


_STAYS = """<script>
if (location.hash === "#%(part)s") {
    const go = () => document.getElementById("%(part)s")?.scrollIntoView();
    const watch = new ResizeObserver(go);
    watch.observe(document.querySelector("[data-testid=stMainBlockContainer]"));
    for (const act of ["wheel", "touchstart", "keydown", "pointerdown"])
        addEventListener(act, () => watch.disconnect(), {once: true, passive: true, capture: true});
}
</script>"""


def stay_at(part: str) -> None:
    """Keep the heading with this anchor where a link to it led, until the person does something.

    The browser goes there once, when the heading appears; what stands above it gets its size later still.
    """
    st.html(_STAYS % {"part": part}, unsafe_allow_javascript=True)


def headline(answer: str, rest: str, as_of: datetime, zone: str) -> None:
    """The page's answer in one line, and the moment it was true."""
    html(
        f'<div class="sy-headline"><h1>{escape(answer)} <span>{escape(rest)}</span></h1>'
        f'<div class="sy-meta">{escape(formats.as_of(as_of, zone))}</div></div>'
    )


def title(text: str, beside: str = "", as_of: str = "") -> None:
    """A page's title, with what it is about beside it."""
    html(
        f'<div class="sy-headline"><h1 class="sy-title">{escape(text)} <span>{escape(beside)}</span></h1>'
        f'<div class="sy-meta">{escape(as_of)}</div></div>'
    )


def answer(said: str, rest: str = "") -> None:
    """A page's answer in one line; both are ready HTML."""
    html(f'<div class="sy-headline"><p class="sy-answer">{said} <span>{rest}</span></p></div>')


def when(instant: datetime | None, now: datetime, zone: str) -> str:
    """A time as HTML: relative to read, exact on hover."""
    if instant is None:
        return f'<span class="sy-muted">{formats.UNKNOWN}</span>'
    exact = escape(formats.exact(instant, zone))
    return f'<time datetime="{instant.isoformat()}" title="{exact}">{escape(formats.ago(instant, now, zone))}</time>'


def pill(state: str | None) -> str:
    """A state as HTML: word on its tint."""
    shown = formats.state(state)
    return f'<span class="sy-pill sy-pill-{shown.look}">{escape(shown.word)}</span>'


def number(value: int | None) -> str:
    """A count as HTML; below zero it is marked."""
    text = escape(formats.count(value))
    return f'<span class="sy-negative">{text}</span>' if value is not None and value < 0 else text


def link(page: str, words: str, where: Mapping[str, str], part: str = "") -> str:
    """A link to another page of ours as HTML; `page` is its name in addresses, `words` are escaped here. `part`: the
    anchor of a heading."""
    address = f"{page}?{urlencode(where)}{f'#{part}' if part else ''}"
    return f'<a href="{escape(address)}" target="_self">{escape(words)}</a>'


def bars(values: Sequence[float | None], label: str, look: str = "", small: bool = False, full: float = 0) -> str:
    """A sparkline as HTML: one bar a step, a dashed gap where nothing is known; `full` is the least full height."""
    top = max((full, *(value for value in values if value))) or 1
    cells = "".join(
        '<i class="sy-gap"></i>' if value is None else f'<i style="height:{max(value / top * 100, 3):.0f}%"></i>'
        for value in values
    )
    classes = " ".join(filter(None, ("sy-bars", f"sy-{look}" if look else "", "sy-small" if small else "")))
    return f'<div class="{classes}" role="img" aria-label="{escape(label)}">{cells}</div>'


def table(
    heads: Sequence[tuple[str, bool]],
    body: Sequence[Sequence[str]],
    label: str,
    foot: Sequence[str] = (),
    dense: bool = False,
) -> None:
    """A small table of ready HTML cells; `heads` are (name, is a number). `dense`: two cells a line on a phone."""
    kinds = ['class="sy-num"' if is_number else "" for _, is_number in heads]

    def line(cells: Sequence[str]) -> str:
        shown = (
            f'<td {kind} data-label="{escape(name)}"><span>{cell}</span></td>'
            for kind, (name, _), cell in zip(kinds, heads, cells, strict=True)
        )
        return f"<tr>{''.join(shown)}</tr>"

    top = "".join(f'<th scope="col" {kind}>{escape(name)}</th>' for kind, (name, _) in zip(kinds, heads, strict=True))
    end = f"<tfoot>{line(foot)}</tfoot>" if foot else ""
    html(
        f'<div class="sy-scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<table class="sy-table{" sy-dense" if dense else ""}">'
        f"<thead><tr>{top}</tr></thead><tbody>{''.join(line(cells) for cells in body)}</tbody>{end}</table></div>"
    )


def figures(pairs: Sequence[tuple[str, str]], large: bool = False) -> None:
    """Figures in a row; each is (ready HTML of the number, its name)."""
    tag = "div" if large else "span"
    shown = "".join(f"<{tag}><b>{value}</b> {escape(name)}</{tag}>" for value, name in pairs)
    html(f'<div class="sy-figures{" sy-large" if large else ""}">{shown}</div>')


def empty(head: str, text: str) -> None:
    """Nothing to show: why, and what next."""
    with st.container(border=True, key=f"empty-{abs(hash(head)) % 10_000}"):
        html(f'<div class="sy-empty"><b>{escape(head)}</b><span>{escape(text)}</span></div>')


def card(state: str, name: str) -> DeltaGenerator:
    """A bordered card with its state on the left edge; text left, buttons right, stacked on a phone."""
    look = formats.state(state).look
    return st.container(
        border=True,
        key=f"card-{look}-{name}",
        horizontal=True,
        horizontal_alignment="distribute",
        vertical_alignment="center",
    )


def places(*draws: Callable[[], None] | None) -> None:
    """Draw each in a place of its own, one below the other; what is not to be seen now (None) keeps its place free.

    For what takes turns on a page, as progress and what came of it. A block that stands where another one stood shows
    what was in that one too until the page is drawn to its end, and then its buttons jump aside under a hand that is
    pressing them.
    """
    for draw in draws:
        if draw is None:
            st.empty()
        else:
            with st.container():
                draw()


def one_of(parts: Mapping[str, Callable[..., None]], chosen: str, *given: Any) -> None:
    """Draw the chosen one of the parts of a page with what is given, each in a place of its own, as in `places`."""
    places(*(partial(draw, *given) if name == chosen else None for name, draw in parts.items()))


def failed(error: BaseException, key: str) -> None:
    """A card in place of what could not be read; the same reference goes to the log."""
    reference = f"e-{secrets.token_hex(3)}"
    log.error("panel %s failed, reference %s", key, reference, exc_info=error)
    with st.container(border=True, key=f"card-danger-error-{key}"):
        st.markdown(f"{formats.badge('danger', 'Cannot read')} **{_what(error)}**")
        st.caption(
            f"Nothing is lost: events keep being recorded. Shown figures would be old, so none are shown. "
            f"Reference {reference}."
        )
        st.button("Try again", key=f"again-{key}", icon=":material/refresh:", on_click=queries.forget)


def _what(error: BaseException) -> str:
    if isinstance(error, Unreadable):
        return f"The database did not answer within {queries.READ_SECONDS} s."
    return "This part could not be shown."


@contextmanager
def panel(key: str) -> Iterator[None]:
    """Keep an error inside its panel: read first in it, then draw, so that a failed read draws nothing else."""
    try:
        yield
    except Exception as error:
        if _is_control(error):
            raise
        failed(error, key)


def _is_control(error: Exception) -> bool:
    # st.stop, st.rerun and st.switch_page travel as exceptions of Streamlit's own.
    return type(error).__module__.startswith("streamlit.") and type(error).__name__ in (
        "StopException",
        "RerunException",
    )


def open_dialog(draw: Callable[[], None]) -> None:
    """Open a dialog with the next run of the whole page, which begins at once.

    Drawn from within a part that refreshes itself it would belong to that part, and when both are due in one run (a
    refresh, and what a person sent from the dialog) only the part runs: what was sent would be lost.
    """
    st.session_state[_DIALOG] = draw
    st.rerun()


def is_dialog_waiting() -> bool:
    """Whether this run of the page is the one that opens a dialog."""
    return _DIALOG in st.session_state


def open_waiting_dialog() -> None:
    """Draw the dialog that was asked for: at the end of the page, outside of all its parts.

    It goes on waiting until `has_arrived`, unless it cannot be drawn.
    """
    draw = st.session_state.get(_DIALOG)
    if draw is None:
        return
    try:
        draw()
    except Exception:
        del st.session_state[_DIALOG]
        raise


def say_later(text: str) -> None:
    """Say it in a toast once the page has been drawn again."""
    st.session_state["said"] = text


def say() -> str | None:
    """Say what a write left to be said; returns it, for `has_arrived`."""
    said: str | None = st.session_state.get("said")
    if said is not None:
        st.toast(said, icon=":material/check_circle:", duration="long")
    return said


def has_arrived(said: str | None) -> None:
    """The page is drawn, with what it said and the dialog that it opened: of a run that another interrupts, nothing may
    ever arrive."""
    if said is not None and st.session_state.get("said") == said:
        del st.session_state["said"]
    st.session_state.pop(_DIALOG, None)


def open_here(label: str, key: str, **where: str) -> None:
    """Go to another part of this page, which has an address of its own.

    A button: a link to the page that one is on draws the new part and leaves the address as it was, so that the next
    click is lost. Draws the whole page, also from within a fragment. An empty value takes its name out of the address.
    """
    if st.button(label, key=key, type="tertiary", icon=":material/arrow_forward:", icon_position="right"):
        st.query_params.update({name: value for name, value in where.items() if value})
        for name in [name for name, value in where.items() if not value]:
            st.query_params.pop(name, None)
        st.rerun()


def pager(key: str, newer: Callable[[], Any] | None, older: Callable[[], Any] | None, words: tuple[str, str]) -> None:
    """Two buttons through a keyset; one that leads nowhere is disabled."""
    with st.container(horizontal=True, horizontal_alignment="left", key=f"pager-{key}"):
        st.button(words[0], key=f"{key}-back", icon=":material/chevron_left:", disabled=newer is None, on_click=newer)
        st.button(
            words[1],
            key=f"{key}-on",
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=older is None,
            on_click=older,
        )
