"""Writes down what callers ask, what they are answered and what is delivered, for whoever wants to check it later.

Off unless SANDBOX_RECORD names a folder. There every exchange becomes one JSON file, whole or not there at all. What
looks like an exchange written down before, in everything but the particular texts and numbers, is left out, so that
a day of trade stays small. A file `epoch` in that folder says what is going on at present, a test for instance: its
text stands in every record, and when it changes everything counts as new again.
"""

import base64
import hashlib
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.mishaps import replay, whole_body

FOLDER_VARIABLE = "SANDBOX_RECORD"
VENDORS = ("/shopify/", "/amazon/", "/klaviyo/")
# What changes with the client or the connection and says nothing of the exchange.
_PASSING = {"host", "content-length", "connection", "accept-encoding", "accept", "date", "server", "transfer-encoding"}
_WORD = re.compile(r"[A-Za-z_]{1,40}")
_GID = re.compile(r"gid://[a-z]+/\w+/")
_FIGURES = re.compile(r"[0-9TZ:+.,-]+")
_SMALL = re.compile(r"-?\d{1,3}")
_STEP = re.compile(r"[A-Za-z_]+|\d{4}-\d\d(-\d\d)?")
_numbers = itertools.count(1)


def shape(value: Any, depth: int = 0) -> Any:
    """The value without its particulars, fine enough that two of one shape keep or break the same rules.

    Kept: names, single words (they may be an enum's), what kind of id, how digits are laid out, signs and sizes of
    integers (near the top the integer itself, which may be a page size), and of lists the length class and the set
    of their elements.
    """
    if isinstance(value, dict):
        return {name: shape(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        kinds = {orjson.dumps(shape(inner, depth + 1), option=orjson.OPT_SORT_KEYS) for inner in value}
        size = len(value) if depth <= 2 or len(value) > 100 else min(len(value), 1)
        return ["list", size, *(kind.decode() for kind in sorted(kinds))]
    if isinstance(value, str):
        return _text_shape(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if depth <= 2 else _size_class(value)
    return "float" if isinstance(value, float) else value


def _text_shape(text: str) -> str:
    if "{" in text:
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()
    if not text.strip():
        return text[:2]
    if _WORD.fullmatch(text):
        return text
    if found := _GID.match(text):
        return found.group()
    if _FIGURES.fullmatch(text):
        return re.sub(r"\d+", "9", text)
    return "text"


def _header_shape(name: str, text: str) -> Any:
    """Of credentials: their scheme, and how many words there are."""
    if name == "authorization":
        return [text.partition(" ")[0], len(text.split())]
    return _text_shape(text)


def _asked_shape(text: str) -> Any:
    """Of a query parameter: how many values its list has, and what kinds they are; a small number as it stands."""
    if _SMALL.fullmatch(text):
        return text
    if "," not in text:
        return _text_shape(text)
    parts = text.split(",")
    return [len(parts), *sorted({_text_shape(part) for part in parts})]


def _size_class(number: int) -> str:
    return ("-" if number < 0 else "+" if number else "0") + f"{max(0, number.bit_length() - 31)}"


def body_shape(body: bytes, content_type: str = "") -> Any:
    """The shape of a JSON or form body; of anything else only whether there is one."""
    if "x-www-form-urlencoded" in content_type:
        return shape(dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True)))
    try:
        return shape(orjson.loads(body))
    except orjson.JSONDecodeError:
        return "bytes" if body else ""


def call_digest(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> str:
    """Of everything about a request that a rule could be about."""
    steps = [step if _STEP.fullmatch(step) else _text_shape(step) for step in path.split("/")]
    named = {name: _header_shape(name, text) for name, text in headers.items() if name not in _PASSING}
    asked = sorted(([name, _asked_shape(text)] for name, text in parse_qsl(query, keep_blank_values=True)), key=repr)
    content = body_shape(body, headers.get("content-type", ""))
    return digest([method, steps, asked, named, content, len(body) // 100_000])


def digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


class Recorder:
    """Writes records into a folder, one file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._epoch = b""
        self._seen: set[str] = set()

    def write(self, mark: str, record: dict[str, Any]) -> None:
        """Unless one with the same mark was written in this epoch."""
        epoch = self._read_epoch()
        if epoch != self._epoch:
            self._epoch = epoch
            self._seen.clear()
        if mark in self._seen:
            return
        self._seen.add(mark)
        name = f"{os.getpid()}-{next(_numbers)}"
        written = self._folder / f"{name}.new"
        try:
            written.write_bytes(orjson.dumps({**record, "mark": mark, "epoch": epoch.decode(errors="replace")}))
            written.replace(self._folder / f"{name}.json")
        except FileNotFoundError:
            # Whoever wanted the records has gone and taken the folder along.
            self._seen.clear()

    def _read_epoch(self) -> bytes:
        try:
            return (self._folder / "epoch").read_bytes()
        except OSError:
            return b""


def asked_for() -> Recorder | None:
    """The recorder of this process, if its environment asks for one."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return Recorder(Path(folder)) if folder else None


def recorded(app: ASGIApp) -> ASGIApp:
    """The app, and its exchanges written down if the environment asks for it."""
    recorder = asked_for()
    return app if recorder is None else Recording(app, recorder)


class Recording:
    """An ASGI layer around everything: records calls of the vendors' APIs with the answers their callers got."""

    def __init__(self, app: ASGIApp, recorder: Recorder) -> None:
        self._app = app
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(VENDORS):
            await self._app(scope, receive, send)
            return
        # Whole before anybody looks at it: who refuses a caller at the door never reads what was asked.
        body = await whole_body(receive)
        answered = _Tap(send, lambda tap: self._note(scope, body, tap))
        await self._app(scope, replay(body, receive), answered)
        answered.done()

    def _note(self, scope: Scope, body: bytes, answered: "_Tap") -> None:
        headers, answer_headers = _headers(scope["headers"]), _headers(answered.headers)
        path = scope.get("raw_path", scope["path"].encode()).decode().partition("?")[0]
        query = scope["query_string"].decode(errors="replace")
        mark = [
            call_digest(scope["method"], path, query, headers, body),
            answered.status,
            sorted(answer_headers),
            body_shape(answered.body()),
        ]
        self._recorder.write(
            digest(mark),
            {
                "kind": "call",
                "method": scope["method"],
                "path": path,
                "query": query,
                "headers": headers,
                "body": _packed(body),
                "status": answered.status,
                "answer_headers": answer_headers,
                "answer": _packed(answered.body()),
            },
        )


class _Tap:
    """What is sent to the caller, listened to on its way.

    `note` is called once, before the caller has the whole answer: whoever has got it finds the record there.
    """

    def __init__(self, send: Send, note: Callable[["_Tap"], None]) -> None:
        self._send = send
        self._note: Callable[[_Tap], None] | None = note
        # A fault that hangs up looks for the server's connection behind `send`.
        self.__self__ = getattr(send, "__self__", None)
        self._chunks: list[bytes] = []
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        self._chunks.append(message.get("body", b""))
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.done()
        await self._send(message)

    def done(self) -> None:
        """There is no more to come."""
        note, self._note = self._note, None
        if note is not None:
            note(self)

    def body(self) -> bytes:
        return b"".join(self._chunks)


def note_delivery(
    recorder: Recorder | None, topic: str, uri: str, headers: dict[str, str], body: bytes, secret: str
) -> None:
    """Record a webhook on its way out, with the secret that its signature is made with."""
    if recorder is None:
        return
    named = {name.lower(): text for name, text in headers.items()}
    recorder.write(
        digest([topic, sorted(named), body_shape(body)]),
        {
            "kind": "delivery",
            "method": "POST",
            "path": uri,
            "query": "",
            "headers": named,
            "body": _packed(body),
            "status": None,
            "answer_headers": {},
            "answer": "",
            "secret": secret,
        },
    )


def _headers(raw: Any) -> dict[str, str]:
    return {name.decode().lower(): text.decode(errors="replace") for name, text in raw}


def _packed(body: bytes) -> str:
    return base64.b64encode(body).decode()
