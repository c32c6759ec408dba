"""Load files by themselves: what stands in them, and when there is another; ``tests/cloud`` loads them."""

from __future__ import annotations

from pathlib import Path

import fastavro
import pyarrow as pa
import pytest

from schemas import Column, Table
from transforms import load_files
from transforms.elements import TableBatch
from transforms.load_files import _WriteFiles

TABLE = Table("t", (Column("a", "INT64"), Column("b", "BYTES")))


def batch(*numbers: int) -> TableBatch:
    rows = [{"a": number, "b": bytes(100)} for number in numbers]
    return TableBatch("t", "unit", pa.RecordBatch.from_pylist(rows, schema=TABLE.arrow_schema))


@pytest.mark.parametrize(
    ("file_bytes", "files"), [(2**20, [[1, 2, 3, 4, 5]]), (600, [[1, 2, 3], [4, 5]]), (1, [[1, 2], [3], [4, 5]])]
)
def test_a_bundle_is_one_file_and_another_when_it_gets_large(
    tmp_path: Path, monkeypatch, file_bytes: int, files: list[list[int]]
):
    monkeypatch.setattr(load_files, "_FILE_BYTES", file_bytes)
    step = _WriteFiles(TABLE)
    step.setup()
    step.start_bundle()
    sent = [batch(1, 2), batch(3), batch(4, 5)]
    told = [pair for one in sent for pair in step.process(("p:d.t", one), str(tmp_path))]
    told += [windowed.value for windowed in step.finish_bundle()]
    assert {destination for destination, _ in told} == {"p:d.t"}
    found = []
    for _, (path, size) in told:
        assert Path(path).stat().st_size == size
        with Path(path).open("rb") as file:
            found.append([row["a"] for row in fastavro.reader(file)])
    assert found == files
    assert {Path(path) for _, (path, _) in told} == {one for one in tmp_path.rglob("*") if one.is_file()}


def test_a_bundle_without_rows_is_no_file(tmp_path: Path):
    step = _WriteFiles(TABLE)
    step.setup()
    step.start_bundle()
    assert list(step.finish_bundle()) == []
