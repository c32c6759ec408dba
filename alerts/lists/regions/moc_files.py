"""Coverage maps (IVOA's MOC) to ranges, by mocpy; what it would pass over in silence is looked at here."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alerts.limits import MAX_REGION_RANGES
from alerts.lists.named import BadList
from alerts.lists.regions.ranges import ALL_CELLS, Ranges, joined
from alerts.positions import HEALPIX_ORDER

_ASCII = re.compile(r"[\d\s/,\-]*")
_BACKWARDS = re.compile(r"(\d+)-(\d+)")


def of_ascii(text: str) -> Ranges:
    """The ranges of a MOC in ASCII (``6/1,4-8 7/20``). Raises ``BadList``."""
    rest = text[_ASCII.match(text).end() :]  # type: ignore[union-attr]
    if rest:
        raise BadList(f"it begins as a MOC in ASCII and has {rest[:20]!r}, which none has")
    for begin, end in _BACKWARDS.findall(text):
        if int(begin) > int(end):
            raise BadList(f"it is a MOC with the range {begin}-{end}, which is backwards")
    return _ranges(lambda moc: moc.from_string(text, "ascii"))


def of_json(held: Any, text: str) -> Ranges:
    """The ranges of a MOC in JSON (``{"6": [1, 4, 5]}``), given also as it was parsed. Raises ``BadList``."""
    if not isinstance(held, Mapping):
        raise BadList("its JSON is a list, as of a MOC of times and the sky; give a MOC of the sky alone, or GeoJSON")
    for key, cells in held.items():
        order = int(key) if key.isascii() and key.isdigit() and len(key) <= 2 else -1
        if not 0 <= order <= HEALPIX_ORDER:
            raise BadList(f'its JSON has the name {key[:40]!r}; a MOC has orders from "0" to "29", GeoJSON has "type"')
        most = 12 << (2 * order)
        if not isinstance(cells, list):
            raise BadList(f"its JSON has no list of cells for the order {order}")
        for cell in cells:
            if type(cell) is not int or not 0 <= cell < most:
                raise BadList(
                    f"its JSON has the cell {cell!r:.40} of order {order}; cells are whole numbers from 0 to {most - 1}"
                )
    return _ranges(lambda moc: moc.from_string(text, "json"))


def of_fits(data: bytes) -> Ranges:
    """The ranges of a MOC in a FITS file, whose header was checked. Raises ``BadList``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "moc.fits"
        path.write_bytes(data)
        return _ranges(lambda moc: moc.from_fits(str(path)))


def _ranges(read: Callable[[Any], Any]) -> Ranges:
    from mocpy import MOC  # noqa: PLC0415 - it takes a second

    try:
        found = read(MOC)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # what panics in mocpy's Rust is no Exception
        raise BadList(f"it is no MOC that mocpy can read ({' '.join(str(error).split())[:120]}); is it whole?") from None
    if not isinstance(found, MOC):
        raise BadList(f"it is a {type(found).__name__}; give a MOC of the sky alone")
    told = np.asarray(found.to_depth29_ranges, np.uint64).reshape(-1, 2)
    if not len(told):
        raise BadList("its MOC is empty, and nothing would be inside; give one that covers something")
    if len(told) > MAX_REGION_RANGES:
        raise BadList(f"its MOC has {len(told):,} ranges; {MAX_REGION_RANGES:,} are the most, so degrade it to a lower order")
    if told.max() > ALL_CELLS or not (told[:, 0] < told[:, 1]).all():
        raise BadList("its MOC has ranges that are not on the sky, or backwards: it is damaged, or no MOC of the sky")
    return joined(told.astype(np.int64))
