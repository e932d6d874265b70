"""A whole catalogue in one go: a bulk operation of Shopify's, whose result is a file of lines.

Sources: shopify.dev/docs/api/usage/bulk-operations/queries, .../admin-graphql/latest/mutations/bulkOperationRunQuery.

It is not charged to the quota. Each line is one node; a child names its parent (`__parentId`) and comes somewhere
after it. Having them grouped makes it slower and more likely to time out, so they are put together here: on disk, in a
database of the moment, since neither the file nor its parents need fit into memory.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.adapters import downloads
from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import OutcomeUnknown, Refused, ServerFault
from core.adapters.shopify import documents, facts, nodes
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.errors import ERRORS
from core.adapters.shopify.ids import gid
from core.adapters.shopify.reading import as_model
from core.ports import CatalogueExport, ChannelListing, ExportState

PAGE = 250
_ROWS_AT_ONCE = 5_000

_UNDER_WAY = ("CREATED", "RUNNING", "CANCELING")


class Exports:
    """Exports of one shop's catalogue."""

    def __init__(self, graphql: GraphQL, config: ConnectionConfig, deps: Deps) -> None:
        self._graphql = graphql
        self._config = config
        self._deps = deps

    def begin(self) -> CatalogueExport | None:
        """Start one; None when Shopify will not now. Raises Refused when it objects to the query itself.

        Starting takes no idempotency key: when no answer came, the one that was started is looked for.
        """
        try:
            # A mutation that changes nothing in the shop: it is how a whole catalogue is read.
            answer = self._graphql.run(
                "export", documents.EXPORT, {"query": documents.EXPORTED_VARIANTS}, "once", effect="nothing"
            )
        except OutcomeUnknown:
            return self._started()
        payload = answer.get("bulkOperationRunQuery") or {}
        errors = payload.get("userErrors") or []
        # It will not start one now, or not for this shop: the pages are still there.
        if any(ERRORS.of_objection(str(error.get("code"))).act == "wait" for error in errors):
            return None
        if errors or not payload.get("bulkOperation"):
            code = str(errors[0].get("code") if errors else "NONE")
            reason = "; ".join(str(error.get("message")) for error in errors) or "no operation"
            raise Refused("export", 200, code, ERRORS.of_objection(code).say(reason))
        return _export(payload["bulkOperation"])

    def read(self, ref: str) -> CatalogueExport | None:
        """How far it is; None for one that Shopify does not know (any more)."""
        found = self._graphql.run("export_state", documents.EXPORT_STATE, {"id": gid("BulkOperation", ref)})
        return _export(found["bulkOperation"]) if found.get("bulkOperation") else None

    def listings(self, export: CatalogueExport) -> Iterator[Sequence[ChannelListing]]:
        """What a written export lists, a page at a time, with every level. Raises what fetching a file raises."""
        if export.address is None:
            return
        with tempfile.TemporaryDirectory(prefix="switchyard-export-") as folder:
            with (Path(folder) / "result.jsonl").open("w+b") as file:
                downloads.fetch(self._config, self._deps, "export_result", export.address, file)
                database = _shelved(Path(folder) / "lines.db", downloads.lines(file))
            try:
                for page in _pages(database):
                    yield [facts.listing_of_node(variant, export.began_at) for variant in page]
            finally:
                database.close()

    def _started(self) -> CatalogueExport | None:
        """The youngest one under way that asks what we ask, whoever of us started it."""
        found = self._graphql.run("exports", documents.EXPORTS, {})["bulkOperations"]["nodes"]
        ours = documents.EXPORTED_VARIANTS.split()
        of_ours = (node for node in found if node["query"].split() == ours)
        return next((_export(node) for node in of_ours if node["status"] in ("CREATED", "RUNNING")), None)


def _export(node: dict[str, Any]) -> CatalogueExport:
    operation = as_model(nodes.BulkOperation, node, "export_state")
    state: ExportState = "lost"
    address = operation.url
    if operation.status in _UNDER_WAY:
        state = "running"
    elif operation.status == "COMPLETED":
        # No address: nothing was found.
        state = "written"
    elif operation.partial_data_url:
        state, address = "partly_written", operation.partial_data_url
    problem = None if state in ("running", "written") else f"{operation.status} {operation.error_code or ''}".strip()
    return CatalogueExport(operation.id, state, operation.created_at, operation.object_count or 0, address, problem)


def _shelved(path: Path, lines: Iterator[bytes]) -> sqlite3.Connection:
    """The lines by the id of their parent. Raises ServerFault for a line that cannot be read."""
    # A generator is continued by whoever asks for its next page, in whichever thread that is.
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("pragma journal_mode = off")
    database.execute("create table line (number integer primary key, parent text, body blob)")
    database.execute("begin")
    rows: list[tuple[str | None, bytes]] = []
    for line in lines:
        rows.append((_parent(line), line))
        if len(rows) >= _ROWS_AT_ONCE:
            database.executemany("insert into line (parent, body) values (?, ?)", rows)
            rows = []
    database.executemany("insert into line (parent, body) values (?, ?)", rows)
    database.execute("commit")
    database.execute("create index line_parent on line (parent, number)")
    return database


def _parent(line: bytes) -> str | None:
    node = _object(line)
    parent = node.get("__parentId")
    return None if parent is None else str(parent)


def _object(line: bytes) -> dict[str, Any]:
    try:
        node = json.loads(line)
    except (ValueError, RecursionError):
        node = None
    if not isinstance(node, dict):
        raise ServerFault("export_result", "a line of the file cannot be read")
    return node


def _pages(database: sqlite3.Connection) -> Iterator[list[nodes.Variant]]:
    last = 0
    while True:
        found = database.execute(
            "select number, body from line where parent is null and number > ? order by number limit ?", (last, PAGE)
        ).fetchall()
        if not found:
            return
        last = found[-1][0]
        yield [_variant(database, _object(body)) for _, body in found]


def _variant(database: sqlite3.Connection, node: dict[str, Any]) -> nodes.Variant:
    """A variant with its levels, whose parent is the variant or its item: Shopify's documents show no such case."""
    item = node.get("inventoryItem") or {}
    parents = [str(ref) for ref in (node.get("id"), item.get("id")) if ref]
    levels = database.execute(
        f"select body from line where parent in ({', '.join('?' * len(parents))}) order by number", parents
    ).fetchall()
    node["inventoryItem"] = {**item, "inventoryLevels": {"nodes": [_object(body) for (body,) in levels]}}
    return as_model(nodes.Variant, node, "export_result")
