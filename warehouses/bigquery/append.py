"""Arrow batches to tables by the Storage Write API: what is given back is written, or refused row by row.

By a table's default stream rows are seen when they are acknowledged, and at least once: an answer that is lost is a row twice.
By a PENDING stream (``warehouses.bigquery.pending``) each is there once, when the stream is committed.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np
import pyarrow as pa

from warehouses.bigquery.append_answers import Judgement, Verdict, judge, judge_end
from warehouses.bigquery.append_connection import Connection, Ended
from warehouses.bigquery.append_requests import MOST_BYTES, REQUEST_BYTES, pieces, size_bytes

_MOST_LONE = 3
"""Rows that are refused one by one before the columns are held to be at fault, where nothing was taken yet."""


@dataclass(frozen=True)
class RowRefused:
    """A row that BigQuery does not take: its number in the batch, and why."""

    number: int
    message: str


class AppendFailed(Exception):
    """Rows are not written, and no row is at fault; of those that were sent some may be there all the same."""


class AppendRefused(AppendFailed):
    """BigQuery refuses, and would again: rights, the table, its columns."""


class TryAgain(AppendFailed):
    """BigQuery did not take them for as long as was asked for; it may later."""


@dataclass(frozen=True)
class RetryTimes:
    """How long what fails is tried again, in seconds."""

    passing_secs: float = 600.0
    """What passes by itself: a server that is restarted, a quota."""
    unknown_secs: float = 300.0
    """A table or column that BigQuery does not know: it takes minutes until all its servers do."""
    first_delay_secs: float = 0.5
    most_delay_secs: float = 30.0
    answer_secs: float = 60.0
    """For an answer, before the connection is given up."""
    idle_secs: float = 240.0
    """A connection that has had nothing to do for so long is not used again: BigQuery ends it after 600, some networks before."""


@dataclass
class WriteStream:
    """Where rows go: ``projects/P/datasets/D/tables/T/streams/...``, and where the next ones stand in it."""

    name: str
    offset: int | None = None
    """None: a default stream, which has none."""

    @property
    def table(self) -> str:
        """The table that it is of."""
        return self.name.partition("/streams/")[0]


@dataclass
class _Piece:
    """Rows of one request, of which batch they are, and the number of each in it."""

    batch: int
    rows: pa.RecordBatch
    numbers: np.ndarray

    def only(self, keep: np.ndarray) -> _Piece:
        return _Piece(self.batch, self.rows.take(pa.array(keep)), self.numbers[keep])

    def cut(self, at: int) -> list[_Piece]:
        first, second = (0, at), (at, self.rows.num_rows)
        return [_Piece(self.batch, self.rows.slice(a, b - a), self.numbers[a:b]) for a, b in (first, second)]


@dataclass
class _Work:
    """What is to be written to one stream yet, and what was refused."""

    stream: WriteStream
    schema: pa.Schema
    waiting: deque[_Piece] = field(default_factory=deque)
    refused: list[tuple[int, RowRefused]] = field(default_factory=list)
    """Numbers of batches, and rows of these."""
    written: int = 0
    """Rows."""
    lone: list[str] = field(default_factory=list)
    """Why rows were refused that nobody named; not those that may be too large, of which the columns are not at fault."""

    def refuse(self, piece: _Piece, row: int, message: str) -> None:
        self.refused.append((piece.batch, RowRefused(int(piece.numbers[row]), message)))


class Appender:
    """Writes batches; one for a process, for all its threads."""

    def __init__(
        self, channel: grpc.Channel, *, patience: RetryTimes | None = None, request_bytes: int = REQUEST_BYTES, trace_id: str = ""
    ) -> None:
        self._channel, self._patience = channel, patience or RetryTimes()
        self._request_bytes, self._trace_id = request_bytes, trace_id
        self._idle: dict[str, list[Connection]] = defaultdict(list)
        self._known: set[tuple[str, pa.Schema]] = set()
        """Tables and schemas that some row was taken of: with these it is no column that is wrong."""
        self._lock = threading.Lock()

    def append(self, batches: Sequence[tuple[str, pa.RecordBatch]]) -> list[list[RowRefused]]:
        """Send batches to their tables (``projects/P/datasets/D/tables/T``), and wait until BigQuery has all their rows.

        Gives, for each batch, the rows that it refuses: all others are written. Raises ``AppendRefused`` and ``TryAgain``.
        """
        return self.append_to([(WriteStream(f"{table}/streams/_default"), rows) for table, rows in batches])

    def append_to(self, batches: Sequence[tuple[WriteStream, pa.RecordBatch]]) -> list[list[RowRefused]]:
        """The same for streams of one's own, whose offsets move on; batches of one stream have the same columns."""
        works: dict[str, _Work] = {}
        for number, (stream, rows) in enumerate(batches):
            self._add(works.setdefault(stream.name, _Work(stream, rows.schema)), number, rows)
        began: dict[Verdict, float] = {}
        delay = self._patience.first_delay_secs
        while waiting := [work for work in works.values() if work.waiting]:
            judged, moved = self._round(waiting)
            for work in waiting:
                self._check_schema(work)
            if not judged:
                continue
            if moved:
                began, delay = {}, self._patience.first_delay_secs
            self._give_up(judged, began)
            time.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(2 * delay, self._patience.most_delay_secs)
        found: list[list[RowRefused]] = [[] for _ in batches]
        for work in works.values():
            for number, row in work.refused:
                found[number].append(row)
        return [sorted(rows, key=lambda row: row.number) for rows in found]

    def _add(self, work: _Work, number: int, rows: pa.RecordBatch) -> None:
        if not rows.schema.equals(work.schema):
            raise ValueError(f"batches with different columns for {work.stream.name}")
        begin = 0
        for part in pieces(rows, self._request_bytes):
            piece = _Piece(number, part, np.arange(begin, begin + part.num_rows))
            begin += part.num_rows
            if part.num_rows == 1 and (size := size_bytes(part)) > MOST_BYTES:
                work.refuse(piece, 0, f"a row of {size:,} bytes; a request has at most {MOST_BYTES:,}")
            else:
                work.waiting.append(piece)

    def _round(self, works: Sequence[_Work]) -> tuple[list[Judgement], bool]:
        """Send everything, then read every answer; gives why some must be tried again later, and whether any was written."""
        sent: deque[tuple[_Work, list[_Piece], Connection]] = deque()
        judged, moved = [], False
        try:
            for work in works:
                # No longer this work's, until they are judged.
                some, work.waiting = list(work.waiting), deque()
                sent.append((work, some, self._take(work)))
                self._send(work, some, sent[-1][-1])
            while sent:
                work, some, connection = sent[0]
                before = work.written, len(work.refused)
                judged += self._receive(work, some, connection)
                sent.popleft()
                moved = moved or before != (work.written, len(work.refused))
        finally:
            # Where something has failed here: what comes by these nobody reads.
            for _, _, connection in sent:
                connection.close()
        return judged, moved

    def _send(self, work: _Work, some: Sequence[_Piece], connection: Connection) -> None:
        offset = work.stream.offset
        for piece in some:
            connection.send(piece.rows, offset)
            offset = None if offset is None else offset + piece.rows.num_rows

    def _receive(self, work: _Work, some: Sequence[_Piece], connection: Connection) -> list[Judgement]:
        """Read the answers to some pieces; those that are not settled wait again. Gives why, where it is worth waiting."""
        judged: list[Judgement] = []
        failed = False
        for number, piece in enumerate(some):
            try:
                answer = connection.answer(self._patience.answer_secs)
            except Ended as ended:
                work.waiting.extend(some[number:])
                judged.append(judge_end(ended))
                failed = True
                break
            judgement = judge(answer)
            if judgement.verdict is not Verdict.WRITTEN and failed:
                # Behind an error this is no verdict: it may fail only because of that one.
                work.waiting.append(piece)
                continue
            # That rows are there already is good news of them, and an error of the connection.
            failed = failed or answer.HasField("error")
            if not self._settle(work, piece, judgement):
                judged.append(judgement)
        if failed or not connection.open:
            connection.close()
        else:
            self._give(work, connection)
        return judged

    def _settle(self, work: _Work, piece: _Piece, judgement: Judgement) -> bool:
        """Note what became of a piece; False where it is worth waiting before it is sent again."""
        if judgement.verdict is Verdict.WRITTEN:
            work.written += piece.rows.num_rows
            if work.stream.offset is not None:
                work.stream.offset += piece.rows.num_rows
            self._known.add((work.stream.table, work.schema))
        elif judgement.verdict is Verdict.SOME_REFUSED:
            for row, why in judgement.rows.items():
                work.refuse(piece, row, why)
            # Perhaps not all are named; the others tell when they are sent again.
            keep = np.setdiff1d(np.arange(piece.rows.num_rows), list(judgement.rows))
            if len(keep):
                work.waiting.append(piece.only(keep))
        elif judgement.verdict is Verdict.ONE_REFUSED:
            if piece.rows.num_rows > 1:
                # Where not even the columns are known to be right, one row tells.
                work.waiting.extend(piece.cut(piece.rows.num_rows // 2 if self._is_known(work) else 1))
            else:
                work.refuse(piece, 0, judgement.reason)
                if size_bytes(piece.rows) <= REQUEST_BYTES:
                    work.lone.append(judgement.reason)
        else:
            work.waiting.append(piece)
            return False
        return True

    def _give_up(self, judged: Sequence[Judgement], began: dict[Verdict, float]) -> None:
        """``began``: since when each verdict is met, and nothing has gone on."""
        for judgement in judged:
            if judgement.verdict is Verdict.NEVER:
                raise AppendRefused(judgement.reason)
        now = time.monotonic()
        for judgement in judged:
            waited_secs = now - began.setdefault(judgement.verdict, now)
            if judgement.verdict is Verdict.NOT_YET and waited_secs > self._patience.unknown_secs:
                raise AppendRefused(f"{judgement.reason} (for {waited_secs:.0f} s)")
            if judgement.verdict is Verdict.AGAIN and waited_secs > self._patience.passing_secs:
                raise TryAgain(f"{judgement.reason} (for {waited_secs:.0f} s)")

    def _check_schema(self, work: _Work) -> None:
        # Row after row is refused, and none by its name: then it is the columns, which no letter for each row would mend.
        if work.lone and not self._is_known(work) and (len(work.lone) >= _MOST_LONE or not work.waiting):
            raise AppendRefused(f"no row of {len(work.lone)} is taken for {work.stream.table}: {work.lone[0]}")

    def _is_known(self, work: _Work) -> bool:
        return (work.stream.table, work.schema) in self._known

    def _take(self, work: _Work) -> Connection:
        with self._lock:
            idle = self._idle[work.stream.name]
            while idle:
                connection = idle.pop()
                fresh = time.monotonic() - connection.used_at < self._patience.idle_secs
                if fresh and connection.open and connection.schema.equals(work.schema):
                    return connection
                connection.close()
        return Connection(self._channel, work.stream.name, work.schema, self._trace_id)

    def _give(self, work: _Work, connection: Connection) -> None:
        with self._lock:
            self._idle[work.stream.name].append(connection)

    def let_go(self, stream: WriteStream) -> None:
        """Close the connections of a stream that nothing more is written to."""
        with self._lock:
            for connection in self._idle.pop(stream.name, []):
                connection.close()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()
