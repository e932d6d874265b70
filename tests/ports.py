"""Blocks of ports for servers that tests start: whoever claims one has it to itself until its process ends."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from core.processes import port_is_free

BLOCK = 20
FIRST, LAST = 15000, 32700
"""Below the range from which systems take ports for outgoing connections."""

_claims: dict[int, int] = {}
"""Of this process: the first port of a block, and the open file whose lock holds it."""


def claim_block() -> int:
    """First of `BLOCK` ports that are free now and that no other test process will be given.

    Asking whether a port is free is not enough: tests of several processes start their servers at the same time.
    The lock goes with the process, however it ends. Raises AssertionError when all blocks are taken.
    """
    blocks = range(FIRST, LAST, BLOCK)
    start = os.getpid() % len(blocks)
    for first in (*blocks[start:], *blocks[:start]):
        if first not in _claims and _lock(first):
            if all(port_is_free(port) for port in range(first, first + BLOCK)):
                return first
            os.close(_claims.pop(first))
    raise AssertionError("no block of free ports")


def _lock(first: int) -> bool:
    path = Path(tempfile.gettempdir()) / f"switchyard-tests-ports-{os.geteuid()}-{first}"
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    _claims[first] = handle
    return True
