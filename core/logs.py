"""Structured logging: one JSON object a line, with ids bound by whoever is at work (fields: docs/operations.md)."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

_bound: ContextVar[dict[str, Any]] = ContextVar("switchyard_log_fields", default={})  # noqa: B039 (never mutated)

_SECRET = (
    r"(?:access|refresh|id|bearer|auth|metrics)?[_-]?token|(?:client|app|api|shared|webhook|signing)?[_-]?secret"
    r"|passwo?r?d|passwd|pwd|api[_-]?key|secret[_-]?keys?|(?:proxy-)?authorization|hmac(?:[_-]sha256)?|cookie"
)

# What must not reach a log: secrets by their place, secrets by their shape, and what names a person.
_MASKS = (
    (re.compile(r"(?i)\b((?:bearer|basic|digest)\s+)[^\s\"',\\]+"), r"\1***"),
    # Up to the last @: a password may hold one that nobody encoded.
    (re.compile(r"(://[^:/?#@\s\"']{0,200}:)[^\s\"'<>]{1,500}@"), r"\1***@"),
    # "access_token": "...", also where the quotes are escaped, and ('X-Shopify-Access-Token', b'...').
    (
        re.compile(rf"(?i)((?:{_SECRET})\\*[\"']\s*[:,=]\s*b?(?P<quote>\\*[\"']))(?:(?!(?P=quote)).|\\.)*", re.DOTALL),
        r"\1***",
    ),
    # password='...', password="...": quoted, and hence with spaces.
    (re.compile(rf"(?i)((?:{_SECRET})\s*[:=]\s*b?(?P<quote>[\"']))(?:(?!(?P=quote)).)*"), r"\1***"),
    (re.compile(rf"(?i)((?:{_SECRET})\s*[:=]\s*)(?![\"'*])[^\s\"',;&\\]+"), r"\1***"),
    # Shopify's and Amazon's own shapes, wherever they stand; ours (Fernet) and AWS's.
    (re.compile(r"\bshp(?:at|ca|pa|ss|ua|tka)_\w+"), "***"),
    (re.compile(r"\bAt(?:za|zr|c|za2)\|[\w\-+/=|.~%]+"), "***"),
    (re.compile(r"\bamzn1\.oa2-c[sl]\.[\w.\-]+"), "***"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "***"),
    (re.compile(r"\bgAAAAA[\w\-]{20,}={0,2}"), "***"),
    (re.compile(r"[\w.!#$%&*+/=?^`{|}~'-]{1,64}@[\w-]+(?:\.[\w-]+)+"), "***@***"),
    # Only in the international form: a plain row of digits is far more often an id.
    (re.compile(r"(?<![\w:+.])\+(?=(?:[ ().-]{0,2}\d){8})[1-9][\d ().-]{6,22}\d"), "***"),
)


def mask(text: str) -> str:
    """`text` without passwords, tokens, mail addresses and phone numbers in their international form."""
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add `fields` (ids: job, message, order, sync run) to every log line inside the block; None adds nothing."""
    given = {name: value for name, value in fields.items() if value is not None}
    token = _bound.set({**_bound.get(), **given})
    try:
        yield
    finally:
        _bound.reset(token)


def bound_field(name: str) -> Any:
    """The value that the innermost block around gives the field; None where none does."""
    return _bound.get().get(name)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; everything in it is masked."""

    def __init__(self, process: str | None = None) -> None:
        super().__init__()
        self._process = {} if process is None else {"process": process}

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **self._process,
            "pid": record.process,
            "logger": record.name,
            "text": mask(record.getMessage()),
            **{name: masked(value) for name, value in _bound.get().items()},
        }
        if counts := getattr(record, "counts", None):
            entry["counts"] = masked(counts)
        if record.exc_info:
            entry["error"] = mask(self.formatException(record.exc_info))
        if record.stack_info:
            entry["stack"] = mask(record.stack_info)
        return json.dumps(entry, default=lambda value: mask(str(value)))


_NAMES_A_SECRET = re.compile(rf"(?i)^(?:{_SECRET})$")
_NAMES_A_PERSON = re.compile(r"(?i)(?:^|_)(?:e?mail|phone|mobile|address\d?|(?:first|last|full|buyer|customer)_?name)$")


def masked(value: Any) -> Any:
    """`value` with every text in it masked, and what stands under the name of a secret or of a person's data hidden."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(str(key)): _masked_under(str(key), one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked(one) for one in value]
    return value


def _masked_under(name: str, value: Any) -> Any:
    is_hidden = isinstance(value, str) and (_NAMES_A_SECRET.search(name) or _NAMES_A_PERSON.search(name))
    return "***" if is_hidden else masked(value)


def configure(process: str | None = None, level: str = "INFO") -> None:
    """Send the log lines of this process, and what ends it, to standard error; `process` is its name in every line.

    Libraries that bring handlers of their own (RQ, Streamlit) speak through ours.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # One line a call is the business of the table api_calls and of the metrics, not of the process log.
    for chatty in ("httpx", "httpcore", "rq.worker", "alembic", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for name in list(root.manager.loggerDict):
        adopt(logging.getLogger(name))
    logging.captureWarnings(True)
    sys.excepthook = _log_unforeseen
    threading.excepthook = _log_unforeseen_in_thread


def adopt(logger: logging.Logger) -> None:
    """Take a library's own handlers off one of its loggers, so that its lines are ours."""
    logger.handlers.clear()
    logger.propagate = True


def _log_unforeseen(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("unforeseen").critical("the process ends", exc_info=(kind, error, trace))


def _log_unforeseen_in_thread(hook: threading.ExceptHookArgs) -> None:
    if hook.exc_value is not None:
        trace = (hook.exc_type, hook.exc_value, hook.exc_traceback)
        logging.getLogger("unforeseen").error("thread %s ends", hook.thread and hook.thread.name, exc_info=trace)
