"""Episodes of an alert: opened once with one notice, whoever looks; taken, told again when worse, closed by itself.

Played with what could be oversold, which a test can set to any number. This file is also what its racing processes run
(see tests.racing).
"""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from core.alerts import operations as alerts
from core.alerts import queries, sweep
from core.alerts.operations import AlertClosed, AlreadyTaken, NeedsALimit, NoAlert
from core.alerts.rules import BadLimit, Found
from core.alerts.sweep import Check
from core.alerts.terms import BadTerm, UnknownKind
from core.audit import Actor
from core.db import execute, fetch, fetch_one, scalar, unit_of_work
from core.errors import BadInput
from core.runs import retention
from tests import racing
from tests.alerting import ADDRESS, desk, episodes, history, look, newest, notices
from tests.factories import ACTOR, NOW, World, count, later, make_world

GRACE = Actor("Grace", "I look into it")


def check(conn: Connection, world: World, minute: float = 0) -> str:
    return look(conn, world.shop_id, "exposure", later(minute))


def expose(conn: Connection, world: World, code: str, units: int) -> None:
    """As many as that could be sold of it, beside its 10."""
    execute(
        conn,
        "update listings set exposed_units = %(units)s where id = %(id)s",
        units=10 + units,
        id=world.listings[code],
    )


@pytest.fixture
def world(conn: Connection) -> World:
    """Ten mugs and ten cups, of which three and one more could be sold."""
    made = make_world(conn, {"MUG": 10, "CUP": 10})
    expose(conn, made, "MUG", 3)
    expose(conn, made, "CUP", 1)
    return made


def limited(conn: Connection, world: World, limit: int = 3) -> None:
    alerts.set_exposure_limit(conn, world.shop_id, limit, ACTOR, NOW)


def _name(conn: Connection, world: World) -> str:
    return str(scalar(conn, "select name from shops where shop_id = %(shop)s", shop=world.shop_id))


def test_nobody_is_told_until_somebody_sets_a_limit(conn: Connection, world: World) -> None:
    assert queries.exposure_limit(conn, world.shop_id) is None
    assert check(conn, world) == "nothing"


def test_it_opens_once_says_so_once_follows_and_closes_by_itself(conn: Connection, world: World) -> None:
    limited(conn, world)
    assert [check(conn, world, 1), check(conn, world, 2)] == ["open", "keep"]
    opened = (
        f"{_name(conn, world)}: Up to 4 units could be oversold, over 2 SKUs. The limit is 3. Worst: MUG (3), CUP (1)."
        " Switch the worst to escrow, or look which channel does not follow."
        f" {ADDRESS}/oversell?shop={world.shop_id}&show=At+risk"
    )
    assert notices(conn, world.shop_id) == [opened]
    expose(conn, world, "MUG", 6)
    check(conn, world, 3)
    expose(conn, world, "MUG", 4)
    check(conn, world, 4)
    row = newest(conn, world.shop_id)
    assert (row["opened_units"], row["worst_units"], row["units"], row["opened_at"]) == (4, 7, 5, later(1))
    assert row["worst_skus"] == [{"code": "MUG", "units": 4}, {"code": "CUP", "units": 1}]
    expose(conn, world, "MUG", 2)
    assert [check(conn, world, minute) for minute in (5, 7, 8, 9)] == ["clear", "clear", "close", "nothing"]
    row = newest(conn, world.shop_id)
    assert (row["closed_at"], row["closed_because"], row["clear_since"]) == (later(8), "below", later(5))
    assert history(conn, world.shop_id, row["id"]) == ["opened", "resolved"]
    said = notices(conn, world.shop_id)
    assert len(said) == 2
    assert said[1].endswith(
        "Over: Up to 5 units could be oversold, over 2 SKUs: its condition is gone. It lasted 7 minutes."
    )


def test_one_that_flaps_stays_open_and_says_nothing_more(conn: Connection, world: World) -> None:
    limited(conn, world)
    for minute in range(0, 40, 2):
        expose(conn, world, "MUG", 3 if minute % 4 == 0 else 0)
        check(conn, world, minute)
    assert len(episodes(conn, world.shop_id)) == 1
    assert len(notices(conn, world.shop_id)) == 1
    assert newest(conn, world.shop_id)["state"] == "open"


def test_one_that_comes_back_is_regressed_is_said_and_is_held_longer_each_time(conn: Connection, world: World) -> None:
    limited(conn, world)
    held, minute = [], 0
    for _ in range(5):
        expose(conn, world, "MUG", 3)
        check(conn, world, minute)
        expose(conn, world, "MUG", 0)
        gone = minute = minute + 1
        while check(conn, world, minute) != "close":
            minute += 1
        held.append(minute - gone)
        minute += 1
    # Its rule's three minutes, and then twice as long each time it has come back.
    assert held == [3, 3, 6, 12, 24]
    rows = episodes(conn, world.shop_id)
    assert [row["relapses"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["regressed_from"] for row in rows] == [None, *(row["id"] for row in rows[:-1])]
    assert history(conn, world.shop_id, rows[1]["id"]) == ["regressed", "resolved"]
    assert sum("Again: Up to" in text for text in notices(conn, world.shop_id)) == 4
    (times,) = {row["times"] for row in queries.page(conn, world.shop_id, open_only=False)}
    assert times == 0, "of thirty days by the database's clock"

    expose(conn, world, "MUG", 3)
    check(conn, world, minute + 24 * 60 + 1)
    assert newest(conn, world.shop_id)["regressed_from"] is None, "a day later it is news"


def test_it_is_told_again_when_it_is_much_worse_and_not_before(conn: Connection, world: World) -> None:
    limited(conn, world)
    steps = []
    for minute, units in enumerate((3, 6, 7, 6, 7, 14, 15)):
        expose(conn, world, "MUG", units)
        steps.append(check(conn, world, minute))
    assert steps == ["open", "keep", "worse", "keep", "keep", "keep", "worse"]
    told = notices(conn, world.shop_id)
    assert ["Much worse" in text for text in told] == [False, True, True]
    assert history(conn, world.shop_id, newest(conn, world.shop_id)["id"]) == ["opened", "worse", "worse"]


def test_one_that_somebody_has_is_quiet_unless_it_is_much_worse(conn: Connection, world: World) -> None:
    limited(conn, world)
    check(conn, world)
    alert = newest(conn, world.shop_id)
    alerts.acknowledge(conn, world.shop_id, alert["id"], GRACE, later(1))
    expose(conn, world, "MUG", 5)
    assert check(conn, world, 2) == "keep"
    row = newest(conn, world.shop_id)
    assert (row["state"], row["acknowledged_by"], row["acknowledged_reason"]) == (
        "acknowledged",
        "Grace",
        "I look into it",
    )
    assert len(notices(conn, world.shop_id)) == 1
    expose(conn, world, "MUG", 8)
    assert check(conn, world, 3) == "worse"
    assert "Grace has it." in notices(conn, world.shop_id)[-1]
    expose(conn, world, "MUG", 0)
    assert [check(conn, world, minute) for minute in (4, 7)] == ["clear", "close"]
    assert history(conn, world.shop_id, alert["id"]) == ["opened", "acknowledged", "worse", "resolved"]
    expose(conn, world, "MUG", 3)
    assert check(conn, world, 8) == "open"
    assert newest(conn, world.shop_id)["state"] == "open", "who had the one before does not have this one"
    entry = fetch_one(conn, "select actor, reason, subject, details from audit_entries where act = 'acknowledge_alert'")
    assert entry is not None
    assert (entry["actor"], entry["subject"], entry["details"]["fingerprint"]) == (
        "Grace",
        f"alert:{alert['id']}",
        "exposure",
    )


def test_what_cannot_be_taken_is_refused_in_words(conn: Connection, world: World) -> None:
    limited(conn, world)
    check(conn, world)
    alert_id = newest(conn, world.shop_id)["id"]
    with pytest.raises(NoAlert, match="there is no alert 999999999"):
        alerts.acknowledge(conn, world.shop_id, 999_999_999, GRACE, later(1))
    alerts.acknowledge(conn, world.shop_id, alert_id, GRACE, later(1))
    with pytest.raises(AlreadyTaken, match="was taken by Grace at 2024-03-04 12:01 UTC"):
        alerts.acknowledge(conn, world.shop_id, alert_id, ACTOR, later(2))
    alerts.set_exposure_limit(conn, world.shop_id, None, ACTOR, later(3))
    check(conn, world, 3)
    with pytest.raises(AlertClosed, match="closed at 2024-03-04 12:03 UTC"):
        alerts.acknowledge(conn, world.shop_id, alert_id, ACTOR, later(4))


def test_the_end_of_what_was_never_told_is_no_news(conn: Connection, world: World) -> None:
    limited(conn, world, 0)
    check(conn, world)
    # As one has it that opened while there was no address for notices.
    execute(conn, "update alerts set is_told = false where shop_id = %(shop)s", shop=world.shop_id)
    alerts.set_exposure_limit(conn, world.shop_id, None, ACTOR, later(1))
    assert check(conn, world, 2) == "close"
    assert len(notices(conn, world.shop_id)) == 1


def test_switching_it_off_closes_it_and_both_are_on_record(conn: Connection, world: World) -> None:
    assert alerts.set_exposure_limit(conn, world.shop_id, 3, ACTOR, NOW) is None
    check(conn, world)
    assert alerts.set_exposure_limit(conn, world.shop_id, None, ACTOR, later(1)) == 3
    assert check(conn, world, 2) == "close"
    assert newest(conn, world.shop_id)["closed_because"] == "off"
    assert notices(conn, world.shop_id)[-1].endswith("somebody switched it off. It lasted 2 minutes.")
    limited(conn, world)
    check(conn, world, 3)
    assert newest(conn, world.shop_id)["regressed_from"] is None, "nothing had come back"
    # Nor is what was over before it was switched off: it is the one before that counts.
    expose(conn, world, "MUG", 0)
    assert [check(conn, world, minute) for minute in (4, 7)] == ["clear", "close"]
    expose(conn, world, "MUG", 3)
    check(conn, world, 8)
    assert newest(conn, world.shop_id)["regressed_from"] is not None
    alerts.set_exposure_limit(conn, world.shop_id, None, ACTOR, later(9))
    check(conn, world, 9)
    limited(conn, world)
    check(conn, world, 10)
    assert newest(conn, world.shop_id)["regressed_from"] is None
    entries = fetch(
        conn,
        "select actor, reason, details from audit_entries where act = 'set_alert_limit' and shop_id = %(shop)s"
        " order by id",
        shop=world.shop_id,
    )
    assert [(row["actor"], row["details"]["limit_units"], row["details"]["before_units"]) for row in entries] == [
        (ACTOR.name, 3, None),
        (ACTOR.name, None, 3),
        (ACTOR.name, 3, None),
        (ACTOR.name, None, 3),
        (ACTOR.name, 3, None),
    ]


@pytest.mark.parametrize("limit", [-1, 1_000_001])
def test_a_limit_that_cannot_be_is_refused_in_words(conn: Connection, world: World, limit: int) -> None:
    with pytest.raises(BadLimit, match="is no limit for units at risk: give 0"):
        alerts.set_exposure_limit(conn, world.shop_id, limit, ACTOR, NOW)
    assert queries.exposure_limit(conn, world.shop_id) is None


def test_numbers_of_a_rule_are_changed_one_by_one_and_the_rest_stay(conn: Connection, world: World) -> None:
    def set_rule(kind: str, **more: Any) -> Any:
        return alerts.set_rule(conn, world.shop_id, kind, ACTOR, NOW, **more)

    assert queries.policies(conn, world.shop_id)["backlog"]["dangerous_size"] == 10_000
    before = set_rule("backlog", numbers={"dangerous_size": 500})
    assert before["dangerous_size"] == 10_000
    set_rule("backlog", numbers={"window_minutes": 20})
    set_rule("silence", is_on=False)
    rules = queries.policies(conn, world.shop_id)
    assert (rules["backlog"]["dangerous_size"], rules["backlog"]["window_minutes"]) == (500, 20)
    assert (rules["backlog"].is_on, rules["silence"].is_on, rules["audit"].is_on) == (True, False, True)
    assert not rules["exposure"].is_on
    with pytest.raises(NeedsALimit):
        set_rule("exposure", is_on=True)
    limited(conn, world, 7)
    set_rule("exposure", numbers={"hold_minutes": 1})
    limited(conn, world, 8)
    assert queries.policies(conn, world.shop_id)["exposure"]["hold_minutes"] == 1
    assert queries.exposure_limit(conn, world.shop_id) == 8
    with pytest.raises(UnknownKind, match="there is no alert of the kind moon; there are: exposure, "):
        set_rule("moon", is_on=True)
    with pytest.raises(BadTerm, match="the rule for backlog has no number speed; it has: dangerous_size, "):
        set_rule("backlog", numbers={"speed": 1})
    for number in (0, 10**9, True, 1.5):
        with pytest.raises(BadTerm, match="give a whole number from 10 to 10,000,000"):
            set_rule("backlog", numbers={"dangerous_size": number})
    with pytest.raises(BadInput, match="say what to change"):
        set_rule("backlog")
    acts = fetch(conn, "select subject, details from audit_entries where act = 'set_alert_rule' order by id")
    assert [row["subject"] for row in acts][:3] == ["alert_rule:backlog", "alert_rule:backlog", "alert_rule:silence"]
    assert acts[0]["details"]["before_numbers"] == {"dangerous_size": 10_000}


def test_risk_in_a_location_that_is_not_ours_does_not_count(conn: Connection, world: World) -> None:
    before = queries.risk(conn, world.shop_id)
    assert (before.units, before.skus, before.worst) == (4, 2, [("MUG", 3), ("CUP", 1)])
    execute(
        conn, "update listings set location_id = null, publishing = 'off' where id = %(id)s", id=world.listings["MUG"]
    )
    assert queries.risk(conn, world.shop_id).units == 1


# --- checks that cannot be made ----------------------------------------------------------------------------------


def broken(_scene: Any) -> Found:
    execute(_scene.conn, "select 1 / 0")
    return Found()


def test_a_check_that_fails_closes_nothing_is_said_to_be_unmade_and_stops_no_other(
    conn: Connection, world: World
) -> None:
    limited(conn, world)
    check(conn, world)
    failing = [Check("exposure", broken) if each.kind == "exposure" else each for each in sweep.CHECKS]

    def sweep_at(minute: float, checks: Any) -> Any:
        return sweep.look(desk(conn, world.shop_id, later(minute)), checks=checks)

    expose(conn, world, "MUG", 0)
    assert check(conn, world, 1) == "clear"
    steps = sweep_at(2, failing)
    assert (steps["unknown"], steps["close"]) == (1, 0)
    row = newest(conn, world.shop_id, "exposure")
    assert (row["unknown_since"], row["clear_since"], row["closed_at"]) == (later(2), None, None)
    assert row["unknown_because"] == "it could not be looked for (DivisionByZero)"
    assert open_kinds(conn, world) == ["exposure"]
    sweep_at(13, failing)
    assert open_kinds(conn, world) == ["exposure", "unmade_check"], "nobody can say that all is well"
    told = notices(conn, world.shop_id)[-1]
    assert "Nobody knows whether more units could be oversold than a limit that somebody set" in told
    listed = {row["kind"]: row for row in queries.page(conn, world.shop_id)}
    assert listed["exposure"]["unknown_since"] == later(2)
    # It can be made again: known to be gone from now on, and not since before.
    sweep_at(14, sweep.CHECKS)
    assert open_kinds(conn, world) == ["exposure"]
    assert newest(conn, world.shop_id, "exposure")["clear_since"] == later(14)
    sweep_at(17, sweep.CHECKS)
    assert open_kinds(conn, world) == []
    assert count(conn, "unmade_checks", world.shop_id) == 0


def open_kinds(conn: Connection, world: World) -> list[str]:
    rows = fetch(conn, "select kind from open_alerts where shop_id = %(shop)s order by kind", shop=world.shop_id)
    return [row["kind"] for row in rows]


# --- what the database keeps -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "update alerts set opened_at = opened_at - interval '1 day' where shop_id = %(shop)s",
        "update alerts set told_size = told_size - 1 where shop_id = %(shop)s",
        "update alerts set fingerprint = 'exposure:2' where shop_id = %(shop)s",
        "update alert_events set words = 'nothing happened' where shop_id = %(shop)s",
    ],
)
def test_an_episode_and_its_history_are_kept(conn: Connection, world: World, statement: str) -> None:
    limited(conn, world)
    check(conn, world)
    with pytest.raises(DBAPIError), conn.begin_nested():
        execute(conn, statement, shop=world.shop_id)


def test_a_closed_one_stays_as_it_was_and_a_second_beginning_is_refused(conn: Connection, world: World) -> None:
    limited(conn, world, 0)
    check(conn, world)
    alert_id = newest(conn, world.shop_id)["id"]
    with pytest.raises(DBAPIError, match="uq_alert_events_begun"), conn.begin_nested():
        execute(
            conn,
            "insert into alert_events (shop_id, alert_id, at, what, who, words)"
            " values (%(shop)s, %(id)s, %(now)s, 'regressed', 'nobody', '')",
            shop=world.shop_id,
            id=alert_id,
            now=NOW,
        )
    alerts.set_exposure_limit(conn, world.shop_id, None, ACTOR, later(1))
    check(conn, world, 2)
    with pytest.raises(DBAPIError, match="is closed"), conn.begin_nested():
        execute(conn, "update alerts set closed_at = null, closed_because = null where id = %(id)s", id=alert_id)


def test_one_that_is_over_is_forgotten_with_its_history_and_one_that_is_open_is_kept(
    conn: Connection, world: World
) -> None:
    limited(conn, world, 0)
    check(conn, world)
    kept = retention.Policy(retention.BY_NAME["alerts"], 365)
    assert retention.forget(conn, kept, later(400 * 1440)) == 0
    alerts.set_exposure_limit(conn, world.shop_id, None, ACTOR, later(1))
    check(conn, world, 2)
    assert retention.forget(conn, kept, later(300 * 1440)) == 0
    assert retention.forget(conn, kept, later(400 * 1440)) == 1
    assert (count(conn, "alerts", world.shop_id), count(conn, "alert_events", world.shop_id)) == (0, 0)


# --- races -------------------------------------------------------------------------------------------------------


def look_once(engine: Engine, world: World) -> Any:
    with unit_of_work(engine) as conn:
        return check(conn, world)


def look_later(engine: Engine, world: World) -> Any:
    with unit_of_work(engine) as conn:
        return check(conn, world, 10)


def take(engine: Engine, world: World) -> Any:
    with unit_of_work(engine) as conn:
        try:
            alerts.acknowledge(conn, world.shop_id, newest(conn, world.shop_id)["id"], GRACE, later(1))
        except AlreadyTaken:
            return "taken"
    return "took"


ROLES: dict[str, racing.Role] = {"look": look_once, "later": look_later, "take": take}


def test_of_several_at_once_one_opens_it_one_takes_it_one_tells_that_it_is_worse_and_one_closes_it(
    engine: Engine,
) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 10})
        expose(conn, world, "MUG", 5)
        limited(conn, world, 0)

    def said() -> tuple[int, int]:
        with engine.connect() as conn:
            return count(conn, "alerts", world.shop_id), len(notices(conn, world.shop_id))

    assert sorted(racing.race(engine, __file__, [("look", world)] * 2)) == ["keep", "open"]
    assert said() == (1, 1)
    assert sorted(racing.race(engine, __file__, [("take", world)] * 2)) == ["taken", "took"]
    with unit_of_work(engine) as conn:
        expose(conn, world, "MUG", 50)
    assert sorted(racing.race(engine, __file__, [("look", world)] * 2)) == ["keep", "worse"]
    assert said() == (1, 2)
    with unit_of_work(engine) as conn:
        expose(conn, world, "MUG", 0)
        assert check(conn, world, 1) == "clear"
    assert sorted(racing.race(engine, __file__, [("later", world)] * 2)) == ["close", "nothing"]
    assert said() == (1, 3)
    with engine.connect() as conn:
        alert_id = newest(conn, world.shop_id)["id"]
        assert history(conn, world.shop_id, alert_id) == ["opened", "acknowledged", "worse", "resolved"]


if __name__ == "__main__":
    racing.play(ROLES)
