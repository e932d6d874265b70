"""A listing as the Listings API shows it, in answers and in processing reports."""

from typing import Any

import orjson

from sandbox.store import Row
from sandbox.vendors.amazon.patches import DEFAULT_CHANNEL

INCLUDED = (
    "summaries",
    "attributes",
    "issues",
    "offers",
    "fulfillmentAvailability",
    "procurement",
    "relationships",
    "productTypes",
)


def item(listing: Row, seller: Row, included: list[str]) -> dict[str, Any]:
    """`listing` is a row that Listings gave; `included` are names out of INCLUDED."""
    marketplace = seller["marketplace_id"]
    issues = orjson.loads(listing["issues"])
    parts: dict[str, Any] = {
        "summaries": [_summary(listing, marketplace)],
        "attributes": orjson.loads(listing["attributes"]),
        "issues": [{**issue, "marketplaceIds": [marketplace]} for issue in issues],
        "offers": [],
        "fulfillmentAvailability": [
            {"fulfillmentChannelCode": channel} | ({} if quantity is None else {"quantity": quantity})
            for channel, quantity in orjson.loads(listing["in_force"]).items()
        ],
        "procurement": [],
        "relationships": [{"marketplaceId": marketplace, "relationships": []}],
        "productTypes": [{"marketplaceId": marketplace, "productType": listing["product_type"]}],
    }
    return {"sku": listing["sku"], **{name: part for name, part in parts.items() if name in included}}


def is_blocked(listing: Row) -> bool:
    """Whether Amazon says something severe against it."""
    return any(issue["severity"] == "ERROR" for issue in orjson.loads(listing["issues"]))


def status_of(listing: Row) -> list[str]:
    """What is sold out is still found, but cannot be bought; nor can what Amazon says something severe against."""
    units: dict[str, int | None] = orjson.loads(listing["in_force"])
    at_amazon = (listing["fulfillable"] or 0) if any(channel != DEFAULT_CHANNEL for channel in units) else 0
    is_buyable = not is_blocked(listing) and ((units.get(DEFAULT_CHANNEL) or 0) > 0 or at_amazon > 0)
    return ["BUYABLE", "DISCOVERABLE"] if is_buyable else ["DISCOVERABLE"]


def _summary(listing: Row, marketplace: str) -> dict[str, Any]:
    summary = {
        "marketplaceId": marketplace,
        "asin": listing["asin"],
        "productType": listing["product_type"],
        "conditionType": "new_new",
        "status": status_of(listing),
        "itemName": listing["title"],
        "createdDate": listing["created_at"],
        "lastUpdatedDate": listing["updated_at"],
    }
    return summary | ({"fnSku": listing["fnsku"]} if listing["fnsku"] else {})
