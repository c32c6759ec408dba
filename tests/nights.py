"""Made-up nights and runs over them, for the tests of whole pipelines."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from broker import simulate
from pipelines import ingest
from warehouses.folder.rebuild import rebuild
from warehouses.folder.views import connect

PROVENANCE = ("run_id", "ingested_at", "source", "computed_at")


def simulated(folder: Path, *flags: str) -> Path:
    """A folder with a simulated night, its truth and its catalog."""
    assert simulate.main([*flags, "--out", str(folder)]) == 0
    return folder


def run(warehouse: Path, *inputs: Path | str, flags: tuple[str, ...] = ()) -> int:
    """The exit status of one ingest."""
    given = [word for one in inputs for word in ("--input", str(one))]
    return ingest.run([*given, "--warehouse", str(warehouse), *flags])


def ask(warehouse: Path, sql: str) -> list[tuple]:
    """The rows of a query."""
    with connect(str(warehouse)) as connection:
        return connection.execute(sql).fetchall()


def by_hand(warehouse: Path) -> None:
    """Have a warehouse take the files that are there, after a test has changed them."""
    rebuild(str(warehouse))


def rows(warehouse: Path, table: str, without: tuple[str, ...] = PROVENANCE) -> pa.Table:
    """All rows of a table in an order of their own, without the columns that differ from run to run.

    Of alerts and stamps a digest says which packet they are of: that is cheaper to sort by than by all that is in them.
    """
    with connect(str(warehouse)) as connection:
        names = [name for name in columns(connection, table) if name not in without]
        keys = [name for name in ("packet_digest", "alert_id", "source") if name in names]
        order = ", ".join(keys) if "packet_digest" in keys else "ALL"
        return connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY {order}").to_arrow_table()


def columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """The names of a table's columns."""
    return [row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()]


def truth(night: Path) -> list[dict]:
    """What the simulator knows of its packets."""
    return pq.read_table(night / "truth.parquet").to_pylist()


def records(archive: Path) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Name, schema and record of each packet of an archive, for who writes them again with a change."""
    with tarfile.open(archive) as members:
        for member in members:
            file = members.extractfile(member)
            assert file is not None
            reader = fastavro.reader(io.BytesIO(file.read()))
            (record,) = reader
            yield member.name, reader.writer_schema, record
