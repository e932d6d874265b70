"""The processes of a running system: which they are, how they are struck, and who starts the servers again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core import embedded
from core.processes import process_started
from tests.functional.systems import ROOT, System
from workers.keep import records
from workers.up import POSTGRES_PLACE, REDIS_PLACE

ESTABLISHED = "01"


class Victims:
    """What can be struck. Process numbers come from the keepers' records and the process tree, never from names."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._home = system.home
        self._extra: list[subprocess.Popen[bytes]] = []

    def kept(self, name: str) -> int | None:
        """The living process that a keeper keeps under this name."""
        for found in records(self._home / "run", f"kept-{name}.pid"):
            if found.alive():
                return found.pid
        return None

    def kill(self, pid: int) -> bool:
        """SIGKILL; whether it was alive."""
        was_alive = process_started(pid) is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return was_alive

    def kill_worker(self, pid: int, *, worker_first: bool) -> list[int]:
        """SIGKILL to a worker and all that it started; returns whom it hit."""
        others = children(pid)
        order = [pid, *others] if worker_first else [*others, pid]
        return [victim for victim in order if self.kill(victim)]

    def spawn(self, *words: str) -> int:
        """One more process of the product, with the settings of the others."""
        state = self.system.state()
        environment = {**self.system.environment, **state.environment(), "TZ": "UTC", "PYTHONPATH": str(ROOT)}
        environment.pop("DATABASE_MIGRATE_URL")
        with (self._home / "extra-output").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *words], cwd=ROOT, env=environment, stdout=output, stderr=output
            )
        self._extra.append(process)
        return process.pid

    def end_spawned(self, pid: int | None = None) -> None:
        """End what `spawn` started, or one of them."""
        chosen = [process for process in self._extra if pid in (None, process.pid)]
        for process in chosen:
            for victim in (*children(process.pid), process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGTERM if victim == process.pid else signal.SIGKILL)
        for process in chosen:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
            if process.poll() is None:
                process.kill()
                process.wait()
            self._extra.remove(process)

    def client(self) -> redis.Redis:
        """The system's Redis, asked once and without patience."""
        return redis.Redis.from_url(
            self.system.state().redis_url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )

    def server(self, name: str) -> int:
        """Process of the embedded `postgres` or `redis`."""
        pid = embedded.status(self._home)[name].pid
        assert pid is not None, f"{name} does not run"
        return pid

    def start_again(self, name: str) -> None:
        """What a service manager does for a server that died: the same server on the same port."""
        base = self.system.base
        before = self.system.ports()
        found = embedded.start(
            self._home,
            postgres_port=base + POSTGRES_PLACE,
            redis_port=base + REDIS_PLACE,
            postgres=name == "postgres",
            redis_server=name == "redis",
        )
        url = found.database_url if name == "postgres" else found.redis_url
        assert any(f":{port}/" in url for port in before), f"{name} came back elsewhere"

    def wait_gone(self, pid: int) -> None:
        """Until a killed process has ended."""
        deadline = time.monotonic() + 10
        while process_started(pid) is not None:
            assert time.monotonic() < deadline, f"process {pid} does not end"
            time.sleep(0.01)


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(word) for word in words]


def owner_of_port(port: int, among: list[int]) -> int | None:
    """Which of these processes has the connection that begins at a port of this machine."""
    wanted = f"{port:04X}"
    sockets = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].rpartition(":")[2] == wanted and fields[3] == ESTABLISHED:
            sockets.add(f"socket:[{fields[9]}]")
    for pid in among:
        with contextlib.suppress(OSError):
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(handle) in sockets:
                        return pid
    return None
