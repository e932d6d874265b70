"""Jobs: imports.work, exports.write, sweep.imports."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from core import bootstrap
from core.clock import utc_now
from core.db import read_only
from core.importing import exporting, queries, scratch
from workers import importing, product_files
from workers.hints import ring_once
from workers.registry import job

QUIET = timedelta(seconds=60)
"""An import that gave no sign of life for so long is rung for again: one that is at work takes no notice."""


@job("imports.work", queue="imports", timeout=3600)
def work(*, shop_id: int, import_id: int) -> dict[str, Any]:
    """Read, apply or take back a file of products, from where that was left."""
    run = importing.carry_on(bootstrap.application(), shop_id, import_id)
    return {"state": run.state, **{name: number for name, number in run.counts.items() if number}}


@job("exports.write", queue="imports", timeout=3600)
def write_export(*, shop_id: int, export_id: int) -> dict[str, Any]:
    """Write the catalogue as a file, from its beginning."""
    found = product_files.write(bootstrap.application(), shop_id, export_id)
    return {"state": found.state, "products": found.products_done, "rows": found.rows_done}


@job("sweep.imports", queue="imports", timeout=60)
def sweep_imports() -> dict[str, Any]:
    """Ring again for imports and exports that nobody works on, should a worker have died or a ring have been lost; and
    remove what the dead left on this machine's disk."""
    app = bootstrap.application()
    scratch.sweep(utc_now() - QUIET)
    with read_only(app.engine) as conn:
        waiting = queries.at_work(conn, utc_now() - QUIET)
        unwritten = exporting.at_work(conn, utc_now() - QUIET)
    for shop_id, import_id in waiting:
        ring_once(app, "imports.work", shop_id=shop_id, import_id=import_id)
    for shop_id, export_id in unwritten:
        ring_once(app, "exports.write", shop_id=shop_id, export_id=export_id)
    return {"rung": len(waiting) + len(unwritten)}
