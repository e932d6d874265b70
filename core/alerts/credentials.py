"""The alert on a credential that ends: opened by the channel's own word, closed when it has been replaced."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from core.alerts.engine import Desk, close, open_episodes, open_one
from core.alerts.queries import rule
from core.alerts.rules import Finding
from core.alerts.terms import CREDENTIAL
from core.db import fetch, scalar


@dataclass(frozen=True, slots=True)
class Ending:
    """A credential of a connection that ends; `ends_at` None where the vendor does not say when."""

    connection: str
    ends_at: datetime | None

    @property
    def why(self) -> str:
        """What ends, and when."""
        when = "soon" if self.ends_at is None else f"on {self.ends_at:%Y-%m-%d at %H:%M} UTC"
        return f"the application's client secret ends {when}"


def tell_of_ending(desk: Desk, connection_id: int, words: Ending, told_at: datetime | None = None) -> bool:
    """Open an alert on a credential that ends, once for each connection; returns whether it was new.

    `told_at`: when the vendor said so. Its messages come late and again: one about a credential that has been replaced
    since would open an alert that nothing ever closes.
    """
    policy, _ = rule(desk.conn, desk.shop_id, CREDENTIAL)
    if not policy.is_on or (told_at is not None and _is_replaced(desk, connection_id, told_at)):
        return False
    return open_one(desk, _finding(connection_id, words), policy) is not None


def _is_replaced(desk: Desk, connection_id: int, since: datetime) -> bool:
    return bool(
        scalar(
            desk.conn,
            """
            select true from connection_secrets where shop_id = %(shop)s and connection_id = %(connection)s
                and name = 'client_secret' and updated_at > %(since)s
            """,
            shop=desk.shop_id,
            connection=connection_id,
            since=since,
        )
    )


def _finding(connection_id: int, words: Ending) -> Finding:
    return Finding(
        f"{CREDENTIAL}:{connection_id}",
        "attention",
        f"{words.connection} will be shut out: {words.why}",
        "From then on nothing can be read or written there.",
        "Rotate it in the vendor's developer console and enter the new one with `switchyard connect`, if it does not"
        " come by itself.",
        "connections",
        1,
        {"connection": str(connection_id)},
        connection_id,
        units=1,
        worst=[{"code": words.connection, "units": 1, "where": words.connection, "why": words.why}],
    )


def close_replaced(desk: Desk) -> int:
    """Close alerts on credentials that have been replaced since they opened; returns how many."""
    rows = fetch(
        desk.conn,
        """
        select a.fingerprint from alerts a
        where a.shop_id = %(shop)s and a.kind = %(kind)s and a.closed_at is null and exists (
            select from connection_secrets s where s.shop_id = a.shop_id and s.name = 'client_secret'
                and s.connection_id = a.connection_id and s.updated_at > a.opened_at)
        order by a.id
        """,
        shop=desk.shop_id,
        kind=CREDENTIAL,
    )
    episodes = open_episodes(desk.conn, desk.shop_id, CREDENTIAL) if rows else {}
    return sum(close(desk, episodes[row["fingerprint"]], "replaced") for row in rows if row["fingerprint"] in episodes)
