"""What is measured of the start of commands is what they do."""

from __future__ import annotations

from pathlib import Path

from benchmarks.start import LIBRARIES, NOTHING, starts


def test_processes_are_counted_one_by_one(tmp_path: Path) -> None:
    table = starts({"broker --help": ["--help"], "broker simulate --help": ["simulate", "--help"]}, tmp_path, rounds=1)
    assert [row["process"] for row in table.rows] == [NOTHING, LIBRARIES, "broker --help", "broker simulate --help"]
    modules = {row["process"]: row["modules"] for row in table.rows}
    assert modules[NOTHING] < modules["broker --help"] < modules["broker simulate --help"]
    assert table.cell(LIBRARIES, "times importing DuckDB and Arrow") == 1
    assert all(row["CPU, s"] > 0 and row["peak, MB"] > 0 for row in table.rows)
