"""Calls to Shopify whose answer was lost: what a repetition proves, and what it does not. On real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, create_engine

from core import bootstrap, embedded
from core.clock import utc_now
from core.connections.queries import ConnectionRow
from core.db import execute, unit_of_work
from core.inventory import publishing
from core.ports import QuantityWrite
from tests.adapters.accounts import shopify_account
from tests.adapters.canned_shopify import LOCATION, CannedShop
from tests.adapters.floor import Floor
from tests.conftest import TestServers
from tests.factories import ACTOR
from workers.jobs.stock import check_lane

SET = b"inventorySetQuantities"


@dataclass
class Dark(CannedShop):
    """Takes what it is sent and loses its answers while it is `dark`; or answers with `instead`, and does nothing."""

    dark: bool = False
    instead: httpx.Response | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if SET not in request.content:
            return super().__call__(request)
        if self.instead is not None:
            return self.instead
        answer = super().__call__(request)
        if self.dark:
            raise httpx.ReadTimeout("lost", request=request)
        return answer


@pytest.fixture(scope="module")
def shared_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    database = embedded.create_database(servers.home, "shopify_doubts", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def floor(shared_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Floor:
    made = Floor(shared_engine)
    monkeypatch.setattr(bootstrap, "application", lambda: made)
    return made


def said(code: str) -> httpx.Response:
    return httpx.Response(200, json={"errors": [{"message": "no", "extensions": {"code": code}}], "data": None})


def objected(code: str) -> httpx.Response:
    errors = [{"code": code, "field": None, "message": "no"}]
    payload = {"inventorySetQuantities": {"inventoryAdjustmentGroup": None, "userErrors": errors}}
    return httpx.Response(200, json={"data": payload})


def in_doubt(floor: Floor, count: int) -> tuple[Dark, ConnectionRow]:
    """A shop that took raises of so many listings, and whose answers were all lost."""
    shop = Dark(levels={str(5000 + n): 10 for n in range(count)})
    row = floor.connect(shop)
    floor.sync(row)
    floor.count(row, {f"SKU-{5000 + n}": 1 for n in range(count)})
    shop.dark = True
    assert floor.push(row)["unknown"] == count
    assert set(shop.levels.values()) == {11}
    shop.dark = False
    return shop, row


def check(floor: Floor, row: ConnectionRow, seconds: float = 20) -> dict[str, int]:
    """Look at everything that is open, whenever it falls due, until nothing is or the time is up."""
    with unit_of_work(floor.engine) as conn:
        execute(
            conn,
            "update listing_writes set next_check_at = %(now)s where connection_id = %(c)s and outcome is null",
            now=utc_now() - timedelta(seconds=1),
            c=row.id,
        )
    with floor.channel(row) as channel:
        return check_lane(floor.app, floor.row(row.shop_id, row.id), channel, seconds)


def outcomes(floor: Floor, row: ConnectionRow) -> dict[str | None, int]:
    found = floor.rows(
        "select outcome, count(*) as count from listing_writes where connection_id = %(c)s group by 1", c=row.id
    )
    return {one["outcome"]: one["count"] for one in found}


def shown(floor: Floor, row: ConnectionRow) -> list[dict[str, Any]]:
    return floor.rows(
        "select distinct published_units, exposed_units from listings where connection_id = %(c)s", c=row.id
    )


def test_calls_in_doubt_are_repeated_whole_whichever_comes_first(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = iter(["b", "a"])
    monkeypatch.setattr(publishing.uuid, "uuid4", lambda: f"{next(keys)}-of-a-cut-call")
    shop, row = in_doubt(floor, 280)
    assert check(floor, row)["settled"] == 280
    assert outcomes(floor, row) == {"confirmed": 280}
    assert shown(floor, row) == [{"published_units": 11, "exposed_units": 11}]
    assert shop.applied == 2


def test_a_call_of_which_a_part_is_settled_is_repeated_whole(floor: Floor) -> None:
    """Settled by hand, or the only ones of which nothing could be read back: the key knows all that was sent."""
    shop, row = in_doubt(floor, 3)
    first = floor.one("select min(id) as id from listing_writes where connection_id = %(c)s", c=row.id)["id"]
    with unit_of_work(floor.engine) as conn:
        publishing.settle_by_hand(conn, row.shop_id, first, 11, ACTOR, utc_now())
    before = floor.one("select * from listing_writes where id = %(id)s", id=first)
    assert check(floor, row)["checked"] == 2
    assert outcomes(floor, row) == {"confirmed": 3}
    assert floor.one("select * from listing_writes where id = %(id)s", id=first) == before
    bodies = [body["variables"] for body in floor.accounts[row.id].network.bodies("inventorySetQuantities")]
    assert all(body == bodies[0] for body in bodies)
    assert len(bodies[0]["input"]["quantities"]) == 3
    assert shop.applied == 1


SAYS_NOTHING_OF_THE_FIRST = {
    **{str(status): httpx.Response(status, json={"errors": "no"}) for status in (400, 402, 403, 404, 422, 423, 430)},
    **{
        code: said(code)
        for code in ("SHOP_INACTIVE", "BAD_REQUEST", "ACCESS_DENIED", "IDEMPOTENCY_KEY_PARAMETER_MISMATCH")
    },
    "mismatch": objected("IDEMPOTENCY_KEY_PARAMETER_MISMATCH"),
    "a code that nobody knows": objected("SHOP_IS_ASLEEP"),
}


def test_a_repetition_that_is_refused_says_nothing_of_what_was_sent_before(floor: Floor) -> None:
    shop, row = in_doubt(floor, 2)
    for name, answer in SAYS_NOTHING_OF_THE_FIRST.items():
        shop.instead = answer
        assert check(floor, row, seconds=0.2)["settled"] == 0, name
        assert outcomes(floor, row) == {None: 2}, name
        assert shown(floor, row) == [{"published_units": 10, "exposed_units": 11}], name
    (doubt,) = floor.rows("select distinct doubt from listing_writes where connection_id = %(c)s", c=row.id)
    assert "does not accept" in doubt["doubt"]
    shop.instead = None
    assert check(floor, row)["settled"] == 2
    assert outcomes(floor, row) == {"confirmed": 2}


@pytest.mark.parametrize("code", ["INVALID_LOCATION", "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"])
def test_what_the_key_itself_is_answered_ends_a_doubt(floor: Floor, code: str) -> None:
    """Had the first attempt landed, the key would have been answered with its success."""
    shop, row = in_doubt(floor, 2)
    shop.instead = objected(code)
    assert check(floor, row)["settled"] == 2
    assert outcomes(floor, row) == {"refused": 2}


@pytest.mark.parametrize("is_doubtful", [False, True])
def test_what_cannot_be_sent_ends_only_what_was_never_sent(is_doubtful: bool) -> None:
    account = shopify_account(CannedShop())
    write = QuantityWrite(1, "x", None, LOCATION, 10, 5, "key", is_doubtful=is_doubtful)
    far = replace(write, write_id=2, inventory_ref="5000", to_units=-1)
    results = account.channel().set_quantities([write, far])
    assert {(result.outcome, result.code) for result in results} == {
        ("unknown" if is_doubtful else "refused", code) for code in ("NO_INVENTORY_REF", "QUANTITY_OUT_OF_RANGE")
    }
    assert account.network.bodies("inventorySetQuantities") == []
