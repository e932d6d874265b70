"""The parts of the Listings Items answers that we read: tolerant of case and of what is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel


def _instant(value: Any) -> datetime | None:
    """An aware UTC instant; Amazon's dates carry an offset, one that does not says nothing we can use."""
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def require_instant(value: Any) -> datetime:
    """As OptionalInstant, for what must be there. Raises ValueError."""
    moment = _instant(value)
    if moment is None:
        raise ValueError("no date and time with an offset")
    return moment


def _list(value: Any) -> Any:
    return [] if value is None else value


OptionalInstant = Annotated[datetime | None, BeforeValidator(_instant)]
OrEmpty = BeforeValidator(_list)


class Part(BaseModel):
    """camelCase outside; what we do not use is ignored."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, hide_input_in_errors=True)

    @classmethod
    def read(cls, answer: Any) -> Any:
        """The part, or None when it lacks what we need."""
        try:
            return cls.model_validate(answer)
        except ValidationError:
            return None


class Summary(Part):
    """One marketplace's view of a listing."""

    marketplace_id: str
    asin: str | None = None
    item_name: str | None = None
    status: Annotated[tuple[str, ...], OrEmpty] = ()
    created_date: OptionalInstant = None
    last_updated_date: OptionalInstant = None

    @property
    def is_buyable(self) -> bool:
        return any(word.upper() == "BUYABLE" for word in self.status)

    @property
    def last_updated_at(self) -> datetime | None:
        return self.last_updated_date


class Availability(Part):
    """Units in force for one fulfilment channel."""

    fulfillment_channel_code: str
    quantity: Annotated[int, Field(strict=True)] | None = None


class Item(Part):
    """A listing."""

    sku: str
    summaries: Annotated[tuple[Summary, ...], OrEmpty] = ()
    fulfillment_availability: Annotated[tuple[Availability, ...], OrEmpty] = ()

    def summary(self, marketplace: str) -> Summary | None:
        """The view of `marketplace`, or the only one there is."""
        here = [summary for summary in self.summaries if summary.marketplace_id == marketplace]
        return next(iter(here or self.summaries), None)

    @property
    def created_at(self) -> datetime | None:
        return next((summary.created_date for summary in self.summaries if summary.created_date), None)

    def own_units(self, channel: str) -> int | None:
        """Units in force for `channel`; None where Amazon ships it or does not count."""
        found = (row for row in self.fulfillment_availability if row.fulfillment_channel_code.upper() == channel)
        return next((row.quantity for row in found), None)


class Pagination(Part):
    next_token: str | None = None


class SearchResults(Part):
    """A page of listings."""

    number_of_results: int
    items: Annotated[tuple[Item, ...], OrEmpty]
    pagination: Pagination | None = None

    @property
    def next_token(self) -> str | None:
        return self.pagination.next_token if self.pagination else None


class Issue(Part):
    code: str = "UNKNOWN"
    message: str = ""
    severity: str = "ERROR"


class Submission(Part):
    """What became of a submission."""

    status: str
    submission_id: str | None = None
    issues: Annotated[tuple[Issue, ...], OrEmpty] = ()

    def complaint(self) -> tuple[str, str]:
        """(code of the worst issue, all messages): what the seller must know."""
        errors = [issue for issue in self.issues if issue.severity.upper() == "ERROR"] or self.issues
        if not errors:
            return self.status, "refused without a reason"
        return errors[0].code, "; ".join(f"{issue.code}: {issue.message}" for issue in errors)[:500]
