"""The example rules and panels ask for what is there, in a language that Prometheus reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from core.db import unit_of_work
from tests.api.conftest import Serve, Shop, signed_headers
from tests.api.test_metrics import run_job, scrape, seed_inbox, seed_listings, seed_open, seed_runs, seed_settled

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "monitoring"
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
BOARD = json.loads((FOLDER / "grafana.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]

# Prometheus itself says that, of whatever it asks.
OF_PROMETHEUS = {"up": {"job"}}


@pytest.fixture
def exposed(serve: Serve, shop: Shop) -> dict[str, set[str]]:
    """The labels of every metric of an api behind which something happened."""
    seed_settled(shop)
    with unit_of_work(shop.engine) as conn:
        seed_inbox(conn, shop)
        seed_listings(conn, shop)
        seed_runs(conn, shop)
        seed_open(conn, shop)
        run_job(conn, "stock.push", "failed")
    api = serve()
    api.post(shop.path, content=b"{}", headers=signed_headers(b"{}", "d-1"))
    api.post(shop.path, content=b"other", headers=signed_headers(b"{}"))
    labels: dict[str, set[str]] = {}
    for name, pairs in scrape(api):
        labels.setdefault(name, set()).update(label for label, _ in pairs)
    # Never polled, and so said of no connection yet.
    labels.setdefault("switchyard_orders_polled_timestamp_seconds", {"connection"})
    return labels | OF_PROMETHEUS


def selectors(node: Any) -> Iterator[Any]:
    """Every selector of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "vs", "param"):
        if (below := getattr(node, name, None)) is not None:
            yield from selectors(below)
    args = getattr(node, "args", None) or ()
    for below in args if isinstance(args, list | tuple) else ():
        yield from selectors(below)


def test_every_expression_can_be_read_and_asks_for_metrics_and_labels_that_are_there(
    exposed: dict[str, set[str]],
) -> None:
    for text in EXPRESSIONS:
        found = list(selectors(promql_parser.parse(text)))
        assert {each.name for each in found} == set(re.findall(r"\bswitchyard_\w+|\bup\b", text)), text
        for each in found:
            assert each.name in exposed, text
            asked = {matcher.name for matcher in each.matchers.matchers}
            assert asked <= exposed[each.name], text


def test_whatever_a_rule_and_a_panel_groups_by_is_a_label_of_what_it_asks_for(exposed: dict[str, set[str]]) -> None:
    for text in EXPRESSIONS:
        names = {each.name for each in selectors(promql_parser.parse(text))}
        known = set().union(*(exposed[name] for name in names)) | {"le"}
        for words in re.findall(r"\b(?:by|on|group_left) ?\(([^)]*)\)", text):
            assert {word.strip() for word in words.split(",")} <= known, text


def test_every_rule_says_how_urgent_it_is_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["action"], rule["alert"]


def test_the_condition_of_every_rule_stands_in_the_document() -> None:
    document = (FOLDER.parent / "operations.md").read_text()
    table = document.split("### What to alert on", 1)[1].split("\n## ", 1)[0]
    for rule in RULES:
        for name in re.findall(r"\bswitchyard_\w+", rule["expr"]):
            assert name in table, rule["alert"]


def test_panels_do_not_lie_on_each_other_and_each_asks_something() -> None:
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["targets"], panel["title"]
