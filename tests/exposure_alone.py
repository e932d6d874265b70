"""Breadth first through everything that can happen to one class B channel that is written whatever anybody likes.

So it is where a pool is shown to every channel: no number waits for another channel, and one that nothing read tells of
is overtaken by the next. Judged is exposure alone: it covers what may be sold, and nothing holds back what may not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.exposure_model import Budget, Channel, Events, Table, excess_of, shortfall_of, tidied
from tests.exposure_search import Finding

State = tuple[Channel, Budget]


@dataclass
class Alone:
    """Any of `numbers` is written whenever it may be, as often as the budget allows."""

    budget: Budget
    numbers: tuple[int, ...] = (0, 1, 2)
    table: Table = field(default_factory=Table)

    def search(self, shown: int, states_max: int = 400_000) -> Finding:
        """Through every state that can be reached, until one is wrong."""
        events = Events(self.table)
        start = (Channel("B", shown=shown, exposed=shown, known=shown), self.budget)
        parents: dict[State, tuple[State, str] | None] = {start: None}
        queue = deque(parents)
        while queue:
            state = queue.popleft()
            if problem := shortfall_of(state[0]) or excess_of(state[0]):
                return Finding(len(parents), problem, _trace(parents, state))
            for name, after in self._moves(events, *state):
                if after not in parents:
                    parents[after] = (state, name)
                    queue.append(after)
            if len(parents) > states_max:
                raise RuntimeError(f"more than {states_max} states: lower the budget")
        return Finding(len(parents))

    def _moves(self, events: Events, channel: Channel, left: Budget) -> Iterator[tuple[str, State]]:
        for name, after, _, spent in events.moves(channel, left):
            yield name, (tidied(after, may_cancel=spent.cancels > 0), spent)
        w = channel.write
        if not left.writes or (w is not None and not events.may_be_overtaken(channel)):
            return
        for number in self.numbers:
            if number != channel.known and (w is None or number != w.to_units):
                after = tidied(events.record(channel, number), may_cancel=left.cancels > 0)
                yield f"record {number}", (after, left._replace(writes=left.writes - 1))


def _trace(parents: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps = []
    at: State | None = state
    while at is not None:
        before, (channel, _) = parents[at], at
        steps.append(f"{before[1] if before else 'start':34} shows {channel.shown} of {channel.exposed}")
        at = before[0] if before else None
    return tuple(reversed(steps))
