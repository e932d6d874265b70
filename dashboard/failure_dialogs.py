"""Requeue, discard, cancel: the preview that counts, name, pace and reason, the act, and what it said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import SwitchyardError
from core.recovery.choosing import Chosen, FactsChanged
from core.recovery.operations import NAME_CHARACTERS_MAX
from core.recovery.preview import Preview
from dashboard import (
    components,
    failure_actions,
    failure_plans,
    failure_words,
    formats,
    people,
    previews,
)
from dashboard.failure_words import Row

_PLAN, _SAID = "failure-plan", "failure-said"


@dataclass(frozen=True, slots=True)
class Target:
    """What an act is about: the failures, their noun (one, many), and what they are in words for Markdown."""

    chosen: Chosen
    noun: tuple[str, str]
    about: str
    name: str


def group(row: Row) -> Target:
    """All open failures of a group."""
    return Target(
        Chosen(group_key=row["group_key"]),
        failure_words.NOUNS[row["source"]],
        f"**{failure_words.headline(row)}** · {failure_words.about(row)}",
        failure_words.where(row),
    )


def item(row: Row, about: str) -> Target:
    """One failure."""
    return Target(
        Chosen(source=row["source"], item_id=row["item_id"]),
        failure_words.NOUNS[row["source"]],
        about,
        f"{failure_words.where(row)}, {failure_words.title(row)}",
    )


def everything() -> Target:
    """Every open failure of the shop."""
    return Target(Chosen(), ("failure", "failures"), "**Everything that is open**, of every cause", "everything")


# Requeue --------------------------------------------------------------------------------------------------------------


def requeue(target: Target) -> None:
    """Ask whether the work of failures is to be done again."""
    _ask(target, "Requeue", ":material/replay:", _draw_requeue)


def _draw_requeue(target: Target) -> None:
    plan: Preview = st.session_state[_PLAN]
    _draw_head(target, failure_plans.figures(plan), failure_plans.lines(plan, target.noun))
    with st.container():
        for warning in failure_plans.warnings(plan):
            st.warning(warning, icon=":material/warning:")
    if not failure_plans.may_go(plan):
        return
    paces = failure_plans.paces(plan)
    with st.form("requeue", border=False, enter_to_submit=True):
        reason = st.text_input("Reason", required=True, placeholder="The token was renewed", key="act-reason")
        with st.container(horizontal=True, key="stack-recovery"):
            name = st.text_input("Name", placeholder=target.name, key="act-name", max_chars=NAME_CHARACTERS_MAX)
            pace = st.selectbox("Pace", list(paces), key="act-pace", format_func=paces.__getitem__)
        go = _draw_button(failure_plans.verb(plan))
    if go:
        _do(
            target,
            lambda actor: failure_actions.requeue(
                failure_actions.application(),
                people.viewer().shop,
                target.chosen,
                plan,
                actor,
                name or target.name,
                pace or None,
            ),
            reason or "",
        )


# Discard --------------------------------------------------------------------------------------------------------------


def discard(target: Target) -> None:
    """Ask whether failures are to be given up."""
    _ask(target, "Discard", ":material/delete:", _draw_discard)


def _draw_discard(target: Target) -> None:
    plan: Preview = st.session_state[_PLAN]
    _draw_head(target, failure_plans.figures_of_discard(plan), failure_plans.LINES_OF_DISCARD)
    with st.form("discard", border=False, enter_to_submit=True):
        reason = st.text_input(
            "Reason", required=True, placeholder="A test of the vendor’s, not ours", key="act-reason"
        )
        go = _draw_button(f"Discard {formats.count(plan.items)}")
    if go:
        _do(
            target,
            lambda actor: failure_actions.discard(
                failure_actions.application(), people.viewer().shop.id, target.chosen, plan.token, actor
            ),
            reason or "",
        )


# Cancel, take back ----------------------------------------------------------------------------------------------------


def cancel(recovery: Row) -> None:
    """Ask whether the rest of a recovery is not to be begun."""
    waiting = recovery["waiting"]
    previews.ask(
        previews.Preview(
            title="Cancel this recovery?",
            icon=":material/cancel:",
            about=f"**{formats.plain(recovery['name'])}**",
            figures=[
                (formats.count(waiting), "not begun"),
                (formats.count(recovery["released"]), "under way"),
                (formats.count(recovery["done"]), "done"),
            ],
            lines=[
                f"**{formats.plural(waiting, 'piece of work is', 'pieces of work are')} not begun**: the failures are "
                "open again.",
                "What is under way ends by itself, and what is done stays done.",
            ],
            warning=None,
            verb=f"Cancel {formats.count(waiting)}",
            hint="It fails again",
            do=lambda actor: failure_actions.cancel(
                failure_actions.application(), people.viewer().shop.id, recovery["recovery_id"], actor
            ),
        )
    )


def take_back(target: Target) -> None:
    """Ask whether a failure that was given up is to be open again."""
    previews.ask(
        previews.Preview(
            title=f"Take the discard of this {target.noun[0]} back?",
            icon=":material/undo:",
            about=target.about,
            figures=(),
            lines=[
                "It is **open again**, as it was, and can be requeued.",
                "Who gave it up and why stays on record beside it.",
            ],
            warning=None,
            verb="Take back",
            hint="It is needed after all",
            do=lambda actor: failure_actions.take_back(
                failure_actions.application(), people.viewer().shop.id, target.chosen, actor
            ),
        )
    )


# Steps ----------------------------------------------------------------------------------------------------------------


def _ask(target: Target, verb: str, icon: str, draw: Callable[[Target], None]) -> None:
    """Look at what is there now, then open the dialog that says so."""
    with components.panel("plan"):
        plan = _look(target)
        title = f"{verb} {formats.plural(plan.items, *target.noun)}?"
        components.open_dialog(st.dialog(title, width="medium", icon=icon)(partial(draw, target)))


def _look(target: Target) -> Preview:
    plan = failure_actions.look(failure_actions.application(), people.viewer().shop.id, target.chosen)
    st.session_state[_PLAN] = plan
    return plan


def _draw_head(target: Target, figures: Sequence[tuple[str, str]], lines: Sequence[str]) -> None:
    st.markdown(target.about)
    # There whether or not something is said: what follows stays what it is, and keeps the keyboard’s focus.
    with st.container():
        if said := st.session_state.pop(_SAID, None):
            st.error(said, icon=":material/sync_problem:")
    components.figures(figures)
    st.markdown("\n".join(f"- {line}" for line in lines))


def _draw_button(verb: str) -> bool:
    with st.container(horizontal=True, horizontal_alignment="right"):
        return st.form_submit_button(verb, type="primary")


def _do(target: Target, do: Callable[[Actor], str], reason: str) -> None:
    """Act; where the facts are others by now, say so and show the new counts: the next click acts on those."""
    try:
        _act(do, reason)
    except FactsChanged as changed:
        plan = _look(target)
        if not plan.items:
            components.say_later(formats.plain(str(changed)))
            previews.look_again()
        st.session_state[_SAID] = (
            f"{formats.plain(str(changed)).removesuffix(' Look again.')} Below is what is there now."
        )
        st.rerun(scope="fragment")


def _act(do: Callable[[Actor], str], reason: str) -> None:
    try:
        said = do(Actor(people.viewer().person.name, reason))
    except FactsChanged:
        raise
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "act")
        return
    components.say_later(said)
    previews.look_again()
