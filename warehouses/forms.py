"""The forms of answers by their names, and by the endings of files."""

from __future__ import annotations

from pathlib import PurePath

from warehouses.errors import QueryError

FORMATS = ("table", "csv", "json", "jsonl", "parquet", "fits", "votable", "ecsv")
BINARY = ("parquet", "fits")
FLAT = ("fits", "votable", "ecsv")
_ENDINGS = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".ecsv": "ecsv",
    ".txt": "table",
}


def form_of(name: str) -> str:
    """The form that a file's ending stands for. Raises ``QueryError`` where it stands for none."""
    ending = PurePath(name).suffix.lower()
    if ending not in _ENDINGS:
        raise QueryError(f"{name} has an ending that says no format; end it with {', '.join(_ENDINGS)}, or give --format")
    return _ENDINGS[ending]
