"""Signs and numbers of light curves that can be worked out by hand; which points count; the order and the times of points."""

from __future__ import annotations

import copy
import itertools
import math
import random
from typing import Any

import pytest

from alerts.features.compute import features_of
from alerts.light_curve import NoPhotometry
from alerts.surveys import SURVEYS, Survey
from tests.alerts.features import loops
from tests.alerts.features.made import MADE, NOW_JD, NOW_MJD, batch

ZTF, LSST = SURVEYS["ztf"], SURVEYS["lsst"]
Row = dict[str, Any]
HERE = {"ra_deg": 10.0, "dec_deg": 20.0}
TICK_DAYS = 2.0**-20


def of(row: Row, survey: Survey) -> Row:
    (found,) = features_of(batch([HERE | row], survey), survey).to_pylist()
    return found


def ztf(mags: dict[float, float], sign: str = "t", **more: Any) -> Row:
    """Detections in r by days before the alert, the alert's own among them."""
    points = {
        day: {"jd": NOW_JD - day, "fid": 2, "magpsf": mag, "sigmapsf": 0.1, "isdiffpos": sign, "candid": 1}
        for day, mag in mags.items()
    }
    own = {name: value for name, value in points.pop(0).items() if name != "candid"}
    return {"candidate": own, "prv_candidates": [*points.values(), *more.pop("others", [])]} | more


def lsst(fluxes: dict[float, float], error: float = 100.0) -> Row:
    points = {
        day: {
            "midpointMjdTai": NOW_MJD - day,
            "band": "r",
            "psfFlux": flux,
            "psfFluxErr": error,
            "visit": int(1e6 - day * 5000),
            "detector": 1,
        }
        for day, flux in fluxes.items()
    }
    return {"diaSource": points.pop(0), "prvDiaSources": list(points.values())}


def test_a_fader_in_magnitudes() -> None:
    r = of(ztf({2: 18.0, 1: 18.5, 0: 19.0}), ZTF)["r"]
    assert r["slope_mag_per_day"] == pytest.approx(0.5)
    assert r["slope_err_mag_per_day"] == pytest.approx(0.1 / 2**0.5)
    assert r["last_rate_mag_per_day"] == pytest.approx(0.5)
    assert r["last_rate_err_mag_per_day"] == pytest.approx(0.1 * 2**0.5)
    assert r["slope_njy_per_day"] < 0
    assert r["last_rate_njy_per_day"] < 0
    assert (r["brightest_mag"], r["faintest_mag"], r["first_mag"], r["last_mag"]) == (18.0, 19.0, 18.0, 19.0)
    assert (r["days_since_brightest_mag"], r["days_to_brightest_mag"]) == pytest.approx((2, 0))
    assert (r["mean_mag"], r["weighted_mean_mag"], r["std_mag"], r["amplitude_mag"]) == pytest.approx((18.5, 18.5, 0.5, 0.5))
    assert r["chi2_per_dof_mag"] == pytest.approx(25)
    assert (r["days_since_first"], r["days_since_last"], r["span_days"]) == pytest.approx((2, 0, 2))


def test_a_riser_in_magnitudes() -> None:
    r = of(ztf({2: 19.0, 1: 18.5, 0: 18.0}), ZTF)["r"]
    assert r["slope_mag_per_day"] == pytest.approx(-0.5)
    assert r["slope_njy_per_day"] > 0
    assert r["last_rate_njy_per_day"] > 0
    assert r["days_to_brightest_mag"] == pytest.approx(2)
    assert r["days_to_brightest_njy"] == pytest.approx(2)


def test_a_source_that_sinks_below_its_template_has_no_magnitude_and_fades_in_flux() -> None:
    # The magnitude of the difference gets brighter while the source gets fainter.
    r = of(ztf({2: 19.0, 1: 18.5, 0: 18.0}, sign="f"), ZTF)["r"]
    assert r["slope_mag_per_day"] is None
    assert r["slope_njy_per_day"] < 0
    assert (r["n_detections"], r["n_negative"], r["n_mag"], r["n_without_mag"]) == (3, 3, 0, 3)
    assert r["brightest_njy"] == pytest.approx(-(10 ** (0.4 * (31.4 - 19))))


def test_a_fader_and_a_riser_in_fluxes() -> None:
    fader, riser = (
        of(lsst(fluxes), LSST)["r"] for fluxes in ({2: 3000.0, 1: 2000.0, 0: 1000.0}, {2: 1000.0, 1: 2000.0, 0: 3000.0})
    )
    assert fader["slope_njy_per_day"] == pytest.approx(-1000)
    assert riser["slope_njy_per_day"] == pytest.approx(1000)
    assert fader["slope_mag_per_day"] > 0 > riser["slope_mag_per_day"]
    assert fader["last_rate_mag_per_day"] > 0 > riser["last_rate_mag_per_day"]
    assert (fader["days_since_brightest_njy"], riser["days_since_brightest_njy"]) == pytest.approx((2, 0))


def test_fluxes_below_5_sigma_or_0_are_counted_and_have_no_magnitude() -> None:
    r = of(lsst({3: -900.0, 2: 499.0, 1: 501.0, 0: 3630.78}), LSST)["r"]
    assert (r["n_detections"], r["n_negative"], r["n_mag"], r["n_without_mag"]) == (4, 1, 2, 2)
    assert r["brightest_mag"] == pytest.approx(22.5)
    assert r["faintest_njy"] == -900


def test_detections_and_forced_photometry_are_apart() -> None:
    falling = [
        {"jd": NOW_JD - day, "fid": 2, "forcediffimflux": 100.0 * day, "forcediffimfluxunc": 5.0, "magzpsci": 31.4}
        for day in (3, 2, 1)
    ]
    left_out = falling[0] | {"jd": NOW_JD - 9, "procstatus": "61"}
    r = of(ztf({2: 19.0, 0: 18.0}, fp_hists=[*falling, left_out]), ZTF)["r"]
    assert r["slope_njy_per_day"] > 0 > r["slope_njy_per_day_forced"]
    assert r["slope_njy_per_day_forced"] == pytest.approx(-100)
    assert (r["n_detections"], r["n_forced"], r["n_flagged_forced"]) == (2, 3, 1)
    assert (r["days_since_first"], r["days_since_first_forced"]) == pytest.approx((2, 3))


def test_rates_over_nights_and_within_one() -> None:
    r = of(ztf({3: 20.0, 1: 19.0, 0.25: 18.5, 0.125: 18.25, 0.0078125: 17.0, 0: 18.0}), ZTF)["r"]
    assert (r["last_rate_mag_per_day"], r["last_rate_gap_days_mag"]) == pytest.approx((-1, 1))
    assert (r["night_rate_mag_per_day"], r["night_rate_gap_days_mag"]) == pytest.approx((-2, 0.125))


@pytest.mark.parametrize(("limit", "rise"), [(20.0, 0.5), (17.9, None), (18.0, None)])
def test_the_rise_since_the_last_limit(limit: float, rise: float | None) -> None:
    limits = [{"jd": NOW_JD - day, "fid": 2, "diffmaglim": mag} for day, mag in ((9, 21.0), (5, limit), (0.5, 20.5))]
    other_band = {"jd": NOW_JD - 2, "fid": 1, "diffmaglim": 21.0}
    r = of(ztf({1: 18.0, 0: 17.0}, others=[*limits, other_band]), ZTF)["r"]
    assert r["n_limits"] == 3
    assert r["rise_mag_per_day_at_least"] == (None if rise is None else pytest.approx(rise))
    assert r["rise_gap_days"] == (None if rise is None else pytest.approx(4))


def test_ages() -> None:
    row = ztf({7: 18.0, 0: 18.0})
    row["candidate"]["jdstarthist"] = NOW_JD - 50
    found = of(row, ZTF)
    assert (found["age_history_days"], found["age_jdstarthist_days"]) == pytest.approx((7, 50))


def test_a_color_is_of_the_newest_pair_of_a_night() -> None:
    g = [
        {"jd": NOW_JD - day, "fid": 1, "magpsf": mag, "sigmapsf": 0.1, "isdiffpos": "t", "candid": 1}
        for day, mag in ((5.1, 19.0), (3.1, 18.5))
    ]
    found = of(ztf({5: 18.0, 3: 18.2, 0: 18.4}, others=g), ZTF)
    assert found["color_g_r_mag"] == pytest.approx(0.3)
    assert found["color_g_r_err_mag"] == pytest.approx(0.1 * 2**0.5)
    assert (found["color_g_r_gap_days"], found["color_g_r_days_since"]) == pytest.approx((0.1, 3))
    assert found["color_r_i_mag"] is None
    assert found["n_bands"] == 2


def test_the_apparent_magnitude_is_that_of_source_and_difference() -> None:
    row = ztf({0: 19.0})
    row["candidate"] |= {"magnr": 19.0, "sigmagnr": 0.1, "distnr": 1.0}
    assert of(row, ZTF)["apparent_mag"] == pytest.approx(19 - 2.5 * 0.30103, abs=1e-5)
    # In pixels of 1.012 arcsec.
    row["candidate"]["distnr"] = 1.39
    assert of(row, ZTF)["apparent_mag"] is None


def test_each_exposure_counts_once_and_the_alert_s_own_measurement_stands() -> None:
    again = {"jd": NOW_JD - 4e-6, "fid": 2, "magpsf": 15.0, "sigmapsf": 0.01, "isdiffpos": "t", "candid": 1}
    empty = {"jd": NOW_JD, "fid": 2, "diffmaglim": 21.0}
    r = of(ztf({1: 18.0, 0: 17.0}, others=[again, empty]), ZTF)["r"]
    assert (r["n_detections"], r["n_limits"], r["brightest_mag"]) == (2, 0, 17.0)
    row = lsst({1: 1000.0, 0: 2000.0})
    row["prvDiaSources"] += [row["prvDiaSources"][0] | {"detector": 2}, row["prvDiaSources"][0] | {"psfFluxErr": 50.0}]
    assert of(row, LSST)["r"]["n_detections"] == 3


def test_a_survey_without_facts_of_photometry_is_refused() -> None:
    class Unknown:
        name, photometry = "unknown", None

    with pytest.raises(NoPhotometry, match="nobody has told where unknown packets keep their brightness"):
        features_of(batch([HERE | ztf({0: 18.0})], ZTF), Unknown())


# The same points, told otherwise


def histories(row: Row) -> list[list[Row]]:
    return [value for value in row.values() if isinstance(value, list)]


@pytest.mark.parametrize("survey", MADE)
def test_the_order_of_points_does_not_matter(survey: str) -> None:
    rows = MADE[survey](300, seed=11)
    expected = features_of(batch(rows, SURVEYS[survey]), SURVEYS[survey])
    rng = random.Random(3)
    for points in (points for row in rows for points in histories(row)):
        rng.shuffle(points)
    assert features_of(batch(rows, SURVEYS[survey]), SURVEYS[survey]).equals(expected)


@pytest.mark.parametrize("survey", MADE)
def test_a_shift_of_time_does_not_matter(survey: str) -> None:
    rows = MADE[survey](300, seed=12)
    times = ("jd", "midpointMjdTai", "jdstarthist")

    def moved(days: float) -> Any:
        # Times of so few digits that each sum and difference of them is exact.
        shifted = copy.deepcopy(rows)
        for row in shifted:
            own = [value for value in row.values() if isinstance(value, dict)]
            for record in itertools.chain(own, *histories(row)):
                for name in times:
                    if (record.get(name) or -1) > 0:
                        record[name] = round(record[name] / TICK_DAYS) * TICK_DAYS + days
        return features_of(batch(shifted, SURVEYS[survey]), SURVEYS[survey])

    assert moved(4096.0).equals(moved(0.0))


@pytest.mark.parametrize("survey", MADE)
def test_an_alert_does_not_hang_on_those_beside_it(survey: str) -> None:
    rows = batch(MADE[survey](120, seed=13), SURVEYS[survey])
    whole = features_of(rows, SURVEYS[survey])
    assert features_of(rows.slice(17, 40), SURVEYS[survey]).equals(whole.slice(17, 40))
    assert features_of(rows.slice(17, 1), SURVEYS[survey]).to_pylist() == whole.slice(17, 1).to_pylist()
    assert features_of(rows.slice(0, 0), SURVEYS[survey]).num_rows == 0


def cleaned(value: Any) -> Any:
    """A row as filters see it: no NaN and no number that stands for "none", and truth values as such."""
    if isinstance(value, dict):
        truth = {"t": True, "1": True, "f": False, "0": False}
        return {name: truth.get(held) if name == "isdiffpos" else cleaned(held) for name, held in value.items()}
    if isinstance(value, list):
        return [cleaned(held) for held in value]
    if isinstance(value, float) and (not math.isfinite(value) or value in (-999.0, -99999.0)):
        return None
    return value


@pytest.mark.parametrize("survey", MADE)
def test_a_row_without_sentinels_and_with_truth_values_gives_the_same(survey: str) -> None:
    rows = MADE[survey](300, seed=15)
    expected = features_of(batch(rows, SURVEYS[survey]), SURVEYS[survey])
    found = features_of(batch([cleaned(row) for row in rows], SURVEYS[survey], truths=("isdiffpos",)), SURVEYS[survey])
    assert found.equals(expected)


def test_a_history_of_very_many_points_of_one_time_takes_no_longer_than_others() -> None:
    rng = random.Random(4)
    point = {"fid": 2, "magpsf": 18.0, "sigmapsf": 0.1, "isdiffpos": "t", "candid": 1}
    row = ztf({0: 18.0}, others=[point | {"jd": NOW_JD - rng.choice([1, 2]), "sigmapsf": rng.random()} for _ in range(100_000)])
    assert of(row, ZTF)["r"]["n_detections"] == 3
    exposure = {"band": "r", "psfFlux": 900.0, "psfFluxErr": 90.0, "midpointMjdTai": NOW_MJD - 1, "detector": 1}
    row = lsst({0: 1000.0}) | {"prvDiaSources": [exposure | {"visit": visit} for visit in range(100_000)]}
    row["prvDiaSources"][7]["visit"] = 2**62
    assert of(row, LSST)["r"]["n_detections"] == 100_001


# Histories that were cut


@pytest.mark.parametrize("survey", MADE)
@pytest.mark.parametrize("how", ["half", "empty", "null", "absent"])
def test_what_was_cut_does_not_count(survey: str, how: str) -> None:
    rows = MADE[survey](200, seed=14)
    for row in rows:
        for name in [name for name, value in row.items() if isinstance(value, list)]:
            if how == "absent":
                del row[name]
            else:
                row[name] = {"half": row[name][::2], "empty": [], "null": None}[how]
    found = features_of(batch(rows, SURVEYS[survey]), SURVEYS[survey]).to_pylist()
    faults = []
    for ours, row in zip(found, rows, strict=True):
        del ours["glat_deg"], ours["elat_deg"]
        faults += loops.differences(ours, loops.features(row, SURVEYS[survey]))
    assert faults[:20] == []
    if how != "half":
        assert {row["r"]["n_detections"] for row in found} == {0, 1}


def test_without_the_alert_s_own_measurement_there_is_only_its_place() -> None:
    row = ztf({1: 18.0, 0: 17.0}) | HERE
    rows = batch([row, row | {"candidate": None}], ZTF)
    for found in (features_of(rows.slice(1), ZTF), features_of(rows.select(["ra_deg", "dec_deg"]), ZTF)):
        told = found.to_pylist()[0]
        assert told["glat_deg"] is not None
        assert told["r"]["n_detections"] == 0
        assert {told[name] for name in ("age_history_days", "age_jdstarthist_days", "apparent_mag")} == {None}
    assert features_of(rows, ZTF).to_pylist()[0] == of(row, ZTF)
