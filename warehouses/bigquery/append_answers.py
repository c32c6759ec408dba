"""What an answer of the Storage Write API, or the end of a connection, says of the rows that were sent."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.cloud.bigquery_storage_v1 import types

from warehouses.bigquery.append_connection import Ended

_Codes = types.StorageError.StorageErrorCode
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
# As Google's client for Java decides it (ConnectionWorker), which tries these again by itself.
_PASSING = {
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
}
# Of a table that was made, or got a column, some minutes ago: not every server of BigQuery knows it yet.
_NOT_YET_KNOWN = {_Codes.SCHEMA_MISMATCH_EXTRA_FIELDS, _Codes.TABLE_NOT_FOUND}


class Verdict(enum.Enum):
    """What became of the rows of a request."""

    WRITTEN = "written"
    AGAIN = "again"
    """They may be tried again."""
    NOT_YET = "not yet"
    """They may be tried again for some minutes: the table is not known as it is."""
    SOME_REFUSED = "some refused"
    """None is written, and it is said which are at fault."""
    ONE_REFUSED = "one refused"
    """None is written since something is wrong with one of them, and it is not said with which."""
    NEVER = "never"
    """No further try makes it good, whatever the rows are."""


@dataclass(frozen=True)
class Judgement:
    """A verdict, and in which words."""

    verdict: Verdict
    reason: str = ""
    rows: dict[int, str] = field(default_factory=dict)
    """What is wrong with which rows of the request."""


WRITTEN = Judgement(Verdict.WRITTEN)


def judge(answer: Any) -> Judgement:
    """What an ``AppendRowsResponse`` says of its request."""
    if not answer.HasField("error"):
        return WRITTEN
    code = _STATUS.get(answer.error.code, grpc.StatusCode.UNKNOWN)
    rows = {error.index: error.message for error in answer.row_errors}
    if rows:
        return Judgement(Verdict.SOME_REFUSED, answer.error.message, rows)
    return _judge(code, answer.error.message, answer.error.details, of_rows=True)


def judge_end(ended: Ended) -> Judgement:
    """What the end of a connection says of what was not answered."""
    return _judge(ended.code, ended.message, ended.details, of_rows=False)


def storage_error(details: Iterable[Any]) -> int:
    """The ``StorageErrorCode`` among the details of a status; 0 where there is none."""
    found = types.StorageError.pb()()
    for detail in details:
        if detail.Is(found.DESCRIPTOR):
            detail.Unpack(found)
            return int(found.code)
    return 0


def _judge(code: grpc.StatusCode, message: str, details: Iterable[Any], *, of_rows: bool) -> Judgement:
    reason, storage = f"{code.name}: {message}", storage_error(details)
    if storage == _Codes.OFFSET_ALREADY_EXISTS or (of_rows and code == grpc.StatusCode.ALREADY_EXISTS):
        # An answer was lost: the rows of this offset are there.
        return WRITTEN
    if storage in _NOT_YET_KNOWN or code == grpc.StatusCode.NOT_FOUND:
        return Judgement(Verdict.NOT_YET, reason)
    if code in _PASSING or code == grpc.StatusCode.OUT_OF_RANGE:
        # Beyond the end of a stream is what follows upon a request that was not written.
        return Judgement(Verdict.AGAIN, reason)
    if of_rows and code == grpc.StatusCode.INVALID_ARGUMENT and not storage:
        return Judgement(Verdict.ONE_REFUSED, reason)
    return Judgement(Verdict.NEVER, reason)
