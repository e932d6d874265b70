"""Products written to a file by the job and on the command line."""

from __future__ import annotations

import csv
import errno
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from rq.timeouts import JobTimeoutException
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from core import bootstrap
from core.audit import Actor
from core.bootstrap import Application
from core.catalog.products.documents import ProductDocument, VariantDocument
from core.catalog.products.operations import save_product
from core.catalog.products.queries import Filters
from core.clock import utc_now
from core.config import Settings as Environment
from core.connections.operations import new_key, open_shop
from core.db import read_only, unit_of_work
from core.documents import StoreFull
from core.errors import BadInput
from core.importing import exporting
from workers import console
from workers.jobs import imports as jobs
from workers.products_cli import products

ANNA = Actor("Anna", "a file for the printer")


@pytest.fixture
def app(engine: Engine, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    made = bootstrap.make_application(
        Environment.from_environment(
            {
                "SWITCHYARD_HOME": str(tmp_path / "home"),
                "DATABASE_URL": engine.url.render_as_string(hide_password=False),
                "REDIS_URL": redis_url,
                "SWITCHYARD_SECRET_KEYS": new_key(),
            }
        ),
        name="exports",
    )
    monkeypatch.setattr(bootstrap, "application", lambda: made)
    monkeypatch.setattr(console, "application", lambda: made)
    yield made
    made.engine.dispose()


@pytest.fixture
def shop_id(app: Application) -> int:
    with unit_of_work(app.engine) as conn:
        shop_id = open_shop(conn, "Goods", "Europe/London", "GBP", ANNA, utc_now())
        for handle, status in (("mug", "active"), ("pot", "draft")):
            document = ProductDocument(handle, handle, (VariantDocument(handle.upper(), "GBP"),), status=status)  # type: ignore[arg-type]
            save_product(conn, shop_id, document, ANNA, utc_now())
    return shop_id


def test_a_file_that_nobody_works_on_is_rung_for_and_written_once(
    app: Application, shop_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unit_of_work(app.engine) as conn:
        export_id = exporting.begin(conn, shop_id, Filters(), "csv", ANNA, utc_now())
        conn.exec_driver_sql("update catalogue_exports set worked_at = worked_at - interval '2 minutes'")
    rung: list[tuple[str, dict[str, int]]] = []
    monkeypatch.setattr(jobs, "ring_once", lambda _app, name, **arguments: rung.append((name, arguments)))
    assert jobs.sweep_imports() == {"rung": 1}
    assert rung == [("exports.write", {"shop_id": shop_id, "export_id": export_id})]
    assert jobs.write_export(**rung[0][1]) == {"state": "written", "products": 2, "rows": 2}
    assert jobs.write_export(**rung[0][1]) == {"state": "written", "products": 2, "rows": 2}


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "there is no room left on the disk where it is written"),
        (StoreFull(), "it was tried 3 times: there is no room left for documents"),
        (JobTimeoutException(), "took longer than an hour: export fewer products"),
        (OperationalError("", {}, Exception()), "(Exception): see whether database and disk are well"),
    ],
)
def test_what_breaks_off_again_and_again_is_given_up_with_the_reason(
    app: Application, shop_id: int, error: Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unit_of_work(app.engine) as conn:
        export_id = exporting.begin(conn, shop_id, Filters(), "csv", ANNA, utc_now())

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(exporting, "write_file", broken)
    for attempt in (1, 2, 3):
        with read_only(app.engine) as conn:
            assert (attempt, exporting.export(conn, shop_id, export_id).state) == (attempt, "writing")
        with pytest.raises(type(error)):
            jobs.write_export(shop_id=shop_id, export_id=export_id)
    with read_only(app.engine) as conn:
        found = exporting.export(conn, shop_id, export_id)
        assert (shop_id, export_id) not in exporting.at_work(conn, utc_now() + timedelta(hours=1))
    assert found.state == "failed"
    assert why in str(found.problem)


def test_the_command_writes_what_fits_and_over_nothing(app: Application, shop_id: int, tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    found = CliRunner().invoke(products, ["export", str(path), "--status", "draft"], catch_exceptions=False)
    assert "1 product in 1 row written" in found.output
    with path.open(encoding="utf-8-sig", newline="") as source:
        assert [row["Handle"] for row in csv.DictReader(source)] == ["pot"]
    for words, why in (
        ([str(path)], "is there already"),
        ([str(tmp_path / "goods.pdf")], r"neither .csv nor .xlsx"),
        ([str(tmp_path / "none.csv"), "--vendor", "Nobody"], "no product fits"),
        ([str(tmp_path / "none.csv"), "--category", "Mugs"], "there is no category Mugs"),
    ):
        with pytest.raises(BadInput, match=why):
            CliRunner().invoke(products, ["export", *words], catch_exceptions=False)
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith((".", "none"))] == []
