"""What must not reach a log, and what every line carries."""

from __future__ import annotations

import json
import logging
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from core import logs

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql+psycopg://app:s3cret@db:5432/x", "postgresql+psycopg://app:***@db:5432/x"),
        ("redis://:s3cret@localhost:6379/0", "redis://:***@localhost:6379/0"),
        ('{"access_token": "shpat_12", "shop": "a"}', '{"access_token": "***", "shop": "a"}'),
        ("client_secret=abc&grant_type=x", "client_secret=***&grant_type=x"),
        ("refresh_token: Atzr|xyz", "refresh_token: ***"),
        ("PASSWORD=hunter2", "PASSWORD=***"),
        ("bought by jo.bloggs+x@shop.example.com today", "bought by ***@*** today"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_passwords_tokens_and_addresses_are_masked(text: str, masked: str) -> None:
    assert logs.mask(text) == masked


def test_a_bearer_token_of_a_header_is_masked() -> None:
    assert "s3cret" not in logs.mask("Authorization: Bearer s3cret")


def _written(record: logging.LogRecord) -> dict[str, Any]:
    return json.loads(logs.JsonFormatter().format(record))


def _record(text: str, *arguments: object, error: object = None) -> logging.LogRecord:
    return logging.LogRecord("a.place", logging.WARNING, __file__, 1, text, arguments, error)  # type: ignore[arg-type]


def test_a_line_carries_the_ids_bound_around_it_and_no_longer_than_that() -> None:
    with logs.bound(job="j1"), logs.bound(order=7):
        inside = _written(_record("moved %s", 3))
    assert (inside["text"], inside["level"], inside["job"], inside["order"]) == ("moved 3", "warning", "j1", 7)
    assert "job" not in _written(_record("later"))


def test_an_error_is_masked_too() -> None:
    try:
        raise RuntimeError("no way to redis://app:s3cret@host")
    except RuntimeError as error:
        entry = _written(_record("failed", error=(type(error), error, error.__traceback__)))
    assert "s3cret" not in entry["error"]
    assert "RuntimeError" in entry["error"]


# What a secret or a person may look like ----------------------------------------------------------------------------

_LETTERS = string.ascii_letters + string.digits
plain = st.text(_LETTERS + "-_.", min_size=8, max_size=40).filter(lambda word: word.strip("-_.") == word)
awkward = st.text(_LETTERS + "-_.~+/=|!$ ,;&:'<>{}[]()@#%", min_size=8, max_size=40).filter(
    lambda word: word.strip() == word and word[:1] != "*"
)
shaped = st.one_of(
    st.from_regex(r"shp(at|ca|pa|ss|ua)_[0-9a-f]{32}", fullmatch=True),
    st.from_regex(r"Atza\|[A-Za-z0-9_-]{20,60}", fullmatch=True),
    st.from_regex(r"Atzr\|[A-Za-z0-9_-]{20,60}", fullmatch=True),
    st.from_regex(r"Atc\|[A-Za-z0-9_-]{20,60}", fullmatch=True),
    st.from_regex(r"amzn1\.oa2-cs\.v1\.[0-9a-f]{40,64}", fullmatch=True),
    st.from_regex(r"AKIA[0-9A-Z]{16}", fullmatch=True),
    st.builds(lambda: Fernet(Fernet.generate_key()).encrypt(b"x").decode()),
    st.emails(domains=st.sampled_from(["example.com", "mail.example.co.uk", "bücher.example"])).filter(
        lambda address: '"' not in address
    ),
    st.builds(
        lambda country, parts, gap: f"+{country}{gap}" + gap.join(parts),
        st.integers(1, 99),
        st.lists(st.from_regex(r"[0-9]{3,4}", fullmatch=True), min_size=3, max_size=3),
        st.sampled_from(["", " ", "-"]),
    ),
)
names = st.sampled_from(
    ["access_token", "refresh_token", "client_secret", "password", "X-Shopify-Access-Token", "x-amz-access-token",
     "Authorization", "api_key", "X-Shopify-Hmac-Sha256", "SWITCHYARD_SECRET_KEYS", "SWITCHYARD_METRICS_TOKEN",
     "secret", "token", "Cookie", "accessToken", "clientSecret", "POSTGRES_PASSWORD"]
)  # fmt: skip
# Places where only a plain value can stand, and places that quote whatever stands there.
PLAIN = (
    "{name}={secret}", "{name}: {secret}", "a=1&{name}={secret}&b=2", "Bearer {secret}",
    "Authorization: Bearer {secret}", "postgresql+psycopg://app:{secret}@db:5432/x", "redis://:{secret}@localhost:6379/0",
)  # fmt: skip
QUOTED = ("json", "twice", "repr", "header")


def quoted(how: str, name: str, secret: str) -> str:
    if how == "json":
        return json.dumps({"shop": "a", name: secret, "z": 1})
    if how == "twice":
        return json.dumps({"body": json.dumps({name: secret, "z": 1})})
    return repr({name: secret}) if how == "repr" else repr([(name.encode(), secret.encode())])


@given(st.sampled_from(PLAIN), names, plain, st.text(" abc.", max_size=10))
def test_a_secret_in_its_place_never_gets_through(form: str, name: str, secret: str, before: str) -> None:
    assert secret not in logs.mask(f"{before} {form.format(name=name, secret=secret)} and more")


@given(st.sampled_from(QUOTED), names, awkward)
def test_a_quoted_secret_is_masked_whole_whatever_is_in_it(how: str, name: str, secret: str) -> None:
    masked = logs.mask(quoted(how, name, secret))
    # Not a piece of it either: eight characters of a secret are half of it.
    assert [piece for start in range(len(secret) - 7) if (piece := secret[start : start + 8]) in masked] == []


@given(shaped, st.sampled_from(["{}", "called with {} today", '"{}"', "<{}>", "x={},y", "({})"]))
def test_what_has_the_shape_of_a_secret_or_names_a_person_is_masked_anywhere(secret: str, around: str) -> None:
    masked = logs.mask(around.format(secret))
    assert secret not in masked
    assert "***" in masked


@given(shaped, plain)
def test_no_part_of_a_line_carries_one(secret: str, password: str) -> None:
    url = f"redis://:{password}@host"
    try:
        raise RuntimeError(f"no way to {url} for {secret}")
    except RuntimeError as error:
        record = _record("failed for %s at %s", secret, url, error=(type(error), error, error.__traceback__))
    record.counts = {"place": secret}
    with logs.bound(delivery=secret, connection=url):
        line = logs.JsonFormatter("api").format(record)
    assert secret not in line
    assert json.dumps(secret)[1:-1] not in line
    # The lines of code in a traceback are ours, what they say at run time is not.
    assert password not in line


@given(st.text())
def test_masking_takes_any_text_and_masking_again_changes_nothing_in_plain_words(text: str) -> None:
    logs.mask(text)
    logs.JsonFormatter().format(_record("%s", text))


@pytest.mark.parametrize("text", ["a" * 500_000, "+1" * 100_000, "://" * 50_000, '"token":"' * 50_000])
def test_a_long_text_does_not_hang_the_process(text: str) -> None:
    logs.mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "order 820982911946154508 of 2024-05-14T11:59:58+00:00 took 12.5 s",
        "connection 12: 3 messages, lane events:1:12",
        "GET http://127.0.0.1:8502/shopify/demo.myshopify.com/admin/api/2026-10/graphql.json",
        "gid://shopify/ProductVariant/44012345678901",
        "the token was refused and the secret is unknown",
        "2024-05-14 11:59:58.123 +0000 ended",
        "job 5f3c9a44-1c7e-4b9a-9d53-0a4fb2b1c9aa finished",
        "status -15, +3 units, 1 + 2",
    ],
)
def test_what_operators_need_to_read_stays(text: str) -> None:
    assert logs.mask(text) == text


# Whole processes -----------------------------------------------------------------------------------------------------


def test_an_end_that_nobody_foresaw_is_a_line_too_and_so_is_a_warning() -> None:
    program = """
import threading, warnings
from core import logs
logs.configure("worker")
warnings.warn("old use of password=hunter2")
def fail(): raise ValueError("in a thread, of jo@shop.example")
thread = threading.Thread(target=fail, name="t"); thread.start(); thread.join()
raise RuntimeError("redis://app:s3cret@host is gone")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["warning", "error", "critical"]
    assert {line["process"] for line in lines} == {"worker"}
    assert "RuntimeError" in lines[-1]["error"]
    assert [word for word in ("hunter2", "s3cret", "jo@") if word in done.stderr] == []


@pytest.mark.parametrize("name", ["rq.worker", "uvicorn.error", "streamlit.web.server", "sqlalchemy.pool"])
def test_a_librarys_own_handler_makes_way(name: str) -> None:
    program = f"""
import logging
theirs = logging.getLogger({name!r})
theirs.addHandler(logging.StreamHandler()); theirs.propagate = False
from core import logs
logs.configure("dashboard")
theirs.error("once")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    (line,) = done.stderr.splitlines()
    assert (json.loads(line)["logger"], json.loads(line)["text"]) == (name, "once")
