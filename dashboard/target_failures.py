"""What Klaviyo does not take or cannot be told: by cause with the next step, and the entries of one cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import streamlit as st

from dashboard import components, formats, people, target_dialogs, target_queries, target_words
from dashboard.target_queries import Page
from dashboard.target_words import Cause, Row

Turn = Callable[[str, str | None], Callable[[], None]]

_KEPT = "target-causes"
CAUSES_MAX = 20


def draw_causes(viewer: people.Viewer, target: Row, causes: Sequence[Cause]) -> None:
    """A card for each cause; a refresh brings new figures into their order, and never another order."""
    if not causes:
        return
    st.subheader("What fails, by cause", anchor="causes")
    ordered = _in_kept_order(target["connection_id"], causes)
    examples = target_queries.examples(
        viewer.shop.id,
        viewer.person.scope,
        target["connection_id"],
        tuple(cause.first_id for cause in ordered[:CAUSES_MAX]),
    )
    # The first that waits for a person has the one primary button.
    worst = next((cause for cause in ordered if cause.to_requeue and cause.held), None)
    for cause in ordered[:CAUSES_MAX]:
        _draw_card(viewer, target, cause, examples.get(cause.first_id), is_worst=cause is worst)
    if len(ordered) > CAUSES_MAX:
        st.caption(f"And {formats.plural(len(ordered) - CAUSES_MAX, 'cause')} with fewer entries.")


def forget_order() -> None:
    """The next list of causes begins with the one of most entries again."""
    st.session_state.pop(_KEPT, None)


def _in_kept_order(connection_id: int, causes: Sequence[Cause]) -> list[Cause]:
    whose, known = st.session_state.get(_KEPT, (connection_id, ()))
    names = [(cause.code, cause.is_content) for cause in causes]
    order = list(known) if whose == connection_id else []
    order += [name for name in names if name not in order]
    st.session_state[_KEPT] = (connection_id, tuple(order))
    return sorted(causes, key=lambda cause: order.index((cause.code, cause.is_content)))


def _draw_card(viewer: people.Viewer, target: Row, cause: Cause, example: Row | None, *, is_worst: bool) -> None:
    key = formats.key(cause.code, cause.is_content)
    with components.card("attention" if cause.is_content or cause.held else "busy", f"cause-{key}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"**{formats.plain(target_words.cause(cause.code, is_content=cause.is_content))}**")
            components.html(f'<div class="sy-meta">{escape(target_words.counted(cause))}</div>')
            if example is not None:
                components.html(f'<div class="sy-example">For example {_example(viewer, example)}</div>')
            st.caption(f"→ {formats.plain(target_words.next_step(cause))}")
        with st.container(width="content", horizontal=True, vertical_alignment="center", key=f"acts-cause-{key}"):
            components.open_here("Show each", f"open-cause-{key}", cause=cause.code)
            if cause.to_requeue:
                draw_requeue(viewer, target, cause, f"requeue-{key}", is_worst=is_worst)


def _example(viewer: people.Viewer, row: Row) -> str:
    said = formats.shortened(row["problem"], 240)
    # Many a sentence of ours begins with what it is about.
    about = (row["title"] if row["kind"] == "item" else None) or row["named"]
    if said.startswith(about):
        return f"{thing(viewer, row)}{escape(said.removeprefix(about))}"
    return f"{thing(viewer, row)}: {escape(said)}"


def draw_requeue(viewer: people.Viewer, target: Row, cause: Cause, key: str, *, is_worst: bool) -> None:
    """The button that asks about all of a cause."""
    if st.button(f"Requeue {formats.count(cause.to_requeue)}…", key=key, icon=":material/replay:",
                 type="primary" if is_worst else "secondary"):  # fmt: skip
        target_dialogs.requeue_cause(viewer, target, cause)


def thing(viewer: people.Viewer, row: Row) -> str:
    """What an entry is of, as a link to its page."""
    if row["kind"] == "category":
        return components.link("categories", row["named"], viewer.where(category=str(row["entity_id"])))
    if row["kind"] == "variant":
        return components.link("skus", row["named"], viewer.where(sku=row["named"]))
    return components.link("products", row["title"] or row["named"], viewer.where(product=str(row["product_id"])))


# --- one cause --------------------------------------------------------------------------------------------------------


def draw_cause(viewer: people.Viewer, target: Row, causes: Sequence[Cause], code: str, page: Page, turn: Turn,
               is_later: bool) -> None:  # fmt: skip
    """All that fails for one cause, with what to do about it."""
    cause = next((each for each in causes if each.code == code), None)
    if cause is None:
        components.empty("Nothing fails for that any more", "It went through, or its product was changed.")
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center",
                      key="stack-cause"):  # fmt: skip
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"**{formats.plain(target_words.cause(code, is_content=cause.is_content))}**")
            st.caption(f"{target_words.counted(cause)}. → {formats.plain(target_words.next_step(cause))}")
        if cause.to_requeue:
            with st.container(width="content"):
                draw_requeue(viewer, target, cause, "requeue-cause", is_worst=True)
    with st.container(border=True, key="sy-rows-target"):
        for row in page.rows:
            _draw_row(viewer, target, row)
    if page.more or is_later:
        on = turn("after", str(page.rows[-1]["entry_id"])) if page.more else None
        components.pager("failed", turn("after", None) if is_later else None, on, ("First", "More"))


def _draw_row(viewer: people.Viewer, target: Row, row: Row) -> None:
    look, words = target_words.failed_state(row, viewer.shop.zone)
    with st.container(horizontal=True, vertical_alignment="center", key=f"stack-failed-{row['entry_id']}"):
        with st.container(width="stretch", gap=None):
            product = ""
            if row["kind"] == "variant" and row["product_id"] is not None:
                where = viewer.where(product=str(row["product_id"]))
                product = f' <span class="sy-meta">{components.link("products", "its product", where)}</span>'
            components.html(
                f'<div class="sy-next"><b>{thing(viewer, row)}</b>{product}'
                f' <span class="sy-pill sy-pill-{look}">{escape(words)}</span></div>'
                f'<div class="sy-muted">{escape(row["problem"])}</div>'
            )
        if row["problem_kind"] == "refused" and row["failures"] and not row["is_under_way"]:
            with st.container(width="content"):
                if st.button("Requeue…", key=f"requeue-one-{row['entry_id']}", type="tertiary",
                             icon=":material/replay:"):  # fmt: skip
                    target_dialogs.requeue_one(viewer, target, row)
