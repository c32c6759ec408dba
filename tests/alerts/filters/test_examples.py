"""The filters of ``examples/filters``: each is good, tells after whom it is, and holds its own packets, which a command has made."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from alerts.filters.text import read_filter
from broker import filters as command
from tests.alerts.filters.example_packets import FOLDER, PACKETS, files

EXAMPLES = sorted(FOLDER.glob("*.sql"))
LEFT = {"supernova_spectrum"}
"""Those whose warning is right to leave; their text says why."""


def checked(path: Path, *flags: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args(["check", str(path), *flags]))


def test_there_are_many_of_both_surveys() -> None:
    assert len(EXAMPLES) >= 25
    surveys = [read_filter(path).surveys for path in EXAMPLES]
    assert sum("ztf" in each for each in surveys) >= 15
    assert sum("lsst" in each for each in surveys) >= 5


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_is_good_and_holds_its_packets(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = read_filter(path)
    assert told.about
    assert told.reference.startswith("after ")
    assert checked(path, *([] if path.stem in LEFT else ["--strict"])) == 0
    said = capsys.readouterr()
    assert "of its own packets 1 pass and 1 do not, as they must" in said.out
    assert (said.err == "") == (path.stem not in LEFT)


def test_their_packets_are_what_the_command_makes() -> None:
    made = dict(files())
    assert {path.stem for path in EXAMPLES} == set(PACKETS)
    assert {path: path.read_bytes() for path in FOLDER.rglob("*.avro")} == made
    assert sum(map(len, made.values())) < 1_500_000
