"""How catalogs are asked where nothing else is said. Apart from those who ask, so that a command's help need not load them."""

from __future__ import annotations

CATALOG_EPOCH, OBSERVED_EPOCH = "catalog", "observed"
"""Where a star is looked for: where its catalog is matched, or where it stood when the alert was observed."""
RADIUS_ARCSEC = 5.0
CROSSMATCH_URL = "http://cdsxmatch.u-strasbg.fr/xmatch/api/v1/sync"
DEADLINE_SECS = 60.0
"""For one call of a service, from the first byte to the last."""
MAX_POSITIONS = 10_000
"""Positions per call of a service: CDS advises 10,000 to 50,000."""
