"""What needs a person, worst first: rows of the views turned into sentences. Pure: no database, no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.alerts.outages import ROOTS
from core.messaging import legs
from core.orders import packages
from core.runs import words
from dashboard import failure_words, formats

Row = Mapping[str, Any]
Found = Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Step:
    """The one next step: `kind` is sync (a connection), details (a list of what is meant), or a screen: skus (a
    filtered list), failures (a cause), oversell (what is at risk), connections, orders and schedules (one), mapping
    (what nobody knows)."""

    kind: str
    label: str
    connection_id: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """One card. `rank` orders them: lower is worse."""

    id: str
    state: str
    rank: int
    headline: str
    sentence: str
    meta: tuple[str, ...]
    since: datetime | None
    step: Step
    row: Row

    @property
    def is_about_calls(self) -> bool:
        """Whether a connection's own answers, or their staying away, are part of it."""
        return (
            self.id.startswith(("error-", "silent-"))
            or self.row.get("kind") in ROOTS
            or (self.id.startswith("behind-") and _is_failing(self.row))
        )


def collect(connections: Sequence[Row], found: Found, now: datetime, zone: str) -> list[Problem]:
    """All problems, worst first; among equals the oldest first."""
    problems = [problem for row in connections if (problem := _connection(row, now, zone)) is not None]
    for kind, build in _BUILDERS.items():
        problems += [build(row, now, zone) for row in found.get(kind, ()) if not _is_doubt(kind, row, found)]
    oldest = max((p.since for p in problems if p.since), default=now)
    return sorted(problems, key=lambda p: (p.rank, p.since or oldest, p.id))


def _is_doubt(kind: str, row: Row, found: Found) -> bool:
    """Whether a quantity that got no answer is told of as a write of which nobody knows: one cause, one card."""
    doubtful = {each["connection_id"] for each in found.get("doubtful", ())}
    return kind == "refused" and got_no_answer(row) and row["connection_id"] in doubtful


def got_no_answer(row: Row) -> bool:
    """Whether quantities are refused only by a channel's not answering."""
    return str(row["problem"] or "").startswith("NO_ANSWER:")


def headline(problems: Sequence[Problem], connections: Sequence[Row]) -> tuple[str, str]:
    """The answer in two short sentences: what needs somebody, and how many connections are in step."""
    return _needs(len(problems)), _in_step(connections)


def _needs(number: int) -> str:
    if number == 0:
        return "Nothing needs you."
    return f"{formats.in_words(number)} {'thing needs' if number == 1 else 'things need'} you."


def _in_step(connections: Sequence[Row]) -> str:
    total, well = len(connections), sum(row["state"] == "in_step" for row in connections)
    if total == 0:
        return "No channel is connected yet."
    if total == 1:
        return "The channel is in step." if well else "The channel is not in step."
    if well == total:
        return (
            "Both channels are in step."
            if total == 2
            else f"All {formats.in_words(total).lower()} channels are in step."
        )
    if well == 0:
        return (
            "Neither channel is in step."
            if total == 2
            else f"None of {formats.in_words(total).lower()} channels is in step."
        )
    return formats.share(well, total)


def _connection(row: Row, now: datetime, zone: str) -> Problem | None:
    """A connection that is behind, silent or answers with an error; what it merely carries has a card of its own."""
    name, number = formats.plain(row["name"]), row["connection_id"]
    step = Step("sync", "Sync now…", number)
    error = formats.sentence(row["last_error"]) if _is_failing(row) else ""
    waiting = load(row)
    if row["state"] == "behind":
        return Problem(
            f"behind-{number}",
            "danger",
            0,
            f"{name} is {formats.duration(row['lag_seconds'])} behind",
            _join(error, waiting or "Something received has not been handled."),
            (),
            row["behind_since"],
            step,
            row,
        )
    if row["state"] == "unknown" and row["last_heard_at"] is None:
        return Problem(
            f"silent-{number}",
            "unknown",
            40,
            f"{name} has never been heard of",
            _join(error, "Nothing has come from it and no call to it has succeeded, so nothing is known of its stock."),
            (f"Connected as {formats.plain(row['vendor'])}",),
            None,
            step,
            row,
        )
    if row["state"] == "unknown":
        quiet = (now - row["last_heard_at"]).total_seconds()
        return Problem(
            f"silent-{number}",
            "unknown",
            10,
            f"{name} has been silent for {formats.duration(quiet)}",
            _join(
                error,
                f"No event came and no call succeeded; more than {formats.duration(row['silence_allowed_seconds'])}"
                " of silence counts as not knowing.",
                waiting,
            ),
            (),
            row["last_heard_at"],
            step,
            row,
        )
    if error:
        return Problem(
            f"error-{number}",
            "attention",
            15,
            f"{name} answers with an error",
            _join(error, waiting),
            (),
            row["last_error_at"],
            step,
            row,
        )
    return None


def _is_failing(row: Row) -> bool:
    if not row["last_error"] or row["switch"] == "paused":
        return False
    heard, failed = row.get("last_heard_at"), row["last_error_at"]
    return heard is None or (failed is not None and failed >= heard)


def load(row: Row) -> str:
    """What waits at a connection: messages to handle, listings to push, open writes; nothing where nothing does."""
    parts = [
        formats.plural(row["received"], "message") + " to handle" if row["received"] else "",
        formats.plural(row["listings_to_push"], "listing") + " to push" if row["listings_to_push"] else "",
        formats.plural(row["open_writes"], "open write") if row["open_writes"] else "",
    ]
    shown = [part for part in parts if part]
    if not shown:
        return ""
    text = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
    return f"Waiting: {text}."


def _parked(row: Row, now: datetime, zone: str) -> Problem:
    many = formats.plural(row["messages"], "message")
    return Problem(
        _id("parked", row["connection_id"], row["cause"]),
        "attention",
        20,
        f"{many} from {formats.plain(row['connection'])} {failure_words.parked_words(row['cause'], row['messages'])}",
        _join(formats.sentence(row["detail"]), "Nothing is lost: each is kept word for word and can be handled again."),
        (formats.plain(row["topic"]),),
        row["since"],
        Step("failures", "Open messages", where={"parked": row["cause"], "connection": str(row["connection_id"])}),
        row,
    )


def _unmapped(row: Row, now: datetime, zone: str) -> Problem:
    money = formats.money(row["total_minor"], row["currency"])
    name, number = formats.plain(row["connection"]), row["identifiers"]
    if number:
        waits = f"{formats.plural(row['units'], 'unit waits', 'units wait')}"
        head = f"{formats.plural(number, 'identifier')} of {name} {'is' if number == 1 else 'are'} not mapped: {waits}"
        step = Step("mapping", "Map them…" if number > 1 else "Map it…", where={"connection": row["connection"]})
    else:
        # Without a code or a listing there is nothing that could be mapped.
        head = f"{formats.plural(row['lines'], 'order line')} from {name} {_has(row['lines'])} no SKU"
        step = Step("details", "See lines…", row["connection_id"], {"currency": row["currency"]})
    return Problem(
        _id("unmapped", row["connection_id"], row["currency"]),
        "attention",
        18,
        head,
        f"{formats.plural(row['units'], 'unit')} worth {formats.plain(money)} were sold and taken off no stock, "
        f"such as {formats.plain(row['example_code'])} in {formats.plain(row['example_order'])}: "
        f"{_lower(formats.sentence(row['reason']))}",
        (formats.plural(row["lines"], "order line"), formats.plural(row["orders"], "order")),
        row["since"],
        step,
        row,
    )


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _refused(row: Row, now: datetime, zone: str) -> Problem:
    again = f"Tried again at {formats.moment(row['next_push_at'], now, zone)}." if row["next_push_at"] else ""
    many, name = formats.plural(row["listings"], "quantity", "quantities"), formats.plain(row["connection"])
    return Problem(
        _id("refused", row["connection_id"], row["problem"]),
        "attention",
        16,
        f"{name} gave no answer to {many}" if got_no_answer(row) else f"{name} refuses {many}",
        _join(formats.sentence(row["problem"]), again),
        _example(row),
        row["since"],
        _sku_step(row, row["listings"]),
        row,
    )


def _doubtful(row: Row, now: datetime, zone: str) -> Problem:
    again = f"Checked again at {formats.moment(row['next_check_at'], now, zone)}." if row["next_check_at"] else ""
    many = formats.plural(row["writes"], "write")
    return Problem(
        _id("doubtful", row["connection_id"], row["doubt"]),
        "attention",
        14,
        f"Nobody knows whether {many} to {formats.plain(row['connection'])} arrived",
        _join(formats.sentence(row["doubt"]), "Nothing else is written there until it is known.", again),
        _example(row),
        row["since"],
        _sku_step(row, row["writes"]),
        row,
    )


def _unpublished(row: Row, now: datetime, zone: str) -> Problem:
    return Problem(
        _id("unpublished", row["connection_id"], row["reason"]),
        "attention",
        30,
        f"{formats.plural(row['listings'], 'live listing')} on {formats.plain(row['connection'])} "
        f"{'is' if row['listings'] == 1 else 'are'} not kept in step",
        _join(formats.sentence(row["reason"]), "What the channel shows is left as it is."),
        (f"Such as {formats.plain(row['example'])}",),
        None,
        Step("details", "See listings…", row["connection_id"], {"reason": row["reason"]}),
        row,
    )


def _exposure(row: Row, now: datetime, zone: str) -> Problem:
    worst = ", ".join(f"{formats.plain(each['code'])} ({formats.count(each['units'])})" for each in row["worst_skus"])
    return Problem(
        f"exposure-{row['alert_id']}",
        "danger",
        3,
        f"Up to {formats.plural(row['units'], 'unit')} could be oversold, over {formats.plural(row['skus'], 'SKU')}",
        _join(
            f"More than the limit of {formats.count(row['limit_units'])}.",
            f"Worst: {worst}." if worst else "",
            "It closes by itself when it is not above it any more.",
        ),
        (),
        row["opened_at"],
        Step("oversell", "Open oversell risk", where={"show": "At risk"}),
        row,
    )


def _credential(row: Row, now: datetime, zone: str) -> Problem:
    return Problem(
        f"credential-{row['connection_id']}",
        "attention",
        9,
        f"{formats.plain(row['connection'])} will be shut out: {formats.plain(row['why'])}",
        "From then on nothing can be read or written there. Rotate it in the vendor's developer console, and enter the"
        f" new one with `switchyard connect {row['vendor']}` if it does not come by the queue."
        " This closes by itself once the new one is here.",
        (),
        row["since"],
        Step("connections", "Open connection", row["connection_id"], {"connection": str(row["connection_id"])}),
        row,
    )


def _slow_feed(row: Row, now: datetime, zone: str) -> Problem:
    name, zeros = formats.plain(row["connection"]), row["zeros"]
    told = f"feed {formats.plain(row['feed_ref'])}" if row["feed_ref"] else "no reply to it came"
    waiting = (
        f"{formats.plural(zeros, 'listing')} in it should show nothing by now and cannot be told: orders for"
        f" {'it' if zeros == 1 else 'them'} may be more than there is."
        if zeros
        else "Nothing in it has to show nothing yet."
    )
    return Problem(
        f"slowfeed-{row['feed_id']}",
        "danger" if zeros else "attention",
        7 if zeros else 13,
        f"{name} has not ended a feed of {formats.plural(row['listings'], 'listing')}"
        f" for {formats.duration((now - row['since']).total_seconds())}",
        f"{waiting} Everything that is not in it goes one by one."
        + (
            " It waits in the queue there, and is cancelled where something in it must show nothing."
            if _waits(row)
            else ""
        ),
        (told,),
        row["since"],
        Step("connections", "Open connection", row["connection_id"], {"connection": str(row["connection_id"])}),
        row,
    )


def _waits(row: Row) -> bool:
    return row["state"] == "submitted" and row["feed_ref"] is not None


def _unshown(row: Row, now: datetime, zone: str) -> Problem:
    name, many = formats.plain(row["connection"]), formats.plural(row["writes"], "number")
    return Problem(
        f"unshown-{row['feed_id']}",
        "attention",
        11,
        f"{name} does not show {many} of a feed that ended"
        if row["state"] != "done"
        else f"{name} accepted {many} in a feed and does not show {'it' if row['writes'] == 1 else 'them'}",
        "Nothing else is written there until it is known. Look at some of them there; then"
        f" `switchyard settle --feed {row['feed_id']} --reason TEXT` ends what is left by what the channel shows.",
        _example(row),
        row["since"],
        Step("connections", "Open connection", row["connection_id"], {"connection": str(row["connection_id"])}),
        row,
    )


def _hanging(row: Row, now: datetime, zone: str) -> Problem:
    name = formats.plain(row["connection"])
    many = formats.plural(row["changes"], "change has", "changes have")
    said = (
        f"{name} says: {formats.sentence(row['detail'])}" if row["reason"] in _SAID_BY_CHANNEL and row["detail"] else ""
    )
    return Problem(
        _id("hanging", row["connection_id"], row["reason"]),
        "danger",
        8,
        f"{many} not reached {name} in time",
        _join(f"{_capital(legs.words(row['reason']))}.", said, legs.next_step(row["reason"])),
        (formats.plural(row["skus"], "SKU"), f"Such as {formats.plain(row['example_code'])}"),
        row["since"],
        _sku_step(row, row["skus"]),
        row,
    )


_SAID_BY_CHANNEL = ("in_doubt", "throttled", "not_sent")


def _unconfirmed(row: Row, now: datetime, zone: str) -> Problem:
    name, many = formats.plain(row["connection"]), formats.plural(row["packages"], "package")
    said = f"{name} says: {formats.sentence(row['detail'])}" if row["state"] != "recall" and row["detail"] else ""
    only = row["packages"] == 1
    return Problem(
        f"unconfirmed-{row['connection_id']}-{row['state']}",
        "danger",
        6,
        {
            "refused": f"{name} refuses to confirm {many}",
            "recall": f"{many} left for orders that are cancelled on {name}",
            "held": f"{many} cannot be confirmed: nothing may be written to {name}",
            "late": f"{name} could not be told of {many} in time",
        }[row["state"]],
        _join(said, packages.NEXT_STEP[row["state"]]),
        (
            f"{'Package' if only else 'Such as package'} {formats.plain(row['example_package'])} of"
            f" {formats.plain(row['example_order'])}",
        ),
        row["since"],
        Step("orders", "Open order", row["connection_id"], {"order": str(row["example_order_id"])})
        if only
        else Step("details", "See packages…", row["connection_id"], {"state": row["state"]}),
        row,
    )


def _job(row: Row, now: datetime, zone: str) -> Problem:
    whose = f" for {formats.plain(row['connection'])}" if row["connection"] else ""
    return Problem(
        _id("job", row["function"], row["fingerprint"]),
        "danger" if row["runs"] >= 5 else "attention",
        12,
        f"{formats.plain(words.function(row['function']))} failed {_times(row['runs'])}{whose}",
        _join(formats.sentence(_last_line(row["error"])), "It has not succeeded since."),
        (f"last {formats.ago(row['last_at'], now, zone)}",),
        row["since"],
        Step("failures", "Open failures", where={"cause": row["fingerprint"], "function": row["function"]}),
        row,
    )


def _schedule(row: Row, now: datetime, zone: str) -> Problem:
    name, found = formats.plain(row["name"]), row["outcome"] != "failed"
    return Problem(
        _id("schedule", row["name"], row["period"]),
        "danger" if found else "attention",
        5 if found else 13,
        "The nightly audit found something wrong" if found else f"The schedule {name} failed",
        _violations(row) if found else "Its last run did not end well; nothing has been checked since.",
        (f"period {formats.plain(row['period'])}",),
        row["ended_at"] or row["started_at"],
        Step("details", "See result…")
        if found
        else Step("schedules", "Open schedule", where={"schedule": row["name"]}),
        row,
    )


def _violations(row: Row) -> str:
    broken = (row["result"] or {}).get("broken") or {}
    names = ", ".join(f"{formats.plain(str(name))} ({count})" for name, count in broken.items())
    many = formats.plural(int(row["violations"]), "row breaks", "rows break")
    return f"{many} an invariant{f': {names}' if names else ''}."


def _untold(row: Row, now: datetime, zone: str) -> Problem:
    number, name = row["missing"] + row["refused"], formats.plain(row["connection"])
    what = "refuses to call" if not row["missing"] else "does not call"
    return Problem(
        f"untold-{row['connection_id']}",
        "attention",
        17,
        f"{name} {what} us for {formats.plural(number, 'topic')}",
        _join(
            formats.sentence(row["problem"]) if row["problem"] else "",
            "What happens there is seen only when it is asked for: numbers follow later than they could.",
        ),
        (f"Such as {formats.plain(row['example'])}", f"looked at {formats.ago(row['checked_at'], now, zone)}"),
        row["since"],
        Step("connections", "Open connection", row["connection_id"], {"connection": str(row["connection_id"])}),
        row,
    )


def _forward(row: Row, now: datetime, zone: str) -> Problem:
    asked, answered = formats.plain(row["asked_version"]), formats.plain(row["answered_version"])
    return Problem(
        f"forward-{row['connection_id']}",
        "attention",
        12,
        f"{formats.plain(row['connection'])} answers with another version than we speak",
        f"Asked for {asked}, it answers with {answered}: {asked} is not supported any more, and what its answers mean"
        " may have changed. Bring Switchyard up to a version that speaks it.",
        (f"last {formats.ago(row['answered_at'], now, zone)}",),
        None,
        Step("connections", "Open connection", row["connection_id"], {"connection": str(row["connection_id"])}),
        row,
    )


_BUILDERS = {
    "parked": _parked,
    "unmapped": _unmapped,
    "refused": _refused,
    "doubtful": _doubtful,
    "unpublished": _unpublished,
    "exposure": _exposure,
    "credential": _credential,
    "unconfirmed": _unconfirmed,
    "slowfeed": _slow_feed,
    "unshown": _unshown,
    "hanging": _hanging,
    "untold": _untold,
    "forward": _forward,
    "job": _job,
    "schedule": _schedule,
}


def _id(kind: str, *parts: object) -> str:
    """The same problem keeps its name while its numbers change; foreign words stay out of it."""
    return f"{kind}-{formats.key(*parts)}"


def _sku_step(row: Row, number: int) -> Step:
    code = row["example_code"]
    if number == 1 and code:
        return Step("skus", "Open SKU", where={"sku": code})
    return Step("skus", "Open SKUs", where={"show": "Not in step"})


def _example(row: Row) -> tuple[str, ...]:
    return (f"Such as {formats.plain(row['example_code'])}",) if row["example_code"] else ()


def _times(number: int) -> str:
    return "once" if number == 1 else f"{formats.count(number)} times"


def _last_line(text: str | None) -> str:
    lines = [line for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _join(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
