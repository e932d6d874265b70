"""One rule: what it is for and what it says, what that would do on live data, and saving it with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import SwitchyardError
from core.policies.rules import BadRule, percent
from dashboard import components, formats, people, queries, rule_actions, rule_queries, rule_words, theme
from dashboard.actions import application
from dashboard.charts import CONFIG
from dashboard.rule_queries import REMOVE, Planned

EVERY = "Every channel"
ANY = "Any category"
INHERIT = "Inherited"
_OFFERED = {INHERIT: "", "Yes": "yes", "No": "no"}
SCOPE = ("connection", "category", "sku")
_TERMS: Mapping[str, tuple[str, str]] = {
    "share_percent": ("Share of the pool, %", "Of what is left of the pool after the safety stock, rounded down."),
    "buffer_units": ("Buffer, units", "Held back from the share: sold elsewhere before this channel hears of it."),
    "safety_stock_units": ("Safety stock, units", "Of the pool, never offered."),
    "floor_units": ("Floor, units", "At least so many, while the pool has them."),
    "cap_units": ("Cap, units", "At most so many. Where it crosses a floor, the cap wins."),
    "priority": ("Priority, 0 to 100", "The higher, the sooner it is raised and the later it is lowered."),
    "switch_units": (
        "Adaptive: escrow from, units",
        "At so many available or fewer. Empty everywhere: from measured sales.",
    ),
}
_MODES = {INHERIT: "", "Pooled": "pooled", "Adaptive": "adaptive", "Escrow": "escrow"}
_MODE_HELP = (
    "Pooled: every channel shows the pool. Escrow: each unit is shown on one channel only, so none can be oversold. "
    "Adaptive: pooled while there is plenty, escrow when it gets scarce. A SKU goes by the strictest of its channels."
)
FIELDS = (*SCOPE, *_TERMS, "is_offered", "mode")
_AFTER = "row"
_TOKEN = "rule-previewed"


def typed_in_address() -> dict[str, str]:
    """The rule as the address has it: what was typed and sent to be previewed."""
    return {name: value for name in (*FIELDS, REMOVE) if (value := st.query_params.get(name))}


def leave() -> None:
    """Back to the list."""
    for name in ("edit", "see", _AFTER, *FIELDS, REMOVE):
        st.query_params.pop(name, None)


def open_new() -> None:
    """Begin a rule."""
    leave()
    st.query_params["edit"] = "new"


def open_rule(row: Mapping[str, Any]) -> Callable[[], None]:
    """A callback that opens a rule with what it says."""

    def go() -> None:
        leave()
        st.query_params["edit"] = str(row["policy_id"])

    return go


def draw(viewer: people.Viewer, wanted: str) -> None:
    """The form, and below it what would happen."""
    st.button("All rules", key="all-rules", type="tertiary", icon=":material/arrow_back:", on_click=leave)
    with components.panel("rule"):
        row = rule_queries.policy(viewer.shop.id, number) if (number := formats.number(wanted)) is not None else None
        names = [each["name"] for each in queries.connections(viewer.shop.id, viewer.person.scope)]
        categories = rule_queries.categories(viewer.shop.id, viewer.person.scope)
        if row is None:
            components.title("New rule")
            if number is not None:
                st.info("That rule has ended since: this one takes its place.", icon=":material/info:")
        else:
            components.title("Change a rule", rule_words.scope(row))
        typed = typed_in_address() or _typed_of(row)
        _draw_form(wanted, typed, names, categories, row)
        if st.query_params.get("see"):
            _draw_preview(viewer, typed)


def _typed_of(row: Mapping[str, Any] | None) -> dict[str, str]:
    """A saved rule as one would type it."""
    if row is None:
        return {}
    found = {"connection": row["connection"], "category": row["category"], "sku": row["code"]}
    found |= {name: row[name] for name in _TERMS}
    said = {name: str(value) for name, value in found.items() if value is not None}
    if row["share_percent"] is not None:
        said["share_percent"] = percent(row["share_percent"])
    if row["is_offered"] is not None:
        said["is_offered"] = "yes" if row["is_offered"] else "no"
    if row["mode"] is not None:
        said["mode"] = row["mode"]
    return said


def _draw_form(
    wanted: str,
    typed: Mapping[str, str],
    names: list[str],
    categories: list[tuple[str, int]],
    row: Mapping[str, Any] | None,
) -> None:
    key = formats.key(wanted, sorted(typed.items()))
    counts = dict(categories)
    channels = [EVERY, *names]
    kinds = [ANY, *counts]
    if typed.get("category") and typed["category"] not in counts:
        kinds.append(typed["category"])
    if typed.get("connection") and typed["connection"] not in names:
        channels.append(typed["connection"])
    with st.form(f"rule-{key}", enter_to_submit=True):
        st.markdown("**What it is for**")
        with st.grid(3, min_column_width=220):
            connection = st.selectbox(
                "Channel", channels, index=channels.index(typed.get("connection") or EVERY), key=f"connection-{key}"
            )
            category = st.selectbox(
                "Category", kinds, index=kinds.index(typed.get("category") or ANY), key=f"category-{key}",
                format_func=lambda name: f"{name} ({formats.plural(counts[name], 'SKU')})" if name in counts else name,
            )  # fmt: skip
            sku = st.text_input(
                "or one SKU, by code", value=typed.get("sku", ""), key=f"sku-{key}", placeholder="any SKU",
                help="Codes are compared exactly: upper and lower case differ.",
            )  # fmt: skip
        st.markdown("**What it says** · what is left empty is inherited from the next wider rule")
        with st.grid(4, min_column_width=190):
            given = {
                name: st.text_input(
                    label, value=typed.get(name, ""), key=f"{name}-{key}", placeholder="inherited", help=about
                )
                for name, (label, about) in _TERMS.items()
            }
            offered = st.selectbox(
                "Offered at all",
                list(_OFFERED),
                index=list(_OFFERED.values()).index(typed.get("is_offered", "")),
                key=f"offered-{key}",
            )
            # What cannot be a mode comes from an address only: the preview says so, the form offers what can.
            known = typed.get("mode", "") if typed.get("mode", "") in _MODES.values() else ""
            mode = st.selectbox(
                "How stock is shared",
                list(_MODES),
                index=list(_MODES.values()).index(known),
                key=f"mode-{key}",
                help=_MODE_HELP,
            )
        with st.container(horizontal=True, horizontal_alignment="right"):
            ends = row is not None and st.form_submit_button("Preview its end…")
            # One primary button a page: once previewed, that is to save.
            is_seen = bool(st.query_params.get("see"))
            sees = st.form_submit_button("Preview…", type="secondary" if is_seen else "primary")
    if not sees and not ends:
        return
    said = {
        "connection": "" if connection == EVERY else connection,
        "category": "" if category == ANY else category,
        "sku": sku or "",
        **{name: value or "" for name, value in given.items()},
        "is_offered": _OFFERED[offered],
        "mode": _MODES[mode],
    }
    if ends:
        assert row is not None
        said = {name: value for name, value in _typed_of(row).items() if name in SCOPE} | {REMOVE: "yes"}
    leave()
    st.query_params.update(
        {"edit": wanted, "see": "yes", **{name: value.strip() for name, value in said.items() if value.strip()}}
    )
    st.rerun()


def _draw_preview(viewer: people.Viewer, typed: Mapping[str, str]) -> None:
    after = st.query_params.get(_AFTER, "")
    try:
        with st.skeleton(height=300):
            planned = rule_queries.preview(viewer.shop.id, viewer.person.scope, typed, formats.number(after) or 0)
    except BadRule as refused:
        _draw_refusal(refused)
        return
    st.subheader("What each channel would show")
    st.markdown(f"**{rule_words.answer(planned.found)}**")
    if shared := rule_words.sharing(planned.modes):
        st.markdown(shared)
    if planned.found.channels:
        _draw_channels(planned)
        _draw_sample(planned, after)
    _draw_save(viewer, planned, is_end=REMOVE in typed)


def _draw_refusal(refused: BadRule) -> None:
    with st.container(border=True, key="card-danger-refused"):
        st.markdown(
            f"{formats.badge('danger', 'Cannot be a rule')} Nothing is saved. Put this right and preview again:"
        )
        labels = {name: label for name, (label, _) in _TERMS.items()}
        labels |= {"connection": "Channel", "category": "Category", "sku": "SKU", "is_offered": "Offered at all"}
        labels |= {"mode": "How stock is shared"}
        lines = [
            f"**{labels[item.field]}**: {formats.sentence(item.what)}"
            if item.field in labels
            else formats.sentence(item.what)
            for item in refused.problems
        ]
        st.markdown("\n".join(f"- {line}" for line in lines))


def _draw_channels(planned: Planned) -> None:
    channels = planned.found.channels
    st.plotly_chart(
        rule_words.now_and_then(channels, theme.tokens()),
        theme=None,
        key="now-and-then",
        config=CONFIG,
        alt=rule_words.picture_says(channels),
    )
    heads = [("Channel", False), *((name, True) for name in ("Listings", "Up", "Down", "To zero", "The same"))]
    body = [
        [
            f"<b>{escape(each.connection)}</b>",
            *(components.number(value) for value in (each.listings, each.up, each.down, each.to_zero, each.same)),
        ]
        for each in channels
    ]
    components.table(heads, body, "What would change on each channel", dense=True)
    off = sum(each.listings - each.published for each in channels)
    if off:
        st.caption(f"{formats.plural(off, 'listing')} of them not published yet: counted, but shown nowhere.")


def _draw_sample(planned: Planned, after: str) -> None:
    if not planned.sample and not after:
        return
    st.markdown("**Listings that would change**")
    heads = [("SKU", False), ("Channel", False), ("Shows now", True), ("Should show now", True), ("Would show", True)]
    body = [
        [
            f'<span class="sy-code">{escape(row.code)}</span> <span class="sy-meta">{escape(row.title)}</span>',
            escape(row.connection),
            components.number(row.published_units),
            components.number(row.desired_units),
            f"<b>{components.number(row.would_units)}</b>",
        ]
        for row in planned.sample
    ]
    components.table(heads, body, "Listings that would show another number")
    if planned.more or after:
        components.pager(
            "sample",
            _turn(None) if after else None,
            _turn(planned.sample[-1].listing_id) if planned.more else None,
            ("First", "More listings"),
        )


def _turn(after_id: int | None) -> Callable[[], None]:
    def go() -> None:
        st.query_params.pop(_AFTER, None)
        if after_id is not None:
            st.query_params[_AFTER] = str(after_id)

    return go


def _draw_save(viewer: people.Viewer, planned: Planned, is_end: bool) -> None:
    total = rule_words.sums(planned.found)["listings"]
    # What was seen is what may be saved: the token of the preview that stood on the page when the button was pressed.
    st.session_state[_TOKEN] = (planned.changes, planned.found.token)
    with st.form("save-rule", enter_to_submit=True):
        reason = st.text_input(
            "Reason", required=True, placeholder="Amazon sold out twice last week", key="rule-reason",
            help="Kept on record with your name.",
        )  # fmt: skip
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.caption("Can be undone as long as nobody changes the same rule.")
            verb = "End the rule" if is_end else "Save"
            st.form_submit_button(
                f"{verb} for {formats.plural(total, 'listing')}" if total else verb,
                type="primary",
                on_click=_remember,
                key="save-rule-go",
            )
    pressed = st.session_state.pop("rule-pressed", None)
    if pressed and reason:
        changes, token = pressed
        _save(viewer, changes, token, reason)


def _remember() -> None:
    """Runs before the page is drawn anew, when the token is still that of the page that was seen."""
    st.session_state["rule-pressed"] = st.session_state.get(_TOKEN)


def _save(viewer: people.Viewer, changes: Any, token: str, reason: str) -> None:
    try:
        actor = Actor(viewer.person.name, reason)
        version_id = rule_actions.save(application(), viewer.shop.id, changes, token, actor)
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
        rule_queries.forget()
        st.button("Look again", key="rule-look-again")
        return
    except SQLAlchemyError as error:
        components.failed(error, "save-rule")
        return
    rule_queries.forget()
    leave()
    st.query_params["version"] = str(version_id)
    components.say_later(f"Saved as version {version_id}. Its listings follow within seconds.")
    st.rerun()
