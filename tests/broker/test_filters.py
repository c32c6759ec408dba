"""``broker filter``: what it prints of good and of bad filters, and its status."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from broker import cli
from tests.nights import run, simulated

GOOD = """-- about: bright and rising
-- surveys: ztf
-- max_rate: 0.02
SELECT candidate.magpsf AS mag, features.r.n_detections
FROM alerts
WHERE candidate.isdiffpos AND candidate.magpsf < 18
"""
SUSPICIOUS = GOOD.replace("candidate.isdiffpos AND ", "")
WRONG = GOOD.replace("candidate.magpsf < 18", "candidate.magpsff < 18")


def asked(folder: Path, capsys: pytest.CaptureFixture[str], *words: str, **filters: str) -> tuple[int, str, str]:
    for name, text in filters.items():
        (folder / f"{name}.sql").write_text(text)
    status = cli.main(["filter", "check", *(str(folder / f"{name}.sql") for name in filters), *words])
    out, err = capsys.readouterr()
    return status, out.replace(f"{folder}/", ""), err.replace(f"{folder}/", "")


def test_a_good_filter_tells_its_version_and_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = asked(tmp_path, capsys, bright=GOOD)
    assert (status, err) == (0, "")
    head = r"bright\.sql: good for ztf, version [0-9a-f]{12}, cost 0\.0\d+ of decoding an alert"
    form = rf"{head}, columns: mag FLOAT64, n_detections INT64\n"
    assert re.fullmatch(form, out)


def test_what_is_suspicious_is_told_and_is_wrong_only_where_that_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = asked(tmp_path, capsys, bright=SUSPICIOUS)
    assert status == 0
    assert "can be run, with warnings" in out
    assert err.startswith("bright.sql:6:7: warning: candidate.magpsf is the magnitude of the difference")
    assert asked(tmp_path, capsys, "--strict", bright=SUSPICIOUS)[0] == 2


def test_one_that_is_wrong_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = asked(tmp_path, capsys, bad=WRONG, good=GOOD)
    assert status == 2
    assert "bad.sql:6:41: there is no candidate.magpsff; did you mean candidate.magpsf?" in err
    assert out.startswith("good.sql: good for ztf")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT alert_id FROM alerts WHERE TRUE", "it does not say of which surveys; write a line such as -- surveys: ztf"),
        (GOOD.replace("surveys: ztf", "surveys: zft"), "bright.sql:2:13: survey 'zft' is not known"),
        (GOOD.replace("surveys: ztf", "surveys: ztf, ztf"), "a survey is named twice"),
        (GOOD.replace("0.02", "2 %"), "bright.sql:3:14: max_rate is '2 %'; it is a part of the alerts"),
        (GOOD + "-- about: again\n", "about is told twice"),
        (GOOD.replace("candidate.magpsf < 18", "candidate.magpsf < 18 AND candidate.magpsf > 19"), "never true"),
    ],
)
def test_what_is_no_filter_is_told(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = asked(tmp_path, capsys, bright=text)
    assert status == 2
    assert said in err


def test_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["filter", "check", str(tmp_path / "none.sql")]) == 2
    assert "No such file" in capsys.readouterr().err
    (tmp_path / "Loud.sql").write_text(GOOD)
    assert cli.main(["filter", "check", str(tmp_path / "Loud.sql")]) == 2
    assert "'Loud' is no name of a filter" in capsys.readouterr().err
    (tmp_path / "bytes.sql").write_bytes(GOOD.encode() + b"\xff")
    assert cli.main(["filter", "check", str(tmp_path / "*.sql")]) == 2
    assert "bytes.sql is no UTF-8" in capsys.readouterr().err


def test_a_filter_of_two_surveys_must_be_one_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = "-- surveys: ztf lsst\nSELECT alert_id FROM alerts WHERE features.r.last_rate_njy_per_day > 100"
    status, out, _ = asked(tmp_path, capsys, rising=both)
    assert status == 0
    assert [line.split(",")[0] for line in out.splitlines()] == ["rising.sql: good for ztf", "rising.sql: good for lsst"]
    assert asked(tmp_path, capsys, rising=both.replace("features.r.last_rate_njy_per_day", "candidate.ra"))[0] == 2


def test_one_in_python_is_read_and_neither_tried_nor_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "# surveys: ztf lsst\ndef passes(alerts):\n    return alerts.column('ra_deg').is_valid()\n"
    (tmp_path / "own.py").write_text(f"{text}1 / 0  # never executed\n")
    assert cli.main(["filter", "check", str(tmp_path / "own.py")]) == 0
    assert "own.py: can be run for ztf, lsst, version " in capsys.readouterr().out
    for bad, said in (
        (text.replace("passes", "pass_es"), "own.py: it has no function passes"),
        (text + "1 /\n", "own.py: it cannot be read: SyntaxError: invalid syntax"),
        (text.replace("ztf lsst", "zft"), "own.py:1:12: survey 'zft' is not known"),
    ):
        (tmp_path / "own.py").write_text(bad)
        assert cli.main(["filter", "check", str(tmp_path / "own.py")]) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "own.py").write_text(text)
    night = simulated(tmp_path / "night", "--alerts", "2", "--damaged", "0")
    place = str(tmp_path / "warehouse")
    assert run(Path(place), night) == 0
    for words in (("try",), ("explain", "--night", "2026-09-17")):
        assert cli.main(["filter", words[0], str(tmp_path / "own.py"), *words[1:], "--warehouse", place]) == 2
        assert "own.py is in Python, which only runs ask" in capsys.readouterr().err


def test_its_own_packets_are_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night = simulated(tmp_path / "night", "--alerts", "4", "--damaged", "0", "--archive", "folder")
    first, *others = sorted(night.rglob("*.avro"))
    for name, files in (("passes", [first]), ("rejects", others)):
        (tmp_path / "bright" / name).mkdir(parents=True)
        for file in files:
            shutil.copy(file, tmp_path / "bright" / name)
    text = f"-- surveys: ztf\nSELECT alert_id\nFROM alerts\nWHERE alert_id = {first.stem}"
    status, out, err = asked(tmp_path, capsys, bright=text)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "bright.sql: of its own packets 1 pass and 3 do not, as they must"
    status, out, err = asked(tmp_path, capsys, bright=text.replace(" = ", " != "))
    assert status == 2
    assert f"bright.sql:4:7: error: bright/passes/{first.name} (alert {first.stem}) must pass, and does not: alert_id != " in err
    assert err.count("must not pass, and does") == 3
    shutil.rmtree(tmp_path / "bright" / "rejects")
    (tmp_path / "bright" / "rejects").mkdir()
    assert asked(tmp_path, capsys, bright=text)[0] == 0
    assert asked(tmp_path, capsys, "--strict", bright=text)[0] == 2


def test_what_can_be_asked_for_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["filter", "columns", "ztf", "candidate.dist"]) == 0
    lines = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    assert ["candidate.distnr", "FLOAT64", "NULL where the packet has -999.0."] in lines
    assert "candidate.distnr_arcsec" in [line[0] for line in lines]
    assert cli.main(["filter", "columns", "ztf", "nothing"]) == 2
    assert "nothing of ztf begins with 'nothing'" in capsys.readouterr().err
    assert cli.main(["filter", "columns", "zft"]) == 2
