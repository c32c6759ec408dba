"""The cost model: the page shows what it computes, and it computes what a person would."""

from __future__ import annotations

import pytest

from deploy import costs
from deploy.costs import COSTS, LSST, ZTF
from pipelines.options import BrokerOptions, parse
from tests.deploy.sources import ROOT

PAGE = ROOT / "docs" / "dataflow.md"


def cost(night: costs.NightCosts, mode: str, method: str) -> costs.Cost:
    (found,) = [one for one in COSTS if (one.night, one.mode, one.method) == (night, mode, method)]
    return found


def test_the_page_shows_what_the_model_says() -> None:
    page = PAGE.read_text()
    assert costs.table() in page, "put the output of python -m deploy.costs into docs/dataflow.md"
    assert costs.text() in page, "put the output of python -m deploy.costs into docs/dataflow.md"


def test_a_line_reckoned_by_hand() -> None:
    # 10 million alerts, 7.6 ms each and half as much again, on vCPUs that are busy 60% of the time, and 2 hours of one worker.
    paid = 10e6 * 0.0076 * 1.5 / 3600 / 0.6 + 4
    dataflow = paid * (0.069 + 4 * 0.003557 + 15 * 0.000054) + 10e6 * (141e3 + 188e3) / 1e9 * 0.018
    pubsub = 2 * 10e6 * 141e3 / 2**40 * 40
    inserts = 10e6 * 128e3 / 200e6 * 0.01
    found = cost(LSST, "stream", "streaming_inserts")
    assert found.paid_vcpu_hours == pytest.approx(paid)
    assert (found.dataflow_usd, found.pubsub_usd, found.insert_usd) == pytest.approx((dataflow, pubsub, inserts))
    assert found.usd == pytest.approx(dataflow + pubsub + inserts)


def test_a_quiet_stream_pays_for_the_worker_that_waits() -> None:
    assert cost(ZTF, "stream", "file_loads").paid_vcpu_hours == 2 * 12
    assert cost(ZTF, "stream", "file_loads").work_vcpu_hours < 1


def test_loads_are_cheaper_than_inserts_everywhere() -> None:
    for night in (ZTF, LSST):
        for mode in ("archive", "stream"):
            assert cost(night, mode, "file_loads").usd < cost(night, mode, "streaming_inserts").usd


def test_a_stream_stays_within_bigquerys_load_jobs() -> None:
    # 1,500 a day and table, by BigQuery's quotas; all day long, not only at night.
    assert parse([]).view_as(BrokerOptions).load_every_secs == costs.LOAD_EVERY_SECS
    assert 24 * 3600 / costs.LOAD_EVERY_SECS < 1500
