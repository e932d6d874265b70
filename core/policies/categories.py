"""Writes: the category of a SKU, where a person knows better than the catalogue."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.db import execute, fetch_one
from core.errors import BadInput
from core.policies.operations import apply_to_skus, lock

CATEGORY_MAX = 200


def set_category(conn: Connection, shop_id: int, code: str, category: str | None, actor: Actor, now: datetime) -> int:
    """Choose the category of a SKU; an empty one means that it has none, None leaves it to the catalogue again.

    What a person chose the catalogue does not change. Its listings follow the rules of the new category at once;
    returns how many changed. Raises BadInput for an unknown SKU or a category that cannot be.
    """
    chosen = None if category is None else category.strip()
    if chosen is not None and (len(chosen) > CATEGORY_MAX or not chosen.isprintable()):
        raise BadInput(f"category of {code}: give at most {CATEGORY_MAX} printable characters")
    lock(conn, shop_id)
    before = fetch_one(
        conn,
        "select id, category from skus where shop_id = %(shop)s and code = %(code)s for no key update",
        shop=shop_id,
        code=code,
    )
    if before is None:
        raise BadInput(f"no SKU has the code {code}: codes are compared exactly, upper and lower case differ")
    now_is: Any = before["category"] if chosen is None else chosen or None
    execute(
        conn,
        """
        update skus set category = %(category)s, is_category_kept = %(kept)s
        where shop_id = %(shop)s and id = %(sku)s
        """,
        shop=shop_id,
        sku=before["id"],
        category=now_is,
        kept=chosen is not None,
    )
    changed = apply_to_skus(conn, shop_id, [before["id"]])
    audit.record(
        conn,
        shop_id,
        actor,
        "set_category",
        f"sku:{before['id']}",
        now,
        code=code,
        category=now_is,
        before=before["category"],
        is_kept=chosen is not None,
    )
    return changed
