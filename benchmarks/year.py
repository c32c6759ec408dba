"""A year of nights in one folder: what it costs to open, to ask and to go on, over the number of nights.

    python -m benchmarks.year --nights 10 100 365 --folder /tmp/years

The rows are those of 1,000 simulated alerts without stamps, decoded once, and written night by night by the warehouse's own
commit, 55 units of one input each: other alert ids each night, other objects each tenth night, other times. A warehouse is kept
in the folder under the hash of what it is made from, and made only where it is missing. Each question is asked in a process of
its own; CPU seconds are of all that comes after the imports.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.avro.decode import decode
from alerts.avro.layout import Projection
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import survey
from benchmarks.tables import MarkdownTable
from simulation import simulate_packets
from warehouses.folder import compact
from warehouses.folder.commit import commit
from warehouses.folder.parquet_files import UnitWriter
from warehouses.units import Unit, WrittenFile

ALERTS, UNITS, AS_LONG = 1000, 55, 10
"""Of a night; an object comes in so many nights."""
FIRST_NIGHT = date(2025, 1, 1)
SURVEY = survey("ztf")
WANT = Projection(stamps=False)
COMMITS, COMMIT_ALERTS = 2000, 300


@functools.lru_cache(maxsize=1)
def rows() -> pa.RecordBatch:
    """The rows of the simulated alerts."""
    packets = [
        packet
        for made in simulate_packets(survey="ztf", alerts=ALERTS, seed=1)
        for packet in open_packets(made.data, made.name, WireSchemas())
        if isinstance(packet, Packet)
    ]
    decoded = [decode(packets[first : first + 256], run_id="year", want=WANT) for first in range(0, ALERTS, 256)]
    batches = [batch for each in decoded for batch in each.rows.values()]
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def of_night(number: int) -> pa.RecordBatch:
    """The same alerts as of another night."""
    digests = [digest[:-2] + number.to_bytes(2, "big") for digest in rows().column("packet_digest").to_pylist()]
    changed: dict[str, Any] = {
        "alert_id": pc.add(rows().column("alert_id"), number * 10**13),
        "object_id": pc.binary_join_element_wise(rows().column("object_id"), f"n{number // AS_LONG}", ""),
        "packet_digest": pa.array(digests, pa.binary()),
        "observed_at": pc.add(rows().column("observed_at"), pa.scalar(timedelta(days=number), pa.duration("us"))),
        "night": pa.array([night_of(number)] * ALERTS, pa.date32()),
    }
    schema = rows().schema
    return pa.RecordBatch.from_arrays(
        [changed.get(field.name, rows().column(field.name)).cast(field.type) for field in schema], schema=schema
    )


def night_of(number: int) -> date:
    """The date of a night, from 0."""
    return FIRST_NIGHT + timedelta(days=number)


def write_night(folder: str, number: int, units: int = UNITS) -> None:
    """A night in so many units, put in place by one commit."""
    of_units = [Unit((f"year/{number}/{unit}.tar",)) for unit in range(units)]
    found = of_night(number)
    edges = np.linspace(0, ALERTS, units + 1).astype(int)
    written: list[WrittenFile] = []
    table = WANT.alerts_table(SURVEY)
    for unit, first, last in zip(of_units, edges[:-1], edges[1:], strict=True):
        writer = UnitWriter(folder, f"night{number}", unit.key)
        written += [*writer.write(table, found.slice(first, last - first)), *writer.close()]
    commit(folder, f"night{number}", of_units, written)


def made(folder: Path, nights: Sequence[int]) -> tuple[Path, float]:
    """The warehouse of some nights, and the CPU seconds that it took where it was not there."""
    about = json.dumps([list(nights), ALERTS, UNITS, AS_LONG, str(FIRST_NIGHT), rows().schema.to_string()])
    place = folder / hashlib.sha256(about.encode()).hexdigest()[:16]
    begun = time.process_time()
    if not (place / "whole").exists():
        shutil.rmtree(place, ignore_errors=True)
        for number in nights:
            write_night(str(place / "w"), number)
        (place / "whole").touch()
    return place / "w", time.process_time() - begun


QUESTIONS = {
    "importing duckdb and pyarrow": "import duckdb, pyarrow.parquet",
    "open": "opened().surveys",
    "count of a night": "opened().query(f\"SELECT COUNT(*) AS n FROM ztf_alerts WHERE night = DATE '{night}'\").to_pylist()",
    "an object": "opened().alerts_of(object_id).to_pylist()",
    "a cone of 5 arcsec": "opened().cone(ra_deg, dec_deg, 5.0).to_pylist()",
}
_ASK = """
import json, resource, sys
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
begun = cpu()
place, night, object_id, ra_deg, dec_deg = json.loads(sys.argv[2])
if "opened()" in sys.argv[1]:
    import duckdb, pyarrow.parquet, warehouses
    import warehouses.folder.warehouse
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
    alert = rows().slice(7, 1).to_pylist()[0]
    object_id = f"{alert['object_id']}n{number // AS_LONG}"
    about = [str(place), str(night_of(number)), object_id, alert["ra_deg"], alert["dec_deg"]]
    command = [sys.executable, "-c", _ASK, QUESTIONS[question], json.dumps(about)]
    found = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(rounds)]
    return min(cpu for cpu, _ in found), max(memory for _, memory in found)


def compaction(place: Path, number: int) -> tuple[float, float]:
    """CPU seconds of a night's commit into a copy of a warehouse, from decoded rows, and of its compaction."""
    with tempfile.TemporaryDirectory(dir=place.parent) as copy:
        shutil.copytree(place, f"{copy}/w", copy_function=os.link)
        times = [time.process_time()]
        write_night(f"{copy}/w", number)
        times.append(time.process_time())
        compact.compact(f"{copy}/w", (night_of(number), night_of(number)))
        times.append(time.process_time())
    return times[1] - times[0], times[2] - times[1]


def commits(folder: Path) -> tuple[float, float]:
    """CPU seconds of the 10th and of the last commit of 300 alerts, a unit each, in one process: medians of nine around them."""
    spent = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        table, found = WANT.alerts_table(SURVEY), rows().slice(0, COMMIT_ALERTS)
        for number in range(COMMITS):
            begun = time.process_time()
            unit = Unit((f"round/{number}",))
            writer = UnitWriter(place, f"run{number}", unit.key)
            commit(place, f"run{number}", [unit], [*writer.write(table, found), *writer.close()])
            spent.append(time.process_time() - begun)
    return float(np.median(spent[5:14])), float(np.median(spent[-9:]))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, nargs="+", default=[10, 365])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "broker-years")
    parser.add_argument("--commits", action="store_true", help=f"also {COMMITS:,} commits of {COMMIT_ALERTS} alerts")
    arguments = parser.parse_args(argv)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(f"{platform.machine()}, Python {platform.python_version()}, {date.today()}; CPU seconds\n")
    names = [f"{nights} nights" for nights in arguments.nights]
    table = MarkdownTable("A folder over the nights", ("", "one night", *names, "most MB"))
    middle = min(arguments.nights) // 2
    places = {"one night": made(arguments.folder, [middle])[0]}
    for nights in arguments.nights:
        place, spent = made(arguments.folder, range(nights))
        places[f"{nights} nights"] = place
        if spent > 1:
            print(f"{nights} nights in {len(list(place.glob('*/*/*.parquet'))):,} files made in {spent:.0f} s\n")
    for question in QUESTIONS:
        found = {name: ask(question, place, middle) for name, place in places.items()}
        most = max(memory for _, memory in found.values())
        table.add_row({"": question, **{name: cpu for name, (cpu, _) in found.items()}, "most MB": most})
    written = {name: compaction(place, 400) for name, place in places.items()}
    table.add_row({"": f"commit of a night of {UNITS} files", **{name: cpu for name, (cpu, _) in written.items()}})
    table.add_row({"": "its compaction", **{name: cpu for name, (_, cpu) in written.items()}})
    print(table.to_markdown())
    if arguments.commits:
        tenth, last = commits(arguments.folder)
        print(f"\n{COMMITS:,} commits of {COMMIT_ALERTS} alerts in one process: the 10th {tenth:.3f}, the last {last:.3f} CPU s")
    print(f"\nmemory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
