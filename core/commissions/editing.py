"""Writes: parties, and rules and assignments in versions.

A version begins some rows and ends others, all at once. Who saves one goes one at a time in a shop; bookings never wait
for that: each goes by what is in force when it begins.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.commissions.directory import PartyKind
from core.commissions.drafts import Draft
from core.commissions.queries import ASSIGNMENT_COLUMNS, RULE_COLUMNS, Settings, rule_of, settings
from core.commissions.rules import Assignment, Rule
from core.db import execute, fetch, fetch_one, scalar
from core.errors import Anticipated, BadInput


class RulesChanged(Anticipated):
    """Somebody saved rules since the preview."""

    def __init__(self) -> None:
        super().__init__("nothing was saved: the rules have changed since you looked. Look at the preview again")


class CannotUndo(Anticipated):
    """A version that cannot be taken back any more, and why."""

    def __init__(self, version_id: int, why: str) -> None:
        super().__init__(f"version {version_id} cannot be undone: {why}")


class UnknownParty(BadInput):
    """There is no party of that id or code."""

    def __init__(self, named: int | str) -> None:
        super().__init__(f"there is no party {named}: its code stands under Parties")


class PartyHasEnded(Anticipated):
    """It ended before, or it is the platform, which never does."""


class CodeTaken(BadInput):
    """A party's code names one party."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the code {code} is taken: every party has its own. Choose another one")


@dataclass(frozen=True, slots=True)
class Saved:
    """A version that was saved, and the ids of what it began, in the order given."""

    version_id: int
    rule_ids: tuple[int, ...]
    assignment_ids: tuple[int, ...]


def add_party(
    conn: Connection,
    shop_id: int,
    kind: PartyKind,
    code: str,
    name: str,
    actor: Actor,
    now: datetime,
    return_window_days: int | None = None,
) -> int:
    """A new party; returns its id. Raises CodeTaken, BadInput."""
    code, name = code.strip(), name.strip()
    if not code or not name:
        raise BadInput("a party needs a code and a name: neither may be empty")
    _check_days(return_window_days)
    found: int | None = scalar(
        conn,
        """
        insert into parties (shop_id, kind, code, name, return_window_days, created_at)
        values (%(shop)s, %(kind)s, %(code)s, %(name)s, %(days)s, %(now)s)
        on conflict (shop_id, code) do nothing returning id
        """,
        shop=shop_id,
        kind=kind,
        code=code,
        name=name,
        days=return_window_days,
        now=now,
    )
    if found is None:
        raise CodeTaken(code)
    audit.record(conn, shop_id, actor, "add_party", f"party:{found}", now, kind=kind, code=code, name=name)
    return found


WINDOW_DAYS_MAX = 365


def edit_party(
    conn: Connection,
    shop_id: int,
    party_id: int,
    name: str,
    return_window_days: int | None,
    actor: Actor,
    now: datetime,
) -> None:
    """Give a party another name, or what it sells another return window (None: the company's).

    Its code and kind stay, since files and statements go by them. What is booked keeps the window it was booked by.
    Raises UnknownParty, BadInput.
    """
    name = name.strip()
    if not name:
        raise BadInput("a party needs a name: it may not be empty")
    _check_days(return_window_days)
    before = _party_locked(conn, shop_id, party_id)
    execute(
        conn,
        """
        update parties set name = %(name)s, return_window_days = %(days)s
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=party_id,
        name=name,
        days=return_window_days,
    )
    audit.record(
        conn,
        shop_id,
        actor,
        "edit_party",
        f"party:{party_id}",
        now,
        name=name,
        return_window_days=return_window_days,
        before={"name": before["name"], "return_window_days": before["return_window_days"]},
    )


def end_party(conn: Connection, shop_id: int, party_id: int, actor: Actor, now: datetime) -> None:
    """Let a party take part in no order placed from now on. What it earned stays, and is paid.

    Raises UnknownParty, PartyHasEnded.
    """
    before = _party_locked(conn, shop_id, party_id)
    if before["kind"] == "platform":
        raise PartyHasEnded("the platform is the company itself: it does not end")
    if before["ended_at"] is not None:
        raise PartyHasEnded(f"{before['name']} has ended already, at {before['ended_at']:%Y-%m-%d %H:%M} UTC")
    _set_end(conn, shop_id, party_id, now)
    audit.record(conn, shop_id, actor, "end_party", f"party:{party_id}", now, code=before["code"])


def resume_party(conn: Connection, shop_id: int, party_id: int, actor: Actor, now: datetime) -> None:
    """Take the end of a party back, as if it had not been. Orders booked meanwhile stay as they are.

    Raises UnknownParty, BadInput for one that has not ended.
    """
    before = _party_locked(conn, shop_id, party_id)
    if before["ended_at"] is None:
        raise BadInput(f"{before['name']} has not ended: there is nothing to take back")
    _set_end(conn, shop_id, party_id, None)
    audit.record(conn, shop_id, actor, "resume_party", f"party:{party_id}", now, ended_at=str(before["ended_at"]))


def party_of(conn: Connection, shop_id: int, code: str) -> int:
    """The id of the party with that code. Raises UnknownParty."""
    found: int | None = scalar(
        conn, "select id from parties where shop_id = %(shop)s and code = %(code)s", shop=shop_id, code=code
    )
    if found is None:
        raise UnknownParty(code)
    return found


def _party_locked(conn: Connection, shop_id: int, party_id: int) -> RowMapping:
    row = fetch_one(
        conn,
        """
        select kind, code, name, return_window_days, ended_at from parties
        where shop_id = %(shop)s and id = %(id)s for no key update
        """,
        shop=shop_id,
        id=party_id,
    )
    if row is None:
        raise UnknownParty(party_id)
    return row


def _set_end(conn: Connection, shop_id: int, party_id: int, at: datetime | None) -> None:
    execute(
        conn,
        "update parties set ended_at = %(at)s where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=party_id,
        at=at,
    )


def _check_days(days: int | None) -> None:
    if days is not None and not 0 <= days <= WINDOW_DAYS_MAX:
        raise BadInput(f"a return window of {days} days cannot be: write 0 to {WINDOW_DAYS_MAX}")


def save_settings(conn: Connection, shop_id: int, wanted: Settings, actor: Actor, now: datetime) -> None:
    """Save what a shop decides about money. Orders keep the window they were booked with. Raises BadInput."""
    _check_days(wanted.return_window_days)
    if wanted.window_from not in ("shipped", "placed"):
        raise BadInput(f"a return window cannot count from “{wanted.window_from}”: write shipped or placed")
    if wanted.approval_limit_minor < 0:
        raise BadInput("a limit below zero cannot be: write 0 to have each adjustment approved by a second person")
    lock(conn, shop_id)
    before = settings(conn, shop_id)
    execute(
        conn,
        """
        insert into money_settings (shop_id, return_window_days, window_from, approval_limit_minor)
        values (%(shop)s, %(days)s, %(window_from)s, %(limit)s)
        on conflict (shop_id) do update set return_window_days = excluded.return_window_days,
            window_from = excluded.window_from, approval_limit_minor = excluded.approval_limit_minor
        """,
        shop=shop_id,
        days=wanted.return_window_days,
        window_from=wanted.window_from,
        limit=wanted.approval_limit_minor,
    )
    audit.record(
        conn, shop_id, actor, "save_money_settings", "money_settings", now, before=asdict(before), after=asdict(wanted)
    )


def latest_version(conn: Connection, shop_id: int) -> int:
    """The newest version's id; 0 while there is none. It is the token of a preview."""
    return scalar(conn, "select coalesce(max(id), 0) from commission_versions where shop_id = %(s)s", s=shop_id) or 0


def lock(conn: Connection, shop_id: int) -> None:
    """Be the only one in the shop who changes rules, until the unit of work ends."""
    execute(conn, "select pg_advisory_xact_lock(hashtextextended('commissions:' || %(shop)s, 0))", shop=shop_id)


def save(
    conn: Connection,
    shop_id: int,
    actor: Actor,
    now: datetime,
    *,
    rules: Sequence[Rule] = (),
    assignments: Sequence[Assignment] = (),
    ended_rules: Collection[int] = (),
    ended_assignments: Collection[int] = (),
    token: int | None = None,
    undoes: int | None = None,
) -> Saved:
    """Begin some rules and assignments and end others, as one version. Raises RulesChanged, BadInput.

    `token`: the latest version that the preview knew; None for whoever had none.
    """
    lock(conn, shop_id)
    if token is not None and token != latest_version(conn, shop_id):
        raise RulesChanged
    if not (rules or assignments or ended_rules or ended_assignments):
        raise BadInput("a version without a change says nothing: change a rule or an assignment first")
    version: int = scalar(
        conn,
        """
        insert into commission_versions (shop_id, saved_by, reason, saved_at, undoes_id)
        values (%(shop)s, %(by)s, %(reason)s, %(now)s, %(undoes)s) returning id
        """,
        shop=shop_id,
        by=actor.name,
        reason=actor.reason,
        now=now,
        undoes=undoes,
    )
    _end(conn, shop_id, version, "commission_rules", ended_rules)
    _end(conn, shop_id, version, "party_assignments", ended_assignments)
    saved = Saved(
        version,
        tuple(_begin_rule(conn, shop_id, version, rule) for rule in rules),
        tuple(_begin_assignments(conn, shop_id, version, assignments)),
    )
    audit.record(
        conn,
        shop_id,
        actor,
        "save_commission_rules",
        f"commission_version:{version}",
        now,
        rules=len(rules),
        assignments=len(assignments),
        ended_rules=sorted(ended_rules),
        ended_assignments=len(ended_assignments),
    )
    return saved


def save_draft(conn: Connection, shop_id: int, draft: Draft, actor: Actor, now: datetime, token: int | None) -> Saved:
    """Save the changes of a draft as one version, as `save` does. Raises RulesChanged, BadInput."""
    return save(
        conn,
        shop_id,
        actor,
        now,
        rules=draft.rules,
        assignments=draft.assignments,
        ended_rules=draft.ended_rules,
        ended_assignments=draft.ended_assignments,
        token=token,
    )


def _end(conn: Connection, shop_id: int, version: int, table: str, ids: Collection[int]) -> None:
    if not ids:
        return
    ended = execute(
        conn,
        f"""
        update {table} set ended_id = %(version)s
        where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and ended_id is null
        """,
        shop=shop_id,
        version=version,
        ids=sorted(ids),
    )
    if ended != len(set(ids)):
        raise RulesChanged


def _begin_rule(conn: Connection, shop_id: int, version: int, rule: Rule) -> int:
    number: int = scalar(
        conn,
        """
        insert into commission_rules (shop_id, kind, base, seller_id, payee_id, connection_id, category, sku_id, form,
            rate_ppm, fixed_minor, currency, tier_from_minor, tier_ppm, borne_by, on_refund, tax_basis, tax_to,
            valid_from, valid_to, begun_id)
        values (%(shop)s, %(kind)s, %(base)s, %(seller)s, %(payee)s, %(connection)s, %(category)s, %(sku)s, %(form)s,
            %(rate)s, %(fixed)s, %(currency)s, %(tier_from)s::int8[], %(tier_ppm)s::int4[], %(borne_by)s,
            %(on_refund)s, %(tax_basis)s, %(tax_to)s, %(valid_from)s, %(valid_to)s, %(version)s)
        returning id
        """,
        shop=shop_id,
        version=version,
        **rule_columns(rule),
    )
    return number


def rule_columns(rule: Rule) -> dict[str, Any]:
    """The columns of a rule as they are stored; those of another form are null."""
    is_tiered = rule.form == "tiered"
    of_platform = rule.kind == "platform_fee" and rule.base == "item"
    return {
        "kind": rule.kind,
        "base": rule.base,
        "seller": rule.seller_id,
        "payee": rule.payee_id,
        "connection": rule.connection_id,
        "category": rule.category,
        "sku": rule.sku_id,
        "form": rule.form,
        "rate": rule.rate_ppm if rule.form == "percentage" else None,
        "fixed": rule.fixed_minor if rule.form == "fixed" else None,
        "currency": rule.currency,
        "tier_from": [begins for begins, _ in rule.tiers] if is_tiered else None,
        "tier_ppm": [ppm for _, ppm in rule.tiers] if is_tiered else None,
        "borne_by": rule.borne_by,
        "on_refund": rule.on_refund,
        "tax_basis": rule.tax_basis,
        "tax_to": (rule.tax_to or "authority") if of_platform else None,
        "valid_from": rule.valid_from,
        "valid_to": rule.valid_to,
    }


def _begin_assignments(conn: Connection, shop_id: int, version: int, assignments: Sequence[Assignment]) -> list[int]:
    if not assignments:
        return []
    rows = fetch(
        conn,
        """
        insert into party_assignments (shop_id, role, party_id, connection_id, category, sku_id, customer_ref,
            order_code, valid_from, valid_to, begun_id)
        select %(shop)s, n.role, n.party, n.connection, n.category, n.sku, n.customer, upper(n.code), n.valid_from,
            n.valid_to, %(version)s
        from unnest(%(roles)b::text[], %(parties)b::int8[], %(connections)b::int8[], %(categories)b::text[],
            %(skus)b::int8[], %(customers)b::text[], %(codes)b::text[], %(froms)b::timestamptz[],
            %(tos)b::timestamptz[]) with ordinality
            as n (role, party, connection, category, sku, customer, code, valid_from, valid_to, number)
        order by n.number returning id
        """,
        shop=shop_id,
        version=version,
        roles=[one.role for one in assignments],
        parties=[one.party_id for one in assignments],
        connections=[one.connection_id for one in assignments],
        categories=[one.category for one in assignments],
        skus=[one.sku_id for one in assignments],
        customers=[one.customer_ref for one in assignments],
        codes=[one.order_code for one in assignments],
        froms=[one.valid_from for one in assignments],
        tos=[one.valid_to for one in assignments],
    )
    return [row["id"] for row in rows]


def undo(conn: Connection, shop_id: int, version_id: int, actor: Actor, now: datetime) -> Saved:
    """Take a version back: what it began ends, what it ended begins anew. Lines booked meanwhile stay as they are.

    Raises CannotUndo for one that is not there, was undone, or of whose rows others ended some since.
    """
    lock(conn, shop_id)
    row = fetch_one(
        conn,
        """
        select v.id, exists (select from commission_versions u where u.shop_id = v.shop_id and u.undoes_id = v.id)
                as is_undone,
            exists (select from commission_rules r where r.shop_id = v.shop_id and r.begun_id = v.id
                and r.ended_id is not null)
            or exists (select from party_assignments a where a.shop_id = v.shop_id and a.begun_id = v.id
                and a.ended_id is not null) as is_overtaken
        from commission_versions v where v.shop_id = %(shop)s and v.id = %(id)s
        """,
        shop=shop_id,
        id=version_id,
    )
    if row is None or row["is_undone"] or row["is_overtaken"]:
        why = (
            "there is no such version"
            if row is None
            else "it was undone already"
            if row["is_undone"]
            else "a later version changed some of the same rules: undo that one first"
        )
        raise CannotUndo(version_id, why)
    began, ended = (_of_version(conn, shop_id, version_id, column) for column in ("begun_id", "ended_id"))
    return save(
        conn,
        shop_id,
        actor,
        now,
        rules=ended[0],
        assignments=ended[1],
        ended_rules=[rule.id for rule in began[0]],
        ended_assignments=[one.id for one in began[1]],
        undoes=version_id,
    )


def living(conn: Connection, shop_id: int, table: str, number: int) -> Rule | Assignment | None:
    """One living rule (`commission_rules`) or assignment (`party_assignments`); None where there is none (any more)."""
    columns = {"commission_rules": RULE_COLUMNS, "party_assignments": ASSIGNMENT_COLUMNS}[table]
    row = fetch_one(
        conn,
        f"select {columns} from {table} where shop_id = %(shop)s and id = %(id)s and ended_id is null",
        shop=shop_id,
        id=number,
    )
    if row is None:
        return None
    return rule_of(row) if table == "commission_rules" else Assignment(**row)


def _of_version(conn: Connection, shop_id: int, version_id: int, column: str) -> tuple[list[Rule], list[Assignment]]:
    where = f"where shop_id = %(shop)s and {column} = %(version)s order by id"
    rules = fetch(conn, f"select {RULE_COLUMNS} from commission_rules {where}", shop=shop_id, version=version_id)
    assignments = fetch(
        conn, f"select {ASSIGNMENT_COLUMNS} from party_assignments {where}", shop=shop_id, version=version_id
    )
    return [rule_of(row) for row in rules], [Assignment(**row) for row in assignments]
