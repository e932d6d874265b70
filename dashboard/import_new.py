"""A file on its way to its dry run: uploaded, looked at, its columns mapped where nobody knows them, how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.catalog.imports.mapping import Mapping
from core.errors import SwitchyardError
from core.importing.queries import Run, Settings
from core.importing.uploads import BYTES_MAX, ENDINGS, KIND, Seen
from core.money import CURRENCIES
from dashboard import components, formats, import_actions, import_mapping, import_queries, import_words, people, upload
from dashboard.import_actions import Begun

_UPLOAD = "import"
_LEAVE, _SET = "Leave stock alone", "Set it to the file’s numbers"
_COLUMNS_SHOWN = 40


def steps(at: int) -> None:
    """The way of an import, and where on it one is: from 0, one beyond the last when it is done."""
    marks = []
    for place, name in enumerate(import_words.STEPS):
        look = "done" if place < at else "now" if place == at else "next"
        said = {"done": "done: ", "now": "", "next": "to come: "}[look]
        current = ' aria-current="step"' if look == "now" else ""
        number = "✓" if look == "done" else str(place + 1)
        marks.append(
            f'<li class="sy-step-{look}"{current}><i aria-hidden="true">{number}</i>'
            f'<span class="sy-hidden">{said}</span>{escape(name)}</li>'
        )
    components.html(f'<ol class="sy-steps" aria-label="Steps of an import">{"".join(marks)}</ol>')


def draw_upload(viewer: people.Viewer) -> None:
    """Ask for a file; once it has arrived, the page goes on with it."""
    wanted = upload.Wanted(
        KIND,
        "A file of products",
        ENDINGS,
        BYTES_MAX,
        f"CSV, TSV, XLSX or JSON, also packed as .gz, up to {BYTES_MAX // 1_000_000} MB. Nothing is changed before you "
        "have seen what would be.",
    )
    found = upload.draw(import_actions.application(), viewer.shop.id, viewer.person.name, wanted, _UPLOAD)  # type: ignore[arg-type]
    if found is not None and found.state == "stored":
        upload.clear(_UPLOAD)
        import_queries.forget()
        st.query_params["document"] = str(found.document_id)
        st.rerun()


def draw(viewer: people.Viewer, document_id: int, again: Run | None = None) -> None:
    """How an uploaded file is read; `again`: the import of it that is read once more."""
    shop = viewer.shop
    try:
        with st.skeleton(height=240):
            seen = import_queries.seen(shop.id, viewer.person.scope, document_id, shop.currency)
    except SwitchyardError as error:
        if isinstance(error, import_queries.Unreadable):
            raise
        _draw_unreadable(str(error))
        return
    components.title(seen.file_name, "is read again" if again else "is uploaded")
    steps(1)
    key = f"import-{document_id}"
    start = again.settings if again else Settings(shop.currency)
    remembered = import_queries.remembered(shop.id, seen.heads) if start.mapping is None else None
    is_mapped = _draw_form(seen, key, by_hand=start.mapping is not None or (again is None and remembered is not None))
    mapping = _draw_mapping(seen, start.mapping, remembered, key) if is_mapped else None
    settings = _draw_settings(viewer, start, mapping, key)
    if mapping is not None and settings is not None and not settings.make_codes and "code" not in mapping.columns:
        st.warning(
            "No column gives the **SKU**, so that rows without one are rejected: choose it above, or have SKUs made.",
            icon=":material/warning:",
        )
    if settings is not None:
        _draw_begin(viewer, document_id, seen, settings, again)


def _draw_unreadable(why: str) -> None:
    components.title("This file cannot be imported")
    with st.container(border=True, key="card-danger-unreadable"):
        st.markdown(f"{formats.badge('danger', 'Cannot be read')} {import_words.problem(why, why.split(' ')[0])}")
        st.caption("Nothing was changed. Correct the file, or choose another one.")
        if st.button("Choose another file", key="other-file", icon=":material/arrow_back:"):
            for name in ("document", "import", "again"):
                st.query_params.pop(name, None)
            st.rerun()


def _draw_form(seen: Seen, key: str, *, by_hand: bool) -> bool:
    """Say what the file is; whether its columns are mapped by a person. `by_hand`: they were the last time."""
    columns = formats.plural(len(seen.samples), "column")
    with components.card("ok" if seen.form else "attention", "import-form"), st.container(gap="xxsmall"):
        if seen.form:
            st.markdown(
                f"{formats.badge('ok', 'Known form')} **This is {import_words.FORMS[seen.form]}.** "
                f"Its {columns} are known: there is nothing to map."
            )
            is_mapped = st.toggle(
                "Map its columns by hand",
                by_hand,
                key=f"{key}-by-hand",
                help="Where this file uses the columns of the form for something else than the form does.",
            )
        else:
            is_mapped = True
            st.markdown(
                f"{formats.badge('attention', 'Form of its own')} **This file has {columns} of its own.** Say below "
                "which of them is what; what is likely is chosen already."
            )
        if seen.has_reasons:
            st.caption("It is a file of rejected rows that comes back: its column of reasons is read past.")
    with st.expander("What its first rows hold", icon=":material/table_rows:"):
        shown = list(seen.samples)[:_COLUMNS_SHOWN]
        body = [(escape(head.strip()), import_mapping.samples(seen, head)) for head in shown]
        components.table([("Column", False), ("First values", False)], body, "Columns of the file")
        if len(seen.samples) > len(shown):
            st.caption(f"and {formats.plural(len(seen.samples) - len(shown), 'more column', 'more columns')}")
    return is_mapped


def _draw_mapping(seen: Seen, given: Mapping | None, remembered: Mapping | None, key: str) -> Mapping:
    st.subheader("Which column is what", anchor="mapping")
    if remembered is not None:
        st.caption("Chosen as a file with these columns was mapped last. Correct what is different.")
    else:
        st.caption(
            "Without a SKU, a barcode or a title nothing can be found or made. A field without a column stays as it is "
            "in the catalogue."
        )
    return import_mapping.draw(seen, given or remembered or seen.suggested, key)


def _draw_settings(viewer: people.Viewer, start: Settings, mapping: Mapping | None, key: str) -> Settings | None:
    """None as long as a choice is missing."""
    st.subheader("Prices, SKUs and stock", anchor="settings")
    with st.container(horizontal=True, vertical_alignment="top", key=f"stack-{key}-settings", gap="large"):
        with st.container(width=300):
            currencies = sorted(CURRENCIES)
            currency = st.selectbox(
                "Currency of its prices",
                currencies,
                index=currencies.index(start.currency) if start.currency in CURRENCIES else 0,
                key=f"{key}-currency",
            )
            make_codes = st.checkbox(
                "Make SKUs where the file has none",
                start.make_codes,
                key=f"{key}-codes",
                help="Of the handle and the options, such as mug-blue-l. Else such variants are rejected.",
            )
        with st.container(width="stretch"):
            location_id, is_whole = _draw_stock(viewer, start, key)
    return Settings(currency, mapping, make_codes, location_id) if is_whole else None


def _draw_stock(viewer: people.Viewer, start: Settings, key: str) -> tuple[int | None, bool]:
    """(where stock is set, whether that is said)."""
    places = import_queries.locations(viewer.shop.id)
    choice = st.radio(
        "Stock numbers of the file",
        [_LEAVE, _SET],
        index=int(start.location_id is not None),
        key=f"{key}-stock",
        captions=[
            "The usual way. Products are imported, and what lies on the shelf stays as it is known here.",
            "What is on hand at one location becomes what the file says.",
        ],
    )
    if choice != _SET:
        return None, True
    if not places:
        st.warning("There is no location of yours to set stock at: add one under Set-up.", icon=":material/warning:")
        return None, False
    known = list(places)
    place = st.selectbox(
        "Set it at",
        known,
        index=known.index(start.location_id) if start.location_id in places else 0,
        format_func=places.__getitem__,
        key=f"{key}-location",
        width=260,
    )
    st.warning(
        "**The file’s numbers are older than what was sold since it was written.** Setting them brings sold units back "
        "on the shelf, and every channel is told of it at once: that is how one oversells. Do it only with a file that "
        "was counted just now, while nothing sells.",
        icon=":material/warning:",
    )
    return place, True


def _draw_begin(viewer: people.Viewer, document_id: int, seen: Seen, settings: Settings, again: Run | None) -> None:
    with st.form(f"begin-{document_id}", border=False, enter_to_submit=True):
        remember = settings.mapping is not None and st.checkbox(
            "Remember these columns for the next file that has them", True, key=f"remember-{document_id}"
        )
        reason = st.text_input(
            "Reason",
            again.reason if again else "",
            required=True,
            placeholder="The supplier’s autumn list",
            key=f"reason-{document_id}",
        )
        go = st.form_submit_button("Read it, change nothing", type="primary", icon=":material/search:")
    st.caption("This is the dry run: it says what the file would change, row by row. You decide afterwards.")
    if go:
        # That its form is known suffices is remembered, too.
        is_kept = bool(remember) or (settings.mapping is None and seen.form is not None)
        _begin(viewer, document_id, seen, settings, again, reason or "", remember=is_kept)


def _begin(
    viewer: people.Viewer,
    document_id: int,
    seen: Seen,
    settings: Settings,
    again: Run | None,
    reason: str,
    *,
    remember: bool,
) -> None:
    app, shop_id, heads = import_actions.application(), viewer.shop.id, tuple(seen.heads)
    try:
        actor = Actor(viewer.person.name, reason)
        if again is None:
            begun = import_actions.begin(app, shop_id, document_id, settings, heads, actor, remember=remember)
        else:
            begun = import_actions.read_again(app, shop_id, again.id, settings, heads, actor, remember=remember)
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "begin-import")
        return
    go_to(begun)


def go_to(begun: Begun) -> None:
    """Draw the page of an import."""
    import_queries.forget()
    components.say_later(begun.said)
    for name in ("document", "again", "show", "after"):
        st.query_params.pop(name, None)
    st.query_params["import"] = str(begun.import_id)
    st.rerun()


def draw_waiting(viewer: people.Viewer, rows: Sequence[dict[str, object]]) -> None:
    """Files that were uploaded and not gone on with."""
    for row in rows:
        with components.card("unknown", f"upload-{row['id']}"):
            with st.container(width="stretch", gap="xxsmall"):
                st.markdown(f"**{formats.plain(str(row['file_name']))}** is uploaded and waits to be read.")
                when = formats.ago(row["stored_at"], row["as_of"], viewer.shop.zone)  # type: ignore[arg-type]
                st.caption(f"By {formats.plain(str(row['created_by']))}, {when}")
            with st.container(width="content"):
                if st.button("Go on", key=f"go-on-{row['id']}", icon=":material/arrow_forward:"):
                    st.query_params["document"] = str(row["id"])
                    st.rerun()
