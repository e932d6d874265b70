"""productSet and productVariantsBulkUpdate: many writes to one product in one call, all or none.

A list that is given is complete: variants, files, options and metafields that are not in it are deleted. What is not
given stays. Source: the descriptions in the vendor's schema of productSet and its inputs.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from sandbox.clock import utc_now
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import inventory, metafields, product_variants, taxonomy, variant_lists
from sandbox.vendors.shopify.connections import bad_request
from sandbox.vendors.shopify.product_bodies import announce, media_of, options_of, values_of
from sandbox.vendors.shopify.shops import gid, home_location, number_of

OPTIONS_MAX, VARIANTS_MAX, TEXT_MAX = 3, 2048, 255
Given = dict[str, Any]
UserErrors = list[dict[str, Any]]
COLUMNS = {
    "title": "title",
    "descriptionHtml": "description_html",
    "vendor": "vendor",
    "productType": "product_type",
    "status": "status",
}


@dataclass
class _Work:
    """One call on its way: what it found, and what it objects to."""

    store: Store
    shop: Row
    given: Given
    product: Row | None = None
    handle: str | None = None
    options: list[Given] = field(default_factory=list)
    errors: UserErrors = field(default_factory=list)

    def object_to(self, code: str, path: list[str], message: str) -> None:
        self.errors.append({"code": code, "field": path, "message": message})


def put(
    store: Store, outbox: Outbox, shop: Row, identifier: Given | None, given: Given
) -> tuple[int | None, UserErrors]:
    """The product's id, or why nothing was done."""
    work = _Work(store, shop, given)
    with store.transaction():
        _find(work, identifier)
        if not work.errors:
            _check(work)
        if work.errors:
            return None, work.errors
        return _apply(work, outbox), []


def _find(work: _Work, identifier: Given | None) -> None:
    store, shop = work.store, work.shop
    if identifier and identifier.get("id") is not None:
        number = number_of(identifier["id"], "Product")
        where = (shop["id"], number)
        work.product = store.one("select * from products where shop_id = ? and id = ?", where)
        if work.product is None:
            work.object_to("PRODUCT_DOES_NOT_EXIST", ["identifier", "id"], "Product does not exist")
    elif identifier and identifier.get("handle") is not None:
        work.handle = identifier["handle"]
        where_handle = (shop["id"], work.handle)
        work.product = store.one("select * from products where shop_id = ? and handle = ?", where_handle)


def _check(work: _Work) -> None:
    given, product = work.given, work.product
    if ("title" in given or product is None) and not (given.get("title") or "").strip():
        work.object_to("INVALID_INPUT", ["input", "title"], "Title can't be blank")
    for name in ("title", "vendor", "productType", "handle"):
        if len(given.get(name) or "") > TEXT_MAX:
            work.object_to(
                "INVALID_INPUT", ["input", name], f"{name.capitalize()} is too long (maximum is 255 characters)"
            )
    wanted = given.get("handle") or (work.handle if product is None else None)
    if wanted is not None:
        taken = work.store.one(
            "select id from products where shop_id = ? and handle = ? and id is not ?",
            (work.shop["id"], wanted, product and product["id"]),
        )
        if taken:
            message = f"Handle '{wanted}' already in use. Please provide a new handle."
            work.object_to("HANDLE_NOT_UNIQUE", ["input", "handle"], message)
    if given.get("category") is not None and taxonomy.category_of(given["category"]) is None:
        if not given["category"].startswith("gid://shopify/TaxonomyCategory/"):
            raise bad_request(f"Invalid global id '{given['category']}'")
        work.object_to("INVALID_PRODUCT", ["input", "category"], "Category is not a valid taxonomy category")
    for place, one in enumerate(given.get("metafields") or []):
        if problem := metafields.problem_of(one, None):
            work.object_to("INVALID_METAFIELD", ["input", "metafields", str(place), problem[0]], problem[2])
    _check_files(work)
    _check_options(work)
    _check_variants(work)


def _check_files(work: _Work) -> None:
    own = {gid("MediaImage", one["id"]) for one in media_of(work.product)} if work.product is not None else set()
    for place, one in enumerate(work.given.get("files") or []):
        path = ["input", "files", str(place)]
        if one.get("id") is not None:
            if one["id"] not in own:
                work.object_to("NOT_FOUND", [*path, "id"], "File id does not exist")
        elif not re.fullmatch(r"https?://[^\s]+", one.get("originalSource") or ""):
            work.object_to("INVALID_INPUT", [*path, "originalSource"], "Image URL is invalid")


def _check_options(work: _Work) -> None:
    given = work.given
    if (given.get("variants") is None) != (given.get("productOptions") is None):
        if given.get("variants") is None:
            message = "The variants input is required when product options are given."
            work.object_to("VARIANTS_INPUT_MISSING", ["input", "variants"], message)
        else:
            message = "The product options input is required when updating variants."
            work.object_to("PRODUCT_OPTIONS_INPUT_MISSING", ["input", "productOptions"], message)
        return
    wanted = given.get("productOptions") or []
    if len(wanted) > OPTIONS_MAX:
        message = f"Product options exceeds the maximum of {OPTIONS_MAX}."
        work.object_to("OPTIONS_OVER_LIMIT", ["input", "productOptions"], message)
    known = {one["name"]: one for one in options_of(work.product)} if work.product is not None else {}
    for place, one in enumerate(wanted):
        path = ["input", "productOptions", str(place)]
        name, values = one.get("name") or "", [value.get("name") or "" for value in one.get("values") or []]
        if not name or not values or not all(values):
            work.object_to("OPTION_VALUES_MISSING", [*path, "values"], f"Option '{name}' must have at least one value.")
        if len(set(values)) < len(values):
            work.object_to("DUPLICATED_OPTION_VALUE", [*path, "values"], f"Option '{name}' has a duplicated value.")
        if name in {option["name"] for option in work.options}:
            work.object_to("DUPLICATED_OPTION_NAME", [*path, "name"], f"Duplicated option name '{name}'.")
        ids = {value["name"]: value["id"] for value in known.get(name, {}).get("values", [])}
        work.options.append(
            {
                "id": known[name]["id"] if name in known else work.store.next_id("option"),
                "name": name,
                "values": [
                    {"id": ids.get(value) or work.store.next_id("option_value"), "name": value} for value in values
                ],
            }
        )


def _check_variants(work: _Work) -> None:
    variants = work.given.get("variants")
    if variants is None or work.errors:
        return
    if len(variants) > VARIANTS_MAX:
        work.object_to("VARIANTS_OVER_LIMIT", ["input", "variants"], f"At most {VARIANTS_MAX} variants are allowed.")
    if not variants:
        work.object_to("INVALID_INPUT", ["input", "variants"], "A product must have at least one variant.")
    met: set[tuple[str, ...]] = set()
    for place, one in enumerate(variants):
        path = ["input", "variants", str(place)]
        if one.get("id") is not None and _variant_of(work, one["id"]) is None:
            work.object_to("PRODUCT_VARIANT_DOES_NOT_EXIST", [*path, "id"], "Product variant does not exist")
        if problem := product_variants.problem_of(one):
            work.object_to("INVALID_VARIANT", [*path, *problem[0]], problem[1])
        if _file_place(work, one) == -1:
            message = "The variant's file must be among the files of the product."
            work.object_to("INVALID_VARIANT", [*path, "file"], message)
        values = _values(work, one, path)
        if values in met:
            message = f"The variant '{' / '.join(values)}' already exists. Please change at least one option value."
            work.object_to("INVALID_VARIANT", path, message)
        met.add(values)


def _values(work: _Work, given: Given, path: list[str]) -> tuple[str, ...]:
    """A variant's value of each option."""
    said = {one.get("optionName"): one.get("name") for one in given["optionValues"]}
    for name in said.keys() - {option["name"] for option in work.options}:
        work.object_to("OPTION_DOES_NOT_EXIST", [*path, "optionValues"], f"Option '{name}' does not exist")
    values = []
    for option in work.options:
        value = said.get(option["name"])
        if value is None:
            message = f"Option values are missing: '{option['name']}'"
            work.object_to("OPTION_VALUES_MISSING", [*path, "optionValues"], message)
        elif value not in {one["name"] for one in option["values"]}:
            message = f"Option value '{value}' does not exist"
            work.object_to("OPTION_VALUE_DOES_NOT_EXIST", [*path, "optionValues"], message)
        values.append(str(value))
    return tuple(values)


def _variant_of(work: _Work, variant_gid: str) -> Row | None:
    number = number_of(variant_gid, "ProductVariant")
    where = (number, work.product and work.product["id"])
    return work.store.one("select * from variants where id = ? and product_id = ?", where)


def _file_place(work: _Work, variant: Given) -> int | None:
    """Which of the given files is a variant's; None where it names none, -1 where there is no such one."""
    file = variant.get("file")
    if not file:
        return None
    for place, one in enumerate(work.given.get("files") or []):
        if (file.get("id"), file.get("originalSource")) == (one.get("id"), one.get("originalSource")):
            return place
    return -1


def _apply(work: _Work, outbox: Outbox) -> int:
    store, shop, given, act = work.store, work.shop, work.given, outbox.act()
    is_new = work.product is None
    product_id = _row(work)
    product = store.one("select * from products where id = ?", (product_id,))
    assert product is not None
    media = _media(work, product)
    if given.get("variants") is not None or is_new:
        _put_variants(work, outbox, act, product_id, media)
    if given.get("metafields") is not None:
        metafields.replace_all(store, "Product", product_id, given["metafields"])
    announce(store, outbox, shop, act, product_id, is_new)
    return product_id


def _row(work: _Work) -> int:
    """The product's own row, new or brought up to date; its id."""
    store, given, product, now = work.store, work.given, work.product, utc_now(work.store)
    wanted = {column: given[name] for name, column in COLUMNS.items() if given.get(name) is not None}
    seo = given.get("seo") or {}
    wanted |= {f"seo_{name}": seo[name] or None for name in ("title", "description") if name in seo}
    if given.get("tags") is not None:
        tags = sorted({tag.strip() for tag in given["tags"] if tag.strip()}, key=str.casefold)
        wanted["tags"] = orjson.dumps(tags).decode()
    if given.get("productOptions") is not None:
        is_default = [one["name"] for one in work.options] == ["Title"] and len(work.options[0]["values"]) == 1
        wanted["options"] = "[]" if is_default else orjson.dumps(work.options).decode()
    if "category" in given:
        wanted["category"] = given["category"]
    if given.get("handle"):
        wanted["handle"] = given["handle"]
    if product is not None:
        marks = ", ".join(f"{name} = ?" for name in ("updated_at", *wanted))
        store.run(f"update products set {marks} where id = ?", (now, *wanted.values(), product["id"]))
        return int(product["id"])
    number = store.next_id("product")
    wanted.setdefault("handle", work.handle or free_handle(store, work.shop, given["title"]))
    empty = {"vendor": work.shop["name"], "product_type": "", "status": "ACTIVE"}
    store.insert("products", id=number, shop_id=work.shop["id"], created_at=now, updated_at=now, **{**empty, **wanted})
    return number


def free_handle(store: Store, shop: Row, title: str) -> str:
    """A handle of a title that no other product has."""
    base = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "product"
    handle, number = base, 0
    while store.one("select 1 from products where shop_id = ? and handle = ?", (shop["id"], handle)):
        number += 1
        handle = f"{base}-{number}"
    return handle


def _media(work: _Work, product: Row) -> list[Given]:
    """The product's pictures; where files are given these and no others, hosted by the vendor from then on."""
    known = {gid("MediaImage", one["id"]): one for one in media_of(product)}
    if work.given.get("files") is None:
        return list(known.values())
    found = []
    for one in work.given["files"]:
        if one.get("id") is not None:
            found.append(known[one["id"]] | ({"alt": one["alt"]} if one.get("alt") is not None else {}))
            continue
        number = work.store.next_id("media")
        name = one.get("filename") or re.sub(r"[?#].*", "", one["originalSource"]).rstrip("/").rsplit("/", 1)[-1]
        url = f"https://cdn.shopify.com/s/files/1/{work.shop['id']}/files/{name}?v={number}"
        found.append({"id": number, "url": url, "alt": one.get("alt") or ""})
    work.store.run("update products set media = ? where id = ?", (orjson.dumps(found).decode(), product["id"]))
    kept = [one["id"] for one in found]
    marks = ", ".join("?" * len(kept))
    work.store.run(
        f"update variants set media_id = null where product_id = ? and media_id not in ({marks})",
        (product["id"], *kept),
    )
    return found


def _put_variants(work: _Work, outbox: Outbox, act: Any, product_id: int, media: list[Given]) -> None:
    store, shop = work.store, work.shop
    before = store.all("select * from variants where product_id = ?", (product_id,))
    given = work.given.get("variants") or [{"optionValues": []}]
    named = {number_of(one["id"], "ProductVariant") for one in given if one.get("id") is not None}
    for row in before:
        if row["id"] not in named:
            product_variants.remove(store, outbox, shop, act, row)
    fresh: list[int] = []
    for place, one in enumerate(given):
        values = _values(work, one, []) if work.options else ()
        wanted = {"position": place + 1} | product_variants.columns(one)
        is_default = not work.options or (work.options[0]["name"], values) == ("Title", ("Default Title",))
        wanted["option_values"] = product_variants.values_text([] if is_default else list(values))
        if (file := _file_place(work, one)) is not None:
            wanted["media_id"] = media[file]["id"]
        known = None if one.get("id") is None else _variant_of(work, one["id"])
        if known is None:
            number = product_variants.add(store, shop, product_id, wanted)
            fresh.append(number)
        else:
            number = known["id"]
            product_variants.change(store, known, wanted)
        if one.get("metafields") is not None:
            metafields.replace_all(store, "ProductVariant", number, one["metafields"])
    home = home_location(store, shop["id"])
    items = [store.value("select item_id from variants where id = ?", (number,)) for number in fresh]
    inventory.announce(store, outbox, shop, act, [(item, home) for item in items])


def change_variants(
    store: Store, outbox: Outbox, shop: Row, product_gid: str, given: list[Given]
) -> tuple[list[int], UserErrors]:
    """The ids of the variants, all changed, or why none was. Those that are not named are left alone."""
    number = number_of(product_gid, "Product")
    product = store.one("select * from products where shop_id = ? and id = ?", (shop["id"], number))
    if product is None:
        path = ["productId"]
        return [], [{"code": "PRODUCT_DOES_NOT_EXIST", "field": path, "message": "Product does not exist"}]
    work = _Work(store, shop, {}, product)
    rows = [_checked(work, one, ["variants", str(place)]) for place, one in enumerate(given)]
    chosen = {
        place: variant_lists.chosen_values(product, one, ["variants", str(place)], work.object_to)
        for place, one in enumerate(given)
        if one.get("optionValues") is not None
    }
    if not work.errors:
        _check_chosen(work, rows, chosen)
    if work.errors:
        return [], work.errors
    with store.transaction():
        if chosen:
            variant_lists.add_values(store, product, list(chosen.values()))
        for place, (row, one) in enumerate(zip(rows, given, strict=True)):
            assert row is not None
            wanted = product_variants.columns(one)
            if place in chosen:
                wanted["option_values"] = product_variants.values_text(list(chosen[place]))
            if "mediaId" in one:
                wanted["media_id"] = None if one["mediaId"] is None else number_of(one["mediaId"], "MediaImage")
            product_variants.change(store, row, wanted)
            for each in one.get("metafields") or []:
                metafields.write(store, "ProductVariant", row["id"], each)
        announce(store, outbox, shop, outbox.act(), product["id"])
    return [row["id"] for row in rows if row is not None], []


def _check_chosen(work: _Work, rows: list[Row | None], chosen: dict[int, tuple[str, ...]]) -> None:
    """No two variants of a product have the same values, not even until the next is changed."""
    assert work.product is not None
    there = {row["id"]: tuple(values_of(row)) for row in variant_lists.variants_of(work.store, work.product)}
    for place, values in chosen.items():
        row = rows[place]
        assert row is not None
        if values in [one for number, one in there.items() if number != row["id"]]:
            message = f"The variant '{' / '.join(values)}' already exists."
            work.object_to("VARIANT_ALREADY_EXISTS", ["variants", str(place), "optionValues"], message)
        there[row["id"]] = values


def _checked(work: _Work, given: Given, path: list[str]) -> Row | None:
    if given.get("id") is None:
        work.object_to("PRODUCT_VARIANT_ID_MISSING", [*path, "id"], "Product variant ID is missing")
        return None
    row = _variant_of(work, given["id"])
    if row is None:
        work.object_to("PRODUCT_VARIANT_DOES_NOT_EXIST", [*path, "id"], "Product variant does not exist")
    if problem := product_variants.problem_of(given):
        code = "NEGATIVE_PRICE_VALUE" if problem[0] == ["price"] else "INVALID_INPUT"
        work.object_to(code, [*path, *problem[0]], problem[1])
    assert work.product is not None
    pictures = {gid("MediaImage", one["id"]) for one in media_of(work.product)}
    if given.get("mediaId") is not None and given["mediaId"] not in pictures:
        work.object_to("INVALID_INPUT", [*path, "mediaId"], "Media does not exist on the product.")
    return row
