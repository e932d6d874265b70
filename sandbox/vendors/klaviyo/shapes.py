"""The form that entries of the catalogue must have: what every request is held to before anything is done."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.vendors.klaviyo.names import external
from sandbox.vendors.klaviyo.problems import Problem, invalid

Check = Callable[[Any], bool]
ENTRIES_MAX = 100


def is_text(value: Any) -> bool:
    return type(value) is str


def is_named(value: Any) -> bool:
    return type(value) is str and value != ""


def is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def is_truth(value: Any) -> bool:
    return type(value) is bool


def is_object(value: Any) -> bool:
    return type(value) is dict


def is_texts(value: Any) -> bool:
    return type(value) is list and all(type(entry) is str for entry in value)


def is_policy(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 2


def is_custom(value: Any) -> bool:
    return bool(value == "$custom")


def is_default(value: Any) -> bool:
    return bool(value == "$default")


WORDS: dict[Check, str] = {
    is_text: "text",
    is_named: "text that is not empty",
    is_number: "a number",
    is_truth: "true or false",
    is_object: "an object",
    is_texts: "a list of texts",
    is_policy: "0, 1 or 2",
    is_custom: "'$custom'",
    is_default: "'$default'",
}
_COMMON: dict[str, Check] = {
    "title": is_text,
    "description": is_text,
    "url": is_text,
    "price": is_number,
    "image_full_url": is_text,
    "image_thumbnail_url": is_text,
    "images": is_texts,
    "custom_metadata": is_object,
    "published": is_truth,
}
_OF_VARIANTS: dict[str, Check] = {"sku": is_text, "inventory_policy": is_policy, "inventory_quantity": is_number}
_NEW: dict[str, Check] = {"external_id": is_named, "integration_type": is_custom, "catalog_type": is_default}
# The schema has no null for these.
NEVER_NULL = {"images"}


@dataclass(frozen=True)
class Kind:
    """One of the three kinds of the catalogue. `attributes` is what can be said of one, `shown` what is answered."""

    name: str
    plural: str
    attributes: dict[str, Check]
    required: tuple[str, ...]
    shown: tuple[str, ...]
    label: str
    relation: str
    needs_relation: bool = False

    @property
    def type(self) -> str:
        return f"catalog-{self.name}"

    @property
    def collection(self) -> str:
        return f"catalog-{self.plural}"


ITEM = Kind(
    "item", "items", _COMMON, ("external_id", "title", "description", "url"),
    ("external_id", *_COMMON, "created", "updated"), "title", "categories",
)  # fmt: skip
VARIANT = Kind(
    "variant", "variants", _COMMON | _OF_VARIANTS,
    ("external_id", "title", "description", "sku", "inventory_quantity", "price", "url"),
    ("external_id", *_COMMON, *_OF_VARIANTS, "created", "updated"), "title", "item", True,
)  # fmt: skip
CATEGORY = Kind(
    "category", "categories", {"name": is_text}, ("external_id", "name"), ("external_id", "name", "updated"),
    "name", "items",
)  # fmt: skip
KINDS = {kind.name: kind for kind in (ITEM, VARIANT, CATEGORY)}
# The relationship that an entry may say, by its name; and of what kind those are that it names.
RELATED = {"categories": CATEGORY, "items": ITEM, "item": ITEM, "variants": VARIANT}


def entry_problems(kind: Kind, verb: str, entry: Any, at: str) -> Iterator[Problem]:
    """What is wrong with the form of an entry (`at` is its pointer); whether it can be done is not asked here."""
    if type(entry) is not dict:
        yield invalid("A resource must be an object.", at)
        return
    if entry.get("type") != kind.type:
        yield invalid(f"'{entry.get('type')}' is not '{kind.type}'.", f"{at}/type")
    members = {"create": {"type", "attributes", "relationships"}, "delete": {"type", "id"}}.get(
        verb, {"type", "id", "attributes", "relationships"}
    )
    for name in entry.keys() - members:
        yield invalid(f"'{name}' is not a valid member of the resource '{kind.type}'.", f"{at}/{name}")
    if "id" in members:
        yield from _id_problems(entry.get("id"), f"{at}/id")
    if "attributes" in members:
        yield from _attribute_problems(kind, verb, entry.get("attributes"), f"{at}/attributes")
    if "relationships" in members:
        yield from _relation_problems(kind, verb, entry.get("relationships"), f"{at}/relationships")


def _id_problems(value: Any, at: str) -> Iterator[Problem]:
    if type(value) is not str or external(value) is None:
        yield invalid(f"'{value}' is not a compound ID: $custom:::$default:::external_id.", at)


def _attribute_problems(kind: Kind, verb: str, given: Any, at: str) -> Iterator[Problem]:
    if type(given) is not dict:
        yield invalid("The attributes are required and must be an object.", at)
        return
    is_new = verb == "create"
    required = kind.required if is_new else ()
    for name, value in given.items():
        check = kind.attributes.get(name) or (_NEW.get(name) if is_new else None)
        if check is None:
            yield invalid(f"'{name}' is not a valid field for the resource '{kind.type}'.", f"{at}/{name}")
        elif value is None:
            if name in required or name in NEVER_NULL:
                yield invalid(f"'{name}' may not be null.", f"{at}/{name}")
        elif not check(value):
            yield invalid(f"'{name}' must be {WORDS[check]}.", f"{at}/{name}")
    for name in required:
        if name not in given:
            yield invalid(f"'{name}' is a required field for the resource '{kind.type}'.", f"{at}/{name}")


def _relation_problems(kind: Kind, verb: str, given: Any, at: str) -> Iterator[Problem]:
    name = kind.relation
    is_needed = kind.needs_relation and verb == "create"
    if given is None and not is_needed:
        return
    known = () if kind.needs_relation and not is_needed else (name,)
    if type(given) is not dict or given.keys() - set(known) or (is_needed and name not in given):
        said = f"only '{name}'" if known else "nothing: a variant stays with its item"
        yield invalid(f"The relationships of '{kind.type}' say {said}.", at)
        return
    if name in given:
        relation, to = given[name], f"{at}/{name}"
        data = relation.get("data") if type(relation) is dict else None
        if type(data) is not (dict if kind.needs_relation else list) or relation.keys() != {"data"}:
            yield invalid(f"'{name}' must be an object with 'data'.", to)
            return
        yield from identifier_problems(RELATED[name], [data] if kind.needs_relation else data, f"{to}/data")


def identifier_problems(kind: Kind, entries: Any, at: str) -> Iterator[Problem]:
    """Of a list of type and id."""
    if type(entries) is not list:
        yield invalid("The data must be a list of resource identifiers.", at)
        return
    for place, entry in enumerate(entries):
        if type(entry) is not dict or entry.keys() != {"type", "id"} or entry["type"] != kind.type:
            yield invalid(f"A resource identifier has the type '{kind.type}', an id and nothing else.", f"{at}/{place}")
        else:
            yield from _id_problems(entry["id"], f"{at}/{place}/id")


def related_names(kind: Kind, entry: dict[str, Any]) -> list[str] | None:
    """The external ids that the entry says it is related to; None when it says nothing. It is of the right form."""
    given = (entry.get("relationships") or {}).get(kind.relation)
    if given is None:
        return None
    data = given["data"] if isinstance(given["data"], list) else [given["data"]]
    return [external(identifier["id"]) or "" for identifier in data]
