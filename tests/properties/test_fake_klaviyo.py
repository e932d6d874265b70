"""Whatever jobs the fake Klaviyo is given, its catalogue ends as a plain dictionary says, and so do their counts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.clock import VirtualClock
from sandbox.duties import Duties
from sandbox.faults import Faults
from sandbox.outbox import Outbox
from sandbox.store import Store
from sandbox.vendors.klaviyo.accounts import open_account
from sandbox.vendors.klaviyo.endpoint import Klaviyo
from sandbox.vendors.klaviyo.shapes import KINDS, entry_problems
from tests.sandbox.klaviyo_side import Entry, change, new_category, new_item, new_variant, ref

NAMES = st.sampled_from(["a", "b", "c", "d"])
SOME = st.lists(NAMES, max_size=2, unique=True)
LABELS = {"item": "title", "variant": "title", "category": "name"}


def entries(kind: str, verb: str) -> st.SearchStrategy[Entry]:
    if verb == "delete":
        return st.builds(lambda name: ref(kind, name), NAMES)
    if verb == "create":
        return {
            "item": st.builds(lambda name, others: new_item(name, *others), NAMES, SOME),
            "variant": st.builds(new_variant, NAMES, NAMES),
            "category": st.builds(lambda name, others: new_category(name, *others), NAMES, SOME),
        }[kind]
    return st.builds(lambda *given: _changed(kind, *given), NAMES, st.text(max_size=2), st.none() | SOME)


def _changed(kind: str, name: str, label: str, others: list[str] | None) -> Entry:
    entry = change(kind, name, **{LABELS[kind]: label})
    if others is None or kind == "variant":
        return entry
    relation, other = ("categories", "category") if kind == "item" else ("items", "item")
    return entry | {"relationships": {relation: {"data": [ref(other, one) for one in others]}}}


@st.composite
def jobs(draw: st.DrawFn) -> tuple[str, str, list[Entry]]:
    kind = draw(st.sampled_from(["item", "variant", "category"]))
    verb = draw(st.sampled_from(["create", "create", "update", "delete"]))
    return kind, verb, draw(st.lists(entries(kind, verb), min_size=1, max_size=5))


def bare(compound: str) -> str:
    return compound.rpartition(":::")[2]


@dataclass
class Model:
    """By kind and name: the label of each, whose each variant is, and which item is in which category."""

    labels: dict[tuple[str, str], str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    links: set[tuple[str, str]] = field(default_factory=set)

    def run(self, kind: str, verb: str, entries: list[Entry]) -> list[int]:
        """The places of those that fail."""
        return [place for place, entry in enumerate(entries) if not getattr(self, verb)(kind, entry)]

    def create(self, kind: str, entry: Entry) -> bool:
        name, others = entry["attributes"]["external_id"], self._others(kind, entry)
        if (kind, name) in self.labels or others is None:
            return False
        self.labels[kind, name] = entry["attributes"][LABELS[kind]]
        if kind == "variant":
            self.owners[name] = others[0]
        else:
            self.links |= self._pairs(kind, name, others)
        return True

    def update(self, kind: str, entry: Entry) -> bool:
        name, others = bare(entry["id"]), self._others(kind, entry)
        if (kind, name) not in self.labels or others is None:
            return False
        self.labels[kind, name] = entry["attributes"][LABELS[kind]]
        if "relationships" in entry:
            self._unlink(kind, name)
            self.links |= self._pairs(kind, name, others)
        return True

    def delete(self, kind: str, entry: Entry) -> bool:
        name = bare(entry["id"])
        if self.labels.pop((kind, name), None) is None:
            return False
        self._unlink(kind, name)
        if kind == "item":
            for variant in [variant for variant, owner in self.owners.items() if owner == name]:
                del self.owners[variant], self.labels["variant", variant]
        if kind == "variant":
            del self.owners[name]
        return True

    def _others(self, kind: str, entry: Entry) -> list[str] | None:
        """Whom it says it belongs to; None if one of them is not there."""
        found = [relation["data"] for relation in entry.get("relationships", {}).values()]
        named = [one for data in found for one in (data if isinstance(data, list) else [data])]
        others = [bare(one["id"]) for one in named]
        other = "category" if kind == "item" else "item"
        return others if all((other, name) in self.labels for name in others) else None

    def _pairs(self, kind: str, name: str, others: list[str]) -> set[tuple[str, str]]:
        return {(name, other) if kind == "item" else (other, name) for other in others}

    def _unlink(self, kind: str, name: str) -> None:
        if kind != "variant":
            mine = 0 if kind == "item" else 1
            self.links = {pair for pair in self.links if pair[mine] != name}


class World:
    """The fake Klaviyo without its HTTP side."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.clock = VirtualClock()
        self.store.wall = self.clock.wall
        faults = Faults(self.store, 7)
        outbox = Outbox(self.store, self.clock, faults)
        self.klaviyo = Klaviyo(self.store, outbox, faults, 7)
        self.duties = Duties(self.store, self.clock, outbox, self.klaviyo.duties())
        self._numbers = itertools.count(1)

    def begin(self) -> None:
        """An account with nothing in it."""
        self.account = open_account(self.store, f"Test {next(self._numbers)}")

    def start(self, kind: str, verb: str, entries: list[Entry]) -> int:
        assert not [problem for entry in entries for problem in entry_problems(KINDS[kind], verb, entry, "")]
        return int(self.klaviyo.jobs.create(self.account, KINDS[kind], verb, entries)["id"])

    def step(self) -> bool:
        """The next thing that falls due; whether there was one."""
        due = self.duties.next_due()
        if due is not None:
            self.clock.advance(max(0.0, due - self.clock.now()))
        return self.duties.do_one()

    def failed(self, number: int) -> list[int] | None:
        """The places of entries that failed; None for a job that is not over."""
        row = self.klaviyo.jobs.row(number)
        if row["status"] != "complete":
            return None
        places = [int(error["source"]["pointer"].split("/")[5]) for error in orjson.loads(row["errors"])]
        assert (row["failed"], row["completed"]) == (len(places), row["total"] - len(places))
        return places

    def catalogue(self) -> Model:
        model = Model()
        for row in self.store.all("select * from klaviyo_records where account_id = ?", (self.account["id"],)):
            attributes: dict[str, Any] = orjson.loads(row["attributes"])
            model.labels[row["kind"], row["external_id"]] = attributes[LABELS[row["kind"]]]
            if row["parent"] is not None:
                model.owners[row["external_id"]] = row["parent"]
        links = self.store.all("select * from klaviyo_links where account_id = ?", (self.account["id"],))
        model.links = {(row["item"], row["category"]) for row in links}
        return model


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    opened = World(tmp_path_factory.mktemp("klaviyo"))
    yield opened
    opened.store.close()


@given(wanted=st.lists(jobs(), max_size=8), at_once=st.integers(1, 4))
def test_any_jobs_end_as_a_dictionary_says(
    world: World, wanted: list[tuple[str, str, list[Entry]]], at_once: int
) -> None:
    """So many at once, each in the order in which they end."""
    world.begin()
    model = Model()
    for start in range(0, len(wanted), at_once):
        running = {world.start(*job): job for job in wanted[start : start + at_once]}
        while world.step():
            for number in [number for number in running if world.failed(number) is not None]:
                assert world.failed(number) == model.run(*running.pop(number))
        assert not running
    assert world.catalogue() == model
