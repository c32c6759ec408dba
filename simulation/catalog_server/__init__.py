"""A stand-in for CDS X-Match, which serves real stars and any table, and fails in every way in which the service has."""

# ruff: noqa: E402
from alerts.extras import needs

needs("scipy")

from simulation.catalog_server.calls import Call
from simulation.catalog_server.catalog import Declared, ServedCatalog
from simulation.catalog_server.faults import KINDS, Fault
from simulation.catalog_server.files import from_answer, from_file
from simulation.catalog_server.handler import Limits
from simulation.catalog_server.server import CatalogServer
from simulation.catalog_server.stars import GAIA_DR3, HIP2, STARS, NotInstalled, gaia_dr3, hipparcos2

__all__ = [
    "GAIA_DR3",
    "HIP2",
    "KINDS",
    "STARS",
    "Call",
    "CatalogServer",
    "Declared",
    "Fault",
    "Limits",
    "NotInstalled",
    "ServedCatalog",
    "from_answer",
    "from_file",
    "gaia_dr3",
    "hipparcos2",
]
