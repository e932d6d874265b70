"""What Prometheus reads: true values, bounded labels, counts that never fall, and not open to the world."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import redis
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from sqlalchemy import Connection
from starlette.testclient import TestClient

import api.__main__ as entry
from api.app import Dependencies
from api.exposition import State
from api.metrics import OpenToAnyone, create_metrics_app, serve_metrics
from core import embedded, measures
from core.adapters.rq import RqJobQueue, queue_named
from core.db import execute, make_engine, read_only, scalar, unit_of_work
from core.messaging import inbox
from core.messaging.inbox import HANDLED, Batch, Received, Verdict
from core.runs import operations as runs
from core.runs import retention
from core.runs.retention import BY_NAME, Policy
from tests.api.conftest import Serve, Served, Shop, signed_headers
from workers.run import make_worker

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]
NOW = datetime.now(UTC)


def values_of(text: str) -> Values:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def value(values: Values, name: str, /, **labels: object) -> float | None:
    return values.get((name, tuple(sorted((label, str(word)) for label, word in labels.items()))))


def registry_of(api: TestClient) -> CollectorRegistry:
    return api.app.state.registry  # type: ignore[attr-defined, no-any-return]


def scrape(api: TestClient) -> Values:
    return values_of(TestClient(create_metrics_app(registry_of(api), None)).get("/metrics").text)


# This process --------------------------------------------------------------------------------------------------------


def test_deliveries_are_counted_by_connection_and_by_why_they_were_refused(serve: Serve, shop: Shop) -> None:
    api = serve()
    for number in range(3):
        api.post(shop.path, content=b"{}", headers=signed_headers(b"{}", f"d-{number}"))
    api.post(shop.path, content=b"other", headers=signed_headers(b"{}"))
    api.post(shop.path, content=b"{}", headers=signed_headers(b"{}", X_Shopify_Topic=None))
    api.post("/webhooks/shopify/999999", content=b"{}", headers=signed_headers(b"{}"))
    api.get("/healthz")
    found = scrape(api)
    assert value(found, "switchyard_deliveries_recorded_total", connection=shop.connection_id) == 3
    assert value(found, "switchyard_deliveries_refused_total", reason="signature") == 1
    assert value(found, "switchyard_deliveries_refused_total", reason="malformed") == 1
    assert value(found, "switchyard_deliveries_refused_total", reason="unknown_connection") == 1
    assert value(found, "switchyard_deliveries_refused_total", reason="unavailable") == 0
    route = "/webhooks/shopify/{connection}"
    assert value(found, "switchyard_http_requests_total", route=route, status=200) == 3
    assert value(found, "switchyard_http_requests_total", route="/healthz", status=200) == 1
    assert value(found, "switchyard_http_request_seconds_count", route=route) == 6
    assert value(found, "switchyard_ingest_batch_deliveries_sum") == 3
    commits = value(found, "switchyard_ingest_commit_seconds_count")
    assert commits == value(found, "switchyard_ingest_batch_deliveries_count")
    assert value(found, "switchyard_ingest_waiting_deliveries") == 0


def test_a_failure_of_ours_is_counted(serve: Serve, shop: Shop) -> None:
    def broken(_vendor: str) -> Callable[..., bool]:
        def verify(*_: object) -> bool:
            raise RuntimeError("a defect")

        return verify

    api = serve(verifier=broken)
    assert api.post(shop.path, content=b"{}", headers=signed_headers(b"{}")).status_code == 500
    found = scrape(api)
    route = "/webhooks/shopify/{connection}"
    assert value(found, "switchyard_http_requests_total", route=route, status=500) == 1
    assert value(found, "switchyard_deliveries_refused_total", reason="error") == 1


def test_what_a_sender_chooses_is_never_a_label(serve: Serve, shop: Shop) -> None:
    api = serve()
    before = len(scrape(api))
    for number in range(50):
        api.get(f"/secret-{number}")
        api.post(f"/webhooks/shopify/{10**9 + number}", content=b"{}", headers=signed_headers(b"{}"))
        api.post(
            shop.path, content=b"{}", headers=signed_headers(b"{}", f"d-{number}", X_Shopify_Topic=f"topic-{number}")
        )
    found = scrape(api)
    assert value(found, "switchyard_http_requests_total", route="other", status=404) == 50
    # Two routes, three answers and one connection are new, with the buckets of the two routes.
    assert len(found) - before < 50
    text = str(found)
    assert [word for word in ("secret-", "topic-", "d-1", str(10**9)) if word in text] == []


# The state -----------------------------------------------------------------------------------------------------------


def message(conn: Connection, shop: Shop, delivery: str, state: str, **more: object) -> None:
    values = {
        "shop_id": shop.shop_id,
        "connection_id": shop.connection_id,
        "delivery_id": delivery,
        "topic": "t",
        "road": "poll",
        "body": b"",
        "received_at": NOW - timedelta(hours=1),
        "state": state,
        **more,
    }
    execute(
        conn,
        f"insert into inbox_messages ({', '.join(values)}) values ({', '.join(f'%({name})s' for name in values)})",
        **values,
    )


def seed_inbox(conn: Connection, shop: Shop) -> None:
    message(conn, shop, "r1", "received")
    message(conn, shop, "r2", "received", received_at=NOW)
    message(conn, shop, "p1", "parked", cause="unreadable")
    message(conn, shop, "p2", "parked", cause="unreadable")
    message(conn, shop, "p3", "parked", cause="unexpected")
    message(conn, shop, "h1", "handled")
    message(conn, shop, "late", "waiting", waiting_for="order:2", waits_until=NOW)
    assert inbox.expire_waiting(conn, NOW) == 1


def seed_settled(shop: Shop) -> None:
    """Two turns that handled and one that waits, before anything else is there."""
    with unit_of_work(shop.engine) as conn:
        for delivery in ("s1", "s2", "s3"):
            message(conn, shop, delivery, "received")

    def handler(_conn: Connection, batch: Sequence[Received], _now: datetime) -> dict[int, Verdict]:
        first, second, third = (message.id for message in batch)
        return {first: HANDLED, second: HANDLED, third: Verdict("waiting", waiting_for="order:1")}

    assert inbox.drain_batch(shop.engine, shop.shop_id, shop.connection_id, 0, Batch(10), handler, NOW)[0] == 3


def seed_listings(conn: Connection, shop: Shop) -> None:
    scope = {"shop": shop.shop_id, "connection": shop.connection_id}
    execute(conn, "insert into skus (shop_id, code, title, is_stocked, created_at)"
                  " values (%(shop)s, 'MUG', 'Mug', true, now())", **scope)  # fmt: skip
    execute(conn, "insert into locations (shop_id, name, created_at) values (%(shop)s, 'Main', now())", **scope)
    execute(
        conn,
        """
        insert into listings (shop_id, connection_id, channel_ref, title, sku_id, location_id, is_tracked, publishing,
            publishing_reason, desired_units, published_units, push_problem)
        select %(shop)s, %(connection)s, n::text, 'Mug', (select max(id) from skus), (select max(id) from locations),
            true, 'on', 'mapped', 5, case when n <= 3 then 4 else 5 end, case when n = 4 then 'refused' end
        from generate_series(1, 6) n
        """,
        **scope,
    )
    execute(
        conn,
        """
        insert into listing_writes (shop_id, connection_id, listing_id, to_units, idempotency_key, batch_position,
            planned_at, deadline_at, sent_at, doubt)
        select shop_id, connection_id, id, 5, channel_ref, 0, now() - interval '10 minutes', now(), now(),
            case when channel_ref = '1' then 'no answer' end
        from listings where channel_ref in ('1', '2')
        """,
    )


def run_job(conn: Connection, function: str, outcome: str | None, seconds: float = 2) -> None:
    run_id = runs.open_job_run(
        conn,
        job_ref="j",
        function=function,
        arguments={},
        queue="events",
        worker="w",
        attempt=1,
        now=NOW - timedelta(minutes=5),
    )
    if outcome is not None:
        runs.close_job_run(conn, run_id, outcome, NOW - timedelta(minutes=5) + timedelta(seconds=seconds))


def call(shop: Shop, operation: str, outcome: str, elapsed_ms: int) -> dict[str, Any]:
    return {
        "shop_id": shop.shop_id,
        "connection_id": shop.connection_id,
        "operation": operation,
        "method": "POST",
        "outcome": outcome,
        "elapsed_ms": elapsed_ms,
        "attempt": 1,
        "called_at": NOW - timedelta(minutes=1),
    }


def seed_runs(conn: Connection, shop: Shop) -> None:
    run_job(conn, "inbox.drain", "finished", 2)
    run_job(conn, "inbox.drain", "finished", 3)
    run_job(conn, "inbox.drain", "failed")
    run_job(conn, "schedule.sweep.inbox", "finished")
    run_job(conn, "stock.push", None)
    calls = [call(shop, "orders", "ok", 100), call(shop, "orders", "ok", 300), call(shop, "orders", "throttled", 50)]
    runs.record_calls(conn, calls)
    for period, outcome, at in (("1", "finished", NOW - timedelta(minutes=9)), ("2", "failed", NOW)):
        runs.begin_period(conn, "sweep.inbox", period, at)
        runs.finish_period(conn, "sweep.inbox", period, outcome, None, at)
    runs.begin_period(conn, "sweep.stock", "1", NOW)
    for key, state in (("a", "waiting"), ("b", "dead"), ("c", "dead"), ("d", "sent")):
        execute(
            conn,
            "insert into outbox_messages (shop_id, kind, dedupe_key, payload, state, next_attempt_at, created_at)"
            " values (%(shop)s, 'notice', %(key)s, '{}', %(state)s, now() - interval '100 seconds', now())",
            shop=shop.shop_id,
            key=key,
            state=state,
        )


def seed_open(conn: Connection, shop: Shop) -> None:
    """An alert that is over and one that is not, two recoveries, and discrepancies of every state."""
    values = {"shop": shop.shop_id, "connection": shop.connection_id, "now": NOW}
    execute(
        conn,
        """
        insert into alerts (shop_id, kind, fingerprint, severity, headline, sentence, next_step, page, limit_units,
            units, opened_units, worst_units, skus, worst_skus, is_told, size, told_size, opened_at, checked_at,
            closed_at, closed_because)
        select %(shop)s, 'silence', 'silence:' || n, 'danger', 'h', 's', 'n', 'connections', 0, 0, 0, 0, 0, '[]',
            true, 1, 1, %(now)s, %(now)s, case n when 2 then %(now)s::timestamptz end, case n when 2 then 'below' end
        from generate_series(1, 2) n
        """,
        **values,
    )
    execute(
        conn,
        """
        insert into recoveries (shop_id, name, per_minute, requested_by, reason, requested_at, items, works, paced_at,
            state, ended_at)
        values (%(shop)s, 'a', 1, 'a', 'r', %(now)s, 1, 1, %(now)s, 'running', null),
            (%(shop)s, 'b', 1, 'a', 'r', %(now)s, 1, 1, %(now)s, 'done', %(now)s)
        """,
        **values,
    )
    execute(
        conn,
        """
        insert into discrepancies (shop_id, kind, connection_id, subject_key, subject, unit, cause, action, state,
            first_seen_at, last_seen_at, reason)
        select %(shop)s, 'stock', %(connection)s, n::text, '{}', 'units', 'channel_edit',
            case n when 3 then 'ignored' else 'asked' end, case n when 3 then 'accepted' else 'open' end, %(now)s,
            %(now)s, 'r'
        from generate_series(1, 3) n
        """,
        **values,
    )


def test_the_state_is_what_the_rows_say(serve: Serve, shop: Shop) -> None:
    seed_settled(shop)
    with unit_of_work(shop.engine) as conn:
        seed_inbox(conn, shop)
        seed_listings(conn, shop)
        seed_runs(conn, shop)
        seed_open(conn, shop)
    found = scrape(serve())
    here = {"connection": shop.connection_id}
    for part in ("postgres", "redis"):
        assert value(found, "switchyard_up", part=part) == 1
    for state, count in (("received", 2), ("waiting", 1), ("parked", 4)):
        assert value(found, "switchyard_inbox_messages", **here, state=state) == count
    for cause, count in (("unreadable", 2), ("unexpected", 1), ("unknown_order", 1)):
        assert value(found, "switchyard_inbox_parked_messages", **here, cause=cause) == count
    for outcome, count in (("handled", 2), ("waiting", 1), ("parked", 1)):
        assert value(found, "switchyard_inbox_settled_total", **here, outcome=outcome) == count
    assert (value(found, "switchyard_inbox_oldest_received_seconds", **here) or 0) >= 3600
    info = {"shop": shop.shop_id, "name": "Store", "vendor": "shopify", "state": "active"}
    assert value(found, "switchyard_connection_info", **here, **info) == 1
    for name, count in (
        ("switchyard_listings_to_push", 3),
        ("switchyard_listings_refused", 1),
        ("switchyard_writes_open", 2),
        ("switchyard_writes_doubtful", 1),
        ("switchyard_connection_problem", 0),
    ):
        assert value(found, name, **here) == count, name
    assert (value(found, "switchyard_writes_oldest_open_seconds", **here) or 0) >= 600
    drained = {"function": "inbox.drain", "outcome": "finished"}
    assert value(found, "switchyard_job_runs_total", **drained) == 2
    assert value(found, "switchyard_job_run_seconds_total", **drained) == 5
    assert value(found, "switchyard_job_runs_total", function="inbox.drain", outcome="failed") == 1
    assert value(found, "switchyard_job_runs_total", function="schedule.sweep.inbox", outcome="finished") == 1
    assert value(found, "switchyard_jobs_running", function="stock.push") == 1
    assert (value(found, "switchyard_jobs_running_oldest_seconds", function="stock.push") or 0) >= 300
    asked = {**here, "operation": "orders"}
    assert value(found, "switchyard_api_calls_total", **asked, outcome="ok") == 2
    assert value(found, "switchyard_api_call_seconds_total", **asked, outcome="ok") == pytest.approx(0.4)
    assert value(found, "switchyard_api_calls_total", **asked, outcome="throttled") == 1
    done_at = value(found, "switchyard_schedule_last_success_timestamp_seconds", schedule="sweep.inbox")
    assert done_at == pytest.approx((NOW - timedelta(minutes=9)).timestamp())
    assert value(found, "switchyard_schedule_last_success_timestamp_seconds", schedule="sweep.stock") is None
    assert value(found, "switchyard_schedule_paused", schedule="sweep.stock") == 0
    assert value(found, "switchyard_outbox_messages", state="waiting") == 1
    assert value(found, "switchyard_outbox_messages", state="dead") == 2
    assert (value(found, "switchyard_outbox_late_seconds") or 0) >= 100
    # The failed job of the seed has run again since, under the same id.
    for source, count in (("job", 0), ("message", 4), ("outbox", 2)):
        assert value(found, "switchyard_failures_open", source=source) == count
    assert value(found, "switchyard_alerts_open", kind="silence", severity="danger") == 1
    assert value(found, "switchyard_recoveries_open") == 1
    assert value(found, "switchyard_discrepancies_open", kind="stock", cause="channel_edit") == 2


def test_queues_and_the_last_sign_of_life_of_their_workers(serve: Serve, shop: Shop) -> None:
    client = redis.Redis.from_url(shop.settings.redis_url)
    queue_named("events", client).enqueue_call(func="inbox.drain")
    began = datetime.now(UTC)
    workers = [make_worker("stock", shop.settings.redis_url) for _ in range(2)]
    for worker in workers:
        worker.register_birth()
    found = scrape(serve())
    assert value(found, "switchyard_queue_jobs", queue="events") == 1
    assert value(found, "switchyard_queue_jobs", queue="stock") == 0
    assert value(found, "switchyard_workers", queue="stock") == 2
    assert value(found, "switchyard_workers", queue="events") == 0
    beat = value(found, "switchyard_worker_heartbeat_timestamp_seconds", queue="stock")
    assert beat is not None
    assert beat >= began.timestamp() - 1
    assert value(found, "switchyard_worker_heartbeat_timestamp_seconds", queue="events") is None


def test_counts_do_not_fall_when_their_rows_are_pruned_and_folded(serve: Serve, shop: Shop) -> None:
    with unit_of_work(shop.engine) as conn:
        seed_inbox(conn, shop)
        seed_runs(conn, shop)
    api = serve()
    counters = ("switchyard_job_run", "switchyard_api_", "switchyard_inbox_settled")
    before = {key: count for key, count in scrape(api).items() if key[0].startswith(counters) and "_total" in key[0]}
    assert len(before) > 8
    with unit_of_work(shop.engine) as conn:
        two_days_on = NOW + timedelta(days=2)
        gone = {
            name: retention.forget(conn, Policy(BY_NAME[name], 1), two_days_on) for name in ("api_calls", "job_runs")
        }
        assert gone["api_calls"] == 3
        assert scalar(conn, "select count(*) from job_runs where outcome is not null") == 0
    with unit_of_work(shop.engine) as conn:
        execute(conn, "update tallies set at = at - interval '2 hours'")
    for _ in range(2):
        with unit_of_work(shop.engine) as conn:
            measures.fold(conn)
        found = scrape(api)
        assert {key: found[key] for key in before} == before
    with unit_of_work(shop.engine) as conn:
        assert scalar(conn, "select count(*) from tallies") == scalar(
            conn, "select count(*) from (select distinct kind, connection_id, name, outcome from tallies) d"
        )
        run_job(conn, "inbox.drain", "finished")
    drained = {"function": "inbox.drain", "outcome": "finished"}
    assert value(scrape(api), "switchyard_job_runs_total", **drained) == 3


def test_nobody_waits_for_somebody_elses_count_and_two_folds_count_nothing_twice(shop: Shop) -> None:
    with unit_of_work(shop.engine) as conn:
        for _ in range(5):
            run_job(conn, "inbox.drain", "finished")
    # One that hangs in the middle of its commit, and one that folds meanwhile.
    with unit_of_work(shop.engine) as hanging, unit_of_work(shop.engine) as folding:
        run_job(hanging, "inbox.drain", "finished")
        measures.fold(folding)
        with unit_of_work(shop.engine) as conn:
            run_job(conn, "inbox.drain", "finished")
            measures.fold(conn)
    with read_only(shop.engine) as conn:
        (row,) = measures.read(conn).tallies
    assert (row["events"], row["seconds"]) == (7, 14.0)


def test_names_that_are_not_ours_are_one_label(serve: Serve, shop: Shop) -> None:
    with unit_of_work(shop.engine) as conn:
        for number in range(20):
            run_job(conn, f"os.system-{number}", "failed")
        run_job(conn, "os.system-21", None)
    found = scrape(serve())
    assert value(found, "switchyard_job_runs_total", function="other", outcome="failed") == 20
    assert value(found, "switchyard_jobs_running", function="other") == 1
    assert "os.system" not in str(found)


# When parts are away -------------------------------------------------------------------------------------------------


def test_without_postgres_and_redis_it_tells_what_the_process_knows(serve: Serve, shop: Shop) -> None:
    gone = make_engine("postgresql+psycopg://nobody:x@127.0.0.1:1/nothing")
    api = serve(engine=gone, queues=RqJobQueue("redis://127.0.0.1:1/0").queues)
    assert api.post(shop.path, content=b"{}", headers=signed_headers(b"{}")).status_code == 503
    found = scrape(api)
    assert value(found, "switchyard_up", part="postgres") == 0
    assert value(found, "switchyard_up", part="redis") == 0
    assert value(found, "switchyard_deliveries_refused_total", reason="unavailable") == 1
    assert [name for name, _ in found if name.startswith(("switchyard_inbox", "switchyard_workers"))] == []


def test_a_table_that_is_locked_takes_only_the_state_along(
    serve: Serve, shop: Shop, database: embedded.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "STATEMENT_MS", 50)
    owner = make_engine(database.migrate_url)
    with unit_of_work(owner) as conn:
        execute(conn, "lock table listings in access exclusive mode")
        found = scrape(serve())
    owner.dispose()
    assert value(found, "switchyard_up", part="postgres") == 0
    assert value(found, "switchyard_up", part="redis") == 1


def test_many_scrapes_at_once_and_in_a_row_read_once(dependencies: Dependencies, shop: Shop) -> None:
    reads = []
    everybody_asks = threading.Event()

    def read() -> measures.Snapshot:
        reads.append(1)
        assert everybody_asks.wait(60)
        with read_only(shop.engine) as conn:
            return measures.read(conn)

    registry = CollectorRegistry()
    registry.register(State(read, dependencies.queues, dependencies.job_names, kept_seconds=3600))
    app = create_metrics_app(registry, None)
    with TestClient(app) as client, ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(client.get, "/metrics") for _ in range(12)]
        while not reads:
            time.sleep(0.01)
        everybody_asks.set()
        texts = {answer.result().text for answer in answers}
        texts.add(client.get("/metrics").text)
    assert len(reads) == 1
    assert len(texts) == 1
    assert value(values_of(texts.pop()), "switchyard_up", part="postgres") == 1


# Form, and who may read it -------------------------------------------------------------------------------------------


def families(api: TestClient) -> list[Metric]:
    client = TestClient(create_metrics_app(registry_of(api), None))
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    return list(parse_openmetrics(answer.text))


def test_names_are_prometheus_conventions(serve: Serve, shop: Shop) -> None:
    """The parser of the strict form is the judge of the rest: suffixes, types, no sample twice."""
    seed_settled(shop)
    with unit_of_work(shop.engine) as conn:
        seed_inbox(conn, shop)
        seed_listings(conn, shop)
        seed_runs(conn, shop)
    ours = [family for family in families(serve()) if family.name.startswith("switchyard_")]
    assert len(ours) > 30
    for family in ours:
        assert family.documentation.endswith((".", "connection.")), family.name
        assert not family.name.endswith(("_ms", "_minutes", "_count", "_sum")), family.name
        assert family.type in ("counter", "gauge", "histogram", "info"), family.name
        if "age" in family.name.split("_") or "oldest" in family.name:
            assert family.name.endswith("_seconds")


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Host", "Authorization"])
def test_the_public_port_has_no_metrics_whatever_a_request_claims(api: TestClient, name: str) -> None:
    answer = api.get("/metrics", headers={name: "127.0.0.1"})
    assert (answer.status_code, answer.json()) == (404, {"error": "not found"})


def test_a_listener_of_its_own_serves_them_and_nothing_else(served: Served, shop: Shop) -> None:
    httpx.post(served.url + shop.path, content=b"{}", headers=signed_headers(b"{}")).raise_for_status()
    answer = httpx.get(served.metrics_url)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    found = values_of(answer.text)
    assert value(found, "switchyard_deliveries_recorded_total", connection=shop.connection_id) == 1
    assert value(found, "switchyard_up", part="postgres") == 1
    assert (value(found, "process_resident_memory_bytes") or 0) > 0
    base = served.metrics_url.removesuffix("/metrics")
    assert httpx.get(f"{base}/healthz").status_code == 404
    assert httpx.get(f"{served.url}/metrics").status_code == 404


def test_with_a_token_only_its_bearer_reads_them() -> None:
    client = TestClient(create_metrics_app(CollectorRegistry(), "a long random word"))
    for header in ({}, {"Authorization": "Bearer other"}, {"Authorization": "a long random word"}):
        assert client.get("/metrics", headers=header).status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer a long random word"}).status_code == 200
    assert client.get("/metrics", headers={"Authorization": "Bearer é".encode()}).status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "metrics.example"])
def test_beyond_loopback_it_does_not_start_without_a_token(host: str) -> None:
    with pytest.raises(OpenToAnyone, match="SWITCHYARD_METRICS_TOKEN"):
        serve_metrics(create_metrics_app(CollectorRegistry(), None), host, 0, None)


def test_the_command_line_says_why(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", shop.settings.database_url)
    monkeypatch.setenv("REDIS_URL", shop.settings.redis_url)
    monkeypatch.delenv("SWITCHYARD_METRICS_TOKEN", raising=False)
    monkeypatch.setattr(entry.logs, "configure", lambda *_: None)
    outcome = CliRunner().invoke(entry.main, ["--metrics-host", "0.0.0.0", "--metrics-port", "1"])
    assert outcome.exit_code == 1
    assert "SWITCHYARD_METRICS_TOKEN" in outcome.output
