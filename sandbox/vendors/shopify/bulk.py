"""Bulk operations: started by a mutation, run in steps on the sandbox clock, fetched by a signed link as JSON lines."""

import secrets
from pathlib import Path
from typing import Any

import orjson
from graphql import ExecutionResult, execute_sync

from sandbox.clock import utc_now, with_offset
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import bulk_query
from sandbox.vendors.shopify.sdl import schema
from sandbox.vendors.shopify.shops import gid

CONCURRENT = 5
PAGE = 100
# Seconds of the sandbox clock until the first step, and objects that are read in one of them.
START_SECONDS, OBJECTS_A_SECOND = 1.0, 4000
LINK_SECONDS = 7 * 86_400
UNDER_WAY = ("CREATED", "RUNNING", "CANCELING")

UserErrors = list[dict[str, Any]]


def start(
    store: Store, outbox: Outbox, shop: Row, query: str, is_grouped: bool, base_url: str
) -> tuple[Row | None, UserErrors]:
    """Queues the query, or says why not."""
    try:
        bulk_query.read(query)
    except bulk_query.BulkInvalid as problem:
        return None, [_error("INVALID", ["query"], str(problem))]
    running = store.value(
        f"select count(*) from bulks where shop_id = ? and status in ({', '.join('?' * len(UNDER_WAY))})",
        (shop["id"], *UNDER_WAY),
    )
    if running >= CONCURRENT:
        return None, [_error("LIMIT_REACHED", None, "Bulk operations limit reached. Please try again later.")]
    fate = next((kind for kind in ("bulk_failed", "bulk_expired") if outbox.faults.strike(kind, query)), None)
    with store.transaction():
        number = store.next_id("bulk")
        store.insert(
            "bulks",
            id=number,
            shop_id=shop["id"],
            client_id=shop["client_id"],
            query=query,
            status="CREATED",
            fate=fate,
            grouped=is_grouped,
            base_url=base_url,
            secret=secrets.token_hex(16),
            created_at=utc_now(store),
        )
        outbox.owe("bulk", number, START_SECONDS)
    return _read(store, number), []


def cancel(store: Store, outbox: Outbox, row: Row) -> UserErrors:
    """Asks a running operation to stop; it stops at its next step."""
    if row["status"] not in UNDER_WAY:
        message = f"A bulk operation cannot be canceled when it is {row['status'].lower()}"
        return [{"field": None, "message": message}]
    with store.transaction():
        store.run("update bulks set status = 'CANCELING' where id = ?", (row["id"],))
    return []


class BulkRunner:
    """Does one step of an operation whenever it is due."""

    def __init__(self, store: Store, outbox: Outbox, root: Any) -> None:
        """`root` makes the root value of an execution for a shop, with everything inside objects whole."""
        self._store = store
        self._outbox = outbox
        self._root = root

    def step(self, number: int) -> None:
        row = _read(self._store, number)
        shop = self._store.one("select * from shops where id = ?", (row["shop_id"],))
        assert shop is not None
        if row["status"] == "CANCELING":
            self._finish(shop, row, "CANCELED")
        elif row["fate"] == "bulk_expired":
            self._finish(shop, row, "EXPIRED")
        elif row["fate"] == "bulk_failed" and row["roots"]:
            self._finish(shop, row, "FAILED", "INTERNAL_SERVER_ERROR")
        elif row["is_read"]:
            self._finish(shop, row, "FAILED" if row["fate"] else "COMPLETED", row["fate"] and "INTERNAL_SERVER_ERROR")
        else:
            self._read_page(shop, row)

    def _read_page(self, shop: Row, row: Row) -> None:
        query = bulk_query.read(row["query"])
        variables = {"first": PAGE, "after": row["cursor"]} if query.root.is_connection else {}
        result = execute_sync(schema(), query.document, self._root(shop), variable_values=variables)
        if result.errors:
            self._finish(shop, row, "FAILED", _failure(result))
            return
        found = (result.data or {}).get(query.root.key)
        cursor, groups = None, []
        if query.root.is_connection:
            assert found is not None
            groups = [bulk_query.lines_of(node, query.root) for node in bulk_query.nodes_of(found)]
            page = found[bulk_query.PAGE_KEY]
            cursor = page["endCursor"] if page["hasNextPage"] else None
        elif found is not None:
            # An object that is only the way to its connections is no line of its own.
            groups = [[line for line in bulk_query.lines_of(found, query.root) if line]]
        self._write(row, groups, cursor)

    def _write(self, row: Row, groups: list[list[dict[str, Any]]], cursor: str | None) -> None:
        lines = [line for group in groups for line in group]
        if not row["grouped"]:
            # Children come somewhere after their parents, and not always at once.
            lines = [line for group in groups for line in group[:1]] + [line for group in groups for line in group[1:]]
        data = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        path = file_of(self._store, row["id"])
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            # What a step wrote before it was killed and undone is written again.
            file.truncate(row["bytes"])
            file.write(data)
        self._store.run(
            "update bulks set status = 'RUNNING', objects = objects + ?, roots = roots + ?, bytes = bytes + ?,"
            " cursor = ?, is_read = ? where id = ?",
            (len(lines), len(groups), len(data), cursor, cursor is None, row["id"]),
        )
        self._outbox.owe("bulk", row["id"], len(lines) / OBJECTS_A_SECOND)

    def _finish(self, shop: Row, row: Row, status: str, error_code: str | None = None) -> None:
        store, now = self._store, utc_now(self._store)
        store.run(
            "update bulks set status = ?, error_code = ?, completed_at = ?, dies_at = ? where id = ?",
            (status, error_code, now, store.wall() + LINK_SECONDS, row["id"]),
        )
        body = {
            "admin_graphql_api_id": gid("BulkOperation", row["id"]),
            "completed_at": with_offset(now, shop["timezone"]),
            "created_at": with_offset(row["created_at"], shop["timezone"]),
            "error_code": error_code and error_code.lower(),
            "status": status.lower(),
            "type": "query",
        }
        self._outbox.tell(shop, self._outbox.act(), "bulk_operations/finish", lambda: body)


def bulk_view(store: Store, row: Row) -> dict[str, Any]:
    """An operation as GraphQL object. Without a single object there is no file."""
    domain = store.value("select domain from shops where id = ?", (row["shop_id"],))
    link = f"{row['base_url']}/shopify/{domain}/bulk/{row['id']}.jsonl?signature={row['secret']}"
    has_file = row["objects"] > 0
    return {
        "__typename": "BulkOperation",
        "id": gid("BulkOperation", row["id"]),
        "status": row["status"],
        "type": "QUERY",
        "query": row["query"],
        "errorCode": row["error_code"],
        "createdAt": row["created_at"],
        "completedAt": row["completed_at"] if row["status"] == "COMPLETED" else None,
        "objectCount": row["objects"],
        "rootObjectCount": row["roots"],
        "fileSize": row["bytes"] if has_file and row["status"] == "COMPLETED" else None,
        "url": link if has_file and row["status"] == "COMPLETED" else None,
        "partialDataUrl": link if has_file and row["status"] == "FAILED" else None,
    }


def fetch(store: Store, shop: Row, number: int, signature: str) -> Path | None:
    """The file behind a link, or None when the link is wrong, too early or dead."""
    row = store.one("select * from bulks where id = ? and shop_id = ?", (number, shop["id"]))
    if row is None or not secrets.compare_digest(row["secret"].encode(), signature.encode()):
        return None
    is_alive = row["dies_at"] is not None and store.wall() < row["dies_at"]
    path = file_of(store, number)
    return path if is_alive and path.is_file() else None


def file_of(store: Store, number: int) -> Path:
    return store.folder / "bulk" / f"{number}.jsonl"


def _failure(result: ExecutionResult) -> str:
    codes = {(problem.extensions or {}).get("code") for problem in result.errors or ()}
    return "ACCESS_DENIED" if "ACCESS_DENIED" in codes else "INTERNAL_SERVER_ERROR"


def _read(store: Store, number: int) -> Row:
    row = store.one("select * from bulks where id = ?", (number,))
    assert row is not None
    return row


def _error(code: str, path: list[str] | None, message: str) -> dict[str, Any]:
    return {"code": code, "field": path, "message": message}
