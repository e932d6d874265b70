"""What a buyer wants, as the control API or a shopper says it; and the buyers, who are all invented."""

import random
from dataclasses import dataclass
from typing import Any

from sandbox.errors import Refused
from sandbox.money import is_price
from sandbox.vendors.amazon.marketplaces import Marketplace

FULFILLERS = ("MERCHANT", "AMAZON")
CHANNELS = ("AMAZON", "NON_AMAZON")
FIRST_NAMES = ("Ada", "Basil", "Clara", "Dennis", "Edith", "Felix", "Greta", "Hugo", "Ivy", "Jasper", "Kit", "Lena")
LAST_NAMES = ("Samplewood", "Testerly", "Mockford", "Placeholt", "Fakenham", "Dummiere", "Specimen", "Trialby")
STREETS = ("Invented Lane", "Nowhere Street", "Madeup Avenue", "Pretend Road", "Example Row")


@dataclass(frozen=True)
class WantedLine:
    """`price` of one unit; None is what the listing asks for it."""

    sku: str
    quantity: int
    price: str | None

    @classmethod
    def read(cls, key: str, given: dict[str, Any]) -> "WantedLine":
        """Raises Refused on a field of the wrong form; `key` names the order it is for."""
        quantity, price = given.get("quantity"), given.get("price")
        if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
            raise Refused("invalid_quantity", f"{key}: a quantity must be a positive whole number, not {quantity!r}.")
        if price is not None and not is_price(price):
            raise Refused("invalid_price", f"{key}: a price must be a decimal string, not {price!r}.")
        return cls(str(given.get("sku")), quantity, price)


@dataclass(frozen=True)
class WantedOrder:
    """An order on its way in.

    `may_shrink`: a line that is sold out leaves the basket, whole, and the others are bought all the same.
    `pending_seconds`: of the sandbox clock until the payment is authorised; None is the vendor's own time, and `hold`
    keeps it waiting until somebody lets it go. `channel` NON_AMAZON is multi-channel fulfilment: a sale of elsewhere
    that Amazon ships.
    """

    key: str
    lines: list[WantedLine]
    may_shrink: bool = False
    fulfilled_by: str = "MERCHANT"
    channel: str = "AMAZON"
    marketplace_id: str | None = None
    hold: bool = False
    pending_seconds: float | None = None

    @classmethod
    def read(cls, given: dict[str, Any]) -> "WantedOrder":
        """Raises Refused on a field of the wrong form."""
        key = given.get("key")
        if not isinstance(key, str) or not key:
            raise Refused("invalid_key", f"An order needs a key, not {key!r}.")
        lines = [WantedLine.read(key, line) for line in given.get("lines") or []]
        if not lines:
            raise Refused("no_lines", f"{key}: an order needs at least one line.")
        channel = given.get("channel", "AMAZON")
        fulfilled_by = given.get("fulfilled_by", "MERCHANT" if channel == "AMAZON" else "AMAZON")
        if channel not in CHANNELS or fulfilled_by not in FULFILLERS:
            raise Refused("invalid_order", f"{key}: channel is one of {CHANNELS}, fulfilled_by one of {FULFILLERS}.")
        if channel == "NON_AMAZON" and fulfilled_by != "AMAZON":
            raise Refused("invalid_order", f"{key}: Amazon ships what was sold elsewhere, or never hears of it.")
        pending = given.get("pending_seconds")
        if pending is not None and (not isinstance(pending, (int, float)) or isinstance(pending, bool) or pending < 0):
            raise Refused("invalid_order", f"{key}: pending_seconds must be a number of at least 0.")
        return cls(
            key=key,
            lines=lines,
            may_shrink=bool(given.get("may_shrink", False)),
            fulfilled_by=fulfilled_by,
            channel=channel,
            marketplace_id=given.get("marketplace_id"),
            hold=bool(given.get("hold", False)),
            pending_seconds=pending,
        )


def invented_buyer(chance: random.Random, place: Marketplace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `buyer` and the `recipient` of an order, in the vendor's form. Nobody of that name lives there."""
    name = f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}"
    alias = "".join(chance.choices("bcdfghjklmnpqrstvwxz0123456789", k=15))
    buyer = {"buyerName": name, "buyerEmail": f"{alias}@marketplace.{place.domain.removeprefix('www.')}"}
    address = {
        "name": name,
        "addressLine1": f"{chance.randint(1, 99)} {chance.choice(STREETS)}",
        "city": "Sampleton",
        "postalCode": f"ZZ{chance.randint(1, 9)} {chance.randint(1, 9)}ZZ",
        "countryCode": place.country,
        "addressType": "RESIDENTIAL",
    }
    return buyer, {"deliveryAddress": address}
