"""What a worker loads before it forks: its children's first call loads nothing, and nothing was opened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import json, os, sys
from core import bootstrap
from workers import registry

registry.load()
opened = len(os.listdir("/proc/self/fd"))
bootstrap.warm_up(reads_queues=sys.argv[1] == "queues")
still = len(os.listdir("/proc/self/fd"))
before = set(sys.modules)

import httpx
from core.adapters.amazon import queues
from core.adapters.http import make_http
with make_http() as client:
    try:
        client.get("http://127.0.0.1:9/")
    except httpx.TransportError:
        pass
if sys.argv[1] == "queues":
    client = queues._client_with(dict.fromkeys(queues.SECRETS, "none"), "us-east-1", "http://127.0.0.1:9")
    try:
        client.receive_message(QueueUrl="http://127.0.0.1:9/1/q")
    except Exception as error:
        assert "Could not connect" in str(error), error
print(json.dumps({"more": sorted(set(sys.modules) - before), "boto3": "boto3" in before, "opened": still - opened}))
"""


def said(which: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, which], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_who_reads_no_queues_has_all_of_a_call_and_no_boto3() -> None:
    found = said("calls")
    assert (found["boto3"], found["opened"]) == (False, 0)
    assert found["more"] == []


def test_who_reads_queues_has_all_of_a_look_into_one() -> None:
    found = said("queues")
    assert (found["boto3"], found["opened"]) == (True, 0)
    assert [name for name in found["more"] if name.startswith(("boto", "jmespath", "httpcore"))] == []  # type: ignore[attr-defined]
