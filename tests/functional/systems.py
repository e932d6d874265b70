"""A whole real system as a newcomer starts it: `up` in a home of its own, on a block of free ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import Engine, create_engine

from core import embedded
from core.processes import port_is_free, process_started
from tests.ports import claim_block
from workers.up import State, read_state

ROOT = Path(__file__).resolve().parents[2]
UP_SECONDS = 240
DOWN_SECONDS = 60
NOT_OURS = ("DATABASE_URL", "DATABASE_MIGRATE_URL", "REDIS_URL", "SWITCHYARD_SECRET_KEYS")


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """The first true value; the deadline is only there so that a broken run ends."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.1)
    return found


class System:
    """One instance: its home outlives its processes, so it can be started again."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="switchyard-tests-"))
        # Open to pass through: when root runs the tests another account runs the servers.
        self.home.chmod(0o711)
        (self.home / "runner.json").write_text(json.dumps([os.getpid(), process_started(os.getpid())]))
        self.base = claim_block()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        own = {"SWITCHYARD_HOME": str(self.home), "SWITCHYARD_PORT_BASE": str(self.base)}
        return {**inherited, **own, "SWITCHYARD_OPERATOR": "a tester"}

    def begin(self, *options: str) -> subprocess.Popen[bytes]:
        """Run `up` in a group of its own."""
        with (self.home / "output").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "workers.cli", "up", *options],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def start(self, *options: str) -> System:
        """Run `up` and wait until it says that everything is up."""
        said_before = self.said().count("Switchyard is up.")
        self.process = self.begin(*options)

        def is_up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"up ended by itself:\n{self.said()[-3000:]}"
            return self.said().count("Switchyard is up.") > said_before

        wait_until(is_up, "it says that it is up", UP_SECONDS)
        return self

    def stop(self) -> None:
        """Ctrl-C: it ends with 0 and leaves nothing running."""
        assert self.process is not None
        ports = self.ports()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(DOWN_SECONDS) == 0, self.said()[-3000:]
        assert self.processes() == {}
        assert [port for port in ports if not port_is_free(port)] == []
        assert read_state(self.home) is None

    def kill(self) -> None:
        """What an impatient person or a full machine does: the whole group at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def erase(self) -> None:
        """End whatever is left, however the test ended, and remove the home."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if self.processes():
            self.cli("down", check=False)
        embedded.erase(self.home)
        subprocess.run(["rm", "-rf", str(self.home)], check=False)

    def said(self) -> str:
        with suppress(OSError):
            return (self.home / "output").read_text(errors="replace")
        return ""

    def state(self) -> State:
        found = read_state(self.home)
        assert found is not None
        return found

    def ports(self) -> list[int]:
        """Everything that it listens on."""
        state = self.state()
        urls = [*state.addresses.values(), state.database_url, state.redis_url]
        return [port for url in urls if (port := urlsplit(url).port) is not None]

    def processes(self) -> dict[int, str]:
        """Command lines of everything on this machine that knows the home; on Linux only."""
        found = {}
        name = str(self.home).encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command, knows = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
                if (name in command or name in knows) and process_started(int(folder.name)):
                    found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        return found

    def cli(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Another command of the operator, in another shell."""
        done = subprocess.run(
            [sys.executable, "-m", "workers.cli", *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done

    def cli_json(self, *words: str) -> Any:
        return json.loads(self.cli(*words, "--json").stdout)

    @property
    def sandbox_url(self) -> str:
        return self.state().addresses["sandbox"]

    @property
    def database_url(self) -> str:
        return self.state().database_url

    def engine(self) -> Engine:
        return create_engine(self.database_url)

    def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What people do in the outside world; a GET without a body."""
        url = f"{self.sandbox_url}/_control{path}"
        answer = httpx.get(url, timeout=60) if body is None else httpx.post(url, json=body, timeout=120)
        return answer.raise_for_status().json()
