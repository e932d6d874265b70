"""What a requeue or a discard would do, in figures and sentences. Pure: no database, no Streamlit."""

from __future__ import annotations

from collections.abc import Callable

from core.recovery.operations import Requeued
from core.recovery.preview import Preview, QuotaUse
from dashboard import formats

PACES = (10.0, 60.0, 600.0)
"""Pieces of work a minute that a person may ask for instead of the pace that was worked out."""

OWN_PACE = 0.0

LINES_OF_DISCARD = (
    "They are **not done again**. What is still to be done may be found by the next sweep or poll; a message that is "
    "given up is not booked.",
    "Nothing is deleted: each stays on record word for word, with who gave it up and why.",
)


def figures(plan: Preview) -> list[tuple[str, str]]:
    """The preview at a glance: (number, name)."""
    found = [(formats.count(plan.needed), "still needed"), (formats.count(plan.superseded), "superseded")]
    if plan.works != plan.needed:
        found.append((formats.count(plan.works), "piece of work" if plan.works == 1 else "pieces of work"))
    found += [(_about(use.units), f"{use.unit} of {use.connection}") for use in plan.quota if use.units]
    if plan.works:
        found.append((formats.estimate(plan.seconds_to_drain), "to drain"))
    return found


def lines(plan: Preview, noun: tuple[str, str]) -> list[str]:
    """The preview in sentences, for Markdown."""
    found = []
    if plan.works:
        one, many = noun
        again = f"**{formats.plural(plan.to_begin, f'{one} is', f'{many} are')} done again**"
        as_works = f" as {formats.plural(plan.works, 'piece', 'pieces')} of work" if plan.works != plan.to_begin else ""
        found.append(f"{again}{as_works}, at most {formats.rate(plan.per_minute)} a minute: live work goes first.")
    if plan.repeated:
        found.append(
            f"{formats.plural(plan.repeated, 'of them says', 'of them say')} what a later one has told: "
            "handled again, that changes nothing."
        )
    if plan.to_close:
        found.append(
            f"**{formats.plural(plan.to_close, 'is', 'are')} closed as superseded** and not done again: "
            "later ones did the work."
        )
    if plan.under_way:
        found.append(f"{formats.plural(plan.under_way, 'is', 'are')} being done again already, and left alone.")
    found += [_quota(use) for use in plan.quota if use.units]
    if plan.works:
        found.append(_money(plan))
    return found


def _money(plan: Preview) -> str:
    if not plan.money_calls:
        return "**No money is moved.** Nothing is sent twice: each looks up what is still to be done."
    calls = formats.plural(plan.money_calls, "piece of work may move", "pieces of work may move")
    return f"**{calls} money.** Each has its own key at the other side, so that none is carried out twice."


def _quota(use: QuotaUse) -> str:
    if use.operation is not None:
        return (
            f"It takes about {_about(use.units)} {formats.plain(use.unit)} of {formats.plain(use.connection)}"
            f" ({formats.plain(use.operation)}), which allows {_about(use.has)} a minute."
        )
    share = f", {formats.percent(round(use.share * 1000), 1000)} of what it has now" if use.share is not None else ""
    return f"It takes about {_about(use.units)} {formats.plain(use.unit)} of {formats.plain(use.connection)}{share}."


def _about(units: float | None) -> str:
    return formats.count(None if units is None else max(round(units), 1))


def warnings(plan: Preview) -> list[str]:
    """What keeps the work from doing good now, for Markdown; the cause that persists first."""
    return [formats.sentence(text) for text in (plan.warning, *plan.obstacles) if text]


def may_go(plan: Preview) -> bool:
    """Whether there is something that a click would do."""
    return plan.is_possible


def verb(plan: Preview) -> str:
    """What the button says: it repeats the counts."""
    close = f"close {formats.count(plan.to_close)}" if plan.to_close else ""
    again = f"Requeue {formats.count(plan.to_begin)}" if plan.works else ""
    return ", ".join(part for part in (again, close) if part).capitalize()


def paces(plan: Preview) -> dict[float, str]:
    """The paces to choose from, each with the time that it takes; the first is that of the preview."""
    own = f"As live work allows: {formats.rate(plan.per_minute)} a minute, {formats.estimate(plan.seconds_to_drain)}"
    others = {pace: f"{formats.rate(pace)} a minute, {formats.estimate(plan.works * 60 / pace)}" for pace in PACES}
    return {OWN_PACE: own, **others}


def requeued(done: Requeued, is_rung: bool, clock: Callable[[float], str]) -> str:
    """What the toast says: 171 failures are done again at 60 a minute, done about 14:35. `clock` tells the time in so
    many seconds."""
    closed = f"{formats.plural(done.closed, 'is', 'are')} closed as superseded." if done.closed else ""
    if done.recovery_id is None:
        return closed
    again = formats.plural(done.items, "failure is", "failures are")
    if not is_rung:
        said = f"{again} kept to be done again. Redis does not answer: it begins when Redis is back."
    else:
        ends = clock(done.works * 60 / done.per_minute)
        said = f"{again} done again at {formats.rate(done.per_minute)} a minute, done about {ends}."
    return f"{said} {closed}".rstrip()


def figures_of_discard(plan: Preview) -> list[tuple[str, str]]:
    """What a discard would give up: (number, name)."""
    return [(formats.count(plan.items), "given up"), (formats.count(plan.needed), "of them still needed")]
