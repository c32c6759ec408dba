"""The files that are read as tables, by their names."""

from __future__ import annotations

import os

PARQUET, PARTS, CSV, FITS, VOTABLE, ECSV = "Parquet", "a folder of Parquet parts", "CSV", "FITS", "VOTable", "ECSV"
FORMATS = {
    ".parquet": PARQUET,
    ".csv": CSV,
    ".tsv": CSV,
    ".fits": FITS,
    ".fit": FITS,
    ".vot": VOTABLE,
    ".votable": VOTABLE,
    ".xml": VOTABLE,
    ".ecsv": ECSV,
}
PACKED = (".gz", ".bz2", ".xz", ".zip")


def kind_of(path: str) -> str | None:
    """The format of the file at a path; None where its name is that of no table."""
    name = path.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    return next((kind for ending, kind in FORMATS.items() if name.endswith(ending)), None)


def is_table(path: str) -> bool:
    """Whether a path is that of a table by its name, or of a folder."""
    return kind_of(path) is not None or os.path.isdir(path)
