"""Which blows fall, in which order and with which choices: drawn from the seed alone, so that a run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

EACH_AT_LEAST = 6
MANY = 100
"""From so many blows on, every kind is struck at least EACH_AT_LEAST times, and the run grows to make room."""

TRADE_KINDS = {
    "drain_in_transaction": "SIGKILL to the process that books, in the middle of its transaction",
    "drain_before_acknowledgement": "SIGKILL to it when its effect is committed and its job is not yet told",
    "push_in_flight": "SIGKILL to a pushing process while the channel works on its request",
    "worker": "SIGKILL to a worker and the process that runs its job",
    "api": "SIGKILL to the api while deliveries pour in",
    "scheduler": "SIGKILL to the scheduler",
    "redis": "SIGKILL to Redis, which comes back after a while",
    "flushall": "FLUSHALL",
    "postgres": "SIGKILL to the postmaster in the middle of a transaction; it comes back after a while",
    "two_schedulers": "a second scheduler for a while",
    "frozen_worker": "SIGSTOP to a process beyond its lease, SIGCONT when another has taken its lane over",
    "duplicate_deliveries": "every delivery comes twice",
    "delayed_deliveries": "deliveries come late",
    "reordered_deliveries": "deliveries come in any order",
    "lost_replies": "the channel carries the request out and hangs up",
    "refused_answers": "the channel answers 429 or 500",
}
DESK_KINDS = {
    "recovery": "SIGKILL to who has failures done again, while it begins them or settles them",
    "reconciliation": "SIGKILL to a comparison while it stages a page, or while it heals",
    "alert_sweep": "SIGKILL to the look for alerts in its transaction",
    "telling": "SIGKILL when a chat or a mail server has a notice and that is not yet noted",
    "deaf_listener": "chat and mail server put a notice off, or take it and never answer",
    "report": "SIGKILL to who writes a day's report or a correction down: the clock's worker, or a person's command",
    "retention": "SIGKILL to who forgets what is old, in the second of several batches",
    "schedule": "SIGKILL to a ring that takes its period, or FLUSHALL while rings wait",
    "cancelled_run": "a person stops a comparison, and its process dies before it hears of that",
    "lost_jobs": "SIGKILL to a worker with the job that it has begun; every other time FLUSHALL with it",
}
KINDS = {**TRADE_KINDS, **DESK_KINDS}

PAUSE_SECONDS_MEAN = 1.2

TABLES = ("orders", "order_lines", "stock_levels", "stock_movements", "reservations", "listings")
"""What booking writes: a lock on one of them stops it there, in its transaction."""

QUEUES = (
    "events",
    "stock",
    "stock-check",
    "polls",
    "lookups",
    "targets",
    "catalog",
    "reconcile",
    "money",
    "imports",
    "reports",
)
CHANNELS = ("shopify", "amazon")


@dataclass(frozen=True, slots=True)
class Planned:
    """One blow: its kind, and every choice that it may make. Seconds are real ones."""

    number: int
    kind: str
    table: str
    queue: str
    channel: str
    answer: str
    frozen: str
    outage_seconds: float
    late_seconds: float
    pause_seconds: float
    worker_first: bool


def draw(seed: int, blows: int, only: Sequence[str] = ()) -> list[Planned]:
    """The plan of a run: kinds (all, or only some) as evenly as the number allows, in an order of their own.

    One that is too short for all has of both sorts, as many of each as there are.
    """
    chosen = random.Random(f"blows-{seed}")
    of_all = list(only or KINDS)
    kinds = of_all * (EACH_AT_LEAST if blows >= MANY else 0)
    while len(kinds) < blows:
        kinds += _some(chosen, of_all, min(len(of_all), blows - len(kinds)))
    chosen.shuffle(kinds)
    turns = dict.fromkeys(KINDS, chosen.randrange(4))
    plan = []
    for number, kind in enumerate(kinds, start=1):
        turns[kind] += 1
        plan.append(
            Planned(
                number=number,
                kind=kind,
                table=chosen.choice(TABLES),
                # Half of the workers struck are those that book.
                queue="events" if chosen.random() < 0.5 else chosen.choice(QUEUES),
                # In turn, so that each has its share whatever the seed.
                channel=CHANNELS[turns[kind] % 2],
                answer=("http_429", "http_500")[turns[kind] // 2 % 2],
                frozen=("events", "stock")[turns[kind] // 2 % 2],
                outage_seconds=round(chosen.uniform(0.2, 2.5), 2),
                late_seconds=round(chosen.uniform(0.5, 3.0), 2),
                # Now and then at once, now and then when all has come back.
                pause_seconds=round(chosen.expovariate(1 / PAUSE_SECONDS_MEAN), 2),
                worker_first=chosen.random() < 0.5 if kind in TRADE_KINDS else turns[kind] % 2 == 0,
            )
        )
    return plan


def _some(chosen: random.Random, kinds: Sequence[str], count: int) -> list[str]:
    """So many different ones, of trade and of the desk by their share."""
    trade, desk = ([kind for kind in kinds if kind in group] for group in (TRADE_KINDS, DESK_KINDS))
    of_desk = round(count * len(desk) / len(kinds))
    return chosen.sample(trade, count - of_desk) + chosen.sample(desk, of_desk)
