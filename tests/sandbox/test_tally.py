"""The sandbox counts who was called for what, and what became of it."""

from __future__ import annotations

import httpx
import pytest

from tests.sandbox.outside import Outside, wait_for


def counted(outside: Outside, account: str) -> dict[tuple[str, str], int]:
    rows = outside.get("/calls")["calls"]
    return {(row["operation"], row["status"]): row["count"] for row in rows if row["account"] == account}


def test_calls_are_counted_by_operation_and_by_what_became_of_them(outside: Outside) -> None:
    shop = outside.shop()
    for _ in range(2):
        shop.data("query Shop { shop { id } }")
    assert counted(outside, shop.domain) == {("POST access_token", "200"): 1, ("Shop", "200"): 2}
    outside.faults(kind="lost_reply", match=shop.domain, count=1)
    with pytest.raises(httpx.RemoteProtocolError):
        shop.send("query Shop { shop { id } }")
    shop.token = "shpat_wrong"
    shop.send("query Shop { shop { id } }")
    became = {("POST access_token", "200"): 1, ("Shop", "200"): 2, ("Shop", "lost"): 1, ("Shop", "401"): 1}
    # A lost one is counted when the caller has gone.
    assert wait_for(lambda: counted(outside, shop.domain) == became)
