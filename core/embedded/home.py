"""The home folder: one start or stop at a time, what it remembers, and its passwords."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.embedded.common import EmbeddedError
from core.processes import write_private

log = logging.getLogger(__name__)


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
def locked(home: Path) -> Iterator[None]:
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


def recall(home: Path) -> dict[str, Any]:
    try:
        return json.loads((home / "embedded.json").read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        log.warning("%s cannot be read and is written anew", home / "embedded.json")
        return {}


def remember(home: Path, **facts: Any) -> None:
    write_private(home / "embedded.json", json.dumps({**recall(home), **facts}, indent=2) + "\n")


def password(home: Path, name: str) -> str:
    folder = home / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24) + "\n")
    return path.read_text().strip()
