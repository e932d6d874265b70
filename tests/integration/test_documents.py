"""What is known of documents: announced, stored once, kept for their time, then gone with their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from core import bootstrap, embedded
from core.adapters.storage import LocalFolder
from core.config import Settings
from core.connections.operations import new_key
from core.db import execute, fetch, scalar, unit_of_work
from core.documents import NoDocument, TooLarge
from core.errors import BadInput
from core.files import operations, queries
from core.files.operations import Announced, UploadOver
from tests.factories import NOW, make_shop
from workers.jobs import housekeeping

DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "documents", "http://127.0.0.1:1", (new_key(),))


@pytest.fixture
def shop(conn: Connection) -> int:
    return make_shop(conn)


def announce(conn: Connection, store: LocalFolder, shop: int, **changes: Any) -> Announced:
    given = {"kind": "catalogue_import", "file_name": "a.csv", "content_type": "text/csv", "bytes_max": 100}
    return operations.announce(conn, store, shop, **{**given, "created_by": "ada", "now": NOW, **changes})


def hand_in(conn: Connection, store: LocalFolder, shop: int, content: bytes = b"abc", **changes: Any) -> Announced:
    """As the API does it."""
    announced = announce(conn, store, shop, **changes)
    operations.stored(conn, announced.key, store.put(announced.key, [content], 100), NOW)
    return announced


def test_a_document_is_announced_under_a_key_of_ours_and_a_name_that_can_be_shown(
    conn: Connection, store: LocalFolder, shop: int
) -> None:
    announced = announce(
        conn, store, shop, file_name="..\\up/../\u202e\x00Preise 2024.csv ", content_type="TEXT/CSV; charset=x"
    )
    found = queries.document(conn, shop, announced.document_id)
    assert found is not None
    assert (found.file_name, found.content_type, found.state) == ("Preise 2024.csv", "text/csv", "awaiting")
    assert found.key.startswith(f"{shop}/catalogue_import/")
    assert announced.link.expires_at == found.expires_at == NOW + operations.LINK_LIVES
    assert (announced.link.method, announced.link.headers) == ("PUT", {"Content-Type": "text/csv"})
    assert announced.link.url not in repr(announced)
    assert queries.document(conn, shop + 1, announced.document_id) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "../etc"}, "is no kind of document"),
        ({"bytes_max": 0}, "1 to 5,000,000,000 bytes"),
        ({"bytes_max": 10**10}, "1 to 5,000,000,000 bytes"),
        ({"keep_days": 0}, "for 1 to 3,650 days"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    conn: Connection, store: LocalFolder, shop: int, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        announce(conn, store, shop, **changes)


def test_it_is_stored_once_and_kept_from_then_on(conn: Connection, store: LocalFolder, shop: int) -> None:
    announced = announce(conn, store, shop, keep_days=7)
    with pytest.raises(NoDocument):
        operations.readable(conn, shop, announced.document_id, NOW)
    with pytest.raises(TooLarge):
        store.put(announced.key, [b"x" * 60, b"x" * 60], 100)
    stat = store.put(announced.key, [b"x" * 60, b"y" * 40], 100)
    assert operations.stored(conn, announced.key, stat, NOW).state == "stored"
    with pytest.raises(UploadOver, match="good for one"):
        operations.stored(conn, announced.key, stat, NOW)
    found = operations.readable(conn, shop, announced.document_id, NOW + 7 * DAY - timedelta(seconds=1))
    assert (found.bytes, found.sha256, found.expires_at) == (100, store.stat(found.key).sha256, NOW + 7 * DAY)
    with store.open(found.key) as file:
        file.seek(59)
        assert file.read(2) == b"xy"
    soon = found.expires_at - timedelta(seconds=10)
    assert operations.download_link(conn, store, shop, found.id, soon).expires_at == found.expires_at
    for day in (7, 8):
        with pytest.raises(NoDocument):
            operations.download_link(conn, store, shop, found.id, NOW + day * DAY)


def test_forgotten_its_bytes_are_gone_and_its_row_says_what_it_was(
    conn: Connection, store: LocalFolder, shop: int
) -> None:
    announced = hand_in(conn, store, shop)
    assert operations.forget(conn, store, shop, announced.document_id)
    assert not operations.forget(conn, store, shop, announced.document_id)
    assert not operations.forget(conn, store, shop + 1, announced.document_id)
    with pytest.raises(NoDocument), store.open(announced.key):
        pass
    found = queries.document(conn, shop, announced.document_id)
    assert found is not None
    assert (found.state, found.bytes, found.stored_at) == ("deleted", 3, NOW)
    with pytest.raises(UploadOver, match="nobody waits"):
        operations.stored(conn, announced.key, store.put(announced.key, [b"abc"], 100), NOW)


def test_what_is_over_goes_in_turns_and_what_may_still_be_coming_in_stays(
    conn: Connection, store: LocalFolder, shop: int
) -> None:
    kept = hand_in(conn, store, shop, keep_days=40)
    over = [hand_in(conn, store, shop, keep_days=days) for days in (3, 2, 1)]
    never = announce(conn, store, shop)
    # Its bytes came, and then nobody could say so: they go with it.
    store.put(never.key, [b"abc"], 100)
    assert operations.forget_over(conn, store, NOW + operations.LINK_LIVES + queries.UPLOAD_MAX, 10) == 0
    later = NOW + 10 * DAY
    coming = announce(conn, store, shop, now=later - operations.LINK_LIVES - queries.UPLOAD_MAX)
    assert [operations.forget_over(conn, store, later, 2) for _ in range(4)] == [2, 2, 0, 0]
    rows = fetch(conn, "select document_id, state from document_list where shop_id = %(shop)s order by 1", shop=shop)
    assert [(row["document_id"], row["state"]) for row in rows] == [
        # By the clock of the view everything of these tests is long over.
        (kept.document_id, "deleted"),
        *((each.document_id, "deleted") for each in over),
        (coming.document_id, "awaiting"),
    ]
    assert store.delete(kept.key)
    assert not any(store.delete(each.key) for each in (*over, never))


@pytest.mark.parametrize(
    "act",
    [
        "update documents set file_name = 'other.csv'",
        "update documents set bytes_max = 1000",
        "update documents set created_by = 'eve'",
        "update documents set bytes = 1",
        "update documents set sha256 = repeat('0', 64)",
        "update documents set state = 'awaiting', bytes = null, sha256 = null, stored_at = null",
        "delete from documents",
        "truncate documents",
    ],
)
def test_what_is_on_record_is_not_changed_past_us(conn: Connection, store: LocalFolder, shop: int, act: str) -> None:
    hand_in(conn, store, shop)
    with pytest.raises(DBAPIError), conn.begin_nested():
        execute(conn, act)
    execute(conn, "update documents set state = 'deleted'")
    with pytest.raises(DBAPIError), conn.begin_nested():
        execute(conn, "update documents set state = 'stored'")


def test_a_key_is_of_its_shop_and_kind(conn: Connection, store: LocalFolder, shop: int) -> None:
    for key in (f"{shop + 1}/catalogue_import/{'0' * 32}", f"{shop}/other/{'0' * 32}", "../../etc/passwd"):
        with pytest.raises(DBAPIError, match="ck_documents_key"), conn.begin_nested():
            execute(
                conn,
                """
                insert into documents (shop_id, kind, key, file_name, content_type, bytes_max, keep_days, created_by,
                    created_at, expires_at)
                values (%(shop)s, 'catalogue_import', %(key)s, 'a', 'a/b', 1, 1, 'ada', now(), now())
                """,
                shop=shop,
                key=key,
            )


@pytest.fixture
def application(
    monkeypatch: pytest.MonkeyPatch, database: embedded.Database, redis_url: str, tmp_path: Path
) -> Iterator[bootstrap.Application]:
    given = {
        "SWITCHYARD_HOME": str(tmp_path),
        "DATABASE_URL": database.url,
        "REDIS_URL": redis_url,
        "SWITCHYARD_SECRET_KEYS": new_key(),
    }
    made = bootstrap.make_application(Settings.from_environment(given))
    monkeypatch.setattr(bootstrap, "application", lambda: made)
    yield made
    made.engine.dispose()


def test_the_job_deletes_what_is_over_and_what_broken_uploads_left(
    engine: Engine, application: bootstrap.Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = application.documents
    assert isinstance(store, LocalFolder)
    monkeypatch.setattr(housekeeping, "DOCUMENTS_AT_ONCE", 2)
    with unit_of_work(engine) as conn:
        shop = make_shop(conn)
        keys = [hand_in(conn, store, shop).key for _ in range(5)]
    broken = store.receive(keys[0], 100)
    broken.write(b"half of it")
    assert housekeeping.prune_documents() == {"documents": 5, "left_behind": 0}
    monkeypatch.setattr(housekeeping, "UPLOAD_MAX", timedelta(minutes=-1))
    assert housekeeping.prune_documents() == {"documents": 0, "left_behind": 1}
    with unit_of_work(engine) as conn:
        assert scalar(conn, "select count(*) from documents where state = 'deleted'") == 5
    assert not any(path.is_file() for path in application.settings.documents_dir.rglob("*"))
