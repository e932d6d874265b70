"""The HTTP side of Feeds 2021-06-30."""

import base64
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clock import AnyClock, as_utc, utc_at
from sandbox.store import Row, Store, marks
from sandbox.vendors.amazon.documents import Documents
from sandbox.vendors.amazon.feeds import FEED_TYPES, LISTINGS_FEED, Feeds
from sandbox.vendors.amazon.gate import Denied, Gate, answer, bad, body_of, many

# Of JSON_LISTINGS_FEED, beside the plan of createFeed.
WINDOW_FEEDS, WINDOW_SECONDS = 5, 300
KEPT_SECONDS = 90 * 86_400
MARKETPLACES_MAX, TYPES_MAX, PAGE_MAX = 25, 10, 100
# What a page's token carries.
TOKEN = {"types", "statuses", "places", "size", "since", "until", "below"}
STATUSES = ("CANCELLED", "DONE", "FATAL", "IN_PROGRESS", "IN_QUEUE")


class FeedsApi:
    def __init__(self, store: Store, clock: AnyClock, gate: Gate, feeds: Feeds, documents: Documents) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate
        self._feeds = feeds
        self._documents = documents

    def routes(self) -> list[Route]:
        route, base = self._gate.route, "/feeds/2021-06-30"
        return [
            route("createFeedDocument", "POST", f"{base}/documents", self.create_document),
            route("getFeedDocument", "GET", f"{base}/documents/{{document_id}}", self.get_document),
            route("createFeed", "POST", f"{base}/feeds", self.create),
            route("getFeeds", "GET", f"{base}/feeds", self.list),
            route("getFeed", "GET", f"{base}/feeds/{{feed_id}}", self.get),
            route("cancelFeed", "DELETE", f"{base}/feeds/{{feed_id}}", self.cancel),
        ]

    async def create_document(self, request: Request, seller: Row) -> Response:
        body = await body_of(request)
        content_type = body.get("contentType") if isinstance(body, dict) else None
        if not isinstance(content_type, str) or not content_type.isascii() or not content_type.isprintable():
            raise bad("'contentType' is required and must be a content type.")
        with self._store.transaction():
            number = self._documents.open(seller, content_type)
        url = self._documents.upload_url(request, number, content_type)
        return answer({"feedDocumentId": number, "url": url}, 201)

    async def get_document(self, request: Request, seller: Row) -> Response:
        document = self._documents.find(seller, request.path_params["document_id"])
        if document is None:
            raise Denied(404, "NotFound", "The feed document was not found.")
        said = {"feedDocumentId": document["id"], "url": self._documents.download_url(request, document)}
        return answer(said | ({"compressionAlgorithm": "GZIP"} if document["gzip"] else {}))

    async def create(self, request: Request, seller: Row) -> Response:
        body = await body_of(request)
        if not isinstance(body, dict):
            raise bad("The request body must be a JSON object.")
        feed_type, document_id = body.get("feedType"), body.get("inputFeedDocumentId")
        if feed_type not in FEED_TYPES:
            raise bad(f"Invalid 'feedType' provided: {feed_type!r}.")
        marketplaces = check_marketplaces_of(body, seller)
        if not isinstance(document_id, str) or self._documents.find(seller, document_id) is None:
            raise bad("Invalid 'inputFeedDocumentId' provided.")
        if feed_type == LISTINGS_FEED and self._recent(seller) >= WINDOW_FEEDS:
            raise Denied(429, "QuotaExceeded", "You exceeded your quota for the requested resource.")
        number = self._feeds.create(seller, feed_type, marketplaces, document_id)
        return answer({"feedId": str(number)}, 202)

    def _recent(self, seller: Row) -> int:
        return int(
            self._store.value(
                "select count(*) from feeds where seller_id = ? and feed_type = ? and made_at > ?",
                (seller["seller_id"], LISTINGS_FEED, self._clock.now() - WINDOW_SECONDS),
            )
        )

    async def get(self, request: Request, seller: Row) -> Response:
        return answer(_feed(self._find(request, seller)))

    async def cancel(self, request: Request, seller: Row) -> Response:
        feed = self._find(request, seller)
        if not self._feeds.cancel(seller, feed["id"]):
            raise bad(f"The feed is {feed['status']}: only a feed that is IN_QUEUE can be cancelled.")
        # The model promises a status and no content.
        return Response(None, 200, {"x-amzn-RequestId": str(uuid4())})

    def _find(self, request: Request, seller: Row) -> Row:
        text = request.path_params["feed_id"]
        feed = self._feeds.find(seller, int(text)) if text.isascii() and text.isdigit() and len(text) < 19 else None
        if feed is None:
            raise Denied(404, "NotFound", f"The feed {text} was not found.")
        return feed

    async def list(self, request: Request, seller: Row) -> Response:
        wanted = _wanted(request, self._store.wall())
        where, parameters = _condition(seller, wanted)
        rows = self._store.all(
            f"select * from feeds where {where} order by id desc limit ?", (*parameters, wanted["size"] + 1)
        )
        page = rows[: wanted["size"]]
        body: dict[str, Any] = {"feeds": [_feed(row) for row in page]}
        if len(rows) > len(page):
            body["nextToken"] = base64.urlsafe_b64encode(orjson.dumps({**wanted, "below": page[-1]["id"]})).decode()
        return answer(body)


def check_marketplaces_of(body: dict[str, Any], seller: Row) -> list[str]:
    """The marketplaces that a body names. Raises Denied for none, too many, and those of others."""
    wanted = body.get("marketplaceIds")
    if not isinstance(wanted, list) or not 1 <= len(wanted) <= MARKETPLACES_MAX:
        raise bad(f"'marketplaceIds' is required and takes 1 to {MARKETPLACES_MAX} values.")
    if wrong := [value for value in wanted if value != seller["marketplace_id"]]:
        raise bad(f"Invalid 'marketplaceIds' provided: {wrong[0]}.")
    return wanted


def _wanted(request: Request, wall: float) -> dict[str, Any]:
    """What is asked for, by the parameters or by the token of the page before, which stands alone."""
    given = request.query_params
    if token := given.get("nextToken"):
        if set(given) != {"nextToken"}:
            raise bad("'nextToken' must be the only parameter.")
        try:
            found: dict[str, Any] = orjson.loads(base64.urlsafe_b64decode(token.encode()))
        except ValueError:
            raise bad("'nextToken' is not valid.") from None
        if not isinstance(found, dict) or set(found) != {
            "types",
            "statuses",
            "places",
            "size",
            "since",
            "until",
            "below",
        }:
            raise bad("'nextToken' is not valid.")
        return found
    types, statuses = many(request, "feedTypes"), many(request, "processingStatuses")
    if not 1 <= len(types) <= TYPES_MAX:
        raise bad(f"Either 'feedTypes' (1 to {TYPES_MAX} values) or 'nextToken' is required.")
    if wrong := [status for status in statuses if status not in STATUSES]:
        raise bad(f"'processingStatuses' does not take {wrong[0]!r}.")
    size = given.get("pageSize", "10")
    if not size.isascii() or not size.isdigit() or not 1 <= int(size) <= PAGE_MAX:
        raise bad(f"'pageSize' must be between 1 and {PAGE_MAX}.")
    return {
        "types": types,
        "statuses": statuses or list(STATUSES),
        "places": many(request, "marketplaceIds"),
        "size": int(size),
        "since": max(_instant(request, "createdSince", "1970-01-01T00:00:00Z"), utc_at(wall - KEPT_SECONDS)),
        "until": _instant(request, "createdUntil", utc_at(wall)),
        "below": None,
    }


def _instant(request: Request, name: str, default: str) -> str:
    try:
        return as_utc(request.query_params.get(name, default))
    except ValueError:
        raise bad(f"'{name}' is not a date-time.") from None


def _condition(seller: Row, wanted: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
    types, statuses = wanted["types"], wanted["statuses"]
    where = f"seller_id = ? and feed_type in ({marks(types)}) and status in ({marks(statuses)})"
    # Both ends are whole seconds, and the last one belongs to the window to its end.
    where += " and created_at >= unixepoch(?) and created_at < unixepoch(?) + 1"
    parameters = [seller["seller_id"], *types, *statuses, wanted["since"], wanted["until"]]
    if wanted["places"]:
        where += f" and exists (select 1 from json_each(marketplaces) where value in ({marks(wanted['places'])}))"
        parameters += wanted["places"]
    if wanted["below"] is not None:
        where += " and id < ?"
        parameters.append(wanted["below"])
    return where, tuple(parameters)


def _feed(row: Row) -> dict[str, Any]:
    said = {
        "feedId": str(row["id"]),
        "feedType": row["feed_type"],
        "marketplaceIds": orjson.loads(row["marketplaces"]),
        "createdTime": utc_at(row["created_at"]),
        "processingStatus": row["status"],
    }
    times = {"processingStartTime": row["started_at"], "processingEndTime": row["ended_at"]}
    said |= {name: utc_at(moment) for name, moment in times.items() if moment is not None}
    return said | ({"resultFeedDocumentId": row["result_id"]} if row["result_id"] else {})
