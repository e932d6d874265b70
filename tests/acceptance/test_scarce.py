"""The whole system while shoppers want more than there is, in escrow, and the outside world misbehaves.

The beginning of the shared stream, as far as it is about the goods ordered most often, over two shops; a third channel,
whose orders nobody reads, has to be taken to 0 and must sell nothing. One play, judged from all sides.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.scarce.play import FAULTS, Options, Outcome, play
from bench.scarce.stream import Stream, make_stream
from bench.stream import REAL
from core.bootstrap import make_application
from core.config import Settings
from tests.functional.systems import System, wait_until
from workers.retail_file import read_invoices
from workers.world import Control, quiet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]

ORDERS, GOODS = 900, 4
BASKETS_PER_SECOND = 6.0
SHARE_OF_BOUND = 0.95


@dataclass(frozen=True, slots=True)
class Played:
    """A play, and the audit after it."""

    stream: Stream
    outcome: Outcome
    audit: dict[str, Any]


@pytest.fixture(scope="module")
def played(shared_dir: Path) -> Iterator[Played]:
    stream = make_stream(read_invoices(shared_dir / REAL), ORDERS, GOODS)
    system = System()
    try:
        system.start()
        settings = Settings.from_environment({**os.environ, **system.state().environment()})
        app = make_application(settings, name="acceptance")
        outcome = play(app, Control(settings.sandbox_url), stream, Options(BASKETS_PER_SECOND), quiet)
        app.engine.dispose()
        app.queue.close()
        print(outcome.as_json())
        yield Played(stream, outcome, _audited(system))
        system.stop()
    finally:
        system.erase()


def _audited(system: System) -> dict[str, Any]:
    """A poll may put known orders into the inbox at any moment, so it may take more than one look."""
    said: dict[str, Any] = {}

    def is_clean() -> bool:
        said.update(json.loads(system.cli("audit", "--settled", "--json", check=False).stdout))
        return bool(said["clean"])

    with contextlib.suppress(AssertionError):
        wait_until(is_clean, "the audit is clean", 30)
    return said


def test_every_line_is_accepted_or_refused_and_what_is_accepted_is_booked(played: Played) -> None:
    outcome = played.outcome
    assert outcome.lines > 300
    assert outcome.accepted_lines + outcome.refused_lines == played.stream.lines == outcome.lines
    assert outcome.accepted_units + outcome.refused_units == played.stream.units == outcome.units
    assert (outcome.booked_lines, outcome.booked_units) == (outcome.accepted_lines, outcome.accepted_units)
    assert outcome.booked_otherwise == 0
    # There was too little, and not everybody could be served.
    assert outcome.opening_units < 0.61 * outcome.units
    assert outcome.refused_units > 0.3 * outcome.units


def test_nothing_is_oversold(played: Played) -> None:
    outcome = played.outcome
    assert (outcome.oversold_units, outcome.goods_oversold) == (0, 0)
    assert outcome.opening_units - outcome.accepted_units == outcome.left_available_units
    assert outcome.left_shown_units <= outcome.left_available_units


def test_nearly_as_much_is_sold_as_by_somebody_who_knows_every_order(played: Played) -> None:
    outcome = played.outcome
    assert outcome.bound_units <= outcome.opening_units
    assert outcome.share_of_bound >= SHARE_OF_BOUND, outcome.as_json()


def test_a_channel_whose_orders_are_not_read_sells_nothing(played: Played) -> None:
    assert played.outcome.amazon_asked > 10
    assert played.outcome.amazon_sold == 0
    assert played.outcome.watched.amazon_units_max == 0


def test_what_is_said_to_be_exposed_was_never_less_than_what_could_be_sold(played: Played) -> None:
    seen = played.outcome.watched
    assert seen.samples > 20
    assert seen.listings == seen.samples * 3 * GOODS
    assert seen.too_low == 0, seen.words


def test_every_fault_struck(played: Played) -> None:
    """Of those that strike calls some may miss in a play as short as this: together they must not."""
    hits = played.outcome.faults
    assert set(hits) == {kind for kind, *_ in FAULTS}
    assert min(hits[kind] for kind in hits if kind.endswith("_delivery")) > 0
    assert sum(hits[kind] for kind in hits if not kind.endswith("_delivery")) > 10


def test_the_audit_is_clean(played: Played) -> None:
    broken = [check for check in played.audit["checks"] if check["rows"]]
    assert played.audit["clean"], broken
