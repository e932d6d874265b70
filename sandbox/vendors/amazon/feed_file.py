"""What a file of JSON_LISTINGS_FEED says, message by message, and what is wrong with it.

Source: schemas/feeds (listings-feed-schema-v2, listings-feed-message-schema-v2) of the vendor's models. The codes and
words of 4002005, 4002006 and 4002008 are as sellers got them (amzn/selling-partner-api-models#4636,
amzn/selling-partner-api-docs#1133 and #1098).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from sandbox.vendors.amazon import patches
from sandbox.vendors.amazon.item_view import INCLUDED
from sandbox.vendors.amazon.patches import PREFIX, Attributes, Issue, Reading

MESSAGES_MAX = 25_000
MESSAGE_ID_MAX = 2_147_483_647
VERSION = "2.0"
# What each operation needs beside the SKU, and what it does not take.
NEEDS = {
    "PATCH": ("productType", "patches"),
    "PARTIAL_UPDATE": ("productType", "attributes"),
    "UPDATE": ("productType", "attributes"),
    "DELETE": (),
}
REFUSES = {
    "PATCH": ("requirements", "attributes"),
    "PARTIAL_UPDATE": ("requirements", "patches"),
    "UPDATE": ("patches",),
    "DELETE": ("requirements", "attributes", "productType", "patches"),
}
SCHEMA = "The provided message did not meet the schema validation requirements for a feed message."


@dataclass
class FeedFile:
    """The messages, or what stops the whole file."""

    header: dict[str, Any]
    messages: list[Any]
    problem: Issue | None = None

    @cached_property
    def _places(self) -> dict[int, int]:
        places: dict[int, int] = {}
        for place, message in enumerate(self.messages):
            if schema_issue(message) is None:
                places.setdefault(message["messageId"], place)
        return places

    def first_place(self, message_id: int) -> int:
        """Where the id stands for the first time among the well-formed messages."""
        return self._places[message_id]


def issue(code: str, message: str, **more: Any) -> Issue:
    """In the form of the processing report; without a messageId it concerns the whole file."""
    return {**more, "code": code, "severity": "ERROR", "message": message}


def read_file(data: bytes, seller_id: str) -> FeedFile:
    """The file, as far as it can be read."""
    try:
        given = orjson.loads(data)
    except orjson.JSONDecodeError:
        return FeedFile({}, [], issue("4002000", "The provided feed is not valid JSON."))
    if not isinstance(given, dict):
        return FeedFile({}, [], issue("4002000", "The provided feed must be a JSON object."))
    header, messages = given.get("header"), given.get("messages")
    # Whatever is no object there, a list for instance, names no merchant.
    if not isinstance(header, dict) or not header.get("sellerId"):
        return FeedFile({}, [], issue("4002005", "Attribute 'Merchant' is required, but not present."))
    if problem := _header_problem(header, seller_id) or _messages_problem(messages):
        return FeedFile(header, [], problem)
    return FeedFile(header, list(messages or []))


def _header_problem(header: dict[str, Any], seller_id: str) -> Issue | None:
    if header["sellerId"] != seller_id:
        return issue("4002007", "The 'sellerId' of the header is not the seller who submitted the feed.")
    if header.get("version") != VERSION:
        return issue("4002006", "Attribute 'version' does not match the required value.")
    report = header.get("report")
    if report is None:
        return None
    included = report.get("includedData") if isinstance(report, dict) else None
    if not isinstance(included, list) or not included or any(name not in INCLUDED for name in included):
        return issue("4002009", "Attribute 'report.includedData' does not match the required values.")
    if report.get("apiVersion") != "2021-08-01":
        return issue("4002009", "Attribute 'report.apiVersion' does not match the required value.")
    return None


def _messages_problem(messages: Any) -> Issue | None:
    if not isinstance(messages, list) or not messages:
        return issue("4002005", "Attribute 'messages' is required, but not present.")
    if len(messages) > MESSAGES_MAX:
        said = f"The feed has {len(messages)} messages, which is more than the maximum of {MESSAGES_MAX}."
        return issue("4002011", said)
    return None


def schema_issue(message: Any) -> Issue | None:
    """What is wrong with the form of one message; without a usable messageId it is told by its SKU alone."""
    if not isinstance(message, dict):
        return issue("4002008", SCHEMA)
    number, sku, operation = message.get("messageId"), message.get("sku"), message.get("operationType")
    named: dict[str, Any] = {}
    if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= MESSAGE_ID_MAX:
        named["messageId"] = number
    if isinstance(sku, str) and sku:
        named["sku"] = sku
    is_whole = (
        len(named) == 2
        and isinstance(operation, str)
        and operation in NEEDS
        and all(name in message for name in NEEDS[operation])
        and not any(name in message for name in REFUSES[operation])
        and _parts_are_well_formed(message)
    )
    return None if is_whole else issue("4002008", SCHEMA, **named)


def _parts_are_well_formed(message: dict[str, Any]) -> bool:
    if "patches" in message:
        return patches.malformed(message) is None
    attributes, product_type = message.get("attributes"), message.get("productType")
    if "attributes" not in message:
        return True
    return isinstance(attributes, dict) and bool(attributes) and isinstance(product_type, str) and bool(product_type)


def read_message(attributes: Attributes, message: dict[str, Any]) -> Reading:
    """What a well-formed PATCH or PARTIAL_UPDATE makes of the attributes; the second is a patch by `replace`."""
    if message["operationType"] == "PATCH":
        return patches.read(attributes, message["patches"])
    given: dict[str, Any] = message["attributes"]
    if wrong := [name for name, value in given.items() if not patches.is_list_of_objects(value)]:
        return Reading(attributes, [patches.not_a_list(name) for name in wrong])
    return patches.read(
        attributes, [{"op": "replace", "path": PREFIX + name, "value": value} for name, value in given.items()]
    )
