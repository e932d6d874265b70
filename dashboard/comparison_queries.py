"""What going live would change: the comparison of a connection in shadow mode, kept for a moment."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.db import read_only
from core.inventory import comparison
from core.inventory.comparison import Comparison, Difference, Verdict
from dashboard.queries import Unreadable, engine

PAGE = 20
WRITTEN: tuple[Verdict, ...] = ("zeroed", "lowered", "raised")

Key = tuple[int, int]
"""(units by which it differs, listing) of the row that a page begins after."""


class ComparisonPage(NamedTuple):
    """Biggest differences first; `more` says whether smaller ones follow."""

    rows: list[Difference]
    more: bool


@st.cache_data(ttl=30, max_entries=100, show_spinner=False)
def totals(shop_id: int, scope: str, connection_id: int) -> Comparison:
    """What writing to a connection would change, in sums. Raises Unreadable."""
    try:
        with read_only(engine()) as conn:
            return comparison.compare(conn, shop_id, connection_id)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


@st.cache_data(ttl=30, max_entries=100, show_spinner=False)
def page(
    shop_id: int, scope: str, connection_id: int, verdicts: tuple[Verdict, ...], after: Key | None
) -> ComparisonPage:
    """One page of the listings of some verdicts, from `after` on. Raises Unreadable."""
    try:
        with read_only(engine()) as conn:
            found = comparison.differences(conn, shop_id, connection_id, limit=PAGE + 1, after=after, verdicts=verdicts)
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause
    return ComparisonPage(found[:PAGE], len(found) > PAGE)


def forget() -> None:
    """Count afresh."""
    totals.clear()
    page.clear()
