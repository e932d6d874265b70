"""How money is spoken of, the same on screens and on statements: causes, kinds of accounts, rules as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from core.commissions.rules import Rule
from core.money import exponent, to_major

MINUS = "\N{MINUS SIGN}"
_SIGNS = {"GBP": "£", "EUR": "€", "USD": "$", "JPY": "¥"}


def money(minor: int, currency: str) -> str:
    """£843.10, −£2.00, CHF 12.00: the currency always shows."""
    amount = f"{abs(to_major(minor, currency)):,.{exponent(currency)}f}"
    sign, symbol = MINUS if minor < 0 else "", _SIGNS.get(currency)
    return f"{sign}{symbol}{amount}" if symbol else f"{sign}{currency} {amount}"


def percent(ppm: int) -> str:
    """12.5 % of 125000 millionths, with as many digits as it takes."""
    text = f"{Decimal(ppm).scaleb(-4):f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


_CAUSES = {
    "sale": "Sale",
    "edit": "Order changed",
    "refund": "Refund",
    "cancellation": "Cancellation",
    "chargeback": "Chargeback",
    "chargeback_won": "Chargeback won",
    "mapping": "Mapped late",
    "return": "Return without an order",
    "release": "Return window closed",
    "adjustment": "Adjustment",
    "payout": "Payout",
}
_MANY = {
    "sale": ("sale", "sales"),
    "edit": ("changed order", "changed orders"),
    "refund": ("refund", "refunds"),
    "cancellation": ("cancellation", "cancellations"),
    "chargeback": ("chargeback", "chargebacks"),
    "chargeback_won": ("chargeback won", "chargebacks won"),
    "mapping": ("order mapped late", "orders mapped late"),
    "return": ("return without an order", "returns without an order"),
    "release": ("closed return window", "closed return windows"),
    "adjustment": ("adjustment", "adjustments"),
    "payout": ("payout", "payouts"),
}
_MEANINGS = {
    "sale": "Sold, and held until the buyer can no longer return it.",
    "edit": "Lines of an order were changed after it was placed.",
    "refund": "Money was given back to a buyer.",
    "cancellation": "An order was cancelled: nothing of it is earned.",
    "chargeback": "A buyer's bank took money back.",
    "chargeback_won": "A bank gave back what it had taken.",
    "mapping": "A line was sold before it was known whose it is.",
    "return": "Goods came back without an order that we know.",
    "release": "The time to return ran out: what was held can be paid.",
    "adjustment": "Given or taken by hand, with a reason.",
    "payout": "Paid out.",
}


def cause(kind: str) -> str:
    """A transaction's kind as people say it."""
    return _CAUSES.get(kind, kind.replace("_", " ").capitalize())


def causes(kind: str, number: int) -> str:
    """Two refunds: as many of a cause, small numbers in words."""
    one, many = _MANY.get(kind, (kind, f"{kind}s"))
    small = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return f"{small[number] if number < len(small) else f'{number:,}'} {one if number == 1 else many}"


def meaning(kind: str) -> str:
    """What a cause is, in a sentence."""
    return _MEANINGS.get(kind, "")


_ACCOUNTS = {
    "payable": ("Payable", "What parties may be paid"),
    "refund_reserve": ("Held for returns", "What parties earned and buyers may still return"),
    "platform": ("Platform", "The platform's own share, and what it sells itself"),
    "shipping": ("Carriage", "The platform's share of carriage"),
    "tax": ("Taxes", "Collected for the authority"),
    "channel_receivable": ("At the channels", "What channels have of buyers' money"),
    "channel_fees": ("Channel fees", "What channels keep of it"),
    "payout_clearing": ("Payouts on their way", "Paid out and not confirmed yet"),
    "adjustments": ("Adjustments", "Given or taken by hand"),
    "unassigned": ("Not mapped yet", "Of lines of which nobody knows yet whose they are"),
}


def account_kind(kind: str) -> str:
    """A kind of account as people say it."""
    return _ACCOUNTS.get(kind, (kind.replace("_", " ").capitalize(), ""))[0]


def account_place(kind: str, currency: str) -> tuple[str, int]:
    """Where accounts of a kind stand in a list: by currency, what parties have first."""
    places = list(_ACCOUNTS)
    return currency, places.index(kind) if kind in places else len(places)


def account_meaning(kind: str) -> str:
    """What a kind of account stands for."""
    return _ACCOUNTS.get(kind, ("", ""))[1]


_KINDS = {
    "platform_fee": "Platform fee",
    "creator_commission": "Creator commission",
    "referrer_fee": "Referrer fee",
    "channel_fee": "Channel fee",
}


def rule_sentence(rule: Rule, names: Mapping[int, str] | None = None) -> str:
    """Platform fee: 12 % of items, for Oak & Ash (rule 17). `names`: of parties, by id."""
    names = names or {}
    of = "items" if rule.base == "item" else "carriage"
    basis = " with taxes" if rule.tax_basis == "gross" else ""
    scope = [f"for {names.get(party, f'party {party}')}" for party in (rule.seller_id, rule.payee_id) if party]
    scope += [f"in {rule.category}"] if rule.category else []
    scope += ["for one SKU"] if rule.sku_id is not None else []
    scope += ["on one channel"] if rule.connection_id is not None else []
    said = f"{_KINDS[rule.kind]}: {_amount(rule)} {of}{basis}"
    extra = ", borne by the platform" if rule.borne_by == "platform" else ""
    kept = ", kept when refunded" if rule.on_refund == "kept" else ""
    return f"{', '.join([said, *scope])}{extra}{kept}"


def _amount(rule: Rule) -> str:
    if rule.form == "fixed":
        each = "unit of" if rule.base == "item" else "line's"
        return f"{money(rule.fixed_minor, rule.currency or '')} for each {each}"
    if rule.form == "tiered":
        steps = [
            f"{percent(ppm)} from {money(begins, rule.currency or '')}" if begins else percent(ppm)
            for begins, ppm in rule.tiers
        ]
        return f"{', '.join(steps)} of the month's"
    return f"{percent(rule.rate_ppm)} of"
