"""What a document of ours may cost at most, before it is sent.

Shopify takes the requested cost before it runs a query and refuses what the bucket does not hold, so that it must be
known beforehand: an object 1, a connection its size times its node, a mutation 10, with so much more for each variant,
file and metafield that productSet is given (the descriptions of its input); of the kinds a node may have, the dearest
(shopify.dev/docs/api/usage/limits). Documents are read without the schema: a field with fields below it is an
object, one with `nodes` or `edges` below it a connection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    parse,
)

MUTATION_COST = 10
_GIVEN_COSTS = {"variants": 0.2, "files": 1.9, "file": 0.6, "metafields": 0.4}
_SIZES = ("first", "last", "ids")


def requested_cost(document: str, variables: Mapping[str, Any]) -> int:
    """Points that Shopify takes before it runs the document's only operation with these variables."""
    parsed = _parsed(document)
    fragments = {node.name.value: node for node in parsed.definitions if isinstance(node, FragmentDefinitionNode)}
    operation = next(node for node in parsed.definitions if isinstance(node, OperationDefinitionNode))
    if operation.operation == OperationType.MUTATION:
        return MUTATION_COST * len(operation.selection_set.selections) + _given_cost(operation, variables)
    return _Meter(fragments, variables).of(operation.selection_set)


def _given_cost(operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> int:
    """What productSet costs for what it is given."""
    names = {node.name.value for node in operation.selection_set.selections if isinstance(node, FieldNode)}
    return math.ceil(_cost_of(variables.get("input"))) if "productSet" in names else 0


def _cost_of(given: Any) -> float:
    if isinstance(given, list):
        return sum(map(_cost_of, given))
    if not isinstance(given, dict):
        return 0.0
    return sum(
        _GIVEN_COSTS.get(name, 0.0) * (len(value) if isinstance(value, list) else value is not None) + _cost_of(value)
        for name, value in given.items()
    )


@lru_cache(maxsize=128)
def _parsed(document: str) -> DocumentNode:
    return parse(document, no_location=True)


class _Meter:
    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]) -> None:
        self._fragments = fragments
        self._variables = variables

    def of(self, selections: SelectionSetNode) -> int:
        """The cost of what is selected of one object."""
        fields, by_kind = 0, []
        for node in selections.selections:
            if isinstance(node, FieldNode):
                fields += self._field(node)
            elif isinstance(node, FragmentSpreadNode):
                fields += self.of(self._fragments[node.name.value].selection_set)
            elif isinstance(node, InlineFragmentNode):
                by_kind.append(self.of(node.selection_set))
        return fields + max(by_kind, default=0)

    def _field(self, node: FieldNode) -> int:
        if node.selection_set is None:
            return 0
        size = self._size(node)
        inner = [child for child in node.selection_set.selections if isinstance(child, FieldNode)]
        shown = [child for child in inner if child.name.value in ("nodes", "edges")]
        if not shown:
            return size * (1 + self.of(node.selection_set))
        return sum(size * self._of_each(child) for child in shown)

    def _of_each(self, shown: FieldNode) -> int:
        """One node of a connection; an edge itself is free."""
        assert shown.selection_set is not None, "nodes and edges are objects"
        inner = self.of(shown.selection_set)
        return inner if shown.name.value == "edges" else 1 + inner

    def _size(self, node: FieldNode) -> int:
        """How many of it may come: as many as asked for, one where nothing says."""
        for argument in node.arguments:
            if argument.name.value not in _SIZES:
                continue
            value: Any = None
            if isinstance(argument.value, IntValueNode):
                value = int(argument.value.value)
            elif isinstance(argument.value, VariableNode):
                value = self._variables.get(argument.value.name.value)
            if isinstance(value, list):
                return len(value)
            if isinstance(value, int):
                return value
        return 1
