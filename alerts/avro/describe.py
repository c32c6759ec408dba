"""What bytes that are no packet are, for the message of a dead letter: their kind, and what to do about it."""

from __future__ import annotations

import json
import re

from alerts.avro.unpack import packing_of

_SHOWN_BYTES = 16
_LOOKED_AT_BYTES = 4096
_MAC_FOLDER = b"\0\0\0\1Bud1"
_UNPACK = "unpack it, and give the files in it or a .tar of them"
_BY_BEGINNING: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, which only names the file; fetch it with: git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer, which only names the file; fetch it with: git annex get"),
    (b"PK\x03\x04", f"a .zip archive; {_UNPACK}"),
    (b"PK\x05\x06", "an empty .zip archive"),
    (b"7z\xbc\xaf\x27\x1c", f"a .7z archive; {_UNPACK}"),
    (b"Rar!\x1a\x07", f"a .rar archive; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file (.zst); unpack it first, with: zstd -d"),
    (b"\x04\x22\x4d\x18", "an LZ4 file (.lz4); unpack it first, with: lz4 -d"),
    (b"\x1f\x9d", "a file of Unix compress (.Z); unpack it first, with: gzip -d"),
    (b"LZIP", "an lzip file (.lz); unpack it first, with: lzip -d"),
    (b"!<arch>\n", f"an ar archive; {_UNPACK}"),
    (b"PAR1", "a Parquet file, which holds rows and no packets; query it as a table"),
    (b"SIMPLE  =", "a FITS file, which holds images or tables and no packets"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, which holds arrays and no packets"),
    (b"SQLite format 3\0", "an SQLite database, which holds tables and no packets"),
    (b"ARROW1", "an Arrow file, which holds rows and no packets"),
    (b"ORC", "an ORC file, which holds rows and no packets"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\x7fELF", "a program"),
    (_MAC_FOLDER, "a .DS_Store, which a Mac leaves in its folders"),
)


def is_no_message(data: bytes) -> bool:
    """Whether bytes that begin with a zero, as wire messages do, are known to be something else."""
    return data.startswith(_MAC_FOLDER)


def describe(data: bytes) -> str:
    """What bytes that are no packet look like, for the message of a dead letter."""
    if not data:
        return "the input is empty (0 bytes)"
    begins = f"it begins with {data[:_SHOWN_BYTES]!r}"
    known = next((what for beginning, what in _BY_BEGINNING if data.startswith(beginning)), None)
    if known:
        return f"not an alert but {known}"
    if packing := packing_of(data):
        return f"not an alert but a {packing} file inside a compressed file; unpack it once"
    text = data[:_LOOKED_AT_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] == b"<":
        return _markup(text, data)
    if text[:1] in (b"{", b"["):
        return f"not an alert but {_json(data)}"
    return f"neither an Avro container, a wire message nor an archive: {begins}"


def _markup(text: bytes, data: bytes) -> str:
    begins = f"it begins with {data[:24]!r}"
    if re.match(rb"<(!doctype\s+html|html|head|body)\b", text, re.IGNORECASE):
        title = re.search(rb"<title[^>]*>([^<]{1,80})", text, re.IGNORECASE)
        said = f" ({' '.join(title.group(1).decode('utf-8', 'replace').split())})" if title else ""
        return f"not an alert but a web page{said}, an error or a login saved in its place; download it again: {begins}"
    return f"not an alert but a web page or XML: {begins}"


def _json(data: bytes) -> str:
    try:
        value = json.loads(data) if len(data) < 2**20 else None
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and value.get("type") == "record" and "fields" in value:
        return "an Avro schema (.avsc), without alerts; a folder of schemas is given with --schemas"
    return "JSON; alerts are read as Avro containers and wire messages"
