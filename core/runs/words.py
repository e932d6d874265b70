"""Registered jobs in the words of people. Pure."""

from __future__ import annotations

from collections.abc import Mapping

FUNCTIONS: Mapping[str, str] = {
    "inbox.drain": "handling what channels told us",
    "sweep.inbox": "looking for messages left behind",
    "stock.push": "sending quantities",
    "stock.feed": "sending quantities in a feed",
    "stock.check": "checking quantities that were sent",
    "stock.measure": "measuring stock",
    "sweep.stock": "looking for quantities left unsent",
    "sweep.exposure": "looking at what is still exposed",
    "sweep.exposure_alerts": "looking for units that could be oversold",
    "sweep.feeds": "looking at feeds under way",
    "sweep.shipments": "looking for packages not told",
    "sweep.policies": "looking for listings to plan again",
    "sweep.subscriptions": "looking at subscriptions",
    "sweep.external": "looking at stock kept by channels",
    "policies.replan": "planning listings again",
    "promises.expire": "ending promises that ran out",
    "changes.chase": "following changes to every channel",
    "poll.orders": "asking for orders",
    "poll.notices": "asking for notifications",
    "connection.poll": "asking for orders",
    "connection.sync": "reading a whole channel",
    "connection.test": "testing a connection",
    "products.read": "reading the products of a channel",
    "products.push": "keeping the products of a channel in step",
    "sweep.products": "looking at products kept in step",
    "connection.external": "reading stock kept by a channel",
    "connection.subscriptions": "keeping subscriptions up",
    "orders.read": "reading single orders",
    "notices.read": "reading notifications",
    "shipments.confirm": "confirming packages",
    "outbox.relay": "sending notices",
    "commissions.release": "making earnings payable",
    "commissions.catch_up": "booking the money of earlier orders",
    "ledger.seal": "sealing the ledger",
    "ledger.anchor": "putting the ledger’s head on record",
    "audit.nightly": "the nightly audit",
    "reconcile.stock": "comparing stock with a channel",
    "reconcile.orders": "comparing orders with a channel",
    "reconcile.orders_nightly": "comparing all orders with a channel",
    "sweep.reconciliation": "looking for comparisons left behind",
    "sweep.alerts": "looking at what to alert on",
    "reports.daily": "the day’s report",
    "reports.correct": "correcting a day’s report",
    "schedules.ring": "running a schedule now",
    "targets.drain": "telling a target the catalogue",
    "targets.drain_2": "telling a target the catalogue",
    "targets.drain_3": "telling a target the catalogue",
    "targets.drain_4": "telling a target the catalogue",
    "targets.full": "comparing all that a target holds",
    "sweep.targets": "looking for what targets are not told",
    "sync.targets": "beginning comparisons of targets",
    "imports.work": "importing a file of products",
    "exports.write": "writing products to a file",
    "sweep.imports": "looking for imports and exports left behind",
    "runs.sweep": "tidying up after runs",
    "runs.prune": "pruning old runs",
    "documents.prune": "deleting files that are over",
    "runs.recover": "doing failed work again",
    "failures.weigh": "looking how far failures reach",
}
"""What a registered job does, as people say it."""


def function(name: str) -> str:
    """What a registered job does, as a sentence begins; one without words keeps its own name."""
    said = FUNCTIONS.get(name)
    return f"{said[:1].upper()}{said[1:]}" if said else name
