"""Only registered names run, whatever is written into Redis; every run is on record."""

from __future__ import annotations

import json
import pickle
import time

import pytest
import redis
from rq.job import JobStatus
from sqlalchemy import Engine

from core.adapters.rq import (
    FAILURE_SECONDS,
    BadArguments,
    JobSpec,
    Registered,
    RqJobQueue,
    SwJob,
    SwSimpleWorker,
    queue_named,
    record_runs_with,
    register,
)
from core.db import fetch, unit_of_work
from core.errors import BadInput, Retryable
from workers.recording import PostgresRunRecorder, describe, fingerprint

Registry = dict[str, Registered]


class Desk:
    """A queue and a worker in this process."""

    def __init__(self, client: redis.Redis, engine: Engine) -> None:
        self.client = client
        self.engine = engine
        self.queue = queue_named("events", client)

    def put(self, name: str, **arguments: object) -> SwJob:
        return self.queue.enqueue_call(func=name, kwargs=arguments)

    def put_raw(self, data: bytes, **fields: str) -> SwJob:
        """A job as somebody with access to Redis could write it."""
        job = self.queue.enqueue_call(func="test.ok")
        self.client.hset(job.key, mapping={"data": data, **fields})
        return job

    def work(self) -> None:
        worker = SwSimpleWorker([self.queue], connection=self.client, serializer="json")
        worker.work(burst=True, logging_level="CRITICAL")

    def runs(self) -> list[dict[str, object]]:
        with unit_of_work(self.engine) as conn:
            return [dict(row) for row in fetch(conn, "select * from job_runs order by id")]


@pytest.fixture
def desk(client: redis.Redis, engine: Engine, registry: Registry) -> Desk:
    recorder = PostgresRunRecorder(engine.url.render_as_string(hide_password=False))
    record_runs_with(recorder)
    return Desk(client, engine)


def test_what_names_a_person_among_arguments_is_covered_on_record(desk: Desk) -> None:
    register("test.ok", lambda **_: None, JobSpec("events", 30))
    desk.put("test.ok", who="jo@example.com", refs="113-1,113-2")
    desk.work()
    assert desk.runs()[0]["arguments"] == {"who": "***@***", "refs": "113-1,113-2"}


def test_a_registered_name_runs_with_its_keyword_ids_and_its_outcome_is_kept(desk: Desk) -> None:
    register("test.ok", lambda *, order_id: {"order": order_id}, JobSpec("events", 30))
    job = desk.put("test.ok", order_id=2**60)
    desk.work()
    assert job.get_status() is JobStatus.FINISHED
    (run,) = desk.runs()
    assert run["function"] == "test.ok"
    assert run["arguments"] == {"order_id": 2**60}
    assert run["outcome"] == "finished"
    assert run["result"] == {"order": 2**60}
    assert run["queue"] == "events"
    assert run["worker"]
    assert run["attempt"] == 1
    assert run["ended_at"] is not None


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(["os.system", None, ["touch {path}"], {}]).encode(),
        json.dumps(["test.ok", "instance", [], {}]).encode(),
        json.dumps(["test.ok", None, ["positional"], {}]).encode(),
        json.dumps(["test.ok", None, [], {"order_id": ["not", "an", "id"]}]).encode(),
        json.dumps([["test.ok"], None, [], {}]).encode(),
        json.dumps(7).encode(),
        pickle.dumps(("os.system", None, ("touch {path}",), {})),
        b"",
    ],
    ids=["foreign name", "instance", "positional", "no id", "name no text", "no list", "pickle", "empty"],
)
def test_whatever_else_is_written_into_redis_is_refused_and_on_record(
    desk: Desk, data: bytes, tmp_path: pytest.TempPathFactory
) -> None:
    ran: list[object] = []
    register("test.ok", lambda **arguments: ran.append(arguments), JobSpec("events", 30))
    path = f"{tmp_path}/ran"
    job = desk.put_raw(data.replace(b"{path}", path.encode()))
    desk.work()
    assert ran == []
    assert not tmp_path.joinpath("ran").exists()
    assert desk.client.hget(job.key, "status") == b"failed"
    (run,) = desk.runs()
    assert run["outcome"] == "failed"
    assert run["fingerprint"]


def test_callbacks_and_webhooks_in_redis_are_dropped(desk: Desk, tmp_path: pytest.TempPathFactory) -> None:
    register("test.ok", lambda: None, JobSpec("events", 30))
    webhook = json.dumps([{"url": "http://127.0.0.1:1/", "job_status": "finished"}])
    data = json.dumps(["test.ok", None, [], {}]).encode()
    job = desk.put_raw(
        data,
        success_callback_name="os.abort",
        failure_callback_name="os.abort",
        stopped_callback_name="os.abort",
        webhooks=webhook,
        meta=json.dumps({"queue_class_name": "os.abort"}),
    )
    read = SwJob.fetch(job.id, connection=desk.client)
    assert read.webhooks == []
    assert read.meta == {}
    assert (read.success_callback, read.failure_callback, read.stopped_callback) == (None, None, None)
    desk.work()
    assert job.get_status() is JobStatus.FINISHED


def test_timeout_and_retries_are_those_declared_not_those_in_redis(desk: Desk) -> None:
    register("test.ok", lambda: None, JobSpec("events", 30, (3, (1, 5, 30))))
    job = desk.put_raw(json.dumps(["test.ok", None, [], {}]).encode(), timeout="999999")
    read = SwJob.fetch(job.id, connection=desk.client)
    assert read.timeout == 30
    assert (read.retries_left, read.retry_intervals) == (3, [1, 5, 30])


def test_a_job_beyond_its_timeout_is_ended_and_on_record(desk: Desk) -> None:
    register("test.slow", lambda: time.sleep(60), JobSpec("events", 1))
    desk.put("test.slow")
    desk.work()
    (run,) = desk.runs()
    assert run["outcome"] == "failed"
    assert "JobTimeoutException" in str(run["error"])


def test_retries_at_once_count_their_attempts(desk: Desk) -> None:
    def fail() -> None:
        raise ConnectionError("not now")

    register("test.fail", fail, JobSpec("events", 30, (2, (0,))))
    job = desk.put("test.fail")
    desk.work()
    assert [run["attempt"] for run in desk.runs()] == [1, 2, 3]
    assert {run["outcome"] for run in desk.runs()} == {"failed"}
    assert job.get_status() is JobStatus.FAILED


def test_failures_of_one_cause_share_a_fingerprint_and_hide_what_is_private(desk: Desk) -> None:
    def fail(*, order_id: int) -> None:
        raise ValueError(f"order {order_id} of someone@example.com cannot be read at postgresql://u:secret@h/db")

    register("test.fail", fail, JobSpec("events", 30))
    for order_id in (1, 99):
        desk.put("test.fail", order_id=order_id)
    desk.work()
    first, second = desk.runs()
    assert first["fingerprint"] == second["fingerprint"]
    assert "secret" not in str(first["error"])
    assert "someone" not in str(first["error"])


def test_a_database_error_is_described_without_its_row(engine: Engine) -> None:
    with pytest.raises(Exception) as caught, unit_of_work(engine) as conn:
        conn.exec_driver_sql(
            "insert into shops (name, time_zone, currency, created_at) values ('private', null, 'EUR', now())"
        )
    assert "private" not in describe(caught.value)
    assert "time_zone" in describe(caught.value)
    assert fingerprint("x", caught.value) != fingerprint("y", caught.value)


def test_a_result_that_json_does_not_know_is_kept_as_text(desk: Desk) -> None:
    register("test.odd", lambda: {"when": time.gmtime(0), "nul": "a\0b"}, JobSpec("events", 30))
    register("test.number", lambda: 7, JobSpec("events", 30))
    desk.put("test.odd")
    desk.put("test.number")
    desk.work()
    odd, number = desk.runs()
    assert odd["outcome"] == "finished"
    assert number["result"] == {"value": "7"}


def test_a_job_that_cannot_be_recorded_does_not_run(client: redis.Redis, registry: Registry) -> None:
    ran: list[int] = []
    register("test.ok", lambda: ran.append(1), JobSpec("events", 30))
    record_runs_with(PostgresRunRecorder("postgresql+psycopg://nobody:x@127.0.0.1:1/nothing"))
    queue = queue_named("events", client)
    job = queue.enqueue_call(func="test.ok")
    SwSimpleWorker([queue], connection=client, serializer="json").work(burst=True, logging_level="CRITICAL")
    assert ran == []
    assert job.get_status() is JobStatus.FAILED


def test_a_process_without_jobs_queues_by_name(client: redis.Redis, redis_url: str, registry: Registry) -> None:
    RqJobQueue(redis_url).enqueue("inbox.drain", shop_id=1, connection_id=2)
    (job,) = queue_named("events", client).get_jobs()
    assert (job.func_name, job.kwargs) == ("inbox.drain", {"shop_id": 1, "connection_id": 2})
    assert job.failure_ttl == FAILURE_SECONDS


def test_unknown_names_and_arguments_that_are_no_ids_are_not_queued(redis_url: str) -> None:
    queue = RqJobQueue(redis_url)
    with pytest.raises(BadInput):
        queue.enqueue("os.system", command="true")
    with pytest.raises(BadArguments):
        queue.enqueue("inbox.drain", shop_id=[1])


def test_a_queue_that_is_away_is_retryable() -> None:
    with pytest.raises(Retryable):
        RqJobQueue("redis://127.0.0.1:1/0").enqueue("inbox.drain", shop_id=1, connection_id=2)


def test_one_name_has_one_function(registry: Registry) -> None:
    register("test.ok", len, JobSpec("events", 30))
    register("test.ok", len, JobSpec("events", 30))
    with pytest.raises(ValueError, match="twice"):
        register("test.ok", print, JobSpec("events", 30))


def test_a_closed_run_is_not_reopened_but_an_abandoned_one_learns_the_truth(desk: Desk) -> None:
    register("test.ok", lambda: {"n": 1}, JobSpec("events", 30))
    desk.put("test.ok")
    desk.work()
    with unit_of_work(desk.engine) as conn:
        (row,) = fetch(conn, "select outcome from job_runs")
    assert row["outcome"] == "finished"
