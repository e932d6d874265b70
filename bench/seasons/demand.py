"""Seasons: one SKU, its channels, one hour of demand and what will go wrong, all drawn from a seed before it begins.

Every policy meets the same season: the same orders at the same moments, the same outages, notices as late, as lost and
as doubled. Times are seconds since the season began.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["hour", "large", "till"]
KINDS: tuple[Kind, ...] = ("hour", "large", "till")

SEASON_SECONDS = 3600.0
DEMAND_PER_STOCK = 1.6
BURST_SECONDS = 300.0
BURST_TIMES = 6.0
TWO_UNITS_PART = 0.15
CANCELLED_PART = 0.02
CANCELLED_AFTER_SECONDS = (30.0, 1200.0)
OUTAGE_PART = 0.3
OUTAGE_SECONDS = (60.0, 900.0)
NOTICE_LOST_PART = 0.02
NOTICE_DOUBLED_PART = 0.05
DOUBLED_AFTER_SECONDS = 60.0
PRIOR_SPREAD = 0.3
"""How far off (standard deviation of the logarithm) what was known of each channel's rate before the season is."""

LARGE_UNITS = 10
# How often an order line of the file Online Retail (UCI 352, CC BY 4.0) is for that many units; the rest is rarer.
REAL_SIZES: tuple[tuple[int, float], ...] = (
    (1, 0.2913), (2, 0.1562), (3, 0.0688), (4, 0.0690), (5, 0.0218), (6, 0.0794), (8, 0.0247), (10, 0.0403),
    (12, 0.1113), (16, 0.0075), (20, 0.0083), (24, 0.0425), (25, 0.0097), (36, 0.0064), (48, 0.0106),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChannelKind:
    """What a channel is like. `traffic`: its part of the demand; sweeps read everything older than the cut-off."""

    name: str
    guarantee_class: str
    traffic: float
    notice_seconds: tuple[float, float]
    """Class A: median and spread of a lognormal; class B: from, to; a till: from, to."""
    sweep_seconds: float
    cut_off_seconds: float


SHOPIFY = ChannelKind("shopify", "A", 0.5, (2.0, 0.5), 60.0, 0.0)
SECOND = ChannelKind("second", "A", 0.3, (2.0, 0.5), 60.0, 0.0)
AMAZON = ChannelKind("amazon", "B", 0.2, (30.0, 150.0), 180.0, 120.0)
TILL = ChannelKind("till", "C", 0.25, (1.0, 5.0), 300.0, 0.0)
"""Beside the others: its traffic comes on top, and so does what lies in its own place."""
POOLED_CHANNELS = (SHOPIFY, SECOND, AMAZON)

TILL_OUTAGE_PART = 0.7


@dataclass(frozen=True, slots=True)
class Order:
    """Somebody wants `units` at `at`; whole or not at all. `notices`: how long after it each notice comes, if any."""

    number: int
    at: float
    channel: int
    units: int
    cancelled_after: float | None
    notices: tuple[float, ...]
    cancel_notices: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Season:
    """All that happens to a policy and does not depend on it."""

    seed: int
    kind: Kind
    stock: int
    till_stock: int
    channels: tuple[ChannelKind, ...]
    orders: tuple[Order, ...]
    outages: tuple[tuple[float, float] | None, ...]
    sweep_phases: tuple[float, ...]
    prior_rates: tuple[float, ...]
    """Units an hour and channel, as last week had it."""


def make_season(seed: int, stock: int, kind: Kind = "hour") -> Season:
    """The season of this seed: the same seed, stock and kind give the same season on every machine."""
    rng = random.Random(f"{kind}:{stock}:{seed}")
    channels = (*POOLED_CHANNELS, TILL) if kind == "till" else POOLED_CHANNELS
    burst_at = rng.uniform(0, SEASON_SECONDS - BURST_SECONDS)
    orders = _orders(rng, channels[:3], range(3), round(stock * DEMAND_PER_STOCK), burst_at, kind)
    till_stock = 0
    if kind == "till":
        till_stock = max(1, round(stock * TILL.traffic))
        orders += _orders(rng, channels[3:], range(3, 4), round(till_stock * DEMAND_PER_STOCK), burst_at, kind)
    orders.sort(key=lambda order: order.at)
    wanted = stock * DEMAND_PER_STOCK
    return Season(
        seed=seed,
        kind=kind,
        stock=stock,
        till_stock=till_stock,
        channels=channels,
        orders=tuple(_numbered(order, number) for number, order in enumerate(orders)),
        outages=tuple(_outage(rng, channel) for channel in channels),
        sweep_phases=tuple(rng.uniform(0, channel.sweep_seconds) for channel in channels),
        prior_rates=tuple(wanted * channel.traffic * rng.lognormvariate(0, PRIOR_SPREAD) for channel in channels),
    )


def _orders(
    rng: random.Random, channels: tuple[ChannelKind, ...], numbers: range, units: int, burst_at: float, kind: Kind
) -> list[Order]:
    found: list[Order] = []
    weights = [channel.traffic for channel in channels]
    while units > 0:
        wanted = min(units, _size(rng, kind))
        units -= wanted
        (place,) = rng.choices(range(len(channels)), weights)
        is_cancelled = rng.random() < CANCELLED_PART
        found.append(
            Order(
                number=0,
                at=_moment(rng, burst_at),
                channel=numbers[place],
                units=wanted,
                cancelled_after=rng.uniform(*CANCELLED_AFTER_SECONDS) if is_cancelled else None,
                notices=_notices(rng, channels[place]),
                cancel_notices=_notices(rng, channels[place]),
            )
        )
    return found


def _numbered(order: Order, number: int) -> Order:
    return Order(
        number, order.at, order.channel, order.units, order.cancelled_after, order.notices, order.cancel_notices
    )


def _size(rng: random.Random, kind: Kind) -> int:
    if kind == "large":
        (size,) = rng.choices([size for size, _ in REAL_SIZES], [weight for _, weight in REAL_SIZES])
        return size
    return 2 if rng.random() < TWO_UNITS_PART else 1


def _moment(rng: random.Random, burst_at: float) -> float:
    """A moment of the hour, six times as likely within the burst as outside."""
    place = rng.uniform(0, SEASON_SECONDS + (BURST_TIMES - 1) * BURST_SECONDS)
    if place < burst_at:
        return place
    if place < burst_at + BURST_TIMES * BURST_SECONDS:
        return burst_at + (place - burst_at) / BURST_TIMES
    return place - (BURST_TIMES - 1) * BURST_SECONDS


def _notices(rng: random.Random, channel: ChannelKind) -> tuple[float, ...]:
    """How long after the fact each notice of it comes: none if it is lost, two if it is doubled."""
    low, high = channel.notice_seconds
    delay = low * rng.lognormvariate(0, high) if channel.guarantee_class == "A" else rng.uniform(low, high)
    fate = rng.random()
    if fate < NOTICE_LOST_PART:
        return ()
    if fate < NOTICE_LOST_PART + NOTICE_DOUBLED_PART:
        return (delay, delay + rng.uniform(0, DOUBLED_AFTER_SECONDS))
    return (delay,)


def _outage(rng: random.Random, channel: ChannelKind) -> tuple[float, float] | None:
    """When the channel's interfaces are away, if at all. Its shoppers go on buying."""
    part = TILL_OUTAGE_PART if channel.guarantee_class == "C" else OUTAGE_PART
    if rng.random() >= part:
        return None
    begins = rng.uniform(0, SEASON_SECONDS)
    return begins, begins + rng.uniform(*OUTAGE_SECONDS)
