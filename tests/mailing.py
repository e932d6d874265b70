"""A real mail server for tests: it keeps what it is sent, and answers what it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Post:
    """Its mailbox, as (recipients, message), and its port."""

    port: int = 0
    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    """By recipient, "data" or "from"; what is not there is taken."""

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "from" in self.answers:
            return self.answers["from"]
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if "data" in self.answers:
            return self.answers["data"]
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=default)
        self.mails.append((list(envelope.rcpt_tos), message))  # type: ignore[arg-type]
        return "250 2.0.0 Ok: queued as 4F2A"


class AnyPort(Controller):
    """A server on whichever port is free; it looks for itself at the one that it was given."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def serving(**more: Any) -> Iterator[Post]:
    """A server as aiosmtpd's Controller takes it: tls_context, ssl_context, authenticator, ..."""
    post = Post()
    controller = AnyPort(post, hostname="127.0.0.1", port=0, **more)
    controller.start()
    try:
        post.port = controller.port
        yield post
    finally:
        controller.stop(no_assert=True)
