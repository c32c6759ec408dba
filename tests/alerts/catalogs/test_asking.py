"""Rows for alerts, whatever the catalog does; the cache through the real client."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest

from alerts.catalogs.asking import Asker, delta_arcsec, in_calls
from alerts.catalogs.cache import AnchorCache
from alerts.catalogs.cds.client import CdsCatalog, Service
from alerts.catalogs.cds.gate import Gate
from alerts.catalogs.defaults import MAX_POSITIONS
from alerts.catalogs.known import KNOWN
from alerts.catalogs.rows import epochs_jyear, positions_of
from alerts.catalogs.spec import parse_spec
from alerts.positions import healpix29
from alerts.surveys import survey
from schemas.tables import CROSSMATCHES
from simulation.catalog_server.catalog import Declared, ServedCatalog
from simulation.catalog_server.faults import Fault
from simulation.catalog_server.server import CatalogServer

ALLWISE = "vizier:II/328/allwise"


def positions(names, ra, dec, observed_at=datetime(2026, 9, 17, tzinfo=timezone.utc)):
    count = len(names)
    columns = {
        "survey": ["ztf"] * count,
        "alert_id": list(range(1, count + 1)),
        "object_id": list(names),
        "night": [date(2026, 9, 17)] * count,
        "ra_deg": ra,
        "dec_deg": dec,
        "observed_at": [observed_at] * count,
        "healpix29": healpix29(np.asarray(ra), np.asarray(dec)),
    }
    schema = survey("ztf").alerts_table.arrow_schema
    return pa.RecordBatch.from_pydict(columns, schema=pa.schema([schema.field(name) for name in columns]))


@pytest.fixture(scope="module")
def field():
    """1.6 million sources per square degree: within 1.5 arcsec of a place there is about one."""
    rng = np.random.default_rng(5)
    known = KNOWN[ALLWISE]
    ra = np.append(150 + rng.uniform(0, 0.316, 160_000), known.canary[0])
    dec = np.append(rng.uniform(0, 0.316, 160_000), known.canary[1])
    own = {"AllWISE": [f"J{number}" for number in range(len(ra))], "RAJ2000": ra, "DEJ2000": dec}
    table = pa.table({name: own.get(name, pa.nulls(len(ra), kind)) for name, kind in known.columns.items()})
    return ServedCatalog(table, Declared("RAJ2000", "DEJ2000"))


@pytest.fixture
def server(field):
    with CatalogServer({"II/328/allwise": field}) as server:
        yield server


def asker(server, cache_arcsec, counts):
    spec = parse_spec(f"{ALLWISE}?radius_arcsec=1.5", 5.0)
    told = counts.update
    catalog = CdsCatalog(spec, Service(Gate(2), server.url, count=lambda what, number: told({what: number})))
    return Asker(spec, catalog, cache=AnchorCache(delta_arcsec(spec, catalog, cache_arcsec), keep_secs=1000))


def rows(one, batches, counts):
    found = pa.Table.from_batches([one.rows(batch, lambda what, number: counts.update({what: number})) for batch in batches])
    return found.drop_columns(["asked_at"]).sort_by("alert_id")


@pytest.mark.parametrize("at_once", [500, MAX_POSITIONS])
def test_the_cache_is_exact(server, at_once):
    rng = np.random.default_rng(6)
    place = np.stack([150 + rng.uniform(0.01, 0.3, 2000), rng.uniform(0.01, 0.3, 2000)])
    number = rng.permutation(np.repeat(np.arange(2000), 10))
    ra, dec = place[:, number] + rng.normal(0, 0.15 / 3600, (2, 20_000))
    asked = positions([f"ZTF{one}" for one in number], ra, dec)
    batches = list(in_calls(iter([asked]), held=20_000, at_once=at_once))
    without, with_cache = Counter(), Counter()
    expected = rows(asker(server, 0.0, without), batches, without)
    assert expected.num_rows == 20_000
    assert rows(asker(server, 1.0, with_cache), batches, with_cache).equals(expected)
    assert without["positions"] == 20_000
    assert 2000 <= with_cache["positions"] <= 2020
    assert with_cache["cache_hits"] == 20_000 - with_cache["positions"]
    assert expected.column("status").value_counts().to_pylist()[0]["counts"] > 1000


def test_a_failure_is_a_row_and_is_not_kept(server):
    counts = Counter()
    one = asker(server, 1.0, counts)
    batch = positions(["a", None], [150.1, 150.2], [0.1, 0.2])
    server.fail(Fault("empty"))
    failed = one.rows(batch)
    assert failed.schema.equals(CROSSMATCHES.arrow_schema)
    assert failed.column("status").to_pylist() == ["failed", "failed"]
    assert all("canary" in error for error in failed.column("error").to_pylist())
    assert failed.column("matches").to_pylist() == [[], []]
    server.heal()
    good = one.rows(batch)
    assert set(good.column("status").to_pylist()) <= {"matched", "no_match"}
    assert good.column("error").to_pylist() == [None, None]


class Odd:
    """A catalog that fails in a way that nobody has thought of."""

    source_columns = KNOWN[ALLWISE].source_columns

    def search(self, ra_deg, dec_deg, radius_arcsec, epoch_jyear):
        raise LookupError("unknown encoding: foo")


def test_whatever_a_catalog_raises_every_alert_has_its_row():
    rows = Asker(parse_spec(ALLWISE, 5.0), Odd()).rows(positions(["a", "b"], [1.0, 2.0], [3.0, 4.0])).to_pylist()
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert rows[0]["error"] == f"{ALLWISE}: unexpected LookupError: unknown encoding: foo"


def test_what_nothing_proves_is_counted(server):
    counts = Counter()
    spec = parse_spec(f"{ALLWISE}?radius_arcsec=1.5", 5.0)
    one = Asker(spec, CdsCatalog(spec, Service(Gate(1), server.url)), cache=AnchorCache(0.0, 10), unproven=True)
    one.rows(positions(["a"], [10.0], [-50.0]), lambda what, number: counts.update({what: number}))
    assert counts == {"cache_hits": 0, "no_match": 1, "unproven": 1}


def test_matches_come_nearest_first_with_every_column(server):
    counts = Counter()
    batch = positions(["a"], [150.15], [0.15])
    wide = parse_spec(f"{ALLWISE}?radius_arcsec=20", 5.0)
    catalog = CdsCatalog(wide, Service(Gate(1), server.url))
    (row,) = (
        Asker(wide, catalog, cache=AnchorCache(1.0, 1000))
        .rows(batch, lambda what, number: counts.update({what: number}))
        .to_pylist()
    )
    separations = [match["separation_arcsec"] for match in row["matches"]]
    assert len(separations) > 50
    assert separations == sorted(separations)
    assert separations[-1] <= 20
    assert row["matches"][0]["columns"].startswith('{"RAJ2000":150.')
    assert counts["matched"] == 1


def test_positions_that_are_no_place_are_not_asked():
    schema = survey("ztf").alerts_table.arrow_schema
    batch = positions(["a", "b"], [10.0, 11.0], [1.0, 2.0])
    alerts = pa.RecordBatch.from_pydict(
        {**batch.to_pydict(), "healpix29": [None, 5]},
        schema=pa.schema([schema.field(name) for name in batch.schema.names]),
    )
    assert positions_of(alerts).column("alert_id").to_pylist() == [2]


def test_epochs_are_julian_years():
    batch = positions(["a"], [1.0], [1.0], datetime(2000, 1, 1, 12, tzinfo=timezone.utc) + timedelta(days=365.25 * 26))
    assert epochs_jyear(batch).tolist() == [2026.0]


def test_calls_are_full_and_go_by_place_on_the_sky():
    rng = np.random.default_rng(2)
    batches = [positions([None] * 256, rng.uniform(0, 360, 256), rng.uniform(-90, 90, 256)) for _ in range(10)]
    calls = list(in_calls(iter(batches), held=5000, at_once=1000))
    assert [call.num_rows for call in calls] == [1000, 1000, 560]
    order = np.concatenate([call.column("healpix29").to_numpy() for call in calls])
    assert (np.diff(order) >= 0).all()
    # No more than is held waits for its turn.
    assert [call.num_rows for call in in_calls(iter(batches), held=512, at_once=1000)] == [512] * 5


def test_how_far_an_answer_reaches():
    spec, unlisted = parse_spec(f"{ALLWISE}?radius_arcsec=1.5", 5.0), parse_spec("vizier:J/X/1", 5.0)
    service = Service(Gate(1))
    assert delta_arcsec(spec, CdsCatalog(spec, service), 1.0) == 1.0
    assert delta_arcsec(unlisted, CdsCatalog(unlisted, service), 1.0) == 0.0
    widest = parse_spec(f"{ALLWISE}?radius_arcsec=180", 5.0)
    assert delta_arcsec(widest, CdsCatalog(widest, service), 1.0) == 0.0
