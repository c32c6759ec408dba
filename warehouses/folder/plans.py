"""What streams read in their newest rounds: ``{warehouse}/_rounds/{stream}.json``, replaced as a whole."""

from __future__ import annotations

import hashlib

from warehouses.files import open_file, write_file
from warehouses.folder.parquet_files import TEMPORARY

ROUNDS = "_rounds"


def keep(warehouse: str, stream: str, plan: str) -> None:
    """Keep a plan in the place of the one before."""
    name = _name(stream)
    write_file(f"{warehouse}/{ROUNDS}/{name}", plan.encode(), f"{warehouse}/{TEMPORARY}/{name}")


def kept(warehouse: str, stream: str) -> str | None:
    """The plan that was kept last."""
    try:
        with open_file(f"{warehouse}/{ROUNDS}/{_name(stream)}") as file:
            return bytes(file.read()).decode()
    except FileNotFoundError:
        return None


def _name(stream: str) -> str:
    return f"{hashlib.sha256(stream.encode()).hexdigest()[:32]}.json"
