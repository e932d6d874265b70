"""What the short words of legs mean to people: why one has not ended or ended otherwise, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

_STUCK: Mapping[str, tuple[str, str]] = {
    "stopped": ("writes are stopped", "Resume writes when it is safe: what differs is written by itself."),
    "paused": ("the connection is paused", "Resume the connection: what differs is written by itself."),
    "shadow": (
        "the connection is only compared, nothing is written to it",
        "Let it go live, or leave it: nothing is written in shadow mode.",
    ),
    "in_doubt": (
        "nobody knows whether the last write arrived",
        "Look what the channel shows; if the doubt does not end by itself, say so with “switchyard settle”.",
    ),
    "not_answered": (
        "a write was sent and is not confirmed yet",
        "Nothing, if the channel is known to be slow; else see its answers under API calls.",
    ),
    "throttled": (
        "the channel takes no more calls for now",
        "See its quota under API calls: what else uses it can wait.",
    ),
    "not_sent": ("the write could not be sent", "See the connection’s last error; it is tried again by itself."),
    "unexplained": (
        "the channel changed the number by itself and no order explains it yet",
        "Wait for its orders, or sync the channel.",
    ),
    "escrow": (
        "another channel has to give up units first",
        "Nothing: it is shown as soon as no other channel could sell the same unit.",
    ),
    "not_planned": (
        "no write has been planned",
        "See on the Jobs page whether the workers of the queue “stock” run.",
    ),
}
_ENDED: Mapping[str, str] = {
    "refused": "the channel refused the number",
    "undone": "taken back before it was reached",
    "not_needed": "shows what it should; nothing had to be sent",
    "not_listed": "not listed or not published there any more",
}

REFUSED_STEP = "See the SKU’s listing: what the channel says is wrong with it has to be put right there."


def words(reason: str) -> str:
    """The reason in words, as the end of a sentence."""
    if reason in _ENDED:
        return _ENDED[reason]
    return _STUCK[reason][0] if reason in _STUCK else reason


def next_step(reason: str) -> str:
    """What to do about it, a sentence; empty where there is nothing to do."""
    if reason == "refused":
        return REFUSED_STEP
    return _STUCK[reason][1] if reason in _STUCK else ""
