"""Operators' notices."""

from __future__ import annotations

import json

import httpx
import pytest

from core.adapters.notices import WebhookMessenger
from core.errors import Permanent, Retryable

URL = "https://hooks.test/services/secret-path"


def test_says_the_text() -> None:
    said = []

    def chat(request: httpx.Request) -> httpx.Response:
        said.append((str(request.url), json.loads(request.content)))
        return httpx.Response(200, text="ok")

    messenger = WebhookMessenger(URL, httpx.MockTransport(chat))
    messenger.send("sync_failed", {"text": "Sync of Demo failed"}, "k1")
    messenger.send("sync_failed", {}, "k2")
    assert said == [(URL, {"text": "Sync of Demo failed"}), (URL, {"text": "sync_failed"})]


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, Retryable), (500, Retryable), (503, Retryable), (403, Permanent), (404, Permanent), (400, Permanent)],
)
def test_the_status_decides_whether_to_try_again(status: int, error: type[Exception]) -> None:
    messenger = WebhookMessenger(URL, httpx.MockTransport(lambda request: httpx.Response(status)))
    with pytest.raises(error) as caught:
        messenger.send("kind", {"text": "x"}, "k")
    assert "secret-path" not in str(caught.value)


@pytest.mark.parametrize("mishap", [httpx.ConnectError("secret-path"), httpx.ReadTimeout("secret-path")])
def test_a_lost_line_is_tried_again(mishap: Exception) -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise mishap

    with pytest.raises(Retryable) as caught:
        WebhookMessenger(URL, httpx.MockTransport(gone)).send("kind", {"text": "x"}, "k")
    assert "secret-path" not in str(caught.value)
