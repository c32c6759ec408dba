"""The version: in ``setup.py``, and nowhere else."""

from __future__ import annotations

import re
from importlib import metadata

from tests.deploy.sources import ROOT
from tests.pages import pages

VERSION = metadata.version("pitt-broker")


def test_the_version_stands_in_one_place() -> None:
    [said] = re.findall(r'version="([^"]+)"', (ROOT / "setup.py").read_text())
    assert said == VERSION
    files = [*map(ROOT.joinpath, pages()), *ROOT.glob("deploy/*"), ROOT / "pyproject.toml", ROOT / "Makefile"]
    own = re.compile(rf"(broker|version)[-:=\"' ]+v?{re.escape(VERSION)}\b")
    assert [path.name for path in files if path.is_file() and own.search(path.read_text(encoding="utf-8"))] == []
    assert own.search(f"broker:{VERSION} and broker-{VERSION}.json")
