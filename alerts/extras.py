"""Packages that only some of the broker needs: which extra of the distribution brings one that is not installed."""

from __future__ import annotations

import importlib.util
import re
from importlib import metadata

DISTRIBUTION = "pitt-broker"


class MissingExtra(ModuleNotFoundError):
    """A package that is not installed; the message says which extra brings it."""


def needs(package: str) -> None:
    """Look for a package without importing it. Raises ``MissingExtra`` where it is not installed."""
    if importlib.util.find_spec(package) is None:
        raise MissingExtra(
            f"{package} is not installed, which this needs: pip install '{DISTRIBUTION}[{extra_of(package)}]'", name=package
        )


def extra_of(package: str) -> str:
    """The first extra of ``setup.py`` that asks for a package of this name."""
    for line in metadata.requires(DISTRIBUTION) or []:
        name, extra = re.match(r"[A-Za-z0-9._-]+", line), re.search(r"""extra == ['"]([^'"]+)""", line)
        if name and extra and re.sub(r"[-_.]+", "_", name[0]).lower() == package.lower():
            return extra[1]
    raise LookupError(f"no extra of {DISTRIBUTION} brings {package}")
