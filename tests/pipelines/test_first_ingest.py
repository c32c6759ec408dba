"""The first ingest on a machine: nothing is compiled for a few alerts, and the rows are those of what is compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nights import PROVENANCE, rows, run, simulated

NOT_FOR_A_FEW = {"numba", "llvmlite", "astropy", "astroquery", "gcsfs", "pandas", "scipy", "matplotlib"}
"""What a run of a few alerts into a folder has no use for. Google's clients are not among them: Beam itself loads them."""
OF_THE_RUN = (*PROVENANCE, "attributes", "failed_at")
"""Columns that differ from run to run, of dead letters too."""
TABLES = ("ztf_alerts", "ztf_cutouts", "ztf_features", "dead_letters")
_INGEST = """
import sys
from broker import cli
status = cli.main(["ingest", *sys.argv[1:]])
print("loaded", *sorted({name.partition(".")[0] for name in sys.modules}))
sys.exit(status)
"""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "20", "--seed", "5", "--duplicates", "2", "--damaged", "2")


def begun(night: Path, warehouse: Path, kept: Path) -> subprocess.Popen[str]:
    """A run of its own on a machine that has kept in that folder what it has compiled."""
    command = [sys.executable, "-c", _INGEST, "--input", str(night), "--warehouse", str(warehouse)]
    return subprocess.Popen(command, env={**os.environ, "NUMBA_CACHE_DIR": str(kept)}, stdout=subprocess.PIPE, text=True)


def test_two_first_runs_at_once_compile_nothing_and_give_the_rows_of_the_compiled_decoder(night: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "compiled", night) == 0
    kept = tmp_path / "kept"
    both = {name: begun(night, tmp_path / name, kept) for name in ("one", "other")}
    for name, process in both.items():
        out, _ = process.communicate()
        assert process.returncode == 0
        loaded = set(out.splitlines()[-1].split()[1:])
        assert "apache_beam" in loaded
        assert not loaded & NOT_FOR_A_FEW
        for table in TABLES:
            found = rows(tmp_path / name, table, OF_THE_RUN)
            assert found.num_rows
            assert found.equals(rows(tmp_path / "compiled", table, OF_THE_RUN)), table
    assert not kept.exists()
