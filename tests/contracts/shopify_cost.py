"""What a document costs by the documented rule, over the vendor's own schema.

A scalar or enum 0, an object 1, a connection its size times its node, a mutation 10, an interface or union its dearest
branch (shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)
from graphql.execution.values import get_argument_values

MUTATION = 10


class Fields:
    """Reads selections: which fields apply to a type, through fragments."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self.schema = schema
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }

    def of(self, selection: SelectionSetNode, kind: GraphQLObjectType) -> Iterator[FieldNode]:
        for node in selection.selections:
            if isinstance(node, FieldNode):
                yield node
                continue
            if isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                condition, inner = fragment.type_condition.name.value, fragment.selection_set
            else:
                assert isinstance(node, InlineFragmentNode)
                condition = node.type_condition.name.value if node.type_condition else kind.name
                inner = node.selection_set
            if self._applies(condition, kind):
                yield from self.of(inner, kind)

    def _applies(self, condition: str, kind: GraphQLObjectType) -> bool:
        found = self.schema.get_type(condition)
        return found is kind or (is_abstract_type(found) and self.schema.is_sub_type(found, kind))


def cost(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Any) -> int:
    """Points asked for; `variables` are coerced ones."""
    fields = Fields(schema, document)
    root = schema.get_root_type(operation.operation)
    assert root is not None
    if operation.operation == OperationType.MUTATION:
        return MUTATION * sum(1 for _ in fields.of(operation.selection_set, root))
    return _selection(fields, variables, operation.selection_set, root)


def _selection(fields: Fields, variables: Any, selection: SelectionSetNode, parent: Any) -> int:
    kinds = fields.schema.get_possible_types(parent) if is_abstract_type(parent) else [parent]
    return max(sum(_field(fields, variables, node, kind) for node in fields.of(selection, kind)) for kind in kinds)


def _field(fields: Fields, variables: Any, node: FieldNode, parent: GraphQLObjectType) -> int:
    if node.name.value.startswith("__"):
        return 0
    definition = parent.fields[node.name.value]
    kind = get_named_type(definition.type)
    if is_leaf_type(kind) or node.selection_set is None:
        return 0
    given = get_argument_values(definition, node, variables)
    if kind.name.endswith("Connection"):
        size = next((given[name] for name in ("first", "last") if given.get(name) is not None), 1)
        return int(size) * _nodes(fields, variables, node.selection_set, kind)
    size = given.get("first") or len(given.get("ids", [None]))
    return int(size) * (1 + _selection(fields, variables, node.selection_set, kind))


def _nodes(fields: Fields, variables: Any, selection: SelectionSetNode, kind: Any) -> int:
    """Of one node of a connection; its page info is free."""
    total = 0
    for node in fields.of(selection, kind):
        if node.selection_set is None or node.name.value not in ("nodes", "edges"):
            continue
        inner = get_named_type(kind.fields[node.name.value].type)
        own = 1 if node.name.value == "nodes" else 0
        total += own + _selection(fields, variables, node.selection_set, inner)
    return total
