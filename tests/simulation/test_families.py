"""What is planted in a night is there, in packets and in their features, by the numbers and the signs that the truth tells."""

from __future__ import annotations

import gzip
import io
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits

from alerts.features.compute import features_of
from alerts.surveys import SURVEYS
from simulation import Night
from simulation.families import ALERTS_FOR_ONE, FAMILIES
from simulation.light_curves import DETECTION_SNR
from simulation.magnitudes import flux_njy
from simulation.truth import TRUTH_SCHEMA, PacketTruth
from tests.alerts.making import ingest

NAMES = [family.name.lower() for family in FAMILIES]
UNITS = {"ztf": "mag", "lsst": "njy"}
"""In which of the two what a survey's night has planted rises and fades evenly."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """An alert: the truth, its row and its features."""

    truth: PacketTruth
    row: Row
    features: Row


def seen(survey: str, alerts: int, seed: int) -> list[Seen]:
    packets = list(Night(survey, alerts, seed).packets())
    (rows,) = (
        pa.Table.from_batches(ingest(one.data, one.name).decoded.rows[survey] for one in packets).combine_chunks().to_batches()
    )
    found = features_of(rows, SURVEYS[survey]).to_pylist()
    stamps = {"science", "difference"}
    told = rows.select([name for name in rows.schema.names if name not in stamps]).to_pylist()
    return [Seen(one.truth, row, features) for one, row, features in zip(packets, told, found, strict=True)]


@pytest.fixture(scope="module")
def nights() -> dict[str, list[Seen]]:
    """A night of each survey."""
    return {"ztf": seen("ztf", 300, 2), "lsst": seen("lsst", 300, 2)}


@pytest.fixture(params=list(UNITS))
def night(request: pytest.FixtureRequest, nights: dict[str, list[Seen]]) -> list[Seen]:
    return nights[request.param]


def of(night: list[Seen], *families: str) -> list[Seen]:
    found = [one for one in night if one.truth.family in families]
    assert found
    return found


def bands(one: Seen, least: int) -> Iterator[tuple[str, Row]]:
    """The bands in which an alert has so many detections."""
    for name, value in one.features.items():
        if isinstance(value, dict) and value["n_detections"] >= least:
            yield name, value


@pytest.mark.parametrize("survey", UNITS)
def test_a_night_of_96_alerts_has_one_of_each_family(survey: str) -> None:
    plan = Night(survey, ALERTS_FOR_ONE * len(FAMILIES)).plan
    planted = [plan.sky_object(index) for index in range(len(plan.objects.kind)) if plan.objects.planted[index] >= 0]
    assert list(dict.fromkeys(one.kind for one in planted)) == list(FAMILIES)
    assert {one.planted for one in planted} == set(range(len(FAMILIES)))
    # They alert whenever their field is seen; a mover as another object each time.
    passes = plan.instrument.passes
    assert Counter(one.kind.name for one in planted)["MOVER"] == passes
    alerting: Counter[int | None] = Counter()
    for one in planted:
        alerting[one.planted] += one.passes.bit_count()
    assert set(alerting.values()) == {passes}


def test_small_nights_are_as_large_as_they_should_be() -> None:
    for alerts in (1, 15, 16, 31, 97):
        assert sum(1 for _ in Night("ztf", alerts, 3).packets()) == alerts


def test_the_truth_tells_of_each_family_its_numbers_and_of_all_else_none(night: list[Seen]) -> None:
    assert TRUTH_SCHEMA.names == list(asdict(night[0].truth))
    unit = UNITS[night[0].truth.survey]
    steady = {f"slope_{unit}_per_day"}
    numbers = {
        "fader": steady | {"began_at"},
        "riser": steady | ({"began_at"} if unit == "njy" else set()),
        "flare": {"amplitude_mag", "tau_days", "began_at"},
        "variable": {"amplitude_njy", "period_days"},
        "hostless": {"began_at", "reference_arcsec"},
        "mover": {"motion_arcsec_per_hour", "motion_angle_deg"},
    }
    assert list(numbers) == NAMES
    after = TRUTH_SCHEMA.names[TRUTH_SCHEMA.names.index("planted") + 1 :]
    for one in night:
        told = asdict(one.truth)
        assert {name for name in after if told[name] is not None} == numbers.get(one.truth.family, set())
        assert (one.truth.planted is not None) == (one.truth.family in numbers)
        # Nobody knows the movers.
        assert one.truth.is_solar_system == (one.truth.family == "solar_system")


def test_faders_and_risers_have_the_signs_that_the_definitions_say(night: list[Seen]) -> None:
    compared = 0
    for one in of(night, "fader", "riser"):
        is_fading = one.truth.family == "fader"
        for _, band in bands(one, least=4):
            assert (band["slope_mag_per_day"] > 0) is is_fading
            assert (band["slope_njy_per_day"] < 0) is is_fading
            if one.truth.survey == "lsst":
                # Forced photometry begins at the discovery; that of ZTF also has exposures before it.
                assert (band["slope_njy_per_day_forced"] < 0) is is_fading
            compared += 1
    assert compared > 20


def test_slopes_are_those_that_were_planted(night: list[Seen]) -> None:
    survey = night[0].truth.survey
    kinds = [f"_{UNITS[survey]}_per_day", *(["_njy_per_day_forced"] if survey == "lsst" else [])]
    for kind in kinds:
        deviations = []
        for one in of(night, "fader", "riser"):
            planted = getattr(one.truth, f"slope_{UNITS[survey]}_per_day")
            assert (planted > 0) is ((one.truth.family == "fader") is (survey == "ztf"))
            for _, band in bands(one, least=3):
                deviations.append((band[f"slope{kind}"] - planted) / band[f"slope_err{kind}"])
        assert len(deviations) > 30
        assert max(map(abs, deviations)) < 5
        # The errors are the noise, neither more nor less.
        assert 0.6 < np.sqrt(np.mean(np.square(deviations))) < 1.6


def test_a_rise_since_the_last_limit_is_no_more_than_the_rise(nights: dict[str, list[Seen]]) -> None:
    bounds = [
        (band["rise_mag_per_day_at_least"], -one.truth.slope_mag_per_day, band["rise_gap_days"])
        for one in of(nights["ztf"], "riser")
        for _, band in bands(one, least=1)
        if band["rise_mag_per_day_at_least"] is not None
    ]
    assert len(bounds) > 5
    # The first detection is near the limit: its magnitude is good to 0.2.
    assert all(bound < rise + 0.6 / gap_days for bound, rise, gap_days in bounds)


def test_flares_are_as_high_as_planted_and_when(night: list[Seen]) -> None:
    for one in of(night, "flare"):
        r = one.features["r"]
        assert 2 * r["amplitude_mag"] == pytest.approx(one.truth.amplitude_mag, abs=0.4)
        began_days = (one.truth.observed_at - one.truth.began_at).total_seconds() / 86400
        assert r["days_since_brightest_mag"] == pytest.approx(began_days, abs=0.02)
        assert r["days_to_brightest_mag"] > 5
        assert r["n_negative"] == 0


def test_variables_have_both_signs_and_their_amplitude(night: list[Seen]) -> None:
    for one in of(night, "variable"):
        r = one.features["r"]
        assert 0 < r["n_negative"] < r["n_detections"]
        assert r["faintest_njy"] < 0 < r["brightest_njy"]
        assert 0.65 < r["amplitude_njy"] / one.truth.amplitude_njy < 1.2
        assert r["n_detections"] == r["n_mag"] + r["n_without_mag"]


def test_hostless_transients_have_nothing_beside_them(nights: dict[str, list[Seen]]) -> None:
    for one in of(nights["ztf"], "hostless"):
        candidate = one.row["candidate"]
        assert candidate["distnr"] * 1.012 == pytest.approx(one.truth.reference_arcsec, abs=0.6)
        assert not 0 <= candidate["distpsnr1"] < 15
        assert one.features["apparent_mag"] is None
    for one in of(nights["lsst"], "hostless"):
        assert one.row["diaSource"]["templateFlux"] < one.row["diaSource"]["templateFluxErr"]
    for one in of([*nights["ztf"], *nights["lsst"]], "hostless"):
        days = (one.truth.observed_at - one.truth.began_at).total_seconds() / 86400
        assert one.features["age_history_days"] < days < 13
        assert not one.truth.has_catalog_star


def test_nothing_in_a_template_is_nearer_than_the_packet_says(nights: dict[str, list[Seen]]) -> None:
    looked = 0
    for one in of(nights["ztf"], "hostless", "mover"):
        image = fits.getdata(io.BytesIO(gzip.decompress(one.row["template"]))).astype(float)
        if image.shape == (63, 63) and not np.isnan(image).any():
            rows, columns = np.indices(image.shape) - 31
            near = image[np.hypot(rows, columns) < one.row["candidate"]["distnr"] - 5]
            assert np.abs(near - np.median(image)).max() < 8 * near.std()
            assert near.std() < 3
            looked += 1
    assert looked > 5


def test_movers_move_as_told_and_are_new_wherever_they_are(night: list[Seen]) -> None:
    ways = defaultdict(list)
    for one in of(night, "mover"):
        ways[one.truth.planted].append(one.truth)
        assert one.features["age_history_days"] == 0
        assert sum(band["n_detections"] for _, band in bands(one, least=0)) == 1
        for _, band in bands(one, least=0):
            assert (band["chi2_per_dof_njy_forced"] or 0) < 4
    for way in ways.values():
        first, last = way[0], way[-1]
        assert len({truth.object_id for truth in way}) == len(way) > 1
        here, there = (SkyCoord(truth.ra_deg, truth.dec_deg, unit="deg") for truth in (first, last))
        hours = (last.observed_at - first.observed_at).total_seconds() / 3600
        # Positions scatter by 0.1 arcsec.
        assert here.separation(there).arcsec / hours == pytest.approx(first.motion_arcsec_per_hour, abs=0.7 / hours)
        off_deg = (here.position_angle(there).deg - first.motion_angle_deg + 180) % 360 - 180
        assert abs(off_deg) < math.degrees(0.7 / here.separation(there).arcsec)
        assert here.separation(there) > 5 * units.arcsec


def test_limits_and_forced_photometry_tell_of_the_same_light_curve(nights: dict[str, list[Seen]]) -> None:
    compared = 0
    for one in nights["ztf"]:
        forced = {point["pid"]: point for point in one.row["fp_hists"] if point["procstatus"] == "0"}
        for point in one.row["prv_candidates"]:
            other = forced.get(point["pid"])
            if point["candid"] is None and other is not None:
                # What was not detected is below the limit in forced photometry, too, and the limit is 5 of its errors.
                assert abs(other["forcediffimflux"]) < DETECTION_SNR * other["forcediffimfluxunc"]
                njy_per_dn = 10 ** (0.4 * (31.4 - other["magzpsci"]))
                error = flux_njy(point["diffmaglim"]) / DETECTION_SNR
                assert other["forcediffimfluxunc"] * njy_per_dn == pytest.approx(error, rel=0.01)
                compared += 1
    assert compared > 300


def test_what_stays_where_it_is_was_seen_whenever_it_could_be_in_the_night(nights: dict[str, list[Seen]]) -> None:
    """A limit of an hour ago at the place of something bright would be of another light curve."""
    for one in nights["ztf"]:
        if one.truth.family not in ("mover", "solar_system"):
            tonight = [point for point in one.row["prv_candidates"] if point["nid"] == one.row["candidate"]["nid"]]
            assert all(point["candid"] is not None for point in tonight)
