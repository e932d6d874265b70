"""The queue at AWS that Amazon puts its notifications into: its address, who may write into it, and asking it.

Sources: docs.aws.amazon.com/AWSSimpleQueueService (API reference, access policy), and
developer-docs.amazon.com/sp-api/docs/notifications-api for whom to let in. Only here is boto3 known.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import ApiCall, Outcome, Refused, ServerFault, Throttled, Unauthorised, Unreachable
from core.errors import Permanent
from core.logs import mask

PARTNER_ACCOUNT = "437568002678"
"""The AWS account in whose name notifications are sent, whichever the region."""
PARTNER_ACTIONS = ("sqs:SendMessage", "sqs:GetQueueAttributes")
OUR_ACTIONS = "sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes"
SECRETS = ("aws_access_key_id", "aws_secret_access_key")

CONNECT_SECONDS, ANSWER_SECONDS = 5, 30
"""An answer may take as long as the longest wait for a message, and some."""

_AT_AWS = re.compile(r"https://(?:sqs\.([a-z0-9-]+)\.amazonaws\.com|([a-z0-9-]+)\.queue\.amazonaws\.com)/")
_PATH = re.compile(r"/(\d{12})/([A-Za-z0-9_-]{1,80}(?:\.fifo)?)/?$")
_GONE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NonExistentQueue")
_NOT_US = (
    "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "IncompleteSignature",
    "MissingAuthenticationToken", "UnrecognizedClientException", "ExpiredToken", "AuthFailure",
)  # fmt: skip
_THROTTLED = ("RequestThrottled", "Throttling", "ThrottlingException", "TooManyRequestsException", "OverLimit")
_PAUSE_SECONDS = 15.0


class BadQueue(Permanent):
    """The queue's address cannot be one that notifications come through."""


class QueueGone(Permanent):
    """There is no queue at the address."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(
            f"the queue {queue.name} of the account {queue.account} does not exist in {queue.region}:"
            " create it there as a standard queue, or correct the setting queue_url"
        )


class NoQueueKey(Permanent):
    """The connection has a queue and no key of its own for it."""

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"the connection has a queue and no {missing}: enter an access key of an AWS user who may {OUR_ACTIONS} on"
            " it. Credentials of this machine or its environment are never taken in their place"
        )


@dataclass(frozen=True, slots=True)
class Queue:
    """Where a queue is."""

    url: str
    region: str
    account: str
    name: str

    @property
    def arn(self) -> str:
        """Its name among all resources of AWS."""
        return f"arn:aws:sqs:{self.region}:{self.account}:{self.name}"


def queue_of(settings: Mapping[str, Any]) -> Queue | None:
    """The queue that a connection's settings name; None where they name none. Raises BadQueue.

    `queue_url` is the address that AWS shows, which tells the region; `queue_region` is needed where it does not.
    """
    url = str(settings.get("queue_url") or "")
    if not url:
        return None
    found = _PATH.search(url)
    if found is None:
        raise BadQueue(
            f"queue_url {url!r} is no address of a queue: it looks like"
            " https://sqs.REGION.amazonaws.com/ACCOUNT/NAME, with an account of 12 digits"
        )
    account, name = found.groups()
    if name.endswith(".fifo"):
        raise BadQueue(
            f"{name} is a FIFO queue, and Amazon never puts notifications into one:"
            " create a standard queue and enter its queue_url"
        )
    at_aws = _AT_AWS.match(url)
    region = str(settings.get("queue_region") or (at_aws and (at_aws[1] or at_aws[2])) or "")
    if not region:
        raise BadQueue(f"queue_url {url!r} does not say its region: enter queue_region, such as eu-west-1")
    return Queue(url, region, account, name)


def policy_problem(queue: Queue, policy: str | None) -> str | None:
    """Why no notification can come into the queue, with the statement to add; None where Amazon is let in.

    A statement with a condition counts as if the condition were met: only AWS can tell.
    """
    missing = [action for action in PARTNER_ACTIONS if not _lets_in(policy, queue.arn, action)]
    if not missing:
        return None
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{PARTNER_ACCOUNT}:root"},
        "Action": list(PARTNER_ACTIONS),
        "Resource": queue.arn,
    }
    return (
        f"the queue's policy does not let Amazon's account {PARTNER_ACCOUNT} {' and '.join(missing)}, so no"
        f" notification can come: add this statement to the policy of {queue.name}: {json.dumps(statement)}"
        " (the account is Amazon's, not your own; the first notifications may take an hour)"
    )


def _lets_in(policy: str | None, arn: str, action: str) -> bool:
    try:
        statements = _many(json.loads(policy or "{}").get("Statement"))
    except (ValueError, AttributeError):
        return False
    concerned = [one for one in statements if isinstance(one, dict) and _concerns(one, arn, action)]
    denied = any(one.get("Effect") == "Deny" and "Condition" not in one for one in concerned)
    return not denied and any(one.get("Effect") == "Allow" for one in concerned)


def _concerns(statement: Mapping[str, Any], arn: str, action: str) -> bool:
    principal = statement.get("Principal")
    whom = _many(principal.get("AWS")) if isinstance(principal, dict) else _many(principal)
    return (
        any(name in ("*", PARTNER_ACCOUNT, f"arn:aws:iam::{PARTNER_ACCOUNT}:root") for name in whom)
        and any(fnmatchcase(action.lower(), str(name).lower()) for name in _many(statement.get("Action")))
        and any(fnmatchcase(arn, str(name)) for name in _many(statement.get("Resource")))
    )


def _many(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


class QueueClient:
    """Asks one queue, one attempt a call: whoever reads comes again by himself. Every call is on record."""

    def __init__(self, config: ConnectionConfig, deps: Deps, queue: Queue) -> None:
        self.queue = queue
        self._config, self._deps = config, deps
        self._client: Any = None

    def ask(self, operation: str, **given: Any) -> dict[str, Any]:
        """The answer to an operation of SQS.

        Raises Unreachable, ServerFault or Throttled (again later), QueueGone, NoQueueKey, Unauthorised or Refused.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._connected()
        began, called_at = time.monotonic(), self._deps.now()
        status: int | None = None
        problem: Exception | None = None
        try:
            answer: dict[str, Any] = client._make_api_call(operation, {"QueueUrl": self.queue.url, **given})
            status = answer["ResponseMetadata"]["HTTPStatusCode"]
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            problem = self._judged(operation, status or 0, error.response.get("Error", {}))
            raise problem from None
        except BotoCoreError as error:
            problem = _lost(operation, error)
            raise problem from None
        finally:
            self._note(operation, status, problem, began, called_at)
        return answer

    def policy(self) -> str | None:
        """What the queue says about who may do what; None where it says nothing. Raises as `ask`."""
        answer = self.ask("GetQueueAttributes", AttributeNames=["Policy"])
        found = (answer.get("Attributes") or {}).get("Policy")
        return None if found is None else str(found)

    def _connected(self) -> Any:
        if self._client is None:
            self._client = _make_client(self._config, self.queue)
        return self._client

    def _judged(self, operation: str, status: int, error: Mapping[str, Any]) -> Exception:
        name, code, said = f"sqs.{operation}", str(error.get("Code") or ""), mask(str(error.get("Message") or ""))[:300]
        if code in _GONE:
            return QueueGone(self.queue)
        if code in _THROTTLED or status == 429:
            return Throttled(name, _PAUSE_SECONDS)
        if code in _NOT_US:
            return Unauthorised(
                name,
                f"AWS does not accept the access key ({code}): enter a living aws_access_key_id and"
                f" aws_secret_access_key of the account {self.queue.account}",
            )
        if code.startswith("AccessDenied") or status == 403:
            return Unauthorised(
                name, f"the access key may not do that on {self.queue.name}: allow its user {OUR_ACTIONS} ({said})"
            )
        if status >= 500:
            return ServerFault(name, f"status {status}: {code}")
        return Refused(name, status, code, said)

    def _note(
        self, operation: str, status: int | None, problem: Exception | None, began: float, called_at: Any
    ) -> None:
        self._deps.record(
            ApiCall(
                shop_id=self._config.shop_id,
                connection_id=self._config.connection_id,
                operation=f"sqs.{operation}",
                method="POST",
                status=status,
                outcome=_outcome(problem),
                elapsed_ms=round((time.monotonic() - began) * 1000),
                attempt=1,
                quota_left=None,
                api_version=None,
                deprecation=None,
                error=None if problem is None else mask(str(problem))[:300],
                called_at=called_at,
                purpose=self._deps.purpose,
            )
        )


def warm_up() -> None:
    """Load boto3 and what AWS says of SQS, half a second's work: for a process that forks, so that no child has to."""
    _client_with(dict.fromkeys(SECRETS, "none"), "eu-west-1", None)


@lru_cache(maxsize=1)
def _descriptions() -> Any:
    """What AWS says of its services, read once a process."""
    import botocore.loaders

    return botocore.loaders.create_loader()


def _make_client(config: ConnectionConfig, queue: Queue) -> Any:
    """A client with the connection's own key. Raises NoQueueKey."""
    for name in SECRETS:
        if not config.secrets.get(name):
            raise NoQueueKey(name)
    secrets = {name: config.secrets[name] for name in SECRETS}
    return _client_with(secrets, queue.region, config.settings.get("sqs_endpoint") or None)


def _client_with(secrets: Mapping[str, str], region: str, endpoint_url: str | None) -> Any:
    """A client with these secrets and nothing of what lies about on the machine; nobody is asked yet."""
    # Late: few processes need it, and it takes a third of a second.
    import boto3
    import botocore.session
    from botocore.config import Config

    nowhere = (None, None, os.devnull, None)
    bare = botocore.session.Session(
        session_vars={"profile": (None, [], None, None), "config_file": nowhere, "credentials_file": nowhere}
    )
    bare.register_component("data_loader", _descriptions())
    session = boto3.session.Session(**secrets, region_name=region, botocore_session=bare)
    return session.client(
        "sqs",
        endpoint_url=endpoint_url,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            retries={"total_max_attempts": 1},
            proxies={},
            ignore_configured_endpoint_urls=True,
        ),
    )


def _lost(operation: str, error: Exception) -> Exception:
    """No answer of SQS's. What is asked here may be asked again, so it does not matter whether it arrived."""
    from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError

    never_left = isinstance(error, (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError))
    made = Unreachable if never_left else ServerFault
    return made(f"sqs.{operation}", type(error).__name__)


def _outcome(problem: Exception | None) -> Outcome:
    if problem is None:
        return "ok"
    if isinstance(problem, Throttled):
        return "throttled"
    return "refused" if isinstance(problem, Permanent) else "error"
