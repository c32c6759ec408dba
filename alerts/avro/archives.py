"""Alert archives as streams: ``.tar``, and compressed ones by way of ``unpack``, read front to back, never unpacked to disk.

The headers are parsed by ``tarfile.TarInfo``; the walk is ours, because ``tarfile`` takes a damaged header or a missing
end mark in mid-archive for the end, without a word, and the alerts behind it would be lost.
Format: POSIX.1-2017 pax interchange format, with GNU tar's long names.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, cast

from alerts.avro.unpack import UNPACK_ERRORS
from alerts.errors import UnreadableInput
from alerts.limits import MAX_CLAIMED_BYTES, MAX_MEMBER_NAME_BYTES, MAX_PADDING_BYTES

_BLOCK_BYTES = tarfile.BLOCKSIZE
_FIELD_ENDS, _CHECKSUM_END = (b"\0", b" "), b"\0 "
_GNU_MAP_GOES_ON, _GNU_NEXT_MAP_GOES_ON = 482, 504
"""Bytes of GNU tar's header of a sparse member, and of a block of its map, that tell of a further block."""
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.XGLTYPE,
)
_WITHOUT_CONTENTS = (
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)
READ_ERRORS = UNPACK_ERRORS
"""What reading a damaged or vanishing file raises."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a tar archive: where its bytes are. ``is_file`` is false for folders, links and devices.

    The bytes of one that ``is_sparse`` are not its contents: its zeros are left out, however many it claims.
    """

    name: str
    offset_bytes: int
    size_bytes: int
    is_file: bool
    is_sparse: bool = False


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with these bytes (512 or more) is a tar archive."""
    try:
        _parse(head[:_BLOCK_BYTES])
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        # A block of zeros: an empty archive, if there is no second block it is too short for one.
        return len(head) >= 2 * _BLOCK_BYTES and not any(head[: 2 * _BLOCK_BYTES])
    except tarfile.HeaderError:
        return False
    return True


def walk_tar(stream: BinaryIO, *, seekable: bool = False, end_mark: bool = True) -> Iterator[tuple[Member, BinaryIO]]:
    """The members of a tar archive in order, each with the stream standing at its first byte.

    The caller may read up to ``size_bytes`` of the member, or nothing. With ``seekable`` the rest is jumped over.
    Without ``end_mark`` the archive may end behind any member: real nights do, and where the archive came gzipped the
    checksum at the end of the stream has already shown that nothing is missing.
    Raises ``UnreadableInput`` where the archive is cut or damaged; what came before has been yielded.
    """
    offset = 0
    long_name: str | None = None
    pax: dict[str, str] = {}
    ended = not end_mark
    padding = 0
    while True:
        block = stream.read(_BLOCK_BYTES)
        if not block and ended and not (pax or long_name):
            return
        try:
            info = _parse(block)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            # An end mark, if only zeros follow. Reading on to the end tells it from a header that was zeroed, finds the
            # members of an archive put behind another, and lets a gzip stream check its sum.
            ended = True
            offset += _BLOCK_BYTES
            padding += _BLOCK_BYTES
            if padding > MAX_PADDING_BYTES:
                raise UnreadableInput(f"the tar archive has more than {MAX_PADDING_BYTES} zeros before byte {offset}") from None
            continue
        except tarfile.HeaderError as error:
            what = (
                f"ends at byte {offset} without an end mark" if not block else f"has a damaged header at byte {offset}: {error}"
            )
            raise UnreadableInput(f"the tar archive {what}") from error
        size = int(pax.get("size", info.size))
        if not 0 <= size <= MAX_CLAIMED_BYTES:
            raise UnreadableInput(f"the tar archive has a damaged header at byte {offset}: a size of {size} bytes")
        offset += _BLOCK_BYTES
        padding = 0
        if info.type in _EXTENSIONS:
            content = _extension(stream, size, offset)
            # All are looked at, also those that say nothing of use: a member that is no extension must not get lost in one.
            if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
                name = _long_name(content)
                long_name = name if info.type == tarfile.GNUTYPE_LONGNAME else long_name
            else:
                records = _pax_records(content)
                pax = pax if info.type == tarfile.XGLTYPE else records
            _skip(stream, offset + size, offset + _padded(size), seekable)
            offset += _padded(size)
            continue
        name = pax.get("GNU.sparse.name") or pax.get("path") or long_name or info.name
        if info.type == tarfile.GNUTYPE_SPARSE:
            offset = _behind_the_map(stream, block, offset)
        is_sparse = info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in pax)
        # Folders, links and devices have no contents, whatever size their header claims.
        size = 0 if info.type in _WITHOUT_CONTENTS else size
        counted = _Counted(stream, size)
        yield Member(name, offset, size, info.type in tarfile.REGULAR_TYPES, is_sparse), cast(BinaryIO, counted)
        _skip(stream, offset + counted.used, offset + _padded(size), seekable)
        offset += _padded(size)
        long_name, pax = None, {}
        ended = not end_mark


def read_member(member: Member, stream: BinaryIO) -> bytes:
    """The bytes of a member. Raises ``UnreadableInput`` when they are not all there."""
    data = stream.read(member.size_bytes)
    if len(data) < member.size_bytes:
        raise UnreadableInput(f"member {member.name!r} is cut short: {len(data)} of {member.size_bytes} bytes")
    return data


def is_alert_name(name: str) -> bool:
    """Whether a file of this name may hold alerts: hidden files (``._x`` of a Mac among them) and side files do not."""
    base = name.rstrip("/").rsplit("/", 1)[-1]
    return bool(base) and not base.startswith(".") and not base.lower().endswith(_SIDE_FILES)


_SIDE_FILES = (
    ".avsc",
    ".md",
    ".txt",
    ".csv",
    ".json",
    ".yml",
    ".yaml",
    ".parquet",
    ".fits",
    ".fits.gz",
    ".log",
    ".md5",
    ".sha256",
    ".py",
    ".pdf",
    ".png",
)


class _Counted:
    """The first ``size`` bytes of a stream, and how many of them were read."""

    __slots__ = ("_size", "_stream", "used")

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size, self.used = stream, size, 0

    def read(self, size: int = -1, /) -> bytes:
        left = self._size - self.used
        data = self._stream.read(left if size < 0 else min(size, left))
        self.used += len(data)
        return data


class _Header(NamedTuple):
    """What the walk needs of a member's header."""

    name: str
    type: bytes
    size: int


def _parse(block: bytes) -> _Header:
    """Raises ``tarfile.HeaderError``."""
    usual = _usual_header(block)
    if usual is not None:
        return usual
    info = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    return _Header(info.name, info.type, info.size)


def _usual_header(block: bytes) -> _Header | None:
    """A file's header as tar programs write it, which ``tarfile`` takes longer to parse than a packet takes to decode.

    None for all others: damaged ones, folders, and those of names or sizes for which the format has its special ways.
    """
    size, checksum = block[124:135], block[148:154]
    is_usual = (
        block.startswith(b"ustar", 257)
        and block[156:157] == tarfile.REGTYPE
        and block[135:136] in _FIELD_ENDS
        and block[154:156] == _CHECKSUM_END
        and block[345:346] == b"\0"  # no prefix to the name
        and size.isdigit()
        and checksum.isdigit()
    )
    if not is_usual or len(block) < _BLOCK_BYTES:
        return None
    try:
        # The checksum's own field counts as eight spaces.
        if int(checksum, 8) != _sum(block[:148]) + 8 * ord(" ") + _sum(block[156:384]) + _sum(block[384:]):
            return None
        return _Header(block[:100].partition(b"\0")[0].decode(), tarfile.REGTYPE, int(size, 8))
    except ValueError:
        return None


def _sum(data: bytes) -> int:
    """The sum of up to 256 bytes, seven times faster than Python's: the low half of Adler-32 is one more, modulo 65,521."""
    return (zlib.adler32(data) & 0xFFFF) - 1


def _padded(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _behind_the_map(stream: BinaryIO, block: bytes, offset: int) -> int:
    """Read the blocks in which GNU tar goes on with the map of a sparse member; gives the offset behind them."""
    goes_on = block[_GNU_MAP_GOES_ON]
    while goes_on:
        block = stream.read(_BLOCK_BYTES)
        if len(block) < _BLOCK_BYTES:
            raise UnreadableInput(f"the tar archive is cut short in the map of a sparse member at byte {offset}")
        offset += _BLOCK_BYTES
        goes_on = block[_GNU_NEXT_MAP_GOES_ON]
    return offset


def _extension(stream: BinaryIO, size: int, offset: int) -> bytes:
    if size > MAX_MEMBER_NAME_BYTES:
        raise UnreadableInput(
            f"the tar archive has a header extension of {size} bytes at byte {offset}; the limit is {MAX_MEMBER_NAME_BYTES}"
        )
    content = stream.read(size)
    if len(content) < size:
        raise UnreadableInput(f"the tar archive is cut short in the header extension at byte {offset}")
    return content


def _long_name(content: bytes) -> str:
    name = content.rstrip(b"\0")
    if b"\0" in name:
        raise UnreadableInput(f"the tar archive has a damaged long name: {name[:40]!r}")
    return name.decode("utf-8", "backslashreplace")


def _pax_records(content: bytes) -> dict[str, str]:
    r"""The ``LENGTH KEY=VALUE\\n`` records of a pax header."""
    records = {}
    while content:
        length, _, _ = content.partition(b" ")
        if not re.fullmatch(rb"[0-9]{1,6}", length) or not 0 < int(length) <= len(content):
            raise UnreadableInput(f"the tar archive has a damaged pax header: {content[:40]!r}")
        record = content[len(length) + 1 : int(length) - 1].decode("utf-8", "backslashreplace")
        key, _, value = record.partition("=")
        records[key] = value
        content = content[int(length) :]
    if not re.fullmatch("[0-9]{1,19}", records.get("size", "0")):
        raise UnreadableInput(f"the tar archive has a pax header with size {records['size']!r}")
    return records


def _skip(stream: BinaryIO, position: int, target: int, seekable: bool) -> None:
    """Move a stream that stands at ``position`` on to ``target``."""
    if seekable and target > position:
        # The last byte is read, because seeking beyond the end of a file is no error.
        stream.seek(target - 1)
        position = target - 1
    while position < target:
        piece = stream.read(min(target - position, 2**20))
        if not piece:
            raise UnreadableInput(f"the tar archive is cut short at byte {position}")
        position += len(piece)
