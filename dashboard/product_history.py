"""What became of a product: each version with its difference, taking one back, and removing the product."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from core.audit import Actor
from core.catalog.products.operations import NothingToTakeBack
from core.catalog.products.queries import Stored
from dashboard import catalogue_actions, catalogue_queries, components, formats, people, previews
from dashboard import catalogue_words as words
from dashboard.actions import application
from dashboard.catalogue_queries import Change
from dashboard.catalogue_words import Saying
from dashboard.previews import Preview

SHOWN = 6
"""Differences of one version in the history; the dialog of taking it back has all of them."""
_LOOKS = {"created": "ok", "removed": "danger", "undone": "attention"}
"""The others are edits: plain."""


def draw(viewer: people.Viewer, product_id: int) -> None:
    """Versions, newest first."""
    shop, scope = viewer.shop.id, viewer.person.scope
    before = formats.number(st.query_params.get("history_before", ""))
    found = catalogue_queries.history(shop, scope, product_id, before)
    if not found.changes:
        components.empty("Nothing older is known", "The history begins with the product.")
    now = catalogue_queries.now()
    for change in found.changes:
        _draw_change(viewer, product_id, change, components.when(change.version.made_at, now, viewer.shop.zone))
    if before is not None or found.more:
        components.pager(
            "history",
            _newest if before is not None else None,
            (lambda: _older(found.changes[-1].version.version)) if found.more else None,
            ("Newest", "Older"),
        )


def _newest() -> None:
    st.query_params.pop("history_before", None)


def _older(version: int) -> None:
    st.query_params["history_before"] = str(version)


def _draw_change(viewer: people.Viewer, product_id: int, change: Change, when: str) -> None:
    version = change.version
    names = catalogue_queries.names(viewer.shop.id, viewer.person.scope)
    said = words.said(change.before, version.document, *names)
    with components.card(_LOOKS.get(version.act, "busy"), f"version-{version.version}"):
        with st.container(width="stretch", gap="xxsmall"):
            act = words.ACTS.get(version.act, version.act)
            undoes = f" version {version.undoes_version}" if version.undoes_version else ""
            st.markdown(f"**{act}{undoes}** · {formats.plain(version.made_by)}: {formats.plain(version.reason)}")
            components.html(_lines(said))
            source = ""
            if version.import_id is not None:
                where = viewer.where(**{"import": str(version.import_id)})
                source = f" · {components.link('import', f'Import {version.import_id}', where)}"
            components.html(f'<div class="sy-meta">Version {version.version} · {when}{source}</div>')
        with st.container(width="content"):
            if st.button("Take back…", key=f"undo-{version.version}", icon=":material/undo:"):
                open_undo(viewer, product_id, version.version)


def _lines(said: Sequence[Saying]) -> str:
    lines = "".join(f"<li>{escape(one.sentence)}</li>" for one in said[:SHOWN])
    if len(said) > SHOWN:
        lines += f'<li class="sy-muted">and {formats.count(len(said) - SHOWN)} more</li>'
    return f'<ul class="sy-changes">{lines}</ul>' if lines else '<div class="sy-muted">Nothing differs.</div>'


def table(said: Sequence[Saying], most: int = 200) -> None:
    """Differences as before and after."""
    body = [(f"<b>{escape(one.about)}</b>", _cell(one.before), f"<b>{_cell(one.after)}</b>") for one in said[:most]]
    components.table([("What", False), ("Before", False), ("After", False)], body, "What would differ")
    if len(said) > most:
        st.caption(f"The first {formats.count(most)} of {formats.count(len(said))}.")


def _cell(value: str | None) -> str:
    return f'<span class="sy-muted">{words.NONE}</span>' if value is None else escape(value)


# --- Taking back, and removing ----------------------------------------------------------------------------------------


def open_undo(viewer: people.Viewer, product_id: int, number: int) -> None:
    """Ask whether one version is to be taken back, with what would differ."""
    shop, scope = viewer.shop.id, viewer.person.scope
    try:
        plan = catalogue_queries.undo(shop, product_id, number)
    except NothingToTakeBack as refused:
        previews.ask(_refusal(number, str(refused)))
        return
    said = words.said(plan.now, plan.then, *catalogue_queries.names(shop, scope))

    def do(actor: Actor) -> str:
        # Whatever comes of it, what is drawn next is what there is then.
        catalogue_queries.forget()
        done = catalogue_actions.undo(application(), shop, product_id, number, plan.version, actor)
        return f"Version {number} is taken back: the product is at version {done.version}."

    whole = "The product would be removed again." if plan.then is None else ""
    previews.ask(
        Preview(
            title=f"Take version {number} back?",
            icon=":material/undo:",
            about="What was changed of the product since, elsewhere, stays. It becomes a version of its own.",
            figures=(),
            lines=[line for line in (whole,) if line],
            warning=None,
            verb=f"Take back {formats.plural(len(said), 'change')}",
            hint="The price was a mistake",
            do=do,
            evidence=lambda: table(said),
            is_large=True,
        )
    )


def _refusal(number: int, why: str) -> Preview:
    return Preview(
        title=f"Version {number} stays", icon=":material/undo:", about=formats.sentence(why), figures=(), lines=(),
        warning=None, verb="", hint="", do=lambda _: "",
    )  # fmt: skip


def open_remove(viewer: people.Viewer, stored: Stored) -> None:
    """Ask whether a product is to leave the catalogue."""
    shop, title = viewer.shop.id, stored.document.title

    def do(actor: Actor) -> str:
        catalogue_queries.forget()
        catalogue_actions.remove(application(), shop, stored.product_id, stored.version, actor)
        return f"{title} is removed. Its history can bring it back."

    previews.ask(
        Preview(
            title="Remove this product?",
            icon=":material/delete:",
            about=f"**{formats.plain(title)}** leaves the catalogue and, with the next sync, what is made from it.",
            figures=[(formats.count(len(stored.document.variants)), "variants")],
            lines=(
                "Its SKUs stay, with their stock, listings and orders.",
                "Its history stays too: taking the removal back brings it here as it was.",
            ),
            warning=None,
            verb="Remove the product",
            hint="Not made any more",
            do=do,
        )
    )
