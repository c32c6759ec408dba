"""Filters that ask about regions: one verdict in the pipeline, in DuckDB, and in Google's reference engine."""

from __future__ import annotations

import pickle
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from alerts.features.compute import features_of
from alerts.filters.engines.bigquery_sql import bigquery_sql
from alerts.filters.engines.duckdb_sql import duckdb_sql
from alerts.filters.engines.regions import MOST_CHARACTERS, SkySteps, steps_of
from alerts.filters.engines.regions_sql import bigquery_with_regions, duckdb_with_regions
from alerts.filters.engines.writer import Relation
from alerts.filters.errors import FilterError
from alerts.filters.inputs import used_fields
from alerts.filters.parse import parse
from alerts.filters.row import Lists, row_of
from alerts.filters.tree import Query
from alerts.lists.regions import Region, RegionSpec, read_region
from alerts.lists.regions.times import days_since, days_to_first_detection
from alerts.positions import healpix29
from alerts.surveys import SURVEYS
from tests.alerts.filters.engines import MISSING, ZETASQL, Said, by_python, differences, kind_of, numbered
from tests.alerts.filters.rows import real
from tests.alerts.lists.regions.making import LOBES, Form, flat_map, multi_order_map, read_map
from tests.alerts.lists.regions.test_polygons import SHAPES, SQUARE, beside_sides, stcs
from tests.conftest import OURS, RealData

ZTF = SURVEYS["ztf"]
COPIES = 20
HELD = ("healpix29", "ra_deg", "dec_deg", "observed_at", "features", "candidate")
"""What engines are given of the rows."""


def polygons(*shapes: Any, **said: Any) -> Region:
    return read_region(RegionSpec("field", "field.txt", **said), stcs(*shapes).encode())


@pytest.fixture(scope="module")
def regions() -> dict[str, Region]:
    event = datetime(2018, 6, 1, 12, 30, 0, 5, tzinfo=UTC)
    return {
        "gw": read_map(multi_order_map(), Form("NUNIQ"), level=0.7, t0=event),
        "flat": read_map(flat_map(4), Form("RING", "PROBDENSITY", "sr-1", header=())),
        "moc": read_region(RegionSpec("moc", "a.moc", t0=event), b"0/3 3/17-20 5/9000 9/2500000"),
        "all_sky": read_region(RegionSpec("all_sky", "a.moc"), b"0/0-11"),
        "field": polygons(SQUARE),
        "two": polygons(SHAPES["concave"], SHAPES["around RA 0"]),
        "pole": polygons(SHAPES["north pole"], t0=event),
        "south": polygons(SHAPES["large of three"]),
    }


LISTS = Lists(
    regions=("gw", "flat", "moc", "all_sky", "field", "two", "pole", "south"),
    maps=("gw", "flat"),
    timed=("gw", "moc", "pole"),
)
WRITTEN = [
    *(f"regions.{name}" for name in LISTS.regions if name != "all_sky"),
    *(f"NOT regions.{name}" for name in ("gw", "moc", "field")),
    "regions.all_sky",
    "regions.gw AND regions.gw_level < 0.3",
    "regions.gw_level < 0.3",
    "regions.flat_level BETWEEN 0.2 AND 0.95 AND NOT regions.flat",
    "regions.gw_level = 1",
    "regions.gw_level IS NULL OR regions.field IS NULL",
    "regions.gw OR regions.field OR regions.moc",
    "regions.gw = regions.flat",
    "regions.gw_days_since > 0 AND regions.moc",
    "regions.gw_days_since BETWEEN -400 AND 400 AND regions.gw_level < 0.99",
    "regions.gw_days_to_first_detection < 0",
    "regions.gw_days_to_first_detection < regions.gw_days_since",
    "regions.pole_days_since = regions.moc_days_since AND regions.pole",
    "COALESCE(regions.two, FALSE) AND candidate.magpsf < 20",
    "IF(regions.south, regions.gw_level, 1 - regions.flat_level) > 0.5",
]
COLUMNS = "regions.gw_level AS l, regions.field AS f, regions.moc_days_since AS d, regions.gw_days_to_first_detection AS t"


def queries() -> list[Query]:
    return [parse(f"SELECT {COLUMNS} FROM alerts WHERE {each}", row_of(ZTF, LISTS)) for each in WRITTEN]


def places(count: int) -> tuple[Any, Any]:
    """Places at the rims of polygons, in and around the lobes, and all over the sky."""
    rng = np.random.default_rng(5)
    parts = [beside_sides(shape, away) for shape in (SQUARE, SHAPES["concave"], SHAPES["large of three"]) for away in (1e-9, 0.3)]
    ra, dec = (np.concatenate(part) for part in zip(*parts, strict=True))
    rest = count - len(ra)
    at = np.array([lobe[:3] for lobe in LOBES])[rng.integers(0, len(LOBES), rest // 2)]
    near_dec = at[:, 1] + rng.normal(0, 1, rest // 2) * at[:, 2]
    near_ra = at[:, 0] + rng.normal(0, 1, rest // 2) * at[:, 2] / np.cos(np.radians(at[:, 1]))
    far = rest - rest // 2
    ra = np.concatenate([ra, near_ra % 360, rng.uniform(0, 360, far)])
    return ra, np.concatenate([dec, near_dec, np.degrees(np.arcsin(rng.uniform(-1, 1, far)))])


@pytest.fixture(scope="module")
def alerts(real_data: RealData) -> pa.RecordBatch:
    """Real packets, each several times and each time elsewhere; the last of them nowhere, and not yet observed."""
    rows = numbered(list(real(real_data, "ztf", (OURS,))) * COPIES)
    ra, dec = places(rows.num_rows)
    nowhere = np.arange(rows.num_rows) >= rows.num_rows - 2
    times = [*rows.column("observed_at").to_pylist()[:-1], None]
    made = {
        "ra_deg": pa.array(ra, mask=nowhere),
        "dec_deg": pa.array(dec, mask=nowhere),
        "healpix29": pa.array(healpix29(ra, dec), mask=nowhere),
        "observed_at": pa.array(times, rows.schema.field("observed_at").type),
    }
    candidates = rows.column("candidate").to_pylist()
    for number in range(0, len(candidates), 5):
        candidates[number]["jdstarthist"] = None
        # A magnitude of none, so that the history alone may have a detection.
        candidates[number]["magpsf"] = None if number % 2 else candidates[number]["magpsf"]
    made["candidate"] = pa.array(candidates, rows.schema.field("candidate").type)
    for name, column in made.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    features = features_of(rows, ZTF).to_struct_array()
    ages = [features.field(name) for name in ("age_history_days", "age_jdstarthist_days")]
    assert all(0 < age.null_count < len(age) for age in ages)
    return rows.set_column(rows.schema.get_field_index("features"), "features", features)


def with_regions(rows: pa.RecordBatch, regions: Mapping[str, Region]) -> pa.RecordBatch:
    """The rows as the pipeline has them."""
    nowhere = rows.column("healpix29").is_null().to_numpy(zero_copy_only=False)
    place = [rows.column(name).fill_null(0).to_numpy() for name in ("healpix29", "ra_deg", "dec_deg")]
    fields = {}
    for name, region in regions.items():
        fields[name] = pa.array(region.inside(*place), mask=nowhere)
        if region.is_map:
            fields[f"{name}_level"] = pa.array(region.level(place[0]), mask=nowhere)
        if region.event_time is not None:
            fields[f"{name}_days_since"] = days_since(rows, region.event_time)
            fields[f"{name}_days_to_first_detection"] = days_to_first_detection(rows, ZTF, region.event_time)
    return rows.append_column("regions", pa.StructArray.from_arrays(list(fields.values()), list(fields)))


def held_to(expected: Sequence[Said], said: Sequence[Said]) -> None:
    pairs = zip(WRITTEN, zip(expected, said, strict=True), strict=True)
    assert {text: found[:3] for text, pair in pairs if (found := differences(*pair))} == {}


def test_duckdb_says_what_the_pipeline_does(alerts: pa.RecordBatch, regions: dict[str, Region]) -> None:
    expected = by_python(queries(), with_regions(alerts, regions))
    found, relation = [], Relation("rows", alerts.schema)
    with duckdb.connect() as connection:
        connection.register("arrow_rows", pa.Table.from_batches([alerts]))
        connection.execute("CREATE TABLE rows AS SELECT * FROM arrow_rows")
        for query in queries():
            sql = duckdb_sql(query, duckdb_with_regions(relation, query, regions, ZTF))
            said = {row["alert_id"]: row for row in connection.execute(sql).to_arrow_table().to_pylist()}
            rows = [said[number] for number in alerts.column("alert_id").to_pylist()]
            found.append([(row["verdict"], tuple(row["outputs"].values())) for row in rows])
    held_to(expected, found)
    counts = {text: Counter(verdict for verdict, _ in said) for text, said in zip(WRITTEN, expected, strict=True)}
    # Of each filter some pass, and some do not.
    assert {text: count for text, count in counts.items() if len(count) < 2 or count[True] < 2} == {}


@pytest.mark.skipif(not (ZETASQL / "installed").exists(), reason=MISSING)
def test_google_says_what_the_pipeline_does(alerts: pa.RecordBatch, regions: dict[str, Region]) -> None:
    chosen = pa.array([*range(0, alerts.num_rows - 2, 11), alerts.num_rows - 2, alerts.num_rows - 1])
    rows = alerts.take(chosen)
    names = {"alert_id", *HELD, "age_history_days", "age_jdstarthist_days", "n_bands", "magpsf"}
    kinds = [(item.name, kind_of(item.type, names, item.name)) for item in rows.schema if item.name in names]
    relation = Relation("alerts_table", pa.schema([rows.schema.field(name) for name, _ in kinds]))
    told = [{name: _pruned(row[name], kind) for name, kind in kinds} for row in rows.to_pylist()]
    statements = [
        f"SELECT alert_id, verdict, STRUCT(outputs.l, outputs.f, outputs.d, outputs.t) FROM ({sql})"
        for query in queries()
        for sql in [bigquery_sql(query, bigquery_with_regions(relation, query, regions, ZTF))]
    ]
    program = Path(__file__).with_name("googlesql_program.py")
    command = [str(ZETASQL / "bin" / "python"), str(program), str(ZETASQL)]
    ran = subprocess.run(command, input=pickle.dumps([(kinds, told, statements)]), capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]
    (answers,) = pickle.loads(ran.stdout)
    assert [answer for answer in answers if isinstance(answer, str)] == []
    ids = rows.column("alert_id").to_pylist()
    said = [{row[0]: (row[1], tuple(row[2])) for row in answer} for answer in answers]
    held_to(by_python(queries(), with_regions(rows, regions)), [[each[number] for number in ids] for each in said])


def _pruned(held: Any, kind: Any) -> Any:
    if held is None or isinstance(kind, str):
        return held
    return {name: _pruned(held.get(name), inner) for name, inner in kind[1]}


def asked(text: str) -> Query:
    return parse(f"SELECT alert_id AS a FROM alerts WHERE {text}", row_of(ZTF, LISTS))


def test_no_two_steps_begin_at_one_place(regions: dict[str, Region]) -> None:
    """Of two that did DuckDB could take either."""
    for region in regions.values():
        steps = steps_of(region.ranges, region.edges, lambda characters: None)
        assert (np.diff(np.array(steps.begins)) > 0).all()
        assert steps.begins[0] == 0
        assert len(steps.values) == len(steps.begins)
    assert steps_of(np.array([[4, 8]]), np.array([[0, 4], [8, 9]]), lambda characters: None) == SkySteps(
        [0, 4, 8, 9], [2, 1, 2, 0]
    )


def test_only_what_is_asked_is_written(alerts: pa.RecordBatch, regions: dict[str, Region]) -> None:
    relation = Relation("rows", alerts.schema)
    query = asked("regions.moc")
    assert used_fields([query])["regions"].fields.keys() == {"moc"}
    made = duckdb_with_regions(relation, query, regions, ZTF)
    assert [item.name for item in made.schema.field("regions").type] == ["moc"]
    assert len(made.sql) < 2_000
    assert duckdb_with_regions(relation, asked("candidate.magpsf < 18"), regions, ZTF) == relation


def test_a_column_that_is_there_stays(alerts: pa.RecordBatch, regions: dict[str, Region]) -> None:
    relation = Relation("rows", with_regions(alerts, regions).schema)
    for with_columns in (duckdb_with_regions, bigquery_with_regions):
        assert with_columns(relation, asked("regions.moc"), regions, ZTF) == relation


@pytest.mark.parametrize("with_columns", [duckdb_with_regions, bigquery_with_regions])
def test_what_is_too_long_or_galactic_is_refused(with_columns: Any, alerts: pa.RecordBatch) -> None:
    relation = Relation("rows", alerts.schema)
    large = read_map(flat_map(7), Form("NESTED"))
    with pytest.raises(
        FilterError, match=f"characters of SQL, and {MOST_CHARACTERS:,} are the most: ask for regions.NAME and not"
    ):
        with_columns(relation, asked("regions.gw_level < 0.5"), {"gw": large}, ZTF)
    # Whether it is inside takes far less.
    assert len(with_columns(relation, asked("regions.gw"), {"gw": large}, ZTF).sql) < MOST_CHARACTERS
    galactic = read_map(flat_map(3), Form("NESTED", coordsys="G"))
    with pytest.raises(FilterError, match="is a map in galactic coordinates, whose pixels have no borders in healpix29"):
        with_columns(relation, asked("regions.gw"), {"gw": galactic}, ZTF)


def test_a_statement_is_no_longer_than_it_is_said_to_be(alerts: pa.RecordBatch, regions: dict[str, Region]) -> None:
    relation = Relation("rows", alerts.schema)
    corners = [(float(ra), 10 + 3 * (number % 2)) for number, ra in enumerate(np.linspace(0, 20, 900))] + [
        (20.0, 40.0),
        (0.0, 40.0),
    ]
    many = polygons(corners)
    level = read_map(flat_map(5), Form("NESTED"))
    for name, region in (("field", many), ("gw", level)):
        text = "regions.field" if name == "field" else "regions.gw AND regions.gw_level < 0.5"
        for with_columns in (duckdb_with_regions, bigquery_with_regions):
            try:
                made = with_columns(relation, asked(text), {name: region}, ZTF)
            except FilterError:
                continue
            assert len(made.sql) < MOST_CHARACTERS


def test_what_the_table_does_not_have_is_null(regions: dict[str, Region]) -> None:
    rows = pa.RecordBatch.from_pydict({"alert_id": [1, 2]})
    for query in queries():
        assert duckdb_with_regions(Relation("rows", rows.schema), query, regions, ZTF).schema == rows.schema
