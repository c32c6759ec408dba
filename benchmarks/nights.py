"""Nights of one year for benchmarks: a simulated night's alerts again and again, under other ids, of other nights.

The rows are decoded once, and the warehouse's own commit puts them in place, so that a year of 20,000 files is there in
minutes. ``packets`` gives the same night as packets: what comes of ingesting them is the same rows (``benchmarks.year`` says so).
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.avro.decode import decode
from alerts.avro.layout import Projection
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.positions import healpix29
from alerts.surveys import survey
from simulation import simulate_packets
from warehouses.folder.commit import commit
from warehouses.folder.manifest import FORMAT_VERSION
from warehouses.folder.parquet_files import UnitWriter
from warehouses.units import Unit, WrittenFile

ALERTS, UNITS, AS_LONG = 1000, 55, 10
"""Of a night; an object comes in so many nights."""
FIRST_NIGHT = date(2025, 1, 1)
SURVEY = survey("ztf")
WANT = Projection(stamps=False)
NOT_ALIKE = {"run_id", "source", "ingested_at", "published_at", "packet_digest"}
"""Columns that two runs over the same alerts need not have alike; the digest is of bytes that only one of them has."""
_ID_STEP = 10**13


@functools.lru_cache(maxsize=1)
def _sent() -> list[bytes]:
    """Containers of the simulated alerts."""
    return [made.data for made in simulate_packets(survey="ztf", alerts=ALERTS, seed=1, night=FIRST_NIGHT)]


@functools.lru_cache(maxsize=1)
def rows() -> pa.RecordBatch:
    """The rows of the simulated alerts."""
    opened = [packet for data in _sent() for packet in open_packets(data, "year", WireSchemas()) if isinstance(packet, Packet)]
    decoded = [decode(opened[first : first + 256], run_id="year", want=WANT) for first in range(0, ALERTS, 256)]
    batches = [batch for each in decoded for batch in each.rows.values()]
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def of_night(number: int) -> pa.RecordBatch:
    """The rows as of another night."""
    digests = [digest[:-2] + number.to_bytes(2, "big") for digest in rows().column("packet_digest").to_pylist()]
    candidate = rows().column("candidate")
    own = {
        "jd": pc.add(pc.struct_field(candidate, "jd"), float(number)),
        "candid": _later(pc.struct_field(candidate, "candid"), number),
        "ra": pa.array((pc.struct_field(candidate, "ra").to_numpy() + _shift_deg(number)) % 360),
    }
    fields = list(candidate.type)
    name = f"n{number // AS_LONG}"
    ra_deg = (rows().column("ra_deg").to_numpy() + _shift_deg(number)) % 360
    cells = healpix29(ra_deg, rows().column("dec_deg").to_numpy())
    changed: dict[str, Any] = {
        **{key: _later(rows().column(key), number) for key in ("alert_id", "candid")},
        **{key: pc.binary_join_element_wise(rows().column(key), name, "") for key in ("object_id", "objectId")},
        "ra_deg": pa.array(ra_deg),
        "healpix29": pa.array(cells),
        "packet_digest": pa.array(digests, pa.binary()),
        "observed_at": pc.add(rows().column("observed_at"), pa.scalar(timedelta(days=number), pa.duration("us"))),
        "night": pa.array([night_of(number)] * ALERTS, pa.date32()),
        "candidate": pa.StructArray.from_arrays(
            [own.get(field.name, pc.struct_field(candidate, field.name)) for field in fields], fields=fields
        ),
    }
    schema = rows().schema
    return pa.RecordBatch.from_arrays(
        [changed.get(field.name, rows().column(field.name)).cast(field.type) for field in schema], schema=schema
    )


def _later(ids: pa.Array, number: int) -> pa.Array:
    return pc.add(ids, number * _ID_STEP)


def _shift_deg(number: int) -> float:
    """Other objects are at other places."""
    return number // AS_LONG * 0.125


def night_of(number: int) -> date:
    """The date of a night, from 0."""
    return FIRST_NIGHT + timedelta(days=number)


def _edges(units: int) -> Iterator[tuple[int, int]]:
    edges = np.linspace(0, ALERTS, units + 1).astype(int).tolist()
    return itertools.pairwise(edges)


def write_packets(folder: Path, number: int, units: int = UNITS) -> None:
    """The same night as packets without stamps, in so many files."""
    records = []
    for data in _sent():
        reader = fastavro.reader(io.BytesIO(data))
        schema = reader.writer_schema
        for record in reader:
            record["objectId"] += f"n{number // AS_LONG}"
            record["candid"] += number * _ID_STEP
            record["candidate"]["candid"] += number * _ID_STEP
            record["candidate"]["jd"] += float(number)
            record["candidate"]["ra"] = (record["candidate"]["ra"] + _shift_deg(number)) % 360
            records.append(record)
    folder.mkdir(parents=True, exist_ok=True)
    for unit, (first, last) in enumerate(_edges(units)):
        with (folder / f"{unit:03d}.avro").open("wb") as file:
            fastavro.writer(file, schema, records[first:last])


def write_night(folder: str, number: int, units: int = UNITS) -> None:
    """A night in so many units, put in place by one commit."""
    of_units = [Unit((f"year/{number}/{unit}.tar",)) for unit in range(units)]
    found = of_night(number)
    written: list[WrittenFile] = []
    table = WANT.alerts_table(SURVEY)
    for unit, (first, last) in zip(of_units, _edges(units), strict=True):
        writer = UnitWriter(folder, f"night{number}", unit.key)
        written += [*writer.write(table, found.slice(first, last - first)), *writer.close()]
    commit(folder, f"night{number}", of_units, written)


def made(folder: Path, nights: Sequence[int]) -> tuple[Path, float]:
    """The warehouse of some nights, and the CPU seconds that it took where it was not there."""
    some = of_night(AS_LONG + 1).slice(0, 2).to_pylist()
    alike = str([{name: value for name, value in row.items() if name not in NOT_ALIKE} for row in some])
    about = json.dumps([list(nights), ALERTS, UNITS, AS_LONG, rows().schema.to_string(), alike, FORMAT_VERSION])
    place = folder / hashlib.sha256(about.encode()).hexdigest()[:16]
    begun = time.process_time()
    if not (place / "whole").exists():
        shutil.rmtree(place, ignore_errors=True)
        for number in nights:
            write_night(str(place / "w"), number)
        (place / "whole").touch()
    return place / "w", time.process_time() - begun
