"""Products at a channel: what it shows of one, what is to be written, and the protocol of channels that keep them.

Beside `core.ports`, in the same terms: vendor words end in the adapters. All instants are aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

ShownStatus = Literal["active", "draft", "archived"]


@dataclass(frozen=True, slots=True)
class ShownField:
    """A metafield: its type as `core.catalog.products.fields` names it, its value in that type's form."""

    type: str
    value: Any


@dataclass(frozen=True, slots=True)
class ShownImage:
    """A picture; `url` None while the channel still works on it."""

    ref: str
    url: str | None
    alt: str = ""


@dataclass(frozen=True, slots=True)
class ShownVariant:
    """One variant; `code` None where the channel has none. Money in minor units of the product's currency.

    Metafields are by key; those of types that are not kept here are left out, and the channel keeps them.
    """

    ref: str
    code: str | None
    option_values: tuple[str, ...] = ()
    barcode: str | None = None
    price_minor: int | None = None
    compare_at_minor: int | None = None
    cost_minor: int | None = None
    weight_grams: int | None = None
    is_stocked: bool = True
    requires_shipping: bool = True
    taxable: bool = True
    image_ref: str | None = None
    metafields: Mapping[str, ShownField] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShownProduct:
    """A product whole, with every variant, as the channel shows it at `version_at` (its own time of the last change).

    `category` is the channel's own id for what it is; no options: it has one variant. `other_media` are the channel's
    names for videos and the like, which are not kept here and must not get lost there.
    """

    ref: str
    handle: str
    title: str
    currency: str
    version_at: datetime
    variants: tuple[ShownVariant, ...]
    description: str = ""
    vendor: str | None = None
    product_type: str | None = None
    status: ShownStatus = "active"
    url: str | None = None
    tags: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    images: tuple[ShownImage, ...] = ()
    other_media: tuple[str, ...] = ()
    metafields: Mapping[str, ShownField] = field(default_factory=dict)
    seo_title: str | None = None
    seo_description: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True)
class UnreadableProduct:
    """A product of which the channel's answer cannot be made out; `why` is a part of a sentence."""

    ref: str
    why: str


@dataclass(frozen=True, slots=True)
class ProductWrite:
    """Bring a product from `before`, as it was read, to `after`; only what differs is written.

    `before` None: it is new, and found again by its handle. Variants are the same where their `ref` is, and new ones
    have "" there; those of `before` that are missing in `after` are deleted, and no others: what the channel has and
    `before` does not know of must be found by reading first. Images that the channel has keep their `ref`; new ones
    have "" and the address to fetch them from.
    """

    after: ShownProduct
    before: ShownProduct | None


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What the channel objects to: the code of the variant ("" for the product), the field as documents name it."""

    code: str
    field: str
    sentence: str


ProductOutcome = Literal["confirmed", "refused", "partly", "unsent", "unknown"]


@dataclass(frozen=True, slots=True)
class ProductResult:
    """What became of a write, which may take several calls.

    unsent: nothing of it left. partly: some calls succeeded, and the rest surely did not leave. refused: the channel
    objects to one call, of those before it nothing is said. After anything but unsent the product is to be read again.
    `holds_all`: we are not allowed to write there at all, until a person lets us.
    """

    outcome: ProductOutcome
    ref: str | None = None
    code: str | None = None
    detail: str | None = None
    problems: tuple[FieldProblem, ...] = ()
    holds_all: bool = False


@dataclass(frozen=True, slots=True)
class ProductChange:
    """A product that there is, and when it was last changed, by the channel's clock."""

    ref: str
    version_at: datetime


class ProductChannel(Protocol):
    """A channel that keeps products. Reads raise core.errors.Retryable or Permanent as those of SalesChannel do.

    `write_product` never raises for what happened outside.
    """

    products_per_read: int
    """How many are read in one call."""

    def product_changes(self, since: datetime | None) -> Iterator[Sequence[ProductChange]]:
        """Products changed at or after `since`, oldest change first, a page at a time; None: all there are."""

    def read_products(
        self, refs: Sequence[str], *, in_background: bool = False
    ) -> Sequence[ShownProduct | UnreadableProduct]:
        """Some products whole, as they are now; those that are gone are left out. In the background: nobody waits."""

    def find_product(self, handle: str) -> ShownProduct | UnreadableProduct | None:
        """The product of a handle, if there is one."""

    def writing_refused(self) -> str | None:
        """Why the channel lets us write no products at all, as far as it says so; None: it lets us."""

    def write_product(self, write: ProductWrite) -> ProductResult:
        """Write what differs."""
