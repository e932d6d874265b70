"""The sandbox's notifications: who may ask for them, what arrives in the queue, and the queue itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from jsonschema import Draft7Validator

from tests.sandbox.outside import AGENT, Outside, SellerSide, numbers, wait_for


class Seller:
    """A seller of the sandbox's with both kinds of token, and his queue."""

    def __init__(self, side: SellerSide) -> None:
        self.side, self.id = side, side.id
        self.queue = side.entry["queue"]
        self.url = f"{side.outside.url}{self.queue['path']}"
        self.named = side.outside.client("/amazon", headers={"user-agent": AGENT})
        self.own = side.outside.client("/amazon", headers={"user-agent": AGENT})
        self.named.headers["x-amz-access-token"] = side.grant().json()["access_token"]
        self.own.headers["x-amz-access-token"] = self.buy("sellingpartnerapi::notifications").json()["access_token"]

    def buy(self, scope: str) -> httpx.Response:
        fields = {name: self.side.entry[name] for name in ("client_id", "client_secret")}
        return self.own.post("/auth/o2/token", data={**fields, "grant_type": "client_credentials", "scope": scope})

    def sqs(self, **changed: str) -> Any:
        keys = {name: self.queue[name] for name in ("aws_access_key_id", "aws_secret_access_key")} | changed
        endpoint = f"{self.side.outside.url}/sqs"
        config = Config(retries={"total_max_attempts": 1})
        return boto3.client("sqs", region_name=self.queue["region"], endpoint_url=endpoint, config=config, **keys)

    def destination(self, arn: str | None = None) -> httpx.Response:
        body = {"name": "mine", "resourceSpecification": {"sqs": {"arn": arn or self.queue["arn"]}}}
        return self.own.post("/notifications/v1/destinations", json=body)

    def subscribe(self, kind: str, version: str = "1.0", **more: Any) -> httpx.Response:
        found = self.own.get("/notifications/v1/destinations").json()["payload"]
        ref = found[0]["destinationId"] if found else self.destination().json()["payload"]["destinationId"]
        body = {"payloadVersion": version, "destinationId": ref, **more}
        return self.named.post(f"/notifications/v1/subscriptions/{kind}", json=body)

    def tell(self, kind: str, payload: dict[str, Any]) -> None:
        self.side.outside.post(f"/amazon/{self.id}/notices", kind=kind, payload=payload)

    def heard(self, count: int) -> list[str]:
        """The bodies of that many messages, taken out as they come."""
        client, found = self.sqs(), []

        def look() -> bool:
            for message in client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", ()):
                found.append(message["Body"])
                client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            return len(found) >= count

        wait_for(look)
        return found


@pytest.fixture
def seller(hurried: Outside) -> Seller:
    return Seller(hurried.seller())


def code_of(ask: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as refused:
        ask()
    return str(refused.value.response["Error"]["Code"])


def test_tokens_of_the_application_and_of_the_seller_open_each_their_own(seller: Seller) -> None:
    assert "refresh_token" not in seller.buy("sellingpartnerapi::notifications").json()
    assert seller.named.get("/notifications/v1/destinations").status_code == 403
    assert seller.own.get("/notifications/v1/subscriptions/ORDER_CHANGE").status_code == 403
    other = seller.buy("sellingpartnerapi::client_credential:rotation").json()["access_token"]
    seller.own.headers["x-amz-access-token"] = other
    assert seller.own.get("/notifications/v1/destinations").status_code == 403


def test_a_scope_that_is_none_buys_nothing(seller: Seller) -> None:
    answer = seller.buy("sellingpartnerapi::everything")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


@pytest.mark.breaks_contract("grant")
def test_a_grant_is_for_the_seller_or_for_the_application_and_never_both(seller: Seller) -> None:
    answer = seller.side.grant(scope="sellingpartnerapi::notifications")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_destinations_and_subscriptions_keep_the_vendors_rules(seller: Seller) -> None:
    unknown = seller.named.get("/notifications/v1/subscriptions/ORDER_CHANGE")
    assert (unknown.status_code, unknown.json()["errors"][0]["code"]) == (404, "NotFound")
    made = seller.destination()
    assert made.status_code == 200
    ref = made.json()["payload"]["destinationId"]
    assert seller.own.get(f"/notifications/v1/destinations/{ref}").json() == made.json()
    assert seller.destination().status_code == 409
    assert seller.own.get("/notifications/v1/destinations/nobody").status_code == 404

    subscribed = seller.subscribe("ORDER_CHANGE")
    assert subscribed.status_code == 200
    assert seller.subscribe("ORDER_CHANGE").status_code == 409
    assert seller.subscribe("ORDER_CHANGE", "9.9").status_code == 400
    assert seller.subscribe("NO_SUCH_TYPE").status_code == 400
    filtered = {"processingDirective": {"eventFilter": {"eventFilterType": "ORDER_CHANGE"}}}
    assert seller.subscribe("FEED_PROCESSING_FINISHED", "2020-09-04", **filtered).status_code == 400
    body = {"payloadVersion": "1.0", "destinationId": "nobody"}
    assert seller.named.post("/notifications/v1/subscriptions/PRICING_HEALTH", json=body).status_code == 400

    one = f"/notifications/v1/subscriptions/ORDER_CHANGE/{subscribed.json()['payload']['subscriptionId']}"
    assert seller.own.get(one).json() == subscribed.json()
    listed = seller.named.get("/notifications/v1/subscriptions", params={"notificationTypes": "ORDER_CHANGE"})
    assert listed.json()["payload"]["subscriptions"] == [subscribed.json()["payload"]]
    assert seller.own.delete(one).status_code == 200
    assert seller.own.delete(one).status_code == 404
    assert seller.own.delete(f"/notifications/v1/destinations/{ref}").status_code == 200


def published(shared_dir: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(example, schema) of every notification that the vendor publishes, where the example keeps its own schema."""
    folder = shared_dir / "contracts/amazon"
    found = []
    for path in sorted((folder / "samples/notifications").glob("*.json")):
        name = path.name.removesuffix(".sample.json")
        schema = json.loads((folder / f"schemas/notifications/{name}.json").read_text())
        found.append((json.loads(path.read_text())["notification"], schema))
    return found


def test_every_notification_is_spelt_as_its_schema_says(seller: Seller, shared_dir: Path) -> None:
    """What was told of by the vendor's own examples is in the form of their schemas when it arrives."""
    wanted: dict[tuple[str, str], Any] = {}
    for example, schema in published(shared_dir):
        named = {key.lower(): value for key, value in example.items()}
        kind, version = named["notificationtype"], named["payloadversion"]
        assert seller.subscribe(kind, version).status_code == 200
        wanted[kind, version] = (named["payload"], example, schema)
    for kind in {kind for kind, _ in wanted}:
        seller.tell(kind, next(payload for (name, _), (payload, _, _) in wanted.items() if name == kind))
    heard = [json.loads(body) for body in seller.heard(len(wanted))]
    assert len(heard) == len(wanted)
    for body in heard:
        named = {key.lower(): value for key, value in body.items()}
        payload, example, schema = wanted[named["notificationtype"], named["payloadversion"]]
        assert ("NotificationType" in body) == ("NotificationType" in example)
        assert named["payload"].keys() == payload.keys()
        # What the vendor's own example breaks of the vendor's own schema is theirs.
        assert _breaches(schema, body) <= _breaches(schema, example)


def _breaches(schema: dict[str, Any], body: dict[str, Any]) -> set[str]:
    if schema.get("$ref") == "#/definitions/Notification" and not schema["definitions"]:
        # The schema of SHIPMENT_TRACKING_MILESTONE_CHANGED points at something that is not there.
        return set()
    return {error.json_path for error in Draft7Validator(schema).iter_errors(body)}


def test_deliveries_go_astray_as_they_are_told_to(seller: Seller) -> None:
    seller.subscribe("ORDER_CHANGE")
    outside = seller.side.outside
    change: dict[str, Any] = {"OrderChangeNotification": {"AmazonOrderId": "1"}}
    outside.faults(kind="lost_delivery", match="ORDER_CHANGE", count=1)
    seller.tell("ORDER_CHANGE", change)
    outside.faults(kind="duplicate_delivery", match="ORDER_CHANGE", count=1)
    outside.faults(kind="delayed_delivery", match="ORDER_CHANGE", count=1, seconds=20000)
    seller.tell("ORDER_CHANGE", change)
    twice = seller.heard(2)
    assert len(twice) == 2
    assert twice[0] == twice[1]


def test_an_order_is_told_as_it_is_placed_and_paid(seller: Seller) -> None:
    outside = seller.side.outside
    outside.post(f"/amazon/{seller.id}/listings", listings=[{"sku": "A", "quantity": 3}])
    seller.subscribe("ORDER_CHANGE")
    sold = outside.post(f"/amazon/{seller.id}/sales", sku="A", quantity=1, key="told")
    changes = [json.loads(body)["Payload"]["OrderChangeNotification"] for body in seller.heard(2)]
    assert {change["AmazonOrderId"] for change in changes} == {sold["order_id"]}
    assert {change["Summary"]["OrderStatus"] for change in changes} == {"Pending", "Unshipped"}


def test_what_nobody_let_in_or_nobody_asked_for_does_not_arrive(seller: Seller) -> None:
    seller.subscribe("ORDER_CHANGE", processingDirective={
        "eventFilter": {"eventFilterType": "ORDER_CHANGE", "orderChangeTypes": ["OrderStatusChange"]}
    })  # fmt: skip
    client = seller.sqs()
    good = client.get_queue_attributes(QueueUrl=seller.url, AttributeNames=["Policy"])["Attributes"]["Policy"]

    def tell(order: str, change: str) -> None:
        said = {"AmazonOrderId": order, "OrderChangeType": change}
        seller.tell("ORDER_CHANGE", {"OrderChangeNotification": said})

    client.set_queue_attributes(QueueUrl=seller.url, Attributes={"Policy": ""})
    tell("not let in", "OrderStatusChange")
    client.set_queue_attributes(QueueUrl=seller.url, Attributes={"Policy": good})
    tell("filtered out", "DeliveryTipChange")
    seller.tell("PRICING_HEALTH", {})
    tell("arrives", "OrderStatusChange")
    (body,) = seller.heard(1)
    assert json.loads(body)["Payload"]["OrderChangeNotification"]["AmazonOrderId"] == "arrives"


def test_a_queue_hides_what_it_gave_out_and_gives_it_again(outside: Outside) -> None:
    seller = Seller(outside.seller())
    client = seller.sqs()
    client.send_message(QueueUrl=seller.url, MessageBody="héllo \U0001f4e6")
    (first,) = _receive(client, seller.url, VisibilityTimeout=600)
    assert first["Body"] == "héllo \U0001f4e6"
    assert first["Attributes"]["ApproximateReceiveCount"] == "1"
    client.change_message_visibility(QueueUrl=seller.url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    (again,) = _receive(client, seller.url)
    assert again["MessageId"] == first["MessageId"]
    # The receipt of before is taken, and does nothing.
    client.delete_message(QueueUrl=seller.url, ReceiptHandle=first["ReceiptHandle"])
    assert _held(client, seller.url) == 1
    client.delete_message(QueueUrl=seller.url, ReceiptHandle=again["ReceiptHandle"])
    assert _held(client, seller.url) == 0


def _receive(client: Any, url: str, **more: Any) -> list[dict[str, Any]]:
    found: dict[str, Any] = client.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageSystemAttributeNames=["All"], **more
    )
    return list(found.get("Messages", ()))


def _held(client: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(value) for value in found.values())


def test_a_batch_fails_entry_by_entry(outside: Outside) -> None:
    seller = Seller(outside.seller())
    client = seller.sqs()
    for number in range(3):
        client.send_message(QueueUrl=seller.url, MessageBody=f"message {number}")
    given: dict[str, str] = {}

    def look() -> bool:
        given.update({one["MessageId"]: one["ReceiptHandle"] for one in _receive(client, seller.url)})
        return len(given) == 3

    wait_for(look)
    mark = f"fails-{next(numbers)}"
    outside.faults(kind="delete_failed", match=mark, count=1)
    receipts = list(given.values())
    entries = [
        {"Id": "good", "ReceiptHandle": receipts[0]},
        {"Id": mark, "ReceiptHandle": receipts[1]},
        {"Id": "bad", "ReceiptHandle": "never given"},
    ]
    answer = client.delete_message_batch(QueueUrl=seller.url, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [(entry["Id"], entry["SenderFault"]) for entry in answer["Failed"]] == [(mark, False), ("bad", True)]
    twice = [{"Id": "same", "ReceiptHandle": receipts[1]}] * 2
    prefix = "AWS.SimpleQueueService."
    refused = code_of(lambda: client.delete_message_batch(QueueUrl=seller.url, Entries=twice))
    assert refused == f"{prefix}BatchEntryIdsNotDistinct"
    many = [{"Id": str(number), "ReceiptHandle": receipts[1]} for number in range(11)]
    refused = code_of(lambda: client.delete_message_batch(QueueUrl=seller.url, Entries=many))
    assert refused == f"{prefix}TooManyEntriesInBatchRequest"


def test_the_queues_own_errors(outside: Outside) -> None:
    seller = Seller(outside.seller())
    client = seller.sqs()
    gone = "AWS.SimpleQueueService.NonExistentQueue"
    assert code_of(lambda: client.receive_message(QueueUrl=f"{seller.url}-gone")) == gone
    assert code_of(lambda: client.get_queue_url(QueueName="gone")) == gone
    assert client.get_queue_url(QueueName=seller.url.rsplit("/", 1)[1])["QueueUrl"] == seller.url
    wrong = seller.sqs(aws_secret_access_key="guessed")
    assert code_of(lambda: wrong.receive_message(QueueUrl=seller.url)) == "SignatureDoesNotMatch"
    nobody = seller.sqs(aws_access_key_id="AKIANOBODY")
    assert code_of(lambda: nobody.receive_message(QueueUrl=seller.url)) == "InvalidClientTokenId"
    stranger = Seller(outside.seller()).sqs()
    assert code_of(lambda: stranger.receive_message(QueueUrl=seller.url)) == "AccessDenied"
    assert (
        code_of(lambda: client.receive_message(QueueUrl=seller.url, MaxNumberOfMessages=11)) == "InvalidParameterValue"
    )
    assert code_of(lambda: client.receive_message(QueueUrl=seller.url, WaitTimeSeconds=21)) == "InvalidParameterValue"
    assert code_of(lambda: client.send_message(QueueUrl=seller.url, MessageBody="\x00")) == "InvalidMessageContents"
    refused = code_of(lambda: client.set_queue_attributes(QueueUrl=seller.url, Attributes={"VisibilityTimeout": "-1"}))
    assert refused == "InvalidAttributeValue"
    made = client.create_queue(QueueName="another", Attributes={"VisibilityTimeout": "5"})["QueueUrl"]
    assert client.create_queue(QueueName="another")["QueueUrl"] == made
    refused = code_of(lambda: client.create_queue(QueueName="another", Attributes={"VisibilityTimeout": "6"}))
    assert refused == "QueueAlreadyExists"
    client.send_message(QueueUrl=made, MessageBody="to be thrown away", DelaySeconds=900)
    client.purge_queue(QueueUrl=made)
    purged = code_of(lambda: client.purge_queue(QueueUrl=made))
    assert purged == "AWS.SimpleQueueService.PurgeQueueInProgress"
    client.delete_queue(QueueUrl=made)
    assert client.list_queues()["QueueUrls"] == [seller.url]


def test_messages_outlive_the_death_of_the_sandbox(own: Outside) -> None:
    seller = Seller(own.seller())
    client = seller.sqs()
    client.send_message(QueueUrl=seller.url, MessageBody="kept")
    own.kill()
    own.start()
    (found,) = _receive(client, seller.url)
    assert found["Body"] == "kept"
