"""What BigQuery's answers mean for the rows of a request."""

from __future__ import annotations

import grpc
import pytest
from google.cloud.bigquery_storage_v1 import types
from google.protobuf import any_pb2

from warehouses.bigquery.append_answers import Verdict, judge, judge_end
from warehouses.bigquery.append_connection import AppendRowsResponse, Ended

CODES = types.StorageError.StorageErrorCode


def answer(code: grpc.StatusCode, storage: int = 0, rows: dict[int, str] | None = None) -> AppendRowsResponse:
    found = AppendRowsResponse()
    found.error.code, found.error.message = code.value[0], "why"
    if storage:
        found.error.details.append(detail(storage))
    for index, message in (rows or {}).items():
        found.row_errors.add(index=index, message=message)
    return found


def detail(storage: int) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(types.StorageError.pb(types.StorageError(code=storage, entity="t")))
    return packed


def test_an_answer_without_an_error_is_written_rows() -> None:
    written = AppendRowsResponse()
    written.append_result.SetInParent()
    assert judge(written).verdict is Verdict.WRITTEN
    # One that only tells that the table has a new column.
    assert judge(AppendRowsResponse()).verdict is Verdict.WRITTEN


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_status_has_one_meaning(code: grpc.StatusCode) -> None:
    if code is grpc.StatusCode.OK:
        return
    passing = {
        "ABORTED",
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "INTERNAL",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
        "UNKNOWN",
        "OUT_OF_RANGE",
    }
    expected = {
        **dict.fromkeys(passing, Verdict.AGAIN),
        "NOT_FOUND": Verdict.NOT_YET,
        "ALREADY_EXISTS": Verdict.WRITTEN,
        "INVALID_ARGUMENT": Verdict.ONE_REFUSED,
    }.get(code.name, Verdict.NEVER)
    assert judge(answer(code)).verdict is expected
    # The end of a connection says nothing of single rows.
    of_end = Verdict.NEVER if code.name in ("ALREADY_EXISTS", "INVALID_ARGUMENT") else expected
    assert judge_end(Ended(code, "why")).verdict is of_end


@pytest.mark.parametrize(
    ("code", "storage", "expected"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, CODES.SCHEMA_MISMATCH_EXTRA_FIELDS, Verdict.NOT_YET),
        (grpc.StatusCode.NOT_FOUND, CODES.TABLE_NOT_FOUND, Verdict.NOT_YET),
        (grpc.StatusCode.ALREADY_EXISTS, CODES.OFFSET_ALREADY_EXISTS, Verdict.WRITTEN),
        (grpc.StatusCode.OUT_OF_RANGE, CODES.OFFSET_OUT_OF_RANGE, Verdict.AGAIN),
        (grpc.StatusCode.INVALID_ARGUMENT, CODES.STREAM_FINALIZED, Verdict.NEVER),
        (grpc.StatusCode.FAILED_PRECONDITION, CODES.KMS_SERVICE_ERROR, Verdict.NEVER),
    ],
)
def test_storage_errors(code: grpc.StatusCode, storage: int, expected: Verdict) -> None:
    assert judge(answer(code, storage)).verdict is expected
    assert judge_end(Ended(code, "why", [detail(storage)])).verdict is expected


def test_rows_that_are_named() -> None:
    judged = judge(answer(grpc.StatusCode.INVALID_ARGUMENT, rows={3: "NULL", 7: "too long"}))
    assert (judged.verdict, judged.rows) == (Verdict.SOME_REFUSED, {3: "NULL", 7: "too long"})
