"""Hold what both channels show of a shop against our stock.

    python -m tests.acceptance.compare_channels [--shop NAME] [--database-url URL] [--sandbox-url URL] [--json]

Every listing is read through the vendors' own APIs, by a client of its own; the control address is asked only for
credentials, and for a faster clock while it reads, because Amazon's quotas would make it a matter of minutes. Exit
status 1 when a number differs from what is available.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from tests.acceptance.reporting import Report
from workers.up import read_state

SHOP = "Online Retail"
CLOCK_FACTOR = 1000
AMAZON_AT_ONCE = 20
AGENT = "Acceptance/1.0 (Language=Python/3.11; Platform=Linux)"
SHOPIFY_VERSION = "2026-10"
VARIANTS = """query($after: String) {
  productVariants(first: 60, after: $after, sortKey: ID) {
    pageInfo { hasNextPage endCursor }
    nodes { sku inventoryItem { tracked inventoryLevels(first: 2) {
      pageInfo { hasNextPage } nodes { quantities(names: ["available"]) { quantity } } } } }
  }
}"""
Numbers = dict[str, int]


@contextmanager
def hurried(sandbox_url: str) -> Iterator[dict[str, Any]]:
    """The world's description, while its durations fly; the shoppers rest meanwhile, or they would fly too."""
    with httpx.Client(base_url=f"{sandbox_url}/_control", timeout=60) as control:
        world: dict[str, Any] = control.get("/world").raise_for_status().json()
        resting = [entry for entry in world["shoppers"] if entry["running"]]
        for entry in resting:
            control.post("/shoppers", json={**entry, "running": False}).raise_for_status()
        control.post("/clock", json={"factor": CLOCK_FACTOR}).raise_for_status()
        try:
            yield world
        finally:
            control.post("/clock", json={"factor": world["clock_factor"]}).raise_for_status()
            for entry in resting:
                control.post("/shoppers", json=entry).raise_for_status()


def shown_on_shopify(base_url: str, credentials: dict[str, Any]) -> Numbers:
    """Available units by SKU code, of what the shop counts."""
    shown: Counter[str] = Counter()
    with httpx.Client(base_url=base_url, timeout=60) as http:
        fields = {name: credentials[name] for name in ("client_id", "client_secret")}
        grant = http.post("/admin/oauth/access_token", data={**fields, "grant_type": "client_credentials"})
        http.headers["X-Shopify-Access-Token"] = grant.raise_for_status().json()["access_token"]
        after: str | None = None
        while True:
            page = _ask_shopify(http, after)["productVariants"]
            for variant in page["nodes"]:
                item = variant["inventoryItem"]
                assert not item["inventoryLevels"]["pageInfo"]["hasNextPage"], "more locations than are read"
                if item["tracked"]:
                    shown[variant["sku"]] += sum(
                        level["quantities"][0]["quantity"] for level in item["inventoryLevels"]["nodes"]
                    )
            if not page["pageInfo"]["hasNextPage"]:
                return dict(shown)
            after = page["pageInfo"]["endCursor"]


def _ask_shopify(http: httpx.Client, after: str | None) -> dict[str, Any]:
    """One page; a throttled question is asked again."""
    body = {"query": VARIANTS, "variables": {"after": after}}
    for _ in range(200):
        answer = http.post(f"/admin/api/{SHOPIFY_VERSION}/graphql.json", json=body)
        if answer.status_code != 429:
            found: dict[str, Any] = answer.raise_for_status().json()
            if "errors" not in found:
                return dict(found["data"])
            if found["errors"][0].get("extensions", {}).get("code") != "THROTTLED":
                raise AssertionError(f"Shopify refused: {found['errors']}")
        time.sleep(0.05)
    raise AssertionError("Shopify throttled without end")


def shown_on_amazon(base_url: str, credentials: dict[str, Any], codes: list[str]) -> tuple[Numbers, int]:
    """Units in force by seller SKU among `codes`, and how many listings the seller has in all.

    A search without identifiers ends after a thousand results, so it is only asked for its count.
    """
    shown: Numbers = {}
    with httpx.Client(base_url=base_url, timeout=60, headers={"user-agent": AGENT}) as http:
        fields = {name: credentials[name] for name in ("client_id", "client_secret", "refresh_token")}
        grant = http.post("/auth/o2/token", data={**fields, "grant_type": "refresh_token"})
        http.headers["x-amz-access-token"] = grant.raise_for_status().json()["access_token"]
        path = f"/listings/2021-08-01/items/{credentials['seller_id']}"
        common = {"marketplaceIds": credentials["marketplace_ids"][0], "includedData": "fulfillmentAvailability"}
        count = _ask_amazon(http, path, {**common, "pageSize": "1"})["numberOfResults"]
        for start in range(0, len(codes), AMAZON_AT_ONCE):
            part = ",".join(codes[start : start + AMAZON_AT_ONCE])
            named = {"identifiers": part, "identifiersType": "SKU", "pageSize": str(AMAZON_AT_ONCE)}
            for item in _ask_amazon(http, path, common | named)["items"]:
                shown[item["sku"]] = sum(entry["quantity"] for entry in item["fulfillmentAvailability"])
    return shown, count


def _ask_amazon(http: httpx.Client, path: str, params: dict[str, str]) -> dict[str, Any]:
    for _ in range(200):
        answer = http.get(path, params=params)
        if answer.status_code != 429:
            found: dict[str, Any] = answer.raise_for_status().json()
            return found
        time.sleep(0.05)
    raise AssertionError("Amazon throttled without end")


def compare(database_url: str, sandbox_url: str, shop: str = SHOP) -> Report:
    """Every number both channels show against what is available of its SKU."""
    with psycopg.connect(database_url.replace("+psycopg", "", 1), row_factory=dict_row) as conn:
        connections = {
            row["vendor"]: row
            for row in conn.execute(
                "select c.id, c.vendor, c.base_url, c.account_ref from connections c join shops s using (shop_id)"
                # What is only told the catalogue shows no numbers to buy.
                " where s.name = %s and c.guarantee_class <> 'T'",
                [shop],
            )
        }
        assert set(connections) == {"shopify", "amazon"}, f"{shop!r} is not connected to both channels"
        listed = _listed(conn, shop)
    with hurried(sandbox_url) as world:
        store = next(entry for entry in world["shops"] if entry["domain"] == connections["shopify"]["account_ref"])
        seller = next(entry for entry in world["sellers"] if entry["seller_id"] == connections["amazon"]["account_ref"])
        on_shopify = shown_on_shopify(connections["shopify"]["base_url"], store)
        on_amazon, count = shown_on_amazon(connections["amazon"]["base_url"], seller, sorted(listed["amazon"]))
    with psycopg.connect(database_url.replace("+psycopg", "", 1), row_factory=dict_row) as conn:
        available = _available(conn, shop)
    report = Report(numbers={"listings_on_shopify": len(on_shopify), "listings_on_amazon": len(on_amazon)})
    report.compare("amazon_listings", {"count": len(listed["amazon"])}, {"count": count})
    for name, shown in (("shopify", on_shopify), ("amazon", on_amazon)):
        # Zero and below are the same to a shopper.
        wanted = {code: max(0, available.get(code, 0)) for code in listed[name] | shown.keys()}
        report.compare(f"units_on_{name}", wanted, {code: max(0, units) for code, units in shown.items()})
        report.numbers[f"units_on_{name}"] = sum(shown.values())
    report.numbers["units_available"] = sum(max(0, units) for units in available.values())
    return report


def _listed(conn: psycopg.Connection[Any], shop: str) -> dict[str, set[str]]:
    """Codes of the counted listings we know, by vendor."""
    found: dict[str, set[str]] = {"shopify": set(), "amazon": set()}
    for row in conn.execute(
        "select c.vendor, l.channel_code as code from listings l"
        " join connections c on c.shop_id = l.shop_id and c.id = l.connection_id join shops s on s.shop_id = l.shop_id"
        " where s.name = %s and l.is_tracked",
        [shop],
    ):
        found[row["vendor"]].add(row["code"])
    return found


def _available(conn: psycopg.Connection[Any], shop: str) -> Numbers:
    rows = conn.execute(
        "select u.code, sum(k.available)::int8 as units from stock_levels k"
        " join skus u on u.shop_id = k.shop_id and u.id = k.sku_id join shops s on s.shop_id = k.shop_id"
        " where s.name = %s group by 1",
        [shop],
    )
    return {row["code"]: row["units"] for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shop", default=SHOP)
    parser.add_argument("--database-url")
    parser.add_argument("--sandbox-url")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    state = read_state(Path(os.environ.get("SWITCHYARD_HOME", ".switchyard")))
    if state is None and not (given.database_url and given.sandbox_url):
        raise SystemExit("Nothing runs on SWITCHYARD_HOME; give --database-url and --sandbox-url.")
    database_url = given.database_url or (state.database_url if state else "")
    sandbox_url = given.sandbox_url or (state.addresses["sandbox"] if state else "")
    report = compare(database_url, sandbox_url, given.shop)
    print(report.as_json() if given.json else report.as_text())
    sys.exit(0 if report.is_clean else 1)


if __name__ == "__main__":
    main()
