"""What an order costs besides its goods: taxes and carriage; and the codes that its buyer came with."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import orjson

from sandbox.errors import Refused
from sandbox.money import PENNY, amount, is_price
from sandbox.store import Row
from sandbox.vendors.shopify.shops import gid

Body = dict[str, Any]

TAX_TITLE = "VAT"
NOTHING = Decimal(0)


def money_set(text: str, currency: str) -> Body:
    money = {"amount": text, "currency_code": currency}
    return {"shop_money": money, "presentment_money": money}


@dataclass(frozen=True)
class Carriage:
    """What the buyer pays for carriage, and at which rate it is taxed."""

    price: str
    title: str = "Standard"
    tax_rate: str = "0"

    @classmethod
    def read(cls, key: str, given: Any) -> "Carriage | None":
        """Raises Refused on a field of the wrong form."""
        if given is None:
            return None
        if not isinstance(given, dict) or not is_price(given.get("price")):
            raise Refused("invalid_shipping", f"{key}: shipping is an object whose price is a decimal string.")
        price = amount(Decimal(given["price"]))
        return cls(price, str(given.get("title") or "Standard"), read_rate(key, given))


def read_rate(key: str, given: Body) -> str:
    """A tax rate as a decimal string, "0.20" for a fifth. Raises Refused."""
    rate = given.get("tax_rate", "0")
    if not is_price(rate) or Decimal(rate) >= 1:
        raise Refused("invalid_tax_rate", f"{key}: a tax rate is a decimal string below 1, not {rate!r}.")
    return str(rate)


def read_texts(key: str, given: Body, name: str) -> tuple[str, ...]:
    texts = given.get(name) or []
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise Refused(f"invalid_{name}", f"{key}: {name} must be a list of texts.")
    return tuple(texts)


def read_attributes(key: str, given: Body) -> tuple[tuple[str, str], ...]:
    """What a page or an app notes on an order, by name."""
    noted = given.get("note_attributes") or []
    if not isinstance(noted, list) or not all(
        isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("value"), str)
        for each in noted
    ):
        raise Refused("invalid_note_attributes", f"{key}: note_attributes are objects with a name and a value, texts.")
    return tuple((each["name"], each["value"]) for each in noted)


def tax_on(price: Decimal, rate: str, included: bool) -> Decimal:
    """The tax of a price, which contains it or does not."""
    share = Decimal(rate)
    if not share:
        return NOTHING
    return (price * share / (1 + share if included else 1)).quantize(PENNY, rounding=ROUND_HALF_UP)


def tax_of(line: Row, units: int) -> Decimal:
    """The tax of so many units of a line."""
    whole = Decimal(line["tax"])
    return (whole * units / line["quantity"]).quantize(PENNY, rounding=ROUND_HALF_UP) if whole else whole


def on_top(order: Row, tax: Decimal) -> Decimal:
    """What a tax adds to what is paid: nothing where prices contain it."""
    return NOTHING if order["taxes_included"] else tax


def total_tax(order: Row, lines: Sequence[Row]) -> Decimal:
    return sum((Decimal(line["tax"]) for line in lines), Decimal(order["shipping_tax"]))


def codes_of(order: Row) -> list[str]:
    found: list[str] = orjson.loads(order["codes"])
    return found


def attributes_of(order: Row) -> list[tuple[str, str]]:
    return [(name, value) for name, value in orjson.loads(order["attributes"])]


# --- as REST gives them -----------------------------------------------------------------------------------------------


def tax_lines(tax: str, rate: str, currency: str) -> list[Body]:
    if not Decimal(tax):
        return []
    said = {"channel_liable": False, "price": tax, "price_set": money_set(tax, currency)}
    return [{**said, "rate": float(rate), "title": TAX_TITLE}]


def order_tax_lines(order: Row, lines: Sequence[Row]) -> list[Body]:
    """Of one rate one line."""
    parts = [(order["shipping_rate"], order["shipping_tax"]), *((line["tax_rate"], line["tax"]) for line in lines)]
    by_rate: dict[str, Decimal] = {}
    for rate, tax in parts:
        by_rate[rate] = by_rate.get(rate, NOTHING) + Decimal(tax)
    return [line for rate, tax in by_rate.items() for line in tax_lines(amount(tax), rate, order["currency"])]


def discount_codes(order: Row) -> list[Body]:
    """What the order is discounted by is the first one's doing."""
    off = [order["discount"], *["0.00"] * len(codes_of(order))]
    pairs = zip(codes_of(order), off, strict=False)
    return [{"code": code, "amount": value, "type": "fixed_amount"} for code, value in pairs]


def discount_applications(order: Row) -> list[Body]:
    if not Decimal(order["discount"]):
        return []
    applied = {
        "target_type": "line_item",
        "type": "manual",
        "value": order["discount"],
        "value_type": "fixed_amount",
        "allocation_method": "across",
        "target_selection": "all",
    }
    if codes := codes_of(order):
        return [{**applied, "type": "discount_code", "code": codes[0]}]
    return [{**applied, "title": "Goodwill", "description": "Goodwill"}]


def shipping_lines(order: Row) -> list[Body]:
    if order["shipping_line_id"] is None:
        return []
    price, currency = order["shipping"], order["currency"]
    return [
        {
            "id": order["shipping_line_id"],
            "carrier_identifier": None,
            "code": order["shipping_title"],
            "discounted_price": price,
            "discounted_price_set": money_set(price, currency),
            "is_removed": False,
            "phone": None,
            "price": price,
            "price_set": money_set(price, currency),
            "requested_fulfillment_service_id": None,
            "source": "shopify",
            "title": order["shipping_title"],
            "tax_lines": tax_lines(order["shipping_tax"], order["shipping_rate"], currency),
            "discount_allocations": [],
        }
    ]


def refund_shipping_lines(refund: Row, order: Row) -> list[Body]:
    """Carriage given back; since 2024-10 it is not among a refund's adjustments any more."""
    if refund["shipping_line_id"] is None:
        return []
    return [
        {
            "id": refund["shipping_line_id"],
            "shipping_line_id": order["shipping_line_id"],
            "subtotal_amount_set": money_set(refund["shipping"], order["currency"]),
            "tax_amount_set": money_set(refund["shipping_tax"], order["currency"]),
            "shipping_line": shipping_lines(order)[0],
            "admin_graphql_api_id": gid("RefundShippingLine", refund["shipping_line_id"]),
        }
    ]
