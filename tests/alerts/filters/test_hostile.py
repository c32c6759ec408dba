"""Texts that are meant to do harm, or are no texts at all: each is refused with a sentence, at once."""

from __future__ import annotations

import os
import random
import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.filters.engines.bigquery_sql import bigquery_sql
from alerts.filters.engines.writer import Relation
from alerts.filters.errors import FilterError
from alerts.filters.limits import MOST_CHARACTERS, MOST_LEVELS, MOST_NESTING
from alerts.filters.parse import UNREADABLE, parse
from alerts.filters.row import row_of
from alerts.filters.write import canonical
from alerts.surveys import SURVEYS
from tests.alerts.filters.engines import by_duckdb, by_python
from tests.alerts.making import examples

ROW = row_of(SURVEYS["ztf"])
MANY = MOST_CHARACTERS // 4


def asked(condition: str) -> str:
    return f"SELECT alert_id FROM alerts WHERE {condition}"


ATTACKS = {
    # What another engine would take much time or memory for.
    "a table function": "SELECT x FROM range(1000000000000) AS alerts WHERE TRUE",
    "a table function as a subquery": asked("(SELECT SUM(r) FROM range(1000000000) AS t(r)) > 1"),
    "a function of long texts": asked("LENGTH(REPEAT('x', 1000000000)) > 1"),
    "padding": asked("LPAD(object_id, 2000000000, 'y') = 'a'"),
    "distances of texts": asked("LEVENSHTEIN(object_id, object_id) > 1"),
    "a regular expression": asked("REGEXP_CONTAINS(object_id, r'(a+)+$')"),
    "an operator of regular expressions": asked("object_id ~ '(a+)+$'"),
    "similar to": asked("object_id SIMILAR TO '(a+)+'"),
    # What the parser stumbles over.
    "an aggregate of nothing": asked("(SELECT MAX() FROM UNNEST(prv_candidates) AS p) > 1"),
    "a number that is none": asked("COALESCE(candidate.sgscore1 -> 0END, FALSE)"),
    "joined texts": asked("object_id || object_id = 'a'"),
    "generated arrays": asked("ARRAY_LENGTH(GENERATE_ARRAY(1, 1000000000)) > 1"),
    "a lambda": asked("EXISTS(SELECT 1 FROM UNNEST(LIST_TRANSFORM([1], x -> x)) AS e)"),
    "an array of texts": asked("EXISTS(SELECT 1 FROM UNNEST([1, 2, 3]) AS e)"),
    "a recursive query": "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT n FROM t WHERE TRUE",
    "a union": "SELECT alert_id FROM alerts WHERE TRUE UNION ALL SELECT alert_id FROM alerts WHERE TRUE",
    "a window": "SELECT ROW_NUMBER() OVER (ORDER BY alert_id) AS n FROM alerts WHERE TRUE",
    "a window as a condition": "SELECT alert_id FROM alerts WHERE TRUE QUALIFY ROW_NUMBER() OVER (ORDER BY alert_id) = 1",
    "joins": "SELECT alert_id FROM alerts JOIN alerts AS b ON TRUE WHERE TRUE",
    "joins by commas": "SELECT alert_id FROM " + ", ".join(["alerts"] * 50) + " WHERE TRUE",
    "three arrays": asked("EXISTS(SELECT 1 FROM UNNEST(matches) AS a, UNNEST(matches) AS b, UNNEST(matches) AS c)"),
    "an array by itself": asked("EXISTS(SELECT 1 FROM UNNEST(matches) AS a, UNNEST(matches) AS b)"),
    # What is not theirs.
    "a file as a table": "SELECT x FROM '/etc/passwd' AS alerts WHERE TRUE",
    "a function of files": "SELECT x FROM read_text('/etc/passwd') AS alerts WHERE TRUE",
    "a file on the net": "SELECT x FROM read_parquet('http://127.0.0.1:1/x') AS alerts WHERE TRUE",
    "the schema": "SELECT table_name FROM information_schema.tables WHERE TRUE",
    "a table of somebody's": "SELECT alert_id FROM other.alerts WHERE TRUE",
    "a wildcard": "SELECT alert_id FROM `alerts*` WHERE TRUE",
    "a table of another time": "SELECT alert_id FROM alerts FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP() WHERE TRUE",
    "a sample of a table": "SELECT alert_id FROM alerts TABLESAMPLE SYSTEM (10 PERCENT) WHERE TRUE",
    "the environment": asked("GETENV('HOME') = 'x'"),
    "a setting": asked("CURRENT_SETTING('threads') = '1'"),
    "who asks": asked("SESSION_USER() = 'x'"),
    "the moment": asked("CURRENT_TIMESTAMP() > observed_at"),
    "chance": asked("RAND() < 0.5"),
    "an error on purpose": asked("ERROR('boom') = 1"),
    "a variable": asked("@@project_id = 'x'"),
    "a parameter": asked("candidate.fid = @x"),
    "a question mark": asked("candidate.fid = ?"),
    "a model": "SELECT x FROM ML.PREDICT(MODEL m, TABLE alerts) AS alerts WHERE TRUE",
    "a query of another engine": "SELECT x FROM EXTERNAL_QUERY('c', 'SELECT 1') AS alerts WHERE TRUE",
    "a query as a text": "SELECT x FROM query('SELECT 1') AS alerts WHERE TRUE",
    # What is no question.
    **{
        f"{words.split()[0]} {number}": words
        for number, words in enumerate(
            (
                "DROP VIEW alerts",
                "CREATE TABLE x AS SELECT 1",
                "CREATE OR REPLACE MACRO abs(x) AS 0",
                "INSERT INTO alerts VALUES (1)",
                "DELETE FROM alerts WHERE TRUE",
                "COPY alerts TO '/tmp/x'",
                "ATTACH '/tmp/x' AS x",
                "INSTALL httpfs",
                "LOAD 'x'",
                "SET memory_limit = '1TB'",
                "PRAGMA version",
                "CALL f()",
                "EXECUTE IMMEDIATE 'DROP TABLE x'",
                "BEGIN SELECT 1; END",
                "DECLARE x INT64 DEFAULT 1",
                "EXPORT DATA OPTIONS(uri='gs://x/*') AS SELECT 1",
            )
        )
    },
    "two statements": asked("TRUE; DROP TABLE alerts"),
    # What is large or deep.
    "long": asked(" AND ".join(["TRUE"] * MOST_CHARACTERS)),
    "many words": asked(" AND ".join(["TRUE"] * MANY)),
    "many constants": asked(f"candidate.fid IN ({','.join(['1'] * MANY)})"),
    "parentheses": asked("(" * (MOST_NESTING + 1) + "TRUE" + ")" * (MOST_NESTING + 1)),
    "open parentheses": asked("(" * 9000),
    "brackets": asked("[" * 4000 + "]" * 4000),
    "braces": asked("{" * 4000),
    "angles": asked("CAST(1 AS " + "ARRAY<" * 900 + "INT64" + ">" * 900 + ") IS NULL"),
    "NOT": asked("NOT " * 2000 + "TRUE"),
    "signs": asked("- " * 4000 + "1 > 0"),
    "tildes": asked("~" * 4000 + "1 > 0"),
    "sums": asked("1" + "+1" * 4000 + " > 0"),
    "CASE": asked("CASE WHEN TRUE THEN " * 300 + "TRUE" + " END" * 300),
    "nested functions": asked("ABS(" * 900 + "1" + ")" * 900 + " > 0"),
    "nested subqueries": asked("EXISTS(SELECT 1 FROM UNNEST(matches) AS m WHERE " * 30 + "TRUE" + ")" * 30),
    "comparisons": asked("1" + " = 1" * 2000),
    "IS": asked("TRUE" + " IS TRUE" * 900),
    "dots": asked("candidate" + ".x" * 4000 + " > 0"),
    # What is no text.
    "a null byte": asked("object_id = 'a\x00b'"),
    "half of a character": asked("object_id = '\ud800'"),
    "a control character": asked("object_id = '\x1b[2J'"),
    "an open text": asked("object_id = 'x"),
    "an open comment": asked("TRUE /* "),
    "an open name": asked("`x = 1"),
    "a long text": asked(f"object_id = '{'x' * 5000}'"),
    "a long number": asked("candidate.fid = " + "9" * 5000),
    "a number of many digits": asked("candidate.ra > 0." + "1" * 5000 + "e999"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused_with_a_sentence(name: str) -> None:
    begin = time.process_time()
    message = refusal(ATTACKS[name])
    # A thousand times what a filter of this size takes.
    assert time.process_time() - begin < 10
    assert 0 < len(message) < 300


def refusal(text: str) -> str:
    """Why it is no filter; nothing where it is one, which its canonical text is then, too."""
    try:
        query = parse(text, ROW)
    except FilterError as error:
        error.told("x", text).encode()
        if UNREADABLE in error.message:
            raise AssertionError(text) from error.__cause__
        return error.message
    assert parse(canonical(query), ROW) == query
    return ""


_SQL = """
SELECT FROM WHERE AND OR NOT CASE WHEN THEN ELSE END IN IS NULL TRUE FALSE BETWEEN EXISTS UNNEST AS LIMIT ORDER BY
COUNT MAX ABS COALESCE CAST SAFE_CAST JSON_VALUE DATE TIMESTAMP '2026-01-01' IF INTERVAL STRUCT ARRAY GROUP OVER WITH
( ) ( ) ( ) , , . = < > <= != + - * / ; [ ] { } -> :: ? @ ` ' " -- /* */ | & ~ ^ % # 1 1.5 'a'
alerts candidate magpsf prv_candidates p p.magpsf candidate.fid candidate.isdiffpos matches features.g object_id
"""
WORDS = _SQL.split()


@examples(300)
@given(st.lists(st.sampled_from(WORDS), max_size=40), st.booleans())
def test_whatever_is_written_is_a_filter_or_refused(words: list[str], begun: bool) -> None:
    text = " ".join(words)
    refusal(asked(text) if begun else text)


@examples(200)
@given(st.text(max_size=200))
def test_whatever_characters_there_are(text: str) -> None:
    refusal(text)
    refusal(asked(text))


def test_a_good_filter_that_was_hit_is_a_filter_or_refused() -> None:
    hunt = int(os.environ.get("PITT_BROKER_HUNT", "0"))
    rng = random.Random(None if hunt else 5)
    good = asked(
        "candidate.isdiffpos AND NOT COALESCE(candidate.sgscore1 > 0.76, FALSE) AND (SELECT COUNT(*) FROM UNNEST(prv_candidates) "
        "AS p WHERE p.magpsf < 19 AND p.fid = candidate.fid) >= 2 "
        "AND CASE WHEN candidate.fid = 1 THEN TRUE ELSE object_id LIKE 'Z%' END"
    )
    for _ in range(300 * max(1, hunt)):
        text = list(good)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(text))
            text[place : place + rng.randint(0, 3)] = rng.choice(
                ["", "(", ")", "'", " ", rng.choice(WORDS), chr(rng.randrange(1, 300))]
            )
        refusal("".join(text))


@pytest.mark.parametrize("form", ["IF({} BETWEEN 0 AND 1, 1, 2)", "CASE {} WHEN 1 THEN 2 WHEN 2 THEN 3 WHEN 3 THEN 4 END"])
def test_what_repeats_itself_within_itself_is_refused_at_once(form: str) -> None:
    """A part that stands twice at each level stands 2^levels times: whoever goes over the tree would never come to its end."""
    number = "candidate.ra"
    for _ in range(30):
        number = form.format(number)
    with pytest.raises(FilterError, match=r"parts; 5,000 are the most"):
        parse(asked(f"{number} > 1"), ROW)


@pytest.mark.parametrize("terms", [65, 200, 390])
def test_a_long_sum_is_refused_and_does_not_fail_later(terms: int) -> None:
    """What goes over a tree calls itself: a filter that check lets through must not fail on every alert."""
    with pytest.raises(FilterError, match="nested too deeply"):
        parse(asked(f"{' + '.join(['candidate.ra'] * terms)} > 1"), ROW)


def test_the_deepest_filter_that_there_is_can_be_judged_and_written() -> None:
    query = parse(asked(f"{' + '.join(['candidate.ra'] * (MOST_LEVELS - 1))} > 1"), ROW)
    rows = pa.RecordBatch.from_pylist([{"alert_id": 1, "candidate": {"ra": 1.0}}, {"alert_id": 2, "candidate": None}])
    expected = [(True, (1,)), (None, None)]
    assert by_python([query], rows) == [expected]
    assert [said[0] for said in by_duckdb([query], rows)[0]] == [True, None]
    assert bigquery_sql(query, Relation("t", rows.schema)).count("SAFE_ADD") == MOST_LEVELS - 2
