"""A shop with alerts in every state, channels in every state, and things that were said to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.audit import Actor
from core.connections.operations import new_key
from core.db import execute
from core.messaging import notice_addresses, notice_channels
from core.messaging.notice_channels import Wishes
from core.messaging.notices import Notice, say
from tests.dashboard import seed, worlds

KEY = new_key()
ADA = Actor("ada", "the season begins")
SECRET = "verysecretpath"
REVOKED = "webhook: refused with 404 no_service: the webhook was revoked"


@dataclass(frozen=True)
class Alerts:
    """What was seeded, by id."""

    world: worlds.World
    backlog: int
    exposure: int
    silence: int
    taken: int
    over: tuple[int, ...]
    chat: int
    post: int
    night: int


def alert(conn: Connection, shop: int, kind: str, headline: str, since: Any, **more: Any) -> int:
    """One episode with the event that began it."""
    given = {
        "fingerprint": f"{kind}:{headline[:12]}", "severity": "attention", "sentence": "It is so.",
        "next_step": "Look at it.", "page": "connections", "address": Jsonb({}), "limit_units": 0, "opened_units": 1,
        "units": 1, "worst_units": 1, "skus": 0, "orders": 0, "worst_skus": Jsonb([]), "size": 1, "told_size": 1,
        "opened_at": since, "checked_at": seed.now(), "is_told": True, "relapses": 0,
    }  # fmt: skip
    number = seed.insert(conn, "alerts", shop_id=shop, kind=kind, headline=headline, **{**given, **more})
    began = "regressed" if more.get("relapses") else "opened"
    event(conn, shop, number, began, headline, since)
    return number


def event(conn: Connection, shop: int, alert_id: int, what: str, words: str, at: Any, who: str = "switchyard") -> None:
    seed.insert(conn, "alert_events", shop_id=shop, alert_id=alert_id, at=at, what=what, who=who, words=words)


def busy(conn: Connection) -> Alerts:
    """The calm shop on a day on which a lot is wrong."""
    world = worlds.calm(conn)
    shop, amazon, shopify = world.shop, world.amazon, world.shopify
    chat, post, night = _channels(conn, shop)
    over = tuple(_over(conn, shop, amazon, number) for number in range(23))
    backlog = alert(
        conn, shop, "backlog", "4,812 messages of Amazon wait, and it gets 310 a minute more", seed.ago(minutes=26),
        severity="danger", connection_id=amazon, page="jobs", skus=188, orders=214, units=4812, size=4812,
        sentence="1,240 a minute came and 930 were done over ten minutes; at this rate it is dangerous at 15:40",
        next_step="Look at the lanes: start another worker of the queue events", address=Jsonb({}),
        worst_skus=Jsonb([{"code": "events", "units": 4812, "where": "Amazon"}]),
    )  # fmt: skip
    exposure = alert(
        conn, shop, "exposure", "Up to 31 units could be oversold, over 4 SKUs", seed.ago(minutes=9), severity="danger",
        page="oversell", address=Jsonb({"show": "At risk"}), units=31, worst_units=38, skus=4, relapses=2,
        sentence="The limit is 20. Worst: LANTERN-RED (14), MUG-BLUE (9)", fingerprint="exposure",
        regressed_from=over[0], next_step="Switch the worst to escrow, or look which channel does not follow",
        worst_skus=Jsonb([{"code": "LANTERN-RED", "units": 14}, {"code": "MUG-BLUE", "units": 9}]),
    )  # fmt: skip
    silence = alert(
        conn, shop, "silence", "Shopify has been silent for 42 minutes", seed.ago(minutes=42), connection_id=shopify,
        sentence="At this hour something comes every 3 minutes; nothing has for 42",
        next_step="Test the connection, and look whether its webhooks stand",
        unknown_since=seed.ago(minutes=4), unknown_because="the database did not answer the count in time",
    )  # fmt: skip
    taken = alert(
        conn, shop, "token_ending", "The token of Amazon ends in 3 days", seed.ago(hours=5), connection_id=amazon,
        sentence="After that nothing can be read or written there", next_step="Authorise the application again",
        acknowledged_at=seed.ago(hours=4), acknowledged_by="grace", acknowledged_reason="The seller signs on Monday",
    )  # fmt: skip
    event(conn, shop, taken, "acknowledged", "The seller signs on Monday", seed.ago(hours=4), "grace")
    event(conn, shop, backlog, "worse", "From 2,100 to 4,812", seed.ago(minutes=8))
    _said(conn, shop, backlog, exposure, chat, post)
    return Alerts(world, backlog, exposure, silence, taken, over, chat, post, night)


def outage(conn: Connection) -> tuple[int, int]:
    """(shop, alert): the calm shop without Amazon, with what follows from it; it has just begun to answer."""
    world = worlds.calm(conn)
    parts = [
        {
            "headline": "Reading single orders failed 3 times for Amazon UK", "page": "failures", "skus": 0,
            "address": {"cause": "boom", "function": "orders.read"}, "orders": 12, "money": {"GBP": 3000},
        },
        {"headline": "<b>Its own</b> words", "page": "runs", "address": {"run": "3"}, "skus": 1, "orders": 0},
        {"more": 2},
    ]  # fmt: skip
    made = alert(
        conn, world.shop, "connection_failing", "No call to Amazon UK succeeds", seed.ago(minutes=12),
        severity="danger", connection_id=world.amazon, page="calls", skus=4, orders=14, worst_skus=Jsonb(parts),
        fingerprint=f"connection_failing:{world.amazon}", clear_since=seed.ago(minutes=1),
    )  # fmt: skip
    return world.shop, made


def _over(conn: Connection, shop: int, amazon: int, number: int) -> int:
    opened, closed = seed.ago(days=1 + number, hours=2), seed.ago(days=1 + number)
    is_risk = number % 3 == 0
    made = alert(
        conn, shop, "exposure" if is_risk else "stuck_sync",
        f"Up to {22 + number} units could be oversold" if is_risk else f"The sync of Amazon stands still ({number})",
        opened, severity="danger" if is_risk else "attention", connection_id=None if is_risk else amazon,
        fingerprint="exposure" if is_risk else f"stuck_sync:{number}", units=0,
        worst_units=22 + number, closed_at=closed, closed_because="below",
    )  # fmt: skip
    event(conn, shop, made, "resolved", "its condition is gone", closed)
    return made


def _channels(conn: Connection, shop: int) -> tuple[int, int, int]:
    now = seed.ago(days=3)
    hook = notice_addresses.slack(f"https://hooks.slack.com/services/T0/B0/{SECRET}")
    mail = notice_addresses.mail(
        "smtp.harbour.example", 587, "starttls", "switchyard@harbour.example",
        ["ops@harbour.example", "grace@harbour.example"], "switchyard", "pa55word",
    )  # fmt: skip
    chat = notice_channels.add(conn, shop, Wishes("Ops channel", least_severity="info"), hook, [KEY], ADA, now)
    wished = Wishes("Operations", ("exposure", "backlog", "daily_report"), "attention", "daily", 8)
    post = notice_channels.add(conn, shop, wished, mail, [KEY], ADA, now)
    night = notice_channels.add(conn, shop, Wishes("Night shift", None, "danger"), hook, [KEY], ADA, now)
    notice_channels.set_quiet(conn, shop, night, True, ADA, now)
    execute(
        conn,
        """
        update notice_channels set failures = 3, last_error = %(error)s, last_error_at = %(now)s,
            last_success_at = %(before)s where shop_id = %(shop)s and id = %(chat)s
        """,
        now=seed.ago(minutes=4), before=seed.ago(hours=3), shop=shop, chat=chat, error=REVOKED,
    )  # fmt: skip
    return chat, post, night


def _said(conn: Connection, shop: int, backlog: int, exposure: int, chat: int, post: int) -> None:
    told = [
        (f"alert:{backlog}", "backlog", "danger", "4,812 messages of Amazon wait", 26),
        (f"alert:{exposure}", "exposure", "danger", "Again: up to 31 units could be oversold", 9),
        ("report:1", "daily_report", "info", "The day of 25 November", 300),
    ]
    for key, kind, severity, subject, minutes in told:
        notice = Notice(key, kind, severity, subject, f"{subject}. Look at it.")  # type: ignore[arg-type]
        say(conn, shop, notice, seed.ago(minutes=minutes))
    settle = "update outbox_messages set state = %(state)s, settled_at = %(at)s, attempts = 1, answer = %(answer)s,"
    of_chat = "where shop_id = %(shop)s and channel_id = %(chat)s and dedupe_key like %(key)s"
    for key, state, answer, error in (
        ("report%", "sent", "200 ok", None),
        (f"alert:{backlog}#%", "sent", "200 ok", None),
        (f"alert:{exposure}#%", "dead", None, REVOKED),
    ):
        execute(
            conn, f"{settle} last_error = %(error)s {of_chat}", shop=shop, chat=chat, key=key, state=state,
            answer=answer, error=error, at=seed.ago(minutes=4),
        )  # fmt: skip


def trial(conn: Connection, shop: int, channel: int, state: str, **more: Any) -> int:
    """A trial of a channel as it ended, or before."""
    message = notice_channels.test(conn, shop, channel, ADA, seed.now())
    if state != "waiting":
        values = {"state": state, "settled_at": seed.now(), "attempts": 1, **more}
        seed.set_state(conn, "outbox_messages", message, **values)
    return message
