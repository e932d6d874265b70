"""Structured logging: one JSON object a line, with ids bound by whoever is at work."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_bound: ContextVar[dict[str, Any]] = ContextVar("switchyard_log_fields", default={})  # noqa: B039 (never mutated)

# What must not reach a log: passwords in URLs, bearer-like values and mail addresses.
_MASKS = (
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[^\s\"',]+"), r"\1***"),
    (re.compile(r"(://[^:/@\s]*:)[^@\s]+@"), r"\1***@"),
    (
        re.compile(r"(?i)((?:access[_-]?token|client_secret|refresh_token|password|authorization)\W{1,4})[^\s\"',&]+"),
        r"\1***",
    ),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+"), "***@***"),
)


def mask(text: str) -> str:
    """`text` without passwords, tokens and mail addresses."""
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add `fields` (ids: job, message, order, sync run) to every log line inside the block."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": mask(record.getMessage()),
            **_bound.get(),
        }
        if record.exc_info:
            entry["error"] = mask(self.formatException(record.exc_info))
        return json.dumps(entry, default=str)


def configure(level: str = "INFO") -> None:
    """Send log lines of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # One line a call is the request log's business (table api_calls), not the process log's.
    for chatty in ("httpx", "httpcore", "rq.worker", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
