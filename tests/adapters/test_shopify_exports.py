"""A whole catalogue as a bulk operation writes it down."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.adapters import downloads
from core.adapters.http import Refused, ServerFault
from core.adapters.shopify import documents
from core.ports import CatalogueExport, ChannelListing, SalesChannel
from tests.adapters.accounts import shopify_account
from tests.adapters.canned_exports import FILE
from tests.adapters.canned_shopify import CannedShop


def test_what_is_exported_is_what_pages_show() -> None:
    canned = CannedShop()
    channel = shopify_account(canned).channel()
    export = _written(channel)
    assert (export.ref, export.state, export.objects) == ("42", "written", 20)
    exported = _listings(channel, export)
    paged = [listing for page in channel.listings() for listing in page]
    # When a page was read refines a time within its second; an export was begun before it.
    assert [_timeless(listing) for listing in exported] == [_timeless(listing) for listing in paged]
    assert [listing.levels[0].units for listing in exported] == list(range(10, 20))
    assert canned.export_query == documents.EXPORTED_VARIANTS


def test_a_file_from_elsewhere_is_fetched_without_our_credentials() -> None:
    canned = CannedShop()
    account = shopify_account(canned)
    channel = account.channel()
    _listings(channel, _written(channel))
    (request,) = canned.files_given
    assert str(request.url) == FILE
    assert not [name for name in request.headers if "shopify" in name.lower() or name.lower() == "authorization"]
    (call,) = [call for call in account.log if call.operation == "export_result"]
    assert (call.method, call.status, call.outcome) == ("GET", 200, "ok")
    assert "signature" not in repr(account.log)


@pytest.mark.parametrize(
    "address",
    [
        "http://storage.test/x",
        "file:///etc/passwd",
        "ftp://shop.test/x",
        "https://me:it@storage.test/x",
        "http://127.0.0.1/x",
        "",
        "https://[",
        "https://storage.test:port/x",
        "https://storage.test/\x00x",
        "https://169.254.169.254/latest",
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://0x7f000001/x",
        "https://10.0.0.8/x",
        "https://192.168.1.1/x",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.8]/x",
    ],
)
def test_an_address_that_is_not_safe_is_not_followed(address: str) -> None:
    canned = CannedShop()
    channel = shopify_account(canned).channel()
    with pytest.raises(Refused, match="ADDRESS"):
        _listings(channel, replace(_written(channel), address=address))
    assert canned.files_given == []


def test_a_transfer_that_breaks_off_begins_again() -> None:
    canned = CannedShop()
    canned.file_mishaps = [httpx.Response(503), httpx.Response(200, stream=_Broken())]
    account = shopify_account(canned)
    channel = account.channel()
    assert len(_listings(channel, _written(channel))) == 10
    outcomes = [call.outcome for call in account.log if call.operation == "export_result"]
    assert outcomes == ["error", "error", "ok"]


def test_a_file_that_is_not_given_any_longer_is_refused() -> None:
    canned = CannedShop(file_mishaps=[httpx.Response(404)])
    channel = shopify_account(canned).channel()
    with pytest.raises(Refused, match="not given"):
        _listings(channel, _written(channel))


def test_a_file_beyond_all_measure_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "BYTES_MAX", 100)
    account = shopify_account(CannedShop())
    channel = account.channel()
    with pytest.raises(Refused, match="more than 100 bytes"):
        _listings(channel, _written(channel))
    assert [call.outcome for call in account.log if call.operation == "export_result"] == ["refused"]


def test_a_redirect_is_not_followed() -> None:
    elsewhere = httpx.Response(302, headers={"location": "http://169.254.169.254/"})
    canned = CannedShop(file_mishaps=[elsewhere])
    channel = shopify_account(canned).channel()
    with pytest.raises(Refused):
        _listings(channel, _written(channel))
    assert len(canned.files_given) == 1


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "gid://shopify/ProductVariant/1"}'])
def test_a_line_that_cannot_be_read_is_a_fault_and_leaves_nothing_behind(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    canned = CannedShop(file_mishaps=[httpx.Response(200, text=line)])
    channel = shopify_account(canned).channel()
    with pytest.raises(ServerFault):
        _listings(channel, _written(channel))
    assert os.listdir(tmp_path) == []


def test_a_reader_that_stops_early_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    channel = shopify_account(CannedShop()).channel()
    pages = channel.exported(_written(channel))
    next(pages)
    assert len(os.listdir(tmp_path)) == 1
    pages.close()  # type: ignore[attr-defined]
    assert os.listdir(tmp_path) == []


def test_pages_of_an_export_are_of_a_bounded_size() -> None:
    canned = CannedShop(levels={str(50_000 + n): n for n in range(601)})
    channel = shopify_account(canned).channel()
    assert [len(page) for page in channel.exported(_written(channel))] == [250, 250, 101]


@pytest.mark.parametrize("how", ["lost_reply", "fault_after_effect"])
def test_an_export_whose_start_was_not_answered_is_looked_for_and_not_started_twice(how: Any) -> None:
    canned = CannedShop()
    account = shopify_account(canned)
    account.network.plan(how, "bulkOperationRunQuery(")
    export = account.channel().begin_export()
    assert export is not None
    assert (export.ref, export.state) == ("42", "running")
    assert canned.exports_begun == 1


def test_a_query_that_is_objected_to_is_refused_with_everything_that_is_said() -> None:
    canned = CannedShop(export_errors=["INVALID", "INVALID"])
    with pytest.raises(Refused, match="no: INVALID; no: INVALID"):
        shopify_account(canned).channel().begin_export()


class _Broken(httpx.SyncByteStream):
    def __iter__(self) -> Any:
        yield b'{"id": '
        raise httpx.ReadError("gone")


def _written(channel: SalesChannel) -> CatalogueExport:
    export = channel.begin_export()
    assert export is not None
    assert (export.state, export.address) == ("running", None)
    found = export
    for _ in range(2):
        read = channel.export(found.ref)
        assert read is not None
        found = read
    return found


def _listings(channel: SalesChannel, export: CatalogueExport) -> list[ChannelListing]:
    return [listing for page in channel.exported(export) for listing in page]


def _timeless(listing: ChannelListing) -> ChannelListing:
    levels = tuple(replace(level, observed_at=level.observed_at.replace(microsecond=0)) for level in listing.levels)
    return replace(listing, version_at=listing.version_at.replace(microsecond=0), levels=levels)
