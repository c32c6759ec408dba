"""Light curves with what their features say: lines that are where the features say, and numbers with units."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alerts.features.of_packet import features_of_packet
from alerts.surveys import SURVEYS
from broker import plot, warehouse
from broker.pictures import plot_light_curve
from broker.pictures.packets import NoPicture
from tests.alerts.features.made import NOW_JD
from tests.alerts.features.test_signs import lsst, ztf
from tests.nights import run, simulated, truth


def lines(figure: Any) -> dict[str, Any]:
    """Those of features, by band and what they are."""
    drawn = {line.get_label().strip("_"): line for line in figure.axes[0].lines}
    return {name: np.array(line.get_data()).T for name, line in drawn.items() if name.endswith((" slope", " rise"))}


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def packet(row: dict[str, Any], alert_id: int, position: dict[str, float]) -> dict[str, Any]:
    own = next(iter(row))
    return {"objectId": "ZTF1", "candid": alert_id} | row | {own: row[own] | position}


def test_a_slope_and_a_rise_are_where_the_features_say() -> None:
    limit = {"jd": NOW_JD - 5, "fid": 2, "magpsf": None, "candid": None, "diffmaglim": 21.0}
    sent = packet(ztf({2: 18.0, 1: 18.4, 0: 19.0}, others=[limit]), 1, {"ra": 10.0, "dec": 20.0})
    features = features_of_packet(sent, SURVEYS["ztf"])["r"]
    figure = plot_light_curve(sent, survey="ztf", features=True)
    slope, rise = (lines(figure)[f"r {name}"] for name in ("slope", "rise"))
    (begin, end) = slope
    assert (end[1] - begin[1]) / (end[0] - begin[0]) == pytest.approx(features["slope_mag_per_day"])
    now_mjd = NOW_JD - 2400000.5
    # All errors are the same: the line goes through the mean of times and magnitudes.
    assert np.interp(now_mjd - 1, slope[:, 0], slope[:, 1]) == pytest.approx(np.mean([18.0, 18.4, 19.0]))
    assert begin[0] < now_mjd - 2 < now_mjd < end[0]
    assert rise == pytest.approx(np.array([[now_mjd - 5, 21.0], [now_mjd - 2, 18.0]]))
    assert "r: slope 0.5 ± 0.07071 mag/d (fading)" in legend(figure)
    assert "r: rose by 1 mag/d or more" in legend(figure)
    assert "2 d old or more" in legend(figure)
    assert not lines(plot_light_curve(sent, survey="ztf"))


def test_what_is_fainter_than_the_template_has_a_number_and_no_line() -> None:
    figure = plot_light_curve(packet(ztf({1: 18.0, 0: 19.0}, sign="f"), 1, {"ra": 1.0, "dec": 2.0}), survey="ztf", features=True)
    assert not lines(figure)
    assert any(text.startswith("r: slope ") and text.endswith("nJy/d (brightening)") for text in legend(figure))


def test_fluxes_have_lines_in_njy() -> None:
    sent = {"diaSourceId": 5} | packet(lsst({2: 1000.0, 1: 2000.0, 0: 3000.0}), 5, {"ra": 1.0, "dec": 2.0, "diaObjectId": 7})
    figure = plot_light_curve(sent, survey="lsst", features=True)
    (begin, end) = lines(figure)["r slope"]
    assert (end[1] - begin[1]) / (end[0] - begin[0]) == pytest.approx(1000.0)
    assert any(text.startswith("r: slope 1,000 ± ") and text.endswith("nJy/d (brightening)") for text in legend(figure))


def test_features_of_apparent_magnitudes_are_refused() -> None:
    with pytest.raises(NoPicture, match="leave out --features, or --apparent"):
        plot_light_curve(packet(ztf({0: 18.0}), 1, {"ra": 1.0, "dec": 2.0}), quantity="apparent", features=True)


def test_an_objects_features_are_those_of_its_newest_alert(tmp_path: Path) -> None:
    night = simulated(tmp_path / "night", "--alerts", "12", "--seed", "5")
    assert run(tmp_path / "w", night) == 0
    alert = truth(night)[0]
    parser = argparse.ArgumentParser("broker plot")
    plot.add_arguments(parser)
    place = str(tmp_path / "w")
    for name, chosen in (("object", alert["object_id"]), ("alert_id", str(alert["alert_id"]))):
        out = str(tmp_path / f"{name}.png")
        words = ["light-curve", f"--{name}", chosen, "--warehouse", place, "--out", out, "--features"]
        assert plot.main(parser.parse_args(words)) == 0
    with warehouse.open(place) as opened:
        newest = opened.alerts_of(alert["object_id"]).to_pylist()[-1]["alert_id"]
        figures = [plot_light_curve(what, opened, features=True) for what in (alert["object_id"], {"alert_id": newest})]
    told = [[text for text in legend(figure) if re.search(r"slope|rose|latitude| d ", text)] for figure in figures]
    assert told[0] == told[1]
    assert any(text.endswith("d old or more") for text in told[0])
    assert [line.tolist() for line in lines(figures[0]).values()] == [line.tolist() for line in lines(figures[1]).values()]
