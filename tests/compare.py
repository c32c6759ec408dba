"""Whether a row is the packet: every field of a ``{survey}_alerts`` row against the record as ``fastavro.reader`` gives it.

Nothing here uses the code under test but the survey's facts (which field is the id, the time, a stamp) and its table.
"""

from __future__ import annotations

import base64
import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

from astropy.time import Time, TimeDelta

from alerts.surveys import SURVEYS, Survey
from schemas import Column
from schemas.tables import CUTOUTS, ENVELOPE

Row = Mapping[str, Any]
Record = Mapping[str, Any]
_MISSING = object()
_TYPES: dict[str, type] = {
    "INT64": int,
    "FLOAT64": float,
    "BOOL": bool,
    "STRING": str,
    "BYTES": bytes,
    "TIMESTAMP": datetime,
    "DATE": date,
    "RECORD": dict,
}


def assert_row_equals_record(row: Row, record: Record, survey: Survey | str, unions: bool = True) -> None:
    """Check one row, from ``RecordBatch.to_pylist()``, Parquet or DuckDB, against its packet, field by field.

    Ids are compared as integers, NaN equals NaN, sentinels stay, null is apart from empty, stamps are compared byte for byte
    where the row has them, and what the table has no column for must be in ``extra`` and nowhere else. ``unions``: the schema
    may have fields of several types, which are in ``extra`` also where a value would fit its column.
    """
    survey = SURVEYS[survey] if isinstance(survey, str) else survey
    packet_columns = survey.alerts_table.columns[len(ENVELOPE) :]
    stamps = {role: _stamp_path(record, paths) for role, paths in survey.stamps.items()}
    extra: dict[str, Any] = {} if row["extra"] is None else json.loads(row["extra"])
    check = _Check({path for path in stamps.values() if path}, set(extra) if unions else set())
    check.records([row], [record], packet_columns, "")
    _check_extra(extra, record, check.extra)
    assert sorted(row["null_arrays"]) == sorted(_null_arrays(record, packet_columns))
    for role in CUTOUTS:
        if role in row:
            path = stamps[role]
            assert row[role] == (value_at(record, path) if path else None), f"{role} stamp differs"
    _check_envelope(row, record, survey)


def value_at(record: Any, path: str) -> Any:
    """The value at a dotted path, None where anything on the way is null; ``[]`` gives a list with a value per item."""
    name, _, rest = path.partition(".")
    if record is None:
        return None
    if name.endswith("[]"):
        items = record.get(name[:-2])
        return None if items is None else [value_at(item, rest) for item in items]
    return value_at(record.get(name), rest) if rest else record.get(name)


class _Check:
    """Walks rows and records along the columns, the items of an array together, and notes what belongs into ``extra``."""

    def __init__(self, stamps: set[str], in_extra: set[str]) -> None:
        self.stamps, self.in_extra = stamps, in_extra
        self.extra: set[str] = set()

    def records(self, rows: Sequence[Row], records: Sequence[Record], columns: Iterable[Column], prefix: str) -> None:
        by_name = {column.name: column for column in columns}
        for name, column in by_name.items():
            sent = [record.get(name, _MISSING) for record in records]
            stored = [row.get(name, _MISSING) for row in rows]
            assert not any(value is _MISSING for value in stored), f"the row lacks {prefix}{name}"
            self.field(stored, sent, column, prefix + name)
        names = dict.fromkeys(name for record in records for name in record)
        for name in names:
            path = prefix + name
            if name not in by_name and path not in self.stamps and not self._holds_stamps_only(records, name, path):
                self.extra.add(path)

    def field(self, stored: list[Any], sent: list[Any], column: Column, path: str) -> None:
        # What a schema allows to be of several types is in extra, also where this value would fit; then it has no column.
        if path in self.in_extra or any(not _fits(value, column) for value in sent):
            self.extra.add(path)
            sent = [_MISSING] * len(sent)
        empty: Any = [] if column.mode == "REPEATED" else None
        expected = [empty if value is None or value is _MISSING else value for value in sent]
        if column.mode == "REPEATED":
            assert all(isinstance(one, list) for one in stored), f"{path} is no list"
            assert [len(one) for one in stored] == [len(one) for one in expected], f"{path} has another number of items"
            self.items([item for one in stored for item in one], [item for one in expected for item in one], column, path + "[]")
        else:
            self.items(stored, expected, column, path)

    def items(self, stored: list[Any], expected: list[Any], column: Column, path: str) -> None:
        if column.type == "RECORD":
            assert [one is None for one in stored] == [one is None for one in expected], f"{path} is null in one of the two"
            pairs = [(row, record) for row, record in zip(stored, expected, strict=True) if record is not None]
            if pairs:
                self.records([row for row, _ in pairs], [record for _, record in pairs], column.fields, path + ".")
            return
        for number, (one, other) in enumerate(zip(stored, expected, strict=True)):
            assert _same(one, other), f"{path} (item {number}) reads {one!r}, the packet has {other!r}"

    def _holds_stamps_only(self, records: Sequence[Record], name: str, path: str) -> bool:
        held = {f"{path}.{field}" for record in records if isinstance(record.get(name), dict) for field in record[name]}
        return bool(held) and held <= self.stamps


def _fits(value: Any, column: Column) -> bool:
    """Whether a column holds a value of this kind; an Avro integer is not for a FLOAT64 column, nor a text for a time."""
    if value is None or value is _MISSING:
        return True
    if column.mode == "REPEATED":
        return isinstance(value, list) and all(_is_a(item, column.type) for item in value)
    return _is_a(value, column.type)


def _is_a(value: Any, kind: str) -> bool:
    return type(value) is _TYPES[kind]


def _same(stored: Any, sent: Any) -> bool:
    if isinstance(stored, (bytearray, memoryview)):
        stored = bytes(stored)
    if type(stored) is not type(sent):
        return False
    if isinstance(sent, datetime):
        return _utc(stored) == _utc(sent)
    return bool(stored == sent) or (isinstance(sent, float) and math.isnan(sent) and math.isnan(stored))


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)


def _check_extra(extra: Mapping[str, Any], record: Record, expected: set[str]) -> None:
    missing = expected - set(extra)
    assert not missing, f"neither a column nor extra holds {sorted(missing)}"
    for path, stored in extra.items():
        sent = value_at(record, path)
        # Where the record is null, its value cannot tell whether the table has a column for the field.
        assert path in expected or _nothing_in(sent), f"{path} has a column and is in extra as well"
        assert stored == _as_json(sent), f"extra has {path} = {stored!r}, the packet has {sent!r}"


def _nothing_in(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(_nothing_in(item) for item in value))


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_json(one) for one in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _null_arrays(record: Record, columns: Iterable[Column], prefix: str = "") -> list[str]:
    """Paths of the arrays that are null or absent in the records that are there; what is no array takes the place of none."""
    found = []
    for column in columns:
        value = record.get(column.name)
        path = prefix + column.name
        if column.mode == "REPEATED" and not isinstance(value, list):
            found.append(path)
        elif column.type == "RECORD" and isinstance(value, dict):
            found += _null_arrays(value, column.fields, path + ".")
        elif column.type == "RECORD" and column.mode == "REPEATED" and all(isinstance(item, dict) for item in value):
            for number, item in enumerate(value):
                found += _null_arrays(item, column.fields, f"{path}[{number}].")
    return found


def _check_envelope(row: Row, record: Record, survey: Survey) -> None:
    alert_id = value_at(record, _path(record, survey.alert_id))
    assert type(row["alert_id"]) is int
    assert row["alert_id"] == alert_id
    objects = ((value_at(record, path), kind) for path, kind in survey.object_ids)
    object_id, kind = next(((str(one), kind) for one, kind in objects if one and isinstance(one, (int, str))), (None, None))
    assert (row["object_id"], row["object_kind"]) == (object_id, kind)
    for name, paths in (("ra_deg", survey.ra_deg), ("dec_deg", survey.dec_deg)):
        value = value_at(record, _path(record, paths))
        assert _same(row[name], 0.0 if name == "ra_deg" and value == 360 else value), name
    sent = value_at(record, _path(record, survey.time))
    observed_at = expected_utc(sent, survey)
    assert abs(_utc(row["observed_at"]) - observed_at) <= timedelta(microseconds=1)
    assert row["night"] == (observed_at - timedelta(hours=survey.night_starts_utc_hours)).date()
    assert row["survey"] == survey.name
    version = _first_path(record, survey.version)
    if version and value_at(record, version) is not None:
        assert row["schema_version"] == str(value_at(record, version))
    ra, dec = (math.nan if row[name] is None else row[name] for name in ("ra_deg", "dec_deg"))
    assert (row["healpix29"] is not None) == (0 <= ra < 360 and -90 <= dec <= 90)
    assert len(row["packet_digest"]) == 16
    assert row["source"]
    assert row["ingested_at"] is not None


def expected_utc(sent: float, survey: Survey) -> datetime:
    """The UTC time of a packet's date by astropy alone; a 61st second is the first of the next minute."""
    if sent >= survey.time_in_seconds_from:
        time = Time("1970-01-01", scale=survey.time_scale) + TimeDelta(sent, format="sec")
    else:
        time = Time(sent, format=survey.time_format, scale=survey.time_scale)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*dubious year")  # leap seconds of years to come
        utc = time.utc
        utc.precision = 9
        minute, _, seconds = utc.iso.rpartition(":")
    start = datetime.strptime(minute, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc)
    return start + timedelta(seconds=float(seconds))


def _first_path(record: Record, paths: Iterable[str]) -> str | None:
    """The first of some dotted paths whose field the record has; a null record on the way may have it."""
    for path in paths:
        node: Any = record
        for name in path.split("."):
            if node is None:
                return path
            if not (isinstance(node, dict) and name in node):
                break
            node = node[name]
        else:
            return path
    return None


def _stamp_path(record: Record, paths: Iterable[str]) -> str | None:
    path = _first_path(record, paths)
    return path if path and isinstance(value_at(record, path), (bytes, type(None))) else None


def _path(record: Record, paths: Iterable[str]) -> str:
    path = _first_path(record, paths)
    assert path is not None
    return path
