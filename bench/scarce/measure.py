"""`scarce`: the shared stream with less than there is of everything, through the whole product and a world of faults.

A system as `make up` starts it, on servers and in processes of its own. Figures are counts, not speeds: what shoppers
got of what somebody could have sold who knew every order in advance, and what was sold that was not there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench.report import Report
from bench.scarce.outcome import Outcome
from bench.scarce.play import CLOCK_FACTOR, Options, play
from bench.scarce.stream import STOCK_PART, Stream, make_stream
from bench.servers import ROOT, Servers
from bench.stream import REAL, shared_dir
from bench.stream import invoices as invented
from bench.system import environment_of, running_system
from core.bootstrap import make_application
from core.config import Settings
from core.inventory.planner import MODES, Mode
from workers.retail_file import read_invoices
from workers.world import Control

SHARE_AIM = 0.95
INVENTED_INVOICES = 3000
BASKETS_PER_SECOND = 12.0
AUDITS_MAX, AUDIT_PAUSE_SECONDS = 5, 3.0
WATCH_LISTINGS_PER_SECOND = 5000
"""Looking is work too: with many goods the truth is looked at less often."""


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> Report:
    """Play once whatever `rounds` says: a run takes many minutes, and is thousands of trials in itself."""
    outcomes, audit, origin = measure(size, None, BASKETS_PER_SECOND, ["escrow"])
    return report_of(outcomes[0], audit, origin)


def measure(
    size: float, goods: int | None, per_second: float, modes: Sequence[Mode], *, has_faults: bool = True
) -> tuple[list[Outcome], dict[str, Any], str]:
    """Play the first `size` of the stream's orders on a system of its own; returns what came of it, and the audit."""
    file = shared_dir() / REAL
    found = read_invoices(file) if file.is_file() else invented(INVENTED_INVOICES)[1]
    orders = sum(invoice.kind == "order" for invoice in found)
    stream = make_stream(found, max(1, round(orders * size)), goods)
    with running_system() as home:
        outcomes = _play(home, stream, modes, Options(per_second, has_faults, _watch_seconds(stream)))
        for each in outcomes:
            words = f"{each.mode}: {each.share_of_bound:.4f} of the bound, {each.oversold_units} units oversold"
            _say(f"accepted in {words}", 1, 1)
        return outcomes, _audit(home), "the shared file" if file.is_file() else "invented"


def _watch_seconds(stream: Stream) -> float:
    return max(1.0, 3 * len(stream.goods) / WATCH_LISTINGS_PER_SECOND)


def _play(home: Path, stream: Stream, modes: Sequence[Mode], options: Options) -> list[Outcome]:
    settings = Settings.from_environment(environment_of(home))
    app = make_application(settings, name="bench")
    try:
        return play(app, Control(settings.sandbox_url), stream, modes, options, _say)
    finally:
        app.engine.dispose()
        app.queue.close()


def _audit(home: Path) -> dict[str, Any]:
    """The command's verdict; a poll may put known orders into the inbox at any moment, so it may take another look."""
    for _ in range(AUDITS_MAX):
        done = subprocess.run(
            [sys.executable, "-m", "workers.cli", "audit", "--settled", "--json"],
            env=environment_of(home),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=False,
        )
        said = verdict_of(done.stdout, done.returncode)
        if said["clean"]:
            break
        time.sleep(AUDIT_PAUSE_SECONDS)
    return said


def verdict_of(said: bytes, status: int) -> dict[str, Any]:
    """What an audit said; one that broke off is not clean, and what was played is not lost with it."""
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        return {"clean": False, "checks": [{"name": "the audit ends", "rows": [{"exit_status": status}]}]}
    return found


def _say(step: str, done: int, total: int | None) -> None:
    if sys.stderr.isatty() or os.environ.get("BENCH_SAYS"):
        print(f"{step}: {done}" + (f" of {total}" if total is not None else ""), file=sys.stderr, flush=True)


def report_of(outcome: Outcome, audit: dict[str, Any], origin: str) -> Report:
    """The figures of a play."""
    broken = [check["name"] for check in audit["checks"] if check["rows"]]
    report = Report(
        "scarce",
        f"{outcome.lines} lines of {outcome.baskets} baskets, {outcome.goods} goods ({origin}), stock {STOCK_PART:.0%} "
        f"of what is wanted, {outcome.mode}, clock x{CLOCK_FACTOR:.0f}",
    )
    for name, count in (("accepted", outcome.accepted_lines), ("refused", outcome.refused_lines)):
        report.add(f"lines {name}", "lines", [count])
    report.add("units refused that the channels had together", "units", [outcome.refused_for_the_split_units])
    report.add("units oversold", "units", [outcome.oversold_units])
    for channel, units in sorted(outcome.sold_by_channel.items()):
        report.add(f"units sold by {channel}", "units", [units])
    report.add("looks at a listing", "looks", [outcome.watched.listings])
    report.add("looks that found less exposed than could be sold", "looks", [outcome.watched.too_low])
    report.add("pools seen with more exposed than available", "pools", [outcome.watched.overdrawn])
    report.add("invariants broken", "checks", [len(broken)], note=", ".join(broken))
    accepted = report.add("units accepted", "units", [outcome.accepted_units])
    bound = report.add("units somebody could sell who knew every order", "units", [outcome.bound_units])
    report.compare("accepted against the bound", accepted, bound, aim=SHARE_AIM)
    return report


@click.command()
@click.option("--size", default=1.0, show_default=True, help="How much of the stream's orders, from its beginning.")
@click.option("--goods", type=int, help="Only the goods ordered most often, so many; the others are plenty.")
@click.option("--per-second", default=BASKETS_PER_SECOND, show_default=True, help="Shoppers a second.")
@click.option(
    "--mode",
    "modes",
    type=click.Choice(MODES),
    multiple=True,
    default=("escrow",),
    show_default=True,
    help="How pools are shared; given more than once, side by side.",
)
@click.option("--faults/--no-faults", default=True, show_default=True, help="Whether the outside world misbehaves.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, the table on standard error.")
def main(
    size: float, goods: int | None, per_second: float, modes: tuple[Mode, ...], faults: bool, as_json: bool
) -> None:
    """Let the stream's shoppers want more than there is, and count what they got."""
    outcomes, audit, origin = measure(size, goods, per_second, modes, has_faults=faults)
    for outcome in outcomes:
        report_of(outcome, audit, origin).draw(Console(stderr=as_json, width=150))
    if as_json:
        plays = [outcome.as_json() for outcome in outcomes]
        click.echo(json.dumps({"plays": plays, "audit": audit}, indent=2, default=str))
