"""What the files of this package share: the error, a server's status, where packages lie, log files."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from core.errors import Permanent

LOG_BYTES_MAX = 10_000_000


class EmbeddedError(Permanent):
    """The embedded servers cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class ServerStatus:
    name: str
    running: bool
    pid: int | None
    port: int | None
    data: str
    version: str | None


def package_folder(name: str) -> Path:
    """Where a package lies, without importing it: importing those with the servers has effects of its own."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(f"The package {name} is not installed. Run `make setup`.")
    return Path(next(iter(spec.submodule_search_locations)))


def trim_log(path: Path) -> None:
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_suffix(".log.1"))


def tail(path: Path, lines: int = 15) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)
