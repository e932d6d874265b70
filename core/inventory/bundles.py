"""Writes: what bundles are made of.

A bundle has no stock of its own: it is sold, reserved, cancelled and returned as its components, in the same unit of
work. Components may be bundles themselves, once; what that comes to is kept as parts, so that a sale reads one table.
What was sold keeps the composition it was sold with (`reservations.units_each`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.db import execute, fetch
from core.errors import BadInput
from core.inventory.locks import COMPOSITIONS
from core.inventory.operations import refresh_desired, skus_by_code

UNITS_MAX = 100_000
"""Of one component in a bundle: anything above is a typing error."""


class BadBundle(BadInput):
    """What was typed cannot be a bundle."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(f"{code} cannot be made of that: {why}")


def set_components(
    conn: Connection, shop_id: int, code: str, components: Mapping[str, int], actor: Actor, now: datetime
) -> None:
    """Make a SKU a bundle of other SKUs (units by code), change what it is made of, or with none make it plain again.

    Its listings, and those of bundles that contain it, are planned anew in the same unit of work. Raises UnknownSku for
    a code that is not ours, BadBundle for a composition that cannot be.
    """
    ids = {name: found[0] for name, found in skus_by_code(conn, shop_id, {code, *components}).items()}
    # One composition changes at a time in a shop, while no booking is under way: rules that look at several rows hold,
    # and no level changes that the new composition is to be worked out from.
    fetch(conn, f"select pg_advisory_xact_lock({COMPOSITIONS})", shop=shop_id)
    _check(conn, shop_id, code, ids, components)
    bundle = ids[code]
    before = _components(conn, shop_id).get(bundle, {})
    wanted = {ids[name]: units for name, units in components.items()}
    if wanted == before:
        return
    execute(
        conn,
        "delete from bundle_components where shop_id = %(shop)s and bundle_sku_id = %(bundle)s",
        shop=shop_id,
        bundle=bundle,
    )
    execute(
        conn,
        """
        insert into bundle_components (shop_id, bundle_sku_id, component_sku_id, units)
        select %(shop)s, %(bundle)s, n.* from unnest(%(skus)b::int8[], %(units)b::int8[]) as n
        """,
        shop=shop_id,
        bundle=bundle,
        skus=sorted(wanted),
        units=[wanted[sku_id] for sku_id in sorted(wanted)],
    )
    execute(
        conn,
        "update skus set is_bundle = %(is_bundle)s where shop_id = %(shop)s and id = %(bundle)s",
        shop=shop_id,
        bundle=bundle,
        is_bundle=bool(wanted),
    )
    changed = _write_parts(conn, shop_id, bundle)
    refresh_desired(conn, shop_id, changed)
    audit.record(
        conn,
        shop_id,
        actor,
        "set_components",
        f"sku:{bundle}",
        now,
        code=code,
        components=dict(sorted(components.items())),
        before={str(sku_id): units for sku_id, units in sorted(before.items())},
    )


def _components(conn: Connection, shop_id: int) -> dict[int, dict[int, int]]:
    """Every bundle of the shop, as typed."""
    found: dict[int, dict[int, int]] = {}
    for row in fetch(
        conn,
        "select bundle_sku_id, component_sku_id, units from bundle_components where shop_id = %(shop)s order by 1, 2",
        shop=shop_id,
    ):
        found.setdefault(row["bundle_sku_id"], {})[row["component_sku_id"]] = row["units"]
    return found


def _check(conn: Connection, shop_id: int, code: str, ids: Mapping[str, int], components: Mapping[str, int]) -> None:
    rows = fetch(
        conn,
        """
        select s.code, s.is_stocked, s.is_bundle,
            exists (select from stock_levels k where k.shop_id = s.shop_id and k.sku_id = s.id
                and (k.on_hand <> 0 or k.reserved <> 0 or k.unavailable <> 0 or k.incoming <> 0)) as has_stock,
            exists (select from bundle_components c where c.shop_id = s.shop_id and c.component_sku_id = s.id)
                as is_component,
            exists (select from bundle_components c join bundle_components d on d.shop_id = c.shop_id
                and d.component_sku_id = c.bundle_sku_id where c.shop_id = s.shop_id and c.component_sku_id = s.id)
                as is_nested,
            exists (select from bundle_components c join skus t on t.shop_id = c.shop_id and t.id = c.component_sku_id
                where c.shop_id = s.shop_id and c.bundle_sku_id = s.id and t.is_bundle) as holds_bundles
        from skus s where s.shop_id = %(shop)s and s.id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        ids=sorted(ids.values()),
    )
    facts = {row["code"]: row for row in rows}
    own = facts[code]
    if code in components:
        raise BadBundle(code, "it would contain itself")
    if components and own["has_stock"]:
        raise BadBundle(code, "it has stock of its own: move that to its components first, or use another SKU")
    if not own["is_stocked"]:
        raise BadBundle(code, "it has no stock by nature, as a service or a voucher")
    if components and own["is_nested"]:
        raise BadBundle(code, "it is part of a bundle that is part of another: bundles are nested once")
    for name, units in components.items():
        if not 0 < units <= UNITS_MAX:
            raise BadBundle(code, f"{units} of {name}: give 1 to {UNITS_MAX:,} of each component")
        if not facts[name]["is_stocked"]:
            raise BadBundle(code, f"{name} has no stock by nature, so it cannot run out: leave it out")
        if facts[name]["holds_bundles"]:
            raise BadBundle(code, f"{name} is a bundle of bundles already: bundles are nested once")
        if facts[name]["is_bundle"] and own["is_component"]:
            raise BadBundle(code, f"it is part of another bundle and {name} is a bundle: bundles are nested once")


def _write_parts(conn: Connection, shop_id: int, bundle: int) -> set[int]:
    """Work out the parts of a bundle, and of those that contain it; returns the SKUs whose numbers may differ now."""
    made_of = _components(conn, shop_id)
    concerned = sorted({bundle, *(outer for outer, parts in made_of.items() if bundle in parts)})
    rows: list[tuple[int, int, int]] = []
    for outer in concerned:
        units: Counter[int] = Counter()
        for component, each in made_of.get(outer, {}).items():
            for part, inner in made_of.get(component, {component: 1}).items():
                units[part] += each * inner
        rows += [(outer, part, count) for part, count in sorted(units.items())]
    execute(
        conn,
        "delete from bundle_parts where shop_id = %(shop)s and bundle_sku_id = any(%(ids)b::int8[])",
        shop=shop_id,
        ids=concerned,
    )
    execute(
        conn,
        """
        insert into bundle_parts (shop_id, bundle_sku_id, part_sku_id, units)
        select %(shop)s, n.* from unnest(%(bundles)b::int8[], %(parts)b::int8[], %(units)b::int8[]) as n
        """,
        shop=shop_id,
        bundles=[outer for outer, _, _ in rows],
        parts=[part for _, part, _ in rows],
        units=[count for _, _, count in rows],
    )
    return set(concerned)
