from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from sqlalchemy import Connection, Engine

from core.audit import Actor
from core.db import fetch_one, scalar
from core.errors import BadInput, Retryable
from dashboard import actions, people
from tests.dashboard import seed


@dataclass
class Bell:
    """A queue that remembers its rings, or does not answer."""

    is_dead: bool = False
    rings: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def enqueue(self, name: str, /, **arguments: object) -> None:
        if self.is_dead:
            raise Retryable("no answer")
        self.rings.append((name, arguments))


@dataclass
class FakeApplication:
    engine: Engine
    queue: Bell


def test_a_click_is_a_run_an_audit_entry_and_a_ring(conn: Connection, engine: Engine) -> None:
    shop = seed.shop(conn)
    c = seed.connection(conn, shop)
    app = FakeApplication(engine, Bell())
    run = actions.start_sync(app, shop, c, Actor("ada", "Stock was counted"))
    entry = fetch_one(conn, "select actor, act, subject, reason, details from audit_entries")
    assert entry is not None
    assert (entry["actor"], entry["act"], entry["subject"], entry["reason"]) == (
        "ada",
        "start_sync",
        f"connection:{c}",
        "Stock was counted",
    )
    assert entry["details"]["sync_run_id"] == run
    assert scalar(conn, "select state || ' ' || trigger from sync_runs where id = %(r)s", r=run) == "queued click"
    assert app.queue.rings == [("connection.sync", {"shop_id": shop, "connection_id": c, "sync_run_id": run})]


def test_a_second_click_joins_the_open_run(conn: Connection, engine: Engine) -> None:
    shop = seed.shop(conn)
    c = seed.connection(conn, shop)
    app = FakeApplication(engine, Bell())
    first = actions.start_sync(app, shop, c, Actor("ada", "one"))
    assert actions.start_sync(app, shop, c, Actor("bob", "two")) == first
    assert scalar(conn, "select count(*) from audit_entries") == 2


def test_a_dead_bell_loses_nothing(conn: Connection, engine: Engine) -> None:
    shop = seed.shop(conn)
    run = actions.start_sync(
        FakeApplication(engine, Bell(is_dead=True)), shop, seed.connection(conn, shop), Actor("ada", "why not")
    )
    assert scalar(conn, "select state from sync_runs where id = %(r)s", r=run) == "queued"


def test_nobody_acts_without_a_reason() -> None:
    with pytest.raises(BadInput):
        Actor("ada", "  ")


def test_the_operator_has_a_name_from_the_environment_or_the_system() -> None:
    assert people.operator({"SWITCHYARD_OPERATOR": " ada "}).name == "ada"
    assert people.operator({}).name
