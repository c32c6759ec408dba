"""Text tables: CSV, TSV, and what people write around them, by Arrow's reader.

In front of the line that names the columns may stand blank lines, lines that begin with ``#``, and a title: a line of one
field where the next has several (the Transient Name Server's files begin with a date). The names may stand behind a ``#``
themselves. VizieR's TSV has a line of units and a line of dashes below them.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from alerts.catalogs.catalog import BadCatalog

_LOG = logging.getLogger(__name__)
CSV_BLOCK_BYTES = 2**20
_MAX_PREAMBLE_BYTES = 2**18
_INTEGER = r"^(0|-?[1-9][0-9]*)$"
_FLOAT = r"^[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:nan|inf|infinity)$"
_BEYOND_FLOAT = r"^[+-]?[0-9]{16,}$"
_NULL = r"^(null|NULL)?$"
_A_NUMBER = r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"


@dataclass(frozen=True)
class _Preamble:
    names: list[str]
    delimiter: str
    units: dict[str, str]
    blanks: bool
    """Whether blanks stand between delimiters and quotes."""
    begun: bytes
    """What was read beyond the names."""


def csv_reader(
    path: str, stream: io.BufferedReader, most_bytes: int | None = None
) -> tuple[pa_csv.CSVStreamingReader, list[str], dict[str, str]]:
    """A reader of all columns as text, of all of the file or not much more than ``most_bytes``; their names and units."""
    found = _preamble(path, stream)
    check_names(path, found.names)
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(found.names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    rest: Any = _Rows(path if most_bytes is None else None, found, stream)
    if most_bytes is not None:
        rest = io.BytesIO(io.BufferedReader(rest).read(most_bytes) or b"\n")
    else:
        rest = io.BufferedReader(rest, CSV_BLOCK_BYTES)
        # Arrow takes a file with nothing in it for an error, and one with an empty line for one without rows.
        rest = rest if rest.peek(1) else io.BytesIO(b"\n")
    reading = pa_csv.ReadOptions(column_names=found.names, block_size=CSV_BLOCK_BYTES)
    parsing = pa_csv.ParseOptions(newlines_in_values=True, delimiter=found.delimiter)
    return pa_csv.open_csv(rest, reading, parsing, convert), found.names, found.units


def _preamble(path: str, stream: io.BufferedReader) -> _Preamble:
    read, comment, line, after = 0, b"", b"", b""
    while True:
        line, read = stream.readline(_MAX_PREAMBLE_BYTES), read + len(line)
        if read > _MAX_PREAMBLE_BYTES:
            raise BadCatalog(f"{path} has no line that names the columns in its first {_MAX_PREAMBLE_BYTES:,} bytes")
        line = line.removeprefix(b"\xef\xbb\xbf")
        if not line or (line.strip() and not line.startswith(b"#")):
            break
        comment = line if line.strip() else comment
    text = line.decode("utf-8")
    delimiter = _delimiter(path, text or comment.decode("utf-8"))
    if comment and _named_by(comment.decode("utf-8", "replace"), text, delimiter):
        names, begun = _fields(comment.decode("utf-8").lstrip("# "), delimiter), line
    else:
        after = stream.readline(_MAX_PREAMBLE_BYTES)
        if (
            len(_fields(text, delimiter)) == 1
            and len(titled := _fields(after.decode("utf-8"), _delimiter(path, after.decode("utf-8")))) > 1
        ):
            # A title, and then the names; unless the second line is values and the first is short of names.
            if any(re.fullmatch(_A_NUMBER, text) for text in titled):
                raise BadCatalog(f"{path} has rows of {len(titled)} values under one name, {text.strip()!r}; name every column")
            text, delimiter, after = (
                after.decode("utf-8"),
                _delimiter(path, after.decode("utf-8")),
                stream.readline(_MAX_PREAMBLE_BYTES),
            )
        names, begun = _fields(text, delimiter), after
    if not names:
        raise BadCatalog(f"{path} is empty; its first line must name the columns")
    units: dict[str, str] = {}
    following = stream.readline(_MAX_PREAMBLE_BYTES) if delimiter == "\t" else b""
    if following and re.fullmatch(rb"[\s-]*-[\s-]*", following):
        told = _fields(begun.decode("utf-8"), delimiter)
        units = {name: unit for name, unit in zip(names, told, strict=False) if unit}
        begun = b""
    else:
        begun += following
    return _Preamble(names, delimiter, units, bool(re.search(re.escape(delimiter).encode() + rb' +"', line + begun)), begun)


def _delimiter(path: str, header: str) -> str:
    if re.search(r"\.tsv(\.|$)", path.lower()):
        return "\t"
    return next((mark for mark in (",", "\t", ";", "|") if mark in header), ",")


def _named_by(comment: str, first_row: str, delimiter: str) -> bool:
    """Whether the names are in the comment: the first row holds numbers, and has as many values."""
    values = _fields(first_row, delimiter)
    return len(_fields(comment.lstrip("# "), delimiter)) == len(values) and any(re.fullmatch(_A_NUMBER, text) for text in values)


def _fields(line: str, delimiter: str) -> list[str]:
    # A name may go over lines only within quotes, which no file has been seen to do.
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


class _Rows(io.RawIOBase):
    """The lines of a stream but those that begin with ``#``, outside of quotes; without ``blanks`` before quotes.

    Pieces without such a line, all but a few, go on as they are.
    """

    def __init__(self, path: str | None, preamble: _Preamble, stream: io.BufferedReader) -> None:
        """``path`` is named where it has to be said that a line is left out which could be a row."""
        self._path, self._stream = path, stream
        self._begun, self._delimiter, self._blanks = preamble.begun, preamble.delimiter.encode(), preamble.blanks
        self._columns = len(preamble.names)
        self._quoted = False
        self._held = b""
        self._like_rows = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._held:
            piece = self._stream.read(CSV_BLOCK_BYTES)
            if piece:
                piece += self._stream.readline()
            piece, self._begun = self._begun + piece, b""
            if not piece:
                self._say()
                return 0
            self._held = self._kept(piece)
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count

    def _kept(self, piece: bytes) -> bytes:
        if self._blanks:
            piece = re.sub(re.escape(self._delimiter) + rb' +(?=")', self._delimiter, piece)
            piece = re.sub(rb'"[ \t]+(?=' + re.escape(self._delimiter) + rb")", b'"', piece)
        if not piece.startswith(b"#") and b"\n#" not in piece:
            self._quoted ^= piece.count(b'"') % 2 == 1
            return piece
        lines = []
        for line in piece.splitlines(keepends=True):
            if self._quoted or not line.startswith(b"#"):
                lines.append(line)
                self._quoted ^= line.count(b'"') % 2 == 1
            else:
                self._like_rows += self._columns > 1 and line.count(self._delimiter) == self._columns - 1
        return b"".join(lines)

    def _say(self) -> None:
        if self._path and self._like_rows:
            text = "%s: %d lines that begin with # are taken for remarks, though they have as many values as there are columns"
            _LOG.warning(text, self._path, self._like_rows)
            self._like_rows = 0


def check_names(path: str, names: Iterable[str]) -> None:
    """Refuse a name that two columns have. Raises ``BadCatalog``."""
    every = list(names)
    for name in every:
        if every.count(name) > 1:
            raise BadCatalog(f"{path} has two columns {name!r}; rename one")


def csv_floats(path: str, name: str, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of texts as floats, however these are written. Raises ``BadCatalog``."""
    wrong = not_a_number(texts)
    if wrong is not None:
        raise BadCatalog(f"column {name!r} of {path} has {wrong!r}; write all of it as decimal numbers")
    return _bare(texts).cast(pa.float64())


def not_a_number(texts: pa.ChunkedArray) -> str | None:
    """The first text that is no number, if there is one."""
    values = _bare(texts)
    try:
        values.cast(pa.float64())
    except pa.ArrowInvalid:
        for text in values.unique().to_pylist():
            try:
                pa.scalar(text).cast(pa.float64())
            except pa.ArrowInvalid:
                return str(text)
    return None


def _bare(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts of numbers without blanks around them, null where they say so."""
    values = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.match_substring_regex(values, _NULL), pa.scalar(None, pa.string()), values)


def typed(texts: pa.ChunkedArray, is_id: bool) -> pa.ChunkedArray:
    """A column of texts as the integers or floats that are written in it; else as it is."""
    values = _bare(texts)
    if values.null_count == len(values):
        return texts
    if _all_match(values, _INTEGER):
        for kind in (pa.int64(), pa.uint64()):
            try:
                return values.cast(kind)
            except pa.ArrowInvalid:
                continue
    elif not is_id and _all_match(values, _FLOAT) and not pc.any(pc.match_substring_regex(values, _BEYOND_FLOAT)).as_py():
        return values.cast(pa.float64())
    return texts


def _all_match(values: pa.ChunkedArray, pattern: str) -> bool:
    """Whether all texts that are not null match; most columns of text tell with their first rows."""
    return all(pc.all(pc.match_substring_regex(chunk, pattern), min_count=0).as_py() for chunk in values.chunks)
