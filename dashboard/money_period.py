"""Which business days a money screen looks at: a choice in the address, and two days of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import streamlit as st

from core.commissions.statements import DAYS_MAX

CHOICES = ("This month", "Last month", "Last 30 days", "From–to")
WEEKLY_FROM = 63
"""Days from which on a figure goes by week."""


@dataclass(frozen=True, slots=True)
class Days:
    """Business days, both included, and what they are called in a sentence."""

    first: date
    last: date
    name: str

    @property
    def is_weekly(self) -> bool:
        """Whether there are too many for a bar each."""
        return (self.last - self.first).days >= WEEKLY_FROM

    def steps(self) -> list[date]:
        """Every day, or the Monday of every week."""
        if not self.is_weekly:
            return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]
        monday = self.first - timedelta(days=self.first.weekday())
        return [monday + timedelta(days=n) for n in range(0, (self.last - monday).days + 1, 7)]


def named(text: str | None) -> date | None:
    """The day that an address names; None for what is none."""
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None


def of(choice: str, today: date, first: date | None = None, last: date | None = None) -> Days:
    """What a choice means on a day; days of one's own are put in order and cut to what a statement may have."""
    month = today.replace(day=1)
    if choice == "Last month":
        ended = month - timedelta(days=1)
        return Days(ended.replace(day=1), ended, f"in {ended:%B %Y}")
    if choice == "Last 30 days":
        return Days(today - timedelta(days=29), today, "in the last 30 days")
    if choice == "From–to":
        begins, ends = sorted((first or month, last or today))
        ends = min(ends, begins + timedelta(days=DAYS_MAX - 1))
        return Days(begins, ends, f"from {begins.day} {begins:%b %Y} to {ends.day} {ends:%b %Y}")
    return Days(month, today, "this month")


def choose(today: date, leave: Callable[[], None], label: str = "Period") -> Days:
    """The control; `leave` is called when another period is chosen."""
    choice = st.segmented_control(
        label,
        CHOICES,
        key="period",
        default=CHOICES[0],
        required=True,
        bind="query-params",
        on_change=leave,
        label_visibility="collapsed",
    )
    first, last = (named(st.query_params.get(name)) for name in ("from", "to"))
    found = of(choice or CHOICES[0], today, first, last)
    if choice == "From–to":
        with st.container(horizontal=True, key="period-days"):
            for name, day in (("from", found.first), ("to", found.last)):
                st.date_input(
                    name.capitalize(),
                    value=day,
                    max_value=today,
                    key=f"day-{name}",
                    format="YYYY-MM-DD",
                    width=160,
                    on_change=_set,
                    args=(name, leave),
                )
    return found


def _set(name: str, leave: Callable[[], None]) -> None:
    chosen = st.session_state[f"day-{name}"]
    if chosen is not None:
        st.query_params[name] = chosen.isoformat()
    leave()
