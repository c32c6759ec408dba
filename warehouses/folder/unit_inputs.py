"""What a unit of several inputs stands for, kept beside the files: their names hold no more than its key."""

from __future__ import annotations

import json

from warehouses.files import open_file, write_file
from warehouses.folder.parquet_files import INPUTS, TEMPORARY
from warehouses.units import Unit


def uri_of(warehouse: str, key: str) -> str:
    """Where the inputs of a unit stand."""
    return f"{warehouse}/{INPUTS}/{key}.json"


def write_inputs(warehouse: str, run_id: str, unit: Unit, key: str) -> None:
    """Keep what a unit stands for; ``key`` is the one it had before some of its inputs were taken from it."""
    said = {"inputs": list(unit.inputs), "letters": dict(zip(unit.letters, unit.sources, strict=True))}
    temporary = f"{warehouse}/{TEMPORARY}/{run_id}/{key}.json"
    write_file(uri_of(warehouse, key), json.dumps(said, indent=0).encode("utf-8", "surrogateescape"), temporary)


def read_inputs(warehouse: str, key: str) -> Unit:
    """What a unit stands for. Raises ``FileNotFoundError`` where nothing was kept."""
    with open_file(uri_of(warehouse, key)) as file:
        said = json.loads(file.read())
    # Those of earlier versions name no letters.
    letters = said.get("letters") or {}
    return Unit(tuple(said["inputs"]), tuple(letters), tuple(letters.values()))


def unit_of(path: str) -> str:
    """The key of the unit a file belongs to, which begins its name."""
    return path.rsplit("/", 1)[-1].partition("-")[0]
