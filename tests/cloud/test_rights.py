"""What a run may do without: the calls of each mode and those of ``docs/security.md``, and a run whose account may no more."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from broker import cli
from pipelines import ingest, rematch, replay
from tests.emulators.cloud import Cloud
from tests.emulators.faults import Exchange
from tests.nights import simulated
from warehouses import reachable
from warehouses.folder import bucket_claims

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
METHODS = {
    "bigquery.datasets.insert": r"POST /bigquery/v2/projects/[^/]+/datasets$",
    "bigquery.datasets.get": r"GET /bigquery/v2/projects/[^/]+/datasets/[^/]+$",
    "bigquery.tables.list": r"GET /bigquery/v2/projects/[^/]+/datasets/[^/]+/tables$",
    "bigquery.tables.insert": r"POST /bigquery/v2/projects/[^/]+/datasets/[^/]+/tables$",
    "bigquery.tables.get": r"GET /bigquery/v2/projects/[^/]+/datasets/[^/]+/tables/[^/]+$",
    "bigquery.tables.patch": r"PATCH /bigquery/v2/projects/[^/]+/datasets/[^/]+/tables/[^/]+$",
    "bigquery.tabledata.insertAll": r"POST /bigquery/v2/projects/[^/]+/datasets/[^/]+/tables/[^/]+/insertAll$",
    "bigquery.jobs.insert": r"POST /bigquery/v2/projects/[^/]+/jobs$",
    "bigquery.jobs.get": r"GET /bigquery/v2/projects/[^/]+/jobs/[^/]+$",
    "bigquery.jobs.getQueryResults": r"GET /bigquery/v2/projects/[^/]+/queries/[^/]+$",
    "storage.buckets.get": r"GET /storage/v1/b/[^/]+$",
    "storage.objects.list": r"GET /storage/v1/b/[^/]+/o$",
    "storage.objects.get": r"GET /(download/)?storage/v1/b/[^/]+/o/.+$",
    # A resumable upload: begun by POST, its parts by PUT.
    "storage.objects.delete": r"DELETE /storage/v1/b/[^/]+/o/[^/]+$",
    "storage.objects.rewrite": r"POST /storage/v1/b/[^/]+/o/[^/]+/rewriteTo/b/[^/]+/o/[^/]+$",
    "storage.objects.patch": r"PATCH /storage/v1/b/[^/]+/o/[^/]+$",
    "storage.objects.insert": r"(POST|PUT) /upload/storage/v1/b/[^/]+/o$",
    # Copies and deletions of many objects; what is in it the proxy does not see.
    "storage.batch": r"POST /batch/storage/v1$",
}
"""The methods of Google's APIs by their requests: the REST references of BigQuery (v2) and of Cloud Storage (JSON, v1)."""
PERMISSIONS = {
    "bigquery.datasets.insert": {"bigquery.datasets.create"},
    "bigquery.datasets.get": {"bigquery.datasets.get"},
    "bigquery.tables.list": {"bigquery.tables.list"},
    "bigquery.tables.insert": {"bigquery.tables.create"},
    "bigquery.tables.get": {"bigquery.tables.get"},
    "bigquery.tables.patch": {"bigquery.tables.get", "bigquery.tables.update"},
    "bigquery.tabledata.insertAll": {"bigquery.tables.updateData"},
    # What a job does needs its own: a load bigquery.tables.updateData and storage.objects.get, a query bigquery.tables.getData.
    "bigquery.jobs.insert": {"bigquery.jobs.create"},
    **{f"BigQueryWrite.{name}": {"bigquery.tables.updateData"} for name in ("AppendRows", "CreateWriteStream")},
    **{f"BigQueryWrite.{name}": {"bigquery.tables.updateData"} for name in ("FinalizeWriteStream", "BatchCommitWriteStreams")},
    "bigquery.jobs.get": set(),
    "bigquery.jobs.getQueryResults": {"bigquery.tables.getData"},
    # Asked by Google's client, for its traces, and by Beam to warn of soft delete; the run goes on without it (see below).
    "storage.buckets.get": set(),
    "storage.objects.list": {"storage.objects.list"},
    "storage.objects.get": {"storage.objects.get"},
    "storage.objects.insert": {"storage.objects.create"},
    "storage.objects.delete": {"storage.objects.delete"},
    "storage.objects.patch": {"storage.objects.update"},
    "storage.objects.rewrite": {"storage.objects.create", "storage.objects.get"},
}
"""What each needs; own jobs may be asked for by who made them."""
NEEDED_WITHOUT_A_CALL = {"ingest by file_loads": {"storage.objects.get"}}
"""BigQuery reads the load files with the rights of whoever asked for the load."""
ROLES = {
    "bigquery.dataEditor": {
        *("bigquery.datasets.get", "bigquery.tables.create", "bigquery.tables.get"),
        *("bigquery.tables.getData", "bigquery.tables.list", "bigquery.tables.update", "bigquery.tables.updateData"),
    },
    "bigquery.dataViewer": {"bigquery.datasets.get", "bigquery.tables.get", "bigquery.tables.getData", "bigquery.tables.list"},
    "bigquery.jobUser": {"bigquery.jobs.create"},
    "storage.objectCreator": {"storage.objects.create"},
    "storage.objectUser": {f"storage.objects.{one}" for one in ("create", "delete", "get", "list", "update")},
    "storage.objectViewer": {"storage.objects.get", "storage.objects.list"},
}
"""Of Google's lists of the roles, what concerns us. A role on a dataset does not let make datasets."""


def rows(heading: str) -> dict[str, list[list[str]]]:
    """The first table of a section: the first cell's text to the words in backticks of each further cell."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n\n| ")[1].split("\n\n")[0]
    lines = [line.strip().strip("|").split("|") for line in section.splitlines()]
    return {cells[0].strip(" `"): [re.findall(r"`([^`]+)`", cell) for cell in cells[1:]] for cells in lines[2:]}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "12", "--damaged", "2", "--seed", "3")


class Account:
    """A warehouse on the cloud, and the commands that somebody runs there."""

    def __init__(self, cloud: Cloud, night: Path) -> None:
        self.cloud, self.night = cloud, night
        self.dataset = cloud.dataset()
        self.place = ["--warehouse", f"bigquery://{cloud.project}/{self.dataset}"]
        self.inserts = ["--survey", "ztf", "--write_method", "streaming_inserts"]

    def ingest(self, *flags: str) -> int:
        return ingest.run(["--input", str(self.night), *self.place, "--survey", "ztf", *flags])

    def modes(self) -> dict[str, Callable[[], int]]:
        """Each mode of the page, in an order in which one finds what it needs."""
        cloud, place, out = self.cloud, self.place, ["--out", "/dev/null", "--format", "csv"]
        archive = next(self.night.glob("*.tar.gz"))
        # Beam would compress what is named .gz once more.
        uploaded = f"{cloud.bucket}/in/{self.dataset}.tar.gz"
        with FileSystems.create(uploaded, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(archive.read_bytes())
        folder = f"{cloud.folder()}"
        stars = f"file:{self.night / 'catalog.parquet'}"
        return {
            "ingest by streaming_inserts": lambda: self.ingest("--write_method", "streaming_inserts"),
            "ingest by storage_write": lambda: self.ingest("--write_method", "storage_write"),
            "ingest by file_loads": lambda: self.ingest("--temp_location", f"{cloud.bucket}/loads"),
            "ingest from gs://": lambda: ingest.run(
                ["--input", uploaded, "--warehouse", str(self.night.parent / "warehouse"), "--survey", "ztf"]
            ),
            "ingest into gs://": lambda: (
                ingest.run(["--input", str(self.night), "--warehouse", folder, "--survey", "ztf"])
                + ingest.run(["--input", str(self.night), "--warehouse", folder, "--survey", "ztf"])
            ),
            "query, info on gs://": lambda: cli.main(["query", "--warehouse", folder, *out, "SELECT COUNT(*) FROM ztf_alerts"]),
            "query, info": lambda: cli.main(["query", *place, *out, "SELECT COUNT(*) FROM ztf_alerts"]),
            "audit": lambda: cli.main(["audit", "--input", str(self.night), *place]),
            "replay": lambda: replay.run([*place, *self.inserts]),
            "rematch": lambda: rematch.run([*place, *self.inserts, "--crossmatch", stars]),
            "features": lambda: cli.main(["features", *place, "--again"]),
        }


def method(exchange: Exchange) -> str:
    request = f"{exchange.method} {exchange.path.partition('?')[0]}"
    found = [name for name, pattern in METHODS.items() if re.match(pattern, request)]
    assert len(found) == 1, f"{request} is {found or 'no method that the page knows'}"
    return found[0]


def finish_asking() -> None:
    """Wait for what Google's storage client asks beside its work, on a thread of its own."""
    for thread in threading.enumerate():
        if "_fetch_background" in thread.name:
            thread.join(60)


@pytest.fixture
def prepared(cloud: Cloud, night: Path) -> Iterator[Account]:
    """An account whose dataset somebody has made, and filled once."""
    made = Account(cloud, night)
    assert made.ingest("--write_method", "streaming_inserts") == 0
    yield made
    cloud.faults.heal()
    cloud.storage_faults.heal()


def test_each_mode_makes_the_calls_of_the_page_and_its_roles_let_it(prepared: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    # By which a claim is renewed: no run of this test takes ten seconds.
    monkeypatch.setattr(bucket_claims, "RENEW_SECS", 0.05)
    page = rows("The least rights")
    modes = prepared.modes()
    proxies = (prepared.cloud.faults, prepared.cloud.storage_faults)
    seen: dict[str, set[str]] = {}
    for name, run in modes.items():
        before = [len(one.exchanges) for one in proxies]
        rpcs_before = len(prepared.cloud.write_faults.exchanges)
        reachable._ask_for.cache_clear()  # each command is a process of its own
        assert run() in (0, 1 if name == "audit" else 0), name
        finish_asking()
        exchanges = [each for one, begin in zip(proxies, before, strict=True) for each in one.exchanges[begin:]]
        rpcs = prepared.cloud.write_faults.exchanges[rpcs_before:]
        seen[name] = {method(one) for one in exchanges} | {f"BigQueryWrite.{one.method}" for one in rpcs}
    assert page.keys() == seen.keys()
    for name, methods in seen.items():
        told, roles = page[name]
        assert sorted(told) == sorted(methods), name
        needed = set().union(*(PERMISSIONS[one] for one in methods), NEEDED_WITHOUT_A_CALL.get(name, ()))
        given = set().union(*(ROLES[role.removeprefix("roles/")] for role in roles if role.startswith("roles/")))
        assert needed <= given, f"{name}: {needed - given}"
        # And none of the roles is there for nothing.
        for role in roles:
            others = set().union(*(ROLES[other.removeprefix("roles/")] for other in roles if other != role))
            assert not needed <= others, f"{name} can do without {role}"


def test_nobody_who_writes_to_a_dataset_need_make_datasets_or_see_the_bucket(prepared: Account) -> None:
    """The roles of the page, granted on the dataset and on the bucket, and nothing on the project but to run jobs."""
    prepared.cloud.faults.fail(None, r"POST /bigquery/v2/projects/[^/]+/datasets(\?|$)", 403)
    prepared.cloud.storage_faults.fail(None, r"GET /storage/v1/b/[^/?]+(\?|$)", 403)
    for name, run in prepared.modes().items():
        assert run() in (0, 1 if name == "audit" else 0), name
    assert not any("/datasets?" in one or one.endswith("/datasets") for one in prepared.cloud.faults.failed)


def test_a_dataset_that_is_missing_is_made(cloud: Cloud, night: Path) -> None:
    made = Account(cloud, night)
    assert made.ingest("--write_method", "streaming_inserts") == 0
    assert [method(one) for one in cloud.faults.seen(rf"/datasets(\?|$|/{made.dataset})")].count("bigquery.datasets.insert") >= 1
