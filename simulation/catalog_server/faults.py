"""The ways in which the service has failed, or may: each one a switch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import pyarrow as pa

from simulation.catalog_server.answers import TextTable, find_pairs, make_answer
from simulation.catalog_server.catalog import Pairs
from simulation.catalog_server.question import XMatchRequest

STATUSES = {
    "403": (403, "Forbidden"),
    "500": (500, "Internal Server Error"),
    "502": (502, "Bad Gateway"),
    "503": (503, "Service Unavailable"),
    "504": (504, "Gateway Time-out"),
}
"""Kinds that are a status. 500 and 503 come from the service, in a VOTable; the others from the proxy, in HTML."""
BY_THE_SERVICE = ("500", "503")
TOO_MANY_JOBS = "too_many_jobs"
BROKEN_TRANSPORT = {
    "html_in_200": "a page of the proxy, with status 200",
    "cut": "half of the body, and a Content-Length for all of it",
    "cut_at_line": "whole lines of half of the body, and a Content-Length for just these",
    "cut_chunked": "whole lines of half of the body in a chunk, and no last chunk",
    "cut_unlengthed": "whole lines of half of the body, no Content-Length, and the end",
    "slow": "the answer, after secs",
    "dripping_body": "the answer, a byte of the body every secs",
    "dripping_headers": "the answer, a byte every secs from the first on",
    "hanging": "nothing, until the client or the server goes",
    "closed": "nothing: the connection is closed",
}
OTHER_ANSWERS = {
    "other_columns": "columns under other names",
    "other_columns_empty": "columns under other names, and no row",
    "missing_column": "without the last column",
    "truncated": "at most `rows` rows, whatever MAXREC says",
    "outside_radius": "the nearest two sources of every position, however far away",
    "foreign_index": "rows about positions that were not asked: whole numbers of the upload come too large",
    "shifted_index": "rows that speak of the next position",
    "empty": "well-formed, without a row, whatever was asked",
}
KINDS = (*STATUSES, TOO_MANY_JOBS, *BROKEN_TRANSPORT, *OTHER_ANSWERS)
FOR_TABLES = (*STATUSES, *BROKEN_TRANSPORT, "empty")


@dataclass(frozen=True)
class Fault:
    """A way to fail, and when. Raises ``ValueError`` for one that there is not."""

    kind: str
    times: int | None = None
    """It strikes so many calls, then heals; None: until ``heal``."""
    only: str | None = None
    """Only questions about this catalog (without ``vizier:``)."""
    tables: bool = False
    """It strikes ``/tables`` instead of questions."""
    secs: float = 1.0
    """Of kind ``slow``: before the answer. Of the dripping ones: before each byte."""
    rows: int = 1
    """Of kind ``truncated``."""
    jobs: int = 2
    """Of kind ``too_many_jobs``: 503 for a question when more than these are in flight, itself among them."""

    def __post_init__(self) -> None:
        known = FOR_TABLES if self.tables else KINDS
        if self.kind not in known:
            raise ValueError(f"there is no fault {self.kind!r}{' of /tables' if self.tables else ''}; known: {', '.join(known)}")
        for name in ("times", "rows", "jobs"):
            value = getattr(self, name)
            if not (value is None and name == "times") and not (isinstance(value, int) and value > 0):
                raise ValueError(f"{name} of a fault is {value!r}; give a whole number above 0")
        if not isinstance(self.secs, (int, float)) or not 0 <= self.secs <= 3600:
            raise ValueError(f"secs of a fault is {self.secs!r}; give seconds from 0 to 3600")
        if self.only is not None and not isinstance(self.only, str):
            raise ValueError(f"only of a fault is {self.only!r}; give the name of a catalog")


def from_json(document: Any) -> list[Fault]:
    """Faults from ``{"kind": "503", "times": 3}``, or a list of such; ``{}`` is none. Raises ``ValueError``."""
    documents = document if isinstance(document, list) else [document] if document else []
    known = [field.name for field in fields(Fault)]
    for described in documents:
        if not isinstance(described, dict) or "kind" not in described or set(described) - set(known):
            raise ValueError(f"{described!r} is no fault; a fault has a kind, and may have {', '.join(known[1:])}")
    return [Fault(**described) for described in documents]


class Faults:
    """The faults in place. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def put(self, faults: Sequence[Fault]) -> None:
        """These faults, and no others."""
        with self._lock:
            self._faults = list(faults)

    def strike(self, catalog: str, in_flight: int, tables: bool = False) -> Fault | None:
        """The fault that a call meets: the first that is meant for it."""
        with self._lock:
            for place, fault in enumerate(self._faults):
                if fault.tables == tables and fault.only in (None, catalog) and not _has_room(fault, in_flight):
                    if fault.times is not None:
                        self._faults[place : place + 1] = [replace(fault, times=fault.times - 1)] if fault.times > 1 else []
                    return fault
        return None

    def describe(self) -> list[dict[str, Any]]:
        """The faults in place, for JSON."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]


def _has_room(fault: Fault, in_flight: int) -> bool:
    return fault.kind == TOO_MANY_JOBS and in_flight <= fault.jobs


def faulty_answer(question: XMatchRequest, kind: str | None, rows: int) -> TextTable:
    """The answer to a question, wrong as ``kind`` says; right where it is None or a fault of another sort."""
    answer = make_answer(
        question, _faulty_pairs(question, kind), min(rows, question.max_rows) if kind == "truncated" else question.max_rows
    )
    if kind == "missing_column":
        return TextTable(answer.columns[:-1], answer.cells[:-1], answer.overflow)
    if kind == "foreign_index":
        return _beyond(answer, question)
    if kind in ("other_columns", "other_columns_empty"):
        # Names as another version of the service might have them.
        renamed = tuple(replace(column, name=f"{column.name.lower()}_{place}") for place, column in enumerate(answer.columns))
        return TextTable(renamed, answer.cells, answer.overflow)
    return answer


def _faulty_pairs(question: XMatchRequest, kind: str | None) -> Pairs:
    asked = question.asked
    if kind == "outside_radius":
        return question.catalog.nearest(asked.ra_deg, asked.dec_deg, 2)
    pairs = find_pairs(question)
    if kind in ("other_columns_empty", "empty"):
        return pairs.take(slice(0))
    if kind == "shifted_index":
        return replace(pairs, position=(pairs.position + 1) % max(len(asked), 1))
    return pairs


def _beyond(answer: TextTable, question: XMatchRequest) -> TextTable:
    """The whole numbers that came with the upload, too large by the number of its rows."""
    cells = list(answer.cells)
    # After the separation come the columns of the upload.
    for place in range(1, 1 + len(question.columns1)):
        if answer.columns[place].datatype == "long":
            too_large = [str(int(cell) + len(question.asked)) if cell else cell for cell in cells[place].to_pylist()]
            cells[place] = pa.array(too_large, pa.string())
    return TextTable(answer.columns, tuple(cells), answer.overflow)
