"""The Jobs screen in a browser: every look of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser
from sqlalchemy import create_engine

from core import embedded
from tests.dashboard import browsing, job_worlds, seed

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Sites:
    """Servers on a bad day, on an empty database, and on a bad day with Redis away."""

    failing: str
    empty: str
    away: str


@pytest.fixture(scope="module")
def sites(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    home: Path = servers.home  # type: ignore[attr-defined]
    bell = servers.redis_url.rpartition("/")[0] + "/0"  # type: ignore[attr-defined]
    found = {
        name: embedded.create_database(home, f"jobs_{name}", template=template_database.name)
        for name in ("failing", "empty")
    }
    engine = create_engine(found["failing"].url)
    with engine.begin() as conn:
        job_worlds.failing(conn)
    engine.dispose()
    engine = create_engine(found["empty"].url)
    with engine.begin() as conn:
        seed.shop(conn)
    engine.dispose()
    folder = tmp_path_factory.mktemp("jobs")
    for name in ("failing", "empty", "away"):
        (folder / name).mkdir()
    with redis.Redis.from_url(bell) as client:
        client.flushdb()
        job_worlds.broker(client, refs=("j-a", "j-b"))
        with (
            browsing.serve(found["failing"].url, bell, folder / "failing") as failing,
            browsing.serve(found["empty"].url, bell, folder / "empty") as empty,
            browsing.serve(found["failing"].url, NOWHERE, folder / "away") as away,
        ):
            yield Sites(failing, empty, away)
        client.flushdb()
    for database in found.values():
        embedded.drop_database(home, database.name)


PAGES = {
    "jobs": ("failing", "/jobs"),
    "jobs-empty": ("empty", "/jobs"),
    "jobs-away": ("away", "/jobs"),
}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_each_look_of_the_screen_is_sound(
    sites: Sites, browser: Browser, pictures: Path, name: str, phone: bool
) -> None:
    site, path = PAGES[name]
    address = getattr(sites, site) + path
    with browsing.visit(browser, address, phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)
