"""What a person does about a party's money: adjust, approve, refuse, hold, lift. One core operation each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import streamlit as st
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.commissions import adjusting, holding
from core.db import unit_of_work
from core.errors import SwitchyardError
from core.money import exponent, to_minor
from dashboard import components, formats, money_queries, people, previews
from dashboard.previews import Preview

Row = Mapping[str, Any]

GIVE, TAKE = "Give", "Take"


def engine() -> Engine:
    """The process's own engine for writes."""
    return bootstrap.application().engine


# --- the acts ---------------------------------------------------------------------------------------------------------


def adjust(engine: Engine, shop_id: int, party: Row, currency: str, minor: int, actor: Actor) -> str:
    """Give (positive) or take; says whether it is posted or waits. Raises BadInput."""
    with unit_of_work(engine) as conn:
        asked = adjusting.ask(conn, shop_id, party["party_id"], currency, minor, actor, utc_now())
    money_queries.forget()
    said = formats.money(abs(minor), currency)
    done = f"{said} {'given to' if minor > 0 else 'taken from'} {party['name']}"
    return f"{done}." if asked.is_posted else f"{said} waits for a second person’s approval."


def approve(engine: Engine, shop_id: int, row: Row, actor: Actor) -> str:
    """Post what somebody else asked for. Raises SamePerson, NotWaiting."""
    with unit_of_work(engine) as conn:
        adjusting.approve(conn, shop_id, row["adjustment_id"], actor, utc_now())
    money_queries.forget()
    return f"The adjustment of {row['party']} is posted."


def refuse(engine: Engine, shop_id: int, row: Row, actor: Actor) -> str:
    """Decide against it. Raises NotWaiting."""
    with unit_of_work(engine) as conn:
        adjusting.refuse(conn, shop_id, row["adjustment_id"], actor, utc_now())
    money_queries.forget()
    return f"The adjustment of {row['party']} is refused: nothing was posted."


def hold(engine: Engine, shop_id: int, party: Row, actor: Actor) -> str:
    """Pay nothing out until it is lifted. Raises AlreadyHeld."""
    with unit_of_work(engine) as conn:
        holding.place(conn, shop_id, actor, utc_now(), party_id=party["party_id"])
    money_queries.forget()
    return f"Nothing is paid out to {party['name']} until the hold is lifted."


def lift(engine: Engine, shop_id: int, hold_id: int, name: str, actor: Actor) -> str:
    """End a hold. Raises NotHeld."""
    with unit_of_work(engine) as conn:
        holding.lift(conn, shop_id, hold_id, actor, utc_now())
    money_queries.forget()
    return f"The hold on {name} is lifted."


def hold_order(engine: Engine, shop_id: int, order_id: int, name: str, actor: Actor) -> str:
    """Keep what is earned of an order from becoming payable. Raises AlreadyHeld."""
    with unit_of_work(engine) as conn:
        holding.place(conn, shop_id, actor, utc_now(), order_id=order_id)
    money_queries.forget()
    return f"Nothing of {name} becomes payable until the hold is lifted."


# --- what is asked before ---------------------------------------------------------------------------------------------


def _ask(title: str, icon: str, about: str, lines: list[str], verb: str, hint: str, do: Callable[[Actor], str]) -> None:
    previews.ask(Preview(title, icon, about, [], lines, None, verb, hint, do))


def ask_approve(shop_id: int, row: Row) -> None:
    """What approving means, then why."""
    money = formats.money(row["amount_minor"], row["currency"])
    _ask(
        f"Approve {money} for {row['party']}?",
        ":material/check:",
        f"{formats.plain(row['asked_by'])} asked for it: {formats.sentence(row['reason'])}",
        [
            f"**Posted at once**: payable of {formats.plain(row['party'])} changes by {formats.plain(money)}.",
            "Whoever asked for it cannot approve it. Nothing posted is ever taken out: another adjustment corrects it.",
        ],
        f"Approve {money}",
        "Seen the carrier’s letter",
        partial(approve, engine(), shop_id, row),
    )


def ask_refuse(shop_id: int, row: Row) -> None:
    """What refusing means, then why."""
    money = formats.money(row["amount_minor"], row["currency"])
    _ask(
        f"Refuse {money} for {row['party']}?",
        ":material/close:",
        f"{formats.plain(row['asked_by'])} asked for it: {formats.sentence(row['reason'])}",
        ["**Nothing is posted.** The request stays on record with your reason."],
        "Refuse it",
        "Not our parcel",
        partial(refuse, engine(), shop_id, row),
    )


def ask_hold(shop_id: int, party: Row) -> None:
    """What a hold means, then why."""
    name = formats.plain(party["name"])
    _ask(
        f"Hold payouts to {party['name']}?",
        ":material/front_hand:",
        f"Until somebody lifts it, nothing of what {name} can be paid is paid out.",
        [
            "Earnings go on: what is held for returns becomes payable as before.",
            "No balance changes, and the statement stays as it is.",
        ],
        "Hold payouts",
        "The bank details changed yesterday",
        partial(hold, engine(), shop_id, party),
    )


def ask_lift(shop_id: int, hold_id: int, name: str, about: str) -> None:
    """What lifting means, then why."""
    _ask(
        f"Lift the hold on {name}?",
        ":material/lock_open:",
        about,
        ["What it kept back goes its way again: nothing else changes."],
        "Lift the hold",
        "Confirmed by telephone",
        partial(lift, engine(), shop_id, hold_id, name),
    )


def ask_hold_order(shop_id: int, order_id: int, name: str) -> None:
    """What a hold on an order means, then why."""
    _ask(
        f"Hold what is earned of {name}?",
        ":material/front_hand:",
        "Until somebody lifts it, nothing that is earned of this order becomes payable.",
        ["What of it is payable already stays so.", "Refunds and cancellations are booked as before."],
        "Hold it",
        "The buyer disputes it",
        partial(hold_order, engine(), shop_id, order_id, name),
    )


def ask_adjust(viewer: people.Viewer, party: Row, currencies: list[str]) -> None:
    """Ask how much and why; what it comes to is said before."""
    draw = st.dialog(f"Adjust {party['name']}", width="medium", icon=":material/edit:")
    components.open_dialog(draw(partial(_draw_adjust, viewer, party, currencies)))


def _draw_adjust(viewer: people.Viewer, party: Row, currencies: list[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="stack-adjust"):
        way = st.segmented_control(
            "What", (GIVE, TAKE), key="adjust-way", default=GIVE, required=True, label_visibility="collapsed"
        )
        currency = st.selectbox("Currency", currencies, key="adjust-currency", width=110)
        digits = exponent(currency)
        typed = st.number_input(
            "Amount", min_value=0.0, step=10.0**-digits, format=f"%.{digits}f", key="adjust-amount", width=180
        )
    minor = typed_minor(typed, currency, is_taken=way == TAKE)
    limit = money_queries.approval_limit(viewer.shop.id)
    waits = abs(minor) > limit
    st.markdown("\n".join(f"- {line}" for line in adjustment_lines(minor, currency, party["name"], limit)))
    with st.form("adjust", border=False, enter_to_submit=True):
        reason = st.text_input("Reason", required=True, placeholder="A parcel was billed twice", key="adjust-reason")
        with st.container(horizontal=True, horizontal_alignment="right"):
            verb = "Ask for approval" if waits else f"{way or GIVE} {formats.money(abs(minor), currency)}"
            go = st.form_submit_button(verb, type="primary", disabled=not minor)
    if not go:
        return
    try:
        said = adjust(engine(), viewer.shop.id, party, currency, minor, Actor(viewer.person.name, reason or ""))
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "adjust")
        return
    components.say_later(said)
    previews.look_again()


def typed_minor(typed: float | None, currency: str, *, is_taken: bool) -> int:
    """What was typed in major units as minor units, below zero where it is taken."""
    minor = to_minor(Decimal(f"{typed or 0:.6f}"), currency)
    return -minor if is_taken else minor


def adjustment_lines(minor: int, currency: str, name: str, limit: int) -> list[str]:
    """What an adjustment would do, in sentences."""
    money = formats.plain(formats.money(abs(minor), currency))
    if not minor:
        return ["Type an amount: what it does is said here."]
    moves = f"Payable of {formats.plain(name)} {'rises' if minor > 0 else 'falls'} by {money}"
    if abs(minor) > limit:
        most = formats.plain(formats.money(limit, currency))
        return [f"**It waits**: above {most} a second person has to approve it.", f"{moves} once it is approved."]
    return [f"**Posted at once.** {moves}.", "The reason stands on the statement."]
