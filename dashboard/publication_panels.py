"""What waits for a person at Shopify: what holds all of it, a card for each cause, the products of one, one product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import streamlit as st

from core.audit import Actor
from dashboard import components, formats, people, previews, publication_actions, publication_queries, publication_words
from dashboard.publication_queries import Page
from dashboard.publication_words import Row

_TEXT = 300


def draw_obstacle(viewer: people.Viewer, row: Row) -> None:
    """What holds every write of the connection."""
    where = viewer.where(connection=str(row["connection_id"]))
    link = components.link("connections", "To the connection", where)
    if row["writes_held_since"] is not None:
        with components.card("danger", "products-held"), st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"**Nothing is written to {formats.plain(row['name'])}.**")
            when = components.when(row["writes_held_since"], row["as_of"], viewer.shop.zone)
            why = publication_words.sentence(formats.shortened(row["writes_held_why"], _TEXT))
            components.html(f'<div class="sy-muted">{escape(why)}.</div>')
            components.html(f'<div class="sy-next"><span class="sy-meta">{when}</span> · {link}</div>')
            st.caption("→ Grant the right at Shopify. All that is to be written goes on by itself, within a minute.")
    elif not row["may_write"]:
        with components.card("attention", "products-held"), st.container(width="stretch", gap="xxsmall"):
            st.markdown(
                f"**Nothing is written to {formats.plain(row['name'])}:** it is paused, stopped or in shadow mode."
            )
            components.html(f'<div class="sy-next">{link}</div>')


def draw_causes(viewer: people.Viewer, row: Row, causes: Sequence[Row]) -> None:
    """A card for each cause, the one of most products first."""
    if not causes:
        components.empty(*publication_words.nothing(row))
        return
    st.subheader("What waits, by cause", anchor="causes")
    for one in causes:
        words = publication_words.cause(one["cause"])
        with components.card("attention", f"products-{one['cause']}"):
            with st.container(width="stretch", gap="xxsmall"):
                st.markdown(f"**{formats.plain(words.head)}**")
                since = components.when(one["since"], row["as_of"], viewer.shop.zone)
                number = formats.plural(one["products"], "product")
                components.html(f'<div class="sy-meta">{escape(number)}, the first {since}</div>')
                problem = escape(formats.shortened(one["problem"], _TEXT))
                components.html(f'<div class="sy-example">For example {_link(viewer, one)}: {problem}</div>')
                st.caption(f"→ {formats.plain(words.step)}")
            with st.container(width="content", horizontal=True, vertical_alignment="center"):
                components.open_here("Show each", f"open-{one['cause']}", cause=one["cause"])


def draw_cause(
    viewer: people.Viewer, row: Row, cause: str, page: Page, go_on: Callable[[str | None], Callable[[], None]],
    is_later: bool,
) -> None:  # fmt: skip
    """The products that wait for one cause, with what to do about it."""
    if not page.rows and not is_later:
        components.empty("Nothing waits for that any more", "It went through, or somebody saw to it.")
        return
    words = publication_words.cause(cause)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center",
                      key="stack-products-cause"):  # fmt: skip
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"**{formats.plain(words.head)}**")
            st.caption(f"→ {formats.plain(words.step)}")
        if page.rows:
            with st.container(width="content"):
                number = formats.count(len(page.rows))
                if st.button(f"Try these {number} again…", key="release-page", icon=":material/replay:",
                             type="primary"):  # fmt: skip
                    ask_release(viewer, row, cause, page.rows)
    with st.container(border=True, key="sy-rows-target"):
        for one in page.rows:
            _draw_row(viewer, row, cause, one)
    if page.next is not None or is_later:
        on = None if page.next is None else go_on(f"{page.next[0].isoformat()}~{page.next[1]}")
        components.pager("products-waiting", go_on(None) if is_later else None, on, ("First", "More"))


def _draw_row(viewer: people.Viewer, row: Row, cause: str, one: Row) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"stack-failed-{one['link_id']}"):
        with st.container(width="stretch", gap=None):
            since = components.when(one["waits_since"], one["as_of"], viewer.shop.zone)
            components.html(
                f'<div class="sy-next"><b>{_link(viewer, one)}</b> <span class="sy-meta">{since}</span></div>'
                f'<div class="sy-muted">{escape(publication_words.sentence(one["problem"]))}</div>'
            )
        with st.container(width="content"):
            if st.button("Try again…", key=f"release-{one['link_id']}", type="tertiary", icon=":material/replay:"):
                ask_release(viewer, row, cause, [one])


def _link(viewer: people.Viewer, one: Row) -> str:
    """A product as a link to its page; one that is none of ours has no page here."""
    said = publication_words.name(one)
    if one["product_id"] is None:
        return escape(said)
    return components.link("products", said, viewer.where(product=str(one["product_id"])), part="at-shopify")


def ask_release(viewer: people.Viewer, row: Row, cause: str, chosen: Sequence[Row]) -> None:
    """Ask whether products that wait are to be tried again."""
    ids = [one["link_id"] for one in chosen]

    def do(actor: Actor) -> str:
        app = publication_actions.application()
        said = publication_actions.release(app, viewer.shop.id, row["connection_id"], ids, actor)
        publication_queries.forget()
        return formats.plain(said)

    words, number = publication_words.cause(cause), len(ids)
    about = words.head if number > 1 else formats.sentence(chosen[0]["problem"])
    held = row["writes_held_since"] is not None or not row["may_write"]
    previews.ask(
        previews.Preview(
            title=f"Try {formats.plural(number, 'product')} again?",
            icon=":material/replay:",
            about=f"**{formats.plain(about)}**",
            figures=[(formats.count(number), "read and judged anew")],
            lines=[
                "**Read again** with the next turn, as Shopify shows it then, and written where it differs in what we"
                " are master of.",
                "What waits for the same reason again is here again, and nothing else waits for it.",
            ],
            warning="Nothing is written there now. It is read all the same." if held else None,
            verb=f"Try {formats.count(number)} again",
            hint="The SKUs were mended",
            do=do,
        )
    )


# --- On the page of one product ---------------------------------------------------------------------------------------


def draw_product(viewer: people.Viewer, product_id: int) -> None:
    """How a product stands at each connection that keeps products; nothing where there is none."""
    found = publication_queries.of_product(viewer.shop.id, viewer.person.scope, product_id)
    if not found:
        return
    st.subheader("At Shopify", anchor="at-shopify")
    for one in found:
        look, word = publication_words.STATES[one["state"]]
        if one["writes_held_since"] is not None and one["state"] == "differs":
            look, word = "danger", "Held"
        with components.card(look, f"at-{one['link_id']}"):
            with st.container(width="stretch", gap="xxsmall"):
                components.html(
                    f'<div class="sy-next"><b>{escape(one["name"])}</b>'
                    f' <span class="sy-pill sy-pill-{formats.state(look).look}">{escape(word)}</span></div>'
                    f'<div class="sy-meta">{_times(viewer, one)}</div>'
                )
                if said := _said(one):
                    components.html(f'<div class="sy-muted">{escape(publication_words.sentence(said))}</div>')
                if one["state"] in ("asks", "gone"):
                    st.caption(f"→ {formats.plain(publication_words.cause(one['cause']).step)}")
            if one["state"] in ("asks", "gone"):
                with st.container(width="content"):
                    if st.button("Try again…", key=f"release-{one['link_id']}", icon=":material/replay:"):
                        ask_release(viewer, one, one["cause"], [one])


def _said(one: Row) -> str:
    if one["state"] == "differs" and one["writes_held_since"] is not None:
        return str(one["writes_held_why"])
    return one["problem"] or ""


def _times(viewer: people.Viewer, one: Row) -> str:
    """Since when it waits, when it was read, what came of the last write; ready HTML."""
    parts = []
    if one["waits_since"] is not None:
        parts.append(f"waits {components.when(one['waits_since'], one['as_of'], viewer.shop.zone)}")
    if one["seen_at"] is not None:
        parts.append(f"read {components.when(one['seen_at'], one['as_of'], viewer.shop.zone)}")
    else:
        parts.append("not there yet")
    if write := publication_words.write(one):
        when = components.when(one["outcome_at"] or one["sent_at"], one["as_of"], viewer.shop.zone)
        parts.append(f"last write {escape(write)} {when}")
    return " · ".join(parts)
