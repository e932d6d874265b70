"""Who may sell how much: the channel rules as sentences, an editor with a preview, versions that can be undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import SwitchyardError
from dashboard import (
    components,
    formats,
    people,
    previews,
    queries,
    rule_actions,
    rule_editor,
    rule_queries,
    rule_words,
)
from dashboard.actions import application

Row = Mapping[str, Any]

_VERSION = "version"


def _number(name: str) -> int | None:
    text = st.query_params.get(name, "")
    return formats.number(text)


def turn(name: str, to: int | None) -> Callable[[], None]:
    """A callback that begins a list after a row, or at its beginning again."""

    def go() -> None:
        st.query_params.pop(name, None)
        if to is not None:
            st.query_params[name] = str(to)

    return go


# --- the rules --------------------------------------------------------------------------------------------------------


def draw_rules(viewer: people.Viewer, page: rule_queries.Page, after: int | None) -> None:
    """The living rules, one sentence each, the widest first."""
    if not page.rows:
        components.empty(
            "There are no rules yet", "Every channel is offered the whole pool. Set one to keep some back."
        )
        return
    for row in page.rows:
        with components.card("ok", f"rule-{row['policy_id']}"):
            with st.container(width="stretch", gap="xxsmall"):
                st.markdown(f"**{formats.plain(rule_words.scope(row))}**: {formats.plain(rule_words.says(row))}")
                components.html(
                    f'<div class="sy-meta">{components.when(row["saved_at"], row["as_of"], viewer.shop.zone)} · '
                    f"{escape(row['saved_by'])}: {escape(row['reason'])} · version {row['version_id']}</div>"
                )
            with st.container(width="content"):
                st.button("Change…", key=f"change-{row['policy_id']}", on_click=rule_editor.open_rule(row))
    if page.more or after is not None:
        components.pager(
            "rules",
            turn("after", None) if after is not None else None,
            turn("after", page.rows[-1]["policy_id"]) if page.more else None,
            ("Widest", "More specific"),
        )


# --- versions ---------------------------------------------------------------------------------------------------------


def draw_versions(viewer: people.Viewer, page: rule_queries.Page, before: int | None) -> None:
    """Who changed what when, and whether the listings follow; what can be undone has its button."""
    st.subheader("Versions", anchor="versions")
    if not page.rows:
        st.caption("Every change is kept here, with who, when and why, and can be undone.")
        return
    for row in page.rows:
        with st.container(
            border=True, key=f"item-version-{row['version_id']}", horizontal=True,
            horizontal_alignment="distribute", vertical_alignment="center",
        ):  # fmt: skip
            with st.container(width="stretch", gap="xxsmall"):
                undone = f" · undone by version {row['undone_by_id']}" if row["undone_by_id"] else ""
                st.markdown(f"**Version {row['version_id']}** · {formats.plain(rule_words.did(row))}{undone}")
                components.html(
                    f'<div class="sy-meta">{components.when(row["saved_at"], row["as_of"], viewer.shop.zone)} · '
                    f"{escape(row['saved_by'])}: {escape(row['reason'])} · {escape(rule_words.progress(row))}</div>"
                )
            if row["can_undo"]:
                with st.container(width="content"):
                    if st.button("Undo…", key=f"undo-{row['version_id']}"):
                        ask_undo(viewer, row)
    if page.more or before is not None:
        components.pager(
            "versions",
            turn("before", None) if before is not None else None,
            turn("before", page.rows[-1]["version_id"]) if page.more else None,
            ("Newest", "Older"),
        )


def ask_undo(viewer: people.Viewer, row: Row) -> None:
    """What taking a version back would do, then why."""
    version_id = row["version_id"]
    try:
        changes, found = rule_queries.preview_undo(viewer.shop.id, version_id)
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
        return
    total = rule_words.sums(found)
    restored = sum(bool(change.terms.said) for change in changes)

    def do(actor: Actor) -> str:
        new_id = rule_actions.undo(application(), viewer.shop.id, version_id, actor)
        rule_queries.forget()
        st.query_params[_VERSION] = str(new_id)
        return f"Version {version_id} is undone by version {new_id}. Its listings follow within seconds."

    previews.ask(
        previews.Preview(
            f"Undo version {version_id}?",
            ":material/undo:",
            f"**{formats.plain(row['saved_by'])}**: {formats.plain(row['reason'])}",
            [
                (formats.count(total["listings"]), "listings"),
                (formats.count(total["up"]), "up"),
                (formats.count(total["down"]), "down"),
                (formats.count(total["to_zero"]), "to zero"),
            ],
            [
                rule_words.undoing(restored, len(changes) - restored),
                "It is a version of its own: it stays on record, and can be undone itself.",
            ],
            None,
            f"Undo version {version_id}",
            "It was a mistake",
            do,
        )
    )


# --- the re-plan ------------------------------------------------------------------------------------------------------


def draw_progress(viewer: people.Viewer) -> None:
    """The version on its way to the listings, and the one that the address names: a reload shows the same."""
    wanted = _number(_VERSION)
    ids = {rule_queries.open_version(viewer.shop.id), wanted}
    # In one block, so that what is below keeps its place when a version appears or is closed.
    with st.container():
        for version_id in sorted(filter(None, ids)):
            _draw_version(viewer, version_id)


def _draw_version(viewer: people.Viewer, version_id: int) -> None:
    row = rule_queries.version(viewer.shop.id, version_id)
    if row is None:
        return
    is_done = row["finished_at"] is not None
    components.places(
        None if is_done else partial(_watch, viewer.shop.id, version_id),
        partial(_draw_done, viewer, row) if is_done else None,
    )


def _watch(shop_id: int, version_id: int) -> None:
    """Progress, looked at every second until all listings follow; then the page is drawn once with the result."""

    @st.fragment(run_every="1s", key=f"version-{version_id}")
    def tick() -> None:
        with components.panel(f"version-{version_id}"):
            row = rule_queries.version(shop_id, version_id)
            if row is None or row["finished_at"] is not None:
                rule_queries.forget()
                st.query_params[_VERSION] = str(version_id)
                st.rerun()
            else:
                with st.container(border=True, key=f"card-busy-version-{version_id}"):
                    st.markdown(f"{formats.badge('running')} **Version {version_id} is brought to the listings**")
                    st.progress(rule_words.share_done(row), text=rule_words.progress(row))
                    st.caption(f"{formats.plain(row['saved_by'])}: {formats.plain(row['reason'])}")

    tick()


def _draw_done(viewer: people.Viewer, row: Row) -> None:
    version_id = row["version_id"]
    with components.card("done", f"version-{version_id}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"{formats.badge('done')} **Version {version_id}**: {rule_words.progress(row)}")
            took = formats.duration((row["finished_at"] - row["saved_at"]).total_seconds())
            st.caption(
                f"{formats.moment(row['finished_at'], row['as_of'], viewer.shop.zone)} · took {took} · "
                f"{formats.plain(row['saved_by'])}: {formats.plain(row['reason'])}"
            )
        with st.container(width="content", horizontal=True):
            if row["can_undo"] and st.button("Undo…", key=f"undo-done-{version_id}", icon=":material/undo:"):
                ask_undo(viewer, row)
            st.button("Close", key=f"close-version-{version_id}", on_click=turn(_VERSION, None))


# --- the page ---------------------------------------------------------------------------------------------------------


def draw_list(viewer: people.Viewer) -> None:
    """Progress, the rules, their versions."""
    shop, scope = viewer.shop.id, viewer.person.scope
    with components.panel("rules"):
        after, before = _number("after"), _number("before")
        try:
            with st.skeleton(height=360):
                totals = rule_queries.totals(shop, scope)
                only = _only_channel(viewer)
                page = rule_queries.living(shop, scope, after, only["connection_id"] if only else None)
                versions = rule_queries.versions(shop, scope, before)
        except SQLAlchemyError as error:
            components.failed(error, "rules")
            return
        components.title(
            "Channel rules",
            f"{rule_words.count_of(totals['rules'])}, {formats.plural(totals['listings'], 'listing')}",
            formats.as_of(totals["as_of"], viewer.shop.zone),
        )
        draw_progress(viewer)
        with st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="rules-top"
        ):
            with st.container(width="stretch"):
                st.markdown(
                    "Which channel may sell how much of what. The most specific rule wins, term by term: a SKU on a "
                    "channel, a SKU, a category on a channel, a category, a channel, everything."
                )
            with st.container(width="content"):
                st.button("New rule…", key="new-rule", type="primary", on_click=rule_editor.open_new)
        if only:
            with st.container(horizontal=True, vertical_alignment="center", key="rules-only"):
                st.markdown(f"Rules that listings on **{formats.plain(only['name'])}** may go by")
                st.button("Show all", key="rules-all", type="tertiary", on_click=turn("connection", None))
        draw_rules(viewer, page, after)
        draw_versions(viewer, versions, before)


def _only_channel(viewer: people.Viewer) -> Row | None:
    """The connection whose rules the address asks for, by its number: as a number's explanation links to them."""
    wanted = _number("connection")
    found = queries.connections(viewer.shop.id, viewer.person.scope) if wanted is not None else []
    return next((row for row in found if row["connection_id"] == wanted), None)


def draw() -> None:
    """One rule, where the address names it; else all of them."""
    viewer = people.viewer()
    wanted = st.query_params.get("edit")
    components.places(
        None if wanted else partial(draw_list, viewer), partial(rule_editor.draw, viewer, wanted) if wanted else None
    )


draw()
