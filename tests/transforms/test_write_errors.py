"""What a disk refuses is an error of the run and no file of the warehouse, whoever writes: nothing is swallowed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from schemas import Column, Table
from tests.disk import TOO_LARGE, files_of_at_most
from tests.nights import ask, run, simulated
from transforms.elements import TableBatch
from transforms.files import create_file
from transforms.load_files import _WriteFiles
from warehouses.folder.parquet_files import UnitWriter

STAMPS = Table("t", (Column("night", "DATE"), Column("payload", "BYTES")), partition_by="night")


def rows(table: Table, count: int, size_bytes: int) -> pa.RecordBatch:
    made = {column.name: [None] * count for column in table.columns}
    made |= {"payload": [bytes(size_bytes)] * count, "night": [20_000] * count}
    return pa.RecordBatch.from_pydict(made, schema=table.arrow_schema)


@pytest.mark.parametrize("batches", [1, 50], ids=["at its end", "on the way"])
def test_a_parquet_file_that_cannot_be_written_is_an_error(tmp_path: Path, batches: int) -> None:
    """Rows are held until there are 32 MB of them, so that some errors come only when a file is closed."""
    writer = UnitWriter(str(tmp_path), "run", "unit")
    batch = rows(STAMPS, 10, 100_000)

    def write_all() -> None:
        for _ in range(batches):
            list(writer.write(STAMPS, batch))
        list(writer.close())

    with files_of_at_most(200_000), pytest.raises(OSError, match=TOO_LARGE):
        write_all()
    writer.abort()


def test_a_load_file_that_cannot_be_written_is_an_error_and_nobody_is_told_of_it(tmp_path: Path) -> None:
    step = _WriteFiles(STAMPS)
    step.setup()
    step.start_bundle()
    told = []

    def bundle() -> Iterator[object]:
        yield from step.process(("p:d.t", TableBatch("t", "unit", rows(STAMPS, 10, 100_000))), str(tmp_path))
        yield from step.finish_bundle()

    with files_of_at_most(200_000), pytest.raises(OSError, match=TOO_LARGE):
        told.extend(bundle())
    assert told == []
    step.teardown()


def test_a_small_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with files_of_at_most(10), pytest.raises(OSError, match=TOO_LARGE), create_file(str(tmp_path / "a")) as file:
        file.write(bytes(100))


def test_a_run_that_cannot_write_fails_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night = simulated(tmp_path / "night", "--alerts", "30", "--damaged", "3", "--seed", "4")
    warehouse = tmp_path / "warehouse"
    with files_of_at_most(400_000):
        assert run(warehouse, night) == 1
    said = capsys.readouterr().err
    assert "the run failed" in said
    assert TOO_LARGE in said
    assert not list(warehouse.glob("*_alerts/**/*.parquet"))
    # With room it is whole.
    assert run(warehouse, night) == 0
    assert ask(warehouse, "SELECT count(*), count(DISTINCT alert_id) FROM ztf_alerts") == [(30, 30)]
    assert ask(warehouse, "SELECT count(*) FROM dead_letters") == [(3,)]
