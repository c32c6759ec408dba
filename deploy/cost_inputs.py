"""What ``deploy.costs`` reckons with: what was measured, what is assumed, and prices. Change them, and run it again."""

from __future__ import annotations

from dataclasses import dataclass

from warehouses.bigquery.billing import USD_PER_TIB

# --- measured, on real alerts of ZTF's night of 20231018 and of LSST's of 20260310 (24 of them, with up to 1,120 earlier sources)

NIGHTS = ("ZTF", "LSST")
CPU_US = {
    "unpack": (144.0, 500.0),
    "decode": (37.4, 824.0),
    "file_loads": (67.6, 652.0),
    "storage_write": (64.1, 440.0),
    "streaming_inserts": (6044.0, 83462.0),
}
"""CPU of one alert, microseconds, by step: out of a .tar.gz, to rows, and by each write method into both tables.

The first two are of docs/performance.md (2026-11-26, AMD EPYC): decompression, tar and containers; decoding of everything. The
sinks are of ``python -m benchmarks.sinks`` (2026-11-29, another machine of two cores), load files without their upload.
"""


@dataclass(frozen=True)
class NightCosts:
    """A survey's night: how much comes, and what one alert takes."""

    name: str
    alerts: int
    """Assumed."""
    hours: float
    """From the first alert to the last; assumed."""
    packet_bytes: int
    """Measured, as all bytes here."""
    row_bytes: int
    """A row of the alerts table, as BigQuery bills it."""
    stamp_bytes: int
    """A row of the cutouts table, likewise."""
    physical_bytes: int
    """Both as Parquet with zstd: what BigQuery makes of them is not known."""
    insert_bytes: int
    """Both for insertAll (JSON, stamps in base64) as they pass the shuffle before the insert."""

    @property
    def table_bytes(self) -> int:
        """An alert's rows, as BigQuery bills them."""
        return self.row_bytes + self.stamp_bytes

    def cpu_us(self, step: str) -> float:
        """Of one alert."""
        return CPU_US[step][NIGHTS.index(self.name)]


ZTF = NightCosts("ZTF", 300_000, 10, 74_300, 8_700, 40_000, 43_500, 68_400)
LSST = NightCosts("LSST", 10_000_000, 10, 285_700, 145_600, 124_700, 147_200, 545_400)

# --- assumed: none of it has been seen on Dataflow.
OVERHEAD = 1.5
"""CPU of a Dataflow worker over that of the steps: Beam's harness, TLS, coders between processes."""
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
MONTH_NIGHTS = 30
"""Among so many nights what a month has free is shared."""
YEAR_NIGHTS = 365


# --- prices


@dataclass(frozen=True)
class Price:
    """A list price of us-central1 in USD."""

    usd: float
    per: str
    what: str
    told: str = "2025, from memory"


PRICES = {
    "batch vCPU": Price(0.056, "vCPU h", "Dataflow, batch worker"),
    "stream vCPU": Price(0.069, "vCPU h", "Dataflow, streaming worker"),
    "memory": Price(0.003557, "GB h", "Dataflow, memory of a worker"),
    "disk": Price(0.000054, "GB h", "Dataflow, disk of a worker"),
    "shuffle": Price(0.011, "GB", "Dataflow Shuffle, batch"),
    "streaming engine": Price(0.018, "GB", "Streaming Engine, billed by volume"),
    "pubsub": Price(40.0, "TiB", "Pub/Sub, each way: publishing, and delivery"),
    "object": Price(0.05 / 10_000, "object", "Cloud Storage, an object written (class A); deleting it is free"),
    "load": Price(0.0, "GiB", "BigQuery, load jobs"),
    "append": Price(0.025, "GiB", "BigQuery, Storage Write API, beyond 2 TiB a month", "August 2026, documentation"),
    "insert": Price(0.05, "GiB", "BigQuery, insertAll, a row 1 kB at least", "August 2026, documentation"),
    "query": Price(USD_PER_TIB, "TiB", "BigQuery, queries on demand, beyond 1 TiB a month"),
    "read": Price(1.1, "TiB", "BigQuery, Storage Read API, beyond 300 TiB a month; not of the answers of queries"),
    "active": Price(0.02, "GiB month", "BigQuery, storage, logical bytes"),
    "long-term": Price(0.01, "GiB month", "BigQuery, the same, of a partition unchanged for 90 days"),
    "active physical": Price(0.04, "GiB month", "BigQuery, storage, physical bytes"),
    "long-term physical": Price(0.02, "GiB month", "BigQuery, the same, of a partition unchanged for 90 days"),
}
FREE_APPEND_GIB = 2048
LONG_TERM_DAYS = 90
LEAST_BILLED_BYTES = 10 * 2**20
"""Of a table that a query names."""

GB, GIB, TIB = 10**9, 2**30, 2**40


def usd_of(name: str) -> float:
    """A price."""
    return PRICES[name].usd


def prices() -> str:
    """The prices as a Markdown table."""
    rows = [("price", "USD", "per", "as of"), ("---",) * 4]
    rows += [(price.what, f"{price.usd:.6f}".rstrip("0").rstrip("."), price.per, price.told) for price in PRICES.values()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
