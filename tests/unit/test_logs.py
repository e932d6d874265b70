"""What must not reach a log, and what every line carries."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from core import logs


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql+psycopg://app:s3cret@db:5432/x", "postgresql+psycopg://app:***@db:5432/x"),
        ("redis://:s3cret@localhost:6379/0", "redis://:***@localhost:6379/0"),
        ('{"access_token": "shpat_12", "shop": "a"}', '{"access_token": "***", "shop": "a"}'),
        ("client_secret=abc&grant_type=x", "client_secret=***&grant_type=x"),
        ("refresh_token: Atzr|xyz", "refresh_token: ***"),
        ("PASSWORD=hunter2", "PASSWORD=***"),
        ("bought by jo.bloggs+x@shop.example.com today", "bought by ***@*** today"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_passwords_tokens_and_addresses_are_masked(text: str, masked: str) -> None:
    assert logs.mask(text) == masked


def test_a_bearer_token_of_a_header_is_masked() -> None:
    assert "s3cret" not in logs.mask("Authorization: Bearer s3cret")


def _written(record: logging.LogRecord) -> dict[str, Any]:
    return json.loads(logs._JsonFormatter().format(record))


def _record(text: str, *arguments: object, error: object = None) -> logging.LogRecord:
    return logging.LogRecord("a.place", logging.WARNING, __file__, 1, text, arguments, error)  # type: ignore[arg-type]


def test_a_line_carries_the_ids_bound_around_it_and_no_longer_than_that() -> None:
    with logs.bound(job="j1"), logs.bound(order=7):
        inside = _written(_record("moved %s", 3))
    assert (inside["text"], inside["level"], inside["job"], inside["order"]) == ("moved 3", "warning", "j1", 7)
    assert "job" not in _written(_record("later"))


def test_an_error_is_masked_too() -> None:
    try:
        raise RuntimeError("no way to redis://app:s3cret@host")
    except RuntimeError as error:
        entry = _written(_record("failed", error=(type(error), error, error.__traceback__)))
    assert "s3cret" not in entry["error"]
    assert "RuntimeError" in entry["error"]
