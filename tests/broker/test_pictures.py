"""Pictures: what is drawn, where, and what is said about it, for real packets and simulated ones."""

from __future__ import annotations

import copy
import io
import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.figure import Figure
from PIL import Image as Pictures

from alerts.surveys import SURVEYS
from broker import warehouse as warehouses
from broker.pictures import plot_light_curve, plot_sky, plot_stamps, sky
from broker.pictures.packets import NoPicture, first, observed_at, survey_of
from broker.pictures.photometry import brightness
from broker.pictures.sky_axes import PartOfSky, WholeSky, piece_of
from broker.pictures.stamps import NAN_COLOR
from broker.warehouse import QueryError, Warehouse
from simulation import simulate_packets
from simulation.stamps import lsst_stamp, ztf_stamp
from tests.alerts.test_cutouts import by_astropy, records, stamps_of
from tests.conftest import RealData
from tests.nights import ask, run, simulated, truth

ARCSEC_PER_PIXEL = 0.2


def packet_from(data: bytes) -> dict[str, Any]:
    return next(iter(fastavro.reader(io.BytesIO(data))))


@pytest.fixture(scope="module")
def ztf() -> list[dict[str, Any]]:
    """Simulated packets of ZTF 4.02."""
    return [packet_from(one.data) for one in simulate_packets(survey="ztf", alerts=30, seed=4)]


@pytest.fixture(scope="module")
def lsst() -> list[dict[str, Any]]:
    """Simulated packets of LSST 10.0."""
    return [packet_from(one.data) for one in simulate_packets(survey="lsst", alerts=30, seed=4)]


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A night of ZTF with copies, one of LSST, and another one of ZTF."""
    made = {}
    for name, flags in {
        "ztf": ("--alerts", "150", "--duplicates", "10"),
        "lsst": ("--alerts", "40", "--survey", "lsst"),
        "later": ("--alerts", "20", "--night", "2026-09-20"),
    }.items():
        made[name] = simulated(tmp_path_factory.mktemp(name), "--seed", "8", *flags)
    return made


@pytest.fixture(scope="module")
def folder(nights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("warehouse")
    assert run(found, *nights.values()) == 0
    return found


@pytest.fixture
def warehouse(folder: Path) -> Any:
    with warehouses.open(str(folder)) as opened:
        yield opened


def first_of(path: Path, chosen: Any = lambda packet: True) -> dict[str, Any]:
    return next(packet for packet in records(path) if chosen(packet))


def pixels_drawn(fig: Figure) -> dict[str, np.ndarray]:
    """The pixels of each panel that has an image, by the panel's title, NaN where masked."""
    return {ax.get_title(): np.ma.filled(ax.images[0].get_array(), np.nan) for ax in fig.axes if ax.images}


def texts(fig: Figure) -> str:
    return "\n".join(text.get_text() for ax in fig.axes for text in ax.texts)


def raster(fig: Figure, dpi: int = 80) -> np.ndarray:
    """The picture itself: [row from the top, column, RGB]."""
    file = io.BytesIO()
    fig.savefig(file, format="png", dpi=dpi)
    return np.asarray(Pictures.open(file).convert("RGB")).astype(int)


def points(fig: Figure) -> dict[str, np.ndarray]:
    """Everything in a light curve by its look: time, value."""
    found: dict[str, list[np.ndarray]] = {}
    for one in fig.axes[0].containers:
        found.setdefault(one.get_label().strip("_"), []).append(np.array(one.lines[0].get_data()).T)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def number_of(fig: Figure, *kinds: str) -> int:
    return sum(len(data) for name, data in points(fig).items() if name.split(" ", 1)[1] in kinds)


# Stamps


def test_three_different_stamps_with_astropys_pixels(real_data: RealData) -> None:
    packet = first_of(real_data / "ztf/nightly/ztf_public_20181129.tar.gz", lambda one: one["candidate"]["isdiffpos"] == "t")
    fig = plot_stamps(packet)
    drawn = pixels_drawn(fig)
    assert list(drawn) == ["science", "template", "difference"]
    for role, data in stamps_of(packet).items():
        assert np.array_equal(drawn[role], by_astropy(data), equal_nan=True)
    assert not any(np.array_equal(drawn[a], drawn[b]) for a, b in (("science", "template"), ("science", "difference")))
    title = fig.get_suptitle()
    assert packet["objectId"] in title
    assert str(packet["candid"]) in title
    assert "2018-11-29 " in title
    assert "UTC" in title
    assert f"g band   {packet['candidate']['magpsf']:.2f} ± {packet['candidate']['sigmapsf']:.2f} mag" in title
    assert all((ax.get_xlabel(), ax.get_ylabel()) == ("arcsec east", "arcsec north") for ax in fig.axes)


REAL = {
    "ztf/nightly/ztf_commissioning_20171218.tar.gz": "r band",
    "ztf/nightly/ztf_public_20180626.tar.gz": "mag",
    "ztf/nightly/ztf_public_20240715.tar.gz": "mag (fainter than the template)",
    "lsst/nightly/lsst_20260310_v10_0.tar.gz": "nJy",
    "lsst/ocf/alerce_sample_v9_0.avro": "nJy",
    "other_surveys/decam/alert.avro": "1375 ± 255 nJy",
    "other_surveys/winter/3608701.avro": "15.32 ± 0.04 mag",
    "other_surveys/pgir/114310898.avro": "J band   8.27 ± 0.01 mag",
}


@pytest.mark.parametrize("path", REAL)
def test_stamps_of_every_survey(real_data: RealData, path: str) -> None:
    packet = first_of(real_data / path)
    fig = plot_stamps(packet)
    assert REAL[path] in fig.get_suptitle()
    sent = list(stamps_of(packet).values())
    for image, data in zip(pixels_drawn(fig).values(), sent, strict=True):
        if data[:2] == b"\xff\xd8":
            # A JPEG begins at its top.
            assert np.array_equal(image, np.asarray(Pictures.open(io.BytesIO(data)))[::-1])
        else:
            assert np.array_equal(image, by_astropy(data), equal_nan=True)
    assert raster(fig).std() > 20


def test_a_reversed_difference_is_called_so(real_data: RealData) -> None:
    # Where the source has faded ZTF sends template minus science, in which it is bright.
    seen = set()
    for packet in records(real_data / "ztf/nightly/ztf_public_20231012.tar.gz"):
        titles = [ax.get_title() for ax in plot_stamps(packet).axes]
        faded = packet["candidate"]["isdiffpos"] == "f"
        assert titles[2] == ("difference (template \N{MINUS SIGN} science)" if faded else "difference")
        seen.add(faded)
    assert seen == {True, False}


def test_solar_system_objects_are_named_by_their_own_id(real_data: RealData) -> None:
    packet = first_of(real_data / "lsst/nightly/lsst_20260310_v10_0.tar.gz", lambda one: one["ssSource"])
    assert f"LSST {packet['diaSource']['ssObjectId']} (solar system)" in plot_stamps(packet).get_suptitle()


def test_missing_stamps_are_empty_panels_that_say_so(real_data: RealData, ztf: list[dict[str, Any]]) -> None:
    fig = plot_stamps(first_of(real_data / "elasticc/elasticc_v0_9.tar.gz"))
    assert pixels_drawn(fig) == {}
    assert texts(fig).split("\n") == ["no science stamp", "no template stamp", "no difference stamp"]
    fig = plot_stamps({**ztf[0], "cutoutTemplate": None})
    assert list(pixels_drawn(fig))[:1] == ["science"]
    assert len(pixels_drawn(fig)) == 2
    assert "no template stamp" in texts(fig)


def test_a_damaged_stamp_does_not_take_the_others_along(ztf: list[dict[str, Any]]) -> None:
    packet = {**ztf[0], "cutoutScience": {"fileName": "", "stampData": b"\x1f\x8bnonsense"}}
    fig = plot_stamps(packet)
    assert "the science stamp is damaged" in texts(fig)
    assert len(pixels_drawn(fig)) == 2


def test_nan_has_its_own_color(ztf: list[dict[str, Any]]) -> None:
    color = np.array([int(NAN_COLOR[place : place + 2], 16) for place in (1, 3, 5)])
    packet = copy.deepcopy(ztf[0])
    whole = by_astropy(packet["cutoutScience"]["stampData"]).copy()
    for missing in (0, 20):
        whole[:, 40 : 40 + missing] = np.nan
        for role in ("cutoutScience", "cutoutTemplate", "cutoutDifference"):
            packet[role]["stampData"] = ztf_stamp(whole)
        fig = plot_stamps(packet)
        shown = (np.abs(raster(fig) - color).sum(axis=2) < 6).mean()
        assert (shown > 0.1) == bool(missing)
        assert texts(fig).count("pixels missing") == (3 if missing else 0)


def test_pixels_that_the_template_does_not_cover_are_missing(real_data: RealData) -> None:
    lowest = np.finfo(np.float32).min
    packet = first_of(
        real_data / "ztf/nightly/ztf_public_20231012.tar.gz", lambda one: (by_astropy(stamps_of(one)["template"]) == lowest).any()
    )
    sent = by_astropy(stamps_of(packet)["template"])
    drawn = pixels_drawn(plot_stamps(packet))["template"]
    assert np.array_equal(np.isnan(drawn), np.isnan(sent) | (sent == lowest))
    assert f"{np.isnan(drawn).sum():,} pixels missing" in texts(plot_stamps(packet))


def test_a_cut_stamp_stands_where_the_chip_ends(real_data: RealData) -> None:
    packet = first_of(real_data / "ztf/nightly/ztf_public_20180819_mod1000.tar.gz", lambda one: one["candidate"]["ypos"] < 30)
    fig = plot_stamps(packet)
    ax = fig.axes[0]
    fig.draw_without_rendering()
    image = ax.images[0]
    assert image.get_array().shape == (51, 63)
    # ypos is 19.8: nineteen rows are below the source, thirty-one above it, and the frame is that of a whole stamp.
    assert ax.transData.inverted().transform(image.get_transform().transform((31, 19))) == pytest.approx((0, 0), abs=1e-9)
    half = 31.5 * 1.012
    assert (ax.get_xlim(), ax.get_ylim()) == (pytest.approx((half, -half)), pytest.approx((-half, half)))
    # Row 0 is in the north.
    corner = ax.transData.inverted().transform(image.get_transform().transform((-0.5, -0.5)))
    assert corner == pytest.approx((half, 19.5 * 1.012))


SENT = {
    # Pixels (x, y) of a bright star, and where it is on the sky, arcsec east and north of the middle.
    "ztf": ("ztf/nightly/ztf_public_20231012.tar.gz", 63, (41, 26), (-10.12, 5.06)),
    "winter": ("other_surveys/winter/3608694.avro", 81, (50, 35), (-11.1, -5.55)),
    "pgir": ("other_surveys/pgir/114297926.avro", 61, (40, 25), (-21.8, 43.6)),
}


@pytest.mark.parametrize("name", SENT)
def test_stamps_without_coordinates_are_drawn_north_up_and_east_left_too(real_data: RealData, name: str) -> None:
    path, side, (x, y), (east, north) = SENT[name]
    packet = copy.deepcopy(first_of(real_data / path))
    image = np.random.default_rng(3).normal(0, 1, (side, side)).astype(np.float32)
    image[y - 2 : y + 3, x - 2 : x + 3] = 500
    put_science(packet, ztf_stamp(image))
    fig = plot_stamps(packet)
    ax = fig.axes[0]
    # The array is the one that was sent, the picture is turned.
    assert np.array_equal(pixels_drawn(fig)["science"], image)
    left, up = place_of_white(fig, ax)
    assert (left, up) == (pytest.approx(east, abs=2), pytest.approx(north, abs=2))
    assert {"N", "E"} <= {text.get_text() for text in ax.texts}


def put_science(packet: dict[str, Any], stamp: bytes) -> None:
    if "cutout_science" in packet:
        packet["cutout_science"] = stamp
    elif isinstance(packet["cutoutScience"], dict):
        packet["cutoutScience"]["stampData"] = stamp
    else:
        packet["cutoutScience"] = stamp


def place_of_white(fig: Figure, ax: Any) -> tuple[float, float]:
    """Where the white pixels of a panel are in the picture itself: so much to the left and up, in units of its axes."""
    seen = raster(fig, dpi=100)
    box = ax.get_window_extent()
    panel = seen[int(seen.shape[0] - box.y1) + 2 : int(seen.shape[0] - box.y0) - 2, int(box.x0) + 2 : int(box.x1) - 2]
    rows, columns = np.nonzero((panel > 252).all(axis=2))
    left = (panel.shape[1] / 2 - np.mean(columns)) / panel.shape[1] * np.ptp(ax.get_xlim())
    up = (panel.shape[0] / 2 - np.mean(rows)) / panel.shape[0] * np.ptp(ax.get_ylim())
    return float(left), float(up)


def test_the_bar_is_as_long_as_it_says(real_data: RealData) -> None:
    for path, length in (("ztf/nightly/ztf_public_20231012.tar.gz", 10), ("lsst/nightly/lsst_20260310_v10_0.tar.gz", 2)):
        ax = plot_stamps(first_of(real_data / path)).axes[0]
        [bar] = [line for line in ax.lines if line.get_label() == "_scale"]
        assert f"{length}\N{DOUBLE PRIME}" in {text.get_text() for text in ax.texts}
        assert np.ptp(bar.get_xdata()) * abs(np.ptp(ax.get_xlim())) == pytest.approx(length)


def test_where_nobody_knows_the_orientation_the_picture_says_so(real_data: RealData) -> None:
    fig = plot_stamps(first_of(real_data / "other_surveys/decam/alert.avro"))
    assert {ax.get_xlabel() for ax in fig.axes} == {"pixels, as sent (orientation not known)"}
    assert "N" not in texts(fig).split("\n")


@pytest.mark.parametrize("missing", range(8))
@pytest.mark.parametrize(
    "path",
    ["ztf/nightly/ztf_public_20231012.tar.gz", "lsst/nightly/lsst_20260310_v10_0.tar.gz", "other_surveys/decam/alert.avro"],
)
def test_labels_are_whole_whichever_stamp_is_missing(real_data: RealData, path: str, missing: int) -> None:
    packet = first_of(real_data / path)
    roles = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
    fig = plot_stamps({**packet, **{role: None for number, role in enumerate(roles) if missing >> number & 1}})
    fig.draw_without_rendering()
    for ax in fig.axes:
        for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
            box = text.get_window_extent()
            assert not text.get_text() or (fig.bbox.contains(box.x0, box.y0) and fig.bbox.contains(box.x1, box.y1)), text


def rubin_packet(packet: dict[str, Any], angle_deg: float, east: float, north: float) -> tuple[dict[str, Any], tuple[int, int]]:
    """A packet whose stamps are 44 x 50 pixels, turned, without CTYPE, with one bright pixel so many arcsec from the source.

    Also the pixel (x, y) of it. East is to the left of north, as on the sky.
    """
    turn = math.radians(angle_deg)
    scale = ARCSEC_PER_PIXEL / 3600
    source = 21.4, 25.2
    # Intermediate world coordinates are east and north: the FITS Standard's PC matrix, here a turn and a mirror.
    matrix = np.array([[-math.cos(turn), math.sin(turn)], [math.sin(turn), math.cos(turn)]]) * scale
    away = np.linalg.solve(matrix, np.array([east, north]) / 3600)
    x, y = (round(start + step) for start, step in zip(source, away, strict=True))
    image = np.random.default_rng(2).normal(0, 1, (50, 44)).astype(np.float32)
    image[y - 1 : y + 2, x - 1 : x + 2] = 500
    wcs = [
        ("WCSAXES", 2),
        ("CRPIX1", source[0] + 1),
        ("CRPIX2", source[1] + 1),
        *[(f"PC{row + 1}_{column + 1}", float(matrix[row, column])) for row in (0, 1) for column in (0, 1)],
        ("CDELT1", 1.0),
        ("CDELT2", 1.0),
        ("CRVAL1", 359.9999),
        ("CRVAL2", -62.0),
        ("LATPOLE", 90.0),
        ("MJDREF", 0.0),
    ]
    stamp = lsst_stamp(image, np.ones_like(image), 41, 4.0, wcs)
    return {**packet, "cutoutScience": stamp, "cutoutTemplate": stamp, "cutoutDifference": stamp}, (x, y)


@pytest.mark.parametrize("angle_deg", [0.0, 33.0, 200.0])
@pytest.mark.parametrize(("east", "north"), [(0, 3), (1, 0), (3, 0), (0, -3)])
def test_north_is_up_and_east_is_left(lsst: list[dict[str, Any]], angle_deg: float, east: float, north: float) -> None:
    packet, pixel = rubin_packet(lsst[0], angle_deg, east, north)
    fig = plot_stamps(packet)
    for ax in fig.axes:
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("arcsec east", "arcsec north")
        assert {"N", "E"} <= {text.get_text() for text in ax.texts}
    # In the picture itself: the middle of the white pixels against the middle of the panel.
    ax = fig.axes[0]
    left, up = place_of_white(fig, ax)
    assert left == pytest.approx(east, abs=0.25)
    assert up == pytest.approx(north, abs=0.25)
    # And as the axes have it.
    shown = ax.transData.inverted().transform(ax.images[0].get_transform().transform(pixel))
    assert shown == pytest.approx((east, north), abs=ARCSEC_PER_PIXEL)


def test_real_rubin_stamps_are_turned_as_astropy_says(real_data: RealData) -> None:
    packet = first_of(real_data / "lsst/nightly/lsst_20260310_v10_0.tar.gz")
    fig = plot_stamps(packet)
    ax = fig.axes[0]
    with fits.open(io.BytesIO(packet["cutoutScience"])) as hdus:
        header = hdus[0].header
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
        wcs = WCS(header)
    source = SkyCoord(packet["diaSource"]["ra"], packet["diaSource"]["dec"], unit="deg")
    for pixel in ((3, 4), (20, 7), (11, 28)):
        east, north = source.spherical_offsets_to(wcs.pixel_to_world(*pixel))
        shown = ax.transData.inverted().transform(ax.images[0].get_transform().transform(pixel))
        assert shown == pytest.approx((east.arcsec, north.arcsec), abs=1e-3)
    low, high = sorted(ax.get_ylim())
    assert ax.get_xlim()[0] > ax.get_xlim()[1]
    assert low < 0 < high


def test_the_difference_is_symmetric_about_no_change(ztf: list[dict[str, Any]]) -> None:
    norm = plot_stamps(ztf[0]).axes[2].images[0].norm
    assert norm(0.0) == pytest.approx(0.5)
    assert norm.vmin == -norm.vmax


# The figure


def test_a_figure_given_is_drawn_on_and_returned(ztf: list[dict[str, Any]], warehouse: Warehouse) -> None:
    fig = Figure(figsize=(12, 4))
    assert plot_stamps(ztf[0], fig) is fig
    assert len(fig.axes) == 3
    fig = Figure()
    assert plot_light_curve(ztf[0], fig=fig) is fig
    fig = Figure()
    ax = fig.add_subplot()
    assert plot_light_curve(ztf[0], ax=ax) is fig
    assert fig.axes == [ax]
    assert ax.containers
    ax = Figure().add_subplot(projection="mollweide")
    assert plot_sky(warehouse, "2026-09-17", ax=ax) is ax.figure
    with pytest.raises(ValueError, match="needs 'mollweide'"):
        plot_sky(warehouse, "2026-09-17", ax=Figure().add_subplot())


def test_a_notebook_gets_a_picture(ztf: list[dict[str, Any]]) -> None:
    fig = plot_stamps(ztf[0])
    assert isinstance(fig, Figure)
    with Pictures.open(io.BytesIO(fig._repr_png_())) as picture:
        assert (picture.format, picture.size) == ("PNG", (1100, 440))


def test_pictures_leave_pyplot_alone() -> None:
    code = "import sys, broker.pictures; print('matplotlib.pyplot' in sys.modules, 'apache_beam' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# Whose packet it is


def test_packets_are_known_by_their_fields(real_data: RealData) -> None:
    for pattern, name in {
        "ztf/by_version/*.avro": "ztf",
        "ztf/multi_record/*.avro": "ztf",
        "lsst/official_samples/*.avro": "lsst",
        "lsst/spark_rewritten/*.avro": "lsst",
        "elasticc/*.tar.gz": "elasticc",
        "other_surveys/decam/*.avro": "decam",
        "other_surveys/winter/*.avro": "winter",
        "other_surveys/pgir/*.avro": "pgir",
    }.items():
        files = real_data.glob(pattern)
        assert files
        assert [survey_of(first_of(path)).name for path in files] == [name] * len(files)


def test_a_packet_of_nobody_is_refused() -> None:
    for packet in ({}, {"candid": 1, "candidate": {"jd": 2.0}}):
        with pytest.raises(NoPicture, match="none of ztf, lsst"):
            plot_stamps(packet)


# Light curves


def expected_of_ztf(packet: dict[str, Any]) -> Counter[str]:
    """How many points a packet has, counted by the rules in other words."""
    own = packet["candidate"]
    # Two detections of one exposure are one point.
    found = [own, *(one for one in packet["prv_candidates"] or [] if one["magpsf"] is not None)]
    detections = {(round(one["jd"], 5), one["fid"]) for one in found}
    limits = {
        (round(one["jd"], 5), one["fid"])
        for one in packet["prv_candidates"] or []
        if one["magpsf"] is None and one["diffmaglim"] not in (None, -999) and one["diffmaglim"] > 0
    }
    forced = {
        (round(one["jd"], 5), one["fid"])
        for one in packet.get("fp_hists") or []
        if not {-99999.0, None} & {one["forcediffimflux"], one["forcediffimfluxunc"], one["magzpsci"]}
    }
    return Counter(detections=len(detections), limits=len(limits), forced=len(forced))


KINDS = ("detection", "negative", "limit")
ZTF_NIGHTS = ("20180819_mod1000", "20200202", "20231012", "20240715")


@pytest.mark.parametrize("night", ZTF_NIGHTS)
def test_every_valid_measurement_of_ztf_is_drawn_once(real_data: RealData, night: str) -> None:
    total: Counter[str] = Counter()
    for packet in records(real_data / f"ztf/nightly/ztf_public_{night}.tar.gz"):
        fig = plot_light_curve(packet)
        drawn = Counter(
            detections=number_of(fig, "detection", "negative"),
            limits=number_of(fig, "limit"),
            forced=sum(number_of(fig, f"{flag}forced {kind}") for flag in ("", "flagged ") for kind in KINDS),
        )
        assert drawn == expected_of_ztf(packet)
        total += drawn
        ax = fig.axes[0]
        assert ax.yaxis_inverted()
        assert not ax.xaxis_inverted()
        assert ax.get_xlabel() == "MJD (UTC)"
        assert ax.get_ylabel().startswith("magnitude")
        for data in points(fig).values():
            assert ((data[:, 1] > 10) & (data[:, 1] < 25)).all()
            assert ((data[:, 0] > 57000) & (data[:, 0] < 62000)).all()
    assert total["detections"] > 50
    assert total["limits"] > 50


def test_the_alert_is_not_drawn_twice_where_its_history_holds_it(real_data: RealData) -> None:
    packet = first_of(real_data / "ztf/nightly/ztf_commissioning_20171218.tar.gz")
    assert packet["candid"] in [one["candid"] for one in packet["prv_candidates"]]
    assert number_of(plot_light_curve(packet), "detection") == expected_of_ztf(packet)["detections"]


def test_copies_within_a_history_are_drawn_once(ztf: list[dict[str, Any]]) -> None:
    packet = max(ztf, key=lambda one: len(one["prv_candidates"]))
    twice = {**packet, "prv_candidates": packet["prv_candidates"] * 2, "fp_hists": packet["fp_hists"] * 2}
    once, again = points(plot_light_curve(packet)), points(plot_light_curve(twice))
    assert {name: data.tolist() for name, data in once.items()} == {name: data.tolist() for name, data in again.items()}


@pytest.mark.parametrize("value", ["f", "0", 0, False])
def test_negative_subtractions_are_open(ztf: list[dict[str, Any]], value: Any) -> None:
    for sign, name, face in ((value, "negative", "none"), ("t", "detection", "filled")):
        candidate = {**ztf[0]["candidate"], "isdiffpos": sign}
        fig = plot_light_curve({**ztf[0], "candidate": candidate, "prv_candidates": None, "fp_hists": None})
        [container] = fig.axes[0].containers
        assert container.get_label().endswith(name)
        assert (container.lines[0].get_markerfacecolor() == "none") == (face == "none")


def test_what_is_missing_is_not_drawn(ztf: list[dict[str, Any]]) -> None:
    entry = ztf[0]["prv_candidates"][0] | {"magpsf": None, "candid": None, "sigmapsf": None}
    forced = ztf[0]["fp_hists"][0] | {
        "magzpsci": 26.0,
        "forcediffimflux": 1000.0,
        "forcediffimfluxunc": 100.0,
        "fid": 3,
        "procstatus": "0",
    }
    packet = {
        **ztf[0],
        "prv_candidates": [entry | {"diffmaglim": one, "jd": entry["jd"] + one} for one in (-999.0, -1006.94)]
        + [entry | {"diffmaglim": None}],
        "fp_hists": [
            forced,
            forced | {"jd": forced["jd"] + 1, "forcediffimflux": -99999.0},
            forced | {"jd": forced["jd"] + 2, "forcediffimfluxunc": -99999.0},
            forced | {"jd": forced["jd"] + 3, "forcediffimflux": float("nan")},
            # Below 3 sigma: a limit of 5.
            forced | {"jd": forced["jd"] + 4, "forcediffimflux": -999.1, "forcediffimfluxunc": 400.0},
        ],
    }
    fig = plot_light_curve(packet)
    drawn = points(fig)
    assert drawn["i forced detection"].tolist() == [[pytest.approx(forced["jd"] - 2400000.5), pytest.approx(26 - 7.5)]]
    assert drawn["i forced limit"][:, 1].tolist() == [pytest.approx(26 - 2.5 * math.log10(5 * 400))]
    assert sum(map(len, drawn.values())) == 3
    without = {**packet, "candidate": ztf[0]["candidate"] | {"magpsf": -999.0}, "prv_candidates": None, "fp_hists": None}
    assert "no photometry" in texts(plot_light_curve(without))


def test_sentinels_are_no_fluxes(lsst: list[dict[str, Any]]) -> None:
    packet = next(one for one in lsst if one["prvDiaForcedSources"])
    forced = packet["prvDiaForcedSources"][0]
    values = [-999.0, -99999.0, None, float("nan"), -998.0]
    entries = [forced | {"visit": step, "midpointMjdTai": 61000.0 + step, "psfFlux": value} for step, value in enumerate(values)]
    drawn = points(plot_light_curve({**packet, "prvDiaSources": None, "prvDiaForcedSources": entries}))
    assert drawn[f"{forced['band']} forced negative"].tolist() == [[61004.0, -998.0]]


def test_rubin_light_curves_are_fluxes_in_tai(real_data: RealData) -> None:
    negative = 0
    for number, packet in enumerate(records(real_data / "lsst/nightly/lsst_20260310_v10_0.tar.gz")):
        if number == 8:
            break
        fig = plot_light_curve(packet)
        sources: dict[Any, Any] = {}
        for one in [packet["diaSource"], *(packet["prvDiaSources"] or [])]:
            sources.setdefault((one["visit"], one["detector"], one["band"]), one)
        forced = {(round(one["midpointMjdTai"], 5), one["band"]) for one in packet["prvDiaForcedSources"] or []}
        own = [data for name, data in points(fig).items() if "forced" not in name]
        drawn = np.concatenate(own).tolist()
        assert sorted(drawn) == sorted([one["midpointMjdTai"], one["psfFlux"]] for one in sources.values())
        assert number_of(fig, "forced detection", "forced negative") == len(forced)
        assert number_of(fig, "limit", "forced limit") == 0
        assert all((data[:, 1] < 0).all() for label, data in points(fig).items() if label.endswith("negative"))
        negative += sum(value < 0 for _, value in drawn)
        ax = fig.axes[0]
        assert not ax.yaxis_inverted()
        assert ax.get_xlabel() == "MJD (TAI)"
        assert "nJy" in ax.get_ylabel()
    assert negative > 0


def test_errors_and_bands_are_those_of_the_packet(lsst: list[dict[str, Any]]) -> None:
    packet = max(lsst, key=lambda one: len(one["prvDiaSources"] or []))
    fig = plot_light_curve(packet)
    sources = [packet["diaSource"], *packet["prvDiaSources"]]
    colors: dict[str, set[str]] = {}
    drawn = 0
    for container in fig.axes[0].containers:
        band, kind = container.get_label().strip("_").split(" ", 1)
        colors.setdefault(band, set()).add(container.lines[0].get_color())
        if kind.removeprefix("flagged ") in ("detection", "negative"):
            bars = container.lines[2][0].get_segments()
            mine = [one for one in sources if one["band"] == band]
            ends = sorted((one["midpointMjdTai"], one["psfFlux"] - one["psfFluxErr"]) for one in mine)
            assert {float(bar[0][0]) for bar in bars} <= {time for time, _ in ends}
            assert all(np.isclose(bar[0], ends, rtol=1e-12).all(axis=1).any() for bar in bars)
            drawn += len(bars)
    assert drawn == len(sources)
    assert set(colors) >= {one["band"] for one in sources}
    assert all(len(used) == 1 for used in colors.values())
    assert len({next(iter(used)) for used in colors.values()}) == len(colors)
    entries = {text.get_text() for text in fig.axes[0].get_legend().get_texts()}
    assert f"detection ({number_of(fig, 'detection')})" in entries
    assert f"detection, fainter than template ({number_of(fig, 'negative')})" in entries
    assert {f"{band} band" for band in colors} | {"this alert"} <= entries


@pytest.mark.parametrize(
    ("path", "label", "scale"),
    [
        ("elasticc/elasticc_v0_9.tar.gz", "FLUXCAL", "TAI"),
        ("other_surveys/decam/alert.avro", "nJy", "UTC"),
        ("other_surveys/winter/3608694.avro", "magnitude", "UTC"),
        ("other_surveys/pgir/114297926.avro", "magnitude", "UTC"),
        ("lsst/official_samples/fakeAlert_v3_0.avro", "nJy", "TAI"),
    ],
)
def test_light_curves_of_the_other_surveys(real_data: RealData, path: str, label: str, scale: str) -> None:
    packet = first_of(real_data / path)
    fig = plot_light_curve(packet)
    history = packet.get("prvDiaSources", packet.get("prv_candidates")) or []
    ids = [one.get("diaSourceId", one.get("candid")) for one in history]
    own = packet.get("candid") or packet["diaSource"]["diaSourceId"]
    # All sources of the made-up sample have one time and band.
    expected = 1 if "fakeAlert" in path else len({own, *ids} - {None})
    assert number_of(fig, "detection", "negative") == expected
    assert number_of(fig, "limit") == ids.count(None)
    assert label in fig.axes[0].get_ylabel()
    assert fig.axes[0].get_xlabel() == f"MJD ({scale})"
    for data in points(fig).values():
        assert ((data[:, 0] > 57000) & (data[:, 0] < 63000)).all()


# Over all nights


def test_an_objects_light_curve_is_that_of_all_its_packets(nights: dict[str, Path], folder: Path, warehouse: Warehouse) -> None:
    for survey, table, night in (("ztf", "ztf_alerts", "ztf"), ("lsst", "lsst_alerts", "lsst")):
        [(object_id, count)] = ask(
            folder,
            f"SELECT object_id, count(DISTINCT alert_id) AS n FROM {table} WHERE object_kind IS DISTINCT FROM 'solar_system' "
            # The night whose packets are read below.
            "AND night = '2026-09-17' GROUP BY object_id ORDER BY n DESC, object_id LIMIT 1",
        )
        assert count >= 2
        packets = [
            one
            for one in records(next(nights[night].glob("*.tar.gz")))
            if object_id in (one.get("objectId"), str((one.get("diaSource") or {}).get("diaObjectId")))
        ]
        fig = plot_light_curve(object_id, warehouse)
        if survey == "ztf":
            expected = {one["candid"] for packet in packets for one in [packet, *packet["prv_candidates"]] if one["candid"]}
            limits = {(one["jd"], one["fid"]) for packet in packets for one in packet["prv_candidates"] if not one["candid"]}
            assert number_of(fig, "limit") == len(limits)
        else:
            expected = {
                one["diaSourceId"] for packet in packets for one in [packet["diaSource"], *(packet["prvDiaSources"] or [])]
            }
        # Long histories have some that the survey flags.
        detected = [f"{flag}{kind}" for flag in ("", "flagged ") for kind in ("detection", "negative")]
        assert number_of(fig, *detected) == len(expected)
        assert object_id in fig.axes[0].get_title()
        # By its address, too.
        assert plot_light_curve(object_id, str(folder)).axes[0].get_title() == fig.axes[0].get_title()


def test_a_real_object_of_two_nights(real_data: RealData, tmp_path: Path) -> None:
    archive = real_data / "ztf/nightly/ztf_public_20200202.tar.gz"
    assert run(tmp_path, archive) == 0
    counts = Counter(packet["objectId"] for packet in records(archive))
    [(object_id, count)] = counts.most_common(1)
    assert count == 2
    packets = [packet for packet in records(archive) if packet["objectId"] == object_id]
    expected = {one["candid"] for packet in packets for one in [packet, *packet["prv_candidates"]] if one["candid"]}
    assert number_of(plot_light_curve(object_id, str(tmp_path)), "detection", "negative") == len(expected)


def test_objects_that_are_not_there(folder: Path, warehouse: Warehouse) -> None:
    with pytest.raises(QueryError, match="no alerts of object 'ZTF99nothing'"):
        plot_light_curve("ZTF99nothing", warehouse)
    with pytest.raises(QueryError, match="no alerts of 'decam'; it holds those of ztf, lsst"):
        plot_light_curve("ZTF99nothing", warehouse, survey="decam")
    with pytest.raises(TypeError, match="needs a warehouse"):
        plot_light_curve("ZTF99nothing")
    with pytest.raises(QueryError, match="broker ingest"):
        plot_light_curve("ZTF99nothing", str(folder / "none"))


def test_the_packet_of_an_alert_is_the_one_that_was_sent(nights: dict[str, Path], warehouse: Warehouse) -> None:
    for name in ("ztf", "lsst"):
        sent = next(iter(records(next(nights[name].glob("*.tar.gz")))))
        alert_id = sent.get("candid") or sent["diaSource"]["diaSourceId"]
        found, _ = warehouse.packet(alert_id)
        for role, data in stamps_of(sent).items():
            assert stamps_of(found)[role] == data
        place = SURVEYS[name].alert_id[0].split(".")[0]
        wanted = sent[place] if isinstance(sent[place], dict) else {}
        # Fields of other versions are there, too, and null.
        assert {name: value for name, value in (found[place] if wanted else {}).items() if name in wanted} == wanted
        assert first(found, SURVEYS[name].alert_id) == alert_id
        assert plot_stamps(found).get_suptitle() == plot_stamps(sent).get_suptitle()
        assert points(plot_light_curve(found)).keys() == points(plot_light_curve(sent)).keys()
    with pytest.raises(QueryError, match="holds no alert 17"):
        warehouse.packet(17)


# The sky


def positions(nights: dict[str, Path]) -> dict[int, tuple[float, float]]:
    """Of every alert id of 2026-09-17."""
    return {one["alert_id"]: (one["ra_deg"], one["dec_deg"]) for name in ("ztf", "lsst") for one in truth(nights[name])}


def test_the_sky_of_a_night(nights: dict[str, Path], warehouse: Warehouse) -> None:
    fig = plot_sky(warehouse, "2026-09-17", ax=Figure(figsize=(9, 5)).add_subplot(projection="mollweide"))
    ax = fig.axes[0]
    scatters = [one for one in ax.collections if isinstance(one, PathCollection)]
    drawn = sorted(tuple(point) for one in scatters for point in np.degrees(one.get_offsets()).tolist())
    # Right ascension increases to the left of 0 h.
    expected = sorted((-ra if ra < 180 else 360 - ra, dec) for ra, dec in positions(nights).values())
    assert np.allclose(drawn, expected, atol=1e-9)
    assert "2026-09-17" in ax.get_title()
    assert "150 ZTF, 40 LSST alerts" in ax.get_title()
    assert {one.get_label().split(" ")[0] for one in scatters} >= {"g", "r"}
    assert sum(int(one.get_label().split("(")[1].rstrip(")")) for one in scatters) == 190
    ticks = {text.get_text(): place for text, place in zip(ax.get_xticklabels(), ax.get_xticks(), strict=True)}
    assert ticks["6h"] == pytest.approx(-math.pi / 2)
    assert ticks["18h"] == pytest.approx(math.pi / 2)
    assert raster(fig).std() > 20


def test_the_galactic_plane_is_where_it_is(warehouse: Warehouse) -> None:
    whole = Figure().add_subplot(projection="mollweide")
    ax = plot_sky(warehouse, date(2026, 9, 20), ax=whole).axes[0]
    lines = {line.get_label(): np.degrees(np.array(line.get_data(), float)) for line in ax.lines}
    x, y = lines["galactic plane"]
    assert np.abs(SkyCoord(-x, y, unit="deg").galactic.b.deg).max() < 1e-6
    assert (np.diff(x) >= 0).all()
    [x], [y] = lines["galactic center"]
    assert SkyCoord(-x, y, unit="deg").separation(SkyCoord(266.405, -28.936, unit="deg")).arcmin < 1


def test_one_survey_of_a_night(warehouse: Warehouse) -> None:
    assert ": 40 LSST alerts" in plot_sky(warehouse, "2026-09-17", survey="lsst").axes[0].get_title()


def test_many_alerts_are_shown_as_a_density(
    nights: dict[str, Path], warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sky, "MAX_POINTS", 100)
    fig = plot_sky(warehouse, "2026-09-17", ax=Figure().add_subplot(projection="mollweide"))
    ax = fig.axes[0]
    [mesh] = [one for one in ax.collections if isinstance(one, QuadMesh)]
    density = np.ma.filled(mesh.get_array(), np.nan)
    x, y = np.degrees(mesh.get_coordinates()).T
    x, y = (x.T[:-1, :-1] + x.T[1:, 1:]) / 2, (y.T[:-1, :-1] + y.T[1:, 1:]) / 2
    # Over the sky it sums up to the alerts.
    cell_square_deg = (np.diff(x[0])[0]) * np.diff(y[:, 0])[0] * np.cos(np.radians(y))
    assert np.nansum(density * cell_square_deg) == pytest.approx(190, rel=0.02)
    for ra, dec in positions(nights).values():
        place = np.argmin(np.abs(y[:, 0] - dec)), np.argmin(np.abs(x[0] - (-ra if ra < 180 else 360 - ra)))
        near = density[place[0] - 1 : place[0] + 2, place[1] - 1 : place[1] + 2]
        assert np.isfinite(near).any()
    assert "alerts per square degree" in fig.axes[1].get_ylabel()


def test_a_night_in_a_part_of_the_sky_fills_the_picture(nights: dict[str, Path], warehouse: Warehouse) -> None:
    fig = plot_sky(warehouse, "2026-09-17", survey="lsst")
    [ax] = fig.axes
    assert ax.name != "mollweide"
    fig.draw_without_rendering()
    assert ax.get_aspect() == 1
    high = ax.get_xlim()[1]
    scatters = [one for one in ax.collections if isinstance(one, PathCollection)]
    drawn = np.concatenate([one.get_offsets() for one in scatters])
    assert len(drawn) == 40
    assert (np.abs(drawn) < high).all()
    assert np.abs(drawn).max() > 0.7 * high
    # East is to the left, north is up, and where each point stands astropy agrees.
    sent = SkyCoord([(one["ra_deg"], one["dec_deg"]) for one in truth(nights["lsst"])], unit="deg")
    back = SkyCoord(ax.wcs.pixel_to_world(*drawn.T))
    assert back.match_to_catalog_sky(sent)[1].max().arcsec < 0.01
    assert ax.wcs.wcs.cdelt.tolist() == [-1, 1]


def test_the_density_of_a_part_sums_up_to_the_alerts(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sky, "MAX_POINTS", 10)
    ax = plot_sky(warehouse, "2026-09-17", survey="ztf").axes[0]
    [mesh] = [one for one in ax.collections if isinstance(one, QuadMesh)]
    density = np.ma.filled(mesh.get_array(), np.nan)
    # The projection keeps areas.
    x = mesh.get_coordinates()[0, :, 0]
    assert np.nansum(density) * (x[1] - x[0]) ** 2 == pytest.approx(150, rel=0.03)


@pytest.mark.parametrize(
    ("ra", "dec", "whole"),
    [
        ([0.0, 359.0, 1.0], [0.0, 1.0, -1.0], False),
        ([10.0, 190.0], [89.5, 89.0], False),
        ([10.0], [20.0], False),
        ([0.0, 90.0, 180.0, 270.0], [0.0, 0.0, 0.0, 0.0], True),
        ([0.0, 125.0], [0.0, 0.0], True),
        ([], [], True),
    ],
)
def test_the_projection_is_chosen_from_what_is_shown(ra: list[float], dec: list[float], whole: bool) -> None:
    piece = piece_of(ra, dec)
    assert isinstance(piece, WholeSky) == whole
    if isinstance(piece, PartOfSky):
        x, y = piece.place(ra, dec)
        assert np.hypot(x, y).max() <= piece.half_deg


def test_a_night_without_alerts(warehouse: Warehouse) -> None:
    with pytest.raises(QueryError, match="no alerts of the night 2020-01-01; its nights are from 2026-09-17 to 2026-09-20"):
        plot_sky(warehouse, "2020-01-01")


# What a light curve says of itself


def test_an_alert_whose_own_brightness_is_missing_says_so(ztf: list[dict[str, Any]]) -> None:
    for value, shown in ((float("nan"), "nan"), (None, "null"), (-999.0, "-999.0")):
        packet = {**ztf[0], "candidate": ztf[0]["candidate"] | {"magpsf": value}}
        words = texts(plot_light_curve(packet))
        assert f"this alert's own point is not drawn: its candidate.magpsf is {shown}" in words
    assert "own point" not in texts(plot_light_curve(ztf[0]))


def with_detections(packet: dict[str, Any], fluxes: list[float]) -> dict[str, Any]:
    """A packet of LSST whose history has these fluxes."""
    own = packet["diaSource"] | {"psfFlux": 1000.0, "psfFluxErr": 10.0, "visit": 1}
    history = [
        own | {"visit": number + 2, "diaSourceId": number, "psfFlux": flux, "midpointMjdTai": own["midpointMjdTai"] - number - 1}
        for number, flux in enumerate(fluxes)
    ]
    return {**packet, "diaSource": own, "prvDiaSources": history, "prvDiaForcedSources": None}


def test_wild_points_do_not_squash_the_rest_and_are_counted(lsst: list[dict[str, Any]]) -> None:
    usual = [900.0 + 10 * number for number in range(20)]
    fig = plot_light_curve(with_detections(lsst[0], [*usual, 5e6, -4e6]))
    low, high = fig.axes[0].get_ylim()
    assert 0 < low < 900 < 1100 < high < 3000
    assert "2 points beyond the axes" in texts(fig)
    # The rise of a transient is no wild point.
    rise = [100.0 * 1.3**number for number in range(20)]
    fig = plot_light_curve(with_detections(lsst[0], rise))
    assert fig.axes[0].get_ylim()[1] > rise[-1]
    assert "beyond" not in texts(fig)


def test_fluxes_have_magnitudes_beside_them(lsst: list[dict[str, Any]]) -> None:
    fig = plot_light_curve(with_detections(lsst[0], [900.0, 3631.0, 200.0]))
    [side] = fig.axes[0].child_axes
    assert side.get_ylabel().startswith("AB magnitude")
    ticks = dict(zip([text.get_text() for text in side.get_yticklabels()], side.get_yticks(), strict=True))
    assert len(ticks) >= 3
    for text, flux in ticks.items():
        assert 31.4 - 2.5 * math.log10(flux) == pytest.approx(float(text), abs=0.051)


def test_apparent_magnitudes_are_drawn_where_they_are_asked_for(real_data: RealData) -> None:
    packet = first_of(real_data / "ztf/nightly/ztf_public_20231012.tar.gz")
    fig = plot_light_curve(packet, quantity="apparent")
    assert fig.axes[0].get_ylabel() == "apparent magnitude (AB)"
    assert "difference" in plot_light_curve(packet).axes[0].get_ylabel()
    # The source of the reference has 15.7 mag, its differences from that are of some 18 mag.
    assert all((data[:, 1] < 16).all() for data in points(fig).values())
    assert all((data[:, 1] > 16).all() for data in points(plot_light_curve(packet)).values())


@pytest.mark.parametrize(
    "path",
    ["lsst/nightly/lsst_20260310_v10_0.tar.gz", "ztf/nightly/ztf_public_20240715.tar.gz", "other_surveys/decam/alert.avro"],
)
def test_legend_title_and_labels_of_a_light_curve_are_whole(real_data: Path, path: str) -> None:
    for number, packet in enumerate(records(real_data / path)):
        fig = plot_light_curve(packet)
        fig.draw_without_rendering()
        ax = fig.axes[0]
        for one in (ax.get_legend(), ax.title, ax.xaxis.label, ax.yaxis.label, *(side.yaxis.label for side in ax.child_axes)):
            box = one.get_window_extent()
            assert fig.bbox.contains(box.x0, box.y0), one
            assert fig.bbox.contains(box.x1, box.y1), one
        if number == 5:
            break


def test_titles_say_what_is_not_known(ztf: list[dict[str, Any]]) -> None:
    facts = SURVEYS["ztf"]
    assert brightness(ztf[0], replace(facts, photometry=None)) == brightness({}, facts) == "brightness unknown"
    assert brightness({"candidate": ztf[0]["candidate"] | {"magpsf": None}}, facts) == "brightness unknown"
    assert observed_at({"candidate": {"jd": None}}, facts) == "time unknown"
    assert sky._band_column(replace(facts, photometry=None)) == "NULL"
    with pytest.raises(NoPicture, match="survey 'sdss' is not known"):
        survey_of(ztf[0], "sdss")


def test_fluxes_below_zero_have_no_magnitudes_beside_them(lsst: list[dict[str, Any]]) -> None:
    packet = with_detections(lsst[0], [-900.0, -950.0])
    packet["diaSource"] |= {"psfFlux": -1000.0}
    assert not plot_light_curve(packet).axes[0].child_axes
