"""Input files of any kind to packets: what a file is, its contents tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from alerts.avro.archives import READ_ERRORS, Member, is_alert_name, is_tar, read_member, walk_tar
from alerts.avro.packets import CONTAINER_MAGIC, WIRE_HEADER_BYTES, Packet, open_container, open_packets
from alerts.avro.unpack import buffered, packing_of, unpack
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import DeadLetter, UnreadableInput
from alerts.limits import MAX_ALERT_BYTES, MAX_MEMBER_BYTES

_PEEK_BYTES = 1024
_DAMAGE: tuple[type[Exception], ...] = (UnreadableInput, *READ_ERRORS)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or archive member that is no alert: a folder, a link, a hidden or a side file."""

    source: str


Item = Packet | DeadLetter | Skipped


def read_input(raw: BinaryIO, uri: str, wire_schemas: WireSchemas) -> Iterator[Item]:
    """Everything in one input file: a container, a wire message, a ``.tar`` of them, any of these in gzip, bzip2 or xz.

    Never raises for bad input: what can be read before the damage comes first, then one dead letter for the rest.
    """
    try:
        stream = buffered(raw)
        head = stream.peek(_PEEK_BYTES)
        packing = packing_of(head)
        if packing:
            stream = unpack(stream, packing)
            head = stream.peek(_PEEK_BYTES)
        if is_tar(head):
            yield from _read_archive(stream, uri, wire_schemas, end_mark=packing is None)
        elif head.startswith(CONTAINER_MAGIC):
            yield from open_container(stream, uri)
        else:
            # One byte more than is allowed shows that there is more.
            yield from open_packets(stream.read(WIRE_HEADER_BYTES + MAX_ALERT_BYTES + 1), uri, wire_schemas)
    except READ_ERRORS as error:
        cause = UnreadableInput(f"the rest of the file cannot be read ({type(error).__name__}: {error})")
        yield DeadLetter.of("read", cause, uri)


def _read_archive(stream: BinaryIO, uri: str, wire_schemas: WireSchemas, end_mark: bool) -> Iterator[Item]:
    number, end = 0, 0
    try:
        for member, content in walk_tar(stream, end_mark=end_mark):
            number += 1
            end = member.offset_bytes
            yield from _read_member(member, content, uri, wire_schemas)
    except _DAMAGE as error:
        # No payload: the archive may be of many GB. It stands at its source, and the offset says where the damage is.
        cause = UnreadableInput(f"the archive cannot be read beyond its member {number} ({error})")
        yield DeadLetter.of("read", cause, uri, attributes={"offset_bytes": end})
        return
    if number == 0:
        yield DeadLetter.of("read", UnreadableInput("the archive holds no record"), uri)


def _read_member(member: Member, content: BinaryIO, uri: str, wire_schemas: WireSchemas) -> Iterator[Item]:
    source = f"{uri}#{member.name}"
    if not member.is_file or not is_alert_name(member.name):
        yield Skipped(source)
        return
    if member.size_bytes > MAX_MEMBER_BYTES:
        limit = UnreadableInput(f"the member claims {member.size_bytes} bytes; the limit is {MAX_MEMBER_BYTES}")
        yield DeadLetter.of("read", limit, source)
        return
    if member.is_sparse:
        yield DeadLetter.of("read", UnreadableInput("a sparse member is not read; make the archive without --sparse"), source)
        return
    data = read_member(member, content)
    if not data.startswith(CONTAINER_MAGIC) and (packing_of(data) or is_tar(data[:_PEEK_BYTES])):
        what = packing_of(data)
        error = UnreadableInput(f"{f'a {what} file' if what else 'an archive'} inside an archive is not read; unpack it first")
        yield DeadLetter.of("read", error, source, data)
        return
    yield from open_packets(data, source, wire_schemas)


@dataclass(frozen=True, slots=True)
class TarSlice:
    """Consecutive members of a plain ``.tar``; ``damage`` is said once, behind the last members that can be reached."""

    members: tuple[Member, ...]
    damage: DeadLetter | None = None


def slice_tar(raw: BinaryIO, uri: str, members_per_slice: int) -> Iterator[TarSlice] | None:
    """Divide a plain ``.tar`` into slices by reading its headers only; None when the file is something else."""
    stream = buffered(raw)
    if not is_tar(stream.peek(_PEEK_BYTES)):
        return None
    return _slices(stream, uri, members_per_slice)


def _slices(stream: BinaryIO, uri: str, members_per_slice: int) -> Iterator[TarSlice]:
    found: list[Member] = []
    damage: DeadLetter | None = None
    number, end = 0, 0
    try:
        for member, _ in walk_tar(stream, seekable=True):
            # Not before a further member is found: the damage must stand in the slice of the member it comes behind.
            if len(found) == members_per_slice:
                yield TarSlice(tuple(found))
                found = []
            number += 1
            end = member.offset_bytes
            found.append(member)
    except _DAMAGE as error:
        # The last member's header was read, but its end is missing or what follows is damaged.
        cause = UnreadableInput(f"the archive cannot be read beyond its member {number} ({error})")
        damage = DeadLetter.of("read", cause, uri, attributes={"offset_bytes": end})
    if damage is None and number == 0:
        damage = DeadLetter.of("read", UnreadableInput("the archive holds no record"), uri)
    yield TarSlice(tuple(found), damage)


def read_slice(raw: BinaryIO, uri: str, part: TarSlice, wire_schemas: WireSchemas) -> Iterator[Item]:
    """Everything in the members of a slice of a ``.tar``."""
    for number, member in enumerate(part.members):
        try:
            raw.seek(member.offset_bytes)
            yield from _read_member(member, raw, uri, wire_schemas)
        except _DAMAGE as error:
            # A cut last member is the damage that the slice already tells of.
            if not (part.damage and number == len(part.members) - 1):
                yield DeadLetter.of("read", error, f"{uri}#{member.name}")
    if part.damage:
        yield part.damage


def datum_bytes(packet: Packet) -> int:
    """The length of a packet's datum."""
    return packet.stop - packet.start


def in_batches(
    items: Iterable[Packet], size: int, max_bytes: int, measure: Callable[[Packet], int] = datum_bytes
) -> Iterator[list[Packet]]:
    """Lists of up to ``size`` packets whose datums are together no longer than ``max_bytes`` (or one packet)."""
    batch: list[Packet] = []
    held = 0
    for packet in items:
        length = measure(packet)
        if batch and (len(batch) == size or held + length > max_bytes):
            yield batch
            batch, held = [], 0
        batch.append(packet)
        held += length
    if batch:
        yield batch
