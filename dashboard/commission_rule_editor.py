"""One rule or assignment: what it says, what it puts at odds, what it would have changed lately, and activating it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.commissions.directory import ROLE_KINDS, Directory
from core.commissions.drafts import Draft
from core.commissions.replaying import Earning, Replayed
from core.commissions.rules import SELLER_KINDS
from core.commissions.typed import ASSIGNMENT_FIELDS, LABELS, RULE_FIELDS, BadRule
from core.errors import SwitchyardError
from dashboard import commission_rule_actions, commission_rule_queries, components, formats, people, theme
from dashboard import commission_rule_words as words
from dashboard.actions import application
from dashboard.charts import CONFIG
from dashboard.commission_rule_queries import Planned, Thing

SEE, END = "see", "end"
_SEEN = "commission-previewed"
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "kind": ("platform fee", "creator commission", "referrer fee", "channel fee"),
    "base": ("items", "carriage"),
    "borne_by": ("seller", "platform"),
    "on_refund": ("returned", "kept"),
    "tax_basis": ("without taxes", "with taxes"),
    "tax_to": ("", "tax authority", "seller"),
    "role": ("seller", "creator", "referrer"),
}
_HELP = {
    "fee": "12.5 %; or 0.30 GBP per unit; or tiers of a month's volume: 0: 12 %, 10000: 10 %, 50000: 8 %.",
    "currency": "Of tiers. Of a percentage: only for orders in this currency.",
    "borne_by": "Whose share it comes out of. The platform's own fee is the seller's.",
    "on_refund": "Whether the fee goes back with the goods.",
    "tax_basis": "Whether it is taken of amounts with or without taxes.",
    "tax_to": "Platform fees of items only: who takes a line's taxes.",
    "valid_from": "For orders placed since, in the shop's zone: 2026-12-01. Empty: always.",
    "valid_to": "The last day counts in full.",
    "code": "A discount or referral code that the buyer came with.",
    "customer": "The channel's id of the buyer.",
    "sku": "Codes are compared exactly: upper and lower case differ.",
}


def fields_of(thing: Thing) -> tuple[str, ...]:
    """What may be typed of it."""
    return RULE_FIELDS if thing == "rule" else ASSIGNMENT_FIELDS


def leave() -> None:
    """Back to the list."""
    for name in ("edit", "assign", SEE, END, *RULE_FIELDS, *ASSIGNMENT_FIELDS):
        st.query_params.pop(name, None)


def opener(thing: Thing, number: int | str, **typed: str) -> Callable[[], None]:
    """A callback that opens one, or a new one with some fields filled in."""

    def go() -> None:
        leave()
        st.query_params.update({"edit" if thing == "rule" else "assign": str(number), **typed})

    return go


def draw(viewer: people.Viewer, thing: Thing, wanted: str) -> None:
    """The form, and below it what would happen."""
    back = "All commission rules"
    st.button(back, key="all-commission-rules", type="tertiary", icon=":material/arrow_back:", on_click=leave)
    with components.panel("commission-rule"):
        number = formats.number(wanted)
        saved = None if number is None else commission_rule_queries.typed(viewer.shop.id, thing, number)
        what = "rule" if thing == "rule" else "assignment"
        components.title(
            f"New {what}" if saved is None else f"Change {'a rule' if thing == 'rule' else 'an assignment'}"
        )
        if number is not None and saved is None:
            st.info(f"That {what} has ended since: this one takes its place.", icon=":material/info:")
        typed = {name: value for name in fields_of(thing) if (value := st.query_params.get(name))} or saved or {}
        _draw_form(viewer, thing, wanted, typed, is_saved=saved is not None)
        if st.query_params.get(SEE):
            _draw_preview(viewer, thing, typed, number if saved is not None else None)


# --- the form ---------------------------------------------------------------------------------------------------------


def _draw_form(viewer: people.Viewer, thing: Thing, wanted: str, typed: Mapping[str, str], is_saved: bool) -> None:
    names = commission_rule_queries.names(viewer.shop.id, viewer.person.scope)
    key = formats.key(thing, wanted, sorted(typed.items()))
    form = _Form(key, typed, names)
    with st.form(f"commission-{key}", enter_to_submit=True):
        given = _rule_fields(form, viewer.shop.currency) if thing == "rule" else _assignment_fields(form)
        with st.container(horizontal=True, horizontal_alignment="right"):
            ends = is_saved and st.form_submit_button("Preview its end…")
            is_seen = bool(st.query_params.get(SEE))
            sees = st.form_submit_button("Preview…", type="secondary" if is_seen else "primary")
    if not sees and not ends:
        return
    leave()
    more = {END: "yes"} if ends else {name: text.strip() for name, text in given.items() if text.strip()}
    st.query_params.update({"edit" if thing == "rule" else "assign": wanted, SEE: "yes", **more})
    st.rerun()


def _rule_fields(form: _Form, currency: str) -> dict[str, str]:
    st.markdown("**What it is**")
    with st.grid(4, min_column_width=190):
        given = {"kind": form.choose("kind", "Kind"), "base": form.choose("base", "Taken of")}
        given["fee"] = form.write("fee", "Fee", "12 %")
        given["currency"] = form.write("currency", "Currency", f"{currency}, for tiers")
    st.markdown("**What it is for** · what is left open is for all; the most specific rule of a kind wins")
    with st.grid(3, min_column_width=220):
        given["seller"] = form.party("seller", "Seller", SELLER_KINDS, "Every seller")
        payees = (*ROLE_KINDS["creator"], *ROLE_KINDS["referrer"])
        given["payee"] = form.party("payee", "Creator or referrer", payees, "Everyone")
        given |= form.goods()
    st.markdown("**How it works**")
    with st.grid(3, min_column_width=190):
        for name, label in (("borne_by", "Borne by"), ("on_refund", "On refund"), ("tax_basis", "Taken of amounts")):
            given[name] = form.choose(name, label)
        given["tax_to"] = form.choose("tax_to", "Taxes go to")
        given |= form.days()
    return given


def _assignment_fields(form: _Form) -> dict[str, str]:
    st.markdown("**Who**")
    with st.grid(2, min_column_width=220):
        given = {"role": form.choose("role", "As what")}
        kinds = sorted({kind for kinds in ROLE_KINDS.values() for kind in kinds})
        given["party"] = form.party("party", "Party", kinds, "Choose a party")
    st.markdown("**Which lines** · every field that is set must match; the most specific assignment wins")
    with st.grid(3, min_column_width=220):
        given |= form.goods()
        given["code"] = form.write("code", "Code of the buyer", "any")
        given["customer"] = form.write("customer", "Buyer", "any")
        given |= form.days()
    return given


class _Form:
    """Widgets filled with what is typed."""

    def __init__(self, key: str, typed: Mapping[str, str], names: Directory) -> None:
        self.key, self.typed, self.names = key, typed, names

    def write(self, name: str, label: str, hint: str) -> str:
        text = st.text_input(
            label, value=self.typed.get(name, ""), key=f"{name}-{self.key}", placeholder=hint, help=_HELP.get(name)
        )
        return text or ""

    def choose(self, name: str, label: str) -> str:
        options = list(_CHOICES[name])
        said = self.typed.get(name, options[0])
        if said not in options:
            options.append(said)
        return st.selectbox(
            label,
            options,
            index=options.index(said),
            key=f"{name}-{self.key}",
            help=_HELP.get(name),
            format_func=lambda word: word[:1].upper() + word[1:] if word else "As usual",
        )

    def _of(self, name: str, label: str, known: Mapping[str, str], anything: str) -> str:
        said = self.typed.get(name, "")
        options = ["", *known, *([said] if said and said not in known else [])]
        return st.selectbox(
            label,
            options,
            index=options.index(said),
            key=f"{name}-{self.key}",
            format_func=lambda option: known.get(option, option) if option else anything,
        )

    def party(self, name: str, label: str, kinds: Iterable[str], anything: str) -> str:
        known = {
            party.code: f"{party.name} ({party.code})"
            for party in self.names.parties.values()
            if party.kind in set(kinds) and party.ended_at is None
        }
        return self._of(name, label, known, anything)

    def goods(self) -> dict[str, str]:
        channels = {name: name for name in self.names.connections.values()}
        categories = {name: name for name in sorted(self.names.categories)}
        return {
            "connection": self._of("connection", "Channel", channels, "Every channel"),
            "category": self._of("category", "Category", categories, "Any category"),
            "sku": self.write("sku", "or one SKU, by code", "any SKU"),
        }

    def days(self) -> dict[str, str]:
        return {
            "valid_from": self.write("valid_from", "First day", "always"),
            "valid_to": self.write("valid_to", "Last day", "open"),
        }


# --- the preview ------------------------------------------------------------------------------------------------------


def _draw_preview(viewer: people.Viewer, thing: Thing, typed: Mapping[str, str], number: int | None) -> None:
    is_end = bool(st.query_params.get(END))
    try:
        with st.skeleton(height=200):
            planned = commission_rule_queries.preview(viewer.shop.id, thing, typed, number, is_end)
    except BadRule as refused:
        _draw_refusal(refused)
        return
    st.subheader("What would change")
    lines = [f"**Begins**: {formats.plain(text)}." for text in planned.begins]
    lines += [f"**Ends**: {formats.plain(text)}." for text in planned.ends]
    st.markdown("\n".join(f"- {line}" for line in lines))
    if planned.begins == planned.ends:
        st.info("It says exactly that already: there is nothing to activate.", icon=":material/info:")
        return
    for at, finding in enumerate(planned.findings):
        look = "unknown" if finding.level == "note" else "attention"
        with components.card(look, f"made-{at}"), st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"**{formats.plain(finding.about)}** · {formats.plain(finding.what)}")
            st.caption(f"{formats.plain(finding.step)}.")
    _draw_replay(viewer, planned)
    _draw_activate(viewer, planned)


def _draw_refusal(refused: BadRule) -> None:
    with st.container(border=True, key="card-danger-refused"):
        st.markdown(f"{formats.badge('danger', 'Cannot be saved')} Put this right and preview again:")
        lines = []
        for item in refused.problems:
            label = LABELS.get(item.field, item.field)
            head = f"**{label[:1].upper()}{label[1:]}**: " if item.field else ""
            said = formats.sentence(item.what)
            lines.append(head + (said.removesuffix(".") if said.endswith("?.") else said))
        st.markdown("\n".join(f"- {line}" for line in lines))


def _draw_replay(viewer: people.Viewer, planned: Planned) -> None:
    st.subheader(f"On the orders of the last {commission_rule_queries.REPLAY_DAYS} days")
    found, names = _tried(viewer.shop.id, planned.draft, planned.token)
    st.markdown(f"**{words.answer(found)}**")
    if said := words.notes(found, viewer.shop.zone):
        st.caption(" ".join(said))
    for currency in sorted({one.currency for one in found.changes}):
        _draw_money([one for one in found.changes if one.currency == currency], names, currency)
    _draw_examples(found, names)


def _tried(shop_id: int, draft: Draft, token: int) -> tuple[Replayed, Directory]:
    """Tried once for each preview of a session: it takes seconds where thousands of lines were sold."""
    kept = st.session_state.get("commission-tried")
    if kept is not None and kept[0] == (shop_id, draft, token):
        tried: tuple[Replayed, Directory] = kept[1]
        return tried
    place = st.empty()

    def show(done: int, total: int) -> None:
        text = f"Trying it on {formats.plural(total, 'line')}: {formats.count(done)} done"
        place.progress(min(1.0, done / max(1, total)), text=text)

    found = commission_rule_queries.tried(shop_id, draft, show)
    place.empty()
    st.session_state["commission-tried"] = ((shop_id, draft, token), found)
    return found


def _draw_money(changes: Sequence[Earning], names: Directory, currency: str) -> None:
    st.plotly_chart(
        words.more_or_less(changes, names, theme.tokens()),
        theme=None,
        key=f"more-or-less-{currency}",
        config=CONFIG,
        alt=words.picture_says(changes, names),
    )
    heads = [("Who", False), ("As booked", True), ("Under the draft", True), ("Difference", True)]
    body = [
        [
            f"<b>{escape(words.who(one, names))}</b>",
            escape(formats.money(one.booked_minor, currency)),
            escape(formats.money(one.draft_minor, currency)),
            f"<b>{escape(words.signed_money(one.change_minor, currency))}</b>",
        ]
        for one in changes
    ]
    components.table(heads, body, f"What each would have earned in {currency}", dense=True)


def _draw_examples(found: Replayed, names: Directory) -> None:
    if not found.examples:
        return
    st.markdown("**The lines of which most money would have moved**")
    heads = [("Order", False), ("SKU", False), ("Who would have more or less", False)]
    body = [
        [
            components.link("orders", line.order_name, {"order": str(line.order_id)}),
            f'<span class="sy-code">{escape(names.sku(line.sku_id))}</span>' if line.sku_id else formats.UNKNOWN,
            escape(
                ", ".join(
                    f"{words.who(one, names)} {words.signed_money(one.change_minor, one.currency)}"
                    for one in line.earnings
                )
            ),
        ]
        for line in found.examples[:5]
    ]
    components.table(heads, body, "Lines of which most money would have moved")


def _draw_activate(viewer: people.Viewer, planned: Planned) -> None:
    # What was seen is what may be saved: the draft that stood on the page when the button was pressed.
    st.session_state[_SEEN] = (planned.draft, planned.token)
    with st.form("activate-commissions", enter_to_submit=True):
        reason = st.text_input(
            "Reason", required=True, placeholder="The new contract", key="commission-reason",
            help="Kept on record with your name.",
        )  # fmt: skip
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.caption("For lines that are booked from now on. Can be undone as long as nobody changes the same.")
            st.form_submit_button(
                f"Activate {formats.plural(planned.draft.changes, 'change')}",
                type="primary",
                on_click=_remember,
                key="activate-go",
            )
    pressed = st.session_state.pop("commission-pressed", None)
    if pressed and reason:
        draft, token = pressed
        _activate(viewer, draft, token, reason)


def _remember() -> None:
    """Runs before the page is drawn anew, when the draft is still that of the page that was seen."""
    st.session_state["commission-pressed"] = st.session_state.get(_SEEN)


def _activate(viewer: people.Viewer, draft: Draft, token: int, reason: str) -> None:
    try:
        actor = Actor(viewer.person.name, reason)
        version_id = commission_rule_actions.activate(application(), viewer.shop.id, draft, token, actor)
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
        commission_rule_queries.forget()
        st.button("Look again", key="commission-look-again")
        return
    except SQLAlchemyError as error:
        components.failed(error, "activate")
        return
    commission_rule_queries.forget()
    leave()
    components.say_later(f"Active as version {version_id}.")
    st.rerun()


def row_says(row: Mapping[str, Any], zone: str) -> str:
    """Who saved a row, when and why, as HTML."""
    return (
        f'<div class="sy-meta">{components.when(row["saved_at"], row["as_of"], zone)} · '
        f"{escape(row['saved_by'])}: {escape(row['reason'])} · version {row['version_id']}</div>"
    )
