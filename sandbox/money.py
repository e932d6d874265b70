"""Decimal strings as the vendors send them; only line totals are rounded, half away from zero, to two digits."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

PENNY = Decimal("0.01")


def line_total(quantity: int, price: str) -> Decimal:
    return (quantity * Decimal(price)).quantize(PENNY, rounding=ROUND_HALF_UP)


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
