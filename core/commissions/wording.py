"""How money is spoken of, the same on screens and on statements: causes and kinds of accounts."""

from __future__ import annotations

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
