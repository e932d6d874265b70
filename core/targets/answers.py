"""What was decided of categories, for what a target is told: by people, which of ours are categories of the account's
own, which it is not told of, and what Google calls them; by the target, which it refuses. Nothing is decided where
nobody said anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from core.audit import Actor
from core.catalog.products.documents import digest_of
from core.catalog.taxonomies import queries as taxonomies
from core.catalog.taxonomies.loading import AlreadyLoaded, load_told
from core.catalog.taxonomies.rules import Target as Taxonomy
from core.db import fetch, scalar

READER = Actor("the comparison", "its categories were read with everything else")


@dataclass(frozen=True, slots=True)
class Answers:
    """By category of ours: `refs` the account's category that it is, `google` the path of Google's. `refused` are those
    that the target does not take, and does not have: its items are told without them."""

    refs: Mapping[int, str] = field(default_factory=dict)
    left_out: frozenset[int] = frozenset()
    google: Mapping[int, str] = field(default_factory=dict)
    refused: frozenset[int] = frozenset()

    def told(self, category_ids: Collection[int]) -> tuple[int, ...]:
        """Those of some categories that the target has as categories of their own."""
        return tuple(one for one in category_ids if one not in self.refs and one not in self.left_out)

    def linked(self, category_ids: Collection[int]) -> tuple[int, ...]:
        """Those of them that its items are told with."""
        return tuple(one for one in self.told(category_ids) if one not in self.refused)

    @property
    def token(self) -> str:
        """What stands for them where a hash was made of them; "" where nothing was decided."""
        if not (self.refs or self.left_out or self.google or self.refused):
            return ""
        pairs = [sorted(self.refs.items()), sorted(self.left_out), sorted(self.google.items()), sorted(self.refused)]
        return digest_of(pairs)


def answers(conn: Connection, shop_id: int, connection_id: int, category_ids: Collection[int] | None = None) -> Answers:
    """What was decided of some categories, or of all."""
    is_any = scalar(
        conn,
        """
        select exists (select from category_mappings where shop_id = %(shop)s and ended_at is null
            and (kind = 'google' or (kind = 'klaviyo' and connection_id = %(connection)s)))
        """,
        shop=shop_id,
        connection=connection_id,
    )
    refused = _refused(conn, shop_id, connection_id)
    if not is_any:
        return Answers(refused=refused)
    own = taxonomies.effective(conn, shop_id, Taxonomy("klaviyo", connection_id), category_ids)
    google = taxonomies.effective(conn, shop_id, Taxonomy("google"), category_ids)
    answered = ("mapped", "inherited")
    return Answers(
        {each.category_id: each.ref for each in own if each.state in answered and each.ref is not None},
        frozenset(each.category_id for each in own if each.state == "left_out"),
        {each.category_id: each.path for each in google if each.state in answered and each.path is not None},
        refused,
    )


def _refused(conn: Connection, shop_id: int, connection_id: int) -> frozenset[int]:
    rows = fetch(
        conn,
        """
        select entity_id from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
            and kind = 'category' and state = 'held' and not is_known
        """,
        shop=shop_id,
        connection=connection_id,
    )
    return frozenset(row["entity_id"] for row in rows)


def note_account(
    conn: Connection, shop_id: int, connection_id: int, told: Sequence[tuple[str, str]], now: datetime
) -> bool:
    """Keep what categories an account has besides ours, as (id, name), to be mapped to; says whether they changed."""
    taxonomy = Taxonomy("klaviyo", connection_id)
    if not told and taxonomies.living(conn, shop_id, taxonomy) is None:
        return False
    name = scalar(
        conn, "select name from connections where shop_id = %(s)s and id = %(id)s", s=shop_id, id=connection_id
    )
    try:
        load_told(conn, shop_id, taxonomy, name, told, READER, now)
    except AlreadyLoaded:
        return False
    return True
