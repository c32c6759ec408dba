"""Giving files their names, under which nobody sees them before the manifest has them."""

from __future__ import annotations

import json
import uuid

from warehouses.files import files_below, rename, write_file
from warehouses.folder.parquet_files import TEMPORARY
from warehouses.folder.sweep import FINALS
from warehouses.units import WrittenFile


class CommitError(OSError):
    """A run whose files cannot be put in place; nothing was changed, and the message says why."""


def put_in_place(warehouse: str, run_id: str, files: list[WrittenFile]) -> str:
    """Give files their names. Nobody sees them before the manifest has them; where it never does, they are swept.

    Gives the name of the note by which they are, which may go when the manifest has them.
    """
    note = f"{warehouse}/{TEMPORARY}/{run_id}/{uuid.uuid4().hex[:12]}{FINALS}"
    if not files:
        return note
    waiting = {file.uri for file in files_below(f"{warehouse}/{TEMPORARY}/{run_id}")}
    pairs = [(file.temporary, file.final) for file in files if file.temporary in waiting]
    if gone := [file.final for file in files if file.temporary not in waiting and not stands(file)]:
        raise CommitError(f"{gone[0]} is neither in place nor waiting, so that run {run_id} is not put in place; run it again")
    if pairs:
        write_file(note, json.dumps([final for _, final in pairs]).encode(), f"{note}.part")
        rename(pairs)
    return note


def stands(file: WrittenFile) -> bool:
    """Whether a file of this name is in place."""
    folder, _, _ = file.final.rpartition("/")
    return any(found.uri == file.final for found in files_below(folder))
