"""Names that a library keeps to itself may go with any release: we use those that stand here, of bounded versions, no others."""

from __future__ import annotations

import ast
import inspect
import io
from importlib import metadata
from pathlib import Path

import pytest
from apache_beam.io.gcp.bigquery_file_loads import BigQueryBatchFileLoads
from packaging.requirements import Requirement
from zlib_ng import gzip_ng, zlib_ng

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
USED = {
    "alerts/avro/unpack.py": {"_GzipReader": "zlib-ng"},
    "transforms/load_files.py": {"_maybe_apply_user_trigger": "apache-beam", "_write_files": "apache-beam"},
    "pipelines/flags.py": {"_ArgumentGroup": "Python, in annotations"},
    "pipelines/help.py": {"_actions": "Python"},
    "pipelines/options.py": {"_actions": "Python"},
}
"""By file, the names and whose they are."""
PUBLIC = {"_exit", "_replace", "_add_argparse_args", "_exists", "_find", "_glob", "_info", "_isfile", "_strip_protocol"}
"""Documented in spite of their names: of ``os``, a named tuple's, Beam's way to ask for flags, what fsspec asks for."""


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def defined(tree: ast.AST) -> set[str]:
    """The names that a module gives to something."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return found


def foreign(tree: ast.AST, ours: set[str]) -> set[str]:
    """Private names that a module uses, or imports from elsewhere, and that nothing of ours defines."""
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and private(node.attr)} - ours
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] not in (*ROOMS, "__future__"):
            found |= {one for one in (*node.module.split("."), *(alias.name for alias in node.names)) if private(one)}
    return found


def overridden(tree: ast.AST) -> set[str]:
    """Private methods of Beam's loading that a class here has in their place."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    own = [one for node in classes if any("FileLoads" in ast.unparse(base) for base in node.bases) for one in node.body]
    names = {one.name for one in own if isinstance(one, ast.FunctionDef) and private(one.name)}
    return {name for name in names if hasattr(BigQueryBatchFileLoads, name)}


def test_no_other_private_names_are_used() -> None:
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for room in ROOMS for file in (ROOT / room).rglob("*.py")}
    ours: dict[str, set[str]] = {}
    for file, tree in trees.items():
        ours.setdefault(file.relative_to(ROOT).parts[0], set()).update(defined(tree))
    found = {}
    for file, tree in trees.items():
        # A name of ours in another room is no reason: what a module may use is defined in its own room.
        names = (foreign(tree, ours[file.relative_to(ROOT).parts[0]]) | overridden(tree)) - PUBLIC
        if names:
            found[str(file.relative_to(ROOT))] = names
    assert found == {file: {*names} for file, names in USED.items()}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import lib\nlib._reader()", {"_reader"}),
        ("from lib import _reader", {"_reader"}),
        ("from lib._inner import reader", {"_inner"}),
        ("class A:\n    def f(self):\n        return self.other._futures", {"_futures"}),
        ("class A:\n    def f(self):\n        self._own = 1\n        return self._own", set()),
        ("from __future__ import annotations\nname.__dict__", set()),
        ("from alerts.other import _ours", set()),
    ],
)
def test_the_search_finds_them_in_all_their_forms(code: str, found: set[str]) -> None:
    tree = ast.parse(code)
    assert foreign(tree, defined(tree)) == found


@pytest.mark.parametrize("library", ["apache-beam", "zlib-ng"])
def test_the_versions_of_their_libraries_are_bounded(library: str) -> None:
    (call,) = [
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "install_requires"
    ]
    (requirement,) = [one for one in map(Requirement, ast.literal_eval(call.value)) if one.name == library]
    assert {one.operator for one in requirement.specifier} == {">=", "<"}
    assert requirement.specifier.contains(metadata.version(library))


def test_zlib_ng_has_its_reader() -> None:
    reader = zlib_ng._GzipReader(io.BytesIO(gzip_ng.compress(b"alert" * 100)), gzip_ng.READ_BUFFER_SIZE)
    piece = bytearray(300)
    assert reader.readinto(memoryview(piece)) == 300
    assert reader.readinto(memoryview(piece)) == 200
    assert piece == b"alert" * 60
    assert reader.readinto(memoryview(piece)) == 0


def test_beam_has_its_steps() -> None:
    assert [*inspect.signature(BigQueryBatchFileLoads._write_files).parameters] == [
        "self",
        "destination_data_kv_pc",
        "file_prefix_pcv",
    ]
    assert [*inspect.signature(BigQueryBatchFileLoads._maybe_apply_user_trigger).parameters] == ["self", "destination_file_kv_pc"]
    # And it is by these that files are written.
    assert "self._write_files(" in inspect.getsource(BigQueryBatchFileLoads.expand)
