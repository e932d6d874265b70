"""The vendor's own client judges the sandbox: klaviyo-api as it is, with the address of a sandbox for the vendor's.

The client checks what it sends and what it is answered against models that were made of the vendor's document.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from klaviyo_api import KlaviyoAPI
from openapi_client.exceptions import ApiException, NotFoundException, UnauthorizedException

from tests.sandbox.klaviyo_side import change, compound, new_category, new_item, new_variant, ref
from tests.sandbox.outside import Outside, wait_for
from tests.sandbox.test_fake_klaviyo_people import bulk, event, profile

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """Jobs of seconds are over in moments, and can be read for minutes."""
    running = Outside(tmp_path_factory.mktemp("client"), "--clock-factor", "200").start()
    yield running
    running.stop()


@pytest.fixture
def account(hurried: Outside) -> dict[str, Any]:
    opened: dict[str, Any] = hurried.post("/klaviyo", name=f"Client {next(_numbers)}")
    return opened


@pytest.fixture
def client(hurried: Outside, account: dict[str, Any]) -> KlaviyoAPI:
    return KlaviyoAPI(account["private_key"], max_retries=0, test_host=f"{hurried.url}/klaviyo")


def job(kind: str, verb: str, *entries: Any) -> dict[str, Any]:
    plural = {"item": "items", "variant": "variants", "category": "categories"}[kind]
    return {"data": {"type": f"catalog-{kind}-bulk-{verb}-job", "attributes": {plural: {"data": list(entries)}}}}


def ended(read: Any, started: Any) -> Any:
    """The attributes of a job when it is over."""

    def over() -> Any:
        attributes = read(started.data.id).data.attributes
        return attributes if attributes.status in ("complete", "cancelled") else None

    return wait_for(over)


def test_the_client_tells_whose_key_it_has(client: KlaviyoAPI, account: dict[str, Any], hurried: Outside) -> None:
    (found,) = client.Accounts.get_accounts().data
    assert found.attributes.public_api_key == account["public_key"]
    stranger = KlaviyoAPI("pk_nobody", max_retries=0, test_host=f"{hurried.url}/klaviyo")
    with pytest.raises(UnauthorizedException):
        stranger.Catalogs.get_catalog_items()


def test_the_client_keeps_a_catalogue_by_jobs(client: KlaviyoAPI) -> None:
    api = client.Catalogs
    made = api.bulk_create_catalog_categories(job("category", "create", new_category("x")))
    assert ended(api.get_bulk_create_categories_job, made).completed_count == 1
    made = api.bulk_create_catalog_items(job("item", "create", new_item("a", "x", price=4.5), new_item("b")))
    assert ended(api.get_bulk_create_catalog_items_job, made).completed_count == 2
    made = api.bulk_create_catalog_variants(job("variant", "create", new_variant("v", "a"), new_variant("w", "z")))
    result = ended(api.get_bulk_create_variants_job, made)
    assert (result.completed_count, result.failed_count) == (1, 1)
    pointer = "/data/attributes/variants/data/1/relationships/item/data/id"
    assert [error.source.pointer for error in result.errors] == [pointer]
    made = api.bulk_update_catalog_items(job("item", "update", change("item", "a", title="New")))
    ended(api.get_bulk_update_catalog_items_job, made)
    made = api.bulk_delete_catalog_items(job("item", "delete", ref("item", "b")))
    ended(api.get_bulk_delete_catalog_items_job, made)
    # What is included, or shown in part, the client leaves as it came.
    page = api.get_catalog_items(include=["variants"], fields_catalog_item=["title"], page_size=10)
    assert [entry["attributes"] for entry in page["data"]] == [{"title": "New"}]
    assert [entry["attributes"]["sku"] for entry in page["included"]] == ["V"]
    (linked,) = api.get_category_ids_for_catalog_item(compound("a")).data
    assert linked.id == compound("x")


def test_the_client_keeps_a_catalogue_one_by_one(client: KlaviyoAPI) -> None:
    api, name = client.Catalogs, "a/1 ü"
    assert api.create_catalog_item({"data": new_item(name)}).data.id == compound(name)
    with pytest.raises(ApiException, match="409"):
        api.create_catalog_item({"data": new_item(name)})
    changed = api.update_catalog_item(compound(name), {"data": change("item", name, title="New")})
    assert changed.data.attributes.title == "New"
    api.create_catalog_category({"data": new_category("x")})
    api.add_categories_to_catalog_item(compound(name), {"data": [ref("category", "x")]})
    assert [entry.id for entry in api.get_items_for_catalog_category(compound("x")).data] == [compound(name)]
    api.delete_catalog_item(compound(name))
    with pytest.raises(NotFoundException):
        api.get_catalog_item(compound(name))


def test_the_client_walks_through_pages(client: KlaviyoAPI) -> None:
    api = client.Catalogs
    made = api.bulk_create_catalog_items(job("item", "create", *[new_item(str(number)) for number in range(5)]))
    ended(api.get_bulk_create_catalog_items_job, made)
    page = api.get_catalog_items(page_size=2)
    seen = [entry.id for entry in page.data]
    while page.links.next:
        # The client cuts the cursor out of an address by itself, if that is one of the vendor's.
        page = api.get_catalog_items(page_size=2, page_cursor=page.links.next.replace("http://", "https://"))
        seen += [entry.id for entry in page.data]
    assert seen == [compound(str(number)) for number in range(5)]


def test_the_client_sends_events_and_reads_them(client: KlaviyoAPI) -> None:
    client.Events.create_event({"data": event(unique_id="1", value=2.5)})
    client.Events.bulk_create_events(bulk((profile(email="c@d.test"), [event(unique_id="2")])))
    found = wait_for(lambda: page if len((page := client.Events.get_events(include=["metric"])).data) == 2 else None)
    assert found.included[0]["attributes"]["name"] == "Order Shipped"
    person = client.Profiles.get_profiles(filter='equals(email,"c@d.test")').data[0]
    updated = client.Profiles.create_or_update_profile({"data": profile(email="c@d.test", first_name="Ann")})
    assert updated.data.id == person.id


def test_the_client_waits_when_it_is_told_to(
    client: KlaviyoAPI, hurried: Outside, account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    hurried.faults(kind="http_429", match="catalog-variants", count=1)
    patient = KlaviyoAPI(account["private_key"], max_retries=3, test_host=f"{hurried.url}/klaviyo")
    assert patient.Catalogs.get_catalog_variants().data == []
    assert slept == [2]
