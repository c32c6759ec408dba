"""An ingest as anybody would write it in Beam in an afternoon: the yardstick of the whole runs.

Files, ``tarfile``, ``fastavro.reader``, dictionaries, the nearest source of a catalog from a cKDTree for each alert,
``pyarrow.Table.from_pylist``, a Parquet file per batch.
"""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io import fileio
from apache_beam.options.pipeline_options import PipelineOptions
from scipy.spatial import cKDTree

RADIUS_ARCSEC = 5.0
BATCH = 256
_MEASUREMENT = {"ztf": "candidate", "lsst": "diaSource"}
_ARCSEC_PER_RADIAN = 180 * 3600 / np.pi


def run(archive: Path, survey: str, catalog: Path, out: Path, everything: bool) -> None:
    """Archive to Parquet, on the runner that ``pipelines.ingest`` uses; ``everything`` with stamps and history."""
    out.mkdir(parents=True)
    with beam.Pipeline(options=PipelineOptions(["--runner", "FnApiRunner"])) as pipeline:
        _ = (
            pipeline
            | "Match" >> fileio.MatchFiles(str(archive))
            | "Open" >> fileio.ReadMatches(compression=fileio.CompressionTypes.UNCOMPRESSED)
            | "Records" >> beam.FlatMap(records)
            | "CrossMatch" >> beam.ParDo(_Nearest(survey, str(catalog), everything))
            | "Batch" >> beam.BatchElements(min_batch_size=BATCH, max_batch_size=BATCH)
            | "Write" >> beam.Map(write, str(out))
        )


def run_plainly(archive: Path, survey: str, catalog: Path, out: Path, everything: bool) -> None:
    """The same without Beam."""
    out.mkdir(parents=True)
    nearest = _Nearest(survey, str(catalog), everything)
    nearest.setup()
    batch: list[dict[str, Any]] = []
    with archive.open("rb") as file:
        for record in _records(file):
            batch += nearest.process(record)
            if len(batch) == BATCH:
                write(batch, str(out))
                batch = []
    if batch:
        write(batch, str(out))


def records(file: fileio.ReadableFile) -> Iterator[dict[str, Any]]:
    """The alerts of an archive as dictionaries."""
    with file.open() as opened:
        yield from _records(opened)


def _records(file: Any) -> Iterator[dict[str, Any]]:
    with tarfile.open(fileobj=file, mode="r|gz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                yield from fastavro.reader(io.BytesIO(content.read()))


class _Nearest(beam.DoFn):
    """Adds the nearest source within the radius to a record; takes out of it what is not wanted."""

    def __init__(self, survey: str, catalog: str, everything: bool) -> None:
        self._measurement, self._catalog, self._everything = _MEASUREMENT[survey], catalog, everything

    def setup(self) -> None:
        sources = pq.read_table(self._catalog)
        self._names = sources.column("source_id").to_pylist()
        self._tree = cKDTree(unit_vectors(*(sources.column(name).to_numpy() for name in ("ra_deg", "dec_deg"))))

    def process(self, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
        measured = record[self._measurement]
        distance, number = self._tree.query(unit_vectors(measured["ra"], measured["dec"]))
        separation_arcsec = 2 * np.arcsin(distance / 2) * _ARCSEC_PER_RADIAN
        found = separation_arcsec <= RADIUS_ARCSEC
        kept = record if self._everything else {self._measurement: measured}
        yield {**kept, "match": self._names[number] if found else None, "arcsec": float(separation_arcsec) if found else None}


def unit_vectors(ra_deg: Any, dec_deg: Any) -> np.ndarray:
    """Positions as vectors of length 1, ``[..., 3]``."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def write(batch: list[dict[str, Any]], out: str) -> None:
    """A batch of alerts to a file of its own."""
    pq.write_table(pa.Table.from_pylist(batch), f"{out}/{uuid.uuid4().hex}.parquet")
