"""What passes an exchange, where an engine writes elements down or sends them to other machines: paths and names, no packets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner.execution import GroupingBuffer

from pipelines import ingest
from pipelines.job import Job
from pipelines.options import parse
from pipelines.ordinary import ordinary_pipeline
from streams.kafka_client import KafkaSettings
from streams.kafka_ranges import OffsetRange, Plan
from tests.nights import run, simulated
from transforms.read_kafka import ReadKafka, unit_of

EXCHANGES = ("beam:transform:group_by_key:v1", "beam:transform:reshuffle:v1")
BATCHES = b"BatchCoder"
"""How Beam names the coder of packets, alerts and rows, and of nothing else (``transforms.coders``)."""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "120", "--damaged", "2", "--archive", "tar")


def proto_of(job: Job) -> beam_runner_api_pb2.Pipeline:
    with ordinary_pipeline():
        pipeline = beam.Pipeline(options=parse([]))
        ingest.ingest(pipeline, job)
    job.clean_up()
    return pipeline.to_runner_api()


def archive_job(night: Path, warehouse: Path) -> Job:
    catalogs = ("--crossmatch", f"file:{night}/catalog.parquet", "--crossmatch", "simbad")
    return Job.from_options(parse(["--input", str(night), "--warehouse", str(warehouse), *catalogs]))


def round_job(warehouse: Path, workers: int) -> Job:
    plan = Plan("cluster", "group", (OffsetRange("ztf", 0, 0, 10), OffsetRange("ztf", 1, 0, 10)))
    source = ReadKafka(KafkaSettings("localhost:9092", "group"), plan, workers=workers)
    return Job.of_round(parse(["--warehouse", str(warehouse)])).reading(source, 2, (unit_of(plan),))


def exchanged(proto: beam_runner_api_pb2.Pipeline) -> Iterator[tuple[str, str, bytes]]:
    """Of each exchange our own step that has it, the step that gives it its elements, and how these are encoded."""
    components = proto.components
    steps = [one for one in components.transforms.values() if not one.subtransforms]
    giver = {output: step for step in steps for output in step.outputs.values()}
    for one in components.transforms.values():
        if one.spec.urn not in EXCHANGES:
            continue
        name = "/".join(one.unique_name.split("/")[:2])
        (element,) = one.inputs.values()
        # Keys are put before elements, and taken away again, within the step.
        while giver[element].unique_name.startswith(f"{name}/") and giver[element].inputs:
            element = next(iter(giver[element].inputs.values()))
        yield name, giver[element].unique_name, coders(components, components.pcollections[element].coder_id)


def coders(components: beam_runner_api_pb2.Components, coder_id: str) -> bytes:
    coder = components.coders[coder_id]
    return coder.spec.payload + b"".join(coders(components, part) for part in coder.component_coder_ids)


def test_no_packet_of_an_archive_passes_an_exchange(night: Path, tmp_path: Path) -> None:
    proto = proto_of(archive_job(night, tmp_path / "w"))
    found = list(exchanged(proto))
    assert {name: giver for name, giver, _ in found} == {
        "Read/SpreadTasks": "Read/SplitTars",  # paths
        "Write/Together": "Write/AllFiles/Flatten",  # names of files that were written
        "AlertsFirst/WaitOn0": "Write/Commit",  # numbers
        "CrossMatch/Gather": "CrossMatch/Deal",  # positions
        "WriteMatches/Together": "WriteMatches/AllFiles/Flatten",
    }
    assert [name for name, _, encoded in found if BATCHES in encoded] == []
    components = proto.components
    batches = [one for one in components.pcollections.values() if BATCHES in coders(components, one.coder_id)]
    assert len(batches) >= 2, "packets and alerts are not told from the rest"


@pytest.mark.parametrize(("workers", "dealt"), [(1, {}), (2, {"Read/Ranges": "Read/Ranges/Impulse"})])
def test_no_message_of_a_round_passes_an_exchange(workers: int, dealt: dict[str, str], tmp_path: Path) -> None:
    found = list(exchanged(proto_of(round_job(tmp_path / "w", workers))))
    assert {name: giver for name, giver, _ in found} == {**dealt, "Write/Together": "Write/AllFiles/Flatten"}
    assert [name for name, _, encoded in found if BATCHES in encoded] == []


def test_what_passes_exchanges_is_a_hundredth_of_the_packets(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    append = GroupingBuffer.append

    def weighed(self: GroupingBuffer, elements: bytes) -> None:
        sizes.append(len(elements))
        append(self, elements)

    monkeypatch.setattr(GroupingBuffer, "append", weighed)
    assert run(tmp_path / "w", night, flags=("--crossmatch", f"file:{night}/catalog.parquet")) == 0
    (archive,) = night.glob("*.tar")
    assert sizes
    assert sum(sizes) < archive.stat().st_size / 100
