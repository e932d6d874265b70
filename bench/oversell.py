"""`oversell`: whole selling hours on virtual time, under our planner, under baselines, and a bound that knows all.

One season is one SKU on three pooled channels for one hour (see `bench/seasons/demand.py` for what goes wrong in it).
Every policy meets the same seasons.

- ours: `pooled`, `adaptive`, `escrow`: bookings, exposure, planner and writes by the functions that production calls.
- baselines: a stateless workflow (on each notice, set the others; failures silent); the pool pushed as absolute
  numbers with retries; the same with three units kept back.
- bound: whole orders that stand, as many units as stock allows, known beforehand. No policy may ever sell more.
- ceiling: what nobody can expect to exceed who neither sees the future nor shows more than there is, even if moving
  units took no time: the best split before every order, for the demand as it is drawn.
- seasons of their own: large orders (sizes as in the shared stream), and a till that sells what lies beside it, cannot
  refuse and is offline for long; baselines let it sell from the common stock, ours never pool it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.report import Ratio, Report
from bench.seasons import bound
from bench.seasons.baselines import AbsolutePush, BufferedPush, StatelessWorkflow
from bench.seasons.demand import DEMAND_PER_STOCK, POOLED_CHANNELS, TWO_UNITS_PART, Kind, Season, make_season
from bench.seasons.figures import Row, Tally, row
from bench.seasons.ours import Ours
from bench.seasons.world import Policy, World

SEASONS = 10_000
STOCKS = (5, 40, 200)
SIDE_STOCKS = (40, 200)
SIDE_PART = 20
"""Seasons with large orders and with a till are one for so many of the others."""
OTHERS_PART = 5
"""Only `escrow` promises what many seasons are needed to doubt: the other policies play one in so many."""

OF_POOLED = {5: 0.92, 40: 0.999, 200: 0.9995}

PROMISED = "escrow"
POLICIES: dict[str, Callable[[Season], Policy]] = {
    "pooled": lambda season: Ours(season, "pooled"),
    "adaptive": lambda season: Ours(season, "adaptive"),
    "escrow": lambda season: Ours(season, "escrow"),
    "stateless_workflow": StatelessWorkflow,
    "absolute_push": AbsolutePush,
    "absolute_push_buffer_3": BufferedPush,
}


@dataclass(slots=True)
class SeasonReport(Report):
    """Figures with the rows of every policy, stock and kind of season."""

    rows: list[Row] = field(default_factory=list)
    bounds: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Everything, the rows first."""
        # Not super(): a slotted dataclass is made twice, and the first has no instances.
        return {
            "rows": [asdict(item) for item in self.rows],
            "bounds": self.bounds,
            **Report.as_json(self),
        }

    def failures(self) -> list[str]:
        """Policies of ours that broke what they promise."""
        return [
            f"{item.policy} at stock {item.stock} ({item.kind}): {item.violations} times exposure was not what it says"
            for item in self.rows
            if item.violations
        ]

    def draw(self, console: Console) -> None:
        """A table a kind of season, the bounds below, then the aims."""
        for kind in dict.fromkeys(item.kind for item in self.rows):
            console.print(_table(kind, [item for item in self.rows if item.kind == kind]))
        for item in self.bounds:
            console.print("  " + ", ".join(f"{name} {value}" for name, value in item.items()))
        self.draw_ratios(console)


def run(seasons: int = SEASONS, *, stocks: Sequence[int] = STOCKS, first_seed: int = 0) -> SeasonReport:
    """Play `seasons` hours at each stock in escrow, a part of them under the other policies and of the other kinds.

    Raises AssertionError where a policy sold more than the bound. Broken promises of ours are in `failures`.
    """
    report = SeasonReport("oversell", f"{seasons:,} seasons at each stock of {', '.join(map(str, stocks))}")
    side = max(1, seasons // SIDE_PART)
    plays: list[tuple[Kind, int, int]] = [("hour", stock, seasons) for stock in stocks]
    plays += [(kind, stock, side) for kind in ("large", "till") for stock in SIDE_STOCKS if stock in stocks]
    for kind, stock, number in plays:
        everybody = first_seed + (max(1, number // OTHERS_PART) if kind == "hour" else number)
        _play(report, kind, stock, range(first_seed, first_seed + number), everybody)
    for item in report.rows:
        if item.kind == "hour" and item.policy == PROMISED:
            name = f"escrow at stock {item.stock}"
            report.ratios.append(Ratio(f"{name}: sold, of the bound", item.of_bound, 0.95))
            report.ratios.append(Ratio(f"{name}: sold, of pooled", item.of_pooled, OF_POOLED.get(item.stock)))
    return report


def _play(report: SeasonReport, kind: Kind, stock: int, seeds: range, everybody: int) -> None:
    """One season of a kind and stock after the other; below the seed `everybody` all policies play it, then escrow."""
    tallies: dict[str, Tally] = {}
    split = upper = 0
    for seed in seeds:
        season = make_season(seed, stock, kind)
        most = bound.most(season)
        upper += most
        split += bound.best_split(season) if kind == "hour" and stock <= max(SIDE_STOCKS[0], 5) else 0
        for name, make in POLICIES.items():
            if name != PROMISED and seed >= everybody:
                continue
            tally = tallies.setdefault(name, Tally(season.stock + season.till_stock))
            began = time.perf_counter()
            result = World(season, make(season)).run()
            tally.add(result, most, time.perf_counter() - began)
    report.rows += [row(kind, name, tally, tallies["pooled"].sold) for name, tally in tallies.items()]
    everything = len(seeds) * tallies["pooled"].stock
    found: dict[str, Any] = {"kind": kind, "stock": stock, "bound_sell_through": round(upper / everything, 5)}
    if split:
        found["best_split_sell_through"] = round(split / everything, 5)
    if kind == "hour":
        traffic = [channel.traffic for channel in POOLED_CHANNELS]
        found["ceiling_sell_through"] = round(
            bound.ceiling(stock, round(stock * DEMAND_PER_STOCK), traffic, TWO_UNITS_PART) / stock, 5
        )
    report.bounds.append(found)


HEADS = (
    "policy", "stock", "seasons", "oversold", "per 1,000 sold (95 %)", "sold", "sell-through", "of bound", "of pooled",
    "large refused", "in stock", "writes", "ms",
)  # fmt: skip


def _table(kind: str, rows: Sequence[Row]) -> Table:
    table = Table(title=f"oversell, seasons of kind {kind!r}", title_justify="left")
    for head in HEADS:
        table.add_column(head, justify="left" if head == "policy" else "right", no_wrap=True)
    for item in rows:
        low, high = item.oversold_per_thousand_interval
        table.add_row(
            item.policy,
            str(item.stock),
            f"{item.seasons:,}",
            f"{item.oversold_units:,}",
            f"{item.oversold_per_thousand:.3f} ({low:.3f}-{high:.3f})",
            f"{item.sold:,}",
            f"{item.sell_through:.4f}",
            f"{item.of_bound:.4f}",
            f"{item.of_pooled:.4f}",
            f"{item.large_refused:,}/{item.large_orders:,}",
            f"{item.large_refused_in_stock:,}",
            f"{item.writes_per_season:.0f}",
            f"{item.ms_per_season:.1f}",
        )
    return table
