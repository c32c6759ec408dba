"""Brightness as one table: each formula against numbers worked out by hand, the rules on real packets."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from astropy.time import Time

from alerts.light_curve import SCHEMA, NoPhotometry, light_curve
from alerts.surveys import SURVEYS, magnitudes
from broker import warehouse as warehouses
from broker.pictures import plot_light_curve
from tests.alerts.test_cutouts import records
from tests.conftest import RealData
from tests.nights import run

ZTF, LSST = SURVEYS["ztf"], SURVEYS["lsst"]
FORCED_NIGHT = "ztf/nightly/ztf_public_20231012.tar.gz"
RUBIN_NIGHT = "lsst/nightly/lsst_20260310_v10_0.tar.gz"


def rows(packets: list[dict[str, Any]], survey: Any = ZTF, **equal: Any) -> list[dict[str, Any]]:
    """Rows of the table that have these values."""
    found = light_curve(packets, survey, "X").to_pylist()
    return [row for row in found if all(row[name] == value for name, value in equal.items())]


def candidate(**changed: Any) -> dict[str, Any]:
    """A packet of ZTF with nothing but its own measurement, well away from any reference source."""
    own = {"jd": 2460230.5, "fid": 1, "magpsf": 18.0, "sigmapsf": 0.1, "isdiffpos": "t", "programid": 1}
    own |= {"magnr": 17.0, "sigmagnr": 0.02, "distnr": 0.5}
    return {"candid": 7, "candidate": own | changed}


def forced(**changed: Any) -> dict[str, Any]:
    entry = {"jd": 2460230.5, "fid": 2, "forcediffimflux": 1000.0, "forcediffimfluxunc": 100.0, "magzpsci": 26.0}
    entry |= {"procstatus": "0", "programid": 2, "magnr": 17.0, "sigmagnr": 0.02, "distnr": 0.5}
    return candidate() | {"fp_hists": [entry | changed]}


# Formulas, by hand


def test_fluxes_and_magnitudes() -> None:
    # 31.4 mag is 1 nJy, 23.9 mag is 1 uJy, and 5 mag are a factor 100.
    assert magnitudes.flux_njy(31.4) == 1
    assert magnitudes.flux_njy(23.9) == pytest.approx(1000)
    assert magnitudes.flux_njy(18.9) == pytest.approx(100_000)
    assert magnitudes.ab_mag(1000) == magnitudes.ab_mag(-1000) == pytest.approx(23.9)
    assert math.isnan(magnitudes.ab_mag(0.0))
    # A hundredth of the flux is 0.0108574 mag.
    assert magnitudes.mag_error(-1000, 10) == pytest.approx(0.010857362)
    assert magnitudes.flux_error_njy(-1000, 0.010857362) == pytest.approx(10)
    # 1 DN at a zero point of 26.4 is 100 nJy.
    assert magnitudes.njy_per_unit(26.4) == pytest.approx(100)


def test_a_flux_is_a_magnitude_from_three_sigma_on_to_either_side() -> None:
    assert magnitudes.is_significant(3.0, 1.0)
    assert magnitudes.is_significant(-3.0, 1.0)
    assert not magnitudes.is_significant(2.999, 1.0)
    assert not magnitudes.is_significant(5.0, 0.0)
    assert not magnitudes.is_significant(5.0, math.nan)


def test_ztf_detections_have_signed_fluxes() -> None:
    for sign, factor in (("t", 1), ("1", 1), ("f", -1), ("0", -1)):
        [row] = rows([candidate(isdiffpos=sign)])
        # 10^(0.4 x 13.4) = 229086.77 nJy; 0.1 mag of it is 21099.9.
        assert row["flux_njy"] == pytest.approx(factor * 229086.7653)
        assert row["flux_err_njy"] == pytest.approx(21099.6155, rel=1e-5)
        assert (row["mag"], row["mag_err"], row["mag_system"]) == (18.0, 0.1, "AB")
        assert row["is_negative"] is (factor < 0)
        assert (row["kind"], row["measures"], row["programid"], row["alert_id"]) == ("detection", "difference", 1, 7)
        assert row["limit_mag"] is None


def test_forced_photometry_of_ztf_is_dn_at_its_own_zero_point() -> None:
    [row] = rows([forced()], kind="forced")
    # 1000 DN x 10^(0.4 (31.4 - 26)) = 1000 x 144.54398; 26 - 2.5 log10(1000) = 18.5; 1.0857 x 0.1.
    assert row["flux_njy"] == pytest.approx(144543.98)
    assert row["flux_err_njy"] == pytest.approx(14454.398)
    assert row["mag"] == pytest.approx(18.5)
    assert row["mag_err"] == pytest.approx(0.10857362)
    assert (row["band"], row["programid"], row["flags"], row["limit_mag"], row["alert_id"]) == ("r", 2, None, None, None)
    [row] = rows([forced(forcediffimflux=-1000.0)], kind="forced")
    assert (row["flux_njy"], row["mag"], row["is_negative"]) == (pytest.approx(-144543.98), pytest.approx(18.5), True)


def test_below_three_sigma_forced_photometry_is_a_limit_of_five_and_keeps_its_flux() -> None:
    [row] = rows([forced(forcediffimflux=-299.0)], kind="forced")
    assert row["flux_njy"] == pytest.approx(-299 * 144.54398)
    assert (row["mag"], row["mag_err"]) == (None, None)
    # 26 - 2.5 log10(500)
    assert (row["limit_mag"], row["limit_n_sigma"]) == (pytest.approx(19.252575), 5.0)


@pytest.mark.parametrize("name", ["forcediffimflux", "forcediffimfluxunc"])
def test_none_is_minus_99999_by_equality(name: str) -> None:
    for value in (-99999.0, None, math.nan):
        [row] = rows([forced(**{name: value, "procstatus": "61"})], kind="forced")
        assert (row["mag"], row["limit_mag"], row["flags"]) == (None, None, "procstatus 61")
        assert (row["flux_njy"] is None) == (name == "forcediffimflux")
    [row] = rows([forced(forcediffimflux=-99998.0)], kind="forced")
    assert row["flux_njy"] == pytest.approx(-99998 * 144.54398)


def test_apparent_magnitudes_add_the_reference_source() -> None:
    # 10^-6.8 = 1.584893e-7 and 10^-7.2 = 0.630957e-7; a source that has faded is their difference.
    [row] = rows([candidate()])
    assert row["apparent_mag"] == pytest.approx(-2.5 * math.log10(10**-6.8 + 10**-7.2)) == pytest.approx(16.636149, abs=1e-5)
    [row] = rows([candidate(isdiffpos="f")])
    assert row["apparent_mag"] == pytest.approx(-2.5 * math.log10(10**-6.8 - 10**-7.2)) == pytest.approx(17.551202, abs=1e-5)
    # Errors add in flux: 0.1 of 0.2847 of the sum and 0.02 of 0.7153 of it.
    [row] = rows([candidate()])
    assert row["apparent_mag_err"] == pytest.approx(math.hypot(0.1 * 0.284747, 0.02 * 0.715253), rel=1e-4)
    [row] = rows([forced()], kind="forced")
    assert row["apparent_mag"] == pytest.approx(-2.5 * math.log10(10**-6.8 + 10**-7.4))


@pytest.mark.parametrize(
    "changed",
    [
        {"distnr": 1.39},
        {"magnr": -999.0},
        {"magnr": None},
        {"distnr": -999.0},
        {"distnr": None},
        {"isdiffpos": "f", "magpsf": 16.9},
    ],
)
def test_where_the_formula_has_no_answer_the_apparent_magnitude_is_null(changed: dict[str, Any]) -> None:
    # distnr of a candidate is in pixels of 1.012 arcsec: 1.39 pixels are more than 1.4 arcsec.
    [row] = rows([candidate(**changed)])
    assert (row["apparent_mag"], row["apparent_mag_err"]) == (None, None)
    assert row["mag"] is not None


def test_the_distance_of_the_reference_is_in_pixels_or_in_arcsec_path_by_path() -> None:
    [row] = rows([candidate(distnr=1.38)])
    assert row["apparent_mag"] is not None
    [row] = rows([forced(distnr=1.39)], kind="forced")
    assert row["apparent_mag"] is not None
    [row] = rows([forced(distnr=1.41)], kind="forced")
    assert row["apparent_mag"] is None
    units = {one.name: one.arcsec_per_distance for one in ZTF.photometry.series} if ZTF.photometry else {}
    assert units == {"candidate": 1.012, "prv_candidates": 1.012, "fp_hists": 1.0}


def test_units_of_the_reference_distance_hold_in_real_packets(real_data: RealData) -> None:
    # ranr, decnr are the reference source's place: in arcsec they are distnr x 1.012 away from the candidate.
    ratios = []
    for packet in records(real_data / FORCED_NIGHT):
        one = packet["candidate"]
        east = (one["ranr"] - one["ra"]) * math.cos(math.radians(one["dec"])) * 3600
        away = math.hypot(east, (one["decnr"] - one["dec"]) * 3600)
        # Forced photometry is done at the object's mean place: near it is near, in arcsec.
        if away > 1:
            ratios.append(away / one["distnr"])
    assert len(ratios) >= 3
    assert sorted(ratios)[len(ratios) // 2] == pytest.approx(1.012, abs=0.05)


# Rules


def test_a_detection_and_forced_photometry_of_one_exposure_are_two_rows() -> None:
    packet = forced(fid=1)
    assert Counter(row["kind"] for row in rows([packet])) == {"detection": 1, "forced": 1}


def test_of_several_packets_the_newest_value_stands_and_the_others_are_counted() -> None:
    old, new = candidate(), {"candid": 8, "candidate": {**candidate()["candidate"], "jd": 2460231.5}}
    earlier = {**old["candidate"], "candid": 7}
    for magpsf, others in ((18.0, 0), (18.2, 1)):
        new["prv_candidates"] = [earlier | {"magpsf": magpsf}]
        # Given newest first, as said; and the own measurement of an older packet is older than a newer one's history.
        first, second = rows([new, old])
        assert (first["mag"], first["n_other_values"], first["alert_id"]) == (magpsf, others, 7)
        assert (second["alert_id"], second["n_other_values"]) == (8, 0)


def test_nothing_found_is_a_limit_and_a_detection_without_a_value_is_none() -> None:
    entry = {"jd": 2460200.5, "fid": 1, "candid": None, "magpsf": None, "diffmaglim": 20.5, "programid": 2}
    packet = candidate(magpsf=math.nan) | {"prv_candidates": [entry, entry | {"jd": 2460201.5, "diffmaglim": -1006.94}]}
    limit, unknown, own = rows([packet])
    assert (limit["kind"], limit["limit_mag"], limit["limit_n_sigma"], limit["mag"]) == ("limit", 20.5, 5.0, None)
    assert (unknown["kind"], unknown["limit_mag"], unknown["limit_n_sigma"]) == ("limit", None, None)
    assert (own["kind"], own["mag"], own["flux_njy"], own["is_negative"]) == ("detection", None, None, None)


def test_flagged_forced_photometry_is_told_in_real_packets(real_data: RealData) -> None:
    flags: Counter[str] = Counter()
    usable = 0
    for night in ("20231012", "20240715"):
        for packet in records(real_data / f"ztf/nightly/ztf_public_{night}.tar.gz"):
            for row in rows([packet], kind="forced"):
                if row["flux_njy"] is not None:
                    usable += 1
                    flags[row["flags"]] += 1
    assert usable == 321
    assert flags == {None: 303, "procstatus 56": 18}


def test_rubins_failed_fits_are_flagged(real_data: RealData) -> None:
    flags: Counter[str | None] = Counter()
    failed = 0
    for packet in records(real_data / RUBIN_NIGHT):
        sources = [packet["diaSource"], *(packet["prvDiaSources"] or [])]
        exposures = {(one["visit"], one["detector"], one["band"]): one for one in reversed(sources)}
        failed += sum(one["psfFlux_flag"] is True for one in exposures.values())
        flags.update(row["flags"] for row in rows([packet], LSST, kind="detection"))
    assert failed > 50
    assert sum(count for flag, count in flags.items() if flag and "psfFlux_flag" in flag) == failed
    assert flags[None] > 10 * failed


def test_a_flagged_point_looks_otherwise_and_is_counted() -> None:
    packet = forced() | {"candid": 7}
    packet["fp_hists"] += [packet["fp_hists"][0] | {"jd": 2460231.5, "procstatus": "56"}]
    ax = plot_light_curve(packet, survey="ztf").axes[0]
    looks = {one.get_label(): one.lines[0] for one in ax.containers}
    good, flagged = looks["_r forced detection"], looks["_r flagged forced detection"]
    assert good.get_markerfacecolor() != flagged.get_markerfacecolor() == "white"
    legend = ax.get_legend()
    assert {"forced photometry (1)", "forced photometry, flagged (1)"} <= {text.get_text() for text in legend.get_texts()}
    # As drawn.
    drawn = {text.get_text(): line for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)}
    assert drawn["forced photometry, flagged (1)"].get_marker() == flagged.get_marker()


def test_fainter_than_the_reference_is_told_in_a_real_night(real_data: RealData) -> None:
    # Only isdiffpos is of use in this night: the times of its histories were altered.
    signs = [
        rows([packet], alert_id=packet["candid"])[0]["is_negative"]
        for packet in records(real_data / "ztf/nightly/ztf_public_20231018.tar.gz")
    ]
    assert Counter(signs) == {False: 178, True: 42}


def test_rubins_fluxes_are_once_per_visit_detector_and_band(real_data: RealData) -> None:
    for number, packet in enumerate(records(real_data / RUBIN_NIGHT)):
        found = rows([packet], LSST)
        sources = [packet["diaSource"], *(packet["prvDiaSources"] or [])]
        exposures = {(one["visit"], one["detector"], one["band"]) for one in sources}
        detections = [row for row in found if row["kind"] == "detection"]
        assert {(row["visit"], row["detector"], row["band"]) for row in detections} == exposures
        assert len(detections) == len(exposures)
        [own] = [row for row in detections if row["alert_id"] == packet["diaSource"]["diaSourceId"]]
        assert own["flux_njy"] == packet["diaSource"]["psfFlux"]
        assert own["flux_err_njy"] == packet["diaSource"]["psfFluxErr"]
        assert own["mag"] == pytest.approx(31.4 - 2.5 * math.log10(abs(own["flux_njy"])))
        total = packet["diaSource"]["scienceFlux"]
        if total and total > 3 * packet["diaSource"]["scienceFluxErr"]:
            assert own["apparent_mag"] == pytest.approx(31.4 - 2.5 * math.log10(total))
        utc = Time(packet["diaSource"]["midpointMjdTai"], format="mjd", scale="tai").utc
        assert abs(own["mjd_utc"] - utc.mjd) * 86400e6 < 2
        assert abs(own["jd_utc"] - utc.jd) * 86400 < 1e-4
        assert (own["time_reference"], own["time_scale"]) == ("midpoint", "tai")
        if number == 10:
            break
    assert number > 0


def test_ztfs_times_are_those_of_the_packet_to_the_last_bit(real_data: RealData) -> None:
    packets = list(records(real_data / FORCED_NIGHT))
    assert packets
    for packet in packets:
        [own] = rows([packet], alert_id=packet["candid"])
        assert own["jd_utc"] == packet["candidate"]["jd"]
        assert own["mjd_utc"] == packet["candidate"]["jd"] - 2400000.5
        assert own["time_reference"] == "start"


def test_decams_magnitudes_are_its_own(real_data: RealData) -> None:
    packet = next(iter(records(real_data / "other_surveys/decam/alert.avro")))
    [row] = rows([packet], SURVEYS["decam"], kind="detection")
    assert row["mag"] == pytest.approx(packet["candidate"]["forcediffimmag"], abs=1e-4)
    assert row["mag_err"] == pytest.approx(packet["candidate"]["forcediffimmagunc"], abs=1e-4)


def test_where_nobody_says_ab_there_is_no_flux(real_data: RealData) -> None:
    packet = next(iter(records(real_data / "other_surveys/winter/3608701.avro")))
    [row] = rows([packet], SURVEYS["winter"], alert_id=packet["candid"])
    assert (row["mag_system"], row["flux_njy"]) == (None, None)
    assert row["mag"] == packet["candidate"]["magpsf"]


def test_without_facts_it_says_so() -> None:
    class Unknown:
        name, photometry = "new", None

    with pytest.raises(NoPhotometry, match="nobody has told where new packets keep their brightness"):
        light_curve([], Unknown())  # type: ignore[arg-type]


# From a warehouse


def test_a_warehouse_gives_the_table_of_all_its_packets(real_data: RealData, tmp_path: Path) -> None:
    for archive in ("ztf/nightly/ztf_public_20200202.tar.gz", RUBIN_NIGHT):
        assert run(tmp_path, real_data / archive) == 0
    ztf: dict[str, list[dict[str, Any]]] = {}
    for packet in records(real_data / "ztf/nightly/ztf_public_20200202.tar.gz"):
        ztf.setdefault(packet["objectId"], []).append(packet)
    [(name, packets)] = [one for one in ztf.items() if len(one[1]) == 2]
    packets.sort(key=lambda one: -one["candidate"]["jd"])
    rubin = next(packet for packet in records(real_data / RUBIN_NIGHT) if packet["prvDiaForcedSources"])
    number = rubin["diaSource"]["diaObjectId"]
    with warehouses.open(str(tmp_path)) as opened:
        found = opened.light_curve(name)
        assert found.schema.equals(SCHEMA)
        assert found.to_pylist() == light_curve(packets, ZTF, name).to_pylist()
        assert opened.light_curve(number).to_pylist() == light_curve([rubin], LSST, str(number)).to_pylist()
        with pytest.raises(warehouses.QueryError, match="holds no alerts of object 'ZTF99nothing'"):
            opened.light_curve("ZTF99nothing")


def test_a_warehouse_can_be_asked_before_any_picture_is_drawn() -> None:
    code = "import broker.warehouse, warehouses.history, sys; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_measurement_without_a_time_is_no_point() -> None:
    packet = forced() | {"prv_candidates": [{"jd": None, "fid": 1, "magpsf": 18.0, "sigmapsf": 0.1, "isdiffpos": "t"}]}
    assert [row["kind"] for row in rows([packet])] == ["detection", "forced"]
