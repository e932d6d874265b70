"""Profiles of people: found by any of their identifiers, changed field by field, and merged."""

from collections.abc import Callable
from typing import Any

import orjson

from sandbox.store import Row, Store
from sandbox.vendors.klaviyo.names import ulid
from sandbox.vendors.klaviyo.problems import Denied, Problem, not_found
from sandbox.vendors.klaviyo.profile_shapes import IDENTIFIERS

# Never kept: a way to name somebody that is exchanged for the profile, and orders to change what is there.
_PASSING = ("_kx", "meta")


class Profiles:
    def __init__(self, store: Store, date: Callable[[], float]) -> None:
        self._store = store
        self._date = date

    def find(self, account_id: int, profile_id: str) -> Row | None:
        """One that was merged into another is found as that one."""
        row = self._store.one(
            "select * from klaviyo_profiles where account_id = ? and id = ?", (account_id, profile_id)
        )
        if row is not None and row["merged_into"] is not None:
            return self.find(account_id, row["merged_into"])
        return row

    def matching(self, account_id: int, given: dict[str, Any]) -> list[Row]:
        """Those that have one of the identifiers, by the strength of what they match."""
        found: dict[str, Row] = {}
        for name in IDENTIFIERS:
            if given.get(name) is None:
                continue
            row = self._store.one(
                f"select * from klaviyo_profiles where account_id = ? and {name} = ?", (account_id, given[name])
            )
            if row is not None:
                found.setdefault(row["id"], row)
        return list(found.values())

    def create(self, account_id: int, given: dict[str, Any]) -> Row:
        """Raises Denied when one of the identifiers is taken. Call inside a transaction."""
        given = _plain(given)
        if taken := self.matching(account_id, given):
            raise _duplicate(taken[0]["id"])
        date, number = self._date(), self._store.next_id("klaviyo_profile")
        profile_id = ulid(date, "profile", number)
        self._store.insert(
            "klaviyo_profiles",
            id=profile_id,
            account_id=account_id,
            number=number,
            attributes=orjson.dumps({k: v for k, v in given.items() if k not in IDENTIFIERS}).decode(),
            created_at=date,
            updated_at=date,
            **{name: given.get(name) for name in IDENTIFIERS},
        )
        return self._there(account_id, profile_id)

    def update(self, account_id: int, row: Row, given: dict[str, Any], orders: dict[str, Any] | None = None) -> Row:
        """What is given takes the place of what is there, null clears, and what is not given stays; custom properties
        likewise, one by one. `orders` is the vendor's patch_properties. Raises Denied when an identifier is taken."""
        given = _plain(given)
        for other in self.matching(account_id, given):
            if other["id"] != row["id"]:
                raise _duplicate(other["id"])
        kept = orjson.loads(row["attributes"])
        for name, value in given.items():
            if name in ("properties", "location") and value is not None:
                value = {**(kept.get(name) or {}), **value}
            if name not in IDENTIFIERS:
                kept[name] = value
        _patch(kept, (orders or {}).get("patch_properties") or {})
        identifiers = [given.get(name, row[name]) for name in IDENTIFIERS]
        self._store.run(
            "update klaviyo_profiles set email = ?, phone_number = ?, external_id = ?, anonymous_id = ?,"
            " attributes = ?, updated_at = ? where id = ?",
            (*identifiers, orjson.dumps(kept).decode(), self._date(), row["id"]),
        )
        return self._there(account_id, row["id"])

    def upsert(
        self, account_id: int, profile_id: str | None, given: dict[str, Any], orders: dict[str, Any] | None = None
    ) -> tuple[Row, bool]:
        """The profile, and whether it is new. Raises Denied for an id that does not exist or an identifier that belongs
        to somebody else."""
        if profile_id:
            row = self.find(account_id, profile_id)
            if row is None:
                raise Denied(404, not_found(f"A profile with the id '{profile_id}' does not exist.", "/data/id"))
            return self.update(account_id, row, given, orders), False
        found = self.matching(account_id, given)
        if found:
            # The strongest identifier says who it is; what belongs to another stays with that one.
            others = {name for row in found[1:] for name in IDENTIFIERS if row[name] and row[name] == given.get(name)}
            mine = {name: value for name, value in given.items() if name not in others}
            return self.update(account_id, found[0], mine, orders), False
        row = self.create(account_id, given)
        return (self.update(account_id, row, {}, orders) if orders else row), True

    def merge(self, account_id: int, source: Row, target: Row) -> None:
        """The source is gone: its events go over, and what the target lacks. Call inside a transaction."""
        kept = {**orjson.loads(source["attributes"]), **_set(orjson.loads(target["attributes"]))}
        empty = "update klaviyo_profiles set email = null, phone_number = null, external_id = null,"
        self._store.run(f"{empty} anonymous_id = null, merged_into = ? where id = ?", (target["id"], source["id"]))
        self._store.run(
            "update klaviyo_profiles set email = ?, phone_number = ?, external_id = ?, anonymous_id = ?,"
            " attributes = ?, updated_at = ? where id = ?",
            (
                *(target[name] or source[name] for name in IDENTIFIERS),
                orjson.dumps(kept).decode(),
                self._date(),
                target["id"],
            ),
        )
        for table in ("klaviyo_events", "klaviyo_waiting"):
            self._store.run(
                f"update or ignore {table} set profile_id = ? where profile_id = ?", (target["id"], source["id"])
            )
            self._store.run(f"delete from {table} where profile_id = ?", (source["id"],))

    def _there(self, account_id: int, profile_id: str) -> Row:
        row = self.find(account_id, profile_id)
        assert row is not None
        return row


def _duplicate(profile_id: str) -> Denied:
    detail = "A profile already exists with one of these identifiers."
    problem = Problem("duplicate_profile", "Conflict.", detail, "/data/attributes")
    return Denied(409, problem, meta={"duplicate_profile_id": profile_id})


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in _PASSING}


def _set(kept: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kept.items() if value not in (None, {}, "")}


def _patch(kept: dict[str, Any], orders: dict[str, Any]) -> None:
    """Append to lists, take out of lists, unset; in this order."""
    properties = dict(kept.get("properties") or {})
    for name, value in (orders.get("append") or {}).items():
        properties[name] = [*_listed(properties.get(name)), *_listed(value)]
    for name, value in (orders.get("unappend") or {}).items():
        properties[name] = [entry for entry in _listed(properties.get(name)) if entry not in _listed(value)]
    gone = orders.get("unset") or []
    for name in [gone] if isinstance(gone, str) else gone:
        properties.pop(name, None)
    kept["properties"] = properties


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
