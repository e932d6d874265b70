"""`switchyard identifiers`: the queue, suggestions, answers, remapping and files from a terminal."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.db import unit_of_work
from tests import factories
from tests.factories import World, book, make_channel_listing, make_line, make_order
from tests.integration.test_identity import amazon
from workers import console, identifiers_cli


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bootstrap.Application]:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    bootstrap._application_of.cache_clear()
    yield bootstrap.application()
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


@pytest.fixture
def there(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        world = factories.make_world(conn, {"MUG": 10, "CUP": 20})
        made = amazon(conn, world, make_channel_listing("m ug", 1), make_channel_listing("MUG", 1))
        book(conn, made, make_order("1", [make_line("1", "m ug", 2)]))
        return made


def run(app: bootstrap.Application, *words: str, fails: str | None = None) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(console, "application", lambda: app)
        patched.setenv("SWITCHYARD_OPERATOR", "ada")
        done = CliRunner().invoke(identifiers_cli.identifiers, words)
    if fails is None:
        assert done.exception is None, done.output + repr(done.exception)
        return done.output
    assert fails in str(done.exception), done.output
    return done.output


def test_from_the_queue_to_an_answer_and_on_to_another_sku(
    app: bootstrap.Application, there: World, tmp_path: Path
) -> None:
    channel = there.connection.name
    (waiting,) = json.loads(run(app, "list", "--json"))
    assert (waiting["value"], waiting["parked_units"]) == ("variant:m ug", 2)
    assert "1 order lines of 2 units wait" in run(app, "list", "--connection", channel)
    assert "MUG  “The MUG”: same code but for case or spaces" in run(app, "suggest", channel, "variant", "variant:m ug")
    said = run(app, "map", channel, "variant", "variant:m ug", "CUP", "--reason", "looked at it")
    assert "1 parked order lines booked" in said
    assert "sync the connection" in said
    assert "is CUP  (person, ada: looked at it)" in run(app, "list", "--mapped")

    run(app, "map", channel, "variant", "variant:m ug", "MUG", "--reason", "no", fails="Remap it instead")
    words = ("map", channel, "variant", "variant:m ug", "MUG", "--reason", "it was the mug", "--remap")
    assert "order #1: 2 units, CUP → MUG" in run(app, *words, "--dry-run")
    assert "is CUP" in run(app, "list", "--mapped", "--search", "variant:m ug")
    assert "1 moved, 0 stay as they are" in run(app, *words, "--yes")
    assert "is MUG" in run(app, "list", "--mapped", "--search", "variant:m ug")

    path = tmp_path / "map.csv"
    run(app, "export", "--file", str(path))
    path.write_text(path.read_text().replace("variant:m ug,MUG", "variant:m ug,CUP"))
    assert "1 to another SKU" in run(app, "import", "--file", str(path), "--dry-run")
    assert "1 moved" in run(app, "import", "--file", str(path), "--reason", "as before")
    run(app, "import", "--file", str(path), "--reason", "again", fails="nothing was loaded")


def test_what_is_not_ours_is_set_aside_and_taken_up_again(app: bootstrap.Application, there: World) -> None:
    channel = there.connection.name
    words = ("ignore", channel, "variant", "variant:m ug", "--reason", "a partner sells it")
    assert "1 order lines wait no more" in run(app, *words)
    assert "Every identifier is known." in run(app, "list")
    assert "Taken up again, with 1 order lines." in run(app, *words, "--undo")
    assert "variant:m ug" in run(app, "list")


def test_the_lists_have_pages_with_an_end(app: bootstrap.Application, there: World, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        amazon(conn, there, *(make_channel_listing(f"x:{number}", 1) for number in range(5)))
    for more in ((), ("--mapped",)):
        seen: list[str] = []
        words: list[str] = []
        while True:
            lines = run(app, "list", *more, "--limit", "2", *words).splitlines()
            seen += [line for line in lines if not line.startswith("There are more")]
            if not lines[-1].startswith("There are more: "):
                break
            words = shlex.split(lines[-1].removeprefix("There are more: "))
        assert seen == run(app, "list", *more, "--limit", "1000").splitlines()
        assert len(set(seen)) == len(seen) > 2
    assert "--after" in run(app, "list", "--limit", "1", "--json")
    for wrong in ("x", "1:2:colour:x", "1:2"):
        run(app, "list", "--after", wrong, fails="is no end of such a page")
    run(app, "list", "--mapped", "--after", "1:2:variant:x", fails="is no end of such a page")
