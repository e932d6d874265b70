"""Writes: say which entry of a taxonomy a category is, that it is left out, or nothing any more; each undone.

An answer is added, never edited: what it takes the place of is ended with the same name and reason, and both are kept.
Whoever answers writes the catalogue alone, as for products. Each is named, reasoned and audited.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.catalog.categories.operations import NoCategory
from core.catalog.products.writing import lock
from core.catalog.taxonomies import queries
from core.catalog.taxonomies.queries import Pick
from core.catalog.taxonomies.rules import VENDORS, Entry, Target
from core.db import execute, fetch, fetch_one
from core.errors import Anticipated, BadInput

Answer = Literal["entry", "left_out", "own"]
Source = Literal["person", "suggestion"]
_AUDITED = 100


class NoEntry(BadInput):
    """The taxonomy that counts has no entry of that id, or none was loaded."""

    def __init__(self, target: Target, ref: str) -> None:
        super().__init__(
            f"nothing was mapped: {VENDORS[target.kind]}’s taxonomy has no entry {ref[:80]}. Search it by name, or load"
            " a newer one"
        )


class NotKlaviyo(BadInput):
    """Only an account that has categories of the shop's own can get one more."""

    def __init__(self, target: Target) -> None:
        super().__init__(f"{VENDORS[target.kind]}’s taxonomy is fixed: a category is one of its entries, or left out")


class NothingAnswered(Anticipated):
    """No answer of its own that could end, or be taken back."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"nothing was changed: {path} has no answer of its own to {what}")


class SuggestionsChanged(Anticipated):
    """What would be accepted now is not what was seen."""

    def __init__(self) -> None:
        super().__init__(
            "nothing was accepted: categories, answers or the taxonomy are others than when you looked. Look again"
        )


class NothingOfBatch(Anticipated):
    """There is no such act, or nothing of it stands."""

    def __init__(self) -> None:
        super().__init__("nothing was taken back: none of what that act accepted stands any more")


@dataclass(frozen=True, slots=True)
class _New:
    """An answer about to be written."""

    category_id: int
    path: str
    answer: Answer
    entry: Entry | None = None
    source: Source = "person"
    score: int | None = None
    replaces_id: int | None = None


def map_category(
    conn: Connection,
    shop_id: int,
    target: Target,
    category_id: int,
    ref: str,
    actor: Actor,
    now: datetime,
    *,
    score: int | None = None,
) -> bool:
    """Say that a category, and all below it that have no answer, are an entry of the taxonomy. Twice is once: False.

    `score` is that of the suggestion that is accepted by it. Raises NoEntry, NoCategory.
    """
    lock(conn, shop_id)
    entry = queries.entry_of(conn, shop_id, target, ref)
    if entry is None:
        raise NoEntry(target, ref)
    source: Source = "person" if score is None else "suggestion"
    new = _New(category_id, _path(conn, shop_id, category_id), "entry", entry, source, score)
    return _answer(conn, shop_id, target, new, "map_category", actor, now)


def leave_out(conn: Connection, shop_id: int, target: Target, category_id: int, actor: Actor, now: datetime) -> bool:
    """Say that a category, and all below it that have no answer, have no entry there. Twice is once: False.

    Raises NoCategory.
    """
    lock(conn, shop_id)
    new = _New(category_id, _path(conn, shop_id, category_id), "left_out")
    return _answer(conn, shop_id, target, new, "leave_category_out", actor, now)


def keep_own(conn: Connection, shop_id: int, target: Target, category_id: int, actor: Actor, now: datetime) -> bool:
    """Say that a category becomes one of its own at Klaviyo, whatever those above it are. Twice is once.

    Raises NotKlaviyo, NoCategory.
    """
    if target.kind != "klaviyo":
        raise NotKlaviyo(target)
    lock(conn, shop_id)
    new = _New(category_id, _path(conn, shop_id, category_id), "own")
    return _answer(conn, shop_id, target, new, "keep_category_own", actor, now)


def end_answer(conn: Connection, shop_id: int, target: Target, category_id: int, actor: Actor, now: datetime) -> None:
    """Take a category's own answer away: it is what the nearest above it is. Raises NothingAnswered, NoCategory."""
    lock(conn, shop_id)
    path = _path(conn, shop_id, category_id)
    living = _living(conn, shop_id, target, [category_id]).get(category_id)
    if living is None:
        raise NothingAnswered(path, "end")
    _end(conn, shop_id, [living["id"]], actor, now)
    _record(conn, shop_id, target, actor, "end_category_mapping", category_id, now, path=path, was=_said(living))


def undo(conn: Connection, shop_id: int, target: Target, category_id: int, actor: Actor, now: datetime) -> None:
    """Take back what was last done to a category's answer; done twice, it is as it was. Raises NothingAnswered."""
    lock(conn, shop_id)
    path = _path(conn, shop_id, category_id)
    past = queries.history(conn, shop_id, target, category_id)
    if not past:
        raise NothingAnswered(path, "take back")
    last = past[0]
    before: RowMapping | None = last
    if last["ended_at"] is None:
        before = next((row for row in past if row["id"] == last["replaces_id"]), None)
        _end(conn, shop_id, [last["id"]], actor, now)
    if before is not None:
        replaces = last["id"] if before is not last else None
        _insert(conn, shop_id, target, [_again(before, category_id, path, replaces)], actor, now)
    was = _said(last) if last["ended_at"] is None else None
    now_is = None if before is None else _said(before)
    _record(conn, shop_id, target, actor, "undo_category_mapping", category_id, now, path=path, was=was, now_is=now_is)


# --- many at once -----------------------------------------------------------------------------------------------------


def accept(
    conn: Connection,
    shop_id: int,
    target: Target,
    least: int,
    token: str,
    actor: Actor,
    now: datetime,
    *,
    with_inherited: bool = False,
) -> tuple[int, int]:
    """Accept the best suggestion of every category that is at least so sure (`queries.acceptable`), as was previewed.

    `token` is `queries.token_of` the picks that were seen. Returns the act's number, for `undo_batch`, and how many
    were accepted. Raises SuggestionsChanged.
    """
    lock(conn, shop_id)
    picks = queries.acceptable(conn, shop_id, target, least, with_inherited=with_inherited)
    if not picks or queries.token_of(picks) != token:
        raise SuggestionsChanged
    batch_id = audit.record(
        conn,
        shop_id,
        actor,
        "accept_category_suggestions",
        _subject(target),
        now,
        least=least,
        accepted=len(picks),
        categories=[_told(pick) for pick in picks[:_AUDITED]],
    )
    news = [
        _New(
            pick.category_id,
            pick.category,
            "entry",
            Entry(pick.suggestion.ref, pick.suggestion.path),
            "suggestion",
            pick.suggestion.score,
        )
        for pick in picks
    ]
    _insert(conn, shop_id, target, news, actor, now, batch_id)
    return batch_id, len(picks)


def _told(pick: Pick) -> dict[str, Any]:
    return {"category_id": pick.category_id, "path": pick.category, "entry": pick.suggestion.path,
            "score": pick.suggestion.score}  # fmt: skip


def undo_batch(conn: Connection, shop_id: int, target: Target, batch_id: int, actor: Actor, now: datetime) -> int:
    """Take back what one act accepted, as far as it stands; what was answered since stays. Returns how many ended.

    Raises NothingOfBatch.
    """
    lock(conn, shop_id)
    standing = fetch(
        conn,
        """
        select id from category_mappings where shop_id = %(shop)s and batch_id = %(batch)s and ended_at is null
            and kind = %(kind)s and connection_id is not distinct from %(connection)s::int8
        """,
        shop=shop_id,
        batch=batch_id,
        kind=target.kind,
        connection=target.connection_id,
    )
    if not standing:
        raise NothingOfBatch
    _end(conn, shop_id, [row["id"] for row in standing], actor, now)
    audit.record(
        conn, shop_id, actor, "undo_category_suggestions", _subject(target), now, batch=batch_id, ended=len(standing)
    )
    return len(standing)


# --- rows -------------------------------------------------------------------------------------------------------------


def _path(conn: Connection, shop_id: int, category_id: int) -> str:
    row = fetch_one(
        conn, "select path from categories where shop_id = %(shop)s and id = %(id)s", shop=shop_id, id=category_id
    )
    if row is None:
        raise NoCategory(category_id)
    return str(row["path"])


def _living(conn: Connection, shop_id: int, target: Target, category_ids: Iterable[int]) -> dict[int, RowMapping]:
    rows = fetch(
        conn,
        """
        select id, category_id, answer, entry_ref, entry_path from category_mappings
        where shop_id = %(shop)s and kind = %(kind)s and connection_id is not distinct from %(connection)s::int8
            and category_id = any(%(ids)b::int8[]) and ended_at is null
        """,
        shop=shop_id,
        kind=target.kind,
        connection=target.connection_id,
        ids=sorted(category_ids),
    )
    return {row["category_id"]: row for row in rows}


def _answer(conn: Connection, shop_id: int, target: Target, new: _New, act: str, actor: Actor, now: datetime) -> bool:
    living = _living(conn, shop_id, target, [new.category_id]).get(new.category_id)
    ref = None if new.entry is None else new.entry.ref
    if living is not None and (living["answer"], living["entry_ref"]) == (new.answer, ref):
        return False
    if living is not None:
        _end(conn, shop_id, [living["id"]], actor, now)
    replaces = None if living is None else living["id"]
    added = _New(new.category_id, new.path, new.answer, new.entry, new.source, new.score, replaces)
    _insert(conn, shop_id, target, [added], actor, now)
    _record(conn, shop_id, target, actor, act, new.category_id, now, path=new.path,
            entry=None if new.entry is None else new.entry.path, ref=ref, score=new.score,
            was=None if living is None else _said(living))  # fmt: skip
    return True


def _again(before: RowMapping, category_id: int, path: str, replaces_id: int | None) -> _New:
    """An answer that was given before, about to be given again."""
    entry = None if before["entry_ref"] is None else Entry(before["entry_ref"], before["entry_path"])
    return _New(category_id, path, before["answer"], entry, before["source"], before["score"], replaces_id)


def _insert(
    conn: Connection,
    shop_id: int,
    target: Target,
    news: Sequence[_New],
    actor: Actor,
    now: datetime,
    batch_id: int | None = None,
) -> None:
    execute(
        conn,
        """
        insert into category_mappings (shop_id, category_id, category_path, kind, connection_id, answer, entry_ref,
            entry_path, source, score, batch_id, replaces_id, mapped_by, reason, mapped_at)
        select %(shop)s, category_id, path, %(kind)s, %(connection)s, answer, ref, entry, source, score, %(batch)s,
            replaces, %(by)s, %(reason)s, %(now)s
        from unnest(%(ids)b::int8[], %(paths)b::text[], %(answers)b::text[], %(refs)b::text[], %(entries)b::text[],
            %(sources)b::text[], %(scores)b::int4[], %(replaced)b::int8[])
            as n (category_id, path, answer, ref, entry, source, score, replaces)
        """,
        shop=shop_id,
        kind=target.kind,
        connection=target.connection_id,
        batch=batch_id,
        by=actor.name,
        reason=actor.reason,
        now=now,
        ids=[new.category_id for new in news],
        paths=[new.path for new in news],
        answers=[new.answer for new in news],
        refs=[None if new.entry is None else new.entry.ref for new in news],
        entries=[None if new.entry is None else new.entry.path for new in news],
        sources=[new.source for new in news],
        scores=[new.score for new in news],
        replaced=[new.replaces_id for new in news],
    )


def _end(conn: Connection, shop_id: int, ids: Sequence[int], actor: Actor, now: datetime) -> None:
    execute(
        conn,
        """
        update category_mappings set ended_at = %(now)s, ended_by = %(by)s, end_reason = %(reason)s
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and ended_at is null
        """,
        shop=shop_id,
        ids=ids,
        now=now,
        by=actor.name,
        reason=actor.reason,
    )


def _said(row: RowMapping) -> str:
    return row["entry_path"] or {"left_out": "left out", "own": "one of its own"}[row["answer"]]


def _subject(target: Target) -> str:
    return f"taxonomy:{target.kind}" if target.connection_id is None else f"connection:{target.connection_id}"


def _record(
    conn: Connection, shop_id: int, target: Target, actor: Actor, act: str, category_id: int, now: datetime, **more: Any
) -> None:
    audit.record(
        conn, shop_id, actor, act, f"category:{category_id}", now, kind=target.kind,
        connection_id=target.connection_id, **more,
    )  # fmt: skip
