"""Alerts on exposure: opened once with one notice, whoever looks; closed by themselves; the limit is on record.

This file is also what its racing processes run (see tests.racing).
"""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from core.alerts import operations as alerts
from core.alerts import queries
from core.alerts.rules import BadLimit
from core.db import execute, fetch, fetch_one, unit_of_work
from tests import racing
from tests.factories import ACTOR, NOW, World, count, later, make_world

ADDRESS = "http://127.0.0.1:8500"


def check(conn: Connection, world: World, minute: float = 0, **more: Any) -> str:
    return alerts.check_exposure(conn, world.shop_id, ADDRESS, later(minute), **more)


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


def newest(conn: Connection, world: World) -> Any:
    return fetch_one(conn, "select * from alerts where shop_id = %(shop)s order by id desc limit 1", shop=world.shop_id)


def notices(conn: Connection, world: World) -> list[str]:
    rows = fetch(
        conn,
        "select payload ->> 'text' as text from outbox_messages where shop_id = %(shop)s order by id",
        shop=world.shop_id,
    )
    return [row["text"] for row in rows]


def test_nobody_is_told_until_somebody_sets_a_limit(conn: Connection, world: World) -> None:
    assert queries.exposure_limit(conn, world.shop_id) is None
    assert world.shop_id not in queries.shops_to_check(conn)
    assert check(conn, world) == "nothing"


def test_it_opens_once_says_so_once_follows_and_closes_by_itself(conn: Connection, world: World) -> None:
    alerts.set_exposure_limit(conn, world.shop_id, 3, ACTOR, NOW)
    assert [check(conn, world, 1), check(conn, world, 2)] == ["open", "keep"]
    assert notices(conn, world) == [
        f"{_name(conn, world)}: up to 4 units could be oversold, over 2 SKUs; the limit is 3."
        f" Worst: MUG (3), CUP (1). {ADDRESS}/oversell"
    ]
    expose(conn, world, "MUG", 9)
    check(conn, world, 3)
    expose(conn, world, "MUG", 4)
    check(conn, world, 4)
    row = newest(conn, world)
    assert (row["opened_units"], row["worst_units"], row["units"], row["opened_at"]) == (4, 10, 5, later(1))
    assert row["worst_skus"] == [{"code": "MUG", "units": 4}, {"code": "CUP", "units": 1}]
    expose(conn, world, "MUG", 2)
    assert [check(conn, world, 5), check(conn, world, 6)] == ["close", "nothing"]
    row = newest(conn, world)
    assert (row["closed_at"], row["closed_because"], row["units"]) == (later(5), "below", 3)
    assert len(notices(conn, world)) == 1


def _name(conn: Connection, world: World) -> str:
    row = fetch_one(conn, "select name from shops where shop_id = %(shop)s", shop=world.shop_id)
    assert row is not None
    return str(row["name"])


def test_one_that_opens_again_within_minutes_is_on_record_and_quiet(conn: Connection, world: World) -> None:
    alerts.set_exposure_limit(conn, world.shop_id, 3, ACTOR, NOW)
    for minute, units in ((0, 3), (1, 0), (5, 3), (6, 0), (17, 3)):
        expose(conn, world, "MUG", units)
        check(conn, world, minute)
    told = fetch(conn, "select is_told from alerts where shop_id = %(shop)s order by id", shop=world.shop_id)
    assert [row["is_told"] for row in told] == [True, False, True]
    assert len(notices(conn, world)) == 2


def test_without_an_address_nothing_is_left_to_be_said_later(conn: Connection, world: World) -> None:
    alerts.set_exposure_limit(conn, world.shop_id, 0, ACTOR, NOW)
    assert check(conn, world, is_heard=False) == "open"
    assert (notices(conn, world), newest(conn, world)["is_told"]) == ([], False)


def test_switching_it_off_closes_it_and_both_are_on_record(conn: Connection, world: World) -> None:
    assert alerts.set_exposure_limit(conn, world.shop_id, 3, ACTOR, NOW) is None
    check(conn, world)
    assert alerts.set_exposure_limit(conn, world.shop_id, None, ACTOR, later(1)) == 3
    assert queries.shops_to_check(conn) == [world.shop_id], "until it is closed"
    assert check(conn, world, 2) == "close"
    assert newest(conn, world)["closed_because"] == "off"
    assert queries.shops_to_check(conn) == []
    entries = fetch(
        conn,
        "select actor, reason, details from audit_entries where act = 'set_alert_limit' and shop_id = %(shop)s"
        " order by id",
        shop=world.shop_id,
    )
    assert [(row["actor"], row["details"]["limit_units"], row["details"]["before_units"]) for row in entries] == [
        (ACTOR.name, 3, None),
        (ACTOR.name, None, 3),
    ]


@pytest.mark.parametrize("limit", [-1, 1_000_001])
def test_a_limit_that_cannot_be_is_refused_in_words(conn: Connection, world: World, limit: int) -> None:
    with pytest.raises(BadLimit, match="is no limit for units at risk: give 0"):
        alerts.set_exposure_limit(conn, world.shop_id, limit, ACTOR, NOW)
    assert queries.exposure_limit(conn, world.shop_id) is None


def test_risk_in_a_location_that_is_not_ours_does_not_count(conn: Connection, world: World) -> None:
    before = queries.risk(conn, world.shop_id)
    assert (before.units, before.skus, before.worst) == (4, 2, [("MUG", 3), ("CUP", 1)])
    execute(
        conn, "update listings set location_id = null, publishing = 'off' where id = %(id)s", id=world.listings["MUG"]
    )
    assert queries.risk(conn, world.shop_id).units == 1


# --- races -------------------------------------------------------------------------------------------------------


def look(engine: Engine, world: World) -> Any:
    with unit_of_work(engine) as conn:
        return check(conn, world)


ROLES: dict[str, racing.Role] = {"look": look}


def test_of_several_that_look_at_once_one_opens_it_and_one_notice_goes_out(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 10})
        expose(conn, world, "MUG", 5)
        alerts.set_exposure_limit(conn, world.shop_id, 0, ACTOR, NOW)
    answers = racing.race(engine, __file__, [("look", world)] * 4)
    assert sorted(answers) == ["keep", "keep", "keep", "open"]
    with engine.connect() as conn:
        assert (count(conn, "alerts", world.shop_id), len(notices(conn, world))) == (1, 1)


if __name__ == "__main__":
    racing.play(ROLES)
