"""Writes: begin an import, have it applied, stopped, taken back, or forgotten. Each named, reasoned, audited.

What takes long is done in batches (reading, applying, undoing); these say that it is to be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.catalog.imports.mapping import Mapping as ColumnMapping
from core.db import execute, scalar
from core.errors import Anticipated, BadInput
from core.importing import queries
from core.importing.queries import Run, Settings, heads_key
from core.importing.uploads import uploaded
from core.money import CURRENCIES


class NotNow(Anticipated):
    """The import is at another step by now."""

    def __init__(self, run: Run, wanted: str) -> None:
        state = STATES.get(run.state, run.state)
        if run.state == "stopped" and run.undone_by is not None:
            state = "taken back in part. Take back the rest of it, and import the file again"
        else:
            state += ". Look at it again"
        super().__init__(f"import {run.id} cannot be {wanted}: it is {state}")


STATES = {
    "reading": "being read",
    "read": "read and waits for a decision",
    "applying": "being applied",
    "applied": "applied",
    "stopped": "stopped on the way",
    "undoing": "being taken back",
    "undone": "taken back",
    "discarded": "discarded",
    "failed": "given up",
}


def begin(
    conn: Connection,
    shop_id: int,
    document_id: int,
    file_name: str,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> int:
    """Have an uploaded file read, without effect; returns the import's id. Ring `imports.work` after the commit.

    Raises BadInput for a currency or a location that there is not.
    """
    if settings.currency not in CURRENCIES:
        raise BadInput(f"“{settings.currency}” is no currency that people pay with: choose one such as GBP")
    if settings.location_id is not None and not scalar(
        conn,
        """
        select count(*) from locations where shop_id = %(shop)s and id = %(id)s and kind is distinct from 'external'
        """,
        shop=shop_id,
        id=settings.location_id,
    ):
        raise BadInput("stock numbers can be set at a location of ours only: choose one")
    import_id = scalar(
        conn,
        """
        insert into import_runs (shop_id, document_id, file_name, state, settings, created_by, reason, created_at,
            worked_at)
        values (%(shop)s, %(document)s, %(name)s, 'reading', %(settings)s, %(by)s, %(reason)s, %(now)s, %(now)s)
        returning id
        """,
        shop=shop_id,
        document=document_id,
        name=file_name,
        settings=Jsonb(settings.to_json()),
        by=actor.name,
        reason=actor.reason,
        now=now,
    )
    audit.record(conn, shop_id, actor, "begin_import", f"import:{import_id}", now, file=file_name)
    return int(import_id)


def begin_once(
    conn: Connection, shop_id: int, document_id: int, settings: Settings, actor: Actor, now: datetime
) -> tuple[int, bool]:
    """Begin an import of an uploaded file, and True; where one of it is under way already, that one, and False.

    Raises core.documents.NoDocument, as `begin`.
    """
    # Whoever sends the same file twice at once waits here for the first.
    scalar(
        conn,
        "select id from documents where shop_id = %(shop)s and id = %(id)s for update",
        shop=shop_id,
        id=document_id,
    )
    document = uploaded(conn, shop_id, document_id, now)
    known = queries.import_of(conn, shop_id, document_id)
    if known is not None:
        return known, False
    return begin(conn, shop_id, document_id, document.file_name, settings, actor, now), True


def read_again(conn: Connection, shop_id: int, import_id: int, settings: Settings, actor: Actor, now: datetime) -> None:
    """Read the file anew, with other settings or against the catalogue as it is now. Raises NotNow.

    Where it is being read by these settings already, that goes on.
    """
    run = queries.run(conn, shop_id, import_id, for_update=True)
    if run.state == "reading" and run.settings == settings:
        return
    if run.state not in ("read", "failed", "reading"):
        raise NotNow(run, "read again")
    for table in ("import_items", "import_codes", "import_problem_groups"):
        execute(
            conn, f"delete from {table} where shop_id = %(shop)s and import_id = %(id)s", shop=shop_id, id=import_id
        )
    zeros = ", ".join(f"{name} = 0" for name in queries.COUNTS)
    execute(
        conn,
        f"""
        update import_runs set state = 'reading', generation = generation + 1, settings = %(settings)s, problem = null,
            form = null, stop_asked_by = null, rows_total = null, new_categories = '{{}}', new_metafields = '[]',
            category_ids = '{{}}', effect = null, read_at = null, worked_at = %(now)s, {zeros}
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=import_id,
        settings=Jsonb(settings.to_json()),
        now=now,
    )
    audit.record(conn, shop_id, actor, "read_import_again", f"import:{import_id}", now)


def remember_mapping(
    conn: Connection, shop_id: int, heads: Sequence[str], mapping: ColumnMapping, actor: Actor, now: datetime
) -> None:
    """Read files of these heads by this mapping from now on. Raises core.catalog.imports.mapping.BadMapping."""
    mapping.check_heads(heads)
    execute(
        conn,
        """
        insert into import_mappings (shop_id, heads_key, mapping, saved_by, saved_at)
        values (%(shop)s, %(key)s, %(mapping)s::jsonb, %(by)s, %(now)s)
        on conflict (shop_id, heads_key) do update set mapping = excluded.mapping, saved_by = excluded.saved_by,
            saved_at = excluded.saved_at
        """,
        shop=shop_id,
        key=heads_key(heads),
        mapping=mapping.to_json(),
        by=actor.name,
        now=now,
    )


def forget_mapping(conn: Connection, shop_id: int, heads: Sequence[str], actor: Actor, now: datetime) -> bool:
    """Read files of these heads by the form that they have from now on; says whether that was another way before."""
    key = heads_key(heads)
    count = execute(
        conn,
        "delete from import_mappings where shop_id = %(shop)s and heads_key = %(key)s",
        shop=shop_id,
        key=key,
    )
    if count:
        audit.record(conn, shop_id, actor, "forget_import_mapping", f"heads:{key[:12]}", now)
    return count > 0


def apply(conn: Connection, shop_id: int, import_id: int, actor: Actor, now: datetime) -> None:
    """Have what was read applied, or go on with it. Ring `imports.work` after the commit.

    Raises NotNow, also where taking it back has begun.
    """
    run = queries.run(conn, shop_id, import_id, for_update=True)
    if run.state not in ("read", "stopped") or run.undone_by is not None:
        raise NotNow(run, "applied")
    _move_on(conn, run, "applying", now, "applied_by", actor)
    audit.record(conn, shop_id, actor, "apply_import", f"import:{import_id}", now, items=run.counts["items"])


def stop(conn: Connection, shop_id: int, import_id: int, actor: Actor, now: datetime) -> None:
    """Ask for an end at the next batch: what is applied stays, what is not may be gone on with. Raises NotNow."""
    run = queries.run(conn, shop_id, import_id, for_update=True)
    if run.state not in queries.AT_WORK:
        raise NotNow(run, "stopped")
    execute(
        conn,
        "update import_runs set stop_asked_by = %(by)s where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=import_id,
        by=actor.name,
    )
    audit.record(conn, shop_id, actor, "stop_import", f"import:{import_id}", now)


def undo(conn: Connection, shop_id: int, import_id: int, actor: Actor, now: datetime) -> None:
    """Have what was applied taken back; what was changed again since stays. Ring `imports.work`. Raises NotNow."""
    run = queries.run(conn, shop_id, import_id, for_update=True)
    if run.state not in ("applied", "stopped"):
        raise NotNow(run, "taken back")
    _move_on(conn, run, "undoing", now, "undone_by", actor)
    audit.record(conn, shop_id, actor, "undo_import", f"import:{import_id}", now, applied=run.counts["applied"])


def discard(conn: Connection, shop_id: int, import_id: int, actor: Actor, now: datetime) -> None:
    """Decide that nothing comes of what was read. Raises NotNow."""
    run = queries.run(conn, shop_id, import_id, for_update=True)
    if run.state not in ("read", "failed"):
        raise NotNow(run, "discarded")
    execute(
        conn,
        "update import_runs set state = 'discarded', worked_at = %(now)s where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=import_id,
        now=now,
    )
    audit.record(conn, shop_id, actor, "discard_import", f"import:{import_id}", now)


def _move_on(conn: Connection, run: Run, state: str, now: datetime, who: str, actor: Actor) -> None:
    execute(
        conn,
        f"""
        update import_runs set state = %(state)s, worked_at = %(now)s, problem = null, stop_asked_by = null,
            {who} = %(by)s
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=run.shop_id,
        id=run.id,
        state=state,
        now=now,
        by=actor.name,
    )
