"""The recorder at work in a test run of its own: breaches are seen, told whose they are, and make the run fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from sandbox.recording import Recorder, call_digest, shape
from tests.contracts.recorder import Court, judges
from tests.contracts.test_amazon_judge import HEADERS, ITEMS

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = """[tool.pytest.ini_options]
testpaths = ["tests"]
markers = ["breaks_contract(*rules): on purpose"]
"""
CONFTEST = 'pytest_plugins = ["tests.contracts.recorder"]\n'

IN_PROCESS = """
import httpx, pytest
from core.adapters.amazon.client import user_agent

HEADERS = {"x-amz-access-token": "t", "user-agent": user_agent()}

def ask(query):
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        client.get("https://sp-api.test/listings/2021-08-01/items/S1" + query, headers=HEADERS)

def test_keeps_to_the_rules():
    ask("?marketplaceIds=A1")

def test_breaks_a_rule():
    ask("")

def test_breaks_it_again_and_is_seen_again():
    ask("")

@pytest.mark.breaks_contract("parameters")
def test_breaks_it_on_purpose():
    ask("")

@pytest.mark.breaks_contract("user_agent")
def test_breaks_another_on_purpose():
    ask("")

@pytest.mark.breaks_contract("parameters")
def test_says_so_and_does_not():
    ask("?marketplaceIds=A1")

def test_speaks_with_nobody_we_know():
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        client.get("https://elsewhere.test/")
"""

SANDBOX = """
import asyncio, httpx
from core.adapters.amazon.client import user_agent
from sandbox.app import create_app

def test_a_sandbox_writes_down_its_side(tmp_path):
    async def story():
        transport = httpx.ASGITransport(create_app(tmp_path))
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as http:
            seller = (await http.get("/_control/world")).json()["sellers"][0]
            fields = {name: seller[name] for name in ("client_id", "client_secret", "refresh_token")}
            answer = await http.post("/amazon/auth/o2/token", data=fields | {"grant_type": "refresh_token"})
            assert answer.status_code == 200
    asyncio.run(story())
"""


def ran(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of the tests in `text`, as a whole suite."""
    (folder / "tests").mkdir()
    (folder / "tests/conftest.py").write_text(CONFTEST)
    (folder / "tests/test_it.py").write_text(text)
    settings = (
        "[tool.pytest.ini_options]\\ntestpaths = ['tests']\\nmarkers = ['breaks_contract(*rules): on purpose']\\n"
    )
    (folder / "pyproject.toml").write_text(settings.replace("\\n", "\n"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SHARED_DIR": os.environ.get("SHARED_DIR", "../shared")}
    shared = (ROOT / environment["SHARED_DIR"]).resolve()
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=environment | {"SHARED_DIR": str(shared)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.usefixtures("shared_dir")
def test_each_test_answers_for_what_it_sent(tmp_path: Path) -> None:
    done = ran(tmp_path, IN_PROCESS)
    assert done.returncode == 1, done.stdout
    said = [line for line in done.stdout.splitlines() if line.startswith("ERROR tests")]
    blamed = [line.split("::")[1].split()[0] for line in said]
    assert blamed == [
        "test_breaks_a_rule",
        "test_breaks_it_again_and_is_seen_again",
        "test_breaks_another_on_purpose",
        "test_says_so_and_does_not",
    ]
    assert "parameters: searchListingsItems needs marketplaceIds" in done.stdout
    assert "it is marked as breaking parameters, and did not" in done.stdout


@pytest.mark.usefixtures("shared_dir")
def test_a_whole_run_must_have_exercised_every_operation_whichever_process_did(tmp_path: Path) -> None:
    done = ran(tmp_path, SANDBOX, "--numprocesses", "1")
    assert done.returncode == 1, done.stdout
    assert "1 passed" in done.stdout
    assert "amazon: patchListingsItem was never answered by the sandbox" in done.stdout
    assert "shopify: SET_QUANTITIES was never answered by the sandbox" in done.stdout
    assert "amazon: login was never" not in done.stdout


def test_without_the_documents_it_says_that_it_does_not_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARED_DIR", str(tmp_path / "nowhere"))
    done = ran(tmp_path, "def test_it(): pass\n")
    assert done.returncode == 0, done.stdout
    assert "contracts: not judged" in done.stdout


def test_what_an_adapter_sends_needs_a_judge_that_knows_the_address(tmp_path: Path) -> None:
    court = Court([], tmp_path)
    court.begin("a test")
    court.sent(httpx.Request("GET", "https://sp-api.test/tea"), "amazon")
    court.sent(httpx.Request("GET", "https://chat.test/hook"), None)
    ((breach, _),) = court.sit()
    assert breach.rule == "address"
    assert court.sit() == []


def test_a_record_is_written_once_in_an_epoch(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    for epoch in ("one", "two"):
        (tmp_path / "epoch").write_text(epoch)
        recorder.write("mark", {})
        recorder.write("mark", {})
    recorder.write("other", {})
    assert len(list(tmp_path.glob("*.json"))) == 3


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"a": ["x 1", "y 1"]}, {"a": ["y 2", "z 3"]}, True),
        ({"a": {"b": {"c": 17}}}, {"a": {"b": {"c": 18}}}, True),
        ({"a": {"b": {"c": 17}}}, {"a": {"b": {"c": -1}}}, False),
        ({"a": {"b": {"c": 17}}}, {"a": {"b": {"c": 2**40}}}, False),
        ({"first": 10}, {"first": 251}, False),
        ({"a": {"b": {"c": [1] * 250}}}, {"a": {"b": {"c": [1] * 251}}}, False),
        ({"a": [{"x": 1}]}, {"a": [{"x": 1}, {}]}, False),
        ({"a": "ACTIVE"}, {"a": "RETIRED"}, False),
        ({"a": "refresh_token"}, {"a": "password"}, False),
        ({"a": "gid://shopify/Order/1"}, {"a": "gid://shopify/Refund/1"}, False),
        ({"a": "gid://shopify/Order/1"}, {"a": "gid://shopify/Order/2"}, True),
        ({"a": "2026-11-20T10:00:00Z"}, {"a": "2025-01-02T03:04:05Z"}, True),
        ({"a": "2026-11-20T10:00:00Z"}, {"a": "2025-01-02"}, False),
        ({"a": "a key"}, {"a": " "}, False),
        ({"a": None}, {"a": "x"}, False),
        ({"query": "{ shop { id } }"}, {"query": "{ shop { name } }"}, False),
    ],
)
def test_what_a_rule_could_tell_apart_has_two_shapes(one: object, other: object, alike: bool) -> None:
    assert (shape(one) == shape(other)) is alike


def test_requests_of_one_shape_differ_in_particulars_only() -> None:
    def mark(path: str = ITEMS, query: str = "marketplaceIds=A1", **headers: str) -> str:
        return call_digest("GET", path, query, HEADERS | headers, b"")

    assert mark() == mark(path=ITEMS.replace("S1", "S2"))
    assert mark() != mark(path=f"{ITEMS}/A")
    assert mark() != mark(query="")
    assert mark() != mark(**{"x-amz-access-token": ""})
    assert mark() == mark(**{"x-amz-access-token": "t2"})


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("identifiers=a 1", "identifiers=b 2", True),
        ("identifiers=a 1,b 2", "identifiers=c 3,d 4", True),
        ("identifiers=a 1", "identifiers=" + ",".join(f"a {n}" for n in range(51)), False),
        ("identifiers=" + ",".join(f"a {n}" for n in range(20)), "identifiers=" + ",".join(["a 1"] * 21), False),
        ("identifiers=a 1", "identifiers=a 1&identifiers=b 2", False),
        ("includedData=summaries,offers", "includedData=summaries,secrets", False),
        ("includedData=summaries,offers", "includedData=offers,summaries", True),
        ("pageSize=20", "pageSize=21", False),
        ("pageSize=20&details=true", "details=true&pageSize=20", True),
        ("createdAfter=2026-11-20T10:00:00Z", "createdAfter=2025-01-02T03:04:05Z", True),
    ],
)
def test_how_much_is_asked_for_counts(one: str, other: str, alike: bool) -> None:
    marks = {call_digest("GET", ITEMS, query, HEADERS, b"") for query in (one, other)}
    assert (len(marks) == 1) is alike


def test_a_list_that_is_too_long_does_not_hide_behind_a_good_one(tmp_path: Path, shared_dir: Path) -> None:
    court = Court(judges(shared_dir / "contracts"), tmp_path)
    court.begin("a test")
    for count in (1, 20, 21):
        asked = {"marketplaceIds": "A1", "identifiersType": "SKU", "identifiers": ",".join(["a 1"] * count)}
        court.sent(httpx.Request("GET", f"https://sp-api.test{ITEMS}", params=asked, headers=HEADERS), "amazon")
    ((breach, _),) = court.sit()
    assert (breach.rule, breach.why) == ("parameters", "identifiers: 21 values")
