"""What a night costs on Dataflow, and a year of nights in BigQuery, with the arithmetic: ``python -m deploy.costs``.

Every number is one of ``deploy/cost_inputs.py``. Measure your own (``python -m benchmarks.sinks``, ``python -m
tests.deploy.measure_cpu``), look prices up, change them, and run it with ``--into docs/dataflow.md``; a test holds that page to
what this prints.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.cost_inputs import (
    BATCH_WORKERS,
    BUNDLE_ALERTS,
    DISK_GB,
    FREE_APPEND_GIB,
    GB,
    GB_PER_VCPU,
    GIB,
    LOAD_EVERY_SECS,
    LSST,
    MONTH_NIGHTS,
    OVERHEAD,
    START_HOURS,
    STREAM_EXTRA_HOURS,
    TIB,
    UTILIZATION,
    VCPUS,
    YEAR_NIGHTS,
    ZTF,
    NightCosts,
    prices,
    usd_of,
)
from deploy.year_costs import Year, asked

MARK = "<!-- costs -->"
"""Stands before and behind what ``--into`` replaces."""


@dataclass(frozen=True)
class Cost:
    """One night in one mode."""

    night: NightCosts
    mode: str
    method: str

    @property
    def stream(self) -> bool:
        """Whether packets come from Pub/Sub while the night lasts."""
        return self.mode == "stream"

    @property
    def steps(self) -> tuple[str, ...]:
        """What an alert goes through: a stream's packets are not packed."""
        return ("decode", self.method) if self.stream else ("unpack", "decode", self.method)

    @property
    def cpu_us(self) -> float:
        """Of one alert."""
        return sum(map(self.night.cpu_us, self.steps))

    @property
    def work_vcpu_hours(self) -> float:
        """What the alerts need."""
        return self.night.alerts * self.cpu_us * OVERHEAD / 3.6e9

    @property
    def paid_vcpu_hours(self) -> float:
        """What is paid: autoscaled workers that are not always busy, and never less than one worker."""
        if self.stream:
            return max(self.work_vcpu_hours / UTILIZATION, VCPUS * self.night.hours) + VCPUS * STREAM_EXTRA_HOURS
        return self.work_vcpu_hours / UTILIZATION + BATCH_WORKERS[self.night.name] * VCPUS * START_HOURS

    @property
    def rates(self) -> tuple[float, float]:
        """Prices of a vCPU hour, and of a GB through Streaming Engine or Dataflow Shuffle."""
        if self.stream:
            return usd_of("stream vCPU"), usd_of("streaming engine")
        return usd_of("batch vCPU"), usd_of("shuffle")

    @property
    def bytes_each(self) -> tuple[int, ...]:
        """Bytes of an alert through Streaming Engine or Dataflow Shuffle: a stream's packet, and before an insert its rows."""
        packet = (self.night.packet_bytes,) if self.stream else ()
        return (*packet, self.night.insert_bytes) if self.method == "streaming_inserts" else packet

    @property
    def processed_gb(self) -> float:
        """Bytes through Streaming Engine or Dataflow Shuffle."""
        return self.night.alerts * sum(self.bytes_each) / GB

    @property
    def dataflow_usd(self) -> float:
        """vCPUs, memory, disks, bytes."""
        vcpu, moved = self.rates
        vcpu_hour = vcpu + GB_PER_VCPU * usd_of("memory") + DISK_GB / VCPUS * usd_of("disk")
        return self.paid_vcpu_hours * vcpu_hour + self.processed_gb * moved

    @property
    def pubsub_usd(self) -> float:
        """Published and delivered, once each."""
        return 2 * self.night.alerts * self.night.packet_bytes / TIB * usd_of("pubsub") if self.stream else 0.0

    @property
    def table_gib(self) -> float:
        """What BigQuery is given."""
        return self.night.alerts * self.night.table_bytes / GIB

    @property
    def paid_gib(self) -> float:
        """Of that, what is not free, in a month of such nights."""
        free = FREE_APPEND_GIB / MONTH_NIGHTS if self.method == "storage_write" else 0.0
        return max(self.table_gib - free, 0.0)

    @property
    def taking(self) -> str:
        """The price of BigQuery's taking the rows."""
        return {"file_loads": "load", "storage_write": "append", "streaming_inserts": "insert"}[self.method]

    @property
    def insert_usd(self) -> float:
        """What BigQuery asks for taking the rows."""
        return self.paid_gib * usd_of(self.taking)

    @property
    def objects(self) -> float:
        """Files that a stream writes for load jobs; those of a batch job are few and large."""
        return 2 * self.night.alerts / BUNDLE_ALERTS if self.stream and self.method == "file_loads" else 0.0

    @property
    def usd(self) -> float:
        """All of it, without the storage."""
        return self.dataflow_usd + self.pubsub_usd + self.objects * usd_of("object") + self.insert_usd


COSTS = [
    Cost(night, mode, method)
    for night in (ZTF, LSST)
    for mode in ("archive", "stream")
    for method in ("file_loads", "storage_write", "streaming_inserts")
]


_HEAD = ("night", "from", "write method", "vCPU h of work", "vCPU h paid", "GB moved")
_SUMS = ("Dataflow", "Pub/Sub", "objects", "BigQuery", "USD")


def table() -> str:
    """The costs as a Markdown table."""
    head = (*_HEAD, *_SUMS)
    rows = [head, ("---",) * len(head)]
    for cost in COSTS:
        hours = (f"{cost.work_vcpu_hours:,.1f}", f"{cost.paid_vcpu_hours:,.1f}", f"{cost.processed_gb:,.0f}")
        prices = (cost.dataflow_usd, cost.pubsub_usd, cost.objects * usd_of("object"), cost.insert_usd)
        sums = (*(f"{price:,.2f}" for price in prices), f"**{cost.usd:,.2f}**")
        rows.append((cost.night.name, cost.mode, f"`{cost.method}`", *hours, *sums))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def arithmetic(cost: Cost) -> str:
    """How a line of the table comes about."""
    night, (vcpu, moved) = cost.night, cost.rates
    work = f"{night.alerts:,} alerts x ({_us(cost)}) us x {OVERHEAD} / 3,600,000,000"
    memory, disk = f"{GB_PER_VCPU} GB x {usd_of('memory')}", f"{DISK_GB / VCPUS:g} GB of disk x {usd_of('disk'):f}"
    each = " + ".join(f"{size:,}" for size in cost.bytes_each)
    lines = [
        f"{night.name}, {cost.mode}, {cost.method}",
        f"  work      {work} = {cost.work_vcpu_hours:.2f} vCPU h",
        f"  paid      {_paid(cost)} = {cost.paid_vcpu_hours:.1f} vCPU h",
        f"  moved     {f'{night.alerts:,} x ({each}) B' if each else 'names of files'} = {cost.processed_gb:,.1f} GB",
        f"  Dataflow  {cost.paid_vcpu_hours:.1f} x ({vcpu} + {memory} + {disk})",
        f"            + {cost.processed_gb:,.1f} GB x {moved} = {cost.dataflow_usd:,.2f} USD",
    ]
    if cost.stream:
        tib = f"2 x {night.alerts:,} x {night.packet_bytes:,} B = {2 * night.alerts * night.packet_bytes / TIB:.3f} TiB"
        lines.append(f"  Pub/Sub   {tib} x {usd_of('pubsub'):g} = {cost.pubsub_usd:,.2f} USD")
    if cost.objects:
        written = f"2 x {night.alerts:,} / {BUNDLE_ALERTS} = {cost.objects:,.0f}"
        lines.append(f"  objects   {written} x {usd_of('object'):f} = {cost.objects * usd_of('object'):,.2f} USD")
    if usd_of(cost.taking):
        free = f" - {FREE_APPEND_GIB:,} / {MONTH_NIGHTS} free, at least 0," if cost.method == "storage_write" else ""
        given = f"{night.alerts:,} x {night.table_bytes:,} B = {cost.table_gib:,.1f} GiB{free}"
        lines.append(f"  BigQuery  {given} x {usd_of(cost.taking)} = {cost.insert_usd:,.2f} USD")
    return "\n".join(lines)


def _us(cost: Cost) -> str:
    return " + ".join(f"{cost.night.cpu_us(step):,g}" for step in cost.steps)


def _paid(cost: Cost) -> str:
    busy = f"{cost.work_vcpu_hours:.2f} / {UTILIZATION}"
    if not cost.stream:
        return f"{busy} + {BATCH_WORKERS[cost.night.name]} workers x {VCPUS} x {START_HOURS} h to start"
    night = f"{VCPUS} x {cost.night.hours:g} h"
    longest = f"the larger of {busy} and of one worker, {night}"
    return f"{longest}, + {VCPUS} x {STREAM_EXTRA_HOURS} h"


def pace(cost: Cost) -> str:
    """How many vCPUs keep up with the mean rate of a stream."""
    per_second = cost.night.alerts / cost.night.hours / 3600
    vcpus = per_second * cost.cpu_us / 1e6 * OVERHEAD / UTILIZATION
    need = f"{per_second:,.0f} alerts/s x ({_us(cost)}) us x {OVERHEAD} / {UTILIZATION} = {vcpus:,.1f} vCPUs"
    return f"{cost.night.name}, {cost.method}: {need}"


def text() -> str:
    """How all lines of the table come about, and what else follows from the numbers."""
    streams = [cost for cost in COSTS if cost.stream]
    hours = LSST.hours + STREAM_EXTRA_HOURS
    jobs = f"{hours:g} h x 3,600 / {LOAD_EVERY_SECS} s = {hours * 3600 / LOAD_EVERY_SECS:,.0f} of each table"
    sections = [
        *map(arithmetic, COSTS),
        "\n  ".join(["vCPUs that keep up with the mean rate", *map(pace, streams)]),
        "\n  ".join([f"storage in BigQuery, {YEAR_NIGHTS} nights", *Year(ZTF).storage(), *Year(LSST).storage()]),
        f"load jobs of a stream with file_loads\n  {jobs}",
    ]
    return "\n\n".join(sections)


def page() -> str:
    """All of it, as a page shows it."""
    return "\n\n".join([table(), f"```\n{text()}\n```", asked(), prices()])


def main(argv: Sequence[str] | None = None) -> int:
    """Print it, or put it into a page; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.costs", description="What a night costs, and a year of nights.")
    parser.add_argument("--into", type=Path, metavar="FILE", help=f"put it into a file, between its two lines {MARK}")
    into: Path | None = parser.parse_args(argv).into
    if into is None:
        sys.stdout.write(f"{page()}\n")
        return 0
    before, _, after = into.read_text().split(f"{MARK}\n")
    into.write_text(f"{before}{MARK}\n\n{page()}\n\n{MARK}\n{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
