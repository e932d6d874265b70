"""Keys of @idempotent mutations: kept for a day, the same call again is answered from its result as it stands now."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from sandbox.outbox import Outbox
from sandbox.store import Row, Store

KEY_LIFETIME_SECONDS = 24 * 3600

UserError = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What a mutation made, as the id it can be looked up by, or why it made nothing."""

    result: str | None
    errors: list[UserError]


def once(
    store: Store,
    outbox: Outbox,
    shop: Row,
    key: str,
    operation: str,
    given: dict[str, Any],
    attempt: Callable[[], Outcome],
) -> Outcome:
    """One whole call in one transaction; the key decides whether it is a repetition."""
    if outbox.faults.strike("idempotency_concurrent", f"{operation} {key}"):
        message = "Another request with this idempotency key is being processed; try again with the same key."
        return Outcome(None, [_error("IDEMPOTENCY_CONCURRENT_REQUEST", message)])
    digest = hashlib.sha256(orjson.dumps(given, option=orjson.OPT_SORT_KEYS)).hexdigest()
    with store.transaction():
        # The app of a shop is one and stays one, so its client id is the shop's.
        where = (shop["id"], shop["client_id"], key)
        store.run("delete from attempts where created_at < ?", (store.wall() - KEY_LIFETIME_SECONDS,))
        earlier = store.one("select * from attempts where shop_id = ? and client_id = ? and key = ?", where)
        if earlier is not None:
            return _repeat(earlier, operation, digest)
        outcome = attempt()
        store.insert(
            "attempts",
            shop_id=shop["id"],
            client_id=shop["client_id"],
            key=key,
            operation=operation,
            digest=digest,
            result=outcome.result,
            failed=bool(outcome.errors),
            created_at=store.wall(),
        )
    return outcome


def _repeat(earlier: Row, operation: str, digest: str) -> Outcome:
    if (earlier["operation"], earlier["digest"]) != (operation, digest):
        message = "This idempotency key was used before with other arguments."
        return Outcome(None, [_error("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", message)])
    if earlier["failed"]:
        message = "The earlier request with this idempotency key failed; use a new key."
        return Outcome(None, [_error("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", message)])
    return Outcome(earlier["result"], [])


def _error(code: str, message: str) -> UserError:
    return {"code": code, "field": None, "message": message}
