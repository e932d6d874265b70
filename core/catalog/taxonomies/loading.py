"""Writes: load a taxonomy, from a publisher's file or as an account tells it, and take a load back.

A load replaces the one before it, whose entries are kept until the next: what was answered stays. Answers that name an
entry which is gone are told as broken, and are whole again when it is back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import IO

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.catalog.products.writing import lock
from core.catalog.taxonomies import queries
from core.catalog.taxonomies.files import ENTRIES_MAX, BadTaxonomy, FileKind, read_taxonomy
from core.catalog.taxonomies.rules import SEPARATOR, VENDORS, Entry, Target, words_of
from core.db import execute, fetch, scalar
from core.errors import Anticipated, BadInput

_CHUNK = 2_000


class AlreadyLoaded(Anticipated):
    """That is what is there."""

    def __init__(self, said: str) -> None:
        super().__init__(f"nothing was loaded: {said}")


class NothingToBringBack(Anticipated):
    """No load before it is kept."""

    def __init__(self) -> None:
        super().__init__("nothing was taken back: no taxonomy from before it is kept. Load the file that you want")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load came to; `broken`: how many answers name an entry that is not in it."""

    taxonomy_id: int
    version: str
    entries: int
    broken: int


def load_file(
    conn: Connection, shop_id: int, kind: FileKind, name: str, data: IO[bytes], actor: Actor, now: datetime
) -> Loaded:
    """Load Google's or Shopify's taxonomy from its public file, all of it or nothing.

    Raises BadTaxonomy, AlreadyLoaded where it is there, or where what is there is newer.
    """
    text = read_taxonomy(kind, name, data)
    target = Target(kind)
    lock(conn, shop_id)
    before = queries.living(conn, shop_id, target)
    if before is not None and before["version"] > text.version:
        raise AlreadyLoaded(
            f"{name} is version {text.version}, and {VENDORS[kind]}’s version {before['version']} is there. To go back,"
            " take that load back"
        )
    return _load(conn, shop_id, target, name, text.version, text.entries, actor, now)


def load_told(
    conn: Connection,
    shop_id: int,
    target: Target,
    name: str,
    told: Iterable[tuple[str, str]],
    actor: Actor,
    now: datetime,
) -> Loaded:
    """Load categories as an account tells them: pairs of its id and the path, or the name where it has no tree.

    `name` is the connection that told them; their version is the day. Raises BadTaxonomy for what cannot be one,
    AlreadyLoaded where they are as they were.
    """
    entries = list(_entries(name, told))
    lock(conn, shop_id)
    if target.connection_id is not None:
        _check_connection(conn, shop_id, target.connection_id)
    return _load(conn, shop_id, target, name, f"{now:%Y-%m-%d %H:%M}", entries, actor, now)


def _entries(name: str, told: Iterable[tuple[str, str]]) -> Iterable[Entry]:
    refs: set[str] = set()
    for ref, path in told:
        names = [part.strip() for part in path.split(SEPARATOR.strip())]
        if not ref.strip() or not all(names):
            raise BadTaxonomy(f"{name} told of a category without an id or a name: “{ref[:60]}”, “{path[:60]}”")
        if ref in refs:
            continue  # told again by a page that moved while it was read
        refs.add(ref)
        if len(refs) > ENTRIES_MAX:
            raise BadTaxonomy(f"{name} told of more than {ENTRIES_MAX:,} categories: that many are not mapped to")
        yield Entry(ref, SEPARATOR.join(names))


def _check_connection(conn: Connection, shop_id: int, connection_id: int) -> None:
    vendor = scalar(
        conn, "select vendor from connections where shop_id = %(shop)s and id = %(id)s", shop=shop_id, id=connection_id
    )
    if vendor != "klaviyo":
        raise BadInput(f"connection {connection_id} is no Klaviyo account of this shop")


def _load(
    conn: Connection,
    shop_id: int,
    target: Target,
    name: str,
    version: str,
    entries: Sequence[Entry],
    actor: Actor,
    now: datetime,
) -> Loaded:
    digest = sha256(repr(sorted((entry.ref, entry.path) for entry in entries)).encode()).hexdigest()
    before = queries.living(conn, shop_id, target)
    if before is not None and before["digest"] == digest:
        raise AlreadyLoaded(f"{name} says what version {before['version']} says, which is there")
    _forget_old(conn, shop_id, target)
    if before is not None:
        _replace(conn, shop_id, before["id"], now)
    taxonomy_id = _insert(conn, shop_id, target, name, version, digest, len(entries), actor, now)
    _insert_entries(conn, shop_id, taxonomy_id, entries)
    broken = queries.broken_by(conn, shop_id, target, [entry.ref for entry in entries])
    audit.record(
        conn,
        shop_id,
        actor,
        "load_taxonomy",
        f"taxonomy:{taxonomy_id}",
        now,
        kind=target.kind,
        connection_id=target.connection_id,
        file=name,
        version=version,
        entries=len(entries),
        before=None if before is None else before["version"],
        broken=broken,
    )
    return Loaded(taxonomy_id, version, len(entries), broken)


def _forget_old(conn: Connection, shop_id: int, target: Target) -> None:
    """Of loads that were replaced before, the entries go: only the last one can be brought back."""
    execute(
        conn,
        """
        delete from taxonomy_entries e using taxonomies t
        where e.shop_id = %(shop)s and t.shop_id = e.shop_id and t.id = e.taxonomy_id and t.kind = %(kind)s
            and t.connection_id is not distinct from %(connection)s::int8 and t.replaced_at is not null
        """,
        shop=shop_id,
        kind=target.kind,
        connection=target.connection_id,
    )


def _replace(conn: Connection, shop_id: int, taxonomy_id: int, now: datetime) -> None:
    execute(
        conn,
        "update taxonomies set replaced_at = %(now)s where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=taxonomy_id,
        now=now,
    )


def _insert(
    conn: Connection,
    shop_id: int,
    target: Target,
    name: str,
    version: str,
    digest: str,
    entries: int,
    actor: Actor,
    now: datetime,
) -> int:
    return int(
        scalar(
            conn,
            """
            insert into taxonomies (shop_id, kind, connection_id, name, version, digest, entries, loaded_by, reason,
                loaded_at)
            values (%(shop)s, %(kind)s, %(connection)s, %(name)s, %(version)s, %(digest)s, %(entries)s, %(by)s,
                %(reason)s, %(now)s)
            returning id
            """,
            shop=shop_id,
            kind=target.kind,
            connection=target.connection_id,
            name=name,
            version=version,
            digest=digest,
            entries=entries,
            by=actor.name,
            reason=actor.reason,
            now=now,
        )
    )


def _insert_entries(conn: Connection, shop_id: int, taxonomy_id: int, entries: Sequence[Entry]) -> None:
    refs = {entry.path: entry.ref for entry in entries}
    above = [entry.path.rpartition(SEPARATOR)[0] for entry in entries]
    parents = set(above)
    for start in range(0, len(entries), _CHUNK):
        some = entries[start : start + _CHUNK]
        execute(
            conn,
            """
            insert into taxonomy_entries (shop_id, taxonomy_id, ref, path, name, parent_ref, is_leaf, words)
            select %(shop)s, %(taxonomy)s, ref, path, name, parent, leaf, string_to_array(words, ' ')
            from unnest(%(refs)b::text[], %(paths)b::text[], %(names)b::text[], %(parents)b::text[],
                %(leaves)b::bool[], %(words)b::text[]) as n (ref, path, name, parent, leaf, words)
            """,
            shop=shop_id,
            taxonomy=taxonomy_id,
            refs=[entry.ref for entry in some],
            paths=[entry.path for entry in some],
            names=[entry.name for entry in some],
            parents=[refs.get(path) for path in above[start : start + _CHUNK]],
            leaves=[entry.path not in parents for entry in some],
            words=[" ".join(words_of(entry.path)) for entry in some],
        )


def take_load_back(conn: Connection, shop_id: int, target: Target, actor: Actor, now: datetime) -> Loaded:
    """Have the taxonomy from before the last load count again; done twice, the last one counts again.

    Raises NothingToBringBack where none is kept.
    """
    lock(conn, shop_id)
    known = queries.loads(conn, shop_id, target)
    now_there = next((row for row in known if row["replaced_at"] is None), None)
    kept = max(
        (row for row in known if row["replaced_at"] is not None and row["is_kept"]),
        key=lambda row: row["replaced_at"],
        default=None,
    )
    if now_there is None or kept is None:
        raise NothingToBringBack
    _replace(conn, shop_id, now_there["id"], now)
    execute(
        conn,
        "update taxonomies set replaced_at = null where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=kept["id"],
    )
    refs = fetch(
        conn,
        "select ref from taxonomy_entries where shop_id = %(shop)s and taxonomy_id = %(id)s",
        shop=shop_id,
        id=kept["id"],
    )
    broken = queries.broken_by(conn, shop_id, target, [row["ref"] for row in refs])
    audit.record(
        conn,
        shop_id,
        actor,
        "take_taxonomy_load_back",
        f"taxonomy:{now_there['id']}",
        now,
        kind=target.kind,
        connection_id=target.connection_id,
        version=now_there["version"],
        counts_again=kept["version"],
        broken=broken,
    )
    return Loaded(kept["id"], kept["version"], kept["entries"], broken)
