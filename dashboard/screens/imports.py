"""What would this file change? Files of products: uploaded, read without effect, decided on, applied, taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from html import escape

import streamlit as st

from core.importing.queries import Run
from dashboard import components, formats, import_new, import_page, import_queries, import_words, people


def _number(name: str) -> int | None:
    return formats.number(st.query_params.get(name, ""))


def _go(**where: str | None) -> Callable[[], None]:
    """A callback that changes the address; None takes a name out of it."""

    def go() -> None:
        for name, value in where.items():
            st.query_params.pop(name, None)
            if value is not None:
                st.query_params[name] = value

    return go


def draw_list(viewer: people.Viewer) -> None:
    """A field for a file, and what was imported so far."""
    before = _number("before")
    page = import_queries.page(viewer.shop.id, viewer.person.scope, before)
    open_ones = [run for run in page.rows if run.state in ("read", "stopped", "failed")]
    said = f"{formats.plural(len(open_ones), 'file waits', 'files wait')} for a decision." if open_ones else ""
    components.title("Import", said)
    if before is None:
        import_new.draw_upload(viewer)
        import_new.draw_waiting(viewer, import_queries.waiting(viewer.shop.id, viewer.person.scope))
    st.subheader("Imports", anchor="imports")
    if not page.rows:
        components.empty(
            "Nothing was imported yet",
            "Choose a file above: an export of products from Shopify, WooCommerce, Medusa or Spree is known by its "
            "columns. Any other CSV, XLSX or JSON with one row for each variant can be mapped.",
        )
    else:
        heads = [("File", False), ("State", False), ("What is in it", False), ("When", False), ("Who, and why", False)]
        body = [_cells(run, viewer, page.as_of) for run in page.rows]
        components.table(heads, body, "Imports, the newest first", dense=True)
    if before is not None or page.more:
        components.pager(
            "imports",
            _go(before=None) if before is not None else None,
            _go(before=str(page.rows[-1].id)) if page.more else None,
            ("Newest", "Older"),
        )


def _cells(run: Run, viewer: people.Viewer, now: datetime) -> tuple[str, ...]:
    name, word = import_words.state(run)
    where = viewer.where(**{"import": str(run.id)})
    look = formats.state(name).look
    return (
        f"<b>{components.link('import', run.file_name, where)}</b><br><span class='sy-meta'>Import {run.id}</span>",
        f'<span class="sy-pill sy-pill-{look}">{escape(word)}</span>',
        escape(import_words.counts(run)),
        components.when(run.created_at, now, viewer.shop.zone),
        f"{escape(run.created_by)}: {escape(formats.shortened(run.reason, 120))}",
    )


def draw(viewer: people.Viewer) -> None:
    """One import or one uploaded file, where the address names it; else the whole."""
    import_id, document_id = _number("import"), _number("document")
    if import_id is None and document_id is None:
        with components.panel("imports"):
            draw_list(viewer)
        return
    back = _go(**dict.fromkeys(("import", "document", "again", "show", "after")))
    if st.query_params.get("again") and import_id is not None:
        st.button(
            "Back to the dry run",
            key="back-to-import",
            type="tertiary",
            icon=":material/arrow_back:",
            on_click=_go(again=None),
        )
    else:
        st.button("All imports", key="all-imports", type="tertiary", icon=":material/arrow_back:", on_click=back)
    with components.panel("import"):
        if import_id is not None:
            import_page.draw(viewer, import_id)
        elif document_id is not None:
            import_new.draw(viewer, document_id)


draw(people.viewer())
