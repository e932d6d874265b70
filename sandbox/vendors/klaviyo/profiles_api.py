"""Profiles: read, create, change, upsert, merge, import in bulk. And the account itself."""

from collections.abc import Iterator
from typing import Any

import orjson

from sandbox.store import Row, Store
from sandbox.vendors.klaviyo import documents, people_views
from sandbox.vendors.klaviyo.catalogue_api import resource_of, self_link
from sandbox.vendors.klaviyo.documents import Builder, Condition, Listing, Value
from sandbox.vendors.klaviyo.gate import Answer, Call, Operation
from sandbox.vendors.klaviyo.imports import Imports
from sandbox.vendors.klaviyo.jobs import STATUSES
from sandbox.vendors.klaviyo.people_views import ADDED_PROFILE_FIELDS, IMPORT_FIELDS, PROFILE_FIELDS
from sandbox.vendors.klaviyo.problems import Denied, Problem, bad_parameter, invalid, not_found
from sandbox.vendors.klaviyo.profile_shapes import PROFILE, PROFILE_MAX, UPSERTED, instant, profile_problems
from sandbox.vendors.klaviyo.profiles import Profiles
from sandbox.vendors.klaviyo.quota import XS, L, M
from sandbox.vendors.klaviyo.shapes import is_text, is_texts

READ, WRITE = ("profiles:read",), ("profiles:write",)
PAGE_MAX, PAGE_USUAL = 100, 20
IMPORT_MAX = 10_000
_SHOWN = frozenset({"fields[profile]", "additional-fields[profile]"})
_ALSO = frozenset({"include", "fields[push-token]", "fields[conversation]"})
_PAGED = frozenset({"filter", "page[cursor]", "page[size]", "sort"})
# What each sort goes by; ids begin with the time.
_SORTS = {"created": "number", "id": "id", "email": "email", "updated": "updated_at"}
_UPSERT_MEMBERS = {"type", "id", "attributes", "meta"}


class ProfilesApi:
    def __init__(self, store: Store, profiles: Profiles, imports: Imports) -> None:
        self._store = store
        self._profiles = profiles
        self._imports = imports

    def operations(self) -> Iterator[Operation]:
        with_lists = frozenset({"fields[list]", "fields[segment]"})
        jobs, of_jobs = "profile-bulk-import-jobs", frozenset({"fields[profile-bulk-import-job]"})
        read, write = ("lists:read", "profiles:read"), ("lists:write", "profiles:write")
        one_job, errors = of_jobs | {"fields[list]", "include"}, frozenset({"fields[import-error]"})
        yield Operation(
            "get_accounts", "GET", "accounts", XS, ("accounts:read",), self._accounts, frozenset({"fields[account]"})
        )
        yield Operation("get_profiles", "GET", "profiles", L, READ, self._list, _SHOWN | _ALSO | _PAGED)
        yield Operation("create_profile", "POST", "profiles", L, WRITE, self._create, _SHOWN)
        yield Operation("get_profile", "GET", "profiles/*", L, READ, self._get, _SHOWN | _ALSO | with_lists)
        yield Operation("update_profile", "PATCH", "profiles/*", L, WRITE, self._update, _SHOWN)
        yield Operation("create_or_update_profile", "POST", "profile-import", L, WRITE, self._upsert, _SHOWN)
        yield Operation(
            "merge_profiles", "POST", "profile-merge", M, WRITE, self._merge, frozenset({"fields[profile]"})
        )
        yield Operation("get_bulk_import_profiles_jobs", "GET", jobs, M, read, self._list_imports, of_jobs | _PAGED)
        yield Operation("bulk_import_profiles", "POST", jobs, M, write, self._import, of_jobs)
        yield Operation("get_bulk_import_profiles_job", "GET", f"{jobs}/*", M, read, self._get_import, one_job)
        yield Operation(
            "get_errors_for_bulk_import_profiles_job",
            "GET",
            f"{jobs}/*/import-errors",
            M,
            READ,
            self._import_errors,
            errors | {"page[cursor]", "page[size]"},
        )

    def _accounts(self, call: Call) -> Answer:
        wanted = documents.fields(call, "account", people_views.ACCOUNT_FIELDS)
        data = documents.sparse(people_views.account(call, call.account), wanted)
        return Answer(200, {"data": [data], "links": self_link(call)})

    def _shown(self, call: Call, row: Row, status: int) -> Answer:
        return Answer(status, {"data": shown_profile(call, row), "links": self_link(call)})

    def _get(self, call: Call) -> Answer:
        documents.included(call, ("conversations", "lists", "push-tokens", "segments"))
        answer = self._shown(call, self._find(call), 200)
        assert answer.body is not None
        return Answer(200, answer.body | ({"included": []} if call.query.get("include") else {}))

    def _find(self, call: Call) -> Row:
        row = self._profiles.find(call.account_id, call.id)
        if row is None:
            raise Denied(404, not_found(f"A profile with the id '{call.id}' does not exist.", "/data/id"))
        return row

    def _list(self, call: Call) -> Answer:
        documents.included(call, ("conversations", "push-tokens"))
        held: list[Condition] = [("account_id = ?", [call.account_id])]
        held += documents.conditions(call, _filters())
        field, is_backward = documents.descending(call, tuple(_SORTS), "created")
        size = documents.size(call, PAGE_MAX, PAGE_USUAL)
        select = f"select *, row_number() over (order by {_SORTS[field]}, number) as place from klaviyo_profiles"
        select = f"select * from ({select} where account_id = {call.account_id} and merged_into is null)"
        found = documents.page(self._store, call, Listing(select, held, "place", is_backward, size))
        body: dict[str, Any] = {"data": [shown_profile(call, row) for row in found.rows], "links": found.links}
        return Answer(200, body | ({"included": []} if call.query.get("include") else {}))

    def _create(self, call: Call) -> Answer:
        _check_size(call)
        data = resource_of(
            call,
            lambda data: profile_problems(data, "/data", PROFILE, {"type", "attributes"}, needs_identifier=True),
        )
        with self._store.transaction():
            row = self._profiles.create(call.account_id, data["attributes"])
        return self._shown(call, row, 201)

    def _update(self, call: Call) -> Answer:
        _check_size(call)
        data = resource_of(
            call, lambda data: profile_problems(data, "/data", PROFILE, _UPSERT_MEMBERS, needs_identifier=False)
        )
        if data.get("id") != call.id:
            raise Denied(400, invalid("The id of the body is not the one in the path.", "/data/id"))
        with self._store.transaction():
            row = self._profiles.update(call.account_id, self._find(call), data["attributes"], data.get("meta"))
        return self._shown(call, row, 200)

    def _upsert(self, call: Call) -> Answer:
        _check_size(call)
        data = resource_of(
            call, lambda data: profile_problems(data, "/data", UPSERTED, _UPSERT_MEMBERS, needs_identifier=True)
        )
        with self._store.transaction():
            row, is_new = self._profiles.upsert(call.account_id, data.get("id"), data["attributes"], data.get("meta"))
        return self._shown(call, row, 201 if is_new else 200)

    def _merge(self, call: Call) -> Answer:
        data = resource_of(call, _merge_problems)
        target = self._profiles.find(call.account_id, data["id"])
        (other,) = data["relationships"]["profiles"]["data"]
        source = self._profiles.find(call.account_id, other["id"])
        if target is None or source is None or source["id"] == target["id"]:
            raise Denied(404, not_found("Both profiles must exist, and be two.", "/data/id"))
        with self._store.transaction():
            self._profiles.merge(call.account_id, source, target)
        link = {"self": documents.resource_address(call, "profiles", target["id"])}
        return Answer(201, {"data": {"type": "profile", "id": target["id"], "links": link}, "links": self_link(call)})

    def _import(self, call: Call) -> Answer:
        wanted = documents.fields(call, "profile-bulk-import-job", IMPORT_FIELDS)
        data = resource_of(call, _import_problems)
        lists = [entry["id"] for entry in data.get("relationships", {}).get("lists", {}).get("data", [])]
        row = self._imports.create(call.account, data["attributes"]["profiles"]["data"], lists)
        return Answer(
            202, {"data": documents.sparse(people_views.imported(call, row), wanted), "links": self_link(call)}
        )

    def _get_import(self, call: Call) -> Answer:
        wanted = documents.fields(call, "profile-bulk-import-job", IMPORT_FIELDS)
        documents.included(call, ("lists",))
        data = documents.sparse(people_views.imported(call, self._find_import(call)), wanted)
        body: dict[str, Any] = {"data": data, "links": self_link(call)}
        return Answer(200, body | ({"included": []} if call.query.get("include") else {}))

    def _find_import(self, call: Call) -> Row:
        row = self._imports.find(call.account_id, call.id)
        if row is None:
            raise Denied(404, not_found(f"A job with the id '{call.id}' does not exist.", "/data/id"))
        return row

    def _list_imports(self, call: Call) -> Answer:
        wanted = documents.fields(call, "profile-bulk-import-job", IMPORT_FIELDS)
        allowed: dict[tuple[str, str], Builder] = {("equals", "status"): _has_status, ("any", "status"): _has_status}
        held: list[Condition] = [
            ("account_id = ?", [call.account_id]),
            ("(expires_at is null or expires_at > ?)", [self._store.wall()]),
            *documents.conditions(call, allowed),
        ]
        _, is_backward = documents.descending(call, ("created_at",), "-created_at")
        size = documents.size(call, PAGE_MAX, PAGE_USUAL)
        found = documents.page(
            self._store, call, Listing("select * from klaviyo_imports", held, "id", is_backward, size)
        )
        data = [documents.sparse(people_views.imported(call, row), wanted) for row in found.rows]
        return Answer(200, {"data": data, "links": found.links})

    def _import_errors(self, call: Call) -> Answer:
        names = ("code", "title", "detail", "source", "original_payload")
        wanted = documents.fields(call, "import-error", names)
        errors = orjson.loads(self._find_import(call)["errors"])
        size, given = documents.size(call, PAGE_MAX, PAGE_USUAL), call.query.get("page[cursor]", "0")
        if not given.isascii() or not given.isdigit():
            raise bad_parameter("The page cursor is not one that was given here.", "page[cursor]")
        start = int(given)
        data = [
            {"type": "import-error", "id": error.pop("id"), "attributes": error}
            for error in errors[start : start + size]
        ]
        links = self_link(call)
        if start + size < len(errors):
            links["next"] = documents.address(call, {**call.query, "page[cursor]": str(start + size)})
        return Answer(200, {"data": [documents.sparse(entry, wanted) for entry in data], "links": links})


def shown_profile(call: Call, row: Row) -> dict[str, Any]:
    """With the fields that the call asks for. Raises Denied."""
    added = frozenset(filter(None, call.query.get("additional-fields[profile]", "").split(",")))
    if unknown := added - set(ADDED_PROFILE_FIELDS):
        raise bad_parameter(f"'{min(unknown)}' is no additional field.", "additional-fields[profile]")
    wanted = documents.fields(call, "profile", (*PROFILE_FIELDS, *ADDED_PROFILE_FIELDS))
    return documents.sparse(people_views.profile(call, row, added), wanted)


def _check_size(call: Call) -> None:
    if len(call.body) > PROFILE_MAX:
        detail = f"The payload has {len(call.body)} bytes; the most is {PROFILE_MAX}."
        raise Denied(413, Problem("payload_too_large", "Payload too large.", detail, "/data"))


def _filters() -> dict[tuple[str, str], Builder]:
    found: dict[tuple[str, str], Builder] = {}
    for name in ("id", "email", "phone_number", "external_id"):
        found["equals", name] = _equals(name)
        found["any", name] = _one_of(name)
    for name in ("created", "updated"):
        found["greater-than", name] = compared(f"{name}_at", ">")
        found["less-than", name] = compared(f"{name}_at", "<")
    return found


def _equals(column: str) -> Builder:
    return lambda value: (f"{column} = ?", [str(value)])


def _one_of(column: str) -> Builder:
    def build(value: Value) -> Condition:
        values = value if isinstance(value, list) else [str(value)]
        return f"{column} in ({', '.join('?' * len(values))})", list(values)

    return build


def compared(column: str, sign: str) -> Builder:
    """With an instant."""

    def build(value: Value) -> Condition:
        try:
            moment = instant(str(value))
        except ValueError:
            raise bad_parameter(f"'{value}' is not an ISO 8601 instant.", "filter") from None
        return f"{column} {sign} ?", [moment.timestamp()]

    return build


def _has_status(value: Value) -> Condition:
    values = value if isinstance(value, list) else [str(value)]
    if unknown := set(values) - set(STATUSES):
        raise bad_parameter(f"The status '{min(unknown)}' is none of {', '.join(STATUSES)}.", "filter")
    return _one_of("status")(values)


def _merge_problems(data: Any) -> Iterator[Problem]:
    is_object = isinstance(data, dict) and data.keys() == {"type", "id", "relationships"}
    if not is_object or data["type"] != "profile-merge" or not isinstance(data["id"], str):
        yield invalid("A 'profile-merge' has the id of the profile that stays, and relationships.", "/data")
        return
    related = data["relationships"].get("profiles") if isinstance(data["relationships"], dict) else None
    entries = related.get("data") if isinstance(related, dict) else None
    one = entries[0] if isinstance(entries, list) and len(entries) == 1 else None
    if not isinstance(one, dict) or one.keys() != {"type", "id"} or one["type"] != "profile" or not is_text(one["id"]):
        yield invalid("Exactly one profile can be merged.", "/data/relationships/profiles/data")


def _import_problems(data: Any) -> Iterator[Problem]:
    at = "/data/attributes/profiles/data"
    is_object = isinstance(data, dict) and data.get("type") == "profile-bulk-import-job"
    if not is_object or data.keys() - {"type", "attributes", "relationships"}:
        yield invalid("The type must be 'profile-bulk-import-job', with attributes and relationships.", "/data")
        return
    given = data.get("attributes")
    inner = given.get("profiles") if isinstance(given, dict) and given.keys() == {"profiles"} else None
    entries = inner.get("data") if isinstance(inner, dict) and inner.keys() == {"data"} else None
    if not isinstance(entries, list) or not 0 < len(entries) <= IMPORT_MAX:
        yield invalid(f"A job takes a list of 1 to {IMPORT_MAX} profiles.", at)
        return
    for place, entry in enumerate(entries):
        yield from profile_problems(entry, f"{at}/{place}", UPSERTED, _UPSERT_MEMBERS, needs_identifier=True)
    related = data.get("relationships", {"lists": {"data": []}})
    lists = related.get("lists", {}).get("data") if isinstance(related, dict) else None
    named = (
        [entry.get("id") if isinstance(entry, dict) else None for entry in lists] if isinstance(lists, list) else None
    )
    if not is_texts(named):
        yield invalid("The lists are resource identifiers.", "/data/relationships/lists/data")
