"""Setting available quantities by compare-and-set, many in one idempotent call.

Sources: shopify.dev/docs/api/admin-graphql/latest/mutations/inventorySetQuantities, .../usage/idempotent-requests.
One stale pair makes Shopify refuse the whole call, so its neighbours were surely not written either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from core.adapters.http import OutcomeUnknown, Refused, Throttled, Unauthorised, Unreachable, WritesStopped
from core.adapters.shopify import documents
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.fields import Body, OptionalInstant, refined
from core.adapters.shopify.ids import gid
from core.errors import Permanent, Retryable
from core.ports import LevelObservation, QuantityResult, QuantityWrite, WriteOutcome

# One of the reasons Shopify knows (.../inventory-management-apps/manage-quantities-states).
_REASON = "correction"
_STALE = "CHANGE_FROM_QUANTITY_STALE"
_STILL_RUNNING = "IDEMPOTENCY_CONCURRENT_REQUEST"
_WHOLE_CALL = ("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "IDEMPOTENCY_KEY_PARAMETER_MISMATCH")
_STILL_RUNNING_TRIES = 5
_STILL_RUNNING_PAUSE = 1.0


class _Group(Body):
    created_at: OptionalInstant = None


@dataclass(frozen=True)
class UserError:
    """One objection; `position` is the element of the call it concerns, where it says."""

    code: str
    message: str
    position: int | None


class Quantities:
    """Writes the quantities of one shop."""

    def __init__(
        self,
        graphql: GraphQL,
        read_levels: Callable[[Sequence[str]], Sequence[LevelObservation]],
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
    ) -> None:
        self._graphql = graphql
        self._read_levels = read_levels
        self._now = now
        self._sleep = sleep

    def set(self, writes: Sequence[QuantityWrite]) -> list[QuantityResult]:
        """One call for each idempotency key, in the order given; never raises for what happens outside."""
        results: dict[int, QuantityResult] = {}
        by_key: dict[str, list[QuantityWrite]] = {}
        for write in writes:
            if write.inventory_ref is None or not write.location_ref:
                reason = "the listing names no inventory item or no location at the channel"
                results[write.write_id] = _result(write, "refused", "NO_INVENTORY_REF", reason)
            else:
                by_key.setdefault(write.idempotency_key, []).append(write)
        for key, group in by_key.items():
            results.update((result.write_id, result) for result in self._set_group(key, group))
        return [results[write.write_id] for write in writes]

    def _set_group(self, key: str, writes: Sequence[QuantityWrite]) -> list[QuantityResult]:
        variables = {"input": _input(writes), "key": key}
        sent_at = self._now()
        try:
            payload, errors = self._send(variables)
        except OutcomeUnknown as error:
            return _all(writes, "unknown", "NO_ANSWER", str(error))
        except Throttled as error:
            return _all(writes, "unsent", "THROTTLED", str(error))
        except Unreachable as error:
            return _all(writes, "unsent", "UNREACHABLE", str(error))
        except WritesStopped as error:
            return _all(writes, "unsent", "WRITES_STOPPED", error.why)
        except Unauthorised as error:
            return _all(writes, "refused", "UNAUTHORISED", error.reason)
        except Refused as error:
            return _all(writes, "refused", error.code, error.reason)
        except (Retryable, Permanent) as error:
            # Before the call could leave: no token was to be had.
            return _all(writes, "unsent", "NO_TOKEN", str(error))
        if not errors:
            # Whatever moved the number before was seen by the comparison, so it happened before we sent.
            created_at = _created_at(payload)
            at = refined(created_at, sent_at) if created_at else None
            return [QuantityResult(write.write_id, "confirmed", at=at) for write in writes]
        return self._objections(writes, errors)

    def _send(self, variables: dict[str, Any]) -> tuple[dict[str, Any], list[UserError]]:
        """The payload and its errors. While an earlier attempt is still running, asks again with the same key."""
        for attempt in range(_STILL_RUNNING_TRIES):
            try:
                answer = self._graphql.run("set_quantities", documents.SET_QUANTITIES, variables, "idempotent")
            except (Retryable, Permanent) as error:
                if attempt:
                    # Only the question did not get through: the attempt that was running may have ended well.
                    raise OutcomeUnknown("set_quantities", str(error)) from error
                raise
            payload = answer.get("inventorySetQuantities")
            if not isinstance(payload, dict):
                raise OutcomeUnknown("set_quantities", "an answer without its result")
            errors = [_user_error(error) for error in payload.get("userErrors") or []]
            if not any(error.code == _STILL_RUNNING for error in errors):
                return payload, errors
            self._sleep(_STILL_RUNNING_PAUSE * (attempt + 1))
        raise OutcomeUnknown("set_quantities", "an earlier attempt with the same key is still running")

    def _objections(self, writes: Sequence[QuantityWrite], errors: Sequence[UserError]) -> list[QuantityResult]:
        whole = next((error for error in errors if error.code in _WHOLE_CALL), None)
        if whole is not None:
            return _all(writes, "refused", whole.code, whole.message)
        named = {error.position: error for error in reversed(errors) if error.position is not None}
        if not named:
            return self._unplaced(writes, errors[0])
        stale = [writes[place] for place, error in named.items() if error.code == _STALE and place < len(writes)]
        neighbour = "NEIGHBOUR_STALE" if stale else "NEIGHBOUR_REFUSED"
        shown = self._shown(stale)
        results = []
        for place, write in enumerate(writes):
            error = named.get(place)
            if error is None:
                results.append(_result(write, "refused", neighbour, "another write of the same call was not accepted"))
            elif error.code == _STALE:
                results.append(_stale(write, error, shown))
            else:
                results.append(_result(write, "refused", error.code, error.message))
        return results

    def _unplaced(self, writes: Sequence[QuantityWrite], error: UserError) -> list[QuantityResult]:
        """An objection that names no element concerns them all."""
        if error.code != _STALE:
            return _all(writes, "refused", error.code, error.message)
        shown = self._shown(writes)
        return [_stale(write, error, shown) for write in writes]

    def _shown(self, writes: Sequence[QuantityWrite]) -> dict[tuple[str | None, str], LevelObservation]:
        """What the channel shows now, by item and location; empty when it cannot be read just now."""
        if not writes:
            return {}
        try:
            found = self._read_levels([write.inventory_ref for write in writes if write.inventory_ref])
        except (Retryable, Permanent):
            return {}
        return {(level.inventory_ref, level.location_ref): level for level in found}


def _input(writes: Sequence[QuantityWrite]) -> dict[str, Any]:
    """The same variables for the same writes, always: a repeated key with others is refused."""
    return {
        "name": "available",
        "reason": _REASON,
        "quantities": [
            {
                "inventoryItemId": gid("InventoryItem", str(write.inventory_ref)),
                "locationId": gid("Location", write.location_ref),
                "quantity": write.to_units,
                # Always present: leaving it out is refused at run time; null means an absolute set.
                "changeFromQuantity": write.from_units,
            }
            for write in writes
        ],
    }


def _user_error(error: Any) -> UserError:
    """`field` is like ["input", "quantities", "0", "changeFromQuantity"]."""
    error = error if isinstance(error, dict) else {}
    path = [str(step) for step in error.get("field") or []]
    position = next((int(step) for step in path if step.isdigit()), None)
    return UserError(str(error.get("code") or "USER_ERROR"), str(error.get("message") or "")[:300], position)


def _created_at(payload: dict[str, Any]) -> datetime | None:
    """The channel's time of the change; no group is made when nothing changed."""
    group = payload.get("inventoryAdjustmentGroup") or {}
    try:
        return _Group.model_validate({"created_at": group.get("createdAt")}).created_at
    except ValidationError:
        return None


def _result(write: QuantityWrite, outcome: WriteOutcome, code: str, detail: str) -> QuantityResult:
    return QuantityResult(write.write_id, outcome, code, detail)


def _all(writes: Sequence[QuantityWrite], outcome: WriteOutcome, code: str, detail: str) -> list[QuantityResult]:
    return [_result(write, outcome, code, detail) for write in writes]


def _stale(
    write: QuantityWrite, error: UserError, shown: dict[tuple[str | None, str], LevelObservation]
) -> QuantityResult:
    level = shown.get((write.inventory_ref, write.location_ref))
    return QuantityResult(
        write.write_id,
        "stale",
        error.code,
        error.message,
        observed_units=level.units if level else None,
        at=level.observed_at if level else None,
    )
