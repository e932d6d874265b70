"""Words for operators: queued in the unit of work that gives rise to them, said once by the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from core.messaging import outbox

Severity = Literal["danger", "attention", "info"]


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be said. `key` is its own for each thing that is said once; `html` is for mail, beside the text.

    `kind` is what it is about (an alert's kind, "daily_report", ...): who is told what goes by kind and severity.
    """

    key: str
    kind: str
    severity: Severity
    subject: str
    text: str
    html: str | None = None


def say(conn: Connection, shop_id: int, notice: Notice, now: datetime) -> bool:
    """Queue it for whoever is to be told; False when it was queued before."""
    return outbox.add(conn, shop_id, "notice", notice.key, {"text": notice.text}, now)
