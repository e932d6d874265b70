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


def _object(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


BARCODES = frozenset({"ean", "upc", "gtin", "isbn", "jan"})
"""Kinds of identifier that are printed on goods; ASINs and sellers' own are none."""

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
    fn_sku: str | None = None
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


class Issue(Part):
    code: str = "UNKNOWN"
    message: str = ""
    severity: str = "ERROR"


class ProductIdentifier(Part):
    """What the trade calls an article; attributes are in snake_case, also where they are read."""

    value: str
    type: str = ""
    marketplace: str | None = Field(None, alias="marketplace_id")


class Item(Part):
    """A listing."""

    sku: str
    summaries: Annotated[tuple[Summary, ...], OrEmpty] = ()
    fulfillment_availability: Annotated[tuple[Availability, ...], OrEmpty] = ()
    attributes: Annotated[dict[str, Any], BeforeValidator(_object)] = {}
    issues: Annotated[tuple[Issue, ...], OrEmpty] = ()

    def summary(self, marketplace: str) -> Summary | None:
        """The view of `marketplace`, or the only one there is."""
        here = [summary for summary in self.summaries if summary.marketplace_id == marketplace]
        return next(iter(here or self.summaries), None)

    @property
    def created_at(self) -> datetime | None:
        return next((summary.created_date for summary in self.summaries if summary.created_date), None)

    def barcode(self, marketplace: str) -> str | None:
        """EAN, UPC, GTIN or the like, as the seller gave it: of this marketplace rather than of another."""
        given = self.attributes.get("externally_assigned_product_identifier")
        read = [ProductIdentifier.read(entry) for entry in given] if isinstance(given, list) else []
        known = [
            entry for entry in read if entry is not None and entry.type.lower() in BARCODES and entry.value.strip()
        ]
        here = [entry for entry in known if entry.marketplace in (None, marketplace)]
        return next((entry.value.strip() for entry in here or known), None)

    @property
    def trouble(self) -> str | None:
        """What keeps buyers from it, in Amazon's words; None where Amazon names nothing."""
        errors = [issue for issue in self.issues if issue.severity.upper() == "ERROR"]
        return "; ".join(f"{issue.code}: {issue.message}" for issue in errors)[:500] or None

    @property
    def channels(self) -> frozenset[str]:
        """From where it is shipped: DEFAULT is the seller, every other is Amazon."""
        return frozenset(row.fulfillment_channel_code.upper() for row in self.fulfillment_availability)

    def own_units(self, channel: str) -> int | None:
        """Units in force for `channel`; None where Amazon ships it or does not count."""
        found = (row for row in self.fulfillment_availability if row.fulfillment_channel_code.upper() == channel)
        return next((row.quantity for row in found), None)

    def submitted_units(self, channel: str) -> int | None:
        """Units submitted last for `channel`, in force or not; None where nothing says so."""
        rows = self.attributes.get("fulfillment_availability")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and str(row.get("fulfillment_channel_code")).upper() == channel:
                units = row.get("quantity")
                return units if isinstance(units, int) and not isinstance(units, bool) else None
        return None


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
