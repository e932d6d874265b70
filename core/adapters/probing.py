"""What a vendor's answers say besides what was asked: its clock, and how long a token lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from core.adapters.http import certificates
from core.adapters.judging import json_object
from core.adapters.tokens import lifetime


@dataclass(eq=False, slots=True)
class Overhearing(httpx.BaseTransport):
    """The network, with an ear on it; for a few calls that a person waits for. No token is kept.

    `clock_ahead`: by how much the vendor's clock is ahead of ours (its Date header has whole seconds). `token_lives`:
    from when it was fetched. What no answer said is None.
    """

    now: Callable[[], datetime]
    inner: httpx.BaseTransport = field(default_factory=lambda: httpx.HTTPTransport(verify=certificates()))
    clock_ahead: timedelta | None = None
    token_lives: timedelta | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked_at = self.now()
        response = self.inner.handle_request(request)
        response.read()
        self._note_clock(response, asked_at + (self.now() - asked_at) / 2)
        answer = json_object(response) or {}
        lives = answer.get("expires_in")
        if "access_token" in answer and lives is not None:
            self.token_lives = lifetime(lives)
        return response

    def _note_clock(self, response: httpx.Response, between: datetime) -> None:
        try:
            said = parsedate_to_datetime(response.headers.get("Date", ""))
        except ValueError:
            return
        if said.tzinfo is not None:
            # The middle of the second that the header names.
            self.clock_ahead = said + timedelta(milliseconds=500) - between

    def close(self) -> None:
        self.inner.close()
