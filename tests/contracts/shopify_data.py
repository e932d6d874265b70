"""Whether data is what a document asks for, by the vendor's schema: types, null, enums, nothing missing or more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLEnumType,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)

from tests.contracts.shopify_cost import Fields

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _matching(pattern: str) -> Callable[[Any], bool]:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


_SCALARS: dict[str, Callable[[Any], bool]] = {
    "Int": lambda value: _whole(value) and -(2**31) <= value < 2**31,
    "Float": lambda value: isinstance(value, float) or _whole(value),
    "Boolean": lambda value: isinstance(value, bool),
    "JSON": lambda value: True,
    "DateTime": _matching(_TIME.pattern),
    "Date": _matching(r"\d{4}-\d\d-\d\d"),
    "Decimal": _matching(r"-?\d+(\.\d+)?"),
    "Money": _matching(r"-?\d+(\.\d+)?"),
    "UnsignedInt64": _matching(r"\d+"),
    "BigInt": _matching(r"-?\d+"),
    "URL": _matching(r"[a-z]+://\S+"),
    "ID": _matching(r"\S+"),
}


def differences(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, data: Any
) -> Iterator[str]:
    """Places where the data is not what the schema promises for this operation."""
    root = schema.get_root_type(operation.operation)
    assert root is not None
    yield from _object(Fields(schema, document), root, [operation.selection_set], data, "data")


def _object(fields: Fields, kind: GraphQLObjectType, selections: list[Any], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r:.60} is no object"
        return
    asked: dict[str, list[FieldNode]] = {}
    for selection in selections:
        for node in fields.of(selection, kind):
            asked.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
    for name in asked.keys() - value.keys():
        yield f"{path}.{name}: missing"
    for name in value.keys() - asked.keys():
        yield f"{path}.{name}: was not asked for"
    for name in asked.keys() & value.keys():
        field = asked[name][0].name.value
        if field == "__typename":
            if value[name] != kind.name:
                yield f"{path}.__typename: {value[name]!r} is not {kind.name}"
            continue
        if field == "id" and _is_node(kind) and not str(value[name]).startswith(f"gid://shopify/{kind.name}/"):
            yield f"{path}.id: {value[name]!r} is no id of a {kind.name}"
        inner = [node.selection_set for node in asked[name] if node.selection_set]
        yield from _value(fields, kind.fields[field].type, inner, value[name], f"{path}.{name}")


def _is_node(kind: GraphQLObjectType) -> bool:
    return any(interface.name == "Node" for interface in kind.interfaces)


def _value(fields: Fields, kind: Any, selections: list[Any], value: Any, path: str) -> Iterator[str]:
    if is_non_null_type(kind):
        if value is None:
            yield f"{path}: null where {kind} is promised"
            return
        kind = kind.of_type
    if value is None:
        return
    if is_list_type(kind):
        if not isinstance(value, list):
            yield f"{path}: {value!r:.60} is no list"
            return
        for place, entry in enumerate(value):
            yield from _value(fields, kind.of_type, selections, entry, f"{path}[{place}]")
    elif is_leaf_type(kind):
        if not _is_leaf_value(kind, value):
            yield f"{path}: {value!r:.60} is no {kind.name}"
    elif is_abstract_type(kind):
        yield from _abstract(fields, kind, selections, value, path)
    else:
        yield from _object(fields, kind, selections, value, path)


def _abstract(fields: Fields, kind: Any, selections: list[Any], value: Any, path: str) -> Iterator[str]:
    """Which type it is need not be said: any one that it could be will do."""
    fewest: list[str] | None = None
    for possible in fields.schema.get_possible_types(kind):
        found = list(_object(fields, possible, selections, value, path))
        if not found:
            return
        if fewest is None or len(found) < len(fewest):
            fewest = found
    yield from fewest or [f"{path}: nothing is a {kind.name}"]


def _is_leaf_value(kind: Any, value: Any) -> bool:
    if isinstance(kind, GraphQLEnumType):
        return value in kind.values
    known = _SCALARS.get(kind.name)
    return known(value) if known else isinstance(value, str)
