"""What a cross-match with a catalog in a file costs per alert: on this machine, one thread, batches of 256.

    python -m benchmarks.local_catalog [--sources 1e6 1e7] [--radius_arcsec 5]

Prints a Markdown table. Beside ours, in the same run: scipy's cKDTree on unit vectors, batch by batch, and astropy's
``match_coordinates_sky`` one alert at a time. All three look at the same positions.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path

import astropy
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy
from astropy.coordinates import SkyCoord, match_coordinates_sky
from scipy.spatial import cKDTree

from alerts.catalogs.files.local import open_local
from alerts.catalogs.files.sky_index import SkyIndex

ALERTS = 256
BATCHES = 200
ONE_BY_ONE = 20
Batch = tuple[np.ndarray, np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser(description="Cost per alert of a cross-match with a catalog in a file.")
    parser.add_argument("--sources", type=float, nargs="+", default=[1e6, 1e7], help="sizes of the catalog (default 1e6 1e7)")
    parser.add_argument("--radius_arcsec", type=float, default=5.0, help="radius of the search (default 5)")
    given = parser.parse_args(argv)
    lines = [line for sources in given.sources for line in _measured(int(sources), given.radius_arcsec)]
    print(f"{_machine()} Radius {given.radius_arcsec:g} arcsec, median of {BATCHES} batches of {ALERTS}.\n")
    print("| sources | | open, s | index, s | memory, MB (peak) | µs per alert: all sky | one visit | at its epoch | ours is |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))
    return 0


def _measured(sources: int, radius_arcsec: float) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "catalog.parquet"))
        # Each step in a process of its own, so that memory is that of the catalog.
        _apart(_write, path, sources)
        ours = _apart(_ours, path, radius_arcsec)
        build_secs, tree, visits, singles = _apart(_theirs, path, radius_arcsec)
    open_secs, index_secs, memory, mine, *more = ours
    numbers = " | ".join(map(_figure, [mine, *more]))
    theirs = f"{_figure(tree)} | {_figure(visits)} | | {tree / mine:.1f}x"
    return [
        f"| {sources:,} | alerts.catalogs.files.local | {_figure(open_secs)} | {_figure(index_secs)} | {memory} | {numbers} | |",
        f"| {sources:,} | cKDTree, batches | | {_figure(build_secs)} | | {theirs} |",
        f"| {sources:,} | astropy, one by one | | | | {_figure(singles)} | | | {singles / mine:,.0f}x |",
    ]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _machine() -> str:
    libraries = f"numpy {np.__version__}, scipy {scipy.__version__}, astropy {astropy.__version__}, pyarrow {pa.__version__}"
    cores = f"{os.cpu_count()} shared cores ({_processor()})"
    return f"{date.today()}, {cores}, Python {platform.python_version()}, {libraries}."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _apart(step: Callable, *given: object) -> list:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(step, *given).result()


def _write(path: str, sources: int) -> None:
    """Sources evenly over the sky, with the columns that a slim file of Gaia would have."""
    dice = np.random.default_rng(20181129)
    columns = {
        "source_id": dice.integers(2**60, 2**62, sources),
        "ra": dice.uniform(0, 360, sources),
        "dec": np.degrees(np.arcsin(dice.uniform(-1, 1, sources))),
        "pmra": dice.standard_t(2, sources) * 5,
        "pmdec": dice.standard_t(2, sources) * 5,
        "mag": dice.uniform(8, 21, sources).astype(np.float32),
    }
    pq.write_table(pa.table(columns), path)


def _positions(path: str) -> tuple[list[Batch], list[Batch]]:
    """Alerts within arcseconds of sources all over the sky; and alerts of one visit of 3.5 deg, few of them near a source."""
    dice = np.random.default_rng(1)
    table = pq.read_table(path, columns=["ra", "dec"])
    all_sky, visits = [], []
    for _ in range(BATCHES):
        rows = pa.array(dice.integers(0, table.num_rows, ALERTS))
        ra, dec = (table.column(name).take(rows).to_numpy() for name in ("ra", "dec"))
        near = dec + dice.normal(0, 2, ALERTS) / 3600
        all_sky.append((ra, np.clip(near, -90, 90)))
        center_ra, center_dec = dice.uniform(0, 360), np.degrees(np.arcsin(dice.uniform(-0.9, 0.9)))
        dec = center_dec + dice.uniform(-1.75, 1.75, ALERTS)
        visits.append(((center_ra + dice.uniform(-1.75, 1.75, ALERTS) / np.cos(np.radians(dec))) % 360 % 360, dec))
    return all_sky, visits


def _per_alert(search: Callable[[np.ndarray, np.ndarray], object], batches: list[Batch]) -> float:
    """Microseconds, median of the batches; each is seen for the first time, as it is in a run."""
    search(*batches[0])
    times = []
    for batch in batches[1:]:
        begin = time.perf_counter()
        search(*batch)
        times.append(time.perf_counter() - begin)
    return float(np.median(times)) / len(batches[0][0]) * 1e6


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _ours(path: str, radius_arcsec: float) -> list:
    before = _resident_mb()
    begin = time.perf_counter()
    catalog = open_local(path, {"pmra": "pmra", "pmdec": "pmdec", "epoch": "2016.0"})
    open_secs = time.perf_counter() - begin
    pa.default_memory_pool().release_unused()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    memory = f"{_resident_mb() - before:,.0f} ({peak - before:,.0f})"
    all_sky, visits = _positions(path)
    epoch = np.full(ALERTS, 2026.9)
    ra, dec = (pq.read_table(path, columns=[name]).column(0).to_numpy() for name in ("ra", "dec"))
    begin = time.perf_counter()
    SkyIndex(ra, dec)
    index_secs = time.perf_counter() - begin
    return [
        open_secs,
        index_secs,
        memory,
        _per_alert(lambda ra, dec: catalog.search(ra, dec, radius_arcsec, None), all_sky),
        _per_alert(lambda ra, dec: catalog.search(ra, dec, radius_arcsec, None), visits),
        _per_alert(lambda ra, dec: catalog.search(ra, dec, radius_arcsec, epoch), all_sky),
    ]


def _vectors(ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _theirs(path: str, radius_arcsec: float) -> list[float]:
    all_sky, visits = _positions(path)
    table = pq.read_table(path, columns=["ra", "dec"])
    ra, dec = (table.column(name).to_numpy() for name in ("ra", "dec"))
    begin = time.perf_counter()
    tree = cKDTree(_vectors(ra, dec), copy_data=False)
    build_secs = time.perf_counter() - begin
    chord = 2 * np.sin(np.radians(radius_arcsec / 3600) / 2)

    def in_tree(ra_deg: np.ndarray, dec_deg: np.ndarray) -> object:
        return tree.query_ball_point(_vectors(ra_deg, dec_deg), chord)

    found = [_per_alert(in_tree, batches) for batches in (all_sky, visits)]
    sources = SkyCoord(ra, dec, unit="deg")

    def one_alert(ra_deg: np.ndarray, dec_deg: np.ndarray) -> object:
        return match_coordinates_sky(SkyCoord(ra_deg[0], dec_deg[0], unit="deg"), sources)

    singles = [(ra[:1], dec[:1]) for ra, dec in all_sky[:ONE_BY_ONE]]
    return [build_secs, *found, _per_alert(one_alert, singles)]


if __name__ == "__main__":
    sys.exit(main())
