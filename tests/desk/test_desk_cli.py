"""`switchyard desk`: a dry run, every error, a booking, and the same file again."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from core import embedded
from core.db import fetch, scalar, unit_of_work
from tests.commands import run_here
from tests.conftest import TestServers
from tests.desks import make_desk


@pytest.fixture
def shop(engine: Engine) -> int:
    with unit_of_work(engine) as conn:
        return make_desk(conn).shop_id


class Line:
    """The command line over a test's database."""

    def __init__(self, database: embedded.Database, servers: TestServers, folder: Path) -> None:
        self.environment = {
            "DATABASE_URL": database.url,
            "REDIS_URL": servers.redis_url,
            "SWITCHYARD_OPERATOR": "ada",
            "SWITCHYARD_HOME": str(folder),
        }
        self.folder = folder

    def __call__(self, act: str, content: str, *more: str) -> tuple[int, str]:
        path = self.folder / "file.csv"
        path.write_text(content, encoding="utf-8")
        done = run_here("desk", act, "--file", str(path), *more, environment=self.environment)
        return done.status, done.out + done.err


@pytest.fixture
def line(database: embedded.Database, servers: TestServers, tmp_path: Path) -> Line:
    return Line(database, servers, tmp_path)


def test_a_delivery_is_looked_at_booked_and_refused_the_second_time(line: Line, shop: int, engine: Engine) -> None:
    data = "sku,units\nMUG,3\n"
    status, said = line("receive", data, "--location", "Main", "--dry-run")
    assert (status, "10 → 13" in said, "this was a dry run" in said) == (0, True, True)
    with engine.connect() as conn:
        assert scalar(conn, "select count(*) from stock_documents") == 0
    status, said = line("receive", data, "--location", "Main", "--reason", "the morning's delivery")
    assert (status, "3 units of 1 SKU." in said) == (0, True)
    status, said = line("receive", data, "--location", "Main", "--reason", "again")
    assert status == 2
    assert "was booked by ada" in said
    with engine.connect() as conn:
        rows = fetch(conn, "select actor, reason from audit_entries where act = 'book_receipt'")
    assert [tuple(row.values()) for row in rows] == [("ada", "the morning's delivery")]


def test_errors_are_told_by_row_and_nothing_is_booked(line: Line, shop: int, engine: Engine) -> None:
    status, said = line("adjust", "sku,units\nNOPE,1\nMUG,1.000\n", "--location", "Main", "--reason", "broken")
    assert status == 2
    assert "row 2, sku: “NOPE” is no SKU code" in said
    assert "row 3, units: “1.000” can be read in two ways" in said
    with engine.connect() as conn:
        assert scalar(conn, "select count(*) from stock_documents") == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--location", "Attic", "--dry-run"], "there is no location Attic: there is Main, Yard"),
        (["--shop", "Nobody's", "--dry-run"], "there is no shop Nobody's"),
        (["--location", "Main"], "a reason"),
        (["--dry-run"], "is empty: name the location"),
    ],
)
def test_what_is_missing_is_asked_for(line: Line, shop: int, more: list[str], words: str) -> None:
    status, said = line("receive", "sku,units\nMUG,3\n", *more)
    assert status == 2
    assert words in " ".join(said.split())
