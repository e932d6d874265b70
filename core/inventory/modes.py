"""How a pool is shared and why, in one sentence: the same on every screen and on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core.db import fetch
from core.inventory.escrow import ALWAYS
from core.inventory.planner import LEAVE_PART, LINE_UNITS_MIN, Mode


@dataclass(frozen=True, slots=True)
class Unwatched:
    """A channel whose sales cannot be known; `reads_orders` False: never, else not before its first complete poll.

    `compares`: class A, which goes on being written in escrow; another is kept at 0 there.
    """

    connection: str
    reads_orders: bool
    compares: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """A channel that nothing is written to until a person says so, and what it may still sell of the pool."""

    connection: str
    why: str
    exposed_units: int


@dataclass(frozen=True, slots=True)
class PoolMode:
    """What decides how one pool is shared; units of the pool.

    `mode` is the strictest of its listings'. `line_units`: at so many available adaptive goes into escrow, None while
    nobody has worked it out; `policy_units`: that number where a channel rule names it. `units_per_hour` and
    `doubt_seconds` (the longest of its channels) are None where they are not measured.
    """

    code: str
    location: str
    mode: Mode
    available: int
    exposed_units: int
    is_escrow: bool = False
    escrow_since: datetime | None = None
    line_units: int | None = None
    policy_units: int | None = None
    units_per_hour: float | None = None
    doubt_seconds: float | None = None
    unwatched: Sequence[Unwatched] = ()
    held: Sequence[Held] = ()

    @property
    def risk_units(self) -> int:
        """What could be sold that is not there."""
        return max(0, self.exposed_units - self.available)


def leaves_above(line: int) -> int:
    """Above so many available, adaptive shares the pool again; as `planner.is_scarce` has it."""
    return line + max(1, line // LEAVE_PART)


def explain_mode(pool: PoolMode, moment: Callable[[datetime], str]) -> str:
    """The mode of a pool and its reason in one sentence; `moment` says a time as its reader knows times."""
    said = {"pooled": _pooled, "escrow": _escrow, "adaptive": _adaptive}[pool.mode](pool, moment)
    return f"{'; '.join([said, *_unwatched(pool), *_held(pool)])}."


def _pooled(pool: PoolMode, _moment: Callable[[datetime], str]) -> str:
    if pool.is_escrow:
        return "Pooled by its rule, and still in escrow until the next plan"
    if pool.available <= 0:
        left = f", though channels could still sell {_units(pool.exposed_units)}" if pool.exposed_units else ""
        return f"Pooled: no unit is set apart for one channel, and none is left{left}"
    if pool.risk_units:
        return (
            f"Pooled: no unit is set apart for one channel, so channels could sell {_units(pool.exposed_units)} before "
            f"we know, {_units(pool.risk_units)} more than the {_units(pool.available)} available"
        )
    return (
        f"Pooled: no unit is set apart for one channel, and the {_units(pool.exposed_units)} that channels could sell "
        f"before we know {'is' if pool.exposed_units == 1 else 'are'} within the {_units(pool.available)} available"
    )


def _escrow(pool: PoolMode, moment: Callable[[datetime], str]) -> str:
    if not pool.is_escrow:
        return "Escrow by its rule, from the next plan on"
    since = f" since {moment(pool.escrow_since)}" if pool.escrow_since else ""
    return f"Escrow{since}: {_split(pool)}"


def _split(pool: PoolMode) -> str:
    if pool.risk_units:
        return (
            f"each unit is shown on one channel only, but channels could still sell {_units(pool.exposed_units)} of "
            f"{_units(pool.available)} available, so they are lowered and none is raised"
        )
    return (
        f"each unit is shown on one channel only, so the {_units(pool.exposed_units)} that channels could sell before "
        f"we know {'is' if pool.exposed_units == 1 else 'are'} never more than the {_units(pool.available)} available"
    )


def _adaptive(pool: PoolMode, moment: Callable[[datetime], str]) -> str:
    if pool.line_units is None or pool.line_units == ALWAYS:
        return "Adaptive: pooled, since at how many it goes into escrow is not worked out yet"
    line, above = pool.line_units, leaves_above(pool.line_units)
    if not pool.is_escrow:
        verb = "goes into escrow with the next plan" if pool.available <= line else "pooled"
        compared = "" if pool.available <= line else f", more than {_units(line)}"
        return f"Adaptive: {verb}, because {_there(pool.available)} available{compared}: {_line(pool)}"
    since = f" since {moment(pool.escrow_since)}" if pool.escrow_since else ""
    if pool.available > above:
        return f"Adaptive: in escrow{since}, because a channel was not heard from; pooled again once it is"
    back = f"pooled again above {_units(above)}"
    reason = _line(pool) if pool.available <= line else f"that is not above {_units(above)} yet"
    return f"Adaptive: in escrow{since}, because {_there(pool.available)} available and {reason}; {back}"


def _line(pool: PoolMode) -> str:
    """Where the line comes from."""
    assert pool.line_units is not None
    if pool.policy_units is not None:
        return f"its rule switches at {_units(pool.line_units)}"
    pace = _pace(pool)
    if pool.line_units <= LINE_UNITS_MIN:
        return f"{_units(pool.line_units)} is the lowest line there is{pace}"
    return f"channels could sell {_units(pool.line_units)} before we know{pace}"


def _pace(pool: PoolMode) -> str:
    if pool.units_per_hour is None or pool.doubt_seconds is None:
        return ""
    return f" ({_rate(pool.units_per_hour)} an hour, {round(pool.doubt_seconds):,} s in doubt)"


def _unwatched(pool: PoolMode) -> list[str]:
    """What cannot be known, channel by channel."""
    return [
        f"orders of {each.connection} {'have not been read through yet' if each.reads_orders else 'are not read'}, so "
        f"{'it is kept at 0' if pool.is_escrow and not each.compares else 'what it sells is not known'}"
        for each in pool.unwatched
    ]


def _held(pool: PoolMode) -> list[str]:
    """Who is not told, so that nobody wonders what is being waited for."""
    return [
        f"{each.connection} is not written to ({each.why}): the {_units(each.exposed_units)} that it could sell "
        f"{'goes' if each.exposed_units == 1 else 'go'} to nobody else until it is"
        if pool.is_escrow
        else f"{each.connection} is not written to ({each.why}), so it goes on showing what it shows"
        for each in pool.held
    ]


def _units(number: int) -> str:
    return f"{number:,}".replace("-", "\N{MINUS SIGN}")


def _there(number: int) -> str:
    return f"{_units(number)} {'is' if number == 1 else 'are'}"


def _rate(number: float) -> str:
    return f"{number:.1f}" if 0 < number < 10 and round(number, 1) % 1 else f"{round(number):,}"


# --- from the database ------------------------------------------------------------------------------------------------


def pools_of(conn: Connection, shop_id: int, code: str) -> list[PoolMode]:
    """The pools that a SKU sells from: its own, or those of the parts of a bundle; by code and location."""
    rows = fetch(conn, _POOLS, shop=shop_id, code=code)
    return [pool_of(dict(row), row["unwatched"] or (), row["held"] or ()) for row in rows]


def pool_of(
    row: Mapping[str, Any], unwatched: Sequence[Mapping[str, Any]] = (), held: Sequence[Mapping[str, Any]] = ()
) -> PoolMode:
    """A row of `pool_risk` as what decides on it.

    `unwatched` as [{connection, reads_orders, guarantee_class}], `held` as [{connection, why, exposed_units}].
    """
    return PoolMode(
        code=row["code"],
        location=row["location"],
        mode=row["mode"],
        available=row["available"],
        exposed_units=row["exposed_units"],
        is_escrow=row["is_escrow"],
        escrow_since=row["escrow_since"],
        line_units=row["escrow_line_units"],
        policy_units=row["policy_units"],
        units_per_hour=row["units_per_hour"],
        doubt_seconds=row["doubt_seconds"],
        unwatched=[
            Unwatched(each["connection"], each["reads_orders"], each["guarantee_class"] == "A") for each in unwatched
        ],
        held=[Held(each["connection"], each["why"], each["exposed_units"]) for each in held],
    )


_POOLS = """
    select r.*, u.unwatched, h.held from pool_risk r
    cross join lateral (
        select jsonb_agg(distinct jsonb_build_object('connection', t.connection, 'reads_orders', t.reads_orders,
            'guarantee_class', t.guarantee_class)) as unwatched
        from pool_seats t where t.shop_id = r.shop_id and t.sku_id = r.sku_id and t.location_id = r.location_id
            and t.is_unwatched
    ) u
    cross join lateral (
        select jsonb_agg(jsonb_build_object('connection', t.connection, 'why', t.why, 'exposed_units', t.exposed_units)
            order by t.connection) as held
        from (
            select t.connection, case when w.is_stopped then 'writes are stopped' when w.state = 'paused' then 'paused'
                else 'shadow mode' end as why, sum(t.exposed_pool_units)::int8 as exposed_units
            from pool_seats t
            join connection_switches w on w.shop_id = t.shop_id and w.connection_id = t.connection_id
            where t.shop_id = r.shop_id and t.sku_id = r.sku_id and t.location_id = r.location_id and not w.may_write
            group by 1, 2
        ) t
    ) h
    -- An array, not a join: so that only the listings of these SKUs are summed.
    where r.shop_id = %(shop)s and r.sku_id = any(array(
        select coalesce(p.part_sku_id, s.id) from skus s
        left join bundle_parts p on p.shop_id = s.shop_id and p.bundle_sku_id = s.id
        where s.shop_id = %(shop)s and s.code = %(code)s))
    order by r.code, r.location
"""
