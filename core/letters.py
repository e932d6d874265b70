"""What leaves for operators: a letter to one address, what came back, and how an address is shown.

Between the messaging, which keeps letters as rows, and the adapters, which know chats and mail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Literal

from core.errors import Retryable

Severity = Literal["info", "attention", "danger"]
SEVERITIES: tuple[Severity, ...] = ("info", "attention", "danger")
"""Least first."""
Security = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a letter by mail: a plain name, a media type like text/csv, the bytes."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Letter:
    """One thing that is said to one address. `key` is the same each time it is tried; `at` is when it was said first.

    `taken` are the recipients, as `fingerprint` has them, that took it in an earlier attempt.
    """

    key: str
    shop: str
    severity: str
    subject: str
    text: str
    link: str
    at: datetime
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said when it took a letter; `problem` is what went wrong although it did."""

    text: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A mail server and whom to write to through it. `host` is a name or an IP address."""

    host: str
    port: int
    security: Security
    sender: str
    recipients: tuple[str, ...] = field(repr=False)
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SlackAddress:
    """An incoming webhook; the whole address is the secret."""

    url: str = field(repr=False)


Address = MailAddress | SlackAddress


class PartlyTaken(Retryable):
    """Some recipients took it, others may later; `taken` are the fingerprints of those who did."""

    def __init__(self, words: str, taken: frozenset[str]) -> None:
        super().__init__(words)
        self.taken = taken


def fingerprint(recipient: str) -> str:
    """What stands for a recipient where no address may stand."""
    return sha256(recipient.casefold().encode()).hexdigest()[:16]


def shown(recipient: str) -> str:
    """A mail address as people may see it: j… at shop.example."""
    local, _, domain = recipient.rpartition("@")
    return f"{local[:1]}… at {domain}"
