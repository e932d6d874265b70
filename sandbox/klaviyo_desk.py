"""The part of the control API that plays Klaviyo's other side: who opens accounts, and who else works in one."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.routing import Route

from sandbox.control import reader, writer
from sandbox.duties import Duties
from sandbox.errors import NotFound, Refused
from sandbox.reading import Body, objects, text
from sandbox.store import Row, Store
from sandbox.vendors.klaviyo.accounts import (
    SCOPES,
    add_key,
    describe_account,
    find_account,
    open_account,
    revoke_key,
    set_pace,
)
from sandbox.vendors.klaviyo.catalogue_views import identifier
from sandbox.vendors.klaviyo.endpoint import Klaviyo
from sandbox.vendors.klaviyo.names import compound
from sandbox.vendors.klaviyo.shapes import KINDS, RELATED, VARIANT, Kind, entry_problems


class KlaviyoDesk:
    def __init__(self, store: Store, klaviyo: Klaviyo, duties: Duties) -> None:
        self._store = store
        self._klaviyo = klaviyo
        self._duties = duties

    def routes(self) -> list[Route]:
        at = "/klaviyo/{public_key}"
        return [
            Route("/klaviyo", writer(self.open), methods=["POST"]),
            Route(f"{at}/keys", writer(self.add_key), methods=["POST"]),
            Route(f"{at}/keys/revocation", writer(self.revoke_key), methods=["POST"]),
            Route(f"{at}/pace", writer(self.set_pace), methods=["POST"]),
            Route(f"{at}/catalogue", reader(self.catalogue), methods=["GET"]),
            Route(f"{at}/edits", writer(self.edit), methods=["POST"]),
            Route(f"{at}/jobs", reader(self.jobs), methods=["GET"]),
            Route(f"{at}/events", reader(self.events), methods=["GET"]),
            Route(f"{at}/wishes", reader(self.wishes), methods=["GET"]),
            Route(f"{at}/wishes", writer(self.wish), methods=["POST"]),
        ]

    def _account(self, request: Request) -> Row:
        return find_account(self._store, request.path_params["public_key"])

    async def open(self, request: Request, given: Body) -> Body:
        currency, timezone = str(given.get("currency", "GBP")), str(given.get("timezone", "Europe/London"))
        return describe_account(self._store, open_account(self._store, text(given, "name"), currency, timezone))

    async def add_key(self, request: Request, given: Body) -> Body:
        """`scopes` None is all of them."""
        scopes = given.get("scopes", list(SCOPES))
        if not isinstance(scopes, list):
            raise Refused("missing", "scopes must be a list.")
        key = add_key(self._store, self._account(request)["id"], text(given, "name"), tuple(map(str, scopes)))
        return {"key": key, "scopes": sorted(scopes)}

    async def revoke_key(self, request: Request, given: Body) -> Body:
        revoke_key(self._store, self._account(request)["id"], text(given, "key"))
        return {"revoked": given["key"]}

    async def set_pace(self, request: Request, given: Body) -> Body:
        """Of jobs from now on: queued_seconds, processing_seconds, spread, kept_seconds."""
        set_pace(self._store, self._account(request)["id"], given)
        return describe_account(self._store, self._account(request))

    async def catalogue(self, request: Request) -> Body:
        """Everything there is, by kind; `?kind=item` for one kind."""
        self._duties.settle()
        account, only = self._account(request), request.query_params.get("kind")
        kinds = [_kind(only)] if only else list(KINDS.values())
        return {kind.plural: self._records(account["id"], kind) for kind in kinds}

    def _records(self, account_id: int, kind: Kind) -> list[Body]:
        rows = self._store.all(
            "select * from klaviyo_records where account_id = ? and kind = ? order by number", (account_id, kind.name)
        )
        linked: dict[str, list[str]] = {}
        if kind is not VARIANT:
            mine, other = ("item", "category") if kind.name == "item" else ("category", "item")
            for row in self._store.all(
                f"select {mine} as mine, {other} as other from klaviyo_links where account_id = ? order by 1, 2",
                (account_id,),
            ):
                linked.setdefault(row["mine"], []).append(row["other"])
        return [self._record(kind, row, linked.get(row["external_id"], [])) for row in rows]

    @staticmethod
    def _record(kind: Kind, row: Row, linked: list[str]) -> Body:
        related: Any = row["parent"] if kind is VARIANT else linked
        return {"id": row["external_id"], "attributes": orjson.loads(row["attributes"]), kind.relation: related}

    async def edit(self, request: Request, given: Body) -> Body:
        """What somebody else does in the account: a list of `{kind, verb, id, attributes}` and the relation of the
        kind by external ids (an item's `categories`, a variant's `item`, a category's `items`), done in their order."""
        account = self._account(request)
        self._duties.settle()
        return {"edits": [self._edited(account, entry) for entry in objects(given, "edits")]}

    def _edited(self, account: Row, given: Body) -> Body:
        kind, verb, name = _kind(given.get("kind")), given.get("verb"), text(given, "id")
        if verb not in ("create", "update", "delete"):
            raise Refused("unknown_verb", f"The verb {verb!r} is none of create, update, delete.")
        entry = _entry(kind, verb, name, given)
        problems = list(entry_problems(kind, verb, entry, ""))
        if not problems:
            with self._store.transaction():
                problems = [p for p in self._klaviyo.catalogue.apply(account["id"], kind, verb, [entry]) if p]
        if problems:
            return {"id": name, "error": problems[0].code, "message": problems[0].detail}
        return {"id": name}

    async def jobs(self, request: Request) -> Body:
        """Every bulk job that has not expired, the oldest first."""
        self._duties.settle()
        rows = self._store.all(
            "select * from klaviyo_jobs where account_id = ? order by id", (self._account(request)["id"],)
        )
        names = ("ref", "kind", "verb", "status", "total", "completed", "failed", "created_at", "completed_at")
        return {"jobs": [{**{name: row[name] for name in names}, "names": orjson.loads(row["names"])} for row in rows]}

    async def events(self, request: Request) -> Body:
        """What was processed, in that order; `starts_flows` says whether a flow may send something because of it."""
        self._duties.settle()
        rows = self._store.all(
            "select e.*, m.name, p.email, p.phone_number, p.external_id from klaviyo_events e, klaviyo_metrics m,"
            " klaviyo_profiles p where e.account_id = ? and m.id = e.metric_id and p.id = e.profile_id"
            " order by e.number",
            (self._account(request)["id"],),
        )
        return {"events": [_event(row) for row in rows]}

    async def wish(self, request: Request, given: Body) -> Body:
        """Shoppers who want to hear when a variant is back: `{variant, email}`, by the variant's external id."""
        account, klaviyo = self._account(request), self._klaviyo
        wanted = [(text(entry, "variant"), text(entry, "email")) for entry in objects(given, "wishes")]
        for variant, _ in wanted:
            if klaviyo.catalogue.find(account["id"], VARIANT, variant) is None:
                raise NotFound("variant", variant)
        with self._store.transaction():
            for variant, email in wanted:
                profile, _ = klaviyo.profiles.upsert(account["id"], None, {"email": email})
                klaviyo.events.wait_for(account["id"], variant, profile["id"], ["EMAIL"])
        return {"wishes": len(wanted)}

    async def wishes(self, request: Request) -> Body:
        """Who waits for what, and whether he was told."""
        self._duties.settle()
        rows = self._store.all(
            "select w.*, p.email from klaviyo_waiting w, klaviyo_profiles p where w.account_id = ?"
            " and p.id = w.profile_id order by w.created_at, w.variant, p.number",
            (self._account(request)["id"],),
        )
        names = ("variant", "email", "created_at", "told_at")
        return {"wishes": [{name: row[name] for name in names} for row in rows]}


def _event(row: Row) -> Body:
    names = ("id", "name", "email", "phone_number", "external_id", "unique_id", "happened_at", "value")
    described = {name: row[name] for name in names}
    return {**described, "properties": orjson.loads(row["properties"]), "starts_flows": bool(row["starts_flows"])}


def _kind(name: Any) -> Kind:
    if name not in KINDS:
        raise Refused("unknown_kind", f"The kind {name!r} is none of {', '.join(KINDS)}.")
    return KINDS[name]


def _entry(kind: Kind, verb: str, name: str, given: Body) -> Body:
    """As the vendor's own API would be given it."""
    if verb == "delete":
        return {"type": kind.type, "id": compound(name)}
    attributes = given.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise Refused("missing", "attributes must be an object.")
    entry: Body = {"type": kind.type, "attributes": dict(attributes)}
    if verb == "create":
        entry["attributes"]["external_id"] = name
    else:
        entry["id"] = compound(name)
    if (related := given.get(kind.relation)) is not None:
        other = RELATED[kind.relation]
        data: Any = [identifier(other, str(one)) for one in related] if isinstance(related, list) else None
        entry["relationships"] = {kind.relation: {"data": identifier(other, str(related)) if kind is VARIANT else data}}
    return entry
