"""FITS files of HEALPix cells: which table holds them, of which frame they are, and when the event was."""

from __future__ import annotations

import contextlib
import io
import itertools
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from alerts.lists.named import BadList

_ICRS, _GALACTIC = ("C", "EQU", "ICRS", "CEL"), ("G", "GAL")
_MOST_HDUS = 100
_UNREADABLE = (OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError, Warning)
"""What astropy raises of headers and tables that are none."""
_MAP_COLUMNS = ("PROB", "PROBABILITY", "PROBDENSITY")


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Sequence[Any]]:
    """The HDUs of a file. Raises ``BadList`` for what astropy cannot read, there and within."""
    from astropy.io import fits  # noqa: PLC0415 - half a second

    with warnings.catch_warnings():
        # It warns of a file that is cut, and goes on.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*truncated.*")
        try:
            with fits.open(io.BytesIO(data), memmap=False) as hdus:
                # Not all of them at once: of a header with a negative size astropy finds one behind another without end.
                found = list(itertools.islice(hdus, _MOST_HDUS + 1))
                if len(found) > _MOST_HDUS:
                    raise BadList(f"it has more than {_MOST_HDUS} tables and images; give one with the region's table alone")
                yield found
        except BadList:
            raise
        except (*_UNREADABLE, fits.VerifyError) as error:
            raise BadList(f"it is damaged, or no FITS that astropy can read ({' '.join(str(error).split())[:120]})") from None


def healpix_table(hdus: Sequence[Any]) -> Any:
    """The first table of HEALPix cells. Raises ``BadList``."""
    for hdu in hdus:
        if hasattr(hdu, "columns"):
            names = {str(name).upper() for name in hdu.columns.names}
            told = ("PIXTYPE", "ORDERING", "MOCVERS", "MOCDIM", "MOCORDER", "NSIDE")
            if any(name in hdu.header for name in told) or names.intersection(("UNIQ", *_MAP_COLUMNS)):
                return hdu
    raise BadList("it is FITS and has no table of HEALPix cells; an image is none")


def text(table: Any, key: str) -> str:
    """A keyword's value as a text in capitals, empty where there is none."""
    return str(table.header.get(key, "")).strip().upper()


def is_moc(table: Any) -> bool:
    """Whether the cells are a coverage map: one column of them, and no values beside it."""
    # Multi-order maps have a MOC's keywords, too.
    told = any(key in table.header for key in ("MOCVERS", "MOCDIM", "MOCORDER", "MOCORD_S", "MOCORD_T"))
    names = [str(name).upper() for name in table.columns.names]
    return len(names) == 1 and names[0] not in _MAP_COLUMNS and (told or names[0] in ("UNIQ", "RANGE", "NPIX"))


def check_moc(table: Any) -> None:
    """Refuse a MOC of anything but the sky in ICRS. Raises ``BadList``."""
    dimension = text(table, "MOCDIM") or "SPACE"
    if dimension != "SPACE":
        raise BadList(f"it is a MOC of {dimension} (MOCDIM); give a MOC of the sky alone")
    ordering = text(table, "ORDERING") or "NUNIQ"
    if ordering not in ("NUNIQ", "RANGE"):
        raise BadList(f"it is a MOC with ORDERING {ordering!r}; give one of NUNIQ or RANGE, as mocpy and Aladin write")
    # The standard knows no other frame, and demands that it is named.
    frame = text(table, "COORDSYS")
    if frame != "C":
        told = f"its COORDSYS is {frame!r}" if frame else "it has no COORDSYS"
        raise BadList(f"{told}; a MOC is in ICRS, and says so by COORDSYS 'C'")


def is_galactic(table: Any) -> bool:
    """Whether a map is in galactic coordinates, or else in ICRS. Raises ``BadList`` for other frames, and for none."""
    frame = text(table, "COORDSYS")
    if frame in _GALACTIC:
        return True
    if frame not in _ICRS:
        told = f"its COORDSYS is {frame!r}" if frame else "it has no COORDSYS, so that nobody knows its frame"
        raise BadList(f"{told}; write 'C' (ICRS) or 'G' (galactic) into the header of its table")
    return False


def event_time(hdus: Sequence[Any]) -> datetime | None:
    """When the event was, UTC: ``DATE-OBS``, or ``MJD-OBS``, of the table or before it. Raises ``BadList``.

    In the scale of ``TIMESYS``, without which headers of FITS are in UTC.
    """
    from astropy.time import ScaleValueError, Time  # noqa: PLC0415 - a third of a second, only for a file that may tell it

    for hdu in reversed(hdus):
        for key, form in (("DATE-OBS", "fits"), ("MJD-OBS", "mjd")):
            value = hdu.header.get(key)
            if value is None or not str(value).strip():
                continue
            scale = text(hdu, "TIMESYS").lower() or "utc"
            scale = {"ut": "utc", "iat": "tai", "tdt": "tt", "et": "tt"}.get(scale, scale)
            told = str(value).strip().removesuffix("Z") if form == "fits" else value
            try:
                if isinstance(value, bool):
                    raise TypeError("a logical value, of which astropy makes a number")
                return Time(told, format=form, scale=scale).utc.to_datetime(timezone=timezone.utc)  # type: ignore[no-any-return]
            except (ValueError, TypeError, ScaleValueError) as error:
                zone = f" in TIMESYS {scale.upper()}" if scale != "utc" else ""
                told = f"its {key} is {value!r}{zone}, which is no time; say when the event was by t0="
                raise BadList(told) from error
    return None
