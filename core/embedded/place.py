"""The folder where the servers' data lies: in the home, or in a shelter when the account cannot reach the home."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from core.embedded.account import Account, service_account
from core.embedded.common import EmbeddedError
from core.embedded.home import recall, remember

# Where root keeps the servers' files when the service account cannot reach the home.
SHELTER = Path("/var/lib/switchyard")


@dataclass(frozen=True)
class Place:
    folder: Path
    account: Account


def known_place(home: Path) -> Place:
    folder = Path(recall(home).get("place", home / "servers"))
    try:
        owner = folder.stat()
    except OSError:
        return Place(folder, Account(str(os.geteuid()), os.geteuid(), os.getegid()))
    return Place(folder, Account(str(owner.st_uid), owner.st_uid, owner.st_gid))


def choose_place(home: Path) -> Place:
    """The folder of the servers' data, made on the first start, and the account that owns it.

    Root gives the folder to the service account. If that account cannot get there because a folder above is closed
    to it, the place is a folder below /var/lib/switchyard named after the home.
    """
    remembered = recall(home).get("place")
    if remembered and Path(remembered).exists():
        place = known_place(home)
        if os.geteuid() not in (0, place.account.uid):
            raise EmbeddedError(f"{place.folder} belongs to another account. Use that one, or set SWITCHYARD_HOME.")
        return place
    account = service_account()
    folder = home / "servers"
    make_folder(folder, account)
    if account.other and not _reaches(account, folder):
        with contextlib.suppress(OSError):
            folder.rmdir()
        SHELTER.mkdir(parents=True, exist_ok=True)
        folder = SHELTER / hashlib.sha256(str(home).encode()).hexdigest()[:12]
        make_folder(folder, account)
        if not _reaches(account, folder):
            raise EmbeddedError(f"The account {account.name}, which runs PostgreSQL for root, cannot reach {folder}.")
    remember(home, place=str(folder))
    return Place(folder, account)


def make_folder(folder: Path, account: Account) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    account.take(folder)


def _reaches(account: Account, folder: Path) -> bool:
    return account.attempt("/bin/sh", "-c", 'cd "$1" && test -w .', "sh", folder).returncode == 0
