"""Made-up nights: what they promise about the sky, the packets and the truth."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tarfile
from collections import Counter, defaultdict
from datetime import date, timedelta

import astropy.units as u
import fastavro
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time

from broker import simulate
from broker.simulate import Night, simulate_packets
from schemas import known_schemas, parse_text
from simulation.stamps import gzipped

NIGHT = date(2026, 9, 17)
STAMPS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
LSST_SCHEMA = parse_text(json.dumps(known_schemas("lsst")["10.0"]))


def from_container(data):
    """The one record of a container file, by nothing but fastavro."""
    [record] = fastavro.reader(io.BytesIO(data))
    return record


def from_wire(data):
    """The record of a wire message, which must be used up."""
    assert data[:5] == b"\x00" + (1000).to_bytes(4, "big")
    stream = io.BytesIO(data[5:])
    record = fastavro.schemaless_reader(stream, LSST_SCHEMA)
    assert not stream.read(1), "bytes are left after the datum"
    return record


def ztf_image(record, stamp):
    return fits.getdata(io.BytesIO(gzip.decompress(record[stamp]["stampData"]))).astype(float)


@pytest.fixture(scope="module")
def ztf():
    """A ZTF night: (packet, record) of each alert."""
    night = [(p, from_container(p.data)) for p in simulate_packets(survey="ztf", alerts=400, seed=5)]
    assert len(night) == 400
    return night


@pytest.fixture(scope="module")
def lsst():
    night = [(p, from_wire(p.data)) for p in simulate_packets(survey="lsst", alerts=400, seed=5, framing="wire")]
    assert len(night) == 400
    return night


# The same night


@pytest.mark.parametrize("options", [{"survey": "ztf"}, {"survey": "lsst", "framing": "wire"}, {"survey": "lsst"}])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_night(options):
    options |= {"alerts": 15, "duplicates": 3, "damaged": 6}
    first, again, other = (list(simulate_packets(**options, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert len(first) == 24
    assert not {p.data for p in first if p.data} & {p.data for p in other if p.truth.kind == "good"}


def test_copies_change_nothing_else():
    alone, with_copies = (list(simulate_packets(alerts=20, duplicates=n)) for n in (0, 50))
    assert [p for p in with_copies if p.truth.kind == "good"] == alone


def test_gzip_of_zlib_and_zlib_ng_agree():
    zlib_ng = pytest.importorskip("zlib_ng.zlib_ng")
    data = np.random.default_rng(0).normal(100, 10, 4000).astype(">f4").tobytes() + b" " * 2880
    packer = zlib_ng.compressobj(6, zlib_ng.DEFLATED, -15, 9, zlib_ng.Z_RLE)
    assert gzipped(data)[10:-8] == packer.compress(data) + packer.flush()
    assert gzip.decompress(gzipped(data)) == data


def test_packets_come_one_by_one():
    [first] = itertools.islice(simulate_packets(alerts=200_000), 1)
    assert from_container(first.data)["candid"] == first.truth.alert_id


# Packets


def test_each_packet_is_what_its_truth_says(ztf, lsst):
    for packet, record in ztf:
        candidate, truth = record["candidate"], packet.truth
        assert packet.name == truth.name == f"{record['candid']}.avro"
        assert (truth.alert_id, truth.object_id) == (candidate["candid"], record["objectId"])
        assert (truth.ra_deg, truth.dec_deg) == (candidate["ra"], candidate["dec"])
        assert truth.is_solar_system == (candidate["ssdistnr"] != -999) == (candidate["ssnamenr"] != "null")
    for packet, record in lsst:
        source, truth = record["diaSource"], packet.truth
        assert packet.name == truth.name == f"{record['diaSourceId']}.bin"
        assert truth.object_id == str(source["diaObjectId"] or source["ssObjectId"])
        assert (truth.ra_deg, truth.dec_deg) == (source["ra"], source["dec"])
        assert truth.is_solar_system == (record["ssSource"] is not None)


@pytest.mark.parametrize(("survey", "version"), [("ztf", "4.02"), ("lsst", "10.0")])
def test_containers_carry_the_surveys_own_schema(survey, version):
    [packet] = simulate_packets(survey=survey, alerts=1)
    reader = fastavro.reader(io.BytesIO(packet.data))
    assert reader.metadata["avro.codec"] == "null"
    assert json.loads(reader.metadata["avro.schema"]) == known_schemas(survey)[version]


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_ids_are_unique_and_too_large_for_a_float(survey):
    alert_ids = [p.truth.alert_id for p in simulate_packets(survey=survey, alerts=500, seed=8)]
    assert len(set(alert_ids)) == len(alert_ids) == 500
    assert all(2**53 < alert_id < 2**63 for alert_id in alert_ids)
    assert len({float(alert_id) for alert_id in alert_ids}) < 500
    assert {len(str(alert_id)) for alert_id in alert_ids} == {19 if survey == "ztf" else 18}


def test_history_ids_name_one_detection_each(ztf, lsst):
    seen = {}
    for _, record in ztf:
        for one in [record["candidate"], *record["prv_candidates"]]:
            if one["candid"] is not None:
                assert seen.setdefault(one["candid"], (record["objectId"], one["jd"])) == (record["objectId"], one["jd"])
    for _, record in lsst:
        for source in [record["diaSource"], *(record["prvDiaSources"] or [])]:
            key = (source["diaObjectId"], source["midpointMjdTai"])
            assert seen.setdefault(source["diaSourceId"], key) == key


def test_missing_values_are_missing_in_the_surveys_ways(ztf, lsst):
    candidates = [record["candidate"] for _, record in ztf]
    assert any(c["sgmag1"] == -999.0 for c in candidates)
    assert {c["ssdistnr"] for c in candidates} == {-999.0, 0.0, 1.0}
    forced = [f for _, record in ztf for f in record["fp_hists"]]
    assert {f["procstatus"] for f in forced} == {"0", "55", "56", "61"}
    assert all((f["forcediffimflux"] == -99999.0) == (f["procstatus"] in ("55", "61")) for f in forced)
    for name in ("prvDiaSources", "prvDiaForcedSources"):
        assert any(record[name] is None for _, record in lsst)
        assert any(record[name] == [] for _, record in lsst)
    assert all(record["diaSource"]["psfLnL"] is None for _, record in lsst)


# Astronomy


def test_ztf_nights_and_times(ztf):
    jd = np.array([record["candidate"]["jd"] for _, record in ztf])
    times = Time(jd, format="jd", scale="utc")
    assert {t.date() for t in times.to_datetime()} == {NIGHT}
    hours = (jd - Time(NIGHT.isoformat()).jd) * 24
    assert hours.min() > 2
    assert hours.max() < 13
    assert (np.diff(jd) >= 0).all()
    for (packet, record), time in zip(ztf, times, strict=True):
        assert packet.truth.night == NIGHT
        assert record["candidate"]["nid"] == (NIGHT - date(2017, 1, 1)).days
        assert abs(Time(packet.truth.observed_at) - time) < 50 * u.us
        # The id begins with date and time of the exposure.
        assert record["candid"] // 10**10 == int((record["candidate"]["jd"] - 2457754.5) * 1e5)


def test_lsst_nights_and_times(lsst):
    for packet, record in lsst:
        source = record["diaSource"]
        utc = Time(source["midpointMjdTai"], format="mjd", scale="tai").utc
        assert abs(Time(packet.truth.observed_at) - utc) < 50 * u.us
        assert (utc.to_datetime() - timedelta(hours=12)).date() == packet.truth.night == NIGHT
        assert source["visit"] // 100_000 == 20260917
        assert len(str(source["visit"])) == 13
        assert all(old["visit"] // 100_000 <= 20260917 for old in record["prvDiaSources"] or [])


def test_one_visit_is_one_time_and_one_band(lsst):
    of_visit = defaultdict(set)
    for _, record in lsst:
        for source in [record["diaSource"], *(record["prvDiaForcedSources"] or [])]:
            of_visit[source["visit"]].add((source["midpointMjdTai"], source["band"]))
    assert all(len(exposures) == 1 for exposures in of_visit.values())


def test_earlier_alerts_are_in_the_later_ones_history_as_they_were_sent(ztf):
    sent = defaultdict(list)
    repeated = 0
    for _, record in ztf:
        candidate = record["candidate"]
        history = {one["candid"]: one for one in record["prv_candidates"] if one["candid"] is not None}
        for earlier in sent[record["objectId"]]:
            told = history[earlier["candid"]]
            same = [name for name in told if name != "pdiffimfilename" and not name.startswith("ss")]
            assert {name: told[name] for name in same} == {name: earlier[name] for name in same}
            repeated += 1
        tonight = [one for one in history.values() if one["nid"] == candidate["nid"]]
        assert len(tonight) == len(sent[record["objectId"]])
        assert all(one["jd"] < candidate["jd"] for one in record["prv_candidates"])
        sent[record["objectId"]].append(candidate)
    assert repeated > 50


def test_lsst_earlier_alerts_are_in_the_later_ones_history_as_they_were_sent(lsst):
    sent = defaultdict(list)
    for _, record in lsst:
        if record["diaObject"] is None:
            continue
        source, history = record["diaSource"], record["prvDiaSources"] or []
        assert [old for old in history if old["visit"] // 100_000 == 20260917] == sent[source["diaObjectId"]]
        assert {old["diaObjectId"] for old in history} <= {record["diaObject"]["diaObjectId"]}
        assert record["diaObject"]["nDiaSources"] == len(history) + 1
        first = min([source, *history], key=lambda one: one["midpointMjdTai"])
        assert record["diaObject"]["diaObjectId"] == first["diaSourceId"]
        sent[source["diaObjectId"]].append(source)
    assert max(len(alerts) for alerts in sent.values()) == 2


def test_histories_are_as_long_as_real_ones(ztf, lsst):
    lengths = [len(record["prv_candidates"]) for _, record in ztf]
    assert 15 <= np.median(lengths) <= 26
    assert max(lengths) > 2 * np.median(lengths) - 5
    ages = [record["candidate"]["jd"] - one["jd"] for _, record in ztf for one in record["prv_candidates"]]
    assert 25 < max(ages) < 31
    assert set(map(len, (record["fp_hists"] for _, record in ztf))) <= set(range(16, 22))
    limits = [one for _, record in ztf for one in record["prv_candidates"] if one["candid"] is None]
    assert limits
    assert all(one["magpsf"] is None and one["ra"] is None and one["diffmaglim"] > 18 for one in limits)
    lengths = [len(record["prvDiaSources"] or []) for _, record in lsst if record["diaObject"]]
    assert 8 <= np.median(lengths) <= 22
    assert max(lengths) > 60


def test_magnitudes_agree_with_fluxes_and_limits(ztf, lsst):
    for _, record in ztf:
        for one in [record["candidate"], *record["prv_candidates"]]:
            if one["candid"] is not None:
                # Every detection is one at 5 sigma.
                assert one["magpsf"] < one["diffmaglim"] + 0.01
                assert one["sigmapsf"] < 0.218
    for _, record in lsst:
        source = record["diaSource"]
        assert source["snr"] >= 5
        assert source["snr"] == pytest.approx(abs(source["psfFlux"]) / source["psfFluxErr"], rel=1e-5)
        assert source["isNegative"] == (source["psfFlux"] < 0)
        assert source["scienceFlux"] == pytest.approx(source["templateFlux"] + source["psfFlux"], rel=1e-4, abs=0.1)


def test_forced_photometry_agrees_with_the_detections(ztf):
    compared = 0
    for _, record in ztf:
        detected = {one["pid"]: one for one in record["prv_candidates"] if one["candid"] is not None}
        for forced in record["fp_hists"]:
            one = detected.get(forced["pid"])
            if one and forced["procstatus"] == "0":
                mag = forced["magzpsci"] - 2.5 * np.log10(abs(forced["forcediffimflux"]))
                assert mag == pytest.approx(one["magpsf"], abs=1e-3)
                assert (forced["forcediffimflux"] > 0) == (one["isdiffpos"] == "t")
                compared += 1
    assert compared > 100


def test_reference_source_is_at_the_stated_distance(ztf):
    candidates = [record["candidate"] for _, record in ztf]
    alert, nearest = (
        SkyCoord([c[ra] for c in candidates], [c[dec] for c in candidates], unit="deg")
        for ra, dec in (("ra", "dec"), ("ranr", "decnr"))
    )
    np.testing.assert_allclose(alert.separation(nearest).arcsec, [c["distnr"] * 1.012 for c in candidates], atol=1e-4)


def test_solar_system_objects_of_lsst(lsst):
    asteroids = [record for _, record in lsst if record["ssSource"]]
    assert 0.05 < len(asteroids) / len(lsst) < 0.3
    for record in asteroids:
        source, ss, orbit = record["diaSource"], record["ssSource"], record["mpc_orbits"]
        assert record["diaObject"] is record["prvDiaSources"] is record["prvDiaForcedSources"] is None
        assert source["diaObjectId"] == 0
        assert source["ssObjectId"] == ss["ssObjectId"] > 2**53
        # Rubin's id is the packed designation read as bytes.
        assert source["ssObjectId"].to_bytes(7, "big").decode() == orbit["packed_primary_provisional_designation"]
        position = SkyCoord(source["ra"], source["dec"], unit="deg")
        ecliptic, galactic = position.barycentrictrueecliptic, position.galactic
        assert ecliptic.lat.deg == pytest.approx(ss["eclBeta"], abs=0.01)
        assert galactic.l.deg == pytest.approx(ss["galLon"], abs=1e-4)
        assert np.hypot(*(ss[f"helio_{axis}"] for axis in "xy")) <= ss["helioRange"] <= ss["topoRange"] + 1.02
        assert ss["topoRange"] ** 2 == pytest.approx(sum(ss[f"topo_{axis}"] ** 2 for axis in "xyz"), rel=1e-5)
    assert all(record["mpc_orbits"] is None for _, record in lsst if record["diaObject"])


# Stamps


def test_ztf_stamps_show_the_star(ztf):
    shapes = Counter()
    with_nan = 0
    for _, record in ztf:
        candidate = record["candidate"]
        science, template, difference = (ztf_image(record, stamp) for stamp in STAMPS)
        shapes[science.shape] += 1
        with_nan += np.isnan(science).any()
        assert science.shape == template.shape == difference.shape
        # Of what has faded ZTF sends reference minus science, and says so in the name of the stamp.
        is_positive = candidate["isdiffpos"] == "t"
        assert record["cutoutDifference"]["fileName"].endswith("_scimref.fits.gz" if is_positive else "_refmsci.fits.gz")
        change = difference if is_positive else -difference
        np.testing.assert_allclose(science, template + change, atol=0.02, rtol=1e-6)
        if science.shape == (63, 63) and not np.isnan(science).any() and candidate["scorr"] > 15:
            middle = difference[29:34, 29:34].mean()
            assert middle > np.median(difference) + 3 * difference.std() / 5
    assert shapes[63, 63] > 0.95 * len(ztf)
    assert shapes[63, 63] < len(ztf)
    assert 0.03 < with_nan / len(ztf) < 0.2


def test_ztf_stamps_at_the_edge_lack_the_pixels_beyond_it(ztf):
    cut = [record for _, record in ztf if ztf_image(record, "cutoutScience").shape != (63, 63)]
    assert cut
    for record in cut:
        rows, columns = ztf_image(record, "cutoutScience").shape
        for size, place, pixels in ((columns, "xpos", 3072), (rows, "ypos", 3080)):
            room = min(record["candidate"][place] - 1, pixels - record["candidate"][place])
            assert size == pytest.approx(32 + min(room, 31), abs=0.6)


def test_ztf_flux_in_the_difference_is_the_magnitude(ztf):
    bright = [
        (record["candidate"], ztf_image(record, "cutoutDifference")) for _, record in ztf if record["candidate"]["magpsf"] < 17
    ]
    whole = [(c, image) for c, image in bright if image.shape == (63, 63) and not np.isnan(image).any()]
    assert whole
    for candidate, image in whole:
        flux = image[21:42, 21:42].sum()
        assert candidate["magzpsci"] - 2.5 * np.log10(flux) == pytest.approx(candidate["magpsf"], abs=0.15)


def test_lsst_stamps_have_image_variance_and_psf(lsst):
    sides = set()
    for _, record in lsst:
        images = {}
        for stamp in STAMPS:
            assert len(record[stamp]) % 2880 == 0
            with fits.open(io.BytesIO(record[stamp])) as hdus:
                image, variance, psf = (hdu.data for hdu in hdus)
                header = hdus[0].header
            assert image.dtype == variance.dtype == np.dtype(">f4")
            assert image.shape == variance.shape == (header["NAXIS2"], header["NAXIS1"])
            assert (variance > 0).all()
            assert psf.dtype == np.dtype(">f8")
            assert psf.sum() == pytest.approx(1)
            assert header["BUNIT"] == "nJy"
            assert "CTYPE1" not in header
            assert header["CRVAL1"] == pytest.approx(record["diaSource"]["ra"], abs=1e-9)
            images[stamp] = image.astype(float)
        science, template, difference = images.values()
        np.testing.assert_allclose(science, template + difference, atol=0.05, rtol=1e-5)
        sides.add(science.shape[0])
        middle = science.shape[0] // 2
        source = record["diaSource"]
        if source["snr"] > 15:
            assert np.sign(difference[middle - 2 : middle + 3, middle - 2 : middle + 3].sum()) == np.sign(source["psfFlux"])
    assert min(sides) == 30
    assert max(sides) <= 56
    assert len(sides) > 5


def test_lsst_stamp_says_where_its_star_is(lsst):
    record = max((record for _, record in lsst), key=lambda record: record["diaSource"]["snr"])
    with fits.open(io.BytesIO(record["cutoutDifference"])) as hdus:
        header, image = hdus[0].header, abs(hdus[0].data)
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert (column + 1, row + 1) == pytest.approx((header["CRPIX1"], header["CRPIX2"]), abs=1.5)
    assert header["CUTMINX"] + header["CRPIX1"] - 1 == pytest.approx(record["diaSource"]["x"], abs=1e-3)


# Truth and catalog


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_catalog_stars_are_where_the_truth_says(survey):
    night = Night(survey=survey, alerts=600, seed=11)
    truth = [packet.truth for packet in night.packets()]
    catalog = night.catalog().to_pydict()
    stars = SkyCoord(catalog["ra_deg"], catalog["dec_deg"], unit="deg")
    alerts = SkyCoord([t.ra_deg for t in truth], [t.dec_deg for t in truth], unit="deg")
    # astropy's own match needs scipy, which we do not.
    separation = alerts[:, None].separation(stars[None, :]).arcsec
    nearest = separation.min(axis=1)
    for row, distance in zip(truth, nearest, strict=True):
        assert row.has_catalog_star == (row.separation_arcsec is not None) == (distance < 5)
        if row.has_catalog_star:
            assert row.separation_arcsec == pytest.approx(distance, abs=1e-6)
    known = [row.separation_arcsec for row in truth if row.has_catalog_star]
    assert 0.2 < len(known) / len(truth) < 0.4
    assert min(known) < 0.5
    assert max(known) > 4
    assert (separation.min(axis=0) > 60).sum() == 200
    assert len(set(catalog["source_id"])) == len(stars)
    assert all(int(source_id) > 2**53 for source_id in catalog["source_id"])


def test_alerts_of_an_object_scatter_about_it(ztf):
    places = defaultdict(list)
    for packet, _ in ztf:
        places[packet.truth.object_id].append(packet.truth)
    distances = [
        SkyCoord(one.ra_deg, one.dec_deg, unit="deg").separation(SkyCoord(other.ra_deg, other.dec_deg, unit="deg")).arcsec
        for one, other, *_ in (alerts for alerts in places.values() if len(alerts) > 1)
    ]
    assert min(distances) > 0
    assert 0.1 < np.median(distances) < 0.3


# Copies and damage


def test_duplicates_are_copies_under_another_name():
    packets = list(simulate_packets(alerts=10, duplicates=25))
    assert Counter(p.truth.kind for p in packets) == {"good": 10, "duplicate": 25}
    assert len({p.name for p in packets}) == 35
    originals = {p.truth.alert_id: p for p in packets if p.truth.kind == "good"}
    for copy in (p for p in packets if p.truth.kind == "duplicate"):
        assert copy.data == originals[copy.truth.alert_id].data
        assert copy.name.startswith(f"{copy.truth.alert_id}-copy")


def damaged(survey, framing):
    packets = simulate_packets(survey=survey, alerts=5, damaged=12, framing=framing)
    by_kind = defaultdict(list)
    for packet in packets:
        if packet.truth.kind == "damaged":
            assert packet.truth.damage_note
            by_kind[packet.truth.damage].append(packet)
    return by_kind


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_damaged_containers_cannot_be_read(survey):
    by_kind = damaged(survey, "container")
    assert set(by_kind) == {"cut_short", "empty", "html_page", "bad_sync", "bad_schema", "nan_time"}
    for packet in by_kind.pop("nan_time"):
        record = from_container(packet.data)
        assert np.isnan(record["candidate"]["jd"] if survey == "ztf" else record["diaSource"]["midpointMjdTai"])
    for packet in itertools.chain(*by_kind.values()):
        with pytest.raises((ValueError, EOFError, IndexError, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType)):
            list(fastavro.reader(io.BytesIO(packet.data)))


def test_damaged_wire_messages_cannot_be_read():
    by_kind = damaged("lsst", "wire")
    assert set(by_kind) == {"cut_short", "empty", "html_page", "unknown_schema", "trailing_bytes", "nan_time"}
    assert all(packet.data == b"" for packet in by_kind["empty"])
    assert all(packet.data[:1] == b"<" for packet in by_kind["html_page"])
    assert all(packet.data[1:5] == (999_999).to_bytes(4, "big") for packet in by_kind["unknown_schema"])
    for packet in by_kind["cut_short"]:
        with pytest.raises((EOFError, ValueError, IndexError)):
            fastavro.schemaless_reader(io.BytesIO(packet.data[5:]), LSST_SCHEMA)
    for packet in by_kind["trailing_bytes"]:
        with pytest.raises(AssertionError, match="left after the datum"):
            from_wire(packet.data)
        from_wire(packet.data[:-4])
    assert all(np.isnan(from_wire(packet.data)["diaSource"]["midpointMjdTai"]) for packet in by_kind["nan_time"])


# The command


def command(folder, *options):
    return simulate.main([*map(str, options), "--alerts", "12", "--seed", "4", "--out", str(folder)])


def members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_command_writes_packets_truth_and_catalog(tmp_path, capsys):
    assert command(tmp_path, "--duplicates", 2, "--damaged", 3) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ztf: 12 alerts, 2 duplicates and 3 damaged packets")
    assert (out.count("\n"), err) == (1, "")
    assert {path.name for path in tmp_path.iterdir()} == {
        "ztf_simulated_20260917.tar.gz",
        "truth.parquet",
        "catalog.parquet",
        "skymap.fits",
        "watchlist.csv",
    }
    packets = members(tmp_path / "ztf_simulated_20260917.tar.gz")
    truth = {row["name"]: row for row in pq.read_table(tmp_path / "truth.parquet").to_pylist()}
    assert packets.keys() == truth.keys()
    expected = {p.name: p for p in simulate_packets(alerts=12, seed=4, duplicates=2, damaged=3)}
    assert packets == {name: p.data for name, p in expected.items()}
    assert {name: row["observed_at"] for name, row in truth.items()} == {n: p.truth.observed_at for n, p in expected.items()}
    assert pq.read_schema(tmp_path / "catalog.parquet").names == ["source_id", "ra_deg", "dec_deg", "mag"]


def test_archives_hold_the_same_packets(tmp_path):
    for archive in ("tar.gz", "tar", "folder", "container"):
        assert command(tmp_path, "--archive", archive, "--duplicates", 3) == 0
    packets = members(tmp_path / "ztf_simulated_20260917.tar.gz")
    assert members(tmp_path / "ztf_simulated_20260917.tar") == packets
    folder = tmp_path / "ztf_simulated_20260917"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == packets
    with (tmp_path / "ztf_simulated_20260917.avro").open("rb") as file:
        candids = Counter(record["candid"] for record in fastavro.reader(file))
    assert candids == Counter(int(name.removesuffix(".avro").split("-")[0]) for name in packets)


def test_the_same_command_writes_the_same_archive(tmp_path):
    for name in ("one", "two"):
        assert command(tmp_path / name, "--survey", "lsst", "--framing", "wire") == 0
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert len(one) == 5
    assert all(name.endswith(".bin") for name in members(tmp_path / "one" / "lsst_simulated_20260917.tar.gz"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--survey", "ztf", "--framing", "wire"], "ztf has no 'wire' framing"),
        (["--survey", "ligo"], "ligo"),
        (["--night", "yesterday"], "not a date"),
        (["--night", "2017-06-01"], "2017-06-01"),
        (["--seed", "-3"], "seed is -3"),
        (["--duplicates", "-1"], "duplicates is -1"),
        (["--archive", "container", "--damaged", "1"], "damaged packets cannot"),
        (["--archive", "container", "--survey", "lsst", "--framing", "wire"], "wire messages cannot"),
        (["--no_such_option"], "no_such_option"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(tmp_path, capsys, options, words):
    folder = tmp_path / "out"
    assert simulate.main(["--alerts", "3", "--out", str(folder), *options]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert (out, err.count("\n")) == ("", 1)
    assert not folder.exists()


def test_an_existing_folder_of_packets_is_left_alone(tmp_path, capsys):
    assert command(tmp_path, "--archive", "folder") == 0
    assert command(tmp_path, "--archive", "folder") == 2
    assert "exists already" in capsys.readouterr().err


def test_a_failed_run_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("simulation.archive.pq.write_table", fail)
    assert command(tmp_path) == 1
    assert "No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
