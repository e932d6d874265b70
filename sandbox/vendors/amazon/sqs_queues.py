"""Queues and their messages as Amazon SQS keeps them: standard ones, at least once and in no order.

Source: docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide (standard queues, visibility timeout, access
policy). Durations run on the sandbox clock.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any
from uuid import uuid4

import orjson

from sandbox.clock import AnyClock
from sandbox.store import Row, Store, marks

PATH = "/sqs"
REGION = "eu-west-1"
QUEUE_NAME = "amazon-notifications"
PARTNER_ACCOUNT = "437568002678"
"""The account in whose name the Selling Partner API writes into sellers' queues."""
PARTNER_ACTIONS = ("sqs:SendMessage", "sqs:GetQueueAttributes")
# How often a message that was just handed out stays visible: a standard queue delivers at least once.
DUPLICATE_CHANCE = 0.01

DEFAULTS = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "Policy": "",
}


class Queues:
    """All queues of all accounts."""

    def __init__(self, store: Store, clock: AnyClock, seed: int) -> None:
        self._store = store
        self._clock = clock
        self._random = random.Random(f"sqs-{seed}")

    def serve_sellers(self) -> None:
        """An account, a key and a queue that notifications may be put into, for every seller who has none yet."""
        with self._store.transaction():
            for seller in self._store.all("select seller_id from sellers where queue_arn is null order by seller_id"):
                key, account = f"AKIA{secrets.token_hex(8).upper()}", str(secrets.randbelow(9 * 10**11) + 10**11)
                self._store.insert("sqs_keys", access_key_id=key, secret=secrets.token_urlsafe(30), account=account)
                arn = arn_of(account, QUEUE_NAME)
                self.create(account, QUEUE_NAME, {"Policy": partner_policy(arn)})
                self._store.run(
                    "update sellers set access_key_id = ?, queue_arn = ? where seller_id = ?",
                    (key, arn, seller["seller_id"]),
                )

    def create(self, account: str, name: str, attributes: dict[str, str]) -> Row:
        """The queue; one of that name is left as it is."""
        arn = arn_of(account, name)
        if (found := self.find(arn)) is not None:
            return found
        self._store.insert(
            "sqs_queues",
            arn=arn,
            account=account,
            name=name,
            attributes=orjson.dumps({**DEFAULTS, **attributes}).decode(),
            created_at=int(self._store.wall()),
        )
        made = self.find(arn)
        assert made is not None
        return made

    def find(self, arn: str) -> Row | None:
        return self._store.one("select * from sqs_queues where arn = ?", (arn,))

    def set_attributes(self, queue: Row, attributes: dict[str, str]) -> None:
        whole = {**attributes_of(queue), **attributes}
        self._store.run(
            "update sqs_queues set attributes = ? where arn = ?", (orjson.dumps(whole).decode(), queue["arn"])
        )

    def drop(self, queue: Row) -> None:
        self._store.run("delete from sqs_queues where arn = ?", (queue["arn"],))
        self._store.run("delete from sqs_messages where arn = ?", (queue["arn"],))

    def counts(self, queue: Row) -> dict[str, int]:
        """Messages to be had, handed out or put off for now, as SQS tells them approximately."""
        row = self._store.one(
            "select count(*) filter (where visible_at <= :now) as visible,"
            " count(*) filter (where visible_at > :now and receives > 0) as taken,"
            " count(*) filter (where visible_at > :now and receives = 0) as delayed from sqs_messages where arn = :arn",
            {"now": self._clock.now(), "arn": queue["arn"]},  # type: ignore[arg-type]
        )
        assert row is not None
        return {name: int(row[name]) for name in row.keys()}  # noqa: SIM118

    def deliver(self, arn: str, body: str, visible_at: float) -> bool:
        """A message of the Selling Partner API's; lost where there is no such queue or its policy forbids it."""
        queue = self.find(arn)
        if queue is None or not allows(attributes_of(queue)["Policy"], arn, PARTNER_ACTIONS):
            return False
        self._put(arn, body, visible_at, PARTNER_ACCOUNT)
        return True

    def send(self, queue: Row, body: str, delay: float, sender: str) -> str:
        """The id of the message."""
        return self._put(queue["arn"], body, self._clock.now() + delay, sender)

    def _put(self, arn: str, body: str, visible_at: float, sender: str) -> str:
        message_id = str(uuid4())
        self._store.insert(
            "sqs_messages",
            id=message_id,
            arn=arn,
            body=body,
            sent_at=self._store.wall(),
            visible_at=visible_at,
            sender=sender,
        )
        return message_id

    def receive(self, queue: Row, limit: int, visibility: float) -> list[Row]:
        """Some messages that are to be had, in no order, each hidden for a while; now and then one stays in sight."""
        now, wall = self._clock.now(), self._store.wall()
        kept = wall - float(attributes_of(queue)["MessageRetentionPeriod"])
        self._store.run("delete from sqs_messages where arn = ? and sent_at < ?", (queue["arn"], kept))
        found = self._store.all(
            "select id from sqs_messages where arn = ? and visible_at <= ? order by visible_at limit ?",
            (queue["arn"], now, 10 * limit),
        )
        ids = [row["id"] for row in self._random.sample(found, min(limit, len(found)))]
        for message_id in ids:
            seen_again = self._random.random() < DUPLICATE_CHANCE
            self._store.run(
                "update sqs_messages set visible_at = ?, receives = receives + 1, receipt = ?,"
                " first_received_at = coalesce(first_received_at, ?) where id = ?",
                (now if seen_again else now + visibility, secrets.token_urlsafe(24), wall, message_id),
            )
        rows = {
            row["id"]: row for row in self._store.all(f"select * from sqs_messages where id in ({marks(ids)})", ids)
        }
        return [rows[message_id] for message_id in ids]

    def delete(self, message_id: str, receipt: str) -> None:
        """Only the newest receipt deletes; an older one is taken and does nothing, as for a standard queue."""
        self._store.run("delete from sqs_messages where id = ? and receipt = ?", (message_id, receipt))

    def hide(self, message_id: str, receipt: str, seconds: float) -> bool:
        """Whether the message is handed out to the holder of the receipt, and now hidden for that long."""
        now = self._clock.now()
        return bool(
            self._store.run(
                "update sqs_messages set visible_at = ? where id = ? and receipt = ? and visible_at > ?",
                (now + seconds, message_id, receipt, now),
            )
        )

    def purge(self, queue: Row) -> bool:
        """Whether it was emptied: once a minute at most."""
        now = self._clock.now()
        if queue["purged_at"] and now - queue["purged_at"] < 60:
            return False
        self._store.run("delete from sqs_messages where arn = ?", (queue["arn"],))
        self._store.run("update sqs_queues set purged_at = ? where arn = ?", (now, queue["arn"]))
        return True


def arn_of(account: str, name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{account}:{name}"


def describe_queue(store: Store, seller: Row) -> dict[str, str]:
    """What its owner knows of a seller's queue; `path` is to be put behind the sandbox's own address."""
    account, name = seller["queue_arn"].split(":")[-2:]
    secret = store.value("select secret from sqs_keys where access_key_id = ?", (seller["access_key_id"],))
    return {
        "arn": seller["queue_arn"],
        "path": f"{PATH}/{account}/{name}",
        "region": REGION,
        "aws_access_key_id": seller["access_key_id"],
        "aws_secret_access_key": secret,
    }


def attributes_of(queue: Row) -> dict[str, str]:
    found: dict[str, str] = orjson.loads(queue["attributes"])
    return found


def partner_policy(arn: str) -> str:
    """What a seller's queue must say for notifications to come."""
    statement = {
        "Sid": "SellingPartnerNotifications",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{PARTNER_ACCOUNT}:root"},
        "Action": list(PARTNER_ACTIONS),
        "Resource": arn,
    }
    return orjson.dumps({"Version": "2012-10-17", "Statement": [statement]}).decode()


def allows(policy: str, arn: str, actions: Sequence[str]) -> bool:
    """Whether a queue's policy lets the Selling Partner API's account do all of it. A condition is never met here."""
    try:
        said = orjson.loads(policy) if policy else {}
    except orjson.JSONDecodeError:
        return False
    statements = _many(said.get("Statement"))

    def hit(effect: str, action: str) -> bool:
        return any(
            one.get("Effect") == effect
            and _is_partner(one.get("Principal"))
            and any(fnmatchcase(action.lower(), str(name).lower()) for name in _many(one.get("Action")))
            and any(fnmatchcase(arn, str(name)) for name in _many(one.get("Resource")))
            and "Condition" not in one
            for one in statements
        )

    return all(hit("Allow", action) and not hit("Deny", action) for action in actions)


def _is_partner(principal: Any) -> bool:
    names = _many(principal.get("AWS")) if isinstance(principal, dict) else _many(principal)
    return any(name in ("*", PARTNER_ACCOUNT, f"arn:aws:iam::{PARTNER_ACCOUNT}:root") for name in names)


def _many(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]
