"""Reads of the Failures screen: groups worst first, their items, what is under way, and what failed about an order."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import streamlit as st

from dashboard.queries import one, rows

GROUPS_PAGE = 10
ITEMS_PAGE = 10
REFS_MAX = 5
RECOVERIES_MAX = 5
BADGE_MAX = 99


class Page(NamedTuple):
    """Rows in the order of their list; `more` says whether others follow."""

    rows: list[dict[str, Any]]
    more: bool


class Filter(NamedTuple):
    """Which failures are meant; what is None or empty restricts nothing."""

    source: str | None = None
    connection_id: int | None = None
    text: str = ""


class Position(NamedTuple):
    """The group after which a page begins: the key of the list's order."""

    still_needed: int
    items: int
    group_key: str


class ItemPosition(NamedTuple):
    """The failure after which a page begins, the newest first."""

    at: datetime
    item_id: int


_GROUP = """
    group_key, source, function, error_class, message, connection_id, connection, items, still_needed,
    superseded, skus, orders, money, first_at, last_at, hours, next_step, traceback_run_id, as_of
"""
_ITEM = """
    group_key, source, item_id, at, attempts, function, error_class, connection_id, connection, error, has_payload,
    is_editable, orders, skus, state, kept_state = 'open' as is_open, state_at, recovery_id, recovery, job_ref,
    has_traceback, settled_by, settled_reason, now() as as_of
"""
_MEANT = """
    shop_id = %(shop)s
    and (%(source)s::text is null or source = %(source)s)
    and (%(connection)s::int8 is null or connection_id = %(connection)s)
    and (%(text)s = ''
        or strpos(lower(concat_ws(' ', function, error_class, {words}, connection)), lower(%(text)s)) > 0)
"""
_BEFORE = "(%(at)s::timestamptz is null or (at, item_id) < (%(at)s, %(item)s))"
_GROUPS_MEANT, _ITEMS_MEANT = _MEANT.format(words="message"), _MEANT.format(words="error")


def _meant(shop_id: int, wanted: Filter) -> dict[str, Any]:
    return {"shop": shop_id, "source": wanted.source, "connection": wanted.connection_id, "text": wanted.text}


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def groups(shop_id: int, scope: str, wanted: Filter, after: Position | None) -> Page:
    """Groups with something open, what is needed most first."""
    needed, items, key = after or (None, 0, "")
    found = rows(
        f"""
        select {_GROUP} from failure_groups where {_GROUPS_MEANT}
        and (%(needed)s::int8 is null or (-still_needed, -items, group_key) > (-%(needed)s::int8, -%(items)s, %(key)s))
        order by -still_needed, -items, group_key limit {GROUPS_PAGE + 1}
        """,
        **_meant(shop_id, wanted),
        needed=needed,
        items=items,
        key=key,
    )
    return Page(found[:GROUPS_PAGE], len(found) > GROUPS_PAGE)


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def groups_named(shop_id: int, scope: str, keys: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """These groups as they stand, by key; one that has nothing open any more is absent."""
    found = rows(
        f"select {_GROUP} from failure_groups where shop_id = %(shop)s and group_key = any(%(keys)b::text[])",
        shop=shop_id,
        keys=list(keys),
    )
    return {row["group_key"]: row for row in found}


def group(shop_id: int, key: str) -> dict[str, Any] | None:
    """One group as it stands; None when nothing of it is open any more."""
    return one(
        f"select {_GROUP} from failure_groups where shop_id = %(shop)s and group_key = %(key)s", shop=shop_id, key=key
    )


class Standing(NamedTuple):
    """How much is open in each group, by key: source, items, still_needed; and the moment it was so."""

    groups: dict[str, dict[str, Any]]
    as_of: datetime

    @property
    def items(self) -> dict[str, int]:
        """How many failures are open in each group, by key."""
        return {key: row["items"] for key, row in self.groups.items()}


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def standing(shop_id: int, scope: str, wanted: Filter) -> Standing:
    """What is open, group by group, without what hangs on it."""
    found = rows(
        f"""
        select g.*, clock.as_of from (select now() as as_of) clock
        left join (
            select group_key, source, items, still_needed from failure_groups where {_GROUPS_MEANT}
        ) g on true
        """,
        **_meant(shop_id, wanted),
    )
    return Standing({row["group_key"]: row for row in found if row["group_key"] is not None}, found[0]["as_of"])


@st.cache_data(ttl=5, max_entries=200, show_spinner=False)
def open_groups(shop_id: int, scope: str) -> int:
    """How many groups have something open; not more than one above `BADGE_MAX` are counted."""
    found = one(
        f"""
        select count(*) as groups from (
            select from failure_groups where shop_id = %(shop)s limit {BADGE_MAX + 1}) counted
        """,
        shop=shop_id,
    )
    return 0 if found is None else int(found["groups"])


class Hours(NamedTuple):
    """A day by the hour of the clock, oldest first: what failed, whatever became of it; what of it is parked messages;
    what was requeued or made good by a later run."""

    failed: list[int]
    parked: list[int]
    settled: list[int]


@st.cache_data(ttl=20, max_entries=200, show_spinner=False)
def by_hour(shop_id: int, scope: str) -> Hours:
    """What failed and what was dealt with in each of the last 24 hours."""
    found = rows(
        """
        select floor(extract(epoch from now() - hour_at) / 3600)::int as ago, sum(failed)::int8 as failed,
            coalesce(sum(failed) filter (where source = 'message'), 0)::int8 as parked, sum(settled)::int8 as settled
        from failures_by_hour where shop_id = %(shop)s group by 1
        """,
        shop=shop_id,
    )
    counted = {row["ago"]: row for row in found}

    def of(what: str) -> list[int]:
        return [counted[ago][what] if ago in counted else 0 for ago in range(23, -1, -1)]

    return Hours(of("failed"), of("parked"), of("settled"))


def group_of_cause(shop_id: int, function: str, run_fingerprint: str) -> str | None:
    """The group that holds the newest failure of a cause as job runs name it; None when none is on record."""
    found = one(
        """
        select i.group_key from job_failures f
        join failure_items i on i.shop_id = f.shop_id and i.source = 'job' and i.item_id = f.run_id
        where f.shop_id = %(shop)s and f.cause = %(cause)s and f.function = %(function)s
        order by f.run_id desc limit 1
        """,
        shop=shop_id,
        cause=run_fingerprint,
        function=function,
    )
    return None if found is None else str(found["group_key"])


def groups_of_parked(shop_id: int, connection_id: int, cause: str) -> list[str]:
    """The groups of what is parked for one cause on one connection; two at the most are looked for."""
    found = rows(
        """
        select group_key from failure_groups
        where shop_id = %(shop)s and source = 'message' and connection_id = %(connection)s and error_class = %(cause)s
        limit 2
        """,
        shop=shop_id,
        connection=connection_id,
        cause=cause,
    )
    return [row["group_key"] for row in found]


def items(shop_id: int, key: str, before: ItemPosition | None) -> Page:
    """The failures of a group, the newest first, whatever became of them; not cached."""
    # Which ones first, and only of those what they are: a group may have a hundred thousand.
    found = rows(
        f"""
        with shown as materialized (
            select source, item_id from failure_items where shop_id = %(shop)s and {_BEFORE} and kind_id = (
                select kind_id from failure_causes where shop_id = %(shop)s and group_key = %(key)s)
            order by at desc, item_id desc limit {ITEMS_PAGE + 1}
        )
        select {_ITEM} from shown join failure_items using (source, item_id) where shop_id = %(shop)s
        order by at desc, item_id desc
        """,
        shop=shop_id,
        key=key,
        **_position(before),
    )
    return Page(_with_history(shop_id, found[:ITEMS_PAGE]), len(found) > ITEMS_PAGE)


def _with_history(shop_id: int, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Failures with the discards of each that were taken back, the latest first, as `history`."""
    told = rows(
        """
        select d.* from failure_discard_list d
        join unnest(%(sources)b::text[], %(items)b::int8[]) as m (source, item_id) using (source, item_id)
        where d.shop_id = %(shop)s order by d.taken_back_at desc
        """,
        shop=shop_id,
        sources=[row["source"] for row in found],
        items=[row["item_id"] for row in found],
    )
    return [
        row | {"history": [one for one in told if (one["source"], one["item_id"]) == (row["source"], row["item_id"])]}
        for row in found
    ]


def dealt_with(shop_id: int, state: str, wanted: Filter, before: ItemPosition | None) -> Page:
    """Failures that were requeued, discarded, or made good by a later run, the newest first; not cached."""
    found = rows(
        f"""
        select {_ITEM} from failure_items where {_ITEMS_MEANT} and kept_state = %(state)s and {_BEFORE}
        order by at desc, item_id desc limit {ITEMS_PAGE + 1}
        """,
        **_meant(shop_id, wanted),
        **_position(before),
        state=state,
    )
    return Page(_with_history(shop_id, found[:ITEMS_PAGE]), len(found) > ITEMS_PAGE)


def _position(before: ItemPosition | None) -> dict[str, Any]:
    return {"at": None, "item": 0} if before is None else {"at": before.at, "item": before.item_id}


def run(shop_id: int, run_id: int) -> dict[str, Any] | None:
    """One failed run with its traceback and arguments."""
    return one(
        """
        select run_id, job_ref, function, arguments, attempt, started_at, ended_at, outcome, error, traceback,
            now() as as_of
        from job_failures where shop_id = %(shop)s and run_id = %(run)s
        """,
        shop=shop_id,
        run=run_id,
    )


def attempts(shop_id: int, job_ref: str) -> list[dict[str, Any]]:
    """The last runs of one job, newest first."""
    return rows(
        """
        select run_id, attempt, worker, started_at, ended_at, outcome, error from job_attempts
        where shop_id = %(shop)s and job_ref = %(ref)s order by run_id desc limit 10
        """,
        shop=shop_id,
        ref=job_ref,
    )


_RECOVERY = """
    recovery_id, name, state, per_minute, requested_by, reason, requested_at, items, works, ended_at, cancelled_at,
    cancelled_by, cancelled_reason, waiting, released, done, failed, superseded, cancelled, seconds_left, as_of
"""


@st.cache_data(ttl=1, max_entries=200, show_spinner=False)
def recoveries(shop_id: int, scope: str) -> list[dict[str, Any]]:
    """Recoveries under way, and those that ended within ten minutes, the newest first."""
    return rows(
        f"""
        select {_RECOVERY} from recovery_list
        where shop_id = %(shop)s and (ended_at is null or ended_at > now() - interval '10 minutes')
        order by recovery_id desc limit {RECOVERIES_MAX}
        """,
        shop=shop_id,
    )


def about_order(shop_id: int, order_id: int) -> list[dict[str, Any]]:
    """The newest open failures that an order hangs on."""
    return _about(shop_id, "order_id", order_id)


def about_sku(shop_id: int, sku_id: int) -> list[dict[str, Any]]:
    """The newest open failures that a SKU hangs on."""
    return _about(shop_id, "sku_id", sku_id)


def _about(shop_id: int, column: str, subject_id: int) -> list[dict[str, Any]]:
    found = rows(
        f"""
        select {_ITEM} from failure_items i
        where shop_id = %(shop)s and (source, item_id) in (
            select source, item_id from failure_refs where shop_id = %(shop)s and {column} = %(subject)s)
        order by at desc, item_id desc limit {REFS_MAX + 1}
        """,
        shop=shop_id,
        subject=subject_id,
    )
    return _with_history(shop_id, found)


def forget() -> None:
    """Read the screen afresh: after an act, so that its effect shows at once."""
    for cached in (groups, groups_named, standing, open_groups, by_hour, recoveries):
        cached.clear()
