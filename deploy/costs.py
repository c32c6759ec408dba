"""What a night costs on Dataflow, with the arithmetic: ``python -m deploy.costs``.

Every number below is an input. Measure your own (``python -m tests.deploy.measure_cpu``), look prices up, change them, run it
again; a test holds the tables of ``docs/dataflow.md`` to what this prints.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

# --- measured: 2026-11-23, 2 shared cores (AMD EPYC), Python 3.11, Beam 2.77.0, simulated nights of ZTF 4.02 and LSST 10.0
# packets through the whole batch job, Beam's local runner, emulators of Cloud Storage and BigQuery; the higher of two runs.


@dataclass(frozen=True)
class NightCosts:
    """A survey's night: how much comes, and what one alert takes."""

    name: str
    alerts: int
    """Assumed."""
    hours: float
    """From the first alert to the last; assumed."""
    cpu_secs: Mapping[str, float]
    """CPU per alert by write method, everything included: read, decode, rows, files or requests. Measured."""
    packet_bytes: int
    """Measured."""
    table_bytes: int
    """As BigQuery bills them: alerts and cutouts. Measured."""
    insert_bytes: int
    """An alert's rows for insertAll (JSON, stamps in base64) as they pass the shuffle before the insert. Measured."""


ZTF = NightCosts("ZTF", 300_000, 10, {"file_loads": 0.0007, "streaming_inserts": 0.0067}, 59_000, 54_000, 76_000)
LSST = NightCosts("LSST", 10_000_000, 10, {"file_loads": 0.0018, "streaming_inserts": 0.0076}, 141_000, 128_000, 188_000)

# --- assumed: none of it has been seen on Dataflow.
OVERHEAD = 1.5
"""CPU of a Dataflow worker over that of Beam's local runner, for the same alerts: its harness, TLS, coders between processes."""
UTILIZATION = 0.6
"""Of the vCPUs that are paid, how much autoscaling keeps busy."""
MACHINE, VCPUS, GB_PER_VCPU = "n2d-standard-2", 2, 4
START_HOURS = 0.05
"""Paid before a worker works, and after: 3 minutes."""
BATCH_WORKERS = {"ZTF": 2, "LSST": 50}
"""What --max_num_workers allows a batch job."""
STREAM_EXTRA_HOURS = 2
"""A stream is started before the night and drained after it."""
DISK_GB = 30
"""Of a worker."""
LOAD_EVERY_SECS = 60
BUNDLE_ALERTS = 20
"""Alerts in a bundle of a busy stream. With file_loads each bundle writes one object for alerts and one for cutouts."""

# --- prices in USD: list prices of us-central1 as remembered in 2025, NOT looked up. Check them before you believe a sum.


@dataclass(frozen=True)
class Rate:
    """Dataflow's prices for batch or streaming workers."""

    vcpu_hour: float
    memory_gb_hour: float
    processed_gb: float
    """Dataflow Shuffle (batch), or Streaming Engine billed by volume."""


BATCH_RATE = Rate(0.056, 0.003557, 0.011)
STREAM_RATE = Rate(0.069, 0.003557, 0.018)
DISK_GB_HOUR = 0.000054
PUBSUB_TIB = 40.0
"""Each way: publishing, and delivery."""
OBJECT = 0.05 / 10_000
"""Cloud Storage, an object written (a class A operation); deleting it is free."""
INSERT_GB = 0.05
"""insertAll, 0.01 per 200 MB. Load jobs cost nothing."""
STORAGE_GIB_MONTH = 0.02
"""BigQuery, active, logical bytes."""

GB, GIB, TIB = 10**9, 2**30, 2**40


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
    def work_vcpu_hours(self) -> float:
        """What the alerts need."""
        return self.night.alerts * self.night.cpu_secs[self.method] * OVERHEAD / 3600

    @property
    def paid_vcpu_hours(self) -> float:
        """What is paid: autoscaled workers that are not always busy, and never less than one worker."""
        if self.stream:
            return max(self.work_vcpu_hours / UTILIZATION, VCPUS * self.night.hours) + VCPUS * STREAM_EXTRA_HOURS
        return self.work_vcpu_hours / UTILIZATION + BATCH_WORKERS[self.night.name] * VCPUS * START_HOURS

    @property
    def rate(self) -> Rate:
        """The prices that hold."""
        return STREAM_RATE if self.stream else BATCH_RATE

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
        vcpu_hour = self.rate.vcpu_hour + GB_PER_VCPU * self.rate.memory_gb_hour + DISK_GB / VCPUS * DISK_GB_HOUR
        return self.paid_vcpu_hours * vcpu_hour + self.processed_gb * self.rate.processed_gb

    @property
    def pubsub_usd(self) -> float:
        """Published and delivered, once each."""
        return 2 * self.night.alerts * self.night.packet_bytes / TIB * PUBSUB_TIB if self.stream else 0.0

    @property
    def insert_usd(self) -> float:
        """What BigQuery asks for taking the rows."""
        return self.night.alerts * self.night.table_bytes / GB * INSERT_GB if self.method == "streaming_inserts" else 0.0

    @property
    def objects(self) -> float:
        """Files that a stream writes for load jobs; those of a batch job are few and large."""
        return 2 * self.night.alerts / BUNDLE_ALERTS if self.stream and self.method == "file_loads" else 0.0

    @property
    def usd(self) -> float:
        """All of it, without the storage."""
        return self.dataflow_usd + self.pubsub_usd + self.objects * OBJECT + self.insert_usd


COSTS = [
    Cost(night, mode, method)
    for night in (ZTF, LSST)
    for mode in ("archive", "stream")
    for method in ("file_loads", "streaming_inserts")
]


_HEAD = ("night", "from", "write method", "vCPU h of work", "vCPU h paid", "GB moved")
_SUMS = ("Dataflow", "Pub/Sub", "objects", "BigQuery", "USD")


def table() -> str:
    """The costs as a Markdown table."""
    head = (*_HEAD, *_SUMS)
    rows = [head, ("---",) * len(head)]
    for cost in COSTS:
        hours = (f"{cost.work_vcpu_hours:,.1f}", f"{cost.paid_vcpu_hours:,.1f}", f"{cost.processed_gb:,.0f}")
        prices = (cost.dataflow_usd, cost.pubsub_usd, cost.objects * OBJECT, cost.insert_usd)
        sums = (*(f"{price:,.2f}" for price in prices), f"**{cost.usd:,.2f}**")
        rows.append((cost.night.name, cost.mode, f"`{cost.method}`", *hours, *sums))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def arithmetic(cost: Cost) -> str:
    """How a line of the table comes about."""
    night = cost.night
    work = f"{night.alerts:,} alerts x {_ms(cost)} x {OVERHEAD} / 3,600,000"
    memory, disk = f"{GB_PER_VCPU} GB x {cost.rate.memory_gb_hour}", f"{DISK_GB / VCPUS:g} GB of disk x {DISK_GB_HOUR:f}"
    rate = f"{cost.rate.vcpu_hour} + {memory} + {disk}"
    each = " + ".join(f"{size:,}" for size in cost.bytes_each)
    lines = [
        f"{night.name}, {cost.mode}, {cost.method}",
        f"  work      {work} = {cost.work_vcpu_hours:.2f} vCPU h",
        f"  paid      {_paid(cost)} = {cost.paid_vcpu_hours:.1f} vCPU h",
        f"  moved     {f'{night.alerts:,} x ({each}) B' if each else 'names of files'} = {cost.processed_gb:,.1f} GB",
        f"  Dataflow  {cost.paid_vcpu_hours:.1f} x ({rate})",
        f"            + {cost.processed_gb:,.1f} GB x {cost.rate.processed_gb} = {cost.dataflow_usd:,.2f} USD",
    ]
    if cost.stream:
        tib = f"2 x {night.alerts:,} x {night.packet_bytes:,} B = {2 * night.alerts * night.packet_bytes / TIB:.3f} TiB"
        lines.append(f"  Pub/Sub   {tib} x {PUBSUB_TIB:g} = {cost.pubsub_usd:,.2f} USD")
    if cost.objects:
        written = f"2 x {night.alerts:,} / {BUNDLE_ALERTS} = {cost.objects:,.0f}"
        lines.append(f"  objects   {written} x {OBJECT:f} = {cost.objects * OBJECT:,.2f} USD")
    if cost.insert_usd:
        inserted = f"{night.alerts:,} x {night.table_bytes:,} B = {night.alerts * night.table_bytes / GB:,.1f} GB"
        lines.append(f"  BigQuery  {inserted} x {INSERT_GB} = {cost.insert_usd:,.2f} USD")
    return "\n".join(lines)


def _ms(cost: Cost) -> str:
    return f"{cost.night.cpu_secs[cost.method] * 1000:.1f} ms"


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
    vcpus = per_second * cost.night.cpu_secs[cost.method] * OVERHEAD / UTILIZATION
    need = f"{per_second:,.0f} alerts/s x {_ms(cost)} x {OVERHEAD} / {UTILIZATION} = {vcpus:.1f} vCPUs"
    return f"{cost.night.name}, {cost.method}: {need}"


def storage(night: NightCosts) -> str:
    """What a night adds to the tables, whichever way it came."""
    stored = night.alerts * night.table_bytes / GIB
    monthly = f"{stored * STORAGE_GIB_MONTH:,.2f} USD a month"
    return f"{night.name}: {night.alerts:,} x {night.table_bytes:,} B = {stored:,.1f} GiB x {STORAGE_GIB_MONTH} = {monthly}"


def text() -> str:
    """How all lines of the table come about, and what else follows from the numbers."""
    streams = [cost for cost in COSTS if cost.stream]
    hours = LSST.hours + STREAM_EXTRA_HOURS
    jobs = f"{hours:g} h x 3,600 / {LOAD_EVERY_SECS} s = {hours * 3600 / LOAD_EVERY_SECS:,.0f} of each table"
    sections = [
        *map(arithmetic, COSTS),
        "\n  ".join(["vCPUs that keep up with the mean rate", *map(pace, streams)]),
        "\n  ".join(["storage in BigQuery", storage(ZTF), storage(LSST)]),
        f"load jobs of a stream with file_loads\n  {jobs}",
    ]
    return "\n\n".join(sections)


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n\n{text()}\n")
