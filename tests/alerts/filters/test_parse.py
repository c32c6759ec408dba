"""The language of filters: what is one, what it means, and how it is told what is wrong, where."""

from __future__ import annotations

import re

import pytest

from alerts.filters.errors import FilterError
from alerts.filters.parse import parse
from alerts.filters.row import Lists, RowField, row_of
from alerts.filters.tree import Operation, Path, Subquery, walk
from alerts.filters.write import canonical
from alerts.surveys import SURVEYS
from schemas import Column

ZTF, LSST = SURVEYS["ztf"], SURVEYS["lsst"]
FADER = """-- about: fades
-- surveys: ztf
SELECT features.r.slope_mag_per_day AS fade, features.age_jdstarthist_days AS age
FROM alerts
WHERE candidate.isdiffpos AND candidate.drb > 0.9 AND candidate.ndethist < 20
  AND features.age_jdstarthist_days < 5 AND ABS(features.glat_deg) > 10
  AND features.r.span_days > 0.5 AND features.r.slope_mag_per_day > 0.3
  AND NOT COALESCE(candidate.sgscore1 > 0.76 AND candidate.distpsnr1 < 2, FALSE)
  AND NOT COALESCE(candidate.ssdistnr < 10, FALSE)
"""


def where(condition: str, survey: str = "ztf") -> str:
    """The canonical text of a condition."""
    row = row_of(SURVEYS[survey])
    found = canonical(parse(f"SELECT alert_id FROM alerts WHERE {condition}", row))
    return found.removeprefix("SELECT alerts.alert_id AS alert_id FROM alerts WHERE ")


def refused(text: str, row: RowField | None = None) -> FilterError:
    with pytest.raises(FilterError) as caught:
        parse(text, row or row_of(ZTF))
    return caught.value


def test_a_filter_is_a_condition_and_columns_with_their_types() -> None:
    query = parse(FADER, row_of(ZTF))
    assert query.where.type == "BOOL"
    assert [(column.name, column.node.type) for column in query.columns] == [("fade", "FLOAT64"), ("age", "FLOAT64")]
    paths = {".".join(node.names) for node in walk(query.where) if isinstance(node, Path)}
    assert {"candidate.isdiffpos", "features.r.slope_mag_per_day", "candidate.ssdistnr"} <= paths


CONDITIONS = [
    "candidate.fid = 1",
    "candidate.magpsf BETWEEN 15 AND 18.5 OR candidate.fid IN (1, 2)",
    "NOT candidate.isdiffpos",
    "candidate.isdiffpos IS NOT FALSE AND candidate.drb IS NOT NULL",
    "night >= DATE '2026-01-01' AND observed_at < TIMESTAMP '2026-11-29 06:00:00+01:00'",
    "object_id LIKE 'ZTF18%' OR STARTS_WITH(object_id, 'ZTF19') OR LOWER(object_id) = 'ztf20abc'",
    "CASE WHEN candidate.fid = 1 THEN 18 WHEN candidate.fid = 2 THEN 18.5 END > candidate.magpsf",
    "CASE candidate.fid WHEN 1 THEN TRUE ELSE FALSE END",
    "IF(candidate.fid = 1, candidate.magpsf, NULL) < 18",
    "-candidate.ra + 2 * candidate.dec / 3 > MOD(candidate.fid, 2)",
    "LEAST(candidate.sgscore1, candidate.sgscore2) > 0.5 AND GREATEST(1, 2.5, candidate.drb) < 3",
    "SQRT(POW(candidate.ra, 2)) + LN(2) + LOG10(3) + EXP(1) + SIN(1) + COS(1) + TAN(1) + ATAN2(1, 2) > FLOOR(1.5) + CEIL(1.5)",
    "NULLIF(candidate.drb, 0) > 0.5 AND COALESCE(candidate.drb, candidate.rb, 0) > 0.5 AND IFNULL(candidate.drb, 1) > 0",
    "ARRAY_LENGTH(prv_candidates) > 3",
    "(SELECT COUNT(*) FROM UNNEST(prv_candidates) AS p WHERE p.magpsf < 19 AND p.fid = candidate.fid) >= 2",
    "(SELECT COUNT(p.magpsf) FROM UNNEST(prv_candidates) AS p) > (SELECT COUNTIF(p.isdiffpos) FROM UNNEST(prv_candidates) AS p)",
    "(SELECT MAX(p.magpsf) - 1 > 3 FROM UNNEST(prv_candidates) AS p ORDER BY p.jd LIMIT 1)",
    "(SELECT STDDEV(p.magpsf) FROM UNNEST(prv_candidates) AS p) > (SELECT AVG(p.magpsf) FROM UNNEST(prv_candidates) AS p) / 9",
    "(SELECT LOGICAL_AND(p.isdiffpos) FROM UNNEST(prv_candidates) AS p)",
    "(SELECT p.magpsf FROM UNNEST(prv_candidates) AS p WHERE p.isdiffpos ORDER BY p.jd DESC LIMIT 1) > 18",
    "EXISTS(SELECT 1 FROM UNNEST(matches) AS m WHERE m.catalog = 'simbad' AND m.status = 'matched')",
    "EXISTS(SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE s.separation_arcsec < 2 "
    "AND JSON_VALUE(s.columns, '$.otype') IN ('Star', 'QSO') AND SAFE_CAST(JSON_VALUE(s.columns, '$.plx') AS FLOAT64) > 5)",
    "(SELECT MIN(s.separation_arcsec) FROM UNNEST(matches) AS m CROSS JOIN UNNEST(m.sources) AS s) < 3",
    "features.color_g_r_mag > 0.5 AND features.g.n_detections > 2",
    "candidate.distnr_arcsec < 1.5",
    "alert_id = 2475433850015010009",
    "object_id NOT LIKE 'ZTF18%' AND candidate.fid NOT IN (1, 2) AND candidate.ra NOT BETWEEN 1 AND 2",
    "ABS((SELECT MIN(p.magpsf) FROM UNNEST(prv_candidates) AS p)) > 1",
    "EXISTS(SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE JSON_VALUE(s.columns, '$.\"[Fe/H]\"') = '1' "
    "OR SAFE_CAST(JSON_VALUE(s.columns, '$.\"B-V\"') AS FLOAT64) > 1)",
    "IF(NULL, TRUE, NULL) OR (NULL IS TRUE) OR object_id LIKE NULL "
    "OR (SELECT COUNTIF(NULL) FROM UNNEST(prv_candidates) AS p) = 0",
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_canonical_text_says_the_same_and_is_its_own(condition: str) -> None:
    if "MAX(p.magpsf) - 1" in condition:
        # An aggregate is the value of a subquery, and no part of one.
        assert "MAX stands in a subquery" in refused(f"SELECT alert_id FROM alerts WHERE {condition}").message
        return
    row = row_of(ZTF)
    query = parse(f"SELECT alert_id FROM alerts WHERE {condition}", row)
    again = parse(canonical(query), row)
    assert again == query
    assert canonical(again) == canonical(query)


def test_how_a_filter_is_written_does_not_count() -> None:
    loud = "select Alert_ID as ALERT_ID from ALERTS as a where  A.candidate.MAGPSF<18 -- so bright\n and (a.candidate.fid=1)"
    quiet = "SELECT alert_id AS ALERT_ID FROM alerts WHERE candidate.magpsf < 18 AND candidate.fid = 1"
    assert canonical(parse(loud, row_of(ZTF))) == canonical(parse(quiet, row_of(ZTF)))


def test_true_is_not_1_and_1_is_not_one() -> None:
    one, whole, truth = (parse(f"SELECT {value} AS x FROM alerts WHERE TRUE", row_of(ZTF)) for value in ("1.0", "1", "TRUE"))
    assert len({one, whole, truth}) == 3


def test_a_name_of_the_inner_rows_is_meant_before_the_alerts_own() -> None:
    assert "(e1.magpsf < alerts.candidate.magpsf)" in where(
        "EXISTS(SELECT 1 FROM UNNEST(prv_candidates) AS candidates WHERE candidates.magpsf < candidate.magpsf)"
    )


@pytest.mark.parametrize(
    ("condition", "meant", "said"),
    [
        ("candidate.drbb > 0.9", "drbb", r"there is no candidate\.drbb; did you mean candidate\.drb\?"),
        ("magpsf < 18", "magpsf", r"there is no magpsf; did you mean candidate\.magpsf\?"),
        ("candidate.nothing_like_it < 18", "nothing_like_it", r"there is no candidate\.nothing_like_it; broker filter columns"),
        ("features.r.slope_mag < 18", "slope_mag", r"there is no features\.r\.slope_mag; did you mean features\.r\.\w+\?"),
        ("scores.acai_h > 0.5", "acai_h", r"there is no scores\.acai_h: scores has no fields here"),
        ("candidate.isdiffpos = 't'", "'t'", r"here are a BOOL and a STRING; isdiffpos is TRUE or FALSE here"),
        ("candidate.isdiffpos = 1", "1", r"here are a BOOL and an INT64; isdiffpos is TRUE or FALSE here"),
        ("candidate.magpsf", "candidate.magpsf", r"WHERE takes a BOOL, and this is a FLOAT64"),
        ("candidate.magpsf AND TRUE", "candidate.magpsf", r"AND takes truth values, and this is a FLOAT64"),
        ("candidate > 3", "candidate", r"takes values, and this is a record; name a field of it"),
        ("alerts > 3", "alerts", r"alerts is a whole row; name a field of it"),
        ("prv_candidates.magpsf > 3", "prv_candidates.magpsf", r"prv_candidates is an array: ask a subquery about it"),
        ("prv_candidates > 3", "prv_candidates", r"prv_candidates is an array: ask a subquery about it"),
        ("candidate.magpsf.x > 3", "candidate.magpsf.x", r"candidate\.magpsf is of type FLOAT64 and has no fields"),
        ("candid > 1.5", "", r"an id is held against whole numbers: a FLOAT64 rounds beyond 2\^53"),
        ("object_id + 1 > 3", "object_id", r"\+ takes numbers, and this is a STRING"),
        ("object_id = 3", "3", r"= takes values of one type: here are a STRING and an INT64"),
        ("COUNT(*) > 3", "", r"COUNT stands in a subquery over an array"),
        ("ROUND(candidate.magpsf) > 3", "candidate.magpsf", r"ROUND\(candidate\.magpsf\) is not allowed in a filter"),
        ("CURRENT_TIMESTAMP() > observed_at", "", r"is not allowed in a filter"),
        ("candidate.fid IN (1, NULL)", "candidate.fid", r"IN is followed by constants in parentheses, and NULL is none"),
        ("candidate.fid IN (candidate.rcid)", "candidate.fid", r"IN is followed by constants"),
        ("candid = 99999999999999999999", "", r"99999999999999999999 is more than 64 bits hold"),
        ("candidate.ra > 1e400", "", r"1e400 is more than a FLOAT64 holds"),
        ("night = DATE '2026-13-01'", "2026-13-01", r"'2026-13-01' is no DATE; write DATE '2026-11-29'"),
        ("candidate.ra = CAST('1' AS INT64)", "", r"of casts there are SAFE_CAST"),
        ("object_id LIKE 'a%b%c%d%e%f'", "object_id", r"a pattern has 4 % at most"),
        ("EXISTS(SELECT 1 FROM alerts)", "alerts", r"a subquery reads UNNEST\(array\) AS p"),
        ("EXISTS(SELECT 1 FROM UNNEST(candidate) AS c)", "candidate", r"candidate is no array of records"),
        (
            "EXISTS(SELECT 1 FROM UNNEST(prv_candidates) WHERE TRUE)",
            "prv_candidates",
            r"give the entries of \w+ a name",
        ),
        ("EXISTS(SELECT 1 FROM UNNEST(prv_candidates) AS alerts)", "prv_candidates", r"alerts is already the name of something"),
        (
            "EXISTS(SELECT 1 FROM UNNEST(prv_candidates) AS p, UNNEST(fp_hists) AS f)",
            "fp_hists",
            r"the second array of a subquery",
        ),
        (
            "(SELECT p.jd FROM UNNEST(prv_candidates) AS p) > 1",
            "p.jd",
            r"an aggregate .* or the first entry",
        ),
        ("(SELECT p.jd, p.ra FROM UNNEST(prv_candidates) AS p ORDER BY p.jd LIMIT 1) > 1", "", r"a subquery gives one value"),
        ("(SELECT p.jd FROM UNNEST(prv_candidates) AS p ORDER BY p.jd LIMIT 2) > 1", "", r"ORDER BY \.\.\. LIMIT 1"),
        ("(SELECT MAX(p.jd) FROM UNNEST(prv_candidates) AS p GROUP BY p.fid) > 1", "", r"group is not allowed here"),
        ("EXISTS(SELECT 1 FROM UNNEST(matches) AS m WHERE m.sources.separation_arcsec < 3)", "", r"sources is an array: ask"),
        (
            "EXISTS(SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE s.columns = '1')",
            "s.columns",
            r"JSON is asked by",
        ),
        (
            "EXISTS(SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE JSON_VALUE(s.columns, '$.\"a`b\"') = '1')",
            "s.columns",
            r"a name of JSON_VALUE has no quotes, backslashes",
        ),
        ("observed_at < TIMESTAMP '9999-12-31 23:59:59-01:00'", "", r"after the year 9999 in UTC"),
        ("object_id = '\\x41'", "", r"a text has no backslash"),
        ("object_id IN ('a', '\\\\\\\\')", "", r"a text has no backslash"),
        ("run_id = 'x'", "run_id", r"there is no run_id"),
        ("ingested_at > observed_at", "ingested_at", r"there is no ingested_at"),
        ("cutoutScience.stampData IS NULL", "stampData", r"there is no cutoutScience\.stampData"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(condition: str, meant: str, said: str) -> None:
    text = f"-- surveys: ztf\nSELECT alert_id\nFROM alerts\nWHERE {condition}"
    error = refused(text)
    assert re.search(said, error.message), error.message
    if meant:
        assert error.at is not None
        assert meant in text[error.at.start : error.at.end]
        assert error.told("mine", text).startswith("mine:4:")


def test_the_caret_stands_under_what_is_meant() -> None:
    text = "SELECT alert_id FROM alerts\nWHERE\tcandidate.drbb > 0.9"
    head = "fast:2:17: there is no candidate.drbb; did you mean candidate.drb?"
    assert refused(text).told("fast", text) == f"{head}\n  WHERE\tcandidate.drbb > 0.9\n       \t          ^^^^"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT alert_id FROM alerts", "a filter has a WHERE"),
        ("SELECT * FROM alerts WHERE TRUE", "is not allowed in a filter"),
        ("SELECT candidate FROM alerts WHERE TRUE", "a column is a number, a text, a time or a truth value"),
        ("SELECT candidate.ra + 1 FROM alerts WHERE TRUE", "this column has no name; write AS and one"),
        ("SELECT candidate.ra, candidate.dec AS RA FROM alerts WHERE TRUE", "two columns are named RA"),
        ("SELECT candidate.ra AS `a b` FROM alerts WHERE TRUE", "'a b' is no name of a column"),
        ("SELECT candidate.ra AS `x;` FROM alerts WHERE TRUE", "'x;' is no name of a column"),
        ("SELECT alert_id FROM ztf_alerts WHERE TRUE", "a filter reads FROM alerts, and from nothing else"),
        ("SELECT alert_id FROM d.alerts WHERE TRUE", "a filter reads FROM alerts, and from nothing else"),
        ("SELECT alert_id FROM alerts, alerts AS b WHERE TRUE", "joins is not allowed here"),
        ("SELECT alert_id FROM alerts WHERE TRUE LIMIT 1000", "limit is not allowed here"),
        ("SELECT alert_id FROM alerts WHERE TRUE ORDER BY alert_id", "order is not allowed here"),
        ("SELECT DISTINCT alert_id FROM alerts WHERE TRUE", "distinct is not allowed here"),
        ("WITH x AS (SELECT 1) SELECT alert_id FROM alerts WHERE TRUE", "a filter is one SELECT"),
        ("SELECT alert_id FROM alerts WHERE TRUE; SELECT 1", "a filter is one SELECT"),
        ("DROP TABLE alerts", "a filter is one SELECT"),
        ("", "a filter is one SELECT"),
        ("SELECT alert_id FROM alerts WHERE (TRUE", "it is not SQL: "),
        ("SELECT alert_id FROM alerts WHERE object_id = 'open", "it is not SQL: "),
    ],
)
def test_a_filter_is_one_select_over_alerts(text: str, said: str) -> None:
    assert said in refused(text).message


def test_in_the_row_traps_are_gone() -> None:
    row = row_of(ZTF)
    candidate, history = row.by_name["candidate"], row.by_name["prv_candidates"]
    assert candidate.by_name["isdiffpos"].type == history.by_name["isdiffpos"].type == "BOOL"
    assert candidate.by_name["ssdistnr"].missing == {-999.0}
    assert candidate.by_name["distnr_arcsec"].scale == ("distnr", 1.012)
    forced = row.by_name["fp_hists"]
    assert forced.by_name["distnr"].missing == {-99999.0}
    assert "distnr_arcsec" not in forced.by_name


def test_lists_of_ones_own_are_fields() -> None:
    lists = Lists(watchlists=("mine",), regions=("s1", "field"), maps=("s1",), timed=("s1",))
    row = row_of(ZTF, lists)
    text = (
        "SELECT alert_id FROM alerts WHERE (watchlists.mine OR regions.field) AND regions.s1_level < 0.9 "
        "AND regions.s1_days_since < 3 AND regions.s1_days_to_first_detection > 0"
    )
    assert parse(text, row).where.type == "BOOL"
    assert "there is no watchlists.mine; name it where the filter is asked: --watchlist mine=FILE" in refused(text).message


@pytest.mark.parametrize("name", SURVEYS)
def test_facts_of_rows_are_of_fields_that_there_are(name: str) -> None:
    survey = SURVEYS[name]
    facts = survey.row_facts
    for path in [*facts.missing, *facts.truths, *facts.arcsec]:
        columns: tuple[Column, ...] = survey.alerts_table.columns
        for part in path.split("."):
            found = {column.name: column for column in columns}
            assert part in found, f"{name} has no {path}"
            columns = found[part].fields


def test_what_is_the_same_is_equal_wherever_it_stands() -> None:
    query = parse(
        "SELECT alert_id FROM alerts WHERE candidate.ra + 1 > 3 AND (candidate.fid = 1 OR candidate.ra + 1 > 3)", row_of(ZTF)
    )
    sums = [node for node in walk(query.where) if isinstance(node, Operation) and node.name == "add"]
    assert len(sums) == 2
    assert len(set(sums)) == 1
    assert sums[0].at != sums[1].at


def test_lsst_is_told_in_its_own_words() -> None:
    found = parse(
        "SELECT diaSource.psfFlux FROM alerts WHERE EXISTS(SELECT 1 FROM UNNEST(prvDiaSources) AS p WHERE p.psfFlux > 0)",
        row_of(LSST),
    )
    assert isinstance(found.where, Subquery)
