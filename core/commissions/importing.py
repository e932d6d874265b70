"""Assignments from a file: which SKU is whose. A plan names what would change and every row that is wrong; then it is
saved as one version."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.audit import Actor
from core.commissions import editing
from core.commissions.directory import Directory, directory
from core.commissions.drafts import Draft
from core.commissions.rules import Assignment
from core.commissions.typed import BadRule, read_assignment
from core.db import fetch
from core.errors import BadInput

COLUMNS = ("sku", "role", "party")
ROWS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class RowProblem:
    """What is wrong with a row, in which column, and how to put it right. `line` counts the header as 1."""

    line: int
    column: str
    what: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file would change. `token`: the latest version that was known, for whoever saves it."""

    draft: Draft
    rows: int
    unchanged: int
    problems: tuple[RowProblem, ...]
    token: int


class BadFile(BadInput):
    """A file with rows that are wrong: nothing of it was saved."""

    def __init__(self, problems: tuple[RowProblem, ...]) -> None:
        said = "; ".join(f"line {one.line}, {one.column}: {one.what}" for one in problems[:5])
        more = f"; and {len(problems) - 5:,} more" if len(problems) > 5 else ""
        super().__init__(f"nothing was saved: {said}{more}")


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    values: Mapping[str, str]


def plan(conn: Connection, shop_id: int, text: str) -> Plan:
    """What a CSV with the columns sku (a code), role and party (a code) would change; nothing is saved.

    A row takes the place of the assignment that the SKU has in that role; without a party it ends it. Assignments that
    also name a channel, a buyer, a code or days are left alone. Raises BadInput for a file that is no such table.
    """
    rows = _rows(text)
    names = directory(conn, shop_id, codes={row.values["sku"] for row in rows if row.values["sku"]})
    problems: list[RowProblem] = []
    wanted = dict(_wanted(rows, names, problems))
    living = _living(conn, shop_id, {sku for _, sku in wanted})
    begun: list[Assignment] = []
    ended: set[int] = set()
    unchanged = 0
    for (role, sku), one in wanted.items():
        there = living.get((role, sku), [])
        if one is not None and [party for _, party in there] == [one.party_id]:
            unchanged += 1
            continue
        ended |= {number for number, _ in there}
        if one is not None:
            begun.append(one)
        elif not there:
            unchanged += 1
    draft = Draft(assignments=tuple(begun), ended_assignments=frozenset(ended))
    problems.sort(key=lambda problem: problem.line)
    return Plan(draft, len(rows), unchanged, tuple(problems), editing.latest_version(conn, shop_id))


def save(conn: Connection, shop_id: int, planned: Plan, actor: Actor, now: datetime) -> editing.Saved:
    """Save a plan as one version. Raises BadFile where a row is wrong, RulesChanged, BadInput if nothing changes."""
    if planned.problems:
        raise BadFile(planned.problems)
    if not planned.draft.changes:
        raise BadInput("nothing was saved: all rows of the file say what is so already")
    return editing.save_draft(conn, shop_id, planned.draft, actor, now, planned.token)


def _rows(text: str) -> list[_Row]:
    plain = text.lstrip("\ufeff")
    header = plain.partition("\n")[0]
    reader = csv.reader(io.StringIO(plain), delimiter=";" if header.count(";") > header.count(",") else ",")
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        if sorted(names) != sorted(COLUMNS):
            raise BadInput(f"the first line names the columns {', '.join(COLUMNS)}: it says {header.strip()[:80]!r}")
        found = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            padded = [cell.strip() for cell in cells] + [""] * (len(names) - len(cells))
            values = dict(zip(names, padded, strict=False))
            if len(cells) > len(names):
                values["sku"] = ""
            found.append(_Row(reader.line_num, values))
            if len(found) > ROWS_MAX:
                raise BadInput(f"the file has more than {ROWS_MAX:,} rows: split it")
    except csv.Error as error:
        raise BadInput(f"line {reader.line_num} is no line of a CSV: {error}") from None
    if not found:
        raise BadInput("the file has a header and no row: add a row for each SKU")
    return found


def _wanted(
    rows: list[_Row], names: Directory, problems: list[RowProblem]
) -> Iterator[tuple[tuple[str, int], Assignment | None]]:
    """What each row asks for, by role and SKU; None: that nobody is. Rows that are wrong become problems."""
    first: dict[tuple[str, str], int] = {}
    skus = {code: number for number, (code, _) in names.skus.items()}
    for row in rows:
        sku, role = row.values["sku"], row.values["role"].lower()
        if not sku:
            problems.append(RowProblem(row.line, "sku", "is missing, or the row has more fields than the header"))
            continue
        if (known := first.setdefault((role, sku), row.line)) != row.line:
            problems.append(
                RowProblem(row.line, "sku", f"line {known} says who is its {role} already: delete one of the two")
            )
            continue
        one: Assignment | None = None
        try:
            one = read_assignment(row.values, names)
        except BadRule as wrong:
            # A row without a party is read as far as it says something: it ends what there is.
            found = [each for each in wrong.problems if each.field != "party" or row.values["party"]]
            problems += [RowProblem(row.line, each.field, each.what) for each in found]
            if found:
                continue
        yield (role, skus[sku]), one


def _living(conn: Connection, shop_id: int, skus: set[int]) -> dict[tuple[str, int], list[tuple[int, int]]]:
    found: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for row in fetch(
        conn,
        """
        select id, role, sku_id, party_id from party_assignments
        where shop_id = %(shop)s and ended_id is null and sku_id = any(%(skus)b::int8[])
            and num_nonnulls(connection_id, customer_ref, order_code, valid_from, valid_to) = 0
        order by id
        """,
        shop=shop_id,
        skus=sorted(skus),
    ):
        found.setdefault((row["role"], row["sku_id"]), []).append((row["id"], row["party_id"]))
    return found
