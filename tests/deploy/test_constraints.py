"""``constraints.txt``: it pins all that ``setup.py`` asks for, within the bounds given there, in the form of the command."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.renew_constraints import CONSTRAINTS, EXTRAS, HEADER, main, text

LINES = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
PINS = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in LINES[1:])}


def asked() -> list[Requirement]:
    """What this project asks for, with all extras, on this machine."""
    found = [Requirement(line) for line in metadata.requires("pitt-broker") or []]
    return [one for one in found if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *EXTRAS))]


def test_what_is_asked_for_is_pinned_within_its_bounds() -> None:
    assert len(asked()) > 40
    for one in asked():
        assert canonicalize_name(one.name) in PINS, f"{one} is not pinned: make constraints"
        assert one.specifier.contains(PINS[canonicalize_name(one.name)], prereleases=True), f"{one}, pinned otherwise"


def test_the_file_is_as_the_command_writes_it() -> None:
    assert text(LINES) == "\n".join(LINES) + "\n"
    frozen = ["Zlib==1", "aiohttp==3", "# a note", "pitt-broker @ file:///x", "-e git+https://x#egg=y", "own @ file:///y", "b==2"]
    assert text(frozen).splitlines() == [HEADER, "aiohttp==3", "b==2", "Zlib==1"]


def test_an_installation_that_fails_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "constraints.txt"
    out.write_text("as it was\n")
    # pip finds no package anywhere.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["--out", str(out)]) == 1
    assert out.read_text() == "as it was\n"
    assert "stays as it is" in capfd.readouterr().err
