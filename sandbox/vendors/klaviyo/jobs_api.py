"""The nine kinds of bulk jobs of the catalogue: start one, ask for one, list them."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import orjson

from sandbox.store import Store
from sandbox.vendors.klaviyo import documents
from sandbox.vendors.klaviyo.catalogue import Catalogue
from sandbox.vendors.klaviyo.catalogue_api import PAGE_MAX, READ, WRITE, resource_of, self_link
from sandbox.vendors.klaviyo.catalogue_views import JOB_FIELDS, job, job_type, record
from sandbox.vendors.klaviyo.documents import Condition, Listing, Value
from sandbox.vendors.klaviyo.gate import Answer, Call, Operation
from sandbox.vendors.klaviyo.jobs import STATUSES, Jobs
from sandbox.vendors.klaviyo.problems import Denied, Problem, bad_parameter, invalid, not_found
from sandbox.vendors.klaviyo.quota import XL, L
from sandbox.vendors.klaviyo.shapes import CATEGORY, ENTRIES_MAX, KINDS, Kind, entry_problems


class JobsApi:
    def __init__(self, store: Store, jobs: Jobs, catalogue: Catalogue) -> None:
        self._store = store
        self._jobs = jobs
        self._catalogue = catalogue

    def operations(self) -> Iterator[Operation]:
        for kind in KINDS.values():
            for verb in ("create", "update", "delete"):
                yield from self._of(kind, verb)

    def _of(self, kind: Kind, verb: str) -> Iterator[Operation]:
        path, fields = f"{job_type(kind, verb)}s", frozenset({f"fields[{job_type(kind, verb)}]"})
        # The vendor's names: reads leave the word "catalog" out where it is not about items.
        read = f"bulk_{verb}_{'catalog_items' if kind.name == 'item' else kind.plural}_job"
        plan = XL if kind is CATEGORY or verb == "delete" else L
        shown = fields if verb == "delete" else fields | {"include", f"fields[{kind.type}]"}
        listed = fields | {"filter", "page[cursor]"}
        yield Operation(
            f"bulk_{verb}_catalog_{kind.plural}", "POST", path, L, WRITE, partial(self._create, kind, verb), fields
        )
        yield Operation(f"get_{read}s", "GET", path, plan, READ, partial(self._list, kind, verb), listed)
        yield Operation(f"get_{read}", "GET", f"{path}/*", plan, READ, partial(self._get, kind, verb), shown)

    def _create(self, kind: Kind, verb: str, call: Call) -> Answer:
        wanted = documents.fields(call, job_type(kind, verb), JOB_FIELDS)
        data = resource_of(call, lambda data: _problems(kind, verb, data))
        row = self._jobs.create(call.account, kind, verb, data["attributes"][kind.plural]["data"])
        return Answer(202, {"data": documents.sparse(job(call, row), wanted), "links": self_link(call)})

    def _get(self, kind: Kind, verb: str, call: Call) -> Answer:
        wanted = documents.fields(call, job_type(kind, verb), JOB_FIELDS)
        row = self._jobs.find(call.account_id, kind, verb, call.id)
        if row is None:
            raise Denied(404, not_found(f"A job with the id '{call.id}' does not exist.", "/data/id"))
        is_included = bool(documents.included(call, () if verb == "delete" else (kind.plural,)))
        data = documents.sparse(job(call, row, names=is_included), wanted)
        body: dict[str, Any] = {"data": data, "links": self_link(call)}
        if is_included:
            names = sorted(set(orjson.loads(row["names"])))
            shown = documents.fields(call, kind.type, kind.shown)
            found = self._catalogue.some(call.account_id, kind, names)
            body["included"] = [documents.sparse(record(call, entry), shown) for entry in found]
        return Answer(200, body)

    def _list(self, kind: Kind, verb: str, call: Call) -> Answer:
        wanted = documents.fields(call, job_type(kind, verb), JOB_FIELDS)
        held: list[Condition] = [
            ("account_id = ? and kind = ? and verb = ?", [call.account_id, kind.name, verb]),
            ("(expires_at is null or expires_at > ?)", [self._store.wall()]),
            *documents.conditions(call, {("equals", "status"): _has_status}),
        ]
        found = documents.page(
            self._store, call, Listing("select * from klaviyo_jobs", held, "id", is_backward=True, size=PAGE_MAX)
        )
        data = [documents.sparse(job(call, row), wanted) for row in found.rows]
        return Answer(200, {"data": data, "links": found.links})


def _has_status(value: Value) -> Condition:
    if value not in STATUSES:
        raise bad_parameter(f"The status '{value}' is none of {', '.join(STATUSES)}.", "filter")
    return "status = ?", [value]


def _problems(kind: Kind, verb: str, data: Any) -> Iterator[Problem]:
    """Of a request for a job; one entry of another form refuses all of them."""
    if not isinstance(data, dict) or data.get("type") != job_type(kind, verb):
        yield invalid(f"The type must be '{job_type(kind, verb)}'.", "/data/type")
        return
    if data.keys() != {"type", "attributes"}:
        yield invalid("A job has a type and attributes, and nothing else.", "/data")
        return
    at = f"/data/attributes/{kind.plural}"
    given = data["attributes"]
    inner = given.get(kind.plural) if isinstance(given, dict) and given.keys() == {kind.plural} else None
    entries = inner.get("data") if isinstance(inner, dict) and inner.keys() == {"data"} else None
    if not isinstance(entries, list):
        yield invalid(f"The attributes are '{kind.plural}' with a list 'data', and nothing else.", at)
    elif not 0 < len(entries) <= ENTRIES_MAX:
        yield invalid(f"A job takes 1 to {ENTRIES_MAX} entries, not {len(entries)}.", f"{at}/data")
    else:
        for place, entry in enumerate(entries):
            yield from entry_problems(kind, verb, entry, f"{at}/data/{place}")
