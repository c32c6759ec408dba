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
class Night:
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


ZTF = Night("ZTF", 300_000, 10, {"file_loads": 0.0027, "streaming_inserts": 0.0059}, 59_000, 54_000, 76_000)
LSST = Night("LSST", 10_000_000, 10, {"file_loads": 0.0037, "streaming_inserts": 0.0096}, 141_000, 128_000, 188_000)

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
INSERT_GB = 0.05
"""insertAll, 0.01 per 200 MB. Load jobs cost nothing."""
STORAGE_GIB_MONTH = 0.02
"""BigQuery, active, logical bytes."""

GB, GIB, TIB = 10**9, 2**30, 2**40


@dataclass(frozen=True)
class Cost:
    """One night in one mode."""

    night: Night
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
            return max(self.work_vcpu_hours / UTILIZATION, VCPUS * (self.night.hours + STREAM_EXTRA_HOURS))
        return self.work_vcpu_hours / UTILIZATION + BATCH_WORKERS[self.night.name] * VCPUS * START_HOURS

    @property
    def processed_gb(self) -> float:
        """Bytes through Streaming Engine or Dataflow Shuffle: a stream's packets, and before inserts the rows."""
        packets = self.night.packet_bytes if self.stream else 0
        rows = self.night.insert_bytes if self.method == "streaming_inserts" else 0
        return self.night.alerts * (packets + rows) / GB

    @property
    def dataflow_usd(self) -> float:
        """vCPUs, memory, disks, bytes."""
        rate = STREAM_RATE if self.stream else BATCH_RATE
        vcpu_hour = rate.vcpu_hour + GB_PER_VCPU * rate.memory_gb_hour + DISK_GB / VCPUS * DISK_GB_HOUR
        return self.paid_vcpu_hours * vcpu_hour + self.processed_gb * rate.processed_gb

    @property
    def pubsub_usd(self) -> float:
        """Published and delivered, once each."""
        return 2 * self.night.alerts * self.night.packet_bytes / TIB * PUBSUB_TIB if self.stream else 0.0

    @property
    def insert_usd(self) -> float:
        """What BigQuery asks for taking the rows."""
        return self.night.alerts * self.night.table_bytes / GB * INSERT_GB if self.method == "streaming_inserts" else 0.0

    @property
    def usd(self) -> float:
        """All of it, without the storage."""
        return self.dataflow_usd + self.pubsub_usd + self.insert_usd


COSTS = [
    Cost(night, mode, method)
    for night in (ZTF, LSST)
    for mode in ("archive", "stream")
    for method in ("file_loads", "streaming_inserts")
]


def table() -> str:
    """The costs as a Markdown table."""
    head = "| night | from | write method | vCPU h of work | vCPU h paid | GB through Dataflow | Dataflow | Pub/Sub | BigQuery | USD |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|---|"]
    lines += [
        f"| {one.night.name} | {one.mode} | `{one.method}` | {one.work_vcpu_hours:,.1f} | {one.paid_vcpu_hours:,.1f} | {one.processed_gb:,.0f} "
        f"| {one.dataflow_usd:,.2f} | {one.pubsub_usd:,.2f} | {one.insert_usd:,.2f} | **{one.usd:,.2f}** |"
        for one in COSTS
    ]
    return "\n".join(lines)


def arithmetic(one: Cost) -> str:
    """How a line of the table comes about."""
    night, rate = one.night, STREAM_RATE if one.stream else BATCH_RATE
    cpu_ms = night.cpu_secs[one.method] * 1000
    if not one.stream:
        paid = f"{one.work_vcpu_hours:.2f} / {UTILIZATION} + {BATCH_WORKERS[night.name]} workers x {VCPUS} x {START_HOURS} h to start"
    elif one.paid_vcpu_hours > one.work_vcpu_hours / UTILIZATION:
        paid = f"one worker, {VCPUS} vCPU x ({night.hours} + {STREAM_EXTRA_HOURS}) h (the work alone: {one.work_vcpu_hours / UTILIZATION:.1f})"
    else:
        paid = f"{one.work_vcpu_hours:.2f} / {UTILIZATION}"
    parts = ([night.packet_bytes] if one.stream else []) + ([night.insert_bytes] if one.method == "streaming_inserts" else [])
    through = (
        f"{night.alerts:,} x {' + '.join(map(str, parts))} B"
        if len(parts) == 1
        else f"{night.alerts:,} x ({' + '.join(map(str, parts))}) B"
    )
    lines = [
        f"{night.name}, {one.mode}, {one.method}",
        f"  work      {night.alerts:,} alerts x {cpu_ms:.1f} ms x {OVERHEAD} / 3,600,000 = {one.work_vcpu_hours:.2f} vCPU h",
        f"  paid      {paid} = {one.paid_vcpu_hours:.1f} vCPU h",
        f"  bytes     {through if parts else 'names of files only'} = {one.processed_gb:,.1f} GB through Dataflow",
        f"  Dataflow  {one.paid_vcpu_hours:.1f} x ({rate.vcpu_hour} + {GB_PER_VCPU} GB x {rate.memory_gb_hour} + {DISK_GB / VCPUS:.0f} GB disk x {DISK_GB_HOUR})"
        f" + {one.processed_gb:,.1f} GB x {rate.processed_gb} = {one.dataflow_usd:,.2f} USD",
    ]
    if one.stream:
        lines.append(
            f"  Pub/Sub   2 x {night.alerts:,} x {night.packet_bytes} B = {2 * night.alerts * night.packet_bytes / TIB:.3f} TiB"
            f" x {PUBSUB_TIB:.0f} = {one.pubsub_usd:,.2f} USD"
        )
    if one.insert_usd:
        lines.append(
            f"  BigQuery  {night.alerts:,} x {night.table_bytes} B = {night.alerts * night.table_bytes / GB:,.1f} GB"
            f" x {INSERT_GB} = {one.insert_usd:,.2f} USD"
        )
    return "\n".join(lines)


def storage(night: Night) -> str:
    """What a night adds to the tables, whichever way it came."""
    stored = night.alerts * night.table_bytes / GIB
    return f"{night.name}: {night.alerts:,} x {night.table_bytes} B = {stored:,.1f} GiB x {STORAGE_GIB_MONTH} = {stored * STORAGE_GIB_MONTH:,.2f} USD a month"


def loads(night: Night) -> str:
    """How many load jobs a stream's night makes of one table."""
    hours = night.hours + STREAM_EXTRA_HOURS
    return f"{hours:.0f} h x 3600 / {LOAD_EVERY_SECS} s = {hours * 3600 / LOAD_EVERY_SECS:,.0f} load jobs of each table"


def cores_at_once(night: Night, method: str) -> float:
    """vCPUs that keep up with the mean rate of a stream."""
    return night.alerts / (night.hours * 3600) * night.cpu_secs[method] * OVERHEAD / UTILIZATION


def text() -> str:
    """All of it."""
    pace = [
        f"{night.name}: {night.alerts / night.hours / 3600:,.0f} alerts/s x {night.cpu_secs[method] * 1000:.1f} ms x {OVERHEAD} / {UTILIZATION}"
        f" = {cores_at_once(night, method):,.1f} vCPUs ({method})"
        for night in (ZTF, LSST)
        for method in night.cpu_secs
    ]
    sections = [table(), *(arithmetic(one) for one in COSTS), "\n".join(["keeping up", *(f"  {one}" for one in pace)])]
    sections.append("\n".join(["storage", *(f"  {storage(night)}" for night in (ZTF, LSST))]))
    sections.append(f"load jobs of a stream\n  {loads(LSST)}")
    return "\n\n".join(sections)


if __name__ == "__main__":
    sys.stdout.write(text() + "\n")
