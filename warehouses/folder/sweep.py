"""Files that a commit has put in place before it died, which no manifest has."""

from __future__ import annotations

import json
from collections.abc import Collection

from warehouses.files import delete, open_file
from warehouses.folder import manifest

FINALS = ".finals"
"""Ends the name of a note of the files that a commit is about to put in place."""


def forget_finals(folder: str, temporary: Collection[str]) -> None:
    """Delete what the notes among a dead run's temporary files name and the newest manifest does not."""
    named = finals_of(temporary)
    if not named or not (found := manifest.versions(folder)):
        return
    known = set(manifest.read(folder, found[-1]).files.column("path").to_pylist())
    delete(uri for uri in named if uri.removeprefix(f"{folder}/") not in known)


def finals_of(temporary: Collection[str]) -> list[str]:
    """The files that the notes among temporary files name."""
    return [uri for note in temporary if note.endswith(FINALS) for uri in _read(note)]


def _read(note: str) -> list[str]:
    try:
        with open_file(note) as file:
            found: list[str] = json.loads(file.read())
    except (OSError, ValueError):  # it was not written to its end, so that nothing was put in place
        return []
    return found
