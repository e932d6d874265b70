"""Which jobs make somebody pay or be paid. Whoever declares a job says so here; having one done again asks a person."""

from __future__ import annotations

from collections.abc import Mapping

from core.runs.schedules import PREFIX

MOVES_MONEY: Mapping[str, bool] = {
    "inbox.drain": False,
    "sweep.inbox": False,
    "stock.push": False,
    "sweep.stock": False,
    "policies.replan": False,
    "sweep.policies": False,
    "promises.expire": False,
    "stock.feed": False,
    "stock.check": False,
    "sweep.exposure": False,
    "changes.chase": False,
    "poll.orders": False,
    "connection.poll": False,
    "orders.read": False,
    "poll.notices": False,
    "notices.read": False,
    "sweep.subscriptions": False,
    "sweep.external": False,
    "connection.external": False,
    "connection.subscriptions": False,
    "outbox.relay": False,
    # Amazon charges the buyer when it is told that the goods have left.
    "shipments.confirm": True,
    "sweep.shipments": False,
    "sweep.alerts": False,
    "connection.sync": False,
    "connection.test": False,
    "products.read": False,
    "products.push": False,
    "sweep.products": False,
    # They post what is already owed or already payable, each once by its key; nothing is paid out.
    "commissions.release": False,
    "commissions.catch_up": False,
    "ledger.seal": False,
    "ledger.anchor": False,
    "stock.measure": False,
    "audit.nightly": False,
    "reports.daily": False,
    "reports.correct": False,
    "reconcile.stock": False,
    "sweep.reconciliation": False,
    "reconcile.orders": False,
    "reconcile.orders_nightly": False,
    "schedules.ring": False,
    "targets.drain": False,
    "targets.drain_2": False,
    "targets.drain_3": False,
    "targets.drain_4": False,
    "targets.full": False,
    "sweep.targets": False,
    "sync.targets": False,
    "imports.work": False,
    "exports.write": False,
    "sweep.imports": False,
    "runs.sweep": False,
    "runs.prune": False,
    "documents.prune": False,
    "runs.recover": False,
    "failures.weigh": False,
}
"""By the registered name of every job."""


def moves_money(function: str) -> bool:
    """Whether a run of the job may move money; what nobody has declared may."""
    return MOVES_MONEY.get(function.removeprefix(PREFIX), True)
