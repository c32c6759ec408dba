"""The house: who may import whom. One direction only, from the face down to the ground; the picture is drawn from the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [("broker",), ("audit",), ("pipelines",), ("transforms",), ("warehouses",), ("alerts",), ("schemas",)]
"""From top to ground: a room imports from those below it."""
GUESTS = {"simulation": ("alerts", "schemas")}
"""Rooms beside the floors, and what they import; of the floors only the face, the command line, calls them."""
HOUSE = [*(room for floor in FLOORS for room in floor), *GUESTS]
WITHOUT_CLOUD = ["alerts", "schemas", "simulation"]


def may_import(room: str) -> set[str]:
    """The rooms that a room may import from, itself among them."""
    if room in GUESTS:
        return {room, *GUESTS[room]}
    number = next(number for number, floor in enumerate(FLOORS) if room in floor)
    below = {other for floor in FLOORS[number + 1 :] for other in floor}
    return {room, *below, *(GUESTS if number == 0 else ())}


def imports(file: Path, root: Path = ROOT) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a module imports, at its top or anywhere inside it."""
    package = file.relative_to(root).parts[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            yield from ((node.lineno, ".".join([*above, *filter(None, [node.module]), alias.name])) for alias in node.names)


def faults(file: Path, forbidden: list[str], root: Path = ROOT) -> list[str]:
    """Imports of forbidden modules or anything in them."""
    return [
        f"{file.relative_to(root)}:{line} imports {name}"
        for line, name in imports(file, root)
        if any(name == one or name.startswith(f"{one}.") for one in forbidden)
    ]


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("room", HOUSE)
def test_a_room_imports_only_from_those_below_it(room):
    forbidden = [*(set(HOUSE) - may_import(room)), "tests", "benchmarks", "deploy"]
    files = modules(room)
    assert files
    assert [fault for file in files for fault in faults(file, forbidden)] == []


def arrows() -> dict[str, set[str]]:
    """For each room the rooms that it imports from, as the modules say."""
    found: dict[str, set[str]] = {room: set() for room in HOUSE}
    for room in HOUSE:
        for file in modules(room):
            names = {name.partition(".")[0] for _, name in imports(file)}
            found[room] |= (names & set(HOUSE)) - {room}
    return found


def picture() -> str:
    """The rooms from top to ground, and below each what it imports from."""
    found = arrows()
    lines = []
    for room in HOUSE:
        below = [other for other in HOUSE if other in found[room]]
        lines.append(f"{room:<12} -> {', '.join(below) or '(nothing of ours)'}")
    return "\n".join(lines)


def test_the_picture_in_the_docs_is_that_of_the_imports():
    """``python -m tests.test_imports`` prints it."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert picture() in page


@pytest.mark.parametrize("package", WITHOUT_CLOUD)
def test_the_science_is_free_of_beam_and_of_the_cloud(package):
    assert [fault for file in modules(package) for fault in faults(file, ["apache_beam", "google.cloud"])] == []


def test_the_science_can_be_used_without_loading_beam_or_the_cloud():
    code = "import sys, alerts.avro.decode, alerts.avro.inputs, alerts.dead_letters; print(*sys.modules)"
    python = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = python.stdout.split()
    assert "alerts.avro.decode" in loaded
    # google.cloud itself is a mere name that Python's start-up files set up.
    assert [name for name in loaded if name.startswith(("apache_beam", "google.cloud."))] == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import broker", True),
        ("import broker.cli as face", True),
        ("from broker import cli", True),
        ("def f():\n    from broker.cli import main", True),
        ("from ..broker import cli", True),
        ("import brokerage", False),
        ("from alerts import broker", False),
        ("'import broker'", False),
    ],
)
def test_the_walk_finds_imports_in_all_their_forms(tmp_path, line, found):
    (tmp_path / "alerts").mkdir()
    file = tmp_path / "alerts" / "module.py"
    file.write_text(line)
    assert bool(faults(file, ["broker"], tmp_path)) == found


if __name__ == "__main__":
    print(picture())
