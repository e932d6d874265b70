"""Pure rules: which accounts there are, what a transaction must be, and the form in which it is sealed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from core.errors import Permanent

AccountKind = Literal[
    "payable",
    "refund_reserve",
    "platform",
    "shipping",
    "tax",
    "channel_receivable",
    "channel_fees",
    "payout_clearing",
    "adjustments",
    "unassigned",
]
"""What an account stands for.

payable: what a party may be paid. refund_reserve: what a party earned and the buyer may still return. platform: the
platform's own share, and what it sells itself. shipping: its share of carriage. tax: collected for the authority.
channel_receivable: what a channel has of buyers' money. channel_fees: what a channel keeps of it. payout_clearing: paid
out and not confirmed yet. adjustments: given or taken by hand. unassigned: of lines that are not mapped yet.
"""

TransactionKind = Literal[
    "sale",
    "edit",
    "refund",
    "cancellation",
    "chargeback",
    "chargeback_won",
    "mapping",
    "return",
    "release",
    "adjustment",
    "payout",
]

GENESIS = bytes(32)
"""What the first seal follows."""


class Unbalanced(Permanent):
    """Debits and credits differ: whoever made the transaction has a defect."""

    def __init__(self, key: str, currency: str, sum_minor: int) -> None:
        super().__init__(f"transaction {key} is not balanced: its {currency} entries sum to {sum_minor}, not to 0")


class EmptyTransaction(Permanent):
    """A transaction that moves nothing says nothing."""

    def __init__(self, key: str) -> None:
        super().__init__(f"transaction {key} moves nothing: one needs two entries or more")


class AccountName(NamedTuple):
    """What an account is found by; there is one of each name."""

    kind: AccountKind
    currency: str
    party_id: int | None = None
    connection_id: int | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """A fact in accounts. `entries`: what each account is debited (positive) or credited (negative), in minor units."""

    key: str
    kind: TransactionKind
    event_at: datetime
    note: str
    entries: Mapping[AccountName, int]
    order_id: int | None = None
    recorded_by: str = "intake"


def check(transaction: Transaction) -> None:
    """Raises Unbalanced or EmptyTransaction; the database says the same again of what is inserted."""
    sums: dict[str, int] = {}
    for name, amount in transaction.entries.items():
        sums[name.currency] = sums.get(name.currency, 0) + amount
    if not transaction.entries or not any(transaction.entries.values()):
        raise EmptyTransaction(transaction.key)
    for currency, amount in sums.items():
        if amount:
            raise Unbalanced(transaction.key, currency, amount)


# --- the sealed form --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recorded:
    """A transaction as it stands in the database. `entries`: (account id, amount, currency), by account id."""

    id: int
    key: str
    kind: str
    order_id: int | None
    event_at: datetime
    recorded_at: datetime
    note: str
    recorded_by: str
    entries: Sequence[tuple[int, int, str]]


def digest(shop_id: int, row: Recorded) -> bytes:
    """SHA-256 of everything a transaction says, 32 bytes.

    Each field is preceded by its length in bytes, so that no two transactions have the same text.
    """
    fields = [
        str(shop_id),
        str(row.id),
        row.key,
        row.kind,
        "" if row.order_id is None else str(row.order_id),
        _instant(row.event_at),
        _instant(row.recorded_at),
        row.note,
        row.recorded_by,
    ]
    for account_id, amount, currency in row.entries:
        fields += (str(account_id), str(amount), currency)
    return hashlib.sha256(b"".join(_measured(field) for field in fields)).digest()


def _measured(field: str) -> bytes:
    raw = field.encode()
    return b"%d:%b" % (len(raw), raw)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


MEMBER_BYTES = 40


def members_of(digests: Iterable[tuple[int, bytes]]) -> bytes:
    """Ids and digests of sealed transactions as a seal keeps them: 40 bytes each."""
    return b"".join(number.to_bytes(8, "big") + found for number, found in digests)


def members_in(members: bytes) -> dict[int, bytes]:
    """The other way round."""
    pieces = (members[at : at + MEMBER_BYTES] for at in range(0, len(members), MEMBER_BYTES))
    return {int.from_bytes(piece[:8], "big"): piece[8:] for piece in pieces}


def head_after(previous_head: bytes, members: bytes) -> bytes:
    """The chain's head once some more is sealed."""
    return hashlib.sha256(previous_head + members).digest()
