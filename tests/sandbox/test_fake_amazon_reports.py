"""Reports: a large catalogue read in one go."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from tests.sandbox.amazon_files import REPORT_DOCUMENTS, REPORTS, Desk
from tests.sandbox.outside import Inside


def ask(desk: Desk, **more: Any) -> Any:
    wanted = {"reportType": "GET_MERCHANT_LISTINGS_ALL_DATA", "marketplaceIds": [desk.seller.marketplace]}
    return desk.http.post(REPORTS, json=wanted | more)


def test_a_catalogue_of_hundreds_is_one_packed_file(inside: Inside) -> None:
    own = [
        {"sku": f"S{number}", "quantity": number, "barcodes": [{"type": "ean", "value": f"{number:013d}"}]}
        for number in range(400)
    ]
    at_amazon = {"sku": "FBA a/b", "title": "A\tthing", "channel": "AMAZON_EU", "asin": "B000000001"}
    desk = Desk(inside, *own, at_amazon)
    report_id = ask(desk).json()["reportId"]
    seen = []
    while not seen or seen[-1]["processingStatus"] != "DONE":
        seen.append(desk.http.get(f"{REPORTS}/{report_id}").json())
        inside.clock.advance(0.5)
    assert list(dict.fromkeys(state["processingStatus"] for state in seen)) == ["IN_QUEUE", "IN_PROGRESS", "DONE"]
    text = desk.fetched(f"{REPORT_DOCUMENTS}/{seen[-1]['reportDocumentId']}").decode()
    rows = {row["seller-sku"]: row for row in csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)}
    assert len(rows) == 401
    mine, theirs = rows["S7"], rows["FBA a/b"]
    assert (mine["quantity"], mine["fulfillment-channel"], mine["status"]) == ("7", "DEFAULT", "Active")
    assert (mine["product-id"], mine["product-id-type"]) == ("0000000000007", "4")
    assert (rows["S0"]["quantity"], rows["S0"]["status"]) == ("0", "Inactive")
    assert (theirs["quantity"], theirs["fulfillment-channel"], theirs["item-name"]) == ("", "AMAZON_EU", "A thing")
    assert (theirs["asin1"], theirs["product-id"], theirs["product-id-type"]) == ("B000000001", "B000000001", "1")


def test_a_report_of_nothing_is_cancelled(inside: Inside) -> None:
    desk = Desk(inside)
    report_id = ask(desk).json()["reportId"]
    inside.clock.advance(120)
    found = desk.http.get(f"{REPORTS}/{report_id}").json()
    assert (found["processingStatus"], "reportDocumentId" in found) == ("CANCELLED", False)


@pytest.mark.breaks_contract("body")
def test_what_is_not_there_cannot_be_asked_for(inside: Inside) -> None:
    desk = Desk(inside, {"sku": "A"})
    assert ask(desk, reportType="GET_NOTHING").status_code == 400
    assert ask(desk, marketplaceIds=["ATVPDKIKX0DER"]).status_code == 400
    assert ask(desk, marketplaceIds=[]).status_code == 400
    assert desk.http.post(REPORTS, json=[]).status_code == 400
    stranger = ask(Desk(inside, {"sku": "A"})).json()["reportId"]
    assert desk.http.get(f"{REPORTS}/{stranger}").status_code == 404
    assert desk.http.get(f"{REPORTS}/x").status_code == 404
    assert desk.http.get(f"{REPORT_DOCUMENTS}/nothing").status_code == 404
