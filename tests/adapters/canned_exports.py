"""The bulk operations of a canned Shopify: what they come to is said beforehand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

BEGAN = "2026-11-20T10:00:00Z"
FILE = "https://storage.test/result.jsonl?signature=theirs"


@dataclass
class CannedExports:
    """`export_states` are told in turn, the last one again and again; `export_errors` are codes of a refused start."""

    export_states: list[str] = field(default_factory=lambda: ["RUNNING", "COMPLETED"])
    export_errors: list[str] = field(default_factory=list)
    export_began: str | None = None
    """None: when it was begun; one that nobody begun here is old."""
    export_address: str = FILE
    export_partial: bool = False
    export_is_empty: bool = False
    exports_begun: int = 0
    export_query: str = ""
    files_given: list[httpx.Request] = field(default_factory=list)
    file_mishaps: list[httpx.Response] = field(default_factory=list)

    _begun_at: str = BEGAN

    def _variant(self, item: str) -> dict[str, Any]:
        raise NotImplementedError

    def _items(self) -> list[str]:
        raise NotImplementedError

    def on_Export(self, v: dict[str, Any]) -> Any:
        if self.export_errors:
            errors = [{"code": code, "field": None, "message": f"no: {code}"} for code in self.export_errors]
            return {"bulkOperationRunQuery": {"bulkOperation": None, "userErrors": errors}}
        self.exports_begun += 1
        self._begun_at = datetime.now(UTC).isoformat()
        self.export_query = v["query"]
        return {"bulkOperationRunQuery": {"bulkOperation": self._export("CREATED"), "userErrors": []}}

    def on_ExportState(self, v: dict[str, Any]) -> Any:
        if not self.export_query:
            return {"bulkOperation": None}
        status = self.export_states.pop(0) if len(self.export_states) > 1 else self.export_states[0]
        return {"bulkOperation": self._export(status)}

    def on_Exports(self, v: dict[str, Any]) -> Any:
        other = {
            **self._export("RUNNING"),
            "id": "gid://shopify/BulkOperation/7",
            "query": "{ products { edges { node { id } } } }",
        }
        ours = {**self._export("RUNNING"), "query": "\n  ".join(self.export_query.split())}
        return {"bulkOperations": {"nodes": [other, *([ours] if self.export_query else [])]}}

    def _export(self, status: str) -> dict[str, Any]:
        return {
            "id": "gid://shopify/BulkOperation/42",
            "status": status,
            "errorCode": "TIMEOUT" if status == "FAILED" else None,
            "createdAt": self.export_began or self._begun_at,
            "objectCount": "20",
            "url": self.export_address if status == "COMPLETED" and not self.export_is_empty else None,
            "partialDataUrl": FILE if status == "FAILED" and self.export_partial else None,
        }

    def give_file(self, request: httpx.Request) -> httpx.Response:
        """All variants first and their levels after them, the last one's first: nobody promised another order."""
        self.files_given.append(request)
        if self.file_mishaps:
            return self.file_mishaps.pop(0)
        lines: list[dict[str, Any]] = []
        levels: list[dict[str, Any]] = []
        for item in self._items()[: 3 if self.export_partial else None]:
            node = self._variant(item)
            node["id"] = f"gid://shopify/ProductVariant/{node['legacyResourceId']}"
            shown = node["inventoryItem"].pop("inventoryLevels")["nodes"]
            node["inventoryItem"]["id"] = f"gid://shopify/InventoryItem/{item}"
            lines.append(node)
            ref = f"gid://shopify/InventoryLevel/1?inventory_item_id={item}"
            levels += [{"id": ref, **one, "__parentId": node["id"]} for one in shown]
        text = "\n".join(json.dumps(line) for line in [*lines, *reversed(levels)]) + "\n\n"
        return httpx.Response(200, text=text)
