"""Cross-match into BigQuery, and in streams: the same rows, and nobody waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from broker import cli, warehouse
from pipelines.ingest import run
from pipelines.messages import messages
from simulation.catalog_server.faults import Fault
from simulation.catalog_server.server import CatalogServer
from tests.cloud.streams import Topic, run_until
from tests.crossmatching import ALLWISE, as_allwise
from tests.emulators.cloud import Cloud
from tests.nights import simulated, truth
from transforms.files import create_file

COLUMNS = "survey, alert_id, object_id, ra_deg, dec_deg, catalog, radius_arcsec, status, error"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "60", "--seed", "9")


@pytest.fixture
def server(night: Path) -> Iterator[CatalogServer]:
    with CatalogServer({"II/328/allwise": as_allwise(pq.read_table(night / "catalog.parquet"))}) as server:
        yield server


def crossmatch(server: CatalogServer) -> list[str]:
    return ["--crossmatch", ALLWISE, "--crossmatch_url", server.url, "--crossmatch_deadline_secs", "1"]


def found(place: str) -> list[tuple]:
    with warehouse.open(place) as opened:
        rows = opened.query(f"SELECT {COLUMNS}, matches FROM crossmatches_unique ORDER BY alert_id").to_pylist()
    return [tuple(row.values()) for row in rows]


def assert_truth(place: str, night: Path) -> None:
    expected = {one["alert_id"]: one for one in truth(night)}
    rows = found(place)
    assert [row[1] for row in rows] == sorted(expected)
    assert [row[7] for row in rows] == ["matched" if expected[row[1]]["has_catalog_star"] else "no_match" for row in rows]
    assert {row[7] for row in rows} == {"matched", "no_match"}


@pytest.mark.parametrize("method", ["file_loads", "streaming_inserts", "storage_write"])
def test_bigquery_holds_the_rows_of_a_folder(
    cloud: Cloud, night: Path, server: CatalogServer, method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"bigquery://{cloud.project}/{cloud.dataset()}"
    into = ["--warehouse", place, "--survey", "ztf", "--write_method", method, "--temp_location", f"{cloud.bucket}/loads"]
    server.fail(Fault("502"))
    assert run(["--input", str(night), *into, *crossmatch(server)]) == 0
    with warehouse.open(place) as opened:
        assert opened.query("SELECT COUNT(*) AS n FROM ztf_alerts").to_pylist() == [{"n": 60}]
    assert {row[7] for row in found(place)} == {"failed"}
    server.heal()
    capsys.readouterr()
    assert cli.main(["rematch", *into, "--crossmatch_url", server.url]) == 0
    assert "60 alerts have no answer" not in capsys.readouterr().out
    assert_truth(place, night)
    local = str(tmp_path / "warehouse")
    assert run(["--input", str(night), "--warehouse", local, *crossmatch(server)]) == 0
    assert found(place) == found(local)
    # Doing it again asks nothing.
    calls = len(server.calls)
    assert cli.main(["rematch", *into, *crossmatch(server)]) == 0
    assert "nothing to ask" in capsys.readouterr().out
    assert len(server.calls) == calls


def test_a_stream_with_a_catalog_that_hangs_has_its_alerts_at_once(
    pubsub: Cloud, night: Path, server: CatalogServer, tmp_path: Path
) -> None:
    """Alerts come though the catalog never answers, and nothing else is told of it: none is matched, none has no match.

    Whether they come before the first call has failed is up to the runner: the local one puts nothing in place while it waits.
    """
    place = str(tmp_path / "warehouse")
    server.fail(Fault("hanging"))
    topic = Topic(pubsub.project, 1)
    topic.publish(messages([str(night)]))
    slow = [*crossmatch(server), "--crossmatch_deadline_secs", "8"]
    flags = ["--warehouse", place, "--survey", "ztf", "--load_every_secs", "1", "--max_wait_secs", "1", *slow]
    without_an_answer: list[bool] = []

    def alerts_are_there() -> bool:
        try:
            with warehouse.open(place) as opened:
                alerts, told = (
                    opened.query(f"SELECT COUNT(*) AS n FROM {table}").to_pylist()[0]["n"]
                    for table in ("ztf_alerts", "crossmatches WHERE status <> 'failed'")
                )
                complete = alerts == 60
                if complete and server.calls:
                    without_an_answer.append(told == 0)
                    # Hung up on, so that the stream can end before the deadline.
                    server.close()
                return bool(without_an_answer)
        except warehouse.QueryError:
            return False

    run_until(topic, [flags], alerts_are_there)
    assert without_an_answer == [True]


def test_a_stream_gives_the_rows_of_a_batch_run(pubsub: Cloud, night: Path, server: CatalogServer, tmp_path: Path) -> None:
    places = [str(tmp_path / "warehouse"), f"bigquery://{pubsub.project}/{pubsub.dataset()}"]
    topic = Topic(pubsub.project, 2)
    topic.publish(messages([str(night)]))
    often = ["--load_every_secs", "2", "--max_wait_secs", "1", *crossmatch(server)]
    flags = [["--warehouse", place, "--survey", "ztf", *often] for place in places]

    def complete() -> bool:
        try:
            return all(len(found(place)) == 60 for place in places)
        except warehouse.QueryError:
            return False

    run_until(topic, flags, complete)
    local = str(tmp_path / "batch")
    assert run(["--input", str(night), "--warehouse", local, *crossmatch(server)]) == 0
    for place in places:
        assert_truth(place, night)
        assert found(place) == found(local)
    # Two runs were under way, each with its own limit of two calls.
    assert server.most_in_flight <= 4


def test_a_catalog_file_in_a_bucket(cloud: Cloud, night: Path, server: CatalogServer, tmp_path: Path) -> None:
    uri = f"{cloud.folder()}/catalog.parquet"
    with create_file(uri) as file:
        file.write((night / "catalog.parquet").read_bytes())
    near, far = str(tmp_path / "near"), str(tmp_path / "far")
    assert run(["--input", str(night), "--warehouse", far, "--crossmatch", f"file:{uri}"]) == 0
    assert run(["--input", str(night), "--warehouse", near, "--crossmatch", f"file:{night}/catalog.parquet"]) == 0
    assert [(*row[:5], *row[6:]) for row in found(far)] == [(*row[:5], *row[6:]) for row in found(near)]
    assert_truth(far, night)
    assert run(["--input", str(night), "--warehouse", far, "--crossmatch", f"file:{uri}.gone"]) == 2
