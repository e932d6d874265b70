"""Map, remap, set aside, take back: what each would do, row by row, why, and then the act."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import SwitchyardError
from core.identity.assigning import WriteStillOpen
from core.identity.outcomes import LineSeen, Outcome
from core.identity.rules import Identifier
from dashboard import (
    components,
    formats,
    mapping_actions,
    mapping_queries,
    mapping_words,
    people,
    previews,
)

SHOWN = 8
_LAST = "mapping-last"

Do = Callable[[Actor], Outcome]


def map_to(viewer: people.Viewer, one: Identifier, about: str, code: str) -> None:
    """Ask whether an identifier that has no SKU is to be this one's."""
    app, act = mapping_actions.application(), mapping_actions.mapping(viewer.shop.id, one, code)
    seen = _look(viewer, about, lambda: mapping_actions.preview(app, act))
    if seen is None:
        return
    value = mapping_words.shown_value(one.kind, one.value)

    def do(actor: Actor) -> str:
        done = mapping_actions.do(app, viewer.shop.id, act, seen.token(), actor)
        return _said(one, mapping_words.mapped(value, code, done))

    previews.ask(
        previews.Preview(
            f"Map it to {formats.plain(code)}?",
            ":material/link:",
            about,
            [
                (formats.count(len(seen.listings)), "listing" if len(seen.listings) == 1 else "listings"),
                (
                    formats.count(seen.lines_booked),
                    "order line booked" if seen.lines_booked == 1 else "order lines booked",
                ),
            ],
            [*mapping_words.mapped_lines(seen), *mapping_words.pools(seen)],
            mapping_words.worst(seen) or None,
            f"Map to {formats.plain(code)}",
            "Same goods, looked at the label",
            do,
        )
    )


def remap_to(viewer: people.Viewer, one: Identifier, about: str, code: str) -> None:
    """Ask whether an identifier that has a SKU is to be another's: everything that moves, and what stays."""
    app, shop_id = mapping_actions.application(), viewer.shop.id
    seen = _look(viewer, about, lambda: mapping_actions.preview_remap(app, shop_id, one, code))
    if seen is None:
        return
    value = mapping_words.shown_value(one.kind, one.value)

    def do(actor: Actor) -> str:
        done = mapping_actions.remap(app, shop_id, one, code, seen.token(), actor)
        return _said(one, mapping_words.remapped(value, code, done))

    previews.ask(
        previews.Preview(
            f"Map it to {formats.plain(code)} instead?",
            ":material/swap_horiz:",
            about,
            [
                (formats.count(len(seen.listings)), "listing" if len(seen.listings) == 1 else "listings"),
                (formats.count(len(seen.moving)), "order line moves" if len(seen.moving) == 1 else "order lines move"),
                (formats.count(len(seen.staying)), "stays" if len(seen.staying) == 1 else "stay"),
            ],
            [
                mapping_words.writing(seen),
                "It is undone by mapping it back; what was shipped stays a fact of the old SKU.",
            ],
            mapping_words.worst(seen) or None,
            f"Map to {formats.plain(code)}",
            "It is the larger one",
            do,
            evidence=partial(_draw_remap, seen),
            is_large=True,
        )
    )


def set_aside(viewer: people.Viewer, one: Identifier, about: str) -> None:
    """Ask whether an identifier is not ours."""
    app, act = mapping_actions.application(), mapping_actions.setting_aside(viewer.shop.id, one)
    seen = _look(viewer, about, lambda: mapping_actions.preview(app, act))
    if seen is None:
        return
    value = mapping_words.shown_value(one.kind, one.value)

    def do(actor: Actor) -> str:
        done = mapping_actions.do(app, viewer.shop.id, act, seen.token(), actor)
        return _said(one, mapping_words.set_aside(value, done))

    lines = seen.lines_set_aside
    previews.ask(
        previews.Preview(
            "Is it not ours?",
            ":material/block:",
            about,
            [
                (formats.count(len(seen.listings)), "listing" if len(seen.listings) == 1 else "listings"),
                (formats.count(lines), "order line waits no more" if lines == 1 else "order lines wait no more"),
            ],
            [
                "It leaves the queue. Its orders **take no stock** of ours, now and later.",
                "What the channel shows of it is left as it is.",
                "It can be taken back at any time, under “Set aside”.",
            ],
            None,
            "Set aside",
            "Another company’s goods on our account",
            do,
        )
    )


def take_back(viewer: people.Viewer, one: Identifier, about: str) -> None:
    """Ask whether what was set aside is to wait for an answer again."""
    app = mapping_actions.application()

    def do(actor: Actor) -> str:
        said = mapping_actions.take_back(app, viewer.shop.id, one, actor)
        mapping_queries.forget()
        return said

    previews.ask(
        previews.Preview(
            "Take it back?",
            ":material/undo:",
            about,
            [],
            [
                "It is looked for by code and barcode again. What is found takes its order lines with it.",
                "What is not found is **in the queue**, with the order lines that were set aside with it.",
            ],
            None,
            "Take it back",
            "It is ours after all",
            do,
        )
    )


def _said(one: Identifier, text: str) -> str:
    """Draw everything afresh, with a line about what was done and the way back."""
    mapping_queries.forget()
    st.session_state[_LAST] = (one, text)
    return text


def draw_last() -> None:
    """What was just done, with the way to undo it, until it is put away."""
    if _LAST not in st.session_state:
        return
    one, text = st.session_state[_LAST]
    with components.card("done", "mapping-last"):
        with st.container(width="stretch"):
            st.markdown(f"{formats.badge('done')} {text}")
        with st.container(width="content", horizontal=True):
            components.open_here("Open it, or change it", "mapping-last-open", **mapping_words.address(one))
            st.button("Close", key="mapping-last-close", on_click=lambda: st.session_state.pop(_LAST, None))


# --- what it would do -------------------------------------------------------------------------------------------------


def _look(viewer: people.Viewer, about: str, preview: Callable[[], Outcome]) -> Outcome | None:
    """A preview, or in its place why there is none."""
    try:
        return preview()
    except WriteStillOpen as refused:
        _ask_later(viewer, about, refused)
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
    except SQLAlchemyError as error:
        components.failed(error, "mapping-preview")
    return None


def _ask_later(viewer: people.Viewer, about: str, refused: WriteStillOpen) -> None:
    zone = viewer.shop.zone
    over = max(write.over_at for write in refused.writes)
    lines = [
        f"Write {write.write_id}: {formats.plural(write.to_units, 'unit')} to "
        f"**{formats.plain(write.channel_ref)}**, over or looked at again at {formats.clock(write.over_at, zone)}."
        for write in refused.writes[:SHOWN]
    ]
    previews.ask(
        previews.Preview(
            "A number is on its way to it",
            ":material/hourglass_top:",
            about,
            [
                (formats.count(len(refused.writes)), "open write" if len(refused.writes) == 1 else "open writes"),
                (formats.clock(over, zone), "is when to try again"),
            ],
            [*lines, "Nobody knows yet what it will show. Nothing was changed."],
            None,
            "",
            "",
            lambda actor: "",
        )
    )


def _draw_remap(seen: Outcome) -> None:
    _draw_pools(seen)
    _draw_listings(seen)
    _draw_lines([*seen.moving, *seen.staying])


def _draw_pools(seen: Outcome) -> None:
    if not seen.pools:
        return
    body = [
        (
            f'<span class="sy-code">{escape(pool.code)}</span>',
            escape(pool.location),
            escape(mapping_words.arrow(pool.available_before, pool.available_after)),
            escape(mapping_words.arrow(pool.exposed_before, pool.exposed_after)),
            escape(mapping_words.oversell(pool)),
        )
        for pool in seen.pools[:SHOWN]
    ]
    heads = [
        ("SKU", False),
        ("Place", False),
        ("Available", True),
        ("Channels show", True),
        ("Oversold at worst", True),
    ]
    components.table(heads, body, "Stock before and after")
    _rest(len(seen.pools))


def _draw_listings(seen: Outcome) -> None:
    if not seen.listings:
        return
    body = [
        (
            f'<span class="sy-code">{escape(each.channel_ref)}</span><div class="sy-meta">{escape(each.connection)}'
            f"{escape(f', {each.location}' if each.location else '')}</div>",
            f"{escape(each.from_code or 'nobody’s')} → {escape(each.to_code or 'not ours')}",
            components.number(each.published_units),
            escape(formats.count(each.desired_after) if each.publishing_after else "not written"),
        )
        for each in seen.listings[:SHOWN]
    ]
    heads = [("Listing", False), ("SKU", False), ("Shows", True), ("Would show", True)]
    components.table(heads, body, "Listings that move")
    _rest(len(seen.listings))


def _draw_lines(lines: Sequence[LineSeen]) -> None:
    if not lines:
        return
    body = [
        (
            f"<b>{escape(line.order_name)}</b>",
            components.number(line.units),
            escape(f"stays {line.from_code}: {line.why}" if line.why else f"moves to {line.to_code}"),
        )
        for line in lines[:SHOWN]
    ]
    components.table([("Open order", False), ("Units", True), ("What becomes of it", False)], body, "Open order lines")
    _rest(len(lines))


def _rest(total: int) -> None:
    if total > SHOWN:
        st.caption(f"and {formats.count(total - SHOWN)} more")
