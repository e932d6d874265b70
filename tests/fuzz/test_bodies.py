"""Whatever a channel's body says: it is handled, ignored, waits for something named, or is parked with a cause.

Nothing is stuck, no fault of ours is met, no cause quotes a person, and the books are right afterwards. What is tried
are real bodies with something wrong in them; how many, the environment may say (SWITCHYARD_FUZZ_BODIES).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine

from core import bootstrap, embedded, invariants
from core.adapters.amazon.envelopes import NOTIFICATION
from core.adapters.amazon.parsing import POLLED_ORDER
from core.connections.operations import NewConnection, connect, new_key, open_shop
from core.connections.queries import ConnectionRow, connection
from core.db import fetch, read_only, unit_of_work
from core.messaging import inbox
from core.messaging.inbox import Batch, Incoming
from core.orders.intake import Intake
from tests.adapters.canned_amazon_orders import item_body, order_body
from tests.conftest import TestServers
from tests.corpus.catalogue import CURRENCY, STOCK_KEEPER, named, seed
from tests.corpus.deliveries import deliveries
from tests.factories import NOW, make_world
from tests.fuzz.mutating import CANARY, mutated
from tests.notices.conftest import samples

pytestmark = pytest.mark.timeout(600)

AT_ONCE = 250
BODIES = int(os.environ.get("SWITCHYARD_FUZZ_BODIES", "3000"))
RESTING = ("handled", "ignored", "waiting", "parked")
# A cause that stands for a fault of ours: the handler met something that it did not foresee.
OURS = "unexpected"

Seed = tuple[str, bytes]
"""A topic, and a body under it."""


@dataclass(repr=False)
class Victim:
    """A shop that is told things; `seen` counts how they ended."""

    engine: Engine
    row: ConnectionRow
    parse: Callable[..., object]
    seeds: Sequence[Seed]
    seen: Counter[str] = field(default_factory=Counter)
    told: int = 0

    def tell(self, bodies: Sequence[Seed]) -> None:
        said = []
        for topic, body in bodies:
            self.told += 1
            said.append(Incoming(f"told:{self.told:09}", topic, body, NOW))
        with unit_of_work(self.engine) as conn:
            inbox.record(conn, self.row.shop_id, self.row.id, said, "webhook", NOW)
        handler = Intake(self.row, self.parse)  # type: ignore[arg-type]
        while inbox.drain_batch(self.engine, self.row.shop_id, self.row.id, 0, Batch(AT_ONCE), handler, NOW)[0]:
            pass
        self._judge(dict(zip((each.delivery_id for each in said), bodies, strict=True)))

    def _judge(self, told: dict[str, Seed]) -> None:
        with read_only(self.engine) as conn:
            rows = fetch(
                conn,
                """
                select delivery_id, topic, body, state, cause, detail, waiting_for from inbox_messages
                where shop_id = %(shop)s and delivery_id = any(%(ids)s)
                """,
                shop=self.row.shop_id,
                ids=list(told),
            )
        assert len(rows) == len(told)
        for row in rows:
            topic, body = told[row["delivery_id"]]
            assert bytes(row["body"]) == body
            assert row["state"] in RESTING, (topic, body)
            assert row["cause"] != OURS, (row["detail"], topic, body)
            assert row["state"] != "parked" or (row["cause"] and row["detail"]), (topic, body)
            assert CANARY not in f"{row['cause']} {row['detail']} {row['waiting_for']}", (topic, body)
            self.seen[f"{row['state']}:{row['cause']}" if row["cause"] else row["state"]] += 1


@pytest.fixture(scope="module")
def engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    made = embedded.create_database(servers.home, "fuzzed", template=template_database.name)
    engine = create_engine(made.url)
    yield engine
    engine.dispose()
    embedded.drop_database(servers.home, "fuzzed")


@pytest.fixture(scope="module")
def shopify(engine: Engine, shared_dir: Path) -> Victim:
    seeds = [(each.topic, each.body) for each in deliveries(shared_dir) if each.state in ("handled", "waiting")]
    new = NewConnection("shopify", "Store", "http://127.0.0.1:1", "s.example", "A", {"is_sku_source": True}, {})
    with unit_of_work(engine) as conn:
        shop_id = open_shop(conn, "Fuzzed", "Europe/Berlin", CURRENCY, STOCK_KEEPER, NOW)
        connection_id = connect(conn, shop_id, new, [new_key()], STOCK_KEEPER, NOW)
    with read_only(engine) as conn:
        row = connection(conn, shop_id, connection_id)
    row = seed(engine, row, named(shared_dir))
    return Victim(engine, row, bootstrap.parser("shopify", row.currency), seeds)


@pytest.fixture(scope="module")
def amazon(engine: Engine, shared_dir: Path) -> Victim:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 1_000, "CUP": 1_000}, guarantee_class="B")
    seeds = [(NOTIFICATION + json.loads(json.dumps(body)).get("NotificationType", "UNKNOWN"), json.dumps(body).encode())
             for body in samples(shared_dir).values()]  # fmt: skip
    for number in range(40):
        lines = [item_body(f"{number}-{line}", f"variant:{code}", line + 1) for line, code in enumerate(("MUG", "CUP"))]
        order = order_body(f"203-{number:07}-0000000", *lines, at="2024-03-04T11:00:00Z")
        seeds.append((POLLED_ORDER, json.dumps(order).encode()))
    return Victim(engine, world.connection, bootstrap.parser("amazon", "GBP"), seeds)


BEFOREHAND = settings(
    max_examples=max(1, BODIES // AT_ONCE // 2),
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@BEFOREHAND
@given(chance=st.integers(0, 2**63))
def test_whatever_shopify_tells_comes_to_rest(shopify: Victim, chance: int) -> None:
    _tell(shopify, chance)


@BEFOREHAND
@given(chance=st.integers(0, 2**63))
def test_whatever_amazon_tells_comes_to_rest(amazon: Victim, chance: int) -> None:
    _tell(amazon, chance)


def _tell(victim: Victim, chance: int) -> None:
    chosen = Random(chance)
    bodies = []
    for _ in range(AT_ONCE):
        topic, body = chosen.choice(victim.seeds)
        if chosen.random() < 0.05:
            topic = chosen.choice(victim.seeds)[0]
        bodies.append((topic, mutated(body, chosen)))
    victim.tell(bodies)


def test_every_end_was_met_and_the_books_are_right(shopify: Victim, amazon: Victim) -> None:
    """Runs last: what was told went through the readers, and not past them."""
    for victim in (shopify, amazon):
        ends = {end.partition(":")[0] for end in victim.seen}
        assert {"handled", "parked"} <= ends, victim.seen
        assert victim.seen["handled"] > victim.told / 20, victim.seen
        with read_only(victim.engine) as conn:
            found = invariants.check(conn, NOW, shop_id=victim.row.shop_id)
        assert {each.name: each.rows[:3] for each in found if each.rows} == {}
