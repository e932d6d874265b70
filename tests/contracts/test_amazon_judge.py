"""The judge of Amazon finds each breach, and lets a good exchange pass."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.amazon import AmazonJudge
from tests.contracts.exchange import Exchange

HEADERS = {"x-amz-access-token": "t1", "user-agent": "Switchyard/0.1 (Language=Python/3.11; Platform=Linux)"}
ITEMS = "/amazon/listings/2021-08-01/items/S1"
READ = Exchange("GET", ITEMS, "marketplaceIds=A1&pageSize=20", HEADERS)
PATCH = {"productType": "PRODUCT", "patches": [{"op": "merge", "path": "/attributes/x", "value": [{"quantity": 1}]}]}
WRITE = Exchange("PATCH", f"{ITEMS}/A%20B", "marketplaceIds=A1", HEADERS, json.dumps(PATCH).encode())
NAMED = {"x-amzn-requestid": "r", "x-amzn-ratelimit-limit": "5"}
FILE = Exchange("PUT", "/put/here", "X-Amz-Date=20261126T000000Z&X-Amz-Signature=ab", {"content-type": "text/plain"})
LOGIN = Exchange("POST", "/auth/o2/token", body=b"grant_type=refresh_token&refresh_token=r&client_id=a&client_secret=b")


@pytest.fixture(scope="module")
def judge(shared_dir: Path) -> AmazonJudge:
    return AmazonJudge(shared_dir / "contracts")


def answered(exchange: Exchange, answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> Exchange:
    raw = json.dumps(answer).encode()
    named = NAMED if headers is None else headers
    return replace(exchange, status=status, answer=raw, answer_headers=named, is_sandbox=True)


FOUND = {"numberOfResults": 0, "items": []}
TAKEN = {"sku": "A B", "status": "ACCEPTED", "submissionId": "s"}
ERRORS = {"errors": [{"code": "QuotaExceeded", "message": "too many"}]}


@pytest.mark.parametrize(
    "exchange",
    [
        answered(READ, FOUND),
        answered(WRITE, TAKEN),
        answered(WRITE, ERRORS, 429, {"x-amzn-requestid": "r"}),
        answered(LOGIN, {"access_token": "a", "token_type": "bearer", "expires_in": 3600}),
        answered(LOGIN, {"error": "invalid_grant"}, 400),
        replace(READ, headers=HEADERS | {"user-agent": r"My\/App\(2\)/1.0 (Platform=a\;b; Language=Java/1.6; Host=x)"}),
        replace(FILE, status=200, is_sandbox=True),
        replace(FILE, method="GET", headers={}, status=403, answer=b"<Error><Code>A</Code></Error>", is_sandbox=True),
    ],
)
def test_what_keeps_every_rule_passes(judge: AmazonJudge, exchange: Exchange) -> None:
    assert judge.claims(exchange)
    assert list(judge.judge(exchange)) == []


@pytest.mark.parametrize(
    ("rule", "exchange"),
    [
        ("address", replace(READ, path="/amazon/listings/2020-01-01/items/S1")),
        ("address", replace(READ, method="DELETE")),
        ("token", replace(READ, headers={"user-agent": HEADERS["user-agent"]})),
        ("user_agent", replace(READ, headers=HEADERS | {"user-agent": "python-httpx/0.28"})),
        ("user_agent", replace(READ, headers=HEADERS | {"user-agent": "My/App/1.0 (Language=Python)"})),
        ("user_agent", replace(READ, headers=HEADERS | {"user-agent": r"My\App/1.0 (Language=Python)"})),
        ("user_agent", replace(READ, headers=HEADERS | {"user-agent": r"App/1.0 (Platform=Linux\; Language=Python)"})),
        ("user_agent", replace(READ, headers=HEADERS | {"user-agent": "App/1.0 (Language=Python (3))"})),
        ("parameters", replace(READ, query="")),
        ("parameters", replace(READ, query="marketplaceIds=A1&colour=red")),
        ("parameters", replace(READ, query="marketplaceIds=A1&pageSize=21")),
        ("parameters", replace(READ, query="marketplaceIds=A1&pageSize=many")),
        ("parameters", replace(READ, query="marketplaceIds=A1&includedData=secrets")),
        ("parameters", replace(READ, query=f"marketplaceIds=A1&identifiersType=SKU&identifiers={','.join('S' * 21)}")),
        ("body", replace(READ, body=b"{}")),
        ("body", replace(WRITE, body=b"")),
        ("body", replace(WRITE, body=json.dumps(PATCH | {"patches": []}).encode())),
        ("credentials", replace(FILE, headers=FILE.headers | {"x-amz-access-token": "t1"})),
        ("credentials", replace(FILE, headers=FILE.headers | {"authorization": "Bearer t1"})),
        ("content_type", replace(FILE, headers={})),
        ("address", replace(FILE, method="POST")),
        ("answer.data", replace(FILE, status=403, answer=b"no", is_sandbox=True)),
        ("grant", replace(LOGIN, body=b"grant_type=password")),
        ("grant", replace(LOGIN, body=b"grant_type=refresh_token&client_id=a&client_secret=b")),
        ("grant", replace(LOGIN, body=LOGIN.body + b"&scope=everything")),
        ("answer.status", answered(WRITE, ERRORS, 404)),
        ("answer.headers", answered(READ, FOUND, 200, {"x-amzn-ratelimit-limit": "5"})),
        ("answer.headers", answered(READ, FOUND, 200, {"x-amzn-requestid": "r"})),
        ("answer.data", answered(READ, {"items": []})),
        ("answer.data", answered(WRITE, TAKEN | {"status": "FINE"})),
        ("answer.data", answered(WRITE, {"error": "no"}, 400)),
        ("answer.login", answered(LOGIN, {"access_token": "a"})),
    ],
)
def test_what_breaks_a_rule_breaks_that_one(judge: AmazonJudge, rule: str, exchange: Exchange) -> None:
    assert judge.claims(exchange)
    assert {breach.rule for breach in judge.judge(exchange)} == {rule}


def test_only_good_answers_of_the_sandbox_count_as_exercise(judge: AmazonJudge) -> None:
    assert list(judge.exercised(answered(WRITE, TAKEN))) == ["patchListingsItem"]
    assert list(judge.exercised(answered(WRITE, ERRORS, 429))) == []
    assert list(judge.exercised(replace(answered(WRITE, TAKEN), is_sandbox=False))) == []
