"""productVariantsBulkCreate, -Delete and -Reorder: what is named comes, goes or moves, and nothing else does.

Source: the descriptions in the vendor's schema of the three mutations, their inputs and their error codes. An option
value that the product does not have yet is made with the variant that names it (the example on shopify.dev of
productVariantsBulkCreate).
"""

from collections.abc import Callable
from typing import Any

import orjson

from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import inventory, metafields, product_variants
from sandbox.vendors.shopify.product_bodies import DEFAULT_OPTION, announce, options_of, values_of
from sandbox.vendors.shopify.shops import home_location, number_of

Given = dict[str, Any]
UserErrors = list[dict[str, Any]]
ObjectTo = Callable[[str, list[str], str], None]
REMOVE_DEFAULT, REMOVE_ANY = "DEFAULT", "REMOVE_STANDALONE_VARIANT"


def product_of(store: Store, shop: Row, product_gid: str) -> Row | None:
    """The product of an id."""
    where = (shop["id"], number_of(product_gid, "Product"))
    return store.one("select * from products where shop_id = ? and id = ?", where)


def variants_of(store: Store, product: Row) -> list[Row]:
    """Its variants, in their order."""
    return store.all("select * from variants where product_id = ? order by position, id", (product["id"],))


def no_product() -> UserErrors:
    return [{"code": "PRODUCT_DOES_NOT_EXIST", "field": ["productId"], "message": "Product does not exist"}]


def chosen_values(product: Row, given: Given, path: list[str], object_to: ObjectTo) -> tuple[str, ...]:
    """A variant's value of each option of its product, new values among them."""
    names = [option["name"] for option in options_of(product)]
    ids = {option["id"]: option["name"] for option in options_of(product)}
    said = {one.get("optionName") or ids.get(number_of(one.get("optionId"), "ProductOption")): one.get("name")
            for one in given.get("optionValues") or []}  # fmt: skip
    if said.keys() - set(names):
        code = "OPTION_VALUES_FOR_NUMBER_OF_UNKNOWN_OPTIONS"
        object_to(code, [*path, "optionValues"], "Option does not exist")
    if any(not said.get(name) for name in names):
        object_to("NEED_TO_ADD_OPTION_VALUES", [*path, "optionValues"], "Option values are missing")
    return tuple(str(said.get(name)) for name in names)


def add_values(store: Store, product: Row, values: list[tuple[str, ...]]) -> None:
    """Make the option values that variants name and the product does not have yet."""
    options = options_of(product)
    for place, option in enumerate(options):
        known = {one["name"] for one in option["values"]}
        for name in dict.fromkeys(chosen[place] for chosen in values):
            if name not in known:
                option["values"].append({"id": store.next_id("option_value"), "name": name})
    store.run("update products set options = ? where id = ?", (orjson.dumps(options).decode(), product["id"]))


def create(
    store: Store, outbox: Outbox, shop: Row, product_gid: str, given: list[Given], strategy: str
) -> tuple[list[int], UserErrors]:
    """The ids of the new variants in the order they were given, or why there is none of them."""
    product = product_of(store, shop, product_gid)
    if product is None:
        return [], no_product()
    before = variants_of(store, product)
    is_default = not orjson.loads(product["options"])
    goes = len(before) == 1 and (strategy == REMOVE_ANY or (strategy == REMOVE_DEFAULT and is_default))
    errors: UserErrors = []

    def object_to(code: str, path: list[str], message: str) -> None:
        errors.append({"code": code, "field": path, "message": message})

    taken = set() if goes else {tuple(values_of(row)) for row in before}
    chosen: list[tuple[str, ...]] = []
    for place, one in enumerate(given):
        path = ["variants", str(place)]
        if one.get("id") is not None:
            object_to("NO_KEY_ON_CREATE", [*path, "id"], "Variant id cannot be given when it is created")
        if problem := product_variants.problem_of(one):
            code = "NEGATIVE_PRICE_VALUE" if problem[0] == ["price"] else "INVALID_INPUT"
            object_to(code, [*path, *problem[0]], problem[1])
        values = chosen_values(product, one, path, object_to)
        if values in taken:
            message = f"The variant '{' / '.join(values)}' already exists. Please change at least one option value."
            object_to("VARIANT_ALREADY_EXISTS_CHANGE_OPTION_VALUE", path, message)
        taken.add(values)
        chosen.append(values)
    if errors:
        return [], errors
    with store.transaction():
        act = outbox.act()
        if goes:
            product_variants.remove(store, outbox, shop, act, before[0])
        if not is_default or [one["name"] for one in options_of(product)] != [DEFAULT_OPTION]:
            add_values(store, product, chosen)
        made = []
        last = max((row["position"] for row in before), default=0)
        for place, (one, values) in enumerate(zip(given, chosen, strict=True), 1):
            wanted = {"position": last + place} | product_variants.columns(one)
            wanted["option_values"] = product_variants.values_text(list(values))
            if one.get("mediaId") is not None:
                wanted["media_id"] = number_of(one["mediaId"], "MediaImage")
            number = product_variants.add(store, shop, product["id"], wanted)
            for each in one.get("metafields") or []:
                metafields.write(store, "ProductVariant", number, each)
            made.append(number)
        home = home_location(store, shop["id"])
        items = [store.value("select item_id from variants where id = ?", (number,)) for number in made]
        inventory.announce(store, outbox, shop, act, [(item, home) for item in items])
        announce(store, outbox, shop, act, product["id"])
    return made, []


def delete(store: Store, outbox: Outbox, shop: Row, product_gid: str, ids: list[str]) -> UserErrors:
    """Nothing, where all that were named are gone; else why none is."""
    product = product_of(store, shop, product_gid)
    if product is None:
        return no_product()
    there = {row["id"]: row for row in variants_of(store, product)}
    errors: UserErrors = []
    for place, one in enumerate(ids):
        if number_of(one, "ProductVariant") not in there:
            code, message = "AT_LEAST_ONE_VARIANT_DOES_NOT_BELONG_TO_THE_PRODUCT", "The variant does not exist."
            errors.append({"code": code, "field": ["variantsIds", str(place)], "message": message})
    named = {number_of(one, "ProductVariant") for one in ids}
    if not errors and named == there.keys():
        code, message = "CANNOT_DELETE_LAST_VARIANT", "Cannot delete default variant."
        errors.append({"code": code, "field": ["variantsIds"], "message": message})
    if errors:
        return errors
    with store.transaction():
        act = outbox.act()
        for number, row in there.items():
            if number in named:
                product_variants.remove(store, outbox, shop, act, row)
        announce(store, outbox, shop, act, product["id"])
    return []


def reorder(store: Store, outbox: Outbox, shop: Row, product_gid: str, positions: list[Given]) -> UserErrors:
    """Move the named ones to their places, first to last; the others keep their order around them."""
    product = product_of(store, shop, product_gid)
    if product is None:
        return no_product()
    order = [row["id"] for row in variants_of(store, product)]
    wanted = [(number_of(one["id"], "ProductVariant"), int(one["position"])) for one in positions]
    errors: UserErrors = []
    for place, (number, position) in enumerate(wanted):
        path = ["positions", str(place)]
        if number not in order:
            errors.append({"code": "MISSING_VARIANT", "field": [*path, "id"], "message": "Variant does not exist"})
        if position < 1:
            message = "Position must be greater than zero"
            errors.append({"code": "INVALID_POSITION", "field": [*path, "position"], "message": message})
    if len({number for number, _ in wanted}) < len(wanted):
        message = "Variant IDs must be unique"
        errors.append({"code": "DUPLICATED_VARIANT_ID", "field": ["positions"], "message": message})
    if errors:
        return errors
    with store.transaction():
        for number, position in sorted(wanted, key=lambda one: one[1]):
            order.remove(number)
            order.insert(position - 1, number)
        for place, number in enumerate(order, 1):
            store.run("update variants set position = ? where id = ?", (place, number))
        announce(store, outbox, shop, outbox.act(), product["id"])
    return []
