"""What imports of files are called and what is said of them: states, forms, progress, effects, fates. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.importing.queries import Effect, Item, Run
from core.money import MINUS
from dashboard import formats

STEPS = ("Upload", "How it is read", "Dry run", "Apply")

_STATES = {
    "reading": ("running", "Being read"),
    "read": ("attention", "Waits for a decision"),
    "applying": ("running", "Being applied"),
    "applied": ("done", "Applied"),
    "stopped": ("attention", "Stopped"),
    "undoing": ("running", "Being taken back"),
    "undone": ("withdrawn", "Taken back"),
    "discarded": ("discarded", "Discarded"),
    "failed": ("failed", "Could not be read"),
}

FORMS = {
    "shopify": "an export of products from Shopify",
    "woocommerce": "an export of products from WooCommerce",
    "medusa": "an export of products from Medusa",
    "spree": "a file of products of Spree",
    "mapped": "a file of columns that you map",
}

FIELDS: Mapping[str, tuple[str, str]] = {
    "handle": ("Product", "what the rows of one product have in common: a handle, a parent SKU, a style number"),
    "title": ("Title", "of the product"),
    "code": ("SKU", "the code of each variant"),
    "barcode": ("Barcode", "EAN, UPC, GTIN or ISBN"),
    "price": ("Price", "what it sells for"),
    "compare_at": ("Price before", "struck out beside the price"),
    "cost": ("Cost", "what it costs you"),
    "currency": ("Currency", "of each row, where rows differ"),
    "description": ("Description", "text or HTML"),
    "vendor": ("Vendor", "brand or maker"),
    "product_type": ("Type", "one word for what it is"),
    "status": ("Status", "active, draft or archived"),
    "published": ("Published", "yes or no"),
    "tags": ("Tags", "a list in the cell"),
    "categories": ("Categories", "names from the top with > between them"),
    "images": ("Pictures", "addresses, a list in the cell"),
    "image_url": ("Picture of the variant", "an address"),
    "url": ("Address", "of its page"),
    "seo_title": ("Search title", "what search engines show"),
    "seo_description": ("Search description", "what search engines show"),
    "weight": ("Weight", "a number, with or without its unit"),
    "weight_unit": ("Unit of weight", "a column with g, kg, lb or oz"),
    "units": ("Stock", "units on hand; set only where you say so"),
    "is_tracked": ("Stock is counted", "yes or no, for new variants"),
    "requires_shipping": ("Needs shipping", "yes or no"),
    "taxable": ("Is taxed", "yes or no"),
}
"""Our fields as people know them: a name, and what belongs there."""

GROUPS: Mapping[str, Sequence[str]] = {
    "What it is": ("handle", "title", "code", "barcode"),
    "Money": ("price", "compare_at", "cost", "currency"),
    "Words": ("description", "vendor", "product_type", "tags", "categories", "status", "published"),
    "Pictures and search": ("images", "image_url", "url", "seo_title", "seo_description"),
    "Weight, stock and tax": ("weight", "weight_unit", "units", "is_tracked", "requires_shipping", "taxable"),
}

ACTIONS = {
    "create": ("ok", "New"),
    "update": ("attention", "Changed"),
    "unchanged": ("unknown", "As it is"),
    "reject": ("danger", "Rejected"),
}

_FATES = {
    "done": ("ok", "Applied", "", ""),
    "stale": (
        *("attention", "Not applied"),
        "somebody changed the product after the file was read, and that was not to be overwritten",
        "import the file again: it is then compared with the product as it is now",
    ),
    "handle_taken": (
        *("attention", "Not applied"),
        "another product has taken the handle since the file was read",
        "import the file again, or give the product another handle in it",
    ),
    "code_taken": (
        *("attention", "Not applied"),
        "a SKU of it has become a variant of another product since the file was read",
        "import the file again, or give the variant another SKU in it",
    ),
    "failed": (
        *("danger", "Not applied"),
        "it could not be written",
        "take it out of the rejected rows, correct it, and import it again",
    ),
    "unbooked": (
        *("attention", "Stock not set"),
        "the product is applied, and not all of its stock could be set",
        "count it in at the Desk",
    ),
}


def state(run: Run) -> tuple[str, str]:
    """(the state as the whole dashboard shows it, our word for it)."""
    if run.state == "applied" and run.counts["refused"]:
        return "attention", "Applied in part" if run.counts["applied"] else "Nothing applied"
    return _STATES.get(run.state, ("unknown", run.state))


def badge(run: Run) -> str:
    """As a Markdown badge."""
    return formats.badge(*state(run))


def problem(said: str | None, file_name: str) -> str:
    """Why a file as a whole cannot be read, as a sentence; a name at its beginning stays as it is written."""
    text = (said or "it is not known why").rstrip(".")
    return f"{formats.plain(text)}." if text.startswith(file_name) else formats.sentence(text)


def counts(run: Run) -> str:
    """What is in it, in a line."""
    c = run.counts
    if run.state in ("applying", "applied", "stopped", "undoing", "undone") and (c["applied"] or c["refused"]):
        parts = [f"{formats.count(c['applied'])} applied"]
        parts += [f"{formats.count(c['refused'])} not applied"] if c["refused"] else []
        parts += [f"{formats.count(c['undone'])} taken back"] if c["undone"] else []
        parts += [f"{formats.count(c['kept'])} kept"] if c["kept"] else []
        return " · ".join(parts)
    if not c["items"]:
        return "nothing read yet" if run.state == "reading" else "nothing read"
    words = {"created": "new", "updated": "changed", "unchanged": "as they are", "rejected": "rejected"}
    return " · ".join(f"{formats.count(c[name])} {word}" for name, word in words.items() if c[name])


def to_apply(run: Run) -> int:
    """How many products are, or were, to be applied; those that stay as they are count where stock is set."""
    c = run.counts
    return c["created"] + c["updated"] + (c["unchanged"] if run.settings.location_id is not None else 0)


def far(run: Run) -> tuple[int, int]:
    """(done, of how many) of what is at work; of 0 while that is not known."""
    c = run.counts
    if run.state == "reading":
        return c["rows_read"], run.rows_total or 0
    if run.state == "undoing":
        return c["undone"] + c["kept"], max(min(c["applied"], c["created"] + c["updated"]), c["undone"] + c["kept"])
    return c["applied"] + c["refused"], max(to_apply(run), c["applied"] + c["refused"])


def share(run: Run) -> float:
    """Between 0 and 1."""
    done, total = far(run)
    return min(done / total, 1.0) if total else 0.0


def progress(run: Run, seconds_left: float | None) -> str:
    """How far it is, in words."""
    done, total = far(run)
    if not total:
        return "The file is looked through from its beginning to its end; then its rows are compared."
    what = "rows compared" if run.state == "reading" else "products applied"
    what = "products taken back" if run.state == "undoing" else what
    left = f" · {formats.estimate(seconds_left)} left" if seconds_left is not None else ""
    return f"{formats.count(done)} of {formats.count(total)} {what}{left}"


def headline(run: Run) -> str:
    """The dry run's answer in one sentence."""
    c = run.counts
    if not c["items"]:
        return "The file has no product."
    parts = [f"adds {formats.plural(c['created'], 'product')}"] if c["created"] else []
    parts += [f"changes {formats.plural(c['updated'], 'product')}"] if c["updated"] else []
    if not parts:
        return "Applying this file changes no product."
    return f"Applying this file {' and '.join(parts)}."


def stock_kept(run: Run) -> str:
    """What stock an undo left as it was set, as Markdown in a line; "" where it left none."""
    if not run.stock_kept:
        return ""
    more = f" And {formats.count(len(run.stock_kept) - 1)} more at the Desk." if len(run.stock_kept) > 1 else ""
    return f"**Not all stock was taken back.** {formats.sentence(run.stock_kept[0])}{more}"


def verb(run: Run) -> str:
    """The button that applies, saying what it does."""
    c = run.counts
    parts = [f"{formats.count(c['created'])} new"] if c["created"] else []
    parts += [f"{formats.count(c['updated'])} changed"] if c["updated"] else []
    if parts:
        return f"Apply {', '.join(parts)}"
    return "Set stock"


def effects(told: Effect, place: str | None) -> list[str]:
    """What applying does besides, as Markdown; `place` is where stock is set, None where it is left alone."""
    lines = []
    if told.new_skus:
        lines.append(f"**{formats.plural(told.new_skus, 'SKU is', 'SKUs are')}** made.")
    if told.priced:
        lines.append(f"**{formats.plural(told.priced, 'price changes', 'prices change')}**.")
    if told.products_by_connection:
        named = [
            f"**{formats.plain(name)}** of {formats.plural(products, 'product')}"
            for name, products in told.products_by_connection.items()
        ]
        lines.append(f"Connections are told, as far as it is ours to decide there: {', '.join(named)}.")
    if place is None:
        lines.append("**Stock is left alone**, whatever numbers the file has.")
        return lines
    if not told.counted_skus:
        lines.append(
            f"Stock at **{formats.plain(place)}** is as the file says already, or the file says nothing of it."
        )
        return lines
    up = [f"+{formats.count(told.units_up)}"] if told.units_up else []
    down = [f"{MINUS}{formats.count(told.units_down)}"] if told.units_down else []
    moved = f"{' and '.join(up + down)} units"
    lines.append(
        f"Stock on hand at **{formats.plain(place)}** is set for **{formats.plural(told.counted_skus, 'SKU')}**: "
        f"{moved}."
    )
    if told.listings:
        lines.append(f"**{formats.plural(told.listings, 'listing shows', 'listings show')}** that stock: channels are "
                     "told of the new numbers at once.")  # fmt: skip
    else:
        lines.append("No listing shows that stock yet: no channel is told of it.")
    return lines


def fate(item: Item) -> tuple[str, str, str, str]:
    """(look, word, why, what to do) of an item once it was to be applied; why is "" where it was."""
    look, word, why, fix = _FATES.get(item.fate or "", ("unknown", "Not applied yet", "", ""))
    if item.undo_fate == "done":
        return "unknown", "Taken back", "", ""
    if item.undo_fate == "changed":
        return (
            *("attention", "Kept"),
            "the same was changed again after it was applied, and that was not to be lost",
            "take it back by hand, on the product’s own page",
        )
    if item.undo_fate == "barred":
        return (
            *("attention", "Kept"),
            f"it cannot be as it was before: {item.undo_detail}",
            "take it back by hand, on the product’s own page",
        )
    if item.detail:
        why = f"{why}: {item.detail}" if why else item.detail
    return look, word, why, fix
