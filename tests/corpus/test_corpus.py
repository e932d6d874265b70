"""Every body that the world's Shopify libraries keep for their tests: we know what becomes of each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from core.adapters.shopify.parsing import SUBSCRIBED, TOPICS, UnreadableBody, parse
from core.ports import Facts
from tests.corpus.catalogue import CURRENCY, named
from tests.corpus.deliveries import Delivery, deliveries, files, table


@pytest.fixture(scope="module")
def everything(shared_dir: Path) -> list[Delivery]:
    return list(deliveries(shared_dir))


def test_the_table_names_every_file_once(shared_dir: Path) -> None:
    assert sorted(row["file"] for row in table("topics.csv")) == files(shared_dir)


def test_every_part_is_expected(everything: list[Delivery]) -> None:
    parts = {(delivery.file, delivery.part) for delivery in everything}
    assert parts == {(row["file"], int(row["part"])) for row in table("expected.csv")}


def test_every_body_is_read_as_expected(everything: list[Delivery]) -> None:
    """Reading alone cannot tell what waits from what is handled: both are read."""
    read = {delivery.id: "read" if isinstance(found := _read(delivery), Facts) else found for delivery in everything}
    expected = {
        delivery.id: "read" if delivery.state in ("handled", "waiting") else delivery.state for delivery in everything
    }
    assert read == expected


def test_the_place_of_what_cannot_be_read_is_named(everything: list[Delivery]) -> None:
    for delivery in everything:
        if delivery.state == "parked:unreadable":
            with pytest.raises(UnreadableBody) as caught:
                parse(delivery.topic, delivery.body, None, CURRENCY)
            assert f"{caught.value.place}: {caught.value.why}" == delivery.about


def test_what_waits_waits_for_something_the_corpus_lacks(everything: list[Delivery]) -> None:
    """A refund or fulfilment is handled when the orders of the corpus have its order and its lines, else it waits."""
    lines: dict[str, set[str]] = {}
    for _, facts in _said(everything):
        for order in facts.orders:
            lines.setdefault(order.ref, set()).update(line.ref for line in order.lines)
    for delivery, facts in _said(everything):
        expected = ("waiting", awaited) if (awaited := _awaited(facts, lines)) else ("handled", "")
        assert (delivery.state, delivery.about) == expected, delivery.id


def test_each_topic_of_ours_has_bodies_that_are_handled(everything: list[Delivery]) -> None:
    handled = Counter(delivery.topic for delivery in everything if delivery.state == "handled")
    assert set(handled) == set(SUBSCRIBED)
    assert min(handled[topic] for topic in TOPICS) >= 3


def test_the_catalogue_knows_every_variant_code_and_place(shared_dir: Path, everything: list[Delivery]) -> None:
    rows = named(shared_dir)
    variants = {row.variant_ref for row in rows}
    codes = {row.code for row in rows}
    places = {(row.inventory_ref, row.location_ref) for row in rows}
    for _, facts in _said(everything):
        assert all((line.variant_ref or "") in variants for order in facts.orders for line in order.lines)
        assert all((line.code or "") in codes for order in facts.orders for line in order.lines)
        assert all((level.inventory_ref, level.location_ref) in places for level in facts.levels)


def _said(everything: list[Delivery]) -> list[tuple[Delivery, Facts]]:
    read = [(delivery, _read(delivery)) for delivery in everything]
    return [(delivery, facts) for delivery, facts in read if isinstance(facts, Facts)]


def _read(delivery: Delivery) -> Facts | str:
    try:
        facts = parse(delivery.topic, delivery.body, None, CURRENCY)
    except UnreadableBody:
        return "parked:unreadable"
    return facts if facts is not None else "ignored"


def _awaited(facts: Facts, lines: dict[str, set[str]]) -> str:
    parts = [(item.order_ref, [ref for ref, _ in item.lines]) for item in facts.fulfilments]
    parts += [(item.order_ref, [line.line_ref for line in item.lines]) for item in facts.refunds]
    for order_ref, refs in parts:
        if order_ref not in lines:
            return f"order:{order_ref}"
        if not lines[order_ref].issuperset(refs):
            return f"order_line:{order_ref}"
    return ""
