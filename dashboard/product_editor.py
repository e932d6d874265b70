"""A product being edited, or a new one: the form, what is wrong with it by its field, and what saving would change.

What is typed stays while somebody else changes the product: it is saved on top of that, or it is said what collides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.audit import Actor
from core.catalog.products.documents import STATUSES, ProductDocument
from core.catalog.products.fields import Definition
from core.catalog.products.queries import Stored
from core.catalog.products.rules import Flaw, taken_back
from dashboard import (
    catalogue_actions,
    catalogue_queries,
    components,
    formats,
    people,
    previews,
    product_form,
    product_history,
    queries,
)
from dashboard import catalogue_words as words
from dashboard import product_fields as fields
from dashboard.actions import application
from dashboard.previews import Preview
from dashboard.product_form import OPTION, Typed

_DRAFT = "product-draft"
_NAMES = {
    product_form.CODE: "Code",
    product_form.PRICE: "Price",
    product_form.BEFORE: "Price before",
    product_form.BARCODE: "Barcode",
    product_form.WEIGHT: "Weight, g",
    product_form.STOCKED: "Stock is counted",
    product_form.SHIPPED: "Needs shipping",
    product_form.TAXED: "Is taxed",
    product_form.CURRENCY: "Currency",
    product_form.PICTURE: "Picture",
}


@dataclass(slots=True)
class Draft:
    """What somebody works on: the product as it was when they began (`base.version` 0: a new one), what the form began
    with, and what is wrong with it. `turn` names the widgets: with another one they begin anew from `start`."""

    base: Stored
    start: Typed
    turn: int = 0
    flaws: tuple[Flaw, ...] = ()
    clash: tuple[words.Saying, ...] = ()

    def key(self, name: str) -> str:
        return f"product-{self.base.product_id}-{self.base.version}-{self.turn}-{name}"


def draw(viewer: people.Viewer, product_id: int | None) -> None:
    """The form of a product; None: of a new one."""
    with components.panel("product-editor"):
        definitions = catalogue_queries.definitions(viewer.shop.id, viewer.person.scope)
        draft = _draft(viewer, product_id, definitions)
        if draft is None:
            leave()
            components.empty("There is no such product", "It was removed: its page has what became of it.")
            return
        is_new = not draft.base.version
        components.title("New product" if is_new else f"Edit {draft.base.document.title}")
        given = _draw_form(viewer, draft, definitions)
        # Beside the button that said so, and by each field.
        _draw_wrong(draft, definitions)
        _draw_buttons(viewer, draft, given, definitions)


def leave() -> None:
    """Back to where one came from; what was typed is gone."""
    st.session_state.pop(_DRAFT, None)
    for name in ("edit", "new"):
        st.query_params.pop(name, None)


def _draft(
    viewer: people.Viewer, product_id: int | None, definitions: Mapping[tuple[str, str], Definition]
) -> Draft | None:
    known: Draft | None = st.session_state.get(_DRAFT)
    if known is not None and known.base.product_id == (product_id or 0):
        return known
    if product_id is None:
        sku = queries.sku(viewer.shop.id, st.query_params.get("new", ""))
        stored: Stored | None = Stored(0, 0, product_form.empty(viewer.shop.currency, sku or {}))
    else:
        stored = catalogue_queries.newest(viewer.shop.id, product_id)
    if stored is None:
        return None
    st.session_state[_DRAFT] = Draft(stored, product_form.typed(stored.document, definitions))
    draft: Draft = st.session_state[_DRAFT]
    return draft


# --- What is wrong ----------------------------------------------------------------------------------------------------


def _draw_wrong(draft: Draft, definitions: Mapping[tuple[str, str], Definition]) -> None:
    if draft.flaws:
        lines = [f"- {formats.plain(fields.flaw_says(flaw, definitions))}" for flaw in draft.flaws[:20]]
        more = len(draft.flaws) - len(lines)
        lines += [f"- and {more} more"] if more > 0 else []
        count = formats.plural(len(draft.flaws), "thing is", "things are")
        st.error(f"**{count} not right yet; nothing was saved**\n" + "\n".join(lines), icon=":material/error:")
    if draft.clash:
        lines = [f"- {formats.plain(one.sentence)}" for one in draft.clash[:20]]
        st.warning(
            "**Somebody changed the same since you began; nothing was saved.** Meanwhile:\n" + "\n".join(lines),
            icon=":material/warning:",
        )
        st.button("Drop mine, start from what it is now", key="start-again", on_click=_start_again)


def _start_again() -> None:
    st.session_state.pop(_DRAFT, None)


# --- The form ---------------------------------------------------------------------------------------------------------


def _draw_form(viewer: people.Viewer, draft: Draft, definitions: Mapping[tuple[str, str], Definition]) -> Typed:
    start, shop, scope = draft.start, viewer.shop.id, viewer.person.scope
    texts = dict(start.texts)

    def text(name: str, label: str, **more: Any) -> None:
        texts[name] = st.text_input(label, start.texts[name], key=draft.key(name), **more) or ""
        fields.draw_flaws(draft.flaws, "", name)

    with st.container(border=True, key="editor-product"):
        with st.grid(2, min_column_width=300):
            with st.container():
                text("title", "Title")
            with st.container():
                status = st.segmented_control(
                    "Status", STATUSES, default=start.status, required=True, format_func=words.status,
                    key=draft.key("status"),
                )  # fmt: skip
            for name, label, choice in (("vendor", "Vendor", "vendor"), ("product_type", "Type", "product_type")):
                known = catalogue_queries.choices(shop, scope, choice)  # type: ignore[arg-type]
                with st.container():
                    texts[name] = fields.choose_or_write(label, known, start.texts[name], draft.key(name))
                    fields.draw_flaws(draft.flaws, "", name)
        texts["description"] = st.text_area(
            "Description", start.texts["description"], height=140, key=draft.key("description"),
            help="Markup of channels is kept as it is.",
        ) or ""  # fmt: skip
        fields.draw_flaws(draft.flaws, "", "description")
        paths = catalogue_queries.paths(shop, scope)
        categories = st.multiselect(
            "Categories", list(paths), [one for one in start.categories if one in paths], key=draft.key("categories"),
            format_func=lambda number: paths.get(number, str(number)), placeholder="None yet",
            help="The first is the main one.",
        )  # fmt: skip
        tags = st.multiselect(
            "Tags", start.tags, start.tags, key=draft.key("tags"), accept_new_options=True, placeholder="Type a tag",
        )  # fmt: skip
    with st.expander("Address and search engines", key=draft.key("search")), st.grid(2, min_column_width=300):
        for name, label, hint in (
            ("handle", "Handle", "Its part of addresses; empty: made of the title."),
            ("url", "Address", "Of its page; empty: made of the shop's address and the handle."),
            ("seo_title", "Search title", "What search engines show as its title."),
            ("seo_description", "Search description", "And below it."),
        ):
            with st.container():
                text(name, label, help=hint)
    st.subheader("Variants", anchor="variants")
    options, variants = _draw_variants(draft, definitions)
    st.subheader("Pictures", anchor="pictures")
    images = _draw_images(draft)
    st.subheader("Metafields", anchor="metafields")
    metafields = _draw_fields(draft, definitions)
    return Typed(texts, status or start.status, tuple(tags), tuple(categories), options, images, metafields, variants)


def _draw_variants(
    draft: Draft, definitions: Mapping[tuple[str, str], Definition]
) -> tuple[tuple[str, ...], tuple[Mapping[str, Any], ...]]:
    names = [*draft.start.options, "", "", ""][:3]
    with st.grid(3, min_column_width=180):
        options = tuple(
            st.text_input(
                f"Option {place}", name, key=draft.key(f"option-{place}"),
                placeholder=("Size", "Colour", "Material")[place - 1],
            ) or ""
            for place, name in enumerate(names, start=1)
        )  # fmt: skip
    for name in ("options", "option_values", "variants", "code"):
        fields.draw_flaws(draft.flaws, "", name)
    for flaw in draft.flaws:
        if flaw.code:
            st.markdown(f":red[:material/error: {formats.plain(fields.flaw_says(flaw, definitions))}]")
    shown = product_form.columns(definitions)
    order = [c for c in shown if not c.startswith(OPTION) or options[int(c.removeprefix(OPTION)) - 1].strip()]
    config = st.column_config
    labels = {**_NAMES, **{f"{OPTION}{place}": name for place, name in enumerate(options, start=1)}}
    columns: dict[str, Any] = {}
    for name in shown:
        label = labels.get(name) or _field_name(name, definitions)
        if name in (product_form.STOCKED, product_form.SHIPPED, product_form.TAXED):
            columns[name] = config.CheckboxColumn(label, width=90, default=True)
        else:
            columns[name] = config.TextColumn(label, width=fields.width_of(name), pinned=name == product_form.CODE)
    rows = fields.grid(draft.start.variants, shown, draft.key("variants"), order, columns)
    st.caption(
        "A row for each variant: add one at the end, select some to remove them. Prices as 12.50, weights as 250 or"
        " 1.2 kg. Whether the stock of a SKU is counted is decided where it first appears."
    )
    return options, rows


def _field_name(column: str, definitions: Mapping[tuple[str, str], Definition]) -> str:
    found = definitions.get(("variant", column.removeprefix(product_form.FIELD)))
    return column if found is None else found.name


def _draw_images(draft: Draft) -> tuple[tuple[str, str], ...]:
    config = st.column_config
    rows = fields.grid(
        [{"url": url, "alt": alt} for url, alt in draft.start.images],
        ("url", "alt"),
        draft.key("images"),
        ("url", "alt"),
        {
            "url": config.TextColumn("Address, https://…", width=520),
            "alt": config.TextColumn("What it shows", width=320, help="For people who cannot see it."),
        },
    )
    fields.draw_flaws(draft.flaws, "", "images")
    st.caption("The first is the main one.")
    return tuple((str(row["url"] or ""), str(row["alt"] or "")) for row in rows)


def _draw_fields(draft: Draft, definitions: Mapping[tuple[str, str], Definition]) -> dict[str, str]:
    found = {}
    with st.grid(3, min_column_width=240):
        for (owner, key), definition in definitions.items():
            if owner == "product":
                with st.container():
                    now = draft.start.metafields.get(key, "")
                    found[key] = fields.write(definition, now, draft.key(key))
                    fields.draw_flaws(draft.flaws, "", f"{product_form.FIELD}{key}")
    return found


# --- Saving -----------------------------------------------------------------------------------------------------------


def _draw_buttons(
    viewer: people.Viewer, draft: Draft, given: Typed, definitions: Mapping[tuple[str, str], Definition]
) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", key="editor-buttons"):
        if st.button("New metafield…", key="new-metafield", icon=":material/add:"):
            # It brings a column: the form goes on with what is typed by now.
            draft.start, draft.turn = given, draft.turn + 1
            fields.open_new(viewer)
        with st.container(horizontal=True, width="content"):
            st.button("Cancel", key="cancel-edit", type="tertiary", on_click=leave)
            wants_to_see = st.button("See what changes…", key="see-changes", type="primary")
    if wants_to_see:
        _see(viewer, draft, given, definitions)


def _see(viewer: people.Viewer, draft: Draft, given: Typed, definitions: Mapping[tuple[str, str], Definition]) -> None:
    found = product_form.read(given, draft.base.document, definitions, viewer.shop.currency)
    had = draft.flaws or draft.clash
    draft.flaws, draft.clash = found.flaws, ()
    if found.document is None:
        st.rerun()
    target = on_top(viewer, draft, found.document)
    if target is None:
        st.rerun()
    before, after = target
    said = words.said(
        before.document if before.version else None,
        after,
        *catalogue_queries.names(viewer.shop.id, viewer.person.scope),
    )
    if said:
        previews.ask(_preview(viewer, draft, before, after, said))
    elif had:
        st.rerun()
    st.info("Nothing would change: everything is as it was.", icon=":material/info:")


def on_top(viewer: people.Viewer, draft: Draft, mine: ProductDocument) -> tuple[Stored, ProductDocument] | None:
    """The product as it is now, and what is typed on top of it; None: the same was changed meanwhile, and is noted."""
    base = draft.base
    if not base.version:
        return base, mine
    now = catalogue_queries.newest(viewer.shop.id, base.product_id)
    names = catalogue_queries.names(viewer.shop.id, viewer.person.scope)
    # Undoing, in what is there now, the way back from mine to what I began with.
    merged = None if now is None else taken_back(mine, base.document, now.document)
    if now is None or merged is None:
        draft.clash = tuple(words.said(base.document, None if now is None else now.document, *names))
        return None
    return now, merged


def _preview(
    viewer: people.Viewer, draft: Draft, before: Stored, after: ProductDocument, said: Sequence[words.Saying]
) -> Preview:
    shop, is_new = viewer.shop.id, not before.version

    def do(actor: Actor) -> str:
        catalogue_queries.forget()
        done = catalogue_actions.save(
            application(), shop, after, actor,
            product_id=None if is_new else before.product_id, base_version=None if is_new else before.version,
        )  # fmt: skip
        leave()
        st.query_params["product"] = str(done.product_id)
        return f"{after.title} is saved as version {done.version}."

    is_merged = before.version != draft.base.version
    return Preview(
        title="Create this product?" if is_new else "Save these changes?",
        icon=":material/save:",
        about=f"**{formats.plain(after.title)}** would differ in this:",
        figures=(),
        lines=(),
        warning="Somebody changed the product since you began. Theirs stays; yours goes on top." if is_merged else None,
        verb="Create the product" if is_new else f"Save {formats.plural(len(said), 'change')}",
        hint="The new season" if is_new else "The supplier's new prices",
        do=do,
        evidence=lambda: product_history.table(said),
        is_large=True,
    )
