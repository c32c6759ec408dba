"""Rows as requests of the Storage Write API: what Google's own classes read of them, and how batches are cut."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow as pa
import pytest
from google.cloud.bigquery_storage_v1 import types

from alerts.json_text import plain
from warehouses.bigquery.append_requests import first_request, insert_requests, joined, pieces, size_bytes, with_rows

STREAM = "projects/p/datasets/d/tables/t/streams/_default"


def rows_of(sizes: list[int]) -> pa.RecordBatch:
    data = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    return pa.RecordBatch.from_arrays([pa.array(range(len(sizes)), pa.int64()), pa.array(data)], names=["id", "data"])


@pytest.mark.parametrize("offset", [None, 0, 1, 2**40])
@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 20_000, 3_000_000])
def test_googles_classes_read_what_was_framed(offset: int | None, size: int) -> None:
    rows = rows_of([size, size])
    raw = with_rows(first_request(STREAM, rows.schema, "pitt-broker:run"), rows, offset)
    read = types.AppendRowsRequest.deserialize(raw)
    assert (read.write_stream, read.trace_id) == (STREAM, "pitt-broker:run")
    assert pa.ipc.read_schema(pa.py_buffer(read.arrow_rows.writer_schema.serialized_schema)) == rows.schema
    assert pa.ipc.read_record_batch(pa.py_buffer(read.arrow_rows.rows.serialized_record_batch), rows.schema) == rows
    told = types.AppendRowsRequest.pb(read).HasField("offset")
    assert (read.offset if told else None) == offset
    # And a later one, which says its rows alone.
    later = types.AppendRowsRequest.deserialize(with_rows(b"", rows))
    assert not later.write_stream
    assert not later.arrow_rows.writer_schema.serialized_schema
    assert pa.ipc.read_record_batch(pa.py_buffer(later.arrow_rows.rows.serialized_record_batch), rows.schema) == rows


def test_a_size_is_that_of_the_message() -> None:
    for sizes in ([], [1], [1000] * 7, [0, 5_000_000]):
        rows = rows_of(sizes)
        assert size_bytes(rows) == rows.serialize().size
        # What is left of a batch brings only its own rows.
        assert size_bytes(rows.slice(0, 1)) == rows.slice(0, 1).serialize().size


def test_pieces_are_all_rows_in_their_order_and_not_larger_than_may_be() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        sizes = [int(size) for size in rng.integers(0, rng.choice([10, 1_000, 60_000]), size=rng.integers(0, 60))]
        rows, most = rows_of(sizes), int(rng.integers(500, 100_000))
        parts = list(pieces(rows, most))
        assert pa.Table.from_batches(parts, rows.schema).equals(pa.Table.from_batches([rows], rows.schema))
        assert all(part.num_rows == 1 or size_bytes(part) <= most for part in parts)
        # Not needlessly many: two neighbors would hardly ever fit into one.
        fitting = sum(size_bytes(rows) for rows in parts) / most
        assert len(parts) <= 2 * fitting + 2 + sum(size > most / 2 for size in sizes)


def test_no_rows_are_no_request() -> None:
    assert list(pieces(rows_of([]))) == []


def test_small_batches_are_joined_and_large_ones_are_not_copied() -> None:
    sizes = [100, 200_000, 3_000_000, 2_000_000, 50, 60, 8_900_000, 500_000, 400_000]
    batches = [rows_of([size]) for size in sizes]
    found = list(joined(batches))
    assert [[len(data) for data in part.column("data").to_pylist()] for part in found] == [
        [100, 200_000, 3_000_000],
        [2_000_000, 50, 60],
        [8_900_000],
        [500_000, 400_000],
    ]
    assert found[2] is batches[6]
    assert list(joined([])) == []


def test_rows_with_much_in_them_fit_into_what_insert_all_takes():
    payloads = [os.urandom(200_000) for _ in range(120)]
    rows = pa.RecordBatch.from_pydict({"number": [*range(1200)], "payload": [*payloads, *([b"x"] * 1080)]})
    requests = [*insert_requests(rows)]
    assert pa.Table.from_batches(requests).to_pydict() == rows.to_pydict()
    assert max(request.num_rows for request in requests) <= 500
    assert max(len(json.dumps(plain(request.to_pylist()))) for request in requests) < 10_000_000
