"""Where tests put what they throw away: in memory where the system offers room there, else on the disk.

A database of a test's own is eight hundred files that live for a second. On a disk their making and unlinking costs
more than most tests do themselves.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 1024**3
"""What a run of the whole suite never comes near."""


def keep_files_in_memory(folder: Path = IN_MEMORY) -> bool:
    """Have this process and all that it starts make temporary files in `folder`; whoever set TMPDIR is obeyed.

    Only where everybody may write, binaries may be run (a home may hold the servers' own) and there is room; a
    container often has a corner of 64 MB there. Returns whether it was done.
    """
    if "TMPDIR" in os.environ or not is_roomy(folder, ROOM_BYTES):
        return False
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None
    return True


def is_roomy(folder: Path, room: int) -> bool:
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    everybody_writes = folder.stat().st_mode & 0o1777 == 0o1777
    runs_binaries = not found.f_flag & os.ST_NOEXEC
    return everybody_writes and runs_binaries and found.f_bavail * found.f_frsize >= room
