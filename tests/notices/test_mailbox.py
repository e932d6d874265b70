"""Reading a queue: recorded first and taken out then; the same at the sandbox's endpoint and at moto's."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from core import bootstrap
from core.adapters.amazon.notifications import SqsMailbox
from core.adapters.amazon.queues import BadQueue, QueueClient, policy_problem, queue_of
from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import ApiCall
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import mailboxes, switches
from core.connections.operations import open_secrets, seal_secrets
from core.db import execute, fetch, fetch_one, read_only, scalar, unit_of_work
from core.ports import Notice
from core.runs.operations import record_calls
from tests.conftest import ROOT
from tests.factories import ACTOR
from tests.notices.conftest import PARTNER, Connect, Post, drain, inbox_of, order_change
from tests.sandbox.outside import wait_for
from workers.jobs import alerts as alert_jobs
from workers.jobs.notices import poll_notices, read_notices


def mailbox(post: Post, *, hidden_seconds: int = 120, calls: list[ApiCall] | None = None) -> SqsMailbox:
    log: list[ApiCall] = [] if calls is None else calls
    config = ConnectionConfig(1, 1, "amazon", "http://127.0.0.1:1", "SELLER", "GBP", post.settings, post.secrets)
    queue = queue_of(post.settings)
    assert queue is not None
    client = QueueClient(config, Deps(log.append, None, None, utc_now), queue)
    return SqsMailbox(client, hidden_seconds)


def receive_all(box: SqsMailbox, count: int) -> list[Notice]:
    """That many messages, however they come."""
    found: dict[str, Notice] = {}

    def look() -> bool:
        found.update((notice.delivery_id, notice) for notice in box.receive(10, 1))
        return len(found) >= count

    wait_for(look)
    return list(found.values())


def test_messages_are_recorded_and_then_taken_out(app: Application, connect: Connect, post: Post) -> None:
    row = connect(post)
    bodies = [order_change(f"100-{number}") for number in range(25)]
    post.put(*bodies)
    done: dict[str, Any] = {}
    wait_for(lambda: done.update(read_notices(shop_id=row.shop_id, connection_id=row.id)) or not post.held())
    found = inbox_of(app, row)
    assert {json.loads(bytes(message["body"]))["NotificationMetadata"]["NotificationId"] for message in found} == {
        body["NotificationMetadata"]["NotificationId"] for body in bodies
    }
    assert len(found) == 25
    assert {(message["topic"], message["road"]) for message in found} == {("notification/ORDER_CHANGE", "queue")}
    with read_only(app.engine) as conn:
        calls = fetch(conn, "select operation, outcome, status, api_version, error from api_calls")
        view = fetch_one(conn, "select * from connection_mailboxes")
        topics = fetch(conn, "select topic, messages_day from connection_notices")
    assert {(call["operation"], call["outcome"], call["status"]) for call in calls} >= {
        ("sqs.ReceiveMessage", "ok", 200),
        ("sqs.DeleteMessageBatch", "ok", 200),
    }
    assert view is not None
    assert (view["messages_day"], view["problem"]) == (25, None)
    assert view["read_at"] is not None
    assert [(topic["topic"], topic["messages_day"]) for topic in topics] == [("notification/ORDER_CHANGE", 25)]


def test_the_same_notification_twice_is_one_message(app: Application, connect: Connect, post: Post) -> None:
    row = connect(post)
    body = order_change()
    post.put(body, body, body)
    wait_for(lambda: read_notices(shop_id=row.shop_id, connection_id=row.id) and not post.held())
    assert len(inbox_of(app, row)) == 1
    with read_only(app.engine) as conn:
        assert scalar(conn, "select messages_day from connection_mailboxes") == 1


def test_what_is_no_notification_is_parked_and_holds_nothing_up(app: Application, connect: Connect, post: Post) -> None:
    row = connect(post)
    stray = ["not JSON {", json.dumps({"hello": "world"}), json.dumps([1, 2])]
    unfit = order_change(NotificationId="has\u0000nothing good in it")
    post.put(*stray, unfit, order_change("100-1"))
    wait_for(lambda: read_notices(shop_id=row.shop_id, connection_id=row.id) and not post.held())
    drain(app, row)
    found = {message["delivery_id"]: message for message in inbox_of(app, row)}
    assert len(found) == 5
    for text in stray:
        parked = found[f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"]
        assert (parked["state"], parked["cause"], bytes(parked["body"])) == ("parked", "unreadable", text.encode())
    assert sorted(message["state"] for message in found.values()) == ["handled", "handled"] + 3 * ["parked"]


def test_a_message_that_could_not_be_taken_out_is_named_and_the_others_are_gone(post: Post) -> None:
    post.put(*(order_change(f"100-{number}") for number in range(3)))
    box = mailbox(post)
    notices = receive_all(box, 3)
    wrong = dataclasses.replace(notices[0], receipt="no receipt of anybody's")
    left = box.acknowledge([wrong, *notices[1:]])
    assert [notice.delivery_id for notice in left] == [wrong.delivery_id]
    assert post.held() == 1


def test_what_was_not_taken_out_comes_again_after_a_while(post: Post) -> None:
    post.put(order_change())
    box = mailbox(post, hidden_seconds=1)
    (first,) = receive_all(box, 1)
    (again,) = receive_all(box, 1)
    assert again.delivery_id == first.delivery_id
    assert again.receipt != first.receipt
    assert box.acknowledge([again]) == []
    assert post.held() == 0


def test_a_reader_killed_between_recording_and_taking_out_loses_nothing_and_doubles_nothing(
    app: Application, connect: Connect, post: Post
) -> None:
    row = connect(post)
    post.put(order_change())
    command = [sys.executable, str(ROOT / "tests/notices/reader.py"), str(row.shop_id), str(row.id)]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "recorded 1\n"
        reader.kill()
    assert (len(inbox_of(app, row)), post.held()) == (1, 1)
    wait_for(lambda: read_notices(shop_id=row.shop_id, connection_id=row.id) and not post.held())
    assert len(inbox_of(app, row)) == 1


def test_a_queue_that_is_gone_is_the_connections_problem_until_it_is_back(
    app: Application, connect: Connect, post: Post
) -> None:
    row = connect(post)
    post.client.delete_queue(QueueUrl=post.url)
    assert (
        "does not exist in eu-west-1: create it there as a standard queue"
        in read_notices(shop_id=row.shop_id, connection_id=row.id)["failed"]
    )
    with read_only(app.engine) as conn:
        health = fetch_one(conn, "select last_error, state from connection_health")
        call = fetch_one(conn, "select outcome, status, error from api_calls")
    assert health is not None
    assert call is not None
    assert "does not exist" in health["last_error"]
    assert (call["outcome"], call["status"]) == ("refused", 400)
    post.client.create_queue(QueueName=post.url.rsplit("/", 1)[1])
    read_notices(shop_id=row.shop_id, connection_id=row.id)
    with read_only(app.engine) as conn:
        assert scalar(conn, "select last_error from connection_health") is None


def test_what_keeps_the_queue_from_being_read_needs_attention_whatever_else_answers(
    app: Application, connect: Connect, own_queue: Post
) -> None:
    row = connect(own_queue)
    with unit_of_work(app.engine) as conn:
        room = mailboxes.Mailroom((row,))
        mailboxes.note_unread(conn, room, "it is gone", utc_now())
        _call(conn, row, "getOrder")
        assert scalar(conn, "select state from connection_health") == "attention"
        mailboxes.note_read(conn, room, utc_now(), came=False)
        assert scalar(conn, "select state from connection_health") == "in_step"


def test_an_answer_of_the_queue_is_no_answer_of_the_channels(
    app: Application, connect: Connect, own_queue: Post
) -> None:
    row = connect(own_queue)
    with unit_of_work(app.engine) as conn:
        _call(conn, row, "sqs.ReceiveMessage")
        assert scalar(conn, "select last_answer_at from connection_health") is None


def _call(conn: Any, row: Any, operation: str) -> None:
    call = ApiCall(row.shop_id, row.id, operation, "POST", 200, "ok", 5, 1, None, None, None, None, utc_now())
    record_calls(conn, [call])


def test_a_key_that_is_not_accepted_says_what_to_do_and_shows_nothing(
    app: Application, connect: Connect, own_queue: Post
) -> None:
    wrong = {**own_queue.secrets, "aws_secret_access_key": "guessed-by-somebody"}
    row = connect(own_queue, secrets=wrong)
    assert (
        "enter a living aws_access_key_id and aws_secret_access_key"
        in read_notices(shop_id=row.shop_id, connection_id=row.id)["failed"]
    )
    with read_only(app.engine) as conn:
        told = [scalar(conn, "select problem from channel_mailboxes"), scalar(conn, "select error from api_calls")]
    for text in told:
        assert own_queue.secrets["aws_access_key_id"] not in text
        assert "guessed-by-somebody" not in text


def test_a_key_of_another_account_may_not_read(connect: Connect, outside: Any, own_queue: Post) -> None:
    stranger = outside.seller().entry["queue"]
    secrets = {name: stranger[name] for name in own_queue.secrets}
    row = connect(own_queue, secrets=secrets)
    assert "allow its user sqs:ReceiveMessage" in read_notices(shop_id=row.shop_id, connection_id=row.id)["failed"]


def test_credentials_of_the_machine_never_take_the_place_of_a_missing_key(
    app: Application, connect: Connect, own_queue: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own_queue.secrets.items():
        monkeypatch.setenv(name.upper(), value)
    row = connect(own_queue, secrets={})
    assert "enter an access key" in read_notices(shop_id=row.shop_id, connection_id=row.id)["failed"]


def test_a_profile_and_an_endpoint_of_the_machines_lead_nowhere(
    app: Application, connect: Connect, own_queue: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_PROFILE": "nobody",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    row = connect(own_queue)
    assert read_notices(shop_id=row.shop_id, connection_id=row.id)["received"] == 0


def test_a_service_that_is_away_is_asked_again_the_next_time(
    app: Application, connect: Connect, own_queue: Post
) -> None:
    row = connect(own_queue, sqs_endpoint="http://127.0.0.1:1")
    for _ in range(2):
        assert "sqs.ReceiveMessage: no connection" in read_notices(shop_id=row.shop_id, connection_id=row.id)["failed"]


def test_without_redis_what_comes_is_recorded_all_the_same(
    app: Application, connect: Connect, own_queue: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = connect(own_queue)
    own_queue.put(order_change())
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    bootstrap._application_of.cache_clear()
    wait_for(lambda: read_notices(shop_id=row.shop_id, connection_id=row.id) and not own_queue.held())
    assert len(inbox_of(app, row)) == 1


def test_a_connection_without_a_queue_has_nothing_to_read(app: Application, connect: Connect, own_queue: Post) -> None:
    row = connect(own_queue, queue_url=None)
    assert read_notices(shop_id=row.shop_id, connection_id=row.id) == {"no_queue": True}


def test_a_queue_that_was_taken_away_is_no_problem_any_more(
    app: Application, connect: Connect, own_queue: Post
) -> None:
    row = connect(own_queue, queue_url=f"{own_queue.url}-gone")
    assert "does not exist" in read_notices(shop_id=row.shop_id, connection_id=row.id)["failed"]
    with unit_of_work(app.engine) as conn:
        execute(conn, "update connections set settings = settings - 'queue_url'")
        assert scalar(conn, "select last_error from connection_health") is None
        assert not fetch(conn, "select from connection_mailboxes")


def test_one_reading_a_queue_is_asked_for_of_paused_connections_too(
    app: Application, connect: Connect, own_queue: Post
) -> None:
    first = connect(own_queue, marketplace_id="A1F83G8C2ARO7P")
    connect(own_queue, marketplace_id="A1PA6795UKMFR9")
    connect(own_queue, marketplace_id="A13V1IB3VIYZZH", queue_url=None)
    with unit_of_work(app.engine) as conn:
        switches.pause(conn, first.shop_id, first.id, ACTOR, utc_now())
    assert poll_notices() == {"queues": 1}
    own_queue.put(order_change())
    wait_for(lambda: read_notices(shop_id=first.shop_id, connection_id=first.id) and not own_queue.held())
    assert len(inbox_of(app, first)) == 1


def test_trap_8_the_queue_must_let_amazons_account_in_and_not_ones_own(post: Post) -> None:
    queue = queue_of(post.settings)
    assert queue is not None
    box = mailbox(post)

    def policy(account: str, *actions: str, effect: str = "Allow", **more: Any) -> dict[str, Any]:
        whom = {"AWS": f"arn:aws:iam::{account}:root"}
        return {"Effect": effect, "Principal": whom, "Action": list(actions), "Resource": queue.arn, **more}

    def problem(*statements: dict[str, Any]) -> str | None:
        post.set_policy(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))
        return policy_problem(queue, box._client.policy())

    both = ("sqs:SendMessage", "sqs:GetQueueAttributes")
    said = problem(policy(queue.account, *both))
    assert said is not None
    wanted = json.loads(said[said.index("{") : said.rindex("}") + 1])
    assert wanted == policy(PARTNER, *both)
    half = problem(policy(PARTNER, "sqs:SendMessage"))
    assert half is not None
    assert "sqs:GetQueueAttributes, so" in half
    assert problem(policy(PARTNER, *both)) is None
    assert problem(policy(PARTNER, "SQS:*")) is None
    assert problem(policy(PARTNER, *both), policy(PARTNER, "sqs:SendMessage", effect="Deny")) is not None
    assert problem({**wanted, "Principal": "*"}) is None
    assert problem({**wanted, "Resource": f"{queue.arn}-other"}) is not None


def test_trap_8_a_queue_that_keeps_an_order_is_refused() -> None:
    with pytest.raises(BadQueue, match="FIFO queue, and Amazon never puts notifications into one"):
        queue_of({"queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/notices.fifo"})


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/notices", "eu-west-1"),
        ("https://us-east-1.queue.amazonaws.com/123456789012/notices", "us-east-1"),
    ],
)
def test_the_address_of_a_queue_tells_its_region_and_its_arn(url: str, region: str) -> None:
    queue = queue_of({"queue_url": url})
    assert queue is not None
    assert queue.arn == f"arn:aws:sqs:{region}:123456789012:notices"


@pytest.mark.parametrize(
    "url", ["notices", "https://sqs.eu-west-1.amazonaws.com/12/notices", "http://x/123456789012/n"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadQueue, match="queue_url"):
        queue_of({"queue_url": url})


def test_one_queue_serves_every_marketplace_of_a_seller(
    app: Application, connect: Connect, own_queue: Post, side: Any
) -> None:
    british = connect(own_queue, marketplace_id="A1F83G8C2ARO7P")
    german = connect(own_queue, marketplace_id="A1PA6795UKMFR9")

    def change(marketplace: str | None, seller: str) -> dict[str, Any]:
        body = order_change(f"of-{marketplace}")
        said = body["Payload"]["OrderChangeNotification"]
        said |= {"SellerId": seller, "Summary": {"MarketplaceId": marketplace} if marketplace else {}}
        return body

    own_queue.put(change("A1PA6795UKMFR9", side.id), change(None, side.id))
    # Of a seller and of a marketplace that are not connected here.
    own_queue.put(change("A1F83G8C2ARO7P", "ASTRANGER"), change("ATVPDKIKX0DER", side.id))
    wait_for(lambda: read_notices(shop_id=german.shop_id, connection_id=german.id) and not own_queue.held())

    def orders(row: Any) -> set[str]:
        told = [message for message in inbox_of(app, row) if message["topic"] == "notification/ORDER_CHANGE"]
        bodies = [json.loads(bytes(message["body"])) for message in told]
        return {body["Payload"]["OrderChangeNotification"]["AmazonOrderId"] for body in bodies}

    assert orders(british) == {"of-None"}
    assert orders(german) == {"of-None", "of-A1PA6795UKMFR9"}
    drain(app, british)
    strange = [message for message in inbox_of(app, british) if message["topic"] == "elsewhere/ORDER_CHANGE"]
    assert [(message["state"], message["cause"]) for message in strange] == 2 * [("ignored", "unused_topic")]


def test_what_is_sold_in_further_marketplaces_of_the_region_is_told_to_whoever_stands_for_them(
    app: Application, connect: Connect, own_queue: Post, side: Any
) -> None:
    british, german = "A1F83G8C2ARO7P", "A1PA6795UKMFR9"
    row = connect(own_queue, marketplace_id=british, marketplaces={british: None, german: None})
    body = order_change("of-de")
    said = body["Payload"]["OrderChangeNotification"]
    said |= {"SellerId": side.id, "Summary": {"MarketplaceId": german}}
    own_queue.put(body)
    wait_for(lambda: read_notices(shop_id=row.shop_id, connection_id=row.id) and not own_queue.held())
    assert [message["topic"] for message in inbox_of(app, row)] == ["notification/ORDER_CHANGE"]


def renewal(kind: str, name: str, event_at: str, **said: Any) -> dict[str, Any]:
    return {
        "notificationVersion": "1.0",
        "notificationType": kind,
        "payloadVersion": "2023-11-30",
        "eventTime": event_at,
        "payload": {name: said},
        "notificationMetadata": {"notificationId": f"{kind}-{event_at}"},
    }


def new_secret(application: str, secret: str, event_at: str) -> dict[str, Any]:
    said = {"clientId": application, "newClientSecret": secret, "oldClientSecretExpiryTime": "2099-01-08T00:00:00Z"}
    return renewal("APPLICATION_OAUTH_CLIENT_NEW_SECRET", "applicationOAuthClientNewSecret", event_at, **said)


def test_a_new_client_secret_is_sealed_and_kept_nowhere_in_clear(
    app: Application, connect: Connect, own_queue: Post, side: Any, lines: Any
) -> None:
    row = connect(own_queue)
    fresh, stale = "amzn1.oa2-cs.v1.fresh0123456789", "amzn1.oa2-cs.v1.stale0123456789"
    own_queue.put(new_secret(side.entry["client_id"], fresh, "2099-01-01T00:00:00Z"))
    wait_for(lambda: read_notices(shop_id=row.shop_id, connection_id=row.id) and not own_queue.held())
    with unit_of_work(app.engine) as conn:
        secrets = open_secrets(conn, app.settings.secret_keys, row.shop_id, row.id)
        acts = [entry["act"] for entry in fetch(conn, "select act from audit_entries order by id")]
    assert (secrets["client_secret"], secrets["client_secret_previous"]) == (fresh, side.entry["client_secret"])
    assert "renew_client_secret" in acts
    # Told before the present one was entered, and only come now.
    own_queue.put(new_secret(side.entry["client_id"], stale, "2020-01-01T00:00:00Z"))
    wait_for(lambda: read_notices(shop_id=row.shop_id, connection_id=row.id) and not own_queue.held())
    drain(app, row)
    with unit_of_work(app.engine) as conn:
        secrets = open_secrets(conn, app.settings.secret_keys, row.shop_id, row.id)
    assert secrets["client_secret"] == fresh
    found = inbox_of(app, row)
    assert [message["state"] for message in found] == ["handled", "handled"]
    kept = b"".join(bytes(message["body"]) for message in found) + json.dumps(lines()).encode()
    assert b"fresh0123456789" not in kept
    assert b"stale0123456789" not in kept


def test_a_secret_that_ends_is_an_alert_until_it_is_replaced(
    app: Application, connect: Connect, own_queue: Post, side: Any
) -> None:
    row = connect(own_queue)
    said = {"clientId": side.entry["client_id"], "clientSecretExpiryTime": "2099-01-08T00:00:00Z"}
    kind = "APPLICATION_OAUTH_CLIENT_SECRET_EXPIRY"
    for day in (1, 2):
        own_queue.put(renewal(kind, "applicationOAuthClientSecretExpiry", f"2099-01-0{day}T00:00:00Z", **said))
    wait_for(lambda: read_notices(shop_id=row.shop_id, connection_id=row.id) and not own_queue.held())
    drain(app, row)
    with unit_of_work(app.engine) as conn:
        (alert,) = fetch(conn, "select * from alerts")
        assert (alert["kind"], alert["closed_at"]) == ("credential", None)
        assert "2099-01-08" in alert["worst_skus"][0]["why"]
    alert_jobs.sweep_alerts()
    with unit_of_work(app.engine) as conn:
        assert scalar(conn, "select closed_at from alerts") is None
        replaced = {"client_secret": "another"}
        seal_secrets(conn, app.settings.secret_keys, row.shop_id, row.id, replaced, utc_now())
    alert_jobs.sweep_alerts()
    with unit_of_work(app.engine) as conn:
        assert scalar(conn, "select closed_because from alerts") == "replaced"
    # What the vendor said before that comes late, or again: nothing would ever close another alert.
    own_queue.put(renewal(kind, "applicationOAuthClientSecretExpiry", "2020-01-01T00:00:00Z", **said))
    wait_for(lambda: read_notices(shop_id=row.shop_id, connection_id=row.id) and not own_queue.held())
    drain(app, row)
    with unit_of_work(app.engine) as conn:
        assert scalar(conn, "select count(*) from alerts") == 1
    assert {message["state"] for message in inbox_of(app, row)} == {"handled"}
