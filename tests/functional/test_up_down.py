"""Up and down of the whole product; tests/house has the supervisor's finer points on stand-ins."""

from __future__ import annotations

import signal
from collections.abc import Callable

import httpx
import psycopg
import pytest

from tests.functional.systems import DOWN_SECONDS, System, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MakeSystem = Callable[[], System]


def mark(system: System, text: str) -> None:
    with psycopg.connect(system.state().migrate_url.replace("+psycopg", "")) as conn:
        conn.execute("create table if not exists marks (said text)")
        conn.execute("insert into marks values (%s)", [text])


def marks(system: System) -> list[str]:
    with psycopg.connect(system.state().migrate_url.replace("+psycopg", "")) as conn:
        return [row[0] for row in conn.execute("select said from marks order by 1")]


def test_up_again_after_a_stop_and_after_a_kill_of_everything(make_system: MakeSystem) -> None:
    system = make_system().start("--no-demo")
    mark(system, "first")

    second = system.begin("--no-demo")
    assert second.wait(DOWN_SECONDS) == 0
    assert "Switchyard is up already." in system.said()
    assert system.process is not None
    assert system.process.poll() is None

    system.stop()
    system.start("--no-demo")
    assert marks(system) == ["first"]
    mark(system, "second")
    before = system.processes()

    system.kill()
    system.start("--no-demo")
    assert marks(system) == ["first", "second"]
    # What the killed one left has ended, or is the database server that the new one found and took over.
    strays = [command.split()[0] for pid, command in system.processes().items() if pid in before]
    assert [program for program in strays if "postgres" not in program and "redis" not in program] == []
    for name, path in (("api", "/readyz"), ("dashboard", "/_stcore/health")):
        assert httpx.get(system.state().addresses[name] + path).status_code == 200
    system.stop()


@pytest.mark.long
def test_two_instances_side_by_side_share_nothing(make_system: MakeSystem) -> None:
    one, other = make_system(), make_system()
    one.process = one.begin("--no-demo")
    other.start("--no-demo")
    wait_until(lambda: "Switchyard is up." in one.said(), "the first one is up too")
    assert not set(one.ports()) & set(other.ports())
    mark(one, "one")
    mark(other, "other")
    assert (marks(one), marks(other)) == (["one"], ["other"])
    assert not one.processes().keys() & other.processes().keys()
    for system in (one, other):
        addresses = system.cli_json("status")["addresses"]
        assert addresses["api"] == system.state().addresses["api"] == f"http://127.0.0.1:{system.base + 1}"

    one.stop()
    assert other.process is not None
    assert other.process.poll() is None
    assert httpx.get(other.state().addresses["api"] + "/readyz").status_code == 200
    other.process.send_signal(signal.SIGTERM)
    assert other.process.wait(DOWN_SECONDS) == 0
    assert other.processes() == {}
