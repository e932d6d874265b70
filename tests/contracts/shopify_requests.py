"""A GraphQL request held against the vendor's schema and the rules that the schema cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLSchema,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_ast_schema,
    get_named_type,
    get_nullable_type,
    get_operation_ast,
    is_list_type,
    parse,
    type_from_ast,
    validate,
    value_from_ast_untyped,
    visit,
)
from graphql.execution.values import get_directive_values, get_variable_values

from tests.contracts.exchange import Breach
from tests.contracts.shopify_cost import cost

INVENTORY_INPUT = "InventorySetQuantitiesInput"


@lru_cache(maxsize=2)
def vendor_schema(contracts: Path, version: str = "2026-10") -> GraphQLSchema:
    """The vendor's own; building it takes seconds, so once per process."""
    text = (contracts / f"shopify/admin-{version}.graphql").read_text()
    return build_ast_schema(parse(text, no_location=True), assume_valid=True)


@dataclass
class Asked:
    """A request's document and variables, read with the vendor's schema as far as they can be."""

    schema: GraphQLSchema
    text: str
    given: Any
    name: str | None = None
    document: DocumentNode | None = None
    operation: OperationDefinitionNode | None = None
    variables: dict[str, Any] = field(default_factory=dict)
    breaches: list[Breach] = field(default_factory=list)

    def read(self) -> Asked:
        """Sets what can be known, and notes breaches of `document` and `variables`."""
        problems = self._parse()
        if problems:
            self.breaches += [Breach("document", problem) for problem in problems]
            return self
        assert self.document is not None
        self.operation = get_operation_ast(self.document, self.name)
        if self.operation is None:
            self.breaches.append(Breach("document", f"no operation named {self.name!r}"))
            return self
        if not isinstance(self.given, dict):
            self.breaches.append(Breach("variables", f"variables are a {type(self.given).__name__}"))
            return self
        known = {node.variable.name.value for node in self.operation.variable_definitions}
        self.breaches += [
            Breach("variables", f"${name} is not in the document") for name in sorted(self.given.keys() - known)
        ]
        coerced = get_variable_values(self.schema, self.operation.variable_definitions, self.given)
        if isinstance(coerced, list):
            self.breaches += [Breach("variables", problem.message) for problem in coerced]
        else:
            self.variables = coerced
        return self

    def _parse(self) -> list[str]:
        try:
            self.document = parsed(self.text)
        except GraphQLError as problem:
            return [problem.message]
        return [problem.message for problem in validated(self.schema, self.text)]

    @property
    def is_readable(self) -> bool:
        return not self.breaches and self.operation is not None

    @cached_property
    def is_mutation(self) -> bool:
        return self.operation is not None and self.operation.operation == OperationType.MUTATION


@lru_cache(maxsize=4096)
def parsed(text: str) -> DocumentNode:
    return parse(text, no_location=True)


@lru_cache(maxsize=4096)
def validated(schema: GraphQLSchema, text: str) -> tuple[GraphQLError, ...]:
    return tuple(validate(schema, parsed(text)))


def rules_broken(asked: Asked, rules: dict[str, Any]) -> Iterator[Breach]:
    """Of a request that the schema accepts: what would fail at run time."""
    assert asked.document is not None
    assert asked.operation is not None
    found = _Looking(asked, rules)
    visit(asked.document, TypeInfoVisitor(found.info, found))
    for node in asked.operation.variable_definitions:
        name = node.variable.name.value
        kind = type_from_ast(asked.schema, node.type)
        found.input_value(kind, asked.given.get(name), f"${name}")
    yield from found.breaches
    points = cost(asked.schema, asked.document, asked.operation, asked.variables)
    if points >= rules["limits"]["singleQueryCostMax"]:
        yield Breach("cost", f"{points} points")


class _Looking(Visitor):
    """Collects breaches in the document's literals and, by `input_value`, in the variables."""

    def __init__(self, asked: Asked, rules: dict[str, Any]) -> None:
        super().__init__()
        self.info = TypeInfo(asked.schema)
        self.breaches: list[Breach] = []
        self._asked = asked
        self._limits = rules["limits"]
        self._keyed = set(rules["idempotentDirectiveRequired"])
        self._compared = set(rules["changeFromQuantityMustBePresent"]["inputTypes"])
        self._names = rules["setQuantitiesNames"]

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self._page_sizes(node)
        is_root = self.info.get_parent_type() is self._asked.schema.mutation_type
        directive = next((one for one in node.directives if one.name.value == "idempotent"), None)
        must = is_root and node.name.value in self._keyed
        if must and directive is None:
            self._note("idempotent", f"{node.name.value} needs @idempotent")
        if not must and directive is not None:
            self._note("idempotent", f"{node.name.value} takes no @idempotent")
        if directive is not None and not str(self._key(node, directive)).strip():
            self._note("idempotent", f"{node.name.value} has a blank key")

    def _key(self, node: FieldNode, _: DirectiveNode) -> Any:
        definition = self._asked.schema.get_directive("idempotent")
        assert definition is not None
        values = get_directive_values(definition, node, self._asked.variables) or {}
        return values.get("key", "")

    def _page_sizes(self, node: FieldNode) -> None:
        for argument in node.arguments:
            if argument.name.value not in ("first", "last"):
                continue
            size = value_from_ast_untyped(argument.value, self._asked.variables)
            if isinstance(size, int) and size > self._limits["connectionFirstMax"]:
                self._note("page", f"{node.name.value}({argument.name.value}: {size})")

    def enter_list_value(self, node: ListValueNode, *_: Any) -> None:
        self._length(len(node.values), "a list in the document")

    def enter_object_value(self, node: ObjectValueNode, *_: Any) -> None:
        kind = get_named_type(self.info.get_input_type()) if self.info.get_input_type() else None
        if isinstance(kind, GraphQLInputObjectType):
            self._comparison(kind, {entry.name.value for entry in node.fields}, "the document")

    def input_value(self, kind: Any, value: Any, path: str) -> None:
        """A variable or a part of one, with the type it is given for."""
        kind = get_nullable_type(kind)
        if value is None or kind is None:
            return
        if is_list_type(kind):
            entries = value if isinstance(value, list) else [value]
            self._length(len(entries), path)
            for place, entry in enumerate(entries):
                self.input_value(kind.of_type, entry, f"{path}[{place}]")
        elif isinstance(kind, GraphQLInputObjectType) and isinstance(value, dict):
            self._comparison(kind, set(value), path)
            if kind.name == INVENTORY_INPUT:
                self._quantities(value)
            if kind.name == "WebhookSubscriptionInput":
                self._included(value)
            for name, inner in value.items():
                if name in kind.fields:
                    self.input_value(kind.fields[name].type, inner, f"{path}.{name}")

    def _length(self, length: int, path: str) -> None:
        if length > self._limits["inputArrayMax"]:
            self._note("array", f"{path} has {length} elements")

    def _comparison(self, kind: GraphQLInputObjectType, names: set[str], path: str) -> None:
        if kind.name in self._compared and "changeFromQuantity" not in names:
            self._note("comparison", f"{path}: {kind.name} without changeFromQuantity")

    def _quantities(self, given: dict[str, Any]) -> None:
        if given.get("name") not in self._names:
            self._note("quantities", f"name {given.get('name')!r}")
        for entry in given.get("quantities") or []:
            if entry.get("quantity", 0) < 0:
                self._note("quantities", f"quantity {entry['quantity']}")

    def _included(self, given: dict[str, Any]) -> None:
        """Deliveries without an ever-changing field are dropped as duplicates."""
        fields = given.get("includeFields")
        if fields and "updated_at" not in fields:
            self._note("include_fields", f"{fields} without updated_at")

    def _note(self, rule: str, why: str) -> None:
        self.breaches.append(Breach(rule, why))


class _Connections(Visitor):
    """How many a document has, and how deep they lie in one another."""

    def __init__(self, info: TypeInfo) -> None:
        super().__init__()
        self.count = self.depth = self.deepest = 0
        self._info = info

    def enter_field(self, *_: Any) -> None:
        if self._is_connection():
            self.count, self.depth = self.count + 1, self.depth + 1
            self.deepest = max(self.deepest, self.depth)

    def leave_field(self, *_: Any) -> None:
        if self._is_connection():
            self.depth -= 1

    def _is_connection(self) -> bool:
        kind = self._info.get_type()
        return kind is not None and get_named_type(kind).name.endswith("Connection")


def bulk_bounds(inner: Asked, limits: dict[str, Any]) -> Iterator[Breach]:
    """Of a document given to a bulk operation, which costs nothing and has bounds of its own."""
    assert inner.document is not None
    info = TypeInfo(inner.schema)
    seen = _Connections(info)
    visit(inner.document, TypeInfoVisitor(info, seen))
    if not 1 <= seen.count <= limits["bulkQueryMaxConnections"]:
        yield Breach("bulk", f"{seen.count} connections")
    # The outermost connection is no nesting.
    if seen.deepest - 1 > limits["bulkQueryMaxNesting"]:
        yield Breach("bulk", f"connections {seen.deepest} deep")
