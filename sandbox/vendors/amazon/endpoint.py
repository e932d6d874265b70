"""The HTTP side of the fake Amazon: tokens, sellers and listings, with the vendor's headers and error lists."""

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clock import as_utc
from sandbox.store import Row, Store
from sandbox.vendors.amazon import marketplaces, patches
from sandbox.vendors.amazon.auth import GrantRefused, grant_token
from sandbox.vendors.amazon.gate import Denied, Gate, answer, bad, body_of, check_marketplaces, many
from sandbox.vendors.amazon.item_view import INCLUDED, item, status_of
from sandbox.vendors.amazon.listings import PAGE_MAX, Listings

PATCH_INCLUDED = ("identifiers", "issues")
IDENTIFIERS = ("ASIN", "EAN", "FNSKU", "GTIN", "ISBN", "JAN", "MINSAN", "SKU", "UPC")
# Both ends belong to the window.
WINDOWS = {
    "createdAfter": ("created_at", ">="),
    "createdBefore": ("created_at", "<="),
    "lastUpdatedAfter": ("updated_at", ">="),
    "lastUpdatedBefore": ("updated_at", "<="),
}
FAMILIES = ("variationParentSku", "packageHierarchySku")
STATUSES, SEVERITIES = ("BUYABLE", "DISCOVERABLE"), ("WARNING", "ERROR")
SORTS = {"sku": "sku", "createdDate": "created_at", "lastUpdatedDate": "updated_at"}


class Amazon:
    def __init__(self, store: Store, gate: Gate, listings: Listings) -> None:
        self._store = store
        self._gate = gate
        self._listings = listings

    def routes(self) -> list[Route]:
        search, one = "/listings/2021-08-01/items/{seller_id}", "/listings/2021-08-01/items/{seller_id}/{sku:path}"
        route = self._gate.route
        return [
            Route("/auth/o2/token", self.token, methods=["POST"]),
            route("getMarketplaceParticipations", "GET", "/sellers/v1/marketplaceParticipations", self.participations),
            route("searchListingsItems", "GET", search, self.search),
            route("getListingsItem", "GET", one, self.get_item),
            route("patchListingsItem", "PATCH", one, self.patch_item),
        ]

    async def token(self, request: Request) -> Response:
        fields = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
        try:
            return answer(grant_token(self._store, fields))
        except GrantRefused as refusal:
            return answer(refusal.body, refusal.status)

    async def participations(self, request: Request, seller: Row) -> Response:
        taken_part_in = marketplaces.of_seller(seller)
        return answer({"payload": [marketplaces.participation(seller, marketplace) for marketplace in taken_part_in]})

    async def get_item(self, request: Request, seller: Row) -> Response:
        check_marketplaces(request, seller)
        included = _names(request, "includedData", INCLUDED, ["summaries"])
        return answer(item(self._find(request, seller), seller, included))

    async def search(self, request: Request, seller: Row) -> Response:
        check_marketplaces(request, seller)
        included = _names(request, "includedData", INCLUDED, ["summaries"])
        identifiers, kind = _identifiers(request)
        size, offset = _page(request)
        sort, order = (
            request.query_params.get("sortBy", "lastUpdatedDate"),
            request.query_params.get("sortOrder", "DESC"),
        )
        if sort not in SORTS or order not in ("ASC", "DESC"):
            raise bad("'sortBy' or 'sortOrder' is not one of the allowed values.")
        windows = _windows(request)
        total, rows = self._listings.search(
            seller, identifiers, kind, windows, (SORTS[sort], order.lower()), offset, size, _standing(request)
        )
        body: dict[str, Any] = {"numberOfResults": total, "items": [item(row, seller, included) for row in rows]}
        if pagination := _pagination(offset, size, total, len(rows)):
            body["pagination"] = pagination
        return answer(body)

    async def patch_item(self, request: Request, seller: Row) -> Response:
        check_marketplaces(request, seller)
        mode = request.query_params.get("mode")
        if mode not in (None, "VALIDATION_PREVIEW"):
            raise bad("'mode' must be VALIDATION_PREVIEW when it is given.")
        included = _names(request, "includedData", PATCH_INCLUDED, ["issues"])
        body = await body_of(request)
        if problem := patches.malformed(body):
            raise bad(problem)
        try:
            listing = self._find(request, seller)
        except Denied as unknown:
            # The model has no 404 for a patch.
            raise bad(unknown.body["errors"][0]["message"]) from None
        reading = patches.read(orjson.loads(listing["attributes"]), body["patches"])
        return answer(self._submission(seller, listing, reading, preview=mode is not None, included=included))

    def _submission(
        self, seller: Row, listing: Row, reading: patches.Reading, *, preview: bool, included: list[str]
    ) -> dict[str, Any]:
        submission_id = uuid4().hex
        if reading.issues:
            status = "INVALID"
        elif preview:
            status = "VALID"
        else:
            status, submission_id = "ACCEPTED", self._listings.submit(seller, listing["sku"], reading)
        said: dict[str, Any] = {"sku": listing["sku"], "status": status, "submissionId": submission_id}
        if "issues" in included:
            said["issues"] = [{**issue, "marketplaceIds": [seller["marketplace_id"]]} for issue in reading.issues]
        if "identifiers" in included:
            said["identifiers"] = [{"marketplaceId": seller["marketplace_id"], "asin": listing["asin"]}]
        return said

    def _find(self, request: Request, seller: Row) -> Row:
        """The SKU is taken from the raw path: it may itself hold escaped slashes."""
        raw = request.scope.get("raw_path", b"").decode("ascii").split("?")[0]
        marker = f"/items/{request.path_params['seller_id']}/"
        sku = unquote(raw.split(marker, 1)[1]) if marker in raw else request.path_params["sku"]
        listing = self._listings.find(seller, sku)
        if listing is None:
            raise Denied(404, "NOT_FOUND", f"SKU '{sku}' not found in marketplace {seller['marketplace_id']}")
        return listing


def _names(request: Request, name: str, allowed: tuple[str, ...], default: list[str]) -> list[str]:
    given = many(request, name) or default
    if wrong := [value for value in given if value not in allowed]:
        raise bad(f"'{name}' does not take {wrong[0]!r}.")
    return given


def _identifiers(request: Request) -> tuple[list[str] | None, str]:
    identifiers, kind = many(request, "identifiers"), request.query_params.get("identifiersType")
    families = [name for name in FAMILIES if name in request.query_params]
    if len(families) + bool(identifiers) > 1:
        raise bad(f"'{families[0]}' cannot be used with another selection.")
    if families:
        # Nothing here has variations or lies in a package of its own.
        return [], "SKU"
    if not identifiers:
        return None, "SKU"
    if len(identifiers) > PAGE_MAX:
        raise bad(f"'identifiers' takes at most {PAGE_MAX} values.")
    if kind is None:
        raise bad("'identifiersType' is required when 'identifiers' is provided.")
    if kind not in IDENTIFIERS:
        raise bad(f"'identifiersType' does not take {kind!r}.")
    return identifiers, kind


def _standing(request: Request) -> Callable[[Row], bool] | None:
    """What a listing's status and issues must be, if anything is asked of them."""
    required, forbidden = (_names(request, name, STATUSES, []) for name in ("withStatus", "withoutStatus"))
    severities = _names(request, "withIssueSeverity", SEVERITIES, [])
    if not required and not forbidden and not severities:
        return None

    def keep(row: Row) -> bool:
        status = status_of(row)
        found = {issue["severity"] for issue in orjson.loads(row["issues"])}
        is_so = all(name in status for name in required) and not any(name in status for name in forbidden)
        return is_so and (not severities or bool(found.intersection(severities)))

    return keep


def _windows(request: Request) -> list[tuple[str, str, str]]:
    """Time filters as (column, comparison, instant)."""
    found = []
    for name, (column, comparison) in WINDOWS.items():
        text = request.query_params.get(name)
        if text is None:
            continue
        try:
            found.append((column, comparison, as_utc(text)))
        except ValueError:
            raise bad(f"'{name}' is not a date-time.") from None
    return found


def _page(request: Request) -> tuple[int, int]:
    text = request.query_params.get("pageSize", "10")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= PAGE_MAX:
        raise bad(f"'pageSize' must be between 1 and {PAGE_MAX}.")
    token = request.query_params.get("pageToken")
    if token is None:
        return int(text), 0
    try:
        offset = int(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        raise bad("'pageToken' is not valid.") from None
    return int(text), max(0, offset)


def _pagination(offset: int, size: int, total: int, count: int) -> dict[str, str]:
    tokens = {}
    if count and offset + count < min(total, 1000):
        tokens["nextToken"] = _token(offset + count)
    if offset:
        tokens["previousToken"] = _token(max(0, offset - size))
    return tokens


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(str(offset).encode()).decode()
