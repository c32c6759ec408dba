"""Compressed files as streams: gzip, bzip2 and xz, of one stream or of many behind each other, recognized by content.

Nothing is held but what is asked for. An error comes only when all that could be read before it has been given out.
Formats: RFC 1952 (gzip), the bzip2 file format, "The .xz File Format" 1.2.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import Any, BinaryIO, cast

from zlib_ng import gzip_ng, zlib_ng

from alerts.limits import MAX_UNPACKED_TIMES, MAX_XZ_MEMORY_BYTES, UNPACKED_FREELY_BYTES

GZIP_MAGIC = b"\x1f\x8b"
_MAGICS = {"gzip": GZIP_MAGIC, "bzip2": b"BZh", "xz": b"\xfd7zXZ\0"}
MAGIC_BYTES = 10
"""What ``packing_of`` needs of a file's beginning."""
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
"""What a first block begins with, or the end of a stream without one."""
_PIECE_BYTES = 16 * 2**10
_UNPACKED_BYTES = 256 * 2**10
"""So that what was just decompressed is still in the processor's cache when it is read."""
_READ_BYTES = 64 * 2**10
UNPACK_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    zlib.error,
    cast(type[Exception], zlib_ng.error),
    lzma.LZMAError,
)
"""What reading a damaged or vanishing file raises."""


def packing_of(head: bytes) -> str | None:
    """How a file that begins with these bytes is compressed: ``gzip``, ``bzip2`` or ``xz``."""
    if head.startswith(_MAGICS["bzip2"]) and not head[4:10].startswith(_BZIP2_BLOCKS):
        return None
    return next((packing for packing, magic in _MAGICS.items() if head.startswith(magic)), None)


def buffered(raw: BinaryIO, pieces_bytes: int = 2**20) -> io.BufferedReader:
    """``raw`` with ``peek``, read in pieces of 1 MB or of so many bytes."""
    return raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, raw), pieces_bytes)


def gunzip(stream: BinaryIO) -> io.BufferedReader:
    """The decompressed contents of a gzip stream of one or many gzip members."""
    return unpack(stream, "gzip")


def unpack(stream: BinaryIO, packing: str) -> io.BufferedReader:
    """The decompressed contents of a stream that ``packing_of`` has recognized."""
    # What GzipNGFile reads by, without its layers, which copy every byte twice more.
    reader: Any = zlib_ng._GzipReader(stream, gzip_ng.READ_BUFFER_SIZE) if packing == "gzip" else _Streams(stream, packing)
    return buffered(cast(BinaryIO, _Unpacked(reader)), _UNPACKED_BYTES)


def unpacked(stream: io.BufferedReader) -> io.BufferedReader:
    """A stream decompressed, if it is compressed."""
    packing = packing_of(stream.peek(MAGIC_BYTES))
    return unpack(stream, packing) if packing else stream


class _Unpacked(io.RawIOBase):
    """The contents of a compressed stream. An error comes only when all that could be read before it has been given out."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._error: Exception | None = None

    def readinto(self, buffer: Any, /) -> int:
        if self._error:
            raise self._error
        view = memoryview(buffer)
        used = 0
        while used < len(view):
            try:
                # In small pieces, because what a piece held before the damage is lost with it.
                size = self._reader.readinto(view[used : used + _PIECE_BYTES])
            except UNPACK_ERRORS as error:
                if used == 0:
                    raise
                self._error = error
                break
            if not size:
                break
            used += size
        return used

    def readable(self) -> bool:
        return True


class _Streams:
    """bzip2 or xz streams behind each other, as their parallel writers make them; zeros may stand between those of xz."""

    def __init__(self, stream: BinaryIO, packing: str) -> None:
        self._stream, self._packing = stream, packing
        self._taken = self._given = 0
        self._unpacker = self._begin()

    def _begin(self) -> Any:
        return bz2.BZ2Decompressor() if self._packing == "bzip2" else lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_XZ_MEMORY_BYTES)

    def readinto(self, view: memoryview) -> int:
        sent = b""
        while True:
            if self._unpacker.eof:
                sent = self._behind()
                if not sent:
                    return 0
                self._unpacker = self._begin()
            elif self._unpacker.needs_input:
                sent = self._read()
                if not sent:
                    raise EOFError(f"the {self._packing} stream ends before its end mark")
            piece = self._unpacker.decompress(sent, len(view))
            sent = b""
            if piece:
                self._given += len(piece)
                if self._given > UNPACKED_FREELY_BYTES + MAX_UNPACKED_TIMES * self._taken:
                    raise OSError(
                        f"the {self._packing} stream unpacks to more than {MAX_UNPACKED_TIMES:,} times its length, the limit"
                    )
                view[: len(piece)] = piece
                return len(piece)

    def _read(self) -> bytes:
        sent = self._stream.read(_READ_BYTES)
        self._taken += len(sent)
        return sent

    def _behind(self) -> bytes:
        """The beginning of a next stream; empty at the end of the file."""
        rest = bytes(self._unpacker.unused_data)
        while True:
            rest = rest.lstrip(b"\0") if self._packing == "xz" else rest
            if len(rest) < MAGIC_BYTES and (more := self._read()):
                rest += more
                continue
            if rest and packing_of(rest) != self._packing:
                raise OSError(f"behind the {self._packing} stream stand bytes that are none")
            return rest
