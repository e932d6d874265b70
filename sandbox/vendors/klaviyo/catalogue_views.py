"""Items, variants, categories and bulk jobs as answers show them."""

from typing import Any

import orjson

from sandbox.store import Row
from sandbox.vendors.klaviyo.documents import relation, resource_address
from sandbox.vendors.klaviyo.gate import Call
from sandbox.vendors.klaviyo.names import compound, written
from sandbox.vendors.klaviyo.shapes import KINDS, RELATED, Kind

# What a resource shows of its relationships; other ways lead to the rest.
_SHOWN_RELATION = {"item": "variants", "variant": "item", "category": "items"}
JOB_FIELDS = (
    "status", "created_at", "total_count", "completed_count", "failed_count", "completed_at", "errors", "expires_at",
)  # fmt: skip


def job_type(kind: Kind, verb: str) -> str:
    return f"catalog-{kind.name}-bulk-{verb}-job"


def record(call: Call, row: Row) -> dict[str, Any]:
    """An item, a variant or a category."""
    kind, name = KINDS[row["kind"]], compound(row["external_id"])
    kept = orjson.loads(row["attributes"])
    dates = {"created": written(row["created_at"]), "updated": written(row["updated_at"])}
    said = {"external_id": row["external_id"], **kept, **dates}
    related = _SHOWN_RELATION[kind.name]
    link = relation(call, kind.collection, name, related)
    if row["parent"] is not None:
        link = {"data": identifier(RELATED[related], row["parent"]), **link}
    return {
        "type": kind.type,
        "id": name,
        "attributes": {field: said[field] for field in kind.shown},
        "relationships": {related: link},
        "links": {"self": resource_address(call, kind.collection, name)},
    }


def identifier(kind: Kind, external_id: str) -> dict[str, str]:
    return {"type": kind.type, "id": compound(external_id)}


def job(call: Call, row: Row, *, names: bool = False) -> dict[str, Any]:
    """A bulk job; `names` lists what it is about."""
    kind = KINDS[row["kind"]]
    collection = job_type(kind, row["verb"]) + "s"
    related = relation(call, collection, row["ref"], kind.plural)
    if names:
        related = {"data": [identifier(kind, name) for name in orjson.loads(row["names"])], **related}
    return {
        "type": job_type(kind, row["verb"]),
        "id": row["ref"],
        "attributes": {
            "status": row["status"],
            "created_at": written(row["created_at"]),
            "total_count": row["total"],
            "completed_count": row["completed"],
            "failed_count": row["failed"],
            "completed_at": None if row["completed_at"] is None else written(row["completed_at"]),
            "errors": orjson.loads(row["errors"]),
            "expires_at": None if row["expires_at"] is None else written(row["expires_at"]),
        },
        "relationships": {kind.plural: related},
        "links": {"self": resource_address(call, collection, row["ref"])},
    }
