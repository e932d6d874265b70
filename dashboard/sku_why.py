"""Why does each channel show this number: its terms as a sum, each a link to its rows, with a picture of the sum."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from urllib.parse import urlencode

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.db import read_only
from core.explain import Explanation, Term, explain
from core.inventory import modes
from dashboard import components, formats, people, queries

OVERSELL = Path(__file__).parent / "screens" / "oversell.py"

# Where the rows behind a term are shown: on this page, or on the page of the rules.
_ANCHORS = {"movements": "#movements", "promises": "#promises", "quarantine": "#movements"}


def draw(viewer: people.Viewer, code: str) -> None:
    """How its stock is shared and why, then one sum for each listing."""
    found, pools = read(viewer.shop.id, code)
    if not found:
        components.empty("No channel lists it", "A number is explained here for each channel that does.")
        return
    now = queries.database_time()
    _draw_modes(viewer, pools, code, now)
    for item in found:
        with st.container(border=True, key=f"why-{item.listing_id}", gap="xxsmall"):
            where = f" · {formats.plain(item.location)}" if item.location else ""
            st.markdown(f"**{formats.plain(item.connection)}**{where} {formats.badge(item.state)}")
            components.html(sum_of(viewer, item))
            seen = f" Seen {formats.ago(item.seen_at, now, viewer.shop.zone)}." if item.seen_at else ""
            st.caption(formats.plain(f"{item.afterwards}{seen}"))


def _draw_modes(viewer: people.Viewer, pools: Sequence[modes.PoolMode], code: str, now: datetime) -> None:
    for pool in pools:
        # Its own, unless a bundle's parts or several places are meant.
        named = [pool.code] if pool.code != code else []
        named += [pool.location] if len({each.location for each in pools}) > 1 else []
        about = f"**{formats.plain(' · '.join(named))}**: " if named else ""
        said = modes.explain_mode(pool, lambda instant: formats.moment(instant, now, viewer.shop.zone))
        with st.container(
            horizontal=True, vertical_alignment="center", key=f"mode-{formats.key(pool.code, pool.location)}"
        ):
            with st.container(width="stretch"):
                st.markdown(f"{about}{formats.plain(said)}")
            with st.container(width="content"):
                st.page_link(
                    OVERSELL,
                    label="Oversell risk",
                    icon=":material/trending_down:",
                    query_params=viewer.where(sku=pool.code),
                )


def read(shop_id: int, code: str) -> tuple[list[Explanation], list[modes.PoolMode]]:
    """Every listing explained, and how the pools are shared, in one snapshot; raises queries.Unreadable."""
    try:
        with read_only(queries.engine()) as conn:
            return explain(conn, shop_id, code), modes.pools_of(conn, shop_id, code)
    except SQLAlchemyError as cause:
        raise queries.Unreadable(cause) from cause


def sum_of(viewer: people.Viewer, item: Explanation) -> str:
    """The sum as HTML: number, what it is, and a bar from what was there to what it leaves."""
    marks = [0, *(term.leaves for term in item.terms), item.should_show or 0]
    low, high = min(marks), max([*marks, 1])
    lines = []
    before = 0
    for number, term in enumerate(item.terms):
        shown = formats.count(term.units) if number == 0 else formats.signed(term.units)
        lines.append(_line(shown, _linked(viewer, term), _bar(before, term.leaves, low, high)))
        before = term.leaves
    total = "–" if item.should_show is None else formats.count(item.should_show)
    end = _line(f"<b>{total}</b>", "<b>should show</b>", _bar(0, item.should_show or 0, low, high, "sy-total"))
    spoken = escape(_spoken(item.terms, total))
    return f'<div class="sy-sum" role="table" aria-label="{spoken}">{"".join(lines)}{end}</div>'


def _line(number: str, text: str, bar: str) -> str:
    return (
        f'<div role="row"><span role="cell" class="sy-num">{number}</span><span role="cell">{text}</span>'
        f'<span role="cell" class="sy-fall">{bar}</span></div>'
    )


def _bar(begin: int, end: int, low: int, high: int, look: str = "") -> str:
    width = high - low
    left, right = sorted(((begin - low) / width * 100, (end - low) / width * 100))
    kind = look or ("sy-more" if end >= begin else "sy-less")
    return f'<i class="{kind}" style="left:{left:.1f}%;width:{max(right - left, 0.6):.1f}%"></i>'


def _linked(viewer: people.Viewer, term: Term) -> str:
    text = escape(term.text)
    if term.rows is None:
        return text
    if term.rows.startswith("part:"):
        address = f"skus?{urlencode(viewer.where(sku=term.rows.removeprefix('part:')))}"
    elif term.rows.startswith("rule:"):
        address = f"rules?{urlencode(viewer.where(edit=term.rows.removeprefix('rule:')))}"
    else:
        address = _ANCHORS[term.rows]
    return f'<a href="{escape(address)}" target="_self">{text}</a>'


def _spoken(terms: Sequence[Term], total: str) -> str:
    return "; ".join([*(f"{term.units} {term.text}" for term in terms), f"comes to {total}"])
