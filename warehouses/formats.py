"""Answers as files: text for people and programs, and the tables of the field, with ids exact in each of them.

| form | NULL | NaN | nested columns | times |
|---|---|---|---|---|
| csv | nothing | nan | as JSON | ISO 8601, UTC |
| json, jsonl | null | "NaN" | yes | ISO 8601, UTC |
| parquet | NULL | NaN | yes | microseconds, UTC |
| votable | null (astropy shows NaN as null, too) | NaN | no | ISO 8601, UTC (TIMESYS) |
| ecsv | "" | nan | no | ISO 8601, UTC |
| fits | least integer (TNULL), NaN, "" | NaN | no | ISO 8601, UTC (TIMESYS) |
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib import metadata
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pyarrow.types as kinds

from alerts.json_text import to_json
from alerts.surveys import SURVEYS
from warehouses.answers import Answer
from warehouses.errors import QueryError
from warehouses.forms import FLAT
from warehouses.plain_columns import flat_columns, iso, plain_columns
from warehouses.result import Result, is_nested

_SHOWN_ROWS = 40
_SHOWN_CHARACTERS = 120
_ROWS_AT_ONCE = 256
_LEAST_INT64 = -(2**63)


def write(answer: Result | Answer, form: str, file: BinaryIO) -> None:
    """Write all rows in one of ``warehouses.forms.FORMATS``, text and Parquet as they come.

    Raises ``QueryError`` where the form cannot hold a column.
    """
    rows = answer if isinstance(answer, Answer) else Answer.of(answer.table)
    if form in FLAT:
        _refuse_nested(rows.schema, form)
    try:
        if form in FLAT:
            {"fits": _write_fits, "votable": _write_votable, "ecsv": _write_ecsv}[form](Result(plain_columns(rows.read())), file)
        else:
            {
                "table": _write_table,
                "csv": _write_csv,
                "json": _write_json,
                "jsonl": _write_json_lines,
                "parquet": _write_parquet,
            }[form](_settled(rows), file)
    except QueryError:
        raise
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise QueryError(
            f"{form} cannot hold this answer ({error}); CAST what it names to text, or choose another format"
        ) from error


def time_notes(schema: pa.Schema) -> dict[str, str]:
    """What the times of an answer are, for its metadata: scale, place, and the moment of the exposure by survey."""
    names = [field.name for field in schema if kinds.is_timestamp(field.type) or field.name in ("mjd_utc", "jd_utc")]
    if not names:
        return {}
    moments = ", ".join(
        f"{survey.time_reference} of the exposure for {name}" for name, survey in SURVEYS.items() if survey.time_reference
    )
    return {"TIMESYS": "UTC", "TREFPOS": "TOPOCENTER", "TIMEREF": f"observed_at, mjd_utc, jd_utc: {moments}"}


def _refuse_nested(schema: pa.Schema, form: str) -> None:
    nested = [field.name for field in schema if is_nested(field.type)]
    if nested:
        raise QueryError(
            f"{form} has flat columns, and {', '.join(nested)} {'is' if len(nested) == 1 else 'are'} nested; name fields of it "
            f"(SELECT {nested[0]}.FIELD), or write parquet, json or jsonl, which hold them, or csv, which has them as JSON"
        )


# ------------------------------------------------------------------------------------------------------------------- text


def _write_table(answer: Answer, file: BinaryIO) -> None:
    head, more = answer.head(_SHOWN_ROWS)
    table = plain_columns(head)
    rows = [[_shown(value) for value in row.values()] for row in table.to_pylist()]
    widths = [max(map(len, column)) for column in zip(table.column_names, *rows, strict=True)]
    for line in [table.column_names, ["-" * width for width in widths], *rows]:
        file.write(("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n").encode())
    if more:
        file.write(f"({more:,} more rows; --format csv shows all)\n".encode())


def _shown(value: object) -> str:
    """A cell for a person: nested values as JSON, times in UTC, and no more than fits."""
    if value is None:
        return "NULL"
    text = (
        to_json(value).strip('"')
        if isinstance(value, bytes)
        else to_json(value)
        if isinstance(value, (dict, list))
        else str(value)
    )
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _write_csv(answer: Answer, file: BinaryIO) -> None:
    """By Arrow, which leaves NULL out and writes "" for a text that is empty; what it has no form for as text."""
    schema = pa.schema([pa.field(field.name, _csv_type(field.type)) for field in answer.schema])
    with pa.csv.CSVWriter(file, schema, write_options=pa.csv.WriteOptions(quoting_style="needed")) as writer:
        for batch in _in_pieces(answer):
            columns = [_csv_column(column, kind) for column, kind in zip(batch.columns, schema.types, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def _csv_type(kind: pa.DataType) -> pa.DataType:
    as_it_is = kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind) or kinds.is_date(kind)
    return kind if as_it_is else pa.string()


def _csv_column(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    if kinds.is_timestamp(column.type):
        return iso(column)
    texts = [value if value is None or isinstance(value, str) else to_json(value).strip('"') for value in column.to_pylist()]
    return pa.array(texts, pa.string())


def _write_json(answer: Answer, file: BinaryIO) -> None:
    before = b"["
    for line in _json_lines(answer):
        file.write(before + line)
        before = b",\n"
    file.write((b"[" if before == b"[" else b"") + b"]\n")


def _write_json_lines(answer: Answer, file: BinaryIO) -> None:
    for line in _json_lines(answer):
        file.write(line + b"\n")


def _json_lines(answer: Answer) -> Iterator[bytes]:
    for batch in _in_pieces(answer):
        for row in plain_columns(pa.Table.from_batches([batch])).to_pylist():
            yield to_json(row).encode()


def _in_pieces(answer: Answer) -> Iterator[pa.RecordBatch]:
    """Some rows at a time: as Python objects they take twenty times their room."""
    for batch in answer:
        for begin in range(0, batch.num_rows, _ROWS_AT_ONCE):
            yield batch.slice(begin, _ROWS_AT_ONCE)


def _settled(answer: Answer) -> Answer:
    """The same as it comes, or read whole where all values must be seen to tell how a column is written."""
    if any(map(_depends_on_values, answer.schema.types)):
        return Answer.of(plain_columns(answer.read()))
    return answer


def _depends_on_values(kind: pa.DataType) -> bool:
    """Whether ``plain_columns`` makes numbers or text of these; days and microseconds of any year text and Parquet have."""
    times = kinds.is_timestamp(kind) and kind.unit == "ns"
    return bool(times or kinds.is_decimal(kind) or kinds.is_interval(kind) or kinds.is_dictionary(kind))


# ------------------------------------------------------------------------------------------------------ tables of the field


def _write_parquet(answer: Answer, file: BinaryIO) -> None:
    notes = {name.encode(): value.encode() for name, value in time_notes(answer.schema).items()}
    with pq.ParquetWriter(file, answer.schema.with_metadata({**(answer.schema.metadata or {}), **notes})) as writer:
        for batch in answer:
            writer.write_batch(batch)


def _flat_table(answer: Result) -> Any:
    """An astropy Table whose times and bytes are text, which every reader of such files takes."""
    table = flat_columns(answer.table)
    columns = [
        column if _is_plain(field.type) else _as_text(column) for field, column in zip(table.schema, table.columns, strict=True)
    ]
    fields = [field.with_type(column.type) for field, column in zip(table.schema, columns, strict=True)]
    made = Result(pa.table(columns, schema=pa.schema(fields))).to_astropy(times=False)
    made.meta.update({**time_notes(table.schema), "CREATOR": f"pitt-broker {metadata.version('pitt-broker')}"})
    return made


def _is_plain(kind: pa.DataType) -> bool:
    return bool(
        kinds.is_integer(kind)
        or kinds.is_floating(kind)
        or kinds.is_boolean(kind)
        or kinds.is_date(kind)
        or kinds.is_string(kind)
    )


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([_csv_column(chunk, pa.string()) for chunk in column.chunks], pa.string())


def _write_ecsv(answer: Result, file: BinaryIO) -> None:
    text = io.StringIO()
    _flat_table(answer).write(text, format="ascii.ecsv")
    file.write(text.getvalue().encode())


def _write_fits(answer: Result, file: BinaryIO) -> None:
    from astropy.io import fits  # noqa: PLC0415 - it takes half a second

    table = _flat_table(answer)
    _refuse_beyond_ascii(table)
    for name in table.colnames:
        if table[name].dtype.kind == "i" and hasattr(table[name], "fill_value"):
            # What stands for NULL must be no number that an id can be.
            table[name].fill_value = np.iinfo(table[name].dtype).min
        if table[name].dtype.kind == "b" and hasattr(table[name], "fill_value"):
            table[name] = table[name].astype(np.int16)
            table[name].fill_value = np.iinfo(np.int16).min
    notes, table.meta = dict(table.meta), {}
    unit = fits.BinTableHDU(table)
    reference = notes.pop("TIMEREF", None)
    for key, value in notes.items():
        unit.header[key] = value
    if reference:
        unit.header["COMMENT"] = reference
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(file)


def _refuse_beyond_ascii(table: Any) -> None:
    for name in table.colnames:
        texts = [name] + (table[name].tolist() if table[name].dtype.kind == "U" else [])
        odd = next((text for text in texts if text and not text.isascii()), None)
        if odd is not None:
            raise QueryError(f"fits holds ASCII alone, and column {name} has {odd!r}; write votable, ecsv, parquet, csv or json")


def _write_votable(answer: Result, file: BinaryIO) -> None:
    from astropy.io.votable import from_table  # noqa: PLC0415
    from astropy.io.votable.tree import CooSys, TimeSys  # noqa: PLC0415

    made = _flat_table(answer)
    notes, made.meta = dict(made.meta), {}
    votable = from_table(made)
    resource = votable.resources[0]
    [table] = resource.tables
    for field in table.fields:
        kind = answer.table.schema.field(field.name).type
        if kinds.is_timestamp(kind):
            field.xtype, field.ref = "timestamp", "utc"
        elif field.name in ("mjd_utc", "jd_utc"):
            field.ref = field.name
        elif field.name in ("ra_deg", "dec_deg"):
            field.ref = "icrs"
            field.ucd = f"pos.eq.{field.name[:-4]};meta.main"
    if notes.get("TIMESYS"):
        origins = {"utc": None, "mjd_utc": "MJD-origin", "jd_utc": "JD-origin"}
        for name, origin in origins.items():
            if any(field.ref == name for field in table.fields):
                resource.time_systems.append(TimeSys(name, origin, "UTC", "TOPOCENTER", config={"version_1_4_or_later": True}))
        table.description = notes["TIMEREF"]
    if any(field.ref == "icrs" for field in table.fields):
        resource.coordinate_systems.append(CooSys(ID="icrs", system="ICRS"))
    votable.to_xml(file, tabledata_format="binary2")
