"""The header `revision`: which date of the API a caller speaks, and what becomes of one that there is no more."""

from datetime import UTC, date, datetime

from sandbox.vendors.klaviyo.problems import Denied, Problem

RELEASES = (
    "2022-10-17", "2022-11-14", "2023-01-24", "2023-02-22", "2023-06-15", "2023-07-15", "2023-08-15", "2023-09-15",
    "2023-10-15", "2023-12-15", "2024-02-15", "2024-05-15", "2024-06-15", "2024-07-15", "2024-10-15", "2025-01-15",
    "2025-04-15", "2025-07-15", "2025-10-15", "2026-01-15", "2026-04-15", "2026-07-15", "2026-10-15",
)  # fmt: skip
# Stable for one year and deprecated for another.
LIVES_YEARS = 2
TITLE = "Invalid API revision."


def check(revision: str | None, opted_out: str | None, wall: float) -> None:
    """Without the header nobody gets in. A date that is retired or unknown is served as one that is supported, unless
    the caller opted out of that. Raises Denied."""
    if not revision:
        raise Denied(400, Problem("missing_revision", TITLE, "The header 'revision' is required: YYYY-MM-DD."))
    try:
        asked = date.fromisoformat(revision.removesuffix(".pre"))
    except ValueError:
        raise Denied(
            400, Problem("invalid_revision", TITLE, f"The revision {revision!r} is not a date: YYYY-MM-DD.")
        ) from None
    if opted_out != "1":
        return
    if revision not in RELEASES:
        raise Denied(400, Problem("invalid_revision", TITLE, f"There is no revision {revision}."))
    if asked.replace(year=asked.year + LIVES_YEARS) <= datetime.fromtimestamp(wall, UTC).date():
        raise Denied(410, Problem("retired_revision", "Gone.", f"The revision {revision} is retired."))
