"""Documents by signed links: once, whole or not at all, for nobody without the link, and never in memory."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import socket
import string
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.testclient import TestClient

from api import documents
from core import bootstrap
from core.clock import utc_now
from core.connections.operations import new_key
from core.db import read_only, unit_of_work
from core.documents import DocumentStore, Link, StoreFull
from core.files import operations, queries
from core.files.operations import Announced
from core.files.queries import Document
from tests.api.conftest import NOW, Serve, Served, Shop

CSV = b"sku,title\nMUG,Mug\n"
ORIGIN = "http://127.0.0.1:8500"


@dataclass(frozen=True)
class Desk:
    """Announces documents of the shop and looks at what became of them."""

    shop: Shop
    store: DocumentStore
    folder: Path

    def announce(self, bytes_max: int = 1_000, now: datetime = NOW, name: str = "prices.csv") -> Announced:
        with unit_of_work(self.shop.engine) as conn:
            return operations.announce(
                conn, self.store, self.shop.shop_id, "catalogue_import", name, "text/csv", bytes_max, "ada", now
            )

    def document(self, announced: Announced) -> Document:
        with read_only(self.shop.engine) as conn:
            found = queries.document(conn, self.shop.shop_id, announced.document_id)
        assert found is not None
        return found

    def download(self, announced: Announced, now: datetime = NOW) -> Link:
        with read_only(self.shop.engine) as conn:
            return operations.download_link(conn, self.store, self.shop.shop_id, announced.document_id, now)

    def files(self) -> dict[str, int]:
        """What lies in the folder, by path, with its size."""
        found = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.stat().st_size for path in found}


@pytest.fixture
def desk(shop: Shop) -> Desk:
    application = bootstrap.make_application(shop.settings)
    return Desk(shop, application.documents, shop.settings.documents_dir)


def path_of(link: Link) -> str:
    return urlsplit(link.url).path


def put(api: TestClient, link: Link, content: bytes = CSV, **headers: str) -> httpx.Response:
    return api.put(path_of(link), content=content, headers={**link.headers, **headers})


def test_a_file_goes_in_once_and_comes_out_under_its_name(api: TestClient, desk: Desk) -> None:
    announced = desk.announce(name='préis \r\n"x"; filename=evil.html.csv')
    answer = put(api, announced.link)
    assert (answer.status_code, answer.json()) == (
        201,
        {"bytes": len(CSV), "sha256": hashlib.sha256(CSV).hexdigest(), "state": "stored"},
    )
    stored = desk.document(announced)
    assert (stored.state, stored.bytes, stored.sha256, stored.stored_at, stored.expires_at) == (
        "stored",
        len(CSV),
        hashlib.sha256(CSV).hexdigest(),
        NOW,
        NOW + timedelta(days=30),
    )
    assert desk.files() == {announced.key: len(CSV)}
    fetched = api.get(path_of(desk.download(announced)))
    assert (fetched.status_code, fetched.content) == (200, CSV)
    assert fetched.headers["x-content-type-options"] == "nosniff"
    assert fetched.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert fetched.headers["content-type"].startswith("text/csv")
    said = fetched.headers["content-disposition"]
    assert said == "attachment; filename*=utf-8''pr%C3%A9is%20%22x%22%3B%20filename%3Devil.html.csv"

    again = put(api, announced.link, b"sku,title\nCUP,Cup\n")
    assert (again.status_code, "good for one" in again.json()["error"]) == (409, True)
    assert api.get(path_of(desk.download(announced))).content == CSV


def test_parts_are_given_and_heads(api: TestClient, desk: Desk) -> None:
    announced = desk.announce()
    put(api, announced.link)
    path = path_of(desk.download(announced))
    part = api.get(path, headers={"Range": "bytes=4-8"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, CSV[4:9], f"bytes 4-8/{len(CSV)}")
    assert api.get(path, headers={"Range": "bytes=99-"}).status_code == 416
    head = api.head(path)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(CSV)))


def test_a_link_is_for_one_act_and_until_its_time(serve: Serve, desk: Desk) -> None:
    announced = desk.announce()
    here = serve()
    assert here.get(path_of(announced.link)).status_code == 403
    assert desk.document(announced).state == "awaiting"
    late = serve(clock=lambda: NOW + operations.LINK_LIVES)
    answer = put(late, announced.link)
    assert (answer.status_code, answer.json()) == (410, {"error": "this link has expired: ask for a new one"})
    assert put(here, announced.link).status_code == 201
    link = desk.download(announced)
    assert here.put(path_of(link), content=CSV, headers={"Content-Type": "text/csv"}).status_code == 403
    later = serve(clock=lambda: NOW + operations.DOWNLOAD_LIVES)
    assert (late.get(path_of(link)).status_code, later.get(path_of(link)).status_code) == (200, 410)
    assert (here.post(path_of(link)).status_code, here.delete(path_of(link)).status_code) == (405, 405)
    assert [here.get(path).status_code for path in ("/documents/", "/documents", "/documents/..%2f..")] == [
        404,
        404,
        404,
    ]


def test_what_was_forgotten_is_gone_for_every_link(api: TestClient, desk: Desk) -> None:
    announced, awaited = desk.announce(), desk.announce()
    put(api, announced.link)
    link = desk.download(announced)
    with unit_of_work(desk.shop.engine) as conn:
        for each in (announced, awaited):
            assert operations.forget(conn, desk.store, desk.shop.shop_id, each.document_id)
    gone = api.get(path_of(link))
    assert (gone.status_code, "it was deleted" in gone.json()["error"]) == (410, True)
    assert [put(api, each.link).status_code for each in (announced, awaited)] == [410, 410]
    assert desk.files() == {}


def test_more_than_was_announced_and_another_type_are_refused_and_leave_nothing(api: TestClient, desk: Desk) -> None:
    announced = desk.announce(bytes_max=10)

    def pieces() -> Iterator[bytes]:
        yield b"12345"
        yield b"67890x"

    declared = put(api, announced.link, b"12345678901")
    streamed = api.put(path_of(announced.link), content=pieces(), headers=announced.link.headers)
    assert [each.status_code for each in (declared, streamed)] == [413, 413]
    assert declared.json() == {"error": "a file here may have 10 bytes at most: choose a smaller one, or split it"}
    other = put(api, announced.link, b"1", **{"Content-Type": "text/html"})
    assert (other.status_code, "text/csv" in other.json()["error"]) == (415, True)
    assert desk.files() == {}
    # None of that used the link up; and it is for as many bytes as were announced, and for none.
    assert put(api, announced.link, b"1234567890", **{"Content-Type": "Text/CSV; charset=utf-8"}).status_code == 201
    assert put(api, desk.announce().link, b"").json()["bytes"] == 0


def test_only_pages_of_the_dashboard_may_upload_from_a_browser(serve: Serve, desk: Desk) -> None:
    api = serve(dashboard_url=f"{ORIGIN}/")
    announced = desk.announce()
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    allowed = api.options(path_of(announced.link), headers={"Origin": ORIGIN, **asked})
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert allowed.headers["access-control-allow-methods"] == "PUT"
    assert allowed.headers["access-control-allow-headers"] == "content-type"
    for origin in ("http://127.0.0.1:8501", "http://localhost:8500", "https://127.0.0.1:8500", "null", ORIGIN + "/"):
        refused = api.options(path_of(announced.link), headers={"Origin": origin, **asked})
        assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, False)
        assert "access-control-allow-origin" not in put(api, announced.link, b"x" * 2_000, Origin=origin).headers
    # Errors have to be readable by the page as well.
    for answer in (put(api, announced.link, Origin=ORIGIN), put(api, announced.link, Origin=ORIGIN)):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.status_code == 409


@pytest.fixture(scope="module")
def letters() -> str:
    return string.ascii_letters + string.digits + "-_.=%"


def test_a_link_that_was_tampered_with_opens_nothing(api: TestClient, desk: Desk, letters: str) -> None:
    announced, other = desk.announce(), desk.announce()
    stranger = bootstrap.make_application(replace(desk.shop.settings, secret_keys=(new_key(),)))
    put(api, announced.link)
    genuine = path_of(desk.download(announced)).rpartition("/")[2]
    foreign = stranger.documents.download_link(announced.key, "x", "text/csv", NOW + timedelta(days=1))
    parts = [part for link in (other.link, foreign) for part in path_of(link).rpartition("/")[2].split(".")]

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def tampered(data: st.DataObject) -> None:
        said, signature = genuine.split(".")
        way = data.draw(st.sampled_from(("letter", "cut", "add", "mix", "any")))
        place = data.draw(st.integers(0, len(genuine) - 1))
        if way == "letter":
            token = genuine[:place] + data.draw(st.sampled_from(letters)) + genuine[place + 1 :]
        elif way == "cut":
            token = genuine[:place]
        elif way == "add":
            token = genuine + data.draw(st.text(letters, min_size=1, max_size=5))
        elif way == "mix":
            token = f"{data.draw(st.sampled_from([said, *parts]))}.{data.draw(st.sampled_from([signature, *parts]))}"
        else:
            token = data.draw(st.text(min_size=1, max_size=60).filter(lambda text: "/" not in text))
        if token == genuine:
            return
        with pytest.raises(operations.documents.BadLink):
            desk.store.claim(token, "GET", NOW)  # type: ignore[attr-defined]

    tampered()
    for token in ("x", "." * 50, "a" * 5_000, genuine + "=", foreign.url.rpartition("/")[2]):
        answer = api.get(f"/documents/{token}")
        assert answer.status_code == 403
        assert answer.json() == {"error": "this link is not one of ours, or not for this: ask for a new one"}


def test_a_link_outlives_the_turn_of_keys_and_not_the_key_that_made_it(serve: Serve, desk: Desk) -> None:
    announced = desk.announce()
    (old,), new = desk.shop.settings.secret_keys, new_key()

    def with_keys(*keys: str) -> TestClient:
        return serve(documents=bootstrap.make_application(replace(desk.shop.settings, secret_keys=keys)).documents)

    assert put(with_keys(new), announced.link).status_code == 403
    assert put(with_keys(new, old), announced.link).status_code == 201
    unset = put(with_keys(), announced.link)
    assert (unset.status_code, unset.headers["retry-after"]) == (503, "5")
    assert "KEYS" not in unset.text


def test_a_full_disk_and_a_database_that_is_away_are_said_and_leave_nothing(
    serve: Serve, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = desk.announce()
    api = serve()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device", "a folder of ours")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        answer = put(api, announced.link)
    assert (answer.status_code, answer.json()) == (507, {"error": str(StoreFull())})
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        assert put(api, announced.link).status_code == 507
    assert (desk.files(), desk.document(announced).state) == ({}, "awaiting")
    dead = bootstrap.make_application(
        replace(desk.shop.settings, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none")
    )
    away = put(serve(engine=dead.engine), announced.link)
    assert (away.status_code, away.json()) == (503, {"error": "documents cannot be reached at the moment"})
    assert put(api, announced.link).status_code == 201


def test_no_answer_and_no_line_repeats_a_link(
    serve: Serve, desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    announced = desk.announce()
    api = serve()
    monkeypatch.setattr(operations, "stored", lambda *_: 1 / 0)
    answer = put(api, announced.link)
    assert (answer.status_code, answer.json()) == (500, {"error": "an unforeseen error"})
    assert "PUT /documents/{token} failed" in caplog.text
    assert path_of(announced.link).rpartition("/")[2] not in caplog.text
    assert desk.files() == {}


def test_an_upload_that_falls_silent_is_ended_and_leaves_nothing(
    shop: Shop, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "SILENCE_SECONDS", 0.05)
    link = desk.announce().link
    said = iter([{"type": "http.request", "body": b"sku", "more_body": True}])

    async def receive() -> dict[str, object]:
        for message in said:
            return message
        return await asyncio.Event().wait()  # type: ignore[return-value]

    token = path_of(link).rpartition("/")[2]
    scope = {
        "type": "http",
        "method": "PUT",
        "headers": [(b"content-type", b"text/csv")],
        "path_params": {"token": token},
    }
    served = documents.Documents(shop.engine, desk.store, ORIGIN, lambda: NOW)  # type: ignore[arg-type]
    answer = asyncio.run(served.answer(Request(scope, receive)))
    assert (answer.status_code, b"in time" in bytes(answer.body)) == (408, True)
    assert desk.files() == {}


# --- a process of its own: what is streamed, and what is cut off ------------------------------------------------------


def upload(served: Served, link: Link) -> tuple[http.client.HTTPConnection, Callable[[bytes], None]]:
    """Begin an upload of 8 MB by hand; what is sent is in the caller's hand."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(served.url).port, timeout=30)
    connection.putrequest("PUT", path_of(link))
    connection.putheader("Content-Type", "text/csv")
    connection.putheader("Content-Length", str(8 << 20))
    connection.endheaders()
    return connection, connection.send


def until(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.02)


def test_an_upload_that_is_cut_off_leaves_nothing_and_does_not_use_the_link_up(served: Served, desk: Desk) -> None:
    announced = desk.announce(16 << 20, utc_now())
    connection, send = upload(served, announced.link)
    send(b"x" * (3 << 20))
    until(lambda: sum(desk.files().values()) >= 2 << 20)
    assert all(name.endswith(".part") for name in desk.files())
    assert connection.sock is not None
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    until(lambda: desk.files() == {})
    assert desk.document(announced).state == "awaiting"


def test_a_process_that_is_told_to_end_takes_along_what_it_had_begun(served: Served, desk: Desk) -> None:
    announced = desk.announce(16 << 20, utc_now())
    connection, send = upload(served, announced.link)
    send(b"x" * (3 << 20))
    until(lambda: sum(desk.files().values()) >= 2 << 20)
    served.process.terminate()
    served.process.wait(30)
    connection.close()
    assert desk.files() == {}
    assert desk.document(announced).state == "awaiting"


def test_an_upload_whose_process_is_killed_is_swept_and_nobody_sees_half_of_it(served: Served, desk: Desk) -> None:
    announced = desk.announce(16 << 20, utc_now())
    connection, send = upload(served, announced.link)
    send(b"x" * (3 << 20))
    until(lambda: sum(desk.files().values()) >= 2 << 20)
    served.process.kill()
    served.process.wait(10)
    connection.close()
    assert [name.endswith(".part") for name in desk.files()] == [True]
    assert desk.store.sweep(utc_now() - timedelta(hours=1)) == 0
    assert desk.store.sweep(utc_now() + timedelta(minutes=1)) == 1
    assert (desk.files(), desk.document(announced).state) == ({}, "awaiting")


def test_large_files_come_and_go_without_filling_memory_and_of_two_uploads_one_counts(
    served: Served, desk: Desk
) -> None:
    size = 96 << 20
    announced = desk.announce(size, utc_now())
    barrier = threading.Barrier(2)
    started = _peak_bytes(served.process.pid)

    def send(letter: bytes) -> int:
        def pieces() -> Iterator[bytes]:
            barrier.wait(30)
            for _ in range(size >> 20):
                yield letter * (1 << 20)

        url = served.url + path_of(announced.link)
        return httpx.put(url, content=pieces(), headers=announced.link.headers, timeout=60).status_code

    with ThreadPoolExecutor(2) as both:
        statuses = dict(zip(b"ab", both.map(send, (b"a", b"b")), strict=True))
    assert sorted(statuses.values()) == [201, 409]
    won = next(bytes([letter]) for letter, status in statuses.items() if status == 201)
    stored = desk.document(announced)
    assert (stored.bytes, desk.files()) == (size, {announced.key: size})
    digest = hashlib.sha256()
    with httpx.stream("GET", served.url + path_of(desk.download(announced, utc_now()))) as answer:
        for piece in answer.iter_bytes():
            assert piece.strip(won) == b""
            digest.update(piece)
    assert digest.hexdigest() == stored.sha256
    peak = _peak_bytes(served.process.pid)
    assert peak < started + size // 3, (peak, started)


def _peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
