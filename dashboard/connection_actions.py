"""What a person does to a connection: one core operation each, the ring after it, and a sentence of what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Engine

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.connections import switches
from core.db import read_only, unit_of_work
from core.inventory import comparison
from core.messaging.doorbell import Doorbell, Lane, ring_resumed
from core.ports import JobQueue
from core.targets import operations as targets


class Application(Protocol):
    """What these acts need: rows, the queue of jobs, and the bell that tells the pushes."""

    @property
    def engine(self) -> Engine: ...

    @property
    def queue(self) -> JobQueue: ...

    @property
    def doorbell(self) -> Doorbell: ...


def application() -> Application:
    """The process's own application, put together once."""
    return bootstrap.application()


def stop_all_writes(app: Application, shop_id: int, actor: Actor) -> str:
    """Let nothing leave that changes anything outside, at any connection of the shop."""
    with unit_of_work(app.engine) as conn:
        is_new = switches.stop_writes(conn, shop_id, None, actor, utc_now())
    return "All writes are stopped." if is_new else "All writes were stopped already: name and reason are as they were."


def resume_all_writes(app: Application, shop_id: int, connections: Sequence[int], actor: Actor) -> str:
    """End the stop of the whole shop and have what differs written; `connections` are those to be told."""
    with unit_of_work(app.engine) as conn:
        was_stopped = switches.resume_writes(conn, shop_id, None, actor, utc_now())
    for connection_id in connections:
        _ring(app, shop_id, connection_id)
    return "Writes go out again: what differs is written now." if was_stopped else "Writes were not stopped any more."


def stop_writes(app: Application, shop_id: int, connection_id: int, name: str, actor: Actor) -> str:
    """Let nothing leave that changes anything at one connection."""
    with unit_of_work(app.engine) as conn:
        is_new = switches.stop_writes(conn, shop_id, connection_id, actor, utc_now())
    return f"Writes to {name} are stopped." if is_new else f"Writes to {name} were stopped already."


def resume_writes(app: Application, shop_id: int, connection_id: int, name: str, actor: Actor) -> str:
    """End the stop of one connection and have what differs written."""
    with unit_of_work(app.engine) as conn:
        was_stopped = switches.resume_writes(conn, shop_id, connection_id, actor, utc_now())
    _ring(app, shop_id, connection_id)
    return f"Writes to {name} go out again." if was_stopped else f"Writes to {name} were not stopped any more."


def pause(app: Application, shop_id: int, connection_id: int, name: str, actor: Actor) -> str:
    """Neither ask a connection for orders nor write to it."""
    with unit_of_work(app.engine) as conn:
        is_new = switches.pause(conn, shop_id, connection_id, actor, utc_now())
    return f"{name} is paused." if is_new else f"{name} was paused already."


def resume(app: Application, shop_id: int, connection_id: int, name: str, actor: Actor) -> str:
    """End a pause: what was missed is asked for, and what differs is written."""
    with unit_of_work(app.engine) as conn:
        was_paused = switches.resume(conn, shop_id, connection_id, actor, utc_now())
        lane = targets.lane_to_ring(conn, shop_id, connection_id)
    if lane is not None:
        app.doorbell.ring(lane)
        return f"{name} is resumed: what differs is told now." if was_paused else f"{name} was not paused."
    ring_resumed(app.queue, app.doorbell, shop_id, connection_id)
    return f"{name} is resumed: what it sold meanwhile is asked for now." if was_paused else f"{name} was not paused."


def go_live(app: Application, shop_id: int, connection_id: int, name: str, zeroed_max: int, actor: Actor) -> str:
    """Write to a connection what differs, from now on; at most so many listings may be taken to zero by it.

    Raises NotCompared, TooManyZeroed.
    """
    with unit_of_work(app.engine) as conn:
        found = comparison.go_live(conn, shop_id, connection_id, actor, utc_now(), zeroed_max=zeroed_max)
    _ring(app, shop_id, connection_id)
    return f"{name} was live already." if found is None else f"{name} is live. {found.sentence()}"


def to_shadow(app: Application, shop_id: int, connection_id: int, name: str, actor: Actor) -> str:
    """Read and compare a connection, and write nothing to it."""
    with unit_of_work(app.engine) as conn:
        is_new = switches.to_shadow(conn, shop_id, connection_id, actor, utc_now())
    return f"{name} is in shadow mode." if is_new else f"{name} was in shadow mode already."


def _ring(app: Application, shop_id: int, connection_id: int) -> None:
    """Have what differs written: of a target the catalogue, of everybody else the stock."""
    with read_only(app.engine) as conn:
        lane = targets.lane_to_ring(conn, shop_id, connection_id)
    app.doorbell.ring(lane or Lane("stock", shop_id, connection_id))
