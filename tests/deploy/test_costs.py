"""The cost model: the page shows what it computes, and it computes what a person would."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import cost_inputs, costs, year_costs
from deploy.cost_inputs import CPU_US, LSST, ZTF, NightCosts
from deploy.costs import COSTS
from pipelines.options import BrokerOptions, parse
from tests.deploy.sources import ROOT
from warehouses.bigquery.billing import USD_PER_TIB
from warehouses.bigquery.warehouse import BigQueryWarehouse

PAGE = ROOT / "docs" / "dataflow.md"


def cost(night: NightCosts, mode: str, method: str) -> costs.Cost:
    (found,) = [one for one in COSTS if (one.night, one.mode, one.method) == (night, mode, method)]
    return found


def test_the_page_shows_what_the_model_says() -> None:
    assert costs.page() in PAGE.read_text(), "run python -m deploy.costs --into docs/dataflow.md"


def test_what_is_put_into_a_page_stands_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{costs.MARK}\nold\n{costs.MARK}\nafter\n")
    for _ in range(2):
        assert costs.main(["--into", str(page)]) == 0
    assert page.read_text() == f"before\n{costs.MARK}\n\n{costs.page()}\n\n{costs.MARK}\nafter\n"


def test_a_line_reckoned_by_hand() -> None:
    # 10 million alerts, decoded and appended, half as much again, on vCPUs that are busy 60% of the time, 2 hours of one worker.
    decode, append = CPU_US["decode"][1], CPU_US["storage_write"][1]
    paid = max(10e6 * (decode + append) / 1e6 * 1.5 / 3600 / 0.6, 20) + 4
    dataflow = paid * (0.069 + 4 * 0.003557 + 15 * 0.000054) + 10e6 * 285.7e3 / 1e9 * 0.018
    pubsub = 2 * 10e6 * 285.7e3 / 2**40 * 40
    # 2 TiB a month are free.
    appended = (30 * 10e6 * (145.6e3 + 124.7e3) / 2**30 - 2048) * 0.025 / 30
    found = cost(LSST, "stream", "storage_write")
    assert found.paid_vcpu_hours == pytest.approx(paid)
    assert (found.dataflow_usd, found.pubsub_usd, found.insert_usd) == pytest.approx((dataflow, pubsub, appended))
    assert found.usd == pytest.approx(dataflow + pubsub + appended)


def test_a_stream_of_inserts_reckoned_by_hand() -> None:
    found = cost(LSST, "stream", "streaming_inserts")
    work = 10e6 * (CPU_US["decode"][1] + CPU_US["streaming_inserts"][1]) / 1e6 * 1.5 / 3600
    assert found.work_vcpu_hours == pytest.approx(work)
    assert found.processed_gb == pytest.approx(10e6 * (285.7e3 + 545.4e3) / 1e9)
    assert found.insert_usd == pytest.approx(10e6 * (145.6e3 + 124.7e3) / 2**30 * 0.05)


def test_an_archive_is_unpacked_and_a_stream_is_not() -> None:
    archive, stream = (cost(ZTF, mode, "file_loads").cpu_us for mode in ("archive", "stream"))
    assert archive - stream == pytest.approx(CPU_US["unpack"][0])


def test_a_quiet_stream_pays_for_the_worker_that_waits() -> None:
    assert cost(ZTF, "stream", "file_loads").paid_vcpu_hours == 2 * 12
    assert cost(ZTF, "stream", "file_loads").work_vcpu_hours < 1


def test_what_ztf_appends_is_free_and_inserts_are_the_dearest_everywhere() -> None:
    assert cost(ZTF, "stream", "storage_write").insert_usd == 0
    for night in (ZTF, LSST):
        for mode in ("archive", "stream"):
            inserts = cost(night, mode, "streaming_inserts").usd
            assert max(cost(night, mode, method).usd for method in ("file_loads", "storage_write")) < inserts


def test_each_way_of_writing_has_its_cost() -> None:
    assert {one.method for one in COSTS} == set(BigQueryWarehouse.write_methods)


def test_a_year_reckoned_by_hand() -> None:
    night = 300_000 * 48_700 / 2**30
    # Partitions that stay as they are cost half after 90 days.
    month = night * (90 * 0.02 + 275 * 0.01)
    [logical, _] = year_costs.Year(ZTF).storage()
    assert f" = {month:,.2f} USD;" in logical
    cone = next(one for one in year_costs.questions(LSST) if one.what.startswith("a cone"))
    read = cone.read_bytes(year_costs.Year(LSST))
    assert read == 10_000_000 * (365 * 24 + 10 * 36) + 4 * 10 * 2**20
    assert f"{read / 2**40 * USD_PER_TIB:.3f}" in costs.asked()


def test_a_stream_stays_within_bigquerys_load_jobs() -> None:
    # 1,500 a day and table, by BigQuery's quotas; all day long, not only at night.
    assert parse([]).view_as(BrokerOptions).load_every_secs == cost_inputs.LOAD_EVERY_SECS
    assert 24 * 3600 / cost_inputs.LOAD_EVERY_SECS < 1500
