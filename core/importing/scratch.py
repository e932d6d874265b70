"""Folders on this machine's disk for as long as a piece of work takes. What a killed worker leaves behind is swept:
there may be prices and costs in it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

_PREFIX = "switchyard-work-"
_HELD = ".held"


@contextmanager
def folder(what: str) -> Iterator[Path]:
    """A folder that nobody else reads, gone afterwards. The system lets go of it when this process ends, however."""
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{what}-") as name:
        path = Path(name)
        with (path / _HELD).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield path


def sweep(before: datetime) -> int:
    """Remove folders of this user that were last written to before then and that nobody holds; returns how many."""
    count = 0
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            found = path.stat()
            if found.st_uid == os.getuid() and found.st_mtime < before.timestamp() and not _is_held(path):
                shutil.rmtree(path)
                count += 1
        except FileNotFoundError:
            # Done meanwhile, or swept by another.
            continue
    return count


def _is_held(path: Path) -> bool:
    try:
        with (path / _HELD).open() as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False
