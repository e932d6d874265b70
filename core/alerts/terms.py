"""Which conditions there are, by what numbers each is judged, and what those are until somebody changes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from core.errors import BadInput

HOLD_CAP = timedelta(minutes=60)
"""What keeps coming back is held open no longer than that after it was last seen."""

FIRST_RELAPSE_HOLD = timedelta(minutes=2)
"""What closes at once the first time is held that long when it has come back once, and twice as long each time."""


@dataclass(frozen=True, slots=True)
class Term:
    """One number of a rule, a whole one between `least` and `most`; its unit is the end of its name, or in `words`."""

    name: str
    default: int
    least: int
    most: int
    words: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A condition: its stable name, what it is in words, and its numbers beside those that every kind has."""

    name: str
    words: str
    terms: tuple[Term, ...] = ()
    hold_minutes: int = 0

    @property
    def all_terms(self) -> tuple[Term, ...]:
        """Its own numbers, and what every kind has."""
        hold = Term("hold_minutes", self.hold_minutes, 0, 60, "it closes when its condition has been gone for so long")
        return (*self.terms, hold, *_OF_ALL)


_OF_ALL = (
    Term("again_minutes", 1440, 1, 43_200, "one that opens so soon after it closed has come back: it is regressed"),
    Term("worse_times", 2, 2, 100, "so many times what was told is much worse, and is told again"),
)


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers of one kind for one shop, as they hold now; `limit_units` is of exposure only."""

    kind: str
    is_on: bool = True
    numbers: Mapping[str, int] = field(default_factory=dict)
    limit_units: int | None = None

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]

    def minutes(self, name: str) -> timedelta:
        """A number that is minutes."""
        return timedelta(minutes=self.numbers[name])

    def hold(self, relapses: int) -> timedelta:
        """How long its condition has to be gone before it closes: longer each time it has come back."""
        base = self.minutes("hold_minutes")
        if relapses == 0:
            return base
        return max(base, min(HOLD_CAP, max(base, FIRST_RELAPSE_HOLD) * 2 ** min(relapses - 1, 10)))


EXPOSURE, STUCK, CREDENTIAL = "exposure", "stuck_change", "credential"
SLOW, UNSHOWN, UNCONFIRMED = "slow_feed", "unshown_feed", "unconfirmed_shipment"
STUCK_SYNC, FAILURE, BACKLOG, SILENCE = "stuck_sync", "repeated_failure", "backlog", "silence"
SUBSCRIPTION, REFUSED_CREDENTIAL, TOKEN = "subscription", "refused_credential", "token_ending"
DEPRECATION, AUDIT, SCHEDULE, OVERSOLD = "deprecation", "audit", "schedule", "oversold"
CONNECTION, UNMADE = "connection_failing", "unmade_check"

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(EXPOSURE, "more units could be oversold than a limit that somebody set", hold_minutes=3),
        Kind(STUCK, "changes have not reached a channel in time"),
        Kind(SLOW, "a feed does not end"),
        Kind(UNSHOWN, "a feed ended and the channel does not show what is in it"),
        Kind(UNCONFIRMED, "packages left that their channel does not know of"),
        Kind(CREDENTIAL, "a credential ends"),
        Kind(
            STUCK_SYNC,
            "a sync stands still, or a channel's orders are not read to the end",
            (
                Term("quiet_minutes", 15, 2, 1440, "a sync run that has said nothing for so long"),
                Term("orders_minutes", 15, 2, 1440, "orders not read to the end for so long, at the least"),
                Term("rhythm_times", 6, 2, 100, "and for so many times what usually lies between two readings"),
            ),
            hold_minutes=2,
        ),
        Kind(
            FAILURE,
            "jobs fail, messages are parked or notices are dead, again and again of one cause",
            (
                Term("jobs", 3, 1, 10_000, "jobs of one cause within the window, and nothing done about them"),
                Term("messages", 3, 1, 10_000, "parked messages of one cause"),
                Term("dead", 1, 1, 10_000, "dead notices"),
                Term("window_minutes", 60, 5, 10_080, "the window within which jobs are counted"),
            ),
            hold_minutes=2,
        ),
        Kind(
            BACKLOG,
            "work comes in faster than it is done, or as much waits as is dangerous",
            (
                Term("dangerous_size", 10_000, 10, 10_000_000, "so much that waits is dangerous"),
                Term("dangerous_minutes", 60, 5, 10_080, "and so is the oldest of it waiting for so long"),
                Term("horizon_minutes", 180, 5, 1440, "told when at this rate it is dangerous within so long"),
                Term("window_minutes", 10, 3, 60, "rates are measured over so long"),
                Term("least_waiting", 100, 1, 1_000_000, "with less than that waiting nobody is told of rates"),
            ),
            hold_minutes=5,
        ),
        Kind(
            SILENCE,
            "a channel is silent that usually is not at this hour of the week",
            (
                Term("least_messages", 20, 3, 100_000, "so many messages usually come in the time it has been silent"),
                Term("least_minutes", 30, 5, 10_080, "silent for so long, at the least"),
                Term("least_weeks", 3, 2, 8, "with fewer weeks on record nothing is known of its rhythm"),
            ),
        ),
        Kind(SUBSCRIPTION, "a channel does not call us for what it should"),
        Kind(
            REFUSED_CREDENTIAL,
            "a channel refuses our credentials",
            (
                Term("refusals", 3, 1, 1000, "so many calls refused, and none accepted since"),
                Term("window_minutes", 30, 5, 1440, "the window within which they are counted"),
            ),
            hold_minutes=2,
        ),
        Kind(
            TOKEN,
            "an access token ends and is not renewed",
            (Term("late_minutes", 10, 1, 1440, "so long after it was to be renewed"),),
        ),
        Kind(
            DEPRECATION,
            "the version of the API that we speak ends, or what we call does",
            (
                Term("ahead_days", 45, 1, 365, "told so long before the support of a version ends"),
                Term("seen_days", 2, 1, 30, "a warning of the channel counts for so long after it last came"),
            ),
        ),
        Kind(AUDIT, "the nightly audit found something wrong; open until one is clean"),
        Kind(
            SCHEDULE,
            "a schedule does not run",
            (
                Term("missed", 5, 2, 1000, "so many periods in a row"),
                Term("least_minutes", 10, 2, 1440, "and for so long, at the least"),
                Term("daily_hours", 30, 25, 240, "one that runs daily, for so long"),
            ),
            hold_minutes=2,
        ),
        Kind(OVERSOLD, "more was sold than there was"),
        Kind(
            CONNECTION,
            "no call to a channel succeeds",
            (
                Term("minutes", 2, 1, 1440, "none for so long, while some were made"),
                Term("calls", 5, 1, 1000, "so many that failed in a row"),
            ),
            hold_minutes=3,
        ),
        Kind(
            UNMADE,
            "a condition cannot be computed, so that nothing is known of it",
            (Term("minutes", 10, 1, 1440, "for so long"),),
        ),
    )
}


class UnknownKind(BadInput):
    """There is no such alert."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"there is no alert of the kind {kind}; there are: {', '.join(KINDS)}")


class BadTerm(BadInput):
    """A number that a rule cannot have."""

    def __init__(self, kind: str, name: str, value: object) -> None:
        known = {term.name: term for term in KINDS[kind].all_terms}
        if name not in known:
            super().__init__(f"the rule for {kind} has no number {name}; it has: {', '.join(known)}")
        else:
            term = known[name]
            super().__init__(
                f"{name} of the rule for {kind} cannot be {value}: give a whole number from {term.least:,} to"
                f" {term.most:,} ({term.words})"
            )


def kind_of(name: str) -> Kind:
    """The condition of that name. Raises UnknownKind."""
    if name not in KINDS:
        raise UnknownKind(name)
    return KINDS[name]


def checked(kind: str, changes: Mapping[str, int]) -> dict[str, int]:
    """The same numbers, each one that the rule has and may be. Raises UnknownKind or BadTerm."""
    known = {term.name: term for term in kind_of(kind).all_terms}
    for name, value in changes.items():
        if name not in known or isinstance(value, bool) or not isinstance(value, int):
            raise BadTerm(kind, name, value)
        if not known[name].least <= value <= known[name].most:
            raise BadTerm(kind, name, value)
    return dict(changes)


def policy(
    kind: str, is_on: bool | None = None, changed: Mapping[str, int] | None = None, limit_units: int | None = None
) -> Policy:
    """The rule as it holds: the defaults, less what somebody changed. Exposure is off until somebody sets a limit.

    Raises UnknownKind. A number that the rule does not have any more is passed over.
    """
    numbers = {term.name: (changed or {}).get(term.name, term.default) for term in kind_of(kind).all_terms}
    on = (kind != EXPOSURE) if is_on is None else is_on
    return Policy(kind, on, numbers, limit_units)
