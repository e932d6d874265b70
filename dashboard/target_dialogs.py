"""What a person is asked on the Klaviyo page before an act: what it would do, and why."""

from __future__ import annotations

from core.audit import Actor
from dashboard import formats, people, previews, target_actions, target_queries, target_words
from dashboard.target_words import Cause, Kind, Row


def sync_all(viewer: people.Viewer, target: Row, total: Kind) -> None:
    """Ask whether all that Klaviyo holds is to be read now."""
    name = formats.plain(target["name"])

    def do(actor: Actor) -> str:
        said = target_actions.sync_all(
            target_actions.application(), viewer.shop.id, target["connection_id"], target["name"], actor
        )
        target_queries.forget()
        return formats.plain(said)

    previews.ask(
        previews.Preview(
            title="Sync all now?",
            icon=":material/sync:",
            about=f"**{name}** · all categories, items and variants",
            figures=[
                (formats.count(total.total), "entries of ours"),
                (formats.count(total.in_step), "believed in step"),
                (formats.count(total.on_their_way), "on their way anyway"),
            ],
            lines=[
                f"**Reads** all that {name} holds, page by page, and holds it against the catalogue.",
                "**Tells again** only what is shown otherwise or is not there. What is in step is not touched.",
                "Entries that are none of ours are counted and left alone.",
            ],
            warning=None
            if target_words.stop(target) is None
            else f"{target_words.stop(target)} It is read all the same; what differs is told once that ends.",
            verb="Sync all",
            hint="Somebody changed items by hand",
            do=do,
        )
    )


def requeue_cause(viewer: people.Viewer, target: Row, cause: Cause) -> None:
    """Ask whether all that fails for one cause is to be tried again."""
    words = target_words.cause(cause.code, is_content=cause.is_content)
    _requeue(
        viewer,
        target,
        about=f"**{formats.plain(words)}**",
        figures=[
            (formats.count(cause.to_requeue), "tried again now"),
            (formats.count(cause.held), "of them waited for a person"),
            *([(formats.count(cause.under_way), "being tried already")] if cause.under_way else []),
        ],
        number=cause.to_requeue,
        code=cause.code,
    )


def requeue_one(viewer: people.Viewer, target: Row, row: Row) -> None:
    """Ask whether one entry is to be tried again."""
    _requeue(
        viewer,
        target,
        about=f"**{formats.plain(row['named'])}** · {formats.sentence(row['problem'])}",
        figures=(),
        number=1,
        entry_ids=[row["entry_id"]],
    )


def _requeue(
    viewer: people.Viewer,
    target: Row,
    about: str,
    figures: list[tuple[str, str]] | tuple[()],
    number: int,
    code: str | None = None,
    entry_ids: list[int] | None = None,
) -> None:
    def do(actor: Actor) -> str:
        said = target_actions.requeue(
            target_actions.application(),
            viewer.shop.id,
            target["connection_id"],
            actor,
            code=code,
            entry_ids=entry_ids,
        )
        target_queries.forget()
        return said

    stopped = target_words.stop(target)
    previews.ask(
        previews.Preview(
            title=f"Try {formats.plural(number, 'entry', 'entries')} again?",
            icon=":material/replay:",
            about=about,
            figures=figures,
            lines=[
                "**Told again at once**, as the catalogue has it now, with the next job; the count of failures begins"
                " anew.",
                "What fails for the same reason again is here again, and nothing else waits for it.",
            ],
            warning=None if stopped is None else f"{stopped} They go once that ends.",
            verb=f"Requeue {formats.count(number)}",
            hint="The products were mended",
            do=do,
        )
    )
