"""What a vendor's error means and what we do about it: one table per vendor, which the judging of answers goes by.

The tables are data: `core.adapters.shopify.errors`, `core.adapters.amazon.errors`. What they say to operators is what
pages and logs show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Act = Literal["wait", "renew", "grant", "ask", "repeat", "same_key", "fresh_key", "replan", "refuse"]

ACTS: Mapping[Act, str] = {
    "wait": "sent again when the quota is free",
    "renew": "sent again with a new token; refused again, a person must look at the credentials",
    "grant": "not sent again until a person has granted the app what it lacks",
    "ask": "not sent again until a person has done something about the account",
    "repeat": "a read, or a call the vendor knows by its key, is sent again; else its outcome is unknown",
    "same_key": "sent again with the same key and the same content",
    "fresh_key": "given back to be planned afresh, under a fresh key",
    "replan": "given back to be planned afresh from what the channel shows",
    "refuse": "recorded as refused, with the reason; never sent again as it stands",
}
"""What we do, in words."""

_PERHAPS_DONE: frozenset[Act] = frozenset({"repeat", "same_key"})


@dataclass(frozen=True, slots=True)
class Meaning:
    """`words` say to an operator what happened; `act` is what we do."""

    act: Act
    words: str

    @property
    def is_surely_undone(self) -> bool:
        """Whether the request was surely not carried out."""
        return self.act not in _PERHAPS_DONE

    def say(self, detail: str) -> str:
        """What happened, with the vendor's own words behind it."""
        return f"{self.words} ({detail})" if detail and detail != self.words else self.words


_FAILED = Meaning("repeat", "the vendor failed to answer")
_REFUSED = Meaning("refuse", "the vendor does not accept the request")

STATUSES: Mapping[int, Meaning] = {
    401: Meaning("renew", "the access token is not accepted"),
    403: Meaning("renew", "the account does not allow this to the credentials"),
    408: Meaning("repeat", "the vendor waited too long for the request"),
    429: Meaning("wait", "too many calls in a short time"),
}
"""HTTP statuses that mean the same everywhere."""


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """A vendor's errors: by HTTP status, by the code of the whole answer, by the code of one objection in it."""

    statuses: Mapping[int, Meaning] = field(default_factory=dict)
    codes: Mapping[str, Meaning] = field(default_factory=dict)
    objections: Mapping[str, Meaning] = field(default_factory=dict)

    def of_status(self, status: int) -> Meaning:
        """What an HTTP status other than success means."""
        known = self.statuses.get(status) or STATUSES.get(status)
        return known or (_FAILED if status >= 500 else _REFUSED)

    def of_code(self, code: str) -> Meaning:
        """What the code of a whole answer means; one that is not in the table is a refusal."""
        return self.codes.get(code, _REFUSED)

    def of_objection(self, code: str) -> Meaning:
        """What the vendor's objection to a part of a request means; one that is not in the table is a refusal."""
        return self.objections.get(code, _REFUSED)


COMMON = ErrorTable()
"""For whom nothing more is known than HTTP."""


def as_markdown(errors: ErrorTable) -> str:
    """The table for people: what the vendor says, what it means, what we do, whether it was surely not carried out."""
    lines = ["| it says | it means | what we do | surely not carried out |", "|---|---|---|---|"]
    by_status = {str(status): meaning for status, meaning in errors.statuses.items()}
    lines += [
        f"| `{said}` | {meaning.words} | {ACTS[meaning.act]} | {'yes' if meaning.is_surely_undone else 'no'} |"
        for group in (by_status, errors.codes, errors.objections)
        for said, meaning in group.items()
    ]
    return "\n".join(lines)
