"""What a person does on the Reports screen: build a day, look for what came later, send it. One core operation each."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Engine

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.db import unit_of_work
from core.reports import operations as reports
from core.reports import telling, words
from core.reports.queries import ReportRow
from dashboard import formats, previews, report_queries


def build(engine: Engine, shop_id: int, day: date, actor: Actor) -> str:
    """Build a closed day; says what it came to. Raises AlreadyBuilt, DayNotClosed."""
    with unit_of_work(engine) as conn:
        made = reports.build_by_hand(conn, shop_id, day, actor, utc_now())
    report_queries.forget()
    return f"{words.long_day(day)} is reported: {words.summary(made)}"


def correct(engine: Engine, shop_id: int, day: date, actor: Actor) -> str:
    """Look for what came after a day was reported; says what was found. Raises NoSuchReport."""
    with unit_of_work(engine) as conn:
        made = reports.correct_by_hand(conn, shop_id, day, actor, utc_now())
    report_queries.forget()
    if made is None:
        return f"The report of {words.long_day(day)} stands: everything is known as it was."
    return f"Edition {made.edition}: {formats.plural(len(made.changes), 'figure')} changed."


def send(report: ReportRow, actor: Actor) -> str:
    """Send an edition to whoever is told of daily reports; the page of alerts shows what came of it."""
    app = bootstrap.application()
    with unit_of_work(app.engine) as conn:
        telling.send(conn, report, app.settings.dashboard_url, actor, utc_now())
    return f"Edition {report.edition} of {words.long_day(report.day)} is on its way."


def ask_build(shop_id: int, day: date, zone: str) -> None:
    """What building a day means, then why."""
    engine = bootstrap.application().engine
    previews.ask(
        previews.Preview(
            f"Build the report of {words.long_day(day)}?",
            ":material/bar_chart:",
            f"By what is known now of this day, from midnight to midnight in {formats.place(zone)}.",
            [],
            [
                "It is kept **as it is built**. What comes later makes a correction beside it, with what and why.",
                "Nobody is told by this: send it when you have looked at it.",
            ],
            None,
            "Build it",
            "The night's turn was missed",
            lambda actor: build(engine, shop_id, day, actor),
        )
    )


def ask_correct(shop_id: int, report: ReportRow) -> None:
    """What looking again means, then why."""
    engine = bootstrap.application().engine
    previews.ask(
        previews.Preview(
            f"Look at {words.long_day(report.day)} again?",
            ":material/update:",
            f"Edition {report.editions} is held against what is known now, as every night for the last days.",
            [],
            [
                "Where a figure differs, a **new edition** says from what to what, and why. The others stay.",
                "How the machinery did (stock-outs, sync, alerts) stays as first reported.",
            ],
            None,
            "Look now",
            "A channel sent orders late",
            lambda actor: correct(engine, shop_id, report.day, actor),
        )
    )


def ask_send(report: ReportRow) -> None:
    """What is sent, then why."""
    previews.ask(
        previews.Preview(
            "Send this report?",
            ":material/send:",
            f"Edition {report.edition} of {words.long_day(report.day)}. {formats.plain(words.summary(report))}",
            [],
            ["To whoever is told of **daily reports**: as a page in a mail, in short to a chat."],
            None,
            "Send it",
            "Finance asked for it",
            lambda actor: send(report, actor),
        )
    )
