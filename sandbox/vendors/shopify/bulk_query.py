"""Bulk queries: read and judged, run page by page over the same resolvers as any other, and laid flat into lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    InlineFragmentNode,
    NameNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_named_type,
    get_nullable_type,
    is_list_type,
    parse,
    validate,
    visit,
)

from sandbox.vendors.shopify.sdl import schema

MAX_CONNECTIONS, MAX_NESTING = 5, 2
PAGING = frozenset(("first", "last", "after", "before"))
PAGE_KEY = "__bulkPage"
# Both names are the vendor's, who takes them out of reach of a bulk query.
FORBIDDEN_ROOTS = ("node", "nodes")


class BulkInvalid(ValueError):
    """The query cannot be run in bulk; says why as the vendor would."""


@dataclass
class Shape:
    """One selected field: `children` None for a scalar; for a connection they are those of its nodes."""

    key: str
    is_connection: bool = False
    is_list: bool = False
    children: "dict[str, Shape] | None" = None


@dataclass(frozen=True)
class BulkQuery:
    """A query ready to run: `root` is its one field, and `document` takes $first and $after where that is paged."""

    document: DocumentNode
    root: Shape


@lru_cache(maxsize=64)
def read(text: str) -> BulkQuery:
    """Raises BulkInvalid."""
    try:
        document = parse(text)
    except GraphQLError as problem:
        raise BulkInvalid(f"Invalid bulk query: {problem.message}") from problem
    if problems := validate(schema(), document):
        raise BulkInvalid(f"Invalid bulk query: {problems[0].message}")
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if len(operations) != 1 or operations[0].operation != OperationType.QUERY:
        raise BulkInvalid("Bulk queries must contain exactly one query operation.")
    shapes = _Shapes(document).of(operations[0].selection_set, _query_type())
    roots = list(shapes.items())
    if len(roots) != 1:
        raise BulkInvalid("Bulk queries must have exactly one top-level field.")
    name, root = _field_name(operations[0]), roots[0][1]
    if name in FORBIDDEN_ROOTS:
        raise BulkInvalid(f"Bulk queries cannot use the top-level field '{name}'.")
    _judge(root)
    return BulkQuery(_paged(document, root.is_connection), root)


def _query_type() -> GraphQLObjectType:
    found = schema().query_type
    assert found is not None
    return found


def _field_name(operation: OperationDefinitionNode) -> str:
    first = operation.selection_set.selections[0]
    return first.name.value if isinstance(first, FieldNode) else ""


class _Shapes:
    """Reads selections with their fragments into one shape, whatever the type that comes."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }

    def of(self, selections: SelectionSetNode | None, kind: Any) -> dict[str, Shape]:
        found: dict[str, Shape] = {}
        if selections is None:
            return found
        for node in selections.selections:
            if isinstance(node, FieldNode):
                self._add(found, node, kind)
                continue
            if isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                inner, condition = fragment.selection_set, fragment.type_condition.name.value
            else:
                assert isinstance(node, InlineFragmentNode)
                inner = node.selection_set
                condition = node.type_condition.name.value if node.type_condition else kind.name
            for key, shape in self.of(inner, schema().get_type(condition)).items():
                found.setdefault(key, shape)
        return found

    def _add(self, found: dict[str, Shape], node: FieldNode, kind: Any) -> None:
        key = node.alias.value if node.alias else node.name.value
        definition = kind.fields.get(node.name.value) if hasattr(kind, "fields") else None
        if definition is None or node.selection_set is None:
            found.setdefault(key, Shape(key))
            return
        named = get_named_type(definition.type)
        assert isinstance(named, (GraphQLObjectType, GraphQLInterfaceType))
        if named.name.endswith("Connection"):
            found[key] = Shape(key, is_connection=True, children=self._nodes(node, named))
            return
        children = self.of(node.selection_set, named)
        if earlier := found.get(key):
            children = {**(earlier.children or {}), **children}
        found[key] = Shape(key, is_list=is_list_type(get_nullable_type(definition.type)), children=children)

    def _nodes(self, node: FieldNode, kind: Any) -> dict[str, Shape]:
        """What is selected of a connection's nodes, by way of edges or not."""
        shapes = self.of(node.selection_set, kind)
        found: dict[str, Shape] = {}
        if "nodes" in shapes:
            found.update(shapes["nodes"].children or {})
        if "edges" in shapes:
            edge = (shapes["edges"].children or {}).get("node")
            found.update(edge.children or {} if edge else {})
        return found


def _judge(root: Shape) -> None:
    connections = list(_connections(root, 0, False, root))
    if not connections:
        raise BulkInvalid("Bulk queries must contain at least one connection.")
    if len(connections) > MAX_CONNECTIONS:
        raise BulkInvalid(f"Bulk queries cannot contain more than {MAX_CONNECTIONS} connections.")
    for _, depth, in_list, parent in connections:
        if in_list:
            raise BulkInvalid(
                "Queries that contain a connection field within a list field are not currently supported."
            )
        if depth > MAX_NESTING:
            raise BulkInvalid(
                f"Bulk queries cannot contain connections with a nesting depth greater than {MAX_NESTING}."
            )
        if depth and parent.is_connection and "id" not in (parent.children or {}):
            raise BulkInvalid("The parent 'node' field for a nested connection must select the 'id' field.")


def _connections(shape: Shape, depth: int, in_list: bool, parent: Shape) -> Iterator[tuple[Shape, int, bool, Shape]]:
    """Every connection with how many stand above it, whether it stands in a list, and the connection it hangs on."""
    if shape.is_connection:
        yield shape, depth, in_list, parent
        depth, parent = depth + 1, shape
    for child in (shape.children or {}).values():
        yield from _connections(child, depth, in_list or shape.is_list, parent)


class _Pager(Visitor):
    """Takes the asked sizes away, which mean nothing in bulk, and puts ours on the connection at the root."""

    def __init__(self, info: TypeInfo) -> None:
        super().__init__()
        self._info = info
        self._depth = 0

    def enter_field(self, node: FieldNode, *_: Any) -> FieldNode | None:
        self._depth += 1
        kind = self._info.get_type()
        if kind is None or not get_named_type(kind).name.endswith("Connection"):
            return None
        kept = [argument for argument in node.arguments if argument.name.value not in PAGING]
        selections = node.selection_set
        assert selections is not None
        if self._depth == 1:
            kept += list(_PAGE.arguments)
            assert _PAGE.selection_set is not None
            inner = (*selections.selections, *_PAGE.selection_set.selections)
            selections = SelectionSetNode(selections=inner)
        return FieldNode(
            name=node.name,
            alias=node.alias,
            arguments=tuple(kept),
            directives=node.directives,
            selection_set=selections,
        )

    def leave_field(self, *_: Any) -> None:
        self._depth -= 1

    def enter_fragment_definition(self, *_: Any) -> None:
        # What a fragment selects hangs below the root.
        self._depth += 1

    def leave_fragment_definition(self, *_: Any) -> None:
        self._depth -= 1


def _page_field() -> FieldNode:
    text = f"query($first: Int!, $after: String) {{ x(first: $first, after: $after) {{ {PAGE_KEY}: pageInfo"
    parsed = parse(text + " { hasNextPage endCursor } } }").definitions[0]
    assert isinstance(parsed, OperationDefinitionNode)
    found = parsed.selection_set.selections[0]
    assert isinstance(found, FieldNode)
    return found


_PAGE = _page_field()


def _paged(document: DocumentNode, is_connection: bool) -> DocumentNode:
    info = TypeInfo(schema())
    pager = _Pager(info)
    changed: DocumentNode = visit(document, TypeInfoVisitor(info, pager))
    if not is_connection:
        return changed
    wanted = parse("query($first: Int!, $after: String) { x }").definitions[0]
    assert isinstance(wanted, OperationDefinitionNode)
    definitions = tuple(
        OperationDefinitionNode(
            operation=node.operation,
            name=NameNode(value="Bulk"),
            variable_definitions=wanted.variable_definitions,
            directives=node.directives,
            selection_set=node.selection_set,
        )
        if isinstance(node, OperationDefinitionNode)
        else node
        for node in changed.definitions
    )
    return DocumentNode(definitions=definitions)


def nodes_of(connection: dict[str, Any]) -> list[dict[str, Any]]:
    if "nodes" in connection:
        return [node for node in connection["nodes"] if node is not None]
    return [edge["node"] for edge in connection.get("edges", ()) if edge and edge.get("node") is not None]


def lines_of(node: dict[str, Any], shape: Shape, parent: str | None = None) -> list[dict[str, Any]]:
    """A node and everything below it, each a line: the node first, what hangs on its connections after it."""
    hanging: list[tuple[dict[str, Any], Shape]] = []
    line = _own(node, shape.children or {}, hanging)
    if parent is not None:
        line["__parentId"] = parent
    found = [line]
    for connection, below in hanging:
        for child in nodes_of(connection):
            found += lines_of(child, below, node.get("id"))
    return found


def _own(
    value: dict[str, Any], shapes: dict[str, Shape], hanging: list[tuple[dict[str, Any], Shape]]
) -> dict[str, Any]:
    """The value without its connections, which are put aside."""
    own: dict[str, Any] = {}
    for key, found in value.items():
        shape = shapes.get(key)
        if shape is None or shape.children is None or not isinstance(found, dict):
            own[key] = found
        elif shape.is_connection:
            hanging.append((found, shape))
        else:
            own[key] = _own(found, shape.children, hanging)
    return own
