"""The tree of categories with its products; one of them renamed, moved, merged into another or removed."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import streamlit as st

from core.catalog.categories.queries import Category, Page
from core.catalog.products.queries import COUNTED_MAX
from dashboard import catalogue_queries, category_dialogs, components, formats, people

NONE = "none"


def leave_page() -> None:
    """Another search begins on the first page again."""
    st.query_params.pop("after", None)


def clear() -> None:
    """Show the whole tree."""
    leave_page()
    st.session_state["q"] = ""
    for name in ("category", "under"):
        st.query_params.pop(name, None)


def go_on(path: str) -> Callable[[], None]:
    """A callback that goes to the page after a category."""

    def go() -> None:
        st.query_params["after"] = path

    return go


def draw_chosen(viewer: people.Viewer, number: int) -> None:
    """The category that the address names, with what can be done to it."""
    found = catalogue_queries.category(viewer.shop.id, viewer.person.scope, number)
    if found is None:
        components.empty("There is no such category", "It was removed, or merged into another one.")
        return
    with components.card("busy", f"category-{found.id}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"**{formats.plain(found.path)}**")
            components.html(f'<div class="sy-row">{_counts(viewer, found)}</div>')
        with st.container(width="content", horizontal=True, key="acts-category"):
            if st.button("Rename or move…", key="move-category", icon=":material/edit:"):
                category_dialogs.open_move(viewer, found)
            if st.button("Add below…", key="add-below", icon=":material/add:"):
                category_dialogs.open_create(viewer, found)
            if st.button("Merge…", key="merge-category", icon=":material/merge:"):
                category_dialogs.open_merge(viewer, found)
            if st.button("Remove…", key="remove-category", icon=":material/delete:"):
                category_dialogs.open_remove(viewer, found)


def _counts(viewer: people.Viewer, found: Category) -> str:
    words = formats.plural(found.products_below, "product")
    parts = [components.link("products", f"{words} here and below", viewer.where(category=str(found.id)))]
    parts.append(f"{formats.count(found.products)} directly in it")
    parts.append(escape(formats.plural(found.below, "category below it", "categories below it")))
    return "".join(f"<span>{part}</span>" for part in parts)


def draw_tree(viewer: people.Viewer, found: Page, *, is_search: bool, top: int) -> None:
    """Categories, each indented below its parent; its name chooses it."""
    body = [
        (
            _name(viewer, row, is_search=is_search, top=top),
            components.number(row.products),
            _products(viewer, row),
            _below(viewer, row, found.is_whole),
        )
        for row in found.rows
    ]
    heads = [("Category", False), ("Products directly", True), ("Products with those below", True)]
    heads.append(("Categories below", True))
    components.table(heads, body, f"{len(found.rows)} categories with their products")


def _name(viewer: people.Viewer, row: Category, *, is_search: bool, top: int) -> str:
    where = viewer.where(category=str(row.id))
    if is_search:
        above = row.path.rpartition(" > ")[0]
        return f"<b>{components.link('categories', row.name, where)}</b>" + (
            f'<br><span class="sy-meta">{escape(above)}</span>' if above else ""
        )
    indent = (row.depth - top) * 22
    return f'<div style="padding-left:{indent}px"><b>{components.link("categories", row.name, where)}</b></div>'


def _products(viewer: people.Viewer, row: Category) -> str:
    words = formats.count(row.products_below)
    return components.link("products", words, viewer.where(category=str(row.id))) if row.products_below else words


def _below(viewer: people.Viewer, row: Category, is_whole: bool) -> str:
    if not row.below or is_whole:
        return formats.count(row.below)
    return components.link("categories", formats.count(row.below), viewer.where(under=str(row.id)))


def draw_list(viewer: people.Viewer) -> None:
    """The tree, or what was searched for in it."""
    shop, scope = viewer.shop.id, viewer.person.scope
    text = (
        st.text_input(
            "Find a category", type="search", key="q", bind="query-params", placeholder="Find a category",
            icon=":material/search:", on_change=leave_page, label_visibility="collapsed", width=280,
        )
        or ""
    ).strip()  # fmt: skip
    after = st.query_params.get("after")
    under = formats.number(st.query_params.get("under", ""))
    top = None if under is None or text else catalogue_queries.category(shop, scope, under)
    with st.skeleton(height=360):
        if text:
            found = catalogue_queries.found_categories(shop, scope, text, after)
        else:
            found = catalogue_queries.tree(shop, scope, None if top is None else top.id, after)
    if top is not None:
        _draw_crumbs(viewer, top)
    if not found.rows:
        _draw_nothing(viewer, text, top)
        return
    draw_tree(viewer, found, is_search=bool(text), top=1 if top is None else top.depth + 1)
    if not found.is_whole and not text:
        st.caption("There are many: each level has a page of its own. The number below a category leads to it.")
    if after is not None or found.more:
        beyond = go_on(found.rows[-1].path) if found.more else None
        components.pager("categories", None if after is None else leave_page, beyond, ("First page", "Next"))


def _draw_crumbs(viewer: people.Viewer, top: Category) -> None:
    paths = {path: number for number, path in catalogue_queries.paths(viewer.shop.id, viewer.person.scope).items()}
    parts = top.path.split(" > ")
    links = [components.link("categories", "All", viewer.where())]
    for depth in range(1, len(parts)):
        number = paths.get(" > ".join(parts[:depth]))
        links.append(components.link("categories", parts[depth - 1], viewer.where(under=str(number))))
    components.html(f'<nav class="sy-crumbs" aria-label="Above">{" › ".join(links)} › <b>{escape(parts[-1])}</b></nav>')


def _draw_nothing(viewer: people.Viewer, text: str, top: Category | None) -> None:
    if text:
        components.empty("No category matches", f"“{text}” is in no category's name.")
        st.button("Show all", key="show-all", on_click=clear)
    elif top is not None:
        components.empty("Nothing is below it", "Add a category below it, or move one here.")
    else:
        components.empty(
            "There are no categories yet",
            "They come with an import of products, or are made here. Products are found by them; channels get them.",
        )
        if st.button("New category…", key="first-category", icon=":material/add:", type="primary"):
            category_dialogs.open_create(viewer, None)


def draw(viewer: people.Viewer) -> None:
    """What is chosen on top, then the tree."""
    with components.panel("categories"):
        totals = catalogue_queries.totals(viewer.shop.id, viewer.person.scope)
        number = totals["categories"]
        with st.container(horizontal=True, horizontal_alignment="distribute", key="list-head"):
            with st.container(width="stretch", gap="xxsmall"):
                components.title("Categories", formats.count(number) if number else "")
                components.html(_without(viewer, totals["products_without"]))
            if number:
                with st.container(width="content"):
                    if st.button("New category…", key="new-category", icon=":material/add:"):
                        category_dialogs.open_create(viewer, None)
        chosen = formats.number(st.query_params.get("category", ""))
        if st.query_params.get("category"):
            draw_chosen(viewer, chosen or 0)
        draw_list(viewer)


def _without(viewer: people.Viewer, count: int) -> str:
    if not count:
        return '<div class="sy-muted">Where products are found, and what channels sort them by.</div>'
    many = (
        f"More than {formats.count(COUNTED_MAX)} products" if count > COUNTED_MAX else formats.plural(count, "product")
    )
    verb = "is" if count == 1 else "are"
    link = components.link("products", f"{many} {verb} in no category", viewer.where(category=NONE))
    return f'<div class="sy-muted">{link}.</div>'


draw(people.viewer())
