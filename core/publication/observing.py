"""What a channel shows of its products, taken in: linked to ours, kept as seen, judged, and read into ours.

One way for a reading, for what is read back after a write, and for a product that changed here: the channel's product
as it was last seen and ours as it is are compared, what the channel is master of is put into ours, and what is left to
write is noted at the link. For the holder of the connection's lane: nobody else observes or writes its products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from core.audit import Actor
from core.catalog.products import operations as catalogue
from core.catalog.products import queries as products
from core.catalog.products.documents import ProductDocument, digest_of
from core.catalog.products.fields import Definition
from core.catalog.products.queries import Stored
from core.catalog.products.rules import flaws_of
from core.catalog.products.writing import Put, lock, put_products
from core.connections.queries import ConnectionRow
from core.db import execute
from core.product_ports import ShownProduct, UnreadableProduct
from core.publication import linking, queries, settling
from core.publication import shown as forms
from core.publication.queries import Link, Push
from core.publication.rules import (
    CORRECTIONS_MAX,
    Ground,
    fields_said,
    key_of,
    problem_of,
    taken,
    to_do,
    undefined,
    wanted,
)

REMOVED = "it was removed here, and is still at the channel: archive or delete it there, or take the removal back"
DELETED = (
    "it was deleted at the channel: remove it here too, or have it made there anew with `switchyard products release`"
)


UNREADABLE = "what the channel answers of it cannot be made out"


@dataclass(slots=True)
class Work:
    """A product at its channel on its way through: `fields` are what its link becomes."""

    link: Link
    shown: ShownProduct | None
    ours: Stored | None
    ground: Ground
    push: Push | None
    put: Put | None = None
    fields: dict[str, Any] | None = None
    is_new: bool = False
    has_changed: bool = False
    is_settled: bool = False
    is_observed: bool = False

    def becomes(self, state: str, problem: str | None = None, **fields: Any) -> None:
        self.fields = {"state": state, "problem": problem and problem[:500], "cause": None, **fields}

    def asks(self, cause: str, problem: str, **fields: Any) -> None:
        """A person is asked; causes are those that the link's table allows."""
        self.becomes("asks", problem, cause=cause, **fields)


def observe(conn: Connection, row: ConnectionRow, shown: Sequence[ShownProduct], now: datetime) -> dict[str, int]:
    """Take in products as the channel shows them now; returns how many are new here, changed here, in which state.

    An observation that is older than what was seen is passed over.
    """
    lock(conn, row.shop_id)
    linked = linking.linked(conn, row, list({one.ref: one for one in shown}.values()), now)
    counts = _work(conn, row, linked, now, is_observed=True)
    _unblock(conn, row, [one.ref for one in shown])
    return counts


def judge(conn: Connection, row: ConnectionRow, link_ids: Sequence[int], now: datetime) -> dict[str, int]:
    """Judge links anew by what was seen, as their products are now here."""
    lock(conn, row.shop_id)
    found = [queries.link(conn, row, link_id, locks=True) for link_id in sorted(link_ids)]
    known = [(link, link.shown) for link in found if link is not None and link.product_id is not None]
    # Whose these are may be told by now.
    strange = [link.shown for link in found if link is not None and link.product_id is None and link.shown is not None]
    return _work(conn, row, [*known, *linking.linked(conn, row, strange, now)], now, is_observed=False)


def note_unreadable(
    conn: Connection, row: ConnectionRow, unreadable: Sequence[UnreadableProduct], now: datetime
) -> int:
    """Set aside what cannot be made out: nothing is written to it, and a person is asked; returns how many are new to
    that.

    What was seen of it before stays. As soon as it can be read it goes on by itself.
    """
    return execute(
        conn,
        """
        insert into product_links (shop_id, connection_id, channel_ref, is_unreadable, state, problem, cause, seen_at,
            next_at, created_at, updated_at)
        select %(shop)s, %(connection)s, u.ref, true, 'asks', u.problem, 'unreadable', %(now)s, %(now)s, %(now)s,
            %(now)s
        from unnest(%(refs)b::text[], %(problems)b::text[]) u(ref, problem) order by u.ref
        on conflict (shop_id, connection_id, channel_ref) do update set is_unreadable = true, state = 'asks',
            problem = excluded.problem, cause = 'unreadable', seen_at = excluded.seen_at,
            updated_at = excluded.updated_at
        """,
        shop=row.shop_id,
        connection=row.id,
        refs=[one.ref for one in unreadable],
        problems=[f"{UNREADABLE}: {one.why}"[:500] for one in unreadable],
        now=now,
    )


def set_aside(conn: Connection, row: ConnectionRow, link_id: int, unreadable: UnreadableProduct, now: datetime) -> None:
    """The same of a product of ours that was to be made, where what has its handle there cannot be made out.

    It is looked for again when it changes here, and when what is in its way can be read, or is gone.
    """
    execute(
        conn,
        """
        update product_links set is_unreadable = true, blocked_by = %(ref)s, state = 'asks', problem = %(problem)s,
            cause = 'unreadable', updated_at = %(now)s
        where shop_id = %(shop)s and connection_id = %(connection)s and id = %(id)s and channel_ref is null
        """,
        shop=row.shop_id,
        connection=row.id,
        id=link_id,
        ref=unreadable.ref,
        problem=f"{UNREADABLE}: {unreadable.why}"[:500],
        now=now,
    )


def _unblock(conn: Connection, row: ConnectionRow, refs: Sequence[str]) -> None:
    """These are in the way of nothing any more: what was to be made in their place is judged anew."""
    execute(
        conn,
        """
        update product_links set judged_version = null where shop_id = %(shop)s and connection_id = %(connection)s
            and blocked_by = any(%(refs)b::text[])
        """,
        shop=row.shop_id,
        connection=row.id,
        refs=sorted(refs),
    )


def note_gone(conn: Connection, row: ConnectionRow, refs: Sequence[str], now: datetime) -> int:
    """The channel has these no more. What was never told to be ours is forgotten; returns how many were ours."""
    execute(
        conn,
        """
        delete from product_links where shop_id = %(shop)s and connection_id = %(connection)s
            and channel_ref = any(%(refs)b::text[]) and product_id is null
        """,
        shop=row.shop_id,
        connection=row.id,
        refs=sorted(refs),
    )
    _unblock(conn, row, refs)
    links = queries.links_of(conn, row, refs)
    for push in queries.open_pushes(conn, row.shop_id, [link.id for link in links]).values():
        settling.close(conn, row.shop_id, push.id, "lost", "the product was deleted at the channel", now)
    return execute(
        conn,
        """
        update product_links set state = 'gone', problem = %(problem)s, cause = 'deleted', is_unreadable = false,
            updated_at = %(now)s
        where shop_id = %(shop)s and id = any(%(ids)b::int8[])
        """,
        shop=row.shop_id,
        ids=[link.id for link in links],
        problem=DELETED,
        now=now,
    )


# --- Judging ---------------------------------------------------------------------------------------------------------


def _work(
    conn: Connection,
    row: ConnectionRow,
    linked: Sequence[tuple[Link, ShownProduct | None]],
    now: datetime,
    *,
    is_observed: bool,
) -> dict[str, int]:
    ground = queries.ground(conn, row)
    ground = _with_new_fields(conn, row, linked, ground, now)
    stored = products.stored(conn, row.shop_id, [link.product_id for link, _ in linked if link.product_id])
    pushes = queries.open_pushes(conn, row.shop_id, [link.id for link, _ in linked])
    works = []
    for link, shown in linked:
        own = replace(ground, names=link.names, may_drop=link.may_drop)
        ours, push = stored.get(link.product_id or 0), pushes.get(link.id)
        works.append(Work(link, shown, ours, own, push, is_observed=is_observed))
    for work in works:
        settling.settle(conn, row, work, now)
    _take(conn, row, works, now)
    for work in works:
        if work.fields is None:
            _judge(row, work, now)
    _keep(conn, row, works, now)
    return _counted(works)


def _with_new_fields(
    conn: Connection,
    row: ConnectionRow,
    linked: Sequence[tuple[Link, ShownProduct | None]],
    ground: Ground,
    now: datetime,
) -> Ground:
    """Metafields that the channel is master of, and that the shop does not define yet, are defined."""
    found = {
        one
        for link, shown in linked
        if shown is not None
        for one in undefined(shown, ground, is_new=link.product_id is None)
    }
    types = dict(ground.types)
    actor = Actor("reading", f"a metafield of {row.name}")
    for owner, key, type_ in sorted(found):
        if (owner, key) in types:
            continue
        name = key.split(".", 1)[1].replace("_", " ").replace("-", " ").strip().capitalize() or key
        catalogue.define_metafield(conn, row.shop_id, Definition(owner, key, name, type_), actor, now)
        types[(owner, key)] = type_
    return replace(ground, types=types)


def _take(conn: Connection, row: ConnectionRow, works: Sequence[Work], now: datetime) -> None:
    """Put into our products what the channel is master of; what cannot be put is said at the link."""
    definitions = products.definitions(conn, row.shop_id)
    for work in works:
        document = _to_take(work)
        if document is None:
            continue
        flaws = flaws_of(document, definitions)
        if flaws:
            said = f"{flaws[0].code} {flaws[0].sentence}".strip()
            work.asks("unfit", f"it cannot be read as the channel shows it: {said}", judged_version=None)
        else:
            work.put = _put_of(work, document)
    puts = [work for work in works if work.put is not None]
    if not puts:
        return
    actor = Actor("reading", f"read from {row.name}")
    results = put_products(conn, row.shop_id, [work.put for work in puts if work.put], "read", actor, now)
    for work, result in zip(puts, results, strict=True):
        if result.fate == "done":
            assert result.product_id is not None
            work.has_changed, work.is_new = True, work.link.product_id is None
            work.link = replace(work.link, product_id=result.product_id)
        elif result.fate == "stale":
            # Somebody saved it meanwhile: it is judged again, by what it is then.
            work.becomes(work.link.state, work.link.problem, cause=work.link.cause, judged_version=None)
        else:
            kind = result.fate.removesuffix("_taken")
            work.asks(
                "unfit",
                f"it cannot be read: another product here has the {kind} {result.detail}",
                judged_version=None,
            )
    fresh = products.stored(conn, row.shop_id, [w.link.product_id for w in puts if w.link.product_id])
    for work in puts:
        work.ours = fresh.get(work.link.product_id or 0)


def _put_of(work: Work, document: ProductDocument) -> Put:
    if work.ours is None:
        return Put(document)
    return Put(document, work.ours.product_id, work.ours.version)


def _to_take(work: Work) -> ProductDocument | None:
    """What our product is to become; None where it is as it should be, or cannot be told."""
    link, shown = work.link, work.shown
    if shown is None or work.fields is not None:
        return None
    problem = problem_of(shown)
    if link.product_id is None:
        why, cause = problem or link.problem, "unclear"
        if why is None and work.ground.masters.of("variants") != "channel":
            cause, why = (
                "not_here",
                (
                    "it is at the channel and not here: make it here with the same SKUs, or let the channel be master"
                    " of the variants"
                ),
            )
        if why is not None:
            work.asks(cause, why, judged_version=0)
            return None
        return taken(None, shown, work.ground)
    if work.ours is None:
        work.asks("removed", REMOVED, judged_version=0)
        return None
    if problem is not None:
        work.asks("unclear", problem, judged_version=work.ours.version)
        return None
    document = taken(work.ours.document, shown, work.ground)
    return None if document == work.ours.document else document


def _judge(row: ConnectionRow, work: Work, now: datetime) -> None:
    """What is left to write, by our product as it is now."""
    link, ours = work.link, work.ours
    if ours is None:
        work.asks("removed", REMOVED, judged_version=0)
        return
    want = wanted(ours.document, work.shown, work.ground, row.currency)
    things = to_do(want.product, work.shown)
    desired = digest_of(forms.to_json(want.product))
    note = "; ".join(want.notes) or None
    fields: dict[str, Any] = {"judged_version": ours.version, "desired_hash": desired}
    if not things:
        fields |= {"confirmed_hash": desired, "failures": 0}
        work.becomes("asks" if note else "in_step", note, cause="variants" if note else None, **fields)
    elif desired == link.refused_hash:
        said = link.problem if link.cause == "refused" else None
        work.asks("refused", said or "the channel refuses it", **fields)
    elif link.corrections >= CORRECTIONS_MAX and key_of(things) == link.correction_key:
        said = fields_said(things)
        work.asks(
            "changed_back",
            f"{said} was set right at the channel {link.corrections} times and changed back each time: let the channel"
            " be master of it, or find out who changes it and release the product",
            **fields,
        )
    else:
        held = work.push.sent_at + settling.late(row) if work.push is not None and not work.is_settled else None
        kept = link.next_at if link.state == "differs" and link.desired_hash == desired else now
        work.becomes("differs", note, **fields, next_at=held or kept)


def _keep(conn: Connection, row: ConnectionRow, works: Sequence[Work], now: datetime) -> None:
    """Write what links have become."""
    rows = []
    for work in works:
        assert work.fields is not None, "every product was judged"
        link = work.link
        seen = None if work.shown is None else forms.to_json(work.shown)
        rows.append(
            {
                "id": link.id,
                "product_id": link.product_id,
                "seen": seen,
                "seen_hash": None if seen is None else digest_of(seen),
                "is_observed": work.is_observed,
                "version_at": None if work.shown is None else work.shown.version_at.isoformat(),
                "names": dict(work.ground.names),
                "desired_hash": link.desired_hash,
                "confirmed_hash": link.confirmed_hash,
                "failures": link.failures,
                "next_at": link.next_at,
                "corrections": link.corrections,
                "correction_key": link.correction_key,
                **work.fields,
            }
        )
    execute(
        conn,
        """
        update product_links l set product_id = r.product_id, seen = r.seen, seen_hash = r.seen_hash,
            version_at = r.version_at, seen_at = case when r.is_observed then %(now)s::timestamptz else l.seen_at end,
            names = r.names, judged_version = r.judged_version, desired_hash = r.desired_hash,
            confirmed_hash = r.confirmed_hash, state = r.state, problem = r.problem, cause = r.cause,
            is_unreadable = l.is_unreadable and not r.is_observed and l.channel_ref is not null, blocked_by = null,
            failures = r.failures, next_at = r.next_at, corrections = r.corrections,
            correction_key = r.correction_key, updated_at = %(now)s
        from jsonb_to_recordset(%(rows)s::jsonb) as r (id int8, product_id int8, seen jsonb, seen_hash text,
            version_at timestamptz, names jsonb, judged_version int4, desired_hash text, confirmed_hash text,
            state text, problem text, cause text, failures int4, next_at timestamptz, corrections int4,
            correction_key text, is_observed bool)
        where l.shop_id = %(shop)s and l.id = r.id
        """,
        shop=row.shop_id,
        rows=orjson.dumps(rows).decode(),
        now=now,
    )


def _counted(works: Sequence[Work]) -> dict[str, int]:
    states = [work.fields["state"] for work in works if work.fields is not None]
    return {
        "created": sum(work.is_new for work in works),
        "changed": sum(work.has_changed and not work.is_new for work in works),
        "in_step": states.count("in_step"),
        "to_push": states.count("differs"),
        "asks": states.count("asks"),
    }
