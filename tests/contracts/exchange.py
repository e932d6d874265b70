"""What a judge is shown, what it answers, and what a vendor's judge has to be.

**A new vendor** plugs in with one class that has the five members of `Judge` below (see `amazon.py` for a small one),
named in `recorder.judges`. Everything else is there: what is sent in the test's own process and what any sandbox
answers is recorded by `recorder.py`, each exchange is shown to the judge that claims it, a breach fails the test that
caused it, and what the judge lists as `operations` must have been answered by a sandbox when the whole suite has run.
A package under `core/adapters` without a judge of its name fails the first test in which it sends anything.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl

Kind = Literal["call", "delivery"]


@dataclass(frozen=True)
class Exchange:
    """A request with its answer, or a webhook on its way out.

    `path` is as it stood in the address, escapes and all; header names are lower case. `status` is None where nobody
    got an answer. `is_sandbox` says that the answer is the sandbox's: canned answers of tests are not held to account.
    """

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    status: int | None = None
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""
    kind: Kind = "call"
    secret: str = ""
    is_sandbox: bool = False

    def json(self) -> Any:
        """The request's JSON; raises ValueError."""
        return json.loads(self.body)

    def answer_json(self) -> Any:
        """The answer's JSON; raises ValueError."""
        return json.loads(self.answer)

    def params(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(errors="replace"), keep_blank_values=True))

    def said(self) -> str:
        """One line for people."""
        answered = "no answer" if self.status is None else str(self.status)
        text = " ".join(self.body.decode(errors="replace").split())
        return f"{self.method} {self.path} -> {answered}: {text[:160]}"


def from_record(record: dict[str, Any]) -> Exchange:
    """What the sandbox wrote down."""
    return Exchange(
        record["method"],
        record["path"],
        record["query"],
        record["headers"],
        base64.b64decode(record["body"]),
        record["status"],
        record["answer_headers"],
        base64.b64decode(record["answer"]),
        record["kind"],
        record.get("secret", ""),
        is_sandbox=True,
    )


@dataclass(frozen=True)
class Breach:
    """A rule that an exchange does not keep; rules about answers begin with `answer.` or `delivery.`."""

    rule: str
    why: str


class Judge(Protocol):
    """Holds the exchanges of one vendor against its documents."""

    vendor: str
    """Name of the package under core/adapters and of the sandbox's first path segment."""

    operations: frozenset[str]
    """Everything the adapter may ask for, by names of the judge's choosing."""

    def claims(self, exchange: Exchange) -> bool:
        """Whether it is one of this vendor's, by its address or, for a delivery, by its headers."""

    def judge(self, exchange: Exchange) -> Iterable[Breach]:
        """Every rule that it breaks: of the request, and, where it is the sandbox's, of the answer."""

    def exercised(self, exchange: Exchange) -> Iterable[str]:
        """Which of the operations this exchange asked for and got a good answer to."""
