"""Packets beside a filter that must and must not pass it: what is wrong with them is told by file and by term."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from alerts.filters.findings import Finding
from alerts.filters.own_packets import OwnPackets, judge_own_packets
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.filters.tree import Query
from alerts.surveys import SURVEYS
from tests.conftest import RealData
from tests.nights import simulated, truth


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "12", "--damaged", "0", "--archive", "folder")


def packets(night: Path) -> dict[int, Path]:
    return {int(path.stem): path for path in night.rglob("*.avro")}


def queries(condition: str, *surveys: str) -> dict[str, Query]:
    text = f"SELECT alert_id FROM alerts WHERE {condition}"
    return {name: parse(text, row_of(SURVEYS[name])) for name in surveys or ("ztf",)}


def put(folder: Path, name: str, *files: Path) -> Path:
    (folder / "mine" / name).mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder / "mine" / name / file.name)
    return folder / "mine"


def one(found: OwnPackets) -> Finding:
    (finding,) = found.findings
    assert finding.is_error
    return finding


def test_packets_that_do_as_they_must_are_counted(night: Path, tmp_path: Path) -> None:
    (first, second, third), *_ = [list(packets(night).items())[:3]]
    folder = put(tmp_path, "passes", first[1], second[1])
    put(tmp_path, "rejects", third[1])
    found = judge_own_packets(folder, queries(f"alert_id IN ({first[0]}, {second[0]}) AND features.n_bands >= 0"))
    assert found == OwnPackets([], passes=2, rejects=1)


def test_the_term_that_decided_is_told_and_pointed_at(night: Path, tmp_path: Path) -> None:
    alert_id, path = next(iter(packets(night).items()))
    condition = "candidate.isdiffpos IS NOT NULL AND features.n_bands < 0 AND candidate.magpsf > 99"
    found = one(judge_own_packets(put(tmp_path, "passes", path), queries(condition)))
    assert found.message.startswith(
        f"mine/passes/{path.name} (alert {alert_id}) must pass, and does not: features.n_bands < 0 is"
    )
    assert "features.n_bands = " in found.message
    text = f"SELECT alert_id FROM alerts WHERE {condition}"
    assert found.told("mine.sql", text).splitlines()[1:] == [
        f"  {text}",
        "  " + " " * text.index("features") + "^" * len("features.n_bands < 0"),
    ]


def test_one_that_must_not_pass_and_does_is_told_by_its_values(night: Path, tmp_path: Path) -> None:
    alert_id, path = next(iter(packets(night).items()))
    found = one(judge_own_packets(put(tmp_path, "rejects", path), queries(f"alert_id = {alert_id}")))
    assert found.message.endswith(f"must not pass, and does: alert_id = {alert_id}")


def test_one_that_fails_has_no_verdict_in_either_folder(night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = next(iter(packets(night).values()))
    wanted = queries("LN(candidate.magpsf) > 100 AND candidate.fid = 1")

    def raises(*_: object) -> None:
        raise ZeroDivisionError("made for this")

    monkeypatch.setattr("alerts.filters.operations.compare", raises)
    folder = put(tmp_path, "rejects", path)
    assert (
        "must not pass, and fails: LN(candidate.magpsf) > 100 is failed (ZeroDivisionError"
        in one(judge_own_packets(folder, wanted)).message
    )


def test_what_is_no_packet_is_a_sentence_and_hides_no_other(night: Path, tmp_path: Path) -> None:
    good, cut, *_ = packets(night).values()
    folder = put(tmp_path, "passes", good)
    (folder / "passes" / "cut.avro").write_bytes(cut.read_bytes()[:-3000])
    (folder / "passes" / "html.avro").write_text("<html>not found</html>")
    (folder / "passes" / "README.md").write_text("why these")
    (folder / "passes" / ".hidden").write_text("of a Mac")
    found = judge_own_packets(folder, queries("candidate.magpsf > 0"))
    assert found.passes == 1
    assert [finding.message.partition(" cannot be decoded: ")[0] for finding in found.findings] == [
        "mine/passes/cut.avro",
        "mine/passes/html.avro",
    ]
    assert all(finding.is_error for finding in found.findings)


def test_folders_that_are_empty_are_a_warning_and_absent_ones_are_nothing(tmp_path: Path) -> None:
    assert judge_own_packets(tmp_path / "mine", queries("candidate.fid = 1")) == OwnPackets([])
    (finding,) = judge_own_packets(put(tmp_path, "rejects"), queries("candidate.fid = 1")).findings
    assert (finding.message, finding.is_error) == ("mine/rejects is there and holds no packets", False)


def test_a_packet_of_another_survey(night: Path, tmp_path: Path) -> None:
    folder = put(tmp_path, "passes", *packets(night).values())
    found = judge_own_packets(folder, queries("features.n_bands > 0", "lsst"))
    assert len(found.findings) == 12
    assert found.passes == 0
    assert "is of ztf, and the filter is of lsst" in found.findings[0].message


def test_matches_are_not_known_of_a_packet_and_that_is_said(night: Path, tmp_path: Path) -> None:
    folder = put(tmp_path, "passes", next(iter(packets(night).values())))
    condition = "EXISTS(SELECT 1 FROM UNNEST(matches) AS m WHERE m.catalog = 'simbad')"
    assert one(judge_own_packets(folder, queries(condition))).message.endswith("; of a packet by itself matches are not known")


def test_many_of_a_kind_are_told_by_their_number(night: Path, tmp_path: Path) -> None:
    archive = simulated(tmp_path / "night", "--alerts", "30", "--damaged", "0")
    folder = put(tmp_path, "rejects", next(archive.glob("*.tar.gz")))
    found = judge_own_packets(folder, queries("candidate.magpsf > 0"))
    assert len(found.findings) == 21
    assert found.findings[-1].message == f"so are {len(truth(archive)) - 20} others of mine/rejects"


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_real_packets(survey: str, real_data: RealData, tmp_path: Path) -> None:
    pattern = {"ztf": "ztf/nightly/*.tar.gz", "lsst": "lsst/wire_confluent/*"}[survey]
    files = [path for path in real_data.glob(pattern) if path.is_file()][:3]
    folder = put(tmp_path, "passes", *files)
    field = {"ztf": "candidate.magpsf", "lsst": "diaSource.psfFlux"}[survey]
    found = judge_own_packets(folder, queries(f"{field} IS NOT NULL AND features.n_bands >= 0", survey))
    assert found.findings == []
    assert found.passes > 0
    wrong = judge_own_packets(folder, queries(f"{field} IS NULL", survey))
    assert len(wrong.findings) == min(found.passes, 20) + (found.passes > 20)
