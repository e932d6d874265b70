"""Any history of a condition: seen, gone, unknown, of any size, taken, switched off, looked at when it pleases.

What has to become of it is worked out beside the engine, from a diary of what was seen: there is at most one open
episode, it closes when its condition has been gone for the rule's time and at no other, and what is said is exactly
what the diary says, each thing once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.alerts import engine as alerts
from core.alerts import operations
from core.alerts.engine import Desk
from core.alerts.rules import Finding, Found, Unknown
from core.alerts.terms import policy
from core.db import fetch
from tests.factories import ACTOR, NOW, make_shop

KINDS = ("audit", "backlog")
"""One that closes at once the first time, and one that is held for five minutes."""

ACTS = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just("seen"), st.integers(1, 40), st.sampled_from(["attention", "danger"])),
            st.just(("gone",)),
            st.just(("gone",)),
            st.just(("unknown",)),
            st.just(("take",)),
            st.just(("off",)),
        ),
        st.sampled_from([0, 1, 2, 2, 3, 3, 5, 20, 70, 1500]),
        st.sampled_from(KINDS),
    ),
    min_size=15,
    max_size=40,
)


@dataclass
class Expected:
    """What there has to be of one fingerprint."""

    is_open: bool = False
    opened: int = 0
    told: int = 0
    is_danger: bool = False
    relapses: int = 0
    gone_since: datetime | None = None
    closed_at: datetime | None = None
    closed_off: bool = False
    is_taken: bool = False
    said: Counter[str] = field(default_factory=Counter)

    def seen(self, size: int, severity: str, now: datetime) -> None:
        self.gone_since = None
        if not self.is_open:
            is_back = (
                self.closed_at is not None and not self.closed_off and now - self.closed_at < timedelta(minutes=1440)
            )
            self.relapses = self.relapses + 1 if is_back else 0
            self.is_open, self.is_taken, self.told, self.is_danger = True, False, size, severity == "danger"
            self.opened += 1
            self.said["again" if is_back else "opened"] += 1
        elif size >= 2 * self.told or (severity == "danger" and not self.is_danger):
            self.told, self.is_danger = max(self.told, size), self.is_danger or severity == "danger"
            self.said["worse"] += 1

    def gone(self, hold: int, now: datetime) -> None:
        if not self.is_open:
            return
        self.gone_since = self.gone_since or now
        minutes = hold
        if self.relapses:
            minutes = max(hold, min(60, max(hold, 2) * 2 ** (self.relapses - 1)))
        if now - self.gone_since >= timedelta(minutes=minutes):
            self.close(now)

    def close(self, now: datetime, *, off: bool = False) -> None:
        self.is_open, self.closed_at, self.closed_off, self.gone_since = False, now, off, None
        self.said["over"] += 1


def finding(kind: str, size: int, severity: str) -> Finding:
    return Finding(kind, "danger" if severity == "danger" else "attention", f"It is {size}", "So.", "Do.", "jobs", size)


def play(conn: Connection, shop_id: int, acts: list[tuple[tuple[object, ...], int, str]]) -> None:
    now, expected = NOW, {kind: Expected() for kind in KINDS}
    for act, minutes, kind in acts:
        now += timedelta(minutes=minutes, seconds=1)
        rule, mine, desk = policy(kind), expected[kind], Desk(conn, shop_id, now, "http://here")
        match act:
            case ("seen", int(size), str(severity)):
                alerts.follow(desk, rule, Found([finding(kind, size, severity)]))
                mine.seen(size, severity, now)
            case ("gone",):
                alerts.follow(desk, rule, Found())
                mine.gone(rule["hold_minutes"], now)
            case ("unknown",):
                alerts.follow(desk, rule, Found(unknown=[Unknown(kind, "no history")]))
                mine.gone_since = None
            case ("take",) if mine.is_open and not mine.is_taken:
                (episode,) = alerts.open_episodes(conn, shop_id, kind).values()
                operations.acknowledge(conn, shop_id, episode.alert_id, ACTOR, now)
                mine.is_taken = True
            case ("off",):
                alerts.follow(desk, policy(kind, False), Found())
                if mine.is_open:
                    mine.close(now, off=True)
        holds(conn, shop_id, expected)


def holds(conn: Connection, shop_id: int, expected: dict[str, Expected]) -> None:
    rows = fetch(conn, "select * from alerts where shop_id = %(shop)s order by id", shop=shop_id)
    for kind, mine in expected.items():
        of_kind = [row for row in rows if row["kind"] == kind]
        assert len(of_kind) == mine.opened
        assert [row["state"] == "resolved" for row in of_kind] == (
            [True] * (mine.opened - 1) + [not mine.is_open] if of_kind else []
        )
        if of_kind:
            last = of_kind[-1]
            assert (last["relapses"], last["told_size"]) == (mine.relapses, mine.told)
            assert (last["closed_at"], last["clear_since"] if mine.is_open else None) == (
                None if mine.is_open else mine.closed_at,
                mine.gone_since,
            )
    told = fetch(
        conn,
        """
        select o.dedupe_key, o.payload ->> 'text' as text, a.kind from outbox_messages o
        left join alerts a on a.shop_id = o.shop_id and a.id = split_part(o.dedupe_key, ':', 2)::int8
        where o.shop_id = %(shop)s
        """,
        shop=shop_id,
    )
    assert all(row["kind"] for row in told), "every notice has its episode"
    said = {kind: Counter[str]() for kind in KINDS}
    for row in told:
        said[row["kind"]][_what(row["text"])] += 1
    assert said == {kind: mine.said for kind, mine in expected.items()}
    events = fetch(
        conn,
        """
        select a.kind, e.what, count(*) as number from alert_events e
        join alerts a on a.shop_id = e.shop_id and a.id = e.alert_id
        where e.shop_id = %(shop)s and e.what <> 'acknowledged' group by 1, 2
        """,
        shop=shop_id,
    )
    words = {"opened": "opened", "regressed": "again", "worse": "worse", "resolved": "over"}
    assert {(row["kind"], words[row["what"]]): row["number"] for row in events} == {
        (kind, what): number for kind, mine in expected.items() for what, number in mine.said.items()
    }


def _what(text: str) -> str:
    for mark, what in ((": Over: ", "over"), (": Again: ", "again"), (": Much worse: ", "worse")):
        if mark in text:
            return what
    return "opened"


@settings(max_examples=40)
@given(acts=ACTS)
def test_any_history_of_a_condition_has_its_episodes_and_says_each_thing_once(
    module_engine: Engine, acts: list[tuple[tuple[object, ...], int, str]]
) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        play(conn, make_shop(conn), acts)
        transaction.rollback()
