"""Every operation of Klaviyo's that the adapter asks for, sent by the adapter's own client to a sandbox account.

The recorder holds each request and each answer against the vendor's document.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.http import ApiCall
from core.adapters.klaviyo import KlaviyoTarget
from core.adapters.klaviyo.operations import OPERATIONS
from core.catalogue_target import (
    KINDS,
    CategoryContent,
    Content,
    ItemContent,
    Kind,
    TargetEntry,
    VariantContent,
    Verb,
)
from tests.sandbox.klaviyo_side import KlaviyoSide
from tests.sandbox.outside import Inside

ITEM = ItemContent("Mug", "Holds tea", "https://a.test/mug", Decimal("4.00"), (), True, {"vendor": "P"}, ("1",))
CONTENTS: dict[Kind, Content] = {
    "category": CategoryContent("Home > Mugs"),
    "item": ITEM,
    "variant": VariantContent(
        "Mug – S", "Holds tea", "https://a.test/mug", "MUG-S", 3, True, Decimal("4.5"), ("https://a.test/i",), True,
        {"Size": "S"}, "1",
    ),
}  # fmt: skip


@dataclass
class Asking:
    side: KlaviyoSide
    target: KlaviyoTarget
    calls: list[ApiCall]

    def run(self, kind: Kind, verb: Verb) -> None:
        """A job, listed while it is under way and read when it is over."""
        entry = TargetEntry("1", None if verb == "delete" else CONTENTS[kind])
        sent = self.target.submit(kind, verb, [entry])
        assert (sent.outcome, sent.detail) == ("submitted", None)
        assert sent.ref is not None
        assert sent.ref in self.target.unfinished(kind, verb)
        if verb != "delete":
            assert self.target.job_names(kind, verb, sent.ref) == {"1"}
        self.side.clock.advance(10)
        job = self.target.job(kind, verb, sent.ref)
        assert job is not None
        assert (job.state, job.failed, job.total) == ("complete", 0, 1)
        since = datetime.fromtimestamp(self.side.clock.wall() - 100, UTC)
        assert sent.ref in [one.ref for one in self.target.jobs_since(kind, verb, since)]
        assert self.target.job(kind, verb, "01NOSUCHJOB") is None


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    world = Inside(tmp_path)
    side, calls = KlaviyoSide(world), list[ApiCall]()
    secrets = {"private_key": side.entry["private_key"]}
    config = ConnectionConfig(1, 1, "klaviyo", f"{world.url}/klaviyo", side.public_key, "GBP", {}, secrets)
    clock = side.clock
    deps = Deps(
        calls.append, None, world.world, lambda: datetime.fromtimestamp(clock.wall(), UTC), clock.advance,
        clock=clock.now,
    )  # fmt: skip
    yield Asking(side, KlaviyoTarget(config, deps), calls)
    world.stop()


def test_every_operation_is_answered_and_what_was_told_is_read_again(asking: Asking) -> None:
    about = asking.target.about()
    assert (about.ref, about.currency) == (asking.side.public_key, "GBP")
    for kind in KINDS:
        asking.run(kind, "create")
        asking.run(kind, "update")
        (held,) = asking.target.records(kind, ["1", "2"])
        told = CONTENTS[kind]
        if isinstance(told, ItemContent):
            told = ItemContent(*(getattr(told, name) for name in told.__slots__[:-1]))
        if isinstance(told, VariantContent):
            told = VariantContent(*(getattr(told, name) for name in told.__slots__[:-1]))
        assert (held.external_id, held.content) == ("1", told)
        page = asking.target.page(kind, None)
        assert ([one.external_id for one in page.records], page.next) == (["1"], None)
    for kind in reversed(KINDS):
        asking.run(kind, "delete")
    assert {call.operation for call in asking.calls} == OPERATIONS.keys()
    assert not [call for call in asking.calls if call.outcome == "throttled"]
