"""Which adapter speaks for which vendor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from core.adapters import http
from core.adapters.amazon import AmazonSellerChannel, queues
from core.adapters.amazon.client import API_VERSION as AMAZON_VERSION
from core.adapters.amazon.mentions import mentions as amazon_mentions
from core.adapters.amazon.notifications import SqsMailbox
from core.adapters.amazon.parsing import parse as parse_amazon
from core.adapters.amazon.queues import BadQueue, QueueClient, policy_problem, queue_of
from core.adapters.base import ConnectionConfig, Deps
from core.adapters.klaviyo import KlaviyoTarget
from core.adapters.klaviyo.operations import REVISION as KLAVIYO_REVISION
from core.adapters.shopify import ShopifyChannel, verify_signature
from core.adapters.shopify.documents import API_VERSION as SHOPIFY_VERSION
from core.adapters.shopify.mentions import mentions as shopify_mentions
from core.adapters.shopify.parsing import parse as parse_shopify
from core.adapters.shopify.taxonomy import ShopifyTaxonomy
from core.catalogue_target import CatalogueTarget
from core.errors import Permanent
from core.ports import ChannelAccount, Facts, Mailbox, Mentions, SalesChannel, TaxonomySource
from core.product_ports import ProductChannel

_CHANNELS: Mapping[str, Callable[[ConnectionConfig, Deps], SalesChannel]] = {
    "shopify": ShopifyChannel,
    "amazon": AmazonSellerChannel,
}

_TARGETS: Mapping[str, Callable[[ConnectionConfig, Deps], CatalogueTarget]] = {"klaviyo": KlaviyoTarget}

VENDORS = (*_CHANNELS, *_TARGETS)
"""Names a connection's `vendor` may have: channels, which sell, and targets, which are told the catalogue."""

API_VERSIONS: Mapping[str, str] = {"shopify": SHOPIFY_VERSION, "amazon": AMAZON_VERSION, "klaviyo": KLAVIYO_REVISION}
"""By vendor: the version of its API that we ask for. What answered is in the view connection_versions."""

verifiers: Mapping[str, Callable[[Sequence[str], bytes, str | None], bool]] = {"shopify": verify_signature}
"""By vendor: (secrets, raw body, signature header) to whether one of the secrets signed the body."""


def warm_up(*, reads_queues: bool) -> None:
    """Load what the first call of a process would: for one that forks, so that no child has to.

    `reads_queues`: whether its children read the queues of notifications, too; that takes 20 MB.
    """
    http.warm_up()
    if reads_queues:
        queues.warm_up()


class UnknownVendor(Permanent):
    """A connection to something we have no adapter for."""

    def __init__(self, vendor: str) -> None:
        super().__init__(f"no adapter for {vendor!r}: known are {', '.join(VENDORS)}")


class SellsNothing(Permanent):
    """A target was asked for what only channels have."""

    def __init__(self, vendor: str) -> None:
        super().__init__(f"{vendor} is told the catalogue and sells nothing: it has no listings and no orders to read")


def make_channel(config: ConnectionConfig, deps: Deps) -> SalesChannel:
    """The channel of a connection. Raises UnknownVendor, or SellsNothing for a target."""
    if config.vendor in _TARGETS:
        raise SellsNothing(config.vendor)
    make = _CHANNELS.get(config.vendor)
    if make is None:
        raise UnknownVendor(config.vendor)
    return make(config, deps)


def make_target(config: ConnectionConfig, deps: Deps) -> CatalogueTarget:
    """The target of a connection. Raises UnknownVendor."""
    make = _TARGETS.get(config.vendor)
    if make is None:
        raise UnknownVendor(config.vendor)
    return make(config, deps)


def account(config: ConnectionConfig, deps: Deps) -> ChannelAccount:
    """Whose account a connection's credentials open, be it a channel or a target. Raises UnknownVendor."""
    return (make_target(config, deps) if config.vendor in _TARGETS else make_channel(config, deps)).about()


def make_products(config: ConnectionConfig, deps: Deps) -> ProductChannel | None:
    """The products of a connection; None for a channel that keeps none of its own. Raises UnknownVendor."""
    channel = make_channel(config, deps)
    return channel.products if isinstance(channel, ShopifyChannel) else None


BodyParser = Callable[[str, bytes, datetime | None], Facts | None]
"""(topic, body, triggered_at) to facts; what SalesChannel.parse does."""


def make_mailbox(config: ConnectionConfig, deps: Deps) -> Mailbox | None:
    """Where the channel of a connection leaves its notifications; None where it has no such place.

    Raises Permanent for a place that cannot be one.
    """
    queue = queue_of(config.settings) if config.vendor == "amazon" else None
    return None if queue is None else SqsMailbox(QueueClient(config, deps, queue))


def make_taxonomy(config: ConnectionConfig, deps: Deps) -> TaxonomySource | None:
    """Who tells the categories that the channel of a connection puts products into; None where it has none to tell."""
    return ShopifyTaxonomy(config, deps) if config.vendor == "shopify" else None


def queue_problem(config: ConnectionConfig, deps: Deps) -> str | None:
    """Ask the queue of a connection whether it is there, lets us read and lets the channel write; why not, else None.

    Raises Permanent for a queue that cannot be one, is not there or does not know our key; Retryable where nothing
    answers.
    """
    queue = queue_of(config.settings) if config.vendor == "amazon" else None
    return None if queue is None else policy_problem(queue, QueueClient(config, deps, queue).policy())


def bad_queue(vendor: str, settings: Mapping[str, Any]) -> str | None:
    """Why what the settings name cannot be a queue of the channel's notifications; None where it can."""
    try:
        if vendor == "amazon":
            queue_of(settings)
    except BadQueue as error:
        return str(error)
    return None


def parser(vendor: str, currency: str, settings: Mapping[str, Any] = MappingProxyType({})) -> BodyParser:
    """The parser of a vendor's bodies alone, without credentials or a network. Raises UnknownVendor.

    `currency` is the shop's, for bodies that name none; `settings` are the connection's.
    """
    if vendor == "shopify":
        return lambda topic, body, triggered_at: parse_shopify(topic, body, triggered_at, currency)
    if vendor not in _CHANNELS:
        raise UnknownVendor(vendor)
    marketplace = str(settings.get("marketplace_id") or "")
    return lambda topic, body, triggered_at: parse_amazon(topic, body, triggered_at, currency, marketplace)


_MENTIONS: Mapping[str, Callable[[str, bytes, str], Mentions]] = {
    "shopify": shopify_mentions,
    "amazon": amazon_mentions,
}


def mentions(vendor: str, topic: str, body: bytes, currency: str) -> Mentions:
    """What a body is about, as far as can be made out; nothing for a vendor that is unknown. Never raises.

    `currency` is the shop's, for bodies that name none.
    """
    reader = _MENTIONS.get(vendor)
    return Mentions() if reader is None else reader(topic, body, currency)
