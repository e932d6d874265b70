"""The keeper: starts processes, starts them again when they end, and takes them along when it is told to end.

    python -m workers.keep                        one worker, or as many as the table says, for every queue
    python -m workers.keep --one scheduler        keeps `python -m workers.scheduler`
    python -m workers.keep --one api -- COMMAND   keeps any other command

RQ's workers quit when Redis goes away in the middle of a job; somebody has to start them again. They are copies of
their keeper, which has loaded what they need once: each would need a second of CPU and 90 MB of its own for that, and
one that was killed would be away for so much longer.

Nothing outlives its keeper. SIGTERM and SIGINT are passed on; what has not ended after `PATIENCE_SECONDS` is killed.
Should the keeper itself be killed, Linux ends its children with SIGTERM. Other systems know no such thing: there a
child finds the keeper's number in SWITCHYARD_KEEPER_PID and may ask `keeper_is_gone()` now and then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from core import logs
from core.errors import SwitchyardError
from core.processes import ends_with_parent, process_started, write_private

log = logging.getLogger("keeper")

PAUSE_SECONDS_MIN = 0.5
PAUSE_SECONDS_MAX = 30.0
# Who lived this long had started well: whatever ended it, the next start comes without a grown pause. The pauses are
# for what cannot start at all, and that shows within a few seconds; a process that is killed once a minute is missed
# for half a second each time and not for half a minute.
HEALTHY_SECONDS = 10.0
# A drain may take 20 seconds.
PATIENCE_SECONDS = 22.0
POLL_SECONDS = 0.1
_PASSED_ON = (signal.SIGTERM, signal.SIGINT)


# Records: which processes are ours -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """A process that we started, as remembered in the home's `run` folder.

    The number alone proves nothing, since numbers are used again; with boot and start time it is one process only.
    The command line is kept for people: workers rewrite theirs.
    """

    path: Path
    pid: int
    started: str
    command: str

    def alive(self) -> bool:
        return process_started(self.pid) == self.started

    def send(self, signal_number: signal.Signals) -> None:
        """Signal the process and its group, unless it is gone."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(self.pid) == self.pid:
                    os.killpg(self.pid, signal_number)
                else:
                    os.kill(self.pid, signal_number)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def record(folder: Path, name: str, pid: int, command: str) -> None:
    """Remember a process just started; one that has already ended leaves no record."""
    if (started := process_started(pid)) is not None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = {"pid": pid, "started": started, "command": command}
        write_private(folder / f"{name}.pid", json.dumps(facts) + "\n")


def records(folder: Path, pattern: str = "*.pid") -> Iterator[Record]:
    for path in sorted(folder.glob(pattern)):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            facts = json.loads(path.read_text())
            yield Record(path, int(facts["pid"]), facts["started"], facts["command"])


def end_recorded(folder: Path, pattern: str, *, patience_seconds: float = PATIENCE_SECONDS) -> int:
    """End the processes recorded in a folder, gently first. Returns how many of them were alive."""
    living = [found for found in records(folder, pattern) if found.alive()]
    for found in living:
        found.send(signal.SIGTERM)
    deadline = time.monotonic() + patience_seconds
    while any(found.alive() for found in living) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for found in living:
        found.send(signal.SIGKILL)
    for path in folder.glob(pattern):
        path.unlink(missing_ok=True)
    return len(living)


def keeper_is_gone() -> bool:
    """For children where the system does not end them with their keeper."""
    keeper = os.environ.get("SWITCHYARD_KEEPER_PID", "")
    return keeper.isdigit() and os.getppid() != int(keeper)


# Keeping -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Copy:
    """A child that is a copy of its keeper and runs a function; `words` say what it does."""

    words: Sequence[str]
    run: Callable[[], None]


class _Copied:
    """A running copy, with what is used here of subprocess.Popen."""

    def __init__(self, run: Callable[[], None]) -> None:
        ends = ends_with_parent(signal.SIGTERM)

        def begin() -> None:
            # A session of its own, and none of our handlers: as for a command.
            os.setsid()
            os.environ["SWITCHYARD_KEEPER_PID"] = str(os.getppid())
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
            ends()
            try:
                run()
            except Exception:  # noqa: BLE001  whatever it was, the copy ends with it
                # As the end of any process of ours is said; multiprocessing has words of its own.
                sys.excepthook(*sys.exc_info())
                sys.exit(1)

        self._process = multiprocessing.get_context("fork").Process(target=begin)
        # A signal that came before the copy has put our handlers away would be noted, and forgotten.
        signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int:
        self._process.join()
        return self._process.exitcode or 0

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class _Child:
    def __init__(self, name: str, command: Sequence[str] | Copy, folder: Path) -> None:
        self.name = name
        self.command = command
        self.folder = folder
        self.process: subprocess.Popen[bytes] | _Copied | None = None
        self.pause_seconds = PAUSE_SECONDS_MIN
        self.began = 0.0
        self.due = 0.0

    def start(self) -> None:
        self.began = time.monotonic()
        try:
            self.process = self._begun()
        except OSError as error:
            log.error("%s cannot be started: %s", self.name, error)
            self._plan_next()
            return
        log.info("%s started (process %s)", self.name, self.process.pid)
        words = self.command.words if isinstance(self.command, Copy) else self.command
        record(self.folder, f"kept-{self.name}", self.process.pid, " ".join(words))

    def _begun(self) -> subprocess.Popen[bytes] | _Copied:
        if isinstance(self.command, Copy):
            return _Copied(self.command.run)
        return subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "SWITCHYARD_KEEPER_PID": str(os.getpid())},
            # A session of its own: Ctrl-C in the terminal comes through the keeper, once.
            start_new_session=True,
            preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509  no threads here
        )

    def look(self) -> None:
        """Notice an end and start again when the pause is over."""
        if self.process is None:
            if time.monotonic() >= self.due:
                self.start()
            return
        if (code := self.process.poll()) is None:
            return
        self.process = None
        if time.monotonic() - self.began >= HEALTHY_SECONDS:
            self.pause_seconds = PAUSE_SECONDS_MIN
        log.warning("%s ended (%s); starting again in %.1f s", self.name, _how(code), self.pause_seconds)
        self._plan_next()

    def _plan_next(self) -> None:
        self.due = time.monotonic() + self.pause_seconds
        self.pause_seconds = min(self.pause_seconds * 2, PAUSE_SECONDS_MAX)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, signal_number: signal.Signals) -> None:
        if self.process is not None and self.running:
            self.process.send_signal(signal_number)

    def kill(self) -> None:
        if self.process is not None and self.running:
            log.warning("%s does not end and is killed", self.name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def close(self) -> None:
        if self.process is not None:
            log.info("%s ended (%s)", self.name, _how(self.process.wait()))
        (self.folder / f"kept-{self.name}.pid").unlink(missing_ok=True)


def keep(commands: Mapping[str, Sequence[str] | Copy], folder: Path, load: Callable[[], None] = lambda: None) -> int:
    """Keep these commands running until SIGTERM or SIGINT. Returns the exit code: 0 after an orderly end.

    `load` is called first: what it loads, copies have.
    """
    signals: list[signal.Signals] = []

    def note(number: int, _frame: FrameType | None) -> None:
        signals.append(signal.Signals(number))

    for number in _PASSED_ON:
        signal.signal(number, note)
    load()
    children = [_Child(name, command, folder) for name, command in commands.items()]
    while not signals:
        for child in children:
            child.look()
        time.sleep(POLL_SECONDS)
    _end(children, signals)
    return 0


def _end(children: Sequence[_Child], signals: list[signal.Signals]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(child.running for child in children) and time.monotonic() < deadline:
        # A second signal is passed on as well: whoever sends two is in a hurry, and the workers know what it means.
        while signals:
            number = signals.pop(0)
            for child in children:
                child.send(number)
        time.sleep(POLL_SECONDS / 2)
    for child in children:
        child.kill()
        child.close()


def _how(code: int) -> str:
    return f"status {code}" if code >= 0 else signal.Signals(-code).name


def _queue_workers() -> dict[str, Copy]:
    """One process per queue and worker: a worker with several queues may lose a job when it is killed."""
    from workers.queues import QUEUES

    commands = {}
    for name, queue in QUEUES.items():
        for number in range(1, queue.workers + 1):
            child = name if number == 1 else f"{name}-{number}"
            words = (sys.executable, "-m", "workers.run", "--queue", name)
            commands[child] = Copy(words, partial(_serve, name))
    return commands


def _serve(queue: str) -> None:
    """In a copy: be a worker, as `python -m workers.run` is."""
    from workers import run

    try:
        run.serve(queue)
    except SwitchyardError as error:
        raise SystemExit(f"Error: {error}") from error


def _load_workers() -> None:
    """A keeper of commands alone stays small."""
    from workers import run

    run.load(reads_queues=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.keep", description="Start processes, and again.")
    parser.add_argument("--one", metavar="NAME", help="keep one process: workers.NAME, or the command given")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="what to keep under that name")
    chosen = parser.parse_args(arguments)
    if chosen.command and not chosen.one:
        parser.error("a command needs a name: --one NAME -- COMMAND")
    logs.configure("keeper")
    folder = Path(os.environ.get("SWITCHYARD_HOME") or ".switchyard").absolute() / "run"
    if chosen.one:
        return keep({chosen.one: chosen.command or [sys.executable, "-m", f"workers.{chosen.one}"]}, folder)
    return keep(_queue_workers(), folder, _load_workers)


if __name__ == "__main__":
    sys.exit(main())
