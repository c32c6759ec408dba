"""The page of features: its five lines find what was planted, as it prints it; its definitions and pictures are there."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from broker import cli
from tests.broker import features_page as page
from tests.broker.feature_pictures import PICTURES, Planted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def warehouse(folder: Path) -> Path:
    return page.made(folder)


@pytest.fixture(scope="module")
def shown(folder: Path, warehouse: Path) -> dict[str, Planted]:
    return page.planted(folder, warehouse)


@pytest.fixture(scope="module")
def text() -> str:
    return page.PAGE.read_text(encoding="utf-8")


def test_five_lines_find_all_that_was_planted_and_the_others_that_the_page_prints(
    folder: Path, warehouse: Path, text: str
) -> None:
    found = {survey: page.find(folder, warehouse, survey) for survey in page.SHOWN}
    for survey, lines in found.items():
        assert [one.found for one in lines] == [one.planted for one in lines], survey
        assert all(one.planted >= 3 for one in lines)
    assert page.told(text, "found").strip() == page.found_table(found).strip()
    # Whatever has both signs and is not constant varies.
    for lines in found.values():
        assert set(lines[3].others) <= {"variable_star", "active_nucleus"}


def test_a_line_as_it_stands_in_the_page_prints_its_objects(
    folder: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert cli.main(page.given("query")[0][1:]) == 0
    first = page.find(folder, warehouse, "ztf")[0]
    assert capsys.readouterr().out.count("ZTF26") == first.found + first.others.total()


def test_the_definitions_are_those_that_features_are_made_by(text: str) -> None:
    assert page.told(text, "definitions").strip() == page.definitions().strip(), (
        "the definitions have changed: python -m tests.broker.features_page writes them into the page"
    )


def test_there_is_a_picture_of_each_family_and_it_can_be_drawn(shown: dict[str, Planted], text: str) -> None:
    assert list(shown) == list(PICTURES)
    for family, one in shown.items():
        assert f"](img/feature_{family}.png)" in text
        drawn = io.BytesIO()
        PICTURES[family](one).savefig(drawn, dpi=page.DPI)
        with Image.open(page.PAGE.parent / f"img/feature_{family}.png") as kept, Image.open(drawn) as new:
            assert kept.size == new.size
            # All that is drawn is there; letters may be another font's elsewhere.
            unlike = np.abs(np.asarray(kept.convert("L"), float) - np.asarray(new.convert("L"), float)) > 64
            assert unlike.mean() < 0.015, f"python -m tests.broker.features_page draws {family} anew"


def test_the_slope_is_drawn_through_the_points(shown: dict[str, Planted]) -> None:
    for family in ("fader", "riser"):
        one = shown[family]
        (ax,) = PICTURES[family](one).axes
        [line] = [line for line in ax.lines if line.get_label() == "_r slope"]
        (x0, x1), (y0, y1) = line.get_data()
        assert (y1 - y0) / (x1 - x0) == pytest.approx(one.features["r"]["slope_mag_per_day"])
        # The alert's own point is near the line's end.
        assert y1 == pytest.approx(one.packet["candidate"]["magpsf"], abs=0.3)
