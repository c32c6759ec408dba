"""What is public: which alerts may be shown to everybody, by what the survey says of them and of each item of their history.

A survey says so in its facts (``Survey.public``). Of one that says nothing no alert is known to be public, and none is told to
be. What cannot be judged, because the field is not there or is null, is not public either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from alerts.surveys.survey import Survey
    from schemas import Column

Mask = np.ndarray[Any, np.dtype[np.bool_]]

EXTRA = "extra"
"""The column of what no other takes: histories that came later than our schemas, and those with an item that is null."""


@dataclass(frozen=True)
class PublicPrograms:
    """An alert is public where it and every item of its history were observed for one of some programs."""

    record: str
    """The packet's field with the alert's own measurement."""
    field: str
    """Where that record, and each item of every history, has the number of its program."""
    numbers: frozenset[int]
    """The programs whose data are for everybody."""


Public = PublicPrograms | Literal["all"]
"""What a survey says: some programs, or all that is sent."""


def is_public(row: Mapping[str, Any], survey: Survey) -> bool:
    """Whether all that a row of ``{survey}_alerts`` (a mapping, as ``to_pylist`` gives it) holds of an alert is public."""
    facts = survey.public
    if not isinstance(facts, PublicPrograms):
        return facts == "all"
    # All arrays of records, so that nobody need name a new one.
    histories = [row.get(column.name) or () for column in survey.histories]
    items = [row.get(survey.by_field[facts.record].name), *(item for history in histories for item in history)]
    return all(item is not None and item.get(facts.field) in facts.numbers for item in items) and _is_free(row.get(EXTRA), facts)


def is_public_packet(record: Mapping[str, Any], survey: Survey) -> bool:
    """Whether all that a packet (as fastavro reads it) holds is public: every record in it, wherever it is."""
    facts = survey.public
    if not isinstance(facts, PublicPrograms):
        return facts == "all"
    return isinstance(record.get(facts.record), Mapping) and _is_free(record, facts)


def public_rows(rows: pa.RecordBatch, survey: Survey) -> Mask:
    """For each row of a batch of ``{survey}_alerts``, as packets are decoded to, what ``is_public`` says of it."""
    found = public_but_for_histories(rows, survey)
    for column in _histories(rows, survey):
        history = rows.column(column.name)
        found[_row_of_each(history)[~_public_items(history, survey)]] = False
    return found


def public_but_for_histories(rows: pa.RecordBatch, survey: Survey) -> Mask:
    """Which rows would be public if every item of their histories were: by the alert's own measurement, and by ``extra``."""
    facts = survey.public
    if not isinstance(facts, PublicPrograms):
        return np.full(rows.num_rows, facts == "all")
    record = survey.by_field[facts.record].name
    found = _of_programs(rows.column(record), facts) if record in rows.schema.names else np.zeros(rows.num_rows, np.bool_)
    if EXTRA in rows.schema.names:
        extra = rows.column(EXTRA)
        for number in np.flatnonzero(extra.is_valid().to_numpy(zero_copy_only=False)):
            found[number] &= _is_free(extra[int(number)].as_py(), facts)
    return found


@dataclass(frozen=True)
class PublicPart:
    """Rows without the items of their histories that are not public."""

    rows: pa.RecordBatch
    kept: tuple[Mapping[str, list[bool]], ...]
    """For each row, by the packet's names of its arrays of which not all is public: which of their items are."""


def public_part(rows: pa.RecordBatch, survey: Survey) -> PublicPart:
    """What is public of rows of ``{survey}_alerts``, as far as their histories go: see ``public_but_for_histories``."""
    kept: list[dict[str, list[bool]]] = [{} for _ in range(rows.num_rows)]
    for column in _histories(rows, survey):
        history = rows.column(column.name)
        public, of_row = _public_items(history, survey), _row_of_each(history)
        if public.all():
            continue
        for number in np.unique(of_row[~public]).tolist():
            kept[number][column.field_name] = public[of_row == number].tolist()
        place = rows.schema.get_field_index(column.name)
        rows = rows.set_column(place, rows.schema.field(place), _some_items(history, public, of_row))
    return PublicPart(rows, tuple(kept))


def _histories(rows: pa.RecordBatch, survey: Survey) -> list[Column]:
    """The arrays of records that a batch has, where it matters what their items are."""
    if not isinstance(survey.public, PublicPrograms):
        return []
    return [column for column in survey.histories if column.name in rows.schema.names]


def _public_items(history: pa.ListArray, survey: Survey) -> Mask:
    """Which of the items of all rows are public, one row's after another's."""
    assert isinstance(survey.public, PublicPrograms)
    return _of_programs(history.flatten(), survey.public)


def _row_of_each(history: pa.ListArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.asarray(pc.list_parent_indices(history).to_numpy(zero_copy_only=False), np.int64)


def _some_items(history: pa.ListArray, keep: Mask, of_row: np.ndarray[Any, np.dtype[np.int64]]) -> pa.ListArray:
    """Arrays with some of their items; what is NULL stays NULL."""
    counts = np.bincount(of_row[keep], minlength=len(history))
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, history.flatten().filter(pa.array(keep)), history.type, mask=history.is_null())


def _of_programs(records: pa.Array, facts: PublicPrograms) -> Mask:
    """Which of some records are of a public program; one that is null, or has no such number, is not."""
    if records.type.get_field_index(facts.field) < 0:
        return np.zeros(len(records), np.bool_)
    numbers = pc.struct_field(records, facts.field)
    known = pc.is_in(numbers, value_set=pa.array(sorted(facts.numbers), numbers.type))
    return np.array(known.to_numpy(zero_copy_only=False), np.bool_)


def _is_free(extra: Any, facts: PublicPrograms) -> bool:
    """Whether what no column takes (JSON text, or what it stands for) holds nothing of another program."""
    held = json.loads(extra) if isinstance(extra, str) else extra
    return all(record.get(facts.field) in facts.numbers for record in _told(held, facts.field))


def _told(value: Any, field: str) -> Iterator[Mapping[str, Any]]:
    """The records anywhere in a value that say their program, and those in arrays, which have to."""
    if isinstance(value, Mapping):
        if field in value:
            yield value
        for inner in value.values():
            yield from _told(inner, field)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, Mapping) and field not in item:
                yield item
            yield from _told(item, field)
