"""One look at everything that alerts are about: which checks there are, and how one that fails is dealt with."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from core.alerts import (
    backlog,
    credentials,
    engine,
    failures,
    feeds,
    machinery,
    queries,
    shipments,
    silence,
    stock,
    syncs,
    vendors,
)
from core.alerts.engine import Desk
from core.alerts.rules import Episode, Found, Step
from core.alerts.scene import SWEEP, Scene, channels_of
from core.alerts.terms import (
    AUDIT,
    BACKLOG,
    CONNECTION,
    CREDENTIAL,
    DEPRECATION,
    EXPOSURE,
    FAILURE,
    OVERSOLD,
    REFUSED_CREDENTIAL,
    SCHEDULE,
    SILENCE,
    SLOW,
    STUCK,
    STUCK_SYNC,
    SUBSCRIPTION,
    TOKEN,
    UNCONFIRMED,
    UNMADE,
    UNSHOWN,
    Policy,
)
from core.db import execute, fetch, scalar

log = logging.getLogger(__name__)

CHECK_MS = 5000
"""A check that takes longer is given up, and nothing is known of what it looks for."""


@dataclass(frozen=True, slots=True)
class Check:
    """A condition, and how it is looked for; `of_active`: nothing is looked for at channels that are paused."""

    kind: str
    find: Callable[[Scene], Found]
    of_active: bool = False


# The last one looks at what became of the others.
CHECKS: tuple[Check, ...] = (
    Check(EXPOSURE, stock.exposure),
    Check(OVERSOLD, stock.oversold),
    Check(STUCK, stock.stuck),
    Check(SLOW, feeds.slow_feeds),
    Check(UNSHOWN, feeds.unshown_feeds),
    Check(UNCONFIRMED, shipments.unconfirmed),
    Check(CONNECTION, vendors.failing),
    Check(REFUSED_CREDENTIAL, vendors.refused_credentials, of_active=True),
    Check(TOKEN, vendors.tokens, of_active=True),
    Check(SUBSCRIPTION, vendors.subscriptions, of_active=True),
    Check(DEPRECATION, vendors.deprecations),
    Check(STUCK_SYNC, syncs.stuck_syncs),
    Check(BACKLOG, backlog.backlogs, of_active=True),
    Check(SILENCE, silence.silences, of_active=True),
    Check(FAILURE, failures.repeated),
    Check(AUDIT, machinery.audit),
    Check(SCHEDULE, machinery.schedules),
    Check(UNMADE, machinery.unmade),
)


def shops(conn: Connection) -> list[int]:
    """Every shop, each to be looked at by itself; those first that the last sweep had no time for (`goes_on_at`)."""
    rows = fetch(
        conn,
        """
        select s.shop_id from shops s
        left join (
            select (r.result ->> 'goes_on_at')::int8 as shop_id from schedule_runs r
            where r.name = %(sweep)s and r.outcome = 'finished' order by r.started_at desc limit 1
        ) next on true
        order by s.shop_id < coalesce(next.shop_id, 0), s.shop_id
        """,
        sweep=SWEEP,
    )
    return [row["shop_id"] for row in rows]


def look(desk: Desk, kinds: Sequence[str] | None = None, checks: Sequence[Check] = CHECKS) -> Counter[Step]:
    """Look for every condition of a shop (or those of `kinds`) and have its alerts follow; returns steps, counted.

    Run it in a unit of work of its own. A check that cannot be made (its view is unreadable, it takes too long) changes
    no alert, is on record as not made, and does not keep others from being made.
    """
    execute(desk.conn, f"set local statement_timeout = {CHECK_MS}")
    rules = queries.policies(desk.conn, desk.shop_id)
    episodes = engine.open_episodes(desk.conn, desk.shop_id)
    channels = channels_of(desk.conn, desk.shop_id)
    zone = ZoneInfo(str(scalar(desk.conn, "select time_zone from shops where shop_id = %(shop)s", shop=desk.shop_id)))
    chosen = [check for check in checks if kinds is None or check.kind in kinds]
    steps: Counter[Step] = Counter()
    failed: dict[str, str] = {}
    for check in chosen:
        if check.kind == UNMADE:
            engine.unmade(desk.conn, desk.shop_id, failed, [each.kind for each in chosen], desk.now)
        rule = rules[check.kind]
        mine = {name: each for name, each in episodes.items() if each.kind == check.kind}
        if not rule.is_on and not mine:
            continue
        scene = Scene(desk.conn, desk.shop_id, zone, desk.now, channels, rule)
        steps += _follow(desk, check, scene, rule, mine, failed)
    if kinds is None or CREDENTIAL in kinds:
        steps["close"] += _credentials(desk, rules[CREDENTIAL], episodes)
    return steps


def _follow(
    desk: Desk, check: Check, scene: Scene, rule: Policy, mine: dict[str, Episode], failed: dict[str, str]
) -> Counter[Step]:
    try:
        # What the check does to a broken transaction is undone, and the rest of the sweep goes on in it.
        with desk.conn.begin_nested():
            found = check.find(scene) if rule.is_on else Found()
    except Exception as error:
        log.exception("the check for %s could not be made", check.kind)
        failed[check.kind] = _why(error)
        found = Found(rest=f"it could not be looked for ({failed[check.kind]})")
    if check.of_active and rule.is_on:
        paused = {name: each for name, each in mine.items() if _is_paused(scene, each)}
        # Not because it is gone: whoever resumes the channel is told anew.
        closed = sum(engine.close(desk, each, "paused") for each in paused.values())
        steps = engine.follow(desk, rule, found, {name: each for name, each in mine.items() if name not in paused})
        steps["close"] += closed
        return steps
    return engine.follow(desk, rule, found, mine)


def _is_paused(scene: Scene, episode: Episode) -> bool:
    channel = scene.channels.get(episode.connection_id or 0)
    return channel is not None and not channel.is_active


def _credentials(desk: Desk, rule: Policy, episodes: dict[str, Episode]) -> int:
    mine = {name: each for name, each in episodes.items() if each.kind == CREDENTIAL}
    if not mine:
        return 0
    if not rule.is_on:
        return engine.follow(desk, rule, Found(), mine)["close"]
    return credentials.close_replaced(desk)


def _why(error: Exception) -> str:
    """The kind of error, which names nobody; its text stands in the log."""
    cause = getattr(error, "orig", None) or error
    return type(cause).__name__


def look_for(desk: Desk, kind: str) -> Step:
    """Look for one condition; returns what became of its alert, or of the first that something became of."""
    steps = look(desk, [kind])
    return next((step for step in _TOLD_FIRST if steps[step]), "nothing")


_TOLD_FIRST: tuple[Step, ...] = ("open", "worse", "close", "clear", "keep", "unknown")
