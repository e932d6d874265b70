"""The keeper: starts again, passes signals on, leaves nobody behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.processes import process_started
from workers import keep

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., subprocess.Popen[bytes]]
# Says that it lives and notes how it was asked to end.
POLITE = """
import os, signal, sys, time
def end(number, frame):
    open(sys.argv[1], "a").write(f"asked {number}\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
open(sys.argv[1], "a").write(f"alive {os.getpid()}\\n")
while True:
    time.sleep(0.05)
"""
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "a").write(f"alive {os.getpid()}\\n")
time.sleep(60)
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture(params=["command", "copy"])
def start(request: pytest.FixtureRequest, tmp_path: Path, notes: Path) -> Iterator[Start]:
    """Starts a keeper of a child that is given as source: of a command, or of a copy of the keeper."""
    started: list[subprocess.Popen[bytes]] = []

    def run(child: str, patience_seconds: float = 22) -> subprocess.Popen[bytes]:
        command = repr([sys.executable, "-c", child, str(notes)])
        if request.param == "copy":
            command = f"keep.Copy(['it'], lambda: exec({child!r}, {{'__name__': 'it'}}))"
        keeper = f"""
import logging
from pathlib import Path
from workers import keep
logging.basicConfig(level=logging.INFO, format="%(message)s")
keep.PATIENCE_SECONDS = {patience_seconds}
raise SystemExit(keep.keep({{"it": {command}}}, Path({str(tmp_path)!r})))
"""
        process = subprocess.Popen([sys.executable, "-c", keeper, str(notes)], cwd=ROOT, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
    keep.end_recorded(tmp_path, "*.pid", patience_seconds=1)


def alive(notes: Path) -> list[int]:
    """Numbers of the children that have reported, oldest first."""
    text = notes.read_text() if notes.exists() else ""
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith("alive")]


def wait_for_children(notes: Path, count: int) -> int:
    deadline = time.monotonic() + 20
    while len(alive(notes)) < count:
        assert time.monotonic() < deadline, f"child {count} never came"
        time.sleep(0.02)
    return alive(notes)[-1]


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while process_started(pid):
        assert time.monotonic() < deadline, f"process {pid} lives on"
        time.sleep(0.02)


def test_starts_a_killed_child_again_with_a_growing_pause(start: Start, notes: Path) -> None:
    keeper = start(POLITE)
    began = time.monotonic()
    for count in (1, 2, 3):
        os.kill(wait_for_children(notes, count), signal.SIGKILL)
    wait_for_children(notes, 4)
    assert time.monotonic() - began >= 0.5 + 1 + 2
    keeper.terminate()
    _, said = keeper.communicate(timeout=10)
    for pause in ("0.5", "1.0", "2.0"):
        assert f"it ended (SIGKILL); starting again in {pause} s".encode() in said


def test_a_child_that_had_started_well_comes_back_without_a_grown_pause(tmp_path: Path, notes: Path) -> None:
    """Killed every quarter of a minute it must not be missed for half a minute each time."""
    child = keep._Child("it", [sys.executable, "-c", POLITE, str(notes)], tmp_path)
    child.pause_seconds = keep.PAUSE_SECONDS_MAX
    child.start()
    assert child.process is not None
    child.began -= 15
    child.process.kill()
    child.process.wait()
    child.look()
    assert child.due - time.monotonic() <= keep.PAUSE_SECONDS_MIN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_passes_the_signal_on_and_ends_with_its_child(start: Start, notes: Path, number: signal.Signals) -> None:
    keeper = start(POLITE)
    child = wait_for_children(notes, 1)
    keeper.send_signal(number)
    assert keeper.wait(10) == 0
    assert process_started(child) is None
    assert f"asked {int(number)}" in notes.read_text()
    assert not list(notes.parent.glob("*.pid"))


def test_kills_a_child_that_does_not_end(start: Start, notes: Path) -> None:
    keeper = start(STUBBORN, patience_seconds=0.5)
    child = wait_for_children(notes, 1)
    keeper.terminate()
    assert keeper.wait(10) == 0
    assert process_started(child) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
def test_a_killed_keeper_takes_its_child_along(start: Start, notes: Path) -> None:
    keeper = start(POLITE)
    child = wait_for_children(notes, 1)
    keeper.kill()
    wait_for_end(child)
    assert "asked 15" in notes.read_text()


def test_records_the_child_for_whoever_has_to_clean_up(start: Start, notes: Path) -> None:
    start(POLITE)
    child = wait_for_children(notes, 1)
    time.sleep(0.2)
    [found] = keep.records(notes.parent)
    assert found.pid == child
    assert found.alive()
    assert found.path.stat().st_mode & 0o777 == 0o600


def test_a_command_that_cannot_be_started_is_tried_again_and_said(tmp_path: Path) -> None:
    arguments = ["-m", "workers.keep", "--one", "nothing", "--", str(tmp_path / "not there")]
    environment = {**os.environ, "SWITCHYARD_HOME": str(tmp_path)}
    keeper = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    assert keeper.stderr is not None
    found = 0
    while found < 2:
        line = keeper.stderr.readline()
        assert line, "it ended before it tried again"
        found += b"nothing cannot be started" in line
    keeper.terminate()
    keeper.communicate(timeout=30)
    assert keeper.returncode == 0


def test_every_queue_has_its_own_workers() -> None:
    queues = pytest.importorskip("workers.queues", reason="the table of queues is not there yet").QUEUES
    commands = keep._queue_workers()
    assert len(commands) == sum(queue.workers for queue in queues.values())
    for name in queues:
        assert list(commands[name].words[1:]) == ["-m", "workers.run", "--queue", name]


def test_a_copy_that_ends_with_an_error_says_so_in_our_words(tmp_path: Path) -> None:
    """And in no others: every line of a process of ours can be read by whoever collects them."""
    keeper = f"""
import sys
from pathlib import Path
from core import logs
from workers import keep
logs.configure("keeper")
def work():
    logs.configure("worker")
    raise ValueError("its reason")
raise SystemExit(keep.keep({{"it": keep.Copy(["it"], work)}}, Path({str(tmp_path)!r})))
"""
    process = subprocess.Popen([sys.executable, "-c", keeper], cwd=ROOT, stderr=subprocess.PIPE)
    assert process.stderr is not None
    lines: list[dict[str, str]] = []
    try:
        while not lines or "it ended" not in lines[-1]["text"]:
            lines.append(json.loads(process.stderr.readline()))
    finally:
        process.terminate()
        process.communicate(timeout=20)
    (died,) = (line for line in lines if line["text"] == "the process ends")
    assert (died["process"], "ValueError: its reason" in died["error"]) == ("worker", True)
    assert any("it ended (status 1)" in line["text"] for line in lines)
