"""The one way out: what is repeated, what is not, and how each error ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from core.adapters.http import (
    ApiCall,
    Call,
    CallKind,
    Client,
    Judgement,
    OutcomeUnknown,
    Patience,
    Quota,
    Refused,
    ServerFault,
    Throttled,
    Unauthorised,
    Unreachable,
)
from core.adapters.judging import judge_status
from core.errors import Permanent, Retryable

Script = list[httpx.Response | BaseException]
CONNECT = httpx.ConnectError("secret.host refused")
TIMEOUT = httpx.ReadTimeout("slow")


@dataclass
class Noted:
    """A permit that notes what became of it."""

    fates: list[str]
    quotas: list[Quota | None]

    def answered(self, quota: Quota | None) -> None:
        self.fates.append("answered" if quota else "answered without a word of the quota")
        self.quotas.append(quota)

    def never_left(self) -> None:
        self.fates.append("never left")

    def lost(self) -> None:
        self.fates.append("lost")


@dataclass
class Plain:
    """A dialect that goes by the status alone."""

    renewed: int = 0
    quota: Callable[[], None] = lambda: None
    fates: list[str] = field(default_factory=list)
    quotas: list[Quota | None] = field(default_factory=list)
    token: str | Exception = "token"
    judging: Exception | None = None

    def headers(self) -> dict[str, str]:
        if isinstance(self.token, Exception):
            raise self.token
        return {"Authorization": f"{self.token}-{self.renewed}"}

    def renew(self) -> None:
        self.renewed += 1

    def pace(self, call: Call, wait_at_most: float) -> Noted:
        self.quota()
        return Noted(self.fates, self.quotas)

    def judge(self, call: Call, response: httpx.Response) -> Judgement:
        if self.judging is not None:
            raise self.judging
        judged = judge_status(response, reason="client_secret=hush, hush")
        return replace(judged, data=response.text, quota=Quota(cost=7.5))


@dataclass
class Line:
    """A client whose network answers by script, the last line over and over."""

    script: Script
    log: list[ApiCall] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    dialect: Plain = field(default_factory=Plain)
    tokens: list[str] = field(default_factory=list)
    held: Callable[[str], str | None] = lambda _effect: None

    def call(self, kind: CallKind = "read", **patience: Any) -> Any:
        client = Client(
            1,
            2,
            self.dialect,
            self.log.append,
            lambda: datetime(2026, 1, 1, tzinfo=UTC),
            self.slept.append,
            httpx.MockTransport(self._answer),
            Patience(**patience),
            "stock.push",
            held=self.held,
        )
        return client.call(Call("op", "POST", "https://vendor.test/x", kind, json={}, asked_version="2026-10"))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.tokens.append(request.headers["Authorization"])
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, BaseException):
            raise step
        return step


def ok() -> httpx.Response:
    return httpx.Response(200, text="fine")


@pytest.mark.parametrize("kind", ["read", "idempotent", "once"])
@pytest.mark.parametrize("first", [CONNECT, httpx.Response(429), httpx.Response(401)])
def test_what_was_surely_not_carried_out_is_sent_again(kind: CallKind, first: Any) -> None:
    assert Line([first, ok()]).call(kind) == "fine"


@pytest.mark.parametrize("kind", ["read", "idempotent"])
@pytest.mark.parametrize(
    "first", [TIMEOUT, httpx.RemoteProtocolError("gone"), httpx.Response(503), httpx.Response(500)]
)
def test_what_may_be_repeated_is_sent_again(kind: CallKind, first: Any) -> None:
    assert Line([first, ok()]).call(kind) == "fine"


@pytest.mark.parametrize(
    "first", [TIMEOUT, httpx.RemoteProtocolError("gone"), httpx.Response(503), httpx.Response(500)]
)
def test_what_may_have_happened_and_must_not_happen_twice_is_unknown(first: Any) -> None:
    line = Line([first, ok()])
    with pytest.raises(OutcomeUnknown):
        line.call("once")
    assert [call.outcome for call in line.log] == ["unknown"]


@pytest.mark.parametrize(
    ("script", "kind", "error"),
    [
        ([CONNECT], "once", Unreachable),
        ([TIMEOUT], "read", ServerFault),
        ([TIMEOUT], "idempotent", OutcomeUnknown),
        ([httpx.Response(502)], "read", ServerFault),
        ([httpx.Response(429, headers={"Retry-After": "100"})], "once", Throttled),
        ([httpx.Response(429)], "once", Throttled),
        ([httpx.Response(403)], "once", Unauthorised),
        ([httpx.Response(404)], "once", Refused),
        ([httpx.Response(302)], "once", Refused),
        ([TIMEOUT, httpx.Response(404)], "idempotent", OutcomeUnknown),
        ([TIMEOUT, httpx.Response(429)], "idempotent", OutcomeUnknown),
        ([TIMEOUT, CONNECT], "idempotent", OutcomeUnknown),
        ([TIMEOUT, httpx.Response(401)], "idempotent", OutcomeUnknown),
        ([TIMEOUT, httpx.Response(404)], "read", Refused),
    ],
)
def test_how_a_call_ends(script: Script, kind: CallKind, error: type[Exception]) -> None:
    line = Line(script)
    with pytest.raises(error) as caught:
        line.call(kind)
    assert isinstance(caught.value, (Retryable, Permanent))
    assert len(line.log) <= 6


def test_a_throttle_waits_as_told_and_within_bounds() -> None:
    told = httpx.Response(429, headers={"Retry-After": "7"})
    line = Line([told, told, ok()])
    assert line.call("once") == "fine"
    assert line.slept == [7.0, 7.0]
    with pytest.raises(Throttled) as caught:
        Line([told]).call("once", total_seconds=5.0)
    assert caught.value.wait_seconds == 7.0


def test_pauses_grow_with_jitter() -> None:
    line = Line([httpx.Response(503)])
    with pytest.raises(ServerFault):
        line.call(attempts=6, first_pause=1.0, longest_pause=8.0)
    assert len(line.slept) == 5
    for pause, most in zip(line.slept, (1, 2, 4, 8, 8), strict=True):
        assert most / 2 <= pause <= most


def test_a_refused_token_is_renewed_once() -> None:
    line = Line([httpx.Response(401), ok()])
    line.call()
    assert line.tokens == ["token-0", "token-1"]
    line = Line([httpx.Response(401)])
    with pytest.raises(Unauthorised):
        line.call()
    assert line.tokens == ["token-0", "token-1"]


def test_waiting_for_quota_too_long_leaves_nothing_sent() -> None:
    def full() -> None:
        raise Throttled("bucket", 900.0)

    line = Line([ok()], dialect=Plain(quota=full))
    with pytest.raises(Throttled):
        line.call("once")
    assert line.tokens == []


def test_the_log_counts_attempts_and_keeps_no_secrets_or_addresses() -> None:
    line = Line([CONNECT, httpx.Response(500), httpx.Response(429), ok()])
    line.call()
    assert [(call.attempt, call.status, call.outcome) for call in line.log] == [
        (1, None, "error"),
        (2, 500, "error"),
        (3, 429, "throttled"),
        (4, 200, "ok"),
    ]
    said = repr(line.log)
    assert [word for word in ("token-0", "vendor.test", "secret.host") if word in said] == []
    assert "client_secret=***" in said


def test_redirects_are_not_followed() -> None:
    line = Line([httpx.Response(307, headers={"Location": "https://elsewhere.test"}), ok()])
    with pytest.raises(Refused):
        line.call()
    assert len(line.tokens) == 1


@pytest.mark.parametrize(
    ("script", "fates"),
    [
        ([ok()], ["answered"]),
        ([CONNECT, ok()], ["never left", "answered"]),
        ([TIMEOUT, ok()], ["lost", "answered"]),
        ([httpx.Response(429), ok()], ["answered", "answered"]),
        ([httpx.Response(503), ok()], ["answered", "answered"]),
    ],
)
def test_quota_is_told_what_became_of_every_attempt(script: Script, fates: list[str]) -> None:
    line = Line(script)
    line.call("idempotent")
    assert line.dialect.fates == fates


def test_quota_of_a_call_without_a_token_is_given_back() -> None:
    line = Line([ok()], dialect=Plain(token=Unauthorised("token", "refused")))
    with pytest.raises(Unauthorised):
        line.call()
    assert line.dialect.fates == ["never left"]


class TimeIsUp(BaseException):
    """As a worker ends a job that takes too long: anywhere, and nothing catches it."""


def away(_effect: str) -> str | None:
    raise ConnectionError("the database is away")


@pytest.mark.parametrize(
    ("line", "error", "fate"),
    [
        pytest.param(Line([ok()], held=away), ConnectionError, "never left", id="nobody says whether it may leave"),
        pytest.param(Line([ok()], dialect=Plain(token="t\xf6ken")), UnicodeEncodeError, "never left", id="bad token"),
        pytest.param(
            Line([ok()], dialect=Plain(token=OverflowError())), OverflowError, "never left", id="no token comes of it"
        ),
        pytest.param(Line([TimeIsUp()]), TimeIsUp, "lost", id="time is up while it is under way"),
        pytest.param(Line([ok()], dialect=Plain(judging=ValueError())), ValueError, "lost", id="nobody understands it"),
    ],
)
def test_quota_is_given_back_however_an_attempt_ends(line: Line, error: type[BaseException], fate: str) -> None:
    with pytest.raises(error):
        line.call("once")
    assert line.dialect.fates == [fate]


def test_a_vendor_that_says_come_back_at_once_is_asked_less_and_less_often() -> None:
    line = Line([httpx.Response(429, headers={"Retry-After": "0"})])
    with pytest.raises(Throttled):
        line.call(attempts=6, first_pause=1.0, longest_pause=8.0)
    assert len(line.log) == 6
    for pause, most in zip(line.slept, (1, 2, 4, 8, 8), strict=True):
        assert most / 2 <= pause <= most


def test_who_is_throttled_lets_everybody_rest_for_as_long() -> None:
    line = Line([httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(429), ok()])
    line.call()
    first, second, last = line.dialect.quotas
    assert first == Quota(cost=0.0, available=0.0, rest_seconds=7.0)
    assert second is not None
    assert (second.available, second.rest_seconds) == (0.0, line.slept[1])
    assert last == Quota(cost=7.5)


def test_what_a_call_took_for_whom_and_in_which_version_is_on_record() -> None:
    line = Line([TIMEOUT, ok()])
    line.call()
    assert [(call.cost, call.purpose, call.asked_version) for call in line.log] == [
        (None, "stock.push", "2026-10"),
        (7.5, "stock.push", "2026-10"),
    ]
