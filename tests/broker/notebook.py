"""``docs/notebook.md`` as a notebook, run in a kernel against servers on this machine that speak like ZTF's archive and CDS.

python -m tests.broker.notebook    writes docs/notebook.ipynb, with what its cells show
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastavro
import nbformat
import numpy as np
import pyarrow as pa
from nbclient import NotebookClient

from alerts.catalogs.known import KNOWN
from simulation.catalog_server.catalog import Declared, ServedCatalog
from simulation.catalog_server.server import CatalogServer
from tests.broker.archive_server import ArchiveServer
from tests.nights import simulated

PAGE = Path(__file__).parents[2] / "docs" / "notebook.md"
NOTEBOOK = PAGE.with_suffix(".ipynb")
TWOMASS = "vizier:II/246/out"
ALERTS = 60
KERNEL_SECS = 120
_SIMULATED = "What the cells show here is of a simulated night and of a stand-in for the catalog service."


def notebook_of(page: str) -> Any:
    """The page's blocks of Python as code cells, and what stands between them as text."""
    cells = []
    for number, part in enumerate(re.split(r"^```python\n(.*?)^```\n", page, flags=re.MULTILINE | re.DOTALL)):
        if text := part.strip():
            cells.append((nbformat.v4.new_code_cell if number % 2 else nbformat.v4.new_markdown_cell)(text))
    cells.insert(1, nbformat.v4.new_markdown_cell(_SIMULATED))
    for number, cell in enumerate(cells):
        # Otherwise random: the same page makes the same notebook.
        cell["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def run_in_kernel(notebook: Any, folder: Path, environment: dict[str, str]) -> Any:
    """The notebook with what its cells show, run by a kernel of its own; raises ``CellExecutionError``."""
    own = {"IPYTHONDIR": str(folder / ".ipython"), "MPLCONFIGDIR": str(folder / ".matplotlib")}
    place = {"metadata": {"path": str(folder)}}
    # A bar is written over itself: only what stands at last is kept, as a person sees it.
    client = NotebookClient(notebook, timeout=KERNEL_SECS, kernel_name="python3", resources=place, coalesce_streams=True)
    return client.execute(env={**os.environ, **environment, **own}, stderr=subprocess.DEVNULL)


@contextmanager
def surroundings(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which the page runs: an archive with one night, and 2MASS with a star near every third alert."""
    night = simulated(folder / "made", "--alerts", str(ALERTS), "--seed", "12")
    served = folder / "served"
    served.mkdir()
    shutil.copy(next(night.glob("*.tar.gz")), served / "ztf_public_20260917.tar.gz")
    with (
        ArchiveServer(served) as archive,
        CatalogServer({"II/246/out": twomass(served / "ztf_public_20260917.tar.gz")}) as catalog,
    ):
        yield {
            "PITT_BROKER_ZTF_URL": archive.url,
            "PITT_BROKER_XMATCH_URL": catalog.url,
            "PITT_BROKER_DATA": str(folder / "data"),
            "PITT_BROKER_WAREHOUSE": "",
        }


def twomass(night: Path) -> ServedCatalog:
    """A star 1 arcsec north of every third alert of a night, and the one by which CDS is believed."""
    found = [(one["candidate"]["ra"], one["candidate"]["dec"]) for one in packets(night)][::3]
    known = KNOWN[TWOMASS]
    assert known.canary
    ra, dec = (np.array(values) for values in zip(*found, known.canary, strict=True))
    dec[:-1] += 1 / 3600
    own: dict[str, Any] = {
        "2MASS": [f"0{number}" for number in range(len(ra))],
        "RAJ2000": ra,
        "DEJ2000": dec,
        "Jmag": 12 + np.arange(len(ra)) / 10,
        "X": [1] * len(ra),
    }
    table = pa.table({name: own.get(name, pa.nulls(len(ra), kind)) for name, kind in known.columns.items()})
    return ServedCatalog(table, Declared("RAJ2000", "DEJ2000"))


def packets(night: Path) -> Iterator[Any]:
    """The alerts of a night's archive."""
    with tarfile.open(night) as archive:
        for file in filter(None, map(archive.extractfile, archive)):
            yield from fastavro.reader(io.BytesIO(file.read()))


def main() -> None:
    """Write the notebook."""
    notebook = notebook_of(PAGE.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as name, surroundings(Path(name)) as environment:
        place = Path(name) / "here"
        place.mkdir()
        run_in_kernel(notebook, place, environment)
    for cell in notebook.cells:
        # When each cell ran, to the microsecond.
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
