"""A listing as the control API is asked for it."""

from dataclasses import dataclass
from typing import Any

from sandbox.errors import Refused
from sandbox.money import is_price
from sandbox.vendors.amazon.marketplaces import MARKETPLACES
from sandbox.vendors.amazon.patches import AVAILABILITY, DEFAULT_CHANNEL, Attributes

# Of the kinds of barcode those that are GTINs of one length or another.
TRADE_NUMBERS = ("ean", "gtin", "jan", "upc")
BARCODES = (*TRADE_NUMBERS, "isbn", "minsan")
GTIN_DIGITS = 14
CHANNELS = (DEFAULT_CHANNEL, "AMAZON_EU", "AMAZON_NA", "AMAZON_JP")


@dataclass(frozen=True)
class NewListing:
    """`quantity` is None where Amazon ships and knows it itself; `barcodes` are (kind, value); `price` as a decimal."""

    sku: str
    title: str
    channel: str
    quantity: int | None
    asin: str | None
    fnsku: str | None
    barcodes: tuple[tuple[str, str], ...]
    issues: list[dict[str, Any]]
    price: str | None = None

    @classmethod
    def read(cls, given: dict[str, Any]) -> "NewListing":
        """Raises Refused on a field of the wrong form."""
        sku, channel = given.get("sku"), given.get("channel", DEFAULT_CHANNEL)
        if not isinstance(sku, str) or not sku:
            raise Refused("invalid_sku", f"A listing needs a sku, not {sku!r}.")
        if channel not in CHANNELS:
            raise Refused("invalid_channel", f"{sku}: the channel {channel!r} is none of {', '.join(CHANNELS)}.")
        quantity = None
        if channel == DEFAULT_CHANNEL:
            quantity = given.get("quantity", 0)
            if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 0:
                raise Refused("invalid_quantity", f"{sku}: the quantity must be a whole number of at least 0.")
        elif "quantity" in given:
            raise Refused("invalid_quantity", f"{sku}: what Amazon ships is added to its inventory, not here.")
        price = given.get("price")
        if price is not None and not is_price(price):
            raise Refused("invalid_price", f"{sku}: a price must be a decimal string, not {price!r}.")
        return cls(
            sku=sku,
            title=str(given.get("title") or sku),
            channel=channel,
            quantity=quantity,
            asin=given.get("asin"),
            fnsku=given.get("fnsku"),
            barcodes=tuple(_barcode(sku, entry) for entry in given.get("barcodes", ())),
            issues=[_issue(sku, entry) for entry in given.get("issues", ())],
            price=price,
        )

    def attributes(self, marketplace: str, asin: str) -> Attributes:
        """What the seller once submitted."""
        available: dict[str, Any] = {"fulfillment_channel_code": self.channel}
        if self.quantity is not None:
            available |= {"quantity": self.quantity, "lead_time_to_ship_max_days": 2}
        attributes: Attributes = {
            "item_name": [{"value": self.title, "marketplace_id": marketplace}],
            "condition_type": [{"value": "new_new", "marketplace_id": marketplace}],
            "merchant_suggested_asin": [{"value": asin, "marketplace_id": marketplace}],
            AVAILABILITY: [available],
        }
        if self.price is not None:
            schedule = [{"value_with_tax": float(self.price)}]
            offer = {"audience": "ALL", "our_price": [{"schedule": schedule}], "marketplace_id": marketplace}
            attributes["purchasable_offer"] = [{"currency": MARKETPLACES[marketplace].currency, **offer}]
        if self.barcodes:
            attributes["externally_assigned_product_identifier"] = [
                {"type": kind, "value": value, "marketplace_id": marketplace} for kind, value in self.barcodes
            ]
        return attributes


def _barcode(sku: str, given: Any) -> tuple[str, str]:
    kind, value = (given.get("type"), given.get("value")) if isinstance(given, dict) else (None, None)
    if kind not in BARCODES or not isinstance(value, str) or not value:
        raise Refused("invalid_barcode", f"{sku}: a barcode has a type ({', '.join(BARCODES)}) and a value.")
    return kind, value


def _issue(sku: str, given: Any) -> dict[str, Any]:
    """Something that Amazon says against the listing, in the form of the Listings API."""
    if not isinstance(given, dict) or given.get("severity") not in ("ERROR", "WARNING", "INFO"):
        raise Refused("invalid_issue", f"{sku}: an issue has a severity (ERROR, WARNING, INFO), a code and a message.")
    code, message = str(given.get("code", "18027")), str(given.get("message") or "The listing has an issue.")
    return {"code": code, "message": message, "categories": [], **given}
