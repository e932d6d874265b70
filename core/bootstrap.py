"""The one place where settings, database, queue and adapters are put together."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import Engine

import core.adapters.registry as registry
from core.adapters.amazon import marketplaces
from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import ApiCall
from core.adapters.mail import SmtpMessenger
from core.adapters.notices import WebhookMessenger
from core.adapters.probing import Overhearing
from core.adapters.rq import JOB_QUEUES, RqJobQueue
from core.adapters.rq_reading import RqBroker
from core.adapters.storage import LocalFolder
from core.catalogue_target import CatalogueTarget
from core.clock import utc_now
from core.config import MissingSetting, Settings
from core.connections.checkup import Probe
from core.connections.operations import open_secrets
from core.connections.queries import ConnectionRow
from core.connections.switches import standing
from core.connections.tokens import SealedShelf
from core.db import engine_of_jobs, make_engine, read_only, unit_of_work
from core.documents import ServedStore
from core.letters import Answer, Attachment, Letter, SlackAddress
from core.logs import bound_field
from core.messaging import notice_channels
from core.messaging.doorbell import Doorbell
from core.messaging.outbox import Outgoing, Sender
from core.ports import Broker, Effect, Mailbox, Mentions, SalesChannel, TaxonomySource
from core.product_ports import ProductChannel
from core.runs.operations import record_calls

_CALLS_AT_ONCE = 50


def _forget(_call: ApiCall) -> None:
    """For calls in nobody's name."""


@dataclass(slots=True)
class CallLog:
    """Collects outgoing calls and writes them in batches; `flush` at the end of the work."""

    engine: Engine
    _waiting: list[Any] = field(default_factory=list)

    def record(self, call: Any) -> None:
        """Take one call; safe to use from several threads."""
        self._waiting.append(call)
        if len(self._waiting) >= _CALLS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits, in a unit of work of its own."""
        calls, self._waiting = self._waiting, []
        if calls:
            with unit_of_work(self.engine) as conn:
                record_calls(conn, calls, sync_run_id=bound_field("sync_run"))


@dataclass(frozen=True, slots=True)
class Application:
    """What an entry point works with. Made once per process, after any fork."""

    settings: Settings
    engine: Engine
    queue: RqJobQueue
    doorbell: Doorbell
    broker: Broker
    documents: ServedStore

    @contextmanager
    def channel(self, connection: ConnectionRow) -> Iterator[SalesChannel]:
        """The adapter of a connection; its calls are on record when the block ends, however it ends."""
        with self._lent(connection) as (config, deps):
            yield registry.make_channel(config, deps)

    @contextmanager
    def target(self, connection: ConnectionRow) -> Iterator[CatalogueTarget]:
        """The adapter of a connection that is told the catalogue; as `channel` otherwise."""
        with self._lent(connection) as (config, deps):
            yield registry.make_target(config, deps)

    @contextmanager
    def mailbox(self, connection: ConnectionRow) -> Iterator[Mailbox | None]:
        """Where a connection's channel leaves its notifications, if it does; as `channel` otherwise."""
        with self._lent(connection) as (config, deps):
            yield registry.make_mailbox(config, deps)

    @contextmanager
    def taxonomy(self, connection: ConnectionRow) -> Iterator[TaxonomySource | None]:
        """Who tells the categories that a connection's channel puts products into, if it does; as `channel` else."""
        with self._lent(connection) as (config, deps):
            yield registry.make_taxonomy(config, deps)

    @contextmanager
    def products(self, connection: ConnectionRow) -> Iterator[ProductChannel | None]:
        """The products of a connection's channel, if it keeps any; as `channel` otherwise."""
        with self._lent(connection) as (config, deps):
            yield registry.make_products(config, deps)

    @contextmanager
    def _lent(self, connection: ConnectionRow) -> Iterator[tuple[ConnectionConfig, Deps]]:
        with read_only(self.engine) as conn:
            secrets = open_secrets(conn, self.settings.secret_keys, connection.shop_id, connection.id)
        log = CallLog(self.engine)
        config = ConnectionConfig(
            shop_id=connection.shop_id,
            connection_id=connection.id,
            vendor=connection.vendor,
            base_url=connection.base_url,
            account_ref=connection.account_ref,
            currency=connection.currency,
            settings=connection.settings,
            secrets=secrets,
        )
        deps = Deps(
            record=log.record,
            redis_url=self.settings.redis_url,
            transport=None,
            now=utc_now,
            # The job or command at work, as its log lines name it.
            purpose=bound_field("function"),
            held=lambda effect: self._held(connection, effect),
            shelf=SealedShelf(self.engine, self.settings.secret_keys, connection.shop_id, connection.id),
        )
        try:
            yield config, deps
        finally:
            log.flush()

    def probe(
        self,
        vendor: str,
        base_url: str,
        account_ref: str,
        currency: str,
        settings: Mapping[str, Any],
        secrets: Mapping[str, str],
        connection: ConnectionRow | None = None,
    ) -> Probe:
        """What a vendor really answers to some credentials, which need not be stored; nothing can be changed by it.

        Where it is asked for a connection that there is, the calls are on record as that one's, and out of its quota.
        Raises core.errors.Retryable or Permanent as the vendor's adapter does.
        """
        ids = (0, 0) if connection is None else (connection.shop_id, connection.id)
        config = ConnectionConfig(*ids, vendor, base_url, account_ref, currency, settings, secrets)
        ear = Overhearing(utc_now)
        log = CallLog(self.engine)
        calls: list[ApiCall] = []

        def record(call: ApiCall) -> None:
            calls.append(call)
            if connection is not None:
                log.record(call)

        deps = Deps(
            record=record,
            redis_url=self.settings.redis_url,
            transport=ear,
            now=utc_now,
            purpose=bound_field("function"),
            held=lambda _effect: "it is only looked at",
        )
        try:
            account = registry.account(config, deps)
        finally:
            ear.close()
            log.flush()
        # A vendor may have an interface for each thing, each of a version: the one that the account names counts.
        asked = account.api_version
        versions = [call.api_version for call in calls if call.api_version and call.asked_version in (None, asked)]
        quotas = {call.operation: call.quota_left for call in calls if call.quota_left}
        return Probe(account, versions[-1] if versions else None, ear.clock_ahead, ear.token_lives, quotas)

    def queue_problem(
        self,
        vendor: str,
        settings: Mapping[str, Any],
        secrets: Mapping[str, str],
        connection: ConnectionRow | None = None,
    ) -> str | None:
        """Why no notification can come into a queue, as it answers itself; None where they can, or there is none.

        Nothing need be stored, and nothing is changed. Raises core.errors.Retryable or Permanent as the vendor's
        adapter does.
        """
        ids = (0, 0) if connection is None else (connection.shop_id, connection.id)
        log = CallLog(self.engine)
        record = log.record if connection is not None else _forget
        deps = Deps(record, self.settings.redis_url, None, now=utc_now, purpose=bound_field("function"))
        try:
            return registry.queue_problem(ConnectionConfig(*ids, vendor, "", "", "", settings, secrets), deps)
        finally:
            log.flush()

    def _held(self, connection: ConnectionRow, effect: Effect) -> str | None:
        """Why a call may not leave now; asked of Postgres each time, so that a stop holds for processes at work too."""
        with read_only(self.engine) as conn:
            return standing(conn, connection.shop_id, connection.id).held(effect)

    def webhook_address(self, connection: ConnectionRow) -> str:
        """Where a connection's channel is to call us."""
        return f"{self.settings.api_url}/webhooks/{connection.vendor}/{connection.id}"

    def sender(self) -> Sender:
        """What takes operators' notices to the channel that each is for, or to the installation's own address."""
        return lambda message: _take(self.settings, message)


def _take(settings: Settings, message: Outgoing) -> Answer:
    """Raises core.errors.Retryable or Permanent by what came back; Permanent too where the address cannot be opened."""
    letter = _letter(settings, message)
    if message.target is None:
        if settings.notice_url is None:
            raise MissingSetting("SWITCHYARD_NOTICE_URL", "without it only channels of the shop's own are told")
        return WebhookMessenger(settings.notice_url, may_be_inside=True).send(letter)
    address = notice_channels.opened(settings.secret_keys, message.target)
    if isinstance(address, SlackAddress):
        return WebhookMessenger(address.url, may_be_inside=settings.notices_inside).send(letter)
    return SmtpMessenger(address, may_be_inside=settings.notices_inside).send(letter)


def _letter(settings: Settings, message: Outgoing) -> Letter:
    """What a row of the outbox says; one from before notices had more than a text says that."""
    said = message.payload
    text = str(said.get("text") or message.kind)
    alert = re.match(r"alert:([0-9]{1,18})\b", message.dedupe_key)
    files = [
        Attachment(file["name"], file["media_type"], b64decode(file.get("content", "")))
        for file in said.get("attachments", ())
    ]
    return Letter(
        key=message.dedupe_key,
        shop=message.shop,
        severity=said.get("severity", "attention"),
        subject=said.get("subject") or text.partition("\n")[0][:150],
        text=text,
        link=f"{settings.dashboard_url}/alerts?shop={message.shop_id}" + (f"&alert={alert[1]}" if alert else ""),
        at=message.created_at,
        html=said.get("html"),
        attachments=tuple(files),
        taken=frozenset(said.get("taken", ())),
    )


def make_application(settings: Settings, *, name: str = "switchyard") -> Application:
    """Put a process together."""
    return _made(settings, make_engine(settings.database_url, name=name))


def _made(settings: Settings, engine: Engine) -> Application:
    queue = RqJobQueue(settings.redis_url)
    documents = LocalFolder(settings.documents_dir, settings.documents_url, settings.secret_keys)
    return Application(settings, engine, queue, Doorbell(queue), RqBroker(settings.redis_url), documents)


@lru_cache(maxsize=1)
def _application_of(process: int) -> Application:
    settings = Settings.from_environment()
    return _made(settings, engine_of_jobs(settings.database_url))


def application() -> Application:
    """The application of this process, from the environment. A forked child makes its own."""
    return _application_of(os.getpid())


def warm_up(*, reads_queues: bool = False) -> None:
    """Load what the first call to a vendor would, and open nothing: for a process that forks (`registry.warm_up`)."""
    registry.warm_up(reads_queues=reads_queues)


def job_names() -> frozenset[str]:
    """Every job that is ours, by its registered name."""
    return frozenset(JOB_QUEUES)


def parser(vendor: str, currency: str, settings: Mapping[str, Any] = MappingProxyType({})) -> Callable[..., Any]:
    """The pure body parser of a connection with those settings, which needs neither credentials nor a network."""
    return registry.parser(vendor, currency, settings)


def mentions(vendor: str, topic: str, body: bytes, currency: str) -> Mentions:
    """What an inbox body is about, be it readable or not (see `core.ports.Mentions`). Never raises."""
    return registry.mentions(vendor, topic, body, currency)


def amazon_marketplace(said: str, region: str | None = None) -> marketplaces.Marketplace:
    """The marketplace that a person names by its id or country. Raises BadInput."""
    return marketplaces.find(said, region)


def amazon_regions() -> tuple[str, ...]:
    """The regions that Amazon's sellers have accounts in."""
    return tuple(marketplaces.REGIONS)


def bad_queue(vendor: str, settings: Mapping[str, Any]) -> str | None:
    """Why what settings name cannot be a queue that the vendor tells things by; None where it can, or there is none."""
    return registry.bad_queue(vendor, settings)


def webhook_verifier(vendor: str) -> Callable[[Sequence[str], bytes, str | None], bool]:
    """The signature check of a vendor's webhooks: (secrets, raw body, header) -> genuine."""
    return registry.verifiers[vendor]
