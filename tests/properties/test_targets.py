"""Whatever happens on either side, and whoever dies in between: the target ends with our catalogue and nothing else of
ours, and an id is never in two open jobs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Engine

from tests.sandbox.outside import Inside
from tests.targeting import TargetWorld, add_target, make_product
from workers.targets import Seat, read_everything

PRODUCTS = st.integers(0, 3)
NAMES = st.sampled_from(["Mug", "Bowl", "Plate"])
PRICES = st.sampled_from([250, 400, 999, None])
_numbers = itertools.count(1)


class Died(BaseException):
    """The worker was killed here: nothing of it catches this."""


class Telling(RuleBasedStateMachine):
    """A shop, a target, and everything that may happen to both."""

    engine: Engine
    outside: Inside

    @initialize()
    def begin(self) -> None:
        self.world: TargetWorld = add_target(self.engine, self.outside)
        self.products: dict[int, int] = {}
        self.seat: Seat = self.world.seat()
        self.tag = next(_numbers)

    # --- our side ------------------------------------------------------------------------------------------------

    @rule(slot=PRODUCTS, name=NAMES, count=st.integers(1, 2), in_category=st.booleans())
    def save(self, slot: int, name: str, count: int, in_category: bool) -> None:
        codes = [f"S{slot}-{n}" for n in range(count)]
        of = (self.world.category("Home", name),) if in_category else ()
        document = replace(make_product(f"p{slot}", *codes), title=name, categories=of)
        self.products[slot] = self.world.save(document, self.products.get(slot))

    @rule(slot=PRODUCTS, price=PRICES)
    def price(self, slot: int, price: int | None) -> None:
        if slot in self.products:
            self.world.price(self.products[slot], f"S{slot}-0", price)

    @rule(slot=PRODUCTS)
    def remove(self, slot: int) -> None:
        if slot in self.products:
            self.world.remove(self.products.pop(slot))

    @rule(slot=PRODUCTS, units=st.integers(1, 5))
    def receive(self, slot: int, units: int) -> None:
        if slot in self.products:
            self.world.stock(f"S{slot}-0", units)

    # --- working, and dying at it ----------------------------------------------------------------------------------

    @rule(turns=st.integers(1, 4), seconds=st.sampled_from([0.5, 2.0, 6.0]))
    def work(self, turns: int, seconds: float) -> None:
        for _ in range(turns):
            self.world.turn(self.seat)
            self.world.pass_time(seconds)

    @rule(when=st.sampled_from(["before", "after"]), request=st.integers(1, 3))
    def die(self, when: str, request: int) -> None:
        """Killed at a request, before it leaves or with its answer unread; another one takes the seat."""
        left = itertools.count(1)

        def kill(*_: Any) -> None:
            if next(left) == request:
                raise Died

        world = self.world
        world.between, world.after = (kill, world.after) if when == "before" else (world.between, kill)
        try:
            for _ in range(3):
                world.turn(self.seat)
                world.pass_time(1.0)
        except Died:
            pass
        finally:
            world.between, world.after = lambda request: None, lambda request, response: None
        self.seat = world.seat()
        world.recover(self.seat)

    @rule(kind=st.sampled_from(["item", "variant"]))
    def die_with_a_job_put_together(self, kind: Any) -> None:
        self.seat._planned(kind, "create")
        self.seat = self.world.seat()
        self.world.recover(self.seat)

    # --- their side ------------------------------------------------------------------------------------------------

    @rule(
        fault=st.sampled_from(["lost_reply", "catalog_job_cancelled", "catalog_entry_failed", "http_503", "http_429"])
    )
    def misfortune(self, fault: str) -> None:
        match = "bulk" if fault in ("lost_reply", "http_503", "http_429") else ""
        self.outside.faults(kind=fault, count=1, **({"match": match} if match else {}))

    @rule(
        kind=st.sampled_from(["item", "variant"]), verb=st.sampled_from(["update", "delete"]), place=st.integers(0, 3)
    )
    def somebody_else(self, kind: str, verb: str, place: int) -> None:
        there = sorted(self.world.held()[f"{kind}s"])
        if there:
            edit = {"kind": kind, "verb": verb, "id": there[place % len(there)]}
            self.world.side.control(
                "edits", edits=[edit | ({"attributes": {"price": 1.25}} if verb == "update" else {})]
            )

    @rule()
    def theirs(self) -> None:
        said = {"title": "Theirs", "description": "x", "url": "https://x.test"}
        name = f"theirs-{self.tag}"
        self.world.side.control("edits", edits=[{"kind": "item", "verb": "create", "id": name, "attributes": said}])

    @invariant()
    def no_id_is_in_two_open_jobs(self) -> None:
        assert self.world.open_twice() == []

    def teardown(self) -> None:
        """Misfortune ends; what waits has its time; somebody compares, and has tried again what failed too often."""
        if not hasattr(self, "world"):
            return
        self.outside.http.delete("/_control/faults").raise_for_status()
        world = self.world
        # What somebody who died had taken to look at is anybody's again.
        world.pass_time(120)
        seat = world.work(world.seat())
        read_everything(seat, lambda *_: None, [("category", 0), ("item", 0), ("variant", 0)])
        world.work(seat)
        world.try_again()
        world.work(seat)
        assert world.shown() == world.wanted()
        assert world.open_twice() == []
        assert world.rows("select 1 from target_entries where shop_id = %(shop)s and open_job_id is not null") == []
        calls = len(world.calls)
        world.work(seat)
        assert [(one.operation, one.method) for one in world.calls[calls:]] == []


def test_the_target_ends_with_our_catalogue(module_engine: Engine, outside: Inside) -> None:
    machine = type("Here", (Telling,), {"engine": module_engine, "outside": outside})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=8,
            stateful_step_count=14,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.long
def test_the_target_ends_with_our_catalogue_whatever_happens(module_engine: Engine, outside: Inside) -> None:
    machine = type("There", (Telling,), {"engine": module_engine, "outside": outside})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_lost_reply_is_never_repeated(module_engine: Engine, outside: Inside) -> None:
    """The one history that costs most where it is wrong: the job is done, its reply is lost, and the worker dies."""
    world = add_target(module_engine, outside)
    world.save(make_product("mug", "MUG-1"))

    def kill(request: httpx.Request, response: httpx.Response) -> None:
        if request.method == "POST":
            raise Died

    world.after = kill
    seat = world.seat()
    with pytest.raises(Died):
        world.work(seat)
    world.after = lambda request, response: None
    world.work(world.seat())
    assert [(job["kind"], job["verb"]) for job in world.jobs()] == [("item", "create"), ("variant", "create")]
    assert world.shown() == world.wanted()
