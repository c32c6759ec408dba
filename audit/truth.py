"""Where an audit takes the truth from: archives and files, or a list of ids (Pub/Sub: ``audit_messages``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from alerts.avro.inputs import Item, Skipped, in_batches
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import DeadLetter
from alerts.surveys import Survey
from audit.packets import RECORDS, Records, records_of
from transforms.files import absolute, find_inputs, open_file
from transforms.read import BATCH_BYTES, BATCH_PACKETS, plan_units, read_task, split_unit
from warehouses.files import StoredFile
from warehouses.units import printable

_GLOB = "*?["
_ID_NAMES = ("alert_id", "candid", "diaSourceId")
_ROWS_AT_ONCE = 65_536
_DIGEST_BYTES = 16


class AuditError(ValueError):
    """The audit cannot be made; the message says why in one sentence."""


@dataclass(frozen=True)
class Scope:
    """A place whose rows the truth answers for: a file, an archive (its members are ``uri#...``), a folder (``uri/...``)."""

    origin: int
    """Counts the truth's inputs: those of one command-line word go together."""
    uri: str


@dataclass
class TruthBatch:
    """Some of the truth."""

    origin: int
    records: Records
    skipped: int = 0
    """Inputs that are no alerts by their name."""


class Truth(Protocol):
    """What must be in the warehouse."""

    name: str
    """For people."""
    knows_sources: bool
    """Whether its records have the sources that rows have."""
    knows_digests: bool
    knows_versions: bool
    comes_once: bool
    """Whether a source stands for one packet, so that one that comes twice is the same again."""
    scopes: Sequence[Scope]

    def parts(self) -> Iterator[TruthBatch]:
        """All of it, a few hundred records or some ten thousand ids at a time. Raises ``AuditError``."""


class FilesTruth:
    """Archives, folders, files and globs, local or gs://, read by the pipeline's own reader."""

    knows_sources = knows_digests = knows_versions = True
    comes_once = False

    def __init__(self, inputs: Sequence[str], schemas: str | None = None, survey: Survey | None = None) -> None:
        self.name = ", ".join(inputs)
        scopes: list[Scope] = []
        self._survey, self._wire_schemas = survey, WireSchemas(schemas)
        self._files: dict[StoredFile, int] = {}
        for origin, uri in enumerate(inputs):
            try:
                found = find_inputs(uri)
            except Exception as error:  # Beam's filesystems raise what the service's client raises
                raise AuditError(f"--input {uri} cannot be listed: {error}") from error
            if not found:
                raise AuditError(f"--input {uri} matches no file")
            for file in found:
                self._files.setdefault(file, origin)
            named = [file.uri for file in found] if any(char in uri for char in _GLOB) else [absolute(uri).rstrip("/")]
            scopes += [Scope(origin, printable(uri)) for uri in named]
        self.scopes: Sequence[Scope] = scopes

    def parts(self) -> Iterator[TruthBatch]:  # noqa: D102 - see Truth
        for origin in sorted(set(self._files.values())):
            units, skipped = plan_units(file for file, own in self._files.items() if own == origin)
            yield TruthBatch(origin, Records(), len(skipped))
            for task in chain.from_iterable(split_unit(unit) for unit in units):
                yield from parts_of(read_task(task, self._wire_schemas), origin, self._survey)


def parts_of(items: Iterable[Item], origin: int, survey: Survey | None) -> Iterator[TruthBatch]:
    """The parts of what a reader gives."""
    read = _Items(items)
    for batch in in_batches(read.packets(), BATCH_PACKETS, BATCH_BYTES):
        yield read.part(origin, records_of(batch, survey))
    yield read.part(origin, Records())


@dataclass
class _Items:
    """Takes apart what a reader gives: packets here, dead letters and skipped inputs when they are asked for."""

    items: Iterable[Item]
    letters: list[DeadLetter] = field(default_factory=list)
    skipped: int = 0

    def packets(self) -> Iterator[Packet]:
        for item in self.items:
            if isinstance(item, Packet):
                yield item
            elif isinstance(item, Skipped):
                self.skipped += 1
            else:
                self.letters.append(item)

    def part(self, origin: int, records: Records) -> TruthBatch:
        records.unreadable += self.letters
        made = TruthBatch(origin, records, self.skipped)
        self.letters, self.skipped = [], 0
        return made


class IdsTruth:
    """Ids of alerts of one survey in a file: one a line, CSV or Parquet. The id is never read as a float."""

    knows_sources = knows_versions = comes_once = False
    scopes: Sequence[Scope] = ()

    def __init__(self, file: str, survey: Survey) -> None:
        self.name = file
        self._survey = survey
        try:
            with open_file(absolute(file)) as opened:
                names, _ = _batches(opened, file)
        except OSError as error:
            raise AuditError(f"--ids {file} cannot be read: {error}") from error
        self._id = next((name for name in _ID_NAMES if name in names), None)
        if self._id is None:
            raise AuditError(f"--ids {file} has no column {' or '.join(_ID_NAMES)}; it has {', '.join(names[:8])}")
        self.knows_digests = "packet_digest" in names

    def parts(self) -> Iterator[TruthBatch]:  # noqa: D102 - see Truth
        with open_file(absolute(self.name)) as opened:
            _, batches = _batches(opened, self.name)
            try:
                for batch in batches:
                    yield TruthBatch(0, Records([self._records(batch)]))
            except pa.ArrowInvalid as error:
                raise AuditError(f"--ids {self.name} cannot be read: {str(error).splitlines()[0]}") from error

    def _records(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        alert_ids = _integers(batch.column(str(self._id)), f"column {self._id} of --ids {self.name}")
        count = batch.num_rows
        digests = _digests(batch.column("packet_digest"), self.name) if self.knows_digests else pa.nulls(count, pa.binary())
        known = {"alert_id": alert_ids, "packet_digest": digests, "survey": pa.array([self._survey.name] * count)}
        arrays = [known[name] if name in known else pa.nulls(count, RECORDS.field(name).type) for name in RECORDS.names]
        return pa.RecordBatch.from_arrays(arrays, schema=RECORDS)


def _batches(opened: BinaryIO, name: str) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    """Names of the columns of a file, and its rows."""
    head = opened.read(4096)
    opened.seek(0)
    if head.startswith(b"PAR1"):
        try:
            file = pq.ParquetFile(opened)
        except pa.ArrowInvalid as error:
            raise AuditError(f"--ids {name} cannot be read: {error}") from error
        wanted = [column for column in file.schema_arrow.names if column in (*_ID_NAMES, "packet_digest")]
        return file.schema_arrow.names, file.iter_batches(_ROWS_AT_ONCE, columns=wanted)
    first = head.split(b"\n", 1)[0].strip()
    if not first:
        raise AuditError(f"--ids {name} begins with an empty line; give one id a line, CSV with a column alert_id, or Parquet")
    bare = first.removeprefix(b"-").isdigit()
    reading = pyarrow.csv.ReadOptions(column_names=["alert_id"] if bare else None, block_size=4 * 2**20)
    # As text, so that what is no integer can be shown as it stands, and nothing is rounded on the way.
    kinds = pyarrow.csv.ConvertOptions(
        column_types={column: pa.string() for column in (*_ID_NAMES, "packet_digest")}, strings_can_be_null=True
    )
    try:
        rows = pyarrow.csv.open_csv(opened, reading, convert_options=kinds)
    except pa.ArrowInvalid as error:
        raise AuditError(f"--ids {name} cannot be read: {error}") from error
    return rows.schema.names, iter(rows)


def _integers(ids: pa.Array, what: str) -> pa.Array:
    """Ids as 64-bit integers. Raises ``AuditError`` for a float, a NULL or anything else."""
    if not (pa.types.is_integer(ids.type) or pa.types.is_string(ids.type)):
        raise AuditError(f"{what} is of type {ids.type}, in which ids above 2^53 are rounded; give integers or text")
    if ids.null_count:
        raise AuditError(f"{what} has a row without an id")
    try:
        if pa.types.is_string(ids.type):
            ids = pc.utf8_trim_whitespace(ids)
        return ids.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise AuditError(f"{what} holds something other than an integer of 64 bits: {error}") from error


def _digests(digests: pa.Array, name: str) -> pa.Array:
    """Digests as 16 bytes each, from bytes or hexadecimal text."""
    if digests.null_count:
        raise AuditError(f"column packet_digest of --ids {name} has a row without a digest; give all of them, or leave it out")
    if pa.types.is_string(digests.type) or pa.types.is_large_string(digests.type):
        try:
            digests = pa.array([bytes.fromhex(digest) for digest in digests.to_pylist()], pa.binary())
        except ValueError as error:
            raise AuditError(f"column packet_digest of --ids {name} holds text that is not hexadecimal: {error}") from error
    digests = digests.cast(pa.binary())
    if len(digests) and pc.any(pc.not_equal(pc.binary_length(digests), _DIGEST_BYTES)).as_py():
        raise AuditError(f"column packet_digest of --ids {name} holds something other than {_DIGEST_BYTES} bytes")
    return digests
