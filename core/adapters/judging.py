"""What an answer means by its status and by the vendor's table of errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from core.adapters.http import JudgedKind, Judgement
from core.adapters.meanings import COMMON, Act, ErrorTable, Meaning

_KINDS: Mapping[Act, JudgedKind] = {
    "wait": "throttled",
    "renew": "unauthorised",
    "grant": "forbidden",
    "ask": "refused",
    "repeat": "fault",
    "same_key": "fault",
    "fresh_key": "refused",
    "replan": "refused",
    "refuse": "refused",
}


def judge_meaning(meaning: Meaning, code: str, reason: str, wait_seconds: float | None = None) -> Judgement:
    """The judgement that goes by a meaning of the vendor's table; `reason` is the vendor's own wording."""
    kind = _KINDS[meaning.act]
    return Judgement(kind, code=code, reason=meaning.say(reason), wait_seconds=wait_seconds)


def judge_status(response: httpx.Response, reason: str = "", code: str = "", errors: ErrorTable = COMMON) -> Judgement:
    """What the HTTP status alone says, by the vendor's table."""
    status = response.status_code
    if 200 <= status < 300:
        return Judgement("ok")
    wait = _retry_after(response) if status == 429 else None
    return judge_meaning(errors.of_status(status), code or f"HTTP_{status}", reason, wait)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of the Retry-After header, where it is a number."""
    text = response.headers.get("retry-after", "")
    try:
        return min(600.0, max(0.05, float(text)))
    except ValueError:
        return None


def json_object(response: httpx.Response) -> dict[str, Any] | None:
    """The answer's JSON object, or None when it is none. The standard reader keeps integers of any size exact."""
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None
