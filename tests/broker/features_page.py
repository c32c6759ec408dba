"""``docs/features.md``: its own commands make a night and ask it; what they find, definitions and pictures go into the page.

python -m tests.broker.features_page    writes them, and docs/img/feature_*.png
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro

from alerts.features.describe import markdown
from alerts.surveys import SURVEYS
from broker import cli
from tests.broker.feature_pictures import PICTURES, Planted
from tests.nights import ask, truth
from tests.pages import blocks, commands

NAME = "docs/features.md"
PAGE = Path(__file__).parents[2] / NAME
SHOWN = ("ztf", "lsst")
"""The surveys whose definitions the page has, and whose nights it asks."""
LINES = (("fader",), ("riser",), ("flare",), ("variable",), ("hostless", "mover"))
"""The families that each of the five lines is to find."""
DPI = 100


@dataclass(frozen=True)
class Found:
    """What a line has found: objects of its families, of how many, and others by family."""

    planted: int
    found: int
    others: Counter[str]


def told(page: str, name: str) -> str:
    """What stands in the page between two marks."""
    return _between(name).findall(page)[0][1]


def put(page: str, name: str, text: str) -> str:
    """The page with other text between these marks."""
    return _between(name).sub(lambda found: f"{found[1]}\n{text}\n{found[3]}", page)


def _between(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: .*? -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)


def given(word: str) -> list[list[str]]:
    """The page's commands that begin with ``broker`` and a word, split."""
    lines = [line for block in blocks(NAME, "sh") for line in commands(block)]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(f"broker {word} ")]


def questions() -> dict[str, list[str]]:
    """By survey the five lines of SQL."""
    *four, hostless, hostless_lsst = (words[-1] for words in given("query"))
    return {"ztf": [*four, hostless], "lsst": [*(line.replace("ztf_", "lsst_") for line in four), hostless_lsst]}


def made(folder: Path) -> Path:
    """The page's nights and its warehouse, made in a folder by the page's own commands."""
    with contextlib.chdir(folder):
        for words in [*given("simulate"), *given("ingest")]:
            assert cli.main(words[1:]) == 0, shlex.join(words)
    return folder / given("ingest")[0][-1]


def find(folder: Path, warehouse: Path, survey: str) -> list[Found]:
    """What each of the five lines finds in a survey's night."""
    family = {row["object_id"]: row["family"] for row in truth(folder / f"planted_{survey}")}
    found = []
    for wanted, sql in zip(LINES, questions()[survey], strict=True):
        names = [family[object_id] for (object_id,) in ask(warehouse, sql)]
        others = Counter(name for name in names if name not in wanted)
        planted = sum(name in wanted for name in family.values())
        found.append(Found(planted, len(names) - others.total(), others))
    return found


def found_table(found: dict[str, list[Found]]) -> str:
    """What the lines have found, as the page has it."""
    head = " | ".join(f"{survey.upper()}: planted | found | others" for survey in SHOWN)
    lines = [f"| | {head} |", f"|---|{'--:|--:|---|' * len(SHOWN)}"]
    for number, families in enumerate(LINES):
        cells = []
        for survey in SHOWN:
            one = found[survey][number]
            # The most first.
            kinds = sorted(one.others.items(), key=lambda item: (-item[1], item[0]))
            named = ", ".join(f"{count} `{name}`" for name, count in kinds)
            cells += [str(one.planted), str(one.found), f"{one.others.total()}: {named}" if named else "0"]
        lines.append(f"| {' and '.join(families)} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def definitions() -> str:
    """All definitions of the surveys that are shown, as the page has them."""
    return "\n\n".join(markdown(SURVEYS[survey]).replace("## ", "### ", 1) for survey in SHOWN) + "\n"


def planted(folder: Path, warehouse: Path) -> dict[str, Planted]:
    """The first planted object of each family in ZTF's night, as its last alert tells of it."""
    rows: dict[int, dict[str, Any]] = {row["alert_id"]: row for row in truth(folder / "planted_ztf")}
    with tarfile.open(next((folder / "planted_ztf").glob("*.tar.gz"))) as archive:
        packets = [
            next(iter(fastavro.reader(io.BytesIO(file.read())))) for member in archive if (file := archive.extractfile(member))
        ]
    found = {}
    for number, family in enumerate(PICTURES):
        places = [packet for packet in packets if rows[packet["candid"]]["planted"] == number]
        alert_id = places[-1]["candid"]
        assert rows[alert_id]["family"] == family
        [(features,)] = ask(warehouse, f"SELECT features FROM ztf_features_unique WHERE alert_id = {alert_id}")
        found[family] = Planted(places[-1], features, rows[alert_id], places)
    return found


def main(say: Callable[[str], object] = print) -> None:
    """Write what the commands find, the definitions and the pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warehouse = made(folder)
        found = found_table({survey: find(folder, warehouse, survey) for survey in SHOWN})
        for family, one in planted(folder, warehouse).items():
            PICTURES[family](one).savefig(PAGE.parent / "img" / f"feature_{family}.png", dpi=DPI)
    page = put(put(PAGE.read_text(encoding="utf-8"), "found", found), "definitions", definitions())
    PAGE.write_text(page, encoding="utf-8")
    say(found)


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    main()
