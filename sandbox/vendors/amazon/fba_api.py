"""The HTTP side of FBA Inventory v1, with the operations by which the vendor's own sandbox is filled."""

import base64
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.errors import NotFound, Refused
from sandbox.store import Row, Store
from sandbox.vendors.amazon.fba import INBOUND, RESEARCHING, RESERVED, UNFULFILLABLE, Fba, total, units_of
from sandbox.vendors.amazon.gate import Denied, Gate, answer, bad, body_of, check_marketplaces, many

SKUS_MAX, PAGE, TOKEN_SECONDS = 50, 50, 30
# Of 18 months, the shorter way round.
SINCE_SECONDS_MAX = 18 * 30 * 86_400
ITEMS = "/fba/inventory/v1/items"


class FbaApi:
    def __init__(self, store: Store, gate: Gate, fba: Fba) -> None:
        self._store = store
        self._gate = gate
        self._fba = fba

    def routes(self) -> list[Route]:
        route = self._gate.route
        return [
            route("getInventorySummaries", "GET", "/fba/inventory/v1/summaries", self.summaries),
            route("addInventory", "POST", f"{ITEMS}/inventory", self.add),
            route("createInventoryItem", "POST", ITEMS, self.create),
            route("deleteInventoryItem", "DELETE", f"{ITEMS}/{{sku:path}}", self.delete),
        ]

    async def summaries(self, request: Request, seller: Row) -> Response:
        _check_place(request, seller)
        since = self._since(request)
        skus = many(request, "sellerSkus")
        if len(skus) > SKUS_MAX:
            raise bad(f"'sellerSkus' takes at most {SKUS_MAX} values.")
        if not skus and (one := request.query_params.get("sellerSku")):
            skus = [one]
        asked = {"since": request.query_params.get("startDateTime"), "skus": [] if since is not None else skus}
        after = self._after(request, asked)
        rows, has_more = self._fba.page(seller, skus or None, since, after, PAGE)
        details = request.query_params.get("details") == "true"
        granularity = {"granularityType": "Marketplace", "granularityId": seller["marketplace_id"]}
        payload = {"granularity": granularity, "inventorySummaries": [_summary(row, details) for row in rows]}
        body: dict[str, Any] = {"payload": payload}
        if has_more:
            token = {**asked, "after": rows[-1]["sku"], "until": self._store.wall() + TOKEN_SECONDS}
            body["pagination"] = {"nextToken": base64.urlsafe_b64encode(orjson.dumps(token)).decode()}
        return answer(body)

    def _since(self, request: Request) -> float | None:
        text = request.query_params.get("startDateTime")
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise bad("'startDateTime' is not a date-time.") from None
        seconds = (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
        if not self._store.wall() - SINCE_SECONDS_MAX <= seconds:
            raise bad("'startDateTime' must be no earlier than 18 months ago.")
        return seconds

    def _after(self, request: Request, asked: dict[str, Any]) -> str:
        """Where the page begins. A token is of one question and of half a minute."""
        text = request.query_params.get("nextToken")
        if text is None:
            return ""
        try:
            token = orjson.loads(base64.urlsafe_b64decode(text.encode()))
        except ValueError:
            raise bad("'nextToken' is not valid.") from None
        if not isinstance(token, dict) or {name: token.get(name) for name in asked} != asked:
            raise bad("'nextToken' belongs to a request with other parameters.")
        if self._store.wall() > token["until"]:
            raise bad("'nextToken' has expired.")
        return str(token["after"])

    async def create(self, request: Request, seller: Row) -> Response:
        body = _object(await body_of(request))
        sku = _text(body, "sellerSku")
        _check_marketplace(body.get("marketplaceId"), seller)
        self._fba.hold(seller, sku, _text(body, "productName"))
        return answer({})

    async def add(self, request: Request, seller: Row) -> Response:
        token = request.headers.get("x-amzn-idempotency-token")
        if not token:
            raise bad("The header 'x-amzn-idempotency-token' is required.")
        items = _object(await body_of(request)).get("inventoryItems", [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise bad("'inventoryItems' must be a list of objects.")
        for item in items:
            _check_marketplace(item.get("marketplaceId"), seller)
        try:
            self._fba.add(seller, token, [(_text(item, "sellerSku"), item.get("quantity")) for item in items])
        except NotFound as unknown:
            raise Denied(404, "NotFound", unknown.message) from None
        except Refused as refusal:
            raise bad(refusal.message) from None
        return answer({})

    async def delete(self, request: Request, seller: Row) -> Response:
        _check_marketplace(request.query_params.get("marketplaceId"), seller)
        # The SKU is taken from the raw path: it may itself hold escaped slashes.
        raw = request.scope.get("raw_path", b"").decode("ascii").split("?")[0]
        try:
            self._fba.remove(seller, unquote(raw.split(f"{ITEMS}/", 1)[1]))
        except NotFound as unknown:
            raise Denied(404, "NotFound", unknown.message) from None
        return answer({})


def _check_place(request: Request, seller: Row) -> None:
    check_marketplaces(request, seller)
    if len(many(request, "marketplaceIds")) > 1:
        raise bad("'marketplaceIds' takes 1 value.")
    if request.query_params.get("granularityType") != "Marketplace":
        raise bad("'granularityType' must be Marketplace.")
    if request.query_params.get("granularityId") != seller["marketplace_id"]:
        raise bad("'granularityId' must be the marketplace that is asked for.")


def _check_marketplace(given: Any, seller: Row) -> None:
    if given != seller["marketplace_id"]:
        raise bad(f"Invalid 'marketplaceId' provided: {given}.")


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise bad("The request body must be a JSON object.")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise bad(f"'{name}' is required but was not provided.")
    return value


def _summary(row: Row, details: bool) -> dict[str, Any]:
    units = units_of(row)
    said: dict[str, Any] = {
        "asin": row["asin"],
        "fnSku": row["fnsku"],
        "sellerSku": row["sku"],
        "condition": row["condition"],
        "lastUpdatedTime": row["updated_at"],
        "productName": row["name"],
        "totalQuantity": total(units),
        "stores": [],
    }
    if details:
        said["inventoryDetails"] = _details(units)
    return said


def _details(units: dict[str, int]) -> dict[str, Any]:
    def named(kinds: tuple[str, ...]) -> dict[str, int]:
        return {f"{kind}Quantity": units[kind] for kind in kinds}

    breakdown = [
        {"name": kind.replace("researching", "researchingQuantityIn"), "quantity": units[kind]} for kind in RESEARCHING
    ]
    researching = {"totalResearchingQuantity": total(units, RESEARCHING), "researchingQuantityBreakdown": breakdown}
    return {
        "fulfillableQuantity": units["fulfillable"],
        **named(INBOUND),
        "reservedQuantity": {"totalReservedQuantity": total(units, RESERVED), **named(RESERVED)},
        "researchingQuantity": researching,
        "unfulfillableQuantity": {
            "totalUnfulfillableQuantity": total(units, UNFULFILLABLE),
            **named(UNFULFILLABLE),
        },
    }
