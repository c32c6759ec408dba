"""Prism, Beam's runner in Go: built once for this user of Beam's Go module, of the version that Python's Beam has.

python -m tests.emulators.prism     builds it, or says why not
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import platformdirs
from apache_beam.version import __version__ as beam_version

GIVEN = "PITT_BROKER_TEST_PRISM"
"""The path of a Prism that is used as it is."""
_MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_BUILD_SECS = 540


def missing() -> str | None:
    """Why there is no Prism here, and the remedy; None if there is one, now built or before."""
    if not _binary().is_file() and shutil.which("go") is None:
        return f"no Prism: install Go (Debian: golang-go), or set {GIVEN} to the path of one"
    try:
        binary()
    except RuntimeError as error:
        return f"no Prism: {error}; or set {GIVEN} to the path of one"
    return None


def binary() -> Path:
    """Prism, built where it is not there yet (a minute). Raises ``RuntimeError`` where Go cannot build it."""
    built = _binary()
    if built.is_file():
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    with open(built.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if built.is_file():
            return built
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            command = ["go", "install", f"{_MODULE}@v{beam_version}"]
            here = {**os.environ, "GOBIN": folder}
            done = subprocess.run(command, env=here, cwd=folder, capture_output=True, text=True, timeout=_BUILD_SECS, check=False)
            if done.returncode:
                raise RuntimeError(f"Go cannot build it: {(done.stdout + done.stderr)[-1000:]}")
            Path(folder, "prism").rename(built)
    return built


def _binary() -> Path:
    given = os.environ.get(GIVEN)
    return Path(given) if given else Path(platformdirs.user_cache_dir("pitt-broker-tests"), f"prism-{beam_version}", "prism")


if __name__ == "__main__":
    print(missing() or f"Prism is {binary()}")
