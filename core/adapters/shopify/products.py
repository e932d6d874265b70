"""Products of one shop: read whole, and written so that nothing is lost that was not read.

Sources: shopify.dev/docs/api/admin-graphql/latest/mutations/productSet, .../productVariantsBulkUpdate,
.../metafieldsSet.

None of these calls takes an idempotency key, so a call without an answer is never repeated: whoever sent it reads the
product again. A new product is set without an identifier: were its handle taken, Shopify would refuse it, where with
one it would write over what is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from core.adapters.http import (
    OutcomeUnknown,
    Refused,
    ServerFault,
    Throttled,
    Unauthorised,
    Unreachable,
    Urgency,
    WritesStopped,
)
from core.adapters.shopify import access, documents, product_documents, product_nodes
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.errors import PRODUCT_WORDS
from core.adapters.shopify.ids import gid
from core.adapters.shopify.product_inputs import (
    FIELDS,
    Input,
    added,
    dropped,
    is_listed,
    metafield_inputs,
    new_input,
    places,
    product_input,
    variant_inputs,
)
from core.adapters.shopify.reading import as_model, pages, walk
from core.errors import Permanent, Retryable
from core.product_ports import (
    FieldProblem,
    ProductChange,
    ProductOutcome,
    ProductResult,
    ProductWrite,
    ShownProduct,
    ShownVariant,
    UnreadableProduct,
)

WRITE_PRODUCTS = "write_products"
"""The scope without which Shopify takes no write of a product."""


class Products:
    """Reads and writes the products of one shop."""

    products_per_read = product_documents.PRODUCTS_AT_ONCE

    def __init__(self, graphql: GraphQL, currency: str) -> None:
        self._graphql = graphql
        self._currency = currency

    # Reading ---------------------------------------------------------------------------------------------------------

    def product_changes(self, since: datetime | None) -> Iterator[Sequence[ProductChange]]:
        """Products by their last change, at or after `since`."""
        query = None if since is None else _changed_since(since)
        for page in walk(
            self._graphql,
            "product_changes",
            product_documents.PRODUCT_CHANGES,
            ("products",),
            {"query": query},
            lambda node: f"updated_at:>='{node['updatedAt']}'",
        ):
            found = [as_model(product_nodes.Change, node, "product_changes") for node in page]
            yield [ProductChange(node.legacy_resource_id, node.updated_at) for node in found]

    def read_products(
        self, refs: Sequence[str], *, in_background: bool = False
    ) -> Sequence[ShownProduct | UnreadableProduct]:
        """Products whole; those that are gone are left out."""
        urgency: Urgency | None = "background" if in_background else None
        wanted = list(dict.fromkeys(refs))
        found: list[ShownProduct | UnreadableProduct] = []
        for start in range(0, len(wanted), self.products_per_read):
            part = wanted[start : start + self.products_per_read]
            variables = {"ids": [gid("Product", ref) for ref in part]}
            answer = self._graphql.run("some_products", product_documents.SOME_PRODUCTS, variables, urgency=urgency)
            nodes = answer.get("nodes") or []
            if len(nodes) != len(part):
                raise ServerFault("some_products", f"{len(nodes)} nodes for {len(part)} ids")
            # One for each id, in their order. A deleted product is null; an id of something else is an empty object.
            found += [self._shown(ref, node) for ref, node in zip(part, nodes, strict=True) if node]
        return found

    def _shown(self, ref: str, node: dict[str, Any]) -> ShownProduct | UnreadableProduct:
        """A product read to its end. What one of them has wrong is no reason to leave out the others."""
        try:
            page = product_nodes.Product.model_validate(node)
            if page.has_more:
                self._complete(node)
                page = product_nodes.Product.model_validate(node)
            return product_nodes.shown_of(page, self._currency)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(step) for step in first["loc"])
            return UnreadableProduct(ref, f"{place} ({first['type'].replace('_', ' ')})")
        except (ValueError, ArithmeticError) as error:
            return UnreadableProduct(ref, f"a value of it ({type(error).__name__})")

    def find_product(self, handle: str) -> ShownProduct | UnreadableProduct | None:
        """The product of a handle, if there is one."""
        answer = self._graphql.run("product_of_handle", product_documents.PRODUCT_OF_HANDLE, {"handle": handle})
        node = answer.get("productByIdentifier")
        found = self.read_products([str(node["legacyResourceId"])]) if node else ()
        return found[0] if found else None

    def _complete(self, node: dict[str, Any]) -> None:
        """Read on where a product has more of something than the page showed."""
        owner = gid("Product", str(node["legacyResourceId"]))
        self._rest(
            node["variants"], "product_variants", product_documents.PRODUCT_VARIANTS, ("product", "variants"), owner
        )
        self._rest(node.get("media"), "product_media", product_documents.PRODUCT_MEDIA, ("product", "media"), owner)
        self._rest(node.get("metafields"), "metafields", product_documents.METAFIELDS, ("node", "metafields"), owner)
        for variant in node["variants"]["nodes"]:
            owner = gid("ProductVariant", str(variant["legacyResourceId"]))
            shown = variant.get("metafields")
            self._rest(shown, "metafields", product_documents.METAFIELDS, ("node", "metafields"), owner)

    def _rest(self, shown: dict[str, Any] | None, name: str, document: str, path: tuple[str, ...], owner: str) -> None:
        info = (shown or {}).get("pageInfo") or {}
        if shown is not None and info.get("hasNextPage"):
            for page in pages(self._graphql, name, document, path, {"id": owner}, info["endCursor"]):
                shown["nodes"] = [*shown["nodes"], *page]

    # Writing ---------------------------------------------------------------------------------------------------------

    def writing_refused(self) -> str | None:
        """Whether the scope to write products is granted, by Shopify's own list of what is."""
        return access.refused(self._graphql, WRITE_PRODUCTS)

    def write_product(self, write: ProductWrite) -> ProductResult:
        """A few kinds of call, each with what differs; the first that does not succeed is the last."""
        problem = _too_large(write)
        if problem is not None:
            return ProductResult("refused", None, "TOO_LARGE", problem.sentence, (problem,))
        if write.before is not None and is_listed(write):
            held = self._moved(write.before)
            if held is not None:
                return held
        ref, made, sent = None if write.before is None else write.before.ref, dict[str, str](), 0
        # What is to be placed is known once the new ones have their references.
        for calls in (lambda: _calls(write), lambda: _last_calls(write, made)):
            for call in calls():
                result = self._send(call, made, is_first=not sent)
                if result.outcome != "confirmed":
                    return replace(result, ref=ref)
                ref, sent = ref or result.ref, sent + 1
        return ProductResult("confirmed", ref)

    def _moved(self, before: ShownProduct) -> ProductResult | None:
        """Why the list of variants is not to be given: what is not in it would be deleted, so it is looked at last.

        Somebody may still add one between this answer and the write, which takes no condition.
        """
        try:
            found = next(iter(self.read_products([before.ref])), None)
        except (Retryable, Permanent) as error:
            return ProductResult("unsent", before.ref, "NOT_READ", str(error))
        shown = found.variants if isinstance(found, ShownProduct) else ()
        if [variant.ref for variant in shown] == [variant.ref for variant in before.variants]:
            return None
        return ProductResult("unsent", before.ref, "CHANGED", "its variants have changed since they were read")

    def _send(self, call: _Call, made: dict[str, str], *, is_first: bool) -> ProductResult:
        """What became of one call; `made` learns the references of variants that came by it, by their codes."""
        # What surely did not leave leaves a part undone, unless nothing has left before it.
        unsent: ProductOutcome = "unsent" if is_first else "partly"
        try:
            answer = self._graphql.run(call.name, call.document, call.variables, "once", "normal")
        except OutcomeUnknown as error:
            return ProductResult("unknown", None, "NO_ANSWER", str(error))
        except Throttled as error:
            return ProductResult(unsent, None, "THROTTLED", str(error))
        except Unreachable as error:
            return ProductResult(unsent, None, "UNREACHABLE", str(error))
        except WritesStopped as error:
            return ProductResult(unsent, None, "WRITES_STOPPED", error.why)
        except Unauthorised as error:
            # Of every product alike, and not for what is in this one.
            return ProductResult(unsent, None, "UNAUTHORISED", error.reason, holds_all=True)
        except Refused as error:
            return ProductResult("refused", None, error.code, error.reason)
        except (Retryable, Permanent) as error:
            # Before the call could leave: no token was to be had.
            return ProductResult(unsent, None, "NO_TOKEN", str(error))
        payload = answer.get(call.root)
        if not isinstance(payload, dict):
            return ProductResult("unknown", None, "NO_RESULT", "an answer without its result")
        problems = tuple(_problem(call, error) for error in payload.get("userErrors") or [])
        if problems:
            code = str(payload["userErrors"][0].get("code") or "USER_ERROR")
            return ProductResult("refused", None, code, "; ".join(one.sentence for one in problems)[:500], problems)
        if call.root == "productVariantsBulkCreate":
            made |= {str(one["sku"]): str(one["legacyResourceId"]) for one in payload.get("productVariants") or []}
        product = payload.get("product")
        return ProductResult("confirmed", str(product["legacyResourceId"]) if isinstance(product, dict) else None)


_LISTS = ("variants", "metafields")


class _Call:
    """One mutation; `codes` says whose each element of its list is, `fields` what it is about where that is known."""

    def __init__(
        self, name: str, document: str, variables: Input, root: str, codes: Sequence[str], fields: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.document = document
        self.variables = variables
        self.root = root
        self.codes = codes
        self.fields = fields


def _calls(write: ProductWrite) -> list[_Call]:
    """In this order: what goes makes room for what comes, and pictures must be there before what hangs on them."""
    found, whole = [], product_input(write)
    if whole:
        identifier = None if write.before is None else {"id": gid("Product", write.before.ref)}
        codes = [variant.code or "" for variant in write.after.variants]
        variables: Input = {"identifier": identifier, "input": whole}
        found.append(_Call("set_product", product_documents.SET_PRODUCT, variables, "productSet", codes))
    gone = [(one, gid("ProductVariant", one.ref)) for one in dropped(write)]
    found += _of_variants(write, "drop_variants", product_documents.DROP_VARIANTS, "productVariantsBulkDelete", gone)
    values = variant_inputs(write)
    found += _of_variants(
        write, "change_variants", product_documents.CHANGE_VARIANTS, "productVariantsBulkUpdate", values
    )
    new = [(one, new_input(write.after, one)) for one in added(write)]
    found += _of_variants(write, "add_variants", product_documents.ADD_VARIANTS, "productVariantsBulkCreate", new)
    return found


def _of_variants(
    write: ProductWrite, name: str, document: str, root: str, given: Sequence[tuple[ShownVariant, Any]]
) -> list[_Call]:
    """Calls that name variants, as many at once as Shopify takes."""
    found = []
    for start in range(0, len(given), documents.ARRAY_MAX):
        part = given[start : start + documents.ARRAY_MAX]
        assert write.before is not None, "a new product's variants come with it"
        variables = {"product": gid("Product", write.before.ref), "variants": [one for _, one in part]}
        found.append(_Call(name, document, variables, root, [variant.code or "" for variant, _ in part]))
    return found


def _last_calls(write: ProductWrite, made: Mapping[str, str]) -> list[_Call]:
    """Places of variants, and metafields: a field is set before one goes."""
    found, positions = [], places(write, made)
    for start in range(0, len(positions), documents.ARRAY_MAX):
        assert write.before is not None, "a new product's variants come in their order"
        part = positions[start : start + documents.ARRAY_MAX]
        variables: Input = {"product": gid("Product", write.before.ref), "positions": part}
        found.append(
            _Call("order_variants", product_documents.ORDER_VARIANTS, variables, "productVariantsBulkReorder", [])
        )
    set_, deleted = metafield_inputs(write)
    for start in range(0, len(set_), product_documents.METAFIELDS_AT_ONCE):
        chunk = set_[start : start + product_documents.METAFIELDS_AT_ONCE]
        keys = [f"metafields.{given['namespace']}.{given['key']}" for _, given in chunk]
        variables = {"metafields": [given for _, given in chunk]}
        codes = [code for code, _ in chunk]
        found.append(_Call("set_metafields", product_documents.SET_METAFIELDS, variables, "metafieldsSet", codes, keys))
    for start in range(0, len(deleted), documents.ARRAY_MAX):
        gone = deleted[start : start + documents.ARRAY_MAX]
        variables = {"metafields": gone}
        keys = [f"metafields.{one['namespace']}.{one['key']}" for one in gone]
        found.append(
            _Call("delete_metafields", product_documents.DELETE_METAFIELDS, variables, "metafieldsDelete", [], keys)
        )
    return found


def _too_large(write: ProductWrite) -> FieldProblem | None:
    """Shopify takes no list of more than 250 in one call, and productSet's lists cannot be given in parts."""
    given = product_input(write)
    names = {"variants": "variants", "files": "images", "metafields": "metafields"}
    for name, ours in names.items():
        count = len(given.get(name) or ())
        if count > documents.ARRAY_MAX:
            sentence = (
                f"has {count:,} {ours}; Shopify takes at most {documents.ARRAY_MAX} in one call, and the list cannot be"
                f" given in parts: change its {ours} at Shopify, or split the product"
            )
            return FieldProblem("", ours, sentence)
    return None


def _problem(call: _Call, error: Any) -> FieldProblem:
    """`field` is like ["input", "variants", "3", "price"]; the number says whose it is, the last name what it is of."""
    error = error if isinstance(error, dict) else {}
    path = [str(step) for step in error.get("field") or []]
    # Metafields of the product and of a variant have numbers too: the first one that follows `variants` is a variant's.
    place = next((int(step) for at, step in enumerate(path) if step.isdigit() and path[at - 1] in _LISTS), None)
    code = call.codes[place] if place is not None and place < len(call.codes) else ""
    if call.fields:
        field = call.fields[place] if place is not None and place < len(call.fields) else "metafields"
    else:
        field = next((FIELDS[step] for step in reversed(path) if step in FIELDS), "variants" if code else "")
        code = code if "variants" in path else ""
    message, said = str(error.get("message") or "")[:300], str(error.get("code") or "USER_ERROR")
    words = PRODUCT_WORDS.get(said)
    return FieldProblem(code, field, f"{words} ({message})" if words else message or said)


def _changed_since(moment: datetime) -> str:
    return f"updated_at:>='{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"
