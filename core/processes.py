"""Processes and ports of this machine: who still lives, which port is free, files that only we may read."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from core.errors import Permanent

LOOPBACK = "127.0.0.1"
# A taken port moves by this much, so that neighbouring processes keep their places in the pattern.
PORT_STEP = 10
_PR_SET_PDEATHSIG = 1


class NoFreePort(Permanent):
    def __init__(self, wanted: int, step: int) -> None:
        super().__init__(f"No free port found from {wanted} upwards in steps of {step}.")


def port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without this a port whose last connections are still fading away counts as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(wanted: int, *, step: int = PORT_STEP) -> int:
    """The first free port at `wanted`, `wanted + step` and so on. Raises NoFreePort."""
    for port in range(wanted, min(wanted + 100 * step, 65536), step):
        if port_is_free(port):
            return port
    raise NoFreePort(wanted, step)


def process_started(pid: int) -> str | None:
    """A mark that tells this process from a later one with the same number; None when it is gone or a zombie."""
    stat = _proc_stat(pid)
    if stat is not None:
        state, ticks_since_boot = stat
        return None if state in "ZX" else f"{_boot()}-{ticks_since_boot}"
    if _has_proc():
        return None
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    fields = answer.stdout.strip().split(None, 1)
    return fields[1] if len(fields) == 2 and not fields[0].startswith("Z") else None


def is_zombie(pid: int) -> bool:
    stat = _proc_stat(pid)
    return stat is not None and stat[0] in "ZX"


def works_in(pid: int, folder: Path) -> bool:
    """Whether a process has this working folder, or where that cannot be seen, names it on its command line."""
    if _has_proc():
        # Another account's process, and hence not ours, cannot be looked into.
        with contextlib.suppress(OSError):
            return os.path.samefile(f"/proc/{pid}/cwd", folder)
        return False
    answer = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return str(folder) in answer.stdout


def write_private(path: Path, text: str, *, owner: tuple[int, int] | None = None) -> None:
    """Write a file that only its owner can read, all at once; `owner` is a user and a group to give it to."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        if owner is not None:
            os.chown(name, *owner)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def ends_with_parent(signal_number: signal.Signals, *, parent: int | None = None) -> Callable[[], None]:
    """For a child to call before anything else: Linux then sends it this signal when its parent dies.

    Made in the parent, unless `parent` says who that is. A parent that died before the call is noticed too. Only
    Linux knows this; elsewhere it does nothing.
    """
    expected = parent or os.getpid()
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def ask() -> None:
        if libc is None:
            return
        libc.prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
        if os.getppid() != expected:
            os.kill(os.getpid(), signal_number)

    return ask


def _has_proc() -> bool:
    return Path("/proc/self/stat").exists()


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "boot"


def _proc_stat(pid: int) -> tuple[str, str] | None:
    """State and start time of a process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The command stands in parentheses and may hold any character; the fields begin after the last one.
    fields = text.rpartition(")")[2].split()
    return fields[0], fields[19]
