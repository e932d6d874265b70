from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard import call_charts, calls, charts, theme

BEGINS = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = calls.WINDOWS["1 h"]
SPAN = (BEGINS, BEGINS + timedelta(hours=1))
NAMES = {1: "Shopify UK", 2: "Amazon UK"}


def volume(*rows: tuple[int, str, int, int], reach: dict[tuple[int, str], datetime] | None = None) -> calls.Volume:
    """Rows of (connection, outcome, minute, calls)."""
    found = [
        {"connection_id": c, "outcome": outcome, "bucket_at": BEGINS + timedelta(minutes=m), "calls": n}
        for c, outcome, m, n in rows
    ]
    return calls.Volume(*SPAN, found, reach or {}, 50_000)


def latency(*rows: tuple[int, int, int, int]) -> calls.Latency:
    """Rows of (connection, minute, median, 95 %)."""
    steps: list[dict[str, Any]] = [
        {
            "connection_id": c,
            "bucket_at": BEGINS + timedelta(minutes=m),
            "calls": 9,
            "median_ms": median,
            "slow_ms": slow,
        }
        for c, m, median, slow in rows
    ]
    return calls.Latency({row["connection_id"]: row for row in steps}, steps)


@pytest.mark.parametrize("tokens", [theme.LIGHT, theme.DARK])
def test_bars_are_stacked_by_outcome_in_the_shops_time_over_the_whole_window(tokens: theme.Tokens) -> None:
    counted = volume((1, "ok", 5, 30), (2, "ok", 5, 12), (1, "throttled", 5, 2), (2, "refused", 6, 1))
    figure = call_charts.volume(counted, HOUR, tokens, "Europe/London")
    assert [bar.name for bar in figure.data] == ["Succeeded", "Throttled", "Refused"]
    assert figure.data[0].y == (42,)
    assert figure.data[0].x[0] == datetime(2026, 7, 1, 13, 5)  # noqa: DTZ001 (a wall clock, as Plotly wants it)
    assert figure.layout.xaxis.range == (datetime(2026, 7, 1, 13), datetime(2026, 7, 1, 14))  # noqa: DTZ001
    assert figure.layout.barmode == "stack"
    # Two of one tone differ by their hatching, and each says its word.
    looks = {(bar.marker.color, bar.marker.pattern.shape) for bar in figure.data}
    assert len(looks) == 3
    assert call_charts.describe_volume(counted) == "Calls over time by outcome: 42 succeeded, 2 throttled, 1 refused."


def test_failures_stand_apart_so_that_one_is_seen_beside_thousands() -> None:
    counted = volume((1, "ok", 5, 9_000), (1, "unknown", 7, 1))
    figure = call_charts.failures(counted, HOUR, theme.LIGHT, "UTC")
    assert [(bar.name, bar.y) for bar in figure.data] == [("Unknown", (1,))]
    assert figure.layout.yaxis.dtick == 1
    assert call_charts.describe_failures(counted) == "1 call did not succeed: 1 unknown."
    assert call_charts.describe_failures(volume((1, "ok", 1, 1))) == "Every call succeeded."
    assert call_charts.describe_volume(volume()) == "No call was made."


def test_what_was_not_counted_is_shaded_and_named() -> None:
    reach = {(1, "ok"): BEGINS + timedelta(minutes=20)}
    figure = call_charts.volume(volume((1, "ok", 30, 9), reach=reach), HOUR, theme.LIGHT, "UTC")
    (shade,) = figure.layout.shapes
    assert (shade.x0, shade.x1) == (datetime(2026, 7, 1, 12), datetime(2026, 7, 1, 12, 20))  # noqa: DTZ001
    assert [note.text for note in figure.layout.annotations] == ["not counted"]
    assert not call_charts.volume(volume((1, "ok", 30, 9)), HOUR, theme.LIGHT, "UTC").layout.shapes


def test_latency_has_two_lines_a_channel_in_its_colour_and_gaps_where_nothing_succeeded() -> None:
    taken = latency((1, 10, 130, 580), (1, 14, 140, 600), (2, 12, 450, 2000))
    colours = charts.channel_colours([2, 1], theme.LIGHT)
    figure = call_charts.latency(taken, NAMES, colours, HOUR, BEGINS, theme.LIGHT, "UTC")
    names = ["Shopify UK, median", "Shopify UK, 95 %", "Amazon UK, median", "Amazon UK, 95 %"]
    assert [line.name for line in figure.data] == names
    assert figure.data[0].y[:3] == (130, None, 140)
    assert [line.line.dash for line in figure.data[:2]] == ["solid", "dot"]
    assert {line.line.color for line in figure.data[:2]} == {theme.LIGHT.series[0]}
    words = call_charts.describe_latency(taken, {1: "Shopify UK"})
    assert words == "Milliseconds of calls that succeeded: Shopify UK median 140 ms, 95 % within 600 ms."
    assert call_charts.describe_latency(latency(), NAMES) == "No call succeeded."


def test_a_channel_keeps_its_colour_and_the_sixth_is_other() -> None:
    colours = charts.channel_colours([30, 10, 20, 40, 50, 60], theme.DARK)
    assert colours[10] == theme.DARK.series[0]
    assert colours[60] == theme.DARK.bar
    assert charts.channel_colours([10, 20], theme.DARK) == {10: colours[10], 20: colours[20]}


def test_every_window_fits_a_figure_with_every_outcome_and_five_channels() -> None:
    for window in calls.WINDOWS.values():
        assert window.seconds // window.step * len(calls.OUTCOMES) <= charts.POINTS_MAX
        assert window.seconds // window.slow_step * 2 * call_charts.CHANNELS_MAX <= charts.POINTS_MAX
    many = latency(*[(c, 10, 100, 200) for c in range(1, 8)])
    assert len(call_charts.drawn_channels(many, {c: str(c) for c in range(1, 8)})) == call_charts.CHANNELS_MAX


def test_nobody_draws_more_points_than_the_eye_and_the_wire_bear() -> None:
    counted = volume(*[(1, "ok", minute, 1) for minute in range(501)])
    with pytest.raises(ValueError, match="bucket them in SQL"):
        call_charts.volume(counted, HOUR, theme.LIGHT, "UTC")
