"""CatalogueTarget over Klaviyo: bulk jobs in, and what became of them; what its catalogue holds.

Sources: the operations of the spec (revision 2026-07-15) named in core.adapters.klaviyo.operations, and
developers.klaviyo.com/en/reference/catalogs_api_overview. A job takes at most 100 entries and 5 MB, and 500 may be in
progress at one time. `include` draws on a quota of its own that nobody publishes: it is asked for only where a reply
got lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson

from core.adapters import loose
from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import OutcomeUnknown, Refused, ServerFault, Throttled, WritesStopped
from core.adapters.klaviyo import bodies
from core.adapters.klaviyo.client import Klaviyo
from core.adapters.klaviyo.operations import PLURALS, REVISION, job_type, listing, reading, submitting
from core.catalogue_target import (
    JobState,
    Kind,
    TargetEntry,
    TargetFault,
    TargetJob,
    TargetPage,
    TargetRecord,
    TargetSent,
    Verb,
)
from core.errors import Permanent, Retryable
from core.ports import ChannelAccount

ENTRIES_MAX = 100
BYTES_MAX = 4_900_000
"""Of the entries alone; the request around them takes a few hundred bytes more, and 5 MB are allowed."""
JOBS_MAX = 500
SUPPORTED_UNTIL = datetime.fromisoformat("2028-07-15T00:00:00+00:00")
"""A revision is answered for two years: developers.klaviyo.com/en/docs/api_versioning_and_deprecation_policy."""
PAGES_MAX = 100_000
QUOTA_SECONDS = 10.0
"""Nobody waits longer for quota: whoever works a lane has other things to do meanwhile."""

_OF_THE_ENTRIES = frozenset({400, 409, 413, 422})
"""What a job is refused with for what is in it. Everything else is of the connection: its address, its revision."""

_POINTER = re.compile(r"/data/attributes/\w+/data/(\d+)(/[\w/]*)?")
_STATES: Mapping[str, JobState] = {
    "queued": "queued",
    "processing": "processing",
    "complete": "complete",
    "cancelled": "cancelled",
}


class KlaviyoTarget:
    """The catalogue of one account."""

    entries_max = ENTRIES_MAX
    bytes_max = BYTES_MAX
    jobs_max = JOBS_MAX

    def __init__(self, config: ConnectionConfig, deps: Deps) -> None:
        self._api = Klaviyo(config, deps)

    def about(self) -> ChannelAccount:
        """The account behind the key, and whether it may read the catalogue: keys do not tell what they may."""
        accounts = loose.each(loose.at(self._api.run("get_accounts"), "data"))
        if not accounts:
            raise Refused("get_accounts", 200, "NO_ACCOUNT", "the key opens no account")
        said = loose.at(accounts[0], "attributes")
        ref = str(loose.at(accounts[0], "id"))
        self._api.run(listing("category"), params={"page[size]": "1"})
        return ChannelAccount(
            ref=ref,
            name=str(loose.at(said, "contact_information", "organization_name") or ref),
            currency=loose.at(said, "preferred_currency"),
            time_zone=loose.at(said, "timezone"),
            plan=None,
            granted=None,
            missing={},
            advised={},
            api_version=REVISION,
            supported_until=SUPPORTED_UNTIL,
        )

    def size_of(self, kind: Kind, verb: Verb, entry: TargetEntry) -> int:
        """With the comma behind it."""
        return len(orjson.dumps(bodies.entry_body(kind, verb, entry))) + 1

    def ready_in(self, kind: Kind, verb: Verb) -> float:
        """Of the operation that takes jobs of that kind."""
        return self._api.ready_in(submitting(kind, verb))

    def submit(self, kind: Kind, verb: Verb, entries: Sequence[TargetEntry]) -> TargetSent:
        """A request is refused whole for structural faults; faults of single entries stand in the job alone."""
        body = bodies.job_body(kind, verb, [bodies.entry_body(kind, verb, entry) for entry in entries])
        try:
            answer = self._api.run(submitting(kind, verb), body=body, quota_seconds=QUOTA_SECONDS)
        except OutcomeUnknown as error:
            return TargetSent("unknown", code="NO_ANSWER", detail=str(error))
        except WritesStopped as error:
            return TargetSent("unsent", code="WRITES_STOPPED", detail=error.why)
        except Refused as error:
            if error.status not in _OF_THE_ENTRIES or "revision" in error.code:
                return TargetSent("unsent", code="NOT_TAKEN", detail=str(error))
            return TargetSent("refused", code=error.code, detail=error.reason, fault=_fault_of(error))
        except Throttled as error:
            return TargetSent("unsent", code="NO_QUOTA", detail=str(error), again_in=error.wait_seconds)
        except (Retryable, Permanent) as error:
            # No connection, no rights: it surely never left.
            return TargetSent("unsent", code="NOT_SENT", detail=str(error))
        ref = loose.at(answer, "data", "id")
        if not isinstance(ref, str):
            return TargetSent("unknown", code="NO_ANSWER", detail="an answer without the job's id")
        return TargetSent("submitted", ref)

    def job(self, kind: Kind, verb: Verb, ref: str) -> TargetJob | None:
        """Its state, counts and errors; gone once `expires_at` has passed."""
        name = reading(kind, verb)
        try:
            answer = self._api.run(name, ref, asks_whether=True, quota_seconds=QUOTA_SECONDS)
        except Refused as error:
            if _is_unknown(error):
                return None
            raise
        return _job(name, loose.at(answer, "data"))

    def job_names(self, kind: Kind, verb: Verb, ref: str) -> frozenset[str]:
        """By the relationship that jobs of creates and updates can include; deletes have none."""
        if verb == "delete":
            return frozenset()
        try:
            answer = self._api.run(reading(kind, verb), ref, {"include": PLURALS[kind]}, asks_whether=True)
        except Refused as error:
            if _is_unknown(error):
                return frozenset()
            raise
        named = loose.each(loose.at(answer, "data", "relationships", PLURALS[kind], "data"))
        return frozenset(bodies.external(str(loose.at(one, "id"))) for one in named)

    def unfinished(self, kind: Kind, verb: Verb) -> Mapping[str, JobState]:
        """The queued first: one that goes on meanwhile is met again among those that are processed."""
        found: dict[str, JobState] = {}
        for state in ("queued", "processing"):
            asked = {"filter": f'equals(status,"{state}")'}
            for page in self._pages(f"{reading(kind, verb)}s", asked):
                found |= {job.ref: job.state for job in _jobs(job_type(kind, verb), page)}
        return found

    def jobs_since(self, kind: Kind, verb: Verb, since: datetime) -> Sequence[TargetJob]:
        """The list has no order that is promised: only where it is seen to go back in time it is left early."""
        found: list[TargetJob] = []
        last: datetime | None = None
        for page in self._pages(f"{reading(kind, verb)}s", {}):
            jobs = _jobs(job_type(kind, verb), page)
            times = [*([last] if last else []), *(job.created_at for job in jobs)]
            goes_back = all(one >= other for one, other in pairwise(times))
            found += [job for job in jobs if job.created_at >= since]
            if times and goes_back and times[-1] < since:
                break
            last = times[-1] if times else None
        return found

    def records(self, kind: Kind, external_ids: Sequence[str]) -> Sequence[TargetRecord]:
        """By their compound ids, at most 100."""
        if not external_ids:
            return []
        ids = ",".join(f"'{bodies.compound(one)}'" for one in external_ids)
        asked = {"filter": f"any(ids,[{ids}])", "page[size]": str(ENTRIES_MAX)}
        found: list[TargetRecord] = []
        for page in self._pages(listing(kind), asked):
            found += _records(kind, page)
        return found

    def variants_of(self, item: str) -> frozenset[str]:
        """By a filter: an answer need not say whose a variant is."""
        asked = {"filter": f'equals(item.id,"{bodies.compound(item)}")', "page[size]": str(ENTRIES_MAX)}
        found: set[str] = set()
        for page in self._pages(listing("variant"), asked):
            found |= {one.external_id for one in _records("variant", page)}
        return frozenset(found)

    def page(self, kind: Kind, after: str | None) -> TargetPage:
        """By the time they were made, so that what is added meanwhile comes last."""
        asked = {"page[size]": str(ENTRIES_MAX), "sort": "created"}
        if after is not None:
            asked["page[cursor]"] = after
        answer = self._api.run(listing(kind), params=asked, urgency="background")
        return TargetPage(tuple(_records(kind, answer)), _cursor(answer))

    def _pages(self, name: str, asked: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        after: str | None = None
        for _ in range(PAGES_MAX):
            more = {} if after is None else {"page[cursor]": after}
            answer = self._api.run(name, params={**asked, **more}, quota_seconds=QUOTA_SECONDS)
            yield answer
            after = _cursor(answer)
            if after is None:
                return


def _is_unknown(error: Refused) -> bool:
    """Whether there is no such thing. A 404 without Klaviyo's own words says only that the address is another's."""
    return error.status == httpx.codes.NOT_FOUND and error.code != f"HTTP_{httpx.codes.NOT_FOUND}"


def _cursor(answer: Mapping[str, Any]) -> str | None:
    """Where the next page begins, as the answer's own link says it."""
    link = loose.at(answer, "links", "next")
    if not isinstance(link, str):
        return None
    return next(iter(parse_qs(urlsplit(link).query).get("page[cursor]", [])), None)


def _records(kind: Kind, answer: Mapping[str, Any]) -> list[TargetRecord]:
    found = [bodies.record(kind, one) for one in loose.each(loose.at(answer, "data"))]
    return [one for one in found if one is not None]


def _jobs(operation: str, answer: Mapping[str, Any]) -> list[TargetJob]:
    return [_job(operation, one) for one in loose.each(loose.at(answer, "data"))]


def _job(operation: str, resource: Any) -> TargetJob:
    """Raises ServerFault for what is no job as documented."""
    said = loose.at(resource, "attributes")
    ref, state = loose.at(resource, "id"), _STATES.get(str(loose.at(said, "status")))
    created = loose.instant(loose.at(said, "created_at"))
    if not isinstance(ref, str) or state is None or created is None:
        raise ServerFault(operation, "a job in a state that is not documented")
    return TargetJob(
        ref,
        state,
        _count(loose.at(said, "total_count")),
        _count(loose.at(said, "completed_count")),
        _count(loose.at(said, "failed_count")),
        created,
        loose.instant(loose.at(said, "expires_at")),
        tuple(_fault(error) for error in loose.each(loose.at(said, "errors"))),
    )


def _fault_of(error: Refused) -> TargetFault | None:
    """The entry that a whole request was refused for, by the pointer that the client leaves in the reason."""
    found = _POINTER.search(error.reason)
    return None if found is None else TargetFault(int(found[1]), found[2] or "", error.code, error.reason)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _fault(error: Any) -> TargetFault:
    """The pointer goes by the order in which the entries were sent."""
    pointer = str(loose.at(error, "source", "pointer") or "")
    found = _POINTER.fullmatch(pointer)
    code, title = str(loose.at(error, "code") or ""), str(loose.at(error, "title") or "")
    detail = str(loose.at(error, "detail") or title or code)
    if found is None:
        return TargetFault(None, pointer, code, detail)
    return TargetFault(int(found[1]), found[2] or "", code, detail)
