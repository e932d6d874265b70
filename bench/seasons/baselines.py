"""What shops do without us: a stateless workflow, and a pool pushed as absolute numbers, with or without a buffer."""

from __future__ import annotations

from dataclasses import dataclass

from bench.seasons.demand import Season
from bench.seasons.world import Answer, Fact, World

RETRY_SECONDS = 30.0
READ_BACK_SECONDS = 30.0


class _Baseline:
    """Promises nothing, so nothing of it can be violated."""

    violations = 0
    pools_till = True

    def __init__(self, season: Season) -> None:
        self._season = season
        self._keys = 0
        self._pushed = [number for number, kind in enumerate(season.channels) if kind.guarantee_class != "C"]

    def start(self, world: World) -> None:
        self._world = world

    def on_swept(self, channel: int, proven_to: float) -> None:
        """Sweeps tell of lost notices; that is all they do here."""

    def before_sale(self, oversold_units: int) -> None:
        """Nothing was promised."""

    def after_event(self) -> None:
        """Nothing was promised."""

    def _everything(self) -> int:
        return self._season.stock + self._season.till_stock

    def _set(self, channel: int, units: int) -> None:
        self._keys += 1
        self._world.set_units(channel, None, units, self._keys, lambda answer: self._on_answer(channel, answer))

    def _on_answer(self, channel: int, answer: Answer) -> None:
        """What became of a write is not looked at."""


class StatelessWorkflow(_Baseline):
    """On each notice the number that the channel shows now is set on the others; what fails is not tried again."""

    name = "stateless_workflow"

    def opening(self) -> list[int]:
        return [self._everything()] * len(self._season.channels)

    def on_notice(self, fact: Fact) -> None:
        source = fact.order.channel
        if self._season.channels[source].guarantee_class == "C":
            # A till shows no number: it sends what is left in its place.
            shop = self._world.shops[source]
            units = max(0, self._everything() - shop.sold + shop.restocked)
        else:
            read = self._world.read(source)
            if read is None:
                return
            units = read
        for channel in self._pushed:
            if channel != source:
                self._set(channel, units)


@dataclass(slots=True)
class _Line:
    """The push of one channel: what it last accepted, and whether a call is under way."""

    told: int
    is_busy: bool = False


class AbsolutePush(_Baseline):
    """Every order is booked once; each channel is set to the pool less a buffer, one call at a time, until it is."""

    name = "absolute_push"
    buffer_units = 0

    def __init__(self, season: Season) -> None:
        super().__init__(season)
        self._pool = self._everything()
        self._facts: set[tuple[int, bool]] = set()
        self._lines = [_Line(self._offer()) for _ in season.channels]

    def opening(self) -> list[int]:
        return [self._offer()] * len(self._season.channels)

    def on_notice(self, fact: Fact) -> None:
        if fact.key in self._facts:
            return
        self._facts.add(fact.key)
        self._pool += fact.order.units if fact.is_cancel else -fact.order.units
        # The channel has counted its own sale already.
        line = self._lines[fact.order.channel]
        line.told += fact.order.units if fact.is_cancel else -fact.order.units
        for channel in self._pushed:
            self._push(channel)

    def _offer(self) -> int:
        return max(0, self._pool - self.buffer_units)

    def _push(self, channel: int) -> None:
        line, units = self._lines[channel], self._offer()
        if line.is_busy or max(0, line.told) == units:
            return
        line.is_busy = True
        line.told = units
        self._set(channel, units)

    def _on_answer(self, channel: int, answer: Answer) -> None:
        line = self._lines[channel]
        if answer.outcome in ("refused", "unsent", "unknown"):
            # Tried again until it is answered, with the number of then.
            self._world.at(self._world.now + RETRY_SECONDS, self._retry, channel)
        elif answer.outcome == "accepted" and answer.submission is not None:
            self._world.at(self._world.now + READ_BACK_SECONDS, self._look, (channel, answer.submission))
        else:
            line.is_busy = False
            self._push(channel)

    def _retry(self, channel: int) -> None:
        line = self._lines[channel]
        line.told = self._offer()
        self._set(channel, line.told)

    def _look(self, what: tuple[int, int]) -> None:
        """Wait until the slow channel has worked it off: two at once would only queue up."""
        channel, submission = what
        if not self._world.is_finished(channel, submission):
            self._world.at(self._world.now + READ_BACK_SECONDS, self._look, what)
            return
        self._lines[channel].is_busy = False
        self._push(channel)


class BufferedPush(AbsolutePush):
    """The same, with three units kept back."""

    name = "absolute_push_buffer_3"
    buffer_units = 3
