"""Writing the catalogue as a file: what the job does, once at a time."""

from __future__ import annotations

from core.bootstrap import Application
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.errors import Anticipated, Permanent
from core.importing import exporting, holding
from core.importing.exporting import Export
from core.messaging.doorbell import Lane, lane_lock

LOCK_SECONDS = 3_600
"""As long as the job."""


def write(app: Application, shop_id: int, export_id: int) -> Export:
    """Write an export to its end, or until somebody stops it; returns it as it is then.

    What cannot be written is given up, with the reason; so is what our program fails at, and that error is raised all
    the same, once. What may succeed later is raised and leaves the export to be begun again.
    """
    with lane_lock(app.engine, Lane("exports", shop_id, export_id), LOCK_SECONDS) as is_ours:
        if is_ours:
            _write(app, shop_id, export_id)
    with read_only(app.engine) as conn:
        return exporting.export(conn, shop_id, export_id)


def _write(app: Application, shop_id: int, export_id: int) -> None:
    try:
        exporting.write(app.engine, app.documents, shop_id, export_id, utc_now)
    except (Anticipated, Permanent) as error:
        _give_up(app, shop_id, export_id, error)
    except Exception as error:
        if holding.is_broken(error):
            _give_up(app, shop_id, export_id, error)
        raise


def _give_up(app: Application, shop_id: int, export_id: int, error: Exception) -> None:
    with unit_of_work(app.engine) as conn:
        exporting.fail(conn, shop_id, export_id, holding.why(error), utc_now())
