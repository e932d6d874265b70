"""Anchor files: what was sealed, kept outside of the database, a file for each shop and day.

JSON lines. The first says whose it is, of which day, where the chain stood and which seals the file holds; each other
line is a seal with its members. Whoever can write to the database, and seals everything anew after a change, still
differs from them, and the file says of which transactions.
"""

from __future__ import annotations

import binascii
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from core.errors import Permanent
from core.ledger.recorded import Seal
from core.ledger.rules import MEMBER_BYTES, head_after

FORM = "switchyard-ledger-anchor-1"


class AnchorIsBroken(Permanent):
    """An anchor file cannot be read, or does not hold together."""

    def __init__(self, path: Path, why: str) -> None:
        self.why = why
        super().__init__(f"the anchor file {path} {why}: fetch it from a copy, or from whoever was mailed its head")


class AnchorDiffers(Permanent):
    """A day's anchor file is there already and holds other seals than the database."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"the anchor file {path} holds other seals than the database: it is kept; run `switchyard audit`"
        )


class ChainIsTorn(Permanent):
    """What was sealed since the anchor before does not follow from it: seals were written anew."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"seal {number} of the ledger does not follow from what was anchored before: no anchor is written; run"
            " `switchyard audit`"
        )


@dataclass(frozen=True, slots=True)
class Header:
    """The first line. `after`: the last seal of the anchor before (0: none), whose head is `previous_head`."""

    shop_id: int
    shop: str
    day: date
    anchored_at: datetime
    after: int
    previous_head: bytes
    number: int
    head: bytes


def folder_of(root: Path, shop_id: int) -> Path:
    """Where a shop's anchors are."""
    return root / f"shop-{shop_id}"


def path_of(root: Path, shop_id: int, day: date) -> Path:
    """Where a day's anchor is."""
    return folder_of(root, shop_id) / f"{day.isoformat()}.jsonl"


def write(root: Path, header: Header, seals: Iterable[Seal]) -> Path:
    """Write a day's anchor, whole or not at all; returns where.

    Raises AnchorDiffers where one is there that is not a beginning of it: what is outside is never overwritten; and
    ChainIsTorn where the seals do not lead from one head to the other.
    """
    path = path_of(root, header.shop_id, header.day)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=".", suffix=".new", delete=False, encoding="ascii") as file:
        made = Path(file.name)
        try:
            for line in _lines(header, seals):
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
            file.flush()
            # Read by whoever audits, written by nobody any more.
            os.fchmod(file.fileno(), 0o440)
            os.fsync(file.fileno())
            if path.exists() and not _begins(path, made):
                raise AnchorDiffers(path)
            made.rename(path)
        except BaseException:
            made.unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)
    return path


def _lines(header: Header, seals: Iterable[Seal]) -> Iterator[dict[str, Any]]:
    yield {
        "form": FORM,
        "shop_id": header.shop_id,
        "shop": header.shop,
        "day": header.day.isoformat(),
        "anchored_at": header.anchored_at.isoformat(),
        "after_seal": header.after,
        "previous_head": header.previous_head.hex(),
        "seal": header.number,
        "head": header.head.hex(),
    }
    head = header.previous_head
    for seal in seals:
        if seal.previous_head != head or seal.head != head_after(head, seal.members):
            raise ChainIsTorn(seal.number)
        head = seal.head
        yield {
            "seal": seal.number,
            "first_id": seal.first_id,
            "last_id": seal.last_id,
            "head": seal.head.hex(),
            "members": b64encode(seal.members).decode(),
        }
    if head != header.head:
        raise ChainIsTorn(header.number)


def _begins(old: Path, new: Path) -> bool:
    """Whether all that one file holds is in the other: it was written, and then its day was not put on record."""
    with old.open(encoding="ascii") as before, new.open(encoding="ascii") as after:
        first, second = (json.loads(file.readline()) for file in (before, after))
        is_same = all(first[name] == second[name] for name in ("shop_id", "day", "after_seal", "previous_head"))
        return is_same and all(line == after.readline() for line in before)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def days(root: Path, shop_id: int) -> list[date]:
    """The days whose anchor files are there, in order."""
    found = []
    for path in folder_of(root, shop_id).glob("*.jsonl"):
        try:
            found.append(date.fromisoformat(path.stem))
        except ValueError:
            continue
    return sorted(found)


Heads = Mapping[tuple[int, date], bytes | None]
"""(shop, day) -> the head in the first line of its anchor; None where that cannot be read."""


def heads(root: Path) -> Heads:
    """The anchors that are there now, of all shops.

    For whoever is about to look at the database: of an anchor that is written later that look knows nothing.
    """
    found: dict[tuple[int, date], bytes | None] = {}
    for folder in root.glob("shop-*"):
        number = folder.name.removeprefix("shop-")
        for day in days(root, int(number)) if number.isdecimal() else ():
            try:
                found[int(number), day] = header(root, int(number), day).head
            except AnchorIsBroken:
                found[int(number), day] = None
    return found


def header(root: Path, shop_id: int, day: date) -> Header:
    """The first line of a day's anchor. Raises AnchorIsBroken."""
    path = path_of(root, shop_id, day)
    with _reading(path) as file:
        return _header(path, file.readline())


def read(root: Path, shop_id: int, day: date) -> Iterator[Seal]:
    """The seals of a day's anchor, one at a time. Raises AnchorIsBroken where they do not lead to the file's head."""
    path = path_of(root, shop_id, day)
    with _reading(path) as file:
        first = _header(path, file.readline())
        number, head = first.after, first.previous_head
        for line in file:
            seal = _seal(path, line, head)
            number += 1
            if seal.number != number or seal.head != head_after(head, seal.members):
                raise AnchorIsBroken(path, f"is not what was written: its seal {seal.number} does not follow")
            head = seal.head
            yield seal
        if (number, head) != (first.number, first.head):
            raise AnchorIsBroken(path, f"is not what was written: it ends at seal {number} instead of {first.number}")


def _reading(path: Path) -> Any:
    try:
        return path.open(encoding="ascii")
    except OSError as error:
        raise AnchorIsBroken(path, f"cannot be read ({error.strerror})") from error


def _header(path: Path, line: str) -> Header:
    said = _parsed(path, line)
    try:
        if said["form"] != FORM:
            raise AnchorIsBroken(path, "has another form than ours")
        return Header(
            said["shop_id"],
            said["shop"],
            date.fromisoformat(said["day"]),
            datetime.fromisoformat(said["anchored_at"]),
            said["after_seal"],
            bytes.fromhex(said["previous_head"]),
            said["seal"],
            bytes.fromhex(said["head"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AnchorIsBroken(path, "has no first line of ours") from error


def _seal(path: Path, line: str, previous_head: bytes) -> Seal:
    said = _parsed(path, line)
    try:
        members = b64decode(said["members"], validate=True)
        head = bytes.fromhex(said["head"])
        if not members or len(members) % MEMBER_BYTES:
            raise AnchorIsBroken(path, f"is not what was written: seal {said['seal']} is cut")
        return Seal(said["seal"], said["first_id"], said["last_id"], members, previous_head, head)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise AnchorIsBroken(path, "is not what was written: a line is no seal") from error


def _parsed(path: Path, line: str) -> Mapping[str, Any]:
    try:
        said = json.loads(line)
    except ValueError as error:
        raise AnchorIsBroken(path, "is not what was written: a line is cut") from error
    if not isinstance(said, dict):
        raise AnchorIsBroken(path, "is not what was written: a line says nothing")
    return said
