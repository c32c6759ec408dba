"""Rows that filters are asked about in tests: real packets with their features and made-up matches, and what values can be."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.features.compute import features_of
from alerts.surveys import SURVEYS
from tests.conftest import RealData

_SOURCE = pa.struct([("source_id", pa.string()), ("separation_arcsec", pa.float64()), ("columns", pa.string())])
_TOLD = [("catalog", pa.string()), ("status", pa.string()), ("radius_arcsec", pa.float64())]
MATCHES = pa.list_(pa.struct([*_TOLD, ("asked_at", pa.timestamp("us", "UTC")), ("sources", pa.list_(_SOURCE))]))
PLACES = {
    "ztf": ("ztf/nightly/*.tar.gz", "ztf/by_version/*.avro", "ztf/multi_record/*.avro"),
    "lsst": ("lsst/nightly/*.tar.gz", "lsst/*/*.avro", "lsst/wire_confluent/*.bin"),
}
"""Where real packets are."""
_COLUMNS = (
    *('{"otype":"Star","plx":5.5}', '{"otype":"QSO","plx":null}', '{"otype":null,"plx":"x"}', '{"plx":7}', '{"plx":"7"}'),
    *('{"plx":1e16}', '{"plx":-1e-7}', '{"plx":0.0}', '{"plx":7.0}', '{"plx":123456789.125}', '{"plx":0.0001}', '{"plx":1e300}'),
    *('{"otype":{"a":1},"plx":[1]}', '{"otype":true,"plx":false}', "{}", '{"plx":18446744073709551615}', '{"plx":" 7"}'),
    *('{"plx":"1e400"}', '{"plx":"inf"}', '{"plx":"\\u0661"}', '{"otype":"it\'s \\"ä\\"\\n","plx":"-.5e1"}', '{"plx":"0x10"}'),
)


def whole(rows: pa.RecordBatch, survey: str) -> pa.RecordBatch:
    """Rows with their features and made-up matches, as filters get them."""
    features = features_of(rows, SURVEYS[survey]).to_struct_array()
    names = [name for name in rows.schema.names if name not in ("science", "template", "difference")]
    matches = pa.array([made_matches(number) for number in range(rows.num_rows)], MATCHES)
    return pa.RecordBatch.from_arrays(
        [*(rows.column(name) for name in names), features, matches], [*names, "features", "matches"]
    )


def made_matches(number: int) -> list[dict[str, Any]] | None:
    rng = random.Random(number)
    if rng.random() < 0.1:
        return None
    return [
        {
            "catalog": catalog,
            "status": "matched",
            "radius_arcsec": rng.choice([5.0, 5.0, 2.0, None]),
            "asked_at": rng.choice([None, datetime(2026, 11, 29, 1, 2, 3, 456789, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)]),
            "sources": rng.choice(
                [
                    None,
                    *[
                        [
                            {
                                "source_id": str(n),
                                "separation_arcsec": rng.choice([None, 1.0, rng.random() * 5]),
                                "columns": rng.choice([*_COLUMNS, None]),
                            }
                            for n in range(rng.randrange(5))
                        ]
                    ]
                    * 5,
                ]
            ),
        }
        for catalog in rng.sample(["simbad", "vizier:I/355/gaiadr3"], rng.randrange(3))
    ]


def real(data: RealData, survey: str, roots: tuple[Path, ...] = ()) -> Iterator[pa.RecordBatch]:
    """Rows of all real packets of a survey that are at hand, a batch for each file and schema; of some folders alone, if told."""
    for pattern in PLACES[survey]:
        for path in data.glob(pattern):
            if not roots or any(path.is_relative_to(root) for root in roots):
                yield from _of_file(path, survey)


@functools.cache
def _of_file(path: Path, survey: str) -> tuple[pa.RecordBatch, ...]:
    with path.open("rb") as file:
        packets = [item for item in read_input(file, path.name, WireSchemas()) if isinstance(item, Packet)]
    found = decode(packets).rows if packets else {}
    return tuple(whole(rows, survey) for name, rows in found.items() if name == survey)


NUMBERS = [None, math.nan, 0.0, -0.0, 1.0, -1.0, 2.5, -999.0, math.inf, -math.inf, 1e308, 1e-308, 0.1, 2.0**53, 1.5e150, -1e200]
WHOLE = [None, 0, 1, -1, 2, -999, 2**63 - 1, -(2**63)]
TEXTS = ["ZTF18aaa", "", None, "ztf%_", "ÄB", "1e3", "İß", "a\\'\n\"b"]
_EDGES = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
]
_RECORD = ("ra", "dec", "magpsf", "drb", "rb", "sgscore1", "sgscore2", "distnr", "ssdistnr", "distpsnr1", "jd")
_RECORD_WHOLE = ("fid", "ndethist", "rcid")
_ENTRY = ("jd", "fid", "magpsf", "isdiffpos", "ra")


def odd_rows() -> list[dict[str, Any]]:
    """Rows of what numbers, texts, arrays and times can be."""
    rng = random.Random(3)
    return [_odd_row(rng, number) for number in range(80)]


def _odd_row(rng: random.Random, number: int) -> dict[str, Any]:
    positive = ["t", "f", "1", "0", None, "x"]
    entries = [
        {
            "jd": rng.choice([*NUMBERS, 1.0, 2.0, 2.0]),
            "fid": rng.choice(WHOLE),
            "magpsf": rng.choice(NUMBERS),
            "isdiffpos": rng.choice(positive),
            "ra": rng.choice(NUMBERS),
        }
        for _ in range(rng.choice([0, 0, 1, 2, 5]))
    ]
    return {
        "alert_id": 2**62 + number,
        "object_id": rng.choice(TEXTS),
        "night": rng.choice([date(1, 1, 1), date(2026, 1, 1), date(9999, 12, 31), None]),
        "observed_at": rng.choice([datetime(2026, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), None, *_EDGES]),
        "candid": rng.choice(WHOLE),
        "candidate": {
            **{name: rng.choice(NUMBERS) for name in _RECORD},
            **{name: rng.choice(WHOLE) for name in _RECORD_WHOLE},
            "isdiffpos": rng.choice(positive),
            "ssnamenr": rng.choice(["null", "7", None]),
        },
        "prv_candidates": rng.choice([entries, entries, None]),
        "matches": made_matches(number),
    }


def odd_batch() -> pa.RecordBatch:
    """The same as the survey's table has them."""
    table, rows = SURVEYS["ztf"].alerts_table.arrow_schema, odd_rows()
    entry = pa.struct([table.field("prv_candidates").type.value_type.field(name) for name in _ENTRY])
    candidate = pa.struct([table.field("candidate").type.field(name) for name in rows[0]["candidate"]])
    fields = [pa.field(name, table.field(name).type) for name in ("alert_id", "object_id", "night", "observed_at", "candid")]
    made = [pa.field("candidate", candidate), pa.field("prv_candidates", pa.list_(entry)), pa.field("matches", MATCHES)]
    return pa.RecordBatch.from_pylist(rows, pa.schema([*fields, *made]))
