"""Figures from measurements, and whether they reach the goals."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bench
from benchmarks.end_to_end import between
from benchmarks.features import OVER_DECODING
from benchmarks.goals import goals
from benchmarks.resources import of_a_night_mb
from benchmarks.tables import MarkdownTable
from benchmarks.timing import Timing, taking_turns


def test_what_an_alert_costs_is_the_difference_of_two_sizes() -> None:
    # 2 s before the first alert, then 3 ms for each, a third of both in the kernel.
    small, large = (Timing((2 / alerts + 0.003,), ((2 / alerts + 0.003) / 3,)) for alerts in (100, 1000))
    cost = between(small, large, 100, 1000)
    assert cost.micros == pytest.approx(3000)
    assert cost.kernel_micros == pytest.approx(1000)
    assert cost.start_secs == pytest.approx(2)


def test_ratios_are_of_the_same_round() -> None:
    mine, theirs = Timing((1.0, 2.0, 10.0)), Timing((2.0, 4.0, 20.0))
    assert mine.times_faster(theirs) == 2
    assert mine.micros == 2e6


def test_contenders_take_turns_there_and_back_and_what_is_cold_is_not_warmed_up() -> None:
    seen = []
    contenders = {name: lambda name=name: len(seen.append(name) or "alert") for name in "ab"}
    timings = taking_turns(contenders, 2, cold=["b"])
    assert "".join(seen) == "a" + "abba"
    assert {name: len(timing.secs) for name, timing in timings.items()} == {"a": 2, "b": 2}


def nights(*peaks: tuple[int, int]) -> MarkdownTable:
    table = MarkdownTable("Memory, A", ["alerts", "archive", "peak, MB"])
    for alerts, peak_mb in peaks:
        table.add_row({"alerts": alerts, "archive": ".tar", "peak, MB": peak_mb})
    return table


def test_a_night_is_extrapolated_from_large_ones_only() -> None:
    assert of_a_night_mb(nights((1_000, 700), (10_000, 800))) is None
    assert of_a_night_mb(nights((10_000, 800), (100_000, 890))) == pytest.approx(1790)
    # Memory that falls is noise: less than what was seen it will not be.
    assert of_a_night_mb(nights((10_000, 900), (100_000, 890))) == 890


def measured(
    everything_x: float,
) -> tuple[MarkdownTable, MarkdownTable, MarkdownTable, dict[str, MarkdownTable], MarkdownTable]:
    decoded = MarkdownTable("", ["decoder", "A, x faster", "B, x faster"])
    for want, times in (("candidate", 61.0), ("candidate and stamps", 24.0), ("everything", everything_x)):
        decoded.add_row({"decoder": f"ours, {want}", "A, x faster": times, "B, x faster": 100.0})
        decoded.add_row({"decoder": f"ours, {want}, without the broker's own columns", "A, x faster": 1.0, "B, x faster": 1.0})
    staged = MarkdownTable("", ["stage", "A", "B"])
    staged.add_row({"stage": "three stamps to pixels, gunzip and astropy", "A": 700.0, "B": 600.0})
    staged.add_row({"stage": "three stamps to pixels, ours", "A": 100.0, "B": 100.0})
    run = MarkdownTable(
        "", ["run", "µs per alert", "x bare decompression (zlib-ng)", "x ours in Beam", "x faster than naive in Beam"]
    )
    for extent, over_bare, over_loop in (("candidate", 1.2, 1.25), ("with stamps and history", 2.6, 1.0)):
        run.add_row(dict(zip(run.columns, (f"ours, in Beam: {extent}", 200.0, over_bare, 1.0, 7.0), strict=True)))
        run.add_row(dict(zip(run.columns, (f"ours, plain loop: {extent}", 160.0, 1.0, 1 / over_loop, 8.0), strict=True)))
    run.add_row({"run": "decompression alone, gzip", "µs per alert": 100.0})
    featured = MarkdownTable("", ["sample", OVER_DECODING])
    for sample, ratio in (("A", 0.25), ("B", 0.3)):
        featured.add_row({"sample": sample, OVER_DECODING: ratio})
    return decoded, staged, featured, {"A": run, "B": run}, nights((10_000, 800), (100_000, 890))


def test_a_goal_is_reached_where_every_sample_has_reached_it() -> None:
    table = goals(*measured(everything_x=9.0))
    reached = {row["goal"]: row["reached"] for row in table.rows}
    assert [name.split(":")[1].strip() for name, one in reached.items() if one is False] == [
        "CPU over bare decompression (zlib-ng)",  # with stamps and history
        "times faster than fastavro.reader",  # candidate and stamps, on A alone
    ]
    assert sum(one is True for one in reached.values()) == 10
    # What is shown for comparison is not judged.
    assert sum(row["limit"] == "(for comparison)" and row["reached"] is None for row in table.rows) == 5
    by_gzip = [row for row in table.rows if "Python's gzip" in row["goal"]]
    assert [(row["A"], row["reached"]) for row in by_gzip] == [(2.0, None)] * 2


def test_memory_is_judged_by_the_sample_that_was_measured() -> None:
    row = goals(*measured(everything_x=9.0)).rows[-1]
    assert (row["A"], row["B"], row["reached"]) == (1790, None, True)


def test_a_file_without_the_mark_is_refused_before_anything_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Performance\n")
    with pytest.raises(SystemExit):
        bench.main(["--into", str(page)])
    assert f"{page} has no line <!-- measured -->" in capsys.readouterr().err
    assert page.read_text() == "# Performance\n"


def test_a_table_as_markdown() -> None:
    table = MarkdownTable("Times", ["name", "µs", "reached"], notes=["A note."])
    table.add_row({"name": "large", "µs": 12345.6, "reached": True})
    table.add_row({"name": "small", "µs": 0.123, "reached": None})
    assert table.to_markdown().splitlines() == [
        "### Times",
        "",
        "| name | µs | reached |",
        "|---|---|---|",
        "| large | 12,346 | yes |",
        "| small | 0.12 |  |",
        "",
        "A note.",
    ]
    with pytest.raises(KeyError, match="no column 'secs'; it has name, µs, reached"):
        table.add_row({"secs": 1})
