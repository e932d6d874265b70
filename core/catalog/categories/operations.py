"""Writes: the tree of categories. Whoever changes it writes the catalogue alone, as for products."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.catalog.products.queries import stored
from core.catalog.products.writing import Put, lock, put_products
from core.db import execute, fetch, fetch_one, scalar
from core.errors import BadInput

NAME_MAX = 120
MERGED_MAX = 20_000
"""Products that change with one merge: it is done while somebody waits for it."""
_BATCH = 500
DEPTH_MAX = 10
SEPARATOR = " > "
PATH_MAX = 1_000
"""Bytes of a whole path as UTF-8: an index holds it."""

Path = tuple[str, ...]


class NoCategory(BadInput):
    """There is no such category, or it is gone."""

    def __init__(self, category_id: int) -> None:
        super().__init__(f"there is no category {category_id}: it may have been removed meanwhile")


class BadCategory(BadInput):
    """A name or a place in the tree that a category cannot have."""


class CategoryInUse(BadInput):
    """It has products or categories below it."""

    def __init__(self, path: str, products: int, below: int) -> None:
        super().__init__(
            f"{path} was not removed: it has {products:,} products and {below:,} categories below it."
            " Move them, or merge it into another one"
        )


def ensure_paths(conn: Connection, shop_id: int, paths: Iterable[Path], now: datetime) -> dict[Path, int]:
    """The category at the end of each path of names from the top, made where there is none. Raises BadCategory."""
    wanted = sorted({checked_path(path) for path in paths})
    if not wanted:
        return {}
    lock(conn, shop_id)
    known = known_paths(conn, shop_id)
    for depth in range(1, max(map(len, wanted)) + 1):
        fresh = sorted({path[:depth] for path in wanted if len(path) >= depth} - known.keys())
        known |= _make(conn, shop_id, fresh, known, now)
    return {path: known[path] for path in wanted}


def checked_path(path: Path) -> Path:
    """The path with its names as they are kept. Raises BadCategory where one cannot be."""
    if not 1 <= len(path) <= DEPTH_MAX:
        raise BadCategory(f"“{SEPARATOR.join(path)[:80]}” has {len(path)} levels: 1 to {DEPTH_MAX} are kept")
    found = tuple(checked_name(name) for name in path)
    _check_size(SEPARATOR.join(found))
    return found


def _check_size(path: str) -> None:
    size = len(path.encode())
    if size > PATH_MAX:
        raise BadCategory(
            f"“{path[:80]}…” has {size:,} bytes in all its names; at most {PATH_MAX:,} are kept: shorten the names"
        )


def checked_name(name: str) -> str:
    """The name without spaces around it. Raises BadCategory where it is none."""
    found = " ".join(name.split())
    if not found or len(found) > NAME_MAX or not found.isprintable() or SEPARATOR.strip() in found:
        raise BadCategory(f"“{name[:60]}” is no name of a category: 1 to {NAME_MAX} characters, without >")
    return found


def known_paths(conn: Connection, shop_id: int) -> dict[Path, int]:
    """Every category by its path of names from the top."""
    rows = fetch(conn, "select id, path from categories where shop_id = %(shop)s", shop=shop_id)
    return {tuple(row["path"].split(SEPARATOR)): row["id"] for row in rows}


def _make(
    conn: Connection, shop_id: int, fresh: Sequence[Path], known: dict[Path, int], now: datetime
) -> dict[Path, int]:
    if not fresh:
        return {}
    rows = fetch(
        conn,
        """
        insert into categories (shop_id, parent_id, name, path, depth, created_at)
        select %(shop)s, parent_id, name, path, %(depth)s, %(now)s
        from unnest(%(parents)b::int8[], %(names)b::text[], %(paths)b::text[]) as n (parent_id, name, path)
        returning id, path
        """,
        shop=shop_id,
        now=now,
        depth=len(fresh[0]),
        parents=[known.get(path[:-1]) for path in fresh],
        names=[path[-1] for path in fresh],
        paths=[SEPARATOR.join(path) for path in fresh],
    )
    return {tuple(row["path"].split(SEPARATOR)): row["id"] for row in rows}


def create(conn: Connection, shop_id: int, parent_id: int | None, name: str, actor: Actor, now: datetime) -> int:
    """Add a category under another one, or at the top. Raises BadCategory, NoCategory."""
    lock(conn, shop_id)
    parent = None if parent_id is None else _row(conn, shop_id, parent_id)
    path = (*(() if parent is None else parent["path"].split(SEPARATOR)), checked_name(name))
    if path in known_paths(conn, shop_id):
        raise BadCategory(f"{SEPARATOR.join(path)} is there already")
    category_id = ensure_paths(conn, shop_id, [path], now)[path]
    _audit(conn, shop_id, actor, "create_category", category_id, now, path=SEPARATOR.join(path))
    return category_id


def move(
    conn: Connection,
    shop_id: int,
    category_id: int,
    parent_id: int | None,
    name: str,
    actor: Actor,
    now: datetime,
) -> None:
    """Rename a category, or hang it elsewhere with all below it. Raises BadCategory, NoCategory."""
    lock(conn, shop_id)
    before = _row(conn, shop_id, category_id)
    parent = None if parent_id is None else _row(conn, shop_id, parent_id)
    if parent is not None and _is_below(parent["path"], before["path"]):
        raise BadCategory(f"{before['path']} cannot hang below itself")
    path = checked_name(name) if parent is None else parent["path"] + SEPARATOR + checked_name(name)
    if path == before["path"]:
        return
    if scalar(
        conn, "select count(*) from categories where shop_id = %(shop)s and path = %(path)s", shop=shop_id, path=path
    ):
        raise BadCategory(f"{path} is there already: merge them instead")
    _hang(conn, shop_id, before, parent_id, path)
    _audit(conn, shop_id, actor, "move_category", category_id, now, before=before["path"], after=path)


def _hang(conn: Connection, shop_id: int, before: RowMapping, parent_id: int | None, path: str) -> None:
    """Give a category, and with it all below it, a new place and name. Raises BadCategory where that is too deep."""
    deeper = path.count(SEPARATOR) + 1 - before["depth"]
    most = fetch_one(
        conn,
        f"""
        select max(depth) as depth,
            (array_agg(path order by octet_length(path) desc))[1] as longest
        from categories where {_SUBTREE}
        """,
        shop=shop_id,
        path=before["path"],
    )
    assert most
    if most["depth"] + deeper > DEPTH_MAX:
        raise BadCategory(f"the tree would be {most['depth'] + deeper} levels deep; at most {DEPTH_MAX} are kept")
    _check_size(path + most["longest"][len(before["path"]) :])
    execute(
        conn,
        f"""
        update categories set path = %(to)s || substr(path, length(%(path)s) + 1), depth = depth + %(deeper)s,
            parent_id = case when id = %(id)s then %(parent)s else parent_id end,
            name = case when id = %(id)s then %(name)s else name end
        where {_SUBTREE}
        """,
        shop=shop_id,
        path=before["path"],
        to=path,
        deeper=deeper,
        id=before["id"],
        parent=parent_id,
        name=path.rpartition(SEPARATOR)[2],
    )


_SUBTREE = "shop_id = %(shop)s and (path = %(path)s or starts_with(path, %(path)s || ' > '))"


def _is_below(path: str, above: str) -> bool:
    return path == above or path.startswith(above + SEPARATOR)


def remove(conn: Connection, shop_id: int, category_id: int, actor: Actor, now: datetime) -> None:
    """Remove a category that nothing is in. Raises CategoryInUse, NoCategory."""
    lock(conn, shop_id)
    before = _row(conn, shop_id, category_id)
    used = fetch_one(
        conn,
        """
        select (select count(*) from product_categories where shop_id = %(shop)s and category_id = %(id)s) as products,
            (select count(*) from categories where shop_id = %(shop)s and parent_id = %(id)s) as below
        """,
        shop=shop_id,
        id=category_id,
    )
    assert used is not None, "counts always come"
    if used["products"] or used["below"]:
        raise CategoryInUse(before["path"], used["products"], used["below"])
    execute(conn, "delete from categories where shop_id = %(shop)s and id = %(id)s", shop=shop_id, id=category_id)
    _audit(conn, shop_id, actor, "remove_category", category_id, now, path=before["path"])


class Merged(NamedTuple):
    """What a merge did, or would do: products that are in another category after it, categories that are gone, and
    categories that hang elsewhere."""

    products: int
    gone: int
    moved: int


def plan_merge(conn: Connection, shop_id: int, category_id: int, into_id: int) -> Merged:
    """What merging one category into another would do. Raises BadCategory, NoCategory."""
    fold = _fold(conn, shop_id, category_id, into_id)
    return Merged(len(_products_in(conn, shop_id, fold.into)), len(fold.into), len(fold.moves))


def merge(conn: Connection, shop_id: int, category_id: int, into_id: int, actor: Actor, now: datetime) -> Merged:
    """Put all that is in a category, and all that is below it, into another one, and remove it.

    Categories below it that have a namesake there are merged, too; the others hang there. Each product gets a version.
    Raises BadCategory, NoCategory.
    """
    lock(conn, shop_id)
    before, into = _row(conn, shop_id, category_id), _row(conn, shop_id, into_id)
    plan_merge(conn, shop_id, category_id, into_id)
    # Out of the way, lest one below it have its name and take its place.
    _hang(conn, shop_id, before, before["parent_id"], f"{before['path']} being merged {category_id}")
    fold = _fold(conn, shop_id, category_id, into_id)
    for row, parent_id, path in fold.moves:
        _hang(conn, shop_id, row, parent_id, path)
    products = _products_in(conn, shop_id, fold.into)
    for start in range(0, len(products), _BATCH):
        _reclassify(conn, shop_id, products[start : start + _BATCH], fold.into, actor, now)
    # Those below before those above.
    for gone in reversed(fold.into):
        execute(conn, "delete from categories where shop_id = %(shop)s and id = %(id)s", shop=shop_id, id=gone)
    done = Merged(len(products), len(fold.into), len(fold.moves))
    audit.record(
        conn, shop_id, actor, "merge_category", f"category:{category_id}", now,
        before=before["path"], after=into["path"], **done._asdict(),
    )  # fmt: skip
    return done


class _Fold(NamedTuple):
    """`into`: which category takes the place of each that is gone, the upper ones first. `moves`: what hangs elsewhere,
    with its new parent and path."""

    into: dict[int, int]
    moves: list[tuple[RowMapping, int, str]]


def _fold(conn: Connection, shop_id: int, category_id: int, into_id: int) -> _Fold:
    rows = fetch(conn, "select id, parent_id, path, depth from categories where shop_id = %(shop)s", shop=shop_id)
    by_id = {row["id"]: row for row in rows}
    for wanted in (category_id, into_id):
        if wanted not in by_id:
            raise NoCategory(wanted)
    source, target = by_id[category_id]["path"], by_id[into_id]["path"]
    if _is_below(target, source):
        raise BadCategory(f"{source} cannot be merged into itself or into a category below it")
    ids = {row["path"]: row["id"] for row in rows if not _is_below(row["path"], source)}
    fold, hung = _Fold({}, []), [""]
    for row in sorted(
        (row for row in rows if _is_below(row["path"], source)), key=lambda row: row["path"].split(SEPARATOR)
    ):
        path = target + row["path"].removeprefix(source)
        if _is_below(row["path"], hung[-1]):
            continue
        if path in ids:
            fold.into[row["id"]] = ids[path]
        else:
            fold.moves.append((row, fold.into[row["parent_id"]], path))
            hung.append(row["path"])
    return fold


def _products_in(conn: Connection, shop_id: int, category_ids: Iterable[int]) -> list[int]:
    rows = fetch(
        conn,
        """
        select distinct product_id from product_categories
        where shop_id = %(shop)s and category_id = any(%(ids)b::int8[]) order by 1 limit %(most)s
        """,
        shop=shop_id,
        ids=sorted(category_ids),
        most=MERGED_MAX + 1,
    )
    if len(rows) > MERGED_MAX:
        raise BadCategory(
            f"more than {MERGED_MAX:,} products would change at once: merge the categories below it one by one first,"
            " or move it instead"
        )
    return [row["product_id"] for row in rows]


def _reclassify(
    conn: Connection, shop_id: int, product_ids: Sequence[int], into: Mapping[int, int], actor: Actor, now: datetime
) -> None:
    puts = []
    for found in stored(conn, shop_id, product_ids).values():
        kept = tuple(dict.fromkeys(into.get(one, one) for one in found.document.categories))
        puts.append(Put(replace(found.document, categories=kept), found.product_id, found.version))
    put_products(conn, shop_id, puts, "edited", actor, now)


def _row(conn: Connection, shop_id: int, category_id: int) -> RowMapping:
    row = fetch_one(
        conn,
        "select id, parent_id, name, path, depth from categories where shop_id = %(shop)s and id = %(id)s for update",
        shop=shop_id,
        id=category_id,
    )
    if row is None:
        raise NoCategory(category_id)
    return row


def _audit(
    conn: Connection, shop_id: int, actor: Actor, act: str, category_id: int, now: datetime, **details: str
) -> None:
    audit.record(conn, shop_id, actor, act, f"category:{category_id}", now, **details)
