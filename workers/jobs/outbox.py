"""Job: outbox.relay."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from core import bootstrap
from core.clock import utc_now
from core.db import unit_of_work
from core.messaging import gathering, outbox
from workers.registry import job

RELAY_SECONDS = 20
"""After that no other message is begun; one may take as long again (core.adapters.mail), and the job has 60 s."""


@job("outbox.relay", queue="polls", timeout=60)
def relay_outbox() -> dict[str, Any]:
    """Decide what is sent by itself and what is gathered, end what nobody hears, and say what is due."""
    app = bootstrap.application()
    has_default = app.settings.notice_url is not None
    with unit_of_work(app.engine) as conn:
        unheard = outbox.settle_unheard(conn, utc_now(), has_default=has_default)
    gathered = gathering.gather(app.engine, utc_now())
    send = app.sender()
    said = 0
    ends_at = time.monotonic() + RELAY_SECONDS
    while time.monotonic() < ends_at and outbox.relay_one(app.engine, send, utc_now(), has_default=has_default):
        said += 1
    return {"said": said, "unheard": unheard, **asdict(gathered)}
