"""Setting available quantities by compare-and-set, many in one idempotent call.

Sources: shopify.dev/docs/api/admin-graphql/latest/mutations/inventorySetQuantities, .../usage/idempotent-requests.
One stale pair makes Shopify refuse the whole call, so its neighbours were surely not written either.

A doubtful call is sent again with its key. Shopify answers a key from what its first request came to, so what it says
of the content holds for that too: had the first landed, the answer were its success. What it says of the request, the
shop or the access holds for the repetition alone, and the call stays in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from core.adapters.base import urgency_of
from core.adapters.http import OutcomeUnknown, Refused, Throttled, Unauthorised, Unreachable, Urgency, WritesStopped
from core.adapters.meanings import Act
from core.adapters.shopify import documents
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.errors import ERRORS
from core.adapters.shopify.fields import Body, OptionalInstant
from core.adapters.shopify.ids import gid
from core.adapters.stamps import refined
from core.errors import Permanent, Retryable
from core.ports import LevelObservation, QuantityResult, QuantityWrite, WriteOutcome

# One of the reasons Shopify knows (.../inventory-management-apps/manage-quantities-states).
_REASON = "correction"
_UNITS_MAX = 1_000_000_000
_MISMATCH = "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"
_STILL_RUNNING_TRIES = 5
_STILL_RUNNING_PAUSE = 1.0


Shown = dict[tuple[str | None, str], LevelObservation]
"""Levels by item and location."""


class _Group(Body):
    created_at: OptionalInstant = None


@dataclass(frozen=True)
class UserError:
    """One objection, in our words and Shopify's; `position` is the element of the call it concerns, where it says."""

    code: str
    message: str
    position: int | None

    @property
    def act(self) -> Act:
        """What we do about it."""
        return ERRORS.of_objection(self.code).act

    @property
    def ends_a_doubt(self) -> bool:
        """Whether nothing was carried out under the key, now or before.

        A refused comparison or value is the key's own answer, and a failed earlier attempt is over. A mismatch says
        that there was an earlier request, and not what became of it; of a code we do not know nothing is concluded.
        """
        return (
            self.code in ERRORS.objections and self.code != _MISMATCH and self.act in ("replan", "refuse", "fresh_key")
        )


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
            beside = by_key.setdefault(write.idempotency_key, [])
            problem = _cannot_be_sent(write, beside)
            if problem is None:
                beside.append(write)
            else:
                results.update((result.write_id, result) for result in _not_taken([write], *problem))
        for key, group in by_key.items():
            if not group:
                continue
            results.update((result.write_id, result) for result in self._set_group(key, group))
        return [results[write.write_id] for write in writes]

    def _set_group(self, key: str, writes: Sequence[QuantityWrite]) -> list[QuantityResult]:
        variables = {"input": _input(writes), "key": key}
        sent_at = self._now()
        try:
            payload, errors = self._send(variables, urgency_of(writes))
        except OutcomeUnknown as error:
            return _all(writes, "unknown", "NO_ANSWER", str(error))
        except Throttled as error:
            return _all(writes, "unsent", "THROTTLED", str(error))
        except Unreachable as error:
            return _all(writes, "unsent", "UNREACHABLE", str(error))
        except WritesStopped as error:
            return _all(writes, "unsent", "WRITES_STOPPED", error.why)
        except Unauthorised as error:
            return _not_taken(writes, "UNAUTHORISED", error.reason)
        except Refused as error:
            return _not_taken(writes, error.code, error.reason)
        except (Retryable, Permanent) as error:
            # Before the call could leave: no token was to be had.
            return _all(writes, "unsent", "NO_TOKEN", str(error))
        return self._objections(writes, errors) if errors else self._accepted(writes, payload, sent_at)

    def _accepted(
        self, writes: Sequence[QuantityWrite], payload: dict[str, Any], sent_at: datetime
    ) -> list[QuantityResult]:
        """Confirmed, but for items that are not stocked at the location: of these Shopify says nothing at all.

        What is not among the changes may also have been applied by an earlier attempt; so only a level that is not
        there proves that nothing was done.
        """
        # Whatever moved the number before was seen by the comparison, so it happened before we sent.
        created_at = _created_at(payload)
        at = refined(created_at, sent_at) if created_at else None
        results = {write.write_id: QuantityResult(write.write_id, "confirmed", at=at) for write in writes}
        silent = _silent(writes, payload)
        if silent:
            shown = self._shown(silent)
            for write in silent:
                if shown is None:
                    reason = "what became of it could not be read"
                    results[write.write_id] = _result(write, "unknown", "NOT_READ_BACK", reason)
                elif (write.inventory_ref, write.location_ref) not in shown:
                    reason = "the item is not stocked at this location: activate it there"
                    results[write.write_id] = _result(write, "refused", "NOT_STOCKED_AT_LOCATION", reason)
        return list(results.values())

    def _send(self, variables: dict[str, Any], urgency: Urgency) -> tuple[dict[str, Any], list[UserError]]:
        """The payload and its errors. While an earlier attempt is still running, asks again with the same key."""
        for attempt in range(_STILL_RUNNING_TRIES):
            try:
                answer = self._graphql.run("set_quantities", documents.SET_QUANTITIES, variables, "idempotent", urgency)
            except Refused as error:
                # What concerns the key comes among the user errors, or among those of the whole request.
                if ERRORS.of_objection(error.code).act not in ("same_key", "fresh_key"):
                    raise
                payload: Any = {}
                errors = [UserError(error.code, error.reason, None)]
            except (Retryable, Permanent) as error:
                if attempt:
                    # Only the question did not get through: the attempt that was running may have ended well.
                    raise OutcomeUnknown("set_quantities", str(error)) from error
                raise
            else:
                payload = answer.get("inventorySetQuantities")
                if not isinstance(payload, dict):
                    raise OutcomeUnknown("set_quantities", "an answer without its result")
                errors = [_user_error(error) for error in payload.get("userErrors") or []]
            if not any(error.act == "same_key" for error in errors):
                return payload, errors
            self._sleep(_STILL_RUNNING_PAUSE * (attempt + 1))
        raise OutcomeUnknown("set_quantities", "an earlier attempt with the same key is still running")

    def _objections(self, writes: Sequence[QuantityWrite], errors: Sequence[UserError]) -> list[QuantityResult]:
        if not any(error.ends_a_doubt for error in errors) and any(write.is_doubtful for write in writes):
            return _not_taken(writes, errors[0].code, _said(errors))
        whole = next((error for error in errors if error.act == "fresh_key"), None)
        if whole is not None:
            return _all(writes, "refused", whole.code, _said(errors))
        named = _by_place(errors)
        if not named:
            return self._unplaced(writes, errors)
        stale = [writes[place] for place, error in named.items() if error.act == "replan" and place < len(writes)]
        neighbour = "NEIGHBOUR_STALE" if stale else "NEIGHBOUR_REFUSED"
        shown = self._shown(stale) or {}
        results = []
        for place, write in enumerate(writes):
            error = named.get(place)
            if error is None:
                results.append(_result(write, "refused", neighbour, "another write of the same call was not accepted"))
            elif error.act == "replan":
                results.append(_stale(write, error, shown))
            else:
                results.append(_result(write, "refused", error.code, error.message))
        return results

    def _unplaced(self, writes: Sequence[QuantityWrite], errors: Sequence[UserError]) -> list[QuantityResult]:
        """Objections that name no element concern them all."""
        if errors[0].act != "replan":
            return _all(writes, "refused", errors[0].code, _said(errors))
        shown = self._shown(writes) or {}
        return [_stale(write, errors[0], shown) for write in writes]

    def _shown(self, writes: Sequence[QuantityWrite]) -> Shown | None:
        """What the channel shows now; None when it cannot be read just now."""
        if not writes:
            return {}
        try:
            found = self._read_levels([write.inventory_ref for write in writes if write.inventory_ref])
        except (Retryable, Permanent):
            return None
        return {(level.inventory_ref, level.location_ref): level for level in found}


def _cannot_be_sent(write: QuantityWrite, beside: Sequence[QuantityWrite]) -> tuple[str, str] | None:
    """Why a write must not go into a call with others: Shopify would refuse them all for it. (code, reason)."""
    if write.inventory_ref is None or not write.location_ref:
        return "NO_INVENTORY_REF", "the listing names no inventory item or no location at the channel"
    if not 0 <= write.to_units <= _UNITS_MAX:
        return "QUANTITY_OUT_OF_RANGE", f"{write.to_units:,} units: the channel takes 0 to {_UNITS_MAX:,}"
    place = (write.inventory_ref, write.location_ref)
    if any((other.inventory_ref, other.location_ref) == place for other in beside):
        return "DUPLICATE_PAIR", "another listing of the call is the same item at the same location"
    return None


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
    code, message = str(error.get("code") or "USER_ERROR"), str(error.get("message") or "")[:300]
    return UserError(code, ERRORS.of_objection(code).say(message), position)


def _by_place(errors: Sequence[UserError]) -> dict[int, UserError]:
    """One objection an element: the first code, with everything that is said of it."""
    placed: dict[int, list[UserError]] = {}
    for error in errors:
        if error.position is not None:
            placed.setdefault(error.position, []).append(error)
    return {place: UserError(said[0].code, _said(said), place) for place, said in placed.items()}


def _said(errors: Sequence[UserError]) -> str:
    """Everything that is objected, the first one's code aside."""
    return "; ".join(
        error.message if place == 0 else f"{error.code}: {error.message}" for place, error in enumerate(errors)
    )[:500]


def _silent(writes: Sequence[QuantityWrite], payload: dict[str, Any]) -> list[QuantityWrite]:
    """Writes that should have changed something and are not among what the channel says it changed."""
    group = payload.get("inventoryAdjustmentGroup")
    changes = group.get("changes") if isinstance(group, dict) else ()
    if not isinstance(changes, (list, tuple)):
        return []
    changed = {(_id_of(change, "item"), _id_of(change, "location")) for change in changes}
    return [
        write
        for write in writes
        if write.from_units != write.to_units
        and (gid("InventoryItem", str(write.inventory_ref)), gid("Location", write.location_ref)) not in changed
    ]


def _id_of(change: Any, name: str) -> str:
    node = change.get(name) if isinstance(change, dict) else None
    return str(node.get("id")) if isinstance(node, dict) else ""


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


def _not_taken(writes: Sequence[QuantityWrite], code: str, detail: str) -> list[QuantityResult]:
    """This request was surely not carried out; one that was sent before may have been all the same."""
    return [_result(write, "unknown" if write.is_doubtful else "refused", code, detail) for write in writes]


def _stale(write: QuantityWrite, error: UserError, shown: Shown) -> QuantityResult:
    level = shown.get((write.inventory_ref, write.location_ref))
    return QuantityResult(
        write.write_id,
        "stale",
        error.code,
        error.message,
        observed_units=level.units if level else None,
        at=level.observed_at if level else None,
    )
