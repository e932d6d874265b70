"""Whatever is edited here and there, written, lost and read, in any order: each field ends as its master last said."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from core.catalog.products.documents import ProductDocument
from core.clock import utc_now
from core.db import unit_of_work
from core.product_ports import (
    ProductChange,
    ProductChannel,
    ProductResult,
    ProductWrite,
    ShownProduct,
    UnreadableProduct,
)
from core.publication import operations
from tests.factories import ACTOR
from tests.sandbox.outside import Inside
from tests.shelves import Shelf

numbers = itertools.count(1)

FIELDS = ("title", "vendor", "tags", "price", "metafields")
MASTERS = st.fixed_dictionaries({field: st.sampled_from(("ours", "channel", "nobody")) for field in FIELDS})
VALUES = st.sampled_from("ABC")
EDITS = st.tuples(st.sampled_from(("here", "there", "meanwhile")), st.sampled_from(FIELDS), VALUES)
STEPS = st.one_of(
    EDITS,
    EDITS,
    st.tuples(st.sampled_from(("turn", "read"))),
    st.tuples(st.just("fault"), st.sampled_from(("lost_reply", "http_502", "throttled")), st.integers(1, 2)),
)


class Nosy:
    """A channel whose staff are at work in the moment between our look and our write."""

    def __init__(self, channel: ProductChannel) -> None:
        self._channel = channel
        self.products_per_read = channel.products_per_read
        self.meanwhile: list[Callable[[], None]] = []

    def product_changes(self, since: datetime | None) -> Iterator[Sequence[ProductChange]]:
        return self._channel.product_changes(since)

    def read_products(
        self, refs: Sequence[str], *, in_background: bool = False
    ) -> Sequence[ShownProduct | UnreadableProduct]:
        return self._channel.read_products(refs, in_background=in_background)

    def find_product(self, handle: str) -> ShownProduct | UnreadableProduct | None:
        return self._channel.find_product(handle)

    def writing_refused(self) -> str | None:
        return self._channel.writing_refused()

    def write_product(self, write: ProductWrite) -> ProductResult:
        while self.meanwhile:
            self.meanwhile.pop()()
        return self._channel.write_product(write)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, module_engine: Engine) -> Iterator[Shelf]:
    world = Inside(tmp_path_factory.mktemp("world"))
    # On a clock so fast that what never arrived is given up at once.
    made = Shelf(world, module_engine, clock_factor=1e6)
    made.reached = Nosy(made.channel.products)
    made.read()
    yield made
    world.stop()


class History:
    """One product on both sides, and what its two masters last said of each field."""

    def __init__(self, shelf: Shelf, masters: dict[str, str]) -> None:
        self.shelf = shelf
        self.masters = masters
        name = f"p{next(numbers)}"
        self.code = name.upper()
        variant = {
            "sku": self.code,
            "price": "1.00",
            "optionValues": [{"optionName": "Title", "name": "Default Title"}],
        }
        options = [{"name": "Title", "values": [{"name": "Default Title"}]}]
        self.there = shelf.put(
            handle=name, title="first", vendor="first", tags=["first"], variants=[variant], productOptions=options
        )
        self.said: dict[str, dict[str, str]] = {side: dict.fromkeys(FIELDS, "first") for side in ("here", "there")}
        self.type_there("metafields", "first")
        shelf.turn()
        shelf.master(**masters)
        (found,) = shelf.rows(
            "select product_id from product_links where shop_id = %(shop)s and channel_ref = %(ref)s",
            ref=self.there.rpartition("/")[2],
        )
        self.mine = int(found["product_id"])

    def type_here(self, field: str, value: str) -> None:
        document = self.shelf.ours(self.mine).document
        self.shelf.save(_changed(document, field, value), self.mine)
        self.said["here"][field] = value

    def type_there(self, field: str, value: str) -> None:
        shelf, variant = self.shelf, self.shelf.shown(self.there).variants[0].ref
        if field == "price":
            shelf.put_variants(self.there, {"id": f"gid://shopify/ProductVariant/{variant}", "price": _price(value)})
        elif field == "metafields":
            one = {"namespace": "details", "key": "supplier_id", "type": "single_line_text_field", "value": value}
            shelf.shop.control("product", product=self.there, metafields=[{"ownerId": self.there, **one}])
        else:
            shelf.put(self.there, **{field: [value] if field == "tags" else value})
        self.said["there"][field] = value

    def step(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("here", field, value):
                self.type_here(field, value)
            case ("there", field, value):
                self.type_there(field, value)
            case ("meanwhile", field, value):
                assert isinstance(self.shelf.reached, Nosy)
                self.shelf.reached.meanwhile.append(lambda: self.type_there(field, value))
            case ("fault", kind, count):
                self.shelf.world.faults(kind=kind, match="mutation", count=count)
            case ("turn",):
                self.shelf.turn()
            case ("read",):
                self.shelf.read()

    def settle(self) -> None:
        """Nothing goes wrong any more; who is asked lets it go on."""
        assert isinstance(self.shelf.reached, Nosy)
        self.shelf.reached.meanwhile.clear()
        self.shelf.world.http.delete("/_control/faults")
        for _ in range(6):
            link = self.shelf.link(self.mine)
            if link["state"] == "asks":
                with unit_of_work(self.shelf.engine) as conn:
                    operations.release(conn, self.shelf.row, self.mine, ACTOR, utc_now())
            self._hurry()
            self.shelf.turn()
            if self.shelf.link(self.mine)["state"] == "in_step":
                return
        raise AssertionError(f"never in step: {self.shelf.link(self.mine)['problem']}")

    def _hurry(self) -> None:
        """Nobody waits for a second try."""
        with unit_of_work(self.shelf.engine) as conn:
            conn.exec_driver_sql("update product_links set next_at = now() where state = 'differs'")

    def shown(self) -> dict[str, dict[str, str]]:
        ours, there = self.shelf.ours(self.mine).document, self.shelf.shown(self.there)
        return {
            "here": {
                "title": ours.title,
                "vendor": str(ours.vendor),
                "tags": ours.tags[0],
                "price": _word(ours.variants[0].price_minor),
                "metafields": str(ours.metafields.get("details.supplier_id")),
            },
            "there": {
                "title": there.title,
                "vendor": str(there.vendor),
                "tags": there.tags[0],
                "price": _word(there.variants[0].price_minor),
                "metafields": str(there.metafields["details.supplier_id"].value),
            },
        }

    def expected(self) -> dict[str, dict[str, str]]:
        sides: dict[str, dict[str, str]] = {"here": {}, "there": {}}
        for field in FIELDS:
            master = self.masters[field]
            for side in sides:
                speaker = {"ours": "here", "channel": "there", "nobody": side}[master]
                sides[side][field] = self.said[speaker][field]
        return sides


_MINOR = {"first": 100, "A": 200, "B": 300, "C": 400}


def _price(value: str) -> str:
    return f"{_MINOR[value] / 100:.2f}"


def _word(minor: int | None) -> str:
    return next(word for word, one in _MINOR.items() if one == minor)


def _changed(document: ProductDocument, field: str, value: str) -> ProductDocument:
    if field == "price":
        return replace(document, variants=(replace(document.variants[0], price_minor=_MINOR[value]),))
    if field == "metafields":
        return replace(document, metafields={**document.metafields, "details.supplier_id": value})
    return replace(document, **{field: (value,) if field == "tags" else value})


@settings(max_examples=25)
@given(masters=MASTERS, steps=st.lists(STEPS, max_size=10))
def test_each_field_ends_as_its_master_last_said(
    shelf: Shelf, masters: dict[str, str], steps: list[tuple[Any, ...]]
) -> None:
    history = History(shelf, masters)
    for step in steps:
        history.step(step)
    history.settle()
    assert history.shown() == history.expected()
    pushes = [push for push in shelf.pushes() if push["product_id"] == history.mine]
    assert all(push["outcome"] for push in pushes)
