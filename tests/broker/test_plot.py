"""``broker plot``: files with pictures in them, and what it says when it cannot draw."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pytest
from PIL import Image as Pictures

from broker import plot
from broker.pictures.packet_files import packet_of_file
from tests.conftest import RealData
from tests.nights import run, simulated, truth


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "12", "--seed", "5")


@pytest.fixture(scope="module")
def warehouse(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warehouse")
    assert run(folder, night) == 0
    return folder


def command(*words: str | Path) -> int:
    """The exit status, as ``broker`` would give it."""
    parser = argparse.ArgumentParser("broker plot")
    plot.add_arguments(parser)
    return plot.main(parser.parse_args([str(word) for word in words]))


def test_all_pictures_from_a_warehouse(night: Path, warehouse: Path, tmp_path: Path) -> None:
    alert = truth(night)[0]
    wanted = {
        "stamps": ("--alert_id", str(alert["alert_id"])),
        "light-curve": ("--object", alert["object_id"]),
        "sky": ("--night", str(alert["night"])),
    }
    for picture, flags in wanted.items():
        out = tmp_path / f"{picture}.png"
        assert command(picture, *flags, "--warehouse", warehouse, "--out", out, "--dpi", "50") == 0
        with Pictures.open(out) as made:
            assert made.format == "PNG"
            assert made.width >= 400
    out = tmp_path / "one.png"
    assert command("light-curve", *wanted["stamps"], "--warehouse", warehouse, "--out", out, "--dpi", "50") == 0
    assert out.read_bytes() != (tmp_path / "light-curve.png").read_bytes()


@pytest.mark.parametrize(("ending", "begins"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("jpg", b"\xff\xd8")])
def test_the_ending_says_what_kind_of_file(night: Path, tmp_path: Path, ending: str, begins: bytes) -> None:
    out = tmp_path / f"picture.{ending}"
    assert command("light-curve", "--packet", next(night.glob("*.tar.gz")), "--out", out) == 0
    assert out.read_bytes().startswith(begins)


def test_a_packet_of_an_archive_is_picked_by_its_id(night: Path, warehouse: Path, tmp_path: Path) -> None:
    archive = next(night.glob("*.tar.gz"))
    first, last = truth(night)[0]["alert_id"], truth(night)[-1]["alert_id"]
    svg = []
    for number, flags in enumerate(
        (
            ("--packet", archive),
            ("--packet", archive, "--alert_id", last),
            ("--alert_id", last, "--warehouse", warehouse),
        )
    ):
        out = tmp_path / f"{number}.svg"
        assert command("stamps", *flags, "--out", out) == 0
        found = packet_of_file(str(archive), None if number == 0 else last)
        assert found["candid"] == (first, last, last)[number]
        svg.append(len(out.read_bytes()))
    # The same picture from the packet and from the warehouse, another one of another alert.
    assert svg[1] == svg[2]
    assert svg[0] != svg[1]


def test_packets_of_real_files(real_data: RealData, tmp_path: Path) -> None:
    for number, file in enumerate(
        (
            "ztf/by_version/v3.3_472263571115115000.avro",
            "lsst/wire_confluent/v10_0_id1000_170112044529352779.bin",
            "other_surveys/decam/alert.avro",
        )
    ):
        for picture in ("stamps", "light-curve"):
            out = tmp_path / f"{picture}{number}.png"
            assert command(picture, "--packet", real_data / file, "--out", out, "--dpi", "40") == 0
            assert out.stat().st_size > 3000


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stamps"], "give --packet FILE or --alert_id N"),
        (["light-curve"], "give --packet FILE or --alert_id N or --object ID"),
        (["light-curve", "--object", "ZTF1", "--alert_id", "3"], "leave out --packet and --alert_id"),
        (["stamps", "--alert_id", "17"], "the warehouse holds no alert 17"),
        (["stamps", "--alert_id", "17", "--survey", "lsst"], "no alerts of 'lsst'; it holds those of ztf"),
        (["light-curve", "--object", "O'Brien"], 'no alerts of object "O\'Brien"'),
        (["sky", "--night", "2020-01-01"], "no alerts of the night 2020-01-01; its nights are from 2026-09-17"),
        (["stamps", "--packet", "nowhere.avro"], "nowhere.avro"),
        (["sky", "--night", "2026-09-17", "--out", "sky.docx"], "docx is no kind of picture; known are"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence(
    warehouse: Path, tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [] if "--out" in words else ["--out", tmp_path / "x.png"]
    assert command(*words, *out, "--warehouse", warehouse) == 2
    said = capsys.readouterr().err
    assert said.startswith("broker plot: ")
    assert says in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_files_without_a_packet(night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "readme.txt"
    text.write_text("no packet")
    assert command("stamps", "--packet", text, "--out", tmp_path / "x.png") == 2
    assert "holds no packet" in capsys.readouterr().err
    archive = next(night.glob("*.tar.gz"))
    assert command("stamps", "--packet", archive, "--alert_id", "5", "--out", tmp_path / "x.png") == 2
    assert "holds no packet of alert 5" in capsys.readouterr().err
    cut = tmp_path / "cut.avro"
    folder = tmp_path / "unpacked"
    shutil.unpack_archive(archive, folder)
    cut.write_bytes(next(folder.rglob("*.avro")).read_bytes()[:30_000])
    assert command("stamps", "--packet", cut, "--out", tmp_path / "x.png") == 2
    assert "holds no packet (" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    "words", [[], ["moon"], ["stamps"], ["sky", "--out", "x.png"], ["sky", "--night", "then", "--out", "x.png"]]
)
def test_wrong_arguments_end_with_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command(*words)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_dots_per_inch_have_limits(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command("stamps", "--out", "x.png", "--dpi", "100000")
    assert "between 10 and 1200" in capsys.readouterr().err
