"""Events and metrics: sent one by one or in bulk, read, counted. And who wants to hear of what is back in stock."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from sandbox.store import Row, Store
from sandbox.vendors.klaviyo import documents, people_views
from sandbox.vendors.klaviyo.aggregates import aggregate, query_problems
from sandbox.vendors.klaviyo.catalogue import Catalogue
from sandbox.vendors.klaviyo.catalogue_api import resource_of, self_link
from sandbox.vendors.klaviyo.documents import Builder, Condition, Listing, Value
from sandbox.vendors.klaviyo.events import Events
from sandbox.vendors.klaviyo.gate import Answer, Call, Operation
from sandbox.vendors.klaviyo.names import external
from sandbox.vendors.klaviyo.people_views import EVENT_FIELDS, METRIC_FIELDS
from sandbox.vendors.klaviyo.problems import Denied, Problem, bad_parameter, invalid, not_found
from sandbox.vendors.klaviyo.profile_shapes import (
    IDENTIFIED,
    OF_EVENTS,
    event_problems,
    profile_problems,
    resource_problems,
)
from sandbox.vendors.klaviyo.profiles import Profiles
from sandbox.vendors.klaviyo.profiles_api import compared, shown_profile
from sandbox.vendors.klaviyo.quota import XL, M, S
from sandbox.vendors.klaviyo.shapes import VARIANT, identifier_problems

READ, WRITE, METRICS = ("events:read",), ("events:write",), ("metrics:read",)
PAGE_MAX, PAGE_USUAL = 1000, 200
METRICS_PAGE = 200
BULK_MAX = 1000
CHANNELS = ("EMAIL", "PUSH", "SMS", "WHATSAPP")
_SHOWN = frozenset({"include", "fields[event]", "fields[metric]", "fields[profile]", "fields[attribution]"})
# Events of one second follow each other by their number.
_SELECT = "select * from (select *, happened_at * 1000000000 + number as place from klaviyo_events)"


class EventsApi:
    def __init__(self, store: Store, events: Events, profiles: Profiles, catalogue: Catalogue) -> None:
        self._store = store
        self._events = events
        self._profiles = profiles
        self._catalogue = catalogue

    def operations(self) -> Iterator[Operation]:
        paged = frozenset({"filter", "page[cursor]", "page[size]", "sort"})
        of_metrics = frozenset({"fields[metric]", "fields[flow]", "include"})
        also = {"metric": frozenset({"fields[metric]"}), "profile": _SHOWN_PROFILE}
        yield Operation("get_events", "GET", "events", XL, READ, self._list, _SHOWN | paged)
        yield Operation("create_event", "POST", "events", XL, WRITE, self._create)
        yield Operation("get_event", "GET", "events/*", M, READ, self._get, _SHOWN)
        yield Operation("bulk_create_events", "POST", "event-bulk-create-jobs", M, WRITE, self._create_many)
        for name, known in also.items():
            scopes = (*READ, f"{name}s:read")
            whole, ids = f"events/*/{name}", f"events/*/relationships/{name}"
            related, related_id = partial(self._related, name), partial(self._related_id, name)
            yield Operation(f"get_{name}_for_event", "GET", whole, XL, scopes, related, known)
            yield Operation(f"get_{name}_id_for_event", "GET", ids, XL, scopes, related_id)
        listed = of_metrics | {"filter", "page[cursor]"}
        yield Operation("get_metrics", "GET", "metrics", M, METRICS, self._list_metrics, listed)
        yield Operation("get_metric", "GET", "metrics/*", M, METRICS, self._get_metric, of_metrics)
        yield Operation(
            "query_metric_aggregates",
            "POST",
            "metric-aggregates",
            S,
            METRICS,
            self._aggregate,
            frozenset({"fields[metric-aggregate]"}),
        )
        yield Operation(
            "create_back_in_stock_subscription",
            "POST",
            "back-in-stock-subscriptions",
            XL,
            ("catalogs:write", "profiles:write"),
            self._wait,
        )

    def _create(self, call: Call) -> Answer:
        now = self._store.wall()
        data = resource_of(call, lambda data: event_problems(data, "/data", now, in_bulk=False))
        self._events.take(call.account_id, [data["attributes"]])
        return Answer(202)

    def _create_many(self, call: Call) -> Answer:
        """A unique_id that stands there twice refuses all of them."""
        now = self._store.wall()
        data = resource_of(call, lambda data: _bulk_problems(data, now))
        events = []
        for entry in data["attributes"]["events-bulk-create"]["data"]:
            given = entry["attributes"]
            for event in given["events"]["data"]:
                attributes = {"backfill": given.get("backfill"), **event["attributes"]}
                events.append({**attributes, "profile": given["profile"]})
        names = Counter(event["unique_id"] for event in events if event.get("unique_id"))
        if again := [name for name, count in names.items() if count > 1]:
            raise Denied(400, invalid(f"The unique_id '{again[0]}' stands there more than once.", "/data/attributes"))
        self._events.take(call.account_id, events)
        return Answer(202)

    def _find(self, call: Call) -> Row:
        row = self._store.one(
            "select * from klaviyo_events where account_id = ? and id = ?", (call.account_id, call.id)
        )
        if row is None:
            raise Denied(404, not_found(f"An event with the id '{call.id}' does not exist.", "/data/id"))
        return row

    def _get(self, call: Call) -> Answer:
        row = self._find(call)
        wanted = documents.fields(call, "event", EVENT_FIELDS)
        body = {"data": documents.sparse(people_views.event(call, row), wanted), "links": self_link(call)}
        return Answer(200, body | self._included(call, [row]))

    def _list(self, call: Call) -> Answer:
        wanted = documents.fields(call, "event", EVENT_FIELDS)
        held: list[Condition] = [("account_id = ?", [call.account_id]), *documents.conditions(call, _filters())]
        _, is_backward = documents.descending(call, ("datetime", "timestamp"), "-datetime")
        size = documents.size(call, PAGE_MAX, PAGE_USUAL)
        found = documents.page(self._store, call, Listing(_SELECT, held, "place", is_backward, size))
        data = [documents.sparse(people_views.event(call, row), wanted) for row in found.rows]
        return Answer(200, {"data": data, "links": found.links} | self._included(call, list(found.rows)))

    def _included(self, call: Call, rows: list[Row]) -> dict[str, Any]:
        wanted = documents.included(call, ("attributions", "metric", "profile"))
        if not wanted:
            return {}
        every = []
        if "metric" in wanted:
            every += [self._metric(call, name) for name in sorted({row["metric_id"] for row in rows})]
        if "profile" in wanted:
            every += [self._profile(call, name) for name in sorted({row["profile_id"] for row in rows})]
        return {"included": every}

    def _metric(self, call: Call, metric_id: str) -> dict[str, Any]:
        row = self._store.one(
            "select * from klaviyo_metrics where account_id = ? and id = ?", (call.account_id, metric_id)
        )
        if row is None:
            raise Denied(404, not_found(f"A metric with the id '{metric_id}' does not exist.", "/data/id"))
        return documents.sparse(people_views.metric(call, row), documents.fields(call, "metric", METRIC_FIELDS))

    def _profile(self, call: Call, profile_id: str) -> dict[str, Any]:
        row = self._profiles.find(call.account_id, profile_id)
        assert row is not None
        return shown_profile(call, row)

    def _related(self, name: str, call: Call) -> Answer:
        row = self._find(call)
        data = self._metric(call, row["metric_id"]) if name == "metric" else self._profile(call, row["profile_id"])
        return Answer(200, {"data": data, "links": self_link(call)})

    def _related_id(self, name: str, call: Call) -> Answer:
        row = self._find(call)
        return Answer(200, {"data": {"type": name, "id": row[f"{name}_id"]}, "links": self_link(call)})

    def _get_metric(self, call: Call) -> Answer:
        documents.included(call, ("flow-triggers",))
        body = {"data": self._metric(call, call.id), "links": self_link(call)}
        return Answer(200, body | ({"included": []} if call.query.get("include") else {}))

    def _list_metrics(self, call: Call) -> Answer:
        documents.included(call, ("flow-triggers",))
        wanted = documents.fields(call, "metric", METRIC_FIELDS)
        allowed: dict[tuple[str, str], Builder] = {
            ("equals", "integration.name"): lambda value: ("service = ?", [str(value).lower()]),
            ("equals", "integration.category"): lambda value: ("(service = 'api') = (? = 'api')", [str(value).lower()]),
        }
        held = [("account_id = ?", [call.account_id]), *documents.conditions(call, allowed)]
        listing = Listing("select * from klaviyo_metrics", held, "number", is_backward=False, size=METRICS_PAGE)
        found = documents.page(self._store, call, listing)
        data = [documents.sparse(people_views.metric(call, row), wanted) for row in found.rows]
        body: dict[str, Any] = {"data": data, "links": found.links}
        return Answer(200, body | ({"included": []} if call.query.get("include") else {}))

    def _aggregate(self, call: Call) -> Answer:
        data = resource_of(call, query_problems)
        self._metric(call, data["attributes"]["metric_id"])
        resource = {
            "type": "metric-aggregate",
            "id": data["attributes"]["metric_id"],
            "attributes": aggregate(self._store, call.account_id, data["attributes"]),
            "links": self_link(call),
        }
        return Answer(200, {"data": resource, "links": self_link(call)})

    def _wait(self, call: Call) -> Answer:
        data = resource_of(call, _wait_problems)
        variant = external(data["relationships"]["variant"]["data"]["id"]) or ""
        if self._catalogue.find(call.account_id, VARIANT, variant) is None:
            detail = f"The variant '{variant}' does not exist."
            raise Denied(404, not_found(detail, "/data/relationships/variant/data/id"))
        person = data["attributes"]["profile"]["data"]
        with self._store.transaction():
            profile, _ = self._profiles.upsert(call.account_id, person.get("id"), person["attributes"])
            self._events.wait_for(call.account_id, variant, profile["id"], data["attributes"]["channels"])
        return Answer(202)


_SHOWN_PROFILE = frozenset({"fields[profile]", "additional-fields[profile]"})


def _filters() -> dict[tuple[str, str], Builder]:
    found: dict[tuple[str, str], Builder] = {
        ("equals", "metric_id"): lambda value: ("metric_id = ?", [str(value)]),
        ("equals", "profile_id"): lambda value: ("profile_id = ?", [str(value)]),
    }
    signs = {"greater-or-equal": ">=", "greater-than": ">", "less-or-equal": "<=", "less-than": "<"}
    for word, sign in signs.items():
        found[word, "datetime"] = compared("happened_at", sign)
        found[word, "timestamp"] = partial(_numbered, sign)
    return found


def _numbered(sign: str, value: Value) -> Condition:
    text = str(value)
    if not text.isascii() or not text.isdigit():
        raise bad_parameter(f"'{text}' is not a number of seconds.", "filter")
    return f"happened_at {sign} ?", [min(int(text), documents.NUMBER_MAX)]


def _bulk_problems(data: Any, now: float) -> Iterator[Problem]:
    at = "/data/attributes/events-bulk-create/data"
    if found := list(resource_problems("event-bulk-create-job", {"type", "attributes"}, data, "/data")):
        yield from found
        return
    entries = _listed(data.get("attributes"), "events-bulk-create")
    if not entries:
        yield invalid("The attributes are 'events-bulk-create' with a list 'data' that is not empty.", at)
        return
    count = 0
    for place, entry in enumerate(entries):
        to = f"{at}/{place}"
        if found := list(resource_problems("event-bulk-create", {"type", "attributes"}, entry, to)):
            yield from found
            continue
        given = entry.get("attributes")
        if not isinstance(given, dict) or given.keys() - {"backfill", "profile", "events"}:
            yield invalid("The attributes are 'profile', 'events' and 'backfill'.", f"{to}/attributes")
            continue
        profile = given.get("profile")
        person = profile.get("data") if isinstance(profile, dict) else None
        members, pointer = {"type", "id", "attributes", "meta"}, f"{to}/attributes/profile/data"
        yield from profile_problems(person, pointer, OF_EVENTS, members, needs_identifier=True)
        events = _listed(given, "events")
        if not events:
            yield invalid("A list of events is needed.", f"{to}/attributes/events/data")
            continue
        count += len(events)
        for number, event in enumerate(events):
            yield from event_problems(event, f"{to}/attributes/events/data/{number}", now, in_bulk=True)
    if count > BULK_MAX:
        yield invalid(f"A request takes at most {BULK_MAX} events, not {count}.", at)


def _listed(given: Any, name: str) -> list[Any]:
    """The list under name and 'data'; empty when it is of another form."""
    inner = given.get(name) if isinstance(given, dict) else None
    entries = inner.get("data") if isinstance(inner, dict) and inner.keys() == {"data"} else None
    return entries if isinstance(entries, list) else []


def _wait_problems(data: Any) -> Iterator[Problem]:
    members = {"type", "attributes", "relationships"}
    if found := list(resource_problems("back-in-stock-subscription", members, data, "/data")):
        yield from found
        return
    given, related = data.get("attributes"), data.get("relationships")
    if not isinstance(given, dict) or given.keys() != {"channels", "profile"}:
        yield invalid("The attributes are 'channels' and 'profile'.", "/data/attributes")
        return
    channels = given["channels"]
    if not isinstance(channels, list) or not channels or any(channel not in CHANNELS for channel in channels):
        yield invalid(f"The channels are some of {', '.join(CHANNELS)}.", "/data/attributes/channels")
    person = given["profile"].get("data") if isinstance(given["profile"], dict) else None
    at, of_profile = "/data/attributes/profile/data", {"type", "id", "attributes"}
    yield from profile_problems(person, at, IDENTIFIED, of_profile, needs_identifier=True)
    variant = related.get("variant") if isinstance(related, dict) and related.keys() == {"variant"} else None
    named = variant.get("data") if isinstance(variant, dict) else None
    yield from identifier_problems(VARIANT, [named], "/data/relationships/variant/data")
