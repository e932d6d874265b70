"""Where our own program fails at an import it ends, with a sentence, and the failure is raised once; it never hangs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from core.bootstrap import Application
from core.catalog.imports.problems import Outcome
from core.catalog.imports.reading import ProductFile
from core.clock import utc_now
from core.db import execute, read_only, unit_of_work
from core.importing import operations, queries, reading, undoing
from core.importing.queries import Run, Settings
from tests.workers import test_imports_job
from tests.workers.test_imports_job import ANNA, state_of
from workers import importing, imports_cli

environment, app, shop_id = test_imports_job.environment, test_imports_job.app, test_imports_job.shop_id


@pytest.fixture
def begun(app: Application, shop_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """An import of six products that is to be read two by two."""
    monkeypatch.setattr(importing, "BATCH", 2)
    path = tmp_path / "pans.csv"
    rows = "".join(f"p-{n},Pan {n},PAN-{n},{n + 1}.00\n" for n in range(6))
    path.write_text(f"Handle,Title,Variant SKU,Variant Price\n{rows}", encoding="utf-8")
    return importing.begin_with(app, shop_id, path, path.name, Settings("GBP"), ANNA)


def act(app: Application, shop_id: int, import_id: int, name: str) -> None:
    with unit_of_work(app.engine) as conn:
        getattr(operations, name)(conn, shop_id, import_id, ANNA, utc_now())


def run_of(app: Application, shop_id: int, import_id: int) -> Run:
    with read_only(app.engine) as conn:
        return queries.run(conn, shop_id, import_id)


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, after: int) -> list[int]:
    """Have files break off by an error behind so many products; returns at which row each reading began."""
    whole, begun_at = ProductFile.outcomes, list[int]()

    def outcomes(file: ProductFile, after_row: int = 0) -> Iterator[Outcome]:
        begun_at.append(after_row)
        for number, outcome in enumerate(whole(file, after_row)):
            if number == after:
                raise error
            yield outcome

    monkeypatch.setattr(ProductFile, "outcomes", outcomes)
    return begun_at


def test_a_reading_that_our_program_fails_at_is_given_up_and_raised_once(
    app: Application, shop_id: int, begun: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, KeyError("Pan of Mrs. Smith"), 5)
    with pytest.raises(KeyError):
        importing.carry_on(app, shop_id, begun)
    run = run_of(app, shop_id, begun)
    assert (run.state, run.counts["items"]) == ("failed", 4)
    assert run.problem is not None
    assert run.problem.startswith("pans.csv was read up to row 5; among the next 2 products our program failed at it")
    assert "KeyError" in run.problem
    assert "Smith" not in run.problem
    assert importing.carry_on(app, shop_id, begun).state == "failed"
    monkeypatch.undo()
    with unit_of_work(app.engine) as conn:
        operations.read_again(conn, shop_id, begun, Settings("GBP"), ANNA, utc_now())
    assert importing.carry_on(app, shop_id, begun).counts["created"] == 6


def test_a_file_that_our_program_fails_at_from_the_beginning_is_given_up(
    app: Application, shop_id: int, begun: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, RecursionError("too deep"), 0)
    with pytest.raises(RecursionError):
        importing.carry_on(app, shop_id, begun)
    run = run_of(app, shop_id, begun)
    assert (run.state, run.counts["items"]) == ("failed", 0)
    assert str(run.problem).startswith("pans.csv was begun, and before its first 2 products were noted our program")


def test_a_lost_connection_leaves_it_to_be_gone_on_with_or_stopped(
    app: Application, shop_id: int, begun: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = OperationalError("select", {}, Exception("server closed the connection"), connection_invalidated=True)
    begun_at = failing(monkeypatch, lost, 3)
    for items in (2, 4):
        with pytest.raises(OperationalError):
            importing.carry_on(app, shop_id, begun)
        run = run_of(app, shop_id, begun)
        assert (run.state, run.counts["items"], run.problem) == ("reading", items, None)
    act(app, shop_id, begun, "stop")
    assert importing.carry_on(app, shop_id, begun).state == "discarded"
    assert begun_at == [0, 3], "who is asked to stop reads nothing more"


def test_an_undo_that_our_program_fails_at_is_stopped_and_may_be_gone_on_with(
    app: Application, shop_id: int, begun: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    importing.carry_on(app, shop_id, begun)
    act(app, shop_id, begun, "apply")
    assert importing.carry_on(app, shop_id, begun).counts["applied"] == 6
    act(app, shop_id, begun, "undo")

    def broken(*_: object, **__: object) -> None:
        raise TypeError("Pan of Mrs. Smith")

    monkeypatch.setattr(undoing, "put_products", broken)
    with pytest.raises(TypeError):
        importing.carry_on(app, shop_id, begun)
    run = run_of(app, shop_id, begun)
    assert (run.state, "TypeError" in str(run.problem), "Smith" in str(run.problem)) == ("stopped", True, False)
    monkeypatch.undo()
    act(app, shop_id, begun, "undo")
    run = importing.carry_on(app, shop_id, begun)
    assert (run.state, run.counts["undone"], run.problem) == ("undone", 6, None)


def test_a_file_that_is_to_be_read_otherwise_meanwhile_is_read_so(
    app: Application, shop_id: int, begun: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody chooses another currency while the rows are put aside, before the first of them is noted."""
    whole, readings = reading.last_row, list[str]()

    def last_row(conn: object, run: Run) -> int:
        readings.append(run.settings.currency)
        if len(readings) == 1:
            with unit_of_work(app.engine) as other:
                operations.read_again(other, shop_id, begun, Settings("EUR"), ANNA, utc_now())
        return whole(conn, run)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "last_row", last_row)
    assert importing.carry_on(app, shop_id, begun).state == "read"
    assert readings == ["GBP", "EUR"]
    with read_only(app.engine) as conn:
        items = queries.items(conn, shop_id, begun)
    assert len(items) == 6
    assert {v.currency for item in items if item.after for v in item.after.variants} == {"EUR"}


def test_rows_that_were_read_and_not_applied_come_back_with_the_rejected_ones(
    app: Application, shop_id: int, tmp_path: Path
) -> None:
    path = tmp_path / "mixed.csv"
    path.write_text(
        "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price\ngood,Good,,,GOOD,1.00\nbad,Bad,,,BAD,-4\n"
        "tee,Tee,Size,S,T-S,2.00\ntee,,,M,T-M,2.50\nworse,,,,WORSE,2.00\nlast,Last,,,LAST,3.00\n",
        encoding="utf-8",
    )
    import_id = importing.begin_with(app, shop_id, path, path.name, Settings("GBP"), ANNA)
    importing.carry_on(app, shop_id, import_id)
    with unit_of_work(app.engine) as conn:
        execute(
            conn,
            """
            update import_items set document = jsonb_set(document, '{variants,0,price_minor}', '1e30')
            where shop_id = %(s)s and handle = 'tee'
            """,
            s=shop_id,
        )
        # As if another product had taken its handle since.
        execute(
            conn,
            """
            update import_items set document = jsonb_set(document, '{handle}', '"good"')
            where shop_id = %(s)s and handle = 'last'
            """,
            s=shop_id,
        )
    act(app, shop_id, import_id, "apply")
    run = importing.carry_on(app, shop_id, import_id)
    assert (run.state, run.counts["applied"], run.counts["refused"]) == ("applied", 1, 2)
    assert [row[0] for row in state_of(app, shop_id)] == ["good"]
    target, rows = importing.write_rejected(app, shop_id, import_id, tmp_path)
    assert rows == 5
    with target.open(encoding="utf-8-sig", newline="") as source:
        found = {row["Variant SKU"]: row for row in csv.DictReader(source)}
    assert list(found) == ["BAD", "T-S", "T-M", "WORSE", "LAST"]
    assert "was not applied: our program failed at it" in found["T-M"]["reason"]
    assert found["LAST"]["reason"].startswith("was not applied: its handle is another product's by now: good")
    assert "“-4” is negative" in found["BAD"]["reason"]
    assert (found["T-S"]["Title"], found["T-S"]["Variant Price"]) == ("Tee", "2.00")


def test_the_command_line_says_what_was_not_applied_and_what_stock_is_kept(
    app: Application, shop_id: int, begun: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run = importing.carry_on(app, shop_id, begun)
    kept = ["document 7 cannot be undone: 1 of PAN-0 is sold", "document 8 cannot be undone: 2 of PAN-1 are sold"]
    counts = {**run.counts, "applied": 4, "refused": 2}
    imports_cli._show(app, replace(run, applied_by="Anna", undone_by="Anna", counts=counts, stock_kept=kept))
    told = capsys.readouterr().out
    assert "4 applied, 2 not: `switchyard imports rejected` says why." in told
    assert f"Stock that was set and is kept: {kept[0]} And 1 more." in told
