"""Profiles, events, metrics, accounts and imports as answers show them."""

from typing import Any

import orjson

from sandbox.store import Row
from sandbox.vendors.klaviyo.documents import relation, resource_address
from sandbox.vendors.klaviyo.gate import Call
from sandbox.vendors.klaviyo.names import written
from sandbox.vendors.klaviyo.profile_shapes import LOCATION

PROFILE_FIELDS = (
    "email", "phone_number", "external_id", "first_name", "last_name", "organization", "locale", "title", "image",
    "created", "updated", "last_event_date", "location", "properties",
)  # fmt: skip
ADDED_PROFILE_FIELDS = ("subscriptions", "predictive_analytics")
EVENT_FIELDS = ("timestamp", "event_properties", "datetime", "uuid")
METRIC_FIELDS = ("name", "created", "updated", "integration")
ACCOUNT_FIELDS = (
    "test_account", "contact_information", "industry", "timezone", "preferred_currency", "public_api_key", "locale",
)  # fmt: skip
IMPORT_FIELDS = (
    "status", "created_at", "total_count", "completed_count", "failed_count", "completed_at", "expires_at",
    "started_at",
)  # fmt: skip


def _date(wall: float | None) -> str | None:
    return None if wall is None else written(wall)


def profile(call: Call, row: Row, added: frozenset[str] = frozenset()) -> dict[str, Any]:
    """`added` are those of the fields that are only shown to who asks for them: nobody here has consented to anything,
    and nothing is predicted of anybody."""
    kept = orjson.loads(row["attributes"])
    said = {
        **{name: row[name] for name in ("email", "phone_number", "external_id")},
        **{name: kept.get(name) for name in ("first_name", "last_name", "organization", "locale", "title", "image")},
        "created": written(row["created_at"]),
        "updated": written(row["updated_at"]),
        "last_event_date": _date(row["last_event_at"]),
        "location": dict.fromkeys(LOCATION) | (kept.get("location") or {}),
        "properties": kept.get("properties") or {},
    }
    # Coordinates have no null in the specification.
    said["location"] = {k: v for k, v in said["location"].items() if v is not None or k[:2] not in ("la", "lo")}
    if "subscriptions" in added:
        said["subscriptions"] = _nothing_subscribed()
    if "predictive_analytics" in added:
        said["predictive_analytics"] = {}
    names = ("lists", "segments", "push-tokens")
    return {
        "type": "profile",
        "id": row["id"],
        "attributes": said,
        "relationships": {name: relation(call, "profiles", row["id"], name) for name in names},
        "links": {"self": resource_address(call, "profiles", row["id"])},
    }


def _nothing_subscribed() -> dict[str, Any]:
    never = "NEVER_SUBSCRIBED"
    return {
        "email": {"marketing": {"can_receive_email_marketing": True, "consent": never}},
        "sms": {"marketing": {"can_receive_sms_marketing": False, "consent": never}},
    }


def event(call: Call, row: Row) -> dict[str, Any]:
    properties = orjson.loads(row["properties"])
    if row["value"] is not None:
        properties = {**properties, "$value": row["value"]}
    if row["currency"] is not None:
        properties = {**properties, "$value_currency": row["currency"]}
    related = {
        name: {
            "data": {"type": name, "id": row[f"{name}_id"]},
            **relation(call, "events", row["id"], name),
        }
        for name in ("profile", "metric")
    }
    return {
        "type": "event",
        "id": row["id"],
        "attributes": {
            "timestamp": row["happened_at"],
            "event_properties": {**properties, "$event_id": row["unique_id"]},
            "datetime": written(row["happened_at"]),
            "uuid": row["id"],
        },
        "relationships": related,
        "links": {"self": resource_address(call, "events", row["id"])},
    }


def metric(call: Call, row: Row) -> dict[str, Any]:
    is_api = row["service"] == "api"
    integration = {
        "object": "integration",
        "id": "0eMvjm" if is_api else "7FtS4J",
        "name": {"api": "API", "klaviyo": "Klaviyo"}.get(row["service"], row["service"]),
        "category": "API" if is_api else "Internal",
    }
    dates = {"created": written(row["created_at"]), "updated": written(row["updated_at"])}
    return {
        "type": "metric",
        "id": row["id"],
        "attributes": {"name": row["name"], **dates, "integration": integration},
        "relationships": {"flow-triggers": relation(call, "metrics", row["id"], "flow-triggers")},
        "links": {"self": resource_address(call, "metrics", row["id"])},
    }


def account(call: Call, row: Row) -> dict[str, Any]:
    address = {
        "address1": "1 Mill Lane",
        "address2": "",
        "city": "Leeds",
        "region": "West Yorkshire",
        "country": "United Kingdom",
        "zip": "LS1 1AA",
    }
    return {
        "type": "account",
        "id": row["public_key"],
        "attributes": {
            "test_account": True,
            "contact_information": {
                "default_sender_name": row["name"],
                "default_sender_email": "shop@example.com",
                "website_url": None,
                "organization_name": row["name"],
                "street_address": address,
            },
            "industry": None,
            "timezone": row["timezone"],
            "preferred_currency": row["currency"],
            "public_api_key": row["public_key"],
            "locale": "en-GB",
        },
        "links": {"self": resource_address(call, "accounts", row["public_key"])},
    }


def imported(call: Call, row: Row) -> dict[str, Any]:
    """A bulk import of profiles."""
    collection = "profile-bulk-import-jobs"
    errors = resource_address(call, collection, row["ref"], "import-errors")
    lists = [{"type": "list", "id": name} for name in orjson.loads(row["lists"])]
    return {
        "type": "profile-bulk-import-job",
        "id": row["ref"],
        "attributes": {
            "status": row["status"],
            "created_at": written(row["created_at"]),
            "total_count": row["total"],
            "completed_count": row["completed"],
            "failed_count": row["failed"],
            "completed_at": _date(row["completed_at"]),
            "expires_at": _date(row["expires_at"]),
            "started_at": _date(row["started_at"]),
        },
        "relationships": {
            "lists": {"data": lists, **relation(call, collection, row["ref"], "lists")},
            "profiles": relation(call, collection, row["ref"], "profiles"),
            "import-errors": {"links": {"related": errors}},
        },
        "links": {"self": resource_address(call, collection, row["ref"])},
    }
