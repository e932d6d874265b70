"""Accounts of the fake Klaviyo, their private keys, and how fast their jobs go."""

import secrets
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import orjson

from sandbox.errors import NotFound, Refused
from sandbox.store import Row, Store
from sandbox.vendors.klaviyo.names import short_id

SCOPES = (
    "accounts:read", "catalogs:read", "catalogs:write", "events:read", "events:write", "lists:read", "lists:write",
    "metrics:read", "profiles:read", "profiles:write",
)  # fmt: skip
FULL_KEY = "full"
# Seconds of the sandbox clock: what a job waits, what it takes, by which part of that it may take more or less, and
# how long it can be read when it is over.
PACE = {"queued_seconds": 1.0, "processing_seconds": 3.0, "spread": 0.5, "kept_seconds": 86_400.0}


def open_account(store: Store, name: str, currency: str = "GBP", timezone: str = "Europe/London") -> Row:
    """Opens the account with a key that may do everything; the same name again returns it as it is.

    Raises Refused for a timezone that does not exist.
    """
    if timezone not in available_timezones():
        raise Refused("unknown_timezone", f"No timezone {timezone!r}.")
    with store.transaction():
        if store.one("select 1 from klaviyo_accounts where name = ?", (name,)) is None:
            number = store.next_id("klaviyo_account")
            store.insert(
                "klaviyo_accounts",
                id=number,
                public_key=short_id("account", number),
                name=name,
                timezone=str(ZoneInfo(timezone)),
                currency=currency,
                **PACE,
            )
            add_key(store, number, FULL_KEY, SCOPES)
    account = store.one("select * from klaviyo_accounts where name = ?", (name,))
    assert account is not None
    return account


def add_key(store: Store, account_id: int, name: str, scopes: tuple[str, ...]) -> str:
    """A new private key. Raises Refused for a scope that does not exist."""
    if unknown := set(scopes) - set(SCOPES):
        raise Refused("unknown_scope", f"The scope {min(unknown)!r} is none of {', '.join(SCOPES)}.")
    key = f"pk_{secrets.token_hex(17)}"
    with store.transaction():
        store.insert(
            "klaviyo_keys", key=key, account_id=account_id, name=name, scopes=orjson.dumps(sorted(scopes)).decode()
        )
    return key


def revoke_key(store: Store, account_id: int, key: str) -> None:
    """Raises NotFound."""
    with store.transaction():
        if not store.run("delete from klaviyo_keys where account_id = ? and key = ?", (account_id, key)):
            raise NotFound("key", key)


def find_account(store: Store, public_key: str) -> Row:
    """Raises NotFound."""
    account = store.one("select * from klaviyo_accounts where public_key = ?", (public_key,))
    if account is None:
        raise NotFound("account", public_key)
    return account


def set_pace(store: Store, account_id: int, pace: dict[str, float]) -> None:
    """Any of queued_seconds, processing_seconds, spread (0 to 1) and kept_seconds. Raises Refused."""
    for name, value in pace.items():
        if name not in PACE:
            raise Refused("unknown_pace", f"{name!r} is none of {', '.join(PACE)}.")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or value < 0 or (name == "spread" and value > 1):
            raise Refused("invalid_pace", f"{name} must be a number of 0 or more, and spread at most 1.")
    with store.transaction():
        for name, value in pace.items():
            store.run(f"update klaviyo_accounts set {name} = ? where id = ?", (value, account_id))


def account_of(store: Store, key: str) -> tuple[Row, frozenset[str]] | None:
    """Whom the private key speaks for, and what it may."""
    row = store.one("select account_id, scopes from klaviyo_keys where key = ?", (key,))
    if row is None:
        return None
    account = store.one("select * from klaviyo_accounts where id = ?", (row["account_id"],))
    assert account is not None
    return account, frozenset(orjson.loads(row["scopes"]))


def describe_account(store: Store, account: Row) -> dict[str, Any]:
    """What a test needs to talk to it, its keys included."""
    rows = store.all("select * from klaviyo_keys where account_id = ? order by name, key", (account["id"],))
    keys = [{"name": row["name"], "key": row["key"], "scopes": orjson.loads(row["scopes"])} for row in rows]
    described = {name: account[name] for name in ("public_key", "name", "timezone", "currency", *PACE)}
    return {**described, "keys": keys, "private_key": next((k["key"] for k in keys if k["name"] == FULL_KEY), None)}


def every_account(store: Store) -> list[dict[str, Any]]:
    return [describe_account(store, row) for row in store.all("select * from klaviyo_accounts order by id")]
