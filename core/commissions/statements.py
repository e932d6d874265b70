"""A party's statement: what it had, each thing that changed it, what it has; by when it was recorded.

Days are the shop's business days. A statement of days that are over says the same whenever it is made: nothing that is
recorded is ever changed, and what comes late is recorded later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from core.clock import business_day
from core.commissions import explaining
from core.commissions.explaining import CauseSum
from core.db import fetch_one
from core.errors import BadInput
from core.ledger import queries as ledger
from core.ledger.queries import Line, Period, Seal, Standing

DAYS_MAX = 400


@dataclass(frozen=True, slots=True)
class Section:
    """A statement's lines of one currency, the oldest first, between what was and what is."""

    currency: str
    opening: Standing
    closing: Standing
    causes: Sequence[CauseSum]
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Statement:
    """All of a party's money over some business days, both included. `seal`: the ledger's newest when it was made."""

    shop: str
    time_zone: str
    party_id: int
    party: str
    party_code: str
    party_kind: str
    first: date
    last: date
    made_at: datetime
    sections: Sequence[Section]
    seal: Seal | None

    @property
    def is_over(self) -> bool:
        """Whether its last day is: what is recorded later today is not on it yet."""
        return business_day(self.made_at, self.time_zone) > self.last


class NoSuchParty(BadInput):
    """An id that names no party of the shop."""

    def __init__(self, party_id: int) -> None:
        super().__init__(f"there is no party {party_id} in this shop")


class BadPeriod(BadInput):
    """Days that make no period, or a longer one than a statement may have."""

    def __init__(self, first: date, last: date) -> None:
        super().__init__(
            f"{first} to {last} is no period of a statement: it begins before it ends and has {DAYS_MAX} days at most"
        )


def midnight(day: date, time_zone: str) -> datetime:
    """When a business day begins in a zone."""
    return datetime.combine(day, time.min, ZoneInfo(time_zone))


def period_of(first: date, last: date, time_zone: str) -> Period:
    """Business days, both included, as a period. Raises BadPeriod."""
    if not timedelta(0) <= last - first < timedelta(days=DAYS_MAX):
        raise BadPeriod(first, last)
    return Period(midnight(first, time_zone), midnight(last + timedelta(days=1), time_zone))


def build(conn: Connection, shop_id: int, party_id: int, first: date, last: date, now: datetime) -> Statement:
    """A party's statement of some business days. Raises NoSuchParty, BadPeriod.

    The caller's connection sees one state of the database (`core.db.read_only`), or what is booked meanwhile would
    stand in some of its sums and not in others.
    """
    row = fetch_one(
        conn,
        """
        select s.name as shop, s.time_zone, p.id as party_id, p.name as party, p.code as party_code,
            p.kind as party_kind
        from parties p join shops s on s.shop_id = p.shop_id where p.shop_id = %(shop)s and p.id = %(party)s
        """,
        shop=shop_id,
        party=party_id,
    )
    if row is None:
        raise NoSuchParty(party_id)
    period = period_of(first, last, row["time_zone"])
    sections = [
        Section(
            currency,
            ledger.standing(conn, shop_id, accounts, ledger.just_before(period.begins_at)),
            ledger.standing(conn, shop_id, accounts, ledger.just_before(period.ends_at)),
            explaining.causes(conn, shop_id, accounts, period),
            list(ledger.all_lines(conn, shop_id, accounts, period)),
        )
        for currency, accounts in ledger.party_accounts(conn, shop_id, party_id).items()
    ]
    return Statement(
        **row,
        first=first,
        last=last,
        made_at=now,
        sections=sections,
        seal=ledger.last_seal(conn, shop_id),
    )
