"""Job: connection.test."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from core import bootstrap
from core.clock import utc_now
from core.connections import checkup, queries
from core.connections.checkup import Probe
from core.connections.operations import open_secrets
from core.connections.queries import ConnectionRow
from core.db import unit_of_work
from core.errors import Permanent, Retryable
from core.logs import mask
from core.runs import operations as runs
from workers.registry import job


@job("connection.test", queue="polls", timeout=60)
def test_connection(*, shop_id: int, connection_id: int, sync_run_id: int) -> dict[str, Any]:
    """Ask a channel whose account it is and what it allows; the answer stays with the run that asked for it.

    It reads only, so that a paused connection can be tested too. A no is an answer, not a failed job.
    """
    app = bootstrap.application()
    with unit_of_work(app.engine) as conn:
        if not runs.start_sync(conn, shop_id, sync_run_id, utc_now()):
            return {"superseded": True}
        row = queries.connection(conn, shop_id, connection_id)
    try:
        with unit_of_work(app.engine) as conn:
            secrets = open_secrets(conn, app.settings.secret_keys, shop_id, connection_id)
        answer = ask(app, row, secrets, utc_now())
    except (Retryable, Permanent) as error:
        with unit_of_work(app.engine) as conn:
            runs.fail_sync(conn, shop_id, sync_run_id, utc_now(), mask(str(error)))
        return {"failed": mask(str(error))}
    except Exception as error:
        with unit_of_work(app.engine) as conn:
            runs.fail_sync(conn, shop_id, sync_run_id, utc_now(), f"stopped by {type(error).__name__}")
        raise
    with unit_of_work(app.engine) as conn:
        runs.finish_sync(conn, shop_id, sync_run_id, utc_now(), answer)
    return {"elapsed_ms": answer["elapsed_ms"]}


class Probing(Protocol):
    """Whoever can look what a vendor really answers to some credentials."""

    def probe(
        self,
        vendor: str,
        base_url: str,
        account_ref: str,
        currency: str,
        settings: Mapping[str, Any],
        secrets: Mapping[str, str],
        connection: ConnectionRow | None = None,
    ) -> Probe: ...


def ask(app: Probing, row: ConnectionRow, secrets: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """The channel's answer as a run keeps it: whose account it is, `granted` (None where it does not say), what was
    found (`findings`, as of `core.connections.checkup`), and `elapsed_ms`.

    Raises what the channel raises.
    """
    began = time.monotonic()
    probe = app.probe(row.vendor, row.base_url, row.account_ref, row.currency, row.settings, secrets, row)
    elapsed_ms = round((time.monotonic() - began) * 1000)
    account = probe.account
    return {
        "ref": account.ref,
        "name": account.name,
        "plan": account.plan,
        "granted": None if account.granted is None else sorted(account.granted),
        "findings": [
            dataclasses.asdict(found) for found in checkup.of_probe(probe, row.account_ref, row.currency, now)
        ],
        "elapsed_ms": elapsed_ms,
    }
