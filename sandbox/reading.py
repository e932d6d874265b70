"""Reads what the control API is sent."""

from typing import Any

from sandbox.errors import Refused

Body = dict[str, Any]


def text(given: Body, name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise Refused("missing", f"{name} is needed and must be text.")
    return value


def whole(given: Body, name: str) -> int:
    value = given.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused("missing", f"{name} is needed and must be a whole number.")
    return value


def objects(given: Body, name: str) -> list[Body]:
    value = given.get(name)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Refused("missing", f"{name} is needed and must be a list of objects.")
    return value
