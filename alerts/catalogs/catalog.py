"""What a catalog is: positions on the sky in, the sources near them out, or an error that says why there is no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

MAX_RADIUS_ARCSEC = 180.0
"""What CDS X-Match takes at most, and so we for every catalog of a service."""
MAX_FILE_RADIUS_ARCSEC = 3600.0
"""For catalogs in files: a degree holds the largest galaxies' halos, and of a dense catalog more than memory would."""


class CatalogError(Exception):
    """A catalog gave no answer; the message is one sentence, fit for the ``error`` of a failed cross-match."""


class Unavailable(CatalogError):
    """The catalog did not answer, or not with something to be trusted: ask again later."""


class Rejected(CatalogError):
    """The service refused this question (a bad parameter, a bad position): asking it again changes nothing."""


class Banned(CatalogError):
    """The service has shut us out (403): nobody asks again until a person has looked into it."""


class BadCatalog(ValueError):
    """A catalog that cannot be used as it was named: an unknown scheme, a missing file or column, a wrong radius."""


@dataclass(frozen=True)
class SourceColumns:
    """Which columns of a catalog hold what, and for which epochs they hold it.

    Positions are ICRS degrees, proper motions mas/yr (that in right ascension times cos dec), epochs Julian years.
    """

    ra: str | None
    dec: str | None
    source_id: str | None = None
    pmra: str | None = None
    pmdec: str | None = None
    position_epoch_jyear: float | None = None
    """The epoch of ``ra`` and ``dec``; None where each source has its own."""
    match_epoch_jyear: float | None = None
    """The epoch on which the catalog is matched where a source has a proper motion; None: that of its position."""

    @property
    def moves(self) -> bool:
        """Whether sources can be moved to another epoch."""
        return None not in (self.ra, self.dec, self.pmra, self.pmdec, self.position_epoch_jyear)


@dataclass(frozen=True)
class Candidates:
    """Pairs of a position asked for and a source near it, in no order."""

    position: Integers
    """Index of the position, one per pair."""
    sources: pa.RecordBatch
    """The source of each pair: the catalog's columns, in the catalog's own types."""
    separation_arcsec: Floats | None = None
    """As the catalog gave it; None where nobody but us has computed it."""
    radius_arcsec: Floats | None = None
    """Up to where each source is a match; None: up to what was asked."""
    looked_for_arcsec: float | None = None
    """The largest radius of all that were looked for; None: what was asked."""


class Catalog(Protocol):
    """Something that knows sources on the sky. Used by several threads at once."""

    @property
    def source_columns(self) -> SourceColumns:
        """Which columns hold what."""

    def search(self, ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, epoch_jyear: Floats | None) -> Candidates:
        """All sources that may lie within the radius of the positions (ICRS), or within one of their own, and perhaps some more.

        With ``epoch_jyear`` (one per position) sources that proper motion brings there by then are among them; without,
        positions count as the catalog matches them. Raises ``CatalogError``.
        """
