"""What a file changes, product by product: before and after, what is wrong and how to mend it, what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from core.catalog.categories.operations import SEPARATOR
from core.catalog.products.documents import ProductDocument
from core.importing.queries import SHOWN, Item, Run
from core.money import shown
from dashboard import catalogue_words, components, formats, import_queries, import_words, people
from dashboard.import_queries import Names

_LINES = 6
_CELLS, _CELLS_LONG = 3, 80
_APPLIED = ("applying", "applied", "stopped", "undoing", "undone")
_FILTERS = {
    "all": ("All", "items"),
    "create": ("New", "created"),
    "update": ("Changed", "updated"),
    "unchanged": ("As they are", "unchanged"),
    "reject": ("Rejected", "rejected"),
    "warnings": ("With warnings", "warnings"),
    "refused": ("Not applied", "refused"),
    "kept": ("Kept", "kept"),
}


def draw(viewer: people.Viewer, run: Run, place: str | None) -> None:
    """The items of an import by page, narrowed as the address says."""
    st.subheader("Product by product", anchor="items")
    shown_now = _choose(run)
    after = formats.number(st.query_params.get("after", ""))
    scope = viewer.person.scope
    page = import_queries.items(
        viewer.shop.id, scope, run.id, run.worked_at, shown_now, after if after is not None else -1
    )
    names = import_queries.names(viewer.shop.id, scope)
    if not page.rows:
        components.empty("No product of the file is so", "Choose another part of it above.")
    else:
        heads = [("Row", True), ("Product", False), (_head_of(run), False)]
        body = [_cells(viewer, run, item, names, page.on_hand, place) for item in page.rows]
        with st.container(key="import-items"):
            components.table(heads, body, "Products of the file")
    if after is not None or page.more:
        components.pager(
            "items",
            _go(after=None) if after is not None else None,
            _go(after=str(page.rows[-1].position)) if page.more else None,
            ("From the beginning", "Next"),
        )


def default_shown(run: Run) -> str:
    """What is looked at first: what was not done, else all of it."""
    if run.state == "undone" and run.counts["kept"]:
        return "kept"
    return "refused" if run.state in ("applied", "stopped") and run.counts["refused"] else "all"


def _choose(run: Run) -> str:
    """A choice whose place is the address; parts that are empty are left out."""
    options = [name for name in _FILTERS if name == "all" or run.counts[_FILTERS[name][1]]]
    given = st.query_params.get("show", "")
    known = given if given in SHOWN and given in options else default_shown(run)
    key = f"import-show-{run.id}"
    st.session_state[key] = known

    def choose() -> None:
        _go(after=None, show=st.session_state[key] or known)()

    st.segmented_control(
        "Show",
        options,
        key=key,
        format_func=lambda name: f"{_FILTERS[name][0]} {formats.count(run.counts[_FILTERS[name][1]])}",
        required=True,
        on_change=choose,
        label_visibility="collapsed",
    )
    return known


def _go(**where: str | None) -> Callable[[], None]:
    """A callback that changes the address; None takes a name out of it."""

    def go() -> None:
        for name, value in where.items():
            st.query_params.pop(name, None)
            if value is not None:
                st.query_params[name] = value

    return go


def _head_of(run: Run) -> str:
    return "What it changed, and what became of it" if run.state in _APPLIED else "What it would change"


def _cells(
    viewer: people.Viewer, run: Run, item: Item, names: Names, on_hand: Mapping[str, int], place: str | None
) -> tuple[str, str, str]:
    look, word = import_words.ACTIONS[item.action]
    title = escape(item.title or item.handle or _cells_of(item) or "Rows of no product")
    if item.product_id is not None and item.action != "reject" and item.fate == "done" and item.undo_fate != "done":
        title = components.link("products", item.title or item.handle, viewer.where(product=str(item.product_id)))
    pill = f'<span class="sy-pill sy-pill-{look}">{escape(word)}</span>'
    about = f"<b>{title}</b><div class='sy-meta'>{escape(item.handle)}</div>{pill}"
    errors = [told for told in item.problems if told["severity"] == "error"]
    warnings = [told for told in item.problems if told["severity"] != "error"]
    lines = [*_fate_lines(run, item), *_problem_lines(errors)]
    if item.action != "reject":
        lines += _change_lines(item, names, on_hand, place)
    lines += _problem_lines(warnings)
    return formats.count(item.first_row), about, _list(lines) or '<span class="sy-muted">nothing</span>'


def _cells_of(item: Item) -> str:
    """Rejected rows have no title of their own: what they begin with."""
    told = [cell.strip() for cell in item.cells if cell.strip()]
    return formats.shortened(" · ".join(told[:_CELLS]), _CELLS_LONG)


def _list(lines: Sequence[str]) -> str:
    """Lines of ready HTML, the first of them at once."""
    if not lines:
        return ""
    first, rest = lines[:_LINES], lines[_LINES:]
    body = "".join(f"<li>{line}</li>" for line in first)
    if rest:
        hidden = "".join(f"<li>{line}</li>" for line in rest)
        body += (
            f"<li><details><summary>and {formats.count(len(rest))} more</summary>"
            f'<ul class="sy-lines">{hidden}</ul></details></li>'
        )
    return f'<ul class="sy-lines">{body}</ul>'


def _fate_lines(run: Run, item: Item) -> list[str]:
    if run.state not in _APPLIED or item.action == "reject":
        return []
    if item.fate is None and (item.action == "unchanged" or run.state in ("undoing", "undone")):
        return []
    look, word, why, fix = import_words.fate(item)
    said = f": {escape(why)}" if why else ""
    mend = f'<span class="sy-fix">→ {escape(fix)}</span>' if fix else ""
    return [f'<span class="sy-pill sy-pill-{look}">{escape(word)}</span>{said}{mend}']


def _problem_lines(problems: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for told in sorted(problems, key=lambda one: one["row"]):
        look, word = ("danger", "Error") if told["severity"] == "error" else ("attention", "Warning")
        where = f"Row {formats.count(told['row'])}"
        where += f", {told['column']}" if told["column"] else ""
        value = told["value"]
        has_value = value and value != told["column"] and value not in told["sentence"]
        cell = f" <span class='sy-code'>{escape(value)}</span>" if has_value else ""
        lines.append(
            f'<span class="sy-pill sy-pill-{look}">{word}</span> <b>{escape(where)}</b>{cell}: '
            f'{escape(told["sentence"])}<span class="sy-fix">→ {escape(told["fix"])}</span>'
        )
    return lines


def _change_lines(item: Item, names: Names, on_hand: Mapping[str, int], place: str | None) -> list[str]:
    lines = []
    if item.action == "create" and item.after is not None:
        lines.append(escape(_outline(item.after)))
    elif item.action == "update" and item.before is not None:
        said = catalogue_words.said(item.before, item.after, names.definitions, names.categories)
        lines += [_saying(one) for one in said]
    paths = {SEPARATOR.join(path) for path in item.category_paths or ()}
    made = sorted(paths - set(names.categories.values()))
    if made and item.action != "unchanged":
        lines.append(f"Categories that are made: {escape(', '.join(made))}")
    if place is not None:
        lines += [
            f"Stock of {escape(code)} at {escape(place)}: "
            f"{formats.count(on_hand.get(code, 0))} → <b>{formats.count(units)}</b>"
            for code, units in sorted(item.units.items())
            if on_hand.get(code, 0) != units and item.fate is None
        ]
    return lines


def _saying(said: catalogue_words.Saying) -> str:
    if said.before is None and said.after is None:
        return escape(said.sentence)
    head, mark, rest = said.sentence.partition(": ")
    return f"{escape(head)}{mark}<b>{escape(rest)}</b>" if rest else escape(said.sentence)


def _outline(document: ProductDocument) -> str:
    """A new product in a line: "3 variants, £9.50 to £11.00, Active, SKUs MUG-S, MUG-L"."""
    variants = document.variants
    parts = [formats.plural(len(variants), "variant")]
    prices = sorted({(v.price_minor, v.currency) for v in variants if v.price_minor is not None})
    if prices:
        low, high = shown(*prices[0]), shown(*prices[-1])
        parts.append(low if low == high else f"{low} to {high}")
    parts.append(catalogue_words.status(document.status))
    if document.vendor:
        parts.append(f"by {document.vendor}")
    if document.images:
        parts.append(formats.plural(len(document.images), "picture"))
    codes = [variant.code for variant in variants]
    more = f" and {formats.count(len(codes) - 4)} more" if len(codes) > 4 else ""
    parts.append(f"SKU{'s' if len(codes) != 1 else ''} {', '.join(codes[:4])}{more}")
    return ", ".join(parts)
