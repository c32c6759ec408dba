"""The house: who may import whom. One direction only, from the face down to the ground; the picture is drawn from the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import cli

ROOT = Path(__file__).parents[1]
FLOORS = [("broker",), ("audit",), ("pipelines",), ("transforms",), ("warehouses", "streams"), ("alerts",), ("schemas",)]
"""From top to ground: a room imports from those below it."""
GUESTS = {"simulation": ("alerts", "schemas")}
"""Rooms beside the floors, and what they import; of the floors only the face, the command line, calls them."""
HOUSE = [*(room for floor in FLOORS for room in floor), *GUESTS]
FACADES = ["broker/orm.py", "broker/streams.py", "broker/warehouse.py", "broker/ztf_archive.py"]
"""Modules of the face that are nothing but names of what stands elsewhere."""
SIGNATURES = ["broker/alert_ingestion.py", "broker/xmatch.py"]
"""Modules of the face whose functions are a signature, what it means, and one call."""
BEGINNING = ["broker/__init__.py", "broker/__main__.py", "broker/cli.py"]
"""Where the commands begin."""
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


def test_warehouses_are_free_of_beam():
    assert [fault for file in modules("warehouses") for fault in faults(file, ["apache_beam"])] == []


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


KINDS = {
    "transforms/write_parquet.py": "the sink of a folder",
    "transforms/write_bigquery.py": "the sinks of BigQuery that Beam has",
    "transforms/append_bigquery.py": "the sink of BigQuery that is ours",
}
"""Who outside ``warehouses/`` knows its kinds: the sinks that ``transforms/write_tables.py`` names."""


def kinds_known(file: Path) -> list[str]:
    """What in a module tells one kind of warehouse from another: its classes and modules, its SQL, the begin of its URI."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    found = [f"imports {name}" for _, name in imports(file) if name.startswith(("warehouses.folder", "warehouses.bigquery"))]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "dialect":
            found.append("asks for the dialect")
        if isinstance(node, ast.Name) and node.id in ("FolderWarehouse", "BigQueryWarehouse"):
            found.append(f"names {node.id}")
        # Help and examples may show a URI; a bare beginning of one is there to be compared.
        if isinstance(node, ast.Constant) and node.value == "bigquery://" and id(node) not in said:
            found.append("compares URIs")
    return found


def test_nobody_outside_the_room_asks_what_kind_a_warehouse_is():
    asking = {}
    for room in set(HOUSE) - {"warehouses"}:
        for file in modules(room):
            if found := kinds_known(file):
                asking[str(file.relative_to(ROOT))] = found
    assert asking.keys() == KINDS.keys(), asking


@pytest.mark.parametrize("name", FACADES)
def test_a_facade_holds_no_logic(name):
    """A docstring, imports and ``__all__``: nothing that could be wrong."""
    body = ast.parse((ROOT / name).read_text(encoding="utf-8")).body
    kinds = [type(node).__name__ for node in body]
    assert kinds[0] == "Expr"
    assert set(kinds[1:]) <= {"ImportFrom", "Import", "Assign"}
    names = [
        target.id for node in body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)
    ]
    assert names == ["__all__"]


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_is_followed_by_one_call(name):
    """Nothing is decided there, but what stands for an argument that was left out."""
    body = ast.parse((ROOT / name).read_text(encoding="utf-8")).body
    assert {type(node).__name__ for node in body} <= {"Expr", "Import", "ImportFrom", "Assign", "FunctionDef"}
    for function in (node for node in body if isinstance(node, ast.FunctionDef)):
        *documentation, call = function.body
        assert [type(node).__name__ for node in documentation] in ([], ["Expr"]), function.name
        assert isinstance(call, ast.Return), function.name
        assert isinstance(call.value, ast.Call), function.name


def commands() -> list[str]:
    """The modules of the face that ``broker`` names as commands."""
    entries = [*cli._WHOLE.values(), *cli._PARSED.values()]
    return sorted(f"{entry[1].replace('.', '/')}.py" for entry in entries if entry[1].startswith("broker."))


def test_each_module_of_the_face_is_a_facade_or_a_command():
    """What is neither stands in a room below; pictures and the archive are parts of the face with folders of their own."""
    found = [str(file.relative_to(ROOT)) for file in (ROOT / "broker").glob("*.py")]
    assert sorted(found) == sorted([*FACADES, *SIGNATURES, *BEGINNING, *commands()])


def test_a_command_is_arguments_and_printing():
    """It takes its arguments and gives an exit status, and nobody but the command line needs anything of it."""
    for name in commands():
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert {"add_arguments", "main"} <= functions, name
    modules_of_commands = [name.removesuffix(".py").replace("/", ".") for name in commands()]
    asking = [file for room in HOUSE for file in modules(room) if file != ROOT / "broker" / "cli.py"]
    assert [fault for file in asking for fault in faults(file, modules_of_commands)] == []


def test_rooms_are_found_from_a_folder_that_holds_a_warehouse(tmp_path):
    """The data's default folder is ./warehouse: a room of that name would be hidden by it."""
    (tmp_path / "warehouse" / "ztf_alerts").mkdir(parents=True)
    code = "; ".join(["import importlib", *(f"importlib.import_module({room!r})" for room in HOUSE), "print('all')"])
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout == "all\n", ran.stderr


if __name__ == "__main__":
    print(picture())
