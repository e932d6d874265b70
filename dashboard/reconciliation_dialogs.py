"""The dialogs of the Reconciliation screen: each says before what will happen, and does exactly that or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import SwitchyardError
from core.reconciliation.operations import Chosen
from core.reconciliation.orders import runs as order_runs
from core.reconciliation.rules import CORRECTABLE, Policy
from dashboard import (
    components,
    formats,
    people,
    previews,
    queries,
    reconciliation_actions,
    reconciliation_queries,
    reconciliation_words,
)
from dashboard.previews import Preview

Row = Mapping[str, Any]

RUN = "run"
_STOCK, _ORDERS = _WHATS = ("Stock", "Orders and refunds")


def _look_again() -> None:
    reconciliation_queries.forget()
    queries.forget()


def _acting(act: Callable[[Actor], str]) -> Callable[[Actor], str]:
    def do(actor: Actor) -> str:
        said = act(actor)
        _look_again()
        return said

    return do


# --- what is written --------------------------------------------------------------------------------------------------


def correct(viewer: people.Viewer, chosen: Chosen, about: str, *, is_braked: bool = False) -> None:
    """Ask whether what we want is to be written over what the channel shows."""
    app, shop = reconciliation_actions.application(), viewer.shop
    with components.panel("correct"):
        seen = reconciliation_queries.preview(shop.id, chosen)
        exposed = reconciliation_queries.exposure(shop.id, chosen)
        writes = seen.raised + seen.lowered + seen.zeroed
        verb = (
            f"Yes, zero these {formats.count(seen.zeroed)}"
            if is_braked and seen.zeroed
            else f"Correct {formats.count(seen.discrepancies - seen.by_hand)}"
        )
        lines = [
            f"**Written**: {formats.plural(writes, 'listing')}, {formats.plural(seen.units, 'unit')} in all. "
            "Zeros and lowered ones go first."
            if writes
            else "**Nothing is written**: the channel shows by now what it should.",
            f"**Exposed** now {formats.count(exposed['before'])}, at most {formats.count(exposed['after'])} once it is "
            "written: what the channel could sell before we know.",
            "Your word goes before the policy and the brake, this once. Each write is on record before it leaves.",
        ]
        if seen.by_hand:
            lines.append(f"{formats.plural(seen.by_hand, 'more')} cannot be put right by a number, and stay.")
        previews.ask(
            Preview(
                "Take these listings to 0?" if is_braked else "Write what we want?",
                ":material/edit:",
                about,
                [
                    (formats.count(seen.zeroed), "to zero"),
                    (formats.count(seen.lowered), "lowered"),
                    (formats.count(seen.raised), "raised"),
                ],
                lines,
                "A channel that shows 0 sells nothing. Look first whether its catalogue was read whole."
                if is_braked
                else None,
                verb,
                "Counted on the shelf this morning",
                _acting(lambda actor: reconciliation_actions.correct(app, shop.id, chosen, seen.token, actor)),
            )
        )


def accept(viewer: people.Viewer, chosen: Chosen, about: str) -> None:
    """Ask whether it is to be left as it is."""
    app, shop = reconciliation_actions.application(), viewer.shop
    with components.panel("accept"):
        seen = reconciliation_queries.preview(shop.id, chosen)
        many = formats.plural(seen.discrepancies, "discrepancy", "discrepancies")
        previews.ask(
            Preview(
                f"Leave {many} as {'it is' if seen.discrepancies == 1 else 'they are'}?",
                ":material/pan_tool:",
                about,
                [
                    (
                        formats.count(seen.discrepancies),
                        "left as they are" if seen.discrepancies != 1 else "left as it is",
                    )
                ],
                [
                    "**Nothing is written**, here or there, and nobody is asked again.",
                    "The next change of what we want to show is written all the same.",
                    "If it says anything else later it is open again; your reason stays with it.",
                ],
                None,
                f"Accept {formats.count(seen.discrepancies)}",
                "The shop deleted it on purpose",
                _acting(lambda actor: reconciliation_actions.accept(app, shop.id, chosen, seen.token, actor)),
            )
        )


def read_again(viewer: people.Viewer, row: Row) -> None:
    """Ask whether the channel is to be asked for this once more."""
    app, shop = reconciliation_actions.application(), viewer.shop
    is_order = row["kind"] in reconciliation_words.ORDERS
    name = formats.plain(reconciliation_words.subject(row))

    def do(actor: Actor) -> str:
        connection_id = row["connection_id"]
        if is_order:
            run = reconciliation_actions.read_order_again(app, shop.id, connection_id, row["subject_key"], actor)
        else:
            run = reconciliation_actions.compare(app, shop.id, connection_id, "stock", actor, sku=row["code"])
        st.query_params[RUN] = str(run)
        return f"{reconciliation_words.subject(row)} is read again within seconds."

    lines = (
        [
            "**Read**: this one order, as the channel has it now.",
            "**Booked**: whatever differs then is recorded as if it had just come: stock, refunds and a cancellation "
            "follow by the same rules, each once.",
            "Nothing is written to the channel.",
        ]
        if is_order
        else [
            f"**Read**: what {formats.plain(row['connection'])} shows of this SKU now.",
            "If it is equal this closes by itself; else its cause is looked for anew.",
            "Nothing is written but by the policy of the connection.",
        ]
    )
    previews.ask(
        Preview(
            f"Read {reconciliation_words.subject(row)} again?",
            ":material/refresh:",
            reconciliation_words.about(row),
            [],
            lines,
            None,
            "Read again",
            f"Somebody put {name} right at the channel",
            _acting(do),
        )
    )


# --- compare now ------------------------------------------------------------------------------------------------------


def compare_now(viewer: people.Viewer, found: Sequence[Row], connection_id: int | None, code: str = "") -> None:
    """Ask which connection, stock or orders, all or one SKU; then why."""
    draw = partial(_draw_compare, viewer, found, connection_id, code)
    components.open_dialog(st.dialog("Reconcile now?", width="medium", icon=":material/balance:")(draw))


def _draw_compare(viewer: people.Viewer, found: Sequence[Row], connection_id: int | None, code: str) -> None:
    names = {row["connection_id"]: row["connection"] for row in found}
    ids = list(names)
    with st.form("compare", border=False, enter_to_submit=True):
        chosen = st.selectbox(
            "Connection",
            ids,
            index=ids.index(connection_id) if connection_id in names else 0,
            format_func=names.__getitem__,
            key="compare-connection",
        )
        what = st.radio("What", _WHATS, key="compare-what", horizontal=True)
        sku = st.text_input("Only this SKU", value=code, key="compare-sku", help="Of stock; empty: everything it lists")
        days = st.number_input(
            "Days back", min_value=1, max_value=order_runs.DAYS_MAX, value=order_runs.DAYS, key="compare-days",
            help="Of orders and refunds: changed or placed since then, as far back as the channel shows them",
        )  # fmt: skip
        st.markdown(
            "- **Read**: what the channel shows, by page, behind everything more urgent.\n"
            "- **Written**: nothing but what the connection’s policy corrects; orders missing here are booked.\n"
            "- A channel that may be asked only so often (Amazon’s orders) takes turns with polls: that may take hours."
        )
        reason = st.text_input("Reason", required=True, placeholder="A sale looks wrong", key="compare-reason")
        with st.container(horizontal=True, horizontal_alignment="right"):
            go = st.form_submit_button("Reconcile", type="primary")
    if go:
        _begin(viewer, int(chosen), what or _STOCK, (sku or "").strip(), int(days), reason or "")


def _begin(viewer: people.Viewer, connection_id: int, what: str, sku: str, days: int, reason: str) -> None:
    try:
        run = reconciliation_actions.compare(
            reconciliation_actions.application(),
            viewer.shop.id,
            connection_id,
            "stock" if what == _STOCK else "orders",
            Actor(viewer.person.name, reason),
            sku=sku or None if what == _STOCK else None,
            days=days,
        )
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "compare")
        return
    st.query_params[RUN] = str(run)
    components.say_later("Asked for. It begins within seconds.")
    _look_again()
    st.rerun()


def cancel(viewer: people.Viewer, run: Row) -> None:
    """Ask whether a comparison under way is to end."""
    app, shop = reconciliation_actions.application(), viewer.shop
    previews.ask(
        Preview(
            "Cancel this comparison?",
            ":material/cancel:",
            f"**{formats.plain(run['connection'])}**: {formats.plain(run['step'] or 'waiting for a worker')}",
            [(formats.count(run["done"]), "read so far")],
            [
                "What it has written down stays; what it has not read closes nothing.",
                "The next one begins from the beginning.",
            ],
            None,
            "Cancel it",
            "The channel is slow today",
            _acting(lambda actor: reconciliation_actions.cancel(app, shop.id, run["sync_run_id"], actor)),
        )
    )


# --- the policy -------------------------------------------------------------------------------------------------------


def edit_policy(viewer: people.Viewer, row: Row) -> None:
    """The policy of one connection: changed, previewed on what is open now, then saved."""
    dialog = st.dialog("What is corrected by itself", width="medium", icon=":material/policy:")
    components.open_dialog(dialog(partial(_draw_edit, viewer, row)))


def _draw_edit(viewer: people.Viewer, row: Row) -> None:
    st.markdown(f"**{formats.plain(row['connection'])}**: {reconciliation_words.policy(row)}")
    chosen = st.multiselect(
        "Correct by itself",
        list(CORRECTABLE),
        default=[name for name in row["corrects"] if name in CORRECTABLE],
        format_func=reconciliation_words.cause,
        key="policy-corrects",
        placeholder="Nothing: every cause is only flagged",
    )
    with st.grid(3, min_column_width=140):
        most = st.number_input("Equal corrections at most", 1, 100, int(row["corrections_max"]), key="policy-most")
        zeroed = st.number_input("Listings to 0 at most", 0, 1_000_000, int(row["zeroed_max"]), key="policy-zeroed")
        percent = st.number_input("and of live ones, %", 0, 100, int(row["zeroed_percent"]), key="policy-percent")
    hours = st.number_input(
        "Compare stock every so many hours; 0: never by itself",
        0,
        8784,
        int(row["every_hours"] or 0),
        key="policy-hours",
    )
    new = Policy(frozenset(chosen), int(most), int(zeroed), int(percent), int(hours) or None)
    _draw_policy(viewer, row, new)


def _draw_policy(viewer: people.Viewer, row: Row, new: Policy) -> None:
    app = reconciliation_actions.application()
    try:
        seen = reconciliation_actions.preview_policy(app, viewer.shop.id, row["connection_id"], new)
    except SQLAlchemyError as error:
        components.failed(error, "policy")
        return
    components.figures(
        [
            (formats.count(seen.healed), "open now would be corrected"),
            (formats.count(seen.held), "held by the brake"),
            (formats.count(seen.looped), "stopped: corrected too often"),
        ]
    )
    st.caption(
        "Orders and refunds that are missing here are always read again; every other difference of orders is for a "
        "person."
    )
    with st.form("policy", border=False, enter_to_submit=True):
        reason = st.text_input("Reason", required=True, placeholder="Nobody edits there any more", key="policy-reason")
        with st.container(horizontal=True, horizontal_alignment="right"):
            go = st.form_submit_button(
                f"Save, correct {formats.count(seen.healed)}" if seen.healed else "Save", type="primary"
            )
    if not go:
        return
    try:
        said = reconciliation_actions.set_policy(
            app, viewer.shop.id, row["connection_id"], new, seen, Actor(viewer.person.name, reason or "")
        )
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "policy")
        return
    components.say_later(said)
    _look_again()
    st.rerun()


# --- the history ------------------------------------------------------------------------------------------------------


def history(viewer: people.Viewer, row: Row) -> None:
    """Everything that became of one discrepancy, newest first, and both sides of an order figure by figure."""
    dialog = st.dialog("How it came about", width="medium", position="right", icon=":material/history:")
    components.open_dialog(dialog(partial(_draw_history, viewer, row)))


def _draw_history(viewer: people.Viewer, row: Row) -> None:
    st.markdown(reconciliation_words.about(row))
    st.markdown(reconciliation_words.why(row))
    with components.panel("history"):
        if row["kind"] in reconciliation_words.ORDERS:
            _draw_order(row)
        body = [
            (
                components.when(each["at"], each["as_of"], viewer.shop.zone),
                f'{escape(reconciliation_words.event(each))}<div class="sy-meta">{escape(_said(each))}</div>',
                escape(reconciliation_words.amount(each["ours"], each["unit"], each["currency"])),
                escape(reconciliation_words.amount(each["theirs"], each["unit"], each["currency"])),
            )
            for each in reconciliation_queries.events(viewer.shop.id, row["discrepancy_id"])
        ]
        components.table(
            [("When", False), ("What", False), ("Ours", True), ("Theirs", True)], body, "What became of it"
        )


def _said(event: Row) -> str:
    return f"{event['who']}: {event['words']}" if event["words"] else str(event["who"])


def _draw_order(row: Row) -> None:
    sides = row["subject"] or {}
    ours, theirs = sides.get("ours") or {}, sides.get("theirs") or {}
    names = (("lines", "Lines", "units"), ("units", "Units", "units"), ("total_minor", "Total", "minor"),
             ("refunds", "Refunds", "units"), ("refunded_minor", "Refunded", "minor"))  # fmt: skip
    body = [
        (
            escape(label),
            escape(reconciliation_words.amount(ours.get(name), unit, ours.get("currency"))),
            escape(reconciliation_words.amount(theirs.get(name), unit, theirs.get("currency"))),
        )
        for name, label, unit in names
    ]
    body.append(("Cancelled", _yes(ours.get("is_cancelled")), _yes(theirs.get("is_cancelled"))))
    components.table([("", False), ("Ours", True), (row["connection"], True)], body, "The order on both sides")


def _yes(value: bool | None) -> str:
    return formats.UNKNOWN if value is None else "yes" if value else "no"
