"""`replay`: the shared stream through the whole product, as fast as it goes.

A system as `make up` starts it, on servers and in processes of its own; the vendors' quotas and delays run
CLOCK_FACTOR times faster than real, so that it is not they that are measured. Wall time to the last booking and to the
last confirmed push, memory of the worker that books (its process and the one it forks) when a tenth, a half and all of
the orders are booked, and the lag from a sale on one channel to the confirmed quantity on the other.
"""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.report import Report
from bench.servers import ROOT, Servers
from bench.stream import REAL, invoices, shared_dir
from bench.system import engine_of, environment_of, running_system
from core.db import fetch_one, scalar
from workers.keep import records

CLOCK_FACTOR = 600
GROWTH_MAX = 1.10
MARKS = (0.1, 0.5, 1.0)
INVENTED_INVOICES = 3000
COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> Report:
    """Replay once whatever `rounds` says: a run takes minutes, and is thousands of trials in itself."""
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as folder:
        file, origin = _file(Path(folder), size)
        with running_system() as home:
            watch = _Watch(home, _orders_in(file))
            said = _replay(home, file)
            watch.stop()
            lag = _lag(home)
    report = Report("replay", f"{said['orders']} orders, {said['order_lines']} lines ({origin}), clock x{CLOCK_FACTOR}")
    booked, pushed = said["seconds_to_last_booking"], said["seconds_to_last_confirmed_push"]
    report.add("wall time to the last booking", "s", [booked])
    report.add("wall time to the last confirmed push", "s", [pushed])
    report.add("lines booked a second beside everything else", "lines/s", [said["order_lines"] / booked])
    kept = {}
    for mark in MARKS:
        kept[mark] = report.add(f"memory of the booking worker at {mark:.0%}", "MB", [watch.memory(mark)])
    for name, value in lag.items():
        report.add(f"lag from sale to confirmed push, {name}", "s", [value])
    growth = report.add("growth of that memory from 10 % to 100 %", "times", [kept[1.0].value / kept[0.1].value])
    limit = report.add("growth allowed", "times", [GROWTH_MAX])
    report.compare("memory allowed against memory used", limit, growth, aim=1.0)
    return report


def _file(folder: Path, size: float) -> tuple[Path, str]:
    """The shared file, its first invoices, or an invented one of the same form."""
    shared = shared_dir() / REAL
    if not shared.is_file():
        return _invented(folder / "invented.csv", max(50, round(INVENTED_INVOICES * size))), "invented"
    if size >= 1:
        return shared, "the whole shared file"
    return _beginning(shared, folder / "beginning.csv", size), f"the first {size:.0%} of the shared file"


def _beginning(shared: Path, path: Path, size: float) -> Path:
    with gzip.open(shared, "rt", encoding="utf-8", newline="") as packed, path.open("w", newline="") as out:
        rows = list(csv.reader(packed))
        wanted = round(len({row[0] for row in rows[1:]}) * size)
        seen: set[str] = set()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(rows[0])
        for row in rows[1:]:
            seen.add(row[0])
            if len(seen) > wanted:
                break
            writer.writerow(row)
    return path


def _invented(path: Path, count: int) -> Path:
    with path.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for invoice in invoices(count)[1]:
            for line in invoice.lines:
                at = f"{line.at:%Y-%m-%d %H:%M:%S}"
                person = f"{line.customer}.0"
                writer.writerow(
                    (invoice.number, line.code, line.title, line.units, at, line.unit_price, person, "United Kingdom")
                )
    return path


def _orders_in(file: Path) -> int:
    from workers.retail_file import read_invoices  # the whole file is read only here

    return sum(invoice.kind == "order" for invoice in read_invoices(file))


def _replay(home: Path, file: Path) -> Mapping[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", "replay", str(file), "--clock-factor", str(CLOCK_FACTOR), "--json"],
        env=environment_of(home),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    said: Mapping[str, Any] = json.loads(done.stdout)
    return said


@dataclass
class _Watch:
    """Looks at the booking worker's memory twice a second while orders are being booked."""

    home: Path
    orders: int
    _seen: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Everything is booked."""
        self._stop.set()
        self._thread.join()

    def memory(self, mark: float) -> float:
        """The most that was used, in MB, while the last tenth before `mark` of the orders was booked."""
        return max(used for share, used in self._seen if mark - 0.1 <= share <= mark)

    def _look(self) -> None:
        engine = engine_of(self.home)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            while not self._stop.wait(0.25):
                booked = scalar(
                    conn, "select count(*) from orders o join shops s using (shop_id) where s.name = 'Online Retail'"
                )
                if booked:
                    self._seen.append((min(1.0, booked / self.orders), self._used()))
        engine.dispose()

    def _used(self) -> float:
        (kept,) = records(self.home / "run", "kept-events.pid")
        children = Path(f"/proc/{kept.pid}/task/{kept.pid}/children")
        pids = [kept.pid]
        with suppress(OSError):
            pids += [int(pid) for pid in children.read_text().split()]
        return sum(_resident_mb(pid) for pid in pids)


def _resident_mb(pid: int) -> float:
    """Memory that is the process's own share of what is resident: pages shared by a fork count once in all."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    return 0.0


def _lag(home: Path) -> dict[str, float]:
    """Seconds from a sale (the shop's clock, whole seconds) to the first confirmed write that was planned after it
    had been booked, over all lines whose listing on the other channel was written after it."""
    engine = engine_of(home)
    with engine.connect() as conn:
        row = fetch_one(
            conn,
            """
            select percentile_cont(0.5) within group (order by seconds) as median,
                percentile_cont(0.95) within group (order by seconds) as p95, max(seconds) as longest
            from (
                select extract(epoch from w.outcome_at - o.channel_created_at)::float8 as seconds
                from shops s
                join orders o on o.shop_id = s.shop_id
                join order_lines l on l.shop_id = o.shop_id and l.order_id = o.id and l.mapping = 'stocked'
                join listings p on p.shop_id = l.shop_id and p.sku_id = l.sku_id and p.connection_id <> o.connection_id
                cross join lateral (
                    select w.outcome_at from listing_writes w
                    where w.shop_id = p.shop_id and w.listing_id = p.id and w.outcome = 'confirmed'
                        and w.planned_at >= o.recorded_at
                    order by w.id limit 1
                ) w
                where s.name = 'Online Retail'
            ) lags
            """,
        )
    engine.dispose()
    assert row is not None
    return {"median": row["median"], "95th percentile": row["p95"], "longest": row["longest"]}
