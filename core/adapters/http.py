"""The one way out: a client with timeouts, bounded repeats, pacing, a request log and translated errors.

What may be repeated is decided by what is known of the request, never by hope:

    it surely never left (connection refused)          every call is tried again
    it was surely not carried out (429, expired token) every call is tried again
    it may have left (timeout, reset, 5xx)             reads and idempotent calls only; else the outcome is unknown

Once an attempt may have left, a later refusal or failed connection no longer proves that nothing happened: the call
as a whole then ends as OutcomeUnknown.
"""

from __future__ import annotations

import logging
import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Literal, Protocol

import httpx

from core.errors import OutOfQuota, Permanent, Retryable
from core.logs import mask
from core.ports import Effect

# It would write whole addresses, with the signatures of those that carry their own permission.
logging.getLogger("httpx").setLevel(logging.WARNING)

TIMEOUT = httpx.Timeout(connect=3.0, read=20.0, write=20.0, pool=5.0)
"""Seconds. A vendor that has not answered by then is asked again or its answer is unknown."""

# Shorter than any server's own idle limit, so that we rarely write into a connection it is closing.
_LIMITS = httpx.Limits(max_connections=10, max_keepalive_connections=10, keepalive_expiry=2.0)
_NEVER_LEFT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    # Our own request is malformed (a line break in a secret): no server carries out half a request.
    httpx.LocalProtocolError,
)

CallKind = Literal["read", "idempotent", "once"]
Outcome = Literal["ok", "throttled", "refused", "error", "unknown"]
Urgency = Literal["urgent", "normal", "background"]
"""Whom a call goes before when quota is short: a zero, a lowered number or a doubt before ordinary reading and writing,
and that before what nobody waits for."""


class Unreachable(Retryable):
    """No connection: the request surely never left."""

    def __init__(self, operation: str, why: str) -> None:
        super().__init__(f"{operation}: no connection ({why})")


class OutcomeUnknown(Retryable):
    """The request may have been carried out; no usable answer came."""

    def __init__(self, operation: str, why: str) -> None:
        super().__init__(f"{operation}: the outcome is unknown ({why})")


class ServerFault(Retryable):
    """The vendor failed to answer a read."""

    def __init__(self, operation: str, why: str) -> None:
        super().__init__(f"{operation}: the vendor failed ({why})")


class Throttled(OutOfQuota):
    """Surely not carried out: the quota is used up for `wait_seconds` (real time)."""

    def __init__(self, operation: str, wait_seconds: float) -> None:
        super().__init__(f"{operation}: quota used up, free again in {wait_seconds:.1f} s", wait_seconds)


class Refused(Permanent):
    """Surely not carried out, and never will be as it stands. `code` is the vendor's word."""

    def __init__(self, operation: str, status: int, code: str, reason: str) -> None:
        super().__init__(f"{operation}: refused with {status} {code}: {reason}")
        self.status = status
        self.code = code
        self.reason = reason


class Unauthorised(Permanent):
    """The credentials or their scopes do not allow it; a person must renew them. `status` is None before any answer."""

    def __init__(self, operation: str, reason: str, status: int | None = None) -> None:
        super().__init__(f"{operation}: not authorised: {reason}")
        self.reason = reason
        self.status = status


class WritesStopped(Permanent):
    """Surely not carried out, and not before a person says so: nothing may be changed there now."""

    def __init__(self, operation: str, why: str) -> None:
        super().__init__(f"{operation}: held back, {why}")
        self.why = why


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One attempt, as the request log keeps it: no body, no address, no credentials."""

    shop_id: int
    connection_id: int
    operation: str
    method: str
    status: int | None
    outcome: Outcome
    elapsed_ms: int
    attempt: int
    quota_left: str | None
    api_version: str | None
    deprecation: str | None
    error: str | None
    called_at: datetime
    asked_version: str | None = None
    cost: float | None = None
    purpose: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `kind` says what a repeat would do; `cost` is the most it may take, in the vendor's units of quota.

    `asked_version` is the version of the API that it speaks; None where there is none.
    `effect` says what it changes, for the switches that hold writes; None: nothing if it reads, else the shop.
    `quota_seconds` is how long it may wait for quota at most (real time); None: as long as it may take altogether.
    `asks_whether`: it is asked whether there is such a thing, so that "not found" is an answer like any other; it is
    raised as Refused all the same, and is on record as ok.
    """

    operation: str
    method: str
    url: str
    kind: CallKind
    params: Mapping[str, str] | None = None
    json: Any = None
    form: Mapping[str, str] | None = None
    cost: float = 1.0
    urgency: Urgency = "normal"
    asked_version: str | None = None
    effect: Effect | None = None
    quota_seconds: float | None = None
    asks_whether: bool = False

    @property
    def changes(self) -> Effect:
        """What it changes outside."""
        return self.effect or ("nothing" if self.kind == "read" else "shop")


@dataclass(frozen=True, slots=True)
class Quota:
    """What an answer says of the quota, in the vendor's units; None where it does not say.

    `cost` is what the call took, `available` what was left after it, `rate` what comes back a second, `size` the most
    there can be. `rest_seconds` (real time): for so long nobody is to ask again.
    """

    cost: float | None = None
    available: float | None = None
    rate: float | None = None
    size: float | None = None
    rest_seconds: float | None = None


class Permit(Protocol):
    """Units of quota that are ours for one attempt. Exactly one of these is called when its fate is known."""

    def answered(self, quota: Quota | None) -> None:
        """An answer came, and said so much of the quota."""

    def never_left(self) -> None:
        """The attempt surely never reached the vendor."""

    def lost(self) -> None:
        """No answer will come; it may have been carried out."""


JudgedKind = Literal["ok", "throttled", "unauthorised", "forbidden", "refused", "fault"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an answer means, in the vendor's own way of saying it.

    throttled: later. unauthorised: with another token. forbidden: not with these credentials and their
    scopes. refused: never as it stands. fault: nobody knows, the vendor failed.
    """

    kind: JudgedKind
    data: Any = None
    code: str = ""
    reason: str = ""
    wait_seconds: float | None = None
    quota_left: str | None = None
    api_version: str | None = None
    deprecation: str | None = None
    quota: Quota | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer, and when what it says was so.

    `left_at` is when its request left, by our clock. `as_of` is no later than when the vendor looked, by the vendor's
    clock: the `Date` of its answer (RFC 9110, 6.6.1; whole seconds, cut off) less all the time it took. None where the
    answer has no such header.
    """

    data: Any
    left_at: datetime
    as_of: datetime | None


class Dialect(Protocol):
    """The vendor's part of a call."""

    def headers(self) -> dict[str, str]:
        """Headers of the next attempt, with a living token. May raise what fetching a token raises."""

    def renew(self) -> None:
        """The token just used was not accepted: the next headers() must carry another."""

    def pace(self, call: Call, wait_at_most: float) -> Permit | None:
        """Wait for quota, at most so many seconds; None where none is kept. Raises Throttled when that is too short."""

    def judge(self, call: Call, response: httpx.Response) -> Judgement:
        """Read the answer."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds of one call, in seconds of real time; a single attempt may still use up its own timeout."""

    attempts: int = 4
    total_seconds: float = 45.0
    background_seconds: float = 180.0
    """Of a background call: it lets others go first, and nobody waits for it."""
    first_pause: float = 0.25
    longest_pause: float = 8.0

    def seconds(self, call: Call) -> float:
        """How long the call may take altogether."""
        return max(self.total_seconds, self.background_seconds) if call.urgency == "background" else self.total_seconds


@dataclass(slots=True)
class _Progress:
    """What is known of one call after some attempts."""

    started: float
    attempt: int = 0
    failures: int = 0
    renewed: bool = False
    may_have_left: bool = False
    pause: float = 0.0
    last: Exception | None = None


@dataclass(slots=True)
class _Units:
    """What an attempt has taken of the quota; its fate is told once, and however the attempt ends."""

    permit: Permit | None
    may_have_left: bool = False

    def answered(self, quota: Quota | None) -> None:
        permit, self.permit = self.permit, None
        if permit is not None:
            permit.answered(quota)

    def over(self) -> None:
        """No answer was understood."""
        permit, self.permit = self.permit, None
        if permit is not None:
            (permit.lost if self.may_have_left else permit.never_left)()


@dataclass(slots=True)
class Client:
    """Sends the calls of one connection. Safe to share among threads; make one per process.

    `purpose` is whom they are made for: a registered job, a command. `clock` gives seconds, which `sleep` passes.
    """

    shop_id: int
    connection_id: int
    dialect: Dialect
    record: Callable[[ApiCall], None]
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    transport: httpx.BaseTransport | None = None
    patience: Patience = field(default_factory=Patience)
    purpose: str | None = None
    clock: Callable[[], float] = time.monotonic
    held: Callable[[Effect], str | None] = lambda _effect: None
    _http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self._http = make_http(self.transport)

    def call(self, call: Call) -> Any:
        """The data of a good answer; raises as `answer` does."""
        return self.answer(call).data

    def answer(self, call: Call) -> Answer:
        """A good answer.

        Raises Unreachable, Throttled, Refused, Unauthorised or WritesStopped (surely not carried out), OutcomeUnknown
        (a call that changes something may have been), ServerFault (a read that went unanswered).
        """
        progress = _Progress(self.clock())
        while True:
            progress.attempt += 1
            answer = self._attempt(call, progress)
            if answer is not None:
                return answer
            left = self.patience.seconds(call) - (self.clock() - progress.started)
            if progress.pause > left or progress.failures >= self.patience.attempts:
                raise self._final(call, progress)
            self.sleep(progress.pause)

    def _attempt(self, call: Call, progress: _Progress) -> Answer | None:
        """One try: a good answer, or None with the reason to go on noted in `progress`."""
        units = _Units(None)
        try:
            try:
                left = max(0.0, self.patience.seconds(call) - (self.clock() - progress.started))
                units.permit = self.dialect.pace(
                    call, left if call.quota_seconds is None else min(left, call.quota_seconds)
                )
                headers = self.dialect.headers()
                # Last, since waiting for quota may take long.
                self._ask_leave(call)
            except (Retryable, Permanent) as error:
                # Nothing left in this attempt: waiting for quota or fetching a token failed, or writes are stopped.
                progress.last = error
                raise self._final(call, progress) from error
            return self._send(call, progress, headers, units)
        finally:
            # Also when the job's time is up in the middle of it, or the database is away.
            units.over()

    def _send(self, call: Call, progress: _Progress, headers: dict[str, str], units: _Units) -> Answer | None:
        """As `_attempt`; the answer settles the units, or what is known of them is noted there."""
        request = self._http.build_request(
            call.method, call.url, params=call.params, json=call.json, data=call.form, headers=headers
        )
        began, called_at = self.clock(), self.now()
        units.may_have_left = True
        try:
            response = self._http.send(request)
        except httpx.RequestError as error:
            units.may_have_left = not isinstance(error, _NEVER_LEFT)
            # Before it is put on record, which may take long.
            units.over()
            self._note(call, progress, called_at, began, None, None, error)
            self._lost(call, progress, error)
            return None
        judged = self.dialect.judge(call, response)
        if judged.kind == "throttled":
            judged = self._throttled(call, progress, response.status_code, judged)
        units.answered(judged.quota)
        self._note(call, progress, called_at, began, response.status_code, _as_noted(call, response, judged), None)
        if judged.kind == "ok":
            return Answer(judged.data, called_at, _as_of(response, self.clock() - began))
        self._not_ok(call, progress, response.status_code, judged)
        return None

    def _throttled(self, call: Call, progress: _Progress, status: int, judged: Judgement) -> Judgement:
        """Note for how long to wait: as told, and longer each time. A closed door (429) is closed to everybody."""
        progress.failures += 1
        progress.pause = max(judged.wait_seconds or 0.0, self._backoff(progress.failures))
        progress.last = Throttled(call.operation, progress.pause)
        if status != 429:
            # The answer says what is left, and others may well afford theirs.
            return judged
        quota = replace(judged.quota or Quota(), cost=0.0, available=0.0, rest_seconds=progress.pause)
        return replace(judged, quota=quota)

    def _ask_leave(self, call: Call) -> None:
        if call.changes != "nothing" and (why := self.held(call.changes)) is not None:
            raise WritesStopped(call.operation, why)

    def _lost(self, call: Call, progress: _Progress, error: httpx.RequestError) -> None:
        why = type(error).__name__
        progress.failures += 1
        progress.pause = self._backoff(progress.failures)
        if isinstance(error, _NEVER_LEFT):
            progress.last = Unreachable(call.operation, why)
            return
        progress.may_have_left = True
        progress.last = ServerFault(call.operation, why)
        if call.kind == "once":
            raise self._final(call, progress) from error

    def _not_ok(self, call: Call, progress: _Progress, status: int, judged: Judgement) -> None:
        """Decide by the answer's own kind whether to go on; raises when not."""
        if judged.kind == "throttled":
            return
        if judged.kind == "unauthorised" and not progress.renewed:
            self.dialect.renew()
            progress.renewed, progress.pause = True, 0.0
            progress.last = Unauthorised(call.operation, judged.reason, status)
            return
        if judged.kind == "fault":
            progress.failures += 1
            progress.pause = self._backoff(progress.failures)
            progress.may_have_left = True
            progress.last = ServerFault(call.operation, f"status {status}: {judged.reason or judged.code}")
            if call.kind != "once":
                return
        elif judged.kind in ("unauthorised", "forbidden"):
            progress.last = Unauthorised(call.operation, judged.reason, status)
        else:
            progress.last = Refused(call.operation, status, judged.code, judged.reason)
        raise self._final(call, progress)

    def _final(self, call: Call, progress: _Progress) -> Exception:
        """What the call as a whole ends as."""
        assert progress.last is not None, "a call fails for a reason"
        if call.kind != "read" and progress.may_have_left:
            return OutcomeUnknown(call.operation, str(progress.last))
        return progress.last

    def _backoff(self, failures: int) -> float:
        """Seconds before the next try: doubling, with jitter so that workers do not march in step."""
        pause = min(self.patience.longest_pause, self.patience.first_pause * 2.0 ** max(0, failures - 1))
        return pause * (0.5 + random.random() / 2)

    def _note(
        self,
        call: Call,
        progress: _Progress,
        called_at: datetime,
        began: float,
        status: int | None,
        judged: Judgement | None,
        error: Exception | None,
    ) -> None:
        self.record(
            ApiCall(
                shop_id=self.shop_id,
                connection_id=self.connection_id,
                operation=call.operation,
                method=call.method,
                status=status,
                outcome=_outcome(call, judged, error),
                elapsed_ms=round((self.clock() - began) * 1000),
                attempt=progress.attempt,
                quota_left=judged.quota_left if judged else None,
                api_version=judged.api_version if judged else None,
                deprecation=judged.deprecation if judged else None,
                error=_error_text(judged, error),
                called_at=called_at,
                asked_version=call.asked_version,
                cost=judged.quota.cost if judged and judged.quota else None,
                purpose=self.purpose,
            )
        )


def make_http(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """An HTTP client with our timeouts. Redirects are not followed: a body must not be sent on to strangers."""
    return httpx.Client(
        timeout=TIMEOUT,
        limits=_LIMITS,
        transport=transport,
        follow_redirects=False,
        trust_env=False,
        verify=certificates(),
    )


def warm_up() -> None:
    """Load the transport and read whom we believe: for a process that forks, so that no child has to."""
    make_http().close()
    # As looking up a name does.
    "localhost".encode("idna")


@lru_cache(maxsize=1)
def certificates() -> ssl.SSLContext:
    """Whom we believe. Reading the authorities takes longer than many a call, so once per process."""
    return httpx.create_ssl_context(trust_env=False)


def _as_of(response: httpx.Response, took_seconds: float) -> datetime | None:
    """The vendor's own time when the request left, or a little earlier."""
    try:
        dated = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return None
    # Whoever leaves the zone open means UTC, which is the only one there may be.
    dated = dated.replace(tzinfo=UTC) if dated.tzinfo is None else dated.astimezone(UTC)
    return dated - timedelta(seconds=took_seconds)


def _as_noted(call: Call, response: httpx.Response, judged: Judgement) -> Judgement:
    """An answer as it goes on record."""
    is_answered = call.asks_whether and judged.kind == "refused" and response.status_code == httpx.codes.NOT_FOUND
    return replace(judged, kind="ok") if is_answered else judged


def _outcome(call: Call, judged: Judgement | None, error: Exception | None) -> Outcome:
    if judged is None:
        surely_not = isinstance(error, _NEVER_LEFT) or call.kind == "read"
        return "error" if surely_not else "unknown"
    if judged.kind in ("refused", "unauthorised", "forbidden"):
        return "refused"
    if judged.kind == "fault":
        return "error" if call.kind == "read" else "unknown"
    return "throttled" if judged.kind == "throttled" else "ok"


def _error_text(judged: Judgement | None, error: Exception | None) -> str | None:
    """Why, short and without secrets; a transport error's own text may carry the address, so only its kind."""
    if error is not None:
        return type(error).__name__
    if judged is None or judged.kind == "ok":
        return None
    return mask(f"{judged.code} {judged.reason}".strip())[:300] or judged.kind
