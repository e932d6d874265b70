"""What a product file says of a product. ABSENT: the file has no such column; empty or None: the file clears it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal, NamedTuple


class Absent(Enum):
    """The type of ABSENT alone, so that `is ABSENT` tells a checker what is left."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = Absent.ABSENT

Status = Literal["active", "draft", "archived"]


class Metafield(NamedTuple):
    """A fact under a key of its own. `type` is "" where the file does not tell it; an empty text clears it."""

    type: str
    text: str


class ImageDraft(NamedTuple):
    """A picture by its address; `position` counts from 1. A product's pictures are in the order of their positions."""

    url: str
    alt: str | Absent
    position: int


@dataclass(frozen=True, slots=True)
class VariantDraft:
    """One thing that is sold, from the row that tells its code and price.

    `code` is None where the file has none and none may be made: then `barcode` tells which SKU it is. `barcode_from` is
    the head of its column where no other row of the file has that barcode. `option_values` go with the product's
    `options`, one for each. Money is in minor units of `currency`, weight in grams, units are those on hand.
    """

    row: int
    code: str | None
    currency: str
    option_values: tuple[str, ...] = ()
    is_code_made: bool = False
    barcode: str | Absent | None = ABSENT
    price_minor: int | Absent | None = ABSENT
    compare_at_minor: int | Absent | None = ABSENT
    cost_minor: int | Absent | None = ABSENT
    weight_grams: int | Absent | None = ABSENT
    units: int | Absent | None = ABSENT
    is_tracked: bool | Absent = ABSENT
    requires_shipping: bool | Absent = ABSENT
    taxable: bool | Absent = ABSENT
    image_url: str | Absent = ABSENT
    metafields: Mapping[str, Metafield] = field(default_factory=dict)
    barcode_from: str = ""


@dataclass(frozen=True, slots=True)
class ProductDraft:
    """A product with its variants. `row` is the first of the file that tells of it.

    `handle` is unique in the file; `handle_from` is the head of the column that it was made from where a row is a
    product of its own, "" where the file tells it or holds the product together in another way. `categories` are paths
    of names from the top. Metafields go by namespace.key.
    """

    row: int
    handle: str
    variants: tuple[VariantDraft, ...]
    title: str | Absent = ABSENT
    description: str | Absent = ABSENT
    vendor: str | Absent = ABSENT
    product_type: str | Absent = ABSENT
    status: Status | Absent = ABSENT
    tags: tuple[str, ...] | Absent = ABSENT
    options: tuple[str, ...] | Absent = ABSENT
    categories: tuple[tuple[str, ...], ...] | Absent = ABSENT
    images: tuple[ImageDraft, ...] | Absent = ABSENT
    metafields: Mapping[str, Metafield] = field(default_factory=dict)
    url: str | Absent = ABSENT
    seo_title: str | Absent = ABSENT
    seo_description: str | Absent = ABSENT
    handle_from: str = ""
