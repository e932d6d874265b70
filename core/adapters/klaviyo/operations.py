"""Every operation of Klaviyo's API that we ask for: where it is, and how often it may be asked.

Source: github.com/klaviyo/openapi, openapi/stable.json (revision 2026-07-15), whose `x-klaviyo-ratelimit` carries the
windows; developers.klaviyo.com/en/docs/rate_limits_and_error_handling for how they are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from core.adapters.http import CallKind
from core.catalogue_target import KINDS, VERBS, Kind, Verb

REVISION = "2026-07-15"
PLURALS: Mapping[Kind, str] = {"category": "categories", "item": "items", "variant": "variants"}


@dataclass(frozen=True, slots=True)
class Tier:
    """How often an operation may be called: fixed windows of a second (burst) and of a minute (steady).

    A bucket of `at_once` units that fills at `rate` a second fits into them wherever they begin: in a second it gives
    at most at_once + rate, in a minute at most at_once + 60 rate. `late` more have left before a window begins and
    arrive in it, some at the end of a long way. `steady` is what is counted on until an answer says more.
    """

    burst: int
    steady: int
    at_once: int
    late: int = 0

    def rate(self, steady: float | None = None) -> float:
        """Units a second; `steady` is the window's size as the vendor told it."""
        most = min(steady or self.steady, self.burst * 60)
        return max(most - self.at_once - self.late, 1.0) / 60.0


# The spec says 750 a minute, the general page still 700: see the sources above.
SMALL = Tier(1, 15, 2)
LARGE = Tier(75, 700, 12, late=3)
HUGE = Tier(350, 3500, 50, late=12)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, by its id in the spec. `kind` is as in core.adapters.http.Call."""

    name: str
    method: str
    path: str
    tier: Tier
    kind: CallKind = "read"

    def at(self, ref: str = "") -> str:
        """The path with its id filled in, escaped whole."""
        return self.path.format(id=quote(ref, safe=""))


def job_type(kind: Kind, verb: Verb) -> str:
    """What a job is called in bodies, and without its s in paths."""
    return f"catalog-{kind}-bulk-{verb}-job"


def submitting(kind: Kind, verb: Verb) -> str:
    """The operation that takes a job."""
    return f"bulk_{verb}_catalog_{PLURALS[kind]}"


def reading(kind: Kind, verb: Verb) -> str:
    """The operation that tells of one job; with an s behind it that of all. Only of items it says "catalog"."""
    return f"get_bulk_{verb}_{'catalog_items' if kind == 'item' else PLURALS[kind]}_job"


def listing(kind: Kind) -> str:
    """The operation that lists what is there."""
    return f"get_catalog_{PLURALS[kind]}"


def _all() -> Iterator[Operation]:
    yield Operation("get_accounts", "GET", "/api/accounts", SMALL)
    for kind in KINDS:
        yield Operation(listing(kind), "GET", f"/api/catalog-{PLURALS[kind]}", HUGE)
        for verb in VERBS:
            path, name = f"/api/{job_type(kind, verb)}s", reading(kind, verb)
            tier = HUGE if kind == "category" or verb == "delete" else LARGE
            yield Operation(submitting(kind, verb), "POST", path, LARGE, "once")
            yield Operation(f"{name}s", "GET", path, tier)
            yield Operation(name, "GET", f"{path}/{{id}}", tier)


OPERATIONS: Mapping[str, Operation] = {operation.name: operation for operation in _all()}
"""By the vendor's operation id."""
