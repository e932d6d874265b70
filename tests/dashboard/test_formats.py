from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dashboard import formats

NOW = datetime(2026, 11, 27, 14, 32, 10, tzinfo=UTC)
LONDON = "Europe/London"


@pytest.mark.parametrize(("number", "shown"), [(None, "–"), (0, "0"), (1284, "1,284"), (-6, "−6"), (-12345, "−12,345")])
def test_a_count_is_exact_and_unknown_is_not_zero(number: int | None, shown: str) -> None:
    assert formats.count(number) == shown


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (84310, "GBP", "£843.10"),
        (231870, "GBP", "£2,318.70"),
        (-5, "USD", "−$0.05"),
        (1500, "JPY", "¥1,500"),
        (1234, "KWD", "KWD 1.234"),
        (100, "PLN", "PLN 1.00"),
        (None, "GBP", "–"),
        (2**63, "EUR", "€92,233,720,368,547,758.08"),
    ],
)
def test_money_comes_from_minor_units_and_names_its_currency(minor: int | None, currency: str, shown: str) -> None:
    assert formats.money(minor, currency) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0, "0 s"),
        (6.9, "6 s"),
        (60, "1 min"),
        (1140, "19 min"),
        (7500, "2 h 05 min"),
        (100_800, "1 d 4 h"),
        (-3, "0 s"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float | None, shown: str) -> None:
    assert formats.duration(seconds) == shown


def test_times_are_relative_for_a_day_and_then_dated_in_the_shops_zone() -> None:
    assert formats.ago(NOW - timedelta(minutes=19), NOW, LONDON) == "19 min ago"
    assert formats.ago(NOW - timedelta(days=3), NOW, LONDON) == "24 Nov 14:32"
    assert formats.ago(None, NOW, LONDON) == "–"
    assert formats.moment(NOW - timedelta(hours=1), NOW, "America/New_York") == "08:32"
    assert formats.moment(NOW - timedelta(days=400), NOW, LONDON) == "23 Oct 2025 15:32"
    assert formats.exact(NOW, LONDON) == "Fri 27 Nov 2026, 14:32:10 GMT"
    assert formats.as_of(NOW, "America/New_York") == "As of 09:32:10 · New York"


def test_a_change_needs_something_to_compare_with() -> None:
    assert formats.change(112, 100) == "+12 %"
    assert formats.change(88, 100) == "−12 %"
    assert formats.change(5, 0) is None


def test_foreign_text_is_never_markup() -> None:
    assert formats.plain("a [b](c) *d* :red[e] $f$ #1") == r"a \[b\]\(c\) \*d\* \:red\[e\] \$f\$ \#1"
    assert formats.sentence("no answer came.") == "No answer came."
    assert formats.sentence(None) == ""


def test_every_state_has_a_word_and_an_icon_and_an_unknown_one_says_its_name() -> None:
    assert formats.state("in_step").word == "In step"
    assert formats.state("never_heard_of") == formats.State("Never heard of", "help", "gray", "unknown")
    assert formats.badge("behind") == ":red-badge[:material/error: Behind]"


def test_plural_and_words() -> None:
    assert formats.plural(1, "order") == "1 order"
    assert formats.plural(1200, "quantity", "quantities") == "1,200 quantities"
    assert [formats.in_words(n) for n in (0, 3, 11)] == ["No", "Three", "11"]


@pytest.mark.parametrize(("text", "number"), [("42", 42), ("²", None), ("", None), ("-1", None), ("9" * 19, None)])
def test_a_number_of_an_address(text: str, number: int | None) -> None:
    assert formats.number(text) == number
