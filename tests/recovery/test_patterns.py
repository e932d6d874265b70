"""What differs between failures of one cause is taken out of their words; what tells two causes apart stays."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from core.db import scalar
from workers.recording import fingerprint

SAME = (
    ("order 17 of 19.90 is late", "order 4711 of 5 is late"),
    ("the buyer jo@example.com is unknown", "the buyer ann.lee+x@shop.co.uk is unknown"),
    ("the buyer's note 'abc' can't be read", "the buyer's note 'something else' can't be read"),
    ("it isn't there: 'MUG-RED'", "it isn't there: 'JUG 7'"),
    ("no listing of B07XYZ1234 is known", "no listing of B0CK2PQR11 is known"),
    ("purchase order 2JK3S9VC is closed", "purchase order 8AB1CD2E is closed"),
    ("request 9F8E7D6C5B4A3210 failed", "request 0a1b2c3d4e5f6789ab failed"),
    ("902-3159896-1390916 is unknown", "114-0000001-2 is unknown"),
    ("at 2026-11-26T15:45:12Z", "at 2025-01-02T03:04:05Z"),
    ("1.234,56 too much", "7.891,20 too much"),
)
DIFFERENT = (
    ("orders: refused with 403 Forbidden: no", "orders: refused with 422 Forbidden: no"),
    ("the address answered 503", "the address answered 404"),
    ("'quantity'", "'price'"),
    ("'NoneType' object has no attribute 'sku'", "'NoneType' object has no attribute 'price'"),
    ("no connection (timed out)", "no connection (refused)"),
)


def pattern(conn: Connection, words: str) -> str:
    return str(scalar(conn, "select error_pattern(%(words)s)", words=words))


@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_cause_is_one_group(conn: Connection, one: str, other: str) -> None:
    assert pattern(conn, one) == pattern(conn, other)
    assert fingerprint("f", ValueError(one)) == fingerprint("f", ValueError(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_two_causes_are_two(conn: Connection, one: str, other: str) -> None:
    assert pattern(conn, one) != pattern(conn, other)
    assert fingerprint("f", ValueError(one)) != fingerprint("f", ValueError(other))


def test_what_names_a_person_is_in_no_cause(conn: Connection) -> None:
    assert pattern(conn, "jo.smith@example.com wrote 'call Jo Smith'\nat 1 High Street") == "<mail> wrote <text>"
