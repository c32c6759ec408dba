"""A table for tests of what is appended to it, and how often each of its rows is there."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import grpc
import pyarrow as pa
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types
from google.protobuf import any_pb2
from google.rpc import status_pb2

from tests.emulators.cloud import Cloud
from warehouses.bigquery.append import RetryTimes

FIELDS = [
    bigquery.SchemaField("id", "INT64", "REQUIRED"),
    bigquery.SchemaField("name", "STRING"),
    bigquery.SchemaField("data", "BYTES"),
]
SCHEMA = pa.schema({"id": pa.int64(), "name": pa.string(), "data": pa.binary()})
SOON = RetryTimes(passing_secs=20.0, unknown_secs=20.0, first_delay_secs=0.01, most_delay_secs=0.05, answer_secs=20.0)
"""Patience for what passes at once."""


def make(cloud: Cloud, name: str = "t", dataset: str | None = None) -> str:
    """``projects/P/datasets/D/tables/T``, new and empty, in a dataset that is new unless it is named."""
    with_client = cloud.client()
    if dataset is None:
        dataset = cloud.dataset()
        with_client.create_dataset(dataset)
    with_client.create_table(bigquery.Table(f"{cloud.project}.{dataset}.{name}", FIELDS))
    return f"projects/{cloud.project}/datasets/{dataset}/tables/{name}"


def rows(ids: Sequence[int | None], size: int = 0) -> pa.RecordBatch:
    """Rows of these ids, each with so many bytes of data."""
    data = pa.array([b"x" * size] * len(ids), pa.binary())
    return pa.record_batch([pa.array(ids, pa.int64()), pa.array(["é"] * len(ids)), data], schema=SCHEMA)


def copies(cloud: Cloud, table: str) -> dict[int, int]:
    """How often each id is there."""
    found = cloud.rows(f"SELECT id, COUNT(*) AS n FROM `{'.'.join(table.split('/')[1:6:2])}` GROUP BY 1")
    return dict(Counter({row["id"]: row["n"] for row in found}))


def answering() -> int:
    """Threads that wait for answers by a connection."""
    return sum(thread.name.startswith("answers of projects/") for thread in threading.enumerate())


def error(code: grpc.StatusCode, message: str = "made to fail", storage: int = 0) -> types.AppendRowsResponse:
    """An answer that says that none of the rows is written."""
    status = status_pb2.Status(code=code.value[0], message=message)
    if storage:
        detail = any_pb2.Any()
        detail.Pack(types.StorageError.pb(types.StorageError(code=storage, error_message=message)))
        status.details.append(detail)
    return types.AppendRowsResponse(error=status)


def unnamed(answer: bytes) -> bytes:
    """The answer without the rows that it names."""
    found = types.AppendRowsResponse.pb().FromString(answer)
    del found.row_errors[:]
    return bytes(found.SerializeToString())


def only_first_named(answer: bytes) -> bytes:
    """The answer with the first only of the rows that it names."""
    found = types.AppendRowsResponse.pb().FromString(answer)
    del found.row_errors[1:]
    return bytes(found.SerializeToString())
