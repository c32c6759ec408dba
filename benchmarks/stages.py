"""Line (b): what each stage of an ingest costs by itself, beside what anybody would use for it."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.gcp.bigquery_tools import AvroRowWriter
from astropy.io import fits
from scipy.spatial import cKDTree
from zlib_ng import gzip_ng

from alerts.avro.archives import read_member, walk_tar
from alerts.avro.columns import decode_columns
from alerts.avro.decode import decode
from alerts.avro.encode import container_blocks
from alerts.avro.envelope import RunStamp, envelope
from alerts.avro.layout import Projection, layout_of
from alerts.avro.packets import Packet
from alerts.avro.patience import PATIENCE
from alerts.avro.unpack import gunzip
from alerts.catalogs.asking import Asker
from alerts.catalogs.files.local import open_local
from alerts.catalogs.rows import positions_of
from alerts.catalogs.spec import parse_spec
from alerts.cutouts import to_pixels
from alerts.surveys import survey as survey_named
from benchmarks.contenders import PROJECTIONS, batches, opened
from benchmarks.naive import RADIUS_ARCSEC, unit_vectors
from benchmarks.samples import Sample, cut
from benchmarks.tables import MarkdownTable
from benchmarks.timing import ROUNDS, TURN_SECS, taking_turns
from schemas.tables import CUTOUTS
from warehouses.folder.parquet_files import UnitWriter

AT_MOST = 1024
"""Packets of a sample."""
_PIXEL_ALERTS = 256
_PIECE_BYTES = 2**20
_ROLES = tuple(CUTOUTS)
ASTROPY_PIXELS, OUR_PIXELS = "three stamps to pixels, gunzip and astropy", "three stamps to pixels, ours"
Stage = Callable[[], int]


def stages(samples: Iterable[Sample], catalog: Path, folder: Path, rounds: int = ROUNDS) -> MarkdownTable:
    """Microseconds of CPU per alert, by stage and sample."""
    PATIENCE.begin()  # what it costs once it has begun
    samples = list(samples)
    table = MarkdownTable("Stage by stage, µs of CPU per alert", ["stage", *(sample.name for sample in samples)])
    rows: dict[str, dict[str, str | float | int | None]] = {}
    for sample in samples:
        for name, timing in taking_turns(_stages(sample, catalog, folder), rounds, turn_secs=TURN_SECS).items():
            rows.setdefault(name, {"stage": name})[sample.name] = timing.micros
    for row in rows.values():
        table.add_row(row)
    return table


def _stages(sample: Sample, catalog: Path, folder: Path) -> dict[str, Stage]:
    packets = sample.packets(AT_MOST)
    alerts = len(packets)
    archive = cut(sample.archive, alerts, folder)
    return {
        **_reading(archive, alerts),
        "opening the containers": lambda: len(opened(packets)),
        **_decoding(packets),
        **_writing(packets, folder / "stages"),
        **_loading(packets),
        **_matching(packets, catalog),
        **(_pixels(packets[:_PIXEL_ALERTS], sample.survey) if sample.survey == "ztf" else {}),
    }


def _reading(archive: Path, alerts: int) -> dict[str, Stage]:
    packed = archive.read_bytes()
    plain = gzip_ng.decompress(packed)

    def through(stream: io.IOBase) -> int:
        while stream.read(_PIECE_BYTES):
            pass
        return alerts

    def walk() -> int:
        return sum(1 for member, content in walk_tar(io.BytesIO(plain)) if read_member(member, content))

    def by_tarfile() -> int:
        with tarfile.open(fileobj=io.BytesIO(plain)) as walked:
            return sum(1 for member in walked if walked.extractfile(member).read())

    return {
        "decompression alone, gzip": lambda: through(gzip.open(io.BytesIO(packed))),
        "decompression alone, zlib-ng": lambda: through(gzip_ng.open(io.BytesIO(packed))),
        "decompression, ours": lambda: through(gunzip(io.BytesIO(packed))),
        "walking the plain tar, tarfile": by_tarfile,
        "walking the plain tar, ours": walk,
    }


def _decoding(packets: list[bytes]) -> dict[str, Stage]:
    made = list(batches(packets))

    def whole(want: Projection) -> Stage:
        return lambda: sum(rows.num_rows for batch in made for rows in decode(batch, want=want).rows.values())

    stages: dict[str, Stage] = {f"decoding opened packets, {name}": whole(want) for name, want in PROJECTIONS.items()}
    if all(len({packet.schema for packet in batch}) == 1 for batch in made):
        stages["of that, the envelope"] = _envelope(made)
    return stages


def _envelope(made: list[list[Packet]]) -> Stage:
    stamp = RunStamp("", datetime.now(timezone.utc))
    parts = []
    for batch in made:
        layout = layout_of(batch[0].schema)
        parts.append((batch, decode_columns(batch, layout, PROJECTIONS["candidate"]), layout))
    return lambda: sum(len(envelope(batch, columns.at, layout, stamp).columns["alert_id"]) for batch, columns, layout in parts)


def _writing(packets: list[bytes], folder: Path) -> dict[str, Stage]:
    decoded = [rows for batch in batches(packets) for rows in decode(batch).rows.values()]
    facts = survey_named(decoded[0].column("survey")[0].as_py())

    def write(projection: Projection, with_alerts: bool) -> int:
        writer = UnitWriter(str(folder), "run", "unit")
        tables = [projection.alerts_table(facts)] if with_alerts else []
        tables += [facts.cutouts_table] if projection.stamps else []
        for rows in decoded:
            for table in tables:
                list(writer.write(table, rows.select(table.arrow_schema.names)))
        list(writer.close())
        shutil.rmtree(folder)
        return len(packets)

    return {
        "Parquet, candidate": lambda: write(Projection(history=False, stamps=False), True),
        "Parquet, candidate and history": lambda: write(Projection(stamps=False), True),
        "Parquet, stamps": lambda: write(Projection(history=False), False),
    }


def _loading(packets: list[bytes]) -> dict[str, Stage]:
    decoded = [rows for batch in batches(packets) for rows in decode(batch).rows.values()]
    facts = survey_named(decoded[0].column("survey")[0].as_py())
    tables = [facts.alerts_table, facts.cutouts_table]
    parts = [(table, rows.select(table.arrow_schema.names)) for rows in decoded for table in tables]

    # A file is begun once: its header is not in this.
    writers = {table.name: AvroRowWriter(io.BytesIO(), table.to_bigquery()) for table in tables}

    def theirs() -> int:
        for table, rows in parts:
            writer = writers[table.name]
            for row in rows.to_pylist():
                writer.write(row)
                writer.tell()  # as Beam asks after every row
        return len(packets)

    def ours() -> int:
        for table, rows in parts:
            io.BytesIO().writelines(container_blocks(rows, table, bytes(16)))
        return len(packets)

    return {"BigQuery load files of everything, Beam's writer": theirs, "BigQuery load files of everything, ours": ours}


def _matching(packets: list[bytes], catalog: Path) -> dict[str, Stage]:
    want = PROJECTIONS["candidate"]
    positions = [positions_of(rows) for batch in batches(packets) for rows in decode(batch, want=want).rows.values()]
    opened_catalog = open_local(str(catalog), {})
    asker = Asker(parse_spec(f"file:{catalog}", RADIUS_ARCSEC), opened_catalog)
    tree = cKDTree(unit_vectors(*_columns(pq.read_table(catalog), "ra_deg", "dec_deg")))
    alerts = sum(rows.num_rows for rows in positions)

    def one_by_one() -> int:
        for rows in positions:
            for vector in unit_vectors(*_columns(rows, "ra_deg", "dec_deg")):
                tree.query(vector)
        return alerts

    return {
        "cross-match with 1 million sources, cKDTree, one by one": one_by_one,
        "cross-match with 1 million sources, ours (rows of crossmatches)": lambda: sum(
            asker.rows(rows).num_rows for rows in positions
        ),
    }


def _columns(rows: pa.RecordBatch | pa.Table, *names: str) -> list[np.ndarray]:
    return [rows.column(name).to_numpy() for name in names]


def _pixels(packets: list[bytes], survey: str) -> dict[str, Stage]:
    (rows,) = (
        pa.Table.from_batches([rows for batch in batches(packets) for rows in decode(batch).rows.values()])
        .combine_chunks()
        .to_batches()
    )
    candidate = rows.column("candidate")
    places = {name: candidate.field(name) for name in ("xpos", "ypos")}
    stamps = [rows.column(role) for role in _ROLES]
    as_bytes = [stamp for column in stamps for stamp in column.to_pylist() if stamp is not None]

    def ours() -> int:
        for column in stamps:
            to_pixels(column, **places)
        return len(packets)

    def theirs() -> int:
        for data in as_bytes:
            by_astropy(data)
        return len(packets)

    return {ASTROPY_PIXELS: theirs, OUR_PIXELS: ours}


def by_astropy(data: bytes) -> np.ndarray:
    """Pixels as the surveys' own notebooks get them."""
    with gzip.open(io.BytesIO(data), "rb") as file, fits.open(io.BytesIO(file.read()), ignore_missing_simple=True) as hdus:
        return np.array(hdus[0].data)
