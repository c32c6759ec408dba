"""CPU and bytes per alert of the whole job, for the constants of ``deploy.costs``: ``python -m tests.deploy.measure_cpu``.

Batch jobs run in this process by Beam's local runner, into emulators that are other processes. CPU is this process's, all
threads, and the difference between a larger and a smaller simulated night, so that what a run costs once drops out.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from google.cloud import storage

from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.rows import json_rows
from alerts.surveys import survey
from pipelines import ingest
from tests.emulators import processes, settings
from tests.nights import simulated

ALERTS = {"ztf": (300, 1500), "lsst": (200, 1000)}


@dataclass(frozen=True)
class Measured:
    """Per alert: CPU in microseconds by write method, and bytes."""

    cpu_us: Mapping[str, float]
    packet_bytes: float
    table_bytes: float
    """As BigQuery bills them, alerts and cutouts."""
    insert_bytes: float
    """Rows for insertAll as they pass a shuffle."""


@contextmanager
def cloud(folder: Path) -> Iterator[None]:
    """Google's clients point at emulators."""
    emulators = (processes.storage(folder), processes.bigquery(folder))
    try:
        for one in emulators:
            one.spawn()
        for one in emulators:
            one.wait()
        places = {"storage": emulators[0].hosts[0], "bigquery": emulators[1].hosts[0], "bigquery_read": emulators[1].hosts[1]}
        places["bigquery_write"] = emulators[1].hosts[1]
        with settings.point_clients(settings.environment(project=processes.PROJECT, **places)):
            storage.Client(project=processes.PROJECT).create_bucket("stage")
            yield
    finally:
        for one in emulators:
            one.stop()


def measure(name: str, folder: Path) -> Measured:
    """One survey's simulated nights through each write method."""
    nights = [simulated(folder / f"{name}{size}", "--survey", name, "--alerts", str(size)) for size in ALERTS[name]]
    archives = [next(night.glob("*.tar.gz")) for night in nights]
    more = ALERTS[name][1] - ALERTS[name][0]
    cpu = {}
    for method in ("file_loads", "storage_write", "streaming_inserts"):
        _run(name, archives[0], method)  # imports, connections, compiled code
        small, large = (_run(name, archive, method) for archive in archives)
        cpu[method] = (large - small) / more * 1e6
    with archives[0].open("rb") as file:
        packets = [one for one in read_input(file, "", WireSchemas(None)) if isinstance(one, Packet)]
    tables = list(_rows(name, packets))
    return Measured(
        cpu,
        sum(len(one.data) for one in packets) / len(packets),
        sum(_logical_bytes(rows.to_pylist()) for rows in tables) / len(packets),
        sum(len(pickle.dumps(row)) for rows in tables for row in json_rows(rows)) / len(packets),
    )


def _run(name: str, archive: Path, method: str) -> float:
    """CPU seconds of one job."""
    sink = [
        f"--warehouse=bigquery://{processes.PROJECT}/{name}_{method}",
        "--write_method",
        method,
        "--temp_location=gs://stage/t",
    ]
    begin = time.process_time()
    assert ingest.run(["--input", str(archive), "--survey", name, *sink]) == 0
    return time.process_time() - begin


def _rows(name: str, packets: list[Packet]) -> Iterator[pa.RecordBatch]:
    facts = survey(name)
    for start in range(0, len(packets), 256):
        rows = decode(packets[start : start + 256], survey=None, run_id="r").rows[name]
        for table in (facts.alerts_table, facts.cutouts_table):
            yield rows.select(table.arrow_schema.names)


def _logical_bytes(value: Any) -> float:
    """The size that BigQuery bills: 8 bytes a number or time, 2 more than its bytes a text, 0 a NULL."""
    if isinstance(value, dict):
        return sum(map(_logical_bytes, value.values()))
    if isinstance(value, list):
        return sum(map(_logical_bytes, value))
    if isinstance(value, (str, bytes)):
        return 2 + len(value.encode() if isinstance(value, str) else value)
    return 0 if value is None else 1 if isinstance(value, bool) else 8


def main() -> None:
    """Measure both surveys and print what was found."""
    with tempfile.TemporaryDirectory() as folder, cloud(Path(folder)):
        for name in ALERTS:
            sys.stderr.write(f"{name}: {measure(name, Path(folder))}\n")


if __name__ == "__main__":
    main()
