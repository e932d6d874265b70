"""Writes: save a product, take a change back, remove one; define a metafield. Each named, reasoned and audited."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.catalog.products import queries
from core.catalog.products.documents import ProductDocument
from core.catalog.products.fields import OWNERS, TYPES, Definition, check_key
from core.catalog.products.rules import Flaw, differences, flaws_of, taken_back
from core.catalog.products.writing import Act, Put, PutResult, lock, put_products
from core.db import execute
from core.errors import Anticipated, BadInput


class FlawedProduct(BadInput):
    """The product cannot be as it was written; `flaws` say what and where."""

    def __init__(self, flaws: Sequence[Flaw]) -> None:
        first = flaws[0]
        more = f" (and {len(flaws) - 1} more)" if len(flaws) > 1 else ""
        super().__init__(f"nothing was saved: {first.code or 'the product'} {first.sentence}{more}")
        self.flaws = tuple(flaws)


class ProductChanged(Anticipated):
    """Somebody changed it since it was read."""

    def __init__(self) -> None:
        super().__init__("nothing was saved: the product was changed since you opened it. Look at it again")


class NameTaken(BadInput):
    """A handle or a code is another product's."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"nothing was saved: the {kind} {name} is another product's. Choose another one")


class NothingToTakeBack(Anticipated):
    """There is no such version, or nothing is left of it to take back."""

    def __init__(self, why: str) -> None:
        super().__init__(f"nothing was taken back: {why}")


def save_product(
    conn: Connection,
    shop_id: int,
    document: ProductDocument,
    actor: Actor,
    now: datetime,
    *,
    product_id: int | None = None,
    base_version: int | None = None,
    act: Act | None = None,
) -> PutResult:
    """Make a product, or bring one to what a document says; `base_version` is the one it was made from.

    Saving what is so already does nothing. Raises FlawedProduct, ProductChanged, NameTaken.
    """
    lock(conn, shop_id)
    flaws = flaws_of(document, queries.definitions(conn, shop_id))
    if flaws:
        raise FlawedProduct(flaws)
    before = None
    if product_id is not None:
        found = queries.stored(conn, shop_id, [product_id]).get(product_id)
        if found is None or found.version != base_version:
            raise ProductChanged
        before = found.document
        if before == document:
            return PutResult("done", product_id, base_version)
    put = Put(document, product_id, base_version)
    chosen: Act = act or ("created" if product_id is None else "edited")
    return _put(conn, shop_id, put, before, chosen, actor, now)


def remove_product(
    conn: Connection, shop_id: int, product_id: int, base_version: int, actor: Actor, now: datetime
) -> PutResult:
    """Take a product out of the catalogue; its SKUs stay, with their stock and listings. Raises ProductChanged."""
    lock(conn, shop_id)
    found = queries.stored(conn, shop_id, [product_id]).get(product_id)
    if found is None or found.version != base_version:
        raise ProductChanged
    return _put(conn, shop_id, Put(None, product_id, base_version), found.document, "removed", actor, now)


class Undo(NamedTuple):
    """What taking a version back would do: the product now and then (None: there is none), and the version now."""

    now: ProductDocument | None
    then: ProductDocument | None
    version: int


def plan_undo(conn: Connection, shop_id: int, product_id: int, number: int) -> Undo:
    """What is left of a product without what one version changed.

    Raises NothingToTakeBack, also where what is left could not be a product.
    """
    undone = queries.version(conn, shop_id, product_id, number)
    last = queries.last_version(conn, shop_id, product_id)
    if undone is None or last is None:
        raise NothingToTakeBack(f"there is no version {number} of this product")
    before = queries.version(conn, shop_id, product_id, number - 1) if number > 1 else None
    was = None if before is None else before.document
    if undone.document is None or was is None or last.document is None:
        if last.version != number:
            raise NothingToTakeBack(f"the product was changed since version {number}: take that back first")
        if was is not None:
            _refuse_flaws(conn, shop_id, was, number)
        return Undo(last.document, was, last.version)
    wanted = taken_back(was, undone.document, last.document)
    if wanted is None:
        raise NothingToTakeBack(f"what version {number} changed was changed again since: edit it instead")
    if wanted == last.document:
        raise NothingToTakeBack(f"the product is already as it was before version {number}")
    _refuse_flaws(conn, shop_id, wanted, number)
    return Undo(last.document, wanted, last.version)


def _refuse_flaws(conn: Connection, shop_id: int, wanted: ProductDocument, number: int) -> None:
    """Two changes that are each right may not be so without one of them. Raises NothingToTakeBack."""
    flaws = flaws_of(wanted, queries.definitions(conn, shop_id))
    if flaws:
        said = f"{flaws[0].code or 'the product'} {flaws[0].sentence}"
        raise NothingToTakeBack(f"without version {number} it could not be kept: {said}. Edit it instead")


def undo_version(
    conn: Connection,
    shop_id: int,
    product_id: int,
    number: int,
    actor: Actor,
    now: datetime,
    *,
    seen_version: int | None = None,
) -> PutResult:
    """Take back what one version changed; what was changed of the product since, elsewhere, stays.

    Raises NothingToTakeBack where the same was changed again since or there is no such version, NameTaken where a
    handle or code has become another product's, ProductChanged where it is not at `seen_version` any more.
    """
    lock(conn, shop_id)
    plan = plan_undo(conn, shop_id, product_id, number)
    if seen_version not in (None, plan.version):
        raise ProductChanged
    base = None if plan.now is None else plan.version
    put = Put(plan.then, product_id, base, undoes_version=number)
    return _put(conn, shop_id, put, plan.now, "undone", actor, now)


def _put(
    conn: Connection,
    shop_id: int,
    put: Put,
    before: ProductDocument | None,
    act: Act,
    actor: Actor,
    now: datetime,
) -> PutResult:
    result = put_products(conn, shop_id, [put], act, actor, now)[0]
    if result.fate == "stale":
        raise ProductChanged
    if result.fate != "done":
        raise NameTaken(result.fate.removesuffix("_taken"), result.detail)
    changed = [
        {"code": d.code, "field": d.field, "before": d.before, "after": d.after}
        for d in differences(before, put.document)
    ]
    audit.record(
        conn,
        shop_id,
        actor,
        f"product_{act}",
        f"product:{result.product_id}",
        now,
        version=result.version,
        changed=changed[:_AUDITED],
        changed_count=len(changed),
    )
    return result


_AUDITED = 50
"""Differences of one act that the log names; the versions have all of them."""


def define_metafield(conn: Connection, shop_id: int, new: Definition, actor: Actor, now: datetime) -> None:
    """Add a metafield to what the shop's products or variants may have. Raises BadInput, also where it has that key."""
    check_key(new.key)
    if new.owner not in OWNERS or new.type not in TYPES:
        raise BadInput(f"a metafield belongs to a product or a variant and is one of {', '.join(TYPES)}")
    name = new.name.strip()
    if not name or len(name) > 100:
        raise BadInput("give the metafield a name of at most 100 characters")
    known = queries.definitions(conn, shop_id)
    added = 0
    if (new.owner, new.key) not in known:
        added = execute(
            conn,
            """
            insert into metafield_definitions (shop_id, owner, key, name, type, description, created_at)
            values (%(shop)s, %(owner)s, %(key)s, %(name)s, %(type)s, %(description)s, %(now)s)
            on conflict (shop_id, owner, key) do nothing
            """,
            shop=shop_id,
            owner=new.owner,
            key=new.key,
            name=name,
            type=new.type,
            description=new.description.strip(),
            now=now,
        )
    if not added:
        raise BadInput(f"a {new.owner} has a metafield {new.key} already")
    audit.record(
        conn, shop_id, actor, "define_metafield", f"metafield:{new.owner}:{new.key}", now, name=name, type=new.type
    )
