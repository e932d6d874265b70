"""The keys that credentials are sealed with: which is in use, and moving everything to the newest.

Keys stand in SWITCHYARD_SECRET_KEYS, newest first. What is stored is sealed under the newest; what an older one sealed
can still be opened. A new key goes in front of the others, every process starts again with it, then `rotate` seals
everything under it, and the old one can be taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.db import execute, fetch
from core.sealing import fernets


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """One stored credential; `position` is that of the key which opens it, from 1, None where none does.

    It is a connection's, or the address of a notice channel of the shop: then there is no connection id.
    """

    shop_id: int
    connection_id: int | None
    name: str
    connection: str
    position: int | None
    notice_channel_id: int | None = None

    @property
    def whose(self) -> str:
        """Whose it is, for people."""
        if self.notice_channel_id is not None:
            return f"notice channel {self.connection} (shop {self.shop_id})"
        return f"{self.connection} (shop {self.shop_id}, connection {self.connection_id})"


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did: how many were sealed anew, and which no key of this process opens."""

    resealed: int
    unreadable: tuple[SealedSecret, ...]


def sealed(conn: Connection, keys: Sequence[str]) -> list[SealedSecret]:
    """Every stored credential of every shop with the key that opens it. Raises NoSecretKeys, BadSecretKey."""
    return [secret for secret, _ in _read(conn, fernets(keys), for_update=False)]


def rotate(conn: Connection, keys: Sequence[str], actor: Actor, now: datetime) -> Rotation:
    """Seal everything that an older key opens under the newest one; what is there already stays as it is.

    Readers are not held up: a credential can be opened before and after by whoever has both keys. Two who rotate at
    once follow one another, and the second finds nothing to do. What no key opens stays, and is named. Access tokens
    under another key than the newest are dropped: the next job fetches one. Raises NoSecretKeys, BadSecretKey.
    """
    boxes = fernets(keys)
    found = _read(conn, boxes, for_update=True)
    old = [(secret, token) for secret, token in found if secret.position is not None and secret.position > 1]
    box = MultiFernet(boxes)
    _store(conn, [(secret, box.rotate(token)) for secret, token in old])
    _drop_tokens(conn, boxes[0])
    for shop_id, group in groupby(old, key=lambda item: item[0].shop_id):
        secrets = [secret for secret, _ in group]
        connections = sorted({secret.connection_id for secret in secrets if secret.connection_id is not None})
        channels = sorted(secret.notice_channel_id for secret in secrets if secret.notice_channel_id is not None)
        audit.record(
            conn,
            shop_id,
            actor,
            "rotate_keys",
            f"shop:{shop_id}",
            now,
            credentials=len(secrets),
            connections=connections,
            **({"notice_channels": channels} if channels else {}),
        )
    return Rotation(len(old), tuple(secret for secret, _ in found if secret.position is None))


def _read(conn: Connection, boxes: Sequence[Fernet], *, for_update: bool) -> list[tuple[SealedSecret, bytes]]:
    """Every credential with its sealed form, by shop; locked in the order of its key, connections' first."""
    lock = "for no key update of s" if for_update else ""
    rows = fetch(
        conn,
        f"""
        select s.shop_id, s.connection_id, s.name, s.sealed, c.name as connection, null::int8 as channel_id
        from connection_secrets s join connections c on c.shop_id = s.shop_id and c.id = s.connection_id
        order by s.shop_id, s.connection_id, s.name {lock}
        """,
    )
    channels = fetch(
        conn,
        f"""
        select s.shop_id, null::int8 as connection_id, 'address' as name, s.sealed, s.name as connection,
            s.id as channel_id
        from notice_channels s where s.sealed is not null order by s.shop_id, s.id {lock}
        """,
    )
    found = [
        (
            SealedSecret(
                row["shop_id"],
                row["connection_id"],
                row["name"],
                row["connection"],
                _opened_by(boxes, row["sealed"]),
                row["channel_id"],
            ),
            bytes(row["sealed"]),
        )
        for row in (*rows, *channels)
    ]
    # Stable: what is a shop's stands together, its connections' before its channels'.
    return sorted(found, key=lambda each: each[0].shop_id)


def _opened_by(boxes: Sequence[Fernet], token: bytes) -> int | None:
    for position, box in enumerate(boxes, start=1):
        try:
            box.decrypt(bytes(token))
        except InvalidToken:
            continue
        return position
    return None


def _store(conn: Connection, resealed: Sequence[tuple[SealedSecret, bytes]]) -> None:
    """The same credentials in another envelope: they are no newer for it."""
    of_connections = [pair for pair in resealed if pair[0].notice_channel_id is None]
    of_channels = [pair for pair in resealed if pair[0].notice_channel_id is not None]
    execute(
        conn,
        """
        update connection_secrets s set sealed = v.sealed
        from unnest(%(shops)b::int8[], %(connections)b::int8[], %(names)b::text[], %(tokens)b::bytea[])
            v(shop_id, connection_id, name, sealed)
        where s.shop_id = v.shop_id and s.connection_id = v.connection_id and s.name = v.name
        """,
        shops=[secret.shop_id for secret, _ in of_connections],
        connections=[secret.connection_id for secret, _ in of_connections],
        names=[secret.name for secret, _ in of_connections],
        tokens=[token for _, token in of_connections],
    )
    execute(
        conn,
        """
        update notice_channels s set sealed = v.sealed
        from unnest(%(shops)b::int8[], %(channels)b::int8[], %(tokens)b::bytea[]) v(shop_id, id, sealed)
        where s.shop_id = v.shop_id and s.id = v.id
        """,
        shops=[secret.shop_id for secret, _ in of_channels],
        channels=[secret.notice_channel_id for secret, _ in of_channels],
        tokens=[token for _, token in of_channels],
    )


def _drop_tokens(conn: Connection, newest: Fernet) -> None:
    rows = fetch(
        conn, "select shop_id, connection_id, sealed from connection_tokens order by shop_id, connection_id for update"
    )
    old = [row for row in rows if _opened_by([newest], row["sealed"]) is None]
    execute(
        conn,
        """
        delete from connection_tokens t
        using unnest(%(shops)b::int8[], %(connections)b::int8[]) v(shop_id, connection_id)
        where t.shop_id = v.shop_id and t.connection_id = v.connection_id
        """,
        shops=[row["shop_id"] for row in old],
        connections=[row["connection_id"] for row in old],
    )
