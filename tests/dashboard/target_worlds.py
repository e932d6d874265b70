"""A shop whose catalogue Klaviyo is told, in every state in which that can be; made by SQL of a catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from core.db import execute, fetch, scalar
from tests.dashboard import catalogue_worlds, seed
from tests.dashboard.catalogue_worlds import Catalogue


@dataclass(frozen=True)
class Told:
    """The shop, its catalogue, its connection to Klaviyo."""

    shop: int
    catalogue: Catalogue
    connection: int


def connect(conn: Connection, shop: int, name: str = "Klaviyo", **more: object) -> int:
    return seed.connection(conn, shop, name, "klaviyo", "T", **more)


def in_step(conn: Connection) -> Told:
    """All that there is was told and confirmed, and compared two hours ago."""
    catalogue = catalogue_worlds.full(conn)
    world = Told(catalogue.shop, catalogue, connect(conn, catalogue.shop))
    for kind, source in (
        ("category", "select shop_id, id, null::int8, '{}'::int8[] from categories"),
        ("item", "select shop_id, id, null::int8, '{}'::int8[] from products"),
        ("variant", "select shop_id, sku_id, product_id, array[product_id] from variants"),
    ):
        execute(
            conn,
            f"""
            insert into target_entries (shop_id, connection_id, kind, entity_id, external_id, parent_id, linked_ids,
                desired_hash, confirmed_hash, is_known, next_at, changed_at, confirmed_at, read_at)
            select n.shop_id, %(connection)s, %(kind)s, n.id, n.id::text, n.parent, n.linked, md5(n.id::text),
                md5(n.id::text), true, now() - interval '3 h', now() - interval '3 h', now() - interval '3 h',
                now() - interval '2 h'
            from ({source}) n (shop_id, id, parent, linked) where n.shop_id = %(shop)s order by n.id
            """,
            shop=world.shop,
            connection=world.connection,
            kind=kind,
        )
    seed.run(
        conn,
        world.shop,
        world.connection,
        "done",
        kind="sync_target",
        trigger="schedule",
        requested_by="schedule",
        reason="every six hours",
        requested_at=seed.ago(hours=2, minutes=3),
        started_at=seed.ago(hours=2, minutes=2),
        ended_at=seed.ago(hours=2),
        counts={"read": 131, "in_step": 126, "differs": 2, "missing": 1, "foreign": 4},
    )
    return world


def in_flight(conn: Connection) -> Told:
    """Two jobs are applied, one is looked for, others wait; some were confirmed in the last minutes."""
    world = in_step(conn)
    ids = _ids(conn, world, "variant")
    done = _job(conn, world, "variant", "update", ids[:20], "complete", 120)
    execute(
        conn,
        """
        update target_jobs set state = 'complete', ended_at = now() - interval '20 s', succeeded = 20, failed = 0,
            unknown = 0 where shop_id = %(shop)s and id = %(id)s
        """,
        shop=world.shop,
        id=done,
    )
    execute(
        conn,
        "update target_job_entries set outcome = 'ok' where shop_id = %(shop)s and job_id = %(id)s",
        shop=world.shop,
        id=done,
    )
    _take(conn, world, ids[20:32], _job(conn, world, "variant", "update", ids[20:32], "processing", 40))
    items = _ids(conn, world, "item")
    _take(conn, world, items[:5], _job(conn, world, "item", "create", items[:5], "lost", 90))
    _change(conn, world, items[5:15], "desired_hash = md5(id || 'new')")
    _change(conn, world, ids[40:43], "desired_hash = null")
    for name, left in (("bulk_update_catalog_items", 680), ("get_bulk_update_catalog_items_job", 644)):
        for number in range(4):
            seed.call(
                conn,
                world.shop,
                world.connection,
                seed.ago(seconds=5 + 10 * number),
                operation=name,
                quota_left=f"{left}/700",
            )
    seed.call(
        conn, world.shop, world.connection, seed.ago(seconds=70), "throttled", operation="get_catalog_items", status=429
    )
    return world


def failing(conn: Connection) -> Told:
    """Some have no price, some are refused again and again, one is tried again by itself."""
    world = in_step(conn)
    ids, items = _ids(conn, world, "variant"), _ids(conn, world, "item")
    for each in ids[:30]:
        _change(
            conn,
            world,
            [each],
            "desired_hash = null, problem_kind = 'content', problem_code = 'no_price', problem ="
            " (select code from skus where id = entity_id) || ' has no price, and a variant is not told without one:"
            " price it'",
        )
    said = "problem_kind = 'refused', problem_code = 'invalid', problem = 'Invalid input: <url> is no address'"
    _change(conn, world, items[:16], f"desired_hash = md5(id || 'new'), failures = 3, is_held = true, {said}")
    _change(
        conn,
        world,
        items[16:17],
        f"desired_hash = md5(id || 'new'), failures = 1, next_at = now() + interval '5 min', {said}",
    )
    return world


def stopped(conn: Connection) -> Told:
    """Writes are stopped while entries wait."""
    world = in_flight(conn)
    seed.insert(
        conn,
        "write_stops",
        shop_id=world.shop,
        connection_id=world.connection,
        stopped_by="ben",
        reason="Wrong prices",
        stopped_at=seed.ago(minutes=9),
    )
    return world


def syncing(conn: Connection) -> Told:
    """A full sync is under way."""
    world = in_step(conn)
    seed.run(
        conn,
        world.shop,
        world.connection,
        kind="sync_target",
        reason="Somebody changed items by hand",
        step="reading item records",
        done=60,
        total=131,
        started_at=seed.ago(seconds=12),
        heartbeat_at=seed.ago(seconds=1),
    )
    return world


def _ids(conn: Connection, world: Told, kind: str) -> list[int]:
    rows = fetch(
        conn,
        """
        select id from target_entries where shop_id = %(shop)s and connection_id = %(c)s and kind = %(kind)s
        order by id
        """,
        shop=world.shop,
        c=world.connection,
        kind=kind,
    )
    return [row["id"] for row in rows]


def _change(conn: Connection, world: Told, ids: list[int], sets: str) -> None:
    execute(
        conn,
        f"update target_entries set {sets} where shop_id = %(shop)s and id = any(%(ids)b::int8[])",
        shop=world.shop,
        ids=ids,
    )


def _job(conn: Connection, world: Told, kind: str, verb: str, ids: list[int], state: str, seconds: int) -> int:
    at = seed.ago(seconds=seconds)
    job = scalar(
        conn,
        """
        insert into target_jobs (shop_id, connection_id, kind, verb, state, seat, entries, bytes, ref, planned_at,
            sent_at, next_poll_at)
        values (%(shop)s, %(c)s, %(kind)s, %(verb)s, %(state)s, 1, %(entries)s, 9000, %(ref)s, %(at)s, %(at)s,
            now() + interval '20 s')
        returning id
        """,
        shop=world.shop,
        c=world.connection,
        kind=kind,
        verb=verb,
        state="processing" if state == "complete" else state,
        entries=len(ids),
        ref=None if state == "lost" else f"job-{seconds}",
        at=at,
    )
    execute(
        conn,
        """
        insert into target_job_entries (shop_id, job_id, position, entry_id, hash)
        select %(shop)s, %(job)s, n.place - 1, n.id, 'abc' from unnest(%(ids)b::int8[]) with ordinality n (id, place)
        """,
        shop=world.shop,
        job=job,
        ids=ids,
    )
    return int(job)


def _take(conn: Connection, world: Told, ids: list[int], job: int) -> None:
    _change(conn, world, ids, f"desired_hash = md5(id || 'new'), open_job_id = {job}")
