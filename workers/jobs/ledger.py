"""Jobs: ledger.seal, ledger.anchor."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from core import bootstrap
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.ledger import anchoring, sealing, verifying
from workers.registry import job


@job("ledger.seal", queue="money", timeout=600)
def seal_ledgers() -> dict[str, Any]:
    """Seal what every shop has posted since, each seal in its commit: a death in between leaves a whole chain."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        shops = verifying.shops(conn)
    sealed = {shop_id: seal_all(app.engine, shop_id, utc_now()) for shop_id in shops}
    return {"sealed": sum(sealed.values()), "shops": sum(count > 0 for count in sealed.values())}


def seal_all(engine: Engine, shop_id: int, now: datetime, whole: bool = False) -> int:
    """Seal until nothing is left; returns how many transactions that were."""
    total = 0
    while True:
        with unit_of_work(engine) as conn:
            made = sealing.seal(conn, shop_id, now, whole=whole)
        if made is None:
            return total
        total += made.transactions


@job("ledger.anchor", queue="money", timeout=900)
def anchor_ledger(*, shop_id: int) -> dict[str, Any]:
    """Seal all that a shop ever posted, then put the chain's head and its seals since on record outside."""
    app = bootstrap.application()
    now = utc_now()
    sealed = seal_all(app.engine, shop_id, now, whole=True)
    with unit_of_work(app.engine) as conn:
        made = anchoring.anchor(conn, shop_id, app.settings.anchor_dir, now)
    if made is None:
        return {"sealed": sealed, "anchored": False}
    return {
        "sealed": sealed,
        "anchored": True,
        "day": made.day.isoformat(),
        "seal": made.number,
        "head": made.head.hex(),
    }
