"""What a person does on the Oversell risk screen: switch a SKU to escrow, set the limit of the alert."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.alerts import operations as alerts
from core.alerts.rules import LIMIT_MAX
from core.audit import Actor
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.errors import Anticipated, SwitchyardError
from core.policies import queries as policies
from core.policies.queries import Change
from core.policies.rules import Scope, Terms
from dashboard import components, formats, oversell_queries, oversell_words, people, previews, queries, rule_actions
from dashboard.actions import Application, application

Row = Mapping[str, Any]


def escrow_change(conn: Any, shop_id: int, sku_id: int) -> Change:
    """The rule of this SKU on every channel as it is, with the mode escrow."""
    scope = Scope(sku_id=sku_id)
    living = policies.living(conn, shop_id, [scope])
    terms = living[0].terms if living else Terms()
    return Change(scope, dataclasses.replace(terms, mode="escrow"))


def ask_escrow(viewer: people.Viewer, pools: Sequence[Row], seats: Sequence[Row]) -> None:
    """What escrow would do to one SKU, then why."""
    shop_id, code, sku_id = viewer.shop.id, pools[0]["code"], pools[0]["sku_id"]
    try:
        with read_only(queries.engine()) as conn:
            change = escrow_change(conn, shop_id, sku_id)
            found = policies.preview(conn, shop_id, [change])
            after = policies.preview_modes(conn, shop_id, [change])
    except SQLAlchemyError as error:
        components.failed(error, "escrow")
        return

    def do(actor: Actor) -> str:
        version_id = rule_actions.save(application(), shop_id, [change], found.token, actor)
        oversell_queries.forget()
        return (
            f"{code} goes into escrow: version {version_id} of the channel rules. Its channels follow within seconds."
        )

    exposed, available = (sum(row[name] for row in pools) for name in ("exposed_units", "available"))
    risk = sum(row["risk_units"] for row in pools)
    previews.ask(
        previews.Preview(
            f"Switch {code} to escrow?",
            ":material/call_split:",
            f"**{formats.plain(code)}** {formats.plain(pools[0]['title'])}",
            [
                (formats.count(exposed), "exposed"),
                (formats.count(available), "available"),
                (formats.count(risk), "at risk now"),
                (formats.count(len({seat["connection_id"] for seat in seats})), "channels"),
            ],
            _escrow_lines(risk, seats),
            _obstacle(after),
            f"Switch {code} to escrow",
            "Only a few are left before the weekend",
            do,
        )
    )


def _escrow_lines(risk: int, seats: Sequence[Row]) -> list[str]:
    lines = [
        "Its units are **split over the channels**: each shows only its share, and what one gives up is confirmed "
        "before another gets it.",
    ]
    if risk:
        lines.append(f"Channels are lowered by **{formats.plural(risk, 'unit')}** in all before any is raised.")
    drained = sorted({s["connection"] for s in seats if s["guarantee_class"] == "B" and not s["is_unwatched"]})
    if drained and risk:
        lines.append(f"{_names(drained)} may show **0** for some minutes: it cannot compare before it sets.")
    dark = sorted({s["connection"] for s in seats if s["guarantee_class"] == "B" and s["is_unwatched"]})
    if dark:
        lines.append(f"{_names(dark)} is taken to **0 and stays there**: its orders are not read.")
    lines.append(
        "It is a rule for this SKU on every channel, kept on record; undo it or change it under Channel rules."
    )
    return lines


def _names(names: Sequence[str]) -> str:
    return ", ".join(formats.plain(name) for name in names)


def _obstacle(after: policies.ModePreview) -> str | None:
    if after.escrow_then >= after.pools:
        return None
    return "A more specific rule of a channel keeps it from escrow: change that one under Channel rules too."


def set_limit(app: Application, shop_id: int, limit: int | None, actor: Actor) -> str:
    """Set or switch off the limit of the alert; returns what to say. Raises BadLimit."""
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        alerts.set_exposure_limit(conn, shop_id, limit, actor, now)
    oversell_queries.forget()
    if limit is None:
        return "The alert on exposure is switched off."
    return f"A notice goes out when more than {formats.plural(limit, 'unit')} are at risk."


def ask_limit(viewer: people.Viewer, totals: Row, found: Row) -> None:
    """Open the dialog of the limit as it is, what is at risk now, and the form."""
    components.open_dialog(partial(_draw_limit, viewer, totals, found))


@st.dialog("Alert limit", width="medium", icon=":material/notifications:")
def _draw_limit(viewer: people.Viewer, totals: Row, found: Row) -> None:
    st.markdown(oversell_words.alert_limit(found))
    components.figures(
        [
            (formats.count(totals["risk_units"]), "units at risk now"),
            (formats.count(totals["risk_skus"]), "SKUs"),
            (formats.count(totals["escrow_pools"]), "in escrow"),
        ]
    )
    st.markdown(
        "- It opens once, when **more** than the limit is at risk in the whole shop, and closes by itself.\n"
        "- With every SKU in escrow 0 is right: any risk is news. Shared pools always carry some: set what is too much."
    )
    with st.form("alert-limit", border=False, enter_to_submit=True):
        limit = st.number_input(
            "Limit, units", min_value=0, max_value=LIMIT_MAX, step=1, value=found["limit_units"] or 0, key="limit-units"
        )
        reason = st.text_input("Reason", required=True, placeholder="The season begins", key="limit-reason")
        with st.container(horizontal=True, horizontal_alignment="right"):
            ends = found["limit_units"] is not None and st.form_submit_button("Switch it off")
            sets = st.form_submit_button("Set the limit", type="primary")
    if sets or ends:
        _set(viewer, None if ends else int(limit or 0), reason or "")


def _set(viewer: people.Viewer, limit: int | None, reason: str) -> None:
    try:
        said = set_limit(application(), viewer.shop.id, limit, Actor(viewer.person.name, reason))
    except (Anticipated, SwitchyardError) as refused:
        st.error(formats.plain(str(refused)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "limit")
        return
    components.say_later(said)
    st.rerun()
