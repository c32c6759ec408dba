"""Features of one packet, and as people read them: the same numbers, with units, and what a sign means."""

from __future__ import annotations

import io
import re
from typing import Any

import fastavro
import pytest

from alerts.avro.decode import decode
from alerts.avro.packets import open_packets
from alerts.features import words
from alerts.features.compute import features_of
from alerts.features.definitions import of_alerts, of_bands
from alerts.features.of_packet import features_of_packet
from alerts.surveys import SURVEYS
from simulation import simulate_packets


@pytest.mark.parametrize("name", ["ztf", "lsst"])
def test_a_packet_has_the_features_of_its_row(name: str) -> None:
    survey = SURVEYS[name]
    sent = [packet.data for packet in simulate_packets(survey=name, alerts=20, seed=6)]
    rows = decode([packet for data in sent for packet in open_packets(data, "made", {})]).rows[name]
    packets = [next(iter(fastavro.reader(io.BytesIO(data)))) for data in sent]
    assert [features_of_packet(packet, survey) for packet in packets] == features_of(rows, survey).to_pylist()


def made(**band: Any) -> dict[str, Any]:
    nothing = {definition.name: 0 if definition.type == "INT64" else None for definition in of_bands(SURVEYS["ztf"])}
    alone = {definition.name: 0 if definition.type == "INT64" else None for definition in of_alerts(SURVEYS["ztf"])}
    return {"g": nothing, "i": nothing, "r": nothing | band} | alone


@pytest.mark.parametrize(
    ("slope", "error", "means"),
    [
        (0.5, 0.1, "0.5 ± 0.1 mag/d (fading)"),
        (-0.5, 0.1, "-0.5 ± 0.1 mag/d (brightening)"),
        (0.1, 0.5, "0.1 ± 0.5 mag/d (nothing beyond its error)"),
        (0.5, None, "0.5 mag/d (fading)"),
    ],
)
def test_what_the_sign_of_a_magnitude_means(slope: float, error: float | None, means: str) -> None:
    told = made(n_detections=3, n_mag=3, span_days=2.0, slope_mag_per_day=slope, slope_err_mag_per_day=error)
    assert words.summary(told, SURVEYS["ztf"])[1:] == [f"r: 3 detections in 2 d, slope {means}"]


def test_a_flux_that_grows_brightens() -> None:
    told = made(n_detections=2, n_negative=2, span_days=2.0, slope_njy_per_day=70.0, slope_err_njy_per_day=10.0)
    assert words.summary(told, SURVEYS["ztf"])[1:] == ["r: 2 detections (2 negative) in 2 d, slope 70 ± 10 nJy/d (brightening)"]


def test_all_of_them_have_a_line_and_their_unit() -> None:
    (sent,) = simulate_packets(survey="ztf", alerts=1, seed=6)
    told = features_of_packet(next(iter(fastavro.reader(io.BytesIO(sent.data)))), SURVEYS["ztf"])
    lines = [re.split(r"  +", line) for line in words.table(told, SURVEYS["ztf"])]
    bands = next(line for line in lines if line[0] == "feature")[2:]
    shown = {line[0] for line in lines} - {"", "feature"}
    known = {name for band in bands for name, value in told[band].items() if value is not None}
    alone = {definition.name for definition in of_alerts(SURVEYS["ztf"]) if told[definition.name] is not None}
    assert shown == known | alone
    assert ["mean_mag", "mag"] in [line[:2] for line in lines]
