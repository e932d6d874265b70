"""Products at the fake Shopify through the real adapter: read whole, and written so that nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.shopify import ShopifyChannel, product_metafields
from core.adapters.shopify.products import Products
from core.product_ports import ProductWrite, ShownField, ShownImage, ShownProduct, ShownVariant
from tests.sandbox.outside import Inside, ShopSide


class Pair:
    """A shop there and our adapter for it."""

    def __init__(self, world: Inside) -> None:
        self.world = world
        self.shop: ShopSide = world.shop()
        self.log: list[Any] = []
        self.held: str | None = None
        secrets = {name: self.shop.entry[name] for name in ("client_id", "client_secret")}
        base = f"{world.url}/shopify/{self.shop.domain}"
        config = ConnectionConfig(1, 1, "shopify", base, self.shop.domain, "GBP", {"clock_factor": 1000}, secrets)
        deps = Deps(
            self.log.append,
            None,
            world.world,
            lambda: datetime.now(UTC),
            lambda seconds: world.clock.advance(seconds * 1000),
            held=lambda effect: self.held if effect == "shop" else None,
        )
        self.products: Products = ShopifyChannel(config, deps).products

    def put(self, handle: str = "shirt", **input_: Any) -> str:
        made = self.shop.control("product", handle=handle, input=input_)
        return str(made["product_id"]).rpartition("/")[2]

    def read(self, ref: str) -> ShownProduct:
        (found,) = self.products.read_products([ref])
        assert isinstance(found, ShownProduct)
        return found

    def write(self, before: ShownProduct | None, after: ShownProduct) -> Any:
        return self.products.write_product(ProductWrite(after, before))

    def calls(self) -> list[str]:
        """What was sent that changes something, since the last time."""
        names = ("set_product", "change_variants", "add_variants", "drop_variants", "order_variants")
        names += ("set_metafields", "delete_metafields")
        found = [call.operation for call in self.log if call.operation in names]
        self.log.clear()
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """One for all: each test has a shop of its own."""
    made = Inside(tmp_path_factory.mktemp("world"))
    yield made
    made.stop()


@pytest.fixture
def pair(world: Inside) -> Iterator[Pair]:
    yield Pair(world)
    world.http.delete("/_control/faults")


def sized(*sizes: str, **more: Any) -> dict[str, Any]:
    """The input of a shirt in some sizes."""
    variants = [
        {"sku": f"SHIRT-{size}", "price": "25.00", "optionValues": [{"optionName": "Size", "name": size}]} | more
        for size in sizes
    ]
    values = [{"name": size} for size in sizes]
    return {"title": "Shirt", "productOptions": [{"name": "Size", "values": values}], "variants": variants}


def metafield(key: str, type_: str, value: str) -> dict[str, str]:
    namespace, name = key.split(".")
    return {"namespace": namespace, "key": name, "type": type_, "value": value}


def test_a_product_is_read_whole(pair: Pair) -> None:
    item = {"cost": "9.99", "measurement": {"weight": {"value": 1.5, "unit": "KILOGRAMS"}}, "requiresShipping": False}
    colour = metafield("details.colour_code", "color", "#1b4d3e")
    picture = {"originalSource": "https://pictures.test/front.jpg", "alt": "front"}
    given = sized("M", compareAtPrice="30.00", barcode="5012345678900", inventoryItem=item, file=picture)
    given["variants"][0]["metafields"] = [colour]
    ref = pair.put(
        **given,
        descriptionHtml="<p>Linen.</p>",
        vendor="Acme",
        productType="Shirts",
        status="DRAFT",
        tags=["summer", "Linen"],
        seo={"title": "A shirt", "description": "Of linen"},
        files=[picture],
        metafields=[
            metafield("details.supplier_id", "single_line_text_field", "ACME-7"),
            metafield("other.thing", "product_reference", "gid://shopify/Product/1"),
        ],
    )
    found = pair.read(ref)
    assert (found.title, found.handle, found.description) == ("Shirt", "shirt", "<p>Linen.</p>")
    assert (found.vendor, found.product_type, found.status, found.url) == ("Acme", "Shirts", "draft", None)
    assert (found.tags, found.options) == (("Linen", "summer"), ("Size",))
    assert (found.seo_title, found.seo_description) == ("A shirt", "Of linen")
    (image,) = found.images
    assert image.alt == "front"
    assert str(image.url).startswith("https://cdn.shopify.com/")
    # What there is no counterpart of here is left to the channel.
    assert found.metafields == {"details.supplier_id": ShownField("text", "ACME-7")}
    (variant,) = found.variants
    assert variant == ShownVariant(
        ref=variant.ref,
        code="SHIRT-M",
        option_values=("M",),
        barcode="5012345678900",
        price_minor=2500,
        compare_at_minor=3000,
        cost_minor=999,
        weight_grams=1500,
        is_stocked=True,
        requires_shipping=False,
        taxable=True,
        image_ref=image.ref,
        metafields={"details.colour_code": ShownField("colour", "#1B4D3E")},
    )


def test_what_does_not_fit_into_a_page_is_read_to_its_end(pair: Pair) -> None:
    sizes = [f"S{number}" for number in range(60)]
    given = sized(*sizes)
    given["variants"][0]["metafields"] = [
        metafield(f"many.key{number}", "number_integer", str(number)) for number in range(12)
    ]
    ref = pair.put(
        **given,
        files=[{"originalSource": f"https://pictures.test/{number}.jpg"} for number in range(15)],
        metafields=[metafield(f"many.key{number}", "boolean", "true") for number in range(30)],
    )
    found = pair.read(ref)
    assert [variant.code for variant in found.variants] == [f"SHIRT-{size}" for size in sizes]
    assert (len(found.images), len(found.metafields), len(found.variants[0].metafields)) == (15, 30, 12)
    assert [call.outcome for call in pair.log if call.outcome != "ok"] == []


def test_a_product_without_options_has_none_here(pair: Pair) -> None:
    pair.shop.stock("MUG")
    (page,) = pair.products.product_changes(None)
    found = pair.read(page[0].ref)
    assert (found.options, found.variants[0].option_values, found.variants[0].code) == ((), (), "MUG")
    assert list(pair.products.product_changes(datetime(2099, 1, 1, tzinfo=UTC))) == [[]]
    assert pair.products.read_products(["1"]) == []


def test_only_what_differs_is_written(pair: Pair) -> None:
    ref = pair.put(**sized("M", "L"), metafields=[metafield("other.app", "single_line_text_field", "theirs")])
    before = pair.read(ref)
    after = replace(before, title="Linen shirt")
    assert pair.write(before, after).outcome == "confirmed"
    assert pair.calls() == ["set_product"]
    cheap = replace(before.variants[0], price_minor=1999, cost_minor=700, weight_grams=250)
    fields = {**before.metafields, "details.supplier_id": ShownField("text", "ACME-7")}
    after = replace(after, variants=(cheap, before.variants[1]), metafields=fields)
    now = pair.read(ref)
    assert pair.write(now, after).outcome == "confirmed"
    # Values of variants and metafields never go by complete lists.
    assert pair.calls() == ["change_variants", "set_metafields"]
    assert pair.read(ref) == replace(after, version_at=pair.read(ref).version_at)
    gone = replace(after, metafields={"other.app": fields["other.app"]})
    assert pair.write(after, gone).outcome == "confirmed"
    assert pair.calls() == ["delete_metafields"]
    assert pair.read(ref).metafields == gone.metafields
    assert pair.write(gone, gone).outcome == "confirmed"
    assert pair.calls() == []


def test_values_written_leave_a_variant_alone_that_came_meanwhile(pair: Pair) -> None:
    ref = pair.put(**sized("M"))
    before = pair.read(ref)
    pair.put(**sized("M", "L") | {"variants": [
        {"id": f"gid://shopify/ProductVariant/{before.variants[0].ref}",
         "optionValues": [{"optionName": "Size", "name": "M"}]},
        sized("L")["variants"][0],
    ]})  # fmt: skip
    after = replace(before, title="Linen shirt", variants=(replace(before.variants[0], price_minor=1),))
    assert pair.write(before, after).outcome == "confirmed"
    assert [variant.code for variant in pair.read(ref).variants] == ["SHIRT-M", "SHIRT-L"]


def test_variants_come_go_and_change_places(pair: Pair) -> None:
    ref = pair.put(**sized("M", "L", "XL"))
    before = pair.read(ref)
    new = ShownVariant("", "SHIRT-S", ("S",), price_minor=2400, cost_minor=900, weight_grams=180)
    kept = [replace(before.variants[2]), before.variants[0]]
    assert pair.write(before, replace(before, variants=(new, *kept))).outcome == "confirmed"
    found = pair.read(ref).variants
    assert [variant.code for variant in found] == ["SHIRT-S", "SHIRT-XL", "SHIRT-M"]
    assert [variant.ref for variant in found[1:]] == [variant.ref for variant in kept]
    assert (found[0].price_minor, found[0].cost_minor, found[0].weight_grams) == (2400, 900, 180)
    assert found[1].price_minor == 2500


def beside(pair: Pair, before: ShownProduct, size: str) -> None:
    """Staff add a size to a shirt that we have read."""
    sizes = [variant.option_values[0] for variant in before.variants]
    kept = [
        {"id": f"gid://shopify/ProductVariant/{one.ref}", "optionValues": sized(one.option_values[0])["variants"][0][
            "optionValues"]} for one in before.variants
    ]  # fmt: skip
    pair.put(**sized(*sizes, size) | {"variants": [*kept, sized(size)["variants"][0]]})


@pytest.mark.parametrize(
    ("change", "calls", "codes"),
    [
        # One comes, one goes, one changes its value, they change places: theirs stays whatever we do.
        (lambda m, other: (m, other, ShownVariant("", "SHIRT-S", ("S",))), ["add_variants"], "M L XXL S"),
        (lambda m, other: (m,), ["drop_variants"], "M XXL"),
        (lambda m, other: (replace(m, option_values=("Medium",)), other), ["change_variants"], "M L XXL"),
        (lambda m, other: (other, m), ["order_variants"], "L M XXL"),
        (lambda m, other: (ShownVariant("", "SHIRT-S", ("L",)), m), ["drop_variants", "add_variants", "order_variants"],
         "S M XXL"),
    ],
)  # fmt: skip
def test_a_variant_that_staff_add_between_our_read_and_our_write_stays(
    pair: Pair, change: Any, calls: list[str], codes: str
) -> None:
    before = pair.read(pair.put(**sized("M", "L")))
    beside(pair, before, "XXL")
    pair.log.clear()
    result = pair.write(before, replace(before, title="Linen shirt", variants=change(*before.variants)))
    assert (result.outcome, pair.calls()) == ("confirmed", ["set_product", *calls])
    found = pair.read(before.ref)
    assert [variant.code for variant in found.variants] == [f"SHIRT-{size}" for size in codes.split()]
    assert found.title == "Linen shirt"


@pytest.mark.parametrize("kind", ["options", "swap"])
def test_the_whole_list_is_not_given_where_it_is_not_whole_any_more(pair: Pair, kind: str) -> None:
    before = pair.read(pair.put(**sized("M", "L")))
    first, second = before.variants
    if kind == "options":
        pairs = [(first, ("M", "Red")), (second, ("L", "Red"))]
        after = replace(before, options=("Size", "Colour"))
    else:
        pairs, after = [(first, ("L",)), (second, ("M",))], before
    after = replace(after, variants=tuple(replace(one, option_values=values) for one, values in pairs))
    beside(pair, before, "XXL")
    pair.log.clear()
    result = pair.write(before, after)
    assert (result.outcome, result.code, pair.calls()) == ("unsent", "CHANGED", [])
    assert [variant.code for variant in pair.read(before.ref).variants] == ["SHIRT-M", "SHIRT-L", "SHIRT-XXL"]
    pair.shop.control("deletion", sku="SHIRT-XXL")
    assert pair.write(before, after).outcome == "confirmed"
    assert [one.option_values for one in pair.read(before.ref).variants] == [values for _, values in pairs]


def test_an_objection_to_a_new_variant_names_it(pair: Pair) -> None:
    before = pair.read(pair.put(**sized("M", "L")))
    wrong = ShownVariant("", "SHIRT-S", ("S",), price_minor=-1)
    result = pair.write(before, replace(before, variants=(*before.variants, wrong)))
    assert [(one.code, one.field) for one in result.problems] == [("SHIRT-S", "price_minor")]
    # Somebody has made one of that value meanwhile.
    beside(pair, before, "S")
    result = pair.write(before, replace(before, variants=(*before.variants, replace(wrong, price_minor=1))))
    assert (result.outcome, result.code) == ("refused", "VARIANT_ALREADY_EXISTS_CHANGE_OPTION_VALUE")


def test_pictures_are_kept_by_their_reference(pair: Pair) -> None:
    ref = pair.put(**sized("M"), files=[{"originalSource": "https://pictures.test/a.jpg", "alt": "a"}])
    before = pair.read(ref)
    images = (ShownImage("", "https://pictures.test/b.jpg", "b"), replace(before.images[0], alt="first"))
    assert pair.write(before, replace(before, images=images)).outcome == "confirmed"
    found = pair.read(ref)
    assert [image.alt for image in found.images] == ["b", "first"]
    assert found.images[1].ref == before.images[0].ref
    shown = replace(found.variants[0], image_ref=found.images[0].ref)
    assert pair.write(found, replace(found, variants=(shown,))).outcome == "confirmed"
    assert pair.read(ref).variants[0].image_ref == found.images[0].ref


def new_product(**changed: Any) -> ShownProduct:
    variants = (ShownVariant("", "MUG", price_minor=700, metafields={"details.material": ShownField("integer", 3)}),)
    fields = {"details.supplier_id": ShownField("text", "ACME-7")}
    values = {"ref": "", "handle": "mug", "title": "Mug", "currency": "GBP", "variants": variants, "metafields": fields}
    return ShownProduct(**{**values, "version_at": datetime(2026, 1, 1, tzinfo=UTC), **changed})


def test_a_new_product_is_made_and_a_taken_handle_is_refused(pair: Pair) -> None:
    made = pair.write(None, new_product())
    assert made.outcome == "confirmed"
    found = pair.read(made.ref)
    assert pair.products.find_product("mug") == found
    assert (found.title, found.variants[0].code, found.options) == ("Mug", "MUG", ())
    assert found.metafields == new_product().metafields
    assert found.variants[0].metafields == new_product().variants[0].metafields
    again = pair.write(None, new_product(title="Another mug"))
    assert (again.outcome, again.code) == ("refused", "HANDLE_NOT_UNIQUE")
    assert [(problem.code, problem.field) for problem in again.problems] == [("", "handle")]
    assert pair.read(made.ref).title == "Mug"
    assert pair.products.find_product("cup") is None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"title": ""}, ("", "title")),
        ({"variants": (ShownVariant("", "MUG", price_minor=-1),)}, ("MUG", "price_minor")),
        ({"metafields": {"details.material": ShownField("integer", "many")}}, ("", "metafields")),
        ({"options": ("A", "B", "C", "D"), "variants": (ShownVariant("", "MUG", ("1", "2", "3", "4")),)},
         ("", "options")),
        ({"images": (ShownImage("", "nowhere"),)}, ("", "images")),
    ],
)  # fmt: skip
def test_what_shopify_objects_to_is_said_of_the_field(pair: Pair, change: Any, place: tuple[str, str]) -> None:
    result = pair.write(None, new_product(**change))
    assert result.outcome == "refused"
    assert [(problem.code, problem.field) for problem in result.problems] == [place]
    assert result.problems[0].sentence


def test_objections_to_single_values_name_the_variant(pair: Pair) -> None:
    ref = pair.put(**sized("M", "L"))
    before = pair.read(ref)
    wrong = replace(before.variants[1], compare_at_minor=-5)
    result = pair.write(before, replace(before, variants=(before.variants[0], wrong)))
    assert [(one.code, one.field) for one in result.problems] == [("SHIRT-L", "compare_at_minor")]
    odd = replace(before.variants[1], metafields={"details.material": ShownField("date", "today")})
    result = pair.write(before, replace(before, variants=(before.variants[0], odd)))
    assert [(one.code, one.field) for one in result.problems] == [("SHIRT-L", "metafields.details.material")]
    gone = replace(before.variants[1], ref="7", price_minor=5)
    known = replace(before, variants=(before.variants[0], replace(gone, price_minor=4)))
    result = pair.write(known, replace(known, variants=(before.variants[0], gone)))
    assert (result.outcome, result.code) == ("refused", "PRODUCT_VARIANT_DOES_NOT_EXIST")


def test_more_than_one_call_takes_is_said_before_anything_is_sent(pair: Pair) -> None:
    variants = tuple(ShownVariant("", f"M{n}", (str(n),), price_minor=1) for n in range(251))
    result = pair.write(None, new_product(options=("N",), variants=variants))
    assert (result.outcome, result.code) == ("refused", "TOO_LARGE")
    assert pair.calls() == []


def test_a_lost_reply_is_unknown_and_nothing_is_sent_twice(pair: Pair) -> None:
    ref = pair.put(**sized("M"))
    before = pair.read(ref)
    pair.world.faults(kind="lost_reply", match="SetProduct", count=1)
    result = pair.write(before, replace(before, title="Linen shirt"))
    assert result.outcome == "unknown"
    assert pair.calls() == ["set_product"]
    assert pair.read(ref).title == "Linen shirt"


def test_what_is_held_back_is_unsent_and_what_is_stopped_halfway_partly_done(pair: Pair) -> None:
    ref = pair.put(**sized("M"))
    before = pair.read(ref)
    cheap = replace(before, title="Linen shirt", variants=(replace(before.variants[0], price_minor=1),))
    pair.held = "somebody stopped it"
    assert pair.write(before, cheap).outcome == "unsent"
    pair.held = None
    pair.world.faults(kind="throttled", match="ChangeVariants", count=50)
    result = pair.write(before, cheap)
    assert (result.outcome, result.code) == ("partly", "THROTTLED")
    assert (pair.read(ref).title, pair.read(ref).variants[0].price_minor) == ("Linen shirt", 2500)


@pytest.mark.parametrize(
    ("field", "type_", "text"),
    [
        (ShownField("text", "ACME"), "single_line_text_field", "ACME"),
        (ShownField("multiline", "a\nb"), "multi_line_text_field", "a\nb"),
        (ShownField("integer", -3), "number_integer", "-3"),
        (ShownField("decimal", "12.50"), "number_decimal", "12.50"),
        (ShownField("boolean", False), "boolean", "false"),
        (ShownField("date", "2026-11-27"), "date", "2026-11-27"),
        (ShownField("money", {"amount_minor": 1250, "currency": "GBP"}), "money",
         '{"amount":"12.50","currency_code":"GBP"}'),
        (ShownField("url", "https://a.test/"), "url", "https://a.test/"),
        (ShownField("colour", "#1B4D3E"), "color", "#1B4D3E"),
        (ShownField("list", ["a", "b"]), "list.single_line_text_field", '["a","b"]'),
        (ShownField("json", {"b": [1], "a": None}), "json", '{"a":null,"b":[1]}'),
    ],
)  # fmt: skip
def test_every_type_of_metafield_goes_there_and_comes_back(
    pair: Pair, field: ShownField, type_: str, text: str
) -> None:
    assert product_metafields.written(field) == (type_, text)
    assert product_metafields.read(type_, text) == field
    made = pair.write(None, new_product(metafields={"details.material": field}))
    assert pair.read(made.ref).metafields == {"details.material": field}


@pytest.mark.parametrize(
    ("type_", "text"), [("product_reference", "gid://shopify/Product/1"), ("money", "12"), ("number_integer", "x")]
)
def test_a_metafield_that_is_none_of_ours_is_left_out(type_: str, text: str) -> None:
    assert product_metafields.read(type_, text) is None


def test_a_right_that_is_missing_is_no_products_fault(pair: Pair) -> None:
    before = pair.read(pair.put(**sized("M")))
    pair.shop.control("app", scopes=["read_products"])
    result = pair.write(before, replace(before, title="Linen shirt"))
    assert (result.outcome, result.code, result.holds_all) == ("unsent", "UNAUTHORISED", True)
    assert pair.read(before.ref).title == "Shirt"
