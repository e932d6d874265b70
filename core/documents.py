"""What a store of documents is: where files lie that are too large for a row, and links by which browsers reach them.

Between the files, whose rows say what is stored, and the adapters, which know folders and buckets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Literal, Protocol
from uuid import UUID

from core.errors import Anticipated, BadInput, Permanent, Retryable

KIND = re.compile(r"[a-z][a-z_]{0,39}")
FILE_NAME_CHARACTERS_MAX = 150
_KEY = re.compile(r"[0-9]{1,18}/[a-z][a-z_]{0,39}/[0-9a-f]{32}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}/[a-z0-9][a-z0-9.+-]{0,99}")
_UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


class NoDocument(Permanent):
    """The store has nothing under that key: it was never uploaded, or is deleted."""

    def __init__(self) -> None:
        super().__init__("the document is not there: it was never uploaded, or it was deleted")


class TooLarge(Anticipated):
    """More bytes come than the document may have; nothing of it is kept."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"a file here may have {bytes_max:,} bytes at most: choose a smaller one, or split it")


class StoreFull(Retryable):
    """There is no room left for another document."""

    def __init__(self) -> None:
        super().__init__("there is no room left for documents: free some on the disk they lie on")


class BadLink(Anticipated):
    """A link that was not made here, or not for this."""

    def __init__(self) -> None:
        super().__init__("this link is not one of ours, or not for this: ask for a new one")


class LinkExpired(Anticipated):
    """A link whose time is over."""

    def __init__(self) -> None:
        super().__init__("this link has expired: ask for a new one")


def new_key(shop_id: int, kind: str, identifier: UUID) -> str:
    """The key of a document; `kind` is a word of ours, such as catalogue_import. Raises BadInput for another."""
    if not KIND.fullmatch(kind):
        raise BadInput(f"{kind!r} is no kind of document: give 1 to 40 small letters and _")
    return checked_key(f"{shop_id}/{kind}/{identifier.hex}")


def checked_key(key: str) -> str:
    """The key, if it can be one. Raises BadInput for anything else, paths above all."""
    if not _KEY.fullmatch(key):
        raise BadInput(f"{key!r} is no key of a document: it is shop/kind/number, as `new_key` makes them")
    return key


def shown_name(said: str) -> str:
    """A file name as people may see it and a browser may save it: without folders, marks of control, or a length."""
    name = _UNSHOWABLE.sub("", re.split(r"[/\\]", said)[-1]).strip(" .")
    stem, dot, ending = name.rpartition(".")
    if len(name) > FILE_NAME_CHARACTERS_MAX and dot and len(ending) <= 10:
        name = stem[: FILE_NAME_CHARACTERS_MAX - len(ending) - 1] + dot + ending
    return name[:FILE_NAME_CHARACTERS_MAX] or "document"


def media_type(said: str | None) -> str:
    """A media type such as text/csv without its parameters; that of any bytes where it is none."""
    plain = (said or "").partition(";")[0].strip().lower()
    return plain if _MEDIA_TYPE.fullmatch(plain) else "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Stat:
    """What lies under a key: how many bytes, their SHA-256 in hexadecimal, and since when."""

    bytes: int
    sha256: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Link:
    """An address by which a browser may do one thing until `expires_at`; it is a secret until then.

    An upload is one request of this method to it with these headers, its body the bytes of the file.
    """

    method: Literal["PUT", "GET"]
    url: str = field(repr=False)
    expires_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)


class DocumentStore(Protocol):
    """Where documents lie, by keys of `new_key`: for others all raise BadInput, and Retryable while it is away."""

    def put(self, key: str, chunks: Iterable[bytes], bytes_max: int) -> Stat:
        """Store what comes, all of it or nothing. Raises TooLarge, StoreFull."""
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """The bytes, to be read and sought in, never all in memory. Raises NoDocument."""
        ...

    def stat(self, key: str) -> Stat:
        """What lies there; may read all of it. Raises NoDocument."""
        ...

    def delete(self, key: str) -> bool:
        """Have nothing lie there; says whether something did."""
        ...

    def sweep(self, before: datetime) -> int:
        """Remove what uploads that ended early left behind and nobody wrote to since `before`; how many those were."""
        ...

    def upload_link(self, key: str, content_type: str, bytes_max: int, expires_at: datetime) -> Link:
        """By which a browser may upload it, at most so many bytes, of that type. Raises sealing.NoSecretKeys."""
        ...

    def download_link(self, key: str, file_name: str, content_type: str, expires_at: datetime) -> Link:
        """By which a browser saves it under a name. Raises sealing.NoSecretKeys."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What a link of ours says: what may be done with which document."""

    act: Literal["PUT", "GET"]
    key: str
    content_type: str
    bytes_max: int = 0
    file_name: str = ""


class Incoming(Protocol):
    """A document on its way in: written piece by piece, there for others only when it is finished."""

    def write(self, chunk: bytes) -> None:
        """Add some bytes. Raises TooLarge, StoreFull."""
        ...

    def stat(self) -> Stat:
        """What has come so far, safe on the disk."""
        ...

    def finish(self) -> None:
        """Have it lie under its key, in one step."""
        ...

    def drop(self) -> None:
        """Leave nothing of it behind; does nothing once it is finished."""
        ...


class ServedStore(DocumentStore, Protocol):
    """A store whose links lead to our own API, which therefore takes and gives the bytes."""

    def claim(self, token: str, act: Literal["PUT", "GET"], now: datetime) -> Claim:
        """What the last part of a link says. Raises BadLink, LinkExpired."""
        ...

    def receive(self, key: str, bytes_max: int) -> Incoming:
        """Begin to take a document in."""
        ...

    def path(self, key: str) -> str:
        """The file that holds it. Raises NoDocument."""
        ...
