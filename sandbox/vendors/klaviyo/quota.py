"""How often an operation may be called: fixed windows of a second and of a minute, both of which must have room.

Every account has its own, which all of its private keys share.
"""

import math
from collections.abc import Hashable

from sandbox.clock import AnyClock

Plan = tuple[int, int]
"""Calls a second (burst) and a minute (steady)."""

XS: Plan = (1, 15)
S: Plan = (3, 60)
M: Plan = (10, 150)
L: Plan = (75, 750)
XL: Plan = (350, 3500)


class Quota:
    def __init__(self, clock: AnyClock) -> None:
        self._clock = clock
        self._used: dict[Hashable, dict[int, tuple[int, int]]] = {}

    def take(self, who: Hashable, plan: Plan) -> tuple[int, dict[str, str]]:
        """The seconds to wait, 0 when the call was counted, and the headers of the answer."""
        now, used = self._clock.now(), self._used.setdefault(who, {})
        counts: dict[int, int] = {}
        for length, most in zip((1, 60), plan, strict=True):
            window, count = used.get(length, (-1, 0))
            counts[length] = count if window == now // length else 0
            if counts[length] >= most:
                wait = max(1, math.ceil(_left(now, length)))
                return wait, {"Retry-After": str(wait)}
        for length, count in counts.items():
            used[length] = (int(now // length), count + 1)
        return 0, {
            "RateLimit-Limit": str(plan[1]),
            "RateLimit-Remaining": str(plan[1] - counts[60] - 1),
            "RateLimit-Reset": str(math.ceil(_left(now, 60))),
        }


def _left(now: float, length: int) -> float:
    return (now // length + 1) * length - now
