"""Our GraphQL documents and signatures held against Shopify's own schema, rules and samples."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableNode,
    Visitor,
    get_named_type,
    is_leaf_type,
    parse,
    validate,
    visit,
)

from core.adapters.registry import API_VERSIONS
from core.adapters.shopify import catalogue, documents, product_documents, subscriptions
from core.adapters.shopify.cost import requested_cost
from core.adapters.shopify.parsing import SUBSCRIBED
from core.adapters.shopify.parsing import parse as parse_body
from core.ports import QuantityWrite
from sandbox.vendors.shopify.cost import Meter
from tests.adapters.accounts import shopify_account
from tests.adapters.canned_shopify import LOCATION, CannedShop
from tests.contracts.shopify_requests import vendor_schema

NAMES = sorted(documents.ALL)


@pytest.fixture(scope="module")
def schema(shared_dir: Path) -> GraphQLSchema:
    return vendor_schema(shared_dir / "contracts")


@pytest.fixture(scope="module")
def rules(shared_dir: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((shared_dir / "contracts/shopify/rules.json").read_text())
    return loaded


def test_the_version_is_the_stable_one(rules: dict[str, Any]) -> None:
    assert rules["apiVersions"]["stable"] == documents.API_VERSION == API_VERSIONS["shopify"]


@pytest.mark.parametrize("name", NAMES)
def test_every_document_is_valid(schema: GraphQLSchema, name: str) -> None:
    assert validate(schema, parse(documents.ALL[name])) == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_deprecated_is_asked_for(schema: GraphQLSchema, name: str) -> None:
    info, used = TypeInfo(schema), []

    class Look(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            field = info.get_field_def()
            if field is not None and field.deprecation_reason:
                used.append(node.name.value)

    visit(parse(documents.ALL[name]), TypeInfoVisitor(info, Look()))
    assert used == []


@pytest.mark.parametrize("name", NAMES)
def test_keys_stand_where_they_must_and_nowhere_else(rules: dict[str, Any], name: str) -> None:
    """@idempotent validates anywhere and is refused at run time where it does not belong."""
    operation = _operation(documents.ALL[name])
    for field in operation.selection_set.selections:
        assert isinstance(field, FieldNode)
        directives = {directive.name.value for directive in field.directives}
        must = (
            operation.operation == OperationType.MUTATION and field.name.value in rules["idempotentDirectiveRequired"]
        )
        assert directives == ({"idempotent"} if must else set())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "EXPORTED_VARIANTS"])
def test_no_document_costs_too_much(schema: GraphQLSchema, rules: dict[str, Any], name: str) -> None:
    """By the documented rule: a scalar 0, an object 1, a connection its size times its node, a mutation 10."""
    worst = max(_cost(schema, documents.ALL[name], sizes) for sizes in _sizes(name))
    assert worst <= rules["limits"]["singleQueryCostMax"]


def test_what_is_exported_keeps_to_the_limits_of_bulk_operations(rules: dict[str, Any]) -> None:
    """It is not charged to the quota; its connections are counted instead, by their edges."""
    depths = _connection_depths(_operation(documents.EXPORTED_VARIANTS).selection_set)
    assert 1 <= len(depths) <= rules["limits"]["bulkQueryMaxConnections"]
    assert max(depths) <= rules["limits"]["bulkQueryMaxNesting"]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_document_costs_is_known_before_it_is_sent(schema: GraphQLSchema, name: str) -> None:
    """The quota is paid beforehand, so by the same rule as the vendor's own count of the same variables."""
    operation = _operation(documents.ALL[name])
    parts = parse(documents.ALL[name]).definitions
    fragments = {node.name.value: node for node in parts if isinstance(node, FragmentDefinitionNode)}
    for sizes in _sizes(name):
        given = {key: [f"gid://{n}" for n in range(size)] if key == "ids" else size for key, size in sizes.items()}
        given |= {"id": "gid://0", "handle": "mug"}
        assert requested_cost(documents.ALL[name], given) == Meter(schema, fragments, given).requested(operation)


@pytest.mark.parametrize("name", NAMES)
def test_no_list_is_longer_than_allowed(rules: dict[str, Any], name: str) -> None:
    longest = rules["limits"]["connectionFirstMax"]
    assert all(int(size) <= longest for size in re.findall(r"first: (\d+)", documents.ALL[name]))


def test_every_element_of_a_write_carries_its_comparison(rules: dict[str, Any]) -> None:
    assert "InventoryQuantityInput" in rules["changeFromQuantityMustBePresent"]["inputTypes"]
    account = shopify_account(CannedShop())
    writes = [QuantityWrite(n, "x", str(5000 + n), LOCATION, None if n else 10, 1, "k") for n in range(3)]
    account.channel().set_quantities(writes)
    (body,) = account.network.bodies("inventorySetQuantities")
    given = body["variables"]["input"]
    assert all("changeFromQuantity" in element for element in given["quantities"])
    assert given["name"] in rules["setQuantitiesNames"]
    assert account.channel().writes_per_call <= rules["limits"]["inputArrayMax"]


def test_our_topics_exist(schema: GraphQLSchema) -> None:
    values = schema.get_type("WebhookSubscriptionTopic").values  # type: ignore[union-attr]
    assert {subscriptions._code(topic) for topic in SUBSCRIBED} <= set(values)


def test_the_vendors_own_deliveries_are_read(shared_dir: Path) -> None:
    read = set()
    for path in sorted((shared_dir / "contracts/shopify/samples").glob("*.json")):
        sample = json.loads(path.read_text())
        if sample.get("topic") in SUBSCRIBED:
            triggered_at = datetime.fromisoformat(sample["headers"]["x-shopify-triggered-at"])
            facts = parse_body(sample["topic"], json.dumps(sample["body"]).encode(), triggered_at, "USD")
            assert facts is not None
            read.add(sample["topic"])
    assert read == set(SUBSCRIBED)


def _operation(text: str) -> OperationDefinitionNode:
    (operation,) = (node for node in parse(text).definitions if isinstance(node, OperationDefinitionNode))
    return operation


def _connection_depths(selection: SelectionSetNode, depth: int = 0) -> list[int]:
    """How deep each connection is nested, the outermost at 1."""
    depths = []
    for node in selection.selections:
        if not isinstance(node, FieldNode) or node.selection_set is None:
            continue
        inside = [field.name.value for field in node.selection_set.selections if isinstance(field, FieldNode)]
        is_connection = "edges" in inside
        depths += [depth + 1] if is_connection else []
        depths += _connection_depths(node.selection_set, depth + is_connection)
    return depths


def _sizes(name: str) -> list[dict[str, int]]:
    """The sizes our code asks for, for one and for many locations."""
    if name == "VARIANTS":
        return [{"levels": n, "first": catalogue.variants_per_page(n)} for n in (1, 2, 10, 50)]
    if name == "SOME_ORDERS":
        return [{"ids": documents.ORDERS_AT_ONCE}]
    if name == "SOME_PRODUCTS":
        return [{"ids": product_documents.PRODUCTS_AT_ONCE}]
    if name == "ORDERS_BEHIND":
        return [{"ids": documents.ARRAY_MAX}]
    if name == "ITEMS":
        return [{"levels": n, "ids": catalogue.items_per_call(n)} for n in (1, 2, 10, 50)]
    return [{}]


def _cost(schema: GraphQLSchema, text: str, sizes: dict[str, int]) -> int:
    fragments = {node.name.value: node for node in parse(text).definitions if isinstance(node, FragmentDefinitionNode)}
    operation = _operation(text)
    root = schema.get_root_type(operation.operation)
    if operation.operation == OperationType.MUTATION:
        return 10 * len(operation.selection_set.selections)
    return _selection_cost(schema, fragments, sizes, operation.selection_set, root)


def _selection_cost(schema: GraphQLSchema, fragments: Any, sizes: Any, selection: SelectionSetNode, parent: Any) -> int:
    cost = 0
    for node in selection.selections:
        if isinstance(node, FragmentSpreadNode):
            fragment = fragments[node.name.value]
            kind = schema.get_type(fragment.type_condition.name.value)
            cost += _selection_cost(schema, fragments, sizes, fragment.selection_set, kind)
        elif isinstance(node, InlineFragmentNode):
            kind = schema.get_type(node.type_condition.name.value) if node.type_condition else parent
            cost += _selection_cost(schema, fragments, sizes, node.selection_set, kind)
        elif isinstance(node, FieldNode):
            cost += _field_cost(schema, fragments, sizes, node, parent)
    return cost


def _field_cost(schema: GraphQLSchema, fragments: Any, sizes: Any, node: FieldNode, parent: Any) -> int:
    kind = get_named_type(parent.fields[node.name.value].type)
    if is_leaf_type(kind) or node.selection_set is None:
        return 0
    times = 1
    for argument in node.arguments:
        if argument.name.value in ("first", "ids"):
            value = argument.value
            times = sizes[value.name.value] if isinstance(value, VariableNode) else int(value.value)  # type: ignore[attr-defined]
            assert isinstance(value, (VariableNode, IntValueNode))
    if kind.name.endswith("Connection"):
        # Nodes are counted by the size; the connection and its page info once, two more than the vendor documents.
        (nodes,) = (f for f in node.selection_set.selections if isinstance(f, FieldNode) and f.name.value == "nodes")
        return times * _field_cost(schema, fragments, sizes, nodes, kind) + 3
    return times * (1 + _selection_cost(schema, fragments, sizes, node.selection_set, kind))
