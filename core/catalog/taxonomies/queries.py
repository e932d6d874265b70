"""Reads: which entry of a taxonomy each category is, what is not mapped, what may be meant, what was answered when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, get_args

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.catalog.taxonomies.rules import Entry, Index, Kind, Suggestion, Target, words_of
from core.db import fetch, fetch_one, scalar

State = Literal["mapped", "inherited", "left_out", "own", "unmapped", "broken"]
"""mapped, own: by an answer of its own. inherited: as the nearest category above it that has an answer. left_out: by an
answer of its own or above it. broken: the entry is not in the taxonomy any more. own: it becomes a category of its own
there, which every category does at Klaviyo that nothing else was said of; unmapped: nothing was said of it."""
STATES: tuple[State, ...] = get_args(State)

PAGE = 50
FOUND_MAX = 20
HISTORY_PAGE = 30

Place = tuple[int, str]
"""What a page begins after: how many products a category has, and its path."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a category is in a taxonomy. `of_id` is the category that was answered for: itself, one above it or none.

    `ref` and `path` are those of the entry, also where it is broken; `path` then is what it was called.
    """

    category_id: int
    category: str
    parent_id: int | None
    products: int
    state: State
    ref: str | None = None
    path: str | None = None
    of_id: int | None = None
    of: str | None = None
    mapping_id: int | None = None

    @property
    def is_inherited(self) -> bool:
        """Whether the answer is that of a category above it."""
        return self.of_id is not None and self.of_id != self.category_id

    @property
    def place(self) -> Place:
        """Where it stands in a list."""
        return self.products, self.category


@dataclass(frozen=True, slots=True)
class Figures:
    """How many categories are in each state, and how many products are in those that need somebody."""

    by_state: Mapping[State, int]
    categories: int
    products: int
    products_concerned: int


@dataclass(frozen=True, slots=True)
class Pick:
    """A suggestion that would be accepted: which entry for which category, with how sure it is."""

    category_id: int
    category: str
    products: int
    suggestion: Suggestion


def living(conn: Connection, shop_id: int, target: Target) -> RowMapping | None:
    """The taxonomy that counts: id, name, version, entries, loaded_by, reason, loaded_at; None before the first."""
    found = loads(conn, shop_id, target)
    return next((row for row in found if row["replaced_at"] is None), None)


def loads(conn: Connection, shop_id: int, target: Target) -> Sequence[RowMapping]:
    """Every load of a taxonomy, the newest first; `is_kept`: whether its entries are still there."""
    return fetch(
        conn,
        """
        select t.id, t.name, t.version, t.digest, t.entries, t.loaded_by, t.reason, t.loaded_at, t.replaced_at,
            exists (select from taxonomy_entries e where e.shop_id = t.shop_id and e.taxonomy_id = t.id) as is_kept
        from taxonomies t where t.shop_id = %(shop)s and t.kind = %(kind)s
            and t.connection_id is not distinct from %(connection)s::int8
        order by t.id desc
        """,
        **_of(shop_id, target),
    )


def targets(conn: Connection, shop_id: int) -> list[Target]:
    """What categories may be mapped to: Google's and Shopify's taxonomies, and each Klaviyo account."""
    rows = fetch(
        conn,
        "select id from connections where shop_id = %(shop)s and vendor = 'klaviyo' order by name, id",
        shop=shop_id,
    )
    return [Target("google"), Target("shopify"), *(Target("klaviyo", row["id"]) for row in rows)]


def entries(conn: Connection, shop_id: int, target: Target) -> list[Entry]:
    """All entries of the taxonomy that counts, by path."""
    taxonomy = living(conn, shop_id, target)
    if taxonomy is None:
        return []
    rows = fetch(
        conn,
        "select ref, path from taxonomy_entries where shop_id = %(shop)s and taxonomy_id = %(id)s order by path, ref",
        shop=shop_id,
        id=taxonomy["id"],
    )
    return [Entry(row["ref"], row["path"]) for row in rows]


def find_entries(conn: Connection, shop_id: int, target: Target, text: str, limit: int = FOUND_MAX) -> list[Entry]:
    """The entries that have every word of a text in their path, or that id; short paths first."""
    *whole, last = words_of(text) or ("",)
    ref = text.strip()
    if not last and not ref:
        return []
    rows = fetch(
        conn,
        """
        select e.ref, e.path from taxonomy_entries e
        join taxonomies t on t.shop_id = e.shop_id and t.id = e.taxonomy_id and t.replaced_at is null
        where e.shop_id = %(shop)s and t.kind = %(kind)s and t.connection_id is not distinct from %(connection)s::int8
            and (e.ref = %(ref)s or split_part(e.ref, 'TaxonomyCategory/', 2) = %(ref)s or %(last)s <> ''
                and e.words @> %(whole)b::text[]
                and exists (select from unnest(e.words) w where starts_with(w, %(last)s)))
        order by length(e.path), e.path limit %(limit)s
        """,
        ref=ref,
        last=last,
        whole=whole,
        limit=limit,
        **_of(shop_id, target),
    )
    return [Entry(row["ref"], row["path"]) for row in rows]


def entry_of(conn: Connection, shop_id: int, target: Target, ref: str) -> Entry | None:
    """The entry with that id in the taxonomy that counts."""
    row = fetch_one(
        conn,
        """
        select e.ref, e.path from taxonomy_entries e
        join taxonomies t on t.shop_id = e.shop_id and t.id = e.taxonomy_id and t.replaced_at is null
        where e.shop_id = %(shop)s and t.kind = %(kind)s and t.connection_id is not distinct from %(connection)s::int8
            and e.ref = %(ref)s
        """,
        ref=ref,
        **_of(shop_id, target),
    )
    return None if row is None else Entry(row["ref"], row["path"])


# --- what each category is --------------------------------------------------------------------------------------------


_WALKED = """
    with recursive living as materialized (
        select m.* from category_mappings m
        where m.shop_id = %(shop)s and m.kind = %(kind)s and m.ended_at is null
            and m.connection_id is not distinct from %(connection)s::int8
    ), walked as (
        select c.id, c.parent_id, c.path, m.id as mapping_id, case when m.id is not null then c.id end as of_id,
            case when m.id is not null then c.path end as of
        from categories c left join living m on m.category_id = c.id
        where c.shop_id = %(shop)s and c.parent_id is null
        union all
        select c.id, c.parent_id, c.path, coalesce(m.id, w.mapping_id),
            case when m.id is not null then c.id else w.of_id end,
            case when m.id is not null then c.path else w.of end
        from categories c join walked w on c.shop_id = %(shop)s and c.parent_id = w.id
        left join living m on m.category_id = c.id
    )
"""
"""Every category with the answer that counts for it, its own or that of the nearest one above that has one."""


def effective(
    conn: Connection, shop_id: int, target: Target, category_ids: Collection[int] | None = None
) -> list[Mapped]:
    """What every category is, or some are, those with most products first."""
    rows = fetch(
        conn,
        f"""
        {_WALKED}, counted as (
            select category_id, count(*) as products from product_categories where shop_id = %(shop)s group by 1
        )
        select w.id, w.parent_id, w.path, w.mapping_id, w.of_id, w.of, m.answer, m.entry_ref, m.entry_path,
            e.path as found_path, coalesce(k.products, 0) as products
        from walked w
        left join living m on m.id = w.mapping_id
        left join taxonomies t on t.shop_id = %(shop)s and t.kind = m.kind and t.replaced_at is null
            and t.connection_id is not distinct from m.connection_id
        left join taxonomy_entries e on e.shop_id = t.shop_id and e.taxonomy_id = t.id and e.ref = m.entry_ref
        left join counted k on k.category_id = w.id
        where %(ids)b::int8[] is null or w.id = any(%(ids)b::int8[])
        order by products desc, w.path, w.id
        """,
        ids=None if category_ids is None else sorted(set(category_ids)),
        **_of(shop_id, target),
    )
    return [_mapped(row, target.kind) for row in rows]


def entry_refs(conn: Connection, shop_id: int, target: Target) -> dict[int, str]:
    """The entry of every category that is mapped or inherits; the others are left out. Of `effective`, without how many
    products there are, which is what takes long."""
    rows = fetch(
        conn,
        f"""
        {_WALKED}
        select w.id, m.entry_ref from walked w
        join living m on m.id = w.mapping_id and m.answer = 'entry'
        join taxonomies t on t.shop_id = %(shop)s and t.kind = m.kind and t.replaced_at is null
            and t.connection_id is not distinct from m.connection_id
        join taxonomy_entries e on e.shop_id = t.shop_id and e.taxonomy_id = t.id and e.ref = m.entry_ref
        """,
        **_of(shop_id, target),
    )
    return {row["id"]: row["entry_ref"] for row in rows}


def _mapped(row: RowMapping, kind: Kind) -> Mapped:
    return Mapped(
        category_id=row["id"],
        category=row["path"],
        parent_id=row["parent_id"],
        products=row["products"],
        state=_state(row, kind),
        ref=row["entry_ref"],
        path=row["found_path"] or row["entry_path"],
        of_id=row["of_id"],
        of=row["of"],
        mapping_id=row["mapping_id"],
    )


def _state(row: RowMapping, kind: Kind) -> State:
    if row["answer"] is None:
        return "own" if kind == "klaviyo" else "unmapped"
    if row["answer"] == "entry":
        if row["found_path"] is None:
            return "broken"
        return "mapped" if row["of_id"] == row["id"] else "inherited"
    return "left_out" if row["answer"] == "left_out" else "own"


def mapped(
    conn: Connection, shop_id: int, kind: Kind, category_ids: Collection[int], connection_id: int | None = None
) -> dict[int, str | None]:
    """The entry's id that goes with each category to a channel; None where there is none to send: nothing was said of
    it, it is left out or broken, or (at Klaviyo, see `effective`) is a category of its own. Ids that are gone are left
    out."""
    found = effective(conn, shop_id, Target(kind, connection_id), category_ids)
    return {each.category_id: each.ref if each.state in ("mapped", "inherited") else None for each in found}


def page(
    conn: Connection,
    shop_id: int,
    target: Target,
    state: State | None = None,
    after: Place | None = None,
    limit: int = PAGE,
) -> tuple[list[Mapped], Place | None]:
    """Categories in that state, or all, those with most products first; and what the next page begins after."""
    fitting = [
        each
        for each in effective(conn, shop_id, target)
        if (state is None or each.state == state)
        and (after is None or (-each.products, each.category) > (-after[0], after[1]))
    ]
    fitting.sort(key=lambda each: (-each.products, each.category))
    shown = fitting[:limit]
    return shown, shown[-1].place if len(fitting) > limit else None


def figures(conn: Connection, shop_id: int, target: Target) -> Figures:
    """How the categories of a shop stand with a taxonomy."""
    found = effective(conn, shop_id, target)
    needing = [each.category_id for each in found if each.state in ("unmapped", "broken")]
    counted = fetch_one(
        conn,
        """
        select count(distinct product_id) as products,
            count(distinct product_id) filter (where category_id = any(%(needing)b::int8[])) as concerned
        from product_categories where shop_id = %(shop)s
        """,
        shop=shop_id,
        needing=needing,
    )
    assert counted is not None, "counts always come"
    by_state = Counter(each.state for each in found)
    return Figures(
        {state: by_state.get(state, 0) for state in STATES}, len(found), counted["products"], counted["concerned"]
    )


# --- what may be meant ------------------------------------------------------------------------------------------------


def suggestions(conn: Connection, shop_id: int, target: Target, paths: Iterable[str]) -> dict[str, list[Suggestion]]:
    """What each category, by its path, may be in the taxonomy that counts; see rules.Index."""
    index = Index(entries(conn, shop_id, target))
    return {path: index.suggest(path) for path in paths}


def acceptable(
    conn: Connection, shop_id: int, target: Target, least: int, *, with_inherited: bool = False
) -> list[Pick]:
    """The best suggestion of every category that nothing was said of (and of those that inherit), where it is at least
    so sure, in percent; the category with most products first. What is inherited already is no suggestion."""
    wanted = ("unmapped", "inherited", "own") if with_inherited else ("unmapped", "own")
    asked = [
        each
        for each in effective(conn, shop_id, target)
        if each.state in wanted and (each.mapping_id is None or each.state == "inherited")
    ]
    index = Index(entries(conn, shop_id, target))
    picks = []
    for each in asked:
        best = index.suggest(each.category, 1)
        if best and best[0].score >= least and best[0].ref != each.ref:
            picks.append(Pick(each.category_id, each.category, each.products, best[0]))
    return picks


def token_of(picks: Iterable[Pick]) -> str:
    """What stands for exactly these picks: they are accepted as they were seen, or not at all."""
    said = sorted((pick.category_id, pick.category, pick.suggestion.ref, pick.suggestion.score) for pick in picks)
    return sha256(repr(said).encode()).hexdigest()


# --- what was answered ------------------------------------------------------------------------------------------------

_ANSWER = """m.id, m.category_id, m.category_path, m.answer, m.entry_ref, m.entry_path, m.source, m.score, m.batch_id,
    m.replaces_id, m.mapped_by, m.reason, m.mapped_at, m.ended_by, m.end_reason, m.ended_at"""


def history(
    conn: Connection,
    shop_id: int,
    target: Target,
    category_id: int | None = None,
    before_id: int | None = None,
    limit: int = HISTORY_PAGE,
) -> Sequence[RowMapping]:
    """What was answered, of one category or all, living and ended, the newest first."""
    return fetch(
        conn,
        f"""
        select {_ANSWER} from category_mappings m
        where m.shop_id = %(shop)s and m.kind = %(kind)s and m.connection_id is not distinct from %(connection)s::int8
            and (%(category)s::int8 is null or m.category_id = %(category)s::int8)
            and (%(before)s::int8 is null or m.id < %(before)s::int8)
        order by m.id desc limit %(limit)s
        """,
        category=category_id,
        before=before_id,
        limit=limit,
        **_of(shop_id, target),
    )


def batches(conn: Connection, shop_id: int, target: Target, limit: int = HISTORY_PAGE) -> Sequence[RowMapping]:
    """Acts that accepted many suggestions, the newest first: how many, and how many of them still stand."""
    return fetch(
        conn,
        """
        select batch_id, count(*) as accepted, count(*) filter (where ended_at is null) as standing,
            min(score) as least, min(mapped_by) as mapped_by, min(reason) as reason, min(mapped_at) as mapped_at
        from category_mappings
        where shop_id = %(shop)s and kind = %(kind)s and connection_id is not distinct from %(connection)s::int8
            and batch_id is not null
        group by batch_id order by batch_id desc limit %(limit)s
        """,
        limit=limit,
        **_of(shop_id, target),
    )


def broken_by(conn: Connection, shop_id: int, target: Target, refs: Collection[str]) -> int:
    """How many living answers name an entry that is not among these."""
    return int(
        scalar(
            conn,
            """
            select count(*) from category_mappings where shop_id = %(shop)s and kind = %(kind)s and ended_at is null
                and connection_id is not distinct from %(connection)s::int8 and answer = 'entry'
                and entry_ref <> all(%(refs)b::text[])
            """,
            refs=sorted(refs),
            **_of(shop_id, target),
        )
    )


def _of(shop_id: int, target: Target) -> dict[str, Any]:
    return {"shop": shop_id, "kind": target.kind, "connection": target.connection_id}
