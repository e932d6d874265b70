"""When an alert opens and closes, and what it says."""

from __future__ import annotations

import pytest

from core.alerts.rules import Risk, next_step, notice


@pytest.mark.parametrize(
    ("limit", "units", "is_open", "step"),
    [
        (20, 21, False, "open"),
        (20, 20, False, "nothing"),
        (20, 21, True, "keep"),
        (20, 20, True, "close"),
        (0, 1, False, "open"),
        (0, 0, True, "close"),
        (None, 500, False, "nothing"),
        (None, 500, True, "close"),
    ],
)
def test_it_is_open_exactly_while_more_than_the_limit_is_at_risk(
    limit: int | None, units: int, is_open: bool, step: str
) -> None:
    assert next_step(limit, units, is_open=is_open) == step


def test_a_notice_says_how_much_over_what_and_where_to_look() -> None:
    said = notice("Harbour Goods", 20, Risk(29, 5, [("22423", 11), ("85123A", 8)]), "http://127.0.0.1:8500")
    assert said == (
        "Harbour Goods: up to 29 units could be oversold, over 5 SKUs; the limit is 20."
        " Worst: 22423 (11), 85123A (8). http://127.0.0.1:8500/oversell"
    )
