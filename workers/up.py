"""The whole of Switchyard on one machine: everything in the Procfile, on servers of its own where none are configured.

`up` runs in the foreground until Ctrl-C, SIGTERM or `down` from elsewhere, and leaves nothing running behind: the
embedded PostgreSQL and Redis are stopped too, their data stays. While it runs, `run/state.json` in the home says
where everything is; that is how other commands find it.

Ports: those of a block that was asked for (SWITCHYARD_PORT_BASE) are used or, when taken, refused, because somebody
counts on them. Those of the default block move on to free ones and `up` says where.

After a kill -9 Linux ends the children with their parents. What is left nevertheless is known by its record in `run`,
a process number with its start time, and is ended by the next `up` or `down`; nothing else is ever signalled.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import honcho.manager
import honcho.process
from honcho.environ import parse_procfile

from core import embedded
from core.errors import SwitchyardError
from core.migrations import migrate
from core.processes import (
    LOOPBACK,
    ends_with_parent,
    free_port,
    port_is_free,
    process_started,
    write_private,
)
from workers.keep import PATIENCE_SECONDS, end_recorded, record

ROOT = Path(__file__).resolve().parent.parent
# Longer than a keeper's own patience, so that it is the keeper who decides about its children.
KILL_WAIT_SECONDS = 25
READY_SECONDS_MAX = 120
# Place in the block of ports, and what to ask to learn whether the process answers.
ADDRESSES = {
    "dashboard": (0, "/_stcore/health"),
    "api": (1, "/healthz"),
    "sandbox": (2, "/_control/health"),
}
POSTGRES_PLACE, REDIS_PLACE, METRICS_PLACE = 3, 4, 5


@dataclass(frozen=True)
class State:
    """A running instance. Carries passwords: the file is for its owner only."""

    pid: int
    started: str
    started_at: str
    ready: bool
    home: str
    addresses: dict[str, str]
    database_url: str
    migrate_url: str
    redis_url: str
    metrics_url: str = ""

    def environment(self) -> dict[str, str]:
        """The settings with which another command reaches this instance."""
        settings = {
            "SWITCHYARD_HOME": self.home,
            "DATABASE_URL": self.database_url,
            "DATABASE_MIGRATE_URL": self.migrate_url,
            "REDIS_URL": self.redis_url,
        }
        for name, address in self.addresses.items():
            settings[f"SWITCHYARD_{name.upper()}_URL"] = address
        return settings


def read_state(home: Path) -> State | None:
    """The instance running on this home; None when there is none, whatever a killed one left behind."""
    try:
        state = State(**json.loads((_run_folder(home) / "state.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return state if process_started(state.pid) == state.started else None


def up(
    home: Path,
    port_base: int = 8500,
    *,
    demo: bool = True,
    on_ready: Callable[[Mapping[str, str]], None] | None = None,
    fixed_ports: bool | None = None,
    procfile: Path = ROOT / "Procfile",
) -> int:
    """Run everything until told to stop. Returns the exit code: 0 after an orderly stop or if it is up already.

    `on_ready` is called with the addresses, by name, once all of them answer; whatever it raises stops everything.
    With `demo` false there is no sandbox. `fixed_ports` refuses taken ports; by default it is true when
    SWITCHYARD_PORT_BASE is set.
    """
    home = home.absolute()
    fixed = bool(os.environ.get("SWITCHYARD_PORT_BASE")) if fixed_ports is None else fixed_ports
    _stop_on_signals()
    try:
        with _claimed(home) as running:
            if running is not None:
                print(_already(running), flush=True)
                return 0
        try:
            lines = parse_procfile(procfile.read_text()).processes
            if not demo:
                lines.pop("sandbox", None)
            return _run(home, port_base, lines, fixed=fixed, on_ready=on_ready)
        finally:
            _ignore_signals()
            _clean(home)
    except SwitchyardError as error:
        print(error, file=sys.stderr)
        return 1
    except _Stopped:
        return 0


def down(home: Path) -> int:
    """Stop what runs on this home, the embedded servers included; data stays. Returns the exit code."""
    home = home.absolute()
    found = False
    if (state := read_state(home)) is not None:
        found = True
        _end_up(state)
    try:
        found = _clean(home) or found
    except SwitchyardError as error:
        print(error, file=sys.stderr)
        return 1
    print("Switchyard is stopped; its data stays." if found else "Nothing was running.")
    return 0


# Starting ------------------------------------------------------------------------------------------------------------


def _run(
    home: Path,
    base: int,
    lines: Mapping[str, str],
    *,
    fixed: bool,
    on_ready: Callable[[Mapping[str, str]], None] | None,
) -> int:
    _end_orphans(home)
    ports = {name: _port(name, base + ADDRESSES[name][0], fixed=fixed) for name in ADDRESSES if name in lines}
    metrics_port = _port("listener for metrics", base + METRICS_PLACE, fixed=fixed)
    servers = _servers(home, base)
    app_role = _app_role(servers)
    print("Bringing the database up to date ...", flush=True)
    migrate(servers.migrate_url, app_role)
    state = _write_state(home, ports, servers, metrics_port)
    manager = _Manager(lambda stopping: _announce(state, stopping, on_ready))
    environment = _environment(state, {**ports, "metrics": metrics_port})
    for name, command in lines.items():
        # exec: the shell makes way, so that the process we know is the one we mean.
        process = manager.add_process(name, f"exec {command}", env=environment, cwd=str(ROOT))
        process.run_folder = _run_folder(home)
    manager.loop()
    return manager.exit_code()


def _servers(home: Path, base: int) -> embedded.Servers:
    """The configured servers; for each that is not configured, our own."""
    database_url, redis_url = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
    migrate_url = os.environ.get("DATABASE_MIGRATE_URL") or database_url
    if database_url and redis_url:
        return embedded.Servers(database_url, migrate_url, redis_url)
    print("Starting the embedded servers ...", flush=True)
    own = embedded.start(
        home,
        postgres_port=base + POSTGRES_PLACE,
        redis_port=base + REDIS_PLACE,
        postgres=not database_url,
        redis_server=not redis_url,
    )
    return embedded.Servers(
        database_url or own.database_url, migrate_url or own.migrate_url, redis_url or own.redis_url
    )


def _app_role(servers: embedded.Servers) -> str | None:
    """The application's login if it is another than the owner's: migrations then grant it what it needs."""
    app, owner = (urlsplit(url).username for url in (servers.database_url, servers.migrate_url))
    return app if app != owner else None


def _port(name: str, wanted: int, *, fixed: bool) -> int:
    if port_is_free(wanted):
        return wanted
    if fixed:
        raise PortTaken(name, wanted)
    port = free_port(wanted)
    print(f"Port {wanted} is taken: the {name} listens on {port} instead.", flush=True)
    return port


class PortTaken(SwitchyardError):
    def __init__(self, name: str, port: int) -> None:
        super().__init__(f"Port {port}, meant for the {name}, is taken. Free it, or set another SWITCHYARD_PORT_BASE.")


def _environment(state: State, ports: Mapping[str, int]) -> dict[str, str]:
    environment = {**os.environ, **state.environment()}
    # The application's own processes never change tables: they do not learn the owner's password.
    environment.pop("DATABASE_MIGRATE_URL")
    for name, port in ports.items():
        environment[f"SWITCHYARD_{name.upper()}_PORT"] = str(port)
    environment["TZ"] = "UTC"
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # `python` in the Procfile is the one that runs us.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return environment


class _Process(honcho.process.Process):
    """A line of the Procfile; a helper process of its own reads its output."""

    run_folder: Path

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        helper_ends = ends_with_parent(signal.SIGTERM)
        self._child_ctor = lambda *arguments, **options: self._start_child(helper_ends, *arguments, **options)
        super().run(events, ignore_signals)

    def _start_child(self, preexec: Callable[[], None], command: str, **options: Any) -> honcho.process.Popen:
        child = honcho.process.Popen(command, preexec_fn=preexec, stdin=subprocess.DEVNULL, **options)
        record(self.run_folder, f"line-{self.name}", child.pid, command)
        return child


class _Manager(honcho.manager.Manager):
    """Honcho's manager, calling us once everything is started, and patient with children that are busy."""

    def __init__(self, watch: Callable[[threading.Event], bool]) -> None:
        super().__init__()
        self._process_ctor = _Process
        self._watch = watch
        self._stopping = threading.Event()
        self._asked_to_stop = False
        self._failed = False

    def loop(self) -> None:
        honcho.manager.KILL_WAIT = KILL_WAIT_SECONDS
        if sys.platform == "linux":
            # The helpers ask to die with their parent, which must therefore be this very process.
            multiprocessing.set_start_method("fork", force=True)
        super().loop()
        self._stopping.set()

    def _start(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        for name, entry in self._processes.items():
            helper = multiprocessing.Process(
                name=name, target=_run_helper, args=(entry["obj"], self.events, os.getpid())
            )
            entry["process"] = helper
            helper.start()
        # Only now: a process that forks should have no threads.
        threading.Thread(target=self._watch_over, name="readiness", daemon=True).start()

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._asked_to_stop = True
        self.terminate()

    def _watch_over(self) -> None:
        try:
            self._failed = not self._watch(self._stopping)
        except BaseException:  # noqa: BLE001  whatever it was, a thread that dies alone would leave us half up
            traceback.print_exc()
            self._failed = True
        if self._failed and not self._stopping.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    def terminate(self) -> None:
        self._stopping.set()
        # Honcho cannot end a process whose start it has not heard of yet; `_all_started` comes back to it.
        if honcho.manager.Manager._all_started(self):
            super().terminate()

    def _all_started(self) -> bool:
        started = bool(super()._all_started())
        if started and self._stopping.is_set():
            super().terminate()
        return started

    def exit_code(self) -> int:
        return 0 if self._asked_to_stop and not self._failed else 1


def _run_helper(process: _Process, events: Any, parent: int) -> None:
    """In the helper: a reader of output has no use without its manager, and would never end by itself."""
    ends_with_parent(signal.SIGKILL, parent=parent)()
    process.run(events, True)


# Readiness -----------------------------------------------------------------------------------------------------------


def _announce(state: State, stopping: threading.Event, on_ready: Callable[[Mapping[str, str]], None] | None) -> bool:
    """Wait until every address answers, do what was asked for then, and say so once."""
    for name, address in state.addresses.items():
        if not _wait_for(address + ADDRESSES[name][1], stopping):
            if not stopping.is_set():
                print(f"The {name} does not answer at {address}: see its lines above.", file=sys.stderr, flush=True)
            return stopping.is_set()
    if on_ready is not None:
        on_ready(state.addresses)
    ready = State(**{**asdict(state), "ready": True})
    write_private(_run_folder(Path(state.home)) / "state.json", _as_json(ready))
    print("\nSwitchyard is up.\n" + _table(ready), flush=True)
    return True


def _wait_for(url: str, stopping: threading.Event) -> bool:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline and not stopping.is_set():
        # OSError covers refused, reset and timed out; an HTTP error is an answer, but not the one we wait for.
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return True
        stopping.wait(0.2)
    return False


def _already(state: State) -> str:
    if not state.ready:
        return f"Switchyard is just being started by process {state.pid}."
    return "Switchyard is up already.\n" + _table(state)


def _table(state: State) -> str:
    addresses = {**state.addresses, **({"metrics": state.metrics_url} if state.metrics_url else {})}
    lines = [f"  {name:<10} {address}" for name, address in addresses.items()]
    home = os.path.relpath(state.home) if Path(state.home).is_relative_to(Path.cwd()) else state.home
    closing = f"Ctrl-C here, or `make down` anywhere, stops it. The data stays in {home}."
    return "\n" + "\n".join(lines) + f"\n\n{closing}\n"


# State and cleaning --------------------------------------------------------------------------------------------------


def _run_folder(home: Path) -> Path:
    return home.absolute() / "run"


@contextlib.contextmanager
def _claimed(home: Path) -> Iterator[State | None]:
    """Take the home for this process, or yield the instance that has it."""
    folder = _run_folder(embedded.open_home(home))
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "claim.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = read_state(home)
        if running is None:
            _write_state(home, {}, embedded.Servers("", "", ""))
        yield running


def _write_state(
    home: Path, ports: Mapping[str, int], servers: embedded.Servers, metrics_port: int | None = None
) -> State:
    state = State(
        pid=os.getpid(),
        started=process_started(os.getpid()) or "",
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ready=False,
        home=str(home),
        addresses={name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()},
        database_url=servers.database_url,
        migrate_url=servers.migrate_url,
        redis_url=servers.redis_url,
        metrics_url=f"http://{LOOPBACK}:{metrics_port}/metrics" if metrics_port else "",
    )
    write_private(_run_folder(home) / "state.json", _as_json(state))
    return state


def _as_json(state: State) -> str:
    return json.dumps(asdict(state), indent=2) + "\n"


def _end_up(state: State) -> None:
    """Ask a running `up` to stop; kill it if it cannot hear."""
    deadline = time.monotonic() + KILL_WAIT_SECONDS + 10
    with contextlib.suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
        while process_started(state.pid) == state.started:
            if time.monotonic() > deadline:
                os.kill(state.pid, signal.SIGKILL)
                return
            time.sleep(0.1)


def _end_orphans(home: Path) -> bool:
    """Keepers first, or they would start again whatever we end."""
    folder = _run_folder(home)
    keepers = end_recorded(folder, "line-*.pid", patience_seconds=PATIENCE_SECONDS + 2)
    return bool(keepers + end_recorded(folder, "kept-*.pid"))


def _clean(home: Path) -> bool:
    """End what is left of an instance. Returns whether there was anything."""
    found = _end_orphans(home)
    (_run_folder(home) / "state.json").unlink(missing_ok=True)
    return embedded.stop(home) or found


class _Stopped(BaseException):
    """A signal came before everything was started."""


def _stop_on_signals() -> None:
    def stop(_number: int, _frame: object) -> None:
        raise _Stopped

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def _ignore_signals() -> None:
    """While cleaning up: it takes a second, and half of it would be worse than none."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
