"""Whole runs, archive to Parquet: ours in Beam, the same functions in a plain loop, the naive ones, and bare decompression.

A job has the archive's packets, cross-matched with the catalog, in the folder ``out`` when it is done; all have the same
parameters, so that ``benchmarks.end_to_end`` can let them take turns.
"""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from zlib_ng import gzip_ng

from alerts.avro.decode import decode
from alerts.avro.inputs import in_batches, read_input
from alerts.avro.layout import Projection
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.catalogs.asking import Asker
from alerts.catalogs.files.shared import shared_local
from alerts.catalogs.rows import positions_of
from alerts.catalogs.spec import parse_spec
from alerts.surveys import survey
from benchmarks import naive
from benchmarks.contenders import PROJECTIONS
from pipelines import ingest
from schemas.tables import CROSSMATCHES
from transforms.read import BATCH_BYTES, BATCH_PACKETS
from warehouses.folder.commit import commit
from warehouses.folder.parquet_files import UnitWriter
from warehouses.units import Unit, WrittenFile

_PIECE_BYTES = 2**20


@dataclass(frozen=True)
class Given:
    """What a job is to do."""

    archive: Path
    survey: str
    catalog: Path
    everything: bool
    """With stamps and full history; else only the alert's own measurements."""
    workers: int = 1

    @property
    def want(self) -> Projection:
        """The same for ``decode``."""
        return PROJECTIONS["everything" if self.everything else "candidate"]


Job = Callable[[Given, Path], None]
"""A whole run: what is given, and the folder to write to."""


def ours_in_beam(given: Given, out: Path) -> None:
    """``broker ingest``. Raises ``RuntimeError`` where it fails."""
    flags = ["--input", str(given.archive), "--warehouse", str(out), "--direct_num_workers", str(given.workers)]
    flags += ["--crossmatch", f"file:{given.catalog}?radius_arcsec={naive.RADIUS_ARCSEC}"]
    flags += [] if given.everything else ["--no_cutouts", "--no_history"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = ingest.run(flags)
    if status:
        raise RuntimeError(f"broker ingest {' '.join(flags)} failed: {said.getvalue()}")


def ours_in_a_loop(given: Given, out: Path) -> None:
    """What the pipeline's steps do, one after another: read, decode, write, cross-match, write, commit."""
    facts, want, folder = survey(given.survey), given.want, str(out)
    uri = str(given.archive)
    unit = Unit((uri,))
    spec = parse_spec(f"file:{given.catalog}", naive.RADIUS_ARCSEC)
    asker = Asker(spec, shared_local(spec.target, spec.columns))
    written: list[WrittenFile] = []
    positions: list[pa.RecordBatch] = []
    alerts, matches = (UnitWriter(folder, "run", unit.key) for _ in range(2))
    with given.archive.open("rb") as file:
        packets = (item for item in read_input(file, uri, WireSchemas()) if isinstance(item, Packet))
        for batch in in_batches(packets, BATCH_PACKETS, BATCH_BYTES):
            for rows in decode(batch, run_id="run", want=want).rows.values():
                tables = [want.alerts_table(facts), *([facts.cutouts_table] if want.stamps else [])]
                for table in tables:
                    written += alerts.write(table, rows.select(table.arrow_schema.names))
                positions.append(positions_of(rows))
    written += alerts.close()
    commit(folder, "run", [unit], written)
    found = [file for rows in positions for file in matches.write(CROSSMATCHES, asker.rows(rows))]
    commit(folder, "run", [], [*found, *matches.close()])


def naive_in_beam(given: Given, out: Path) -> None:
    """See ``benchmarks.naive``."""
    naive.run(given.archive, given.survey, given.catalog, out, given.everything)


def naive_in_a_loop(given: Given, out: Path) -> None:
    """The same without Beam."""
    naive.run_plainly(given.archive, given.survey, given.catalog, out, given.everything)


def bare_decompression(given: Given, out: Path) -> None:
    """The archive through zlib-ng, the fastest well-kept library, to nowhere."""
    with gzip_ng.open(given.archive) as stream:
        _read_all(stream)


def bare_decompression_by_gzip(given: Given, out: Path) -> None:
    """The archive through Python's gzip to nowhere."""
    with gzip.open(given.archive) as stream:
        _read_all(stream)


def _read_all(stream: BinaryIO | gzip.GzipFile) -> None:
    while stream.read(_PIECE_BYTES):
        pass
