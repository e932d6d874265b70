"""What a person does on the Category mapping screen: one core operation each, with the operator's name and reason."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from core import bootstrap
from core.audit import Actor
from core.bootstrap import Application
from core.catalog.taxonomies import loading, operations
from core.catalog.taxonomies.files import FileKind
from core.catalog.taxonomies.loading import Loaded
from core.catalog.taxonomies.rules import Suggestion, Target
from core.clock import utc_now
from core.connections.queries import connection as connection_row
from core.db import read_only, unit_of_work
from core.errors import BadInput
from dashboard import category_mapping_queries

_Done = TypeVar("_Done")


def application() -> Application:
    """The process's own application, put together once."""
    return bootstrap.application()


def _do(what: Callable[[Connection], _Done]) -> _Done:
    """One unit of work; what is shown is read afresh after it."""
    with unit_of_work(application().engine) as conn:
        done = what(conn)
    category_mapping_queries.forget()
    return done


def map_to(shop_id: int, target: Target, category_id: int, ref: str, actor: Actor) -> bool:
    """Say that a category is an entry. Raises NoEntry, NoCategory."""
    return _do(lambda conn: operations.map_category(conn, shop_id, target, category_id, ref, actor, utc_now()))


def accept_one(shop_id: int, target: Target, category_id: int, one: Suggestion, actor: Actor) -> bool:
    """Accept a suggestion. Raises NoEntry, NoCategory."""
    return _do(
        lambda conn: operations.map_category(
            conn, shop_id, target, category_id, one.ref, actor, utc_now(), score=one.score
        )
    )


def accept_many(
    shop_id: int, target: Target, least: int, with_inherited: bool, token: str, actor: Actor
) -> tuple[int, int]:
    """Accept all suggestions that are so sure, as they were previewed. Raises SuggestionsChanged."""
    return _do(
        lambda conn: operations.accept(
            conn, shop_id, target, least, token, actor, utc_now(), with_inherited=with_inherited
        )
    )


def leave_out(shop_id: int, target: Target, category_id: int, actor: Actor) -> bool:
    """Say that a category has no entry there. Raises NoCategory."""
    return _do(lambda conn: operations.leave_out(conn, shop_id, target, category_id, actor, utc_now()))


def keep_own(shop_id: int, target: Target, category_id: int, actor: Actor) -> bool:
    """Say that a category is one of its own at Klaviyo. Raises NoCategory."""
    return _do(lambda conn: operations.keep_own(conn, shop_id, target, category_id, actor, utc_now()))


def end(shop_id: int, target: Target, category_id: int, actor: Actor) -> None:
    """Take a category's own answer away. Raises NothingAnswered."""
    _do(lambda conn: operations.end_answer(conn, shop_id, target, category_id, actor, utc_now()))


def undo(shop_id: int, target: Target, category_id: int, actor: Actor) -> None:
    """Take back what was last done to a category's answer. Raises NothingAnswered."""
    _do(lambda conn: operations.undo(conn, shop_id, target, category_id, actor, utc_now()))


def undo_batch(shop_id: int, target: Target, batch_id: int, actor: Actor) -> int:
    """Take back what one act accepted, as far as it stands. Raises NothingOfBatch."""
    return _do(lambda conn: operations.undo_batch(conn, shop_id, target, batch_id, actor, utc_now()))


def load_file(shop_id: int, kind: FileKind, name: str, data: bytes, actor: Actor) -> Loaded:
    """Load a publisher's file. Raises BadTaxonomy, AlreadyLoaded."""
    return _do(lambda conn: loading.load_file(conn, shop_id, kind, name, io.BytesIO(data), actor, utc_now()))


def read_from(shop_id: int, connection_id: int, actor: Actor) -> Loaded:
    """Read Shopify's taxonomy from one of its shops, whole, then load it.

    Raises AlreadyLoaded, BadTaxonomy, and Retryable or Permanent as the shop's API does.
    """
    app = application()
    with read_only(app.engine) as conn:
        connection = connection_row(conn, shop_id, connection_id)
    with app.taxonomy(connection) as found:
        if found is None:
            raise BadInput(f"{connection.name} tells no taxonomy: only a shop of Shopify’s does")
        told = [each for page in found.categories() for each in page]
    return _do(
        lambda conn: loading.load_told(conn, shop_id, Target("shopify"), connection.name, told, actor, utc_now())
    )


def take_load_back(shop_id: int, target: Target, actor: Actor) -> Loaded:
    """Have the taxonomy from before the last load count again. Raises NothingToBringBack."""
    return _do(lambda conn: loading.take_load_back(conn, shop_id, target, actor, utc_now()))
