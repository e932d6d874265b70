"""Dialogs of the Categories page: a new one, renaming and moving, merging into another, removing."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.catalog.categories.operations import NAME_MAX
from core.catalog.categories.queries import Category
from core.errors import SwitchyardError
from dashboard import catalogue_actions, catalogue_queries, components, formats, people
from dashboard.actions import application

TOP = 0
"""The place of categories that hang below none."""


def _ask(title: str, icon: str, body: Callable[[], None]) -> None:
    components.open_dialog(st.dialog(title, width="medium", icon=icon)(body))


def _act(viewer: people.Viewer, reason: str, do: Callable[[Actor], str], leads_to: int | None = None) -> None:
    """Do it, and show the tree as it is then; what was refused is said in the dialog, and nothing typed is lost."""
    catalogue_queries.forget()
    try:
        said = do(Actor(viewer.person.name, reason))
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "category")
        return
    catalogue_queries.forget()
    if leads_to is not None:
        st.query_params.pop("category", None)
    if leads_to:
        st.query_params["category"] = str(leads_to)
    components.say_later(said)
    st.rerun()


def _place(viewer: people.Viewer, label: str, now: int, without: Category | None, *, has_top: bool) -> int:
    """A category to choose, but for one and those below it."""
    paths = catalogue_queries.paths(viewer.shop.id, viewer.person.scope)
    kept = {
        number: path
        for number, path in paths.items()
        if without is None or (path != without.path and not path.startswith(f"{without.path} > "))
    }
    options = [TOP, *kept] if has_top else list(kept)
    index = options.index(now) if now in options else None
    chosen = st.selectbox(
        label, options, index, format_func=lambda number: kept.get(number, "At the top"), key=f"category-{label}",
        placeholder="Choose a category",
    )  # fmt: skip
    return chosen or TOP


def _reason(hint: str) -> str:
    return st.text_input("Reason", required=True, placeholder=hint, key="category-reason") or ""


def open_create(viewer: people.Viewer, parent: Category | None) -> None:
    """Ask for a new category."""

    def body() -> None:
        with st.form("category", border=False):
            name = st.text_input("Name", key="category-name", max_chars=NAME_MAX, placeholder="Shirts")
            above = _place(viewer, "Below", TOP if parent is None else parent.id, None, has_top=True)
            reason = _reason("The new season")
            go = st.form_submit_button("Add the category", type="primary")
        if go:

            def do(actor: Actor) -> str:
                catalogue_actions.create_category(application(), viewer.shop.id, above or None, name or "", actor)
                return f"{(name or '').strip()} is a category now."

            _act(viewer, reason, do)

    _ask("New category", ":material/add:", body)


def open_move(viewer: people.Viewer, category: Category) -> None:
    """Ask for another name or place."""

    def body() -> None:
        moved = "All below it goes along; its products stay in it."
        st.markdown(f"**{formats.plain(category.path)}**. {moved}")
        with st.form("category", border=False):
            name = st.text_input("Name", category.name, key="category-name", max_chars=NAME_MAX)
            above = _place(viewer, "Below", category.parent_id or TOP, category, has_top=True)
            reason = _reason("A clearer name")
            go = st.form_submit_button("Rename or move it", type="primary")
        if go:

            def do(actor: Actor) -> str:
                catalogue_actions.move_category(
                    application(), viewer.shop.id, category.id, above or None, name or "", actor
                )
                return f"{category.name} is renamed or moved."

            _act(viewer, reason, do)

    _ask("Rename or move a category", ":material/edit:", body)


def open_merge(viewer: people.Viewer, category: Category) -> None:
    """Ask which category takes all that is in this one; what would happen is counted before."""

    def body() -> None:
        st.markdown(
            f"All that is in **{formats.plain(category.path)}** or below it goes into another category, and it is"
            " removed. Categories below it that have a namesake there become one with it."
        )
        into = _place(viewer, "Merge into", TOP, category, has_top=False)
        if not into:
            return
        try:
            plan = catalogue_queries.merge(viewer.shop.id, category.id, into)
        except SwitchyardError as refused:
            st.error(formats.sentence(str(refused)), icon=":material/error:")
            return
        components.figures(
            [
                (formats.count(plan.products), "product changes" if plan.products == 1 else "products change"),
                (formats.count(plan.moved), "category moves" if plan.moved == 1 else "categories move"),
                (formats.count(plan.gone), "category is gone" if plan.gone == 1 else "categories are gone"),
            ]
        )
        st.caption("Each product gets a version. Merging cannot be taken back as a whole.")
        with st.form("category", border=False):
            reason = _reason("They were the same")
            verb = f"Merge, and change {formats.plural(plan.products, 'product')}"
            go = st.form_submit_button(verb, type="primary")
        if go:

            def do(actor: Actor) -> str:
                done = catalogue_actions.merge_category(application(), viewer.shop.id, category.id, into, actor)
                return f"{category.name} is merged; {formats.plural(done.products, 'product')} changed."

            _act(viewer, reason, do, leads_to=into)

    _ask("Merge a category into another", ":material/merge:", body)


def open_remove(viewer: people.Viewer, category: Category) -> None:
    """Ask whether an empty category is to go."""

    def body() -> None:
        st.markdown(f"**{formats.plain(category.path)}** is removed; only one that nothing is in can be.")
        with st.form("category", border=False):
            reason = _reason("Not used any more")
            go = st.form_submit_button("Remove the category", type="primary")
        if go:

            def do(actor: Actor) -> str:
                catalogue_actions.remove_category(application(), viewer.shop.id, category.id, actor)
                return f"{category.name} is removed."

            _act(viewer, reason, do, leads_to=TOP)

    _ask("Remove a category?", ":material/delete:", body)
