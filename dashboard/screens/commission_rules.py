"""Who gets what of a sale: commission rules as sentences, parties and assignments, what is at odds, and what if."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from core.commissions.checking import Finding
from dashboard import commission_rule_editor as editor
from dashboard import commission_rule_panels as panels
from dashboard import commission_rule_queries as queries
from dashboard import commission_rule_words as words
from dashboard import components, formats, people

FINDINGS_SHOWN = 4
VIEWS = ("Rules", "Parties", "Assignments", "Versions")


def turn(name: str, to: int | None) -> Callable[[], None]:
    """A callback that begins a list after a row, or at its beginning again."""

    def go() -> None:
        st.query_params.pop(name, None)
        if to is not None:
            st.query_params[name] = str(to)

    return go


def _from_the_first() -> None:
    for name in ("after", "before"):
        st.query_params.pop(name, None)


# --- what is at odds --------------------------------------------------------------------------------------------------


def draw_findings(found: Sequence[Finding]) -> None:
    """Conflicts and gaps as cards, the worst first, each with its one next step."""
    if not found:
        return
    is_all = st.query_params.get("findings") == "all"
    shown = found if is_all else found[:FINDINGS_SHOWN]
    worst = next((at for at, finding in enumerate(shown) if finding.level != "note"), None)
    for at, finding in enumerate(shown):
        look = {"conflict": ("danger", "Conflict"), "gap": ("attention", "Gap"), "note": ("unknown", "Good to know")}
        state, word = look[finding.level]
        with components.card(state, f"finding-{at}"):
            with st.container(width="stretch", gap="xxsmall"):
                st.markdown(f"{formats.badge(state, word)} **{formats.plain(finding.about)}**")
                st.markdown(formats.plain(finding.what))
                st.caption(f"Next: {formats.plain(finding.step[:1].lower() + finding.step[1:])}.")
            if opened := _opens(finding):
                with st.container(width="content"):
                    label, go = opened
                    kind = "primary" if at == worst else "secondary"
                    st.button(label, key=f"finding-{at}-go", type=kind, on_click=go)  # type: ignore[arg-type]
    if len(found) > FINDINGS_SHOWN and not is_all:
        st.button(
            f"Show all {len(found)}", key="findings-all", type="tertiary",
            on_click=lambda: st.query_params.update({"findings": "all"}),
        )  # fmt: skip


def _opens(finding: Finding) -> tuple[str, Callable[[], None]] | None:
    """The button of a finding's next step."""
    if finding.typed:
        return "New rule…", editor.opener("rule", "new", **finding.typed)
    if finding.level == "note" and not finding.parties:
        return None
    # The last named is what gives way: the rule that does not win, or that is too high.
    if finding.rules:
        return "Change the rule…", editor.opener("rule", finding.rules[-1])
    if finding.assignments:
        return "Change it…", editor.opener("assignment", finding.assignments[-1])
    return None


# --- the rules --------------------------------------------------------------------------------------------------------


def draw_rules(viewer: people.Viewer, page: queries.Page, q: str) -> None:
    """The living rules by kind, one sentence each, the most general first."""
    if not page.rows:
        if q:
            components.empty("No rule matches", "Rules are found by kind, channel, category, SKU, party and currency.")
        else:
            components.empty("There are no rules yet", "Whoever sells keeps everything. Set a platform fee to begin.")
        return
    kind = ""
    for row in page.rows:
        if row["kind"] != kind:
            kind = row["kind"]
            st.subheader(words.KIND_HEADS[kind])
        with components.card("ok", f"rule-{row['id']}"):
            with st.container(width="stretch", gap="xxsmall"):
                st.markdown(f"**{formats.plain(row['says'])}**")
                components.html(editor.row_says(row, viewer.shop.zone))
            with st.container(width="content"):
                st.button("Change…", key=f"change-{row['id']}", on_click=editor.opener("rule", row["id"]))


# --- the page ---------------------------------------------------------------------------------------------------------


def draw_view(viewer: people.Viewer) -> None:
    """The list that is chosen, with its search and its one button."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="commission-view"):
        view = st.segmented_control(
            "Show", VIEWS, key="show", default="Rules", required=True, bind="query-params", on_change=_from_the_first,
            label_visibility="collapsed",
        ) or "Rules"  # fmt: skip
        q = ""
        if view != "Versions":
            q = st.text_input(
                "Search", type="search", key="q", bind="query-params", placeholder=f"Search {view.lower()}",
                label_visibility="collapsed", width=260, on_change=_from_the_first,
            ) or ""  # fmt: skip
        _draw_button(viewer, view)
    shop, scope = viewer.shop.id, viewer.person.scope
    after, before = (formats.number(st.query_params.get(name, "")) for name in ("after", "before"))
    with st.skeleton(height=360):
        if view == "Rules":
            page = queries.rules(shop, scope, q.strip(), after)
        elif view == "Parties":
            page = queries.parties(shop, scope, q.strip(), after)
        elif view == "Assignments":
            page = queries.assignments(shop, scope, q.strip(), after)
        else:
            page = queries.versions(shop, scope, before)
    components.one_of(
        {
            "Rules": partial(draw_rules, viewer, page, q),
            "Parties": partial(panels.draw_parties, viewer, page),
            "Assignments": partial(panels.draw_assignments, viewer, page),
            "Versions": partial(panels.draw_versions, viewer, page),
        },
        view,
    )
    if view == "Versions":
        panels.pager("versions", "before", page, before, turn, "version_id")
        return
    panels.pager(view.lower(), "after", page, after, turn)
    if view == "Assignments":
        panels.draw_file(viewer)


def _draw_button(viewer: people.Viewer, view: str) -> None:
    if view == "Rules":
        st.button("New rule…", key="new-rule", on_click=editor.opener("rule", "new"))
    elif view == "Assignments":
        st.button("New assignment…", key="new-assignment", on_click=editor.opener("assignment", "new"))
    elif view == "Parties":
        if st.button("New party…", key="new-party"):
            panels.open_new_party(viewer)
        if st.button("Return window…", key="money-settings"):
            panels.open_settings(viewer)


def draw_page(viewer: people.Viewer) -> None:
    """What is at odds on top, then the lists."""
    shop, scope = viewer.shop.id, viewer.person.scope
    with components.panel("commission-rules"):
        with st.skeleton(height=120):
            totals = queries.totals(shop, scope)
            found = queries.findings(shop, scope)
        counts = [formats.plural(totals["rules"], "rule"), formats.plural(totals["parties"], "party", "parties")]
        counts.append(formats.plural(totals["assignments"], "assignment"))
        components.title("Commission rules", ", ".join(counts), formats.as_of(totals["as_of"], viewer.shop.zone))
        st.markdown(
            "What the platform, creators, referrers and channels get of each sale; the seller has the rest. The most "
            "specific rule of a kind wins. Each line keeps the rules of the day it was booked."
        )
        draw_findings(found)
        draw_view(viewer)


def draw() -> None:
    """One rule or assignment, where the address names it; else all of them."""
    viewer = people.viewer()
    rule, assignment = st.query_params.get("edit"), st.query_params.get("assign")
    components.one_of(
        {
            "all": partial(draw_page, viewer),
            "rule": partial(editor.draw, viewer, "rule", rule or ""),
            "assignment": partial(editor.draw, viewer, "assignment", assignment or ""),
        },
        "rule" if rule else "assignment" if assignment else "all",
    )


draw()
