"""One turn with a channel's products: how its time is shared, what holds writes, and what it comes back to."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy.exc import IntegrityError

from core.catalog.products.documents import ProductDocument, VariantDocument
from core.clock import utc_now
from core.db import execute, read_only, unit_of_work
from core.errors import Retryable
from core.product_ports import ProductChannel, ProductResult, ProductWrite, UnreadableProduct
from core.publication import operations, queries
from core.runs import retention
from core.runs.retention import BY_NAME, Policy
from tests.integration.test_publication import theirs
from tests.shelves import Shelf, make_document
from workers import products


class Between:
    """What stands between the jobs and the channel: all but what a test changes goes through."""

    def __init__(self, shelf: Shelf) -> None:
        self._real = shelf.reached
        shelf.reached = cast(ProductChannel, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


# --- How a turn shares its time ---------------------------------------------------------------------------------------


class Watch:
    """The time that a turn goes by: it passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(products, "time", SimpleNamespace(monotonic=lambda: self.now))


class Slow(Between):
    """Each reading of several products takes ten seconds."""

    def __init__(self, shelf: Shelf, watch: Watch) -> None:
        super().__init__(shelf)
        self._watch = watch

    def read_products(self, refs: Sequence[str], **named: Any) -> Any:
        self._watch.now += 10 if named.get("in_background") else 0
        return self._real.read_products(refs, **named)


def call(shelf: Shelf, *refs: str) -> None:
    with unit_of_work(shelf.engine) as conn:
        operations.note_calls(conn, shelf.row, refs, utc_now())


def calls_left(shelf: Shelf) -> int:
    return len(shelf.rows("select from product_calls where shop_id = %(shop)s"))


def test_what_the_channel_told_of_takes_half_of_a_turn_at_most(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.master(variants="ours", title="ours")
    shelf.read()
    shelf.save(make_document())
    # One batch is ten seconds: a thousand are told of, as after an edit of everything there.
    call(shelf, *(str(10**9 + number) for number in range(1000)))
    watch = Watch(monkeypatch)
    Slow(shelf, watch)
    counts = dict(products.keep_in_step(shelf.app, shelf.row, shelf.reached, 100))
    assert (counts["written"], watch.now, calls_left(shelf)) == (1, 50, 1000 - 5 * products.CALLS_AT_ONCE)
    # The next one goes on there.
    products.keep_in_step(shelf.app, shelf.row, shelf.reached, 100)
    assert calls_left(shelf) == 1000 - 10 * products.CALLS_AT_ONCE


def test_a_reading_of_everything_gives_half_to_what_is_told_meanwhile(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        shelf.shop.stock(f"MUG-{number}")
    monkeypatch.setattr(products, "READ_AT_ONCE", 1)
    with unit_of_work(shelf.engine) as conn:
        operations.begin_reading(conn, shelf.row, utc_now())
    call(shelf, *(str(10**9 + number) for number in range(1000)))
    watch = Watch(monkeypatch)
    Slow(shelf, watch)
    counts = dict(products.read_whole(shelf.app, shelf.row, shelf.reached, lambda _done: None, 100))
    assert (counts["created"], calls_left(shelf)) == (3, 1000 - 5 * products.CALLS_AT_ONCE)


def test_judging_and_linking_leave_time_to_write(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.master(variants="ours", title="ours")
    shelf.read()
    for number in range(6):
        shelf.save(
            make_document(handle=f"mug-{number}", options=(), variants=(VariantDocument(f"MUG-{number}", "GBP"),))
        )
    monkeypatch.setattr(products, "LINK_AT_ONCE", 1)
    watch = Watch(monkeypatch)
    real = products.observing.judge

    def judge(*given: Any) -> Any:
        watch.now += 40
        return real(*given)

    link_new = products.linking.link_new

    def link(*given: Any) -> Any:
        watch.now += 40
        return link_new(*given)

    monkeypatch.setattr(products.observing, "judge", judge)
    monkeypatch.setattr(products.linking, "link_new", link)
    products.keep_in_step(shelf.app, shelf.row, shelf.reached, 100)
    # Both are gone on with later, and each turn does some of either.
    assert len(shelf.rows("select from product_links where shop_id = %(shop)s")) == 2
    assert (watch.now, [outcome for _, outcome in writes(shelf)]) == (120, ["confirmed"])


# --- Two who are told at once -----------------------------------------------------------------------------------------


def test_who_is_told_and_who_has_read_never_wait_for_each_other_in_a_circle(shelf: Shelf) -> None:
    shelf.read()
    refs = [str(1000 + number) for number in range(20)]

    def intake(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            with unit_of_work(shelf.engine) as conn:
                operations.note_calls(conn, shelf.row, chance.sample(refs, 8), utc_now())

    def lane() -> None:
        for _ in range(300):
            with read_only(shelf.engine) as conn:
                called = queries.called(conn, shelf.row, 20)
            with unit_of_work(shelf.engine) as conn:
                operations.forget_calls(conn, shelf.row, called)

    with ThreadPoolExecutor(3) as pool:
        acts: list[Callable[[], None]] = [lambda: intake(1), lambda: intake(2), lane]
        for each in [pool.submit(act) for act in acts]:
            each.result()


# --- What holds writes ------------------------------------------------------------------------------------------------


class Denying(Between):
    """A channel that denies writes of some handles, or of all, whatever it says of its rights."""

    def __init__(self, shelf: Shelf, *handles: str, says: str | None = None) -> None:
        super().__init__(shelf)
        self.handles = handles
        self.says = says

    def write_product(self, write: ProductWrite) -> ProductResult:
        if not self.handles or write.after.handle in self.handles:
            return ProductResult("unsent", None, "UNAUTHORISED", "not on this plan", holds_all=True)
        return cast(ProductResult, self._real.write_product(write))

    def writing_refused(self) -> str | None:
        return self.says


def mug(handle: str, title: str = "Mug") -> ProductDocument:
    return make_document(
        handle=handle, title=title, options=(), variants=(VariantDocument(handle.upper(), "GBP", (), price_minor=100),)
    )


def held(shelf: Shelf) -> tuple[Any, Any]:
    (row,) = shelf.rows("select writes_held_since, writes_held_why from product_readings where shop_id = %(shop)s")
    return row["writes_held_since"], row["writes_held_why"]


def said_of_connection(shelf: Shelf) -> str | None:
    (row,) = shelf.rows("select last_error from connections where shop_id = %(shop)s")
    return cast("str | None", row["last_error"])


def writes(shelf: Shelf) -> list[tuple[int, str]]:
    return [(push["product_id"], push["outcome"]) for push in shelf.pushes()]


def due_now(shelf: Shelf) -> None:
    """Nobody waits for what was put off."""
    with unit_of_work(shelf.engine) as conn:
        execute(conn, "update product_links set next_at = now() where shop_id = %(s)s", s=shelf.row.shop_id)


def test_one_product_that_is_denied_is_put_off_and_the_others_are_written(shelf: Shelf) -> None:
    shelf.master(variants="ours", title="ours")
    shelf.read()
    first, second = shelf.save(mug("cup")), shelf.save(mug("mug"))
    Denying(shelf, "cup")
    shelf.turn()
    assert (writes(shelf), held(shelf)) == ([(first, "unsent"), (second, "confirmed")], (None, None))
    link = shelf.link(first)
    assert (link["state"], link["failures"]) == ("differs", 1)
    assert "not on this plan" in link["problem"]
    assert link["next_at"] > utc_now()
    # Nor is it tried each turn.
    shelf.turn()
    assert len(writes(shelf)) == 2


def test_where_one_after_the_other_is_denied_all_are_held_until_one_is_accepted(shelf: Shelf) -> None:
    shelf.master(variants="ours", title="ours")
    shelf.read()
    for number in range(products.DENIED_MAX + 2):
        shelf.save(mug(f"mug-{number}"))
    denying = Denying(shelf)
    assert shelf.turn()["writes_stopped"] == 1
    since, why = held(shelf)
    assert "not on this plan" in why
    assert len(writes(shelf)) == products.DENIED_MAX
    # It says that we may: the longest due are tried, and since when it is stays.
    assert "writes_stopped" not in shelf.turn()
    assert held(shelf) == (since, why)
    assert len({product for product, _ in writes(shelf)}) == products.DENIED_MAX + 2
    due_now(shelf)
    shelf.turn()
    assert held(shelf) == (since, why)
    assert "does not let us write products" in str(said_of_connection(shelf))
    denying.handles = ("mug-0",)
    due_now(shelf)
    shelf.turn()
    assert (held(shelf), said_of_connection(shelf)) == ((None, None), None)
    assert [outcome for _, outcome in writes(shelf)].count("confirmed") == products.DENIED_MAX + 1


def test_a_hold_ends_where_nothing_is_left_to_write(shelf: Shelf) -> None:
    shelf.master(variants="ours", title="ours")
    shelf.read()
    mine = shelf.save(mug("mug"))
    shelf.turn()
    denying = Denying(shelf, says="the scope write_products is not granted")
    shelf.save(mug("mug", "Other"), mine)
    assert shelf.turn()["writes_stopped"] == 1
    shelf.save(mug("mug"), mine)
    # Typed back; the right is missing all the same.
    shelf.turn()
    assert held(shelf)[0] is not None
    denying.says = None
    shelf.turn()
    assert (held(shelf), said_of_connection(shelf)) == ((None, None), None)


def test_who_cannot_say_which_rights_there_are_has_all_held(shelf: Shelf) -> None:
    shelf.master(variants="ours", title="ours")
    shelf.read()
    mine = shelf.save(mug("mug"))

    class Silent(Denying):
        def writing_refused(self) -> str | None:
            if self.says is None:
                raise Retryable("no answer")
            return None

    silent = Silent(shelf)
    assert shelf.turn()["writes_stopped"] == 1
    assert (writes(shelf), shelf.link(mine)["failures"]) == ([(mine, "unsent")], 0)
    since = held(shelf)[0]
    silent.says = "something"
    shelf.turn()
    assert (held(shelf)[0], shelf.link(mine)["failures"]) == (since, 1)


class Killed(Between):
    """The worker ends where it would write."""

    def write_product(self, _write: ProductWrite) -> ProductResult:
        raise SystemExit


def test_writes_that_ended_are_forgotten_but_the_last_of_each_product(shelf: Shelf) -> None:
    shelf.master(variants="ours", title="ours")
    shelf.read()
    mine, other = shelf.save(mug("mug")), shelf.save(mug("cup"))
    shelf.turn()
    for title in ("Second", "Third"):
        shelf.save(mug("mug", title), mine)
        shelf.turn()
    shelf.save(mug("cup", "Open"), other)
    Killed(shelf)
    with pytest.raises(SystemExit):
        shelf.turn()
    before = [push["id"] for push in shelf.pushes()]
    policy = Policy(BY_NAME["product_pushes"], 90)
    with unit_of_work(shelf.engine) as conn:
        assert retention.forget(conn, policy, utc_now() + timedelta(days=89)) == 0
        assert retention.forget(conn, policy, utc_now() + timedelta(days=91), 2) == 2
        # Those of the other tests' shops too.
        retention.forget(conn, policy, utc_now() + timedelta(days=91))
    assert [push["id"] for push in shelf.pushes()] == before[-2:]
    for needed in before[-2:]:
        with pytest.raises(IntegrityError, match="it is kept"), unit_of_work(shelf.engine) as conn:
            execute(conn, "delete from product_pushes where shop_id = %(s)s and id = %(id)s", s=shelf.row.shop_id,
                    id=needed)  # fmt: skip


# --- What stands where ours is to be made -----------------------------------------------------------------------------


class Barred(Between):
    """Something there has the handle of ours, and cannot be read."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf)
        self.ref = shelf.put(handle="mug", **theirs("XL")).rpartition("/")[2]
        self.is_there, self.is_readable = True, False
        self.looked_for: list[str] = []

    def _seen(self, found: Any) -> Any:
        return (
            found if found is None or self.is_readable or found.ref != self.ref else UnreadableProduct(found.ref, "x")
        )

    def read_products(self, refs: Sequence[str], **named: Any) -> Any:
        found = self._real.read_products([ref for ref in refs if self.is_there or ref != self.ref], **named)
        return [self._seen(one) for one in found]

    def find_product(self, handle: str) -> Any:
        self.looked_for.append(handle)
        found = self._real.find_product(handle)
        return None if found is not None and found.ref == self.ref and not self.is_there else self._seen(found)


@pytest.fixture
def barred(shelf: Shelf) -> tuple[Shelf, Barred, int]:
    """Ours was to be made, and is set aside."""
    shelf.master(variants="ours", title="ours")
    shelf.read()
    mine, obstacle = shelf.save(mug("mug")), Barred(shelf)
    shelf.turn()
    link = shelf.link(mine)
    assert (link["state"], link["cause"], link["blocked_by"]) == ("asks", "unreadable", obstacle.ref)
    looks = len(obstacle.looked_for)
    shelf.turn()
    # It is not looked for each turn.
    assert len(obstacle.looked_for) == looks
    return shelf, obstacle, mine


def test_ours_goes_on_with_another_handle(barred: tuple[Shelf, Barred, int]) -> None:
    shelf, _, mine = barred
    shelf.save(mug("mug-2"), mine)
    shelf.turn()
    link = shelf.link(mine)
    assert (link["state"], link["blocked_by"], link["is_unreadable"]) == ("in_step", None, False)
    assert link["channel_ref"] is not None


def test_ours_goes_on_once_what_stood_there_is_gone(barred: tuple[Shelf, Barred, int]) -> None:
    shelf, obstacle, mine = barred
    obstacle.is_there = False
    call(shelf, obstacle.ref)
    shelf.turn()
    # As to the world outside, it is there still: the write is refused, and nothing was set aside any more.
    assert (shelf.link(mine)["cause"], shelf.link(mine)["blocked_by"]) == ("refused", None)
    assert [outcome for _, outcome in writes(shelf)] == ["refused"]


def test_ours_goes_on_once_what_stands_there_can_be_read(barred: tuple[Shelf, Barred, int]) -> None:
    shelf, obstacle, mine = barred
    obstacle.is_readable = True
    call(shelf, obstacle.ref)
    shelf.turn()
    # What is there is another product: that is what is said now.
    assert (shelf.link(mine)["cause"], shelf.link(mine)["blocked_by"]) == ("refused", None)


def test_a_change_that_leaves_the_handle_is_looked_at_once(barred: tuple[Shelf, Barred, int]) -> None:
    shelf, obstacle, mine = barred
    looks = len(obstacle.looked_for)
    shelf.save(mug("mug", "Another"), mine)
    for _ in range(3):
        shelf.turn()
    assert len(obstacle.looked_for) == looks + 1
    assert (shelf.link(mine)["cause"], shelf.link(mine)["blocked_by"]) == ("unreadable", obstacle.ref)


def test_ours_is_the_one_there_once_it_can_be_read(shelf: Shelf) -> None:
    shelf.master(variants="ours", title="ours")
    shelf.read()
    mine = shelf.save(make_document())
    obstacle = Barred(shelf)
    there = shelf.put(handle="shirt", **theirs("M", "L"))
    obstacle.ref = there.rpartition("/")[2]
    shelf.turn()
    assert shelf.link(mine)["blocked_by"] == obstacle.ref
    obstacle.is_readable = True
    call(shelf, obstacle.ref)
    shelf.turn()
    link = shelf.link(mine)
    assert (link["channel_ref"], link["state"], link["blocked_by"]) == (obstacle.ref, "in_step", None)
