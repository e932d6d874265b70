"""Decimal strings as the vendors send them; only line totals are rounded, half away from zero, to two digits."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

PENNY = Decimal("0.01")


def line_total(quantity: int, price: str) -> Decimal:
    return (quantity * Decimal(price)).quantize(PENNY, rounding=ROUND_HALF_UP)


def shares(whole: Decimal, values: Sequence[Decimal]) -> list[Decimal]:
    """Splits an amount in proportion to the values, to the penny; what rounding leaves falls on the last."""
    total, given = sum(values, Decimal(0)), Decimal(0)
    found = []
    for value in values[:-1]:
        found.append((whole * value / total).quantize(PENNY, rounding=ROUND_HALF_UP) if total else Decimal(0))
        given += found[-1]
    return [*found, whole - given] if values else []


def amount(value: Decimal) -> str:
    return str(value.quantize(PENNY, rounding=ROUND_HALF_UP))


def is_price(text: object) -> bool:
    """A price is a decimal string, kept exactly as given."""
    if not isinstance(text, str):
        return False
    try:
        number = Decimal(text)
    except InvalidOperation:
        return False
    return number.is_finite() and number >= 0
