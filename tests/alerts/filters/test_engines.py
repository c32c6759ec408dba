"""One filter, one verdict: in the pipeline, row by row, in DuckDB, and in Google's reference engine."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import duckdb
import pyarrow as pa
import pytest

from alerts.filters.engines.bigquery_sql import bigquery_sql
from alerts.filters.engines.duckdb_sql import duckdb_sql
from alerts.filters.engines.writer import Relation
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.filters.tree import Query
from alerts.surveys import SURVEYS
from tests.alerts.filters.engines import (
    MISSING,
    ZETASQL,
    Said,
    by_duckdb,
    by_google,
    by_python,
    by_rows,
    differences,
    numbered,
)
from tests.alerts.filters.random_filters import WORDS, whole_filter
from tests.alerts.filters.rows import odd_batch, real
from tests.alerts.filters.written import GOOD, ODD, OF_LSST
from tests.conftest import OURS, RealData

WRITTEN = {"ztf": [*GOOD, *ODD], "lsst": OF_LSST}
COLUMNS = "alert_id, object_id AS o, observed_at AS t, night AS n, features.g.n_detections AS d"
RANDOM = 60
"""As many here, others each time in ``benchmarks.filter_engines``."""


def written(survey: str) -> list[Query]:
    return [parse(f"SELECT {COLUMNS} FROM alerts WHERE {each}", row_of(SURVEYS[survey])) for each in WRITTEN[survey]]


def at_random(survey: str, count: int, seed: int) -> list[Query]:
    rng = random.Random(seed)
    return [parse(whole_filter(rng, WORDS[survey]), row_of(SURVEYS[survey])) for _ in range(count)]


@pytest.fixture(scope="module")
def ours(real_data: RealData) -> dict[str, pa.RecordBatch]:
    """Real packets of ours, and rows of what values can be."""
    return {"odd": odd_batch(), **{survey: numbered(real(real_data, survey, (OURS,))) for survey in SURVEYS if survey in WRITTEN}}


def held_to(expected: Sequence[Said], said: Sequence[Said]) -> None:
    wrong = {number: found[:3] for number, pair in enumerate(zip(expected, said, strict=True)) if (found := differences(*pair))}
    assert wrong == {}


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_written_filters_on_every_real_packet(survey: str, all_real_data: RealData) -> None:
    rows, queries = numbered(real(all_real_data, survey)), written(survey)
    expected = by_python(queries, rows)
    held_to(expected, by_duckdb(queries, rows))
    dicts = rows.to_pylist()
    held_to([by_rows(query, dicts) for query in queries], expected)
    assert min(Counter(verdict for said in expected for verdict, _ in said).values()) > 100


@pytest.mark.parametrize("which", ["odd", "ztf", "lsst"])
def test_random_and_written_filters(which: str, ours: dict[str, pa.RecordBatch]) -> None:
    survey, rows = "ztf" if which == "odd" else which, ours[which]
    queries = [*written(survey), *at_random(survey, RANDOM, 7)]
    dicts = rows.to_pylist()
    oracle = [by_rows(query, dicts) for query in queries]
    held_to(oracle, by_python(queries, rows))
    held_to(oracle, by_duckdb(queries, rows))
    assert min(Counter(verdict for said in oracle for verdict, _ in said).values()) > 50


@pytest.mark.skipif(not (ZETASQL / "installed").exists(), reason=MISSING)
@pytest.mark.parametrize("which", ["odd", "ztf", "lsst"])
def test_googles_reference_engine(which: str, ours: dict[str, pa.RecordBatch]) -> None:
    survey = "ztf" if which == "odd" else which
    rows = ours[which].slice(0, 12)
    queries = [*written(survey)[::4], *at_random(survey, 10, 8)]
    held_to(by_python(queries, rows), by_google(queries, rows))


def test_what_is_not_there_is_null() -> None:
    """Of a table that has nothing of all that, each engine says what the pipeline does."""
    rows, row = pa.RecordBatch.from_pydict({"alert_id": [1, 2]}), row_of(SURVEYS["ztf"])
    columns = "candidate.magpsf AS x, candidate.distnr_arcsec AS d, object_id AS s, observed_at AS t"
    queries = [parse(f"SELECT {columns} FROM alerts WHERE {each}", row) for each in WRITTEN["ztf"]]
    expected = by_python(queries, rows)
    held_to(expected, by_duckdb(queries, rows))
    if (ZETASQL / "installed").exists():
        held_to(expected[::8], by_google(queries[::8], rows))


def test_more_rows_than_duckdb_takes_at_once() -> None:
    """Lists of several of its vectors of 2,048 rows, and values that some rows of a vector have alone."""
    rows = numbered([odd_batch()] * 30)
    assert rows.num_rows == 2400
    queries = [*written("ztf")[::3], *at_random("ztf", 30, 9)]
    held_to(by_python(queries, rows), by_duckdb(queries, rows))


def test_a_table_whose_rows_are_none_gives_none() -> None:
    rows = odd_batch().slice(0, 0)
    assert by_duckdb(written("ztf"), rows) == [[]] * len(WRITTEN["ztf"])


HOSTILE = [
    "'; DROP TABLE rows; --",
    "a' OR TRUE OR 'a' = 'a",
    '"',
    "\n\t\r",
    "`",
    "$$",
    "ü",
    "?",
    "@x",
    "{0}",
]


def asked_about(text: str) -> Query:
    quoted = text.replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return parse(f"SELECT '{quoted}' AS s FROM alerts WHERE object_id IN ('{quoted}', 'y')", row_of(SURVEYS["ztf"]))


def test_a_text_says_nothing_to_an_engine() -> None:
    """Whatever stands in a constant is the same text in each engine, and in the one row that has it."""
    rows = pa.RecordBatch.from_pylist([{"alert_id": number, "object_id": text} for number, text in enumerate([*HOSTILE, "x"])])
    queries = [asked_about(text) for text in HOSTILE]
    said = by_duckdb(queries, rows)
    for number, text in enumerate(HOSTILE):
        assert said[number] == [(row == number, (text,)) for row in range(rows.num_rows)]
    if (ZETASQL / "installed").exists():
        assert by_google(queries, rows) == said


def test_no_name_is_the_filters_own() -> None:
    """Aliases of the filter's author stand nowhere in what is written; a name of a column does, in quotes."""
    query = parse(
        "SELECT candidate.ra AS `select` FROM alerts AS mine WHERE "
        "EXISTS(SELECT 1 FROM UNNEST(mine.prv_candidates) AS theirs WHERE theirs.magpsf > 1)",
        row_of(SURVEYS["ztf"]),
    )
    relation = Relation("t", SURVEYS["ztf"].alerts_table.arrow_schema)
    for text in (duckdb_sql(query, relation), bigquery_sql(query, relation)):
        assert "mine" not in text
        assert "theirs" not in text
    with duckdb.connect() as connection:
        connection.register("t", pa.Table.from_batches([odd_batch()]))
        told = connection.execute(duckdb_sql(query, Relation("t", odd_batch().schema))).to_arrow_table()
    assert told.column_names == ["alert_id", "verdict", "outputs"]
    assert [field.name for field in told.schema.field("outputs").type] == ["select"]


def test_a_deep_filter_is_written_in_a_length_that_goes_with_it() -> None:
    """Each part is written once: a text that said its parts twice would be as long as two to the depth."""
    relation = Relation("t", SURVEYS["ztf"].alerts_table.arrow_schema)
    lengths = {}
    for depth in (10, 20, 30):
        number = "candidate.ra"
        for _ in range(depth // 5):
            number = f"NULLIF(LEAST(ATAN2(SQRT({number}), 2), 3), MOD(candidate.fid, 2) + 1)"
        query = parse(f"SELECT alert_id FROM alerts WHERE {number} > 1", row_of(SURVEYS["ztf"]))
        lengths[depth] = [len(write(query, relation)) for write in (duckdb_sql, bigquery_sql)]
    for shortest, middle, longest in zip(*lengths.values(), strict=True):
        assert longest - middle < 1.5 * (middle - shortest)


def test_duckdb_needs_no_extension_and_no_time_zone() -> None:
    """A time is the same instant whatever zone the connection shows times in."""
    json = "(SELECT JSON_VALUE(s.columns, '$.plx') FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s ORDER BY m.asked_at LIMIT 1)"
    query = parse(f"SELECT {json} AS j FROM alerts WHERE observed_at = TIMESTAMP '2026-01-01'", row_of(SURVEYS["ztf"]))
    rows = odd_batch()
    with duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}) as connection:
        connection.register("t", pa.Table.from_batches([rows]))
        told = connection.execute(duckdb_sql(query, Relation("t", rows.schema))).to_arrow_table().to_pylist()
    times = rows.column("observed_at").to_pylist()
    assert [row["verdict"] for row in told] == [
        None if time is None else str(time) == "2026-01-01 00:00:00+00:00" for time in times
    ]
