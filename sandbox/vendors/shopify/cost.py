"""What a query costs: a scalar 0, an object 1, a connection its size times its node, a mutation 10.

What productSet is given costs by itself: so much a variant, a file, a metafield, as the descriptions of its input say.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
    is_leaf_type,
    value_from_ast_untyped,
)
from graphql.execution.values import get_argument_values

MAX_QUERY_COST = 1000
MUTATION_COST = 10
INPUT_COSTS = {"variants": 0.2, "files": 1.9, "file": 0.6, "metafields": 0.4}
ABSENT = object()

Composite = GraphQLObjectType | GraphQLInterfaceType


class Meter:
    """Costs one operation, either before execution (by sizes asked for) or after it (by what came back)."""

    def __init__(
        self, schema: GraphQLSchema, fragments: dict[str, FragmentDefinitionNode], variables: dict[str, Any]
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._variables = variables
        self._path: list[str] = []
        self._seen: list[dict[str, Any]] | None = None

    def breakdown(self, operation: OperationDefinitionNode) -> list[dict[str, Any]]:
        """What each field adds to the requested cost, as the cost-debug header asks for it."""
        found: list[dict[str, Any]] = []
        self._seen = found
        root = self._schema.get_root_type(operation.operation)
        assert root is not None
        for node in self._fields(operation.selection_set, root):
            self._field(node, root, ABSENT)
        self._seen = None
        if operation.operation == OperationType.MUTATION:
            for entry in found:
                if len(entry["path"]) == 1:
                    entry.update(definedCost=MUTATION_COST, requestedTotalCost=MUTATION_COST)
        return sorted(found, key=lambda entry: len(entry["path"]))

    def requested(self, operation: OperationDefinitionNode) -> int:
        return self._operation(operation, ABSENT)

    def actual(self, operation: OperationDefinitionNode, data: dict[str, Any] | None) -> int:
        return 0 if data is None else self._operation(operation, data)

    def _operation(self, operation: OperationDefinitionNode, data: Any) -> int:
        root = self._schema.get_root_type(operation.operation)
        assert root is not None
        if operation.operation == OperationType.MUTATION:
            return sum(MUTATION_COST + self._given(node) for node in self._fields(operation.selection_set, root))
        return self._selections(operation.selection_set, root, data)

    def _given(self, node: FieldNode) -> int:
        if node.name.value != "productSet":
            return 0
        given = {one.name.value: value_from_ast_untyped(one.value, self._variables) for one in node.arguments}
        return math.ceil(_weight(given.get("input")))

    def _selections(self, selections: SelectionSetNode | None, parent: Composite, data: Any) -> int:
        if selections is None or data is None:
            return 0
        if isinstance(parent, GraphQLObjectType):
            return self._sum(selections, parent, parent, data)
        if data is not ABSENT and "__typename" in data:
            return self._sum(selections, parent, self._schema.get_type(data["__typename"]), data)  # type: ignore[arg-type]
        # Nobody knows yet which type comes: the dearest one counts.
        kinds = self._schema.get_possible_types(parent)
        return max((self._sum(selections, parent, kind, data) for kind in kinds), default=0)

    def _sum(self, selections: SelectionSetNode, parent: Composite, kind: GraphQLObjectType, data: Any) -> int:
        return sum(self._field(node, kind, data) for node in self._fields(selections, kind))

    def _fields(self, selections: SelectionSetNode, kind: GraphQLObjectType) -> Iterator[FieldNode]:
        for node in selections.selections:
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or self._applies(node.type_condition.name.value, kind):
                    yield from self._fields(node.selection_set, kind)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                if self._applies(fragment.type_condition.name.value, kind):
                    yield from self._fields(fragment.selection_set, kind)

    def _applies(self, condition: str, kind: GraphQLObjectType) -> bool:
        return condition == kind.name or condition in {interface.name for interface in kind.interfaces}

    def _field(self, node: FieldNode, parent: GraphQLObjectType, data: Any) -> int:
        if self._seen is None:
            return self._field_cost(node, parent, data)
        self._path.append(node.alias.value if node.alias else node.name.value)
        total = self._field_cost(node, parent, data)
        is_object = node.selection_set is not None and not _is_connection(node, parent)
        entry = {"path": list(self._path), "definedCost": int(is_object), "requestedTotalCost": total}
        self._seen.append({**entry, "requestedChildrenCost": total - int(is_object) if node.selection_set else None})
        self._path.pop()
        return total

    def _field_cost(self, node: FieldNode, parent: GraphQLObjectType, data: Any) -> int:
        definition = parent.fields.get(node.name.value)
        if definition is None:
            return 0
        kind = get_named_type(definition.type)
        value = ABSENT if data is ABSENT else data.get(node.alias.value if node.alias else node.name.value)
        if is_leaf_type(kind) or value is None:
            return 0
        assert isinstance(kind, (GraphQLObjectType, GraphQLInterfaceType))
        if kind.name.endswith("Connection"):
            return self._connection(node, definition, kind, value)
        each = self._object(node, kind)
        if value is not ABSENT:
            return sum(each(entry) for entry in value) if isinstance(value, list) else each(value)
        return self._list_size(node, definition) * each(ABSENT)

    def _object(self, node: FieldNode, kind: Composite) -> Callable[[Any], int]:
        return lambda value: 0 if value is None else 1 + self._selections(node.selection_set, kind, value)

    def _connection(self, node: FieldNode, definition: GraphQLField, kind: Composite, value: Any) -> int:
        """Page info and edges are free, the nodes in them are not."""
        if not isinstance(kind, GraphQLObjectType) or node.selection_set is None:
            return 0
        cost = 0
        for inner in self._fields(node.selection_set, kind):
            name = inner.name.value
            if name not in ("nodes", "edges"):
                continue
            found = ABSENT if value is ABSENT else value[inner.alias.value if inner.alias else name]
            if name == "nodes":
                cost += self._many(node, definition, self._node_cost(inner, kind), found)
            else:
                cost += self._many(node, definition, self._edge_cost(inner, kind), found)
        return cost

    def _many(self, node: FieldNode, definition: GraphQLField, each: Callable[[Any], int], found: Any) -> int:
        if found is ABSENT:
            return self._list_size(node, definition) * each(ABSENT)
        return sum(each(entry) for entry in found)

    def _node_cost(self, node: FieldNode, parent: GraphQLObjectType) -> Callable[[Any], int]:
        kind = get_named_type(parent.fields[node.name.value].type)
        assert isinstance(kind, (GraphQLObjectType, GraphQLInterfaceType))
        return self._object(node, kind)

    def _edge_cost(self, node: FieldNode, parent: GraphQLObjectType) -> Callable[[Any], int]:
        kind = get_named_type(parent.fields["edges"].type)
        assert isinstance(kind, GraphQLObjectType)

        def cost(edge: Any) -> int:
            return 0 if node.selection_set is None else self._sum(node.selection_set, kind, kind, edge)

        return cost

    def _list_size(self, node: FieldNode, definition: GraphQLField) -> int:
        """The size asked for by first, last or a list of ids; anything else counts as one object."""
        arguments = get_argument_values(definition, node, self._variables)
        for name in ("first", "last"):
            if arguments.get(name) is not None:
                return max(0, int(arguments[name]))
        return len(arguments["ids"]) if "ids" in arguments else 1


def _weight(given: Any) -> float:
    """What an input costs, with all that lies in it."""
    if isinstance(given, list):
        return sum(_weight(each) for each in given)
    if not isinstance(given, dict):
        return 0.0
    total = 0.0
    for name, value in given.items():
        count = len(value) if isinstance(value, list) else int(bool(value))
        total += INPUT_COSTS.get(name, 0.0) * count + _weight(value)
    return total


def _is_connection(node: FieldNode, parent: GraphQLObjectType) -> bool:
    definition = parent.fields.get(node.name.value)
    return definition is not None and get_named_type(definition.type).name.endswith("Connection")
