"""Commits of a few alerts without a pipeline, for tests of what a folder's warehouse does with its files."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from alerts.avro.decode import decode
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.features.table import rows_of
from alerts.surveys import survey
from alerts.tables import own_tables
from simulation import simulate_packets
from warehouses import files
from warehouses.folder import claims
from warehouses.folder.commit import commit
from warehouses.folder.parquet_files import UnitWriter
from warehouses.units import Unit, WrittenFile

ZTF = survey("ztf")


@functools.lru_cache(maxsize=8)
def alerts(count: int = 6, seed: int = 1) -> pa.RecordBatch:
    """Rows of a simulated night."""
    packets = [
        packet
        for made in simulate_packets(survey="ztf", alerts=count, seed=seed)
        for packet in open_packets(made.data, made.name, WireSchemas())
        if isinstance(packet, Packet)
    ]
    [rows] = decode(packets, run_id="run").rows.values()
    return rows


def from_input(rows: pa.RecordBatch, uri: str) -> pa.RecordBatch:
    """The rows, of another input."""
    place = rows.schema.get_field_index("source")
    return rows.set_column(place, rows.schema.field(place), pa.array([uri] * rows.num_rows, pa.string()))


def write(warehouse: str, run_id: str, unit: str, rows: pa.RecordBatch) -> list[WrittenFile]:
    """Rows of alerts, their stamps and their features in files that are not in place yet."""
    writer = UnitWriter(warehouse, run_id, unit)
    made = {table.name: rows for table in (ZTF.alerts_table, ZTF.cutouts_table)}
    features = rows_of(rows, ZTF, run_id)
    assert features
    made["ztf_features"] = features.rows
    written = [
        file for table in own_tables(ZTF) for file in writer.write(table, made[table.name].select(table.arrow_schema.names))
    ]
    return [*written, *writer.close()]


def put(warehouse: str, run_id: str, inputs: tuple[str, ...], rows: pa.RecordBatch) -> int:
    """A run that writes these rows for one unit of inputs."""
    unit = Unit(inputs)
    with claims.claim(warehouse, run_id, inputs):
        return commit(warehouse, run_id, [unit], write(warehouse, run_id, unit.key, rows), fenced=True)


class Struck(BaseException):
    """The process is dead from here on: nothing of ours catches it."""


def dying(made: list[str], step: int, name: str, change: Callable[..., Any]) -> Callable[..., Any]:
    """A change that notes itself among those that were made, and strikes where it is number ``step`` (from 0) of them."""

    def changed(*given: Any, **options: Any) -> Any:
        if len(made) == step:
            raise Struck
        made.append(f"{name} {given[0]}")
        return change(*given, **options)

    return changed


@contextlib.contextmanager
def struck_at(step: int, monkeypatch: Any, power_loss_in: Path | None = None) -> Iterator[list[str]]:
    """Let a commit die before its change number ``step`` (from 0) of what is on the disk; gives the changes that it made.

    With ``power_loss_in``, a warehouse, files that nobody has synced are then empty.
    """
    made: list[str] = []
    synced: set[int] = set()
    replace, link, remove, fsync = os.replace, os.link, os.remove, os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    with monkeypatch.context() as patched:
        for name, change in (("replace", replace), ("link", link), ("remove", remove)):
            patched.setattr(files.os, name, dying(made, step, name, change))
        patched.setattr(files.os, "fsync", noted)
        before = {path.stat().st_ino for path in (power_loss_in or Path("/nonexistent")).rglob("*") if path.is_file()}
        with contextlib.suppress(Struck):
            yield made
    if power_loss_in is not None:
        for path in power_loss_in.rglob("*"):
            if path.is_file() and path.stat().st_ino not in synced | before:
                path.write_bytes(b"")


def at_every_step(
    first: Path, below: Path, work: Callable[[str], Any], check: Callable[[Path, object], None], *, power_loss: bool
) -> int:
    """Let work die before its first change of the disk, its second and so on, each in a copy of a warehouse; gives their number.

    ``check`` looks at each copy, with what to say of it where something is wrong.
    """
    for step in range(200):
        place = below / f"at{step}"
        shutil.copytree(first, place)
        with pytest.MonkeyPatch.context() as patched, struck_at(step, patched, place if power_loss else None) as made:
            work(str(place))
        check(place, (step, made))
        shutil.rmtree(place)
        if len(made) < step:
            return len(made)
    raise AssertionError("the work has not ended after 200 changes")
