"""Our small GraphQL schema held against the vendor's: every name in it exists there with the same type."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    execute_sync,
    get_nullable_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
    parse,
)

from sandbox.clock import Clock
from sandbox.courier import CONNECT_SECONDS, RETRY_WAITS, TOTAL_SECONDS
from sandbox.faults import Faults
from sandbox.outbox import Outbox
from sandbox.store import Store
from sandbox.vendors.shopify import (
    bulk,
    bulk_query,
    connections,
    cost,
    endpoint,
    idempotency,
    set_quantities,
    shipping,
    shops,
)
from sandbox.vendors.shopify.resolvers import Root
from sandbox.vendors.shopify.sdl import schema
from sandbox.vendors.shopify.shops import open_shop
from tests.contracts.shopify_requests import vendor_schema

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = (ROOT / os.environ.get("SHARED_DIR", "../shared")).resolve() / "contracts" / "shopify"
VERSIONS = ("2026-07", "2026-10")
pytestmark = pytest.mark.skipif(
    not CONTRACTS.is_dir(), reason=f"the vendor's schema is not at {CONTRACTS}: set SHARED_DIR to hold ours against it"
)


def theirs(version: str) -> GraphQLSchema:
    return vendor_schema(CONTRACTS.parent, version)


def differences(ours: GraphQLSchema, vendor: GraphQLSchema) -> list[str]:
    found: list[str] = []
    for name, kind in ours.type_map.items():
        if name.startswith("__"):
            continue
        other = vendor.type_map.get(name)
        if type(other) is not type(kind):
            found.append(f"{name} is no {type(kind).__name__} at the vendor's")
        elif isinstance(kind, GraphQLEnumType):
            assert isinstance(other, GraphQLEnumType)
            found += [f"{name}.{value}" for value in kind.values if value not in other.values]
        elif isinstance(kind, GraphQLInputObjectType):
            assert isinstance(other, GraphQLInputObjectType)
            found += _input_differences(name, kind, other)
        elif not isinstance(kind, GraphQLScalarType):
            assert isinstance(kind, (GraphQLObjectType, GraphQLInterfaceType))
            assert isinstance(other, (GraphQLObjectType, GraphQLInterfaceType))
            found += _object_differences(name, kind, other)
    return found


def _input_differences(name: str, ours: GraphQLInputObjectType, vendor: GraphQLInputObjectType) -> list[str]:
    found = []
    for field, value in ours.fields.items():
        other = vendor.fields.get(field)
        if other is None or str(other.type) != str(value.type) or other.default_value != value.default_value:
            found.append(f"{name}.{field}")
    # A field that the vendor insists on must be insisted on here too.
    needed = [field for field, value in vendor.fields.items() if str(value.type).endswith("!")]
    return found + [f"{name}.{field} is missing" for field in needed if field not in ours.fields]


def _object_differences(
    name: str, ours: GraphQLObjectType | GraphQLInterfaceType, vendor: GraphQLObjectType | GraphQLInterfaceType
) -> list[str]:
    found = []
    interfaces = {interface.name for interface in vendor.interfaces}
    found += [f"{name} implements {one.name}" for one in ours.interfaces if one.name not in interfaces]
    for field, value in ours.fields.items():
        other = vendor.fields.get(field)
        if other is None or str(other.type) != str(value.type):
            found.append(f"{name}.{field}: {value.type}")
            continue
        for argument, given in value.args.items():
            theirs_ = other.args.get(argument)
            if theirs_ is None or str(theirs_.type) != str(given.type) or theirs_.default_value != given.default_value:
                found.append(f"{name}.{field}({argument})")
        needed = [argument for argument, given in other.args.items() if str(given.type).endswith("!")]
        found += [f"{name}.{field}({argument}) is missing" for argument in needed if argument not in value.args]
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_in_our_schema_is_in_the_vendors(version: str) -> None:
    assert differences(schema(), theirs(version)) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_the_idempotent_directive_is_the_vendors(version: str) -> None:
    ours, vendor = schema().get_directive("idempotent"), theirs(version).get_directive("idempotent")
    assert ours is not None
    assert vendor is not None
    assert ours.locations == vendor.locations
    assert {name: str(given.type) for name, given in ours.args.items()} == {
        name: str(given.type) for name, given in vendor.args.items()
    }


def test_the_vendors_limits_and_plans_are_ours() -> None:

    rules = json.loads((CONTRACTS / "rules.json").read_text())
    limits = rules["limits"]
    assert limits["inputArrayMax"] == endpoint.INPUT_ARRAY_MAX
    assert limits["connectionFirstMax"] == connections.MAX_PAGE
    assert limits["paginationDepthMax"] == connections.MAX_DEPTH
    assert limits["singleQueryCostMax"] == cost.MAX_QUERY_COST
    assert limits["mutationBaseCost"] == cost.MUTATION_COST
    assert limits["inventoryQuantityMax"] == set_quantities.LIMIT
    assert limits["idempotencyKeyRetentionHours"] * 3600 == idempotency.KEY_LIFETIME_SECONDS
    for plan, (rate, capacity) in shops.PLANS.items():
        assert rules["graphqlCost"][plan] == {"restoreRate": rate, "maximumAvailable": capacity}
    assert tuple(rules["setQuantitiesNames"]) == set_quantities.NAMES
    webhook = rules["webhook"]
    assert (webhook["connectTimeoutSeconds"], webhook["totalTimeoutSeconds"]) == (CONNECT_SECONDS, TOTAL_SECONDS)
    assert len(RETRY_WAITS) == webhook["retries"]
    assert sum(RETRY_WAITS) == pytest.approx(webhook["retryWindowHours"] * 3600)
    assert limits["bulkOperationsConcurrentPerShop"] == bulk.CONCURRENT
    assert limits["bulkQueryMaxConnections"] == bulk_query.MAX_CONNECTIONS
    assert limits["bulkQueryMaxNesting"] == bulk_query.MAX_NESTING
    assert limits["bulkResultUrlDays"] * 86_400 == bulk.LINK_SECONDS
    assert limits["fulfillmentOrderLineItemsPerFulfillmentOrder"] == shipping.MAX_LINES


def test_every_mutation_that_needs_a_key_at_the_vendors_needs_one_here(tmp_path: Path) -> None:
    rules = json.loads((CONTRACTS / "rules.json").read_text())
    mutations = schema().mutation_type
    assert mutations is not None
    store = Store(tmp_path)
    shop = open_shop(store, "x.myshopify.com", "X", "GBP", "Europe/London", "standard")
    root = Root(store, Outbox(store, Clock(store), Faults(store, 7)), shop)
    refused = set()
    for name, field in mutations.fields.items():
        result = execute_sync(schema(), parse(_bare_call(name, field)), root)
        codes = {(problem.extensions or {}).get("code") for problem in result.errors or ()}
        if "BAD_REQUEST" in codes:
            refused.add(name)
    store.close()
    assert refused == set(rules["idempotentDirectiveRequired"]) & set(mutations.fields)
    assert "inventorySetQuantities" in refused


def _bare_call(name: str, field: GraphQLField) -> str:
    """A call with the least of arguments and no directive."""
    given = ", ".join(
        f"{key}: {_least(value.type)}" for key, value in field.args.items() if is_required_argument(value)
    )
    return f"mutation {{ {name}{f'({given})' if given else ''} {{ __typename }} }}"


def _least(kind: GraphQLInputType) -> str:
    """A literal of the type, as small as it can be."""
    kind = get_nullable_type(kind)
    if is_list_type(kind):
        return "[]"
    if isinstance(kind, GraphQLInputObjectType):
        needed = {key: field.type for key, field in kind.fields.items() if is_required_input_field(field)}
        return "{" + ", ".join(f"{key}: {_least(value)}" for key, value in needed.items()) + "}"
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    return {"Int": "1", "Boolean": "true"}.get(kind.name, '"x"')
