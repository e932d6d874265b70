"""Map, leave out, end, take back, accept many: what each comes to, why, and then the act."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.catalog.taxonomies.loading import Loaded
from core.catalog.taxonomies.queries import Mapped, Pick, token_of
from core.catalog.taxonomies.rules import Entry, Suggestion, Target
from core.errors import SwitchyardError
from dashboard import category_mapping_actions as actions
from dashboard import category_mapping_queries, category_mapping_words, components, formats, people, previews

_SHOWN = 12
_BELOW = "Categories below it that have no answer of their own are the same."


def accept(viewer: people.Viewer, target: Target, one: Mapped, suggestion: Suggestion) -> None:
    """Accept a suggestion at once: its reasons are the reason, and the toast says how it is taken back."""
    try:
        actor = Actor(viewer.person.name, category_mapping_words.why(suggestion))
        actions.accept_one(viewer.shop.id, target, one.category_id, suggestion, actor)
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "accept")
        return
    components.say_later(
        f"{formats.plain(one.category)} is {formats.plain(suggestion.path)}. Its page, under History, takes it back."
    )
    st.rerun()


def _ask(
    title: str, icon: str, about: str, lines: Sequence[str], verb: str, hint: str, do: Callable[[Actor], str]
) -> None:
    previews.ask(previews.Preview(title, icon, about, [], lines, None, verb, hint, do))


def _about(one: Mapped) -> str:
    return f"**{formats.plain(one.category)}**, {formats.plural(one.products, 'product')}"


def map_to(viewer: people.Viewer, target: Target, who: str, one: Mapped, entry: Entry) -> None:
    """Ask whether a category is an entry."""

    def do(actor: Actor) -> str:
        actions.map_to(viewer.shop.id, target, one.category_id, entry.ref, actor)
        return f"{formats.plain(one.category)} is {formats.plain(entry.path)} at {formats.plain(who)}."

    lines = [f"At {formats.plain(who)} it becomes **{formats.plain(entry.path)}**.", _BELOW]
    if one.state == "mapped":
        lines.insert(1, f"So far it is {formats.plain(one.path)}; that answer is ended and kept.")
    _ask("Map it to that?", ":material/link:", _about(one), lines, "Map it", "Looked at the goods", do)


def leave_out(viewer: people.Viewer, target: Target, who: str, one: Mapped) -> None:
    """Ask whether nothing is to be told of a category."""

    def do(actor: Actor) -> str:
        actions.leave_out(viewer.shop.id, target, one.category_id, actor)
        return f"{formats.plain(one.category)} is left out at {formats.plain(who)}."

    lines = [f"Its products go to {formats.plain(who)} without a category.", _BELOW]
    _ask("Leave it out?", ":material/block:", _about(one), lines, "Leave it out", "Nothing there is like it", do)


def keep_own(viewer: people.Viewer, target: Target, who: str, one: Mapped) -> None:
    """Ask whether a category becomes one of its own at Klaviyo."""

    def do(actor: Actor) -> str:
        actions.keep_own(viewer.shop.id, target, one.category_id, actor)
        return f"{formats.plain(one.category)} is a category of its own at {formats.plain(who)}."

    lines = [f"It becomes a category of its own at {formats.plain(who)}, whatever those above it are.", _BELOW]
    _ask("Keep it as its own?", ":material/label:", _about(one), lines, "Keep its own", "We write to these people", do)


def end(viewer: people.Viewer, target: Target, who: str, one: Mapped) -> None:
    """Ask whether a category's own answer is to end."""

    def do(actor: Actor) -> str:
        actions.end(viewer.shop.id, target, one.category_id, actor)
        return f"{formats.plain(one.category)} has no answer of its own any more."

    lines = [
        "It is then what the nearest category above it is that has an answer.",
        "The answer is kept in its history.",
    ]
    _ask("End its answer?", ":material/link_off:", _about(one), lines, "End it", "It is like those above it", do)


def undo(viewer: people.Viewer, target: Target, one: Mapped) -> None:
    """Ask whether what was last done to a category's answer is to be taken back."""

    def do(actor: Actor) -> str:
        actions.undo(viewer.shop.id, target, one.category_id, actor)
        return f"{formats.plain(one.category)} is as it was before."

    lines = ["It is as it was before its last answer, or the end of it.", "Done twice, it is as it is now."]
    _ask("Take the last answer back?", ":material/undo:", _about(one), lines, "Take it back", "A slip", do)


def undo_batch(viewer: people.Viewer, target: Target, batch_id: int, standing: int) -> None:
    """Ask whether what one act accepted is to be taken back."""

    def do(actor: Actor) -> str:
        ended = actions.undo_batch(viewer.shop.id, target, batch_id, actor)
        return f"{formats.plural(ended, 'suggestion')} taken back."

    lines = [
        f"{formats.plural(standing, 'category', 'categories')} are as they were before it.",
        "What was answered since stays.",
    ]
    _ask("Take them all back?", ":material/undo:", f"Act {batch_id}", lines, "Take back", "Too many were wrong", do)


def take_load_back(viewer: people.Viewer, target: Target, who: str, now: str, before: str) -> None:
    """Ask whether the taxonomy from before is to count again."""

    def do(actor: Actor) -> str:
        return loaded(actions.take_load_back(viewer.shop.id, target, actor), "counts again")

    lines = [f"Version {formats.plain(before)} counts again in its place.", "No answer is lost.",
             "Done twice, it is as it is now."]  # fmt: skip
    about = f"Version {formats.plain(now)} of {formats.plain(who)}"
    _ask("Take the load back?", ":material/undo:", about, lines, "Take it back", "The wrong file", do)


def loaded(done: Loaded, verb: str) -> str:
    """What a load came to."""
    broken = (
        f" {formats.plural(done.broken, 'answer names', 'answers name')} an entry that is gone." if done.broken else ""
    )
    entries = formats.plural(done.entries, "entry", "entries")
    return f"Version {formats.plain(done.version)} {verb}, with {entries}.{broken}"


# --- many at once -----------------------------------------------------------------------------------------------------


def accept_many(viewer: people.Viewer, target: Target, who: str, least: int, with_inherited: bool) -> None:
    """Ask whether all suggestions that are so sure are accepted; every one of them can be looked at."""
    picks = category_mapping_queries.acceptable(viewer.shop.id, target, least, with_inherited)
    token, products = token_of(picks), sum(pick.products for pick in picks)

    def do(actor: Actor) -> str:
        _, accepted = actions.accept_many(viewer.shop.id, target, least, with_inherited, token, actor)
        return f"{formats.plural(accepted, 'suggestion')} accepted. They are taken back together under History."

    if not picks:
        st.info(f"No suggestion of {least} % or more is open.", icon=":material/info:")
        return
    previews.ask(
        previews.Preview(
            f"Accept {formats.plural(len(picks), 'suggestion')}?",
            ":material/done_all:",
            f"All of {least} % or more for {formats.plain(who)}",
            [
                (formats.count(len(picks)), "category" if len(picks) == 1 else "categories"),
                (formats.count(products), "product in them" if products == 1 else "products in them"),
                (f"{min(pick.suggestion.score for pick in picks)} %", "the least sure"),
            ],
            ["They are accepted as they are shown here, or not at all.", "One act takes them all back."],
            None,
            f"Accept {formats.count(len(picks))}",
            "Looked through them",
            do,
            evidence=partial(_draw_picks, picks),
            is_large=True,
        )
    )


def _draw_picks(picks: Sequence[Pick]) -> None:
    """The least sure first: those are looked at."""
    ordered = sorted(picks, key=lambda pick: (pick.suggestion.score, pick.category))
    body = [
        (
            escape(pick.category),
            escape(pick.suggestion.path),
            f"{pick.suggestion.score} %",
            escape("; ".join(pick.suggestion.why)),
        )
        for pick in ordered
    ]
    heads = [("Category", False), ("Becomes", False), ("Sure", True), ("Why", False)]
    components.table(heads, body[:_SHOWN], "The least sure of what would be accepted")
    if len(body) > _SHOWN:
        with st.expander(f"The other {formats.count(len(body) - _SHOWN)}"):
            components.table(heads, body[_SHOWN:], "The others")
