"""PENDING streams: their rows are in the table when the stream is committed, each once, however often anything is repeated.

A stream is made, written to by its offsets, finalized, and committed together with others of its table, or with none.
One that is not committed is gone after a while, with its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient, types

from warehouses.bigquery.append import Appender, AppendRefused, RetryTimes, TryAgain, WriteStream

_PASSING = (
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ResourceExhausted,
    exceptions.ServiceUnavailable,
    exceptions.Unknown,
)
_ALREADY = types.StorageError.StorageErrorCode.STREAM_ALREADY_COMMITTED


def _retry(patience: RetryTimes, *others: type[Exception]) -> Retry:
    """What may pass is asked again; what is asked here may be asked twice."""
    return Retry(
        if_exception_type(*_PASSING, *others),
        initial=patience.first_delay_secs,
        maximum=patience.most_delay_secs,
        timeout=patience.passing_secs,
    )


class PendingStream:
    """A new stream of a table (``projects/P/datasets/D/tables/T``), to be written by ``Appender.append_to`` and then finalized.

    Raises what Google's client raises where BigQuery makes none.
    """

    def __init__(self, client: BigQueryWriteClient, appender: Appender, table: str, patience: RetryTimes | None = None) -> None:
        self._client, self._appender, self._patience = client, appender, patience or RetryTimes()
        made = client.create_write_stream(
            parent=table,
            write_stream=types.WriteStream(type_=types.WriteStream.Type.PENDING),
            # A table that was made just now is not known everywhere.
            retry=_retry(self._patience, exceptions.NotFound),
            timeout=self._patience.answer_secs,
        )
        self.stream = WriteStream(made.name, 0)
        """By which the appender writes to it."""

    @property
    def name(self) -> str:
        """``projects/P/datasets/D/tables/T/streams/S``."""
        return self.stream.name

    @property
    def row_count(self) -> int:
        """Rows that it has."""
        return self.stream.offset or 0

    def finalize(self) -> None:
        """End it: nothing more can be written. Raises ``AppendRefused`` where BigQuery has other rows than were acknowledged."""
        self._appender.let_go(self.stream)
        ended = self._client.finalize_write_stream(
            name=self.name, retry=_retry(self._patience), timeout=self._patience.answer_secs
        )
        if ended.row_count != self.row_count:
            raise AppendRefused(f"BigQuery has {ended.row_count} rows of {self.row_count} that it acknowledged for {self.name}")


def commit(client: BigQueryWriteClient, table: str, streams: Sequence[str], patience: RetryTimes | None = None) -> None:
    """Let the rows of finalized streams be in their table, all at once; streams that are committed stay so.

    Raises ``AppendRefused`` where one cannot be, and ``TryAgain``: then none is.
    """
    patience = patience or RetryTimes()
    rest = list(streams)
    while rest:
        request = types.BatchCommitWriteStreamsRequest(parent=table, write_streams=rest)
        try:
            answer = client.batch_commit_write_streams(request, retry=_retry(patience), timeout=patience.answer_secs)
        except exceptions.RetryError as error:
            raise TryAgain(f"the streams of {table} cannot be committed: {error}") from error
        if not answer.stream_errors:
            return
        done = {error.entity for error in answer.stream_errors if error.code == _ALREADY}
        wrong = [error for error in answer.stream_errors if error.code != _ALREADY]
        if wrong or not done & set(rest):
            first = (wrong or answer.stream_errors)[0]
            raise AppendRefused(
                f"the streams of {table} cannot be committed: {first.error_message or first.code.name} ({first.entity})"
            )
        # An answer was lost, or another run has done it: what is committed need not be, and holds up the others.
        rest = [name for name in rest if name not in done]


def committed_at(client: BigQueryWriteClient, stream: str, patience: RetryTimes | None = None) -> datetime | None:
    """When a stream was committed; None where it was not. Raises ``google.api_core.exceptions.NotFound`` where it is gone."""
    patience = patience or RetryTimes()
    found = client.get_write_stream(name=stream, retry=_retry(patience), timeout=patience.answer_secs)
    when: datetime | None = found.commit_time
    # An unset time reads as None, or as the epoch.
    return when if when is not None and when.timestamp() > 0 else None
