"""What the page of products at Shopify says: whether they are in step, what a person is asked, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dashboard import formats

Row = Mapping[str, Any]


class Cause(NamedTuple):
    """In words: the heading, and the next step."""

    head: str
    step: str


CAUSES: Mapping[str, Cause] = {
    "unreadable": Cause(
        "What Shopify answers cannot be made out",
        "Nothing is written to these. Look at the product there, correct the value that is named, and try again; they"
        " go on by themselves as soon as they change there and can be read.",
    ),
    "unclear": Cause(
        "It cannot be told which products these are",
        "Products meet by the SKUs of their variants: give each variant its own SKU at Shopify, then try again.",
    ),
    "not_here": Cause(
        "They are at Shopify and not here",
        "Make them here with the same SKUs, or let the channel be master of the variants.",
    ),
    "removed": Cause(
        "They were removed here and are still at Shopify",
        "Archive or delete them there, or take the removal back.",
    ),
    "deleted": Cause(
        "They were deleted at Shopify",
        "Remove them here too; or try again, and they are made there anew, where we are master of the variants.",
    ),
    "unfit": Cause(
        "What Shopify shows cannot be read into ours",
        "Mend what is named, there or here, then try again.",
    ),
    "variants": Cause(
        "They differ in something that is not changed without a person",
        "Do what is named; variants beside ours may be deleted there with “switchyard products allow-drops”.",
    ),
    "changed_back": Cause(
        "What we set right there is changed back each time",
        "Let the channel be master of that field, or find out who changes it, then try again.",
    ),
    "refused": Cause(
        "Shopify does not accept them",
        "Mend what Shopify objects to: a product that is saved here is tried again by itself.",
    ),
    "other": Cause("They wait for a person", "Do what is named, then try again."),
}

STATES: Mapping[str, tuple[str, str]] = {
    "in_step": ("ok", "In step"),
    "differs": ("busy", "To be written"),
    "asks": ("attention", "Waits for a person"),
    "gone": ("attention", "Deleted there"),
}
"""How a product stands at a connection: look, word."""

OUTCOMES: Mapping[str, str] = {
    "confirmed": "arrived",
    "refused": "was refused",
    "partly": "arrived in part",
    "lost": "never arrived",
    "unsent": "did not leave",
}


def cause(name: str) -> Cause:
    """The words of a cause; one without words of its own is “other”."""
    return CAUSES.get(name, CAUSES["other"])


def answer(row: Row) -> tuple[str, str]:
    """The page's answer in one line, and what belongs to it."""
    total = row["in_step"] + row["differs"] + row["waiting"]
    if row["whole_read_at"] is None:
        return "Not read yet.", f"{formats.plural(total, 'product')} so far."
    if not total:
        return "No products yet.", "Nothing is there, and nothing is to be there."
    rest = f"{formats.count(row['in_step'])} of {formats.plural(total, 'product')} in step"
    if row["differs"]:
        rest += f", {formats.count(row['differs'])} to be written"
    if not row["waiting"] and row["writes_held_since"] is not None and row["differs"]:
        return "Nothing is written there now.", f"{rest}."
    if not row["waiting"]:
        return "Nothing waits for a person.", f"{rest}."
    verb = "waits" if row["waiting"] == 1 else "wait"
    return f"{formats.plural(row['waiting'], 'product')} {verb} for a person.", f"{rest}."


def nothing(row: Row) -> tuple[str, str]:
    """Where no product waits: what would be listed, and what happens meanwhile."""
    if row["whole_read_at"] is None:
        return (
            "Products are being read",
            "What cannot be decided without a person is listed here as soon as it is seen.",
        )
    return (
        "Products keep in step by themselves",
        "One is listed here, with what to do, where only a person can decide: its SKUs meet no product here or"
        " several, it was deleted at Shopify or cannot be read, Shopify does not take it, or somebody there changes a"
        " field back again and again.",
    )


def name(row: Row) -> str:
    """What a product is called: its title, or the number that it has there."""
    return row["title"] or f"Product {row['channel_ref']} there"


def sentence(text: str) -> str:
    """A problem as it stands by itself; the name of a field at its beginning keeps its letters."""
    return text[:1].upper() + text[1:]


def write(row: Row) -> str:
    """The last write of a product, as a part of a sentence; "" where there was none."""
    if row["sent_at"] is None:
        return ""
    return OUTCOMES.get(row["outcome"], "is under way")
