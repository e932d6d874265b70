"""The form that profiles and events must have."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.vendors.klaviyo.problems import Problem, invalid
from sandbox.vendors.klaviyo.shapes import WORDS, Check, is_named, is_number, is_object, is_text, is_texts, is_truth

IDENTIFIERS = ("email", "phone_number", "external_id", "anonymous_id")
_KEPT: dict[str, Check] = {
    "first_name": is_text,
    "last_name": is_text,
    "organization": is_text,
    "locale": is_text,
    "title": is_text,
    "image": is_text,
}
PROFILE: dict[str, Check] = {
    "email": is_text,
    "phone_number": is_text,
    "external_id": is_text,
    **_KEPT,
    "location": is_object,
    "properties": is_object,
}
UPSERTED: dict[str, Check] = PROFILE | {"_kx": is_text}
OF_EVENTS: dict[str, Check] = UPSERTED | {"anonymous_id": is_text, "meta": is_object}
IDENTIFIED: dict[str, Check] = {"email": is_text, "phone_number": is_text, "external_id": is_text}
EVENT: dict[str, Check] = {
    "properties": is_object,
    "time": is_text,
    "value": is_number,
    "value_currency": is_text,
    "unique_id": is_text,
    "backfill": is_truth,
    "metric": is_object,
}
METRIC: dict[str, Check] = {"name": is_named, "service": is_text}
LOCATION = ("address1", "address2", "city", "country", "latitude", "longitude", "region", "zip", "timezone", "ip")
PROFILE_MAX = 100_000
STRING_MAX = 100_000
PROPERTIES_MAX = 400
FIRST_YEAR = 1990
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE = re.compile(r"\+[1-9]\d{6,14}")


def field_problems(
    kind: str, known: dict[str, Check], given: Any, at: str, needed: tuple[str, ...] = ()
) -> Iterator[Problem]:
    """Of attributes: what is unknown, of another form or missing."""
    if not isinstance(given, dict):
        yield invalid("The attributes are required and must be an object.", at)
        return
    for name, value in given.items():
        if name not in known:
            yield invalid(f"'{name}' is not a valid field for the resource '{kind}'.", f"{at}/{name}")
        elif value is None and name not in needed:
            continue
        elif not known[name](value):
            yield invalid(f"'{name}' must be {WORDS[known[name]]}.", f"{at}/{name}")
    for name in needed:
        if name not in given:
            yield invalid(f"'{name}' is a required field for the resource '{kind}'.", f"{at}/{name}")


def resource_problems(kind: str, members: set[str], given: Any, at: str) -> Iterator[Problem]:
    """Of the frame around the attributes."""
    if not isinstance(given, dict) or given.get("type") != kind:
        yield invalid(f"A resource of the type '{kind}' is needed.", at)
        return
    for name in given.keys() - members:
        yield invalid(f"'{name}' is not a valid member of the resource '{kind}'.", f"{at}/{name}")


def profile_problems(
    given: Any, at: str, known: dict[str, Check], members: set[str], *, needs_identifier: bool
) -> Iterator[Problem]:
    if found := list(resource_problems("profile", members, given, at)):
        yield from found
        return
    if given.get("id") is not None and not is_named(given["id"]):
        yield invalid("The id of a profile is text.", f"{at}/id")
    yield from field_problems("profile", known, given.get("attributes"), f"{at}/attributes")
    if isinstance(given.get("attributes"), dict) and "meta" in given["attributes"]:
        yield from _order_problems(given["attributes"]["meta"], f"{at}/attributes/meta")
    yield from _order_problems(given.get("meta"), f"{at}/meta")
    attributes = given["attributes"] if isinstance(given.get("attributes"), dict) else {}
    email, phone = attributes.get("email"), attributes.get("phone_number")
    if isinstance(email, str) and not _EMAIL.fullmatch(email):
        yield invalid(f"Invalid email address: '{email}'.", f"{at}/attributes/email")
    if isinstance(phone, str) and not _PHONE.fullmatch(phone):
        yield invalid(f"Invalid phone number format: '{phone}' is not E.164.", f"{at}/attributes/phone_number")
    for name in (attributes.get("location") or {}) if isinstance(attributes.get("location"), dict) else ():
        if name not in LOCATION:
            yield invalid(f"'{name}' is not a valid field of a location.", f"{at}/attributes/location/{name}")
    if needs_identifier and not given.get("id") and not any(attributes.get(name) for name in (*IDENTIFIERS, "_kx")):
        yield invalid("One or more of the identifiers id, email, phone_number, external_id is needed.", at)


def _order_problems(meta: Any, at: str) -> Iterator[Problem]:
    """Of orders to change single properties."""
    if meta is None:
        return
    if not isinstance(meta, dict) or meta.keys() - {"patch_properties", "patch_identifiers"}:
        yield invalid("The meta of a profile is 'patch_properties' and 'patch_identifiers'.", at)
        return
    for name, orders in meta.items():
        to = f"{at}/{name}"
        if not isinstance(orders, dict) or orders.keys() - {"append", "unappend", "unset"}:
            yield invalid("It says 'append', 'unappend' and 'unset'.", to)
            continue
        for word in ("append", "unappend"):
            if orders.get(word) is not None and not is_object(orders[word]):
                yield invalid(f"'{word}' is an object.", f"{to}/{word}")
        if not is_texts(orders.get("unset", [])) and not is_text(orders["unset"]):
            yield invalid("'unset' is a name or a list of names.", f"{to}/unset")


def event_problems(given: Any, at: str, now: float, *, in_bulk: bool) -> Iterator[Problem]:
    """`in_bulk` is an entry of many, whose profile stands beside it."""
    if found := list(resource_problems("event", {"type", "attributes"}, given, at)):
        yield from found
        return
    attributes, to = given.get("attributes"), f"{at}/attributes"
    known = EVENT if in_bulk else EVENT | {"profile": is_object}
    needed = ("properties", "metric") if in_bulk else ("properties", "metric", "profile")
    if found := list(field_problems("event", known, attributes, to, needed)):
        yield from found
        return
    yield from _content_problems(attributes, to, now)
    metric, of_metric = attributes["metric"].get("data"), f"{to}/metric/data"
    if found := list(resource_problems("metric", {"type", "attributes"}, metric, of_metric)):
        yield from found
    else:
        yield from field_problems("metric", METRIC, metric.get("attributes"), f"{of_metric}/attributes", ("name",))
    if not in_bulk:
        profile, members = attributes["profile"].get("data"), {"type", "id", "attributes"}
        yield from profile_problems(profile, f"{to}/profile/data", OF_EVENTS, members, needs_identifier=True)


def _content_problems(attributes: dict[str, Any], at: str, now: float) -> Iterator[Problem]:
    properties = attributes["properties"]
    if len(properties) > PROPERTIES_MAX:
        yield invalid(f"An event has at most {PROPERTIES_MAX} properties, not {len(properties)}.", f"{at}/properties")
    for name, value in properties.items():
        if isinstance(value, str) and len(value.encode()) > STRING_MAX:
            yield invalid(f"'{name}' has more than {STRING_MAX} bytes.", f"{at}/properties/{name}")
    if attributes.get("time") is None:
        return
    try:
        moment = instant(attributes["time"])
    except ValueError:
        yield invalid(f"'{attributes['time']}' is not an ISO 8601 instant.", f"{at}/time")
        return
    last = datetime.fromtimestamp(now, UTC) + timedelta(days=366)
    if moment.year < FIRST_YEAR or moment > last:
        yield invalid(f"The time must be after {FIRST_YEAR} and at most a year ahead.", f"{at}/time")


def instant(text: str) -> datetime:
    """A time without offset is taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
