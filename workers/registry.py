"""What may run: every job is declared with `@job` beside its function, in a module of `workers.jobs`.

    @job("inbox.drain", queue="events", timeout=60, retry=(3, [1, 5, 30]))
    def drain_inbox(*, shop_id: int, connection_id: int) -> dict[str, object]: ...

A job takes ids as keyword arguments and returns its business outcome (a dict, kept with the run) or None.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from core.adapters.rq import JOB_QUEUES, REGISTRY, JobSpec, register
from workers.queues import QUEUES

__all__ = ["REGISTRY", "job", "load"]

F = TypeVar("F", bound=Callable[..., Any])


def job(name: str, *, queue: str, timeout: int, retry: tuple[int, Sequence[int]] | None = None) -> Callable[[F], F]:
    """Declare the decorated function as the job `name`.

    `retry` is (how often, seconds before each time). Raises ValueError for a declaration that disagrees with the
    tables of queues.
    """
    _check_declaration(name, queue, timeout, retry)

    def declare(function: F) -> F:
        spec = JobSpec(queue, timeout, None if retry is None else (retry[0], tuple(retry[1])))
        register(name, function, spec)
        return function

    return declare


def _check_declaration(name: str, queue: str, timeout: int, retry: tuple[int, Sequence[int]] | None) -> None:
    if queue not in QUEUES:
        raise ValueError(f"job {name!r}: there is no queue {queue!r}")
    if JOB_QUEUES.get(name) != queue:
        raise ValueError(f"job {name!r} is declared for {queue!r}: enter the same in core.adapters.rq.JOB_QUEUES")
    if not 0 < timeout <= QUEUES[queue].timeout_seconds:
        raise ValueError(f"job {name!r}: queue {queue!r} allows 1 to {QUEUES[queue].timeout_seconds} seconds")
    if retry is not None and (retry[0] < 1 or not retry[1] or any(seconds < 0 for seconds in retry[1])):
        raise ValueError(f"job {name!r}: retry is (how often, seconds before each time)")


def load() -> None:
    """Import every module of `workers.jobs` and the table of schedules, so that the registry is complete."""
    for module in _job_modules():
        importlib.import_module(module)
    importlib.import_module("workers.schedule").register_rings()


def _job_modules() -> list[str]:
    try:
        package = importlib.import_module("workers.jobs")
    except ModuleNotFoundError as error:
        if error.name != "workers.jobs":
            raise
        return []
    return [f"workers.jobs.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
