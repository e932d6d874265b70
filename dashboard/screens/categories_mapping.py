"""What is each category at Google, Shopify and Klaviyo? What needs an answer, with suggestions; what was answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from core.catalog.taxonomies.queries import Figures, Mapped, Place, State
from core.catalog.taxonomies.rules import Target
from dashboard import (
    category_mapping_dialogs,
    category_mapping_files,
    category_mapping_page,
    category_mapping_queries,
    category_mapping_words,
    components,
    formats,
    people,
    queries,
)

Row = Mapping[str, Any]

_TO_MAP, _HISTORY, _TAXONOMY = "To map", "History", "Taxonomy"
_STATES: Mapping[str, State | None] = {
    "Broken": "broken", "Mapped": "mapped", "Inherited": "inherited", "Left out": "left_out", "All": None,
}  # fmt: skip
_PARTS = (_TO_MAP, *_STATES, _HISTORY, _TAXONOMY)
_LEAST = (95, 90, 85, 80, 75, 70)
_USUAL_LEAST = 85


def first_page() -> None:
    """What is shown changes: begin at its first page."""
    st.query_params.pop("after", None)


def turn(after: str | None) -> Callable[[], None]:
    """A callback that begins the list after a row, or at its beginning again."""

    def go() -> None:
        first_page()
        if after is not None:
            st.query_params["after"] = after

    return go


def place() -> Place | None:
    """The row that this page begins after, from the address: products~path."""
    products, mark, path = st.query_params.get("after", "").partition("~")
    number = formats.number(products)
    return (number, path) if mark and number is not None else None


# --- the top ----------------------------------------------------------------------------------------------------------


def choose_target(viewer: people.Viewer) -> tuple[Target, str]:
    """The taxonomy that the page is about, and what people call it; in the address."""
    known = category_mapping_queries.targets(viewer.shop.id, viewer.person.scope)
    names = category_mapping_queries.connections(viewer.shop.id, viewer.person.scope, "klaviyo")
    options = {category_mapping_words.address(target): category_mapping_words.name(target, names) for target in known}
    asked = category_mapping_words.target_of(st.query_params.get("target"))
    first = category_mapping_words.address(asked) if asked in known else next(iter(options))

    def follow() -> None:
        chosen = st.session_state["taxonomy-target"]
        st.query_params.from_dict(viewer.where(target=chosen))

    chosen = st.segmented_control(
        "Taxonomy", list(options), default=first, format_func=options.__getitem__, key="taxonomy-target",
        required=True, on_change=follow, label_visibility="collapsed",
    )  # fmt: skip
    target = category_mapping_words.target_of(chosen or first)
    assert target is not None, "options are addresses of taxonomies"
    return target, options[chosen or first]


def draw_accept_many(viewer: people.Viewer, target: Target, who: str) -> None:
    """All that are surely right, at once."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="accept-many"):
        least = st.selectbox(
            "Suggestions at least so sure", _LEAST, index=_LEAST.index(_USUAL_LEAST), format_func=lambda n: f"{n} %",
            key="least", width=230,
        )  # fmt: skip
        with_inherited = st.toggle("Also where one is inherited", key="with-inherited")
        if st.button("Accept all…", key="accept-all", icon=":material/done_all:"):
            category_mapping_dialogs.accept_many(viewer, target, who, least, with_inherited)


# --- the list ---------------------------------------------------------------------------------------------------------


def draw_categories(viewer: people.Viewer, target: Target, who: str, part: str, figures: Figures) -> None:
    """A page of categories, each with what it is, what it may be, and what can be done."""
    # At Klaviyo what nobody mapped becomes a category of its own.
    state: State | None = ("own" if target.kind == "klaviyo" else "unmapped") if part == _TO_MAP else _STATES[part]
    after = place()
    with components.panel("categories"):
        with st.skeleton(height=420):
            page = category_mapping_queries.page(viewer.shop.id, viewer.person.scope, target, state, after)
            taxonomy = category_mapping_queries.living(viewer.shop.id, viewer.person.scope, target)
        if not page.rows:
            _draw_none(part, who, figures)
            return
        if taxonomy is not None and state in ("unmapped", "own", "inherited"):
            draw_accept_many(viewer, target, who)
        for number, one in enumerate(page.rows):
            draw_one(viewer, target, who, one, None if taxonomy is None else taxonomy["id"], number == 0)
        if page.after is not None or after is not None:
            key = None if page.after is None else f"{page.after[0]}~{page.after[1]}"
            components.pager("categories", turn(None) if after else None, turn(key) if key else None,
                             ("Most products", "More"))  # fmt: skip


def draw_one(
    viewer: people.Viewer, target: Target, who: str, one: Mapped, taxonomy_id: int | None, is_first: bool
) -> None:
    """One category; suggestions stand below it where nobody has answered."""
    look, _ = category_mapping_words.STATES[one.state]
    with components.card(look, f"category-{one.category_id}"), st.container(width="stretch", gap="xsmall"):
        st.markdown(
            f"{category_mapping_words.badge(one)} **{formats.plain(one.category)}** "
            f":gray[{formats.plural(one.products, 'product')}]"
        )
        if one.state not in ("unmapped", "own"):
            st.markdown(category_mapping_words.standing(one, who))
        if taxonomy_id is not None and one.state in ("unmapped", "broken", "own", "inherited"):
            category_mapping_page.draw_suggestions(viewer, target, one, taxonomy_id, is_first)
        with st.container(horizontal=True, key=f"acts-{one.category_id}"):
            verb = "Choose another…" if taxonomy_id else "Open…"
            if st.button(verb, key=f"open-{one.category_id}", type="tertiary", icon=":material/search:"):
                where = viewer.where(target=category_mapping_words.address(target), category=str(one.category_id))
                st.query_params.from_dict(where)
                st.rerun()
            if one.state != "left_out" and st.button(
                "Leave out…", key=f"out-{one.category_id}", type="tertiary", icon=":material/block:"
            ):
                category_mapping_dialogs.leave_out(viewer, target, who, one)


def _draw_none(part: str, who: str, figures: Figures) -> None:
    if not figures.categories:
        components.empty("There are no categories yet", "They come with products, or are made on the page Categories.")
    elif part == _TO_MAP:
        components.empty(
            "Every category has an answer", f"Each is mapped to {who}’s taxonomy, inherits, or is left out."
        )
    elif part == "Broken":
        components.empty("Nothing is broken", f"Every answer names an entry that {who}’s taxonomy has.")
    else:
        components.empty(f"No category is under “{part}”", "The others are under All.")


# --- history ----------------------------------------------------------------------------------------------------------


def draw_history(viewer: people.Viewer, target: Target, as_of: Any) -> None:
    """What was accepted together, with the way back; then every answer, the newest first."""
    with components.panel("category-history"):
        before = formats.number(st.query_params.get("after", ""))
        with st.skeleton(height=320):
            batches, past, more = category_mapping_queries.history(viewer.shop.id, target, before)
        for row in batches if before is None else []:
            _draw_batch(viewer, target, row, as_of)
        if not past:
            components.empty("Nobody has answered yet", "Every answer is kept here, with who, when and why.")
            return
        page = category_mapping_words.address(target)

        def named(row: Row) -> str:
            where = viewer.where(target=page, category=str(row["category_id"]))
            return components.link("categories-mapping", row["category_path"], where)

        items = "".join(
            category_mapping_page.history_item(dict(row), viewer.shop.zone, as_of, named(row)) for row in past
        )
        components.html(f'<ol class="sy-timeline">{items}</ol>')
        if more or before is not None:
            components.pager("history", turn(None) if before is not None else None,
                             turn(str(past[-1]["id"])) if more else None, ("Newest", "Older"))  # fmt: skip


def _draw_batch(viewer: people.Viewer, target: Target, row: Row, as_of: Any) -> None:
    with components.card("ok" if row["standing"] else "unknown", f"batch-{row['batch_id']}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(
                f"**{formats.plural(row['accepted'], 'suggestion')} accepted together**, "
                f"{formats.count(row['standing'])} of them {'stands' if row['standing'] == 1 else 'stand'}; "
                f"the least sure had {row['least']} %."
            )
            components.html(
                f'<div class="sy-meta">{components.when(row["mapped_at"], as_of, viewer.shop.zone)} · '
                f"{escape(row['mapped_by'])}: {escape(row['reason'])}</div>"
            )
        with st.container(width="content"):
            if row["standing"] and st.button("Take back…", key=f"batch-{row['batch_id']}", icon=":material/undo:"):
                category_mapping_dialogs.undo_batch(viewer, target, row["batch_id"], row["standing"])


# --- the page ---------------------------------------------------------------------------------------------------------


def draw_list(viewer: people.Viewer, target: Target, who: str) -> None:
    """The answer, the gauges, then the part that is asked for."""
    with components.panel("category-mapping"):
        with st.skeleton(height=140):
            figures = category_mapping_queries.figures(viewer.shop.id, viewer.person.scope, target)
            taxonomy = category_mapping_queries.living(viewer.shop.id, viewer.person.scope, target)
            as_of = queries.database_time()
        answer, rest = category_mapping_words.headline(who, figures)
        components.headline(answer, rest, as_of, viewer.shop.zone)
        components.figures(category_mapping_words.gauges(target, figures))
        part = st.segmented_control(
            "Show", _PARTS, key="show", default=_TO_MAP, required=True, bind="query-params", on_change=first_page,
            label_visibility="collapsed",
        ) or _TO_MAP  # fmt: skip
        if taxonomy is None:
            _draw_not_loaded(target, who)
        if part == _TO_MAP and taxonomy is None and target.kind != "klaviyo":
            part = _TAXONOMY
        draw = {name: partial(draw_categories, viewer, target, who, name, figures) for name in _PARTS}
        draw[_HISTORY] = partial(draw_history, viewer, target, as_of)
        draw[_TAXONOMY] = partial(category_mapping_files.draw, viewer, target, who, as_of)
        components.one_of(draw, part)


def _draw_not_loaded(target: Target, who: str) -> None:
    if target.kind == "klaviyo":
        st.caption(
            "No categories of this account were read yet. Until somebody says otherwise each of ours is one of its own"
            " there."
        )
    else:
        st.caption(f"{who}’s taxonomy is not loaded yet: load its file, and suggestions come by themselves.")


def draw() -> None:
    """One category, where the address names it; else all of them."""
    viewer = people.viewer()
    with components.panel("category-target"):
        target, who = choose_target(viewer)
        category_id = formats.number(st.query_params.get("category", ""))
        components.places(
            partial(draw_list, viewer, target, who) if category_id is None else None,
            None if category_id is None else partial(category_mapping_page.draw, viewer, target, who, category_id),
        )


draw()
