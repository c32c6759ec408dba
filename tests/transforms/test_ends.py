"""What a run knows of its two ends is what their protocols say: the type checker sees it, and the transforms have it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from mypy import api

from transforms.append_bigquery import AppendBigQuery
from transforms.ends import Sink, Source
from transforms.read import ReadPackets
from transforms.read_letters import ReadLetters
from transforms.read_pubsub import ReadMessages
from transforms.write_bigquery import WriteBigQuery
from transforms.write_parquet import WriteParquet
from transforms.write_tables import SinkSettings, sink_of
from warehouses.units import Unit

ROOT = Path(__file__).parents[2]
USES = """
from pipelines.job import Job

def use(job: Job) -> None:
    job.write_matches.row_steps
    "Read" >> job.read
    job.write.row_steps["alerts"]
"""
MISUSES = {
    "job.write.matches()": '"Sink" has no attribute "matches"',
    "job.write.project": '"Sink" has no attribute "project"',
    "job.write_matches.units": '"Sink" has no attribute "units"',
    "job.read.packets": '"Source" has no attribute "packets"',
    "job.write.expand()": 'Missing positional argument "inputs" in call to "expand" of "Sink"',
}


def test_what_is_not_in_a_protocol_does_not_pass_the_type_checker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    snippet = tmp_path / "uses_a_job.py"
    snippet.write_text(USES + "".join(f"    {line}\n" for line in MISUSES))
    # Only these files are looked at: all others are Any, and nothing has to be read that they import.
    files = [str(snippet), "pipelines/job.py", "transforms/ends.py"]
    out, err, _ = api.run(["--follow-imports=skip", f"--cache-dir={tmp_path / 'cache'}", *files])
    assert not err
    begin = len(USES.splitlines()) + 1
    told = [line.partition(f"{snippet.name}:")[2] for line in out.splitlines() if snippet.name in line]
    assert len(told) == len(MISUSES), out
    for number, (expected, line) in enumerate(zip(MISUSES.values(), told, strict=True), start=begin):
        assert line.startswith(f"{number}: error: {expected}")


@pytest.mark.parametrize(
    ("protocol", "transform"),
    [(Source, one) for one in (ReadPackets, ReadMessages, ReadLetters)]
    + [(Sink, one) for one in (WriteParquet, WriteBigQuery, AppendBigQuery)],
)
def test_the_transforms_have_what_their_protocol_says(protocol: type[Any], transform: type[Any]) -> None:
    # No type checker says so: a class of Beam's is anything to it.
    assert issubclass(transform, beam.PTransform)
    asked = [name for name in vars(protocol) if not name.startswith("_") or name == "__rrshift__"]
    assert asked
    for name in asked:
        said, have = getattr(protocol, name), getattr(transform, name)
        if callable(said):
            assert list(inspect.signature(have).parameters) == list(inspect.signature(said).parameters), name
        else:
            assert {"alerts", "letters", "matches"} == {*have}, name


def settings(method: str, warehouse: str) -> SinkSettings:
    return SinkSettings(warehouse, method, "run", ("ztf_alerts", "dead_letters"), ("ztf",), (Unit(("a.avro",)),), every_secs=30)


def test_a_write_method_names_its_sink() -> None:
    folder = sink_of(settings("parquet", "/w"))
    assert isinstance(folder, WriteParquet)
    assert (folder.warehouse, folder.units, folder.together.seconds) == ("/w", (Unit(("a.avro",)),), 30)
    for method in ("file_loads", "streaming_inserts"):
        dataset = sink_of(settings(method, "bigquery://p/d"))
        assert isinstance(dataset, WriteBigQuery)
        assert (dataset.warehouse, dataset.method) == ("bigquery://p/d", method)
        assert dataset.table("runs") == "p:d.runs"
        assert dataset.tables == ("ztf_alerts", "dead_letters")
    stream = settings("storage_write", "bigquery://p/d")
    assert isinstance(sink_of(stream), AppendBigQuery)
    assert not sink_of(stream).at_the_end
    assert sink_of(replace(stream, every_secs=None)).at_the_end
    with pytest.raises(
        ValueError, match=r"no write method 'orc'; known are parquet, file_loads, streaming_inserts, storage_write"
    ):
        sink_of(settings("orc", "/w"))


def test_matches_replace_nothing() -> None:
    own = settings("parquet", "/w").of_matches
    assert (own.tables, own.units) == (("crossmatches",), ())
