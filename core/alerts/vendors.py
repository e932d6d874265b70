"""Conditions of a channel as a whole: it fails, refuses our credentials, does not call us, or ends what we speak."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.engine import RowMapping

from core.alerts.failures import CALLS
from core.alerts.rules import Finding, Found, Unknown, many
from core.alerts.scene import COUNTED_AT_MOST, Channel, Scene, concerned
from core.alerts.terms import CONNECTION, DEPRECATION, REFUSED_CREDENTIAL, SUBSCRIPTION, TOKEN
from core.db import fetch, scalar
from core.logs import mask

LATEST = 200
"""Calls of a channel that are looked at, the newest first."""

LATELY = timedelta(minutes=10)
"""A call that succeeded so long ago says nothing of now."""

SHORT_MINUTES = 30
"""An outage that gets no longer than twice that is not told of again: everything waits, and there is nothing new."""


def failing(scene: Scene) -> Found:
    """Channels of which no call has succeeded for a while, though some were made."""
    findings, unknown, soon = [], [], set()
    span = scene.policy.minutes("minutes")
    for row in _latest_calls(scene, timedelta(days=1)):
        channel = scene.channels[row["connection_id"]]
        fingerprint = f"{CONNECTION}:{channel.id}"
        if row["failed"] == 0 and (row["ok_at"] is None or row["ok_at"] < scene.now - max(span, LATELY)):
            unknown.append(Unknown(fingerprint, "no call was made lately"))
        elif row["failed"] >= scene.policy["calls"] and row["first_failed_at"] <= scene.now - span:
            findings.append(_failing(scene, channel, row))
        elif row["failed"] and row["first_failed_at"] > scene.now - span:
            soon.add(channel.id)
    return Found(findings, unknown, soon=frozenset(soon))


def _failing(scene: Scene, channel: Channel, row: RowMapping) -> Finding:
    touched = concerned(scene.conn, scene.shop_id, channel.id)
    minutes = round((scene.now - row["first_failed_at"]).total_seconds() / 60)
    last = (
        f"the last that succeeded was at {scene.clock(row['ok_at'])}" if row["ok_at"] else "none has succeeded in a day"
    )
    said = mask(row["error"] or channel.last_error or "").rstrip(".")
    least = "At least " if row["failed"] >= LATEST else ""
    status = f"status {row['status']}" if row["status"] else "no answer"
    waits = (
        f" {many(touched.listings, 'number waits', 'numbers wait')} to be written there." if touched.listings else ""
    )
    return Finding(
        f"{CONNECTION}:{channel.id}",
        "danger",
        f"No call to {channel.name} succeeds",
        f"{least}{many(row['failed'], 'call')} failed since {scene.clock(row['first_failed_at'])},"
        f" {many(minutes, 'minute')}; {last}. The newest: {status}{f', {said}' if said else ''}.{waits}"
        " What it sells meanwhile is not seen.",
        "Look at the calls and at the vendor's own status page. Everything waits, and goes on by itself when it answers"
        " again.",
        "calls",
        max(minutes, SHORT_MINUTES),
        {"connection": channel.name, "show": "Did not succeed"},
        channel.id,
        units=touched.units,
        skus=touched.skus,
        orders=_orders(scene, channel),
        follows=channel.id,
    )


def _orders(scene: Scene, channel: Channel) -> int:
    """Orders that it concerns, each once: whose change has not reached it, and those that could not be read there."""
    return int(
        scalar(
            scene.conn,
            f"""
            select count(*) from (
                select o.connection_id, o.channel_ref as order_ref from (
                    select g.shop_id, g.change_id from change_legs g
                    where g.shop_id = %(shop)s and g.connection_id = %(connection)s and g.state in ('open', 'stuck')
                    limit {COUNTED_AT_MOST}
                ) waiting
                join changes c on c.shop_id = waiting.shop_id and c.id = waiting.change_id
                join orders o on o.shop_id = c.shop_id and o.id = c.order_id
                union
                select x.connection_id, x.order_ref from failures f
                join failure_kinds k on k.shop_id = f.shop_id and k.id = f.kind_id
                join failure_orders x on x.shop_id = f.shop_id and x.source = f.source and x.item_id = f.item_id
                where f.shop_id = %(shop)s and f.state = 'open' and f.source = 'job'
                    and k.connection_id = %(connection)s
                    and substring(k.error_class from '[^.]*$') = any(%(calls)s::text[])
            ) each_once
            """,
            shop=scene.shop_id,
            connection=channel.id,
            calls=list(CALLS),
        )
    )


def refused_credentials(scene: Scene) -> Found:
    """Channels that answered 401 or 403 to so many calls, and accepted none since."""
    findings, unknown = [], []
    for row in _latest_calls(scene, scene.policy.minutes("window_minutes")):
        channel = scene.channels[row["connection_id"]]
        fingerprint = f"{REFUSED_CREDENTIAL}:{channel.id}"
        if row["denied"] >= scene.policy["refusals"]:
            touched = concerned(scene.conn, scene.shop_id, channel.id)
            said = mask(row["denied_error"] or "").rstrip(".")
            findings.append(
                Finding(
                    fingerprint,
                    "danger",
                    f"{channel.name} refuses our credentials",
                    f"{many(row['denied'], 'call was', 'calls were')} refused since"
                    f" {scene.clock(row['first_denied_at'])} and none accepted{f': {said}' if said else ''}."
                    " Nothing can be read or written there.",
                    "Look whether the app is still installed there and has its rights; enter the credential anew with"
                    " `switchyard connect`.",
                    "connections",
                    row["denied"],
                    channel.address,
                    channel.id,
                    units=touched.units,
                    skus=touched.skus,
                    orders=touched.orders,
                )
            )
        elif row["ok_at"] is None:
            # Fewer refusals than before say nothing: it is asked less often while it refuses.
            why = "no call was made lately" if row["calls"] == 0 else "no call was accepted lately"
            unknown.append(Unknown(fingerprint, why))
    return Found(findings, unknown)


def _latest_calls(scene: Scene, within: timedelta) -> Sequence[RowMapping]:
    """Of each active channel's newest calls: when one last succeeded, and what failed or was denied since.

    Being told to wait, and writes that are stopped here, are neither.
    """
    return fetch(
        scene.conn,
        f"""
        select c.id as connection_id, ok.called_at as ok_at, first.failed_at as first_failed_at, n.*
        from connections c
        left join lateral (
            select a.called_at from api_calls a
            where a.shop_id = c.shop_id and a.connection_id = c.id and a.outcome = 'ok' and a.called_at > %(since)s
                and a.called_at <= %(now)s and a.operation not like 'sqs.%%'
            order by a.called_at desc limit 1
        ) ok on true
        left join lateral (
            select min(f.called_at) as failed_at from unnest(array['refused', 'error', 'unknown']) o(outcome)
            cross join lateral (
                select a.called_at from api_calls a
                where a.shop_id = c.shop_id and a.connection_id = c.id and a.outcome = o.outcome
                    and a.called_at > coalesce(ok.called_at, %(since)s) and a.called_at <= %(now)s
                    and a.operation not like 'sqs.%%'
                order by a.called_at limit 1
            ) f
        ) first on true
        left join lateral (
            select count(*) as calls, count(*) filter (where has_failed) as failed,
                count(*) filter (where is_denied) as denied, min(called_at) filter (where is_denied) as first_denied_at,
                (array_agg(status order by called_at desc, id desc) filter (where has_failed))[1] as status,
                (array_agg(error order by called_at desc, id desc) filter (where has_failed))[1] as error,
                (array_agg(error order by called_at desc, id desc) filter (where is_denied))[1] as denied_error
            from (
                select a.called_at, a.id, a.status, a.error,
                    a.outcome in ('refused', 'error', 'unknown') and a.called_at > coalesce(ok.called_at, %(since)s)
                        as has_failed,
                    a.status in (401, 403) and a.called_at > coalesce(ok.called_at, %(since)s) as is_denied
                from api_calls a
                where a.shop_id = c.shop_id and a.connection_id = c.id and a.called_at > %(since)s
                    and a.called_at <= %(now)s and a.operation not like 'sqs.%%'
                order by a.called_at desc, a.id desc limit {LATEST}
            ) newest
        ) n on true
        where c.shop_id = %(shop)s and c.state = 'active' order by c.id
        """,
        shop=scene.shop_id,
        since=scene.now - within,
        now=scene.now,
    )


def subscriptions(scene: Scene) -> Found:
    """Active channels that do not call us for everything they should."""
    rows = fetch(
        scene.conn,
        """
        select connection_id, connection, missing, refused, since, example, problem from untold_topics
        where shop_id = %(shop)s order by connection_id
        """,
        shop=scene.shop_id,
    )
    findings = []
    for row in rows:
        channel = scene.channels[row["connection_id"]]
        if not channel.is_active:
            continue
        what = "does not call" if row["missing"] else "refuses to call"
        number = row["missing"] + row["refused"]
        says = f"It says: {mask(row['problem']).rstrip('.')}. " if row["problem"] else ""
        since = f" Gone since {scene.clock(row['since'])}." if row["since"] else ""
        findings.append(
            Finding(
                f"{SUBSCRIPTION}:{channel.id}",
                "attention",
                f"{channel.name} {what} us for {many(number, 'topic')}",
                f"{says}Such as {row['example']}.{since} What happens there is seen only when it is asked for: numbers"
                " follow later than they could.",
                "What is missing is made again at the next check, within an hour. What is refused most often lacks a"
                " right: give it to the app there.",
                "connections",
                number,
                channel.address,
                channel.id,
            )
        )
    return Found(findings)


def tokens(scene: Scene) -> Found:
    """Access tokens that were to be renewed a while ago and were not, though calls were made since."""
    rows = fetch(
        scene.conn,
        """
        select t.connection_id, t.renew_at, t.expires_at, exists (
            select from api_calls a where a.shop_id = t.shop_id and a.connection_id = t.connection_id
                and a.called_at > t.renew_at + %(late)s and a.called_at <= %(now)s) as is_used
        from connection_tokens t
        where t.shop_id = %(shop)s and t.renew_at < %(now)s::timestamptz - %(late)s order by t.connection_id
        """,
        shop=scene.shop_id,
        now=scene.now,
        late=scene.policy.minutes("late_minutes"),
    )
    findings, unknown = [], []
    for row in rows:
        channel = scene.channels[row["connection_id"]]
        if not channel.is_active:
            continue
        if not row["is_used"]:
            unknown.append(Unknown(f"{TOKEN}:{channel.id}", "nobody has asked for a new one since"))
            continue
        ended = row["expires_at"] <= scene.now
        findings.append(
            Finding(
                f"{TOKEN}:{channel.id}",
                "danger" if ended else "attention",
                f"The access token of {channel.name} {'has ended' if ended else 'ends'} at"
                f" {scene.clock(row['expires_at'])} and is not renewed",
                f"A new one was to be fetched from {scene.clock(row['renew_at'])} on, and calls were made since."
                " Without one nothing can be read or written there.",
                "Test the connection: the answer says what is refused.",
                "connections",
                1,
                channel.address,
                channel.id,
            )
        )
    return Found(findings, unknown)


def deprecations(scene: Scene) -> Found:
    """Channels that answer with another version than ours, whose support of ours ends, or that warn of an end."""
    rows = _versions(scene)
    answered = {row["connection_id"] for row in rows}
    findings = []
    # A channel that fails names no version, and ends no warning.
    unknown = [
        Unknown(f"{DEPRECATION}:{channel.id}:{what}", "no answer named a version lately")
        for channel in scene.channels.values()
        if channel.id not in answered
        for what in ("forward", "version", "calls")
    ]
    for row in rows:
        channel = scene.channels[row["connection_id"]]
        if row["fell_forward"]:
            findings.append(
                _deprecated(
                    channel,
                    "forward",
                    "danger",
                    f"{channel.name} answers with another version than we speak",
                    f"Asked for {row['asked_version']}, it answers with {row['answered_version']}: ours is not"
                    " supported any more, and what its answers mean may have changed.",
                )
            )
        elif row["supported_until"] is not None and row["supported_until"] - scene.now < timedelta(
            days=scene.policy["ahead_days"]
        ):
            left = (row["supported_until"] - scene.now).days
            findings.append(
                _deprecated(
                    channel,
                    "version",
                    "danger" if left < 7 else "attention",
                    f"{channel.name} supports the version we speak until {row['supported_until']:%Y-%m-%d}",
                    f"We ask for {row['asked_version']}; {many(max(left, 0), 'day is', 'days are')} left.",
                )
            )
        if row["deprecation"] is None:
            continue
        if row["deprecation_at"] <= scene.now - timedelta(days=scene.policy["seen_days"]):
            if not row["is_called_since"]:
                why = "what it warned of was not called since"
                unknown.append(Unknown(f"{DEPRECATION}:{channel.id}:calls", why))
        else:
            findings.append(
                _deprecated(
                    channel,
                    "calls",
                    "attention",
                    f"{channel.name} warns that something we call will end",
                    f"It says: {mask(row['deprecation']).rstrip('.')}. Last at {scene.clock(row['deprecation_at'])}.",
                )
            )
    return Found(findings, unknown)


def _versions(scene: Scene) -> Sequence[RowMapping]:
    """`connection_versions`, and whether what a channel last warned of was called since, without a warning."""
    return fetch(
        scene.conn,
        """
        select v.*, exists (
            select from api_calls w join api_calls n on n.shop_id = w.shop_id and n.connection_id = w.connection_id
                and n.operation = w.operation and n.outcome = 'ok' and n.called_at > w.called_at
            where w.shop_id = v.shop_id and w.connection_id = v.connection_id and w.called_at = v.deprecation_at
                and w.deprecation is not null
        ) as is_called_since
        from connection_versions v where v.shop_id = %(shop)s order by v.connection_id
        """,
        shop=scene.shop_id,
    )


def _deprecated(channel: Channel, what: str, severity: str, headline: str, sentence: str) -> Finding:
    return Finding(
        f"{DEPRECATION}:{channel.id}:{what}",
        "danger" if severity == "danger" else "attention",
        headline,
        sentence,
        "Bring Switchyard up to a version that speaks a newer one; the connection's page says which calls are"
        " concerned.",
        "connections",
        1,
        channel.address,
        channel.id,
    )
