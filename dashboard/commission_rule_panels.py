"""Parties, assignments and versions of the Commission rules screen, and the dialogs that change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import Any, cast

import streamlit as st

from core.audit import Actor
from core.commissions.directory import KIND_WORDS, PartyKind
from core.commissions.queries import Settings
from core.errors import SwitchyardError
from dashboard import commission_rule_actions as actions
from dashboard import commission_rule_queries as queries
from dashboard import commission_rule_words as words
from dashboard import components, formats, people, previews
from dashboard.actions import application
from dashboard.commission_rule_editor import opener, row_says

Row = Mapping[str, Any]
Turn = Callable[[str, int | None], Callable[[], None]]


def pager(name: str, key: str, page: queries.Page, at: int | None, turn: Turn, number: str = "id") -> None:
    """Onwards through a list, and back to its beginning."""
    if page.more or at is not None:
        components.pager(
            name,
            turn(key, None) if at is not None else None,
            turn(key, page.rows[-1][number]) if page.more else None,
            ("Newest", "Older") if key == "before" else ("First", "More"),
        )


# --- parties ----------------------------------------------------------------------------------------------------------


def draw_parties(viewer: people.Viewer, page: queries.Page) -> None:
    """Who takes part, with how many lines of the last 90 days concern each."""
    if not page.rows:
        components.empty("There is no such party", "Add sellers, creators and referrers: each gets a code of its own.")
    for row in page.rows:
        with components.card("unknown" if row["ended_at"] else "ok", f"party-{row['id']}"):
            with st.container(width="stretch", gap="xxsmall"):
                ended = " · has ended" if row["ended_at"] else ""
                kind = KIND_WORDS[row["kind"]]
                st.markdown(f"**{formats.plain(row['name'])}** · {kind} · {formats.plain(row['code'])}{ended}")
                components.html(f'<div class="sy-meta">{escape(_party_meta(row))}</div>')
            with st.container(width="content", horizontal=True):
                if st.button("Change…", key=f"party-{row['id']}-change"):
                    _open_party(viewer, row)
                if row["kind"] != "platform" and st.button(
                    "Take back its end…" if row["ended_at"] else "End…", key=f"party-{row['id']}-end"
                ):
                    _ask_end(viewer, row)


def _party_meta(row: Row) -> str:
    parts = [
        f"{formats.plural(row['lines'], 'line')} in 90 days",
        formats.plural(row["assignments"], "assignment"),
        f"{formats.plural(row['rules'], 'rule')} of its own",
    ]
    if row["return_window_days"] is not None:
        parts.append(f"buyers may return for {formats.plural(row['return_window_days'], 'day')}")
    return " · ".join(parts)


def open_new_party(viewer: people.Viewer) -> None:
    """The dialog that adds a party."""
    components.open_dialog(st.dialog("New party", icon=":material/person_add:")(partial(_draw_party, viewer, None)))


def _open_party(viewer: people.Viewer, row: Row) -> None:
    draw = partial(_draw_party, viewer, row)
    components.open_dialog(st.dialog(f"Change {formats.plain(row['name'])}", icon=":material/edit:")(draw))


def _draw_party(viewer: people.Viewer, row: Row | None) -> None:
    with st.form("party", border=False, enter_to_submit=True):
        kind, code = ("", "") if row is None else (row["kind"], row["code"])
        if row is None:
            kinds = [name for name in KIND_WORDS if name != "platform"]
            kind = st.selectbox("Kind", kinds, format_func=lambda name: KIND_WORDS[name].capitalize(), key="party-kind")
            code = st.text_input("Code", required=True, placeholder="OAK", key="party-code") or ""
        name = st.text_input("Name", value="" if row is None else row["name"], required=True, key="party-name") or ""
        days = st.number_input(
            "Return window, days", min_value=0, max_value=365, placeholder="the company's", key="party-days",
            value=None if row is None else row["return_window_days"], help="Of what it sells. Empty: the company's.",
        )  # fmt: skip
        reason = st.text_input("Reason", required=True, placeholder="The contract of 3 November", key="party-reason")
        with st.container(horizontal=True, horizontal_alignment="right"):
            go = st.form_submit_button("Add the party" if row is None else "Save", type="primary")
    if not go:
        return

    def do(actor: Actor) -> str:
        if row is None:
            actions.add_party(application(), viewer.shop.id, cast(PartyKind, kind), code, name, days, actor)
            return f"{name} is added."
        actions.edit_party(application(), viewer.shop.id, row["id"], name, days, actor)
        return f"{name} is changed."

    _do(viewer, reason or "", do)


def _ask_end(viewer: people.Viewer, row: Row) -> None:
    name, is_ended = row["name"], row["ended_at"] is not None

    def do(actor: Actor) -> str:
        act = actions.resume_party if is_ended else actions.end_party
        act(application(), viewer.shop.id, row["id"], actor)
        queries.forget()
        return f"{name} takes part again." if is_ended else f"{name} has ended."

    lines = (
        ["Its assignments hold again, as if it had never ended.", "Orders that were booked meanwhile stay as they are."]
        if is_ended
        else ["It takes part in no order placed from now on.", "What it earned stays its own, and is paid."]
    )
    previews.ask(
        previews.Preview(
            f"Take back the end of {formats.plain(name)}?" if is_ended else f"End {formats.plain(name)}?",
            ":material/person_remove:",
            f"**{formats.plain(name)}** · {KIND_WORDS[row['kind']]}",
            [(formats.count(row["lines"]), "lines in 90 days"), (formats.count(row["assignments"]), "assignments")],
            lines,
            None,
            "Take back its end" if is_ended else "End the party",
            "Their contract ended",
            do,
        )
    )


def _do(viewer: people.Viewer, reason: str, do: Callable[[Actor], str]) -> None:
    try:
        said = do(Actor(viewer.person.name, reason))
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
        return
    queries.forget()
    components.say_later(said)
    st.rerun()


# --- settings ---------------------------------------------------------------------------------------------------------


def open_settings(viewer: people.Viewer) -> None:
    """The dialog of what the shop decided about money."""
    draw = partial(_draw_settings, viewer, queries.settings(viewer.shop.id))
    components.open_dialog(st.dialog("Return window and approvals", icon=":material/tune:")(draw))


def _draw_settings(viewer: people.Viewer, there: Settings) -> None:
    froms = {"shipped": "Its goods have left", "placed": "It was placed"}
    with st.form("money-settings", border=False, enter_to_submit=True):
        days = st.number_input(
            "Buyers may return for, days", 0, 365, there.return_window_days, key="settings-days",
            help="What was earned is held back as long. A seller may have a window of its own.",
        )  # fmt: skip
        window_from = st.selectbox(
            "Counted since an order", list(froms), index=list(froms).index(there.window_from),
            format_func=froms.__getitem__, key="settings-from",
        )  # fmt: skip
        limit = st.number_input(
            "Adjustments above need a second person, minor units", 0, None, there.approval_limit_minor,
            key="settings-limit", help="10000 is £100.00, or ¥10,000.",
        )  # fmt: skip
        reason = st.text_input("Reason", required=True, placeholder="We promise a month", key="settings-reason")
        with st.container(horizontal=True, horizontal_alignment="right"):
            go = st.form_submit_button("Save", type="primary")
    if go:

        def do(actor: Actor) -> str:
            wanted = Settings(int(days), window_from, int(limit))
            actions.save_settings(application(), viewer.shop.id, wanted, actor)
            return "Saved. Orders booked before keep the window they were booked with."

        _do(viewer, reason or "", do)


# --- assignments ------------------------------------------------------------------------------------------------------


def draw_assignments(viewer: people.Viewer, page: queries.Page) -> None:
    """Which lines concern whom, and a file of them."""
    if not page.rows:
        components.empty(
            "Nothing is assigned", "Say who sells, promotes or refers what: until then the company sells it itself."
        )
    for row in page.rows:
        with components.card("unknown" if row["party_ended_at"] else "ok", f"assignment-{row['id']}"):
            with st.container(width="stretch", gap="xxsmall"):
                ended = " (has ended)" if row["party_ended_at"] else ""
                st.markdown(f"{formats.plain(row['says'])}{ended}")
                components.html(row_says(row, viewer.shop.zone))
            with st.container(width="content"):
                st.button("Change…", key=f"assign-{row['id']}", on_click=opener("assignment", row["id"]))


def draw_file(viewer: people.Viewer) -> None:
    """A file of assignments: what it would change, what is wrong by line, then saving it."""
    st.subheader("Load a file", anchor="load")
    uploaded = st.file_uploader(
        "CSV", type=["csv", "txt"], key=f"assignments-{st.session_state.get('assignments-upload', 0)}"
    )
    st.caption("Columns sku, role and party (codes). A line without a party ends what there is. Nothing changes yet.")
    if uploaded is None:
        return
    with components.panel("assignments-file"):
        try:
            plan = queries.plan_file(viewer.shop.id, uploaded.getvalue().decode("utf-8-sig"))
        except UnicodeDecodeError:
            st.error("The file is not UTF-8: save it as “CSV UTF-8”.", icon=":material/error:")
            return
        except SwitchyardError as refused:
            st.error(formats.sentence(str(refused)), icon=":material/error:")
            return
        if plan.problems:
            st.markdown(
                f"**{formats.plural(len(plan.problems), 'problem')}: nothing is saved until all are put right**"
            )
            body = [[str(each.line), escape(each.column), escape(each.what)] for each in plan.problems[:50]]
            components.table(
                [("Line", True), ("Column", False), ("What is wrong", False)], body, "Problems of the file"
            )
            return
        _draw_plan(viewer, plan)


def _draw_plan(viewer: people.Viewer, plan: Any) -> None:
    components.figures(
        [
            (formats.count(plan.rows), "rows"),
            (formats.count(len(plan.draft.assignments)), "begin"),
            (formats.count(len(plan.draft.ended_assignments)), "end"),
            (formats.count(plan.unchanged), "are so already"),
        ]
    )
    if not plan.draft.changes:
        return
    with st.form("load-assignments", border=False, enter_to_submit=True):
        reason = st.text_input("Reason", required=True, placeholder="The spring range", key="assignments-reason")
        go = st.form_submit_button(f"Activate {formats.plural(plan.draft.changes, 'change')}", type="primary")
    if go:

        def do(actor: Actor) -> str:
            version_id = actions.load(application(), viewer.shop.id, plan, actor)
            st.session_state["assignments-upload"] = st.session_state.get("assignments-upload", 0) + 1
            return f"Active as version {version_id}."

        _do(viewer, reason or "", do)


# --- versions ---------------------------------------------------------------------------------------------------------


def draw_versions(viewer: people.Viewer, page: queries.Page) -> None:
    """Who changed what when and why; what can be undone has its button."""
    if not page.rows:
        st.caption("Every change is kept here, with who, when and why, and can be undone.")
    for row in page.rows:
        with st.container(
            border=True, key=f"item-version-{row['version_id']}", horizontal=True,
            horizontal_alignment="distribute", vertical_alignment="center",
        ):  # fmt: skip
            with st.container(width="stretch", gap="xxsmall"):
                undone = f" · undone by version {row['undone_by_id']}" if row["undone_by_id"] else ""
                st.markdown(f"**Version {row['version_id']}** · {formats.plain(words.did(row))}{undone}")
                components.html(row_says(row, viewer.shop.zone))
            if row["can_undo"]:
                with st.container(width="content"):
                    if st.button("Undo…", key=f"undo-{row['version_id']}"):
                        _ask_undo(viewer, row)


def _ask_undo(viewer: people.Viewer, row: Row) -> None:
    version_id = row["version_id"]
    begun = row["rules_begun"] + row["assignments_begun"]
    ended = row["rules_ended"] + row["assignments_ended"]

    def do(actor: Actor) -> str:
        new_id = actions.undo(application(), viewer.shop.id, version_id, actor)
        queries.forget()
        return f"Version {version_id} is undone by version {new_id}."

    previews.ask(
        previews.Preview(
            f"Undo version {version_id}?",
            ":material/undo:",
            f"**{formats.plain(row['saved_by'])}**: {formats.plain(row['reason'])}",
            [(formats.count(begun), "end"), (formats.count(ended), "begin anew")],
            [
                "Lines that were booked meanwhile stay as they are.",
                "It is a version of its own: it stays on record, and can be undone itself.",
            ],
            None,
            f"Undo version {version_id}",
            "It was a mistake",
            do,
        )
    )
