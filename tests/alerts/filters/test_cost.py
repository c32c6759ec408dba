"""What a filter costs, as far as its text tells: more for more, the same wherever it is asked, and named where it is much."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import pytest

from alerts.filters.check import check
from alerts.filters.cost import DECODING, MOST, MUCH, WEIGHTS, Kind, kind_of, over_decoding
from alerts.filters.parse import parse
from alerts.filters.row import NO_LISTS, row_of
from alerts.filters.steps import Steps
from alerts.filters.tree import Query
from alerts.surveys import SURVEYS
from tests.alerts.filters.test_batches import GOOD

ZTF = SURVEYS["ztf"]
COUNT = "(SELECT COUNT(*) FROM UNNEST(prv_candidates) AS p WHERE p.magpsf < {}) > 1"
CAST = "(SELECT MAX(SAFE_CAST(COALESCE(p.pdiffimfilename, '{}') AS FLOAT64)) FROM UNNEST(prv_candidates) AS p) > 1"


def query(condition: str) -> Query:
    return parse(f"SELECT alert_id FROM alerts WHERE {condition}", row_of(ZTF))


def cost(condition: str) -> float:
    return over_decoding(query(condition), ZTF)


def test_more_costs_more() -> None:
    of_more_and_more = [
        "candidate.fid = 1",
        "candidate.fid = 1 AND candidate.drb > 0.5",
        "candidate.fid = 1 AND LN(candidate.drb) > 0.5",
        "candidate.fid = 1 AND LN(candidate.drb) > 0.5 AND object_id LIKE 'ZTF%'",
        COUNT.format(18),
        " AND ".join([COUNT.format(18), COUNT.format(19)]),
        f"{COUNT.format(18)} AND (SELECT p.magpsf FROM UNNEST(prv_candidates) AS p ORDER BY p.jd LIMIT 1) > 18",
        CAST.format(1),
    ]
    costs = [cost(text) for text in of_more_and_more]
    assert all(first < second for first, second in pairwise(costs)), costs
    assert cost(of_more_and_more[0]) == cost("candidate.fid = 1")


def test_what_is_asked_twice_costs_once() -> None:
    assert cost(f"{COUNT.format(18)} AND {COUNT.format(18)}") < 1.05 * cost(COUNT.format(18))


def test_each_kind_has_a_weight_and_each_condition_a_cost_that_is_usual() -> None:
    assert WEIGHTS.keys() == set(get_args(Kind))
    assert DECODING.keys() <= SURVEYS.keys()
    kinds = {kind_of(step) for text in [*GOOD, CAST.format(1)] for step in Steps({"": query(text)}).steps}
    assert kinds == set(get_args(Kind)) - {"entries"}
    assert all(0 < cost(text) < MUCH for text in GOOD)


@pytest.mark.parametrize(("number", "is_error"), [(1, False), (6, True)])
def test_what_costs_much_is_told_and_its_dearest_part_pointed_at(number: int, is_error: bool) -> None:
    condition = "candidate.isdiffpos AND " + " AND ".join(CAST.format(each) for each in range(number))
    text = f"SELECT alert_id FROM alerts WHERE {condition}"
    assert (cost(condition) > MOST) is is_error
    (finding,) = [each for each in check(query(condition), ZTF, NO_LISTS) if "times what decoding" in each.message]
    assert finding.is_error is is_error
    assert finding.at
    assert text[finding.at.start :].startswith(("(SELECT MAX(SAFE_CAST", "p.pdiffimfilename", "SELECT MAX", "MAX"))


def test_a_usual_filter_is_not_spoken_of() -> None:
    assert not any("decoding" in each.message for each in check(query(COUNT.format(18)), ZTF, NO_LISTS))
