"""The fake Klaviyo put together: what it remembers, what it does by itself, and its API."""

from collections.abc import Callable

from starlette.routing import Route

from sandbox.clock import AnyClock
from sandbox.faults import Faults
from sandbox.outbox import Outbox
from sandbox.store import Store
from sandbox.vendors.klaviyo.catalogue import Catalogue
from sandbox.vendors.klaviyo.catalogue_api import CatalogueApi
from sandbox.vendors.klaviyo.events import Events
from sandbox.vendors.klaviyo.events_api import EventsApi
from sandbox.vendors.klaviyo.gate import Gate
from sandbox.vendors.klaviyo.imports import Imports
from sandbox.vendors.klaviyo.jobs import Jobs
from sandbox.vendors.klaviyo.jobs_api import JobsApi
from sandbox.vendors.klaviyo.profiles import Profiles
from sandbox.vendors.klaviyo.profiles_api import ProfilesApi


class Klaviyo:
    def __init__(self, store: Store, outbox: Outbox, faults: Faults, seed: int) -> None:
        self._store = store
        self.catalogue = Catalogue(store, outbox.date)
        self.jobs = Jobs(store, outbox, faults, self.catalogue, seed)
        self.profiles = Profiles(store, outbox.date)
        self.events = Events(store, outbox, faults, self.profiles)
        self.imports = Imports(store, outbox, self.profiles)
        self.catalogue.on_restock = self.events.restock

    def duties(self) -> dict[str, Callable[[int], None]]:
        return self.jobs.duties() | self.events.duties() | self.imports.duties()

    def routes(self, clock: AnyClock, settle: Callable[[], None]) -> list[Route]:
        gate = Gate(self._store, clock, settle)
        gate.add(CatalogueApi(self._store, self.catalogue).operations())
        gate.add(JobsApi(self._store, self.jobs, self.catalogue).operations())
        gate.add(ProfilesApi(self._store, self.profiles, self.imports).operations())
        gate.add(EventsApi(self._store, self.events, self.profiles, self.catalogue).operations())
        return gate.routes()
