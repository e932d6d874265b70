"""One party: what it can be paid, why that changed, what is held and why, its statement, and what is done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from core.clock import business_day
from core.commissions.explaining import Explanation
from core.commissions.statements import midnight
from core.ledger.queries import Period
from dashboard import (
    components,
    formats,
    money_actions,
    money_queries,
    money_words,
    party_held,
    party_statement,
    party_why,
    people,
)

Row = Mapping[str, Any]

LIST = Path(__file__).parent / "screens" / "sellers.py"

SINCE = {"A week ago": 7, "Two weeks ago": 14, "A month ago": 30, "A quarter ago": 91}
_OWN = ("cause", "causes_before", "held_after", "before")
"""What in the address is of one part of the page."""


def leave_pages() -> None:
    """A changed choice begins on the first page of everything again."""
    for name in _OWN:
        st.query_params.pop(name, None)


def draw(viewer: people.Viewer, text: str) -> None:
    """The page of one party."""
    st.page_link(LIST, label="All sellers", icon=":material/arrow_back:", query_params=viewer.where())
    with components.panel("party"):
        number = formats.number(text)
        found = None if number is None else money_queries.party(viewer.shop.id, viewer.person.scope, number)
        if found is None:
            components.empty("There is no such party", "Look for it by its name or code in the list.")
            return
        _draw(viewer, found)


def _draw(viewer: people.Viewer, party: Row) -> None:
    accounts = money_queries.accounts(viewer.shop.id, party["party_id"])
    components.title(
        party["name"],
        f"{money_words.kind(party['kind'])} · {party['code']}",
        formats.as_of(party["as_of"], viewer.shop.zone),
    )
    if not accounts:
        _draw_marks(viewer, party)
        components.empty("Nothing is earned yet", "Earnings appear with the first order that concerns this party.")
        _draw_acts(viewer, party, [viewer.shop.currency])
        return
    currencies = list(accounts)
    currency = _choose_currency(currencies, viewer.shop.currency)
    place, tiles = st.container(), st.container()
    _draw_marks(viewer, party)
    _draw_acts(viewer, party, currencies)
    since = party_why.choose_since(leave_pages, SINCE)
    period = period_since(party["as_of"], viewer.shop.zone, SINCE[since])
    with st.skeleton(height=360):
        said = money_queries.explanation(viewer.shop.id, viewer.person.scope, party["party_id"], currency, period)
        reasons = money_queries.held_reasons(viewer.shop.id, viewer.person.scope, party["party_id"], currency)
    with place:
        components.answer(*headline(party, said, reasons, viewer.shop.zone))
    with tiles:
        _draw_tiles(viewer, party, said)
    with components.panel("why"):
        party_why.draw(viewer, party, said, since)
    st.subheader("Held for returns", anchor="held")
    with components.panel("held"):
        party_held.draw(viewer, party, currency, said.after.held_minor, reasons)
    st.subheader("Statement", anchor="statement")
    with components.panel("statement"):
        party_statement.draw(viewer, party, currency)
    with components.panel("adjustments"):
        party_statement.draw_adjustments(viewer, party)


def _choose_currency(currencies: list[str], usual: str) -> str:
    """Of a party with several, one at a time: nothing is ever summed over two."""
    if len(currencies) == 1:
        return currencies[0]
    chosen = st.segmented_control(
        "Currency",
        currencies,
        key="currency",
        default=usual if usual in currencies else currencies[0],
        required=True,
        bind="query-params",
        on_change=leave_pages,
        label_visibility="collapsed",
    )
    return chosen or currencies[0]


def period_since(now: datetime, zone: str, days: int) -> Period:
    """From the beginning of the business day so many days ago up to now: the list counts by the same days."""
    first = business_day(now, zone) - timedelta(days=days)
    return Period(midnight(first, zone), now + timedelta(seconds=1))


def headline(party: Row, said: Explanation, reasons: Sequence[Row], zone: str) -> tuple[str, str]:
    """(what can be paid; what is held until when, and what changed and why), as HTML."""
    currency, now = said.currency, party["as_of"]
    name, payable = escape(party["name"]), said.after.payable_minor
    if party["hold_id"] is not None:
        answer = f"{name} has {money_words.amount(payable, currency)} that is on hold"
    elif payable > 0:
        answer = f"{name} can be paid {money_words.amount(payable, currency)}"
    elif payable < 0:
        answer = f"{name} is at {money_words.amount(payable, currency)}: carried forward to what is earned next"
    else:
        answer = f"Nothing can be paid to {name} yet"
    parts = []
    if said.after.held_minor:
        until = escape(money_words.held_until(reasons, now, zone))
        parts.append(f"{money_words.amount(said.after.held_minor, currency)} is held{until}")
    parts.append(changed(said, now, zone))
    return f"{answer};", f"{'; '.join(parts)}."


def changed(said: Explanation, now: datetime, zone: str) -> str:
    """Payable fell by £23.40 since last Friday: two refunds. As HTML."""
    since = escape(party_why.since_words(said.period.begins_at, now, zone))
    change = said.payable_change
    if not change:
        return f"payable is as it was {since}"
    moved = escape(formats.money(abs(change), said.currency))
    why = escape(money_words.why_changed(said))
    return f"payable {'rose' if change > 0 else 'fell'} by {moved} since {since}{f': {why}' if why else ''}"


def _draw_marks(viewer: people.Viewer, party: Row) -> None:
    """A hold, with its way out; adjustments that wait are under Sellers and below."""
    if party["hold_id"] is None:
        return
    at = formats.moment(party["hold_at"], party["as_of"], viewer.shop.zone)
    with components.card("paused", "hold"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(
                f"{formats.badge('paused', 'On hold')} **Nothing is paid out to {formats.plain(party['name'])}**"
            )
            st.markdown(f"{formats.sentence(party['hold_reason'])} Held by {formats.plain(party['hold_by'])}, {at}.")
        with st.container(width="content", horizontal=True, key="acts-hold"):
            if st.button("Lift hold…", key="lift-hold", icon=":material/lock_open:"):
                about = f"{formats.plain(party['hold_by'])} held it: {formats.sentence(party['hold_reason'])}"
                money_actions.ask_lift(viewer.shop.id, party["hold_id"], party["name"], about)


def _draw_acts(viewer: people.Viewer, party: Row, currencies: list[str]) -> None:
    with st.container(horizontal=True, key="party-acts"):
        if st.button("Adjust…", key="adjust", icon=":material/edit:"):
            money_actions.ask_adjust(viewer, party, currencies)
        if party["hold_id"] is None and st.button("Hold payouts…", key="hold", icon=":material/front_hand:"):
            money_actions.ask_hold(viewer.shop.id, party)


def _draw_tiles(viewer: people.Viewer, party: Row, said: Explanation) -> None:
    currency, zone = said.currency, viewer.shop.zone
    month = business_day(party["as_of"], zone).replace(day=1)
    earned = money_queries.earnings(viewer.shop.id, viewer.person.scope, party["party_id"], month)
    mine = next((row for row in earned if row["currency"] == currency), {"item_minor": 0, "shipping_minor": 0})
    since = party_why.since_words(said.period.begins_at, party["as_of"], zone)
    negative = " · carried forward" if said.after.payable_minor < 0 else ""
    tiles = (
        ("Can be paid", said.after.payable_minor, said.payable_change, f"since {since}{negative}"),
        ("Held for returns", said.after.held_minor, said.held_change, f"since {since}"),
        (f"Items in {month:%B}", mine["item_minor"], None, "earned, less what was given back"),
        (f"Carriage in {month:%B}", mine["shipping_minor"], None, "earned, less what was given back"),
    )
    with st.grid(4, min_column_width=160):
        for label, minor, change, note in tiles:
            with st.container(border=True, key=f"metric-{formats.key(label)}", height="stretch"):
                st.metric(label, formats.money(minor, currency))
                moved = "" if change is None else f"{money_words.change(change, currency)} "
                components.html(f'<div class="sy-note">{moved}{escape(note)}</div>')
