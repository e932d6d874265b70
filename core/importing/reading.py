"""Reading without effect: what each product of the file would change, noted a batch at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection

from core.catalog.categories.operations import SEPARATOR
from core.catalog.imports.drafts import ProductDraft
from core.catalog.imports.problems import Outcome, Problem
from core.catalog.products import queries as catalogue
from core.catalog.products.documents import to_json
from core.catalog.products.fields import Definition
from core.catalog.products.queries import Stored
from core.catalog.products.rules import differences
from core.db import execute, fetch
from core.importing import queries
from core.importing.finding import find, note_codes, skus_of_nobody
from core.importing.holding import finish, storable
from core.importing.metafields import Fields, Waiting
from core.importing.placing import Categories
from core.importing.queries import Run
from core.importing.rules import Merged, merged


def last_row(conn: Connection, run: Run) -> int:
    """The first row of the product that was read last, behind which reading goes on; 0 where none was."""
    rows = fetch(
        conn,
        """
        select first_row from import_items where shop_id = %(shop)s and import_id = %(import)s
        order by position desc limit 1
        """,
        shop=run.shop_id,
        **{"import": run.id},
    )
    return int(rows[0]["first_row"]) if rows else 0


@dataclass(slots=True)
class _Read:
    """An outcome with what it comes to."""

    outcome: Outcome
    product_id: int | None = None
    current: Stored | None = None
    merged: Merged | None = None
    extra: list[Problem] = field(default_factory=list)


def take_in(
    conn: Connection,
    run: Run,
    outcomes: Sequence[Outcome],
    file_problems: Iterable[Problem],
    form: str,
    rows_total: int,
    now: datetime,
) -> None:
    """Note what the next products of the file would change; `file_problems` only with the first of them."""
    reads = [_Read(outcome) for outcome in outcomes]
    drafts = [read for read in reads if read.outcome.draft is not None]
    found = find(conn, run, [read.outcome.draft for read in reads if read.outcome.draft is not None])
    known = catalogue.stored(conn, run.shop_id, [one.product_id for one in found if one.product_id is not None])
    definitions = catalogue.definitions(conn, run.shop_id)
    brought = {(d["owner"], d["key"]): Definition(**d) for d in run.new_metafields}  # type: ignore[arg-type]
    waiting = {key: Waiting(*told) for key, told in queries.waiting_metafields(conn, run.shop_id, run.id).items()}
    categories = Categories(conn, run)
    skus = skus_of_nobody(conn, run.shop_id, [one.draft for one in found])
    for read, one in zip(drafts, found, strict=True):
        read.product_id, read.extra = one.product_id, one.problems
        if not read.extra:
            read.current = known.get(read.product_id or 0)
            current = None if read.current is None else read.current.document
            fields = Fields({**brought, **definitions}, brought.keys() - definitions.keys(), waiting)
            read.merged = merged(current, one.draft, fields, categories.ids, run.settings.currency, skus)
            if read.merged.document is not None:
                # What a rejected product brings is not defined when the import is applied.
                brought |= read.merged.defined
    position = run.counts["items"]
    rows = [_row_of(read, position + place) for place, read in enumerate(reads)]
    if position == 0 and rows:
        general = [asdict(problem) for problem in file_problems]
        rows[0]["problems"] = general + rows[0]["problems"]
        rows[0]["has_warnings"] = rows[0]["has_warnings"] or any(p["severity"] == "warning" for p in general)
    _insert(conn, run, rows)
    kept = [one.draft for read, one in zip(drafts, found, strict=True) if read.merged and read.merged.document]
    note_codes(conn, run, {str(v.code): v.row for draft in kept for v in draft.variants if v.code in skus})
    _count_problems(conn, run, [problem for row in rows for problem in row["problems"]])
    _count_read(conn, run, reads, rows, categories, form, rows_total, now)


def _row_of(read: _Read, position: int) -> dict[str, Any]:
    outcome, found = read.outcome, read.merged
    problems = [*outcome.problems, *read.extra, *(found.problems if found else [])]
    after = None if found is None else found.document
    before = None if read.current is None else read.current.document
    told = [] if after is None else differences(before, after)
    changed = len(told) + bool(found is not None and after is not None and found.new_paths)
    action = "reject" if after is None else "create" if before is None else "update" if changed else "unchanged"
    draft = outcome.draft
    return {
        "position": position,
        "first_row": outcome.rows[0].number if outcome.rows else 0,
        "action": action,
        "handle": after.handle if after is not None else "" if draft is None else draft.handle,
        "title": after.title if after is not None else _title_of(draft),
        "product_id": read.product_id if after is not None else None,
        "base_version": None if read.current is None or after is None else read.current.version,
        "document": None if after is None else to_json(after),
        "category_paths": [list(path) for path in found.category_paths]
        if found is not None and after is not None and found.category_paths is not None
        else None,
        "differences": changed,
        "units": found.units if found is not None and found.units and after is not None else None,
        "problems": [asdict(problem) for problem in problems],
        "has_warnings": any(problem.severity == "warning" for problem in problems),
        "rows": [[row.number, list(row.cells)] for row in outcome.rows] if action == "reject" else None,
    }


def _title_of(draft: ProductDraft | None) -> str:
    return draft.title if draft is not None and isinstance(draft.title, str) else ""


def _insert(conn: Connection, run: Run, rows: Sequence[Mapping[str, Any]]) -> None:
    execute(
        conn,
        """
        insert into import_items (shop_id, import_id, position, first_row, action, handle, title, product_id,
            base_version, document, category_paths, differences, units, problems, has_warnings, rows)
        select %(shop)s, %(import)s, r.position, r.first_row, r.action, r.handle, r.title, r.product_id, r.base_version,
            r.document, r.category_paths, r.differences, r.units, r.problems, r.has_warnings, r.rows
        from jsonb_to_recordset(%(rows)s::jsonb) as r (position int4, first_row int8, action text, handle text,
            title text, product_id int8, base_version int4, document jsonb, category_paths jsonb, differences int4,
            units jsonb, problems jsonb, has_warnings bool, rows jsonb)
        """,
        shop=run.shop_id,
        rows=storable(rows),
        **{"import": run.id},
    )


_PARTICULARS = re.compile("“[^”]*”|[0-9]+")
_WORD = 4
"""Shorter cells are found in any sentence."""


def _count_problems(conn: Connection, run: Run, problems: Sequence[Mapping[str, Any]]) -> None:
    """Add to the groups of what is wrong: alike but for what is in quotation marks, numbers and the cell itself."""
    groups: dict[str, dict[str, Any]] = {}
    for told in problems:
        sentence, value = told["sentence"], told["value"]
        alike = _PARTICULARS.sub("…", sentence.replace(value, "…") if len(value) >= _WORD else sentence)
        words = storable([told["severity"], told["column"], told["fix"], alike])
        group = {**told, "key": sha256(words.encode()).hexdigest()[:32], "times": 0}
        known = groups.setdefault(group["key"], group)
        known["times"] += 1
        if told["row"] < known["row"]:
            known |= {"row": told["row"], "sentence": sentence}
    execute(
        conn,
        """
        insert into import_problem_groups as g (shop_id, import_id, key, severity, column_name, sentence, fix, times,
            first_row)
        select %(shop)s, %(import)s, r.key, r.severity, r."column", r.sentence, r.fix, r.times, r."row"
        from jsonb_to_recordset(%(groups)s::jsonb) as r (key text, severity text, "column" text, sentence text,
            fix text, times int4, "row" int8)
        on conflict (shop_id, import_id, key) do update set times = g.times + excluded.times,
            sentence = case when excluded.first_row < g.first_row then excluded.sentence else g.sentence end,
            first_row = least(g.first_row, excluded.first_row)
        """,
        shop=run.shop_id,
        groups=storable(list(groups.values())),
        **{"import": run.id},
    )


def _count_read(
    conn: Connection,
    run: Run,
    reads: Sequence[_Read],
    rows: Sequence[Mapping[str, Any]],
    categories: Categories,
    form: str,
    rows_total: int,
    now: datetime,
) -> None:
    kept = [read.merged for read in reads if read.merged is not None and read.merged.document is not None]
    told = {path for one in kept for path in one.category_paths or ()}
    paths = {SEPARATOR.join(path) for path in told if path not in categories.ids}
    defined = {key: definition for one in kept for key, definition in one.defined.items()}
    actions = [row["action"] for row in rows]
    execute(
        conn,
        """
        update import_runs set worked_at = %(now)s, form = %(form)s, rows_total = %(total)s,
            rows_read = rows_read + %(rows)s, items = items + %(items)s, created = created + %(created)s,
            updated = updated + %(updated)s, unchanged = unchanged + %(unchanged)s, rejected = rejected + %(rejected)s,
            warnings = warnings + %(warnings)s, new_metafields = new_metafields || %(fields)s::jsonb,
            new_categories = array(select distinct unnest(new_categories || %(paths)b::text[]) order by 1),
            category_ids = category_ids || %(ids)s::jsonb
        where shop_id = %(shop)s and id = %(import)s
        """,
        shop=run.shop_id,
        now=now,
        form=form,
        total=rows_total,
        rows=sum(len(read.outcome.rows) for read in reads),
        items=len(rows),
        created=actions.count("create"),
        updated=actions.count("update"),
        unchanged=actions.count("unchanged"),
        rejected=actions.count("reject"),
        warnings=sum(bool(row["has_warnings"]) for row in rows),
        fields=storable([asdict(definition) for definition in defined.values()]),
        paths=sorted(paths),
        ids=storable(categories.meant_by(told)),
        **{"import": run.id},
    )


def finish_reading(conn: Connection, run: Run, now: datetime) -> None:
    """All of the file is read: a person decides."""
    finish(conn, run, "read", now, "read_at")
