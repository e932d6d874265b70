"""What a search for orders may ask, and its pages.

A search sees nothing of the last two minutes: its upper bound lies at least that far back, whether the caller gave it
or it was chosen for him. A page's token is good for the same question only, and for a day.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request

from sandbox.clock import AnyClock, as_utc, utc_at
from sandbox.store import Row, Store, marks
from sandbox.vendors.amazon.gate import bad, many
from sandbox.vendors.amazon.marketplaces import of_seller
from sandbox.vendors.amazon.order_views import INCLUDED
from sandbox.vendors.amazon.order_wishes import FULFILLERS

STATUSES = (
    "PENDING_AVAILABILITY",
    "PENDING",
    "UNSHIPPED",
    "PARTIALLY_SHIPPED",
    "SHIPPED",
    "CANCELLED",
    "UNFULFILLABLE",
)
LATE_SECONDS = 120.0
TOKEN_SECONDS = 86_400.0
PAGE_MAX = 100
MARKETPLACES_MAX = 50
FAMILIES = {"createdAfter": "createdBefore", "lastUpdatedAfter": "lastUpdatedBefore"}
COLUMNS = {"createdBefore": "created_at", "lastUpdatedBefore": "updated_at"}


@dataclass(frozen=True)
class Search:
    """`before` names the upper bound's parameter; `until` is the bound. `marker` is where the last page ended."""

    before: str
    after: str
    until: str
    conditions: dict[str, list[str]]
    size: int
    included: list[str]
    asked: bytes
    marker: tuple[str, int] = ("", 0)


def read(store: Store, clock: AnyClock, request: Request, seller: Row) -> Search:
    """Raises Denied with the vendor's 400."""
    params = request.query_params
    families = [name for name in FAMILIES if name in params]
    if len(families) != 1:
        raise bad("Exactly one of 'createdAfter' and 'lastUpdatedAfter' must be provided.")
    after_name, before = families[0], FAMILIES[families[0]]
    if any(name in params for name in FAMILIES.values() if name != before):
        raise bad(f"'{after_name}' does not go with the bounds of the other family.")
    after, latest = _instant(request, after_name), _latest(store, clock)
    until = _instant(request, before) if before in params else latest
    if until > latest:
        raise bad(f"'{before}' must be at least two minutes before the time of the request.")
    # A bound that is chosen for the caller may lie before his beginning: then nothing is found, up to there.
    if until < after and before in params:
        raise bad(f"'{before}' must be equal to or after '{after_name}'.")
    search = Search(
        before,
        after,
        until,
        _conditions(request, seller),
        _size(params.get("maxResultsPerPage", str(PAGE_MAX))),
        chosen(request, "includedData", INCLUDED),
        _asked(request),
    )
    token = params.get("paginationToken")
    return search if token is None else _taken_up(store, clock, seller, search, token)


def chosen(request: Request, name: str, allowed: tuple[str, ...]) -> list[str]:
    """The values of a parameter, each of which must be known. Raises Denied."""
    given = many(request, name)
    if wrong := [value for value in given if value not in allowed]:
        raise bad(f"'{name}' does not take {wrong[0]!r}.")
    return given


def page(store: Store, clock: AnyClock, seller: Row, search: Search) -> tuple[list[Row], str | None]:
    """The orders of this page, and the token of the next if there is one."""
    column = COLUMNS[search.before]
    where = f"seller_id = ? and {column} >= ? and {column} <= ? and ({column}, id) > (?, ?)"
    values: list[Any] = [seller["seller_id"], search.after, search.until, *search.marker]
    for name, allowed in search.conditions.items():
        where += f" and {name} in ({marks(allowed)})"
        values += allowed
    found = store.all(
        f"select * from amazon_orders where {where} order by {column}, id limit ?", (*values, search.size + 1)
    )
    if len(found) <= search.size:
        return found, None
    rows, token = found[: search.size], secrets.token_urlsafe(48)
    with store.transaction():
        store.run("delete from order_pages where expires_at < ?", (clock.now(),))
        store.insert(
            "order_pages",
            token=token,
            seller_id=seller["seller_id"],
            asked=search.asked,
            until=search.until,
            after_time=rows[-1][column],
            after_id=rows[-1]["id"],
            expires_at=clock.now() + TOKEN_SECONDS,
        )
    return rows, token


def _taken_up(store: Store, clock: AnyClock, seller: Row, search: Search, token: str) -> Search:
    """The same search behind the last page: with the bound that was chosen then."""
    row = store.one(
        "select * from order_pages where token = ? and seller_id = ? and expires_at >= ?",
        (token, seller["seller_id"], clock.now()),
    )
    if row is None:
        raise bad("'paginationToken' is not valid, or has expired.")
    if row["asked"] != search.asked:
        raise bad("With a 'paginationToken' all other parameters must be those of the first request.")
    return Search(
        search.before,
        search.after,
        row["until"],
        search.conditions,
        search.size,
        search.included,
        search.asked,
        (row["after_time"], row["after_id"]),
    )


def _latest(store: Store, clock: AnyClock) -> str:
    """Two minutes ago. They are a duration: where the clock is hurried they are shorter, and dates are real."""
    return utc_at(store.wall() - LATE_SECONDS / (clock.factor or 1.0))


def _instant(request: Request, name: str) -> str:
    try:
        return as_utc(request.query_params[name])
    except ValueError:
        raise bad(f"'{name}' is not an ISO 8601 date-time.") from None


def _conditions(request: Request, seller: Row) -> dict[str, list[str]]:
    """What some columns may hold, by name."""
    marketplaces = many(request, "marketplaceIds")
    if len(marketplaces) > MARKETPLACES_MAX:
        raise bad(f"'marketplaceIds' takes at most {MARKETPLACES_MAX} values.")
    if wrong := [value for value in marketplaces if value not in of_seller(seller)]:
        raise bad(f"Invalid 'marketplaceIds' provided: {wrong[0]}.")
    given = {
        "marketplace_id": marketplaces,
        "status": chosen(request, "fulfillmentStatuses", STATUSES),
        "fulfilled_by": chosen(request, "fulfilledBy", FULFILLERS),
    }
    return {name: values for name, values in given.items() if values}


def _size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= PAGE_MAX:
        raise bad(f"'maxResultsPerPage' must be between 1 and {PAGE_MAX}.")
    return int(text)


def _asked(request: Request) -> bytes:
    """A digest of everything asked but the token."""
    pairs = sorted(pair for pair in request.query_params.multi_items() if pair[0] != "paginationToken")
    return hashlib.sha256(orjson.dumps(pairs)).digest()
