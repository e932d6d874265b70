"""What is declared beside the jobs agrees with the tables that other processes read."""

from __future__ import annotations

import inspect

import pytest

from core.adapters.rq import JOB_QUEUES, REGISTRY
from core.messaging.doorbell import LANE_JOBS
from workers import registry
from workers.queues import QUEUES
from workers.schedule import SCHEDULES


def test_every_name_of_the_table_is_declared_and_the_other_way_round() -> None:
    registry.load()
    declared = {name: entry.spec.queue for name, entry in REGISTRY.items() if not name.startswith("schedule.")}
    assert declared == dict(JOB_QUEUES)


def test_every_job_takes_keyword_ids_only() -> None:
    registry.load()
    for name in JOB_QUEUES:
        for parameter in inspect.signature(REGISTRY[name].function).parameters.values():
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, f"{name}: {parameter}"


def test_every_schedule_rings_as_a_job() -> None:
    registry.load()
    for schedule in SCHEDULES:
        ring = REGISTRY[schedule.ring_job]
        assert ring.spec.queue == JOB_QUEUES[schedule.job]
    assert len({schedule.entry_id for schedule in SCHEDULES}) == len(SCHEDULES)


def test_every_queue_and_lane_has_jobs() -> None:
    assert set(JOB_QUEUES.values()) == set(QUEUES)
    for queue, name in LANE_JOBS.items():
        # The seats of a target are lanes of one queue; products are read and written where catalogues are.
        queue_of_lane = {"products": "catalog"}.get(queue, queue)
        assert JOB_QUEUES[name] == ("targets" if queue.startswith("targets") else queue_of_lane)


@pytest.mark.parametrize(
    ("name", "queue", "timeout", "retry"),
    [
        ("inbox.drain", "nowhere", 30, None),
        ("inbox.drain", "stock", 30, None),
        ("not.in.the.table", "events", 30, None),
        ("inbox.drain", "events", 0, None),
        ("inbox.drain", "events", 100_000, None),
        ("inbox.drain", "events", 30, (0, [1])),
        ("inbox.drain", "events", 30, (1, [])),
        ("inbox.drain", "events", 30, (1, [-1])),
    ],
)
def test_a_declaration_that_disagrees_with_the_tables_is_refused(
    name: str, queue: str, timeout: int, retry: tuple[int, list[int]] | None
) -> None:
    with pytest.raises(ValueError, match="job"):
        registry.job(name, queue=queue, timeout=timeout, retry=retry)
