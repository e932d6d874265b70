"""`ingest`: deliveries a second through our webhook route, each committed before its answer, and their p99.

- floor: a bare route on the same server that only checks the HMAC and group-commits the raw insert (`bench.bare`).
- ours: the API as it is served.
- ours without Redis: the same while nothing listens where Redis should be; the doorbell must slow nobody.

64 connections, one server process; the load runs on the same two cores and costs every route the same.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from bench import shop as shops
from bench.load import Plan
from bench.report import Report
from bench.servers import ROOT, Servers
from bench.shop import CLIENT_SECRET, Shop
from bench.stream import DOMAIN, World
from core import embedded
from core.db import make_engine
from core.processes import free_port

CONNECTIONS = 64
SECONDS, WARM_UP = 5.0, 1.5
SIZES = (700, 8_900, 28_000)
AIM, AIM_WITHOUT_REDIS = 0.8, 0.95
# Nothing listens there.
CLOSED_PORT = 9
ROUTES = ("bare", "ours", "ours without Redis")


def run(servers: Servers, rounds: int, *, size: float = 1.0) -> Report:
    """Measure every route in turn, `rounds` times for each body size.

    `size` scales the seconds; below a half only the smallest body is sent.
    """
    sizes = SIZES if size >= 0.5 else SIZES[:1]
    report = Report("ingest", f"{CONNECTIONS} connections, bodies of {', '.join(f'{s:,}' for s in sizes)} bytes")
    for body_bytes in sizes:
        trials: dict[str, list[dict[str, float]]] = {route: [] for route in ROUTES}
        for _ in range(rounds):
            for route in ROUTES:
                trials[route].append(_measure(servers, route, body_bytes, max(1.0, SECONDS * size)))
        kept = {}
        for route, found in trials.items():
            name = f"{route}, {body_bytes:,} bytes"
            kept[route] = report.add(name, "deliveries/s", [trial["a_second"] for trial in found])
            report.add(f"{name}: p99", "ms", [trial["p99"] for trial in found])
        report.compare(f"ours against the bare route, {body_bytes:,} bytes", kept["ours"], kept["bare"], aim=AIM)
        report.compare(
            f"without Redis against with it, {body_bytes:,} bytes",
            kept["ours without Redis"],
            kept["ours"],
            aim=AIM_WITHOUT_REDIS,
        )
    return report


def _measure(servers: Servers, route: str, body_bytes: int, seconds: float) -> dict[str, float]:
    with servers.database() as database:
        engine = make_engine(database.url)
        shop = shops.connect(engine, World("nothing", "1", (), (), 0, 0), servers.secret_key)
        engine.dispose()
        with _serving(servers, database, shop, route) as port:
            found = _load(
                Plan(
                    host="127.0.0.1",
                    port=port,
                    path=f"/webhooks/shopify/{shop.shopify.id}",
                    domain=DOMAIN,
                    secret=CLIENT_SECRET,
                    body_bytes=body_bytes,
                    connections=CONNECTIONS,
                    seconds=seconds,
                    warm_up=WARM_UP,
                    prefix=str(uuid.uuid4()),
                )
            )
    answered = sum(found["statuses"].values())
    if found["statuses"] != {"200": answered}:
        raise AssertionError(f"{route} answered {found['statuses']}")
    return {"a_second": answered / found["seconds"], "p99": found["p99_ms"]}


@contextmanager
def _serving(servers: Servers, database: embedded.Database, shop: Shop, route: str) -> Iterator[int]:
    port = free_port(27_500)
    environment = {
        **servers.environment(database),
        "BENCH_SECRET": CLIENT_SECRET,
        "BENCH_SHOP": str(shop.shop_id),
        "BENCH_CONNECTION": str(shop.shopify.id),
        "BENCH_PORT": str(port),
    }
    if route == "ours without Redis":
        environment["REDIS_URL"] = f"redis://127.0.0.1:{CLOSED_PORT}/0"
    command = ["-m", "bench.bare"] if route == "bare" else ["-m", "api", "--port", str(port)]
    process = subprocess.Popen([sys.executable, *command], env=environment, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None:
                raise AssertionError("the server ended while starting") from None
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server did not start")


def _load(plan: Plan) -> Mapping[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(plan)),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found
