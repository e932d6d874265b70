"""Operators' notices in a chat: what is written, and what each answer means; against a real HTTP endpoint."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from core.adapters.notices import WebhookMessenger, payload
from core.adapters.outside import LeadsInside, refuse_inside
from core.errors import OutOfQuota, Permanent, Retryable
from core.letters import Attachment, Letter

LETTER = Letter(
    "alert:7#3", "Storm & Sons", "danger", "24 units could be <oversold>", "MUG <!channel> shows 5 & more.",
    "http://127.0.0.1:8500/alerts?alert=7&shop=1", datetime(2026, 11, 2, tzinfo=UTC),
)  # fmt: skip
PATH = "/services/T0/B0/secret-path"


@dataclass
class Chat:
    """An incoming webhook: what it was sent, and what it answers."""

    url: str = ""
    status: int = 200
    body: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    heard: list[tuple[str, str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Chat]:
    chat = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            chat.heard.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(chat.status)
            for name, value in {"Content-Length": str(len(chat.body)), **chat.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(chat.body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat.url = f"http://127.0.0.1:{server.server_port}{PATH}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield chat
    server.shutdown()
    server.server_close()


@pytest.fixture
def chat(endpoint: Chat) -> Chat:
    endpoint.status, endpoint.body, endpoint.headers = 200, "ok", {}
    endpoint.heard.clear()
    return endpoint


def test_it_is_headline_sentence_and_link_and_a_text_for_notifications(chat: Chat) -> None:
    assert WebhookMessenger(chat.url).send(LETTER).text == "200 ok"
    ((path, media_type, said),) = chat.heard
    assert (path, media_type) == (PATH, "application/json")
    header, section, context = said["blocks"]
    assert header["text"] == {"type": "plain_text", "text": "🔴 24 units could be &lt;oversold&gt;"}
    assert section["text"] == {"type": "mrkdwn", "text": "MUG &lt;!channel&gt; shows 5 &amp; more.", "verbatim": True}
    assert context["elements"][0]["text"] == (
        "Danger · Storm &amp; Sons · <http://127.0.0.1:8500/alerts?alert=7&amp;shop=1|Open in Switchyard>"
    )
    assert said["text"].splitlines() == [
        "24 units could be &lt;oversold&gt;",
        "MUG &lt;!channel&gt; shows 5 &amp; more.",
        "http://127.0.0.1:8500/alerts?alert=7&amp;shop=1",
    ]


@pytest.mark.parametrize("mark", ["a", "&", "<", "🔴"])
def test_lengths_are_slacks_and_no_escape_is_cut_in_two(mark: str) -> None:
    long = Letter(
        "k", mark * 300, "info", mark * 400, mark * 9_000, "http://x/alerts", datetime(2026, 1, 1, tzinfo=UTC)
    )
    said = payload(long)
    header, section, context = (
        said["blocks"][0]["text"]["text"],
        said["blocks"][1]["text"]["text"],
        said["blocks"][2]["elements"][0]["text"],
    )
    assert (units(header) <= 150, units(section) <= 3000, units(context) <= 3000) == (True,) * 3
    assert units(said["text"]) < 40_000
    for text in (header, section, said["text"]):
        rest = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert not set("&<>") & set(rest)
    assert section.endswith("…")


def units(text: str) -> int:
    """As Slack counts: a sign beyond the basic plane is two."""
    return len(text.encode("utf-16-le")) // 2


def test_a_digest_is_shown_to_its_last_line() -> None:
    lines = [
        "41 notices since 10:20.",
        *(f"• {number:02} {'x' * 380}" for number in range(40)),
        "And 1 more: backlog 1.",
    ]
    long = Letter("k", "S", "danger", "It grows, and 40 more", "\n".join(lines), "http://x/alerts", LETTER.at)
    blocks = payload(long)["blocks"]
    sections = [block["text"]["text"] for block in blocks if block["type"] == "section"]
    assert "\n".join(sections).splitlines() == lines
    assert max(map(units, sections)) <= 3000
    assert (blocks[0]["type"], blocks[-1]["type"], len(blocks) <= 50) == ("header", "context", True)


def test_files_are_pointed_to() -> None:
    file = Attachment("day.csv", "text/csv", b"")
    with_files = Letter("k", "S", "info", "The day", "", "http://x/alerts", LETTER.at, attachments=(file, file))
    assert payload(with_files)["blocks"][2]["elements"][0]["text"].endswith("2 files: see there")
    assert payload(with_files)["blocks"][1]["text"]["text"] == "–"


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (500, "<html>oops</html>", Retryable, "status 500"),
        (503, "", Retryable, "status 503"),
        (400, "invalid_payload", Permanent, "does not take such a message"),
        (403, "action_prohibited", Permanent, "an administrator has forbidden it"),
        (404, "no_service", Permanent, "revoked"),
        (404, "channel_not_found", Permanent, "its channel was deleted"),
        (410, "channel_is_archived", Permanent, "archived"),
        (404, "<h1>secret-path is not here</h1>", Permanent, "404"),
        (302, "", Permanent, "302"),
    ],
)
def test_the_answer_decides_whether_to_try_again_and_says_why(
    chat: Chat, status: int, body: str, error: type[Exception], says: str
) -> None:
    chat.status, chat.body, chat.headers = status, body, {"Location": "http://127.0.0.1:9/"} if status == 302 else {}
    with pytest.raises(error, match=says) as caught:
        WebhookMessenger(chat.url).send(LETTER)
    assert "secret-path" not in str(caught.value)
    assert len(chat.heard) == 1


@pytest.mark.parametrize(("header", "seconds"), [({"Retry-After": "42"}, 42.0), ({}, 1.0), ({"Retry-After": "x"}, 1.0)])
def test_too_many_says_when_to_come_again(chat: Chat, header: dict[str, str], seconds: float) -> None:
    chat.status, chat.body, chat.headers = 429, "rate_limited", header
    with pytest.raises(OutOfQuota) as caught:
        WebhookMessenger(chat.url).send(LETTER)
    assert caught.value.wait_seconds == seconds


@pytest.mark.parametrize("mishap", [httpx.ConnectError("secret-path"), httpx.ReadTimeout("secret-path")])
def test_a_lost_line_is_tried_again(mishap: Exception) -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise mishap

    with pytest.raises(Retryable) as caught:
        WebhookMessenger("https://hooks.test/secret-path", httpx.MockTransport(gone)).send(LETTER)
    assert "secret-path" not in str(caught.value)


def test_an_address_that_cannot_be_called_is_refused_unsaid() -> None:
    too_long = f"https://{'a' * 64}.test/secret-path"
    for url in ("https://:99999999/secret-path", "secret-path", "https://[::1/secret-path", too_long, "https://a..b/x"):
        with pytest.raises(Permanent) as caught:
            WebhookMessenger(url).send(LETTER)
        assert "secret-path" not in str(caught.value)


@contextmanager
def dribbling(head: bytes) -> Iterator[str]:
    """An endpoint that answers a byte now and then, without an end; returns its address."""
    gone = threading.Event()

    def serve() -> None:
        caller, _ = listener.accept()
        with caller:
            caller.sendall(head)
            while not gone.wait(0.02):
                try:
                    caller.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}"
        gone.set()
        thread.join(10)


def test_one_that_drags_its_answer_out_is_left_when_its_time_is_up() -> None:
    with (
        dribbling(b"HTTP/1.1 200 OK\r\nX-A: ") as url,
        pytest.raises(Retryable, match=r"longer than 0\.3 s") as caught,
    ):
        WebhookMessenger(url, seconds=0.3).send(LETTER)
    assert "secret-path" not in str(caught.value)


def test_what_was_taken_is_taken_however_long_the_page_behind_it_is() -> None:
    with dribbling(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n") as url:
        assert WebhookMessenger(url, seconds=5.0).send(LETTER).text == "200"
    with dribbling(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n") as url:
        assert WebhookMessenger(url, seconds=0.2).send(LETTER).text == "200"


def test_a_name_that_leads_inside_is_told_nothing(chat: Chat) -> None:
    """The resolver reads 127.1 as this machine; whoever means it writes 127.0.0.1."""
    sly = chat.url.replace("127.0.0.1", "127.1")
    with pytest.raises(LeadsInside, match="SWITCHYARD_NOTICES_INSIDE") as caught:
        WebhookMessenger(sly).send(LETTER)
    assert "secret-path" not in str(caught.value)
    assert chat.heard == []
    assert WebhookMessenger(sly, may_be_inside=True).send(LETTER).text == "200 ok"


@pytest.mark.parametrize(
    ("host", "peer", "may"),
    [
        ("hooks.slack.com", "3.68.170.153", True),
        ("hooks.slack.com", "2600:1f18::1", True),
        ("localhost", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("[::1]", "::1", True),
        ("localhost", "10.0.0.5", False),
        ("evil.test", "127.0.0.1", False),
        ("evil.test", "::1", False),
        ("evil.test", "::ffff:127.0.0.1", False),
        ("169.254.169.254", "169.254.169.254", False),
        ("evil.test", "10.1.2.3", False),
        ("evil.test", "192.168.1.1", False),
        ("evil.test", "fd00::1", False),
        ("evil.test", "fe80::1%eth0", False),
        ("evil.test", "0.0.0.0", False),
    ],
)
def test_only_public_addresses_and_this_machine_by_its_own_name_are_called(host: str, peer: str, may: bool) -> None:
    if may:
        refuse_inside(host, peer)
    else:
        with pytest.raises(LeadsInside):
            refuse_inside(host, peer)
