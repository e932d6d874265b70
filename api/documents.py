"""Documents by signed links: a file comes in piece by piece and is never in memory, and goes out in whatever parts.

The link is the right: it names one document and one act, and its signature is checked before anything else is looked
at. No answer repeats it, and no log line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar
from urllib.parse import urlsplit

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from api.asking import in_thread
from core.db import read_only, unit_of_work
from core.documents import (
    BadLink,
    Claim,
    Incoming,
    LinkExpired,
    NoDocument,
    ServedStore,
    StoreFull,
    TooLarge,
    media_type,
)
from core.errors import SwitchyardError
from core.files import operations, queries
from core.files.operations import UploadOver
from core.files.queries import UPLOAD_MAX, Document
from core.logs import bound
from core.sealing import BadSecretKey, NoSecretKeys

log = logging.getLogger(__name__)

T = TypeVar("T")

UPLOADS_MAX = 32
"""So many at a time: each holds a piece in memory and writes to the same disk."""
SILENCE_SECONDS = 30
PIECE_BYTES = 1 << 20
RETRY_AFTER_SECONDS = 5
_PREFLIGHT_SECONDS = 600

# What a browser shows of a document must never act in our name, nor be guessed to be something else than we say.
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
}


class Answer(Exception):
    """Ends a request with an error, in a sentence that people read."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


_STATUSES: tuple[tuple[type[SwitchyardError], int], ...] = (
    (BadLink, 403),
    (LinkExpired, 410),
    (NoDocument, 410),
    (TooLarge, 413),
    (StoreFull, 507),
)


class Documents:
    """PUT, GET and OPTIONS /documents/{token}; pages of `dashboard_url` may upload from a browser, and no others."""

    def __init__(self, engine: Engine, store: ServedStore, dashboard_url: str, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._store = store
        self._origin = origin_of(dashboard_url)
        self._clock = clock
        self._uploads = 0

    async def answer(self, request: Request) -> Response:
        """Answer, in JSON where it is no document."""
        shared = self._shared(request)
        try:
            if request.method == "OPTIONS":
                response = self._preflight(request, shared)
            elif request.method == "PUT":
                response = await self._put(request)
            else:
                response = await self._get(request)
        except Answer as answer:
            response = _refused(answer.status, answer.reason)
        except (NoSecretKeys, BadSecretKey) as error:
            log.error("%s", error)
            response = _refused(503, "documents cannot be reached at the moment")
        except SwitchyardError as error:
            response = _refused(_status(error), str(error))
        except (SQLAlchemyError, OSError) as error:
            log.error("a document was neither taken nor given: %s", type(error).__name__, exc_info=error)
            response = _refused(503, "documents cannot be reached at the moment")
        response.headers.update({**_SAFE, **shared})
        return response

    def _shared(self, request: Request) -> Mapping[str, str]:
        """The headers by which a browser lets a page of the dashboard read the answer."""
        if request.headers.get("origin") != self._origin:
            return {"Vary": "Origin"}
        return {"Vary": "Origin", "Access-Control-Allow-Origin": self._origin}

    def _preflight(self, request: Request, shared: Mapping[str, str]) -> Response:
        """What a browser asks before it uploads from a page on another port. The link is not looked at."""
        if "Access-Control-Allow-Origin" not in shared:
            raise Answer(403, f"only pages at {self._origin} may upload from a browser")
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": "PUT",
                "Access-Control-Allow-Headers": "content-type",
                "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
            },
        )

    async def _get(self, request: Request) -> Response:
        claim = self._store.claim(request.path_params["token"], "GET", self._clock())
        path = await _in_thread(lambda: self._store.path(claim.key))
        return FileResponse(path, filename=claim.file_name, media_type=claim.content_type)

    async def _put(self, request: Request) -> Response:
        claim = self._store.claim(request.path_params["token"], "PUT", self._clock())
        if media_type(request.headers.get("content-type")) != claim.content_type:
            raise Answer(415, f"this link is for a file of the type {claim.content_type}: send that as Content-Type")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 15 or int(declared) > claim.bytes_max):
            raise TooLarge(claim.bytes_max)
        # Before a byte is read: who comes again need not send all of it to learn that.
        await _in_thread(lambda: self._awaited(claim))
        if self._uploads >= UPLOADS_MAX:
            raise Answer(503, "too many files are being uploaded at the moment: try again in a minute")
        self._uploads += 1
        try:
            with bound(document=claim.key):
                document = await self._receive(request, claim)
        finally:
            self._uploads -= 1
        return JSONResponse({"bytes": document.bytes, "sha256": document.sha256, "state": document.state}, 201)

    async def _receive(self, request: Request, claim: Claim) -> Document:
        incoming = await _in_thread(lambda: self._store.receive(claim.key, claim.bytes_max))
        try:
            await _take(request, incoming)
            document = await _in_thread(lambda: self._finish(incoming, claim))
        except asyncio.CancelledError:
            # This process is told to end: nothing is waited for any more, threads neither.
            incoming.drop()
            raise
        except BaseException:
            await _in_thread(incoming.drop)
            raise
        log.info("a document of %d bytes was stored", document.bytes or 0)
        return document

    def _awaited(self, claim: Claim) -> None:
        with read_only(self._engine) as conn:
            found = queries.by_key(conn, claim.key)
        if found is None or found.state != "awaiting":
            raise UploadOver(None if found is None else found.state)

    def _finish(self, incoming: Incoming, claim: Claim) -> Document:
        """Of several that upload by one link, the first to come here wins; the others wait for its row, and see."""
        stat = incoming.stat()
        with unit_of_work(self._engine) as conn:
            document = operations.stored(conn, claim.key, stat, self._clock())
            incoming.finish()
        return document


async def _take(request: Request, incoming: Incoming) -> None:
    """The body into the store, a piece at a time. Raises Answer when it does not come whole or in time."""
    ends_at = asyncio.get_running_loop().time() + UPLOAD_MAX.total_seconds()
    stream = request.stream()
    piece = bytearray()
    try:
        while True:
            async with asyncio.timeout(SILENCE_SECONDS), asyncio.timeout_at(ends_at):
                chunk = await anext(stream, None)
            if chunk is None:
                break
            piece += chunk
            if len(piece) >= PIECE_BYTES:
                await _write(incoming, bytes(piece))
                piece.clear()
    except TimeoutError:
        raise Answer(408, "the file did not arrive in time: upload it again") from None
    except ClientDisconnect:
        raise Answer(400, "the file did not arrive whole: upload it again") from None
    await _write(incoming, bytes(piece))


async def _write(incoming: Incoming, piece: bytes) -> None:
    await _in_thread(lambda: incoming.write(piece))


async def _in_thread(do: Callable[[], T]) -> T:
    """What waits for a disk or a database, off the loop that all others are served by."""
    return await asyncio.wrap_future(in_thread(do))


def origin_of(url: str) -> str:
    """The origin of an address, as browsers name it: http://127.0.0.1:8500."""
    parts = urlsplit(url)
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def _status(error: SwitchyardError) -> int:
    if isinstance(error, UploadOver):
        return 409 if error.state == "stored" else 410
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    raise error


def _refused(status: int, reason: str) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    return JSONResponse({"error": reason}, status, headers)
