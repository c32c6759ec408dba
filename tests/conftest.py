"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real survey packets, which stay outside the project."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PITT_BROKER_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real packets at {folder}: set PITT_BROKER_DATA to the folder that holds ztf/, lsst/ and elasticc/")
    return folder
