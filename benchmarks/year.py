"""A year of nights in one folder: what it costs to open, to ask and to go on, over the number of nights.

    python -m benchmarks.year [--nights 10 100 365] [--folder /tmp/broker-years] [--commits] [--picture FILE] [--into FILE]

The nights are those of ``benchmarks.nights``. A warehouse is kept in the folder under the hash of what it is made from, and made
only where it is missing. Each question is asked in a process of its own; CPU seconds are of all that comes after the imports.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

import warehouses
from benchmarks.apart import apart, quiet
from benchmarks.machine_facts import facts, sentence
from benchmarks.nights import ALERTS, NOT_ALIKE, SURVEY, UNITS, WANT, made, night_of, of_night, rows, write_night, write_packets
from benchmarks.tables import MarkdownTable
from warehouses.folder import compact
from warehouses.folder.commit import commit
from warehouses.folder.parquet_files import UnitWriter
from warehouses.units import Unit

MARK = "<!-- a year -->"
"""Stands before and behind what ``--into`` replaces."""
COMMITS, COMMIT_ALERTS = 2000, 300
NIGHTS = (10, 60, 365)
FOLDER = Path(tempfile.gettempdir()) / "broker-years"
ONE = "one night"
_LATER = 400
"""The number of a night that is in none of the warehouses."""
_MANY_MB = 300.0
IMPORTS = "importing duckdb and pyarrow"
QUESTIONS = {
    IMPORTS: "import duckdb, pyarrow.parquet",
    "open": "opened().surveys",
    "count of a night": "opened().query(f\"SELECT COUNT(*) AS n FROM ztf_alerts WHERE night = DATE '{night}'\").to_pylist()",
    "an object": "opened().alerts_of(object_id).to_pylist()",
    "a cone of 5 arcsec": "opened().cone(ra_deg, dec_deg, 5.0).to_pylist()",
    "an alert": "opened().info(alert_id)",
    "a light curve": "opened().light_curve(object_id).to_pylist()",
}
_ASK = """
import json, resource, sys
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
begun = cpu()
place, night, object_id, alert_id, ra_deg, dec_deg = json.loads(sys.argv[2])
if "opened()" in sys.argv[1]:
    import duckdb, pyarrow.parquet, warehouses
    import alerts.light_curve, alerts.positions, warehouses.folder.warehouse, warehouses.history, warehouses.known
    alerts.positions.cone_ranges(1.0, 2.0, 3.0), alerts.positions.separation_arcsec(1.0, 2.0, 3.0, 4.0)
    begun = cpu()
    opened = lambda: warehouses.open(place)
exec(sys.argv[1])
spent = cpu() - begun
# Not ru_maxrss: that begins with the memory of who has started this process.
with open("/proc/self/status") as status:
    [most_kb] = [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
print(json.dumps([spent, most_kb / 1024]))
"""


def ask(question: str, place: Path, number: int, rounds: int = 3) -> tuple[float, float]:
    """CPU seconds of a question about a night, the least of some rounds, and the process's memory in MB."""
    alert = of_night(number).slice(7, 1).to_pylist()[0]
    names = ("object_id", "alert_id", "ra_deg", "dec_deg")
    about = [str(place), str(night_of(number)), *(alert[name] for name in names)]
    command = [sys.executable, "-c", _ASK, QUESTIONS[question], json.dumps(about)]
    found = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(rounds)]
    return min(cpu for cpu, _ in found), max(memory for _, memory in found)


def _in_a_copy(place: Path, work: Callable[[str], Any]) -> Any:
    """What is done to a copy of a warehouse, whose files are the same on the disk."""
    with tempfile.TemporaryDirectory(dir=place.parent) as copy:
        shutil.copytree(place, f"{copy}/w", copy_function=os.link)
        return work(f"{copy}/w")


def compaction(place: Path) -> tuple[float, float]:
    """CPU seconds of a night's commit into a copy of a warehouse, from decoded rows, and of its compaction."""
    rows()  # not its cost

    def both(copy: str) -> tuple[float, float]:
        times = [time.process_time()]
        write_night(copy, _LATER)
        times.append(time.process_time())
        compact.compact(copy, (night_of(_LATER), night_of(_LATER)))
        times.append(time.process_time())
        return times[1] - times[0], times[2] - times[1]

    found: tuple[float, float] = _in_a_copy(place, both)
    return found


def ingests(places: Sequence[Path], rounds: int = 3) -> list[float]:
    """CPU seconds of ``broker ingest`` of one more night into copies of warehouses, in turns in one warm process; medians."""
    with tempfile.TemporaryDirectory(dir=places[0].parent) as folder:
        write_packets(Path(folder, "packets"), _LATER)
        _ingest(f"{folder}/packets", f"{folder}/warm")
        spent: list[list[float]] = [[] for _ in places]
        for number in range(rounds):
            order = list(enumerate(places))
            for which, place in order if number % 2 == 0 else order[::-1]:
                spent[which].append(_in_a_copy(place, lambda copy: _ingest(f"{folder}/packets", copy)))
    return [float(np.median(each)) for each in spent]


def _ingest(packets: str, warehouse: str) -> float:
    from broker import cli  # noqa: PLC0415 - only where a pipeline is run

    begun = time.process_time()
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = cli.main(["ingest", "--input", f"{packets}/*.avro", "--warehouse", warehouse, "--no_cutouts"])
    if status:
        raise RuntimeError(f"broker ingest of {packets} ended with {status}: {said.getvalue()}")
    return time.process_time() - begun


def check_equal(place: Path, number: int) -> int:
    """Ingest a night's packets, and compare the rows with those in a warehouse; gives their number.

    Raises ``RuntimeError`` where they differ.
    """
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        write_packets(Path(folder, "packets"), number)
        _ingest(f"{folder}/packets", f"{folder}/w")
        found = []
        for where in (str(place), f"{folder}/w"):
            with warehouses.open(where) as opened:
                sql = f"SELECT * FROM {SURVEY.alerts_table.name} WHERE night = DATE '{night_of(number)}' ORDER BY alert_id"
                table = opened.query(sql).table
            found.append(table.drop_columns([name for name in table.schema.names if name in NOT_ALIKE]).combine_chunks())
    made_here, ingested = found
    if different := [name for name in ingested.schema.names if not _same(made_here, ingested, name)]:
        raise RuntimeError(f"night {number} as it was made and as it is ingested differ in {', '.join(different)}")
    return int(ingested.num_rows)


def _same(made_here: pa.Table, ingested: pa.Table, name: str) -> bool:
    # As text, so that NaN is NaN.
    return name in made_here.schema.names and str(made_here.column(name).to_pylist()) == str(ingested.column(name).to_pylist())


def commits(folder: Path) -> tuple[float, float, float, float]:
    """CPU seconds of commits of 300 alerts, a unit each, in one process: medians of nine around the 10th and at the end.

    And the means of the first and of the last hundred, in which the index is kept.
    """
    spent = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        table, found = WANT.alerts_table(SURVEY), rows().slice(0, COMMIT_ALERTS)
        for number in range(COMMITS):
            begun = time.process_time()
            unit = Unit((f"round/{number}",))
            writer = UnitWriter(place, f"run{number}", unit.key)
            commit(place, f"run{number}", [unit], [*writer.write(table, found), *writer.close()])
            spent.append(time.process_time() - begun)
    first, last = np.mean(spent[5:105]), np.mean(spent[-100:])
    return float(np.median(spent[5:14])), float(np.median(spent[-9:])), float(first), float(last)


def year(folder: Path, nights: Sequence[int], with_commits: bool) -> tuple[MarkdownTable, MarkdownTable]:
    """The table of what was measured, and the goals."""
    folder.mkdir(parents=True, exist_ok=True)
    middle = min(nights) // 2
    names = [f"{count} nights" for count in sorted(nights)]
    table = MarkdownTable("A folder over the nights, CPU s", ("", ONE, *names, "most MB"))
    places = {ONE: made(folder, [middle])[0]}
    for name, count in zip(names, sorted(nights), strict=True):
        places[name], spent = made(folder, range(count))
        files = len(list(places[name].glob("*_alerts/*/*.parquet")))
        table.notes.append(
            f"{name}: {count * ALERTS:,} alerts in {files:,} files" + (f", made in {spent:.0f} s" if spent > 1 else "")
        )
    equal = [apart(check_equal, places[names[-1]], number) for number in (0, max(nights) - 1)]
    table.notes.append(f"The first and the last night were ingested for real: the {sum(equal):,} rows are equal.")
    for question in QUESTIONS:
        if question == IMPORTS:
            table.add_row({"": question, ONE: ask(question, places[ONE], middle)[0]})
            continue
        found = {name: ask(question, place, middle) for name, place in places.items()}
        most = max(memory for _, memory in found.values())
        table.add_row({"": question, **{name: cpu for name, (cpu, _) in found.items()}, "most MB": most})
    ingested = apart(ingests, [places[ONE], places[names[-1]]])
    table.add_row({"": f"ingest of {ALERTS:,} alerts in {UNITS} files", ONE: ingested[0], names[-1]: ingested[1]})
    written = {name: apart(compaction, place) for name, place in places.items()}
    table.add_row({"": f"commit of a night of {UNITS} files", **{name: cpu for name, (cpu, _) in written.items()}})
    table.add_row({"": "its compaction", **{name: cpu for name, (_, cpu) in written.items()}})
    goals = _goals(table, names[-1])
    if with_commits:
        tenth, last, first_mean, last_mean = apart(commits, folder)
        table.notes.append(
            f"{COMMITS:,} commits of {COMMIT_ALERTS} alerts in one process: the 10th {tenth:.4f}, the last {last:.4f} CPU s; "
            f"the mean of the first hundred {first_mean:.4f}, of the last {last_mean:.4f}."
        )
        _goal(goals, f"the {COMMITS:,}th commit over the 10th", 1.2, last / tenth)
    return table, goals


def _cpu(table: MarkdownTable, row: str, column: str) -> float:
    return cast(float, table.cell(row, column))


def _goals(table: MarkdownTable, most: str) -> MarkdownTable:
    """The goals of the largest warehouse."""
    goals = MarkdownTable(f"Goals of {most}", ("goal", "limit", "measured", "x importing duckdb and pyarrow", "reached"))
    imports = _cpu(table, IMPORTS, ONE)
    for question in ("open", "an object", "a cone of 5 arcsec"):
        _goal(goals, f"{question}, CPU s", 0.1, _cpu(table, question, most), imports)
    for question, limit in (("count of a night", 2.0), (f"ingest of {ALERTS:,} alerts in {UNITS} files", 1.2)):
        _goal(goals, f"{question}, over that with one night", limit, _cpu(table, question, most) / _cpu(table, question, ONE))
    ingest = _cpu(table, f"ingest of {ALERTS:,} alerts in {UNITS} files", most)
    _goal(goals, "compaction of a night over its ingest", 1.0, _cpu(table, "its compaction", most) / ingest)
    memory = max(_cpu(table, question, "most MB") for question in QUESTIONS if question != IMPORTS)
    _goal(goals, "memory of a reader, MB", _MANY_MB, memory)
    return goals


def _goal(goals: MarkdownTable, name: str, limit: float, measured: float, imports: float | None = None) -> None:
    over = {"x importing duckdb and pyarrow": measured / imports} if imports else {}
    goals.add_row({"goal": name, "limit": f"≤ {limit:g}", "measured": measured, **over, "reached": measured <= limit})


def picture(table: MarkdownTable, nights: Sequence[int], file: Path) -> None:
    """CPU seconds over the number of nights."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only where it is drawn

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for question in [*(name for name in QUESTIONS if name != IMPORTS), f"commit of a night of {UNITS} files", "its compaction"]:
        axes.plot(
            sorted(nights), [_cpu(table, question, f"{count} nights") for count in sorted(nights)], marker="o", label=question
        )
    axes.set(xscale="log", yscale="log", xlabel=f"nights of {ALERTS:,} alerts in {UNITS} files", ylabel="CPU time (s)")
    axes.set_title("A warehouse folder over the nights", fontsize="medium")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize="small")
    figure.savefig(file, dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, nargs="+", default=list(NIGHTS))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--commits", action="store_true", help=f"also {COMMITS:,} commits of {COMMIT_ALERTS} alerts")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw it there")
    parser.add_argument("--into", type=Path, metavar="FILE", help=f"put the tables into a file, between its two lines {MARK}")
    arguments = parser.parse_args(argv)
    before, _, behind = ("", "", "")
    if arguments.into:
        parts = arguments.into.read_text(encoding="utf-8").split(f"{MARK}\n")
        if len(parts) != 3:
            parser.error(f"{arguments.into} has no two lines {MARK}")
        before, _, behind = parts
    quiet()
    told = [sentence(facts())]
    table, goals = year(arguments.folder, arguments.nights, arguments.commits)
    told += [table.to_markdown(), goals.to_markdown()]
    print("\n\n".join(told))
    if arguments.picture:
        picture(table, arguments.nights, arguments.picture)
    if arguments.into:
        text = "\n\n".join(told)
        arguments.into.write_text(f"{before}{MARK}\n\n{text}\n\n{MARK}\n{behind}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
