"""Imports at work: killed at any moment they go on and end the same; two at one import do it once."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Engine

from core import bootstrap, invariants
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.config import Settings as Environment
from core.connections.operations import new_key, open_shop
from core.db import fetch, read_only, scalar, unit_of_work
from core.importing import operations, queries
from core.importing.queries import Run, Settings
from tests.conftest import ROOT
from workers import importing
from workers.jobs import imports as jobs

ANNA = Actor("Anna", "the new season")
ROWS = 1_600


@pytest.fixture
def environment(engine: Engine, redis_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "SWITCHYARD_HOME": str(tmp_path),
        "DATABASE_URL": engine.url.render_as_string(hide_password=False),
        "REDIS_URL": redis_url,
        "SWITCHYARD_SECRET_KEYS": new_key(),
    }


@pytest.fixture
def app(environment: dict[str, str]) -> Iterator[Application]:
    made = bootstrap.make_application(Environment.from_environment(environment), name="imports")
    yield made
    made.engine.dispose()


@pytest.fixture
def shop_id(app: Application) -> int:
    with unit_of_work(app.engine) as conn:
        return open_shop(conn, "Goods", "Europe/London", "GBP", ANNA, utc_now())


def write(path: Path, price: str = "9.50") -> Path:
    with path.open("w", encoding="utf-8", newline="") as target:
        out = csv.writer(target)
        out.writerow(["Handle", "Title", "Tags", "Variant SKU", "Variant Price"])
        for number in range(ROWS):
            out.writerow([f"p-{number}", f"Pan {number}", "new, iron", f"PAN-{number}", price])
    return path


def work_and_die(environment: dict[str, str], shop_id: int, import_id: int, seconds: float) -> None:
    """A process that works on the import until it is killed, so many seconds after it has begun."""
    script = (
        "import sys; from core import bootstrap; from core.config import Settings; from workers import importing;"
        " app = bootstrap.make_application(Settings.from_environment(), name='victim'); print('at work', flush=True);"
        f" importing.carry_on(app, {shop_id}, {import_id})"
    )
    words = [sys.executable, "-c", script]
    env = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"at work\n"
        # When it dies is the point, and chance.
        time.sleep(seconds)
        victim.send_signal(signal.SIGKILL)


def go_on(app: Application, shop_id: int, import_id: int) -> Run:
    """Work on the import to the end of its step: not before the server has noticed that its last worker is dead."""
    run = importing.carry_on(app, shop_id, import_id)
    while run.state in queries.AT_WORK:
        time.sleep(0.1)
        run = importing.carry_on(app, shop_id, import_id)
    return run


def state_of(app: Application, shop_id: int) -> list[tuple[object, ...]]:
    """All products with their variants and versions."""
    with read_only(app.engine) as conn:
        rows = fetch(
            conn,
            """
            select p.handle, p.title, p.version, s.code, v.price_minor,
                (select count(*) from product_versions n where n.shop_id = %(s)s and n.product_id = p.id) as versions
            from products p join variants v on v.shop_id = p.shop_id and v.product_id = p.id
            join skus s on s.shop_id = v.shop_id and s.id = v.sku_id where p.shop_id = %(s)s order by 1, 4
            """,
            s=shop_id,
        )
    return [tuple(row.values()) for row in rows]


def test_killed_at_any_moment_it_goes_on_and_ends_as_if_it_had_not_been(
    app: Application, environment: dict[str, str], shop_id: int, tmp_path: Path
) -> None:
    random = Random(7)
    path = write(tmp_path / "pans.csv")
    import_id = importing.begin_with(app, shop_id, path, path.name, Settings("GBP"), ANNA)
    for _ in range(2):
        work_and_die(environment, shop_id, import_id, random.random())
    run = go_on(app, shop_id, import_id)
    assert (run.state, run.counts["items"], run.counts["created"], run.counts["rows_read"]) == ("read", *(ROWS,) * 3)
    with unit_of_work(app.engine) as conn:
        operations.apply(conn, shop_id, import_id, ANNA, utc_now())
    for _ in range(3):
        work_and_die(environment, shop_id, import_id, random.random())
    run = go_on(app, shop_id, import_id)
    assert (run.state, run.counts["applied"], run.counts["refused"]) == ("applied", ROWS, 0)
    assert state_of(app, shop_id) == sorted((f"p-{n}", f"Pan {n}", 1, f"PAN-{n}", 950, 1) for n in range(ROWS))
    with unit_of_work(app.engine) as conn:
        operations.undo(conn, shop_id, import_id, ANNA, utc_now())
    work_and_die(environment, shop_id, import_id, random.random())
    run = go_on(app, shop_id, import_id)
    assert (run.state, run.counts["undone"], run.counts["kept"]) == ("undone", ROWS, 0)
    assert state_of(app, shop_id) == []
    with read_only(app.engine) as conn:
        assert [f.name for f in invariants.check(conn, utc_now(), shop_id=shop_id) if f.rows] == []


def test_the_sweep_rings_for_what_nobody_works_on_and_the_job_does_it(
    app: Application, shop_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "pans.csv")
    import_id = importing.begin_with(app, shop_id, path, path.name, Settings("GBP"), ANNA)
    rung: list[dict[str, int]] = []
    monkeypatch.setattr(bootstrap, "application", lambda: app)
    monkeypatch.setattr(jobs, "ring_once", lambda _app, _name, **arguments: rung.append(arguments))
    assert jobs.sweep_imports() == {"rung": 0}
    with unit_of_work(app.engine) as conn:
        conn.exec_driver_sql("update import_runs set worked_at = worked_at - interval '2 minutes'")
    assert jobs.sweep_imports() == {"rung": 1}
    assert rung == [{"shop_id": shop_id, "import_id": import_id}]
    assert jobs.work(**rung[0])["state"] == "read"
    assert jobs.work(**rung[0])["state"] == "read"


def test_what_cannot_be_read_is_given_up_with_the_sentence_and_nothing_is_changed(
    app: Application, shop_id: int, tmp_path: Path
) -> None:
    path = tmp_path / "letter.pdf"
    path.write_bytes(b"%PDF-1.4 dear customer")
    import_id = importing.begin_with(app, shop_id, path, path.name, Settings("GBP"), ANNA)
    run = importing.carry_on(app, shop_id, import_id)
    assert run.state == "failed"
    assert run.problem is not None
    assert "letter.pdf" in run.problem
    assert state_of(app, shop_id) == []


def test_rejected_rows_come_back_as_a_file_that_can_be_corrected_and_read_again(
    app: Application, shop_id: int, tmp_path: Path
) -> None:
    path = tmp_path / "mixed.csv"
    path.write_text(
        "Handle,Title,Variant SKU,Variant Price\ngood,Good,GOOD,1.00\nbad,Bad,BAD,-4\nworse,,WORSE,2.00\n",
        encoding="utf-8",
    )
    import_id = importing.begin_with(app, shop_id, path, path.name, Settings("GBP"), ANNA)
    importing.carry_on(app, shop_id, import_id)
    target, rows = importing.write_rejected(app, shop_id, import_id, tmp_path)
    assert (target.name, rows) == ("mixed-rejected.csv", 2)
    with target.open(encoding="utf-8-sig", newline="") as source:
        found = list(csv.DictReader(source))
    assert [row["Variant SKU"] for row in found] == ["BAD", "WORSE"]
    assert all(any("reason" in head.casefold() and row[head] for head in row) for row in found)
    corrected = target.read_text(encoding="utf-8-sig").replace("-4", "4").replace("worse,,", "worse,Worse,")
    target.write_text(corrected, encoding="utf-8")
    again = importing.begin_with(app, shop_id, target, target.name, Settings("GBP"), ANNA)
    run = importing.carry_on(app, shop_id, again)
    assert (run.counts["created"], run.counts["rejected"]) == (2, 0)


def test_an_import_of_another_shop_is_not_there(app: Application, shop_id: int, tmp_path: Path) -> None:
    path = write(tmp_path / "pans.csv")
    import_id = importing.begin_with(app, shop_id, path, path.name, Settings("GBP"), ANNA)
    with unit_of_work(app.engine) as conn:
        other = open_shop(conn, "Others", "Europe/London", "GBP", ANNA, utc_now())
    with read_only(app.engine) as conn, pytest.raises(queries.NoImport):
        queries.run(conn, other, import_id)
    with read_only(app.engine) as conn:
        assert scalar(conn, "select count(*) from import_runs where shop_id = %(s)s", s=other) == 0
