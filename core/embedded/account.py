"""The account that runs the servers, since PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.embedded.common import EmbeddedError

SERVICE_ACCOUNT = "switchyard"


@dataclass(frozen=True)
class Account:
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


def service_account() -> Account:
    if os.geteuid() != 0:
        return Account(str(os.geteuid()), os.geteuid(), os.getegid())
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


def _lookup(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid) if entry.pw_uid else None
