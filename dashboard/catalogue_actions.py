"""What a person does on the Catalogue's pages: one core operation each, under the operator's name and reason."""

from __future__ import annotations

from core.audit import Actor
from core.catalog.categories import operations as categories
from core.catalog.categories.operations import Merged
from core.catalog.products import operations
from core.catalog.products.documents import ProductDocument
from core.catalog.products.fields import Definition
from core.catalog.products.writing import PutResult
from core.clock import utc_now
from core.db import unit_of_work
from dashboard.actions import Application


def save(
    app: Application,
    shop_id: int,
    document: ProductDocument,
    actor: Actor,
    product_id: int | None = None,
    base_version: int | None = None,
) -> PutResult:
    """Make a product, or bring one to what was typed. Raises FlawedProduct, ProductChanged, NameTaken."""
    with unit_of_work(app.engine) as conn:
        return operations.save_product(
            conn, shop_id, document, actor, utc_now(), product_id=product_id, base_version=base_version
        )


def undo(app: Application, shop_id: int, product_id: int, number: int, seen_version: int, actor: Actor) -> PutResult:
    """Take one version back, as it was seen. Raises NothingToTakeBack, NameTaken, ProductChanged."""
    with unit_of_work(app.engine) as conn:
        return operations.undo_version(conn, shop_id, product_id, number, actor, utc_now(), seen_version=seen_version)


def remove(app: Application, shop_id: int, product_id: int, base_version: int, actor: Actor) -> PutResult:
    """Take a product out of the catalogue. Raises ProductChanged."""
    with unit_of_work(app.engine) as conn:
        return operations.remove_product(conn, shop_id, product_id, base_version, actor, utc_now())


def define(app: Application, shop_id: int, new: Definition, actor: Actor) -> None:
    """Add a metafield. Raises BadInput."""
    with unit_of_work(app.engine) as conn:
        operations.define_metafield(conn, shop_id, new, actor, utc_now())


def create_category(app: Application, shop_id: int, parent_id: int | None, name: str, actor: Actor) -> int:
    """Add a category; returns its id. Raises BadCategory, NoCategory."""
    with unit_of_work(app.engine) as conn:
        return categories.create(conn, shop_id, parent_id, name, actor, utc_now())


def move_category(
    app: Application, shop_id: int, category_id: int, parent_id: int | None, name: str, actor: Actor
) -> None:
    """Rename a category, or hang it elsewhere. Raises BadCategory, NoCategory."""
    with unit_of_work(app.engine) as conn:
        categories.move(conn, shop_id, category_id, parent_id, name, actor, utc_now())


def merge_category(app: Application, shop_id: int, category_id: int, into_id: int, actor: Actor) -> Merged:
    """Put all of a category into another one. Raises BadCategory, NoCategory."""
    with unit_of_work(app.engine) as conn:
        return categories.merge(conn, shop_id, category_id, into_id, actor, utc_now())


def remove_category(app: Application, shop_id: int, category_id: int, actor: Actor) -> None:
    """Remove a category that nothing is in. Raises CategoryInUse, NoCategory."""
    with unit_of_work(app.engine) as conn:
        categories.remove(conn, shop_id, category_id, actor, utc_now())
