"""The packets beside the filters of ``examples``: small, without stamps, made by hand; the reject misses by one thing.

python -m tests.alerts.filters.example_packets     writes them anew, and the lists of ``examples/lists``
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from simulation.sky_maps import sky_map_around
from simulation.survey import utc_from_mjd
from simulation.watched import WatchedPlaces
from tests.alerts.making import LSST_SCHEMA, ZTF_SCHEMA, filled

_EXAMPLES = Path(__file__).parents[3] / "examples"
FOLDER, LISTS_FOLDER, LISTS = _EXAMPLES / "filters", _EXAMPLES / "filters_with_lists", _EXAMPLES / "lists"
Record = dict[str, Any]
Past = tuple[tuple[float, int | str, float, bool], ...]
"""Of earlier detections: days ago, band, magnitude or flux, whether they are positive."""
_SYNC = bytes(range(16))
_JD, _MJD = 2461000.75, 61000.2
_ZTF_ID, _LSST_ID = 3_180_123_456_715_015_001, 170_112_044_529_352_779
_EVENT_MJD, _SIGMA_DEG = 60998.0, 3.0
# Far from the Galaxy, near the ecliptic.
_PLACE = {"ra": 180.1, "dec": 2.0}
_CANDIDATE: Record = {
    **{"candid": _ZTF_ID, "jd": _JD, "fid": 2, "programid": 1, "diffmaglim": 20.5, "isdiffpos": "t", **_PLACE},
    **{"magpsf": 18.0, "sigmapsf": 0.05, "fwhm": 2.5, "elong": 1.1, "nbad": 0, "rb": 0.9, "drb": 0.99, "classtar": 0.98},
    **{"magdiff": 0.02, "distnr": 10.0, "magnr": 20.0, "sgscore1": 0.1, "distpsnr1": 3.0},
    **{"ssdistnr": -999.0, "ssmagnr": -999.0, "ssnamenr": "null", "ndethist": 3, "ncovhist": 50, "jdstarthist": _JD - 3.0},
    **{"neargaiabright": -999.0, "maggaiabright": -999.0},
}
_SOURCE: Record = {
    **{"diaSourceId": _LSST_ID, "visit": 1, "detector": 1, "midpointMjdTai": _MJD, "band": "r", **_PLACE},
    **{"psfFlux": 5_000.0, "psfFluxErr": 100.0, "snr": 50.0, "reliability": 0.9, "templateFlux": 20_000.0},
}
_EARLIER: Past = ((2.0, 2, 18.0, True), (1.0, 2, 18.0, True))


def ztf(past: Past = _EARLIER, **candidate: Any) -> Record:
    """A packet of ZTF with earlier detections; the rest goes into its ``candidate``."""
    record: Record = filled(ZTF_SCHEMA, null=True)
    record |= {
        "schemavsn": "4.02",
        "publisher": "example",
        "objectId": "ZTF26aaaaaaa",
        "candid": candidate.get("candid", _ZTF_ID),
    }
    record["candidate"] |= {**_CANDIDATE, **candidate}
    entry = next(each["type"][1]["items"] for each in ZTF_SCHEMA["fields"] if each["name"] == "prv_candidates")
    record["prv_candidates"] = [
        {
            **filled(entry, null=True),
            **{"jd": _JD - days, "fid": band, "candid": _ZTF_ID - number - 1, "programid": 1, "diffmaglim": 20.5, **_PLACE},
            **{"magpsf": mag, "sigmapsf": 0.05, "isdiffpos": "t" if positive else "f"},
        }
        for number, (days, band, mag, positive) in enumerate(past)
    ]
    return record


def lsst(past: Past = (), **source: Any) -> Record:
    """A packet of LSST with earlier sources; the rest goes into its ``diaSource``."""
    record: Record = filled(LSST_SCHEMA, null=True)
    own = {**record["diaSource"], **{name: False for name, value in record["diaSource"].items() if isinstance(value, bool)}}
    record["diaSource"] = {**own, **_SOURCE, **source}
    record["diaSourceId"] = record["diaSource"]["diaSourceId"]
    record["prvDiaSources"] = [
        {
            **record["diaSource"],
            **{
                "diaSourceId": _LSST_ID - number - 1,
                "visit": -number,
                "midpointMjdTai": _MJD - days,
                "band": band,
                "psfFlux": flux,
            },
        }
        for number, (days, band, flux, _) in enumerate(past)
    ]
    return record


PACKETS: Mapping[str, tuple[Callable[[], Record], Callable[[], Record]]] = {
    "fading_fast": (
        lambda: ztf(((2.0, 2, 17.0, True), (1.0, 2, 17.5, True))),
        lambda: ztf(((2.0, 2, 17.8, True), (1.0, 2, 17.9, True))),
    ),
    "rising_fast": (lambda: ztf(((1.0, 2, 18.6, True),)), lambda: ztf(((1.0, 2, 18.1, True),))),
    "young_supernova_candidate": (ztf, lambda: ztf(classtar=0.3)),
    "known_asteroid": (
        lambda: ztf(ssdistnr=1.2, ssmagnr=18.5, ssnamenr="12345"),
        lambda: ztf(ssdistnr=8.0, ssmagnr=18.5, ssnamenr="12345"),
    ),
    "unknown_mover": (lambda: ztf(ndethist=1), lambda: ztf(ndethist=3)),
    "hostless_new": (lambda: ztf(ndethist=1, distpsnr1=-999.0), lambda: ztf(ndethist=1, distpsnr1=4.0)),
    "bright_transient": (ztf, lambda: ztf(magpsf=18.6)),
    "clean_detection": (ztf, lambda: ztf(elong=1.5)),
    "pure_sample": (ztf, lambda: ztf(magdiff=0.2)),
    "two_detections_half_an_hour_apart": (
        lambda: ztf(((0.04, 2, 18.0, True),)),
        lambda: ztf(((0.01, 2, 18.0, True),)),
    ),
    "nuclear_transient": (
        lambda: ztf(distnr=0.3, distpsnr1=0.3, magnr=18.0),
        lambda: ztf(distnr=0.7, distpsnr1=0.3, magnr=18.0),
    ),
    "young_extragalactic": (ztf, lambda: ztf(jdstarthist=_JD - 20)),
    "high_signal_to_noise": (lambda: ztf(sigmapsf=0.015), lambda: ztf(sigmapsf=0.019)),
    "supernova_spectrum": (lambda: ztf(distnr=2.0), lambda: ztf(distnr=0.5)),
    "dwarf_nova_outburst": (
        lambda: ztf(((3.0, 2, 20.4, True),), magpsf=16.0),
        lambda: ztf(((3.0, 2, 16.5, True),), magpsf=16.0),
    ),
    "variable_source": (
        lambda: ztf(((2.0, 2, 17.5, True), (1.0, 2, 17.9, False)), distnr=0.3),
        lambda: ztf(((2.0, 2, 17.5, True), (1.0, 2, 17.9, False)), distnr=2.0),
    ),
    "disappearing_star": (
        lambda: ztf(isdiffpos="f", sgscore1=0.99, distpsnr1=0.2, distnr=0.2, magnr=17.5),
        lambda: ztf(isdiffpos="t", sgscore1=0.99, distpsnr1=0.2, distnr=0.2, magnr=17.5),
    ),
    "flare_within_a_night": (lambda: ztf(((0.05, 2, 18.2, True),)), lambda: ztf(((0.05, 2, 18.01, True),))),
    "blue_transient": (lambda: ztf(((0.05, 1, 17.7, True),)), lambda: ztf(((0.05, 1, 18.3, True),))),
    "uniform_sample": (
        lambda: ztf(candid=_ZTF_ID - _ZTF_ID % 113),
        lambda: lsst(diaSourceId=_LSST_ID - _LSST_ID % 113 + 1),
    ),
    "steady_fader": (
        lambda: ztf(((4.0, 2, 16.8, True), (2.0, 2, 17.4, True))),
        lambda: ztf(((4.0, 2, 17.4, True), (2.0, 2, 16.8, True))),
    ),
    "steady_riser": (
        lambda: lsst(((4.0, "r", 1_000.0, True), (2.0, "r", 3_000.0, True))),
        lambda: lsst(((4.0, "r", 3_000.0, True), (2.0, "r", 4_000.0, True))),
    ),
    "past_flare": (
        lambda: ztf(tuple((12.0 - day, 2, 16.0 if day == 6 else 18.0, True) for day in range(12))),
        lambda: ztf(tuple((12.0 - day, 2, 16.0 if day == 2 else 18.0, True) for day in range(12))),
    ),
    "both_signs": (
        lambda: ztf(((2.0, 2, 17.0, True), (1.0, 2, 17.0, False))),
        lambda: ztf(((2.0, 2, 17.0, True), (1.0, 2, 17.0, True))),
    ),
    "hostless_transient": (lambda: ztf(distnr=15.0), lambda: ztf(distnr=11.0)),
    "unknown_moving_object": (lambda: ztf((), distnr=15.0, jdstarthist=_JD), lambda: ztf(distnr=15.0)),
    "quality_cut": (lsst, lambda: lsst(isDipole=True)),
    "lsst_bright_recent": (
        lambda: lsst(((3.0, "r", 120_000.0, True),), psfFlux=150_000.0),
        lambda: lsst(((3.0, "r", 80_000.0, True),), psfFlux=90_000.0),
    ),
    "lsst_rising": (
        lambda: lsst(((2.0, "r", 1_000.0, True), (1.0, "r", 3_000.0, True))),
        lambda: lsst(((2.0, "r", 5_000.0, True), (1.0, "r", 5_010.0, True))),
    ),
    "faint_trails": (
        lambda: lsst(trailLength=3.0, psfFlux=50_000.0),
        lambda: lsst(trailLength=1.5, psfFlux=50_000.0),
    ),
    "lsst_no_template_source": (
        lambda: lsst(diaObjectId=5, templateFlux=20.0, templateFluxErr=10.0),
        lambda: lsst(diaObjectId=5, templateFlux=50.0, templateFluxErr=10.0),
    ),
    "lsst_negative": (lambda: lsst(psfFlux=-2_000.0), lambda: lsst(psfFlux=-500.0)),
    "lsst_flux_ratio": (lambda: lsst(band="g"), lambda: lsst(band="g", templateFlux=100_000.0)),
}
"""Of each example a packet that must pass, and one that must not."""
WITH_LISTS: Mapping[str, tuple[Callable[[], Record], Callable[[], Record]]] = {
    # Of the list's radius there, 3 arcsec, the former is just within and the latter just beyond.
    "watched": (lambda: ztf(dec=2.0 + 2.9 / 3600), lambda: lsst(dec=2.0 + 3.1 / 3600)),
    # The event was 2.25 days before.
    "in_the_map": (
        lambda: ztf(((2.0, 2, 18.0, True),), jdstarthist=_JD - 2.0),
        lambda: ztf(((2.5, 2, 18.0, True),), jdstarthist=_JD - 2.0),
    ),
    # 2 sigma of the map's middle are inside 0.9, and 2.3 are not.
    "lsst_in_the_map": (lambda: lsst(ra=180.0 + 2.0 * _SIGMA_DEG), lambda: lsst(ra=180.0 + 2.3 * _SIGMA_DEG)),
    "best_half_of_the_map": (lambda: lsst(ra=180.0 - 1.0 * _SIGMA_DEG), lambda: ztf(ra=180.0 - 1.4 * _SIGMA_DEG)),
}
"""The same of the examples that ask about lists."""


def files() -> Iterator[tuple[Path, bytes]]:
    """Each file and its bytes, the same in every run."""
    for place, packets in ((FOLDER, PACKETS), (LISTS_FOLDER, WITH_LISTS)):
        for name, (passes, rejects) in packets.items():
            for folder, record in (("passes", passes()), ("rejects", rejects())):
                schema = ZTF_SCHEMA if "candidate" in record else LSST_SCHEMA
                written = io.BytesIO()
                fastavro.writer(written, schema, [record], codec="deflate", sync_marker=_SYNC)
                yield place / name / folder / "packet.avro", written.getvalue()
    yield LISTS / "skymap.fits", sky_map_around(180.0, 2.0, _SIGMA_DEG, utc_from_mjd(_EVENT_MJD)).fits()
    ra, dec, radius = np.array(
        [[_PLACE["ra"], _PLACE["dec"], 3.0], [10.684708, 41.26875, 600.0], [187.705931, 12.391123, 60.0]]
    ).T
    yield LISTS / "watchlist.csv", WatchedPlaces(["here", "M31", "M87"], ra, dec, radius).csv()


def main() -> int:
    """Write them; gives the exit status."""
    for path, data in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
