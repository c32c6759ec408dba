"""Files to packets: paths are shuffled, then each worker opens, reads and (fused) decodes what it was dealt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from alerts.avro.archives import READ_ERRORS, is_alert_name
from alerts.avro.inputs import Item, Skipped, in_batches, read_input, read_slice, slice_tar
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import DeadLetter, UnreadableInput
from transforms import metrics
from transforms.elements import PacketBatch, ReadTask, UnitLetter
from transforms.files import open_file
from warehouses.files import StoredFile
from warehouses.units import Unit, printable

DEAD_LETTERS = "dead_letters"
BATCH_PACKETS = 256
BATCH_BYTES = 16 * 2**20
TAR_SLICE_MEMBERS = 2048
_UNIT_BYTES = 64 * 2**20
_UNIT_FILES = 2048
_SINGLE_PACKET_NAMES = (".avro", ".bin")


def plan_units(found: Iterable[StoredFile]) -> tuple[list[Unit], list[str]]:
    """Divide input files into units, and give the files that are no alerts by their name.

    Archives and large files stand alone, small packet files go together, in the order of their names. A file found
    twice is read once.
    """
    units: list[Unit] = []
    small: list[str] = []
    skipped: list[str] = []
    held = 0
    for file in sorted(set(found), key=lambda file: file.uri):
        if not is_alert_name(file.uri):
            skipped.append(file.uri)
        elif not file.uri.endswith(_SINGLE_PACKET_NAMES) or file.size_bytes > _UNIT_BYTES:
            units.append(Unit((file.uri,)))
        else:
            if small and (held + file.size_bytes > _UNIT_BYTES or len(small) == _UNIT_FILES):
                units.append(Unit(tuple(small)))
                small, held = [], 0
            small.append(file.uri)
            held += file.size_bytes
    if small:
        units.append(Unit(tuple(small)))
    return units, skipped


@dataclass
class ReadPackets(beam.PTransform):
    """Units to ``PacketBatch``es; what cannot be read goes to the output ``dead_letters`` as ``UnitLetter``."""

    units: Sequence[Unit]
    schemas: str | None = None
    batch_packets: int = BATCH_PACKETS
    max_records: int | None = None
    """Read no more than these, the first ones, in one go; None: all."""

    def expand(self, begin: beam.Pipeline) -> beam.pvalue.DoOutputsTuple:
        """From the pipeline's beginning to the outputs ``packets`` and ``dead_letters``."""
        units = begin | "Units" >> beam.Create([list(self.units)] if self.max_records else list(self.units))
        if self.max_records:
            tasks = units | "InOrder" >> beam.Map(_as_tasks)
        else:
            tasks = units | "SplitTars" >> beam.FlatMap(split_unit) | "SpreadTasks" >> beam.Reshuffle()
        return tasks | "ReadTasks" >> beam.ParDo(_Read(self)).with_outputs(DEAD_LETTERS, main="packets")


def _as_tasks(units: Sequence[Unit]) -> list[ReadTask]:
    return [ReadTask(unit) for unit in units]


def split_unit(unit: Unit, members_per_slice: int = TAR_SLICE_MEMBERS) -> Iterator[ReadTask]:
    """The tasks of a unit: slices of it if it is a plain ``.tar``, else one."""
    if len(unit.inputs) == 1:
        uri = unit.inputs[0]
        with contextlib.suppress(*READ_ERRORS), open_file(uri) as file:
            slices = slice_tar(file, uri, members_per_slice)
            if slices is not None:
                yield from (ReadTask(unit, part) for part in slices)
                return
    # What cannot be opened here cannot be opened by the reader either, and there it becomes a dead letter.
    yield ReadTask(unit)


def read_task(task: ReadTask, wire_schemas: WireSchemas) -> Iterator[Item]:
    """Everything in the inputs of a task; never raises for bad input."""
    for uri in task.unit.inputs:
        source = printable(uri)
        try:
            with open_file(uri) as file:
                if task.part is None:
                    yield from read_input(file, source, wire_schemas)
                else:
                    yield from read_slice(file, source, task.part, wire_schemas)
        except READ_ERRORS as error:
            cause = UnreadableInput(f"the file cannot be opened ({type(error).__name__}: {error})")
            yield DeadLetter.of("read", cause, source)


def count_packets(batch: Sequence[Packet]) -> None:
    """Tell the metrics of packets that go on to be decoded together."""
    metrics.RECORDS_READ.inc(len(batch))
    metrics.BYTES_READ.inc(sum(packet.stop - packet.start for packet in batch))
    metrics.BATCH_PACKETS.take(len(batch))


class _Read(beam.DoFn):
    def __init__(self, settings: ReadPackets) -> None:
        self._wire_schemas = WireSchemas(settings.schemas)
        self._batch_packets, self._max_records = settings.batch_packets, settings.max_records

    def process(self, tasks: ReadTask | list[ReadTask]) -> Iterator[PacketBatch | TaggedOutput]:
        self._left = self._max_records
        for task in [tasks] if isinstance(tasks, ReadTask) else tasks:
            if self._left == 0:
                return
            yield from self._process(task)

    def _process(self, task: ReadTask) -> Iterator[PacketBatch | TaggedOutput]:
        letters: list[DeadLetter] = []
        for batch in in_batches(self._packets(task, letters), self._batch_packets, BATCH_BYTES):
            count_packets(batch)
            yield PacketBatch(task.unit.key, batch)
            yield from self._dead_letters(task, letters)
        yield from self._dead_letters(task, letters)

    def _packets(self, task: ReadTask, letters: list[DeadLetter]) -> Iterator[Packet]:
        for item in read_task(task, self._wire_schemas):
            if isinstance(item, Skipped):
                metrics.INPUTS_SKIPPED.inc(1)
                continue
            if self._left is not None:
                self._left -= 1
            if isinstance(item, Packet):
                yield item
            else:
                letters.append(item)
            # Before the next one is read, for which another file may have to be opened.
            if self._left == 0:
                return

    def _dead_letters(self, task: ReadTask, letters: list[DeadLetter]) -> Iterator[TaggedOutput]:
        metrics.RECORDS_READ.inc(len(letters))
        while letters:
            yield TaggedOutput(DEAD_LETTERS, UnitLetter(task.unit.key, letters.pop(0)))
