"""What a target is told of a product, and what its answers mean."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from core.adapters.klaviyo.bodies import compound, entry_body
from core.adapters.klaviyo.operations import OPERATIONS, Operation
from core.catalog.products.documents import ProductDocument, VariantDocument
from core.catalogue_target import KINDS, ItemContent, Kind, TargetEntry, TargetFault, TargetJob, VariantContent
from core.targets import rules
from core.targets.rules import TargetSettings

SETTINGS = TargetSettings("GBP", "https://shop.test", is_hidden_without_stock=True, mark="0a1b2c3d")
MUG = ProductDocument(
    "blue mug/1",
    "Mug",
    (
        VariantDocument("MUG-S", "GBP", ("S",), price_minor=450),
        VariantDocument("MUG-L", "GBP", ("L",), price_minor=400),
    ),
    "<p>Holds&nbsp;<b>tea</b></p><script>x()</script><ul><li>one</li><li>two</li></ul>",
    options=("Size",),
    metafields={"details.colours": ["red", "blue"], "inventory.cost": {"amount_minor": 1250, "currency": "GBP"}},
)


def told_item(document: ProductDocument) -> ItemContent:
    content = rules.item(document, ("7",), SETTINGS).content
    assert isinstance(content, ItemContent)
    return content


def test_an_items_price_is_the_lowest_and_its_text_is_plain() -> None:
    item = told_item(MUG)
    assert item.price == Decimal("4.00")
    assert item.description == "Holds tea\none\ntwo"
    assert item.url == "https://shop.test/products/blue%20mug%2F1"
    assert item.metadata == {"details.colours": "red, blue", "inventory.cost": "12.50 GBP", "switchyard": "0a1b2c3d"}
    assert item.categories == ("7",)


def test_a_price_is_a_number_and_a_create_has_the_bare_id_an_update_the_compound_one() -> None:
    content = rules.variant(MUG, MUG.variants[0], 5, 3, SETTINGS).content
    assert isinstance(content, VariantContent)
    made = entry_body("variant", "create", TargetEntry("9", content))
    assert made["attributes"]["external_id"] == "9"
    assert made["attributes"]["price"] == 4.5
    assert made["relationships"]["item"]["data"]["id"] == compound("sw-0a1b2c3d-i5")
    assert made["attributes"]["inventory_policy"] == 1
    changed = entry_body("variant", "update", TargetEntry("9", content))
    assert changed["id"] == "$custom:::$default:::9"
    assert "external_id" not in changed["attributes"]
    assert "relationships" not in changed


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_of_ours_is_known_by_its_form_and_by_no_other(kind: Kind) -> None:
    name = rules.external_id("0a1b2c3d", kind, 42)
    assert re.fullmatch(r"[A-Za-z0-9-]{1,64}", name)
    assert rules.entity_of("0a1b2c3d", kind, name) == 42
    others = [rules.external_id("ffffffff", kind, 42), "42", f"{name}x", f"x{name}", name.replace("42", "042"), ""]
    others += [rules.external_id("0a1b2c3d", one, 42) for one in KINDS if one != kind]
    assert {rules.entity_of("0a1b2c3d", kind, one) for one in others} == {None}


def test_ids_are_escaped_in_paths() -> None:
    operation = OPERATIONS["get_bulk_create_variants_job"]
    assert isinstance(operation, Operation)
    assert operation.at(compound("4/2")).endswith("/%24custom%3A%3A%3A%24default%3A%3A%3A4%2F2")


def test_the_same_content_has_the_same_hash_whatever_the_scale_of_its_price() -> None:
    item = told_item(MUG)
    assert rules.hash_of(item) == rules.hash_of(replace(item, price=Decimal("4")))
    assert rules.hash_of(item) != rules.hash_of(replace(item, price=Decimal("4.01")))


@pytest.mark.parametrize(
    ("document", "settings", "code"),
    [
        (MUG, replace(SETTINGS, storefront_url=None), "no_url"),
        (replace(MUG, variants=(replace(MUG.variants[0], price_minor=None),)), SETTINGS, "no_price"),
        (replace(MUG, variants=(replace(MUG.variants[0], currency="EUR"),)), SETTINGS, "other_currency"),
        (
            replace(MUG, variants=(replace(MUG.variants[0], metafields={"a.b": "x" * 100_001}),)),
            SETTINGS,
            "metadata_too_large",
        ),
    ],
)
def test_what_cannot_be_told_says_why(document: ProductDocument, settings: TargetSettings, code: str) -> None:
    wanted = rules.variant(document, document.variants[0], 1, 0, settings)
    assert wanted.content is None
    assert wanted.problem is not None
    assert wanted.problem[0] == code


def job(*faults: TargetFault, failed: int | None = None, completed: int = 3, state: str = "complete") -> TargetJob:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    count = len(faults) if failed is None else failed
    return TargetJob("r", state, 3, completed, count, now, None, faults)  # type: ignore[arg-type]


def test_a_complete_job_with_all_named_faults_confirms_the_rest() -> None:
    told = rules.outcomes("create", 3, job(TargetFault(1, "/attributes/title", "invalid", "no"), completed=2))
    assert [(one.outcome, one.next) for one in told] == [("ok", "confirmed"), ("failed", "failed"), ("ok", "confirmed")]


def test_a_job_that_failed_more_than_it_names_leaves_the_rest_in_doubt() -> None:
    told = rules.outcomes("update", 3, job(TargetFault(0, "/attributes/title", "invalid", "no"), failed=2, completed=1))
    assert [(one.outcome, one.next) for one in told] == [
        ("failed", "failed"),
        ("unknown", "check"),
        ("unknown", "check"),
    ]


def test_a_fault_that_names_no_entry_is_said_of_each() -> None:
    told = rules.outcomes("create", 3, job(TargetFault(None, "", "too_fast", "Come later"), failed=3, completed=0))
    assert {(one.outcome, one.next, one.code, one.detail) for one in told} == {
        ("unknown", "check", "too_fast", "Come later")
    }


def test_a_cancelled_job_leaves_all_of_it_in_doubt_and_a_delete_is_proven_by_reading() -> None:
    assert {one.next for one in rules.outcomes("create", 3, job(state="cancelled", completed=1))} == {"check"}
    assert {(one.outcome, one.next) for one in rules.outcomes("delete", 3, job())} == {("ok", "check")}


@pytest.mark.parametrize(
    ("verb", "field", "following", "doubted"),
    [
        ("create", "/attributes/external_id", "check", None),
        ("update", "/id", "create", None),
        ("delete", "/id", "check", None),
        ("create", "/relationships/item/data/id", "failed", "item"),
        ("update", "/relationships/categories/data/1/id", "failed", "category"),
        ("create", "/attributes/price", "failed", None),
    ],
)
def test_a_fault_is_read_by_its_place(verb: str, field: str, following: str, doubted: str | None) -> None:
    told = rules.of_fault(verb, 0, TargetFault(0, field, "whatever", "words"))  # type: ignore[arg-type]
    assert (told.next, told.doubted, told.code) == (following, doubted, "whatever")


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda one: one.name)
def test_a_bucket_fits_into_the_windows_wherever_they_begin(operation: Operation) -> None:
    tier = operation.tier
    for steady in (tier.steady, 750.0 if tier.steady == 700 else tier.steady):
        assert tier.at_once + 60 * tier.rate(steady) <= steady
        assert tier.at_once + tier.rate(steady) <= tier.burst + 1.3
