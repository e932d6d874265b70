"""Writes: rules in versions, and the re-plan that brings listings to them.

Whatever decides which rule is for which listing (saving a version, taking in listings, choosing a category) happens one
at a time in a shop: it begins with `lock`, before any row is locked. Bookings never take that lock and never read a
rule: they read what it comes to from the listing's row. The re-plan does not take it either; it goes by committed rules
and comes after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.db import execute, fetch, fetch_one, scalar
from core.errors import Anticipated, BadInput
from core.inventory.planner import Mode
from core.policies.queries import (
    KINDS,
    LIVING,
    OFFER,
    SCOPES,
    Change,
    crossings,
    latest_version,
    living,
    offered,
    policy_of,
    scope_arrays,
    token_of,
)
from core.policies.rules import (
    TERMS,
    BadRule,
    Problem,
    Scope,
    Terms,
    Typed,
    crossing,
    describe,
    describe_scope,
)

CHANGES_MAX = 1000
"""Of one version: more are a mistake, or better said for a category."""

CHUNK = 1000
"""Listings re-planned in one unit of work: what a booking of one of them may have to wait for."""


class RulesChanged(Anticipated):
    """Somebody saved rules since the preview."""

    def __init__(self) -> None:
        super().__init__("nothing was saved: the rules have changed since you looked. Look at the preview again")


class NothingToChange(Anticipated):
    """The rules say that already."""

    def __init__(self) -> None:
        super().__init__("nothing was saved: the rules say exactly that already")


class CannotUndo(Anticipated):
    """A version that cannot be taken back any more, and why."""

    def __init__(self, version_id: int, why: str) -> None:
        super().__init__(f"version {version_id} cannot be undone: {why}")


def lock(conn: Connection, shop_id: int) -> None:
    """Be the only one in the shop who decides which rule is for which listing, until the unit of work ends."""
    execute(conn, "select pg_advisory_xact_lock(hashtextextended('policies:' || %(shop)s, 0))", shop=shop_id)


# --- from words to a change -------------------------------------------------------------------------------------------


def change_of(conn: Connection, shop_id: int, typed: Typed, where: str = "") -> Change:
    """What was typed, with its names looked up. Raises BadRule for a connection, category or SKU that is not there."""
    problems: list[Problem] = []
    connection_id = sku_id = None
    if typed.connection is not None:
        names = {row["name"]: row["id"] for row in fetch(conn, _CONNECTIONS, shop=shop_id)}
        connection_id = names.get(typed.connection)
        if connection_id is None:
            problems.append(_unknown("connection", typed.connection, names, "leave it empty for every channel"))
    if typed.sku is not None:
        sku_id = scalar(conn, _SKU, shop=shop_id, code=typed.sku)
        if sku_id is None:
            like = [row["code"] for row in fetch(conn, _SKUS_LIKE, shop=shop_id, code=typed.sku)]
            problems.append(_unknown("sku", typed.sku, like, "codes are compared exactly, upper and lower case differ"))
    if typed.category is not None:
        problems += _check_category(conn, shop_id, typed.category)
    if problems:
        raise BadRule(problems, where)
    return Change(Scope(connection_id, typed.category, sku_id), typed.terms)


_CONNECTIONS = "select id, name from connections where shop_id = %(shop)s order by name"
_SKU = "select id from skus where shop_id = %(shop)s and code = %(code)s"
_SKUS_LIKE = "select code from skus where shop_id = %(shop)s and lower(code) = lower(%(code)s) order by code limit 3"


def _check_category(conn: Connection, shop_id: int, category: str) -> list[Problem]:
    """A category that no SKU has is a typing error, unless a living rule is for it and is to be changed or ended."""
    known = [
        row["category"]
        for row in fetch(
            conn,
            """
            select distinct category from skus where shop_id = %(shop)s and category is not null
            union
            select distinct category from channel_policies
            where shop_id = %(shop)s and category is not null and ended_id is null order by 1
            """,
            shop=shop_id,
        )
    ]
    if category in known:
        return []
    return [_unknown("category", category, known, "the catalogue's own word, compared exactly")]


def _unknown(field: str, given: str, known: Iterable[str], how: str) -> Problem:
    names = list(known)
    like = get_close_matches(given, names, n=3, cutoff=0.5) or names[:5]
    meant = f". Did you mean {' or '.join(like)}?" if like else ""
    word = "SKU" if field == "sku" else field
    return Problem(field, f"there is no {word} “{given}” ({how}){meant}")


# --- saving and undoing -----------------------------------------------------------------------------------------------


def save(
    conn: Connection, shop_id: int, changes: Sequence[Change], actor: Actor, now: datetime, *, token: str | None = None
) -> int:
    """Make changes the rules of the shop, as one version; returns its id. Listings follow by the re-plan.

    A change without terms ends the scope's rule. `token` is that of the preview: with it, nothing is saved where rules
    have changed since. Raises RulesChanged, NothingToChange, BadRule.
    """
    lock(conn, shop_id)
    if token is not None and token != token_of(latest_version(conn, shop_id), changes):
        raise RulesChanged
    _check(conn, shop_id, changes)
    before = {item.scope: item for item in living(conn, shop_id, (change.scope for change in changes))}
    terms_before = {scope: policy.terms for scope, policy in before.items()}
    real = [change for change in changes if change.terms != terms_before.get(change.scope, Terms())]
    if not real:
        raise NothingToChange
    version_id = _write(conn, shop_id, real, actor, now, undoes_id=None)
    names = _names(conn, shop_id, [change.scope for change in real])
    audit.record(
        conn,
        shop_id,
        actor,
        "save_rules",
        f"policy_version:{version_id}",
        now,
        rules=[
            {
                "for": names[change.scope],
                "says": describe(change.terms) if change.terms.said else "no rule any more",
                "before": describe(terms_before[change.scope]) if change.scope in before else "no rule",
            }
            for change in real[:50]
        ],
        count=len(real),
    )
    return version_id


DEFAULT_MODE: Mode = "adaptive"
"""How a new shop shares its pools: chosen by measurement (`bench oversell`), said by a rule that everybody can see."""


def begin_with(conn: Connection, shop_id: int, mode: Mode, actor: Actor, now: datetime) -> int | None:
    """Give a shop that has no rules yet the one that says how its pools are shared; returns the version, if any.

    For the moment a shop's first channels are connected. A shop that ever had a rule keeps what it has.
    """
    lock(conn, shop_id)
    if latest_version(conn, shop_id):
        return None
    return save(conn, shop_id, [Change(Scope(), Terms(mode=mode))], actor, now)


def check(conn: Connection, shop_id: int, changes: Sequence[Change]) -> None:
    """Raises BadRule where the changes could not be saved: for whoever previews them."""
    _check(conn, shop_id, changes)


def _check(conn: Connection, shop_id: int, changes: Sequence[Change]) -> None:
    if not changes:
        raise BadRule([Problem("", "there is no rule in it: give at least one")])
    if len(changes) > CHANGES_MAX:
        raise BadRule([Problem("", f"{len(changes):,} rules at once: save at most {CHANGES_MAX:,} in one version")])
    scopes = [change.scope for change in changes]
    twice = next((scope for number, scope in enumerate(scopes) if scope in scopes[:number]), None)
    if twice is not None:
        name = _names(conn, shop_id, [twice])[twice]
        raise BadRule([Problem("", f"{name} comes twice: say it once")])
    for change in changes:
        if problems := crossing(change.terms):
            raise BadRule(problems, _names(conn, shop_id, [change.scope])[change.scope])
    crossed = crossings(conn, shop_id, changes, limit=1)
    if crossed:
        found = crossed[0]
        more = f" and {found['listings'] - 1:,} more listings" if found["listings"] > 1 else ""
        raise BadRule(
            [
                Problem(
                    "floor_units",
                    f"on {found['connection']}, SKU {found['code']}{more} would have a floor of"
                    f" {found['asked_floor_units']:,} above its cap of {found['cap_units']:,}, one of which it"
                    " inherits: lower the floor, raise the cap, or set both in the same rule",
                )
            ]
        )


def _write(
    conn: Connection, shop_id: int, changes: Sequence[Change], actor: Actor, now: datetime, undoes_id: int | None
) -> int:
    """Insert a version that ends the living rules of the changes' scopes and begins those that say something."""
    version_id: int = scalar(
        conn,
        """
        insert into policy_versions (shop_id, saved_by, reason, saved_at, undoes_id)
        values (%(shop)s, %(by)s, %(reason)s, %(now)s, %(undoes)s) returning id
        """,
        shop=shop_id,
        by=actor.name,
        reason=actor.reason,
        now=now,
        undoes=undoes_id,
    )
    execute(
        conn,
        f"""
        update channel_policies p set ended_id = %(version)s from {SCOPES} c
        where p.shop_id = %(shop)s and p.ended_id is null and p.connection_id is not distinct from c.connection_id
            and p.category is not distinct from c.category and p.sku_id is not distinct from c.sku_id
        """,
        shop=shop_id,
        version=version_id,
        **scope_arrays(change.scope for change in changes),
    )
    begun = [change for change in changes if change.terms.said]
    execute(
        conn,
        f"""
        insert into channel_policies (shop_id, connection_id, category, sku_id, begun_id, {", ".join(TERMS)})
        select %(shop)s, c.connection_id, c.category, c.sku_id, %(version)s, {", ".join(f"c.{name}" for name in TERMS)}
        from unnest(%(connections)b::int8[], %(categories)b::text[], %(skus)b::int8[],
            {", ".join(f"%({name})b::{KINDS.get(name, 'int4')}[]" for name in TERMS)})
            as c (connection_id, category, sku_id, {", ".join(TERMS)})
        """,
        shop=shop_id,
        version=version_id,
        **scope_arrays(change.scope for change in begun),
        **{name: [getattr(change.terms, name) for change in begun] for name in TERMS},
    )
    return version_id


def undo(conn: Connection, shop_id: int, version_id: int, actor: Actor, now: datetime) -> int:
    """Take a version back by a new one, which ends what it began and restores what it ended; returns the new one's id.

    Raises CannotUndo when it was undone before, or when a later version touched one of its rules.
    """
    lock(conn, shop_id)
    wanted = undoing(conn, shop_id, version_id)
    _check(conn, shop_id, wanted)
    new_id = _write(conn, shop_id, wanted, actor, now, undoes_id=version_id)
    audit.record(
        conn, shop_id, actor, "undo_rules", f"policy_version:{version_id}", now, version=new_id, rules=len(wanted)
    )
    return new_id


def undoing(conn: Connection, shop_id: int, version_id: int) -> list[Change]:
    """The changes that take a version back. Raises CannotUndo, BadInput."""
    version = fetch_one(
        conn,
        """
        select v.id, u.id as undone_by_id from policy_versions v
        left join policy_versions u on u.shop_id = v.shop_id and u.undoes_id = v.id
        where v.shop_id = %(shop)s and v.id = %(version)s
        """,
        shop=shop_id,
        version=version_id,
    )
    if version is None:
        raise BadInput(f"there is no version {version_id} of the channel rules: the Channel rules screen lists them")
    if version["undone_by_id"] is not None:
        raise CannotUndo(version_id, f"version {version['undone_by_id']} undid it already")
    rows = fetch(
        conn,
        """
        select p.* from channel_policies p
        where p.shop_id = %(shop)s and (p.begun_id = %(version)s or p.ended_id = %(version)s) order by p.id
        """,
        shop=shop_id,
        version=version_id,
    )
    changes = {policy_of(row).scope: Terms() for row in rows}
    changes |= {policy_of(row).scope: policy_of(row).terms for row in rows if row["ended_id"] == version_id}
    _refuse_if_touched(conn, shop_id, version_id, list(changes))
    return [Change(scope, terms) for scope, terms in changes.items()]


def _refuse_if_touched(conn: Connection, shop_id: int, version_id: int, scopes: Sequence[Scope]) -> None:
    later = fetch_one(
        conn,
        f"""
        select v.id, v.saved_by, p.connection_id, p.category, p.sku_id
        from channel_policies p join {SCOPES} c on p.connection_id is not distinct from c.connection_id
            and p.category is not distinct from c.category and p.sku_id is not distinct from c.sku_id
        join policy_versions v on v.shop_id = p.shop_id and v.id in (p.begun_id, p.ended_id)
        where p.shop_id = %(shop)s and v.id > %(version)s order by v.id desc limit 1
        """,
        shop=shop_id,
        version=version_id,
        **scope_arrays(scopes),
    )
    if later is not None:
        scope = Scope(later["connection_id"], later["category"], later["sku_id"])
        raise CannotUndo(
            version_id,
            f"version {later['id']} of {later['saved_by']} changed the rule for"
            f" “{_names(conn, shop_id, [scope])[scope]}” since. Set that rule anew instead, or remove it",
        )


def _names(conn: Connection, shop_id: int, scopes: Sequence[Scope]) -> Mapping[Scope, str]:
    """Scopes as people read them."""
    ids = {"shop": shop_id, "connections": [s.connection_id for s in scopes], "skus": [s.sku_id for s in scopes]}
    connections = fetch(
        conn,
        "select id, name from connections where shop_id = %(shop)s and id = any(%(connections)b::int8[])",
        **{name: ids[name] for name in ("shop", "connections")},
    )
    skus = fetch(
        conn,
        "select id, code from skus where shop_id = %(shop)s and id = any(%(skus)b::int8[])",
        **{name: ids[name] for name in ("shop", "skus")},
    )
    names = {row["id"]: row["name"] for row in connections}
    codes = {row["id"]: row["code"] for row in skus}
    return {
        scope: describe_scope(
            names.get(scope.connection_id) if scope.connection_id is not None else None,
            scope.category,
            codes.get(scope.sku_id) if scope.sku_id is not None else None,
        )
        for scope in scopes
    }


# --- bringing listings to the rules -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A version whose listings are not all at its rules yet; those up to `after_id` are."""

    version_id: int
    after_id: int


def shops_to_replan(conn: Connection) -> list[int]:
    """Shops with a version whose re-plan is not finished."""
    return [
        row["shop_id"]
        for row in fetch(conn, "select distinct shop_id from policy_versions where finished_at is null order by 1")
    ]


def unfinished(conn: Connection, shop_id: int) -> Unfinished | None:
    """The oldest version of the shop that is not finished."""
    row = fetch_one(
        conn,
        """
        select id, after_listing_id from policy_versions
        where shop_id = %(shop)s and finished_at is null order by id limit 1
        """,
        shop=shop_id,
    )
    return None if row is None else Unfinished(row["id"], row["after_listing_id"])


def begin_replan(conn: Connection, shop_id: int, version_id: int, left: int, now: datetime) -> None:
    """Note that the re-plan of a version goes to work, with so many listings left; with none left it is finished."""
    execute(
        conn,
        """
        update policy_versions set started_at = coalesce(started_at, %(now)s),
            listings_total = listings_done + %(left)s,
            finished_at = case when %(left)s = 0 then coalesce(finished_at, %(now)s) end
        where shop_id = %(shop)s and id = %(version)s and finished_at is null
        """,
        shop=shop_id,
        version=version_id,
        left=left,
        now=now,
    )


def replan(
    conn: Connection, shop_id: int, version_id: int, listing_ids: Sequence[int], is_last: bool, now: datetime
) -> int:
    """Bring the next listings of a version (ascending ids) to the rules as they are now; returns how many changed.

    The mark moves in the same unit of work, so that whoever goes on after a death goes on exactly there. What is
    behind the mark already is left alone.
    """
    mark = scalar(
        conn,
        """
        select after_listing_id from policy_versions
        where shop_id = %(shop)s and id = %(version)s and finished_at is null for update
        """,
        shop=shop_id,
        version=version_id,
    )
    left = [listing_id for listing_id in listing_ids if mark is not None and listing_id > mark]
    if not left:
        return 0
    changed = _apply(conn, shop_id, left)
    execute(
        conn,
        """
        update policy_versions set after_listing_id = %(last)s, listings_done = listings_done + %(done)s,
            listings_changed = listings_changed + %(changed)s,
            finished_at = case when %(is_last)s then %(now)s::timestamptz end
        where shop_id = %(shop)s and id = %(version)s
        """,
        shop=shop_id,
        version=version_id,
        last=left[-1],
        done=len(left),
        changed=changed,
        is_last=is_last,
        now=now,
    )
    return changed


def apply_to_skus(conn: Connection, shop_id: int, sku_ids: Iterable[int]) -> int:
    """Bring all listings of some SKUs to the rules at once: they are new, newly mapped, or of another category.

    For whoever holds `lock`. Returns how many changed.
    """
    rows = fetch(
        conn,
        "select id from listings where shop_id = %(shop)s and sku_id = any(%(skus)b::int8[]) order by id",
        shop=shop_id,
        skus=sorted(set(sku_ids)),
    )
    return _apply(conn, shop_id, [row["id"] for row in rows]) if rows else 0


def apply_to_refs(conn: Connection, shop_id: int, connection_id: int, refs: Iterable[str]) -> int:
    """The same for the SKUs of what a channel has just told of (listing refs)."""
    rows = fetch(
        conn,
        """
        select distinct sku_id from listings where shop_id = %(shop)s and connection_id = %(connection)s
            and channel_ref = any(%(refs)b::text[]) and sku_id is not null
        """,
        shop=shop_id,
        connection=connection_id,
        refs=sorted(set(refs)),
    )
    return apply_to_skus(conn, shop_id, [row["sku_id"] for row in rows])


def _apply(conn: Connection, shop_id: int, listing_ids: Sequence[int]) -> int:
    """Set what the rules come to for some listings, and what they should show then.

    The listings are locked first, by id, and everything is read in a second statement: whoever changed a level, a rule
    or a category of theirs has committed by then, or will look at the listing after us and find what we wrote.
    """
    fetch(
        conn,
        """
        select 1 from listings where shop_id = %(shop)s and id = any(%(ids)b::int8[]) order by id for no key update
        """,
        shop=shop_id,
        ids=list(listing_ids),
    )
    return execute(conn, _APPLY, shop=shop_id, ids=list(listing_ids))


_CHOSEN = "l.shop_id = %(shop)s and l.id = any(%(ids)b::int8[])"
_APPLY = f"""
    with wanted as (
        select r.*, {OFFER.format("r")} as units, greatest(0, -r.available) as short
        from ({offered(LIVING, _CHOSEN)}) r
    )
    update listings l set {", ".join(f"{name} = w.{name}" for name in TERMS)},
        desired_units = case when l.publishing = 'on' then w.units else l.desired_units end,
        short_units = case when l.publishing = 'on' then w.short else l.short_units end
    from wanted w
    where l.shop_id = %(shop)s and l.id = w.listing_id
        and (({", ".join(f"l.{name}" for name in TERMS)})
            is distinct from ({", ".join(f"w.{name}" for name in TERMS)})
            or (l.publishing = 'on' and (l.desired_units, l.short_units) is distinct from (w.units, w.short)))
"""
