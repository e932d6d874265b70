"""Money as integer minor units with a currency; rounding rules in one place.

Unit prices may be finer than a minor unit (a price of 0.001 GBP exists in real catalogues), so they stay decimals.
A line's total is the exact product of units and unit price, rounded once, half away from zero: the rule most
invoices use, and symmetric, so that a refund of the whole line is exactly its negative.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

# ISO 4217 currencies whose minor unit is not a hundredth.
WITHOUT_DECIMALS = (
    *("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"),
    *("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"),
)
WITH_THREE_DECIMALS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
_EXPONENTS = {**dict.fromkeys(WITHOUT_DECIMALS, 0), **dict.fromkeys(WITH_THREE_DECIMALS, 3)}

MINUS = "\N{MINUS SIGN}"
_SIGNS = {"GBP": "£", "EUR": "€", "USD": "$", "JPY": "¥"}

_CODES = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN
    BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
    GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS
    KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR
    MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD
    RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP
    TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW
    ZWG
"""
CURRENCIES = frozenset(_CODES.split())
"""Currencies that people pay with (ISO 4217, without funds, metals and test codes)."""


def exponent(currency: str) -> int:
    """Number of decimal places of the currency's minor unit (2 where the code is unknown)."""
    return _EXPONENTS.get(currency, 2)


def to_minor(amount: Decimal, currency: str) -> int:
    """Major units to integer minor units, half away from zero."""
    scaled = amount.scaleb(exponent(currency))
    return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def line_total_minor(units: int, unit_price: Decimal, currency: str) -> int:
    """Units times unit price (major units, any precision), rounded once to minor units."""
    return to_minor(unit_price * units, currency)


def to_major(minor: int, currency: str) -> Decimal:
    """Integer minor units to major units, exactly."""
    return Decimal(minor).scaleb(-exponent(currency))


def shown(minor: int, currency: str) -> str:
    """£843.10, −£2.00, CHF 12.00: as people read it; the currency always shows."""
    amount = f"{abs(to_major(minor, currency)):,.{exponent(currency)}f}"
    symbol = _SIGNS.get(currency, f"{currency} ")
    return f"{MINUS if minor < 0 else ''}{symbol}{amount}"


def split(total_minor: int, weights: list[int]) -> list[int]:
    """Shares of `total_minor` in proportion to `weights` that sum to it exactly.

    Largest remainder first, ties to the earlier share. Raises ValueError when no weight is positive.
    """
    whole = sum(weights)
    if whole <= 0 or any(weight < 0 for weight in weights):
        raise ValueError("weights must be non-negative and at least one positive")
    exact = [Fraction(total_minor * weight, whole) for weight in weights]
    shares = [int(value.__floor__()) for value in exact]
    missing = total_minor - sum(shares)
    by_remainder = sorted(range(len(weights)), key=lambda i: (shares[i] - exact[i], i))
    for index in by_remainder[:missing]:
        shares[index] += 1
    return shares
