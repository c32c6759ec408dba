"""Cones over warehouses: exactly the rows within the radius, by brute force over all of them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alerts.positions import healpix29, separation_arcsec
from alerts.surveys import SURVEYS
from broker import warehouse
from tests.alerts.test_positions import RIMS, everywhere

COUNT = 1000


def placed_alerts() -> pa.Table:
    """Alerts all over the sky, those of RIMS first, with as little else as a row must have."""
    ra, dec = everywhere(COUNT, seed=29)
    ra[: len(RIMS)], dec[: len(RIMS)] = np.array(RIMS)[:, 3], np.array(RIMS)[:, 4]
    ra[3:6], dec[6:8] = 0.0, [90.0, -90.0]
    times = pa.array([0] * COUNT, pa.timestamp("us", tz="UTC"))
    given = {
        "alert_id": pa.array(range(2**60, 2**60 + COUNT)),
        "object_id": pa.array([f"O{number}" for number in range(COUNT)]),
        "packet_digest": pa.array([number.to_bytes(16, "big") for number in range(COUNT)]),
        "run_id": pa.repeat("r", COUNT),
        "survey": pa.repeat("ztf", COUNT),
        "observed_at": times,
        "night": times.cast(pa.date32()),
        "ra_deg": ra,
        "dec_deg": dec,
        "healpix29": healpix29(ra, dec),
        "source": pa.repeat("s", COUNT),
        "ingested_at": times,
    }
    schema = SURVEYS["ztf"].alerts_table.arrow_schema
    empty = {"null_arrays": pa.array([[]] * COUNT, pa.list_(pa.string()))}
    columns = [given.get(one.name, empty.get(one.name)) for one in schema]
    filled = [_absent(one) if column is None else pa.array(column, one.type) for one, column in zip(schema, columns, strict=True)]
    return pa.table(filled, schema=schema)


def _absent(field: pa.Field) -> pa.Array:
    value = [[]] * COUNT if pa.types.is_list(field.type) else [None] * COUNT
    return pa.array(value, field.type)


def some_cones(count: int) -> np.ndarray:
    """RA, Dec (deg) and radius (arcsec, 36 arcsec to the whole sky) of random cones, and of RIMS."""
    dice = np.random.default_rng(30)
    ra, dec = everywhere(count, seed=31)
    radius_arcsec = 180 * 3600 * 10 ** dice.uniform(-4.3, 0, count)
    return np.concatenate([np.array(RIMS)[:, :3], np.stack([ra, dec, radius_arcsec]).T])


def check_cones(opened: warehouse.Warehouse, alerts: pa.Table, cones: np.ndarray) -> None:
    """Each answer holds the rows that brute force finds, nearest first, and no others."""
    ra, dec, ids = (alerts.column(name).to_numpy() for name in ("ra_deg", "dec_deg", "alert_id"))
    found = 0
    for cone in cones.tolist():
        away_arcsec = separation_arcsec(ra, dec, *cone[:2])
        inside = np.flatnonzero(away_arcsec <= cone[2])
        expected = ids[inside[np.argsort(away_arcsec[inside], kind="stable")]]
        answer = opened.cone(*cone)
        assert answer.column("alert_id").to_pylist() == expected.tolist()
        assert answer.column("separation_arcsec").to_pylist() == np.sort(away_arcsec[inside]).tolist()
        found += len(inside)
    assert found > 10 * len(cones)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("warehouse")
    night = place / "ztf_alerts" / "night=1970-01-01"
    night.mkdir(parents=True)
    pq.write_table(placed_alerts().drop_columns("night"), night / "a.parquet")
    return place


def test_cones_over_a_folder(folder: Path) -> None:
    with contextlib.closing(warehouse.open(str(folder))) as opened:
        check_cones(opened, placed_alerts(), some_cones(60))


def test_a_cone_at_360_is_one_at_0(folder: Path) -> None:
    with contextlib.closing(warehouse.open(str(folder))) as opened:
        assert opened.cone(360, 0, 72000).equals(opened.cone(0, 0, 72000).table)
        assert opened.cone(360, 0, 72000).num_rows
