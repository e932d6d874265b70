"""Writing the catalogue as a file: what the job does, once at a time."""

from __future__ import annotations

import errno

from rq.timeouts import JobTimeoutException
from sqlalchemy.exc import DBAPIError

from core.bootstrap import Application
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.errors import Anticipated, Permanent, SwitchyardError
from core.importing import exporting, holding
from core.importing.exporting import ATTEMPTS_MAX, Export
from core.messaging.doorbell import Lane, lane_lock

LOCK_SECONDS = 3_600
"""As long as the job."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def write(app: Application, shop_id: int, export_id: int) -> Export:
    """Write an export to its end, or until somebody stops it; returns it as it is then.

    What cannot be written is given up, with the reason; so is what our program fails at, and that error is raised all
    the same, once. What may succeed later is raised and leaves the export to be begun again, until that was tried
    often enough.
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
        _give_up(app, shop_id, export_id, holding.why(error))
    except Exception as error:
        if holding.is_broken(error):
            _give_up(app, shop_id, export_id, holding.why(error))
        elif _was_last(app, shop_id, export_id):
            _give_up(app, shop_id, export_id, _why(error))
        raise


def _was_last(app: Application, shop_id: int, export_id: int) -> bool:
    with read_only(app.engine) as conn:
        return exporting.export(conn, shop_id, export_id).attempts >= ATTEMPTS_MAX


def _why(error: Exception) -> str:
    """Why it broke off each time, and what a person can do."""
    tried = f"it was tried {ATTEMPTS_MAX} times"
    if isinstance(error, SwitchyardError):
        return f"{tried}: {error}"
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return f"{tried}, and there is no room left on the disk where it is written: free some, and export again"
    if isinstance(error, JobTimeoutException):
        return f"{tried}, and each time it took longer than an hour: export fewer products at a time"
    kind = type(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error).__name__
    return f"{tried} and broke off each time ({kind}): see whether database and disk are well, and export again"


def _give_up(app: Application, shop_id: int, export_id: int, why: str) -> None:
    with unit_of_work(app.engine) as conn:
        exporting.fail(conn, shop_id, export_id, why, utc_now())
