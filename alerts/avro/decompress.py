"""The blocks of Avro container files decompressed, to no more than ``MAX_BLOCK_BYTES``: whatever they claim, and claim not.

Avro 1.11 specification, "Required Codecs" and "Optional Codecs"; raw snappy begins with its length, a varint of up to 32 bits.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pyarrow as pa

from alerts.errors import UnreadableInput
from alerts.limits import MAX_BLOCK_BYTES

_PIECE_BYTES = 2**18


def decompress(codec: str, data: bytes, offset: int) -> bytes:
    """The contents of a block that ends before byte ``offset`` of its file. Raises ``UnreadableInput``."""
    try:
        return CODECS[codec](data)
    except (ValueError, OSError, zlib.error) as error:
        raise UnreadableInput(f"the {codec} block before byte {offset} does not decompress: {error}") from error


def _deflate(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(-15)
    # One byte more than is allowed shows that there is more.
    plain = unpacker.decompress(data, MAX_BLOCK_BYTES + 1)
    _check(len(plain))
    if not unpacker.eof:
        raise ValueError("it is cut short")
    return plain


def _snappy(data: bytes) -> bytes:
    # The length that is claimed is what the library takes before it looks at the rest.
    size = _claimed(data[:-4])
    _check(size)
    plain: bytes = pa.decompress(memoryview(data)[:-4], size, "snappy", asbytes=True)
    if zlib.crc32(plain) != int.from_bytes(data[-4:], "big"):
        raise ValueError("its checksum is wrong")
    return plain


def _claimed(data: bytes) -> int:
    """The length that raw snappy begins with."""
    size = 0
    for place, byte in enumerate(data[:5]):
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return size
    raise ValueError("it does not begin with its length")


def _zstandard(data: bytes) -> bytes:
    # In pieces: a frame need not say how long its contents are, and may follow others.
    if not data:
        raise ValueError("it is empty")
    pieces: list[bytes] = []
    size = 0
    with pa.input_stream(pa.py_buffer(data), compression="zstd") as stream:
        while piece := stream.read(_PIECE_BYTES):
            size += len(piece)
            _check(size)
            pieces.append(piece)
    return b"".join(pieces)


def _check(size: int) -> None:
    if size > MAX_BLOCK_BYTES:
        raise ValueError(f"it has more than {MAX_BLOCK_BYTES:,} bytes, the limit")


CODECS: dict[str, Callable[[bytes], bytes]] = {"null": bytes, "deflate": _deflate, "snappy": _snappy, "zstandard": _zstandard}
