"""`up` and `down` with stand-ins for the product's processes, on the real embedded servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from core import embedded
from core.processes import process_started
from tests.house.conftest import somebody_on
from workers import up as house
from workers.keep import records

ROOT = Path(__file__).resolve().parents[2]
PROCFILE = """\
api: python -m workers.keep --one api -- python tests/house/stand_in.py $SWITCHYARD_API_PORT
worker: python -m workers.keep --one worker -- python tests/house/stand_in.py
dashboard: python -m workers.keep --one dashboard -- python tests/house/stand_in.py $SWITCHYARD_DASHBOARD_PORT
"""
RUNNER = """\
import sys
from pathlib import Path
from workers.up import up
home, base, procfile, fixed = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "fixed"
def ready(addresses):
    print("ready:", sorted(addresses), flush=True)
    if sys.argv[4] == "failing":
        raise RuntimeError("the demo shops cannot be connected")
sys.exit(up(home, base, on_ready=ready, fixed_ports=fixed, procfile=procfile))
"""
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(home: Path, base: int) -> Iterator[Start]:
    """Start `up` on the test's home in a process of its own, with its output in `output`."""
    started: list[subprocess.Popen[bytes]] = []
    procfile = home / "Procfile"
    procfile.write_text(PROCFILE)

    def run(mode: str = "moving", port_base: int = base, text: str | None = None) -> subprocess.Popen[bytes]:
        if text is not None:
            procfile.write_text(text)
        environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        with (home / "output").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", RUNNER, str(home), str(port_base), str(procfile), mode],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
    house.down(home)


def wait_until(condition: Callable[[], object], said: Callable[[], str] = str, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited in vain; the end of what was said:\n{said()[-3000:]}")
        time.sleep(0.05)


def output(home: Path) -> str:
    return (home / "output").read_text()


def is_ready(home: Path) -> bool:
    state = house.read_state(home)
    return state is not None and state.ready


def everything(home: Path) -> list[int]:
    return [found.pid for found in records(home / "run")]


def assert_nothing_left(home: Path, pids: list[int]) -> None:
    assert not [pid for pid in pids if process_started(pid)]
    assert not list((home / "run").glob("*.pid"))
    assert house.read_state(home) is None
    assert not any(server.running for server in embedded.status(home).values())


def test_starts_everything_says_where_and_leaves_nothing_after_ctrl_c(home: Path, start: Start) -> None:
    process = start()
    wait_until(lambda: is_ready(home), lambda: output(home))
    state = house.read_state(home)
    assert state is not None
    for address in state.addresses.values():
        with urllib.request.urlopen(address, timeout=5) as answer:
            assert answer.status == 200
    assert (home / "run" / "state.json").stat().st_mode & 0o777 == 0o600
    with psycopg.connect(state.database_url.replace("+psycopg", "")) as connection:
        assert connection.execute("select count(*) from alembic_version").fetchone() == (1,)
    wait_until(lambda: "Switchyard is up." in output(home))
    assert output(home).count("Switchyard is up.") == 1
    assert "ready: ['api', 'dashboard']" in output(home)
    pids = everything(home)
    assert len(pids) == 6

    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert_nothing_left(home, pids)


def test_runs_twice_in_a_row_on_the_same_data(home: Path, start: Start) -> None:
    for turn in range(2):
        process = start()
        wait_until(lambda: is_ready(home), lambda: output(home))
        state = house.read_state(home)
        assert state is not None
        with psycopg.connect(state.migrate_url.replace("+psycopg", "")) as connection:
            connection.execute("create table if not exists turns (turn int)")
            connection.execute("insert into turns values (%s)", [turn])
            rows = connection.execute("select count(*) from turns").fetchone()
        assert rows == (turn + 1,)
        process.terminate()
        assert process.wait(30) == 0


def test_a_second_up_names_the_first_and_harms_nothing(home: Path, start: Start) -> None:
    first = start()
    wait_until(lambda: is_ready(home), lambda: output(home))
    assert start().wait(30) == 0
    assert "Switchyard is up already." in output(home)
    assert first.poll() is None
    assert is_ready(home)


def test_down_from_elsewhere_stops_it(home: Path, start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    process = start()
    wait_until(lambda: is_ready(home), lambda: output(home))
    pids = everything(home)
    assert house.down(home) == 0
    assert process.wait(5) == 0
    assert_nothing_left(home, pids)
    assert "stopped" in capsys.readouterr().out
    assert house.down(home) == 0
    assert "Nothing was running" in capsys.readouterr().out


def test_after_a_kill_the_children_end_and_down_stops_the_servers(home: Path, start: Start) -> None:
    process = start()
    wait_until(lambda: is_ready(home), lambda: output(home))
    pids = everything(home)
    process.kill()
    process.wait()
    if sys.platform == "linux":
        wait_until(lambda: not [pid for pid in pids if process_started(pid)])
    assert embedded.status(home)["postgres"].running
    assert house.down(home) == 0
    assert_nothing_left(home, pids)


def test_starts_after_a_kill_without_a_down(home: Path, start: Start) -> None:
    process = start()
    wait_until(lambda: is_ready(home), lambda: output(home))
    process.kill()
    process.wait()
    again = start()
    wait_until(lambda: is_ready(home), lambda: output(home))
    again.terminate()
    assert again.wait(30) == 0


def test_never_signals_a_process_that_only_got_an_old_number(home: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        run = home / "run"
        run.mkdir()
        facts = json.dumps({"pid": stranger.pid, "started": "another time", "command": "python -m workers.keep"})
        (run / "line-worker.pid").write_text(facts)
        (run / "state.json").write_text(facts)
        assert house.down(home) == 0
        time.sleep(0.3)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_taken_default_port_moves_and_says_so(home: Path, start: Start, base: int) -> None:
    with somebody_on(base + 1):
        start()
        wait_until(lambda: is_ready(home), lambda: output(home))
    state = house.read_state(home)
    assert state is not None
    assert state.addresses["api"] == f"http://127.0.0.1:{base + 11}"
    assert f"Port {base + 1} is taken: the api listens on {base + 11} instead." in output(home)


def test_a_taken_port_that_was_asked_for_is_refused(home: Path, start: Start, base: int) -> None:
    with somebody_on(base):
        assert start("fixed").wait(30) == 1
    assert f"Port {base}, meant for the dashboard, is taken." in output(home)
    assert_nothing_left(home, [])


def test_a_failure_when_ready_stops_everything_and_is_shown(home: Path, start: Start) -> None:
    assert start("failing").wait(40) == 1
    assert "the demo shops cannot be connected" in output(home)
    assert_nothing_left(home, [])


def test_a_killed_process_comes_back_while_the_rest_goes_on(home: Path, start: Start) -> None:
    process = start()
    wait_until(lambda: is_ready(home), lambda: output(home))
    [api] = records(home / "run", "kept-api.pid")
    os.kill(api.pid, signal.SIGKILL)
    wait_until(lambda: [again.pid for again in records(home / "run", "kept-api.pid") if again.pid != api.pid])
    assert process.poll() is None


def test_a_signal_in_the_middle_of_starting_leaves_nothing(home: Path, start: Start) -> None:
    for seconds in (0.3, 0.8, 1.6, 2.4):
        process = start()
        time.sleep(seconds)
        process.terminate()
        process.wait(40)
        assert_nothing_left(home, [])
