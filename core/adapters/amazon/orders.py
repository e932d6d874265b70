"""Orders of one seller: the sweeps that nothing escapes, single orders for hints, and what was open at the beginning.

Sources: orders_2026-01-01 of github.com/amzn/selling-partner-api-models; contracts on reading orders are summed up in
docs/decisions/0020-orders-of-amazon.md. Names and addresses of buyers are never asked for (`INCLUDED`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from core.adapters.amazon.client import SellingPartner
from core.adapters.amazon.facts import OPEN
from core.adapters.amazon.markets import Markets
from core.adapters.amazon.order_models import SearchedOrders, Version
from core.adapters.http import Refused, ServerFault, Throttled, Urgency
from core.adapters.stamps import refined
from core.ports import Found, OrderPage

INCLUDED = "PROCEEDS,FULFILLMENT,PACKAGES,CANCELLATION"
"""BUYER and RECIPIENT, which name people, are left out: whatever is not here does not come."""

SWEEP_EVERY = timedelta(seconds=180)
"""One call in 179 seconds comes back to the usage plan."""

OVERLAP = timedelta(minutes=2)
CATCH_UP = timedelta(minutes=10)
"""When one sweep is so far behind the other, both are made at once: the burst is for that."""

HISTORY = timedelta(days=729)
"""Two years, less what they are counted by."""

WAITS_SECONDS = 5.0
"""So long (real time) a search waits for quota: whoever asks has others waiting, and goes on from where it was."""

HINTED_WAITS_SECONDS = 0.5
"""The same for a single order: the sweeps tell of it anyway."""

_UNDATED = datetime(1970, 1, 1, tzinfo=UTC)

Family = Literal["updated", "created"]
_AFTER: dict[Family, str] = {"updated": "lastUpdatedAfter", "created": "createdAfter"}
_BEFORE: dict[Family, str] = {"updated": "lastUpdatedBefore", "created": "createdBefore"}
_OTHER: dict[Family, Family] = {"updated": "created", "created": "updated"}


@dataclass(frozen=True, slots=True)
class _Window:
    """A sweep under way: what it asks for, up to when the vendor looked (its first page), and the page that is next.

    `before` is only asked for in the background, and where the pages of a longer window could not be had; else the
    vendor picks the bound.
    """

    family: Family
    after: str
    until: str | None = None
    token: str | None = None
    before: str | None = None

    @property
    def asked(self) -> dict[str, str]:
        """The parameters of its first page, which go with every other."""
        upper = {} if self.before is None else {_BEFORE[self.family]: self.before}
        return {_AFTER[self.family]: self.after, **upper}


@dataclass(frozen=True, slots=True)
class _Course:
    """Where the sweeps of a connection are; kept by the caller as text.

    `bounds` are the upper bounds that the vendor returned: everything updated, or created, up to then was read.
    """

    turn: Family = "updated"
    bounds: dict[str, str] = field(default_factory=dict)
    window: _Window | None = None
    markets: str = ""
    """The marketplaces of which all this is told."""
    goal: str | None = None
    """Of a reading in the background: the vendor's first bound. Both sweeps have to come that far, and no further."""

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def of(cls, text: str | None) -> _Course:
        if text is None:
            return cls()
        kept = json.loads(text)
        window = kept.get("window")
        under_way = _Window(**window) if window else None
        return cls(kept["turn"], kept["bounds"], under_way, kept.get("markets", ""), kept.get("goal"))

    def within(self, markets: Markets) -> _Course:
        """The same over these marketplaces: pages go on within the same ones only, and bounds tell of no others.

        Where one joined, both sweeps go back to when it may have begun to sell.
        """
        if self.markets == markets.refs:
            return self
        joined = markets.joined(self.markets)
        bounds = dict(self.bounds)
        if joined:
            known = [at for at in joined if at is not None]
            back = _iso(min(known)) if len(known) == len(joined) else None
            bounds = {} if back is None else {family: min(bound, back) for family, bound in bounds.items()}
        return _Course(self.turn, bounds, None, markets.refs)

    def lacks(self, family: Family) -> bool:
        """Of a reading in the background: whether a sweep has not come as far as it is to."""
        known = self.bounds.get(family)
        return known is None or self.goal is None or known < self.goal

    def bound(self, family: Family) -> datetime | None:
        known = self.bounds.get(family)
        return None if known is None else datetime.fromisoformat(known)

    @property
    def told_until(self) -> datetime | None:
        """Up to when both sweeps have read everything; None before both have."""
        bounds = [self.bound("updated"), self.bound("created")]
        return None if None in bounds else min(bound for bound in bounds if bound is not None)


@dataclass(frozen=True, slots=True)
class _Backlog:
    """Where the reading of open orders is: windows by creation that are still to be read, the one under way first."""

    windows: tuple[_Window, ...]

    def text(self) -> str:
        return json.dumps([asdict(window) for window in self.windows], separators=(",", ":"), sort_keys=True)

    @classmethod
    def of(cls, text: str) -> _Backlog:
        return cls(tuple(_Window(**window) for window in json.loads(text)))


class Orders:
    """Reads the orders of one seller in the marketplaces of a region that share its stock."""

    def __init__(
        self, partner: SellingPartner, markets: Markets, now: Callable[[], datetime], clock_factor: float
    ) -> None:
        self._partner, self._markets, self._now = partner, markets, now
        self._factor = clock_factor

    def since(self, since: datetime, resume: str | None, *, in_background: bool = False) -> Iterator[OrderPage]:
        """Sweep on from where `resume` says, by page; from `since` where nothing is known yet.

        Two sweeps take turns. What was updated up to the returned bound is told by one; but an order that was placed
        before that bound and changed again after it is not among those. What was created up to a bound is told by the
        other, whatever happened to it since. Together they have told everything up to the earlier of their bounds.

        Ends when the quota is used up, or where the caller stops: `resume` then goes on. In the background both sweep
        up to the bound of the very first page, and only then tell one: whoever is asked for a page now and then would
        otherwise run after a bound that goes on meanwhile.
        """
        course = _Course.of(resume).within(self._markets)
        window = course.window or self._open(course, course.turn, since)
        while True:
            try:
                page, window = self._page(window)
            except Throttled:
                return
            if in_background and course.goal is None:
                course = replace(course, goal=window.until)
            if page is None:
                course = replace(course, window=window)
                # Nothing yet, but kept at once: with the quota used up the same page would be asked for for ever.
                yield OrderPage([], course.text())
                continue
            found = [self._found(order, page.seen_at) for order in page.results.orders]
            if window.token is not None:
                course = replace(course, window=window)
                yield OrderPage(found, course.text())
                continue
            bounds = {**course.bounds, window.family: str(window.until)}
            course = replace(course, turn=_OTHER[window.family], bounds=bounds, window=None)
            turn = self._next(course, window, in_background=in_background)
            if turn is None:
                yield OrderPage(found, course.text(), course.told_until)
                return
            window = self._open(course, turn, since)
            course = replace(course, turn=turn, window=window)
            yield OrderPage(found, course.text(), None if in_background else course.told_until)

    def told_until(self) -> datetime | None:
        """Up to when the vendor looks, by its own clock, in whole seconds: what bears an earlier stamp has happened.

        It looks at no order of the last two minutes, and orders come in no promised order: which of them changed last
        cannot be asked for, and need not be.
        """
        params = {"lastUpdatedAfter": _iso(self._now() - timedelta(days=1)), "maxResultsPerPage": "1"}
        # Nothing is taken over before it is known, and it is asked once.
        bound = self._search(params, "urgent", None).results.last_updated_before
        return None if bound is None else bound.replace(microsecond=0)

    def still_open(self, resume: str | None) -> Iterator[OrderPage]:
        """Orders of up to two years that are neither cancelled nor wholly shipped, by page, on from `resume`.

        Where the next page of a window cannot be had, each half of it is read from its beginning. Raises Throttled when
        the quota is used up, and then goes on from the last page; Refused where even the smallest window has a page
        that cannot be had.
        """
        left = _Backlog.of(resume) if resume else _Backlog((_Window("created", _iso(self._now() - HISTORY)),))
        while left.windows:
            window, later = left.windows[0], left.windows[1:]
            try:
                page = self._search({**window.asked, "fulfillmentStatuses": ",".join(OPEN)}, token=window.token)
            except Refused as error:
                if window.token is None or error.status != 400:
                    raise
                earlier = self._half(window, error)
                left = _Backlog((earlier, replace(window, after=str(earlier.before), until=None, token=None), *later))
                yield OrderPage([], left.text())
                continue
            moved = self._moved(window, page)
            left = _Backlog(later if moved.token is None else (moved, *later))
            yield OrderPage([self._found(order, page.seen_at) for order in page.results.orders], left.text())

    def some(self, refs: Sequence[str]) -> Iterator[Sequence[Found]]:
        """Single orders as they are now, one by one; what is gone, or never was an order, is left out."""
        for ref in dict.fromkeys(refs):
            try:
                answer = self._partner.answer(
                    "getOrder", {"order": ref}, {"includedData": INCLUDED}, quota_seconds=HINTED_WAITS_SECONDS
                )
            except Refused as error:
                if error.status in (400, 404):
                    continue
                raise
            order = answer.data.get("order")
            if not isinstance(order, dict):
                raise ServerFault("getOrder", "an answer without its order")
            # Of several connections of one seller each may have been told of it.
            channel = order.get("salesChannel")
            if self._markets.is_ours(channel.get("marketplaceId") if isinstance(channel, dict) else None):
                yield [self._found(order, answer.left_at)]

    def _open(self, course: _Course, family: Family, since: datetime) -> _Window:
        """A new sweep, from the bound that the vendor returned last, up to where the reading ends if it does."""
        bound = course.bound(family) or since
        return _Window(family, _iso(bound - OVERLAP / self._factor), before=course.goal)

    def _next(self, course: _Course, done: _Window, *, in_background: bool) -> Family | None:
        """Which sweep goes on at once, now that one is done: the other by preference; None: neither needs to."""
        other = course.turn
        if not in_background:
            return other if self._is_behind(course, other, done) else None
        return next((family for family in (other, done.family) if course.lacks(family)), None)

    def _is_behind(self, course: _Course, family: Family, done: _Window) -> bool:
        known = course.bound(family)
        return known is None or datetime.fromisoformat(str(done.until)) - known > CATCH_UP / self._factor

    def _page(self, window: _Window) -> tuple[_Page | None, _Window]:
        """The next page of a sweep, and where the sweep is then.

        The token goes with the very parameters of the first page. Where it is no good any more there is no page, and
        the earlier half of the window is to be swept from its beginning: nothing is lost, since no bound was kept.
        Raises Refused where the half would come to nothing new.
        """
        try:
            page = self._search(window.asked, token=window.token)
        except Refused as error:
            if window.token is None or error.status != 400:
                raise
            return None, self._half(window, error)
        return page, self._moved(window, page)

    def _half(self, window: _Window, refused: Refused) -> _Window:
        """The earlier half of a window whose next page was refused.

        A token that died is behind it in any case, and of a page that is refused always it asks less each time, until
        what is left needs no such page. Raises `refused` where it would end within the overlap of sweeps.
        """
        after = datetime.fromisoformat(window.after)
        half = (datetime.fromisoformat(str(window.until)) - after) / 2
        if half <= OVERLAP / self._factor:
            raise refused
        return _Window(window.family, window.after, before=_iso(after + half))

    def _moved(self, window: _Window, page: _Page) -> _Window:
        results = page.results
        bound = results.last_updated_before if window.family == "updated" else results.created_before
        said = [window.until, window.before, None if bound is None else _iso(bound)]
        known = [text for text in said if text is not None]
        if not known:
            raise ServerFault("searchOrders", "an answer that does not say up to when it looked")
        return replace(window, until=min(known), token=results.next_token)

    def _search(
        self,
        params: dict[str, str],
        urgency: Urgency = "normal",
        quota_seconds: float | None = WAITS_SECONDS,
        *,
        token: str | None = None,
    ) -> _Page:
        asked = {"marketplaceIds": self._markets.refs, "includedData": INCLUDED, **params}
        if token is not None:
            asked["paginationToken"] = token
        answer = self._partner.answer("searchOrders", params=asked, urgency=urgency, quota_seconds=quota_seconds)
        results = SearchedOrders.read(answer.data)
        if results is None:
            raise ServerFault("searchOrders", "an answer that cannot be read")
        return _Page(results, answer.left_at)

    def _found(self, order: dict[str, Any], seen_at: datetime) -> Found:
        """As it came, less what people wrote in it, with the moment of reading.

        Amazon stamps whole seconds: the version is moved within its second by that moment, so that an order read
        twice within the second of its change is two versions. One that cannot be read is recorded all the same, once.
        """
        items = order.get("orderItems")
        for item in items if isinstance(items, list) else ():
            _forget(item, "fulfillment", "packing", "giftOption", "giftMessage")
            _forget(item, "product", "customization", "customizedUrl")
        body = json.dumps({**order, "seenAt": _iso(seen_at)}, ensure_ascii=False, separators=(",", ":")).encode()
        version = Version.read(order)
        if version is None:
            return str(order.get("orderId")), _UNDATED, body
        return version.order_id, refined(version.last_updated_time, seen_at), body


@dataclass(frozen=True, slots=True)
class _Page:
    results: SearchedOrders
    seen_at: datetime


def _forget(part: Any, *path: str) -> None:
    """Take what a buyer wrote, or may have, out of an answer."""
    for name in path[:-1]:
        part = part.get(name) if isinstance(part, dict) else None
    if isinstance(part, dict):
        part.pop(path[-1], None)


def _iso(moment: datetime) -> str:
    """In UTC, comparable as text: with microseconds always."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
