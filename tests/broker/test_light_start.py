"""Commands load what they use: their help next to nothing, a question to a folder DuckDB and Arrow. Modules count, not time."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from broker import cli
from pipelines.help import WITHOUT_EFFECT, add_flags, help_text
from pipelines.options import AgainOptions, BrokerOptions, ReplayOptions, RoundsOptions
from tests.warehouses.commits import alerts, put

HEAVY = (
    *("apache_beam", "astropy", "astropy_healpix", "astroquery", "fsspec", "gcsfs", "google", "grpc", "indexed_gzip"),
    *("matplotlib", "numba", "pandas", "PIL", "requests", "scipy", "sqlalchemy", "tqdm"),
)
"""What neither a command's help nor a question to a folder on this machine needs."""
LIBRARIES = ("duckdb", "fastavro", "numpy", "pyarrow")
"""What a question needs, and of the helps only those that name the surveys."""
NAMING_SURVEYS = ("audit", "features", "ingest", "refilter", "rematch", "replay", "simulate")
"""Commands whose help names the surveys, which are told with their tables: these are Arrow's."""
MOST_MODULES = {"help": 160, "help that names surveys": 370, "completion": 445, "question": 490}
"""A fifth above what was counted on Python 3.11, without its own 70, or those that who measures coverage brings."""

_PROGRAM = """
import json, sys
before = set(sys.modules)
from broker import cli
try:
    status = cli.main(sys.argv[2:])
except SystemExit as end:  # argparse has shown the help
    status = end.code
with open(sys.argv[1], "w") as file:
    json.dump({"status": status, "loaded": sorted(set(sys.modules) - before)}, file)
"""


def loaded_by(words: Sequence[str], folder: Path) -> tuple[set[str], int]:
    """The packages and the number of modules that a command has loaded when it is done, in a process of its own."""
    note = folder / "loaded.json"
    command = [sys.executable, "-c", _PROGRAM, str(note), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    noted = json.loads(note.read_text())
    assert noted["status"] == 0, done.stderr
    assert done.stdout.strip(), done.stderr
    return {name.partition(".")[0] for name in noted["loaded"]}, len(noted["loaded"])


@pytest.mark.parametrize("command", [None, *cli.COMMANDS])
def test_help_loads_nothing_that_it_does_not_say(command: str | None, tmp_path: Path) -> None:
    found, count = loaded_by(["--help"] if command is None else [command, "--help"], tmp_path)
    assert found.isdisjoint(HEAVY)
    if command not in NAMING_SURVEYS:
        assert found.isdisjoint(LIBRARIES)
    assert count <= MOST_MODULES["help that names surveys" if command in NAMING_SURVEYS else "help"]


def test_completion_knows_all_flags_without_loading_what_commands_use(tmp_path: Path) -> None:
    found, count = loaded_by(["completion", "bash"], tmp_path)
    assert found.isdisjoint(HEAVY)
    assert count <= MOST_MODULES["completion"]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("warehouse"))
    put(folder, "run", ("night",), alerts())
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ("query", "SELECT 1"),
        ("query", "SELECT * FROM ztf_alerts_unique", "--format", "csv"),
        ("query", "--object", "{object_id}"),
        ("info", "{alert_id}"),
    ],
    ids=" ".join,
)
def test_a_question_to_a_folder_loads_duckdb_and_arrow(words: Sequence[str], warehouse: str, tmp_path: Path) -> None:
    [one, *_] = alerts().to_pylist()
    asked = [word.format(**one) for word in words]
    found, count = loaded_by([*asked, "--warehouse", warehouse], tmp_path)
    assert found.isdisjoint(HEAVY)
    assert found >= {"duckdb", "pyarrow"}
    assert count <= MOST_MODULES["question"]


@pytest.mark.parametrize("place", ["{ra_deg},{dec_deg}", "10:00:24,+02:12:00"])
def test_a_cone_loads_of_astropy_only_what_is_compiled(place: str, warehouse: str, tmp_path: Path) -> None:
    [one, *_] = alerts().to_pylist()
    found, count = loaded_by(["query", "--cone", f"{place.format(**one)},5", "--warehouse", warehouse], tmp_path)
    # The compiled module names itself so; its package would bring astropy.
    assert found.intersection(HEAVY) == {"astropy_healpix"}
    assert count <= MOST_MODULES["question"]


def told(parser: argparse.ArgumentParser) -> dict[tuple[str, ...], dict[str, Any]]:
    """All that a parser knows of each flag, but for its help where that is left out."""
    return {
        tuple(action.option_strings): {name: value for name, value in vars(action).items() if name != "container"}
        for action in parser._actions
    }


@pytest.mark.parametrize(
    ("command", "own"),
    [
        ("broker ingest", RoundsOptions),
        ("broker replay", ReplayOptions),
        ("broker rematch", AgainOptions),
        ("broker refilter", AgainOptions),
    ],
)
def test_the_flags_of_the_help_are_those_that_beam_reads(command: str, own: type[PipelineOptions] | None) -> None:
    of_help, of_beam = (argparse.ArgumentParser(add_help=False) for _ in range(2))
    add_flags(of_help, command)
    for group in (own, BrokerOptions):
        if group is not None:
            group._add_argparse_args(of_beam)
    helps, beams = told(of_help), told(of_beam)
    sources = {*beams} - {*helps}
    assert {flag for [flag] in sources} == (
        {"--input", "--subscription", "--topic", "--timestamp_attribute", "--id_label", "--stop_after_secs"}
        if command != "broker ingest"
        else set()
    )
    for flags, action in helps.items():
        if flags[0] in WITHOUT_EFFECT.get(command, ()):
            action["help"] = beams[flags]["help"]
        assert action == beams[flags]
    # And so Beam gives their defaults where nothing is said.
    options = PipelineOptions([])
    values = {
        name: value for group in (own, BrokerOptions) if group for name, value in options.view_as(group).get_all_options().items()
    }
    assert {action["dest"]: values[action["dest"]] for action in helps.values()} == {
        action["dest"]: action["default"] for action in helps.values()
    }


@pytest.mark.parametrize("command", ["ingest", "replay", "rematch", "refilter"])
def test_help_is_the_same_by_whichever_way_it_is_asked_for(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert capsys.readouterr().out == help_text(f"broker {command}") + "\n"
