"""What a measurement was made on: the machine, the versions, the day."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import date
from importlib import metadata
from pathlib import Path

_LIBRARIES = (
    "apache-beam",
    "astropy",
    "fastavro",
    "numba",
    "numpy",
    "pyarrow",
    "scipy",
    "zlib-ng",
    "pittgoogle-client",
    "fink-client",
    "lsst-alert-packet",
)


def facts() -> dict[str, str | int | None]:
    """Date, processor, cores, memory, how busy they are, system, commit, and versions by package (None: not installed)."""
    return {
        "date": date.today().isoformat(),
        "processor": _line_of("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load_average": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}",
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _LIBRARIES},
    }


def sentence(found: dict[str, str | int | None]) -> str:
    """The facts for a person."""
    versions = ", ".join(f"{name} {found[name]}" for name in _LIBRARIES if found[name])
    machine = f"{found['cores']} cores ({found['processor']}), {found['memory_gb']} GB, {found['system']}"
    return (
        f"{found['date']}, {machine}, load average {found['load_average']} before, commit {found['commit']}, "
        f"Python {found['python']}, {versions}."
    )


def _line_of(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    here = Path(__file__).parents[1]
    try:
        asked = subprocess.run(["git", "-C", here, "describe", "--always", "--dirty"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return asked.stdout.strip()
