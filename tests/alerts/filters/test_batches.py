"""Filters over whole batches say what they say row by row: on real packets, and on rows of what numbers can be."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from alerts.filters.batches import Batch
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.filters.steps import steps_of
from alerts.filters.tree import Node
from alerts.surveys import SURVEYS
from tests.alerts.filters import by_row, random_filters
from tests.alerts.filters.random_filters import condition
from tests.alerts.filters.rows import odd_batch, real
from tests.alerts.filters.written import GOOD, ODD, OF_LSST
from tests.conftest import OURS, RealData


def of(condition_: str, survey: str = "ztf") -> Node:
    return parse(f"SELECT alert_id FROM alerts WHERE {condition_}", row_of(SURVEYS[survey])).where


def same(node: Node, rows: pa.RecordBatch, dicts: list[dict[str, Any]]) -> None:
    vector = Batch(rows, steps_of([node])).value(-1)
    ours = (
        vector.data.to_pylist()
        if vector.is_text
        else [held if known else None for held, known in zip(vector.data.tolist(), vector.mask.tolist(), strict=True)]
    )
    for number, (got, row) in enumerate(zip(ours, dicts, strict=True)):
        expected = by_row.value(node, [row])
        if isinstance(expected, float) and got is not None:
            assert got == pytest.approx(expected, rel=1e-12), f"row {number}"
        else:
            assert got == expected, f"row {number}"


Rows = list[tuple[pa.RecordBatch, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def packets(real_data: RealData) -> dict[str, Rows]:
    """Batches of real packets of ours, and each as a list of dictionaries."""
    found = {survey: [rows.slice(0, 30) for rows in real(real_data, survey, (OURS,))] for survey in ("ztf", "lsst")}
    assert sum(rows.num_rows for rows in found["ztf"]) > 40
    assert sum(rows.num_rows for rows in found["lsst"]) > 10
    return {survey: [(rows, rows.to_pylist()) for rows in batches] for survey, batches in found.items()}


@pytest.mark.parametrize("condition_", GOOD)
def test_real_packets(condition_: str, packets: dict[str, Rows]) -> None:
    for rows, dicts in packets["ztf"]:
        same(of(condition_), rows, dicts)


@pytest.mark.parametrize("condition_", OF_LSST)
def test_real_packets_of_lsst(condition_: str, packets: dict[str, Rows]) -> None:
    for rows, dicts in packets["lsst"]:
        same(of(condition_, "lsst"), rows, dicts)


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_500_random_filters_on_real_packets(survey: str, packets: dict[str, Rows]) -> None:
    rng, words = random.Random(7), {"ztf": random_filters.ZTF, "lsst": random_filters.LSST}[survey]
    for number in range(500):
        rows, dicts = packets[survey][number % len(packets[survey])]
        same(of(condition(rng, words), survey), rows.slice(0, 10), dicts[:10])


@pytest.fixture(scope="module")
def odd() -> tuple[pa.RecordBatch, list[dict[str, Any]]]:
    made = odd_batch()
    return made, made.to_pylist()


@pytest.mark.parametrize("condition_", ODD)
def test_rows_of_what_numbers_can_be(condition_: str, odd: tuple[pa.RecordBatch, list[dict[str, Any]]]) -> None:
    same(of(condition_), *odd)


def test_no_rows(odd: tuple[pa.RecordBatch, list[dict[str, Any]]]) -> None:
    for condition_ in ODD:
        same(of(condition_), odd[0].slice(0, 0), [])


def test_a_slice_is_asked_about_itself(odd: tuple[pa.RecordBatch, list[dict[str, Any]]]) -> None:
    rows, dicts = odd
    for condition_ in ODD:
        same(of(condition_), rows.slice(17, 20), dicts[17:37])


def test_what_several_filters_ask_is_computed_once(odd: tuple[pa.RecordBatch, list[dict[str, Any]]]) -> None:
    first, second = of("candidate.ra + 1 > 2 AND candidate.fid = 1"), of("NOT (candidate.ra + 1 > 2)")
    program = steps_of([first, second])
    batch = Batch(odd[0], program)
    batch.value(program.asked["0"].where)
    before = batch.computed
    batch.value(program.asked["1"].where)
    # NOT alone is new.
    assert batch.computed == before + 1
