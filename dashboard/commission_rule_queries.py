"""Reads of the Commission rules screen: rules, parties, assignments, versions; what is at odds, and what a draft would
do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, NamedTuple

import streamlit as st
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from core.clock import utc_now
from core.commissions import editing, importing, queries
from core.commissions.checking import Finding, check, made_by
from core.commissions.directory import Directory, directory, named_skus
from core.commissions.drafts import Draft
from core.commissions.queries import Settings
from core.commissions.replaying import Progress, Replayed, replay
from core.commissions.rules import Assignment, Rule
from core.commissions.sentences import say_assignment, say_rule, typed_assignment, typed_rule
from core.commissions.standing import standing
from core.commissions.typed import read_assignment, read_rule
from core.db import read_only
from dashboard.queries import Unreadable, engine, one, rows

PAGE = 20
VERSIONS = 10
REPLAY_DAYS = 30

Thing = Literal["rule", "assignment"]
_TABLES = {"rule": "commission_rules", "assignment": "party_assignments"}
_RULE_KEY = "(place, base, breadth, id)"


class Page(NamedTuple):
    """Rows in order; `more` says whether others follow."""

    rows: list[dict[str, Any]]
    more: bool


class Planned(NamedTuple):
    """A draft as sentences, what it puts at odds, and the version that it was made on."""

    draft: Draft
    token: int
    begins: tuple[str, ...]
    ends: tuple[str, ...]
    findings: tuple[Finding, ...]


def forget() -> None:
    """Read everything afresh."""
    for cached in (totals, rules, parties, assignments, versions, findings, names):
        cached.clear()


@contextmanager
def _reading() -> Iterator[Connection]:
    try:
        with read_only(engine()) as conn:
            yield conn
    except SQLAlchemyError as cause:
        raise Unreadable(cause) from cause


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def totals(shop_id: int, scope: str) -> dict[str, Any]:
    """How many rules, parties and assignments live."""
    found = one(
        """
        select (select count(*) from commission_rule_list where shop_id = %(shop)s) as rules,
            (select count(*) from commission_party_list where shop_id = %(shop)s and ended_at is null) as parties,
            (select count(*) from commission_assignment_list where shop_id = %(shop)s) as assignments, now() as as_of
        """,
        shop=shop_id,
    )
    assert found is not None
    return found


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def rules(shop_id: int, scope: str, q: str, after_id: int | None) -> Page:
    """The living rules by kind, the most general first, each with its sentence; `q` is found in any name of it."""
    found = rows(
        f"""
        select *, now() as as_of from commission_rule_list r where shop_id = %(shop)s
            and (%(q)s = '' or concat_ws(' ', replace(kind, '_', ' '), connection, category, code, seller, payee,
                currency) ilike '%%' || %(q)s || '%%')
            and (not exists (select from commission_rule_list where shop_id = %(shop)s and id = %(after)s)
                or {_RULE_KEY} > (select {_RULE_KEY[1:-1]} from commission_rule_list
                    where shop_id = %(shop)s and id = %(after)s))
        order by {_RULE_KEY[1:-1]} limit {PAGE + 1}
        """,
        shop=shop_id,
        q=_like(q),
        after=after_id,
    )
    with _reading() as conn:
        called = directory(conn, shop_id, sku_ids={row["sku_id"] for row in found if row["sku_id"] is not None})
    for row in found:
        row["says"] = say_rule(queries.rule_of(row), called)  # type: ignore[arg-type]
    return Page(found[:PAGE], len(found) > PAGE)


def _like(q: str) -> str:
    """Foreign text as a part of a pattern, letter by letter."""
    return q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def parties(shop_id: int, scope: str, q: str, after_id: int | None) -> Page:
    """Parties by id, the ended ones too."""
    found = rows(
        f"""
        select *, now() as as_of from commission_party_list
        where shop_id = %(shop)s and id > %(after)s and concat_ws(' ', code, name, replace(kind, '_', ' '))
            ilike '%%' || %(q)s || '%%'
        order by id limit {PAGE + 1}
        """,
        shop=shop_id,
        q=_like(q),
        after=after_id or 0,
    )
    return Page(found[:PAGE], len(found) > PAGE)


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def assignments(shop_id: int, scope: str, q: str, after_id: int | None) -> Page:
    """Living assignments by id, each with its sentence."""
    found = rows(
        f"""
        select *, now() as as_of from commission_assignment_list
        where shop_id = %(shop)s and id > %(after)s and (%(q)s = '' or concat_ws(' ', role, party_code, party,
            connection, category, code, title, order_code) ilike '%%' || %(q)s || '%%')
        order by id limit {PAGE + 1}
        """,
        shop=shop_id,
        q=_like(q),
        after=after_id or 0,
    )
    with _reading() as conn:
        called = directory(conn, shop_id, sku_ids={row["sku_id"] for row in found if row["sku_id"] is not None})
    for row in found:
        fields = Assignment.__dataclass_fields__
        row["says"] = say_assignment(Assignment(**{name: row[name] for name in fields}), called)
    return Page(found[:PAGE], len(found) > PAGE)


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def versions(shop_id: int, scope: str, before_id: int | None) -> Page:
    """Versions, newest first, before the version `before_id`."""
    found = rows(
        f"""
        select *, now() as as_of from commission_version_list
        where shop_id = %(shop)s and (%(before)s::int8 is null or version_id < %(before)s)
        order by version_id desc limit {VERSIONS + 1}
        """,
        shop=shop_id,
        before=before_id,
    )
    return Page(found[:VERSIONS], len(found) > VERSIONS)


@st.cache_data(ttl=60, max_entries=50, show_spinner=False)
def findings(shop_id: int, scope: str) -> list[Finding]:
    """What is at odds, and what is left out, as things stand."""
    with _reading() as conn:
        return check(standing(conn, shop_id, utc_now()))


@st.cache_data(ttl=60, max_entries=50, show_spinner=False)
def names(shop_id: int, scope: str) -> Directory:
    """Parties, channels and categories to choose from."""
    with _reading() as conn:
        return directory(conn, shop_id)


def settings(shop_id: int) -> Settings:
    """What the shop decided about money; not cached."""
    with _reading() as conn:
        return queries.settings(conn, shop_id)


def typed(shop_id: int, thing: Thing, number: int) -> dict[str, str] | None:
    """A living rule or assignment as one would type it; None where it has ended. Not cached."""
    with _reading() as conn:
        found = editing.living(conn, shop_id, _TABLES[thing], number)
        if found is None:
            return None
        called = directory(conn, shop_id, sku_ids=named_skus([found]))
        return typed_rule(found, called) if isinstance(found, Rule) else typed_assignment(found, called)


def preview(shop_id: int, thing: Thing, given: Mapping[str, str], number: int | None, is_end: bool) -> Planned:
    """What was typed as a draft that takes the place of `number`, or only ends it. Raises BadRule, Unreadable."""
    now = utc_now()
    with _reading() as conn:
        called = directory(conn, shop_id, codes=[given["sku"]] if given.get("sku") else [])
        old = None if number is None else editing.living(conn, shop_id, _TABLES[thing], number)
        ended = frozenset() if old is None else frozenset([old.id])
        if thing == "rule":
            draft = Draft(rules=() if is_end else (read_rule(given, called),), ended_rules=ended)
        else:
            begun = () if is_end else (read_assignment(given, called),)
            draft = Draft(assignments=begun, ended_assignments=ended)
        before, after = (check(standing(conn, shop_id, now, each)) for each in (Draft(), draft))
        called = directory(
            conn, shop_id, sku_ids=named_skus([*draft.rules, *draft.assignments, *([old] if old else [])])
        )
        begins = [say_rule(each, called) for each in draft.rules]
        begins += [say_assignment(each, called) for each in draft.assignments]
        ends = [] if old is None else [say_rule(old, called) if isinstance(old, Rule) else say_assignment(old, called)]
        token = editing.latest_version(conn, shop_id)
    return Planned(draft, token, tuple(begins), tuple(ends), tuple(made_by(before, after)))


def tried(shop_id: int, draft: Draft, progress: Progress) -> tuple[Replayed, Directory]:
    """What a draft would have changed in the orders of the last days, with the names that it speaks of."""
    now = utc_now()
    with _reading() as conn:
        found = replay(conn, shop_id, draft, now - timedelta(days=REPLAY_DAYS), now, progress=progress)
        skus = {line.sku_id for line in found.examples if line.sku_id is not None}
        return found, directory(conn, shop_id, sku_ids=skus)


def plan_file(shop_id: int, text: str) -> importing.Plan:
    """What a file of assignments would change. Raises BadInput."""
    with _reading() as conn:
        return importing.plan(conn, shop_id, text)
