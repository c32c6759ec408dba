"""Alert packets and their framing, recognised by content: Avro container files and Confluent wire messages.

Formats: Avro 1.11 specification, "Object Container Files"; Confluent wire format (a zero byte, the schema's id as a
4-byte big-endian integer, the datum). A framing is opened here; its datums are decoded in ``alerts.avro.decode``.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, NoReturn

import fastavro

from alerts.avro.decompress import CODECS, decompress
from alerts.avro.describe import describe, is_no_message
from alerts.avro.weigh import weigh
from alerts.avro.wire_schemas import WireSchemas, WriterSchema, writer_schema
from alerts.errors import AlertError, DeadLetter, UnreadableInput
from alerts.limits import (
    MAX_ALERT_BYTES,
    MAX_BLOCK_BYTES,
    MAX_CONTAINER_HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_SCHEMA_TIMES_DATUM,
    MIN_ALERT_BYTES,
)

CONTAINER_MAGIC = b"Obj\x01"
WIRE_MAGIC = b"\x00"
WIRE_HEADER_BYTES = 5
_CHUNK_BYTES = 4 * 2**20
_SYNC_BYTES = 16
CONTAINER_END = bytes(_SYNC_BYTES)
"""Behind each block of a container of ours."""
_ONE_RECORD = b"\x02"
_SIZE_BYTES = 4
"""Of the size of a usual block, a varint."""
_NO_ATTRIBUTES: Mapping[str, str | int] = {}
_HEADER_SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "container_header",
        "fields": [
            {"name": "magic", "type": {"type": "fixed", "name": "magic", "size": 4}},
            {"name": "meta", "type": {"type": "map", "values": "bytes"}},
            {"name": "sync", "type": {"type": "fixed", "name": "sync", "size": _SYNC_BYTES}},
        ],
    }
)


class Packet(NamedTuple):
    """One alert as sent: the datum ``data[start:stop]`` and the schema it was written with.

    A tuple, because there is one for every alert and a frozen dataclass takes three times as long to make.
    """

    data: bytes
    start: int
    stop: int
    schema: WriterSchema
    source: str
    alone: bool = True
    """Whether ``data`` is the input as it came, with nothing else in it."""
    published_at: datetime | None = None
    attributes: Mapping[str, str | int] = _NO_ATTRIBUTES

    @property
    def datum(self) -> memoryview:
        """The Avro datum without its framing."""
        return memoryview(self.data)[self.start : self.stop]

    def as_sent(self) -> bytes:
        """The packet by itself: the input, or a container of its own for a record among others."""
        return self.data if self.alone else wrap_in_container(self.schema, self.datum)

    def to_keep(self) -> bytes | None:
        """The packet for a dead letter; None where it would be nearly all schema.

        A megabyte of tiny records would become terabytes of dead letters.
        """
        nearly_all_schema = len(self.schema.text) > MAX_SCHEMA_TIMES_DATUM * (self.stop - self.start)
        return None if nearly_all_schema and not self.alone else self.as_sent()


def wrap_in_container(schema: WriterSchema, block: bytes | memoryview, count: int = 1, codec: str = "null") -> bytes:
    """An Avro container file that holds the one datum, or a block of ``count`` datums as ``codec`` left it."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, count)
    fastavro.schemaless_writer(out, {"type": "long"}, len(block))
    return b"".join([container_begin(schema, codec), out.getvalue(), block, CONTAINER_END])


@functools.lru_cache(maxsize=32)
def container_begin(schema: WriterSchema, codec: str = "null") -> bytes:
    """What stands before the blocks of a container of ours."""
    out = io.BytesIO()
    meta = {"avro.schema": schema.text, "avro.codec": codec.encode()}
    fastavro.schemaless_writer(out, _HEADER_SCHEMA, {"magic": CONTAINER_MAGIC, "meta": meta, "sync": bytes(_SYNC_BYTES)})
    return out.getvalue()


def open_packets(
    data: bytes,
    source: str,
    wire_schemas: WireSchemas,
    published_at: datetime | None = None,
    attributes: Mapping[str, str | int] | None = None,
    *,
    bare: WriterSchema | None = None,
) -> Iterator[Packet | DeadLetter]:
    """The packets in one input held in memory: an archive member, a message, a small file. Never raises for bad input.

    With ``bare`` what is no container is a datum of that schema, without any framing: its first bytes may be any.
    """
    attributes = attributes or {}
    packet = _usual_container(data, source, published_at, attributes)
    if packet is not None:
        yield packet if not packet.schema.branches else _of_branch(packet)
        return
    try:
        if data.startswith(CONTAINER_MAGIC):
            yield from map(_of_branch, _container(_Window(data), source, published_at, attributes))
        elif bare is not None:
            _check_length(len(data))
            # Not alone: kept as a container, it is known with its schema wherever it is met again.
            yield _of_branch(Packet(data, 0, len(data), bare, source, False, published_at, attributes))
        elif data.startswith(WIRE_MAGIC) and not is_no_message(data):
            yield _of_branch(_wire(data, source, wire_schemas, published_at, attributes))
        else:
            raise UnreadableInput(describe(data))
    except AlertError as error:
        yield DeadLetter.of("read", error, source, data, attributes=attributes)


def open_container(stream: io.BufferedReader, source: str) -> Iterator[Packet | DeadLetter]:
    """The packets of an Avro container file of any size, read block by block. Never raises for bad input."""
    window = _Window(b"", stream)
    try:
        yield from map(_of_branch, _container(window, source, None, {}))
    except AlertError as error:
        yield DeadLetter.of("read", error, source, window.whole(), attributes={"offset_bytes": window.offset})


def _of_branch(item: Packet | DeadLetter) -> Packet | DeadLetter:
    """A packet whose schema is a union at its top as one of the branch that its first bytes name; any other as it is.

    Where they name no branch the packet stays as it is, for ``alerts.avro.decode`` to judge.
    """
    if isinstance(item, DeadLetter) or not item.schema.branches:
        return item
    file = io.BytesIO(item.data[item.start : min(item.start + _SIZE_BYTES, item.stop)])
    try:
        number = fastavro.schemaless_reader(file, {"type": "long"}, None)
    except Exception:  # see _parse_header
        return item
    if not (isinstance(number, int) and 0 <= number < len(item.schema.branches)):
        return item
    return item._replace(start=item.start + file.tell(), schema=item.schema.branches[number])


def _wire(
    data: bytes,
    source: str,
    wire_schemas: WireSchemas,
    published_at: datetime | None,
    attributes: Mapping[str, str | int],
) -> Packet:
    if len(data) <= WIRE_HEADER_BYTES:
        raise UnreadableInput(f"a wire message of {len(data)} bytes holds no alert (header is {WIRE_HEADER_BYTES} bytes)")
    _check_length(len(data) - WIRE_HEADER_BYTES)
    schema = wire_schemas.get(int.from_bytes(data[1:WIRE_HEADER_BYTES], "big"))
    return Packet(data, WIRE_HEADER_BYTES, len(data), schema, source, True, published_at, attributes)


class _Window:
    """Bytes of an input from the current position on, filled up from a stream where there is one."""

    def __init__(self, data: bytes, stream: io.BufferedReader | None = None) -> None:
        self.data, self.position = data, 0
        self._stream, self._dropped_bytes = stream, 0

    @property
    def offset(self) -> int:
        """Position in the whole input, bytes."""
        return self._dropped_bytes + self.position

    def whole(self) -> bytes | None:
        """The whole input if it is still all here and small enough to keep."""
        complete = self._dropped_bytes == 0 and not self.fill(len(self.data) - self.position + 1)
        return self.data if complete and len(self.data) <= MAX_PAYLOAD_BYTES else None

    def fill(self, size: int) -> bool:
        """Get ``size`` bytes from the position on into ``data``; False when the input ends before."""
        missing = self.position + size - len(self.data)
        if missing > 0 and self._stream is not None:
            # A length read from a damaged file may claim any size: read in chunks, so that memory follows what is there.
            # What is behind the position goes, but a small input stays whole, to be kept in a dead letter.
            behind = self.position if len(self.data) > MAX_PAYLOAD_BYTES else 0
            pieces = [self.data[behind:]]
            # read1 gives out what was read before an error; read would lose it.
            while missing > 0 and (piece := self._stream.read1(_CHUNK_BYTES)):
                pieces.append(piece)
                missing -= len(piece)
            self._dropped_bytes += behind
            self.data, self.position = b"".join(pieces), self.position - behind
        return missing <= 0

    def at_end(self) -> bool:
        return not self.fill(1)

    def take(self, size: int, what: str) -> slice:
        """The next ``size`` bytes as a slice of ``data``. Raises ``UnreadableInput`` when they are not all there."""
        if size < 0 or not self.fill(size):
            left = len(self.data) - self.position
            raise UnreadableInput(f"cut short at byte {self.offset}: {what} is {size} bytes long, {left} are left")
        self.position += size
        return slice(self.position - size, self.position)

    def take_long(self, what: str) -> int:
        """The next zigzag varint."""
        value = shift = 0
        while True:
            place = self.take(1, what)  # first, because it may put other bytes into ``data``
            byte = self.data[place][0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
            shift += 7
            if shift > 63:
                raise UnreadableInput(f"{what} at byte {self.offset} is not a number of 64 bits")


@dataclass(frozen=True)
class _Header:
    prefix: bytes
    """The header's bytes up to its sync marker, which differs from file to file."""
    schema: WriterSchema
    codec: str


_headers: list[_Header] = []
"""Headers met lately, latest first: a survey's packets all begin with the same bytes."""


def _usual_container(
    data: bytes, source: str, published_at: datetime | None, attributes: Mapping[str, str | int]
) -> Packet | None:
    """The packet of a container as surveys send them: a header met before, one plain block, one record. None for any other."""
    for header in _headers:
        if data.startswith(header.prefix):
            break
    else:
        return None
    begin = len(header.prefix) + _SYNC_BYTES
    if header.codec != "null" or not data.startswith(_ONE_RECORD, begin):
        return None
    start = begin + len(_ONE_RECORD)
    stop, size, shift = len(data) - _SYNC_BYTES, 0, 0
    for byte in data[start : start + _SIZE_BYTES]:
        size |= (byte & 0x7F) << shift
        start, shift = start + 1, shift + 7
        if byte < 0x80:
            break
    else:
        return None
    # Twice, as zigzag has it.
    if size != 2 * (stop - start) or stop - start > MAX_ALERT_BYTES or not data.endswith(data[begin - _SYNC_BYTES : begin]):
        return None
    return Packet(data, start, stop, header.schema, source, True, published_at, attributes)


def _take_header(window: _Window) -> tuple[_Header, bytes]:
    window.fill(len(CONTAINER_MAGIC))
    for known in _headers:
        if window.fill(len(known.prefix) + _SYNC_BYTES) and window.data.startswith(known.prefix, window.position):
            window.take(len(known.prefix), "header")
            return known, window.data[window.take(_SYNC_BYTES, "sync marker")]
    header, sync = _parse_header(window)
    _headers[:] = [header, *_headers[:15]]
    return header, sync


def _parse_header(window: _Window) -> tuple[_Header, bytes]:
    while True:
        # No more than a header may have: it may claim any number of entries, and the bytes behind it look like some.
        file = io.BytesIO(window.data[window.position : window.position + MAX_CONTAINER_HEADER_BYTES])
        try:
            fields: Any = fastavro.schemaless_reader(file, _HEADER_SCHEMA, None)
            break
        except Exception as error:  # fastavro has no base class for what damaged bytes make it raise
            held = len(window.data) - window.position
            if held >= MAX_CONTAINER_HEADER_BYTES or not window.fill(held + 1):
                raise UnreadableInput(f"the container's header is damaged or cut ({type(error).__name__}: {error})") from error
    size = file.tell()
    prefix = window.data[window.take(size - _SYNC_BYTES, "header")]
    window.take(_SYNC_BYTES, "sync marker")
    if "avro.schema" not in fields["meta"]:
        raise UnreadableInput("the container's header holds no avro.schema")
    codec = fields["meta"].get("avro.codec", b"null").decode("utf-8", "replace")
    if codec not in CODECS:
        raise UnreadableInput(f"codec {codec[:40]!r} is not one of {', '.join(CODECS)}")
    return _Header(prefix, writer_schema(fields["meta"]["avro.schema"]), codec), fields["sync"]


def _container(
    window: _Window, source: str, published_at: datetime | None, attributes: Mapping[str, str | int]
) -> Iterator[Packet | DeadLetter]:
    """Packets of a container; raises ``AlertError`` where it cannot be read on."""
    header, sync = _take_header(window)
    first, empty = True, True
    while not window.at_end():
        count = window.take_long("the number of records in a block")
        size = window.take_long("the size of a block")
        if count < 0 or not 0 <= size <= MAX_BLOCK_BYTES:
            raise UnreadableInput(f"the block header before byte {window.offset} is damaged: {count} records in {size} bytes")
        block = window.take(size + _SYNC_BYTES, "a block with its sync marker")
        # From here on the window may move on; ``data`` keeps the bytes of this block.
        data, start, stop = window.data, block.start, block.start + size
        if not data.startswith(sync, stop):
            raise UnreadableInput(f"the sync marker before byte {window.offset} is damaged")
        alone = first and header.codec == "null" and window.offset == len(data) and window.at_end()
        first = False
        if header.codec != "null":
            try:
                plain = decompress(header.codec, data[start:stop], window.offset)
            except UnreadableInput as error:
                # The sync marker was found, so the blocks behind this one can be read.
                payload = _payload(header.schema, memoryview(data)[start:stop], count, header.codec)
                lost = {**attributes, "records_lost": _believed(count, MAX_BLOCK_BYTES)}
                yield DeadLetter.of("read", error, source, payload, attributes=lost)
                empty = False
                continue
            data, start, stop = plain, 0, len(plain)
        empty = empty and count == 0 and start == stop
        if count == 1:
            _check_length(stop - start)
            yield Packet(data, start, stop, header.schema, source, alone, published_at, attributes)
        else:
            yield from _records(
                data,
                start,
                stop,
                count,
                schema=header.schema,
                source=source,
                published_at=published_at,
                attributes=attributes,
            )
    if empty:
        raise UnreadableInput("the container holds no record")


def _records(
    data: bytes,
    start: int,
    stop: int,
    count: int,
    *,
    schema: WriterSchema,
    source: str,
    published_at: datetime | None,
    attributes: Mapping[str, str | int],
) -> Iterator[Packet | DeadLetter]:
    """The datums of a block of several records. Nothing marks where one ends, so each is walked over to find out."""
    begin, number = start, 0
    try:
        if count * MIN_ALERT_BYTES > stop - start:
            raise UnreadableInput(f"a block of {stop - start} bytes claims {count} records; no alert is so short")
        while number < count:
            # A value that is damaged, and not the lengths, is for alerts.avro.decode to find, one record at a time.
            end = weigh(data, begin, schema.nodes).stop
            if end is None or end > stop:
                _say_why(data[begin:stop], schema)
            _check_length(end - begin)
            yield Packet(data, begin, end, schema, source, False, published_at, attributes)
            begin, number = end, number + 1
    except Exception as error:  # see _parse_header
        reason = str(error) if isinstance(error, AlertError) else f"{type(error).__name__}: {error}"
        rest = UnreadableInput(f"record {number + 1} of {count} in a block is damaged ({reason})")
        lost = {**attributes, "records_lost": _believed(count - number, stop - begin)}
        yield DeadLetter.of("read", rest, source, _payload(schema, memoryview(data)[begin:stop], count - number), attributes=lost)
        return
    if left := stop - begin:
        behind = UnreadableInput(f"{left} bytes are left behind the {count} records of a block")
        yield DeadLetter.of("read", behind, source, _payload(schema, memoryview(data)[begin:stop]), attributes=attributes)


def _say_why(datum: bytes, schema: WriterSchema) -> NoReturn:
    """Raise what fastavro says of a datum that does not end."""
    fastavro.schemaless_reader(io.BytesIO(datum), schema.parsed, None, handle_unicode_errors="replace")
    raise EOFError("the record goes beyond its block")


def _payload(schema: WriterSchema, block: memoryview, count: int = 1, codec: str = "null") -> bytes | None:
    """A part of a block in a container of its own; None where it is too large to keep, before it is copied."""
    return wrap_in_container(schema, block, count, codec) if len(block) <= MAX_PAYLOAD_BYTES else None


def _believed(count: int, size: int) -> int:
    """How many of the records that are claimed there can have been in so many bytes."""
    return min(count, max(1, size // MIN_ALERT_BYTES))


def _check_length(size: int) -> None:
    if size > MAX_ALERT_BYTES:
        raise UnreadableInput(f"an alert of {size} bytes; the limit is {MAX_ALERT_BYTES}")
