"""The Category mapping screen's facts in words; pure: no database, no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.catalog.taxonomies.queries import Figures, Mapped, State
from core.catalog.taxonomies.rules import KINDS, VENDORS, Suggestion, Target
from dashboard import formats

Row = Mapping[str, Any]

STATES: Mapping[State, tuple[str, str]] = {
    "mapped": ("ok", "Mapped"),
    "inherited": ("ok", "Inherited"),
    "left_out": ("paused", "Left out"),
    "own": ("unknown", "Its own"),
    "unmapped": ("attention", "Unmapped"),
    "broken": ("danger", "Broken"),
}
"""By state: its look, and its word."""

EXAMPLE = {
    "google": "“# Google_Product_Taxonomy_Version: …”",
    "shopify": "“# Shopify Product Taxonomy - Categories: …”",
}


def address(target: Target) -> str:
    """A taxonomy as addresses name it."""
    return target.kind if target.connection_id is None else f"{target.kind}-{target.connection_id}"


def target_of(text: str | None) -> Target | None:
    """The taxonomy that an address names; None for what is none."""
    kind, _, connection = (text or "").partition("-")
    number = formats.number(connection)
    found = next((each for each in KINDS if each == kind), None)
    if found is None or (found == "klaviyo") != (number is not None):
        return None
    return Target(found, number)


def name(target: Target, connections: Mapping[int, str]) -> str:
    """A taxonomy as people call it; Klaviyo's by its account."""
    if target.connection_id is None:
        return VENDORS[target.kind]
    return connections.get(target.connection_id, VENDORS[target.kind])


def headline(who: str, figures: Figures) -> tuple[str, str]:
    """How the categories stand with a taxonomy, and what needs somebody."""
    if not figures.categories:
        return "There are no categories yet", ""
    by_state = figures.by_state
    needing = by_state["unmapped"] + by_state["broken"]
    if not needing:
        return f"Every category is told to {who}", "or left out." if by_state["left_out"] else ""
    answer = f"{formats.in_words(needing)} of {formats.plural(figures.categories, 'category', 'categories')}"
    verb = "needs" if needing == 1 else "need"
    concerned = figures.products_concerned
    held = "no product is in one" if not concerned else f"{formats.plural(concerned, 'product')} in them"
    return f"{answer} {verb} an answer for {who};", f"{held}."


def gauges(target: Target, figures: Figures) -> list[tuple[str, str]]:
    """The figures in a row."""
    by_state = figures.by_state
    nothing = (by_state["own"], "its own there") if target.kind == "klaviyo" else (by_state["unmapped"], "unmapped")
    shown = [
        (by_state["mapped"], "mapped"),
        (by_state["inherited"], "inherited"),
        nothing,
        (by_state["broken"], "broken"),
        (by_state["left_out"], "left out"),
        (figures.products_concerned, "product concerned" if figures.products_concerned == 1 else "products concerned"),
    ]
    return [(formats.count(number), word) for number, word in shown]


def badge(one: Mapped) -> str:
    """A category's state as a Markdown badge."""
    look, word = STATES[one.state]
    return formats.badge(look, word)


def standing(one: Mapped, who: str) -> str:
    """What a category is there, as a Markdown sentence."""
    entry = f"**{formats.plain(one.path)}**"
    above = f" It has that from **{formats.plain(one.of)}**." if one.is_inherited else ""
    if one.state in ("mapped", "inherited"):
        return f"At {formats.plain(who)} it is {entry}.{above}"
    if one.state == "broken":
        return f"It was {entry}, which {formats.plain(who)}’s taxonomy does not have any more.{above}"
    if one.state == "left_out":
        return f"It is left out: nothing is told to {formats.plain(who)} for it.{above}"
    if one.state == "own":
        return f"It becomes a category of its own at {formats.plain(who)}.{above}"
    return f"Nobody has said what it is at {formats.plain(who)}, nor what anything above it is."


def why(one: Suggestion) -> str:
    """Why an entry is suggested, as a reason that is kept on record."""
    return f"suggested with {one.score} %: {'; '.join(one.why)}"


def said(row: Row) -> str:
    """What was answered."""
    if row["answer"] == "entry":
        return str(row["entry_path"])
    return "Left out" if row["answer"] == "left_out" else "One of its own"


def source(row: Row) -> str:
    """Where an answer came from."""
    if row["source"] == "person":
        return "A person"
    many = " with others" if row["batch_id"] is not None else ""
    return f"Suggestion of {row['score']} %, accepted{many}"
