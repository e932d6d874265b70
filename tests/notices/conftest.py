"""Queues of two makes, and connections of sellers whose notifications come through them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from core.bootstrap import Application
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import queries
from core.connections.operations import NewConnection
from core.connections.queries import ConnectionRow
from core.db import fetch, unit_of_work
from tests.factories import ACTOR, unique
from tests.golive.conftest import FACTOR, app, outside
from tests.sandbox.outside import Outside, SellerSide, numbers
from workers import world
from workers.jobs import notices
from workers.jobs.inbox import drain_lane

__all__ = ["app", "outside"]

PARTNER = "437568002678"


@dataclass
class Post:
    """A queue, seen by its owner: what a connection is told of it, and a client of its own."""

    make: str
    url: str
    settings: dict[str, Any]
    secrets: dict[str, str]
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = boto3.client(
            "sqs",
            region_name=self.settings["queue_region"],
            endpoint_url=self.settings["sqs_endpoint"],
            config=Config(retries={"total_max_attempts": 1}),
            **self.secrets,
        )

    def put(self, *bodies: Any) -> None:
        for body in bodies:
            text = body if isinstance(body, str) else json.dumps(body)
            self.client.send_message(QueueUrl=self.url, MessageBody=text)

    def held(self) -> int:
        """Messages that are in it, whoever may see them."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def set_policy(self, policy: str) -> None:
        self.client.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def side(outside: Outside) -> SellerSide:
    """A seller of the sandbox's with a queue."""
    return outside.seller({"sku": "MUG", "title": "Mug", "quantity": 10})


@pytest.fixture
def own_queue(outside: Outside, side: SellerSide) -> Post:
    """The queue of that seller, at the sandbox's own endpoint."""
    queue = side.entry["queue"]
    settings = {
        "queue_url": f"{outside.url}{queue['path']}",
        "queue_region": queue["region"],
        "sqs_endpoint": f"{outside.url}/sqs",
    }
    secrets = {name: queue[name] for name in ("aws_access_key_id", "aws_secret_access_key")}
    return Post("sandbox", settings["queue_url"], settings, secrets)


@pytest.fixture(params=["sandbox", "moto"])
def post(request: pytest.FixtureRequest) -> Post:
    """An empty queue: at the sandbox's endpoint, and at moto's, which judges it."""
    if request.param == "sandbox":
        found: Post = request.getfixturevalue("own_queue")
        return found
    endpoint = request.getfixturevalue("moto")
    secrets = {"aws_access_key_id": "AKIAMOTO", "aws_secret_access_key": "secret"}
    at = {"queue_region": "eu-west-1", "sqs_endpoint": endpoint}
    made = Post("moto", "", at, secrets)
    made.url = made.client.create_queue(QueueName=f"notices-{next(numbers)}")["QueueUrl"]
    made.settings["queue_url"] = made.url
    return made


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty queue says so at once; whoever expects something looks again."""
    monkeypatch.setattr(notices, "WAIT_SECONDS", 0)


Connect = Callable[..., ConnectionRow]


@pytest.fixture
def connect(app: Application, outside: Outside, side: SellerSide) -> Connect:
    """Connect the seller with a queue, as one whose catalogue was read; in the same shop each time."""
    shops: list[int] = []

    def make(post: Post, *, secrets: dict[str, str] | None = None, **settings: Any) -> ConnectionRow:
        plain = world.amazon_connection(outside.url, side.entry, FACTOR)
        told = {name: plain.secrets[name] for name in ("client_id", "client_secret", "refresh_token")}
        new = NewConnection(
            vendor="amazon",
            name=unique("Amazon"),
            base_url=plain.base_url,
            account_ref=side.id,
            guarantee_class="B",
            # Some connect several marketplaces of its region.
            settings={**plain.settings, "own_skus": True, **post.settings, **settings},
            secrets={**told, **(post.secrets if secrets is None else secrets)},
        )
        with unit_of_work(app.engine) as conn:
            if not shops:
                shops.append(connections.open_shop(conn, unique("Shop"), "Europe/London", "GBP", ACTOR, utc_now()))
            made = connections.connect(conn, shops[0], new, app.settings.secret_keys, ACTOR, utc_now())
            connections.note_catalogue_read(conn, shops[0], made, utc_now())
            return queries.connection(conn, shops[0], made)

    return make


def inbox_of(app: Application, row: ConnectionRow) -> list[Any]:
    """Every message of a connection's inbox, oldest first."""
    with unit_of_work(app.engine) as conn:
        sql = "select * from inbox_messages where connection_id = %(id)s order by id"
        return list(fetch(conn, sql, id=row.id))


def drain(app: Application, row: ConnectionRow) -> None:
    drain_lane(app, row, 20)


def order_change(order: str = "903-8868176-2219830", **metadata: Any) -> dict[str, Any]:
    """A notification of the spelling with capitals."""
    return {
        "NotificationVersion": "1.0",
        "NotificationType": "ORDER_CHANGE",
        "PayloadVersion": "1.0",
        "EventTime": "2026-01-11T00:09:53.109Z",
        "Payload": {"OrderChangeNotification": {"AmazonOrderId": order, "OrderChangeType": "OrderStatusChange"}},
        "NotificationMetadata": {"NotificationId": str(uuid4()), **metadata},
    }


def samples(shared_dir: Path) -> dict[str, dict[str, Any]]:
    """The vendor's example of every notification, by its file's name."""
    folder = shared_dir / "contracts/amazon/samples/notifications"
    return {
        path.name.removesuffix(".sample.json"): json.loads(path.read_text())["notification"]
        for path in sorted(folder.glob("*.json"))
    }
