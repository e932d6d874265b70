"""The HTTP side of Reports 2021-06-30, as far as one report type needs it."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clock import utc_at
from sandbox.store import Row
from sandbox.vendors.amazon.documents import Documents
from sandbox.vendors.amazon.feeds_api import check_marketplaces_of
from sandbox.vendors.amazon.gate import Denied, Gate, answer, bad, body_of
from sandbox.vendors.amazon.reports import ALL_LISTINGS, Reports


class ReportsApi:
    def __init__(self, gate: Gate, reports: Reports, documents: Documents) -> None:
        self._gate = gate
        self._reports = reports
        self._documents = documents

    def routes(self) -> list[Route]:
        route, base = self._gate.route, "/reports/2021-06-30"
        return [
            route("createReport", "POST", f"{base}/reports", self.create),
            route("getReport", "GET", f"{base}/reports/{{report_id}}", self.get),
            route("getReportDocument", "GET", f"{base}/documents/{{document_id}}", self.get_document),
        ]

    async def create(self, request: Request, seller: Row) -> Response:
        body = await body_of(request)
        if not isinstance(body, dict):
            raise bad("The request body must be a JSON object.")
        if body.get("reportType") != ALL_LISTINGS:
            raise bad(f"Invalid 'reportType' provided: {body.get('reportType')!r}.")
        number = self._reports.create(seller, ALL_LISTINGS, check_marketplaces_of(body, seller))
        return answer({"reportId": str(number)}, 202)

    async def get(self, request: Request, seller: Row) -> Response:
        text = request.path_params["report_id"]
        is_number = text.isascii() and text.isdigit() and len(text) < 19
        report = self._reports.find(seller, int(text)) if is_number else None
        if report is None:
            raise Denied(404, "NotFound", f"The report {text} was not found.")
        return answer(_report(report))

    async def get_document(self, request: Request, seller: Row) -> Response:
        document = self._documents.find(seller, request.path_params["document_id"])
        if document is None:
            raise Denied(404, "NotFound", "The report document was not found.")
        said = {"reportDocumentId": document["id"], "url": self._documents.download_url(request, document)}
        return answer(said | ({"compressionAlgorithm": "GZIP"} if document["gzip"] else {}))


def _report(row: Row) -> dict[str, Any]:
    said = {
        "reportId": str(row["id"]),
        "reportType": row["report_type"],
        "marketplaceIds": orjson.loads(row["marketplaces"]),
        "createdTime": utc_at(row["created_at"]),
        "dataStartTime": utc_at(row["created_at"]),
        "dataEndTime": utc_at(row["created_at"]),
        "processingStatus": row["status"],
    }
    times = {"processingStartTime": row["started_at"], "processingEndTime": row["ended_at"]}
    said |= {name: utc_at(moment) for name, moment in times.items() if moment is not None}
    return said | ({"reportDocumentId": row["document_id"]} if row["document_id"] else {})
