"""An endpoint of Amazon SQS: the JSON protocol for standard queues, with SQS's own rules, limits and errors.

Source: docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference and the service model that botocore carries.
Queues that keep an order (FIFO) are not played: the Selling Partner API never writes into one.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clock import AnyClock
from sandbox.faults import Faults
from sandbox.store import Row, Store
from sandbox.vendors.amazon import sqs_signature
from sandbox.vendors.amazon.sqs_queues import DEFAULTS, PATH, REGION, Queues, arn_of, attributes_of

Given = Mapping[str, Any]

BATCH_MAX = 10
IN_FLIGHT_MAX = 120_000
VISIBILITY_MAX = 43_200
LOOK_EVERY_SECONDS = 0.05
# Attributes that may be set, with their bounds; Policy is a document.
BOUNDS = {
    "VisibilityTimeout": (0, VISIBILITY_MAX),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "DelaySeconds": (0, 900),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_MESSAGE_ATTRIBUTES = ("ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SenderId", "SentTimestamp")
# Characters that XML 1.0 cannot carry, which SQS refuses.
_UNSPEAKABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


class SqsError(Exception):
    """One of SQS's errors. `query_code` is its name in the older protocol, which clients go on showing."""

    def __init__(self, shape: str, message: str, *, query_code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.shape = shape
        self.message = message
        self.query_code = query_code or shape
        self.status = status


def no_queue() -> SqsError:
    return SqsError(
        "QueueDoesNotExist",
        "The specified queue does not exist.",
        query_code="AWS.SimpleQueueService.NonExistentQueue",
    )


def bad_value(message: str) -> SqsError:
    return SqsError("InvalidParameterValue", message)


def bad_receipt(receipt: Any) -> SqsError:
    return SqsError("ReceiptHandleIsInvalid", f'The input receipt handle "{receipt}" is not a valid receipt handle.')


class Sqs:
    def __init__(self, store: Store, clock: AnyClock, faults: Faults, queues: Queues) -> None:
        self._store = store
        self._clock = clock
        self._faults = faults
        self._queues = queues
        self._acts: dict[str, Callable[[Request, Row, Given], Any]] = {
            "CreateQueue": self._create,
            "DeleteQueue": self._drop,
            "GetQueueUrl": self._url,
            "ListQueues": self._list,
            "GetQueueAttributes": self._attributes,
            "SetQueueAttributes": self._set_attributes,
            "SendMessage": self._send,
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": self._delete_batch,
            "ChangeMessageVisibility": self._hide,
            "ChangeMessageVisibilityBatch": self._hide_batch,
            "PurgeQueue": self._purge,
        }

    def routes(self) -> list[Route]:
        # With and without a slash behind it: clients put the path of their endpoint to the address as it is.
        return [Route(f"{PATH}{{rest:path}}", self.call, methods=["POST"])]

    async def call(self, request: Request) -> Response:
        try:
            body = await request.body()
            key = self._signer(request, body)
            action = request.headers.get("x-amz-target", "").removeprefix("AmazonSQS.")
            given = _object(body)
            if action == "ReceiveMessage":
                return _answer(await self._receive(key, given))
            if action not in self._acts:
                raise SqsError("UnknownOperationException", f"The action {action} is not valid for this endpoint.")
            with self._store.transaction():
                return _answer(self._acts[action](request, key, given))
        except SqsError as error:
            return _refusal(error)

    def _signer(self, request: Request, body: bytes) -> Row:
        claim = sqs_signature.claim_of(request)
        if claim is None:
            raise SqsError("MissingAuthenticationToken", "Request is missing Authentication Token", status=403)
        key = self._store.one("select * from sqs_keys where access_key_id = ?", (claim.access_key_id,))
        if key is None:
            raise SqsError("InvalidClientTokenId", "The security token included in the request is invalid.", status=403)
        if claim.service != "sqs" or claim.region != REGION:
            raise SqsError(
                "SignatureDoesNotMatch", f"Credential should be scoped to a valid region: {REGION}.", status=403
            )
        if not sqs_signature.is_genuine(request, body, claim, key["secret"]):
            raise SqsError(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret"
                " Access Key and signing method. Consult the service documentation for details.",
                status=403,
            )
        return key

    def _queue(self, key: Row, given: Given) -> Row:
        """The queue that a call names; one of another account is refused, whether or not it exists."""
        url = given.get("QueueUrl")
        steps = str(url or "").rstrip("/").split("/")
        if not url or len(steps) < 2:
            raise SqsError("InvalidAddress", f"The address {url} is not valid for this endpoint.")
        account, name = steps[-2:]
        if account != key["account"]:
            raise SqsError(
                "AccessDenied",
                f"User: arn:aws:iam::{key['account']}:root is not authorized to perform: sqs on resource:"
                f" {arn_of(account, name)} because no resource-based policy allows the action",
                status=403,
            )
        queue = self._queues.find(arn_of(account, name))
        if queue is None:
            raise no_queue()
        return queue

    def _create(self, request: Request, key: Row, given: Given) -> Any:
        name, wanted = str(given.get("QueueName", "")), _attributes(given.get("Attributes"))
        if name.endswith(".fifo"):
            raise SqsError(
                "UnsupportedOperation",
                "Only standard queues can be created here.",
                query_code="AWS.SimpleQueueService.UnsupportedOperation",
            )
        if not _NAME.fullmatch(name):
            raise bad_value("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
        queue = self._queues.create(key["account"], name, wanted)
        if any(attributes_of(queue)[attribute] != value for attribute, value in wanted.items()):
            raise SqsError(
                "QueueNameExists",
                "A queue already exists with the same name and a different value for attribute(s)",
                query_code="QueueAlreadyExists",
            )
        return {"QueueUrl": _address(request, queue)}

    def _drop(self, request: Request, key: Row, given: Given) -> None:
        self._queues.drop(self._queue(key, given))

    def _url(self, request: Request, key: Row, given: Given) -> Any:
        queue = self._queues.find(arn_of(key["account"], str(given.get("QueueName", ""))))
        if queue is None:
            raise no_queue()
        return {"QueueUrl": _address(request, queue)}

    def _list(self, request: Request, key: Row, given: Given) -> Any:
        prefix = str(given.get("QueueNamePrefix", ""))
        rows = self._store.all("select * from sqs_queues where account = ? order by name", (key["account"],))
        return {"QueueUrls": [_address(request, row) for row in rows if row["name"].startswith(prefix)]}

    def _attributes(self, request: Request, key: Row, given: Given) -> Any:
        queue = self._queue(key, given)
        counts = self._queues.counts(queue)
        known = {
            **{name: value for name, value in attributes_of(queue).items() if value},
            "QueueArn": queue["arn"],
            "CreatedTimestamp": str(queue["created_at"]),
            "ApproximateNumberOfMessages": str(counts["visible"]),
            "ApproximateNumberOfMessagesNotVisible": str(counts["taken"]),
            "ApproximateNumberOfMessagesDelayed": str(counts["delayed"]),
        }
        names = given.get("AttributeNames") or []
        if wrong := [name for name in names if name not in (*known, *DEFAULTS, "All")]:
            raise SqsError("InvalidAttributeName", f"Unknown Attribute {wrong[0]}.")
        found = {name: value for name, value in known.items() if "All" in names or name in names}
        return {"Attributes": found} if found else {}

    def _set_attributes(self, request: Request, key: Row, given: Given) -> None:
        self._queues.set_attributes(self._queue(key, given), _attributes(given.get("Attributes")))

    def _send(self, request: Request, key: Row, given: Given) -> Any:
        queue, body = self._queue(key, given), given.get("MessageBody")
        if not isinstance(body, str) or not body:
            raise SqsError("MissingParameter", "The request must contain the parameter MessageBody.")
        if _UNSPEAKABLE.search(body):
            raise SqsError(
                "InvalidMessageContents", "Invalid characters found. Valid unicode characters are those of XML 1.0."
            )
        if given.get("MessageAttributes") or given.get("MessageGroupId"):
            raise bad_value("Message attributes and groups are not played here.")
        limit = int(attributes_of(queue)["MaximumMessageSize"])
        if len(body.encode()) > limit:
            raise bad_value(f"One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes.")
        delay = _whole(given, "DelaySeconds", 0, 900, int(attributes_of(queue)["DelaySeconds"]))
        message_id = self._queues.send(queue, body, delay, key["account"])
        return {"MessageId": message_id, "MD5OfMessageBody": _md5(body)}

    async def _receive(self, key: Row, given: Given) -> Any:
        """Waits for the first message as long as it was asked to; a clock that stands still is not waited for."""
        queue = self._queue(key, given)
        known = attributes_of(queue)
        limit = _whole(given, "MaxNumberOfMessages", 1, BATCH_MAX, 1)
        visibility = _whole(given, "VisibilityTimeout", 0, VISIBILITY_MAX, int(known["VisibilityTimeout"]))
        wait = _whole(given, "WaitTimeSeconds", 0, 20, int(known["ReceiveMessageWaitTimeSeconds"]))
        until = self._clock.now() + wait
        while True:
            with self._store.transaction():
                if self._queues.counts(queue)["taken"] >= IN_FLIGHT_MAX:
                    raise SqsError("OverLimit", "Too many messages in flight.")
                rows = self._queues.receive(queue, limit, visibility)
            if rows or self._clock.is_virtual or self._clock.now() >= until:
                return {"Messages": [_message(row, given) for row in rows]} if rows else {}
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            if (found := self._queues.find(queue["arn"])) is None:
                raise no_queue()
            queue = found

    def _delete(self, request: Request, key: Row, given: Given) -> None:
        self._queue(key, given)
        self._queues.delete(*_receipt(given.get("ReceiptHandle")))

    def _delete_batch(self, request: Request, key: Row, given: Given) -> Any:
        self._queue(key, given)

        def delete(entry: Given) -> None:
            if self._faults.strike("delete_failed", str(entry["Id"])):
                raise SqsError("InternalError", "We encountered an internal error. Please try again.", status=500)
            self._queues.delete(*_receipt(entry.get("ReceiptHandle")))

        return _each(given, delete)

    def _hide(self, request: Request, key: Row, given: Given) -> None:
        self._queue(key, given)
        self._hide_one(given)

    def _hide_batch(self, request: Request, key: Row, given: Given) -> Any:
        self._queue(key, given)
        return _each(given, self._hide_one)

    def _hide_one(self, given: Given) -> None:
        if "VisibilityTimeout" not in given:
            raise SqsError("MissingParameter", "The request must contain the parameter VisibilityTimeout.")
        seconds = _whole(given, "VisibilityTimeout", 0, VISIBILITY_MAX, 0)
        if not self._queues.hide(*_receipt(given.get("ReceiptHandle")), seconds):
            raise SqsError(
                "MessageNotInflight",
                "The specified message isn't in flight.",
                query_code="AWS.SimpleQueueService.MessageNotInflight",
            )

    def _purge(self, request: Request, key: Row, given: Given) -> None:
        queue = self._queue(key, given)
        if not self._queues.purge(queue):
            raise SqsError(
                "PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {queue['name']} is allowed every 60 seconds.",
                query_code="AWS.SimpleQueueService.PurgeQueueInProgress",
                status=403,
            )


def _each(given: Given, act: Callable[[Given], None]) -> dict[str, Any]:
    """A batch: what is wrong with one entry does not hold up the others."""
    entries = given.get("Entries") or []
    _check_batch(entries)
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for entry in entries:
        try:
            act(entry)
        except SqsError as error:
            failed.append(
                {
                    "Id": entry["Id"],
                    "SenderFault": error.status < 500,
                    "Code": error.query_code,
                    "Message": error.message,
                }
            )
        else:
            done.append({"Id": entry["Id"]})
    return {"Successful": done, "Failed": failed}


def _check_batch(entries: Sequence[Given]) -> None:
    prefix = "AWS.SimpleQueueService."
    ids = [str(entry.get("Id", "")) for entry in entries]
    if not entries:
        raise SqsError(
            "EmptyBatchRequest", "There should be at least one entry.", query_code=f"{prefix}EmptyBatchRequest"
        )
    if len(entries) > BATCH_MAX:
        raise SqsError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {BATCH_MAX}. You have sent {len(entries)}.",
            query_code=f"{prefix}TooManyEntriesInBatchRequest",
        )
    if not all(_ENTRY_ID.fullmatch(name) for name in ids):
        raise SqsError(
            "InvalidBatchEntryId",
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80"
            " letters long.",
            query_code=f"{prefix}InvalidBatchEntryId",
        )
    if len(set(ids)) < len(ids):
        raise SqsError(
            "BatchEntryIdsNotDistinct", "Id repeated in the batch.", query_code=f"{prefix}BatchEntryIdsNotDistinct"
        )


def _attributes(given: Any) -> dict[str, str]:
    """Raises SqsError for a name that is none and a value out of bounds."""
    found = {str(name): str(value) for name, value in (given or {}).items()}
    for name, value in found.items():
        if name == "Policy":
            if value and not isinstance(_parsed(value), dict):
                raise SqsError("InvalidAttributeValue", "Invalid value for the parameter Policy.")
            continue
        if name not in BOUNDS:
            raise SqsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        low, high = BOUNDS[name]
        if not value.isdigit() or not low <= int(value) <= high:
            raise SqsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    return found


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _object(body: bytes) -> dict[str, Any]:
    found = _parsed(body.decode(errors="replace")) if body else {}
    if not isinstance(found, dict):
        raise SqsError("SerializationException", "The request is no JSON object.")
    return found


def _whole(given: Given, name: str, low: int, high: int, default: int) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise bad_value(
            f"Value {value} for parameter {name} is invalid. Reason: Must be between {low} and {high}, if provided."
        )
    return value


def _receipt(handle: Any) -> tuple[str, str]:
    """(message id, receipt) of a handle. Raises SqsError for one that was never given out."""
    message_id, _, receipt = str(handle or "").partition("#")
    if not handle or len(message_id) != 36 or not receipt:
        raise bad_receipt(handle)
    return message_id, receipt


def _message(row: Row, given: Given) -> dict[str, Any]:
    wanted = {*(given.get("MessageSystemAttributeNames") or []), *(given.get("AttributeNames") or [])}
    said = {
        "ApproximateReceiveCount": str(row["receives"]),
        "ApproximateFirstReceiveTimestamp": str(int(row["first_received_at"] * 1000)),
        "SentTimestamp": str(int(row["sent_at"] * 1000)),
        "SenderId": row["sender"],
    }
    if wrong := wanted - {"All", *_MESSAGE_ATTRIBUTES}:
        raise SqsError("InvalidAttributeName", f"Unknown Attribute {min(wrong)}.")
    message = {
        "MessageId": row["id"],
        "ReceiptHandle": f"{row['id']}#{row['receipt']}",
        "MD5OfBody": _md5(row["body"]),
        "Body": row["body"],
    }
    kept = {name: value for name, value in said.items() if "All" in wanted or name in wanted}
    return {**message, "Attributes": kept} if kept else message


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _address(request: Request, queue: Row) -> str:
    return f"{str(request.base_url).rstrip('/')}{PATH}/{queue['account']}/{queue['name']}"


def _answer(body: Any) -> Response:
    headers = {"x-amzn-RequestId": str(uuid4())}
    return Response(b"" if body is None else orjson.dumps(body), 200, headers, "application/x-amz-json-1.0")


def _refusal(error: SqsError) -> Response:
    side = "Receiver" if error.status >= 500 else "Sender"
    headers = {"x-amzn-RequestId": str(uuid4()), "x-amzn-query-error": f"{error.query_code};{side}"}
    body = {"__type": f"com.amazonaws.sqs#{error.shape}", "message": error.message}
    return Response(orjson.dumps(body), error.status, headers, "application/x-amz-json-1.0")
