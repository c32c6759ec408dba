"""A filter told term by term: the first that is not TRUE decides, values are those of the packet, and counts add up."""

from __future__ import annotations

import pyarrow as pa
import pytest

from alerts.filters.judge import judge
from alerts.filters.row import row_of
from alerts.filters.shown import written
from alerts.filters.steps import Steps
from alerts.filters.survivors import Survivors
from alerts.filters.terms import Terms, terms_of, that_decides
from alerts.surveys import SURVEYS
from tests.alerts.filters.test_judge import BY_MATCH, alert, batch, query

ROW = row_of(SURVEYS["ztf"])


def test_terms_are_all_that_must_be_true() -> None:
    condition = "candidate.isdiffpos AND (candidate.fid = 1 AND candidate.drb BETWEEN 0.5 AND 1) AND (ra_deg < 1 OR dec_deg > 2)"
    assert [written(term) for term in terms_of(query(condition).where)] == [
        "candidate.isdiffpos",
        "candidate.fid = 1",
        "candidate.drb >= 0.5",
        "candidate.drb <= 1",
        "(ra_deg < 1) OR (dec_deg > 2)",
    ]
    assert [written(term) for term in terms_of(query("candidate.drb > 0.5").where)] == ["candidate.drb > 0.5"]


@pytest.mark.parametrize(
    ("condition", "drb", "told"),
    [
        ("candidate.isdiffpos", 0.9, "candidate.isdiffpos is TRUE (candidate.isdiffpos = TRUE, where the packet has 't')"),
        ("candidate.drb > 0.9", 0.5, "candidate.drb > 0.9 is FALSE (candidate.drb = 0.5)"),
        ("candidate.drb > 0.9", None, "candidate.drb > 0.9 is NULL (candidate.drb = NULL)"),
        ("candidate.drb > 0.9", float("nan"), "candidate.drb > 0.9 is NULL (candidate.drb = NULL, where the packet has nan)"),
        ("COALESCE(candidate.drb, 1) > 0.9", 0.1, "COALESCE(candidate.drb, 1) > 0.9 is FALSE (candidate.drb = 0.1)"),
        ("alert_id = 1", 0.1, f"alert_id = 1 is FALSE (alert_id = {2**60 + 1})"),
        (
            "night < DATE '2026-11-01' OR observed_at < TIMESTAMP '2026-11-01'",
            0.1,
            "(night < DATE '2026-11-01') OR (observed_at < TIMESTAMP '2026-11-01 00:00:00+00:00') is FALSE "
            "(night = 2026-11-29; observed_at = 2026-11-29 06:00:00+00:00)",
        ),
        (
            "(SELECT COUNT(*) FROM UNNEST(matches) AS m WHERE m.catalog = 'x') = 1",
            0.1,
            "(SELECT COUNT(*) FROM UNNEST(matches) AS e1 WHERE (e1.catalog = 'x')) = 1 is FALSE "
            "((SELECT COUNT(*) FROM UNNEST(matches) AS e1 WHERE (e1.catalog = 'x')) = 0)",
        ),
    ],
)
def test_a_term_is_told_with_what_it_asks(condition: str, drb: float | None, told: str) -> None:
    (term,) = Terms(query(condition)).told(batch([alert(1, drb)]))
    assert term.sentence == told


def test_sentinels_and_other_units_are_told_as_they_were_sent() -> None:
    rows = pa.RecordBatch.from_pylist([{"alert_id": 1, "candidate": {"ssdistnr": -999.0, "distnr": 2.0}}])
    missing, scaled = Terms(query("candidate.ssdistnr > 10 AND candidate.distnr_arcsec > 5")).told(rows)
    assert missing.sentence.endswith("is NULL (candidate.ssdistnr = NULL, where the packet has -999.0)")
    assert scaled.sentence.endswith("is FALSE (candidate.distnr_arcsec = 2.024)")


def test_the_first_that_is_not_true_decides_but_for_one_that_fails() -> None:
    condition = f"candidate.isdiffpos AND candidate.drb > 0.5 AND {BY_MATCH} AND candidate.fid < 9"
    terms = Terms(query(condition))
    told = terms.told(batch([alert(1, None, columns="no json")]))
    assert [term.answer for term in told] == ["TRUE", "NULL", "failed", "TRUE"]
    assert that_decides(told) == 2
    assert "JSONDecodeError" in told[2].why
    assert that_decides(terms.told(batch([alert(1, None)]))) == 1
    told = terms.told(batch([alert(1, columns='{"otype":"QSO"}')]))
    assert that_decides(told) is None


def test_survivors_are_counted_term_by_term_over_batches() -> None:
    wanted = query(f"candidate.drb > 0.5 AND {BY_MATCH} AND candidate.fid < 2")
    rows = [alert(number, [0.9, 0.1, None][number % 3], "no json" if number == 4 else '{"otype":"QSO"}') for number in range(12)]
    rows[6]["matches"] = None
    terms, survivors = Terms(wanted), Survivors()
    for part in (batch(rows[:5]), batch(rows[5:]), batch([])):
        survivors.add(terms.answers(part))
    first, second, third = survivors.terms
    assert (first.true, first.false, first.null, first.failed) == (4, 4, 4, 0)
    assert (second.true, second.false, second.null, second.failed) == (10, 1, 0, 1)
    assert (third.true, third.false) == (8, 4)
    assert [term.left for term in survivors.terms] == [4, 3, 3]
    # The sixth has no match, and all else; of two thirds the first term alone keeps those with fid 1 from passing.
    assert [term.alone for term in survivors.terms] == [3, 1, 0]
    assert (survivors.seen, survivors.passed) == (12, 3)
    judged = judge(batch(rows), Steps({"": wanted}))[""]
    assert judged.counts["passed"] == survivors.passed
