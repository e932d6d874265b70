"""The process's own application, as screens about jobs and failures need it."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import Engine

from core import bootstrap
from core.messaging.doorbell import Doorbell
from core.ports import Broker, JobQueue


class Application(Protocol):
    """What such acts need: rows, queue, bell, and the broker's registries."""

    @property
    def engine(self) -> Engine: ...

    @property
    def queue(self) -> JobQueue: ...

    @property
    def doorbell(self) -> Doorbell: ...

    @property
    def broker(self) -> Broker: ...


def application() -> Application:
    """The process's own application, put together once."""
    return bootstrap.application()
