"""Job: outbox.relay."""

from __future__ import annotations

import time
from typing import Any

from core import bootstrap
from core.clock import utc_now
from core.messaging import outbox
from workers.registry import job

RELAY_SECONDS = 20


@job("outbox.relay", queue="polls", timeout=60)
def relay_outbox() -> dict[str, Any]:
    """Say what is due; without an address for operators' notices there is nothing to say it to."""
    app = bootstrap.application()
    send = app.sender()
    said = 0
    ends_at = time.monotonic() + RELAY_SECONDS
    while send is not None and time.monotonic() < ends_at and outbox.relay_one(app.engine, send, utc_now()):
        said += 1
    return {"said": said}
