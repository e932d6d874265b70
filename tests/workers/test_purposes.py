"""Whom a call was made for is on record: the job that a worker runs, the command that a person typed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.connections import operations as connections
from core.connections.queries import connection
from core.db import fetch, read_only, unit_of_work
from core.errors import SwitchyardError
from core.logs import bound, bound_field
from core.messaging.doorbell import Lane
from tests.workers.conftest import NOW
from workers import cli, console


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bootstrap.Application]:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SWITCHYARD_SECRET_KEYS", connections.new_key())
    made = bootstrap.make_application(bootstrap.Settings.from_environment())
    yield made
    made.engine.dispose()


def test_a_call_is_on_record_for_the_job_at_work(app: bootstrap.Application, engine: Engine, lane: Lane) -> None:
    secrets = {"client_id": "id", "client_secret": "secret"}
    with unit_of_work(engine) as conn:
        connections.seal_secrets(conn, app.settings.secret_keys, lane.shop_id, lane.connection_id, secrets, NOW)
    with read_only(engine) as conn:
        row = connection(conn, lane.shop_id, lane.connection_id)
    for purpose in ("stock.push", "command:seed"):
        # Nobody listens at its address.
        with bound(function=purpose), app.channel(row) as channel, pytest.raises(SwitchyardError):
            channel.locations()
    with read_only(engine) as conn:
        calls = fetch(conn, "select purpose, count(*) as attempts from api_calls group by purpose order by purpose")
        use = fetch(conn, "select purpose, sum(calls) as attempts from quota_use group by purpose order by purpose")
    assert [row["purpose"] for row in calls] == ["command:seed", "stock.push"]
    assert [dict(row) for row in use] == [dict(row) for row in calls]


def test_a_command_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[object] = []

    def application() -> None:
        named.append(bound_field("function"))
        raise SystemExit(0)

    monkeypatch.setattr(console, "application", application)
    monkeypatch.setattr(cli, "application", application)
    CliRunner().invoke(cli.cli, ["keys", "rotate"])
    CliRunner().invoke(cli.cli, ["seed"])
    assert named == ["command:keys", "command:seed"]
    assert bound_field("function") is None
