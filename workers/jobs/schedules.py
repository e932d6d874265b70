"""Job: schedules.ring."""

from __future__ import annotations

from typing import Any

import redis

from core import bootstrap
from core.adapters.rq import FAILURE_SECONDS, JOB_QUEUES, RESULT_SECONDS, doorbell_client, no_answer, queue_named
from core.bootstrap import Application
from core.db import read_only
from core.runs import scheduling
from core.runs.schedules import SCHEDULES
from workers.registry import job


@job("schedules.ring", queue="polls", timeout=30)
def ring_schedules() -> dict[str, Any]:
    """Ring for turns that people asked for, each in the queue of its own job."""
    return {"rung": ring_asked(bootstrap.application())}


def ring_asked(app: Application) -> int:
    """Ring for every turn that waits; returns how many schedules that are. A ring more than needed finds nothing."""
    with read_only(app.engine) as conn:
        wanted = {row["name"] for row in scheduling.waiting_requests(conn)}
    names = [schedule for schedule in SCHEDULES if schedule.name in wanted]
    if not names:
        return 0
    client = doorbell_client(app.settings.redis_url)
    try:
        for schedule in names:
            queue_named(JOB_QUEUES[schedule.job], client).enqueue_call(
                func=schedule.ring_job,
                result_ttl=RESULT_SECONDS,
                failure_ttl=FAILURE_SECONDS,
                description=schedule.ring_job,
            )
    except redis.RedisError as error:
        raise no_answer(error) from error
    finally:
        client.close()
    return len(names)
