"""The previews of what a person does to a connection: what it would touch, counted, then the reason and the button."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.audit import Actor
from core.inventory.comparison import ZEROED_MAX
from dashboard import (
    comparison_queries,
    connection_actions,
    connection_queries,
    connection_words,
    formats,
    people,
    queries,
)
from dashboard.previews import Preview, ask

Row = Mapping[str, Any]


def stop_all(viewer: people.Viewer) -> None:
    """Ask whether every write of the shop is to be stopped."""
    found = queries.connections(viewer.shop.id, viewer.person.scope)
    standing = connection_queries.switches(viewer.shop.id, viewer.person.scope)
    live = [row for row in found if connection_words.writing(standing[row["connection_id"]]) == "live"]
    _ask(
        "Stop all writes?",
        ":material/front_hand:",
        f"**{formats.plain(viewer.shop.name)}**: {_names(found)}",
        [
            (formats.count(len(live)), "connection stops" if len(live) == 1 else "connections stop"),
            *_held_up(live),
        ],
        [
            "**Nothing leaves that would change anything outside**, from this moment on, until somebody resumes it. "
            "Zeros are held up too: what sells out meanwhile can be oversold.",
            _on_their_way(live),
            "Orders are asked for, webhooks are handled and stock is booked as always: nothing is lost, and what "
            "differs then is written when writes are resumed.",
        ],
        "Stop all writes",
        "Shopify shows wrong numbers",
        lambda actor: connection_actions.stop_all_writes(connection_actions.application(), viewer.shop.id, actor),
    )


def resume_all(viewer: people.Viewer, stop: Row) -> None:
    """Ask whether the stop of the whole shop is to end."""
    found = queries.connections(viewer.shop.id, viewer.person.scope)
    standing = connection_queries.switches(viewer.shop.id, viewer.person.scope)
    going = [row for row in found if _is_free(standing[row["connection_id"]])]
    stay = [row for row in found if row not in going]
    since = formats.duration((stop["as_of"] - stop["stopped_at"]).total_seconds())
    _ask(
        "Resume writes?",
        ":material/play_arrow:",
        f"Stopped for **{since}** by {formats.plain(stop['stopped_by'])}: {formats.plain(stop['reason'])}",
        [
            (formats.count(len(going)), "connection resumes" if len(going) == 1 else "connections resume"),
            *_held_up(going),
        ],
        [
            "**What differs now is written**: only the newest number of each listing, zeros and lowered ones first. "
            "Numbers of meanwhile are never sent.",
            *([f"{_names(stay)} {_stays(stay)}: paused, in shadow mode, or stopped by itself."] if stay else []),
        ],
        "Resume writes",
        "The numbers are right again",
        lambda actor: connection_actions.resume_all_writes(
            connection_actions.application(), viewer.shop.id, [row["connection_id"] for row in going], actor
        ),
    )


def _stays(stay: Sequence[Row]) -> str:
    return "stays unwritten" if len(stay) == 1 else "stay unwritten"


def _is_free(row: Row) -> bool:
    """Whether only the shop's own stop holds its writes."""
    return row["switch"] == "active" and row["write_mode"] == "live" and not row["is_stopped_for_connection"]


def stop_writes(viewer: people.Viewer, row: Row) -> None:
    """Ask whether the writes of one connection are to be stopped."""
    name = formats.plain(row["name"])
    _ask(
        f"Stop writes to {name}?",
        ":material/front_hand:",
        _about(row),
        _held_up([row]),
        [
            "**Nothing is written to it** from this moment on, zeros included, until somebody resumes it: what sells "
            "out meanwhile can be oversold there.",
            _on_their_way([row]),
            "It is read as always: its orders are booked, and the other channels follow.",
        ],
        f"Stop writes to {name}",
        "Its numbers are being corrected by hand",
        lambda actor: connection_actions.stop_writes(
            connection_actions.application(), viewer.shop.id, row["connection_id"], name, actor
        ),
    )


def resume_writes(viewer: people.Viewer, row: Row, standing: Row) -> None:
    """Ask whether the stop of one connection is to end."""
    name = formats.plain(row["name"])
    lines = [
        "**What differs now is written**: only the newest number of each listing, zeros and lowered ones first.",
    ]
    if standing["is_stopped_for_shop"]:
        lines.append("All writes of the shop are stopped too: nothing leaves before that ends.")
    _ask(
        f"Resume writes to {name}?",
        ":material/play_arrow:",
        _about(row),
        _held_up([row]),
        lines,
        f"Resume writes to {name}",
        "Its numbers are right again",
        lambda actor: connection_actions.resume_writes(
            connection_actions.application(), viewer.shop.id, row["connection_id"], name, actor
        ),
    )


def pause(viewer: people.Viewer, row: Row) -> None:
    """Ask whether a connection is to be paused."""
    name = formats.plain(row["name"])
    _ask(
        f"Pause {name}?",
        ":material/pause_circle:",
        _about(row),
        [(formats.count(row["listings"]), "listings"), *_held_up([row])],
        [
            "**It is not asked for orders and nothing is written to it** until it is resumed. What it tells us by "
            "itself is recorded and handled.",
            "What it sells without telling is not known meanwhile: the longer, the more can be oversold elsewhere.",
            _on_their_way([row]),
        ],
        f"Pause {name}",
        "The shop moves to another plan tonight",
        lambda actor: connection_actions.pause(
            connection_actions.application(), viewer.shop.id, row["connection_id"], name, actor
        ),
    )


def resume(viewer: people.Viewer, row: Row) -> None:
    """Ask whether a pause is to end."""
    name = formats.plain(row["name"])
    since = row["orders_polled_to"]
    orders = f"since {formats.exact(since, viewer.shop.zone)}" if since else "that are not known yet"
    _ask(
        f"Resume {name}?",
        ":material/play_arrow:",
        _about(row),
        [(formats.count(row["listings"]), "listings"), *_held_up([row])],
        [
            f"**Orders** {orders} are asked for at once, or within {connection_words.poll_seconds()} seconds,"
            " and booked.",
            "**What differs is written**, unless it is in shadow mode or its writes are stopped.",
        ],
        f"Resume {name}",
        "The shop has moved",
        lambda actor: connection_actions.resume(
            connection_actions.application(), viewer.shop.id, row["connection_id"], name, actor
        ),
    )


def go_live(viewer: people.Viewer, row: Row) -> None:
    """Ask whether a connection in shadow mode goes live."""
    name = formats.plain(row["name"])
    found = comparison_queries.totals(viewer.shop.id, viewer.person.scope, row["connection_id"])
    raised, lowered, zeroed = (found.of(verdict) for verdict in ("raised", "lowered", "zeroed"))
    standing = connection_queries.switches(viewer.shop.id, viewer.person.scope)[row["connection_id"]]
    is_held = connection_words.writing(standing) == "stopped"
    _ask(
        f"Go live with {name}?",
        ":material/rocket_launch:",
        _about(row),
        [
            (formats.count(raised.listings), f"raised, by {formats.plural(raised.units, 'unit')}"),
            (formats.count(lowered.listings), f"lowered, by {formats.plural(-lowered.units, 'unit')}"),
            (formats.count(zeroed.listings), f"to zero, from {formats.plural(-zeroed.units, 'unit')}"),
            (formats.count(found.of("equal").listings), "equal"),
        ],
        [
            "**What differs is written**, zeros and lowered ones first; from then on it follows our stock.",
            "Should more go to zero by then than counted here, nothing is done and it is said.",
            "It can be taken back into shadow mode at any time; what was written until then stays.",
            "Writes are stopped at present: nothing leaves before that ends." if is_held else "",
        ],
        f"Go live, {formats.count(zeroed.listings)} to zero" if zeroed.listings else f"Go live with {name}",
        "The comparison was looked through",
        lambda actor: connection_actions.go_live(
            connection_actions.application(), viewer.shop.id, row["connection_id"], name, zeroed.listings, actor
        ),
        _many_zeroed(zeroed.listings),
    )


def _many_zeroed(listings: int) -> str | None:
    if listings <= ZEROED_MAX:
        return None
    return (
        f"{formats.count(listings)} listings would be taken to zero. So many are most often a mistake about a whole "
        "catalogue: a place without stock, or codes that do not match. Look at them first."
    )


def to_shadow(viewer: people.Viewer, row: Row) -> None:
    """Ask whether a connection goes into shadow mode."""
    name = formats.plain(row["name"])
    _ask(
        f"Take {name} into shadow mode?",
        ":material/visibility:",
        _about(row),
        [(formats.count(row["listings"]), "listings"), *_held_up([row])],
        [
            "**Nothing is written to it**; it is read, worked out and compared, and the comparison is shown here.",
            "It keeps the numbers that it shows now: what sells out meanwhile can be oversold there.",
            _on_their_way([row]),
        ],
        f"Take {name} into shadow mode",
        "We want to look at the numbers first",
        lambda actor: connection_actions.to_shadow(
            connection_actions.application(), viewer.shop.id, row["connection_id"], name, actor
        ),
    )


def _ask(
    title: str,
    icon: str,
    about: str,
    figures: Sequence[tuple[str, str]],
    lines: Sequence[str],
    verb: str,
    hint: str,
    do: Callable[[Actor], str],
    warning: str | None = None,
) -> None:
    def act(actor: Actor) -> str:
        said = do(actor)
        connection_queries.forget()
        comparison_queries.forget()
        return said

    ask(Preview(title, icon, about, figures, [line for line in lines if line], warning, verb, hint, act))


def _about(row: Row) -> str:
    return f"**{formats.plain(row['name'])}** · {formats.plain(row['vendor'])} · class {row['guarantee_class']}"


def _held_up(found: Sequence[Row]) -> list[tuple[str, str]]:
    """What differs now, and what is on its way."""
    waiting, open_writes = (sum(row[name] for row in found) for name in ("listings_to_push", "open_writes"))
    return [
        (formats.count(waiting), "quantity to write now" if waiting == 1 else "quantities to write now"),
        (formats.count(open_writes), "write on its way" if open_writes == 1 else "writes on their way"),
    ]


def _on_their_way(found: Sequence[Row]) -> str:
    sent = sum(row["open_writes"] for row in found)
    if not sent:
        return ""
    return (
        f"{formats.plural(sent, 'write')} that {'is' if sent == 1 else 'are'} open {'is' if sent == 1 else 'are'} not "
        "called back: what has left is settled by what the channel shows; what has not left stays here."
    )


def _names(found: Sequence[Row]) -> str:
    return ", ".join(formats.plain(row["name"]) for row in found)
