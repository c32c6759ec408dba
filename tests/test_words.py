"""Words of ours have one meaning each (the glossary of ``docs/architecture.md``), and a name says what it is the name of."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (
    "broker",
    "audit",
    "pipelines",
    "transforms",
    "warehouses",
    "streams",
    "alerts",
    "schemas",
    "simulation",
    "benchmarks",
    "deploy",
)


def modules() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            yield str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))


def public_classes(tree: ast.Module) -> list[str]:
    return [node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


def bound(tree: ast.AST, name: str) -> list[int]:
    """The lines on which a value gets that name."""
    found = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.arg) and node.arg == name]
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return sorted(found + [node.lineno for node in names if node.id == name])


def test_a_class_has_a_name_of_its_own() -> None:
    places = defaultdict(list)
    for path, tree in modules():
        for name in public_classes(tree):
            places[name].append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}
    assert len(places) > 100


def test_one_is_no_name() -> None:
    assert {path: lines for path, tree in modules() if (lines := bound(tree, "one"))} == {}


@pytest.mark.parametrize(
    "code",
    [
        "one = 1",
        "[one for one in lines]",
        "for number, one in lines:\n    pass",
        "def f(one): ...",
        "f(lambda one: 1)",
        "(one := 2)",
    ],
)
def test_the_search_finds_it_in_all_its_forms(code: str) -> None:
    assert bound(ast.parse(code), "one") == [1]
