"""A taxonomy's own part of the screen: which version counts, a file to load or a shop to read, and every load."""

from __future__ import annotations

import io
from collections.abc import Callable
from html import escape
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.catalog.taxonomies.files import FileKind, TaxonomyText, read_taxonomy
from core.catalog.taxonomies.loading import Loaded
from core.catalog.taxonomies.rules import Target
from core.errors import SwitchyardError
from dashboard import category_mapping_actions as actions
from dashboard import (
    category_mapping_dialogs,
    category_mapping_queries,
    category_mapping_words,
    components,
    formats,
    people,
)

Row = dict[str, Any]
MEGABYTES_MAX = 5
_IN_USE = '<span class="sy-pill sy-pill-ok">In use</span>'


def draw(viewer: people.Viewer, target: Target, who: str, as_of: Any) -> None:
    """Every load, then the ways to another."""
    with components.panel("taxonomy-loads"):
        known = category_mapping_queries.loads(viewer.shop.id, target)
        _draw_loads(viewer, target, who, known, as_of)
    if target.kind == "klaviyo":
        st.caption("An account’s categories are its own: they are told by the account, not by a file.")
        return
    _draw_upload(viewer, target, who, "google" if target.kind == "google" else "shopify")
    if target.kind == "shopify":
        _draw_reading(viewer)


def _draw_loads(viewer: people.Viewer, target: Target, who: str, known: list[Row], as_of: Any) -> None:
    if not known:
        components.empty(f"No taxonomy of {who}’s is loaded yet", "Until one is, nothing can be mapped to it.")
        return
    zone = viewer.shop.zone
    body = [
        (
            f"{escape(row['version'])} {_IN_USE if row['replaced_at'] is None else ''}",
            components.number(row["entries"]),
            escape(row["name"]),
            components.when(row["loaded_at"], as_of, zone),
            f"{escape(row['loaded_by'])}: {escape(row['reason'])}",
        )
        for row in known
    ]
    heads = [("Version", False), ("Entries", True), ("From", False), ("Loaded", False), ("By", False)]
    components.table(heads, body, f"Loads of {who}’s taxonomy", dense=True)
    now = next((row for row in known if row["replaced_at"] is None), None)
    before = max(
        (row for row in known if row["replaced_at"] and row["is_kept"]), key=lambda r: r["replaced_at"], default=None
    )
    if (
        now is not None
        and before is not None
        and st.button("Take the load back…", key="load-back", icon=":material/undo:")
    ):
        category_mapping_dialogs.take_load_back(viewer, target, who, now["version"], before["version"])


def _draw_upload(viewer: people.Viewer, target: Target, who: str, kind: FileKind) -> None:
    st.subheader("Load a file", anchor="load")
    uploaded = st.file_uploader(
        f"{who}’s taxonomy with ids",
        type=["txt", "gz"],
        key=f"taxonomy-upload-{kind}-{st.session_state.get('taxonomy-upload', 0)}",
        max_upload_size=MEGABYTES_MAX,
    )
    st.caption(
        f"The text file as {who} publishes it, packed or not; its first line begins with "
        f"{category_mapping_words.EXAMPLE[kind]}. Nothing changes before you have seen what it does."
    )
    if uploaded is None:
        return
    data = uploaded.getvalue()
    with components.panel("taxonomy-file"):
        try:
            with st.skeleton(height=120):
                text = read_taxonomy(kind, uploaded.name, io.BytesIO(data))
        except SwitchyardError as refused:
            st.error(formats.sentence(str(refused)), icon=":material/error:")
            return
        _draw_plan(viewer, target, kind, uploaded.name, text, data)


def _draw_plan(
    viewer: people.Viewer, target: Target, kind: FileKind, name: str, text: TaxonomyText, data: bytes
) -> None:
    """What loading it would come to; then the reason and the button."""
    broken = category_mapping_queries.broken_by(viewer.shop.id, target, [entry.ref for entry in text.entries])
    components.figures(
        [
            (escape(text.version), "version"),
            (formats.count(len(text.entries)), "entry" if len(text.entries) == 1 else "entries"),
            (formats.count(broken), "answer would be broken" if broken == 1 else "answers would be broken"),
        ]
    )
    with st.form("load-taxonomy", border=False, enter_to_submit=True):
        reason = st.text_input("Reason", required=True, placeholder="The new version", key="taxonomy-reason")
        go = st.form_submit_button(f"Load {formats.plain(name)}", type="primary")
    if go:
        _do(lambda: actions.load_file(viewer.shop.id, kind, name, data, Actor(viewer.person.name, reason or "")))


def _draw_reading(viewer: people.Viewer) -> None:
    """Shopify's taxonomy is told by each of its shops, too."""
    shops = category_mapping_queries.connections(viewer.shop.id, viewer.person.scope, "shopify")
    if not shops:
        return
    st.subheader("Or read it from a shop", anchor="read")
    with st.form("read-taxonomy", border=False, enter_to_submit=True):
        chosen = st.selectbox("Shop", list(shops), format_func=shops.__getitem__, key="taxonomy-shop", width=320)
        reason = st.text_input("Reason", required=True, placeholder="The newest", key="taxonomy-read-reason")
        go = st.form_submit_button("Read it", icon=":material/cloud_download:")
    if go and chosen is not None:
        with st.spinner("Reading: this takes a minute at most"):
            _do(lambda: actions.read_from(viewer.shop.id, chosen, Actor(viewer.person.name, reason or "")))


def _do(act: Callable[[], Loaded]) -> None:
    try:
        done = act()
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "load-taxonomy")
        return
    # A fresh uploader: the file that was loaded is not offered again.
    st.session_state["taxonomy-upload"] = st.session_state.get("taxonomy-upload", 0) + 1
    components.say_later(category_mapping_dialogs.loaded(done, "is loaded"))
    st.rerun()
