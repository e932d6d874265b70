"""The vendor's own examples: the sandbox takes those of requests, and answers as those of answers are laid out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.klaviyo import KlaviyoJudge
from tests.contracts.samples import missing
from tests.sandbox.klaviyo_side import KlaviyoSide
from tests.sandbox.outside import Inside

ITEM, VARIANT, CATEGORY = "SAMPLE-DATA-ITEM-1", "SAMPLE-DATA-ITEM-1-VARIANT-MEDIUM", "SAMPLE-DATA-CATEGORY-APPAREL"
# Hints for programs that read along, which nobody here gives.
OPTIONAL = {"$.meta", "$.links.prev", "$.links.next", "$.data.relationships.items.data"}


@pytest.fixture
def samples(shared_dir: Path) -> Path:
    return shared_dir / "contracts/klaviyo/samples"


@pytest.fixture
def side(tmp_path: Path) -> Any:
    world = Inside(tmp_path)
    yield KlaviyoSide(world)
    world.stop()


def read(samples: Path, name: str) -> Any:
    return json.loads((samples / f"{name}.json").read_text())


def lacking(sample: Any, ours: Any) -> set[str]:
    return {f"${problem}" for problem in missing(sample, ours)} - OPTIONAL


def test_jobs_of_the_examples_run_from_one_end_to_the_other(side: KlaviyoSide, samples: Path) -> None:
    side.control("edits", edits=[{"kind": "category", "verb": "create", "id": CATEGORY, "attributes": {"name": "A"}}])
    for kind, verb in (
        ("item", "create"),
        ("variant", "create"),
        ("item", "update"),
        ("variant", "update"),
        ("item", "delete"),
    ):
        body = read(samples, f"bulk_{verb}_{kind}s_job_request")
        started = side.call("POST", f"catalog-{kind}-bulk-{verb}-jobs", body)
        assert started.status_code == 202, started.text
        if (kind, verb) == ("item", "create"):
            assert not lacking(read(samples, "bulk_create_items_job_202"), started.json())
        side.clock.advance(10)
        path = f"catalog-{kind}-bulk-{verb}-jobs/{started.json()['data']['id']}"
        ended = side.got(path, **({} if verb == "delete" else {"include": f"{kind}s"}))
        assert (ended["data"]["attributes"]["status"], ended["data"]["attributes"]["errors"]) == ("complete", [])
        if (kind, verb) == ("item", "create"):
            sample = read(samples, "bulk_create_items_job_get_200")
            # Which variants an item has is told where they are included.
            del sample["included"][0]["relationships"]["variants"]["data"]
            assert not lacking(sample, ended)
        if (kind, verb) == ("variant", "update"):
            page = side.got("catalog-items", include="variants")
            assert not lacking(read(samples, "get_catalog_items_200"), page)
    assert side.catalogue()["items"] == side.catalogue()["variants"] == {}


def test_events_of_the_examples_are_taken(side: KlaviyoSide, samples: Path) -> None:
    for name, path in (("create_event_request", "events"), ("bulk_create_events_request", "event-bulk-create-jobs")):
        answer = side.call("POST", path, read(samples, name))
        assert answer.status_code == 202, answer.text


def test_a_refusal_is_laid_out_as_the_example(side: KlaviyoSide, samples: Path) -> None:
    for _ in range(2):
        answer = side.call("GET", "accounts")
    assert answer.status_code == 429
    assert not missing(read(samples, "constructed_error_429"), answer.json())


@pytest.mark.breaks_contract("body", "content_type")
def test_every_operation_asks_for_the_scopes_of_the_document(side: KlaviyoSide, shared_dir: Path) -> None:
    """A call with a key that may nothing tells which it lacks."""
    judge = KlaviyoJudge(shared_dir / "contracts")
    headers = side.headers_for(side.control("keys", name="nothing", scopes=[])["key"])
    for name, rule in judge.rules["operations"].items():
        path = rule["path"].removeprefix("/api/").replace("{id}", "%24custom%3A%3A%3A%24default%3A%3A%3A1")
        answer = side.call(rule["method"], path.replace("{job_id}", "1"), headers=headers)
        assert answer.status_code == 403, name
        assert answer.json()["errors"][0]["detail"].endswith(f"scopes {', '.join(sorted(rule['scopes']))}.")
