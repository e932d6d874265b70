"""CSV: text of any usual encoding and separator, one row at a time, read past rows that are broken.

A file is looked through once for its encoding before its first row is given out: UTF-8 and Windows text can be told
apart only by what is in them.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import IO, Literal, NamedTuple, cast

from core.tables.values import Limits, Progress, Row, Source, UnreadableFile, normalized, opened, size_of

SEPARATORS = (",", ";", "\t", "|")

Encoding = Literal["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]

_CHUNK = 1 << 18
_LINE_MAX = 16_000_000
"""Characters of one line: a file without line ends must not be taken into memory whole."""
_CELL_MAX = 600_000
"""Characters of one cell: descriptions are kept up to 500,000, and a longer one is still named at its cell."""
_ZEROS_MAX = 8
"""Zero bytes that a text may have wherever it comes from; a larger one may have one in a thousand."""
_HEADS_BELOW = 20
"""Lines below the first that may be the one that names the columns: there may be a title above the table."""
_HEADS_MAX = 100_000
"""Characters of a line that names columns."""
_SURE = 2
"""So many times more letters than broken bytes make a text UTF-8: by chance Windows text has hardly one such letter."""
_NOT_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_GZIP = b"\x1f\x8b"

# It holds for the whole process: nothing else in it reads CSV with a limit in mind.
csv.field_size_limit(_CELL_MAX)


class Dress(NamedTuple):
    """How the cells of a CSV are written down. `names_separator`: its first row is Excel's `sep=;`."""

    encoding: Encoding
    separator: str
    names_separator: bool
    is_gzip: bool


def is_gzip(source: Source) -> bool:
    """Whether it is packed with gzip."""
    with opened(source) as file:
        return file.read(2) == _GZIP


def unpacked(source: Source) -> IO[bytes]:
    """The bytes of a source, unpacked where it is packed with gzip."""
    file = opened(source)
    return cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_gzip(source) else file


def dress(name: str, source: Source, known_heads: Collection[str], limits: Limits) -> Dress:
    """Encoding and separator; `known_heads`, normalized, tell which one names the columns. Raises UnreadableFile."""
    encoding = _encoding(name, source, limits)
    with _text(source, encoding) as text:
        first = _line(name, text)
        named = re.fullmatch(r'"?sep=(.)"?', first.strip("\r\n "), re.IGNORECASE)
        if named and named.group(1) not in SEPARATORS:
            raise UnreadableFile(
                f"{name}: “{first.strip()}” names no separator: use a comma, a semicolon, a tab or a bar"
            )
        if named:
            return Dress(encoding, named.group(1), True, is_gzip(source))
        while first and not first.strip():
            first = _line(name, text)
        below = [line for line in (_line(name, text) for _ in range(_HEADS_BELOW)) if line.strip()]
    return Dress(encoding, _separator(name, first, below, known_heads), False, is_gzip(source))


def rows(name: str, source: Source, worn: Dress, progress: Progress) -> Iterator[Row]:
    """All rows in order, blank ones too. Raises UnreadableFile where not even a row could be told.

    After a broken row it is read on at its next line. What a stray quotation mark swallowed are rows again; a piece of
    a broken row is none, so rows are broken too until one has as many cells as the first.
    """
    progress.total = size_of(source)
    with opened(source) as file, _as_text(file, worn) as text:
        lines = _Lines(name, text)
        number = 0
        if worn.names_separator:
            next(lines)
            lines.taken.clear()
            number = 1
        reader = csv.reader(lines, delimiter=worn.separator, strict=True)
        width, in_doubt = 0, False
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                progress.done = progress.total
                return
            except csv.Error as error:
                number += 1
                in_doubt = True
                swallowed = len(lines.taken) - 1
                yield Row(number, [lines.back_to_second()], broken=why_broken(error), swallowed=swallowed)
                continue
            number += 1
            if in_doubt and len(cells) != width:
                why = f"it follows a broken row and has {len(cells)} cells, where the first row has {width}"
                yield Row(number, [lines.back_to_second()], broken=why)
                continue
            in_doubt = False
            width = width or (len(cells) if any(map(str.strip, cells)) else 0)
            lines.taken.clear()
            if not number % 256:
                progress.done = file.tell()
            yield Row(number, cells)


def why_broken(error: csv.Error) -> str:
    """The reader's own words, as people know the matter."""
    if "field limit" in str(error):
        return (
            f"there is a cell of more than {csv.field_size_limit():,} characters: is a quotation mark missing above it?"
        )
    if "unexpected end" in str(error):
        return f"a quotation mark is not closed, so that nothing below can be read ({error})"
    return f"a quotation mark is not closed or stands in the middle of a cell ({error})"


class Writer:
    """Writes cells in a dress, to be read back as they are. Windows text becomes UTF-8, which lacks nothing."""

    def __init__(self, out: IO[bytes], worn: Dress) -> None:
        encoding = "utf-8-sig" if worn.encoding in ("utf-8", "cp1252") else worn.encoding
        self._text = io.TextIOWrapper(out, encoding, newline="")
        if encoding in ("utf-16-le", "utf-16-be"):
            self._text.write("\ufeff")
        if worn.names_separator:
            self._text.write(f"sep={worn.separator}\r\n")
        self._writer = csv.writer(self._text, delimiter=worn.separator)

    def add(self, cells: Sequence[str]) -> None:
        self._writer.writerow(cells)

    def close(self) -> None:
        """Writes what is left; the file stays open."""
        self._text.detach()

    def drop(self) -> None:
        """Lets go of the file; nothing where it is closed."""
        with suppress(OSError, ValueError):
            self._text.detach()


class _Lines:
    """Lines of a text, remembering those of the row that is being read, so that they can be read again."""

    def __init__(self, name: str, text: io.TextIOWrapper) -> None:
        self._name = name
        self._text = text
        self._again: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else _line(self._name, self._text)
        if not line:
            raise StopIteration
        self.taken.append(line)
        return line

    def back_to_second(self) -> str:
        """The first line of the row; the others are read again."""
        first, *others = self.taken
        self._again.extendleft(reversed(others))
        self.taken.clear()
        return first.rstrip("\r\n")


def _line(name: str, text: io.TextIOWrapper) -> str:
    try:
        line = text.readline(_LINE_MAX)
    except UnicodeError:
        raise UnreadableFile(f"{name} is not whole: upload it again, or save it as “CSV UTF-8”") from None
    except (EOFError, OSError, zlib.error):
        raise UnreadableFile(f"{name} is packed and damaged: pack it again, or upload it unpacked") from None
    if len(line) >= _LINE_MAX:
        raise UnreadableFile(f"{name} has a line of more than {_LINE_MAX:,} characters: it is no table")
    return line


def _text(source: Source, encoding: Encoding) -> io.TextIOWrapper:
    return _decoded(unpacked(source), encoding)


def _as_text(file: IO[bytes], worn: Dress) -> io.TextIOWrapper:
    return _decoded(cast(IO[bytes], gzip.GzipFile(fileobj=file)) if worn.is_gzip else file, worn.encoding)


def _decoded(file: IO[bytes], encoding: Encoding) -> io.TextIOWrapper:
    """Bytes that are no UTF-8 become lone surrogates, by which their cells are known (see `values.whole`)."""
    if encoding in ("utf-8", "utf-8-sig"):
        # A byte order mark is no part of the first head, whichever encoding it marks.
        return io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    return io.TextIOWrapper(file, encoding, newline="")


def _separator(name: str, first: str, below: Sequence[str], known_heads: Collection[str]) -> str:
    """The separator by which a row names most columns that we know; then the one that makes most cells of the first."""

    def fit(separator: str) -> tuple[int, int]:
        cells = next(csv.reader([first], delimiter=separator), [])
        known = len({normalized(cell) for cell in cells} & set(known_heads))
        return max(known, *(_known_in(line, separator, known_heads) for line in below), 0), len(cells)

    try:
        return max(SEPARATORS, key=fit)
    except csv.Error as error:
        raise UnreadableFile(f"{name}, row 1: {why_broken(error)}") from None


def _known_in(line: str, separator: str, known_heads: Collection[str]) -> int:
    """How many known columns a line names; none where it is a piece of a row."""
    try:
        cells = next(csv.reader([line[:_HEADS_MAX]], delimiter=separator, strict=True), [])
    except csv.Error:
        return 0
    found = len({normalized(cell) for cell in cells} & set(known_heads))
    return found if found > 1 else 0


def _encoding(name: str, source: Source, limits: Limits) -> Encoding:
    """By its mark, by zeros in every second byte, else by what it can be. Looks through the whole file."""
    try:
        with unpacked(source) as file:
            return _encoding_of(name, file, limits)
    except (EOFError, OSError, zlib.error):
        raise UnreadableFile(f"{name} is packed and damaged: pack it again, or upload it unpacked") from None


def _encoding_of(name: str, file: IO[bytes], limits: Limits) -> Encoding:
    chunk = file.read(_CHUNK)
    if chunk[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        raise UnreadableFile(f"{name} is UTF-32, which hardly any program reads: save it as “CSV UTF-8”")
    wide = _wide(chunk)
    is_cp1252, is_marked = True, chunk.startswith(codecs.BOM_UTF8)
    size, zeros, read = 0, 0, _AsUtf8()
    while chunk:
        size += len(chunk)
        if size > limits.unpacked_max:
            raise UnreadableFile(f"{name} unpacks to more than {limits.unpacked_max / 1e6:,.0f} MB: split it")
        if not wide:
            zeros += chunk.count(0)
            if zeros > max(_ZEROS_MAX, size // 1_000):
                raise UnreadableFile(f"{name} is neither CSV nor .xlsx")
            read.add(chunk)
            is_cp1252 = is_cp1252 and not _NOT_CP1252.search(chunk)
        chunk = file.read(_CHUNK)
    if wide:
        return wide
    broken = size - read.size
    if is_marked:
        return "utf-8-sig"
    if not broken or read.letters > _SURE * broken:
        return "utf-8"
    if is_cp1252:
        return "cp1252"
    raise UnreadableFile(f"{name} is neither UTF-8 nor Windows text: save it as “CSV UTF-8”")


class _AsUtf8:
    """Bytes looked at as UTF-8: `size` is that of what can be read so, `letters` those beyond ASCII among it."""

    def __init__(self) -> None:
        self.size = 0
        self.letters = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    def add(self, chunk: bytes) -> None:
        text = self._decoder.decode(chunk)
        if text.isascii():
            self.size += len(text)
        else:
            self.size += len(text.encode())
            self.letters += len(text) - len(text.encode("ascii", "ignore"))


def _wide(chunk: bytes) -> Encoding | None:
    if chunk[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    head = chunk[:200]
    if len(head) >= 4 and b"\0" in head:
        if not any(head[::2]) and all(head[1::2]):
            return "utf-16-be"
        if all(head[::2]) and not any(head[1::2]):
            return "utf-16-le"
    return None
