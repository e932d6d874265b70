"""Whom the shop's operators are: a Slack webhook and a mail server that keep what they are told and answer as a blow
wants.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.mailing import AnyPort

Medium = Literal["slack", "mail"]
Mood = Literal["puts_off", "refuses", "holds"]
"""It fails for now; it never takes it; it has it, and does not answer until it is let go."""

_SLACK: dict[str, tuple[int, str]] = {"takes": (200, "ok"), "puts_off": (500, "fatal"), "refuses": (404, "no_service")}
_MAIL = {"takes": "250 2.0.0 Ok: queued", "puts_off": "451 4.3.0 try later", "refuses": "550 5.7.1 not wanted"}
HOLD_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Told:
    """One telling that arrived whole: what was said and, of mail, the message's id."""

    medium: Medium
    words: str
    ref: str | None = None


class Listener:
    """Counts what it takes. A mood is for whatever contains a mark; anything else it takes."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.refused = 0
        self.slack_url = ""
        self.mail_port = 0
        self._moods: dict[str, Mood] = {}
        self._held: dict[str, int] = {}
        self._let_go = threading.Condition()

    @contextmanager
    def mood(self, mark: str, mood: Mood) -> Iterator[None]:
        """Answer so to whatever contains the mark, for the length of the block."""
        self._moods[mark] = mood
        try:
            yield
        finally:
            with self._let_go:
                del self._moods[mark]
                self._held.pop(mark, None)
                self._let_go.notify_all()

    def held(self, mark: str) -> int | None:
        """The port from which somebody waits for an answer that is held."""
        return self._held.get(mark)

    def heard(self, told: Told, port: int) -> str | None:
        """How to answer: a word of the tables above, or None: not at all any more."""
        mark = next((mark for mark in list(self._moods) if mark in told.words), None)
        mood = self._moods.get(mark or "", "takes")
        if mood in ("puts_off", "refuses"):
            self.refused += 1
            return mood
        self.told.append(told)
        if mood == "takes" or mark is None:
            return "takes"
        with self._let_go:
            self._held[mark] = port
            self._let_go.wait_for(lambda: mark not in self._moods, HOLD_SECONDS)
        return None

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """aiosmtpd's: a whole message has come."""
        assert isinstance(envelope.content, bytes)
        message: Any = message_from_bytes(envelope.content, policy=default)
        body = message.get_body(("plain",))
        words = f"{message['Subject']}\n{body.get_content() if body is not None else ''}"
        told = Told("mail", words, message["Message-ID"])
        answer = await asyncio.to_thread(self.heard, told, session.peer[1])  # type: ignore[index]
        return "421 4.4.2 gone" if answer is None else _MAIL[answer]


@contextmanager
def listening() -> Iterator[Listener]:
    """Both servers, on ports of their own."""
    listener = Listener()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = listener.heard(Told("slack", given["text"]), self.client_address[1])
            if answer is None:
                self.close_connection = True
                return
            status, word = _SLACK[answer]
            self.send_response(status)
            self.send_header("Content-Length", str(len(word)))
            self.end_headers()
            self.wfile.write(word.encode())

        def log_message(self, *_: Any) -> None:
            """What it hears is counted, not printed."""

    web = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    web.daemon_threads = True
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    post = AnyPort(listener, hostname="127.0.0.1", port=0)
    post.start()
    try:
        listener.slack_url = f"http://127.0.0.1:{web.server_port}/services/T0/B0/chaos"
        listener.mail_port = post.port
        yield listener
    finally:
        post.stop(no_assert=True)
        web.shutdown()
        web.server_close()
        thread.join()
