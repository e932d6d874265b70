"""The catalogue one by one: read, list, create, change and delete items, variants and categories."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sandbox.store import Row, Store
from sandbox.vendors.klaviyo import documents
from sandbox.vendors.klaviyo.catalogue import Catalogue
from sandbox.vendors.klaviyo.catalogue_views import identifier, record
from sandbox.vendors.klaviyo.documents import Builder, Condition, Listing, Value
from sandbox.vendors.klaviyo.gate import Answer, Call, Operation
from sandbox.vendors.klaviyo.names import external
from sandbox.vendors.klaviyo.problems import Denied, Problem, invalid, not_found
from sandbox.vendors.klaviyo.quota import XL, L
from sandbox.vendors.klaviyo.shapes import (
    CATEGORY,
    ITEM,
    KINDS,
    VARIANT,
    Kind,
    entry_problems,
    identifier_problems,
    related_names,
)

READ, WRITE = ("catalogs:read",), ("catalogs:write",)
PAGE_MAX = 100
_SELECT = "select r.* from klaviyo_records r"
_PAGED = frozenset({"filter", "page[cursor]", "page[size]", "sort"})
_STATUS = {"conflict": 409, "not_found": 404}
_VERBS = {"POST": "add", "PATCH": "replace", "DELETE": "remove"}


class CatalogueApi:
    def __init__(self, store: Store, catalogue: Catalogue) -> None:
        self._store = store
        self._catalogue = catalogue

    def operations(self) -> Iterator[Operation]:
        for kind in KINDS.values():
            yield from self._of_kind(kind)
        yield from self._listings_of(ITEM, VARIANT)
        yield from self._listings_of(ITEM, CATEGORY)
        yield from self._listings_of(CATEGORY, ITEM)
        yield from self._changes_of(ITEM, CATEGORY, "categories_{}_catalog_item")
        yield from self._changes_of(CATEGORY, ITEM, "items_{}_catalog_category")

    def _of_kind(self, kind: Kind) -> Iterator[Operation]:
        many, one = kind.collection, f"{kind.collection}/*"
        named = f"catalog_{kind.name}"
        shown = _shown(kind)
        fields = frozenset({f"fields[{kind.type}]"})
        yield Operation(
            f"get_catalog_{kind.plural}", "GET", many, XL, READ, partial(self._list, kind, None), shown | _PAGED
        )
        yield Operation(f"get_{named}", "GET", one, XL, READ, partial(self._get, kind), shown)
        yield Operation(f"create_{named}", "POST", many, L, WRITE, partial(self._write, kind, "create"), fields)
        yield Operation(f"update_{named}", "PATCH", one, L, WRITE, partial(self._write, kind, "update"), fields)
        yield Operation(f"delete_{named}", "DELETE", one, L, WRITE, partial(self._delete, kind))

    def _listings_of(self, owner: Kind, kind: Kind) -> Iterator[Operation]:
        """What belongs to one of another kind: whole, or only its ids."""
        path, known = f"{owner.collection}/*", _shown(kind) | _PAGED
        whole, ids = f"get_{kind.plural}_for_catalog_{owner.name}", f"get_{kind.name}_ids_for_catalog_{owner.name}"
        list_whole, list_ids = partial(self._list, kind, owner), partial(self._list_ids, kind, owner)
        yield Operation(whole, "GET", f"{path}/{kind.plural}", XL, READ, list_whole, known)
        yield Operation(ids, "GET", f"{path}/relationships/{kind.plural}", XL, READ, list_ids, _PAGED)

    def _changes_of(self, owner: Kind, kind: Kind, name: str) -> Iterator[Operation]:
        path = f"{owner.collection}/*/relationships/{kind.plural}"
        words = {"POST": ("add", "to"), "PATCH": ("update", "for"), "DELETE": ("remove", "from")}
        for method, (verb, preposition) in words.items():
            handler = partial(self._relate, owner, kind, _VERBS[method])
            yield Operation(f"{verb}_{name.format(preposition)}", method, path, L, WRITE, handler)

    def _get(self, kind: Kind, call: Call) -> Answer:
        row = self._find(call, kind)
        wanted = documents.fields(call, kind.type, kind.shown)
        body = {"data": documents.sparse(record(call, row), wanted), "links": self_link(call)}
        return Answer(200, body | self._included(call, kind, [row], [body["data"]]))

    def _list(self, kind: Kind, owner: Kind | None, call: Call) -> Answer:
        found = self._page(kind, owner, call)
        wanted = documents.fields(call, kind.type, kind.shown)
        data = [documents.sparse(record(call, row), wanted) for row in found.rows]
        return Answer(200, {"data": data, "links": found.links} | self._included(call, kind, found.rows, data))

    def _list_ids(self, kind: Kind, owner: Kind, call: Call) -> Answer:
        found = self._page(kind, owner, call)
        return Answer(200, {"data": [identifier(kind, row["external_id"]) for row in found.rows], "links": found.links})

    def _page(self, kind: Kind, owner: Kind | None, call: Call) -> documents.Page:
        held: list[Condition] = [("r.account_id = ? and r.kind = ?", [call.account_id, kind.name])]
        if owner is not None:
            held.append(_belongs(owner, self._find(call, owner)))
        held += documents.conditions(call, _filters(kind, call.account_id))
        _, is_backward = documents.descending(call, ("created",), "created")
        size = documents.size(call, PAGE_MAX, PAGE_MAX)
        return documents.page(self._store, call, Listing(_SELECT, held, "r.number", is_backward, size))

    def _included(self, call: Call, kind: Kind, rows: Any, data: list[dict[str, Any]]) -> dict[str, Any]:
        """The variants of the items, where they are asked for; the items then name them."""
        if kind is not ITEM or not documents.included(call, ("variants",)):
            return {}
        wanted = documents.fields(call, VARIANT.type, VARIANT.shown)
        every = []
        for row, resource in zip(rows, data, strict=True):
            variants = self._store.all(
                "select * from klaviyo_records where account_id = ? and parent = ? order by number",
                (call.account_id, row["external_id"]),
            )
            named = [identifier(VARIANT, variant["external_id"]) for variant in variants]
            resource["relationships"]["variants"] = {"data": named, **resource["relationships"]["variants"]}
            every += [documents.sparse(record(call, variant), wanted) for variant in variants]
        return {"included": every}

    def _write(self, kind: Kind, verb: str, call: Call) -> Answer:
        entry = resource_of(call, lambda data: entry_problems(kind, verb, data, "/data"))
        if verb == "update" and entry["id"] != call.id:
            raise Denied(400, invalid("The id of the body is not the one in the path.", "/data/id"))
        self._apply(call, kind, verb, entry)
        name = entry["attributes"]["external_id"] if verb == "create" else external(call.id)
        row = self._catalogue.find(call.account_id, kind, name)
        assert row is not None
        wanted = documents.fields(call, kind.type, kind.shown)
        body = {"data": documents.sparse(record(call, row), wanted), "links": self_link(call)}
        return Answer(201 if verb == "create" else 200, body)

    def _delete(self, kind: Kind, call: Call) -> Answer:
        self._apply(call, kind, "delete", {"type": kind.type, "id": call.id})
        return Answer(204)

    def _apply(self, call: Call, kind: Kind, verb: str, entry: dict[str, Any]) -> None:
        with self._store.transaction():
            (problem,) = self._catalogue.apply(call.account_id, kind, verb, [entry])
        if problem is not None:
            at = f"/data{problem.pointer or ''}"
            raise Denied(_STATUS.get(problem.code, 400), Problem(problem.code, problem.title, problem.detail, at))

    def _relate(self, owner: Kind, kind: Kind, verb: str, call: Call) -> Answer:
        row = self._find(call, owner)
        body = call.json()
        data = body.get("data") if isinstance(body, dict) else None
        if problems := list(identifier_problems(kind, data, "/data")):
            raise Denied(400, *problems)
        entry = {"relationships": {kind.plural: {"data": data}}}
        names = related_names(owner, entry) or []
        there = {found["external_id"] for found in self._catalogue.some(call.account_id, kind, sorted(set(names)))}
        for place, name in enumerate(names):
            if name not in there and verb != "remove":
                raise Denied(404, not_found(f"The {kind.type} '{name}' does not exist.", f"/data/{place}/id"))
        mine = row["external_id"]
        pairs = [(mine, name) if owner is ITEM else (name, mine) for name in names]
        self._catalogue.relate(call.account_id, verb, pairs, (owner.name, mine))
        return Answer(204)

    def _find(self, call: Call, kind: Kind) -> Row:
        row = self._catalogue.find(call.account_id, kind, external(call.id))
        if row is None:
            raise Denied(404, not_found(f"A {kind.type} with the id '{call.id}' does not exist.", "/data/id"))
        return row


def resource_of(call: Call, problems: Callable[[Any], Iterator[Problem]]) -> dict[str, Any]:
    """The `data` of the body, which has nothing else, when it has no problems. Raises Denied."""
    body = call.json()
    if not isinstance(body, dict) or body.keys() != {"data"}:
        raise Denied(400, invalid("The request body must be an object with 'data' and nothing else.", "/data"))
    if found := list(problems(body["data"])):
        raise Denied(400, *found)
    data: dict[str, Any] = body["data"]
    return data


def self_link(call: Call) -> dict[str, str]:
    return {"self": documents.address(call, call.query)}


def _shown(kind: Kind) -> frozenset[str]:
    """The parameters that say what of it is shown."""
    names = {f"fields[{kind.type}]"}
    return frozenset(names | {"include", f"fields[{VARIANT.type}]"} if kind is ITEM else names)


def _belongs(owner: Kind, row: Row) -> Condition:
    if owner is CATEGORY:
        return _linked("item", "category")(row["account_id"], row["external_id"])
    # Of an item: its variants by their parent, its categories by the links.
    sql = (
        "(r.parent = ? or (r.kind = 'category' and r.external_id in"
        " (select category from klaviyo_links where account_id = ? and item = ?)))"
    )
    return sql, [row["external_id"], row["account_id"], row["external_id"]]


def _linked(mine: str, other: str) -> Callable[[int, str], Condition]:
    sql = f"r.external_id in (select {mine} from klaviyo_links where account_id = ? and {other} = ?)"
    return lambda account_id, name: (sql, [account_id, name])


def _filters(kind: Kind, account_id: int) -> dict[tuple[str, str], Builder]:
    def one_of(value: Value) -> Condition:
        assert isinstance(value, list)
        names = [external(entry) for entry in value]
        return f"r.external_id in ({', '.join('?' * len(names))})", list(names)

    def contains(value: Value) -> Condition:
        return "instr(lower(r.title), lower(?)) > 0", [str(value)]

    def in_category(value: Value) -> Condition:
        return _linked("item", "category")(account_id, external(str(value)) or "")

    def with_item(value: Value) -> Condition:
        return _linked("category", "item")(account_id, external(str(value)) or "")

    def published(value: Value) -> Condition:
        return "r.published = ?", [value is True or str(value).lower() == "true"]

    found: dict[tuple[str, str], Builder] = {("any", "ids"): one_of, ("contains", kind.label): contains}
    if kind is ITEM:
        found |= {("equals", "category.id"): in_category, ("equals", "published"): published}
    elif kind is VARIANT:
        found |= {
            ("equals", "item.id"): lambda value: ("r.parent = ?", [external(str(value))]),
            ("equals", "sku"): lambda value: ("r.sku = ?", [str(value)]),
            ("equals", "published"): published,
        }
    else:
        found |= {("equals", "item.id"): with_item}
    return found
