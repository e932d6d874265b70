"""Writes: adjustments, money given to a party or taken from it by hand; above a limit a second person decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.commissions import queries
from core.db import execute, fetch_one, scalar
from core.errors import Anticipated, BadInput
from core.ledger import operations as ledger
from core.ledger.rules import AccountName, Transaction
from core.money import CURRENCIES

AMOUNT_MAX = 10**12


class SamePerson(Anticipated):
    """Who asked for an adjustment above the limit cannot approve it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"nothing was posted: {name} asked for this adjustment, so somebody else has to approve it")


class NotWaiting(Anticipated):
    """The adjustment is decided already, or is not there."""

    def __init__(self, adjustment_id: int) -> None:
        super().__init__(f"nothing was done: adjustment {adjustment_id} does not wait for a decision any more")


@dataclass(frozen=True, slots=True)
class Asked:
    """An adjustment; `is_posted`: it needed nobody else."""

    id: int
    is_posted: bool


def ask(
    conn: Connection, shop_id: int, party_id: int, currency: str, amount_minor: int, actor: Actor, now: datetime
) -> Asked:
    """Give a party money (positive) or take some from it; the actor's reason is kept and stands on its statement.

    Posted at once up to the shop's limit, else once a second person approves. Raises BadInput.
    """
    if amount_minor == 0 or abs(amount_minor) > AMOUNT_MAX:
        raise BadInput("an adjustment moves money: its amount is neither 0 nor out of range")
    if currency not in CURRENCIES:
        raise BadInput(f"{currency!r} is no currency: use its three letters, such as GBP")
    kind = scalar(conn, "select kind from parties where shop_id = %(s)s and id = %(p)s", s=shop_id, p=party_id)
    if kind is None or kind == "platform":
        raise BadInput("an adjustment is of a seller, creator or referrer: choose one of them")
    needs_approval = abs(amount_minor) > queries.settings(conn, shop_id).approval_limit_minor
    number: int = scalar(
        conn,
        """
        insert into adjustments (shop_id, party_id, currency, amount_minor, reason, asked_by, asked_at, needs_approval,
            state)
        values (%(shop)s, %(party)s, %(currency)s, %(amount)s, %(reason)s, %(by)s, %(now)s, %(needs)s, 'waiting')
        returning id
        """,
        shop=shop_id,
        party=party_id,
        currency=currency,
        amount=amount_minor,
        reason=actor.reason,
        by=actor.name,
        now=now,
        needs=needs_approval,
    )
    audit.record(
        conn,
        shop_id,
        actor,
        "ask_adjustment",
        f"party:{party_id}",
        now,
        adjustment=number,
        amount_minor=amount_minor,
        currency=currency,
        needs_approval=needs_approval,
    )
    if not needs_approval:
        _post(conn, shop_id, _lock_waiting(conn, shop_id, number), None, now)
    return Asked(number, not needs_approval)


def approve(conn: Connection, shop_id: int, adjustment_id: int, actor: Actor, now: datetime) -> None:
    """Post what somebody else asked for. Raises SamePerson, NotWaiting."""
    row = _lock_waiting(conn, shop_id, adjustment_id)
    if _person(actor.name) == _person(row["asked_by"]):
        raise SamePerson(actor.name)
    _post(conn, shop_id, row, actor, now)
    audit.record(conn, shop_id, actor, "approve_adjustment", f"party:{row['party_id']}", now, adjustment=adjustment_id)


def refuse(conn: Connection, shop_id: int, adjustment_id: int, actor: Actor, now: datetime) -> None:
    """Decide against an adjustment; who asked for it may take it back so. Raises NotWaiting."""
    row = _lock_waiting(conn, shop_id, adjustment_id)
    _decide(conn, shop_id, adjustment_id, "refused", actor, None, now)
    audit.record(conn, shop_id, actor, "refuse_adjustment", f"party:{row['party_id']}", now, adjustment=adjustment_id)


def _person(name: str) -> str:
    return " ".join(name.split()).lower()


def _lock_waiting(conn: Connection, shop_id: int, adjustment_id: int) -> RowMapping:
    row = fetch_one(
        conn,
        """
        select id, party_id, currency, amount_minor, reason, asked_by, asked_at from adjustments
        where shop_id = %(shop)s and id = %(id)s and state = 'waiting' for update
        """,
        shop=shop_id,
        id=adjustment_id,
    )
    if row is None:
        raise NotWaiting(adjustment_id)
    return row


def _post(conn: Connection, shop_id: int, row: RowMapping, actor: Actor | None, now: datetime) -> None:
    entries = {
        AccountName("payable", row["currency"], row["party_id"]): -row["amount_minor"],
        AccountName("adjustments", row["currency"]): row["amount_minor"],
    }
    by = row["asked_by"] if actor is None else f"{row['asked_by']}, approved by {actor.name}"
    key = f"adjustment:{row['id']}"
    one = Transaction(key, "adjustment", now, f"Adjustment: {row['reason']}", entries, recorded_by=by)
    _decide(conn, shop_id, row["id"], "posted", actor, ledger.post(conn, shop_id, [one], now)[key].id, now)


def _decide(
    conn: Connection,
    shop_id: int,
    adjustment_id: int,
    state: str,
    actor: Actor | None,
    transaction_id: int | None,
    now: datetime,
) -> None:
    execute(
        conn,
        """
        update adjustments set state = %(state)s, decided_by = %(by)s, decided_reason = %(reason)s,
            decided_at = %(now)s, transaction_id = %(transaction)s
        where shop_id = %(shop)s and id = %(id)s and state = 'waiting'
        """,
        shop=shop_id,
        id=adjustment_id,
        state=state,
        by=None if actor is None else actor.name,
        reason=None if actor is None else actor.reason,
        now=now,
        transaction=transaction_id,
    )
