"""One import by the step it is at: read, looked through, decided on, applied, stopped, taken back."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from html import escape

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.errors import SwitchyardError
from core.importing.queries import AT_WORK, NoImport, Run
from dashboard import (
    components,
    formats,
    import_actions,
    import_dialogs,
    import_items,
    import_new,
    import_queries,
    import_words,
    people,
)

QUIET_SECONDS = 90
OLD_SECONDS = 15 * 60
_STEPS = {"reading": 2, "read": 2, "failed": 2, "discarded": 2, "applying": 3, "stopped": 3}
_LISTED = 40


def draw(viewer: people.Viewer, import_id: int) -> None:
    """The import of that number; while it is at work its progress is looked at each second, and nothing else moves."""
    try:
        run, now = import_queries.run(viewer.shop.id, import_id)
    except NoImport:
        components.title(f"Import {import_id}")
        components.empty(f"There is no import {import_id}", "Look for it in the list of imports.")
        return
    if st.query_params.get("again") and run.state in ("read", "failed"):
        import_new.draw(viewer, run.document_id, run)
        return
    components.title(run.file_name, f"Import {run.id}")
    import_new.steps(_STEPS.get(run.state, len(import_words.STEPS)))
    is_at_work = run.state in AT_WORK
    place = None if is_at_work else _place(viewer, run)
    components.places(
        partial(watch, viewer, import_id) if is_at_work else None,
        *(
            partial(draw_state, viewer, run, now, place) if state == run.state else None
            for state, draw_state in _CARDS.items()
        ),
    )
    if is_at_work:
        return
    if run.counts["items"] and run.state != "discarded":
        # Before the decision what is wrong with the file comes first, afterwards what became of each product.
        if run.state in ("read", "failed"):
            _draw_problems(viewer, run, now)
            _draw_made(run)
        import_items.draw(viewer, run, place)
        if run.state not in ("read", "failed"):
            _draw_problems(viewer, run, now)
            _draw_made(run)


def _place(viewer: people.Viewer, run: Run) -> str | None:
    """The name of the location at which stock is set."""
    wanted = run.settings.location_id
    return None if wanted is None else import_queries.locations(viewer.shop.id).get(wanted, f"location {wanted}")


# --- at work --------------------------------------------------------------------------------------------------------


def watch(viewer: people.Viewer, import_id: int) -> None:
    """Progress of an import at work, looked at every second until its step ends; then the page is drawn once."""

    @st.fragment(run_every="1s", key=f"watch-import-{import_id}")
    def tick() -> None:
        with components.panel(f"import-{import_id}"):
            run, now = import_queries.run(viewer.shop.id, import_id)
            if run.state not in AT_WORK:
                import_queries.forget()
                st.rerun()
            else:
                _draw_progress(viewer, run, now)

    tick()


def _draw_progress(viewer: people.Viewer, run: Run, now: datetime) -> None:
    with components.card("busy", f"import-{run.id}"):
        with st.container(width="stretch", gap="xxsmall"):
            stops = run.stop_asked_by is not None
            shown = formats.badge("running", "Stopping") if stops else import_words.badge(run)
            what = {
                "reading": "The file is read; **nothing is changed**.",
                "applying": "The file is being applied.",
                "undoing": "What was applied is being taken back.",
            }[run.state]
            st.markdown(f"{shown} {what}")
            st.progress(import_words.share(run), text=import_words.progress(run, _seconds_left(run)))
            _draw_about(viewer, run, now)
            if stops:
                st.caption(f"{formats.plain(run.stop_asked_by)} asked to stop it: it does at its next batch.")
            quiet = (now - run.worked_at).total_seconds()
            if quiet > QUIET_SECONDS:
                st.caption(
                    f"No worker has been at it for {formats.duration(quiet)}: it goes on as soon as one of the queue "
                    "“imports” is free. You may close this page meanwhile."
                )
        with st.container(width="content"):
            if st.button("Stop…", key=f"stop-{run.id}", icon=":material/stop_circle:", disabled=stops):
                import_dialogs.stop(run)
    st.caption("You may leave this page: it goes on, and this address shows how far it is.")


def _seconds_left(run: Run) -> float | None:
    """By the pace since this reader began to look."""
    done, total = import_words.far(run)
    key, moment = f"import-pace-{run.id}-{run.state}", time.monotonic()
    began, first = st.session_state.setdefault(key, (moment, done))
    if done < first:
        st.session_state[key] = (moment, done)
    if done <= first or moment - began < 2 or not total:
        return None
    return (total - done) * (moment - began) / (done - first)


def _draw_about(viewer: people.Viewer, run: Run, now: datetime) -> None:
    form = f" · {import_words.FORMS[run.form]}" if run.form else ""
    when = components.when(run.created_at, now, viewer.shop.zone)
    components.html(
        f'<div class="sy-meta">{escape(run.created_by)}, {when}: {escape(run.reason)}{escape(form)}'
        f" · prices in {escape(run.settings.currency)}</div>"
    )


# --- what is to be decided ------------------------------------------------------------------------------------------


def _draw_read(viewer: people.Viewer, run: Run, now: datetime, place: str | None) -> None:
    c = run.counts
    sets_stock = place is not None and run.effect is not None and run.effect.counted_skus > 0
    has_work = bool(c["created"] or c["updated"]) or sets_stock
    with components.card("attention" if has_work else "unknown", f"import-{run.id}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"{import_words.badge(run)} **{import_words.headline(run)}** Nothing is changed yet.")
            lines = import_words.effects(run.effect, place) if run.effect else []
            st.markdown("\n".join(f"- {line}" for line in lines))
            _draw_about(viewer, run, now)
            if run.read_at is not None and (now - run.read_at).total_seconds() > OLD_SECONDS:
                st.caption(
                    f"Read {formats.ago(run.read_at, now, viewer.shop.zone)}. What was changed since is not "
                    "overwritten; read it again to compare it with the catalogue, and with stock, as they are now."
                )
        with st.container(width="content", horizontal=True, key=f"acts-import-{run.id}"):
            if st.button("Discard…", key=f"discard-{run.id}"):
                import_dialogs.discard(run)
            if st.button("Read again…", key=f"again-{run.id}", icon=":material/replay:"):
                _read_again()
            if st.button(
                "Apply…", key=f"apply-{run.id}", type="primary", icon=":material/publish:", disabled=not has_work
            ):
                import_dialogs.apply(run, place)
    _draw_gauges(run)


def _read_again() -> None:
    st.query_params["again"] = "1"
    st.rerun()


def _draw_gauges(run: Run) -> None:
    c = run.counts
    pairs = [
        (formats.count(c["created"]), "new"),
        (formats.count(c["updated"]), "changed"),
        (formats.count(c["unchanged"]), "as they are"),
        (_marked(c["rejected"]), "rejected, left out"),
        (formats.count(c["warnings"]), "with warnings"),
        (formats.count(c["rows_read"]), "rows of the file"),
    ]
    components.figures(pairs, large=True)


def _marked(number: int) -> str:
    return f'<b class="sy-negative">{formats.count(number)}</b>' if number else formats.count(number)


def _draw_failed(viewer: people.Viewer, run: Run, now: datetime, place: str | None) -> None:
    with components.card("danger", f"import-{run.id}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(
                f"{import_words.badge(run)} {import_words.problem(run.problem, run.file_name)} **Nothing was changed.**"
            )
            _draw_about(viewer, run, now)
        with st.container(width="content", horizontal=True, key=f"acts-import-{run.id}"):
            if st.button("Discard…", key=f"discard-{run.id}"):
                import_dialogs.discard(run)
            if st.button("Read again…", key=f"again-{run.id}", type="primary", icon=":material/replay:"):
                _read_again()


def _draw_discarded(viewer: people.Viewer, run: Run, now: datetime, place: str | None) -> None:
    with components.card("unknown", f"import-{run.id}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"{import_words.badge(run)} Nothing came of this file, and **nothing was changed**.")
            _draw_about(viewer, run, now)
        _draw_once_more(run)


def _draw_once_more(run: Run) -> None:
    with st.container(width="content"):
        if st.button("Import this file again", key=f"more-{run.id}", icon=":material/replay:"):
            for name in ("import", "show", "after", "again"):
                st.query_params.pop(name, None)
            st.query_params["document"] = str(run.document_id)
            st.rerun()


# --- what was done --------------------------------------------------------------------------------------------------


def _draw_applied(viewer: people.Viewer, run: Run, now: datetime, place: str | None) -> None:
    c = run.counts
    refused = (
        f" **{formats.plural(c['refused'], 'product was', 'products were')} not**: they are listed below, each with "
        "its reason."
        if c["refused"]
        else ""
    )
    with components.card("attention" if c["refused"] else "ok", f"import-{run.id}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(
                f"{import_words.badge(run)} **{formats.plural(c['applied'], 'product is', 'products are')} "
                f"applied**, by {formats.plain(run.applied_by)} {formats.ago(run.applied_at, now, viewer.shop.zone)}."
                f"{refused}"
            )
            _draw_about(viewer, run, now)
        with st.container(width="content", horizontal=True, key=f"acts-import-{run.id}"):
            if c["refused"]:
                _draw_download(viewer, run, now)
                _draw_once_more(run)
            if st.button("Undo…", key=f"undo-{run.id}", icon=":material/undo:", disabled=not c["applied"]):
                import_dialogs.undo(run, place)
    _draw_outcome(run)


def _draw_stopped(viewer: people.Viewer, run: Run, now: datetime, place: str | None) -> None:
    c = run.counts
    undoing = run.undone_by is not None
    with components.card("attention", f"import-{run.id}"):
        with st.container(width="stretch", gap="xxsmall"):
            done, total = c["applied"] + c["refused"], import_words.to_apply(run)
            said = (
                f"**{formats.count(done)} of {formats.plural(total, 'product')} are applied**; the rest is as it was."
            )
            if undoing:
                said = f"**{formats.plural(c['undone'], 'product is', 'products are')} taken back**, the rest is not."
            st.markdown(f"{import_words.badge(run)} {said}")
            if run.problem:
                st.markdown(import_words.problem(run.problem, run.file_name))
            if kept := import_words.stock_kept(run):
                st.markdown(kept)
            st.progress(min(done / total, 1.0) if total else 0.0)
            _draw_about(viewer, run, now)
        with st.container(width="content", horizontal=True, key=f"acts-import-{run.id}"):
            if c["refused"]:
                _draw_download(viewer, run, now)
            if st.button(
                "Undo the rest…" if undoing else "Undo…",
                key=f"undo-{run.id}",
                icon=":material/undo:",
                type="primary" if undoing else "secondary",
                disabled=not c["applied"],
            ):
                import_dialogs.undo(run, place)
            if not undoing and st.button("Go on…", key=f"apply-{run.id}", type="primary", icon=":material/play_arrow:"):
                import_dialogs.apply(run, place)
    _draw_outcome(run)


def _draw_undone(viewer: people.Viewer, run: Run, now: datetime, place: str | None) -> None:
    c = run.counts
    kept = (
        f" **{formats.plural(c['kept'], 'product was', 'products were')} kept**: they are listed below, each with its "
        "reason."
        if c["kept"]
        else " The catalogue is as it was before."
    )
    stock = import_words.stock_kept(run)
    with components.card("attention" if c["kept"] or stock else "unknown", f"import-{run.id}"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(
                f"{import_words.badge(run)} **{formats.plural(c['undone'], 'product is', 'products are')} taken "
                f"back**, by {formats.plain(run.undone_by)} {formats.ago(run.undone_at, now, viewer.shop.zone)}.{kept}"
            )
            if stock:
                st.markdown(stock)
            _draw_about(viewer, run, now)
        with st.container(width="content", horizontal=True, key=f"acts-import-{run.id}"):
            if c["refused"]:
                _draw_download(viewer, run, now)
            _draw_once_more(run)
    _draw_outcome(run)


def _draw_outcome(run: Run) -> None:
    c = run.counts
    pairs = [(formats.count(c["applied"]), "applied"), (_marked(c["refused"]), "not applied")]
    if run.state == "stopped":
        pairs.append((formats.count(max(import_words.to_apply(run) - c["applied"] - c["refused"], 0)), "still to come"))
    if c["undone"] or c["kept"]:
        pairs += [(formats.count(c["undone"]), "taken back"), (_marked(c["kept"]), "kept")]
    pairs += [(formats.count(c["unchanged"]), "as they were"), (formats.count(c["rejected"]), "rejected, left out")]
    components.figures(pairs, large=True)


# --- what is wrong, and what would be made --------------------------------------------------------------------------


def _draw_problems(viewer: people.Viewer, run: Run, now: datetime) -> None:
    found = import_queries.groups(viewer.shop.id, viewer.person.scope, run.id, run.worked_at)
    if not found:
        return
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom", key="stack-import-problems"
    ):
        with st.container(width="stretch", gap=None):
            st.subheader("What is wrong with its rows", anchor="problems")
            st.caption("An error keeps its product out, with all of its rows; a warning does not.")
        # Where something was not applied, one file has both, and is offered with what can be done about it.
        if run.counts["rejected"] and not run.counts["refused"]:
            with st.container(width="content"):
                _draw_download(viewer, run, now)
    heads = [("", False), ("Column", False), ("What is wrong, and the repair", False), ("Times", True),
             ("First in row", True)]  # fmt: skip
    shown = found[: import_queries.GROUPS]
    body = []
    for row in shown:
        look, word = ("danger", "Error") if row["severity"] == "error" else ("attention", "Warning")
        body.append(
            (
                f'<span class="sy-pill sy-pill-{look}">{word}</span>',
                escape(row["column"] or "The whole row"),
                f'{escape(row["sentence"])}<br><span class="sy-meta">→ {escape(row["fix"])}</span>',
                formats.count(row["times"]),
                formats.count(row["first_row"]),
            )
        )
    components.table(heads, body, "What is wrong with the rows of the file", dense=True)
    if len(found) > len(shown):
        st.caption(f"The worst and most frequent {len(shown)}; the rest stands beside its product, below.")


def _draw_download(viewer: people.Viewer, run: Run, now: datetime) -> None:
    """Made when it is asked for; then a link that the browser fetches it by."""
    key = f"rejected-{run.id}-{run.read_at}-{run.counts['refused']}"
    ready = st.session_state.get(key)
    if ready is not None and ready.expires_at > now:
        st.link_button(f"Save {ready.file_name}", ready.url, icon=":material/download:", type="secondary")
        return
    if not st.button(
        "Rejected rows as a file",
        key=f"make-{key}",
        icon=":material/download:",
        help="Its form is that of your file, with the reason beside each row: correct it, and import it here.",
    ):
        return
    try:
        with st.spinner("The file is made…"):
            st.session_state[key] = import_actions.prepare_rejected(
                import_actions.application(), viewer.shop.id, run.id, viewer.person.name
            )
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
    except SQLAlchemyError as error:
        components.failed(error, "rejected")
    else:
        st.rerun()


def _draw_made(run: Run) -> None:
    if not run.new_categories and not run.new_metafields:
        return
    parts = []
    if run.new_categories:
        parts.append(formats.plural(len(run.new_categories), "new category", "new categories"))
    if run.new_metafields:
        parts.append(formats.plural(len(run.new_metafields), "new metafield"))
    with st.expander(f"{' and '.join(parts)} that the file brings", icon=":material/account_tree:"):
        for path in run.new_categories[:_LISTED]:
            st.markdown(f"- Category {formats.plain(path)}")
        for told in run.new_metafields[:_LISTED]:
            st.markdown(f"- Metafield {formats.plain(told['key'])} of the {told['owner']}, as {told['type']}")
        more = max(len(run.new_categories) - _LISTED, 0) + max(len(run.new_metafields) - _LISTED, 0)
        if more:
            st.caption(f"and {formats.count(more)} more")


_CARDS = {
    "read": _draw_read,
    "failed": _draw_failed,
    "discarded": _draw_discarded,
    "applied": _draw_applied,
    "stopped": _draw_stopped,
    "undone": _draw_undone,
}
