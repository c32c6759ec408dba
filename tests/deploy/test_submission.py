"""The complete job through Beam's own submission to Dataflow, offline: what is staged, and what the service is asked for."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import signal
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from google.cloud import bigquery, dataflow, storage

from pipelines import ingest
from tests.deploy.jobs_service import JobsService, serving
from tests.deploy.sources import ROOT, copied_by_dockerfile, copy_sources
from tests.emulators.processes import PROJECT

PACKAGES = ("alerts", "audit", "broker", "pipelines", "schemas", "simulation", "streams", "transforms", "warehouses")
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/alerts-sub"
IMAGE = "europe-west1-docker.pkg.dev/pitt/broker/broker:1"


@dataclass(frozen=True)
class Submitted:
    """A job as the service has it, and what was staged for its workers."""

    job: dict[str, Any]
    staged: dict[str, bytes]

    @property
    def environment(self) -> dict[str, Any]:
        return self.job["environment"]

    @property
    def pool(self) -> dict[str, Any]:
        (pool,) = self.environment["workerPools"]
        return pool

    @property
    def graph(self) -> beam_runner_api_pb2.Pipeline:
        return beam_runner_api_pb2.Pipeline.FromString(self.staged["pipeline.pb"])

    @property
    def names(self) -> set[str]:
        """The steps of the graph, as the console shows them."""
        components = self.graph.components
        roots = set(self.graph.root_transform_ids)
        return {one.unique_name for key, one in components.transforms.items() if key not in roots}


def flags(bucket_folder: str, *more: str) -> list[str]:
    return [
        "--runner=DataflowRunner",
        f"--project={PROJECT}",
        "--region=europe-west1",
        f"--temp_location=gs://stage/{bucket_folder}",
        *more,
    ]


def staged(store: storage.Client, job: dict[str, Any]) -> dict[str, bytes]:
    """The files that the job's JSON names, by their names, and the graph beside them."""
    places = {one["name"]: one["location"] for one in job["environment"]["workerPools"][0].get("packages", [])}
    options = job["environment"]["sdkPipelineOptions"]["options"]
    places["pipeline.pb"] = options["pipelineUrl"].replace("gs://", "storage.googleapis.com/")
    return {name: store.bucket("stage").blob(place.split("/", 2)[2]).download_as_bytes() for name, place in places.items()}


def submitted(store: storage.Client, service: JobsService) -> Submitted:
    (job,) = service.jobs
    return as_received(store, job)


def as_received(store: storage.Client, posted: dict[str, Any]) -> Submitted:
    """A posted job as the service takes it; the client sends enumerations as numbers."""
    job = json.loads(dataflow.Job.to_json(dataflow.Job.from_json(json.dumps(posted)), use_integers_for_enums=False))
    return Submitted(job, staged(store, job))


@pytest.fixture
def service() -> Iterator[JobsService]:
    with serving(JobsService()) as one:
        yield one


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, since Beam builds the package where setup.py is."""
    return copy_sources(tmp_path_factory.mktemp("checkout"), [*copied_by_dockerfile(), "tests", "docs"])


@pytest.fixture(scope="module")
def template(store: storage.Client, archive: str, checkout: Path) -> Submitted:
    """The batch job as a template on Cloud Storage, its package built from setup.py."""
    argv = ["--input", archive, "--warehouse", "gs://night/warehouse", "--template_location", "gs://stage/templates/batch.json"]
    assert ingest.run([*flags("batch", "--setup_file", str(checkout / "setup.py")), *argv]) == 0
    job = json.loads(store.bucket("stage").blob("templates/batch.json").download_as_bytes())
    return Submitted(job, staged(store, job))


def test_a_batch_job_is_complete(template: Submitted) -> None:
    assert template.job["type"] == "JOB_TYPE_BATCH"
    assert template.environment["version"]["job_type"] == "FNAPI_BATCH"
    assert template.pool["workerHarnessContainerImage"] == "gcr.io/cloud-dataflow/v1beta3/beam_python3.11_sdk:2.77.0"
    assert {"use_runner_v2", "use_portable_job_submission"} <= set(template.environment["experiments"])
    assert "enable_streaming_engine" not in template.environment["experiments"]
    options = template.environment["sdkPipelineOptions"]["options"]
    assert options["warehouse"] == "gs://night/warehouse"
    assert options["streaming"] is False


def test_the_staged_package_has_every_module_and_schema(template: Submitted) -> None:
    with tarfile.open(fileobj=io.BytesIO(template.staged["workflow.tar.gz"])) as package:
        held = {
            one.name.split("/", 1)[1]: package.extractfile(one).read()  # type: ignore[union-attr]
            for one in package
            if one.isfile()
        }
    wanted = [file for name in PACKAGES for kind in ("*.py", "*.avsc") for file in (ROOT / name).rglob(kind)]
    assert sum(file.suffix == ".avsc" for file in wanted) > 20
    for file in wanted:
        assert held.get(str(file.relative_to(ROOT))) == file.read_bytes(), file
    assert not [name for name in held if name.startswith(("deploy/", "docs/"))]


def test_workers_import_what_they_run_and_get_no_main(template: Submitted) -> None:
    # A class or function of __main__ would be pickled with its code, or be missing on the worker.
    assert b"__main__" not in template.staged["pipeline.pb"]
    assert sorted(template.staged) == ["pipeline.pb", "submission_environment_dependencies.txt", "workflow.tar.gz"]
    assert template.environment["sdkPipelineOptions"]["options"]["save_main_session"] is False
    for one in (b"transforms.read", b"transforms.decode", b"transforms.write_parquet"):
        assert one in template.staged["pipeline.pb"]


def test_the_graph_reads_as_the_pipeline_is_told(template: Submitted) -> None:
    top = {name for name in template.names if "/" not in name}
    assert top == {"Read", "DecodeAlerts", "Features", "Write"}
    ours = {name for name in template.names if name.count("/") == 1}
    assert ours == {
        *("Read/Units", "Read/SplitTars", "Read/SpreadTasks", "Read/ReadTasks"),
        *("DecodeAlerts/Decode", "Features/Compute"),
        *("Write/Alerts", "Write/DeadLetters_read", "Write/DeadLetters_decode", "Write/AllFiles", "Write/Together"),
        "Write/Commit",
    }


def test_packets_are_never_shuffled(template: Submitted) -> None:
    shuffles = [name for name in template.names if name.endswith("GroupByKey")]
    assert sorted(name.split("/")[1] for name in shuffles) == ["SpreadTasks", "Together"]


def test_a_template_that_was_made_is_a_success(
    store: storage.Client, archive: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the Flex Template's launcher does: our file as __main__, the job not posted but written to a place it names.
    place = ["--template_location=gs://stage/templates/flex.json", f"--sdk_container_image={IMAGE}"]
    parameters = [f"--input={archive}", f"--warehouse=bigquery://{PROJECT}/flex", "--survey=ztf", "--no_cutouts=true"]
    monkeypatch.setattr(sys, "argv", ["main.py", *flags("flex", *place), *parameters])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "deploy" / "main.py"), run_name="__main__")
    assert ended.value.code == 0
    assert "was made a template" in capsys.readouterr().out
    job = json.loads(store.bucket("stage").blob("templates/flex.json").download_as_bytes())
    found = Submitted(job, staged(store, job))
    assert found.pool["workerHarnessContainerImage"] == IMAGE
    # The image has the package: nothing is installed when a worker starts.
    assert sorted(found.staged) == ["pipeline.pb", "submission_environment_dependencies.txt"]
    assert found.environment["sdkPipelineOptions"]["options"]["cutouts"] is False
    # The tables are there before any worker is.
    with bigquery.Client(project=PROJECT) as client:
        assert {table.table_id for table in client.list_tables("flex")} >= {"ztf_alerts", "dead_letters", "runs"}


STREAM = [
    f"--subscription={SUBSCRIPTION}",
    "--id_label=uuid",
    "--timestamp_attribute=kafka.timestamp",
    "--survey=ztf",
    f"--sdk_container_image={IMAGE}",
    "--machine_type=n2d-standard-2",
    "--num_workers=2",
    "--max_num_workers=20",
    "--dataflow_service_options=streaming_mode_at_least_once",
]


@pytest.mark.parametrize("method", ["streaming_inserts", "file_loads"])
def test_a_stream_is_submitted_and_left_to_run(
    store: storage.Client, service: JobsService, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.states = ["JOB_STATE_RUNNING"]
    sink = [f"--warehouse=bigquery://{PROJECT}/stream", f"--write_method={method}", "--load_every_secs=90"]
    assert ingest.run([*flags(method, f"--dataflow_endpoint={service.endpoint}", "--job_name=alerts"), *STREAM, *sink]) == 0
    assert "is Dataflow job id-of-alerts" in capsys.readouterr().out
    assert service.changes == [], "nobody may cancel a stream by leaving"
    found = submitted(store, service)
    assert found.job["type"] == "JOB_TYPE_STREAMING"
    assert found.environment["version"]["job_type"] == "FNAPI_STREAMING"
    assert {"use_runner_v2", "enable_streaming_engine", "enable_windmill_service"} <= set(found.environment["experiments"])
    assert found.environment["serviceOptions"] == ["streaming_mode_at_least_once"]
    assert found.pool["workerHarnessContainerImage"] == IMAGE
    assert found.pool["machineType"] == "n2d-standard-2"
    assert (found.pool["numWorkers"], found.pool["autoscalingSettings"]["maxNumWorkers"]) == (2, 20)
    # A process per core, each with a decoder of its own.
    assert found.pool["sdkHarnessContainerImages"][0]["useSingleCorePerContainer"] is True
    assert b"__main__" not in found.staged["pipeline.pb"]

    (read,) = [one for one in found.graph.components.transforms.values() if one.spec.urn == "beam:transform:pubsub_read:v1"]
    source = beam_runner_api_pb2.PubSubReadPayload.FromString(read.spec.payload)
    assert read.unique_name == "Read/Messages/Read"
    assert (source.subscription, source.id_attribute) == (SUBSCRIPTION, "uuid")
    assert (source.timestamp_attribute, source.with_attributes) == ("kafka.timestamp", True)

    # Packets go from the message to rows in one stage; what Dataflow keeps before that is Pub/Sub's.
    assert {name for name in found.names if "/" not in name} == {"Read", "DecodeAlerts", "Features", "Write"}
    assert all(name.startswith("Write/") for name in found.names if name.endswith("GroupByKey"))
    # By these a job that is updated finds its steps.
    assert {f"Write/{step}" for step in ("AlertRows", "LetterRows_read", "LetterRows_decode", "AllRows")} <= found.names

    delays = [one.timestamp_transforms[0].delay.delay_millis for one in processing_time_triggers(found.graph)]
    assert set(delays) <= {90_000}
    assert bool(delays) is (method == "file_loads")


def processing_time_triggers(graph: beam_runner_api_pb2.Pipeline) -> list[beam_runner_api_pb2.Trigger.AfterProcessingTime]:
    found = []
    waiting = [one.trigger for one in graph.components.windowing_strategies.values()]
    while waiting:
        trigger = waiting.pop()
        kind = trigger.WhichOneof("trigger")
        inner = getattr(trigger, kind)
        if kind == "after_processing_time":
            found.append(inner)
        elif kind == "repeat":
            waiting.append(inner.subtrigger)
        elif kind in ("after_any", "after_all"):
            waiting += inner.subtriggers
    return found


def test_a_stream_to_a_folder_is_submitted_too(store: storage.Client, service: JobsService) -> None:
    argv = [*STREAM, "--warehouse=gs://night/stream", "--load_every_secs=30"]
    assert ingest.run([*flags("folder", f"--dataflow_endpoint={service.endpoint}"), *argv]) == 0
    found = submitted(store, service)
    delays = {one.timestamp_transforms[0].delay.delay_millis for one in processing_time_triggers(found.graph)}
    assert delays == {30_000}


def test_a_stream_sends_its_hits_behind_the_acknowledged_write(
    store: storage.Client,
    service: JobsService,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "bright.sql").write_text("-- surveys: ztf\nSELECT ra_deg FROM alerts WHERE candidate.magpsf < 18\n")
    # A receiver that is away holds up no job, but the test for its patience.
    monkeypatch.setattr(ingest, "make_topics", lambda *words: None)
    argv = [*STREAM, f"--warehouse=bigquery://{PROJECT}/stream", f"--filters={tmp_path}"]
    argv += flags("hits", f"--dataflow_endpoint={service.endpoint}")
    assert ingest.run([*argv, "--publish=kafka:kafka.example:9092/{filter}", f"--publish=folder:{tmp_path}/hits"]) == 2
    told = "--publish folder:{}/hits is on this machine, which Dataflow's workers do not see; give a topic of Kafka or Pub/Sub"
    assert told.format(tmp_path) in capsys.readouterr().err
    assert ingest.run([*argv, "--publish=kafka:kafka.example:9092/{filter}"]) == 0
    found = submitted(store, service)
    transforms = found.graph.components.transforms
    (send,) = [one for one in transforms.values() if one.unique_name.startswith("Hits/Send") and not one.subtransforms]
    (written,) = [one for one in transforms.values() if one.unique_name == "Write/Append"]
    assert set(send.inputs.values()) <= set(written.outputs.values())
    assert {"Write/OutboxRows", "WriteHits/OutboxRows", "WriteHits/Append"} <= found.names


def test_an_update_replaces_the_running_job_and_finds_its_steps(
    store: storage.Client, service: JobsService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.running = ["other", "alerts"]
    argv = [*STREAM, f"--warehouse=bigquery://{PROJECT}/stream", f"--dataflow_endpoint={service.endpoint}", "--job_name=alerts"]
    assert ingest.run([*flags("first"), *argv]) == 0
    mapping = '--transform_name_mapping={"Read/Old": "Read/Open"}'
    assert ingest.run([*flags("second"), *argv, "--update", mapping]) == 0
    first, second = (as_received(store, job) for job in service.jobs)
    assert not first.job["replaceJobId"]
    assert second.job["replaceJobId"] == "id-of-alerts"
    assert second.job["transformNameMapping"] == {"Read/Old": "Read/Open"}
    # What a run has of its own (its id, its time) is in no name: by these the service carries state over.
    assert second.names == first.names
    told = re.findall(r"run (\S+) is Dataflow job", capsys.readouterr().out)
    assert [one.job["labels"]["run_id"] for one in (first, second)] == [run_id.lower() for run_id in told]
    assert len({*told}) == 2


def test_a_batch_job_is_waited_for_and_accounts_by_the_services_counters(
    archive: str, service: JobsService, capsys: pytest.CaptureFixture[str]
) -> None:
    # 7 committed, while bundles that were tried again have counted 9: the committed ones hold.
    service.states = ["JOB_STATE_RUNNING", "JOB_STATE_DONE"]
    service.counters = {"records_read": (7, 9), "inputs_skipped": (2, 2), "off_the_sky ztf": (1, 1)}
    argv = ["--input", archive, "--warehouse", f"bigquery://{PROJECT}/batch", "--survey=ztf", "--job_name=night"]
    assert ingest.run([*flags("account", f"--dataflow_endpoint={service.endpoint}"), *argv]) == 1
    told = capsys.readouterr()
    assert re.search(r"records read +7 +\(2 inputs that are no alerts skipped\)", told.out)
    assert "1 ztf alerts have a position that is no place on the sky" in told.out
    # Nothing ran, so nothing is in the tables: the account says so.
    assert "the account does not balance: 7 records read, 0 alerts and 0 dead letters written" in told.err
    with bigquery.Client(project=PROJECT) as client:
        (row,) = client.query(f"SELECT status, records_read, alerts_written FROM `{PROJECT}.batch.runs`").result()
    assert tuple(row.values()) == ("failed", 7, 0)


def test_an_interrupted_batch_job_is_cancelled_and_waited_for(
    archive: str, service: JobsService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.states = ["JOB_STATE_RUNNING"]
    seen: list[int] = []

    def strike() -> None:
        while not service.asked:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        while not service.changes:
            time.sleep(0.01)
        asked = service.asked
        while service.asked < asked + 3:
            time.sleep(0.01)
        # It is asked again and again until it has ended.
        seen.append(service.asked)
        service.states = ["JOB_STATE_CANCELLED"]

    striking = threading.Thread(target=strike)
    striking.start()
    argv = ["--input", archive, "--warehouse", f"bigquery://{PROJECT}/batch", "--survey=ztf"]
    assert ingest.run([*flags("struck", f"--dataflow_endpoint={service.endpoint}"), *argv]) == 130
    striking.join()
    assert seen
    assert [change["requestedState"] for change in service.changes] == [dataflow.JobState.JOB_STATE_CANCELLED]
    assert "interrupted; " in capsys.readouterr().err


def test_a_batch_job_that_fails_says_why(archive: str, service: JobsService, capsys: pytest.CaptureFixture[str]) -> None:
    service.states = ["JOB_STATE_FAILED"]
    service.errors = ["Workflow failed. Causes: The zone has not enough resources"]
    argv = ["--input", archive, "--warehouse", f"bigquery://{PROJECT}/batch", "--survey=ztf"]
    assert ingest.run([*flags("fails", f"--dataflow_endpoint={service.endpoint}"), *argv]) == 1
    assert "The zone has not enough resources" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--warehouse=./warehouse"], "is on this machine, which Dataflow's workers do not see; put it on gs://"),
        (["--warehouse=gs://night/w", "--stop_after_secs=60"], "end one on Dataflow with: gcloud dataflow jobs drain"),
        (["--warehouse=gs://night/w", "--temp_location="], "--temp_location is missing, which --runner DataflowRunner needs"),
    ],
)
def test_what_would_be_lost_on_dataflow_is_refused(
    store: storage.Client, service: JobsService, wrong: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*flags("wrong", f"--dataflow_endpoint={service.endpoint}"), *STREAM, *wrong]
    assert ingest.run(argv) == 2
    assert told in capsys.readouterr().err
    assert service.jobs == []


def test_files_of_this_machine_are_no_input_of_dataflow(
    store: storage.Client, service: JobsService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.avro").write_bytes(b"Obj")
    argv = ["--input", str(tmp_path), "--warehouse", "gs://night/w", f"--dataflow_endpoint={service.endpoint}"]
    assert ingest.run([*flags("wrong"), *argv]) == 2
    assert f"--input {tmp_path} is on this machine" in capsys.readouterr().err
    assert service.jobs == []


def test_lists_of_this_machine_are_none_of_dataflow(
    store: storage.Client, service: JobsService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text("ra,dec\n10,20\n")
    argv = ["--warehouse=gs://night/w", f"--watchlist=mine={tmp_path / 'mine.csv'}", f"--dataflow_endpoint={service.endpoint}"]
    assert ingest.run([*flags("wrong"), *STREAM, *argv]) == 2
    told = f"--watchlist {tmp_path / 'mine.csv'} is on this machine, which Dataflow's workers do not see; put it on gs://"
    assert told in capsys.readouterr().err
    assert service.jobs == []
