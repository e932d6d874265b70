from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard import charts, theme

START = datetime(2026, 7, 1, 12, tzinfo=UTC)


def points(*levels: tuple[int, int]) -> list[dict[str, Any]]:
    return [
        {"at": START + timedelta(hours=n), "on_hand": hand, "available": free} for n, (hand, free) in enumerate(levels)
    ]


@pytest.mark.parametrize("tokens", [theme.LIGHT, theme.DARK])
def test_levels_are_steps_in_the_shops_time_with_zero_in_sight(tokens: theme.Tokens) -> None:
    figure = charts.levels(points((9, 7), (8, 6)), tokens, "Europe/London")
    assert [line.name for line in figure.data] == ["On hand", "Available"]
    assert {line.line.shape for line in figure.data} == {"hv"}
    assert figure.data[0].x[0] == datetime(2026, 7, 1, 13)  # noqa: DTZ001 (a wall clock, as Plotly wants it)
    assert figure.layout.yaxis.range[0] == 0


def test_what_is_below_zero_is_marked() -> None:
    figure = charts.levels(points((3, 1), (3, -2)), theme.LIGHT, "UTC")
    short = figure.data[-1]
    assert (short.name, tuple(short.y), short.line.color) == ("Short", (None, -2), theme.LIGHT.danger)
    assert figure.layout.yaxis.range[0] < -2


def test_nobody_draws_more_points_than_the_eye_and_the_wire_bear() -> None:
    with pytest.raises(ValueError, match="bucket them in SQL"):
        charts.levels(points(*[(1, 1)] * 501), theme.LIGHT, "UTC")


def test_an_empty_figure_and_its_sentence() -> None:
    assert len(charts.levels([], theme.LIGHT, "UTC").data) == 2
    assert charts.describe([]) == "No movement is known."
    assert charts.describe(points((9, 7), (4, -1))) == "On hand went from 9 to 4 units, available from 7 to -1."
