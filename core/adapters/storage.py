"""Documents in a local folder, reached by links to our own API that nobody can make up.

A link's last part is a token: what may be done with which document and until when, as JSON, and an HMAC-SHA256 of that
under a key derived (HKDF) from the newest of the installation's keys; any of them verifies. Bytes come into a file of
another name and are renamed when they are all there and safe on the disk: nobody ever sees half a document.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal
from uuid import uuid4

from core.documents import (
    BadLink,
    Claim,
    Link,
    LinkExpired,
    NoDocument,
    Stat,
    StoreFull,
    TooLarge,
    checked_key,
    media_type,
    shown_name,
)
from core.errors import BadInput
from core.sealing import derived

PURPOSE = "links to documents, 1"
TOKEN_CHARACTERS_MAX = 2_000
_INCOMING = "incoming"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PIECE = 1 << 20


class LocalFolder:
    """A `core.documents.ServedStore` in the folder `root`; browsers reach our API at `address`.

    Opens nothing until it is used. Raises OSError where the folder itself cannot be used.
    """

    def __init__(self, root: Path, address: str, secret_keys: Sequence[str]) -> None:
        self._root = root
        self._address = address
        self._secret_keys = tuple(secret_keys)

    def put(self, key: str, chunks: Iterable[bytes], bytes_max: int) -> Stat:
        """Store what comes, all of it or nothing. Raises TooLarge, StoreFull, and what `chunks` raises."""
        incoming = self.receive(key, bytes_max)
        try:
            for chunk in chunks:
                incoming.write(chunk)
            stat = incoming.stat()
            incoming.finish()
        finally:
            incoming.drop()
        return stat

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """The bytes, to be read and sought in. Raises NoDocument."""
        try:
            file = (self._root / checked_key(key)).open("rb")
        except FileNotFoundError:
            raise NoDocument from None
        with file:
            yield file

    def stat(self, key: str) -> Stat:
        """What lies there; reads all of it for its digest. Raises NoDocument."""
        with self.open(key) as file:
            digest = hashlib.sha256()
            while piece := file.read(_PIECE):
                digest.update(piece)
            return _stat(file.fileno(), digest.hexdigest())

    def delete(self, key: str) -> bool:
        """Have nothing lie there; says whether something did."""
        path = self._root / checked_key(key)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        _settle(path.parent)
        return True

    def sweep(self, before: datetime) -> int:
        """Remove pieces that nobody has written to since `before`; returns how many those were."""
        count = 0
        for path in (self._root / _INCOMING).glob("*.part"):
            try:
                if path.stat().st_mtime < before.timestamp():
                    path.unlink()
                    count += 1
            except FileNotFoundError:
                # Finished meanwhile, or swept by another.
                continue
        return count

    def receive(self, key: str, bytes_max: int) -> IncomingFile:
        """Begin to take a document in."""
        return IncomingFile(self._root, checked_key(key), bytes_max)

    def path(self, key: str) -> str:
        """The file that holds it. Raises NoDocument."""
        path = self._root / checked_key(key)
        if not path.is_file():
            raise NoDocument
        return str(path)

    def upload_link(self, key: str, content_type: str, bytes_max: int, expires_at: datetime) -> Link:
        """By which a browser may upload it. Raises core.sealing.NoSecretKeys, BadSecretKey."""
        type_ = media_type(content_type)
        claim = Claim("PUT", checked_key(key), type_, bytes_max=bytes_max)
        return Link("PUT", self._url(claim, expires_at), expires_at, {"Content-Type": type_})

    def download_link(self, key: str, file_name: str, content_type: str, expires_at: datetime) -> Link:
        """By which a browser saves it under a name. Raises core.sealing.NoSecretKeys, BadSecretKey."""
        claim = Claim("GET", checked_key(key), media_type(content_type), file_name=shown_name(file_name))
        return Link("GET", self._url(claim, expires_at), expires_at)

    def claim(self, token: str, act: Literal["PUT", "GET"], now: datetime) -> Claim:
        """What the last part of a link says. Raises BadLink, LinkExpired; core.sealing.NoSecretKeys, BadSecretKey."""
        said, _, signature = token.partition(".")
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            raise BadLink
        # With each key, whichever fits: how long it takes says nothing. The signature is compared as it is written,
        # since base64 has several ways to write the same bytes.
        fits = [hmac.compare_digest(_signature(key, said), signature) for key in self._signing()]
        if not any(fits):
            raise BadLink
        try:
            fields = json.loads(urlsafe_b64decode(said + "=" * (-len(said) % 4)))
            meant, key, type_, bytes_max, file_name, expires = fields
            claim = Claim(meant, checked_key(key), media_type(type_), int(bytes_max), shown_name(file_name))
        except (ValueError, TypeError, BadInput):
            # Signed by us, but by another version, which put it differently.
            raise BadLink from None
        if claim.act != act:
            raise BadLink
        if now.timestamp() >= expires:
            raise LinkExpired
        return claim

    def _url(self, claim: Claim, expires_at: datetime) -> str:
        fields = [claim.act, claim.key, claim.content_type, claim.bytes_max, claim.file_name, expires_at.timestamp()]
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        said = urlsafe_b64encode(text).rstrip(b"=").decode()
        return f"{self._address.rstrip('/')}/documents/{said}.{_signature(self._signing()[0], said)}"

    def _signing(self) -> tuple[bytes, ...]:
        return derived(self._secret_keys, PURPOSE)


class IncomingFile:
    """A document on its way into a folder. Its methods may be called from several threads, one after the other."""

    def __init__(self, root: Path, key: str, bytes_max: int) -> None:
        self._target = root / key
        self._bytes_max = bytes_max
        self._bytes = 0
        self._digest = hashlib.sha256()
        self._lock = threading.Lock()
        folder = root / _INCOMING
        with _room():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._part: Path | None = folder / f"{uuid4().hex}.part"
            self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, chunk: bytes) -> None:
        """Add some bytes. Raises TooLarge, StoreFull."""
        with self._lock:
            if self._bytes + len(chunk) > self._bytes_max:
                raise TooLarge(self._bytes_max)
            left = memoryview(chunk)
            with _room():
                while left:
                    left = left[os.write(self._descriptor, left) :]
            self._digest.update(chunk)
            self._bytes += len(chunk)

    def stat(self) -> Stat:
        """What has come so far, safe on the disk."""
        with self._lock, _room():
            os.fsync(self._descriptor)
            return _stat(self._descriptor, self._digest.hexdigest())

    def finish(self) -> None:
        """Have it lie under its key, in one step."""
        with self._lock, _room():
            assert self._part is not None, "it was dropped"
            self._target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(self._part, self._target)
            self._part = None
            self._close()
            _settle(self._target.parent)

    def drop(self) -> None:
        """Leave nothing of it behind; does nothing once it is finished."""
        with self._lock:
            self._close()
            if self._part is not None:
                self._part.unlink(missing_ok=True)
                self._part = None

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _stat(descriptor: int, sha256: str) -> Stat:
    known = os.fstat(descriptor)
    return Stat(known.st_size, sha256, datetime.fromtimestamp(known.st_mtime, UTC))


def _signature(key: bytes, said: str) -> str:
    return urlsafe_b64encode(hmac.digest(key, said.encode(), "sha256")).rstrip(b"=").decode()


@contextmanager
def _room() -> Iterator[None]:
    """What a full disk says, as StoreFull."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StoreFull from error
        raise


def _settle(folder: Path) -> None:
    """Have the names in a folder be safe on the disk, as a file's bytes are by fsync."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
