"""A stand-in for CDS X-Match, which serves real stars and any table, and fails in every way in which the service has."""

from broker.catalog_server.calls import Call
from broker.catalog_server.catalog import Declared, ServedCatalog
from broker.catalog_server.faults import KINDS, Fault
from broker.catalog_server.files import from_answer, from_file
from broker.catalog_server.handler import Limits
from broker.catalog_server.server import CatalogServer
from broker.catalog_server.stars import GAIA_DR3, HIP2, STARS, NotInstalled, gaia_dr3, hipparcos2

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
