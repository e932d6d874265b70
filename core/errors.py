"""Every error Switchyard raises on purpose, drawn as one tree.

    SwitchyardError
    ├── Anticipated      the world said no; a person or a rule decides what next (counted, never retried blindly)
    │   └── BadInput     what came in is wrong: says what, where and how to fix it
    ├── Retryable        the same attempt may succeed later (a lost connection, a throttle, a deadlock)
    │   └── OutOfQuota   surely not carried out; says when to come again
    └── Permanent        the same attempt will never succeed (a missing scope, an unknown shop)

Concrete errors stand beside the functions that raise them and derive from one of these.
"""

from __future__ import annotations


class SwitchyardError(Exception):
    """Base of all errors raised on purpose."""


class Anticipated(SwitchyardError):
    """A business refusal: known by name, shown to people, not a failure of the machinery."""


class BadInput(Anticipated):
    """What came in is wrong; the sentence names the place and the repair."""


class Retryable(SwitchyardError):
    """May succeed when tried again later."""


class OutOfQuota(Retryable):
    """Surely not carried out: a channel may be asked only so often. Free again in `wait_seconds` (real time)."""

    def __init__(self, words: str, wait_seconds: float) -> None:
        super().__init__(words)
        self.wait_seconds = wait_seconds


class Permanent(SwitchyardError):
    """Will not succeed however often it is tried."""
