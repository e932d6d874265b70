"""`switchyard doctor`: what is configured, reachable, permitted, missing, and when it ends."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import click
from cryptography.fernet import Fernet
from sqlalchemy.exc import SQLAlchemyError

from core import logs, measures
from core.bootstrap import Application, bad_queue
from core.clock import utc_now
from core.connections import checkup, mailboxes, queries, switches
from core.connections.checkup import Finding, ok, problem, warning
from core.connections.operations import open_secrets
from core.connections.queries import ConnectionRow
from core.db import fetch, fetch_one, read_only, scalar
from core.errors import Permanent, Retryable
from core.messaging import notice_channels
from core.orders import packages
from core.orders.confirming import TOLD_VENDORS
from core.runs.schedules import SCHEDULES
from workers import console
from workers.connecting import ask_queue, say

PERIODS_MISSED = 5
"""So many periods without a good end are too many, and never less than SILENCE."""
SILENCE = timedelta(minutes=5)
POSTGRES_MIN = 150000
CALLING_VENDORS = ("shopify",)
"""Channels that call us by themselves."""
QUEUE_VENDORS = {"amazon": "notification/ORDER_CHANGE"}
"""Channels that tell us by a queue of ours, and the topic by which they tell of orders."""


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A part of the installation and what was found of it."""

    name: str
    findings: list[Finding]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--offline", is_flag=True, help="Do not call the channels.")
def doctor(as_json: bool, offline: bool) -> None:
    """Look at settings, processes and every connection; exit status 1 where something does not work."""
    app = console.application()
    now = utc_now()
    parts = list(examine(app, now, offline=offline))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(part) for part in parts], indent=2))
    else:
        for part in parts:
            click.echo(part.name)
            say(part.findings)
        click.echo(_verdict(parts))
    sys.exit(1 if any(finding.state == "problem" for part in parts for finding in part.findings) else 0)


def _verdict(parts: list[Part]) -> str:
    states = [finding.state for part in parts for finding in part.findings]
    wrong, notes = states.count("problem"), states.count("warning")
    if not wrong:
        return f"Everything works; {notes} to note." if notes else "Everything works."
    return f"{wrong} {'thing does' if wrong == 1 else 'things do'} not work; {notes} to note."


def examine(app: Application, now: datetime, *, offline: bool = False) -> Iterator[Part]:
    """Look at everything, part by part. Where the database does not answer the rest cannot be known."""
    settings = list(_settings(app))
    database = _database(app)
    yield Part("Settings", [database, _redis(app), *settings, *_notices(app, is_readable=database.state != "problem")])
    if database.state == "problem":
        return
    yield Part("Processes", list(_processes(app, now)))
    with read_only(app.engine) as conn:
        rows = [row for shop in queries.shops(conn) for row in queries.connections_of(conn, shop["shop_id"])]
    for row in rows:
        yield Part(f"{row.name} ({row.vendor}, {row.account_ref})", list(_connection(app, row, now, offline=offline)))


def _settings(app: Application) -> Iterator[Finding]:
    yield _keys(app.settings.secret_keys)
    yield checkup.of_public_address(app.settings.api_url)


def _notices(app: Application, *, is_readable: bool) -> Iterator[Finding]:
    """Whether somebody is told: by a channel of each shop's own, or at the installation's address."""
    untold: list[str] = []
    if is_readable:
        with read_only(app.engine) as conn:
            untold = notice_channels.shops_without(conn)
    if app.settings.notice_url is not None:
        yield ok("notices", "operators of shops without a channel of their own are told by a chat webhook")
    elif untold:
        yield warning(
            "notices",
            f"operators are told nothing of {', '.join(untold)}",
            "add a channel under Alerts, by `switchyard notices add`, or set SWITCHYARD_NOTICE_URL to a chat webhook",
        )
    elif is_readable:
        yield ok("notices", "every shop has a channel by which its operators are told")


def _keys(keys: tuple[str, ...]) -> Finding:
    if not keys:
        return problem("secret keys", "there is none: no credential can be stored", "set SWITCHYARD_SECRET_KEYS")
    for number, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            return problem(
                "secret keys", f"key {number} of {len(keys)} is no Fernet key", "make one: 32 bytes, url-safe base64"
            )
    return ok("secret keys", f"{len(keys)}, the newest seals what is stored")


def _database(app: Application) -> Finding:
    try:
        with read_only(app.engine) as conn:
            version = int(scalar(conn, "show server_version_num"))
            revision = scalar(conn, "select version_num from alembic_version")
    except SQLAlchemyError as error:
        return problem(
            "database",
            f"does not answer as it should ({type(error).__name__})",
            "check DATABASE_URL, or `switchyard up`",
        )
    if version < POSTGRES_MIN:
        return problem("database", f"PostgreSQL {version // 10000}", "15 or newer is needed")
    return ok("database", f"PostgreSQL {version // 10000} answers, schema {revision}")


def _redis(app: Application) -> Finding:
    try:
        app.queue.ping()
    except Retryable as error:
        return problem("redis", logs.mask(str(error)), "check REDIS_URL, or `switchyard up`; nothing is lost meanwhile")
    return ok("redis", "answers")


def _processes(app: Application, now: datetime) -> Iterator[Finding]:
    try:
        reading = app.broker.read()
    except Retryable as error:
        yield problem("workers", f"not to be seen: {logs.mask(str(error))}", "Redis has to answer first")
    else:
        queues = dict.fromkeys(sorted({queue.name for queue in reading.queues}), 0)
        for worker in reading.workers:
            for name in worker.queues:
                queues[name] = queues.get(name, 0) + 1
        yield from checkup.of_queues(queues)
    with read_only(app.engine) as conn:
        ended = {row["name"]: row for row in measures.read(conn).schedules}
    late = []
    for schedule in SCHEDULES:
        row = ended.get(schedule.name)
        if schedule.every_seconds is None or (row is not None and row["is_paused"]):
            continue
        allowed = max(SILENCE, timedelta(seconds=schedule.every_seconds * PERIODS_MISSED))
        at = None if row is None or row["succeeded_at"] is None else datetime.fromtimestamp(row["succeeded_at"], UTC)
        if at is None or now - at > allowed:
            late.append(schedule.name)
    yield checkup.of_schedules(late, len(SCHEDULES))


def _connection(app: Application, row: ConnectionRow, now: datetime, *, offline: bool) -> Iterator[Finding]:
    if not offline:
        yield from _answer(app, row, now)
    with read_only(app.engine) as conn:
        facts = fetch_one(
            conn,
            """
            select catalogue_read_at, reads_orders, watermark_at, last_error, state from connections
            where shop_id = %(shop)s and id = %(id)s
            """,
            shop=row.shop_id,
            id=row.id,
        )
        topics = fetch(
            conn,
            """
            select topic, state, problem, is_advised from channel_subscriptions
            where shop_id = %(shop)s and connection_id = %(id)s order by topic
            """,
            shop=row.shop_id,
            id=row.id,
        )
        stands = switches.standing(conn, row.shop_id, row.id)
    assert facts is not None, "it was listed a moment ago"
    yield checkup.of_standing(stands)
    yield from checkup.of_reading(dict(facts), now)
    if row.vendor in QUEUE_VENDORS:
        yield from _queue(app, row, now, offline=offline)
    is_told = row.vendor in CALLING_VENDORS or _has_queue(row)
    yield from checkup.of_subscriptions([dict(topic) for topic in topics], is_told)
    if row.vendor in TOLD_VENDORS:
        with read_only(app.engine) as conn:
            unconfirmed = packages.unconfirmed(conn, row.shop_id, row.id)
        yield from checkup.of_packages({each["state"]: each["packages"] for each in unconfirmed}, packages.SAYS)


def _has_queue(row: ConnectionRow) -> bool:
    return row.vendor in QUEUE_VENDORS and bool(row.settings.get("queue_url"))


def _queue(app: Application, row: ConnectionRow, now: datetime, *, offline: bool) -> Iterator[Finding]:
    """What is set, what it answers itself, and what comes out of it."""
    found = checkup.of_queue(row.settings, _secret_names(app, row), bad_queue(row.vendor, row.settings))
    yield found
    if found.state != "ok":
        return
    if not offline:
        yield from _queue_answer(app, row)
    with read_only(app.engine) as conn:
        facts = mailboxes.facts(conn, row.shop_id, row.id, QUEUE_VENDORS[row.vendor], now)
    yield from checkup.of_mailbox(facts, now)


def _queue_answer(app: Application, row: ConnectionRow) -> Iterable[Finding]:
    try:
        with read_only(app.engine) as conn:
            secrets = open_secrets(conn, app.settings.secret_keys, row.shop_id, row.id)
    except Permanent:
        # That is said of the credentials.
        return []
    return ask_queue(app, row.vendor, row.settings, secrets, row)


def _secret_names(app: Application, row: ConnectionRow) -> set[str]:
    with read_only(app.engine) as conn:
        rows = fetch(
            conn,
            "select name from connection_secrets where shop_id = %(shop)s and connection_id = %(id)s",
            shop=row.shop_id,
            id=row.id,
        )
    return {each["name"] for each in rows}


def _answer(app: Application, row: ConnectionRow, now: datetime) -> Iterable[Finding]:
    """What the channel says to our credentials, right now."""
    try:
        with read_only(app.engine) as conn:
            secrets = open_secrets(conn, app.settings.secret_keys, row.shop_id, row.id)
    except Permanent as error:
        return [problem("credentials", str(error), "add the old key behind the new one in SWITCHYARD_SECRET_KEYS")]
    found = [ok("credentials", f"{len(secrets)} stored and open")]
    try:
        probe = app.probe(row.vendor, row.base_url, row.account_ref, row.currency, row.settings, secrets, row)
    except Retryable as error:
        return [*found, problem("answer", logs.mask(str(error)), "wait or look at the vendor's status page")]
    except Permanent as error:
        return [*found, problem("answer", logs.mask(str(error)), "enter its credentials again: `switchyard connect`")]
    return [*found, *checkup.of_probe(probe, row.account_ref, row.currency, now)]
