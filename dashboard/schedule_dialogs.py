"""The previews of what a person does to a schedule: run it now, pause it, resume it."""

from __future__ import annotations

from dashboard import formats, people, run_actions, schedule_queries, schedule_words
from dashboard.previews import Preview, ask
from dashboard.schedule_words import View


def run_now(view: View) -> None:
    """Ask whether a turn is to be run now."""
    viewer, name = people.viewer(), view.schedule.name
    is_daily = view.schedule.daily_after is not None
    ask(
        Preview(
            f"Run {name} now?",
            ":material/play_arrow:",
            f"**{formats.plain(name)}**: {formats.plain(view.schedule.description)}",
            [],
            [
                f"It runs **once, for {formats.plain(viewer.shop.name)}**, in a turn of its own."
                if is_daily
                else "It runs **once**, in a turn of its own.",
                f"The clock’s next turn stays as it is: {schedule_words.next_word(view)}.",
                "While a turn is at work this one waits for it; the two are never at work together.",
                *(["It stays paused afterwards."] if view.state == "paused" else []),
            ],
            None,
            f"Run {name} now",
            "To see whether it succeeds again",
            lambda actor: _told(run_actions.run_schedule(run_actions.application(), viewer.shop.id, name, actor)),
        )
    )


def pause(view: View) -> None:
    """Ask whether a schedule is to be paused."""
    viewer, name = people.viewer(), view.schedule.name
    ask(
        Preview(
            f"Pause {name}?",
            ":material/pause_circle:",
            f"**{formats.plain(name)}**: {formats.plain(view.schedule.description)}",
            [],
            [
                "**Nothing of it begins** from this moment on, rings that wait included, until somebody resumes it.",
                "A turn that is at work is let finish. What is missed meanwhile is not caught up.",
                "It is the machinery’s, and so paused for **every shop**.",
            ],
            "What it does is not done by anything else while it is paused.",
            f"Pause {name}",
            "The database is being moved",
            lambda actor: _told(run_actions.pause_schedule(run_actions.application(), viewer.shop.id, name, actor)),
        )
    )


def resume(view: View) -> None:
    """Ask whether a paused schedule is to run again."""
    viewer, name = people.viewer(), view.schedule.name
    ask(
        Preview(
            f"Resume {name}?",
            ":material/play_arrow:",
            f"Paused by {formats.sentence(view.row['changed_by'])}",
            [],
            [
                f"It runs again, {formats.plain(schedule_words.rhythm(view.schedule, viewer.shop.zone))}; "
                "the turn that is due then begins within seconds, once.",
            ],
            None,
            f"Resume {name}",
            "The database is back",
            lambda actor: _told(run_actions.resume_schedule(run_actions.application(), viewer.shop.id, name, actor)),
        )
    )


def _told(said: str) -> str:
    """What an act said, once the page reads afresh."""
    schedule_queries.forget()
    return said
