"""The outside world inside the caller's process: a blocking httpx transport, for any number of threads."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
from starlette.types import ASGIApp, Message

from sandbox.app import create_app
from sandbox.clock import AnyClock

T = TypeVar("T")
URL = "http://sandbox.invalid"


class InProcess(httpx.BaseTransport):
    """One world on an event loop of its own; every call is answered there, one at a time, without a socket.

        clock = VirtualClock()
        with InProcess(folder, clock) as world, httpx.Client(transport=world, base_url=InProcess.url) as client:
            client.post("/_control/shops", json={"domain": "a.myshopify.com"})

    `background` also runs what the world does by itself: webhooks over the real network and shoppers.
    """

    url = URL

    def __init__(self, folder: Path, clock: AnyClock | None = None, seed: int = 7, background: bool = False) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox", daemon=True)
        self._thread.start()
        self._lifespan: asyncio.Future[None] | None = None
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._app = self._wait(self._open(folder, clock, seed, background))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.RemoteProtocolError when a fault loses the reply."""
        return self._wait(self._answer(request, request.read()))

    def close(self) -> None:
        """Ends the world; its folder can be taken up again."""
        if not self._thread.is_alive():
            return
        self._wait(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """A client closes its transport when it is left; the world stays open until it is left itself."""
        self.close()

    def client(self, path: str = "", **options: Any) -> httpx.Client:
        """A client of what lies below the path in this world, which it does not close."""
        return httpx.Client(transport=_Shared(self), base_url=f"{URL}{path}", **options)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self, folder: Path, clock: AnyClock | None, seed: int, background: bool) -> ASGIApp:
        app = create_app(folder, seed, clock=clock, background=background)
        ready = asyncio.Event()

        async def send(message: Message) -> None:
            ready.set()

        self._messages.put_nowait({"type": "lifespan.startup"})
        self._lifespan = asyncio.ensure_future(app({"type": "lifespan"}, self._messages.get, send))
        await ready.wait()
        return app

    async def _close(self) -> None:
        if self._lifespan is not None:
            self._messages.put_nowait({"type": "lifespan.shutdown"})
            await self._lifespan

    async def _answer(self, request: httpx.Request, body: bytes) -> httpx.Response:
        url = request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.split(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 0),
            "server": (url.host, url.port or 80),
        }
        reply = _Reply()
        given = False

        async def receive() -> Message:
            nonlocal given
            if given:
                # Nobody hangs up here before the answer is complete.
                await asyncio.Event().wait()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive, reply.send)
        if reply.is_lost:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
        return httpx.Response(reply.status, headers=reply.headers, content=b"".join(reply.chunks), request=request)


class _Shared(httpx.BaseTransport):
    """Passes calls on and leaves the world open when its client is closed."""

    def __init__(self, world: InProcess) -> None:
        self._world = world

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._world.handle_request(request)


class _Reply:
    """Collects an answer. It is its own connection, which a fault may abort."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.is_lost = False

    @property
    def transport(self) -> "_Reply":
        return self

    def abort(self) -> None:
        self.is_lost = True

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self.chunks.append(message.get("body", b""))
