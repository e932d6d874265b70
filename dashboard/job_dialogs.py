"""Requeue and discard, of jobs and of messages: the preview that counts, the reason, the act, what it said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import Anticipated, SwitchyardError
from core.messaging import parked
from core.runs import failures
from dashboard import components, formats, job_actions, jobs_queries, people, queries


@dataclass(frozen=True, slots=True)
class Preview:
    """What an act would do, as it was when the dialog opened; it is done to exactly this or to nothing."""

    title: str
    icon: str
    about: str
    figures: Sequence[tuple[str, str]]
    lines: Sequence[str]
    warning: str | None
    verb: str
    hint: str
    do: Callable[[Actor], str]
    evidence: Callable[[], None] | None = None
    """Draws what the figures are made of."""
    is_large: bool = False


def requeue_jobs(chosen: failures.Chosen, about: str, is_recent: bool) -> None:
    """Ask whether the work of failed jobs is to be done again. `is_recent`: the cause struck minutes ago."""
    app, shop = job_actions.application(), people.viewer().shop
    with components.panel("plan"):
        plan = job_actions.plan_jobs(app, shop.id, chosen)
        if plan.obstacle is not None:
            ask(_hindered(plan, about))
            return
        works = len(plan.works)
        kinds = sorted({work.function for work in plan.works})
        ask(
            Preview(
                f"Requeue {formats.plural(plan.jobs, 'job')}?",
                ":material/replay:",
                about,
                [
                    (formats.count(plan.jobs), "failed jobs" if plan.jobs != 1 else "failed job"),
                    (formats.count(works), "pieces of work" if works != 1 else "piece of work"),
                ],
                [
                    f"**Queued once**: {formats.plural(works, 'job')} ({_names(kinds)}). "
                    "Failures of the same function and arguments are one piece of work.",
                    "Nothing is booked or sent twice: each job looks up what is still to be done.",
                    "The failures leave this list and RQ’s registry; who and why stays on record.",
                ],
                "It struck again minutes ago. If the cause is not repaired, the jobs fail again and come back here."
                if is_recent
                else None,
                f"Requeue {formats.count(plan.jobs)}",
                "The token was renewed",
                lambda actor: job_actions.requeue_jobs(app, shop.id, chosen, plan.token, actor),
            )
        )


def discard_jobs(chosen: failures.Chosen, about: str) -> None:
    """Ask whether failed jobs are to be given up."""
    app, shop = job_actions.application(), people.viewer().shop
    with components.panel("plan"):
        plan = job_actions.plan_jobs(app, shop.id, chosen)
        ask(
            Preview(
                f"Discard {formats.plural(plan.jobs, 'failed job')}?",
                ":material/delete:",
                about,
                [(formats.count(plan.jobs), "failed jobs" if plan.jobs != 1 else "failed job")],
                [
                    "They are **not done again**. What is still to be done is found by the next sweep or poll.",
                    "They stay on record with their traceback, who discarded them and why.",
                ],
                None,
                f"Discard {formats.count(plan.jobs)}",
                "A test of the vendor’s, not ours",
                lambda actor: job_actions.discard_jobs(app, shop.id, chosen, plan.token, actor),
            )
        )


def requeue_messages(chosen: parked.Chosen, about: str) -> None:
    """Ask whether parked messages are to have another turn."""
    app, shop = job_actions.application(), people.viewer().shop
    with components.panel("plan"):
        plan = job_actions.plan_messages(app, shop.id, chosen)
        ask(
            Preview(
                f"Requeue {formats.plural(plan.messages, 'message')}?",
                ":material/replay:",
                about,
                _message_figures(plan, shop.zone),
                [
                    f"**Handled again**: {formats.plural(plan.messages, 'message')}, word for word as "
                    f"{'it' if plan.messages == 1 else 'they'} came, within seconds.",
                    "Nothing is booked twice: what it says is known by its own keys, in whatever order it comes.",
                    "What still cannot be handled is parked again with its cause, and slows nothing else.",
                ],
                None,
                f"Requeue {formats.count(plan.messages)}",
                "The listing is mapped now",
                lambda actor: job_actions.requeue_messages(app, shop.id, chosen, plan.token, actor),
            )
        )


def discard_messages(chosen: parked.Chosen, about: str) -> None:
    """Ask whether parked messages are to be given up."""
    app, shop = job_actions.application(), people.viewer().shop
    with components.panel("plan"):
        plan = job_actions.plan_messages(app, shop.id, chosen)
        ask(
            Preview(
                f"Discard {formats.plural(plan.messages, 'message')}?",
                ":material/delete:",
                about,
                _message_figures(plan, shop.zone),
                [
                    "What they say is **not booked**. If it is an order, a later poll may bring it again.",
                    "Nothing is deleted: each stays word for word, with who discarded it and why, and can be requeued.",
                ],
                None,
                f"Discard {formats.count(plan.messages)}",
                "A test message of the vendor",
                lambda actor: job_actions.discard_messages(app, shop.id, chosen, plan.token, actor),
            )
        )


def _message_figures(plan: parked.Plan, zone: str) -> list[tuple[str, str]]:
    figures = [(formats.count(plan.messages), "message" if plan.messages == 1 else "messages")]
    if plan.since is not None:
        figures.append((formats.exact(plan.since, zone), "received first"))
    return figures


def _hindered(plan: failures.Plan, about: str) -> Preview:
    return Preview(
        "These jobs cannot be requeued",
        ":material/block:",
        about,
        [(formats.count(plan.jobs), "failed jobs" if plan.jobs != 1 else "failed job")],
        ["Only names that our code declares are ever queued, with ids as arguments. Discard them, with a reason."],
        formats.sentence(plan.obstacle),
        "",
        "",
        lambda actor: "",
    )


def ask(preview: Preview) -> None:
    """Open the dialog of an act: what it would do, why, and the button that does it."""
    # The preview travels as an argument: the dialog's own reruns keep the plan that was seen, and its token.
    width: Literal["medium", "large"] = "large" if preview.is_large else "medium"
    st.dialog(preview.title, width=width, icon=preview.icon)(partial(_draw, preview))()


def _draw(preview: Preview) -> None:
    st.markdown(preview.about)
    if preview.figures:
        components.figures(preview.figures)
    st.markdown("\n".join(f"- {line}" for line in preview.lines))
    if preview.evidence is not None:
        preview.evidence()
    if preview.warning:
        st.warning(preview.warning, icon=":material/warning:")
    if not preview.verb:
        return
    with st.form("act", border=False, enter_to_submit=True):
        reason = st.text_input("Reason", required=True, placeholder=preview.hint, key="act-reason")
        with st.container(horizontal=True, horizontal_alignment="right"):
            go = st.form_submit_button(preview.verb, type="primary")
    if go:
        _do(preview, reason or "")


def _do(preview: Preview, reason: str) -> None:
    try:
        said = preview.do(Actor(people.viewer().person.name, reason))
    except Anticipated as refused:
        st.error(formats.plain(str(refused)), icon=":material/error:")
        if st.button("Look again", key="act-look-again"):
            look_again()
        return
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "act")
        return
    components.say_later(said)
    look_again()


def look_again() -> None:
    """Draw the page afresh from what is there now."""
    jobs_queries.forget()
    queries.forget()
    st.rerun()


def _names(names: Sequence[str]) -> str:
    return ", ".join(formats.plain(name) for name in names)
