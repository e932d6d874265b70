"""The fake Klaviyo put together: what it remembers, what it does by itself, and its API."""

from collections.abc import Callable

from starlette.routing import Route

from sandbox.clock import AnyClock
from sandbox.faults import Faults
from sandbox.outbox import Outbox
from sandbox.store import Store
from sandbox.vendors.klaviyo.catalogue import Catalogue
from sandbox.vendors.klaviyo.catalogue_api import CatalogueApi
from sandbox.vendors.klaviyo.gate import Gate
from sandbox.vendors.klaviyo.jobs import Jobs
from sandbox.vendors.klaviyo.jobs_api import JobsApi


class Klaviyo:
    def __init__(self, store: Store, outbox: Outbox, faults: Faults, seed: int) -> None:
        self._store = store
        self.catalogue = Catalogue(store, outbox.date)
        self.jobs = Jobs(store, outbox, faults, self.catalogue, seed)

    def duties(self) -> dict[str, Callable[[int], None]]:
        return self.jobs.duties()

    def routes(self, clock: AnyClock, settle: Callable[[], None]) -> list[Route]:
        gate = Gate(self._store, clock, settle)
        gate.add(CatalogueApi(self._store, self.catalogue).operations())
        gate.add(JobsApi(self._store, self.jobs, self.catalogue).operations())
        return gate.routes()
