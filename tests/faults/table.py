"""The table of faults: rows that tests hand in while they run, as text, and between two marks of a page."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from tests.faults.runs import Verdict

BEGIN, END = "<!-- faults: written by make test-faults -->", "<!-- faults: end -->"
PROPERTY = "fault"


@dataclass(frozen=True)
class Row:
    fault: str
    struck: int
    """How often it really struck."""
    sent: int
    lost: int
    doubled: int
    note: str

    @classmethod
    def of(cls, fault: str, struck: int, verdict: Verdict, note: str = "") -> Row:
        return cls(fault, struck, verdict.records, verdict.lost, verdict.doubled, note)

    def as_property(self) -> tuple[str, dict]:
        """For a report's ``user_properties``, which reach the process that prints the table."""
        return PROPERTY, asdict(self)


def text(rows: Sequence[Row], seconds: float) -> str:
    """The table in Markdown, and where and when it was made."""
    head = ["| fault | times it struck | packets sent | lost | doubled | |", "|---|--:|--:|--:|--:|---|"]
    body = [f"| {one.fault} | {one.struck:,} | {one.sent:,} | {one.lost:,} | {one.doubled:,} | {one.note} |" for one in rows]
    made = (
        f"`make test-faults`, {date.today()}: {len(rows)} faults in {seconds / 60:.0f} minutes on {os.cpu_count()} cores "
        f"({platform.machine()}, {platform.system()} {platform.release()}, Python {platform.python_version()})."
    )
    return "\n".join([*head, *body, "", made])


def write(page: Path, table: str) -> None:
    """Put the table between the marks of a page, in the place of the one there."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{page} has no place for the table: it needs the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
