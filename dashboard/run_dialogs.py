"""The previews of what a person does to a sync run: what stays, what comes, the reason, and the button."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.reconciliation.cancelling import COMPARISONS
from dashboard import formats, people, reconciliation_dialogs, run_actions, run_queries, run_words
from dashboard.previews import Preview, ask

Row = Mapping[str, Any]


def cancel(run: Row) -> None:
    """Ask whether a sync is to be stopped."""
    if run["kind"] in COMPARISONS:
        # It ends at once, whoever is at work on it.
        reconciliation_dialogs.cancel(people.viewer(), run)
        return
    shop, name = people.viewer().shop, run_words.words_of(run["kind"])
    is_queued = run["state"] == "queued"
    figures = [(formats.count(run["done"]), "done so far")]
    if run["total"]:
        figures.append((formats.count(max(run["total"] - run["done"], 0)), "not read then"))
    ask(
        Preview(
            f"Stop sync run {run['sync_run_id']}?",
            ":material/stop_circle:",
            f"**{formats.plain(name)}** of {formats.plain(run['connection'])}",
            figures,
            [
                "It has not begun: it is over at once."
                if is_queued
                else "It stops at its **next step**, within seconds; what it is in the middle of is finished.",
                "What it has read stays. Nothing is booked by half, and nothing is written to a channel by it.",
                "Polls and webhooks go on; the next whole sync reads what this one left out.",
            ],
            None,
            "Stop this sync",
            "It reads a catalogue that is being rebuilt",
            lambda actor: _told(run_actions.cancel_sync(run_actions.application(), shop.id, run["sync_run_id"], actor)),
        )
    )


def retry(run: Row) -> None:
    """Ask whether a failed sync is to be done again."""
    shop, name = people.viewer().shop, run_words.words_of(run["kind"])
    ask(
        Preview(
            f"Do sync run {run['sync_run_id']} again?",
            ":material/replay:",
            f"**{formats.plain(name)}** of {formats.plain(run['connection'])}",
            [],
            [
                "It is asked for **once**: where one of its kind waits or runs already, that one stands for it.",
                "Nothing is booked twice: what was read by the failed one is known.",
                f"It ended with: {formats.sentence(run['error'])}" if run["error"] else "It was stopped by a person.",
            ],
            "If the cause is not repaired it fails again." if run["state"] == "failed" else None,
            "Do it again",
            "The channel answers again",
            lambda actor: _told(run_actions.retry_sync(run_actions.application(), shop.id, run["sync_run_id"], actor)),
        )
    )


def _told(said: str) -> str:
    """What an act said, once the page reads afresh."""
    run_queries.forget()
    return said
