"""Breadth first through everything that can happen to one stock on two channels (`tests/exposure_model.py`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.inventory.planner import Group, Seat, Target, plan_escrow
from tests.exposure_model import POOL, Budget, Channel, Events, Order, Table, excess_of, seat_of, shortfall_of, tidied

ROUNDS_MAX = 30
"""Within so many rounds of lower, confirm, raise a quiet world has to come to rest."""

State = tuple[int, ...]
"""The two channels as numbers, units available by our books, units that went missing, the budget left as a number."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a search came to: how many states it saw, and the shortest way to the first that is wrong."""

    states: int
    problem: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        steps = "".join(f"\n  {number:2} {step}" for number, step in enumerate(self.trace))
        return f"{self.problem or 'nothing wrong'} ({self.states} states){steps}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is worked out once of each channel state."""

    shortfall: str
    excess: str
    unbooked: int
    exposed: int
    known: int
    is_taking_over: bool
    seat: tuple[object, ...]
    quiet: int
    quiet_available: int


@dataclass
class World:
    """Two channels on one stock. Channel states are numbered as they are met: there are few, of their pairs many.

    `judged`: "all"; "danger" without what holds units back; "oversell" only what has been oversold.
    """

    kinds: str
    budget: Budget
    table: Table = field(default_factory=Table)
    judged: Literal["all", "danger", "oversell"] = "all"

    def __post_init__(self) -> None:
        self.events = Events(self.table)
        self.channels: list[Channel] = []
        self.budgets: list[Budget] = []
        self._channel_numbers: dict[Channel, int] = {}
        self._budget_numbers: dict[Budget, int] = {}
        self._facts: dict[int, Facts] = {}
        self._moves: dict[tuple[int, int], list[tuple[str, int, int, int]]] = {}
        self._records: dict[tuple[int, int], int] = {}
        self._plans: dict[object, dict[int, Target]] = {}
        self._at_rest: set[State] = set()

    def start(self, shown: Sequence[int], available: int, sold_before: int = 0) -> State:
        """`sold_before`: units of the first channel sold before its baseline was read, and not booked."""
        channels = [
            Channel(kind, shown=units, exposed=units, known=units)
            for kind, units in zip(self.kinds, shown, strict=True)
        ]
        channels[0] = channels[0]._replace(orders=(Order("Z"),) * sold_before)
        numbers = [self._number(channel) for channel in channels]
        return self._state(numbers[0], numbers[1], available, 0, self._budget(self.budget))

    def search(self, starts: Sequence[State], states_max: int = 1_000_000) -> Finding:
        """Through every state that can be reached, until one is wrong."""
        parents: dict[State, tuple[State, str] | None] = dict.fromkeys(starts)
        queue = deque(parents)
        while queue:
            state = queue.popleft()
            if problem := self.problem(state):
                return Finding(len(parents), problem, self._trace(parents, state))
            for name, after in self.moves(state):
                if after not in parents:
                    parents[after] = (state, name)
                    queue.append(after)
            if len(parents) > states_max:
                raise RuntimeError(f"more than {states_max} states: lower the budget")
        return Finding(len(parents))

    # --- what can happen

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        """Every event that can happen next, by name, and where it leads."""
        first, second, available, lost, left = state
        may_cancel = self.budgets[left].cancels > 0
        for place, number, other in ((0, first, second), (1, second, first)):
            for name, after, booked, spent in self._of_channel(number, left):
                beside = other if may_cancel == (self.budgets[spent].cancels > 0) else self._without_booked(other)
                pair = (after, beside) if place == 0 else (beside, after)
                yield name, self._state(*pair, available + booked, lost, spent)
            target = self._target(state, place)
            if target is not None:
                after = self._recorded(number, target)
                pair = (after, other) if place == 0 else (other, after)
                yield f"record {target} on {self.kinds[place]}", self._state(*pair, available, lost, left)
        yield from self._ours(state)

    def _of_channel(self, number: int, left: int) -> list[tuple[str, int, int, int]]:
        key = (number, left)
        if key not in self._moves:
            channel = self.channels[number]
            self._moves[key] = [
                (f"{name} on {channel.kind}", self._number(after, spent), available, self._budget(spent))
                for name, after, available, spent in self.events.moves(channel, self.budgets[left])
            ]
        return self._moves[key]

    def _ours(self, state: State) -> Iterator[tuple[str, State]]:
        """A promise made here takes what nobody is exposed to; a count may find that a unit is gone."""
        first, second, available, lost, left = state
        budget = self.budgets[left]
        one, two = self.facts(first), self.facts(second)
        is_taking_over = one.is_taking_over or two.is_taking_over
        if budget.promises and not is_taking_over and available - one.exposed - two.exposed > 0:
            spent = self._budget(budget._replace(promises=budget.promises - 1))
            yield "promised here", (first, second, available - 1, lost, spent)
        if budget.shrinks:
            spent = self._budget(budget._replace(shrinks=budget.shrinks - 1))
            yield "one went missing", (first, second, available - 1, lost + 1, spent)

    def _recorded(self, number: int, target: int) -> int:
        key = (number, target)
        if key not in self._records:
            self._records[key] = self._number(self.events.record(self.channels[number], target))
        return self._records[key]

    def _without_booked(self, number: int) -> int:
        return self._number(self.channels[number], Budget())

    # --- the planner

    def _target(self, state: State, place: int) -> int | None:
        """What the planner would have the listing show, if that is another number than what it is known to show.

        Nothing is written before the orders of before the baseline are in.
        """
        one, two = self.facts(state[0]), self.facts(state[1])
        channel, known = self.channels[state[place]], (one, two)[place].known
        if one.is_taking_over or two.is_taking_over:
            return None
        if channel.write is not None and not self.events.may_be_overtaken(channel):
            return None
        units = self.plan(state)[place].units
        return None if units == known or (channel.write and channel.write.to_units == units) else units

    def plan(self, state: State) -> dict[int, Target]:
        """What production's planner makes of the group."""
        key = (state[2], self.facts(state[0]).seat, self.facts(state[1]).seat)
        if key not in self._plans:
            seats: list[Seat] = [seat_of(place, self.channels[state[place]]) for place in (0, 1)]
            self._plans[key] = plan_escrow(Group({POOL: state[2]}, [self.table.seat(seat) for seat in seats]))
        return self._plans[key]

    # --- what has to hold

    def problem(self, state: State) -> str:
        """What is wrong in a state, "" if nothing."""
        one, two = self.facts(state[0]), self.facts(state[1])
        old = sum(o.sale == "Z" for number in state[:2] for o in self.channels[number].orders)
        really_left = state[2] + state[3] - one.unbooked - two.unbooked - old
        is_edited = self.budgets[state[4]].edits < self.budget.edits
        if really_left < 0 and not is_edited:
            return f"oversold: {-really_left} more sold and promised than were ever there"
        if self.judged == "oversell":
            return ""
        danger = one.shortfall or two.shortfall or self._fault_of_plan(state)
        if danger or self.judged == "danger":
            return danger
        return one.excess or two.excess or self.fault_at_rest(state)

    def _fault_of_plan(self, state: State) -> str:
        facts = (self.facts(state[0]), self.facts(state[1]))
        targets = self.plan(state)
        raises = sum(max(0, t.units - facts[place].known) for place, t in targets.items() if t.reason == "raised")
        after = facts[0].exposed + facts[1].exposed + raises
        return f"the plan would expose {after} of {state[2]} units: {targets}" if raises and after > state[2] else ""

    def fault_at_rest(self, state: State) -> str:
        """Once everything has arrived and nothing else happens, no unit stays idle and no write is asked for."""
        if self.kinds[0] == self.kinds[1]:
            return self._fault_of_way(state) or self._fault_of_way((state[1], state[0], *state[2:]))
        return self._fault_of_way(state)

    def _fault_of_way(self, state: State) -> str:
        quiet = self._quieted(state)
        seen = []
        while quiet not in self._at_rest:
            seen.append(quiet)
            after = self._quieted(self._written(quiet))
            if after == quiet:
                if fault := self._fault_of_rest(quiet):
                    return fault
                break
            if len(seen) > ROUNDS_MAX:
                return f"no rest after {ROUNDS_MAX} rounds: {[self._numbers(s) for s in seen[-4:]]}"
            quiet = after
        self._at_rest.update(seen)
        return ""

    def _fault_of_rest(self, quiet: State) -> str:
        channels = [self.channels[number] for number in quiet[:2]]
        idle = max(0, quiet[2]) - sum(c.shown for c in channels)
        # A class B listing takes units only once it is sold out, and gives none to a channel that runs dry.
        may_idle = "A" not in self.kinds and all(c.shown for c in channels)
        if idle < 0 or (idle and not may_idle) or any(c.shown != c.exposed for c in channels):
            return f"at rest {idle} units are idle: {self._numbers(quiet)}"
        fast = [c.shown for c in channels if c.kind == "A"]
        if fast and min(fast) == 0 and max(fast) > 1:
            return f"at rest one channel is dark while another could give to it: {self._numbers(quiet)}"
        return ""

    def _quieted(self, state: State) -> State:
        one, two = self.facts(state[0]), self.facts(state[1])
        available = state[2] + one.quiet_available + two.quiet_available
        return (one.quiet, two.quiet, available, 0, self._budget(Budget()))

    def _written(self, state: State) -> State:
        """Every write that the plan asks for, recorded and sent."""
        numbers = list(state[:2])
        for place in (0, 1):
            target = self._target((*numbers, *state[2:]), place)
            if target is not None:
                recorded = self.channels[self._recorded(numbers[place], target)]
                assert recorded.write is not None
                numbers[place] = self._number(recorded._replace(write=recorded.write._replace(state="sent")))
        return (*numbers, *state[2:])

    # --- numbers for states

    def facts(self, number: int) -> Facts:
        """What follows from the state of one channel alone."""
        if number not in self._facts:
            c = self.channels[number]
            quiet, available = self.events.quieted(c)
            s = seat_of(0, c)
            self._facts[number] = Facts(
                shortfall=shortfall_of(c),
                excess=excess_of(c),
                unbooked=c.unbooked,
                exposed=c.exposed,
                known=c.known,
                is_taking_over=c.is_taking_over,
                seat=(c.kind, s.shown_units, s.exposed_units, s.giving_back_units, s.edited_units, s.is_writable),
                quiet=self._number(quiet, Budget()),
                quiet_available=available,
            )
        return self._facts[number]

    def _state(self, first: int, second: int, available: int, lost: int, left: int) -> State:
        """Two channels of one class may change places: nothing but the planner's last tie-break tells them apart."""
        if first < second and self.kinds[0] == self.kinds[1]:
            first, second = second, first
        return (first, second, available, lost, left)

    def _number(self, channel: Channel, left: Budget | None = None) -> int:
        channel = tidied(channel, may_cancel=left is None or left.cancels > 0)
        number = self._channel_numbers.setdefault(channel, len(self.channels))
        if number == len(self.channels):
            self.channels.append(channel)
        return number

    def _budget(self, budget: Budget) -> int:
        number = self._budget_numbers.setdefault(budget, len(self.budgets))
        if number == len(self.budgets):
            self.budgets.append(budget)
        return number

    # --- words

    def _numbers(self, state: State) -> str:
        channels = (self.channels[number] for number in state[:2])
        return f"{state[2]} available; " + ", ".join(f"{c.kind} shows {c.shown} of {c.exposed}" for c in channels)

    def _trace(self, parents: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
        steps = []
        at: State | None = state
        while at is not None:
            before = parents[at]
            steps.append(f"{before[1] if before else 'start':34} {self._numbers(at)}")
            at = before[0] if before else None
        return tuple(reversed(steps))
