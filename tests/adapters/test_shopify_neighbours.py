"""A stale pair refuses its whole call: it goes back to the planner, and its 249 neighbours go out right behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from core import bootstrap, embedded
from core.connections.queries import ConnectionRow
from tests.adapters.canned_shopify import CannedShop
from tests.adapters.floor import Floor
from tests.conftest import TestServers

SET = "inventorySetQuantities("


@pytest.fixture(scope="module")
def neighbours_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    database = embedded.create_database(servers.home, "neighbours", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def floor(neighbours_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Floor:
    made = Floor(neighbours_engine)
    monkeypatch.setattr(bootstrap, "application", lambda: made)
    return made


@pytest.fixture
def canned() -> CannedShop:
    return CannedShop(levels={str(5000 + n): 10 for n in range(250)})


def test_one_stale_pair_holds_up_none_of_the_others(floor: Floor, canned: CannedShop) -> None:
    row = _ready_to_push(floor, canned)
    canned.levels["5007"] = 7
    counts = floor.push(row)
    assert (counts["stale"], counts["confirmed"]) == (1, 250)
    # Three units were taken at the channel by somebody we have not heard of: they are not written over.
    assert canned.levels == {str(5000 + n): 8 if n == 7 else 11 for n in range(250)}
    calls = _calls(floor, row)
    assert len(calls[0]) == 250
    assert len(calls) <= 5
    assert sum(len(call) for call in calls) <= 250 + 251
    assert len(set(_keys(floor, row))) == len(calls)


def test_several_stale_pairs_are_found_out_at_once(floor: Floor, canned: CannedShop) -> None:
    row = _ready_to_push(floor, canned)
    for place in range(0, 250, 25):
        canned.levels[str(5000 + place)] = 4
    counts = floor.push(row)
    assert (counts["stale"], counts["confirmed"]) == (10, 250)
    assert len(_calls(floor, row)) <= 5
    reads = floor.accounts[row.id].network.bodies("query Items")
    assert [len(body["variables"]["ids"]) for body in reads] == [10]


def test_where_the_channel_names_one_stale_pair_at_a_time_calls_stay_few(floor: Floor, canned: CannedShop) -> None:
    canned.tells_first_only = True
    row = _ready_to_push(floor, canned)
    for place in range(0, 250, 25):
        canned.levels[str(5000 + place)] = 4
    counts = floor.push(row)
    assert (counts["stale"], counts["confirmed"]) == (10, 250)
    assert set(canned.levels.values()) == {11, 5}
    # Each stale pair costs the call that tells of it, and smaller calls for a while: far from one for each listing.
    assert len(_calls(floor, row)) <= 10 + 20


def test_a_lost_reply_of_a_stale_call_is_asked_for_with_its_key_and_then_made_anew(
    floor: Floor, canned: CannedShop
) -> None:
    """The first attempt failed unseen: its key says so for all of them, and all go out again under a fresh one."""
    row = _ready_to_push(floor, canned)
    canned.levels["5007"] = 7
    floor.accounts[row.id].network.plan("lost_reply", SET)
    counts = floor.push(row)
    assert (counts["refused"] >= 250, counts["stale"], counts["confirmed"]) == (True, 1, 250)
    keys = _keys(floor, row)
    assert keys[0] == keys[1]
    assert len(set(keys)) == len(keys) - 1
    assert canned.levels["5007"] == 8


def _ready_to_push(floor: Floor, canned: CannedShop) -> ConnectionRow:
    """A shop of 250 listings that all should show one unit more."""
    row = floor.connect(canned)
    floor.sync(row)
    floor.count(row, {f"SKU-{5000 + n}": 1 for n in range(250)})
    return row


def _calls(floor: Floor, row: ConnectionRow) -> list[list[object]]:
    return [body["variables"]["input"]["quantities"] for body in floor.accounts[row.id].network.bodies(SET)]


def _keys(floor: Floor, row: ConnectionRow) -> list[str]:
    return [body["variables"]["key"] for body in floor.accounts[row.id].network.bodies(SET)]
