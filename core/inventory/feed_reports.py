"""What a processing report proves of the writes of its feed. Pure.

Only one thing proves anything for good: an error of a message, in a report that is of our document, means that this
write will not be applied. Everything else stays open: what was accepted until the channel shows it, what is unclear
until somebody knows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from core.bulk import BulkIssue, BulkReport
from core.ports import QuantityResult

ABORTED = "the feed was aborted: some, none or all of it may be in force"
NOT_OURS = "the report does not fit the document that was submitted"


@dataclass(frozen=True, slots=True)
class FeedWrite:
    """One write of a feed: `position` is its message's number less one."""

    write_id: int
    position: int
    listing_ref: str


def results(writes: Sequence[FeedWrite], messages: int, report: BulkReport) -> list[QuantityResult]:
    """One result for each of the (still open) writes of a feed of so many messages that is DONE."""
    doubt = _doubt(writes, messages, report)
    if doubt is not None:
        return [QuantityResult(write.write_id, "unknown", "FEED_UNCLEAR", doubt) for write in writes]
    if (whole := _refusal_of_all(report)) is not None:
        return [QuantityResult(write.write_id, "refused", whole.code, whole.message) for write in writes]
    of_message: dict[int, list[BulkIssue]] = defaultdict(list)
    for issue in report.issues:
        if issue.position is not None:
            of_message[issue.position].append(issue)
    return [_result(write, of_message.get(write.position, ())) for write in writes]


def after_abort(writes: Sequence[FeedWrite]) -> list[QuantityResult]:
    """FATAL: nothing is known of any of them."""
    return [QuantityResult(write.write_id, "unknown", "FEED_FATAL", ABORTED) for write in writes]


def never_applied(writes: Sequence[FeedWrite], code: str, why: str) -> list[QuantityResult]:
    """Cancelled before it began, or never arrived: surely none of them."""
    return [QuantityResult(write.write_id, "refused", code, why) for write in writes]


def _result(write: FeedWrite, issues: Sequence[BulkIssue]) -> QuantityResult:
    errors = [issue for issue in issues if issue.severity == "error"]
    if errors:
        said = "; ".join(f"{issue.code}: {issue.message}" for issue in errors)[:500]
        return QuantityResult(write.write_id, "refused", errors[0].code, said)
    if any(issue.severity == "unclear" for issue in issues):
        return QuantityResult(write.write_id, "unknown", "FEED_UNCLEAR", "the report says of it what we do not know")
    return QuantityResult(write.write_id, "accepted")


def _refusal_of_all(report: BulkReport) -> BulkIssue | None:
    """The error of the whole file, where none of its messages was accepted."""
    whole = (issue for issue in report.issues if issue.position is None and issue.severity == "error")
    return next(whole, None) if report.accepted == 0 else None


def _doubt(writes: Sequence[FeedWrite], messages: int, report: BulkReport) -> str | None:
    """Why nothing at all may be concluded from this report; None where something may."""
    refs = {write.position: write.listing_ref for write in writes}
    errors = {issue.position for issue in report.issues if issue.severity == "error" and issue.position is not None}
    for issue in report.issues:
        if issue.position is not None and not 0 <= issue.position < messages:
            return NOT_OURS
        mine = refs.get(-1 if issue.position is None else issue.position)
        if issue.listing_ref is not None and mine is not None and issue.listing_ref != mine:
            return NOT_OURS
    if report.processed is not None and report.processed > messages:
        return NOT_OURS
    # Of what was accepted in spite of its errors nobody may say that it will not be applied.
    if report.invalid is not None and report.invalid < len(errors):
        return "the report counts fewer messages as invalid than it names errors of"
    whole = [issue for issue in report.issues if issue.position is None and issue.severity != "note"]
    if whole and report.accepted != 0:
        return f"an issue concerns the whole file: {whole[0].code}: {whole[0].message}"[:500]
    if whole and not any(issue.severity == "error" for issue in whole):
        return f"the report says of the whole file what we do not know: {whole[0].message}"[:500]
    return None
