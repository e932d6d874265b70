"""Pure rules: what a target is told of a product, and what the answers to a job mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any, Literal
from urllib.parse import quote

import orjson

from core.catalog.products.documents import ProductDocument, VariantDocument, digest_of, title_of
from core.catalogue_target import (
    CategoryContent,
    Content,
    ItemContent,
    Kind,
    TargetFault,
    TargetJob,
    VariantContent,
    Verb,
)
from core.money import to_major

FORMAT = 2
"""Part of every hash: raised when the same content is to be told in other words, so that all of it is told again."""
DESCRIPTION_MAX = 20_000
METADATA_BYTES_MAX = 100_000
TRIES_MAX = 3
"""So often an entry fails, or nobody can say what became of it, before it waits for a person, or for other content."""
BACKOFF = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))
"""Of the target's time: how long an entry rests after it failed once, twice, and more often."""


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """What a connection says of how it is told. `storefront_url` is the shop's address, without a slash behind it;
    `mark` tells the shop's things from others'; `names_currency`: the currency is not only taken from the shop."""

    currency: str
    storefront_url: str | None
    is_hidden_without_stock: bool
    mark: str
    names_currency: bool = False

    @property
    def basis(self) -> str:
        """What stands for them where a hash was made of them."""
        said = [self.currency, self.storefront_url, self.is_hidden_without_stock, self.mark, self.names_currency]
        return digest_of([FORMAT, *said])


def settings_of(settings: Mapping[str, Any], currency: str, mark: str) -> TargetSettings:
    """The settings of a connection; `currency` and `mark` are its shop's."""
    address = str(settings.get("storefront_url") or "").rstrip("/")
    named = settings.get("currency")
    return TargetSettings(
        str(named or currency), address or None, bool(settings.get("hide_out_of_stock")), mark, bool(named)
    )


# --- what is ours at a target ----------------------------------------------------------------------------------------

MARK_KEY = "switchyard"
"""The metadata of an item or a variant that holds the shop's mark: what has it was told by us."""
TAKEN = "id_taken"
"""The code of an entry whose id somebody else has at the target."""
_LETTERS: Mapping[Kind, str] = {"category": "c", "item": "i", "variant": "v"}


def external_id(mark: str, kind: Kind, entity_id: int) -> str:
    """The id that a target knows a thing of ours by: letters, digits and hyphens, and the same for ever."""
    return f"sw-{mark}-{_LETTERS[kind]}{entity_id}"


def entity_of(mark: str, kind: Kind, name: str) -> int | None:
    """The category, product or SKU behind an external id; None for one that this shop never gave."""
    found = re.fullmatch(f"sw-{re.escape(mark)}-{_LETTERS[kind]}([1-9][0-9]{{0,18}})", name)
    return None if found is None else int(found[1])


def carries(mark: str, content: Content | None) -> bool:
    """Whether what stands under an id of ours was told by us. A category has no place for a mark but its id, which has
    it already."""
    if isinstance(content, (ItemContent, VariantContent)):
        return content.metadata.get(MARK_KEY) == mark
    return isinstance(content, CategoryContent)


def taken(name: str, item: str | None = None) -> str:
    """What is said of an entry whose id somebody else has; `item`: it is a variant of that one, which is not ours."""
    where = (
        "that was not told by this shop" if item is None else f"that belongs to {item}, which this shop did not tell"
    )
    return f"The account has something under the id {name} {where}. It is left as it is: delete it there, then requeue"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an id is to show, or why it cannot be told: (code, words). `stays`: a setting of the connection may be what
    is missing, so what was told before is left as it is."""

    content: Content | None
    problem: tuple[str, str] | None = None
    stays: bool = False


def item(
    document: ProductDocument, categories: Sequence[str], settings: TargetSettings, google: str | None = None
) -> Wanted:
    """What is told of a product. Its price is the lowest that a variant has in the connection's currency.

    `categories` are the target's ids of its categories; `google` is what Google calls its main one.
    """
    url = address_of(document, settings)
    if url is None:
        return _no_address(document)
    prices = [
        to_major(variant.price_minor, variant.currency)
        for variant in document.variants
        if variant.price_minor is not None and variant.currency == settings.currency
    ]
    facts = {
        "vendor": document.vendor,
        "product_type": document.product_type,
        "tags": list(document.tags),
        "google_product_category": google,
    }
    return _checked(
        ItemContent(
            title=document.title,
            description=described(document),
            url=url,
            price=min(prices, default=None),
            images=tuple(image.url for image in document.images),
            is_published=document.status == "active",
            metadata=_marked(settings, {**facts, **document.metafields}),
            categories=tuple(categories),
        )
    )


def variant(
    document: ProductDocument, variant: VariantDocument, product_id: int, units: int, settings: TargetSettings
) -> Wanted:
    """What is told of one of a product's variants; one without stock by nature is never hidden for want of it."""
    url = address_of(document, settings)
    if url is None:
        return _no_address(document)
    if variant.price_minor is None:
        return Wanted(
            None, ("no_price", f"{variant.code} has no price, and a variant is not told without one: price it")
        )
    if variant.currency != settings.currency:
        return _other_currency(variant, settings)
    options = dict(zip(document.options, variant.option_values, strict=False))
    before = variant.compare_at_minor
    facts = {
        **options,
        "barcode": variant.barcode,
        "compare_at_price": None if before is None else float(to_major(before, variant.currency)),
    }
    pictures = (variant.image_url,) if variant.image_url else tuple(image.url for image in document.images[:1])
    return _checked(
        VariantContent(
            title=title_of(document, variant),
            description=described(document),
            url=url,
            sku=variant.code,
            units=units,
            is_hidden_without_stock=settings.is_hidden_without_stock and variant.is_stocked,
            price=to_major(variant.price_minor, variant.currency),
            images=pictures,
            is_published=document.status == "active",
            metadata=_marked(settings, {**facts, **variant.metafields}),
            item=external_id(settings.mark, "item", product_id),
        )
    )


def address_of(document: ProductDocument, settings: TargetSettings) -> str | None:
    """The product's page: its own, or made of the shop's address and the handle; None where there is neither."""
    if document.url:
        return document.url
    if settings.storefront_url is None:
        return None
    return f"{settings.storefront_url}/products/{quote(document.handle, safe='')}"


def _no_address(document: ProductDocument) -> Wanted:
    words = f"{document.title} has no address of its own, and the connection names no shop to make one of"
    advice = "give the product an address, or the connection its setting storefront_url"
    return Wanted(None, ("no_url", f"{words}: {advice}"), stays=True)


def _other_currency(variant: VariantDocument, settings: TargetSettings) -> Wanted:
    """Where the connection does not say what it takes, that may be all that is wrong."""
    words = f"{variant.code} is priced in {variant.currency}, and the connection takes {settings.currency}"
    advice = f"price it in {settings.currency}"
    if not settings.names_currency:
        words, advice = f"{words}, as the shop does", f"{advice}, or give the connection its setting currency"
    return Wanted(None, ("other_currency", f"{words}: {advice}"), stays=not settings.names_currency)


def _marked(settings: TargetSettings, facts: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    return {**flat(facts), MARK_KEY: settings.mark}


def _checked(content: ItemContent | VariantContent) -> Wanted:
    size = len(orjson.dumps(dict(content.metadata)))
    if size <= METADATA_BYTES_MAX:
        return Wanted(content)
    words = f"its metafields come to {size:,} bytes, and {METADATA_BYTES_MAX:,} are taken: shorten them"
    return Wanted(None, ("metadata_too_large", words))


def described(document: ProductDocument) -> str:
    """The description as plain text; the title where there is none, since something has to stand there."""
    return plain(document.description)[:DESCRIPTION_MAX] or document.title


_BLOCKS = frozenset({"p", "div", "br", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "h5", "h6", "section"})
_UNSEEN = frozenset({"script", "style", "template", "head"})


class _Text(HTMLParser):
    """Collects what a reader sees."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)


def plain(html: str) -> str:
    """The text of some HTML, a line for each block; text without any is left as it is but for spaces."""
    if "<" not in html and "&" not in html:
        text = html
    else:
        reader = _Text()
        reader.feed(html)
        reader.close()
        text = "".join(reader.parts)
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.replace("\x00", "").splitlines())
    return "\n".join(line for line in lines if line)


def flat(facts: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Facts of any form as single values: lists as text with commas, money as an amount with its currency, the rest
    that is nested as JSON. What says nothing is left out."""
    found = {}
    for name, value in facts.items():
        one = _single(value)
        if one is not None and one != "":
            found[str(name)] = one
    return found


def _single(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping) and value.keys() == {"amount_minor", "currency"}:
        return f"{to_major(value['amount_minor'], value['currency'])} {value['currency']}"
    if isinstance(value, (list, tuple)) and all(isinstance(one, (str, int, float)) for one in value):
        return ", ".join(str(one) for one in value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def hash_of(content: Content) -> str:
    """Stands for a content; the same one has the same, whatever the scale of its price."""
    return digest_of([FORMAT, type(content).__name__, asdict(content, dict_factory=_plain)])


def _plain(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {
        name: str(value.normalize()) if isinstance(value, Decimal) else dict(value) if name == "metadata" else value
        for name, value in pairs
    }


def shows(wanted: Content, held: Content | None) -> bool:
    """Whether what a target holds is what it should show, as far as can be read: links cannot."""
    if isinstance(wanted, ItemContent):
        wanted = replace(wanted, categories=())
    elif isinstance(wanted, VariantContent):
        wanted = replace(wanted, item="")
    return wanted == held


# --- what the answers to a job mean ----------------------------------------------------------------------------------

Next = Literal["confirmed", "check", "create", "failed"]
"""What an entry is from then on: as it was sent; to be read back; to be made; to be sent again later."""


@dataclass(frozen=True, slots=True)
class EntryOutcome:
    """What became of the entry at `position`. `doubted` is what it is linked with and the target does not know."""

    position: int
    outcome: Literal["ok", "failed", "unknown"]
    next: Next
    code: str | None = None
    field: str | None = None
    detail: str | None = None
    doubted: Literal["item", "category"] | None = None
    doubted_place: int = 0


_ITS_ID = frozenset({"/attributes/external_id", "/id"})
_LINK = re.compile(r"/relationships/(item|categories)/data(?:/(\d+))?(?:/id)?")
_CONFLICTS = frozenset({"conflict", "duplicate", "duplicate_id", "already_exists"})
_MISSING = frozenset({"not_found", "does_not_exist"})


def outcomes(verb: Verb, entries: int, told: TargetJob) -> list[EntryOutcome]:
    """Every entry's outcome, by position.

    That a job is complete says nothing of its entries. Where its counts do not add up to what was sent, or it failed
    more than it names, nobody can say which of the others were done: they are unknown, and read back. A fault that
    names none of them may be of any: it is what is said of each.
    """
    named: dict[int, TargetFault] = {}
    nobodys: TargetFault | None = None
    for fault in told.faults:
        if fault.position is not None and fault.position < entries:
            named.setdefault(fault.position, fault)
        else:
            nobodys = nobodys or fault
    # Some count what failed among what is completed.
    done = told.completed if told.completed >= entries else told.completed + told.failed
    is_told = told.state == "complete" and told.failed == len(named) and done >= entries
    return [
        of_fault(verb, place, named[place]) if place in named else _of_rest(verb, place, nobodys, is_told=is_told)
        for place in range(entries)
    ]


def _of_rest(verb: Verb, position: int, nobodys: TargetFault | None, *, is_told: bool) -> EntryOutcome:
    if not is_told:
        code, detail = (nobodys.code, nobodys.detail) if nobodys is not None else ("", "")
        return unknown(position, code or "UNCLEAR", detail or "the target does not tell what became of it")
    # That something is gone is proven by reading it, and by nothing else.
    return EntryOutcome(position, "ok", "check" if verb == "delete" else "confirmed")


def unknown(position: int, code: str, detail: str) -> EntryOutcome:
    """Nobody can say: the id is read back."""
    return EntryOutcome(position, "unknown", "check", code, None, detail)


def of_fault(verb: Verb, position: int, fault: TargetFault) -> EntryOutcome:
    """By where the fault is and by what was tried: the codes are published nowhere, and are kept for the log."""
    said = (fault.code, fault.field, fault.detail)
    if fault.field in _ITS_ID or (not fault.field and fault.code in _CONFLICTS | _MISSING):
        # Whose it is that has the id is read before anything is made of it.
        following: Mapping[Verb, Next] = {"create": "check", "update": "create", "delete": "check"}
        return EntryOutcome(position, "failed", following[verb], *said)
    link = _LINK.fullmatch(fault.field)
    if link is not None:
        whose: Literal["item", "category"] = "item" if link[1] == "item" else "category"
        return EntryOutcome(position, "failed", "failed", *said, whose, int(link[2] or 0))
    return EntryOutcome(position, "failed", "failed", *said)


def rest_after(failures: int, factor: float) -> timedelta:
    """How long (of our time) an entry rests that has failed so often."""
    return BACKOFF[min(failures, len(BACKOFF)) - 1] / factor


def rests(factor: float) -> list[timedelta]:
    """The same after one failure, two, and so on; after more than that it is the last."""
    return [rest_after(times, factor) for times in range(1, len(BACKOFF) + 1)]


def first_look(kind: Kind, factor: float) -> timedelta:
    """When (of our time) a job is first looked at after it was handed in."""
    return timedelta(seconds=2) / factor


def next_look(age: timedelta, factor: float) -> timedelta:
    """When a job that has not ended is looked at again: after a quarter of its age, half a second to a minute."""
    return min(max(age / 4, timedelta(seconds=0.5) / factor), timedelta(minutes=1) / factor)
