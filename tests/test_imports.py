"""The house: broker -> pipelines -> transforms -> alerts -> schemas, in this direction only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ["broker", "pipelines", "transforms", "alerts", "schemas"]
WITHOUT_CLOUD = ["alerts", "schemas"]


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


@pytest.mark.parametrize("package", HOUSE)
def test_a_package_imports_only_from_those_below_it(package):
    above = HOUSE[: HOUSE.index(package)]
    files = modules(package)
    assert files
    assert [fault for file in files for fault in faults(file, [*above, "tests", "benchmarks"])] == []


@pytest.mark.parametrize("package", WITHOUT_CLOUD)
def test_the_science_is_free_of_beam_and_of_the_cloud(package):
    assert [fault for file in modules(package) for fault in faults(file, ["apache_beam", "google.cloud"])] == []


def test_the_science_can_be_used_without_loading_beam_or_the_cloud():
    code = "import sys, alerts.decode, alerts.inputs, alerts.dead_letters; print(*sys.modules)"
    python = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = python.stdout.split()
    assert "alerts.decode" in loaded
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
