"""One route per vendor: find the connection, verify, record, answer. What a body means is the drain's business."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from api.accounts import Account, Accounts
from api.asking import NoAnswer
from api.ingest import ComeBackLater, Delivery, Refused, Writer
from core.connections.operations import UnreadableSecret
from core.logs import bound
from core.sealing import BadSecretKey, NoSecretKeys

log = logging.getLogger(__name__)

Verify = Callable[[Sequence[str], bytes, str], bool]

BODY_BYTES_MAX = 16 * 1024 * 1024
# All bodies that are being read or written at one moment.
BODIES_BYTES_MAX = 256 * 1024 * 1024
BODY_SECONDS = 15
RETRY_AFTER_SECONDS = 5

_CONNECTION = re.compile(r"[0-9]{1,18}")
_WORD = re.compile(r"[\x21-\x7e]+")
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:?\d\d)")


class Answer(Exception):
    """Ends a request with an error; the reason is plain and says nothing of our inside."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

    def response(self) -> Response:
        """What the caller gets."""
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if self.status == 503 else None
        return JSONResponse({"error": self.reason}, self.status, headers)


@dataclass(frozen=True, slots=True)
class Head:
    """What the headers of a Shopify delivery say."""

    delivery_id: str
    topic: str
    shop_domain: str
    signature: str
    event_ref: str | None
    triggered_at: datetime | None
    content_length: bytes


class ByteBudget:
    """How many bytes of bodies this process holds; beyond that, senders come back later instead of filling memory."""

    def __init__(self, limit: int = BODIES_BYTES_MAX) -> None:
        self._left = limit

    def take(self, count: int) -> None:
        """Raises Answer 503 when there is no room."""
        if count > self._left:
            raise Answer(503, "too much is being received at the moment")
        self._left -= count

    def give_back(self, count: int) -> None:
        """The bytes are no longer held."""
        self._left += count


class ShopifyWebhooks:
    """POST /webhooks/shopify/{connection}."""

    def __init__(
        self,
        accounts: Accounts,
        verify: Verify,
        writer: Writer,
        clock: Callable[[], datetime],
        budget: ByteBudget | None = None,
    ) -> None:
        self._accounts = accounts
        self._verify = verify
        self._writer = writer
        self._clock = clock
        self._budget = budget or ByteBudget()

    async def __call__(self, request: Request) -> Response:
        """Answer 200 once the delivery is committed, also when it was before."""
        try:
            return await self._receive(request)
        except Answer as answer:
            return answer.response()

    async def _receive(self, request: Request) -> Response:
        received_at = self._clock()
        connection_id = _connection_id(request)
        account = await self._account(connection_id, again=False)
        head = read_head(request)
        held = _Held(self._budget)
        try:
            body = await _read_body(request, head.content_length, held)
            account = await self._verified(account, head, body)
            if head.shop_domain.lower() != account.account_ref.lower():
                raise Answer(403, "this connection belongs to another shop domain")
            await self._record(account, head, body, received_at)
        finally:
            held.release()
        # Nobody reads a body here, and sending one costs a tenth of a delivery.
        return Response()

    async def _account(self, connection_id: int, *, again: bool) -> Account:
        read = self._accounts.get_again if again else self._accounts.get
        try:
            account = await read("shopify", connection_id)
        except (SQLAlchemyError, NoAnswer) as error:
            with bound(connection=connection_id):
                log.error("connection not read: %s", type(error).__name__)
            raise Answer(503, "not ready to receive") from None
        except (NoSecretKeys, BadSecretKey, UnreadableSecret) as error:
            with bound(connection=connection_id):
                log.error("%s", error)
            raise Answer(503, "not ready to receive") from None
        if account is None:
            raise Answer(404, "no such connection")
        return account

    async def _verified(self, account: Account, head: Head, body: bytes) -> Account:
        """The account whose secret signed the body; the secrets are read anew once, in case they were rotated."""
        if self._verify(account.secrets, body, head.signature):
            return account
        fresh = await self._account(account.connection_id, again=True)
        if fresh.secrets != account.secrets and self._verify(fresh.secrets, body, head.signature):
            return fresh
        raise Answer(401, "the signature does not fit the body and this connection's secret")

    async def _record(self, account: Account, head: Head, body: bytes, received_at: datetime) -> None:
        delivery = Delivery(
            shop_id=account.shop_id,
            connection_id=account.connection_id,
            delivery_id=head.delivery_id,
            topic=head.topic,
            event_ref=head.event_ref,
            body=body,
            triggered_at=head.triggered_at,
            received_at=received_at,
        )
        try:
            await self._writer.record(delivery)
        except ComeBackLater as error:
            raise Answer(503, str(error)) from None
        except Refused:
            raise Answer(422, "this delivery cannot be recorded") from None


class _Held:
    """The bytes one request has taken from the budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._count = 0

    def add(self, count: int) -> None:
        self._budget.take(count)
        self._count += count

    def release(self) -> None:
        self._budget.give_back(self._count)
        self._count = 0


def _connection_id(request: Request) -> int:
    text = request.path_params["connection"]
    if not _CONNECTION.fullmatch(text):
        raise Answer(404, "no such connection")
    return int(text)


def read_head(request: Request) -> Head:
    """The delivery's headers. Raises Answer 400 or 401 for what must be there and is not."""
    # Seven look-ups in a list of headers cost more than all else that is done here; of a repeated one the first counts.
    headers = dict(reversed(request.scope["headers"]))
    signature = headers.get(b"x-shopify-hmac-sha256", b"").decode("latin-1")
    if not signature:
        raise Answer(401, "header X-Shopify-Hmac-Sha256 is missing")
    event_ref = headers.get(b"x-shopify-event-id", b"").decode("latin-1")
    return Head(
        delivery_id=_word(headers, "X-Shopify-Webhook-Id", 200),
        topic=_word(headers, "X-Shopify-Topic", 100),
        shop_domain=_word(headers, "X-Shopify-Shop-Domain", 255),
        signature=signature,
        event_ref=event_ref if _WORD.fullmatch(event_ref) and len(event_ref) <= 200 else None,
        triggered_at=parse_instant(headers.get(b"x-shopify-triggered-at", b"").decode("latin-1")),
        content_length=headers.get(b"content-length", b""),
    )


def _word(headers: Mapping[bytes, bytes], header: str, length_max: int) -> str:
    text = headers.get(header.lower().encode(), b"").decode("latin-1")
    if not text:
        raise Answer(400, f"header {header} is missing")
    if len(text) > length_max or not _WORD.fullmatch(text):
        raise Answer(400, f"header {header} must be 1 to {length_max} plain characters without spaces")
    return text


def parse_instant(text: str) -> datetime | None:
    """An RFC 3339 instant with any number of decimals, as UTC; None for anything else."""
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        return None
    seconds, decimals, zone = match.groups()
    try:
        return datetime.fromisoformat(f"{seconds}.{(decimals or '0').ljust(6, '0')}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


async def _read_body(request: Request, declared: bytes, held: _Held) -> bytes:
    if declared.isdigit() and (len(declared) > 12 or int(declared) > BODY_BYTES_MAX):
        raise Answer(413, f"a body may have {BODY_BYTES_MAX} bytes")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > BODY_BYTES_MAX:
                    raise Answer(413, f"a body may have {BODY_BYTES_MAX} bytes")
                held.add(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        raise Answer(408, "the body did not arrive in time") from None
    except ClientDisconnect:
        raise Answer(400, "the body ended early") from None
    return b"".join(chunks)
