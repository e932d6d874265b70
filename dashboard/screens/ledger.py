"""Does the ledger balance, and what does each account and each transaction say?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from core.commissions import wording
from core.ledger.queries import Balance, sums_by_kind
from dashboard import components, formats, ledger_pages, money_queries, money_words, people

Row = Mapping[str, Any]

ROWS_MAX = 100
NOW, THEN = "Now", "At a moment"


def chosen_moment(now: datetime, zone: str) -> datetime | None:
    """The moment that the address names, in the shop's zone where it names none; None: now."""
    try:
        at = datetime.fromisoformat(st.query_params.get("at", ""))
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=ZoneInfo(zone))
    return min(at, now)


def _set_moment(zone: str) -> None:
    day, hour = st.session_state["at-day"], st.session_state["at-time"]
    if day is not None:
        st.query_params["at"] = datetime.combine(day, hour or time.max).isoformat(timespec="minutes")


def _leave_moment() -> None:
    if st.session_state["when"] == NOW:
        st.query_params.pop("at", None)


def choose_moment(now: datetime, zone: str) -> datetime:
    """Now, or a day and a time by the shop's clock; in the address."""
    at = chosen_moment(now, zone)
    with st.container(horizontal=True, vertical_alignment="bottom", key="ledger-when"):
        choice = st.segmented_control(
            "As of", (NOW, THEN), key="when", default=NOW if at is None else THEN, required=True,
            on_change=_leave_moment, label_visibility="collapsed",
        )  # fmt: skip
        if choice == NOW:
            return now
        there = (at or now).astimezone(ZoneInfo(zone))
        st.date_input(
            "Day", value=there.date(), max_value=now.astimezone(ZoneInfo(zone)).date(), key="at-day",
            format="YYYY-MM-DD", width=160, on_change=_set_moment, args=(zone,),
        )  # fmt: skip
        st.time_input(
            "Time", value=there.time().replace(second=0, microsecond=0), key="at-time", width=130,
            on_change=_set_moment, args=(zone,),
        )  # fmt: skip
    return at or now


# --- the trial balance ------------------------------------------------------------------------------------------------


def draw_answer(found: Sequence[Balance], at: datetime, now: datetime, zone: str) -> None:
    """Whether debits equal credits, in every currency."""
    sums: dict[str, tuple[int, int]] = {}
    for (_, currency), (debit, credit) in sums_by_kind(found).items():
        was = sums.get(currency, (0, 0))
        sums[currency] = was[0] + debit, was[1] + credit
    wrong = {currency: debit - credit for currency, (debit, credit) in sums.items() if debit != credit}
    when = "" if at == now else f" on {formats.moment(at, now, zone)}"
    said = money_words.listed([formats.money(debit, currency) for currency, (debit, _) in sums.items()])
    if wrong:
        apart = money_words.listed([formats.money(abs(minor), currency) for currency, minor in wrong.items()])
        components.answer("The ledger does not balance.", escape(f"Debits and credits are {apart} apart{when}."))
    else:
        components.answer("The ledger balances.", escape(f"Debits and credits are {said} each{when}."))
    with st.grid(4, min_column_width=200):
        for currency, (debit, credit) in sums.items():
            for label, minor in (("Debits", debit), ("Credits", credit)):
                with st.container(border=True, key=f"metric-{label}-{currency}", height="stretch"):
                    st.metric(f"{label}, {currency}", formats.money(minor, currency))
                    state = "danger" if debit != credit else "ok"
                    word = "Not equal" if debit != credit else "Equal"
                    components.html(f'<span class="sy-pill sy-pill-{state}">{word}</span>')


def draw_seal(viewer: people.Viewer, now: datetime) -> None:
    """How far the ledger is sealed."""
    seal = money_queries.last_seal(viewer.shop.id)
    if seal is None:
        st.caption("Not sealed yet: seals chain what is posted, so that no change could go unseen.")
        return
    at = formats.ago(seal.sealed_at, now, viewer.shop.zone)
    components.html(
        f'<div class="sy-meta">Seal {formats.count(seal.number)}, {escape(at)}. Head of the chain:'
        f' <span class="sy-code" style="overflow-wrap:anywhere">{seal.head.hex()}</span></div>'
    )


def draw_kinds(viewer: people.Viewer, found: Sequence[Balance]) -> None:
    """Sums by kind of account; each leads to its accounts."""
    at = st.query_params.get("at")
    body = []
    counts: dict[tuple[str, str], int] = {}
    for one in found:
        counts[one.kind, one.currency] = counts.get((one.kind, one.currency), 0) + 1
    ordered = sorted(sums_by_kind(found).items(), key=lambda one: wording.account_place(*one[0]))
    for (kind, currency), (debit, credit) in ordered:
        where = viewer.where(kind=kind, **({"at": at} if at else {}))
        body.append(
            (
                f"<b>{components.link('ledger', wording.account_kind(kind), where)}</b><br>"
                f'<span class="sy-meta">{escape(wording.account_meaning(kind))}</span>',
                components.number(counts[kind, currency]),
                escape(formats.money(debit, currency)),
                escape(formats.money(credit, currency)),
                escape(ledger_pages.side(debit - credit, currency)),
            )
        )
    heads = [("Accounts", False), ("Number", True), ("Debits", True), ("Credits", True), ("Balance", True)]
    components.table(heads, body, "The trial balance by kind of account", dense=True)


def draw_accounts(viewer: people.Viewer, found: Sequence[Balance], kind: str) -> None:
    """The accounts of one kind, the greatest balance first."""
    mine = sorted((one for one in found if one.kind == kind), key=lambda one: (-abs(one.balance_minor), one.account_id))
    st.button("All kinds", key="all-kinds", icon=":material/arrow_back:", type="tertiary", on_click=_all_kinds)
    st.subheader(wording.account_kind(kind))
    st.caption(formats.plain(wording.account_meaning(kind)) or "No such kind of account.")
    if not mine:
        components.empty("No account of this kind", "One is opened with the first entry that needs it.")
        return
    names = money_queries.account_names(viewer.shop.id, [one.account_id for one in mine[:ROWS_MAX]])
    body = [
        (
            f"<b>{_account_link(viewer, kind, one, names)}</b>",
            escape(one.currency),
            escape(formats.money(one.debit_minor, one.currency)),
            escape(formats.money(one.credit_minor, one.currency)),
            escape(ledger_pages.side(one.balance_minor, one.currency)),
        )
        for one in mine[:ROWS_MAX]
    ]
    heads = [("Account", False), ("Currency", False), ("Debits", True), ("Credits", True), ("Balance", True)]
    components.table(heads, body, f"Accounts: {wording.account_kind(kind)}", dense=True)
    if len(mine) > ROWS_MAX:
        st.caption(f"The {ROWS_MAX} with the greatest balance, of {formats.count(len(mine))}.")


def _account_link(viewer: people.Viewer, kind: str, one: Balance, names: Mapping[int, Row]) -> str:
    name = ledger_pages.name_of(kind, names.get(one.account_id, {}))
    return components.link("ledger", name, viewer.where(account=str(one.account_id)))


def _all_kinds() -> None:
    st.query_params.pop("kind", None)


def draw_trial_balance(viewer: people.Viewer) -> None:
    """As of now, or of any moment."""
    with components.panel("ledger"):
        now = money_queries.now()
        components.title("Ledger", as_of=formats.as_of(now, viewer.shop.zone))
        place = st.container()
        at = choose_moment(now, viewer.shop.zone)
        with st.skeleton(height=420):
            # Now moves on with every run: whoever asks again within a few seconds is told the same.
            found = money_queries.trial_balance(viewer.shop.id, viewer.person.scope, at)
        if not found:
            components.empty(
                "Nothing is posted yet" if at == now else "Nothing was posted by then",
                "Every order, refund and release is posted here as one balanced transaction.",
            )
            return
        with place:
            draw_answer(found, at, now, viewer.shop.zone)
            draw_seal(viewer, now)
        kind = st.query_params.get("kind")
        if kind:
            draw_accounts(viewer, found, kind)
        else:
            draw_kinds(viewer, found)


viewer = people.viewer()
transaction, account = st.query_params.get("transaction"), st.query_params.get("account")
if transaction:
    ledger_pages.draw_transaction(viewer, transaction)
elif account:
    ledger_pages.draw_account(viewer, account)
else:
    draw_trial_balance(viewer)
