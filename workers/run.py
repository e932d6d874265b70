"""One worker process: `python -m workers.run --queue events`. The keeper's are the same, forked when all is loaded.

The worker forks for every job. Measured on two cores: a fork costs 20 ms, so a forking worker runs some 45 jobs a
second where an in-process one runs 220. A job here is a ring that drains hundreds of rows, or a call that waits on a
network, so that the 20 ms vanish; what they buy does not: a job that leaks, hangs in C code or is killed takes nothing
else along, its parent reports it at once, and a job whose machine died is found after 65 seconds instead of its
timeout and a minute.

Nothing but Redis is opened before the fork: a database connection must not have two owners. What a first call to a
vendor loads is loaded before it: a poll takes 85 ms of CPU without it and 45 with, a look into a queue of notifications
490 and 65.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import uuid

import click
import redis

from core import bootstrap, logs
from core.adapters.rq import JOB_QUEUES, SwWorker, queue_named, record_runs_with
from core.config import Settings
from core.errors import SwitchyardError
from workers import registry
from workers.queues import QUEUES
from workers.recording import PostgresRunRecorder

log = logging.getLogger(__name__)

# RQ looks after dead workers' jobs only when a dequeue returns, every WORKER_TTL - 15 seconds.
WORKER_TTL_SECONDS = 20
MAINTENANCE_SECONDS = 5
MONITORING_SECONDS = 5


def make_worker(queue: str, redis_url: str) -> SwWorker:
    """A worker for one queue, named so that people can tell where it runs."""
    # Without driver_info every job's connection would look up the client's version in files, and tell Redis.
    connection = redis.Redis.from_url(redis_url, driver_info=None)
    name = f"{queue}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    return SwWorker(
        [queue_named(queue, connection)],
        name=name,
        connection=connection,
        serializer="json",
        worker_ttl=WORKER_TTL_SECONDS,
        maintenance_interval=MAINTENANCE_SECONDS,
        job_monitoring_interval=MONITORING_SECONDS,
        log_job_description=False,
    )


def load(*, reads_queues: bool) -> None:
    """Load what a worker's jobs need, and open nothing: for a process that forks.

    `reads_queues`: whether notifications are read, too; that takes half a second and 20 MB more.
    """
    registry.load()
    bootstrap.warm_up(reads_queues=reads_queues)
    # What is loaded stays: the collector of a forked process would only copy its pages.
    gc.collect()
    gc.freeze()


def serve(queue: str) -> None:
    """Serve one queue until SIGTERM, when everything is loaded. Raises SwitchyardError for settings that are wrong."""
    logs.configure("worker")
    settings = Settings.from_environment()
    record_runs_with(PostgresRunRecorder(settings.database_url))
    worker = make_worker(queue, settings.redis_url)
    log.info("worker %s serves %s", worker.name, queue)
    with logs.bound(queue=queue):
        worker.work(with_scheduler=True, logging_level="WARNING")
    log.info("worker %s ended", worker.name)


@click.command()
@click.option("--queue", required=True, type=click.Choice(list(QUEUES)), help="The one queue this process serves.")
def main(queue: str) -> None:
    """Serve one queue until SIGTERM; a job at work is finished first."""
    logs.configure("worker")
    load(reads_queues=queue == JOB_QUEUES["notices.read"])
    try:
        serve(queue)
    except SwitchyardError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0)


if __name__ == "__main__":
    main()
