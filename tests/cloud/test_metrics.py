"""What BigQuery refuses, and how often it was asked, as the metrics tell it: ours, and those of Beam that our page names."""

from __future__ import annotations

from pathlib import Path

import pytest
from apache_beam.io.gcp.bigquery import BigQueryWriteFn
from apache_beam.metrics import MetricsFilter

from pipelines import ingest
from pipelines.job import Job
from pipelines.options import parse
from tests.emulators.cloud import Cloud
from tests.nights import simulated, truth
from transforms import metrics, write_bigquery

OWN = dict.fromkeys(("ztf_alerts", "ztf_cutouts", "ztf_features"), 20)
PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "20", "--damaged", "3", "--seed", "6")


@pytest.mark.parametrize("method", ["streaming_inserts", "file_loads", "storage_write"])
def test_rows_are_counted_and_so_are_those_that_are_refused(
    cloud: Cloud, night: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    dataset = cloud.dataset()
    refused = next(one["alert_id"] for one in truth(night) if one["kind"] == "good")
    honest = write_bigquery.json_rows

    def with_a_bad_value(batch):
        # As if the packet held what its column does not take.
        return [
            row | {"ra_deg": "no number"} if str(row.get("alert_id")) == str(refused) and "ra_deg" in row else row
            for row in honest(batch)
        ]

    monkeypatch.setattr(write_bigquery, "json_rows", with_a_bad_value)
    # Away twice: the second try of the third request passes.
    fault = cloud.faults.fail(2, rf"POST .*{dataset}/tables/ztf_alerts/insertAll")
    place = ["--warehouse", f"bigquery://{cloud.project}/{dataset}", "--survey", "ztf", "--write_method", method]
    options = parse(["--input", str(night), *place, "--temp_location", f"{cloud.bucket}/loads"])
    job = Job.from_options(options)
    result = ingest.run_to_its_end(job, options)
    job.clean_up()
    cloud.faults.heal()
    told = metrics.totals(result)
    beams = result.metrics().query(MetricsFilter().with_namespace(BigQueryWriteFn))
    named = {one.key.metric.name: one.result for kind in ("counters", "distributions") for one in beams[kind]}
    if method != "streaming_inserts":
        assert told.by_label(metrics.ROWS_WRITTEN) == {"dead_letters": 3, **OWN}
        assert told.by_label(metrics.ROWS_REFUSED) == {}
        assert named == {}
        return
    assert told.by_label(metrics.ROWS_WRITTEN) == {"dead_letters": 4, **OWN}
    assert told.by_label(metrics.ROWS_REFUSED) == {"ztf_alerts": 1}
    assert told.by_label(metrics.LETTERS)["write"] == 1
    assert told.total(metrics.LETTERS) == 4
    stored = cloud.rows(f"SELECT COUNT(*) AS n FROM `{cloud.project}.{dataset}.ztf_alerts`")
    assert stored == [{"n": 19}]
    assert fault.met == 2
    # In Dataflow's list beside ours; the page says what they are.
    assert {"batch_size", "batch_latency_ms", "rows_failed_per_batch"} <= named.keys()
    assert all(f"`{name}`" in PAGE for name in named)
