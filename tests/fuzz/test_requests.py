"""Requests made of the API's own description: each is accepted, or refused with a reason; none fails, none is lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from sqlalchemy import Engine, create_engine

from api.description import DESCRIPTION
from core import bootstrap, embedded
from core.audit import Actor
from core.config import Settings
from core.connections.operations import NewConnection, connect, new_key, open_shop
from core.connections.queries import ConnectionRow, connection
from core.db import fetch, read_only, unit_of_work
from core.messaging import inbox
from core.messaging.inbox import Batch
from core.orders.intake import Intake
from tests.api.conftest import DOMAIN, NOW, SECRET, Served, serving, sign
from tests.conftest import TestServers

pytestmark = pytest.mark.timeout(600)

REQUESTS = int(os.environ.get("SWITCHYARD_FUZZ_REQUESTS", "600"))
ACTOR = Actor("tests", "to try it")
TOPICS = ("orders/create", "refunds/create", "inventory_levels/update", "products/update", "orders/edited", "x/y")


@dataclass
class Shop:
    """A shop behind the public port; `answers` counts what it said, `accepted` has the bodies it took, by delivery."""

    settings: Settings
    engine: Engine
    row: ConnectionRow
    api: Served
    answers: Counter[int] = field(default_factory=Counter)
    accepted: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture(scope="module")
def shop(
    servers: TestServers, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    made = embedded.create_database(servers.home, "asked", template=template_database.name)
    engine, key = create_engine(made.url), new_key()
    given = {"DATABASE_URL": made.url, "REDIS_URL": servers.redis_url, "SWITCHYARD_SECRET_KEYS": key}
    chosen = Settings.from_environment({**given, "SWITCHYARD_HOME": str(tmp_path_factory.mktemp("home"))})
    new = NewConnection("shopify", "Store", "http://127.0.0.1:1", DOMAIN, "A", {}, {"client_secret": SECRET})
    with unit_of_work(engine) as conn:
        shop_id = open_shop(conn, "Asked", "Europe/Berlin", "EUR", ACTOR, NOW)
        connection_id = connect(conn, shop_id, new, [key], ACTOR, NOW)
    with read_only(engine) as conn:
        row = connection(conn, shop_id, connection_id)
    with serving(chosen) as api:
        yield Shop(chosen, engine, row, api)
    engine.dispose()
    embedded.drop_database(servers.home, "asked")


SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
PATH = "/webhooks/shopify/{connection}"
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
MADE_UP = st.one_of(*(SCHEMA[PATH]["POST"].as_strategy(generation_mode=mode) for mode in MODES))
"""Half of what is asked fits the description, and half does not."""


def often(count: int) -> Any:
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@often(REQUESTS // 2)
@given(case=MADE_UP)
def test_whatever_is_asked_of_the_webhooks_is_answered_as_described(shop: Shop, case: schemathesis.Case) -> None:
    """As it was made up: most of these have no right to be taken."""
    response = case.call(base_url=shop.api.url)
    shop.answers[response.status_code] += 1
    assert response.status_code < 500, response.text
    case.validate_response(response)


@often(REQUESTS // 2)
@given(case=MADE_UP)
def test_whatever_is_signed_is_taken_word_for_word_or_refused(shop: Shop, case: schemathesis.Case) -> None:
    """With the connection's own number, domain and signature: what is left is the body and the words beside it."""
    number = len(shop.accepted)
    case.path_parameters = {"connection": str(shop.row.id)}
    prepared = requests.Request(**case.as_transport_kwargs(base_url=shop.api.url)).prepare()
    body = prepared.body or b""
    body = body.encode() if isinstance(body, str) else bytes(body)
    prepared.headers["X-Shopify-Hmac-Sha256"] = sign(body)
    prepared.headers["X-Shopify-Shop-Domain"] = DOMAIN
    if number % 2:
        prepared.headers["X-Shopify-Webhook-Id"] = f"asked-{number}"
        prepared.headers["X-Shopify-Topic"] = TOPICS[number % len(TOPICS)]
    response = requests.Session().send(prepared, timeout=20)
    shop.answers[response.status_code] += 1
    assert response.status_code < 500, response.text
    if response.status_code == 200:
        said = prepared.headers["X-Shopify-Webhook-Id"]
        shop.accepted.setdefault(said.decode("latin-1") if isinstance(said, bytes) else said, body)
    else:
        assert response.json()["error"]


@pytest.mark.parametrize("path", sorted(set(DESCRIPTION["paths"]) - {PATH}))
def test_what_else_is_asked_is_answered_as_described(shop: Shop, path: str) -> None:
    @often(5)
    @given(case=SCHEMA[path]["GET"].as_strategy())
    def ask(case: schemathesis.Case) -> None:
        response = case.call(base_url=shop.api.url)
        assert response.status_code < 500, response.text
        case.validate_response(response)

    ask()


def test_what_was_taken_is_there_word_for_word_and_comes_to_rest(shop: Shop) -> None:
    """Runs last: everything that was answered with 200 is in the inbox, and nothing of it is stuck."""
    assert shop.answers[200] > REQUESTS / 20, shop.answers
    assert {401, 400} & set(shop.answers), shop.answers
    handler = Intake(shop.row, bootstrap.parser("shopify", "EUR"))
    while inbox.drain_batch(shop.engine, shop.row.shop_id, shop.row.id, 0, Batch(500), handler, NOW)[0]:
        pass
    with read_only(shop.engine) as conn:
        rows = fetch(conn, "select delivery_id, body, state, cause, detail from inbox_messages")
    kept = {row["delivery_id"]: bytes(row["body"]) for row in rows}
    assert {name: kept.get(name) for name in shop.accepted} == shop.accepted
    assert {row["state"] for row in rows} <= {"handled", "ignored", "waiting", "parked"}
    assert not [row for row in rows if row["state"] == "parked" and (row["cause"] == "unexpected" or not row["detail"])]


def test_the_description_is_of_what_is_there() -> None:
    from api.app import create_app

    source = Path(create_app.__code__.co_filename).read_text()
    for path in DESCRIPTION["paths"]:
        assert f'Route("{path}"' in source
    assert source.count("Route(") == len(DESCRIPTION["paths"])
