"""Google's services that fail while they are used: Cloud Storage as source and warehouse, BigQuery by loads and by inserts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from google.cloud import bigquery
from grpc import StatusCode as Code

from tests.emulators.cloud import Cloud
from tests.faults.nights import Night
from tests.faults.runs import Run, audit, bigquery_flags
from tests.faults.storm import Proxy, Strike, storm
from tests.nights import truth
from transforms.files import create_file
from warehouses.bigquery.tables import prepare

pytestmark = pytest.mark.faults

STRIKES, ATTEMPTS = 4, 8
"""A run that a storm has broken is begun again, as an operator would; the storm ends when it has struck so often."""
INSERT = r"POST .*/insertAll"
JOB = r"POST .*/projects/[^/]+/jobs\b"


def striking(request: str, status: int = 503, reason: str | None = None, **more: object) -> Strike:
    """One fault for the next request of this kind."""
    return lambda proxy: proxy.fail(1, request, status, reason, **more)


def rpc(request: str, code: Code = Code.UNAVAILABLE, **more: object) -> Strike:
    """The same for requests of the Storage Write API."""
    return lambda proxy: proxy.fail(1, request, code, **more)


def through(begin: Callable[[], Run], proxy: Proxy, *strikes: Strike, every_secs: float) -> tuple[int, str]:
    """Run in a storm until it has struck often enough and a run says that it is done; gives the strikes, and how it went.

    What the audit then finds is the test: a run that says so must have lost nothing.
    """
    struck = failed = 0
    for attempt in range(ATTEMPTS):
        calm = struck >= STRIKES
        with storm(proxy, *strikes, every_secs=1e6 if calm else every_secs, seed=attempt) as blown:
            run = begin()
            status = run.end()
        struck += blown.struck
        assert status in (0, 1, 2), run.said
        if status:
            failed += 1
            assert "broker" in run.said, run.said
        elif struck >= STRIKES:
            return struck, f"{failed} of {attempt + 1} runs failed and said so" if failed else "no run failed"
    raise AssertionError(f"{struck} strikes, {failed} of {ATTEMPTS} runs failed; the last said:\n{run.said}")


def test_storage_as_source_and_warehouse(cloud: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """503, and connections cut before and after the service has done its work, on every kind of request."""
    source, folder = f"{cloud.folder()}/night.tar", cloud.folder()
    with create_file(source) as file:
        file.write(light.archive.read_bytes())
    # The emulator keeps objects as files: they are audited where they lie.
    words = ("ingest", "--input", source, "--warehouse", folder)
    audited = ("--input", source, "--warehouse", cloud.objects / folder.removeprefix("gs://"))
    struck, how = through(
        lambda: Run(tmp_path / "log", *words, child=("--cloud",), environment=cloud.variables),
        cloud.storage_faults,
        striking("/"),
        striking("GET", cut="request"),
        striking("GET", cut="answer"),
        striking("POST|PUT", cut="answer"),
        every_secs=0.5,
    )
    verdict = audit(*audited)
    tell("Cloud Storage: 503 and cut connections; gs:// to gs:// folder", struck, verdict, how)
    verdict.must_be_whole()


@pytest.mark.parametrize(
    ("what", "method", "every_secs", "strikes"),
    [
        (
            "503 and cut connections",
            "streaming_inserts",
            1.0,
            [striking(INSERT), striking(INSERT, cut="request"), striking(INSERT, cut="answer")],
        ),
        (
            "quota and rate limit (403)",
            "streaming_inserts",
            2.0,
            [striking(INSERT, 403, "quotaExceeded"), striking(INSERT, 403, "rateLimitExceeded")],
        ),
        (
            "503 and cut connections",
            "file_loads",
            0.5,
            [striking(JOB), striking(JOB, cut="request"), striking(JOB, cut="answer"), striking("GET .*/jobs/")],
        ),
        (
            "quota and rate limit (403)",
            "file_loads",
            0.5,
            [striking(JOB, 403, "quotaExceeded"), striking(JOB, 403, "rateLimitExceeded")],
        ),
        ("load jobs that fail", "file_loads", 2.0, []),
        (
            "UNAVAILABLE, answers lost and connections cut",
            "storage_write",
            0.1,
            [rpc("AppendRows"), rpc("AppendRows", after=True), rpc("/"), rpc("/", cut=True), rpc("/", cut=True, after=True)],
        ),
        (
            "quota (RESOURCE_EXHAUSTED), ABORTED and INTERNAL",
            "storage_write",
            0.1,
            [rpc("AppendRows", code) for code in (Code.RESOURCE_EXHAUSTED, Code.ABORTED, Code.INTERNAL)],
        ),
    ],
    ids=["inserts-503", "inserts-403", "loads-503", "loads-403", "load-jobs", "appends-unavailable", "appends-quota"],
)
def test_bigquery_storm(
    what: str,
    method: str,
    every_secs: float,
    strikes: list[Strike],
    cloud: Cloud,
    light: Night,
    tmp_path: Path,
    tell: Callable[..., None],
) -> None:
    failed = {"reason": "backendError", "message": "made to fail"}
    answer = {"kind": "bigquery#job", "status": {"state": "DONE", "errorResult": failed, "errors": [failed]}}
    strikes = strikes or [striking("GET .*/jobs/beam_bq_job_LOAD", 200, answer=answer)]
    words, audited = bigquery_words(cloud, light, method)
    struck, how = through(
        lambda: Run(tmp_path / "log", *words, child=("--cloud",), environment=cloud.variables),
        cloud.write_faults if method == "storage_write" else cloud.faults,
        *strikes,
        every_secs=every_secs,
    )
    verdict = audit(*audited)
    again = verdict.information["rows_again"]
    assert again == 0 or method != "storage_write"
    tell(f"BigQuery, {method}: {what}", struck, verdict, f"{how}; {again:,} rows again in the table")
    verdict.must_be_whole()


def bigquery_words(cloud: Cloud, night: Night, method: str, place: str | None = None) -> tuple[tuple, tuple]:
    """The words of an ingest into a dataset of its own, and those of the audit."""
    place = place or f"bigquery://{cloud.project}/{cloud.dataset()}"
    more = bigquery_flags(cloud, method)
    return ("ingest", "--input", night.archive, "--warehouse", place, *more), (
        "--input",
        night.archive,
        "--warehouse",
        place,
        "--no_cutouts",
    )


def test_rows_that_bigquery_refuses(cloud: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """Of each request some rows are refused, the others taken: they are dead letters, and rows when it is well again."""
    words, audited = bigquery_words(cloud, light, "streaming_inserts")
    good = sorted({one["alert_id"] for one in truth(light.folder) if one["kind"] == "good"})[::50]
    child = ("--cloud", "--refused_ids", ",".join(map(str, good)))
    run = Run(tmp_path / "log", *words, child=child, environment=cloud.variables)
    assert run.end() == 0, run.said
    between = audit(*audited)
    assert between.faults == {"dead_lettered": len(good)}
    again = Run(tmp_path / "log", *words, child=("--cloud",), environment=cloud.variables)
    assert again.end() == 0, again.said
    verdict = audit(*audited)
    note = "each was a dead letter of stage write until the rerun"
    tell("BigQuery, streaming_inserts: rows refused among others", len(good), verdict, note)
    verdict.must_be_whole()


@pytest.mark.parametrize("method", ["file_loads", "streaming_inserts", "storage_write"])
def test_a_table_that_is_another(method: str, cloud: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """A column of ours has another type there: loads and appends fail, inserts refuse each row; mended, the night is whole."""
    words, audited = bigquery_words(cloud, light, method)
    dataset = str(words[4]).rpartition("/")[2]
    table = f"{cloud.project}.{dataset}.ztf_alerts"
    with cloud.client() as client:
        prepare(client, dataset, ["ztf"])
        ours = client.get_table(table)
        schema = [bigquery.SchemaField("object_id", "FLOAT64") if field.name == "object_id" else field for field in ours.schema]
        client.delete_table(table)
        client.create_table(bigquery.Table(table, schema=schema))
    run = Run(tmp_path / "log", *words, child=("--cloud",), environment=cloud.variables)
    status = run.end()
    with cloud.client() as client:
        if method != "streaming_inserts":
            assert status == 1, run.said
        else:
            letters = cloud.rows(f"SELECT COUNT(*) AS n FROM `{cloud.project}.{dataset}.dead_letters` WHERE stage = 'write'")
            assert letters[0]["n"] == 5_250, run.said
        client.delete_table(table)
    again = Run(tmp_path / "log", *words, child=("--cloud",), environment=cloud.variables)
    assert again.end() == 0, again.said
    verdict = audit(*audited)
    note = "the run failed and said so" if status == 1 else "each row was a dead letter of stage write until the rerun"
    tell(f"BigQuery, {method}: a column of another type in the table", 1, verdict, note)
    verdict.must_be_whole()
