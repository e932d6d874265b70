"""The catalogue at a fake Klaviyo: what is told, in which order, and what is told again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from core import embedded
from tests.conftest import TestServers
from tests.sandbox.outside import Inside
from tests.targeting import STORE, TargetWorld, add_target, make_product


@pytest.fixture(scope="module")
def telling_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    """One database for all of these: every test has a shop of its own."""
    database = embedded.create_database(servers.home, "telling", template=template_database.name)
    engine = create_engine(database.url, pool_size=10)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    inside = Inside(tmp_path_factory.mktemp("klaviyo"))
    yield inside
    inside.stop()


@pytest.fixture
def world(telling_engine: Engine, outside: Inside) -> TargetWorld:
    return add_target(telling_engine, outside)


def test_a_whole_catalogue_is_told_and_then_nothing_more(world: TargetWorld) -> None:
    mugs, bowls = world.category("Home", "Mugs"), world.category("Home", "Bowls")
    world.save(make_product("mug", "MUG-1", "MUG-2", categories=(mugs,)))
    world.save(make_product("bowl", "BOWL-1", categories=(bowls, mugs), status="draft"))
    world.stock("MUG-2", 7)
    world.work()
    assert world.shown() == world.wanted()
    item = world.held()["items"]
    told = next(one["attributes"] for one in item.values() if one["attributes"]["title"] == "Mug")
    assert told["description"] == "Holds tea & coffee"
    assert told["url"] == f"{STORE}/products/mug"
    assert told["custom_metadata"] == {"vendor": "Potters", "tags": "blue, new"}
    sent = len(world.calls)
    world.work()
    assert len(world.calls) == sent
