"""The previews of what a person does to an import: what comes, what stays, the reason, and the button."""

from __future__ import annotations

from core.importing.queries import Run
from dashboard import formats, import_actions, import_queries, import_words, people
from dashboard.previews import Preview, ask


def apply(run: Run, place: str | None) -> None:
    """Ask whether what was read, or the rest of it, is to be applied."""
    shop_id, c = people.viewer().shop.id, run.counts
    rest = run.state == "stopped"
    figures = [
        (formats.count(c["created"]), "new"),
        (formats.count(c["updated"]), "changed"),
        (formats.count(c["rejected"]), "left out"),
    ]
    if rest:
        done, total = import_words.to_apply(run), c["applied"] + c["refused"]
        figures = [(formats.count(total), "applied so far"), (formats.count(max(done - total, 0)), "still to come")]
    lines = [*(import_words.effects(run.effect, place) if run.effect else [])]
    lines.append(
        "It is done in steps of some hundred products: it may be stopped on the way, and **taken back** afterwards."
    )
    lines.append("A product that somebody changes in the meantime is not overwritten; it is told by name.")
    warning = None
    if place is not None and run.effect is not None and run.effect.counted_skus:
        warning = (
            f"Stock at {place} becomes what the file says, which is older than what was sold since it was written. "
            "To leave stock alone, close this and read the file again without it."
        )
    ask(
        Preview(
            "Go on applying?" if rest else "Apply this file?",
            ":material/publish:",
            f"**{formats.plain(run.file_name)}**",
            figures,
            lines,
            warning,
            "Apply the rest" if rest else import_words.verb(run),
            "Checked with the supplier",
            lambda actor: _told(import_actions.apply(import_actions.application(), shop_id, run.id, actor)),
        )
    )


def stop(run: Run) -> None:
    """Ask whether what is under way is to be stopped."""
    shop_id = people.viewer().shop.id
    done, total = import_words.far(run)
    figures = [(formats.count(done), "done so far")]
    if total:
        figures.append((formats.count(max(total - done, 0)), "not done then"))
    lines = {
        "reading": ["What was read is **forgotten**, and nothing was changed: the file may be read again later."],
        "applying": [
            "It stops **after the products it is in the middle of**, within seconds.",
            "What is applied stays. You may go on with the rest later, or take it all back.",
        ],
        "undoing": [
            "It stops **after the products it is in the middle of**, within seconds.",
            "What is taken back stays so; you may go on with it later.",
        ],
    }[run.state]
    ask(
        Preview(
            f"Stop import {run.id}?",
            ":material/stop_circle:",
            f"**{formats.plain(run.file_name)}**",
            figures,
            lines,
            None,
            "Stop it",
            "It is the wrong file",
            lambda actor: _told(import_actions.stop(import_actions.application(), shop_id, run.id, actor)),
        )
    )


def undo(run: Run, place: str | None) -> None:
    """Ask whether what was applied is to be taken back, saying what stays."""
    shop_id, c = people.viewer().shop.id, run.counts
    changed = import_queries.changed_since(shop_id, run.id)
    lines = [
        "Each product is again **what it was before**; products that this file made are removed, their SKUs stay.",
        f"**{formats.plural(changed, 'product was', 'products were')} changed since** it was applied: of those only "
        "what this file changed is taken back, and where the same was changed again, all of it stays."
        if changed
        else "No product was changed since; should one be in the meantime, that change stays.",
        "Categories and metafields that were made for it stay: they are empty and do no harm.",
    ]
    if place is not None:
        lines.append(
            f"Stock at **{formats.plain(place)}** is set back by as much as this file moved it; sales since are kept."
        )
    ask(
        Preview(
            f"Take import {run.id} back?",
            ":material/undo:",
            f"**{formats.plain(run.file_name)}**",
            [
                (formats.count(c["applied"] - c["undone"] - c["kept"]), "applied"),
                (formats.count(changed), "changed since"),
            ],
            lines,
            None,
            "Take it back",
            "The prices were those of last year",
            lambda actor: _told(import_actions.undo(import_actions.application(), shop_id, run.id, actor)),
        )
    )


def discard(run: Run) -> None:
    """Ask whether nothing is to come of what was read."""
    shop_id = people.viewer().shop.id
    ask(
        Preview(
            f"Discard import {run.id}?",
            ":material/delete:",
            f"**{formats.plain(run.file_name)}**",
            [],
            ["Nothing was changed by it, and nothing will be.", "It stays in the list, with your reason."],
            None,
            "Discard it",
            "The supplier sends a better one",
            lambda actor: _told(import_actions.discard(import_actions.application(), shop_id, run.id, actor)),
        )
    )


def _told(said: str) -> str:
    """What an act said, once the page reads afresh."""
    import_queries.forget()
    return said
