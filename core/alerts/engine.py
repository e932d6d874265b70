"""The engine: what was seen of conditions becomes episodes, their history, and what is said of them.

An episode opens by the partial unique key of `alerts`, so that of several who look at once one opens it and says so;
everything else changes a row that is still open, or none. Whatever is said is queued in the same unit of work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg.types.json import Jsonb
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.alerts import rules
from core.alerts.rules import Because, Episode, Finding, Found, Step, Unknown
from core.alerts.terms import Policy
from core.db import execute, fetch, fetch_one, scalar
from core.messaging import notices
from core.messaging.notices import Notice

ENGINE = "switchyard"
"""Who acts in the history where no person does."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the engine works: a shop, the time, and the dashboard's address."""

    conn: Connection
    shop_id: int
    now: datetime
    dashboard: str

    def shop(self) -> str:
        """The shop's name, as notices begin."""
        return str(scalar(self.conn, "select name from shops where shop_id = %(shop)s", shop=self.shop_id))

    def link(self, seen: Finding) -> str:
        """The full address of where to look."""
        return rules.link(self.dashboard, self.shop_id, seen.page, seen.address)


def open_episodes(conn: Connection, shop_id: int, kind: str | None = None) -> dict[str, Episode]:
    """A shop's alerts that are not closed, by fingerprint; of all kinds, or of one."""
    rows = fetch(
        conn,
        """
        select id, kind, fingerprint, severity, headline, told_size, relapses, clear_since, unknown_since, is_told,
            connection_id
        from alerts where shop_id = %(shop)s and closed_at is null and (%(kind)s::text is null or kind = %(kind)s)
        """,
        shop=shop_id,
        kind=kind,
    )
    return {row["fingerprint"]: _episode(row) for row in rows}


def follow(desk: Desk, policy: Policy, found: Found, episodes: Mapping[str, Episode] | None = None) -> Counter[Step]:
    """Open, keep, tell again or close the alerts of one kind by what was found of it; returns steps, counted.

    `episodes`: those of the kind that are open, where the caller has them already.
    """
    if episodes is None:
        episodes = open_episodes(desk.conn, desk.shop_id, policy.kind)
    seen: dict[str, Finding | Unknown] = {each.fingerprint: each for each in found.unknown}
    seen |= {each.fingerprint: each for each in found.findings}
    steps: Counter[Step] = Counter()
    for fingerprint in sorted({*episodes, *seen}):
        what = seen.get(fingerprint)
        if what is None and found.rest is not None:
            what = Unknown(fingerprint, found.rest)
        step = rules.next_step(episodes.get(fingerprint), what, policy, desk.now)
        steps[_take(desk, step, episodes.get(fingerprint), what, policy)] += 1
    return steps


def _take(desk: Desk, step: Step, episode: Episode | None, seen: Finding | Unknown | None, policy: Policy) -> Step:
    if step == "open" and isinstance(seen, Finding):
        return "open" if open_one(desk, seen, policy) else "keep"
    if episode is None:
        return "nothing"
    if isinstance(seen, Finding):
        if step == "worse" and _worsen(desk, episode, seen):
            return "worse"
        _keep(desk, episode, seen)
        return "keep"
    if step == "unknown" and isinstance(seen, Unknown):
        _leave_unknown(desk, episode, seen.because)
    elif step == "clear":
        _note_clear(desk, episode)
    elif step == "close":
        return "close" if close(desk, episode, "below" if policy.is_on else "off") else "nothing"
    return step


def open_one(desk: Desk, seen: Finding, policy: Policy) -> int | None:
    """Open an episode, and say so; returns its id, or None when one is open already.

    One that ended less than the policy's time ago has come back: the new one knows it, and is said to be so.
    """
    row = fetch_one(
        desk.conn,
        """
        insert into alerts (shop_id, kind, fingerprint, severity, connection_id, headline, sentence, next_step, page,
            address, limit_units, opened_units, units, worst_units, skus, orders, worst_skus, size, told_size,
            regressed_from, relapses, opened_at, checked_at, is_told)
        select %(shop)s, %(kind)s, %(fingerprint)s, %(severity)s, %(connection)s, %(headline)s, %(sentence)s,
            %(next_step)s, %(page)s, %(address)s, %(limit)s, %(units)s, %(units)s, %(units)s, %(skus)s, %(orders)s,
            %(worst)s, %(size)s, %(size)s, before.id, coalesce(before.relapses + 1, 0), %(now)s, %(now)s, true
        from (select) one
        left join lateral (
            select a.id, a.relapses, a.closed_at, a.closed_because from alerts a
            where a.shop_id = %(shop)s and a.fingerprint = %(fingerprint)s
            order by a.opened_at desc, a.id desc limit 1
        ) before on before.closed_at > %(again)s and before.closed_because = 'below'
        on conflict (shop_id, fingerprint) where closed_at is null do nothing
        returning id, regressed_from
        """,
        **_words(desk, seen),
        kind=seen.kind,
        fingerprint=seen.fingerprint,
        limit=seen.limit,
        again=desk.now - policy.minutes("again_minutes"),
    )
    if row is None:
        return None
    is_back = row["regressed_from"] is not None
    record(desk, row["id"], "regressed" if is_back else "opened", seen.headline)
    text = rules.opening(desk.shop(), seen, desk.link(seen), again=is_back)
    _say(desk, f"alert:{row['id']}", seen, f"Again: {seen.headline}" if is_back else seen.headline, text)
    return int(row["id"])


def keep_parts(desk: Desk, fingerprint: str, parts: Sequence[Mapping[str, object]]) -> None:
    """Keep with the open alert what is part of it, also while its own condition is gone or not known."""
    execute(
        desk.conn,
        """
        update alerts set worst_skus = %(parts)s
        where shop_id = %(shop)s and fingerprint = %(fingerprint)s and closed_at is null
            and worst_skus is distinct from %(parts)s
        """,
        shop=desk.shop_id,
        fingerprint=fingerprint,
        parts=Jsonb(list(parts)),
    )


def close(desk: Desk, episode: Episode, because: Because) -> bool:
    """End an episode, and say so where its opening was said; False when somebody else has ended it."""
    row = fetch_one(
        desk.conn,
        """
        update alerts set closed_at = %(now)s, closed_because = %(because)s, checked_at = %(now)s,
            clear_since = coalesce(clear_since, %(now)s), unknown_since = null, unknown_because = null
        where shop_id = %(shop)s and id = %(id)s and closed_at is null
        returning severity, headline, opened_at, is_told
        """,
        shop=desk.shop_id,
        id=episode.alert_id,
        now=desk.now,
        because=because,
    )
    if row is None:
        return False
    record(desk, episode.alert_id, "resolved", rules.ended(_capital(rules.ENDED[because])))
    if row["is_told"]:
        minutes = (desk.now - row["opened_at"]).total_seconds() / 60
        text = rules.closing(desk.shop(), row["headline"], because, minutes)
        notice = Notice(
            f"alert:{episode.alert_id}:over", episode.kind, row["severity"], f"Over: {row['headline']}", text
        )
        notices.say(desk.conn, desk.shop_id, notice, desk.now)
    return True


def record(desk: Desk, alert_id: int, what: str, words: str, who: str = ENGINE) -> None:
    """Add to an episode's history."""
    execute(
        desk.conn,
        """
        insert into alert_events (shop_id, alert_id, at, what, who, words)
        values (%(shop)s, %(alert)s, %(now)s, %(what)s, %(who)s, %(words)s)
        """,
        shop=desk.shop_id,
        alert=alert_id,
        now=desk.now,
        what=what,
        who=who,
        words=words,
    )


def _keep(desk: Desk, episode: Episode, seen: Finding) -> None:
    """Let it say how things stand now. What is dangerous stays so: it is not said to be again and again."""
    execute(desk.conn, f"{_STANDS} where {_OPEN}", **_words(desk, seen), id=episode.alert_id)


def _worsen(desk: Desk, episode: Episode, seen: Finding) -> bool:
    """The same, and say that it is much worse; False when somebody else has just said so, or it is closed."""
    row = fetch_one(
        desk.conn,
        f"""
        {_STANDS}, told_size = greatest(told_size, %(size)s)
        where {_OPEN} and told_size = %(told)s and severity = %(before)s
        returning acknowledged_by
        """,
        **_words(desk, seen),
        id=episode.alert_id,
        told=episode.told_size,
        before=episode.severity,
    )
    if row is None:
        return False
    record(desk, episode.alert_id, "worse", seen.headline)
    text = rules.worsening(desk.shop(), seen, desk.link(seen), row["acknowledged_by"])
    key = f"alert:{episode.alert_id}:worse:{seen.severity}:{seen.size}"
    _say(desk, key, replace(seen, severity=_graver(episode, seen)), f"Much worse: {seen.headline}", text)
    return True


def _leave_unknown(desk: Desk, episode: Episode, because: str) -> None:
    """Note that nothing is known of it: it stays open, and has to be seen to be gone anew."""
    execute(
        desk.conn,
        f"""
        update alerts set unknown_since = coalesce(unknown_since, %(now)s), unknown_because = %(because)s,
            clear_since = null
        where {_OPEN}
            and (unknown_since is null or unknown_because is distinct from %(because)s or clear_since is not null)
        """,
        shop=desk.shop_id,
        id=episode.alert_id,
        now=desk.now,
        because=because,
    )


def _note_clear(desk: Desk, episode: Episode) -> None:
    execute(
        desk.conn,
        f"""
        update alerts set clear_since = coalesce(clear_since, %(now)s), unknown_since = null, unknown_because = null,
            checked_at = %(now)s
        where {_OPEN}
        """,
        shop=desk.shop_id,
        id=episode.alert_id,
        now=desk.now,
    )


_OPEN = "shop_id = %(shop)s and id = %(id)s and closed_at is null"

_STANDS = """
    update alerts set units = %(units)s, worst_units = greatest(worst_units, %(units)s), skus = %(skus)s,
        orders = %(orders)s, worst_skus = %(worst)s, size = %(size)s, connection_id = %(connection)s,
        headline = %(headline)s, sentence = %(sentence)s, next_step = %(next_step)s, page = %(page)s,
        address = %(address)s, checked_at = %(now)s, clear_since = null, unknown_since = null, unknown_because = null,
        severity = case when severity = 'danger' then severity else %(severity)s end
"""


def _words(desk: Desk, seen: Finding) -> dict[str, object]:
    return {
        "shop": desk.shop_id,
        "now": desk.now,
        "severity": seen.severity,
        "connection": seen.connection_id,
        "headline": seen.headline,
        "sentence": seen.sentence,
        "next_step": seen.next_step,
        "page": seen.page,
        "address": Jsonb(dict(seen.address)),
        "units": seen.units,
        "skus": seen.skus,
        "orders": seen.orders,
        "worst": Jsonb(list(seen.worst)),
        "size": seen.size,
    }


def _say(desk: Desk, key: str, seen: Finding, subject: str, text: str) -> None:
    notices.say(desk.conn, desk.shop_id, Notice(key, seen.kind, seen.severity, subject, text), desk.now)


def _graver(episode: Episode, seen: Finding) -> rules.Severity:
    return "danger" if "danger" in (episode.severity, seen.severity) else "attention"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _episode(row: RowMapping) -> Episode:
    return Episode(
        row["id"],
        row["kind"],
        row["fingerprint"],
        row["severity"],
        row["headline"],
        row["told_size"],
        row["relapses"],
        row["clear_since"],
        row["unknown_since"],
        row["is_told"],
        row["connection_id"],
    )


def unmade(conn: Connection, shop_id: int, reasons: Mapping[str, str], kinds: Sequence[str], now: datetime) -> None:
    """Keep which checks of `kinds` could not be made, with why; those that could be are taken off the list.

    One statement, and no row is written while all of them can be made.
    """
    execute(
        conn,
        """
        with failed as (
            select * from unnest(%(failed)b::text[], %(because)b::text[]) as f (kind, because)
        ), made as (
            delete from unmade_checks u where u.shop_id = %(shop)s and u.kind = any(%(kinds)b::text[])
                and u.kind not in (select kind from failed)
        )
        insert into unmade_checks as u (shop_id, kind, since, because)
        select %(shop)s, kind, %(now)s, because from failed order by kind
        on conflict (shop_id, kind) do update set because = excluded.because where u.because <> excluded.because
        """,
        shop=shop_id,
        failed=list(reasons),
        because=list(reasons.values()),
        kinds=list(kinds),
        now=now,
    )
