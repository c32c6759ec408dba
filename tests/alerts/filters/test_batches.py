"""Filters over whole batches say what they say row by row: on real packets, and on rows of what numbers can be."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.features.compute import features_of
from alerts.filters.batches import Batch
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.filters.steps import steps_of
from alerts.filters.tree import Node
from alerts.surveys import SURVEYS
from tests.alerts.filters import by_row
from tests.alerts.filters.random_filters import condition
from tests.alerts.filters.test_parse import CONDITIONS
from tests.conftest import RealData

ZTF, LSST = SURVEYS["ztf"], SURVEYS["lsst"]
NIGHTS = {"ztf": ("ztf/nightly/ztf_public_20240715.tar.gz", "ztf/nightly/ztf_public_20231012.tar.gz"), "lsst": ()}


def of(condition_: str, survey: str = "ztf") -> Node:
    return parse(f"SELECT alert_id FROM alerts WHERE {condition_}", row_of(SURVEYS[survey])).where


def whole(rows: pa.RecordBatch, survey: str) -> pa.RecordBatch:
    """Rows with their features and made-up matches, as filters get them."""
    features = features_of(rows, SURVEYS[survey]).to_struct_array()
    names = [name for name in rows.schema.names if name not in ("science", "template", "difference")]
    matches = pa.array([made_matches(number) for number in range(rows.num_rows)], MATCHES)
    return pa.RecordBatch.from_arrays(
        [*(rows.column(name) for name in names), features, matches], [*names, "features", "matches"]
    )


_SOURCE = pa.struct([("source_id", pa.string()), ("separation_arcsec", pa.float64()), ("columns", pa.string())])
MATCHES = pa.list_(
    pa.struct(
        [("catalog", pa.string()), ("status", pa.string()), ("radius_arcsec", pa.float64()), ("sources", pa.list_(_SOURCE))]
    )
)


def made_matches(number: int) -> list[dict[str, Any]] | None:
    rng = random.Random(number)
    if rng.random() < 0.1:
        return None
    columns = ['{"otype":"Star","plx":5.5}', '{"otype":"QSO","plx":null}', '{"otype":null,"plx":"x"}', '{"plx":7}']
    return [
        {
            "catalog": catalog,
            "status": "matched",
            "radius_arcsec": 5.0,
            "sources": [
                {"source_id": str(n), "separation_arcsec": rng.random() * 5, "columns": rng.choice(columns)}
                for n in range(rng.randrange(4))
            ],
        }
        for catalog in rng.sample(["simbad", "vizier:I/355/gaiadr3"], rng.randrange(3))
    ]


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


@pytest.fixture(scope="module")
def real(real_data: RealData) -> dict[str, list[tuple[pa.RecordBatch, list[dict[str, Any]]]]]:
    """Batches of real packets, and each as a list of dictionaries."""
    found: dict[str, list[tuple[pa.RecordBatch, list[dict[str, Any]]]]] = {"ztf": [], "lsst": []}
    for survey, names in NIGHTS.items():
        for name in names:
            with (real_data / name).open("rb") as file:
                packets = [item for item in read_input(file, name, WireSchemas()) if isinstance(item, Packet)][:30]
            for rows in decode(packets).rows.values():
                batch = whole(rows, survey)
                found[survey].append((batch, batch.to_pylist()))
    return found


GOOD = [condition_ for condition_ in CONDITIONS if "MAX(p.magpsf) - 1" not in condition_]


@pytest.mark.parametrize("condition_", GOOD)
def test_real_packets(condition_: str, real: dict[str, list[tuple[pa.RecordBatch, list[dict[str, Any]]]]]) -> None:
    for rows, dicts in real["ztf"]:
        same(of(condition_), rows, dicts)


def test_500_random_filters_on_real_packets(real: dict[str, list[tuple[pa.RecordBatch, list[dict[str, Any]]]]]) -> None:
    rng = random.Random(7)
    for _ in range(500):
        text = condition(rng, "candidate", "prv_candidates")
        for rows, dicts in real["ztf"][:1]:
            same(of(text), rows.slice(0, 10), dicts[:10])


NUMBERS = [None, float("nan"), 0.0, -0.0, 1.0, -1.0, 2.5, -999.0, math.inf, -math.inf, 1e308, 1e-308]
WHOLE = [None, 0, 1, -1, 2, -999, 2**63 - 1, -(2**63)]


def odd_rows() -> list[dict[str, Any]]:
    """Rows of what numbers, texts, arrays and times can be."""
    rng = random.Random(3)
    rows = []
    for number in range(60):
        entries = [
            {
                "jd": rng.choice([*NUMBERS, 1.0, 2.0, 2.0]),
                "fid": rng.choice(WHOLE),
                "magpsf": rng.choice(NUMBERS),
                "isdiffpos": rng.choice(["t", "f", "1", "0", None, "x"]),
                "ra": rng.choice(NUMBERS),
            }
            for _ in range(rng.choice([0, 0, 1, 2, 5]))
        ]
        rows.append(
            {
                "alert_id": 2**62 + number,
                "object_id": rng.choice(["ZTF18aaa", "", None, "ztf%_", "ÄB"]),
                "night": rng.choice([date(1, 1, 1), date(2026, 1, 1), date(9999, 12, 31), None]),
                "observed_at": rng.choice([datetime(2026, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), None]),
                "candid": rng.choice(WHOLE),
                "candidate": rng.choice(
                    [
                        {
                            **{
                                name: rng.choice(NUMBERS) for name in ("ra", "dec", "magpsf", "drb", "rb", "sgscore1", "sgscore2")
                            },
                            **{name: rng.choice(NUMBERS) for name in ("distnr", "ssdistnr", "distpsnr1", "jd")},
                            **{name: rng.choice(WHOLE) for name in ("fid", "ndethist", "rcid")},
                            "isdiffpos": rng.choice(["t", "f", "1", "0", None, "x"]),
                            "ssnamenr": rng.choice(["null", "7", None]),
                        }
                    ]
                ),
                "prv_candidates": rng.choice([entries, entries, None]),
            }
        )
    return rows


@pytest.fixture(scope="module")
def odd() -> tuple[pa.RecordBatch, list[dict[str, Any]]]:
    table = ZTF.alerts_table.arrow_schema
    entry = pa.struct(
        [table.field("prv_candidates").type.value_type.field(name) for name in ("jd", "fid", "magpsf", "isdiffpos", "ra")]
    )
    rows = odd_rows()
    candidate = pa.struct([table.field("candidate").type.field(name) for name in rows[0]["candidate"]])
    names = ("alert_id", "object_id", "night", "observed_at", "candid")
    fields = [pa.field(name, table.field(name).type) for name in names]
    made = pa.RecordBatch.from_pylist(
        rows, pa.schema([*fields, pa.field("candidate", candidate), pa.field("prv_candidates", pa.list_(entry))])
    )
    return made, made.to_pylist()


ODD = [
    *("candidate.ra + candidate.dec > 1", "candidate.ra / candidate.dec > 1", "SQRT(candidate.ra) > 1", "LN(candidate.ra) < 1"),
    *("candidate.ra * candidate.dec > 0", "EXP(candidate.ra) > 1", "POW(candidate.ra, candidate.dec) > 1", "-candidate.ra < 0"),
    *(
        "candidate.fid + candidate.rcid > 0",
        "candidate.fid * candidate.rcid > 0",
        "ABS(candidate.fid) >= 0",
        "-candidate.fid < 0",
    ),
    *("candidate.fid - candidate.rcid > 0", "MOD(candidate.fid, candidate.rcid) = 0", "candidate.fid > candidate.ra"),
    *("NOT candidate.isdiffpos", "candidate.isdiffpos OR candidate.ra > 1", "candidate.isdiffpos AND candidate.ra > 1"),
    *("candidate.isdiffpos IS NULL", "candidate.isdiffpos IS NOT TRUE", "candidate.ra IS NULL", "candidate.ssnamenr IS NOT NULL"),
    *("COALESCE(candidate.ra > 1, candidate.dec > 1, FALSE)", "NULLIF(candidate.ra, 1) > 0", "candidate.ra IN (0, 1.0, 2.5)"),
    *("LEAST(candidate.ra, candidate.dec) < 1", "GREATEST(candidate.fid, candidate.ra) > 1", "candidate.ssdistnr < 1"),
    *("candidate.distnr_arcsec > 1", "night < DATE '2026-01-02'", "observed_at = TIMESTAMP '2026-01-01'", "candid > 5"),
    *(
        "object_id LIKE 'z%'",
        "LOWER(object_id) = 'Äb'",
        "STARTS_WITH(object_id, 'ZTF')",
        "object_id IN ('', 'x')",
        "object_id < 'a'",
    ),
    "CASE WHEN candidate.ra > 1 THEN candidate.fid WHEN candidate.dec > 1 THEN candidate.dec END > 0",
    "IF(candidate.isdiffpos, candidate.ra, NULL) > 0",
    "candidate.ra BETWEEN candidate.dec AND 2",
    *(
        f"(SELECT {name}(p.magpsf) FROM UNNEST(prv_candidates) AS p) > 0"
        for name in ("MIN", "MAX", "SUM", "AVG", "STDDEV", "COUNT")
    ),
    *(f"(SELECT {name}(p.fid) FROM UNNEST(prv_candidates) AS p) >= 0" for name in ("MIN", "MAX", "AVG", "STDDEV")),
    "(SELECT COUNT(*) FROM UNNEST(prv_candidates) AS p WHERE p.isdiffpos AND p.jd > 0) >= 1",
    "(SELECT COUNTIF(p.isdiffpos) FROM UNNEST(prv_candidates) AS p WHERE p.ra > candidate.ra) >= 1",
    "(SELECT LOGICAL_OR(p.isdiffpos) FROM UNNEST(prv_candidates) AS p)",
    "(SELECT LOGICAL_AND(p.isdiffpos) FROM UNNEST(prv_candidates) AS p)",
    "(SELECT p.magpsf FROM UNNEST(prv_candidates) AS p ORDER BY p.jd LIMIT 1) > 0",
    "(SELECT p.magpsf FROM UNNEST(prv_candidates) AS p WHERE p.fid = 1 ORDER BY p.jd DESC LIMIT 1) > 0",
    "EXISTS(SELECT 1 FROM UNNEST(prv_candidates) AS p WHERE p.magpsf > candidate.magpsf)",
    "ARRAY_LENGTH(prv_candidates) = 0",
    "features.g.n_detections > 1 OR TRUE",
]


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
