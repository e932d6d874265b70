"""Products as a file: asked for on their page, written by a worker, fetched by a link when it is there."""

from __future__ import annotations

import logging
from datetime import timedelta

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.catalog.products.queries import Filters
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.errors import Retryable, SwitchyardError
from core.files import operations as files
from core.importing import exporting
from core.importing.exporting import KEEP_DAYS, Export, Kind
from dashboard import components, formats, import_actions, people
from dashboard.import_actions import Application

log = logging.getLogger(__name__)

_KINDS: dict[Kind, str] = {"csv": "CSV", "xlsx": "Excel"}
_SHOWN_FOR = timedelta(days=KEEP_DAYS)


def begin(app: Application, shop_id: int, filters: Filters, kind: Kind, by: str) -> int:
    """Have products written to a file; returns the export's id. Raises BadInput where none fits."""
    with unit_of_work(app.engine) as conn:
        actor = Actor(by, "exported from the page of products")
        export_id = exporting.begin(conn, shop_id, filters, kind, actor, utc_now())
    try:
        app.queue.enqueue("exports.write", shop_id=shop_id, export_id=export_id)
    except Retryable as error:
        log.warning("export %s is not rung for, the sweep will: %s", export_id, error)
    return export_id


def stop(app: Application, shop_id: int, export_id: int, by: str) -> None:
    """Have it end at its next batch."""
    with unit_of_work(app.engine) as conn:
        exporting.stop(conn, shop_id, export_id, Actor(by, "stopped on the page of products"), utc_now())


def draw_button(viewer: people.Viewer, filters: Filters) -> None:
    """Ask for a file of what the page is narrowed to."""
    with st.popover("Export…", icon=":material/download:"):
        st.caption(
            "The products that fit below, in the form of Shopify’s export. Importing the file again changes nothing."
        )
        kind = st.radio("As", list(_KINDS), format_func=_KINDS.__getitem__, horizontal=True, key="export-kind")
        if st.button("Write the file", key="export-begin", type="primary"):
            try:
                begin(import_actions.application(), viewer.shop.id, filters, kind, viewer.person.name)
            except SwitchyardError as refused:
                st.error(formats.sentence(str(refused)), icon=":material/error:")
            except SQLAlchemyError as error:
                components.failed(error, "export")
            else:
                st.session_state.pop("export-hidden", None)
                st.rerun()


def draw(viewer: people.Viewer) -> None:
    """How far the last file is that this person asked for, or its link; nothing where there is none."""
    app = import_actions.application()
    with read_only(app.engine) as conn:
        found = exporting.latest(conn, viewer.shop.id, viewer.person.name, utc_now() - _SHOWN_FOR)
    if found is None or st.session_state.get("export-hidden") == found.id:
        return
    if found.state == "writing":
        _draw_progress(viewer, found.id)
    else:
        _draw_ended(viewer, found)


@st.fragment(run_every="2s", key="export-progress")
def _draw_progress(viewer: people.Viewer, export_id: int) -> None:
    app = import_actions.application()
    with read_only(app.engine) as conn:
        found = exporting.export(conn, viewer.shop.id, export_id)
    if found.state != "writing":
        st.rerun()
    with components.card("busy", "export"):
        share = min(found.products_done / max(found.products_total, 1), 1.0)
        done = f"{formats.count(found.products_done)} of {formats.plural(found.products_total, 'product')} written"
        with st.container(width="stretch"):
            st.progress(share, done)
        with st.container(width="content"):
            if st.button("Stop", key="export-stop", icon=":material/stop:"):
                stop(app, viewer.shop.id, export_id, viewer.person.name)
                st.rerun()


def _draw_ended(viewer: people.Viewer, found: Export) -> None:
    look = {"written": "ok", "failed": "danger"}.get(found.state, "unknown")
    with components.card(look, "export"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(_said(found))
            when = formats.ago(found.worked_at, utc_now(), viewer.shop.zone)
            st.caption(f"{when.capitalize()}; kept for {KEEP_DAYS} days" if found.state == "written" else when)
        with st.container(width="content", horizontal=True):
            if found.state == "written":
                _draw_link(viewer, found)
            if st.button("Hide", key="export-hide", type="tertiary"):
                st.session_state["export-hidden"] = found.id
                st.rerun()


def _said(found: Export) -> str:
    if found.state == "written":
        products = formats.plural(found.products_done, "product")
        return f"**{products} in {formats.plural(found.rows_done, 'row')} are written** to {found.file_name}."
    if found.state == "failed":
        return f"**The file was not written:** {formats.plain(found.problem or '')}"
    return "**The file was not written:** somebody stopped it."


def _draw_link(viewer: people.Viewer, found: Export) -> None:
    assert found.document_id is not None
    app = import_actions.application()
    try:
        with unit_of_work(app.engine) as conn:
            link = files.download_link(conn, app.documents, viewer.shop.id, found.document_id, utc_now())
    except SwitchyardError as gone:
        st.caption(formats.sentence(str(gone)))
        return
    st.link_button(f"Save {found.file_name}", link.url, icon=":material/download:")
