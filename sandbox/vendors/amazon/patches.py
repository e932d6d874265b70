"""What a listings patch may say and what it does to the attributes."""

from dataclasses import dataclass, field
from typing import Any

OPERATIONS = ("add", "replace", "merge", "delete")
ATTRIBUTES = (
    "brand",
    "condition_type",
    "fulfillment_availability",
    "item_name",
    "list_price",
    "merchant_suggested_asin",
    "purchasable_offer",
)
AVAILABILITY = "fulfillment_availability"
DEFAULT_CHANNEL = "DEFAULT"
PREFIX = "/attributes/"

Attributes = dict[str, list[dict[str, Any]]]
Issue = dict[str, Any]
Availability = dict[str, dict[str, int] | None]
"""By channel: its quantity; nothing where Amazon knows the quantity itself; None takes the channel away."""


@dataclass(frozen=True)
class Reading:
    """The attributes after all patches, or the issues that stop the submission.

    `availability` is what the patches say of quantities. What they leave alone is not in it: a change of the price
    brings no quantity back.
    """

    attributes: Attributes
    issues: list[Issue]
    availability: Availability = field(default_factory=dict)


def malformed(body: Any) -> str | None:
    """What is wrong with the request itself, as opposed to the data in it: that is HTTP 400."""
    if not isinstance(body, dict):
        return "The request body must be a JSON object."
    if not isinstance(body.get("productType"), str) or not body["productType"]:
        return "'productType' is required but was not provided."
    patches = body.get("patches")
    if not isinstance(patches, list) or not patches:
        return "'patches' is required and must not be empty."
    for patch in patches:
        if not isinstance(patch, dict) or patch.get("op") not in OPERATIONS:
            return f"'op' must be one of {', '.join(OPERATIONS)}."
        if not isinstance(patch.get("path"), str):
            return "'path' is required but was not provided."
        value = patch.get("value")
        if patch["op"] != "delete" and not is_list_of_objects(value):
            return "'value' must be an array of objects."
        if value is not None and not is_list_of_objects(value):
            return "'value' must be an array of objects."
    return None


def is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def read(attributes: Attributes, patches: list[dict[str, Any]]) -> Reading:
    """Applies well-formed patches in order; one issue anywhere and none of them counts."""
    result = {name: [dict(entry) for entry in entries] for name, entries in attributes.items()}
    issues: list[Issue] = []
    availability: Availability = {}
    for patch in patches:
        name = patch["path"].removeprefix(PREFIX)
        # Only whole top-level attributes, in the snake case of submissions.
        if not patch["path"].startswith(PREFIX) or name not in ATTRIBUTES:
            issues.append(_issue("90000900", "The attributes are invalid.", name or patch["path"], "INVALID_ATTRIBUTE"))
            continue
        found = _availability_issues(patch) if name == AVAILABILITY else []
        issues += found
        if not found:
            _apply(result, name, patch)
        if not found and name == AVAILABILITY:
            availability |= _quantities(attributes.get(name, []), patch)
    return Reading(result, issues, availability)


def _quantities(before: list[dict[str, Any]], patch: dict[str, Any]) -> Availability:
    """What one patch says of the quantities."""
    value = patch.get("value") or []
    if patch["op"] == "delete":
        return {_selector(AVAILABILITY, entry): None for entry in value or before}
    said: Availability = {}
    for entry in value:
        channel = _selector(AVAILABILITY, entry)
        if "quantity" in entry:
            said[channel] = {"quantity": entry["quantity"]}
        elif channel != DEFAULT_CHANNEL:
            said[channel] = {}
    return said


def _availability_issues(patch: dict[str, Any]) -> list[Issue]:
    issues = []
    for entry in patch.get("value") or []:
        channel = entry.get("fulfillment_channel_code")
        if not isinstance(channel, str) or not channel:
            message = "'fulfillment_channel_code' is required but not supplied."
            issues.append(_issue("90220", message, AVAILABILITY, "MISSING_ATTRIBUTE"))
        if "quantity" not in entry:
            continue
        quantity = entry["quantity"]
        if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 0:
            message = f"The value {quantity!r} is invalid for 'quantity': a whole number of at least 0 is needed."
            issues.append(_issue("90244", message, AVAILABILITY, "INVALID_ATTRIBUTE"))
        elif channel not in (None, DEFAULT_CHANNEL):
            message = f"'quantity' cannot be set for the fulfillment channel '{channel}'."
            issues.append(_issue("90245", message, AVAILABILITY, "INVALID_ATTRIBUTE"))
    return issues


def not_a_list(name: str) -> Issue:
    """Every attribute is a list of objects."""
    return _issue("90244", f"The value of '{name}' must be an array of objects.", name, "INVALID_ATTRIBUTE")


def _issue(code: str, message: str, attribute: str, category: str) -> Issue:
    return {
        "code": code,
        "message": message,
        "severity": "ERROR",
        "attributeNames": [attribute],
        "categories": [category],
    }


def _apply(attributes: Attributes, name: str, patch: dict[str, Any]) -> None:
    value = [dict(entry) for entry in patch.get("value") or []]
    if patch["op"] == "delete":
        _delete(attributes, name, value)
        return
    keyed = {_selector(name, entry): entry for entry in attributes.get(name, [])}
    for entry in value:
        # A replace forgets whatever it does not repeat, handling time included; a merge keeps it.
        # Another channel is another entry: it is added, it does not take the place of the first.
        old = keyed.get(_selector(name, entry), {}) if patch["op"] == "merge" else {}
        keyed[_selector(name, entry)] = {**old, **entry}
    attributes[name] = list(keyed.values())


def _delete(attributes: Attributes, name: str, value: list[dict[str, Any]]) -> None:
    gone = {_selector(name, entry) for entry in value}
    kept = [entry for entry in attributes.get(name, []) if value and _selector(name, entry) not in gone]
    if kept:
        attributes[name] = kept
    else:
        attributes.pop(name, None)


def _selector(name: str, entry: dict[str, Any]) -> str:
    """Which entries of an attribute are the same one."""
    return str(entry.get("fulfillment_channel_code" if name == AVAILABILITY else "marketplace_id"))
