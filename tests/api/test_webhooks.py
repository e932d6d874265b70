"""Shopify's door: what is let in, what is sent away, and with which words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import redis
from rq.job import Job
from starlette.testclient import TestClient

from api.webhooks import BODY_BYTES_MAX, ByteBudget, parse_instant
from core.adapters.rq import RqJobQueue, queue_named
from core.connections.keys import rotate
from core.connections.operations import new_key, seal_secrets
from core.db import execute, make_engine, unit_of_work
from core.messaging.doorbell import Doorbell
from tests.api.conftest import ACTOR, NOW, Serve, Shop, signed_headers

BODY = '{"id":820982911946154508,"note":"café"}'.encode()


def post(api: TestClient, shop: Shop, body: bytes = BODY, **changes: str | None) -> httpx.Response:
    return api.post(shop.path, content=body, headers=signed_headers(body, **changes))


def wait_for_jobs(client: redis.Redis) -> list[Job]:
    """What is queued, once something is: rings come off the answer path."""
    ends_at = time.monotonic() + 30
    while not (jobs := queue_named("events", client).get_jobs()):
        assert time.monotonic() < ends_at, "nothing was rung"
        time.sleep(0.02)
    return jobs


def test_a_genuine_delivery_is_recorded_as_it_came_and_its_lane_is_rung(api: TestClient, shop: Shop) -> None:
    assert post(api, shop).status_code == 200
    (row,) = shop.rows()
    assert row["body"] == BODY
    assert (row["delivery_id"], row["topic"], row["road"], row["event_ref"], row["state"]) == (
        "d-1",
        "orders/create",
        "webhook",
        "event-1",
        "received",
    )
    assert row["triggered_at"] == datetime(2024, 5, 14, 11, 59, 58, 123456, tzinfo=UTC)
    assert row["received_at"] == NOW
    with redis.Redis.from_url(shop.settings.redis_url) as client:
        (job,) = wait_for_jobs(client)
    assert job.kwargs == {"shop_id": shop.shop_id, "connection_id": shop.connection_id}


def test_a_duplicate_is_welcome_and_changes_nothing(api: TestClient, shop: Shop) -> None:
    other = b'{"other": 1}'
    assert [post(api, shop).status_code for _ in range(3)] == [200] * 3
    assert post(api, shop, other).status_code == 200
    (row,) = shop.rows()
    assert row["body"] == BODY


def test_trap_an_event_id_is_shared_by_topics_so_the_webhook_id_decides(api: TestClient, shop: Shop) -> None:
    for number, topic in enumerate(("orders/create", "inventory_levels/update", "orders/create")):
        sent = post(api, shop, X_Shopify_Webhook_Id=f"w-{number}", X_Shopify_Topic=topic)
        assert sent.status_code == 200
    assert sorted(row["delivery_id"] for row in shop.rows()) == ["w-0", "w-1", "w-2"]
    assert {row["event_ref"] for row in shop.rows()} == {"event-1"}


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_trap_header_names_come_in_any_case(api: TestClient, shop: Shop, spell: Callable[[str], str]) -> None:
    headers = {spell(name): value for name, value in signed_headers(BODY).items()}
    sent = api.post(shop.path, content=BODY, headers=headers, follow_redirects=False)
    assert sent.status_code == 200
    assert len(shop.rows()) == 1


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"X_Shopify_Hmac_Sha256": None}, 401, "missing"),
        ({"X_Shopify_Hmac_Sha256": "bm90IGl0"}, 401, "signature"),
        ({"X_Shopify_Hmac_Sha256": "\xff\xfe"}, 401, "signature"),
        ({"secret": "another secret"}, 401, "signature"),
        ({"secret": ""}, 401, "signature"),
        ({"X_Shopify_Webhook_Id": None}, 400, "X-Shopify-Webhook-Id"),
        ({"X_Shopify_Webhook_Id": "x" * 201}, 400, "X-Shopify-Webhook-Id"),
        ({"X_Shopify_Webhook_Id": "two words"}, 400, "X-Shopify-Webhook-Id"),
        ({"X_Shopify_Webhook_Id": "\x80\xff"}, 400, "X-Shopify-Webhook-Id"),
        ({"X_Shopify_Topic": None}, 400, "X-Shopify-Topic"),
        ({"X_Shopify_Topic": "t" * 101}, 400, "X-Shopify-Topic"),
        ({"X_Shopify_Shop_Domain": None}, 400, "X-Shopify-Shop-Domain"),
        ({"X_Shopify_Shop_Domain": "other.example"}, 403, "another shop domain"),
    ],
)
def test_what_is_not_genuine_or_not_complete_is_sent_away(
    api: TestClient, shop: Shop, changes: dict[str, str | None], status: int, words: str
) -> None:
    given = {k: v.encode("latin-1") if isinstance(v, str) and not v.isascii() else v for k, v in changes.items()}
    answer = post(api, shop, **given)  # type: ignore[arg-type]
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert shop.rows() == []


def test_a_changed_body_does_not_fit_its_signature(api: TestClient, shop: Shop) -> None:
    answer = api.post(shop.path, content=BODY + b" ", headers=signed_headers(BODY))
    assert answer.status_code == 401


@pytest.mark.parametrize("connection", ["999999", "0", "abc", "-1", "1e3", "9" * 40, "%00", "١"])
def test_unknown_connections_are_not_there(api: TestClient, shop: Shop, connection: str) -> None:
    answer = api.post(f"/webhooks/shopify/{connection}", content=BODY, headers=signed_headers(BODY))
    assert answer.status_code == 404
    assert answer.json() == {"error": "no such connection"}


def test_a_connection_of_another_vendor_is_not_there(api: TestClient, shop: Shop) -> None:
    with unit_of_work(shop.engine) as conn:
        execute(conn, "update connections set vendor = 'amazon'")
    assert post(api, shop).status_code == 404


def test_a_paused_connection_still_records(api: TestClient, shop: Shop) -> None:
    with unit_of_work(shop.engine) as conn:
        execute(conn, "update connections set state = 'paused'")
    assert post(api, shop).status_code == 200


@pytest.mark.parametrize("body", [b"", b"no json", b"\x00\xff\x00", b'{"a": "\\u0000"}', b"[" * 100_000])
def test_bodies_that_are_not_json_are_recorded_all_the_same(api: TestClient, shop: Shop, body: bytes) -> None:
    assert post(api, shop, body).status_code == 200
    assert shop.rows()[0]["body"] == body


def test_a_body_of_the_greatest_size_passes_and_one_byte_more_does_not(api: TestClient, shop: Shop) -> None:
    assert post(api, shop, b"x" * BODY_BYTES_MAX).status_code == 200
    answer = post(api, shop, b"x" * (BODY_BYTES_MAX + 1), X_Shopify_Webhook_Id="d-2")
    assert answer.status_code == 413
    assert len(shop.rows()) == 1


def test_a_huge_body_without_a_length_is_cut_off_while_it_streams(api: TestClient, shop: Shop) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 4 * BODY_BYTES_MAX:
            sent += 1_000_000
            yield b"x" * 1_000_000

    answer = api.post(shop.path, content=endless(), headers=signed_headers(b""))
    assert answer.status_code == 413


def test_garbage_in_what_may_be_missing_is_left_out(api: TestClient, shop: Shop) -> None:
    changes: dict[str, str | None] = {"X_Shopify_Event_Id": "e" * 300, "X_Shopify_Triggered_At": "yesterday"}
    assert post(api, shop, **changes).status_code == 200
    (row,) = shop.rows()
    assert (row["event_ref"], row["triggered_at"]) == (None, None)


def test_a_rotated_secret_is_seen_at_once_and_the_previous_one_still_counts(serve: Serve, shop: Shop) -> None:
    api = serve()
    assert post(api, shop).status_code == 200
    keys, new_secret = shop.settings.secret_keys, {"client_secret": "a new secret"}
    # Entered twice, as a person in doubt does.
    for _ in range(2):
        with unit_of_work(shop.engine) as conn:
            seal_secrets(conn, keys, shop.shop_id, shop.connection_id, new_secret, NOW)

    # Wrong signatures do not cause more than a read a second.
    ends_at = time.monotonic() + 30
    while post(api, shop, X_Shopify_Webhook_Id="d-2", secret="a new secret").status_code != 200:
        assert time.monotonic() < ends_at
        time.sleep(0.1)
    assert post(api, shop, X_Shopify_Webhook_Id="d-3").status_code == 200
    assert len(shop.rows()) == 3

    later = serve(clock=lambda: NOW + timedelta(hours=2, seconds=1))
    assert post(later, shop, X_Shopify_Webhook_Id="d-4").status_code == 401
    assert post(later, shop, X_Shopify_Webhook_Id="d-4", secret="a new secret").status_code == 200
    # Sealed anew under another key it is no newer.
    key = new_key()
    with unit_of_work(shop.engine) as conn:
        rotate(conn, (key, *keys), ACTOR, NOW + timedelta(hours=3))
    after = serve(clock=lambda: NOW + timedelta(hours=3), secret_keys=(key,))
    assert post(after, shop, X_Shopify_Webhook_Id="d-5").status_code == 401


def test_credentials_that_cannot_be_opened_mean_come_back_later(serve: Serve, shop: Shop) -> None:
    for keys in ((), (new_key(),)):
        answer = post(serve(secret_keys=keys), shop)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "SWITCHYARD" not in answer.text


def test_without_a_database_senders_come_back_later(serve: Serve, shop: Shop) -> None:
    gone = "postgresql+psycopg://nobody:x@127.0.0.1:1/nothing"
    assert post(serve(database_url=gone), shop).status_code == 503
    answer = post(serve(database_url=gone, engine=make_engine(gone)), shop)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_a_dead_redis_costs_nobody_a_delivery(serve: Serve, shop: Shop) -> None:
    api = serve(doorbell=Doorbell(RqJobQueue("redis://127.0.0.1:1/0")))
    assert post(api, shop).status_code == 200
    assert len(shop.rows()) == 1


def test_the_budget_of_bytes_comes_back() -> None:
    budget = ByteBudget(10)
    budget.take(7)
    with pytest.raises(Exception, match="too much"):
        budget.take(4)
    budget.give_back(7)
    budget.take(10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-14T11:59:58Z", datetime(2024, 5, 14, 11, 59, 58, tzinfo=UTC)),
        ("2024-05-14T11:59:58.5Z", datetime(2024, 5, 14, 11, 59, 58, 500000, tzinfo=UTC)),
        ("2024-05-14T11:59:58.123456789Z", datetime(2024, 5, 14, 11, 59, 58, 123456, tzinfo=UTC)),
        (" 2024-05-14T07:59:58-04:00 ", datetime(2024, 5, 14, 11, 59, 58, tzinfo=UTC)),
        ("2024-05-14T11:59:58", None),
        ("2024-13-45T11:59:58Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("", None),
        ("1715687998", None),
    ],
)
def test_instants_with_any_number_of_decimals(text: str, expected: datetime | None) -> None:
    assert parse_instant(text) == expected


def test_health_says_what_is_missing(serve: Serve, shop: Shop) -> None:
    api = serve()
    assert api.get("/healthz").json() == {"status": "alive"}
    assert api.get("/readyz").json() == {"status": "ready", "degraded": []}
    gone = make_engine("postgresql+psycopg://nobody:x@127.0.0.1:1/nothing")
    answer = serve(engine=gone, bell_answers=RqJobQueue("redis://127.0.0.1:1/0").ping).get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "missing": ["database"], "degraded": ["redis"]}


def test_without_redis_it_stays_ready_because_deliveries_are_still_taken(serve: Serve, shop: Shop) -> None:
    bell = RqJobQueue("redis://127.0.0.1:1/0")
    api = serve(bell_answers=bell.ping, doorbell=Doorbell(bell))
    answer = api.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "degraded": ["redis"]})
    assert api.post(shop.path, content=b"{}", headers=signed_headers(b"{}")).status_code == 200
    assert len(shop.rows()) == 1


def test_what_is_logged_of_a_delivery_names_it_and_its_connection(
    serve: Serve, shop: Shop, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    api = serve()
    assert api.post(shop.path, content=b"x", headers=signed_headers(b"{}", "d-7")).status_code == 401
    api.post(shop.path, content=b"{}", headers=signed_headers(b"{}", "d-8" + "x" * 150))

    def broken(*_: object) -> bool:
        raise RuntimeError("of jo@shop.example")

    failing = serve(verifier=lambda _: broken)
    assert failing.post(shop.path, content=b"{}", headers=signed_headers(b"{}", "d-9")).status_code == 500
    found = [line for line in lines() if line["logger"] == "api.app"]
    connection = str(shop.connection_id)
    assert [(line["level"], line["connection"], line["delivery"]) for line in found] == [
        ("info", connection, "d-7"),
        ("error", connection, "d-9"),
    ]
    assert "RuntimeError" in found[1]["error"]
    assert "jo@" not in str(found)


@pytest.mark.parametrize("path", ["/", "/docs", "/metrics", "/webhooks", "/webhooks/shopify/", "//healthz"])
def test_nothing_else_can_be_reached(api: TestClient, path: str) -> None:
    answer = api.get(f"http://testserver{path}")
    assert answer.status_code == 404
    assert answer.json() == {"error": "not found"}


def test_errors_are_json_also_for_a_wrong_method(api: TestClient, shop: Shop) -> None:
    answer = api.get(shop.path)
    assert (answer.status_code, answer.json()) == (405, {"error": "method not allowed"})
