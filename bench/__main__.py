"""`python -m bench [NAME ...]`: measure, print a table, and with --json the figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import click
from rich.console import Console

from bench import (
    apply,
    backlog,
    catalogue,
    hot_sku,
    imports,
    ingest,
    ledger,
    oversell,
    plan,
    propagate,
    quota,
    reconcile,
    replay,
    servers,
)
from bench.report import Report
from bench.scarce import measure as scarce

BENCHES: dict[str, Callable[..., Report]] = {
    "ingest": ingest.run,
    "apply": apply.run,
    "plan": plan.run,
    "replay": replay.run,
    "hot_sku": hot_sku.run,
    "scarce": scarce.run,
    "quota": quota.run,
    "catalogue": catalogue.run,
    "propagate": propagate.run,
    "backlog": backlog.run,
    "reconcile": reconcile.run,
    "ledger": ledger.run,
    "import": imports.run,
}
QUOTA = "quota"
OVERSELL = "oversell"
"""Needs no servers: its time is virtual."""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*BENCHES, OVERSELL]))
@click.option("--rounds", default=3, show_default=True, help="How often each figure is measured; the median counts.")
@click.option("--size", default=1.0, show_default=True, help="Scales what is measured with; 1 is what results show.")
@click.option("--seasons", default=oversell.SEASONS, show_default=True, help="Of oversell, at each stock.")
@click.option("--vendor", type=click.Choice(quota.VENDORS), help="Of quota; both by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output, the table on standard error.")
def main(names: tuple[str, ...], rounds: int, size: float, seasons: int, vendor: str | None, as_json: bool) -> None:
    """Measure our figures beside floors and baselines of the same run."""
    console = Console(stderr=as_json, width=150)
    reports, failures = [], []
    for name in names or (*BENCHES, OVERSELL):
        report: Report
        if name == OVERSELL:
            report = oversell.run(seasons)
        else:
            with servers.running() as running:
                more = {"vendors": (vendor,)} if vendor is not None and name == QUOTA else {}
                report = BENCHES[name](running, rounds, size=size, **more)
        report.draw(console)
        reports.append(report.as_json())
        failures += report.failures()
    if as_json:
        click.echo(json.dumps(reports, indent=2))
    if failures:
        raise click.ClickException("; ".join(failures))


if __name__ == "__main__":
    main()
