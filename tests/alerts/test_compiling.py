"""What numba compiles: not before it is called, kept for the next process, whoever else compiles at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from alerts.avro import encode, machine, weigh
from alerts.catalogs.files import sky_index
from alerts.compiling import compile_all
from alerts.features import curves
from alerts.features.compute import features_of
from alerts.surveys import SURVEYS
from schemas import Column, Table
from tests.alerts.making import container, ingest, ztf_record

ROOT = Path(__file__).parents[2]
ENTRIES = (machine.run, machine.gather, weigh._walk, encode._run, sky_index._net, curves.curves, curves.rises, curves.colors)
"""What is called from Python."""

_LOADED = """
import alerts.avro.decode, alerts.avro.encode, alerts.catalogs.files.sky_index, alerts.features.compute, sys
print('numba' in sys.modules)
"""
_GATHER = """
from alerts.avro import machine
import numpy as np
texts = [np.frombuffer(one, np.uint8) for one in (b"first", b"", b"second")]
addresses = np.array([one.ctypes.data for one in texts], np.int64)
offsets, target = np.zeros(4, np.int32), np.zeros(11, np.uint8)
print("ready", flush=True)
input()
machine.gather(addresses, np.array([5, 0, 6], np.int64), offsets, target.ctypes.data)
stats = machine.gather.dispatcher.stats
print(bytes(target).decode(), offsets.tolist(), "loaded" if sum(stats.cache_hits.values()) else "compiled")
"""


def started(program: str, cache: Path | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": str(cache)} if cache else {})}
    command, pipe = [sys.executable, "-c", program], subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)


def said(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate()
    assert process.returncode == 0
    return out.strip()


def gathered(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What processes of _GATHER say, who compile when all are ready to."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return [said(process) for process in processes]


def test_numba_is_not_loaded_before_something_is_compiled() -> None:
    assert said(started(_LOADED)) == "False"


def test_two_that_compile_at_once_on_a_fresh_machine_do_not_spoil_each_other(tmp_path: Path) -> None:
    both = gathered([started(_GATHER, tmp_path) for _ in range(2)])
    compiled, loaded = (f"firstsecond [0, 5, 5, 11] {how}" for how in ("compiled", "loaded"))
    # On a machine that has time for one only, the other finds what it has kept.
    assert compiled in both
    assert set(both) <= {compiled, loaded}
    assert gathered([started(_GATHER, tmp_path)]) == [loaded]
    # Only what Python calls is kept, each in an index and one signature: nothing is numbered that two could number otherwise.
    assert sorted(path.suffix for path in tmp_path.rglob("*.nb?")) == [".nbc", ".nbi"]


def test_all_is_compiled_and_each_for_one_signature() -> None:
    compile_all()
    outcome = ingest(container([ztf_record(1), ztf_record(2, null=True)]))
    assert outcome.alert_ids == [1, 2]
    assert features_of(outcome.decoded.rows["ztf"], SURVEYS["ztf"]).num_rows == 2
    table = Table("t", (Column("n", "INT64", "REQUIRED"),))
    encode.encode(pa.RecordBatch.from_pydict({"n": [1, 2]}, table.arrow_schema), table)
    positions = np.array([10.0, 20.0])
    positions.flags.writeable = False
    assert sky_index.SkyIndex(positions, positions).pairs(positions, positions, 1.0)[0].tolist() == [0, 1]
    assert [len(entry.dispatcher.signatures) for entry in ENTRIES] == [1] * len(ENTRIES)
