"""Reading a whole catalogue: written down by the channel where it is large, else page by page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import datetime, timedelta

from core.bootstrap import Application
from core.clock import utc_now
from core.connections import watching
from core.connections.queries import ConnectionRow
from core.db import unit_of_work
from core.errors import Permanent, Retryable
from core.logs import mask
from core.ports import CatalogueExport, ChannelListing, SalesChannel

log = logging.getLogger(__name__)

EXPORT_FROM = 1_000
"""Listings from which a catalogue is exported: fewer are read sooner by pages, more would use up the quota."""

# A duration of the channel's side: divided by the connection's clock factor.
PATIENCE = timedelta(minutes=1)
"""So long a worker waits for an export; after that its end, or the sweep of runs, rings the sync again."""
FRESH_FOR = timedelta(hours=1)
GIVEN_UP_AFTER = timedelta(hours=3)
"""An export that is not written by then hangs at the channel."""
_PAUSE = 2.0
_PAUSE_MAX = 15.0


class StillWritten(Retryable):
    """The channel has not written its catalogue down yet."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"the channel is still writing its catalogue down (export {ref}): read when it has")


def read_catalogue(
    app: Application,
    row: ConnectionRow,
    channel: SalesChannel,
    count: int | None,
    tell: Callable[[str, int], None],
    sold_until: datetime | None = None,
) -> Iterator[Sequence[ChannelListing]]:
    """The whole catalogue by page, `count` listings or so.

    An export that is under way is picked up, whoever began it; one that came to nothing is made up for by pages: they
    are slower and always there. `tell` is called with the step and how many objects it has done, at least every few
    seconds. Raises StillWritten when the channel takes long: the next run finds the export again, with `sold_until`,
    the second up to which everything that happened to orders had happened by now.
    """
    if count is None or count < EXPORT_FROM:
        yield from channel.listings()
        return
    export = written(app, row, channel, tell, sold_until)
    if export is not None:
        is_whole = yield from _exported(channel, export)
        _remember(app, row, None)
        if is_whole:
            return
        tell("reading the catalogue by pages", 0)
    yield from channel.listings()


def _exported(channel: SalesChannel, export: CatalogueExport) -> Generator[Sequence[ChannelListing], None, bool]:
    """Its pages; returns whether it was whole: one without anything in it is not, for a catalogue that has listings."""
    has_any = False
    try:
        for page in channel.exported(export):
            has_any = True
            yield page
    except (Retryable, Permanent) as error:
        log.warning("the export cannot be read, the catalogue is read by pages: %s", mask(str(error)))
        return False
    return has_any and export.state == "written"


def written(
    app: Application,
    row: ConnectionRow,
    channel: SalesChannel,
    tell: Callable[[str, int], None],
    sold_until: datetime | None = None,
) -> CatalogueExport | None:
    """An export that can be read, begun unless one is under way; None where there will be none. Raises StillWritten."""
    try:
        export = _under_way(row, channel) or channel.begin_export()
        if export is None:
            return None
        _remember(app, row, export.ref, sold_until)
        export = _awaited(row, channel, export, tell)
    except StillWritten:
        raise
    except (Retryable, Permanent) as error:
        log.warning("no export, the catalogue is read by pages: %s", mask(str(error)))
        export = None
    if export is None or export.state == "lost":
        _remember(app, row, None)
        return None
    return export


def _under_way(row: ConnectionRow, channel: SalesChannel) -> CatalogueExport | None:
    """The one that somebody began before us, unless what it says is old by now."""
    ref = row.settings.get(watching.EXPORT)
    export = channel.export(str(ref)) if ref else None
    if export is None or export.state not in ("running", "written"):
        return None
    is_old = utc_now() - export.began_at > FRESH_FOR
    return None if is_old and export.state == "written" else export


def _awaited(
    row: ConnectionRow, channel: SalesChannel, export: CatalogueExport, tell: Callable[[str, int], None]
) -> CatalogueExport | None:
    factor = float(row.settings.get("clock_factor") or 1)
    ends_at, pause = time.monotonic() + PATIENCE.total_seconds() / factor, _PAUSE
    while export.state == "running":
        if utc_now() - export.began_at > GIVEN_UP_AFTER:
            log.warning("export %s has hung for hours, the catalogue is read by pages", export.ref)
            return None
        tell("the channel is writing its catalogue down", export.objects)
        if time.monotonic() > ends_at:
            raise StillWritten(export.ref)
        time.sleep(min(5.0, pause / factor))
        pause = min(_PAUSE_MAX, pause * 1.5)
        found = channel.export(export.ref)
        if found is None:
            return None
        export = found
    return export


def forget(app: Application, row: ConnectionRow) -> None:
    """The export was read, or is of no use: the next reading begins another one."""
    _remember(app, row, None)


def _remember(app: Application, row: ConnectionRow, ref: str | None, sold_until: datetime | None = None) -> None:
    with unit_of_work(app.engine) as conn:
        watching.note_export(conn, row.shop_id, row.id, ref, sold_until)
