"""What is Amazon's own on the Connections screen, in words; pure: no database, no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboard import formats

Row = Mapping[str, Any]

_CAME_TO_NOTHING = ("fatal", "lost", "cancelled")


def feeds(found: Sequence[Row]) -> tuple[str, str]:
    """The state of the newest feed and what to say of it."""
    if not found:
        return "idle", "No feed was needed so far: what changes is written one by one, which is sooner for few."
    newest = found[0]
    if newest["ended_at"] is None:
        since = newest["submitted_at"] or newest["planned_at"]
        age = formats.duration((newest["as_of"] - since).total_seconds())
        many = formats.plural(newest["messages"], "message")
        said = "is with Amazon" if newest["submitted_at"] else "is on its way to Amazon"
        return "running", f"A feed of {many} {said} for {age}: one is under way at a time, the rest goes one by one."
    if newest["state"] in _CAME_TO_NOTHING:
        why = formats.sentence(newest["reason"]) or "Amazon said no more."
        return "attention", f"The last feed came to nothing. {why} For a while everything goes one by one."
    unshown = sum(row["unshown_writes"] for row in found)
    if unshown:
        waits = formats.plural(unshown, "quantity", "quantities")
        return (
            "attention",
            f"{waits} that a feed took in {'is' if unshown == 1 else 'are'} not shown yet: looked at again.",
        )
    return "done", f"The last feed took in {formats.count(newest['accepted'])} of its {newest['messages']:,} messages."


def name(row: Row) -> str:
    """What Amazon calls a feed; ours where it has not said yet."""
    return row["feed_ref"] or f"Our number {row['id']}"


def age(row: Row) -> str:
    """How long a feed took, or takes."""
    begun = row["submitted_at"] or row["planned_at"]
    whole = formats.duration(((row["ended_at"] or row["as_of"]) - begun).total_seconds())
    return f"took {whole}" if row["ended_at"] else f"{whole} so far"


def report(row: Row) -> str:
    """What its processing report says, line by line, added up."""
    if row["accepted"] is None:
        return "not there yet" if row["ended_at"] is None else "none"
    return f"{formats.count(row['accepted'])} accepted, {formats.count(row['refused'] or 0)} refused"


def shown(row: Row) -> str:
    """What of it is not seen to be in force."""
    if row["unshown_writes"]:
        return f"{formats.count(row['unshown_writes'])} not shown yet"
    if row["open_writes"]:
        return f"{formats.count(row['open_writes'])} open"
    return "all settled"


def mailbox(found: Row | None, zone: str) -> tuple[str, str]:
    """The state of the queue and what to say of it."""
    if found is None:
        return "unknown", (
            "It puts its notifications into no queue of yours: sales are seen when its orders are asked for. Give it "
            "one with “switchyard connect amazon”."
        )
    now = found["as_of"]
    if found["problem"]:
        since = formats.duration((now - found["problem_at"]).total_seconds())
        return "attention", f"The queue cannot be read since {since}. {formats.sentence(found['problem'])}"
    if found["read_at"] is None:
        return "unknown", "The queue has not been read yet."
    came = (
        f"the last message came {formats.ago(found['came_at'], now, zone)}" if found["came_at"] else "nothing came yet"
    )
    many = formats.plural(found["messages_day"], "message")
    return "answers", f"The queue was read {formats.ago(found['read_at'], now, zone)}; {came}. {many} in 24 h."


def sweep(row: Row, zone: str) -> str:
    """How far its orders are known, and what brings that on."""
    now = row["as_of"]
    known = (
        f"Every order of before {formats.moment(row['watermark_at'], now, zone)} is known and handled."
        if row["watermark_at"]
        else "Nobody knows yet up to when its orders are known."
    )
    if row["orders_asked_at"] is None:
        return f"{known} Its changed orders have not been asked for yet."
    asked = f"Its changed orders were last asked for {formats.ago(row['orders_asked_at'], now, zone)}"
    rest = "; the answer has more pages, and the next asking goes on there" if row["is_under_way"] else ""
    return f"{known} {asked}{rest}. Its quota allows that once in about three minutes."
